"""Write ``docs/accuracy-detection.md`` from the measured JSON file, so that it cannot drift.

python -m benchmarks.detection_docs
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
Number = Mapping[str, float | None]

CELLS = (
    "container.appeared",
    "container.removed",
    "berm.appeared",
    "berm.removed",
    "other.appeared",
    "other.removed",
)
PREVALENCE = 0.001


def shown(number: Number | None, digits: int = 2) -> str:
    """Print a number with its interval."""
    if number is None or number["value"] is None:
        return "-"
    value = f"{number['value']:.{digits}f}"
    if number.get("low") is None:
        return value
    return f"{value} ({number['low']:.{digits}f}-{number['high']:.{digits}f})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def scores_table(sets: dict[str, Any], least: str) -> str:
    """F1 per set, class and direction."""
    rows = []
    for name, said in sets.items():
        numbers = said.get("numbers", {})
        if name.startswith("real") or not any(f"{cell}.iou{least}.truths" in numbers for cell in CELLS):
            continue
        cells = [_f1(numbers, cell, least) for cell in CELLS]
        rows.append([name, said["what"], str(said["sites"]), *cells])
    return table(["set", "what", "sites", *CELLS], rows)


def places_table(sets: dict[str, Any]) -> str:
    """F1 of places whatever they are called."""
    rows = []
    for name, said in sets.items():
        places = said.get("places", {})
        cells = [
            _f1(places, f"other.{d}", least) for least in ("0.3", "0.5") for d in ("appeared", "removed")
        ]
        if any(cell != "-" for cell in cells):
            rows.append([name, *cells])
    return table(
        ["set", "appeared, IoU 0.3", "removed, IoU 0.3", "appeared, IoU 0.5", "removed, IoU 0.5"], rows
    )


def _f1(numbers: dict[str, Number], cell: str, least: str) -> str:
    truths = numbers.get(f"{cell}.iou{least}.truths", {}).get("value") or 0
    if not truths:
        return "-"
    return f"{shown(numbers.get(f'{cell}.iou{least}.f1'))} of {truths:.0f}"


def alarms_table(sets: dict[str, Any]) -> str:
    """False alarms, calibration and coverage per set."""
    head = [
        "set",
        "km2-looks",
        "looks used",
        "all / km2-look",
        "confirmed / km2-look",
        "confirmed, clean",
        "ECE",
        "onset covered",
        "counts covered",
        "lag, looks",
    ]
    rows = []
    for name, said in sets.items():
        n = said.get("numbers")
        if n is None or name.startswith("real"):
            continue
        rate = "false_alarms.{}.per_km2_look"
        rows.append(
            [
                name, shown(n["km2_looks"], 1), shown({"value": n["looks_used"]["value"]}), shown(n[rate.format("all")], 3), shown(n[rate.format("confirmed")], 3),
                shown(n["false_alarms.confirmed.clean_per_km2_look"], 3), shown(n["ece"]), shown(n["onset.coverage"]), shown(n["count.coverage"]),
                shown(n["first_flag_lag_looks"], 0),
            ]
        )  # fmt: skip
    return table(head, rows)


def real_table(sets: dict[str, Any]) -> str:
    """Claims of containers and berms where none came or went."""
    rows = []
    for name, said in sets.items():
        if not name.startswith("real") or "named_false_alarms" not in said:
            continue
        rates = said["named_false_alarms"]
        claims = [said["numbers"][f"claims.{s}.other"]["value"] for s in ("all", "confirmed")]
        rows.append(
            [
                name,
                str(said["sites"]),
                shown(rates["all"]),
                shown(rates["confirmed"]),
                *(f"{c:.0f}" for c in claims),
            ]
        )
    return table(
        [
            "set",
            "pairs",
            "containers and berms per km2 and pair, any status",
            "the same, confirmed",
            "others, any",
            "others, confirmed",
        ],
        rows,
    )


def peers_table(sets: dict[str, Any]) -> str:
    """F1 at IoU 0.3 and false alarms of the peers beside ours on the same pairs."""
    rows = []
    for name, said in sets.items():
        if not said.get("peers"):
            continue
        for who, numbers in [("depotwatch", said["numbers"]), *sorted(said["peers"].items())]:
            rows.append(
                [
                    name,
                    who,
                    *(_f1(numbers, c, "0.3") for c in CELLS[:4]),
                    shown(numbers["false_alarms.all.per_km2"], 0),
                ]
            )
    return table(["set", "method", *CELLS[:4], "false alarms per km2"], rows)


def drop_lines(sets: dict[str, Any]) -> str:
    """Loss of F1 from our renderer to the second one (G27)."""
    rows = []
    for ours, other in (
        ("pair_0.5m", "second_pair_0.5m"),
        ("series_0.5m", "second_series_0.5m"),
        ("series_10m", "second_series_10m"),
    ):
        if ours not in sets or other not in sets:
            continue
        for cell in CELLS:
            pair = [
                sets[s].get("numbers", {}).get(f"{cell}.iou0.3.f1", {}).get("value") for s in (ours, other)
            ]
            if None not in pair:
                rows.append(
                    [f"{ours} to {other}", cell, *(f"{p:.2f}" for p in pair), f"{pair[0] - pair[1]:+.2f}"]
                )
    return table(["from, to", "class, direction", "ours", "second", "loss"], rows)


def reliability_table(sets: dict[str, Any]) -> str:
    """Said and true over all rendered sets."""
    total: dict[int, list[float]] = {}
    for name, said in sets.items():
        for cell in said.get("reliability", []) if not name.startswith("real") else []:
            row = total.setdefault(min(int(cell["said"] * 10), 9), [0.0, 0.0, 0.0])
            row[0] += cell["n"]
            row[1] += cell["n"] * cell["said"]
            row[2] += cell["n"] * cell["true"]
    rows = [
        [f"{b / 10:.1f}-{b / 10 + 0.1:.1f}", f"{n:.0f}", f"{s / n:.2f}", f"{t / n:.2f}"]
        for b, (n, s, t) in sorted(total.items())
    ]
    return table(["confidence", "claims", "said", "true"], rows)


def prevalence_line(sets: dict[str, Any]) -> str:
    """Precision at the prevalence that matters (G9), from recall on changes and false area on quiet sites."""
    quiet = [
        s["numbers"]["false_alarms.confirmed.share_of_area"]["value"]
        for n, s in sets.items()
        if "quiet" in n and "numbers" in s
    ]
    recalls = [
        sets[n]["numbers"][f"{cell}.iou0.3.recall"]["value"]
        for n in ("series_0.5m", "series_1m")
        for cell in CELLS[:4]
        if n in sets and f"{cell}.iou0.3.recall" in sets[n].get("numbers", {})
    ]
    if not quiet or not recalls:
        return "Not measured."
    false, recall = sum(quiet) / len(quiet), sum(recalls) / len(recalls)
    true = recall * PREVALENCE
    precision = true / (true + false * (1 - PREVALENCE)) if true + false > 0 else float("nan")
    return (
        f"Where 0.1 % of the ground changes: mean recall {recall:.2f} on the series, false area on the quiet sites {false:.2e} of the ground, "
        f"so a precision of {precision:.2f} by area at the confirmed operating point."
    )


def detection_page(said: dict[str, Any]) -> str:
    """The whole page."""
    sets = said["sets"]
    failures = [f for s in sets.values() for f in s["failures"]]
    violations = sum(s.get("timeline_violations", 0) for s in sets.values())
    unseen = sum(s["numbers"]["unseen_claims"]["value"] for s in sets.values() if "numbers" in s)
    return f"""# Detection, as measured

