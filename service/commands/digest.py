"""``depotwatch digest``: a day over all sites of a running service, as a file."""

import argparse
import sys
from pathlib import Path

from imagery.errors import DepotwatchError

SUMMARY = "Write the digest of a day: what became known per site, and of which sites nothing can be said."
FORMATS = {".md": "md", ".html": "html", ".json": "json"}


class UnknownDigestFormat(DepotwatchError):
    """A digest was asked for as a file of a kind there is not."""

    code = "unknown-digest-format"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from service.options import add_remote_options

    parser.add_argument(
        "--day",
        default="latest",
        metavar="YYYY-MM-DD",
        help="a day in UTC (default: the last that is complete)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="FILE.md, FILE.html or FILE.json (default: Markdown on stdout)",
    )
    add_remote_options(parser)


def run(args: argparse.Namespace) -> int:
    """Fetch the digest and write it where it was asked for."""
    from urllib.parse import quote

    from service.options import remote_client, write_out

    form = "json" if args.json else "md" if args.out is None else FORMATS.get(args.out.suffix.lower())
    if form is None:
        raise UnknownDigestFormat(f"{args.out.name}: a digest is written as .md, .html or .json")
    with remote_client(args) as client:
        found = client.request("GET", f"/digests/{quote(args.day, safe='')}", params={"f": form})
    if args.out is None:
        sys.stdout.write(found.text)
        return 0
    write_out(args.out, found.content)
    print(args.out)
    return 0
