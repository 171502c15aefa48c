"""``depotwatch products``: what reusable products take, and deleting those that are not needed."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from imagery.errors import DepotwatchError

if TYPE_CHECKING:
    from pipelines.products import StepUsage
    from service.retention import Collection

SUMMARY = "List what reusable products take, or delete those unused for long; reports and evidence are never deleted."
UNUSED_DAYS = 30.0
GRACE_HOURS = 24.0
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class BadRetention(DepotwatchError):
    """An age or size to keep that cannot be meant."""

    code = "bad-retention"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from service.options import add_data_options

    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,gc}")
    listing = actions.add_parser("list", help="size, number and last use of the products of each step")
    gc = actions.add_parser("gc", help="delete products unused for long, and files that no report points to")
    for action in (listing, gc):
        add_data_options(action)
        action.add_argument(
            "--store", help="folder or URL given to analyse --cache, instead of the service's products"
        )
        action.add_argument("--json", action="store_true", help="print JSON")
    gc.add_argument(
        "--older-than",
        type=float,
        metavar="DAYS",
        help=f"delete products unused for so long (default {UNUSED_DAYS:g}, without --keep-size)",
    )
    gc.add_argument(
        "--keep-size",
        metavar="BYTES",
        help="then the longest unused until the rest fits; K, M, G, T are 1000s",
    )
    gc.add_argument(
        "--grace-hours",
        type=float,
        default=GRACE_HOURS,
        help="files no report points to are deleted when this old (default 24)",
    )
    gc.add_argument("--dry-run", action="store_true", help="say what would be deleted, and delete nothing")


def run(args: argparse.Namespace) -> int:
    """List or delete."""
    return _list(args) if args.action == "list" else _gc(args)


def _list(args: argparse.Namespace) -> int:
    from pipelines.products import ProductStore, usage
    from service.options import settings_from

    rows = usage(ProductStore(args.store or settings_from(args).products_place).entries())
    if args.json:
        total = {"count": sum(r.count for r in rows), "bytes": sum(r.bytes for r in rows)}
        print(json.dumps({"steps": [_as_json(row) for row in rows], "total": total}, indent=2))
    else:
        print("\n".join(_table(rows)))
    return 0


def _as_json(row: "StepUsage") -> dict[str, Any]:
    used = row.used.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"step": row.step, "count": row.count, "bytes": row.bytes, "last_used": used}


def _table(rows: Sequence["StepUsage"]) -> list[str]:
    lines = [f"{'step':<14}{'products':>10}{'bytes':>18}  last used"]
    for row in rows:
        lines.append(
            f"{row.step:<14}{row.count:>10}{row.bytes:>18,}  {row.used.astimezone(UTC):%Y-%m-%d %H:%M}Z"
        )
    lines.append(f"{'all':<14}{sum(r.count for r in rows):>10}{sum(r.bytes for r in rows):>18,}")
    return lines


def size_of(text: str) -> int:
    """Read a size such as ``500000``, ``20G`` or ``1.5T`` (thousands) as bytes.

    Raises
    ------
    BadRetention : no such size
    """
    unit = text[-1:].upper()
    number, factor = (text[:-1], UNITS[unit]) if unit and unit in UNITS else (text, 1)
    try:
        size = int(float(number) * factor)
    except (ValueError, OverflowError):
        size = -1
    if size < 0:
        raise BadRetention(f"--keep-size is {text!r}; give bytes such as 500000000 or 20G")
    return size


def _days(args: argparse.Namespace) -> timedelta | None:
    days = args.older_than
    if days is None:
        return None if args.keep_size is not None else timedelta(days=UNUSED_DAYS)
    if not 0 <= days <= 36_500:
        raise BadRetention(f"--older-than is {days:g}; give days from 0 to 36500")
    return timedelta(days=days)


def _gc(args: argparse.Namespace) -> int:
    from pipelines.products import ProductStore
    from service.context import open_service
    from service.options import settings_from
    from service.retention import collect, plan

    older_than = _days(args)
    keep = None if args.keep_size is None else size_of(args.keep_size)
    if not 1 <= args.grace_hours <= 876_000:
        raise BadRetention(f"--grace-hours is {args.grace_hours:g}; give hours from 1 to 876000")
    settings = settings_from(args)
    products = ProductStore(args.store or settings.products_place)
    service = None if args.store else open_service(settings)
    try:
        now, grace = datetime.now(UTC), timedelta(hours=args.grace_hours)
        known = None if service is None else (service.database, service.store)
        chosen = plan(products, known, now, older_than=older_than, keep_bytes=keep, grace=grace)
        if not args.dry_run:
            collect(products, None if service is None else service.store, chosen, now - grace)
    finally:
        if service is not None:
            service.close()
    _tell(chosen, args)
    return 0


def _tell(chosen: "Collection", args: argparse.Namespace) -> None:
    if args.json:
        told = {
            "dry_run": args.dry_run,
            "products": len(chosen.products),
            "orphans": len(chosen.orphans),
            "unfinished": len(chosen.unfinished),
            "bytes": chosen.bytes,
        }
        print(json.dumps(told, indent=2))
        return
    done = "would delete" if args.dry_run else "deleted"
    print(
        f"{done} {len(chosen.products)} products, {len(chosen.orphans)} files no report points to and "
        f"{len(chosen.unfinished)} unfinished files: {chosen.bytes:,} bytes"
    )
    if chosen.products and not args.dry_run:
        print("they are made again when an analysis asks for them", file=sys.stderr)
