"""What each cue of a place at 10 m weighs, fitted on rendered series: ``python -m benchmarks.coarse_weights [--sites 40]``.

Prints the last row of ``imagery.timeseries.disturbances.WEIGHTS`` (for more dates than the others are for), with its calibration on
sites left out. Sites of our own renderer with seeds used nowhere else, 8 to 24 looks over a year and a half; half as many quiet
ones; and small things planted into quiet ground (as ``benchmarks.limits`` does, other seeds), since the sites' own changes are
wide. Ridge logistic regression; every sign is fixed by what the cue means, and no cue weighs more than three.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks import limits, scoring
from benchmarks.coarse_points import LOOKS
from benchmarks.detection import analysed, rendered
from imagery.changes import Change, Direction, ObjectClass
from imagery.timeseries.disturbances import WEIGHTS, TimeSeriesOptions, find_disturbances
from pipelines.products import ProductStore
from pipelines.steps import aoi_mask, look_from, project

Float64 = NDArray[np.float64]

FIRST_SEED = 960_000
FIRST_QUIET = 100
FIRST_PLANTED = limits.FIRST_SEED + 95_000
MATCH_IOU = limits.LEAST_IOU
# Dozens of planted things come at once and at one date, which no site's do: one counts as a third of a place of the sites.
PLANTED_WEIGHT = 0.3
# Most sites of the world are quieter than these.
TAKEN_OFF = 0.5
FOLDS = 6
RIDGE = 1.0
MOST = 3.0
# What the renderer cannot teach. Its small places are decoys, which the world's need not be; its masks miss less than real ones do.
HELD = {"extent": (0.0, 1.0), "one date": (-MOST, -2.0)}
AGAINST = frozenset({"wide", "vegetation"})
CUES = tuple(name for name in WEIGHTS[math.inf] if name != "base")


def cues(change: Change) -> list[float]:
    """Return a change's cues, from what they added to its confidence."""
    added, weights = dict(change.evidence), WEIGHTS[math.inf]
    return [added.get(name, 0.0) / weights[name] for name in CUES]


def places_of(
    kind: Literal["depot", "quiet"], number: int, work: Path
) -> tuple[list[list[float]], list[bool]]:
    """Render and analyse one site; return the cues of every place and whether something truly changed there then."""
    scenes, report = work / "scenes", work / "report"
    looks = LOOKS[number % len(LOOKS)]
    rendered(kind, 10.0, extent_m=1800.0, looks=looks)(scenes, FIRST_SEED + number)
    with analysed(
        scenes / "catalog.json", scenes / "aoi.geojson", report, network=False, store=work / "store"
    ) as done:
        site, grid = done.analysis.site, done.analysis.grid
    store = ProductStore(work / "store")
    products = [store.get(entry.key) for entry in store.entries() if entry.step == "look"]
    area = project(site.aoi, "EPSG:4326", grid.crs)
    found = find_disturbances(
        [look_from(product) for product in products if product is not None],
        aoi_mask(shapely.to_wkb(area), grid),
        TimeSeriesOptions(least_confidence=0.0),
    )
    times = scoring.scene_times(report)
    truths = scoring.merged(
        [
            t
            for t in scoring.read_truth(
                scenes / "truth.geojson",
                lambda shape: project(shape, "EPSG:4326", grid.crs),
                scoring.reference_scene(report),
            )
            if t.geometry.intersects(area) and scoring.could_be_seen(t, times)
        ],
        by_time=True,
    )
    places = _by_many(found.changes)
    return [cues(c) for c in places], [any(_is(c, t) for t in truths) for c in places]


def _by_many(changes: Sequence[Change]) -> list[Change]:
    """Return the changes that the last row of ``WEIGHTS`` judged: of a site with few dates the others do."""
    return [c for c in changes if dict(c.evidence)["base"] == WEIGHTS[math.inf]["base"]]


