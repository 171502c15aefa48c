"""``depotwatch report SITE``: the current report of a site of a running service, and its files."""

import argparse
import json
from pathlib import Path

from imagery.errors import DepotwatchError

FORMATS = ("geojson", "csv", "kmz", "gpkg", "parquet")
SUMMARY = "Fetch the current report of a site (by id or name) from a running service."


class UnknownExportFormat(DepotwatchError):
    """Changes were asked for as a file of a kind there is not."""

    code = "unknown-export-format"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from service.options import add_remote_options

    parser.add_argument("site", help="id or name")
    parser.add_argument("--bundle", type=Path, metavar="FILE.zip", help="save the evidence bundle")
    parser.add_argument("--html", type=Path, metavar="FILE.html", help="save the page")
    parser.add_argument(
        "--changes", type=Path, metavar="FILE", help=f"save the changes as FILE.{{{','.join(FORMATS)}}}"
    )
    add_remote_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the headline, or the whole report with ``--json``."""
    from service.errors import NotFound
    from service.options import remote_client, write_out

    kind = None if args.changes is None else args.changes.suffix.lower().lstrip(".")
    if kind is not None and kind not in FORMATS:
        raise UnknownExportFormat(f"{args.changes.name}: changes are written as .{', .'.join(FORMATS)}")
    with remote_client(args) as client:
        site = next((s for s in client.sites() if args.site in (s["id"], s["properties"]["name"])), None)
        if site is None:
            raise NotFound(f"there is no site {args.site!r}; depotwatch site list shows yours")
        report = client.latest_report(site["id"])
        here = f"/sites/{site['id']}/reports/{report['id']}"
        changes = f"/sites/{site['id']}/changes?f={kind}&whole=true"
        for path, address in (
            (args.bundle, f"{here}/bundle.zip"),
            (args.html, f"{here}.html"),
            (args.changes, changes),
        ):
            if path is not None:
                write_out(path, client.request("GET", address).content)
    if args.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
        return 0
    print(f"{report['site']['name']}, report {report['number']}: {report.get('headline', '')}")
    for row in report.get("summary", []) if isinstance(report.get("summary"), list) else []:
        print(f"  {json.dumps(row, ensure_ascii=False)}")
    return 0
