"""What was measured against what was aimed at: gate, ambitious and extreme of each row, and why a row is missed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the targets; ``read`` takes the number from the measured cases, ``cause`` is told where it misses.

    ``more`` is True where more is better.
    """

    name: str
    what: str
    read: Callable[[Mapping[str, Any]], float]
    levels: tuple[float, float, float]
    show: str
    more: bool
    cause: str


PAIR = (
    "A third is the network; on a small site what is done once, the search for changes and the report with its pictures, is another third. "
    "How many seconds that is is the machine's: the floor of 2.6 km² took 9.5 s in this run, 8.6 to 12.2 s in others."
)
SMALL_PAIR = (
    "The network alone takes as long as the floor here, and the report with the pictures of 19 changes nearly twice as long, which "
    "two looks alone have to bear."
)
SMALL_SERIES = (
    "Three tenths go into registration, a fifth each into reading every scene twice (to place it, on a chip wider than the site, "
    "and to use it) and into normalisation, a sixth into the scan of the series."
)
REMAINS = (
    "Half is the search for changes through all 100 looks again: judging and drawing what was found, which every further look changes "
    "a little, a quarter of the whole or more, finding where to look a tenth, unpacking what the looks show 2 %. A fifth is the "
    "report, most of it pictures, and less than a fifth the new look itself; on so small a site starting the program counts too."
)
INCREMENT_LEVELS: dict[str, tuple[tuple[float, float, float], str, bool]] = {
    "G21": ((1 / 20, 1 / 50, 1 / 90), "{:.3f}", False),
    "G22": ((1 / 3, 1 / 10, 1 / 30), "{:.3f}", False),
}
TARGETS = (
    Target(
        "G17", "two dates at 10 m, km² per minute and core",
        lambda cases: float(cases["pair_10m"]["km2_per_minute_one_core"]), (400, 2000, 10_000), "{:,.0f}", True,
        "Reading alone, the floor, is a fifth of it.",
    ),
    Target(
        "G17b", "2.6 km², two dates at 0.5 m, km² per minute and core",
        lambda cases: float(cases["pair_wide_0.5m"]["km2_per_minute_one_core"]), (5, 20, 60), "{:.1f}", True, PAIR,
    ),
    Target(
        "G17b", "0.25 km², two dates at 0.5 m, km² per minute and core",
        lambda cases: float(cases["pair_0.5m"]["km2_per_minute_one_core"]), (5, 20, 60), "{:.1f}", True,
        PAIR + " On a site so small a fifth goes into the pictures of ten changes and as much into registering, which grows with "
        "neither looks nor ground.",
    ),
    Target(
        "G20", "12 looks at 0.5 m, times the floor", lambda cases: float(cases["series_0.5m"]["ratio_to_floor"]),
        (6, 3, 1.5), "{:.2f}", False,
        "A third is the network, a fifth each registration and reading (each scene is read once to be placed and once to be "
        "looked at), a tenth the normalisation.",
    ),
    Target(
        "G20", "two dates of 400 km² at 10 m, times the floor", lambda cases: float(cases["pair_10m"]["ratio_to_floor"]),
        (6, 3, 1.5), "{:.2f}", False, "Registration and the statistics of the series.",
    ),
    Target(
        "G20", "0.25 km², two dates at 0.5 m, times the floor",
        lambda cases: float(cases["pair_0.5m"]["ratio_to_floor"]), (6, 3, 1.5), "{:.2f}", False, SMALL_PAIR,
    ),
    Target(
        "G20", "2.6 km², two dates at 0.5 m, times the floor",
        lambda cases: float(cases["pair_wide_0.5m"]["ratio_to_floor"]), (6, 3, 1.5), "{:.2f}", False, PAIR,
    ),
    Target(
        "G20", "9 km², 40 looks at 10 m, times the floor", lambda cases: float(cases["series_10m"]["ratio_to_floor"]),
        (6, 3, 1.5), "{:.2f}", False, SMALL_SERIES,
    ),
    Target(
        "G21", "0.25 km², one look more, share of the first analysis",
        lambda cases: float(cases["increment_depot"]["one_scene_more_of_cold"]), *INCREMENT_LEVELS["G21"], REMAINS,
    ),
    Target(
        "G21", "0.12 km², one look more, share of the first analysis",
        lambda cases: float(cases["increment_yard"]["one_scene_more_of_cold"]), *INCREMENT_LEVELS["G21"], REMAINS,
    ),
    Target(
        "G21", "0.02 km², one look more, share of the first analysis",
        lambda cases: float(cases["increment"]["one_scene_more_of_cold"]), *INCREMENT_LEVELS["G21"], REMAINS,
    ),
    Target(
        "G22", "0.25 km², one parameter changed, share of the first analysis",
        lambda cases: float(cases["increment_depot"]["parameter_changed_of_cold"]), *INCREMENT_LEVELS["G22"], REMAINS,
    ),
    Target(
        "G22", "0.12 km², one parameter changed, share of the first analysis",
        lambda cases: float(cases["increment_yard"]["parameter_changed_of_cold"]), *INCREMENT_LEVELS["G22"], REMAINS,
    ),
    Target(
        "G22", "0.02 km², one parameter changed, share of the first analysis",
        lambda cases: float(cases["increment"]["parameter_changed_of_cold"]), *INCREMENT_LEVELS["G22"], REMAINS,
    ),
    Target(
        "G23", "4 workers on 4 sites, times as fast as one", lambda cases: float(cases["workers"]["batch_speedup"]),
        (2.5, 3.3, 3.8), "{:.2f}", True,
        "The cores were not ours alone: see the load average and the CPU seconds that each site took more than alone.",
    ),
    Target(
        "G24", "peak memory of 2.6 km², 24 looks at 0.5 m, GiB", lambda cases: float(cases["memory"]["peak_mib"]) / 1024,
        (4, 2, 1), "{:.2f}", False, "The change finder maps the evidence of all looks.",
    ),
)  # fmt: skip
NAMES = ("gate", "ambitious", "extreme")