def planted_places(number: int) -> tuple[list[list[float]], list[bool]]:
    """Return the same of what was planted into one quiet site, without places that touch a planted thing and are not it."""
    cell = limits.Cell(limits.COARSE_GSD_M, None, None, FIRST_PLANTED + number)
    looks = limits.rendered_looks(cell)
    seen: list[list[float]] = []
    true: list[bool] = []
    for round_of in range(limits.ROUNDS):
        planted, placed = limits.planted_year(cell, looks, round_of)
        everywhere = np.ones(looks[0].grid.shape, bool)
        found = find_disturbances(planted, everywhere, TimeSeriesOptions(least_confidence=0.0))
        for change in _by_many(found.changes):
            shared = max(
                limits.overlap(thing.outline, change.footprint, ObjectClass.OTHER) for thing in placed
            )
            right = change.direction is Direction.APPEARED and shared >= MATCH_IOU
            if right or shared == 0.0:
                seen.append(cues(change))
                true.append(right)
    return seen, true


def _is(change: Change, truth: scoring.Event) -> bool:
    return (
        change.onset.start <= truth.start <= change.onset.end
        and change.direction == truth.direction
        and limits.overlap(change.footprint, truth.geometry, ObjectClass.OTHER) >= MATCH_IOU
    )


def fitted(cues_seen: Float64, true: Float64, counts: Float64) -> Float64:
    """Return the base and the weight of every cue, (1 + cue,)."""
    bounds = [(None, None)] + [
        HELD.get(name, (-MOST, 0.0) if name in AGAINST else (0.0, MOST)) for name in CUES
    ]

    def cost(p: Float64) -> float:
        odds = p[0] + cues_seen @ p[1:]
        misfit = counts @ (np.logaddexp(0.0, odds) - true * odds)
        return float(misfit + 0.5 * RIDGE * (p[1:] ** 2).sum())

    found: Float64 = minimize(cost, np.zeros(len(CUES) + 1), bounds=bounds, method="L-BFGS-B").x
    return found


def left_out(cues_seen: Float64, true: Float64, counts: Float64, site: NDArray[np.int64]) -> Float64:
    """Return every place's confidence by weights fitted on other sites."""
    confidence = np.zeros(len(true))
    for fold in range(FOLDS):
        held = site % FOLDS == fold
        p = fitted(cues_seen[~held], true[~held], counts[~held])
        confidence[held] = 1.0 / (1.0 + np.exp(-(p[0] + cues_seen[held] @ p[1:])))
    return confidence


def main(arguments: Sequence[str] | None = None) -> int:
    """Render, analyse, fit and print."""
    parser = argparse.ArgumentParser(description="Fit what cues weigh at 10 m.")
    parser.add_argument("--sites", type=int, default=40, help="and half as many quiet ones, a third planted")
    args = parser.parse_args(arguments)
    numbers: list[tuple[Literal["depot", "quiet", "planted"], int]] = [
        ("depot", k) for k in range(args.sites)
    ]
    numbers += [("quiet", FIRST_QUIET + k) for k in range(args.sites // 2)]
    numbers += [("planted", k) for k in range(max(1, round(0.35 * args.sites)))]
    seen: list[list[float]] = []
    true: list[bool] = []
    counts: list[float] = []
    site: list[int] = []
    for index, (kind, number) in enumerate(numbers):
        if kind == "planted":
            places, right = planted_places(number)
        else:
            with tempfile.TemporaryDirectory() as folder:
                places, right = places_of(kind, number, Path(folder))
        seen, true, site = seen + places, true + right, site + [index] * len(places)
        counts += [PLANTED_WEIGHT if kind == "planted" else 1.0] * len(places)
        print(f"  {kind} {number}: {len(places)} places, {sum(right)} true", file=sys.stderr, flush=True)
    x, y, n = np.array(seen), np.array(true, float), np.array(counts)
    found = fitted(x, y, n)
    found[0] -= TAKEN_OFF
    print(dict(zip(("base", *CUES), found.round(3).tolist(), strict=True)))
    own = n == 1.0
    confidence = left_out(x, y, n, np.array(site))
    error = scoring.calibration_error(list(zip(confidence[own].tolist(), (y[own] > 0).tolist(), strict=True)))
    print(
        f"{len(y)} places, {int(y.sum())} true; before half a unit is taken off, calibration error on sites left out {error:.3f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
