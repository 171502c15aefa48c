"""``depotwatch site``: add and list sites of a running service."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.client import Client

SUMMARY = "Add or list the sites of a running service."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    from service.options import add_remote_options

    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="watch a place")
    add.add_argument("aoi", help="GeoJSON, KML, or CSV of points with radius_m")
    add.add_argument("--name", help="default: the feature's own name, or the file's")
    add.add_argument("--no-analyse", action="store_true", help="do not analyse it at once")
    add.add_argument("--wait", action="store_true", help="wait for the first report")
    listing = actions.add_parser("list", help="list sites")
    for action in (add, listing):
        add_remote_options(action)


def run(args: argparse.Namespace) -> int:
    """Talk to the service."""
    from service.options import remote_client

    with remote_client(args) as client:
        if args.action == "list":
            found = list(client.sites())
            if args.json:
                print(json.dumps(found, indent=2))
                return 0
            for site in found:
                print(
                    f"{site['id']}  {site['properties']['reports']:>3} reports  {site['properties']['name']}"
                )
            return 0
        return _add(client, args)


def _add(client: "Client", args: argparse.Namespace) -> int:
    from service.intake import read_file

    body, kind = read_file(args.aoi, args.name, analyse=not args.no_analyse)
    made = client.request("POST", "/sites", content=body, headers={"Content-Type": kind}).json()
    if args.wait and made.get("job"):
        ended = client.wait(made["job"])
        print(f"{made['job']}: {ended['state']}", file=sys.stderr)
    if args.json:
        print(json.dumps(made, indent=2))
        return 0
    features = made["features"] if made["type"] == "FeatureCollection" else [made]
    for feature in features:
        print(feature["id"])
        for warning in feature.get("warnings", []):
            print(f"warning: {warning}", file=sys.stderr)
    return 0
