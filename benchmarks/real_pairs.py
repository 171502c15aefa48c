"""What the reports on the real pairs say, as numbers: kept in results, and put into the page that tells what was seen on them.

Reads the reports that ``benchmarks.detection --sets real_pairs,real_oscd --work WORK --real REAL`` left behind; without
``--work`` only writes the table of ``docs/real-pairs.md`` from the results. The words of that page are by hand.

    python -m benchmarks.real_pairs [--work WORK]
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "real_pairs.json"
PAGE = ROOT / "docs" / "real-pairs.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
CONFIRMED = ("confirmed", "closed")
KINDS = ("container", "berm", "other")


def read_pair(report: Path) -> dict[str, Any]:
    """Return the numbers of one report folder."""
    said = json.loads((report / "report.json").read_text())
    changes = json.loads((report / "changes.geojson").read_text())["features"]
    grid = said["site"]["grid"]
    return {
        "gsd_m": grid["gsd_m"],
        "dates": [look["datetime"][:10] for look in said["looks"]],
        "verdict": said["verdict"],
        "states": [look["state"] for look in said["looks"] if not look["reference"]],
        "compared": max((c["comparable_fraction"] for c in said["compared"]), default=0.0),
        "processing_version": said["processing_version"],
        "changes": [
            {
                key: change["properties"][key]
                for key in ("change_type", "direction", "status", "confidence", "area_m2")
            }
            for change in changes
        ],
    }


def table(pairs: dict[str, dict[str, Any]]) -> str:
    """Return one row per pair."""
    head = [
        "pair",
        "pixel, m",
        "second look",
        "compared",
        "containers",
        "berms",
        "not identified",
        "confirmed",
        "confidence",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for name, said in pairs.items():
        counts = Counter((c["change_type"], c["direction"]) for c in said["changes"])
        kinds = [f"+{counts[kind, 'appeared']} -{counts[kind, 'removed']}" for kind in KINDS]
        sure = sum(c["status"] in CONFIRMED for c in said["changes"])
        confidences = sorted(c["confidence"] for c in said["changes"])
        spread = f"{confidences[0]:.2f}-{confidences[-1]:.2f}" if confidences else ""
        row = [name, f"{said['gsd_m']:g}", ", ".join(said["states"]), f"{100 * said['compared']:.0f} %"]
        said_of = (
            [*kinds, str(sure), spread] if said["compared"] else ["nothing", "nothing", "nothing", "", ""]
        )
        lines.append("| " + " | ".join([*row, *said_of]) + " |")
    return "\n".join(lines)


def with_table(page: str, pairs: dict[str, dict[str, Any]]) -> str:
    """Return the page with the table put between its marks."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table(pairs)}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read reports where they are given, and write results and page."""
    parser = argparse.ArgumentParser(description="Put what reports on real pairs say into the page on them.")
    parser.add_argument("--work", type=Path, help="the folder that benchmarks.detection wrote into")
    args = parser.parse_args(arguments)
    if args.work:
        folders = [
            f for which in ("pairs", "oscd") for f in sorted((args.work / f"real-{which}-reports").iterdir())
        ]
        pairs = {f.name: read_pair(f) for f in folders}
        RESULTS.write_text(json.dumps({"pairs": pairs}, indent=1) + "\n")
    pairs = json.loads(RESULTS.read_text())["pairs"]
    PAGE.write_text(with_table(PAGE.read_text(), pairs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
