"""Write ``docs/accuracy-detection.md`` from the measured JSON file, so that it cannot drift.

python -m benchmarks.detection_docs
"""

import json
import sys
from collections.abc import Callable, Mapping
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
    if number is None or number.get("value") is None:
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


def labels_table(sets: dict[str, Any]) -> str:
    """Agreement with the hand-drawn labels of the OSCD cities, beside the usual baseline."""
    rows = [
        [
            city, who, f"{n['claims']:.0f}", f"{n['claims_on_label']:.0f}", f"{n['labels_found']:.0f} of {n['labels']:.0f}",
            *(f"{n[key]:.2f}" for key in ("precision", "recall", "f1")),
        ]
        for city, both in sets.get("real_oscd", {}).get("labelled", {}).items()
        for who, n in sorted(both.items(), reverse=True)
    ]  # fmt: skip
    head = [
        "city",
        "method",
        "claims",
        "on a label",
        "labelled places touched",
        "pixel precision",
        "pixel recall",
        "pixel F1",
    ]
    return table(head, rows)


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


def parts_table(sets: dict[str, Any], geometry: dict[str, Any]) -> str:
    """The same sets with everything, and by sun, shadow and shape alone, without the network."""
    rows = [
        [
            name,
            what,
            *(_f1(said[name]["numbers"], cell, "0.3") for cell in CELLS[:4]),
            shown(said[name]["numbers"]["false_alarms.all.per_km2_look"], 1),
        ]
        for name in geometry
        if name in sets
        for what, said in (("network and geometry", sets), ("geometry alone", geometry))
    ]
    return table(["set", "what judges", *CELLS[:4], "false claims per km2-look"], rows)


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


GROUPS = (
    ("0.5 and 1 m, our renderer", ("quiet_0.5m", "quiet_wide_0.5m", "quiet_1m"), ("series_0.5m", "series_1m"), CELLS[:4]),
    ("0.5 m, second renderer", ("second_quiet_0.5m",), ("second_series_0.5m",), CELLS[:4]),
    ("10 m, our renderer", ("quiet_10m",), ("series_10m",), CELLS[4:]),
)  # fmt: skip


def _value(said: Mapping[str, Any] | None, key: str) -> float | None:
    number = (said or {}).get("numbers", {}).get(key) or {}
    value: float | None = number.get("value")
    return value


def _pooled(
    sets: dict[str, Any], names: tuple[str, ...], key: str, weight: str
) -> tuple[float, float] | None:
    """Return the weighted mean of a number over sets, and the sum of the weights."""
    known = [
        (v, w)
        for n in names
        if (v := _value(sets.get(n), key)) is not None and (w := _value(sets.get(n), weight))
    ]
    total = sum(w for _, w in known)
    return (sum(v * w for v, w in known) / total, total) if total else None


def precision_at_prevalence(
    sets: dict[str, Any], quiet: tuple[str, ...], series: tuple[str, ...], cells: tuple[str, ...]
) -> tuple[float, float, float] | None:
    """Return (recall, false share of the ground, precision) of confirmed changes where ``PREVALENCE`` of the ground changes.

    Recall is that of the series' objects, each counting once; the false share is that of the quiet sites' area.
    """
    false = _pooled(sets, quiet, "false_alarms.confirmed.share_of_area", "km2")
    found = true = 0.0
    for name in series:
        for cell in cells:
            truths = _value(sets.get(name), f"{cell}.iou0.3.truths") or 0.0
            found += truths * (_value(sets.get(name), f"{cell}.confirmed.recall") or 0.0)
            true += truths
    if false is None or not true:
        return None
    recall = found / true
    right, wrong = recall * PREVALENCE, false[0] * (1 - PREVALENCE)
    return (recall, false[0], right / (right + wrong)) if right + wrong > 0 else None


def prevalence_table(sets: dict[str, Any]) -> str:
    """Precision at the prevalence that matters (G9), per kind of scene."""
    rows = []
    for name, quiet, series, cells in GROUPS:
        found = precision_at_prevalence(sets, quiet, series, cells)
        if found is None:
            continue
        exposure = sum(_value(sets.get(q), "km2_looks") or 0.0 for q in quiet)
        rows.append([name, f"{exposure:.0f}", f"{found[0]:.2f}", f"{found[1]:.1e}", f"{found[2]:.2f}"])
    return table(
        ["scenes", "quiet km2-looks", "recall, confirmed", "false share of ground, confirmed", "precision"],
        rows,
    )


