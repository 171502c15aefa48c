"""``depotwatch keys``: create, list, rotate and revoke API keys."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.keys import KeyInfo

SUMMARY = "Create, list, rotate or revoke API keys."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    from service.options import add_data_options

    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="print a new key, once")
    create.add_argument("--tenant", required=True, help="whose; made where there is none of that name")
    create.add_argument(
        "--scopes", required=True, help="comma-separated, e.g. sites:read,reports:read; or admin"
    )
    create.add_argument("--note", default="", help="what it is for")
    listing = actions.add_parser("list", help="list keys, without their secrets")
    listing.add_argument("--tenant")
    listing.add_argument("--json", action="store_true", help="print JSON")
    rotate = actions.add_parser("rotate", help="print a new key with the same scopes; the old one ends later")
    rotate.add_argument("id")
    rotate.add_argument("--overlap-hours", type=float, default=24.0, help="how long the old key still works")
    for action in (create, rotate):
        action.add_argument("--days", type=float, help="valid for so many days (default: until revoked)")
    revoke = actions.add_parser("revoke", help="end a key at once")
    revoke.add_argument("id")
    for action in (create, listing, rotate, revoke):
        add_data_options(action)


def run(args: argparse.Namespace) -> int:
    """Do it; ``create`` and ``rotate`` print the key and nothing else on stdout."""
    from service.database import Database
    from service.keys import create_key, list_keys, pepper, revoke_key, rotate_key
    from service.options import settings_from

    settings = settings_from(args)
    database = Database(settings.database_url)
    database.migrate()
    days = getattr(args, "days", None)
    valid_s = None if days is None else days * 86_400
    match args.action:
        case "create":
            scopes = args.scopes.split(",")
            print(
                create_key(
                    database, pepper(settings), args.tenant, scopes, note=args.note, valid_s=valid_s,
                    burst=settings.rate_burst,
                )
            )  # fmt: skip
        case "rotate":
            overlap_s = args.overlap_hours * 3_600
            print(rotate_key(database, pepper(settings), args.id, overlap_s, valid_s=valid_s))
        case "revoke":
            if not revoke_key(database, args.id):
                print("depotwatch keys: no valid key of that id", file=sys.stderr)
                return 2
            print(f"revoked {args.id.removeprefix('dw_').split('_', 1)[0]}", file=sys.stderr)
        case _:
            _print(list_keys(database, args.tenant), as_json=args.json)
    return 0


def _print(keys: "list[KeyInfo]", *, as_json: bool) -> None:
    from dataclasses import asdict

    from service.moments import rfc3339_or_none

    rows = []
    for key in keys:
        times = {n: rfc3339_or_none(getattr(key, n)) for n in ("created", "expires", "last_used", "revoked")}
        rows.append({**asdict(key), **times})
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        used = row["last_used"] or "never used"
        scopes = ",".join(row["scopes"])
        print(
            f"{row['id']}  {row['state']:8}  {used:24}  {row['tenant']:16}  {scopes}  {row['note']}".rstrip()
        )