Made by `python -m benchmarks.detection_docs` from `benchmarks/results/detection.json`; edit neither by hand.
**All scores but those headed "real" were measured on rendered scenes.** Sets called `second_...` were made by another renderer
(`benchmarks/second_renderer.py`) that nothing was trained or tuned on. Intervals in brackets: 95 %, bootstrap by site. With so few sites they are wide;
read differences inside them as noise. How claims and truth are matched: `benchmarks/scoring.py`.
The learned detector was {"on" if said["run"]["network"] else "off"}.

## F1 at IoU 0.3

Objects of one class and direction merged within 3 m. "of n": so many true objects. At 3 m and 10 m places are scored, whatever they are called.

{scores_table(sets, "0.3")}

## F1 at IoU 0.5

{scores_table(sets, "0.5")}

## F1 of places, whatever they are called

What is found in the right place and direction but named wrongly counts here and not above.

{places_table(sets)}

## False alarms, confidence, intervals

{alarms_table(sets)}

{prevalence_line(sets)}
Numbers given for looks in which nothing was seen: {violations}. Changes first seen in a look that did not show their place: {unseen:.0f}.

## Real pairs

On these pairs no container or berm is known to have come or gone, so each claim of one counts as false. Pairs have two dates: nothing on them can be confirmed by three
independent looks.

{real_table(sets)}

## Peers on the same pairs

{peers_table(sets)}

## From our renderer to the second

{drop_lines(sets)}

## Is the confidence true?

{reliability_table(sets)}

## Sites that failed

{chr(10).join(f"- {f}" for f in failures) or "None."}
"""


def main() -> int:
    """Write the page from what has been measured."""
    path, page = RESULTS / "detection.json", ROOT / "docs" / "accuracy-detection.md"
    if not path.is_file():
        print(f"{path} is missing: run its benchmark first", file=sys.stderr)
        return 0
    page.write_text(detection_page(json.loads(path.read_text())))
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