def lag_table(lags: dict[str, Any]) -> str:
    """How soon changes are listed and confirmed, as looks come in."""
    rows = [
        [
            name, str(said["sites"]), f"{said['found']} of {said['changes']}", _median(said["dated"]), _median(said["listed"]),
            str(said["sure"]), _median(said["confirmed"]), _spread(said["confirmed"]), str(said["confirmed_and_lost"]),
        ]
        for name, said in lags.items()
    ]  # fmt: skip
    head = [
        "set",
        "sites",
        "listed at the end",
        "first seen",
        "listed",
        "confirmed at the end",
        "confirmed",
        "which took",
        "confirmed, then not",
    ]
    return table(head, rows)


def _median(lag: Mapping[str, Any]) -> str:
    return shown({"value": lag["median"], "low": lag["low"], "high": lag["high"]}, 1)


def _spread(lag: Mapping[str, Any]) -> str:
    return ", ".join(f"{looks}: {n}" for looks, n in lag["by_looks"].items()) or "-"


def confirmed_table(sets: dict[str, Any]) -> str:
    """What the confirmed claims of quiet sites are of."""
    keys = ("claims", "as told", "misnamed", "nothing")
    rows = [
        [name, str(said["sites"]), *(str(said["confirmed"][k]) for k in keys)]
        for name, said in sets.items()
        if "confirmed" in said
    ]
    return table(
        [
            "set",
            "sites",
            "confirmed",
            "structures that did come or go",
            "named as ours, but other things",
            "of nothing",
        ],
        rows,
    )


def unidentified_tables(sets: dict[str, Any]) -> str:
    """What claims of class ``other`` are of at fine pixels, and how many such things are listed."""
    claims = [
        [
            name,
            str(said["sites"]),
            *(str(said["claims"][k]) for k in ("claims", "other things", "our classes", "nothing")),
        ]
        for name, said in sets.items()
    ]
    total = [
        "together",
        str(sum(int(r[1]) for r in claims)),
        *(str(sum(int(r[k]) for r in claims)) for k in range(2, 6)),
    ]
    cells: dict[tuple[float, float], list[int]] = {}
    for said in sets.values():
        for row in said["listed"]:
            sums = cells.setdefault((said["gsd_m"], row["from_m2"]), [0, 0, 0])
            for k, key in enumerate(("n", "other", "any")):
                sums[k] += row[key]
    listed = [
        [
            f"{gsd:g}",
            f"{low:g}",
            str(n),
            f"{other} ({100 * other / n:.0f} %)",
            f"{whatever} ({100 * whatever / n:.0f} %)",
        ]
        for (gsd, low), (n, other, whatever) in sorted(cells.items())
    ]
    return (
        table(
            [
                "set",
                "sites",
                "claims",
                "of other things",
                "of containers or berms",
                "of nothing that changed",
            ],
            [*claims, total],
        )
        + "\n\n"
        + table(
            ["pixel, m", "from m2", "came or went", "listed as not identified", "listed under any name"],
            listed,
        )
    )


