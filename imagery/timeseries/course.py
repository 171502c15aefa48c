"""The course of one place through all looks: how much it looks like after, and when that began."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.look import Look
from imagery.timeseries.cube import VISIBLE

Float64 = NDArray[np.float64]

ABSENT_BELOW = 0.35
PRESENT_ABOVE = 0.65
RING_PX = 5
RING_SAMPLE = 600


@dataclass(frozen=True, slots=True)
class Course:
    """A place judged look by look, in time order of the looks given.

    ``presence`` (look,) is 0 where a look resembles the ground before, 1 after, NaN where unseen; ``split`` is the first
    look index of the after side; ``step`` the change of level over its own scatter (inf for two looks).
    ``sun_rivalry`` compares explanations: scatter left by the height of the sun over scatter left by the step (1: as good).
    ``before``/``after`` are (2, band) reflectance of the place and of its surroundings on either side.
    """

    presence: Float64
    split: int
    step: float
    sun_rivalry: float
    before: Float64
    after: Float64


def surroundings(mask: NDArray[np.bool_], forbidden: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return flat indices of the ring 2 to ``RING_PX`` + 1 pixels around a mask, outside ``forbidden``."""
    near = ndimage.binary_dilation(mask, iterations=1)
    ring = ndimage.binary_dilation(near, iterations=RING_PX) & ~near
    free = np.flatnonzero(ring & ~forbidden)
    if len(free) < 8:
        free = np.flatnonzero(ring)
    return free[:: max(len(free) // RING_SAMPLE, 1)]


def place_values(look: Look, bands: tuple[str, ...], pixels: NDArray[np.int64], least: float) -> Float64:
    """Return the median (band,) of some flat pixels, NaN where less than the share ``least`` was seen."""
    flat = look.reflectance.reshape(len(look.bands), -1)
    if bands:
        values = flat[[look.bands.index(b) for b in bands]][:, pixels].astype(np.float64)
    else:
        chosen = [i for i, b in enumerate(look.bands) if b in VISIBLE] or list(range(len(look.bands)))
        values = flat[chosen][:, pixels].astype(np.float64).mean(axis=0, keepdims=True)
    seen = look.observed.ravel()[pixels] & np.all(np.isfinite(values), axis=0)
    if len(pixels) == 0 or seen.mean() < least:
        return np.full(len(values), np.nan)
    median: Float64 = np.median(values[:, seen], axis=1)
    return median


def follow(
    looks: Sequence[Look],
    bands: tuple[str, ...],
    core: NDArray[np.int64],
    ring: NDArray[np.int64],
    weights: NDArray[np.float32],
    bounds: tuple[int, int],
    near: tuple[int, int],
) -> Course | None:
    """Follow a place through ``looks[bounds[0]:bounds[1]]`` and find the best split within ``near`` (inclusive).

    What haze, light and wetness do to a place they do to its surroundings, so the difference of the two is judged,
    along the direction ``weights`` (band,) in which the change shows. None where either side was never seen.
    """
    place = np.array([place_values(look, bands, core, 0.5) for look in looks])
    around = np.array([place_values(look, bands, ring, 0.25) for look in looks])
    signal = (place - around) @ weights.astype(np.float64)
    inside = np.zeros(len(looks), bool)
    inside[bounds[0] : bounds[1]] = True
    signal[~inside] = np.nan
    split = _best_split(signal, near)
    if split is None:
        return None
    seen = np.isfinite(signal)
    first, second = seen.copy(), seen.copy()
    first[split:] = False
    second[:split] = False
    level_before, level_after = np.median(signal[first]), np.median(signal[second])
    rise = level_after - level_before
    if abs(rise) < 1e-12:
        return None
    presence = (signal - level_before) / rise
    step = _step(presence, first, second)
    sides = [
        np.array([np.median(values[side], axis=0) for values in (place, around)]) for side in (first, second)
    ]
    return Course(presence, split, step, _sun_rivalry(presence, split, looks), sides[0], sides[1])


def _best_split(signal: Float64, near: tuple[int, int]) -> int | None:
    """Return the first index of the after side that leaves the least absolute scatter; None without both sides."""
    seen = np.flatnonzero(np.isfinite(signal))
    best, best_cost = None, np.inf
    for split in seen[1:]:
        if not near[0] <= split <= near[1]:
            continue
        left, right = signal[seen[seen < split]], signal[seen[seen >= split]]
        cost = float(np.abs(left - np.median(left)).sum() + np.abs(right - np.median(right)).sum())
        if cost < best_cost - 1e-12:
            best, best_cost = int(split), cost
    return best


def _step(presence: Float64, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Level change (1 by construction) over the standard error that the scatter on both sides leaves."""
    n_first, n_second = int(first.sum()), int(second.sum())
    if n_first + n_second < 4:
        return np.inf
    residual = np.concatenate([presence[first], presence[second] - 1.0])
    scatter = max(float(np.sqrt(np.mean(residual**2))), 0.05)
    return float(1.0 / (scatter * np.sqrt(1.0 / n_first + 1.0 / n_second)))


def _sun_rivalry(presence: Float64, split: int, looks: Sequence[Look]) -> float:
    """Squared scatter around a line in shadow length over that around the two levels; inf where it can't be told.

    A shadow that grows in autumn and shrinks in spring looks like something that came and went.
    """
    seen = np.flatnonzero(np.isfinite(presence))
    suns = [looks[int(i)].sun for i in seen]
    if len(seen) < 6 or any(sun is None for sun in suns):
        return np.inf
    shadow = np.array(
        [1.0 / np.tan(np.radians(max(sun.elevation_deg, 3.0))) for sun in suns if sun is not None]
    )
    if np.ptp(shadow) < 0.3:
        return np.inf
    signal = presence[seen]
    line = np.polynomial.polynomial.polyfit(shadow, signal, 1)
    by_sun = np.sum((signal - np.polynomial.polynomial.polyval(shadow, line)) ** 2)
    by_step = np.sum((signal - (seen >= split)) ** 2)
    return float(by_sun / max(by_step, 0.02 * len(seen)))