def verdict(target: Target, value: float) -> str:
    """Return the highest level that a number reaches, ``missed`` for none."""
    reached = [
        name
        for name, level in zip(NAMES, target.levels, strict=True)
        if (value >= level if target.more else value <= level)
    ]
    return reached[-1] if reached else "missed"


def rows(cases: Mapping[str, Any]) -> list[list[str]]:
    """Return one line per target whose case was measured, as Markdown cells."""
    found = []
    for target in TARGETS:
        try:
            value = target.read(cases)
        except KeyError:
            continue
        reached = verdict(target, value)
        levels = [target.show.format(level) for level in target.levels]
        told = f"**{reached}**" if reached == "missed" else reached
        why = target.cause if reached == "missed" else ""
        found.append([target.name, target.what, target.show.format(value), " / ".join(levels), told, why])
    return found


def kill_rows(runs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the lines of G18, one column for each batch of real analyses under kills."""
    told: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "sites, looks of each": lambda run: f"{run['units']}, {run['looks']}",
        "workers, kills": lambda run: f"{run['workers']}, {run['kills']}",
        "seconds of work for every kill": lambda run: f"{run['busy_s'] / run['kills']:.0f}",
        "units lost": lambda run: str(run["lost"]),
        "reports doubled": lambda run: str(run["doubled"]),
        "looks begun twice, of all": lambda run: f"{100 * run['redone_of_looks']:.2f} %",
        "seconds worked twice, of all": lambda run: f"{100 * run['redone_of_seconds']:.2f} %",
        "of these for every kill": lambda run: f"{(run['lost_s'] + run['found_again_s']) / run['kills']:.2f}",
        "same bytes as undisturbed": lambda run: "yes" if run["same_bytes_undisturbed"] else "NO",
        "cores, load": lambda run: f"{run['run']['cores']}, {run['run']['load_average']:.0f}",
    }
    return [[name, *map(tell, runs)] for name, tell in told.items()]
