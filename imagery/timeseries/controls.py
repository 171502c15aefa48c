"""How common a step is elsewhere on the same site, on the same kind of ground, at any time.

Fields are sown, cut and ploughed on dates of their own, so a spatial comparison date by date finds each of them odd.
Asked instead whether ground like this ever makes such a step, they answer yes; yards and roads answer no.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagery.timeseries.cube import Float32
from imagery.timeseries.scan import WINDOWS, Spot, vegetation_kind

SAMPLE = 5_000
POOL = 400
LEAST_POOL = 30
SIMILAR_STEP = 0.75


@dataclass(frozen=True, slots=True)
class Controls:
    """A fixed sample of the site: ``values`` (date, band, place), ``kind`` and ``bright`` (date, place), NaN unseen."""

    pixels: NDArray[np.int64]
    values: Float32
    kind: Float32
    bright: Float32


def take_controls(cube: Float32, bands: tuple[str, ...]) -> Controls:
    """Sample a (date, band, row, col) cube evenly."""
    flat = cube.reshape(*cube.shape[:2], -1)
    pixels = np.arange(0, flat.shape[2], max(flat.shape[2] // SAMPLE, 1))
    values = np.ascontiguousarray(flat[:, :, pixels])
    return Controls(pixels, values, vegetation_kind(values, bands), values.mean(axis=1))


def commonness(controls: Controls, cube: Float32, bands: tuple[str, ...], spot: Spot) -> float:
    """Return the share of comparable places that somewhere in the series step as far, in the spot's own direction.

    Comparable are those that look like the spot on the dates before the split, or like it after; the larger share
    counts, so that the answer is the same with time reversed. The direction is the one in which the spot stands
    out most from the steps that such ground makes anyway (Fisher's discriminant). What lasts is judged by the
    longer means too, where ground that comes back within the season steps less.
    """
    place = place_course(cube, spot.pixels)
    kind, bright = vegetation_kind(place[:, :, None], bands)[:, 0], place.mean(axis=1)
    elsewhere = ~np.isin(controls.pixels, spot.pixels)
    shares = []
    for dates in (slice(0, spot.split), slice(spot.split, None)):
        if not np.isfinite(kind[dates]).any():
            continue
        pool = _alike(controls, dates, float(np.nanmean(kind[dates])), float(np.nanmean(bright[dates])))
        pool = pool[elsewhere[pool]]
        if len(pool) >= LEAST_POOL:
            windows = [w for w in WINDOWS if w >= spot.window] or [spot.window]
            sums, counts = _running(controls.values[:, :, pool], place)
            shares.append(min(_share_as_far(sums, counts, spot.split, w) for w in windows))
    return max(shares, default=1.0)


def place_course(cube: Float32, pixels: NDArray[np.int64]) -> Float32:
    """Return (date, band) medians of some flat pixels, NaN on dates that saw less than half of them."""
    values = cube.reshape(*cube.shape[:2], -1)[:, :, pixels]
    course = np.full(cube.shape[:2], np.nan, np.float32)
    for d, on_date in enumerate(values):
        seen = np.isfinite(on_date[0])
        if 2 * np.count_nonzero(seen) >= len(pixels):
            course[d] = np.median(on_date[:, seen], axis=1)
    return course


def _running(pool: Float32, place: Float32) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return running sums (date + 1, band, n + 1) and counts (date + 1, 1, n + 1) of a pool, the place itself last.

    What the pool does in common on a date (its median) is taken out first.
    """
    joined = np.concatenate([pool, place[:, :, None]], axis=2)
    joined = joined - np.nan_to_num(_median_seen(pool))[:, :, None]
    seen = np.isfinite(joined[:, :1])
    zero = np.zeros((1, *joined.shape[1:]))
    sums = np.concatenate([zero, np.cumsum(np.where(seen, joined, 0), axis=0, dtype=np.float64)])
    return sums, np.concatenate([zero[:, :1], np.cumsum(seen, axis=0)])


def _share_as_far(sums: NDArray[np.float64], counts: NDArray[np.float64], split: int, window: int) -> float:
    """Share of a pool whose largest step reaches ``SIMILAR_STEP`` of the place's own; means of up to ``window`` dates."""
    dates = len(sums) - 1
    at = np.arange(1, dates)
    low, high = np.maximum(at - window, 0), np.minimum(at + window, dates)
    before, after = counts[at] - counts[low], counts[high] - counts[at]
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = (sums[high] - sums[at]) / after - (sums[at] - sums[low]) / before
    own = steps[split - 1, :, -1]
    others = np.moveaxis(steps[:, :, :-1], 1, 2)
    known = others[np.isfinite(others[:, :, 0])]
    if len(known) < LEAST_POOL or not np.isfinite(own).all():
        return 1.0
    bands = len(own)
    covariance = known.T @ known / len(known)
    covariance += (1e-3 * np.trace(covariance) / bands + 1e-12) * np.eye(bands)
    direction = np.linalg.solve(covariance, own)
    reach = np.abs(np.nan_to_num(others @ direction)).max(axis=0)
    wanted = SIMILAR_STEP * abs(float(direction @ own))
    return (np.count_nonzero(reach >= wanted) + 1) / (len(reach) + 2)


def _median_seen(pool: Float32) -> Float32:
    """Median over the last axis of what is finite, (date, band); NaN on dates without."""
    ordered = np.sort(pool, axis=2)  # NaN goes last
    count = np.isfinite(pool[:, :1]).sum(axis=2, keepdims=True)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, pool.shape[2] - 1)
    shape = (*pool.shape[:2], 1)
    middle: Float32 = (
        0.5
        * (
            np.take_along_axis(ordered, np.broadcast_to(low, shape), axis=2)
            + np.take_along_axis(ordered, np.broadcast_to(high, shape), axis=2)
        )[:, :, 0]
    )
    return middle


def _alike(controls: Controls, dates: slice, kind: float, bright: float) -> NDArray[np.int64]:
    """Return the places nearest in kind and brightness, means over some dates."""
    distance = np.zeros(len(controls.pixels))
    for values, wanted in ((controls.kind[dates], kind), (controls.bright[dates], bright)):
        seen = np.isfinite(values)
        mean = np.where(seen, values, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        mean[~seen.any(axis=0)] = np.inf
        finite = mean[np.isfinite(mean)]
        spread = np.subtract(*np.quantile(finite, (0.9, 0.1))) if len(finite) else 1.0
        distance += ((mean - wanted) / max(float(spread), 1e-9)) ** 2
    order = np.argsort(distance, kind="stable")[: min(POOL, max(len(distance) // 4, 1))]
    return order[np.isfinite(distance[order])]
