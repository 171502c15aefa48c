"""``depotwatch restore FILE.tar``: bring a backup back into an empty service."""

import argparse
import sys
from pathlib import Path

SUMMARY = "Bring a backup back, into a new data folder or an empty database."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from service.options import add_data_options

    parser.add_argument("source", type=Path, metavar="FILE.tar")
    add_data_options(parser)


def run(args: argparse.Namespace) -> int:
    """Restore and say what came back."""
    from service.backup import in_words, restore_backup
    from service.context import open_service
    from service.options import settings_from

    counts = restore_backup(open_service(settings_from(args)), args.source)
    print(in_words(counts), file=sys.stderr)
    return 0
