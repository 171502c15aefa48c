"""``depotwatch verify``: check an evidence bundle, and replay it where its sources are at hand."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.verify import VerifyResult

SUMMARY = "Checks every hash in an evidence bundle; with --catalog runs the analysis again and compares byte for byte."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE.zip")
    parser.add_argument(
        "--catalog", type=Path, help="the scenes it was made from: a STAC catalog or a folder"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Verify; 0 where everything agrees, 1 where something differs."""
    from pipelines.verify import verify_bundle

    result = verify_bundle(args.bundle, args.catalog, _replay)
    print(json.dumps(result.as_json(), indent=2) if args.json else "\n".join(_lines(result)))
    return 0 if result.ok else 1


def _replay(report: Mapping[str, Any], catalog: Path, out: Path) -> None:
    from pipelines.replay import replay

    replay(report, catalog, out)


def _lines(result: "VerifyResult") -> list[str]:
    lines = [f"bundle   sha256 {result.bundle_sha256}", f"version  {result.processing_version}"]
    first = result.first_difference
    wrong = len(result.differences)
    lines.append(
        f"files    {result.files_checked} checked, {'all as listed' if not wrong else f'{wrong} differ'}"
    )
    if first is not None:
        lines.append(f"first    {first.path}: {first.why} (expected {first.expected}, found {first.found})")
    sources = result.sources
    lines.append(f"sources  {sources.found} of {sources.recorded} at hand and unchanged")
    lines += [f"changed  {path}" for path in sources.changed[:5]]
    lines.append(f"replay   {result.replay}: {result.replay_reason}")
    if result.told is not None:
        lines.append(f"step     {result.told}")
    lines.append(result.outcome)
    return lines
