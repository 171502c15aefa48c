"""Are the p-values of ``pipelines.corroboration`` what they claim, and what can they find? (G15)

``python -m benchmarks.corroboration`` simulates sites on which events and changes have nothing to do with each other, in
three worlds that tempt a test to say otherwise, and prints for each null model whether its p-values are uniform
(Kolmogorov-Smirnov) and how often the published ones, which count ties against the claim, fall to 5 % and below. Then it
plants changes after events and prints how often they are found. Writes ``benchmarks/results/corroboration.json`` and, with
``--page``, ``docs/corroboration.md``'s tables.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipelines.corroboration import Onset, Window, corroborate, jointly, merge_onsets, season_of

RESULTS = Path(__file__).parent / "results" / "corroboration.json"
PAGE = Path(__file__).parents[1] / "docs" / "corroboration.md"
START, END = "<!-- made by benchmarks.corroboration -->", "<!-- end -->"
FIRST_DAY, YEARS = 17_500, 4
LAG = (0, 30)
WINTER_KEPT = 0.25
NULLS = ("circular_shift", "season", "resampled_looks")
Generator = np.random.Generator
Days = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class World:
    """How looks, changes and events come about; ``holds`` names the nulls whose assumption is true here."""

    name: str
    told: str
    onset_days: Callable[[Generator, int], NDArray[np.float64]]
    event_days: Callable[[Generator, int], NDArray[np.float64]]
    holds: tuple[str, ...]


def _any_time(chance: Generator, number: int) -> NDArray[np.float64]:
    return chance.uniform(FIRST_DAY, FIRST_DAY + 365 * YEARS, number)


def _in_summer(chance: Generator, number: int) -> NDArray[np.float64]:
    """Days of June to August only, of any year: the same season for events and changes, else independent."""
    days = np.empty(0)
    while days.size < number:
        drawn = _any_time(chance, 8 * number)
        days = np.concatenate([days, drawn[season_of(drawn.astype(np.int64)) == 2]])
    return days[:number]


def _in_one_burst(chance: Generator, number: int) -> NDArray[np.float64]:
    """Days of one burst, which at the end of the years goes on at their start: what a circular shift supposes."""
    days = chance.uniform(0.0, 365.0 * YEARS) + chance.uniform(0.0, 40.0, number)
    return FIRST_DAY + days % (365.0 * YEARS)


def _as_seasons_go(chance: Generator, number: int) -> NDArray[np.float64]:
    """Days at a rate that swings smoothly from nothing in midwinter to its most in midsummer."""
    days = np.empty(0)
    while days.size < number:
        drawn = _any_time(chance, 8 * number)
        rate = 0.5 - 0.5 * np.cos(2 * np.pi * (drawn - 14.0) / 365.25)
        days = np.concatenate([days, drawn[chance.random(drawn.size) < rate]])
    return days[:number]


WORLDS = (
    World("steady", "changes and events at any time", _any_time, _any_time, NULLS),
    World("seasonal", "both in summer only", _in_summer, _in_summer, ("season",)),
    World("swinging", "both with the seasons, smoothly", _as_seasons_go, _as_seasons_go, ()),
    World(
        "bursts", "all events within 40 days", _any_time, _in_one_burst, ("circular_shift", "resampled_looks")
    ),
)


def clear_looks(chance: Generator, spacing_days: float) -> Days:
    """Return days of clear looks: irregular, and three of four missing in winter."""
    steps = 1.0 + chance.exponential(spacing_days - 1.0, int(3 * 365 * YEARS / spacing_days))
    days = (FIRST_DAY + np.cumsum(steps)).astype(np.int64)
    days = np.unique(days[days < FIRST_DAY + 365 * YEARS])
    kept: Days = days[(season_of(days) != 0) | (chance.random(days.size) < WINTER_KEPT)]
    return kept


def dated(days: NDArray[np.float64], looks: Days, chance: Generator) -> tuple[Onset, ...]:
    """Return what the looks make of changes on these days: one interval per pair of looks around them."""
    found = []
    for day in days:
        after = int(np.searchsorted(looks, day))
        if 0 < after < looks.size:
            found.append((float(looks[after - 1]), float(looks[after]), float(chance.uniform(0.5, 1.0))))
    return merge_onsets(found)


def windows_at(days: NDArray[np.float64], chance: Generator) -> list[Window]:
    """Return events on these days, two to eight days long with their uncertainty."""
    return [Window(int(day), int(chance.integers(2, 9)), LAG) for day in days]


def null_values(world: World, runs: int, seed: int) -> dict[str, list[float]]:
    """Return p-values of independent sites without any connection, per null both published and with ties broken."""
    chance = np.random.default_rng(seed)
    kept: dict[str, list[float]] = {
        f"{null} {kind}": [] for null in NULLS for kind in ("spread", "published")
    }
    kept["headline"] = []
    while len(kept["headline"]) < runs:
        looks = clear_looks(chance, float(chance.uniform(6.0, 30.0)))
        onsets = dated(world.onset_days(chance, int(chance.integers(3, 15))), looks, chance)
        windows = windows_at(world.event_days(chance, int(chance.integers(1, 6))), chance)
        found = jointly(looks.tolist(), onsets, windows, seed=len(kept["headline"]))
        if found is None:
            continue
        kept["headline"].append(found.p_value)
        for null in found.nulls:
            if null.p_value is not None and null.p_spread is not None:
                kept[f"{null.name} published"].append(null.p_value)
                kept[f"{null.name} spread"].append(null.p_spread)
    return kept


def check_world(world: World, runs: int, seed: int) -> dict[str, Any]:
    """Return per null the KS p-value of uniformity and the share of published p-values at 5 % and below."""
    values = null_values(world, runs, seed)
    rows = {}
    for null in NULLS:
        spread, published = values[f"{null} spread"], values[f"{null} published"]
        rows[null] = {
            "assumption_holds": null in world.holds,
            "sites": len(spread),
            "ks_p": float(stats.kstest(spread, "uniform").pvalue),
            "published_at_5_percent": float(np.mean(np.array(published) <= 0.05)),
        }
    headline = float(np.mean(np.array(values["headline"]) <= 0.05))
    return {"world": world.name, "told": world.told, "nulls": rows, "headline_at_5_percent": headline}


def power_row(events: int, spacing_days: float, runs: int, seed: int) -> dict[str, Any]:
    """Return how often changes planted 0-30 days after each event are found among as many others."""
    chance = np.random.default_rng(seed)
    found = untestable = asked = 0
    single, together = [], []
    for run in range(runs):
        looks = clear_looks(chance, spacing_days)
        days = _any_time(chance, events)
        planted = days + chance.uniform(*LAG, events)
        onsets = dated(np.concatenate([planted, _any_time(chance, 4)]), looks, chance)
        result = corroborate(looks.tolist(), onsets, [Window(int(day), 3, LAG) for day in days], seed=run)
        asked += events
        untestable += sum(event.tested is None for event in result.events)
        single += [event.power for event in result.events if event.power is not None]
        together += [0.0 if result.joint_power is None else result.joint_power]
        found += result.joint is not None and result.joint.p_value <= 0.05
    return {
        "events": events,
        "looks_every_days": spacing_days,
        "sites": runs,
        "found": found / runs,
        "events_not_testable": untestable / asked,
        "stated_power_of_one_event": float(np.mean(single)) if single else 0.0,
        "stated_power_of_all": float(np.mean(together)),
    }


def measure(runs: int, seed: int = 15) -> dict[str, Any]:
    """Return everything the page prints."""
    worlds = [check_world(world, runs, seed + number) for number, world in enumerate(WORLDS)]
    power = [
        power_row(events, spacing, max(runs // 4, 20), seed + 100)
        for spacing in (5.0, 15.0, 40.0)
        for events in (1, 3, 6)
    ]
    return {"runs": runs, "seed": seed, "worlds": worlds, "power": power}


def tables(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| world | null model | its assumption holds | sites | KS p (uniform?) | published p ≤ .05 |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for world in result["worlds"]:
        for name, row in world["nulls"].items():
            holds = "yes" if row["assumption_holds"] else "no"
            lines.append(
                f"| {world['told']} | `{name}` | {holds} | {row['sites']} | {row['ks_p']:.2g} "
                f"| {row['published_at_5_percent']:.3f} |"
            )
        lines.append(f"| {world['told']} | **headline** (largest of the three) | | {result['runs']} | | "
                     f"**{world['headline_at_5_percent']:.3f}** |")  # fmt: skip
    lines += [
        "",
        "| a clear look every | events | found at 5 % | power stated for all together | for one alone | not testable |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["power"]:
        lines.append(
            f"| {row['looks_every_days']:g} days | {row['events']} | {row['found']:.2f} "
            f"| {row['stated_power_of_all']:.2f} | {row['stated_power_of_one_event']:.2f} "
            f"| {row['events_not_testable']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the tables; write the JSON and, where asked, the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000, help="sites per world")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/corroboration.md")
    args = parser.parse_args()
    result = measure(args.runs)
    print(tables(result))
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    if args.page:
        before, _, rest = PAGE.read_text("utf-8").partition(START)
        PAGE.write_text(f"{before}{START}\n\n{tables(result)}\n{END}{rest.partition(END)[2]}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
