"""``depotwatch backup FILE.tar``: everything a service knows, in one file."""

import argparse
import sys
from pathlib import Path

SUMMARY = "Save database, reports and the keys' secret into one file; the service may go on running."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from service.options import add_data_options

    parser.add_argument("out", type=Path, metavar="FILE.tar")
    add_data_options(parser)


def run(args: argparse.Namespace) -> int:
    """Write it and say what is in it."""
    from service.backup import in_words, write_backup
    from service.context import open_service
    from service.options import settings_from

    counts = write_backup(open_service(settings_from(args)), args.out)
    print(args.out)
    print(in_words(counts), file=sys.stderr)
    return 0