def gates_table(sets: dict[str, Any], lags: dict[str, Any]) -> str:
    """What was asked for beside what was measured."""

    def f1(name: str, *cells: str, least: str = "0.3") -> str:
        numbers = sets.get(name, {}).get("numbers", {})
        return "; ".join(_f1(numbers, cell, least) for cell in cells)

    series = tuple(
        n
        for n in sets
        if "series" in n
        or n.split("_")[0] in {"winter", "cloudy", "oblique", "pan", "south", "masks", "sensor"}
    )
    fine = tuple(n for n in series if not n.endswith(("_10m", "_3m")))
    second = tuple(n for n in fine if n.startswith("second"))
    ours = tuple(n for n in fine if n not in second)
    alarms = [
        f"{name}: {shown(sets[name]['numbers']['false_alarms.confirmed.per_km2_look'], 3)} in {_value(sets[name], 'km2_looks'):.0f}"
        for name in sets
        if "quiet" in name and "numbers" in sets[name]
    ]
    onset, counts = (
        _pooled(sets, fine, "onset.coverage", "onset.n"),
        _pooled(sets, fine, "count.coverage", "count.n"),
    )
    coarse = _pooled(sets, ("series_10m", "second_series_10m", "small_10m"), "onset.coverage", "onset.n")
    nothing_seen = sum(s.get("timeline_violations", 0) for s in sets.values())
    at = [
        f"{name}: {p[2]:.2f}"
        for name, *rest in GROUPS
        if (p := precision_at_prevalence(sets, *rest)) is not None
    ]
    rows = [
        ["G4 container appeared, F1 at IoU 0.5, 0.5 m", "0.80 / 0.90 / 0.95", f1("series_0.5m", CELLS[0], least="0.5"), f1("second_series_0.5m", CELLS[0], least="0.5")],
        ["G5 container removed, the same", "0.78 / 0.88 / 0.94", f1("series_0.5m", CELLS[1], least="0.5"), f1("second_series_0.5m", CELLS[1], least="0.5")],
        ["G6 berm appeared, F1 at IoU 0.3, 0.5 m; 1 m", "0.70 / 0.85 / 0.92", "; ".join([f1("series_0.5m", CELLS[2]), f1("series_1m", CELLS[2])]), f1("second_series_0.5m", CELLS[2])],
        ["G7 places at 10 m, appeared; removed", "0.50 / 0.80 / 0.90", f1("series_10m", *CELLS[4:]), f1("second_series_10m", *CELLS[4:])],
        ["G8 confirmed false alarms per km2 and look, quiet sites, in so many km2-looks", "0.05 / 0.02 / 0.005", "; ".join(a for a in alarms if not a.startswith("second")), "; ".join(a for a in alarms if a.startswith("second"))],
        ["G9 confirmed precision where 0.1 % of the ground changes", "0.80 / 0.95 / 0.98", "; ".join(a for a in at if "second" not in a), "; ".join(a for a in at if "second" in a)],
        ["G10 clear looks that pass before a change is listed, median", "1 / 1 / 0", _lag(lags, "series_0.5m", "listed") + "; 10 m: " + _lag(lags, "series_10m", "listed"), _lag(lags, "second_series_0.5m", "listed")],
        ["G10 the same before it is confirmed, of those confirmed in the end", "3 / 2 / 2", _lag(lags, "series_0.5m", "confirmed") + "; 10 m: " + _lag(lags, "series_10m", "confirmed"), _lag(lags, "second_series_0.5m", "confirmed")],
        ["G11 onset intervals that hold the truth", "0.90-0.99 / 0.93-0.97 / 0.94-0.96", _share(onset) + ", all series of 0.3 to 1 m", _share(coarse) + ", 10 m, both renderers"],
        ["G12 90 % count intervals that hold the truth", "0.85-0.97 / 0.88-0.93 / 0.89-0.92", _share(counts), shown(sets.get("second_series_0.5m", {}).get("numbers", {}).get("count.coverage"))],
        ["90 % area intervals that hold the truth", "0.85-0.97 (as G12)", _share(_pooled(sets, ours, "area.coverage", "area.n")), _share(_pooled(sets, second, "area.coverage", "area.n"))],
        ["G13 ECE of confidence, all sets where things change together", "0.08 / 0.03 / 0.015", _error(sets, _ours_changing), _error(sets, _second_changing)],
        ["the same with the quiet sets, where every claim of a container or bank is wrong", "", _error(sets, lambda n: not n.startswith("second")), _error(sets, lambda n: n.startswith("second"))],
        ["G14 numbers given for looks that saw nothing", "1 % / 0 / 0", str(nothing_seen), ""],
    ]  # fmt: skip
    return table(["what", "gate / ambitious / extreme", "our renderer", "second renderer"], rows)


def _lag(lags: dict[str, Any], name: str, which: str) -> str:
    """Return a median lag, with how many changes it is of."""
    said = lags.get(name)
    if said is None:
        return "-"
    return f"{_median(said[which])} of {said['found' if which == 'listed' else 'sure']}"


def _share(found: tuple[float, float] | None) -> str:
    return "-" if found is None else f"{found[0]:.2f} of {found[1]:.0f}"


def _ours_changing(name: str) -> bool:
    return not name.startswith("second") and "quiet" not in name


def _second_changing(name: str) -> bool:
    return name.startswith("second") and "quiet" not in name


def _error(sets: dict[str, Any], wanted: Callable[[str], bool]) -> str:
    """Return the calibration error of all changes claimed on the wanted rendered sets taken together."""
    cells = [c for n, s in sets.items() if not n.startswith("real") and wanted(n) for c in _bins(s)]
    total = sum(n for _, n, _, _ in cells)
    if not total:
        return "-"
    gaps = 0.0
    for b in sorted({b for b, *_ in cells}):
        mine = [(n, said, true) for at, n, said, true in cells if at == b]
        gaps += abs(sum(n * (said - true) for n, said, true in mine))
    return f"{gaps / total:.2f} of {total:.0f}"


def _bins(said: dict[str, Any]) -> list[tuple[int, float, float, float]]:
    """Return (tenth of confidence, claims, mean confidence, share true) of one set."""
    return [(min(int(c["said"] * 10), 9), c["n"], c["said"], c["true"]) for c in said.get("reliability", [])]


BANDS_M = ((0.0, 0.6), (0.6, 2.0), (2.0, 5.0), (5.0, 30.0))


def pixel_size(name: str) -> float:
    """Return the pixel size in a set's name, in metres."""
    return float(name.rsplit("_", 1)[1].removesuffix("m"))


