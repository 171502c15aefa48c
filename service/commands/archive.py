"""``depotwatch archive``: add, index, list."""

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.database import Database
    from service.settings import Settings

SUMMARY = "Add, index or list archives: where scenes come from."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    from service.options import add_data_options

    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="a folder of GeoTIFFs, a STAC catalog or a STAC API")
    add.add_argument("name")
    add.add_argument("source", help="path or address")
    add.add_argument("--tenant", help="whose; default: shared by all")
    add.add_argument(
        "--allow-host",
        action="append",
        default=[],
        help="a private host this archive, and no other, may be read from; may be repeated",
    )
    index = actions.add_parser("index", help="look at an archive now and say what each file lacks")
    index.add_argument("name")
    listing = actions.add_parser("list", help="list archives")
    for action in (add, index, listing):
        add_data_options(action)
        action.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do it on the service's own database."""
    from pipelines.archives.opening import on_disk
    from service import archives
    from service.database import Database
    from service.options import settings_from
    from service.tenancy import ensure_tenant

    settings = settings_from(args)
    database = Database(settings.database_url)
    database.migrate()
    if args.action == "list":
        with database.read() as connection:
            _print(archives.list_archives(connection, None), as_json=args.json)
        return 0
    if args.action == "add":
        allowed = settings.allowed_hosts | {host.lower() for host in args.allow_host}
        # A server must not take file:// from strangers; here its operator speaks.
        given = str(on_disk(args.source)) if args.source[:7].lower() == "file://" else args.source
        kind, source = archives.check_source(given, allowed)
        with database.write() as connection:
            tenant = ensure_tenant(database, connection, args.tenant) if args.tenant else None
            archives.add_archive(database, connection, args.name, kind, source, tenant, args.allow_host)
    return _index(args.name, database, settings, as_json=args.json)


def _index(name: str, database: "Database", settings: "Settings", *, as_json: bool) -> int:
    from service import archives
    from service.watch import index_archive

    with database.read() as connection:
        row = archives.find_archive(connection, None, name)
    looked = index_archive(database, settings, row, anew=True)
    with database.write() as connection:
        archives.note_watch(database, connection, row.id, looked.cursor, None)
    refused, noted = [], []
    if looked.found is not None:
        refused = [{"where": r.where, "code": r.code, "detail": r.sentence} for r in looked.found.refused]
        noted = [{"scene": s.id, "notes": list(s.notes)} for s in looked.found.scenes if s.notes]
    with database.read() as connection:
        shown = next(a for a in archives.list_archives(connection, None) if a["name"] == name)
    if as_json:
        asked = looked.found is not None
        print(json.dumps({**shown, "asked": asked, "refused": refused, "notes": noted}, indent=2))
        return 0
    _print([shown], as_json=False)
    if looked.found is None:
        print(
            "  nothing was asked: a STAC API is searched where sites are, and no site that reads it is watched"
        )
    for fault in refused:
        print(f"  refused {fault['where']}: {fault['code']}: {fault['detail']}")
    for entry in noted:
        print(f"  {entry['scene']}: {'; '.join(entry['notes'])}")
    return 0


def _print(rows: list[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        span = f"{row['first']} to {row['last']}" if row["first"] else "empty"
        print(f"{row['name']}  {row['kind']}  {row['scenes']} scenes  {span}  {row['source']}")
