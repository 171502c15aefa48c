"""``depotwatch compare``: what two reports of one site tell otherwise, and why."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.comparison import Comparison, Entry

SUMMARY = (
    "Compares two report folders of one site: new, lost, moved, reclassified, re-dated and re-counted changes, each with "
    "its reason. Nothing differing is a result, not an error."
)
SHOWN = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("before", type=Path, metavar="DIR_A", help="the earlier report's folder")
    parser.add_argument("after", type=Path, metavar="DIR_B", help="the later report's folder")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write comparison.json, comparison.html and comparison.csv"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Compare and print; 0 also where something differs."""
    from pipelines.comparison import Comparison, compare_reports, read_report
    from pipelines.comparison_page import comparison_files

    found = Comparison((compare_reports(read_report(args.before), read_report(args.after)),))
    if args.out is not None:
        _write(args.out, comparison_files(found))
    if args.json:
        print(json.dumps(found.as_json(), indent=2, ensure_ascii=False))
        return 0
    print("\n".join(_lines(found)))
    return 0


def _write(folder: Path, files: "dict[str, bytes]") -> None:
    from pipelines.register import CannotWrite

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise CannotWrite(f"{folder} cannot be written: {error.strerror}") from error


def _lines(found: "Comparison") -> list[str]:
    from pipelines.comparison_page import headline

    (site,) = found.sites
    told = [line for entry in site.entries[:SHOWN] for line in _entry(entry)]
    rest = len(site.entries) - SHOWN
    more = [f"{rest} more; --json or --out gives all"] if rest > 0 else []
    return [headline(found), *(f"- {reason}" for reason in site.reasons), *told, *more]


def _entry(entry: "Entry") -> list[str]:
    told = entry.told
    kinds = " ".join(map(str, (entry.kind, *entry.also)))
    head = (
        f"{kinds}: {told['id']} {told['change_type']} {told['direction']} "
        f"{told['last_absent'][:10]}/{told['first_seen'][:10]}"
    )
    return [head, *(f"    {reason}" for reason in entry.reasons)]