def calibration_by_pixel(sets: dict[str, Any]) -> str:
    """Said and true per band of pixel size, changing and quiet sites together, by renderer."""
    rows = []
    for low, high in BANDS_M:
        for whose in ("ours", "second"):
            cells = [
                c
                for n, s in sets.items()
                if not n.startswith("real")
                and low <= pixel_size(n) < high
                and n.startswith("second") == (whose == "second")
                for c in _bins(s)
            ]
            total = sum(n for _, n, _, _ in cells)
            if total:
                said, true = (sum(c[1] * c[k] for c in cells) / total for k in (2, 3))
                rows.append([f"{low:g}-{high:g} m", whose, f"{total:.0f}", f"{said:.2f}", f"{true:.2f}"])
    return table(["pixel size", "renderer", "claims", "said", "true"], rows)


def detection_page(
    said: dict[str, Any],
    geometry: dict[str, Any] | None = None,
    lags: dict[str, Any] | None = None,
    unidentified: dict[str, Any] | None = None,
) -> str:
    """The whole page; ``geometry`` holds sets run without the network, the others are results of their benchmarks."""
    sets = said["sets"]
    failures = [f for s in sets.values() for f in s["failures"]]
    violations = sum(s.get("timeline_violations", 0) for s in sets.values())
    unseen = sum(s["numbers"]["unseen_claims"]["value"] for s in sets.values() if "numbers" in s)
    return f"""# Detection, as measured

Made by `python -m benchmarks.detection_docs` from `benchmarks/results/detection.json`; edit neither by hand.
**All scores but those headed "real" were measured on rendered scenes.** Sets called `second_...` were made by another renderer
(`benchmarks/second_renderer.py`) that nothing was trained or tuned on. Intervals in brackets: 95 %, bootstrap by site;
read differences inside them as noise. How claims and truth are matched: `benchmarks/scoring.py`.
The learned detector was {"on" if said["run"]["network"] else "off"}.

## Against the targets

{gates_table(sets, lags or {})}

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

Where 0.1 % of the ground changes, confirmed changes would be right as often as this (by area; recall by objects):

{prevalence_table(sets)}

Numbers given for looks in which nothing was seen: {violations}. Changes first seen in a look that did not show their place: {unseen:.0f}.

## How soon

Every site analysed with its first two looks, its first three, up to all, as somebody asks after each new look (`python -m benchmarks.onset_lag`). Numbers are clear
looks after the onset that passed before; medians with 95 % intervals, sites drawn with replacement. *First seen* is what the last report says in hindsight; *listed* and
*confirmed* are of the first report that said so, of changes that the last report still lists or holds for confirmed. A change too late for a second and third
look is never confirmed, and not counted.

{lag_table(lags or {})}

## What is claimed as not identified

Halls, houses, tanks, sheds, lorries and hay come and go on rendered sites too. Above, a claim "not identified" is right where its outline shares enough with one of them that
came or went then. Here (`python -m benchmarks.unidentified`) claims by what really came or went where they lie, in that direction and interval; and of such
things of 25 m2 and more, clear on either side and standing in two clear looks at least, how many are listed. Sites of one seed hold alike things in several sets.

{unidentified_tables(unidentified or {})}

What is confirmed in quiet sites, where nothing of our classes comes or goes:

{confirmed_table(unidentified or {})}

## Real pairs

On these pairs no container or berm is known to have come or gone, so each claim of one counts as false. Pairs have two dates: nothing on them can be confirmed by three
independent looks.

{real_table(sets)}

Against the labels that the authors of OSCD drew by hand (urban growth alone; fields, water and works half done are left out of
them, so a claim beside a label is not always wrong), two dates each, from our default least confidence on:

{labels_table(sets)}

## Peers on the same pairs

{peers_table(sets)}

## What the network adds

The network alone is not a method of ours: what it says of one look is pooled, followed and judged with shadows and outlines, and no judge was fitted without those.
Without the network (`--no-network`, results in `benchmarks/results/detection_geometry.json`) everything is unverified.

{parts_table(sets, geometry or {})}

## From our renderer to the second

{drop_lines(sets)}

## Is the confidence true?

{reliability_table(sets)}

By pixel size:

{calibration_by_pixel(sets)}

## Sites that failed

{chr(10).join(f"- {f}" for f in failures) or "None."}
"""


def main() -> int:
    """Write the page from what has been measured."""
    path, page = RESULTS / "detection.json", ROOT / "docs" / "accuracy-detection.md"
    without = RESULTS / "detection_geometry.json"
    if not path.is_file():
        print(f"{path} is missing: run its benchmark first", file=sys.stderr)
        return 0
    geometry = json.loads(without.read_text())["sets"] if without.is_file() else {}
    more = [RESULTS / f"{name}.json" for name in ("onset_lag", "unidentified")]
    lags, unidentified = (json.loads(p.read_text())["sets"] if p.is_file() else {} for p in more)
    page.write_text(detection_page(json.loads(path.read_text()), geometry, lags, unidentified))
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
