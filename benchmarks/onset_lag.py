"""How many clear looks pass until a change is listed, and until it is confirmed, as looks come in one by one (G10).

Every site of a series set is analysed with its first two looks, with its first three, and so on to all of them: what somebody
who asks after each new look is told. Each is a whole analysis with its own reference; they share one store, as a watched
site's runs do, so a look is made once. Sites, truth and matching are those of ``benchmarks.detection``.

    python -m benchmarks.onset_lag [--sets series_0.5m,series_10m] [--sites N] [--work DIR]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry import shape

from benchmarks import detection, scoring
from pipelines.analysis import Analysis
from pipelines.aoi import read_aoi
from pipelines.archives import open_archive
from pipelines.parameters import Parameters
from pipelines.runner import open_runner
from pipelines.site import SceneSet, analyse_scenes

RESULTS = Path(__file__).parent / "results" / "onset_lag.json"
DEFAULT_SETS = "series_0.5m,second_series_0.5m,series_10m"
DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Course:
    """What became of one true change, in clear looks after its onset that passed before; None where it never came to that.

    ``dated`` is what the report over all looks says in hindsight (its ``first_seen``); ``listed`` and ``confirmed`` are of
    the first run that said so, and may have been taken back: ``found`` and ``sure`` say what the last run says.
    """

    dated: int | None
    listed: int | None
    confirmed: int | None
    found: bool
    sure: bool
    clear_looks: int


def growing_analyses(scenes: Path, store: Path, *, network: bool = True) -> list[Analysis]:
    """Analyse a site with its first two looks, its first three, up to all; ``scenes`` holds catalog.json and aoi.geojson."""
    site = read_aoi(scenes / "aoi.geojson")
    found = open_archive(str(scenes / "catalog.json")).search(site.aoi, None).scenes
    ordered = tuple(sorted(found, key=lambda scene: (scene.t_utc, scene.id)))
    with open_runner(1, None) as runner:
        return [
            analyse_scenes(
                site,
                SceneSet(ordered[:number]),
                store=str(store),
                runner=runner,
                parameters=Parameters(network=network),
            ).analysis
            for number in range(2, len(ordered) + 1)
        ]


def courses(runs: Sequence[Analysis], scenes: Path, *, classless: bool) -> list[Course]:
    """Return the course of every true change that the looks of the last run could show."""
    last = runs[-1]
    area = shapely.union_all(
        [shape(g) for g in scoring.geometries(json.loads((scenes / "aoi.geojson").read_text()))]
    )
    project = scoring.to_metres(area.centroid.x, area.centroid.y)
    inside = project(area)
    times = {look.scene.id: look.scene.t_utc for look in last.looks}
    told = scoring.read_truth(scenes / "truth.geojson", project, _reference(last))
    if not classless:  # containers and banks alone
        told = [t for t in told if t.object_class != "other"]
    can = scoring.asked_for(told, inside, times, last.grid.gsd_m, classless=classless)
    offsets = json.loads((scenes / "truth.geojson").read_text()).get("scenes", {})
    found = [_found(run, last, can, offsets, classless=classless) for run in runs]
    known = scoring.merged(_plain(can.seen, classless=classless), by_time=True)
    asked = [max(look.scene.t_utc for look in run.looks) for run in runs]
    return [_course(j, true, times, asked, found) for j, true in enumerate(known)]


def _reference(run: Analysis) -> str | None:
    return next((look.scene.id for look in run.looks if look.reference), None)


def _plain(events: Sequence[scoring.Event], *, classless: bool) -> list[scoring.Event]:
    return [scoring.nameless(e) for e in events] if classless else list(events)


def _found(
    run: Analysis,
    last: Analysis,
    can: scoring.Asked,
    offsets: dict[str, dict[str, float]],
    *,
    classless: bool,
) -> dict[int, tuple[bool, datetime]]:
    """Return (confirmed, claimed first seen) by true change that a run lists; a run lies where its own reference lies."""
    nowhere = {"east_m": 0.0, "north_m": 0.0}
    here, there = (offsets.get(_reference(r) or "", nowhere) for r in (run, last))
    east, north = (here[axis] - there[axis] for axis in ("east_m", "north_m"))
    claims = [
        scoring.Event(
            str(c.object_class), str(c.direction), translate(c.footprint, east, north),
            c.onset.start, c.onset.end, c.confidence, str(c.status),
        )
        for c in run.detection.changes
    ]  # fmt: skip
    grouped = scoring.merged(_plain(can.without_hidden(claims), classless=classless), by_time=False)
    known = scoring.merged(_plain(can.seen, classless=classless), by_time=True)
    return {
        j: (any(m.status in scoring.CONFIRMED for m in grouped[i].members), grouped[i].end)
        for i, j in scoring.matches(grouped, known, scoring.THRESHOLDS[0])
    }


def _course(
    j: int,
    true: scoring.Event,
    times: dict[str, datetime],
    asked: Sequence[datetime],
    found: Sequence[dict[int, tuple[bool, datetime]]],
) -> Course:
    shown = times if true.visible_in is None else [s for s in true.visible_in if s in times]
    clear = [times[s] for s in shown if times[s] > true.start]

    def passed(before: datetime | None) -> int | None:
        return None if before is None else sum(t < before for t in clear)

    runs = list(zip(asked, found, strict=True))
    at_the_end = found[-1].get(j)
    return Course(
        passed(at_the_end[1] if at_the_end else None),
        passed(next((t for t, told in runs if j in told), None)),
        passed(next((t for t, told in runs if j in told and told[j][0]), None)),
        at_the_end is not None,
        at_the_end is not None and at_the_end[0],
        len(clear),
    )


def summary(sites: Sequence[Sequence[Course]]) -> dict[str, Any]:
    """Sum a set up: ``dated`` and ``listed`` of what the last run lists, ``confirmed`` of what it holds for confirmed."""
    every = [c for site in sites for c in site]
    return {
        "sites": len(sites),
        "changes": len(every),
        "found": sum(c.found for c in every),
        "sure": sum(c.sure for c in every),
        "listed_and_lost": sum(c.listed is not None and not c.found for c in every),
        "confirmed_and_lost": sum(c.confirmed is not None and not c.sure for c in every),
        "dated": _lags([[c.dated for c in site if c.found] for site in sites]),
        "listed": _lags([[c.listed for c in site if c.found] for site in sites]),
        "confirmed": _lags([[c.confirmed for c in site if c.sure] for site in sites]),
    }


def _lags(sites: Sequence[Sequence[int | None]]) -> dict[str, Any]:
    """Return the median with its 95 % interval, sites drawn with replacement, and how many changes took how long."""
    known = [[lag for lag in site if lag is not None] for site in sites]
    every = [lag for site in known for lag in site]
    if not every:
        return {"median": None, "low": None, "high": None, "by_looks": {}}
    rng = np.random.default_rng(0)
    drawn = [[lag for i in rng.integers(0, len(known), len(known)) for lag in known[i]] for _ in range(DRAWS)]
    low, high = np.quantile([np.median(d) for d in drawn if d], (0.025, 0.975))
    counts = {str(n): every.count(n) for n in sorted(set(every))}
    return {"median": float(np.median(every)), "low": float(low), "high": float(high), "by_looks": counts}


def measure(test: detection.TestSet, sites: int, work: Path) -> dict[str, Any]:
    """Follow the sites of a set through all their looks."""
    told = []
    for index in range(sites):
        scenes = work / f"{test.name}-{index}" / "scenes"
        if not (scenes / "truth.geojson").is_file():
            test.make(scenes, detection.FIRST_SEED + index)
        with tempfile.TemporaryDirectory() as store:
            told.append(courses(growing_analyses(scenes, Path(store)), scenes, classless=test.classless))
        print(f"  {test.name}-{index}: {summary(told[-1:])}", file=sys.stderr, flush=True)
    return {"what": test.what, "measured_on": test.measured_on, **summary(told)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure sets and write the results; sets not run now keep what they had."""
    parser = argparse.ArgumentParser(description="Measure after how many clear looks changes are confirmed.")
    parser.add_argument("--sets", default=DEFAULT_SETS)
    parser.add_argument("--sites", type=int, default=16)
    parser.add_argument(
        "--work", type=Path, help="take scenes from here, as benchmarks.detection leaves them"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    tests = {test.name: test for test in detection.SETS}
    unknown = set(args.sets.split(",")) - tests.keys()
    if unknown:
        parser.error(f"no set called {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.sets.split(","):
            found = measure(tests[name], args.sites, args.work or Path(scratch))
            said = json.loads(args.out.read_text()) if args.out.is_file() else {"sets": {}}
            said["sets"][name] = found
            args.out.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
            print(f"{name}: {json.dumps(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
