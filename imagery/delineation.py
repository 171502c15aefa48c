"""Which pixels about a found change are the container, and which its wall, its shadow or its blurred rim.

A detector that learned what containers look like with their shadows answers on both, and on pixels of half a metre a rim
of every roof is half ground. Each pixel near a change is judged by trees over what it and its neighbours show: how much
likelier presence became, what every look says by itself, how the light changed there, and what lies towards the sun and
away from it. They are fitted by ``training/fit_delineation.py`` on rendered sites that neither network was fitted on, and
answer in one look or in the mean of several alike.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.changes import Direction, LookEvidence
from imagery.evidence.network import open_described
from imagery.lifecycle import Lifecycle
from imagery.objects import OUTLINE_LEVEL
from imagery.order_statistics import median
from imagery.verification import Window, edge_level, mean_of_known, next_to_onset, sides

Mask = NDArray[np.bool_]
Float32Array = NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "evidence" / "weights" / "delineation.onnx"
CARD = "delineation.json"

# Pixels are asked that the detector thinks changed at all, where they join what it is sure of, and a rim about them.
_ASKED_LEVEL, _RIM_M = 0.2, 0.6
_MOST_LOOKS = 6
_BOXES_M = (1.2, 2.4, 5.0)
# How far towards the sun (positive) and away from it a pixel's neighbours are looked at.
SUNWARD_M = (-5.0, -2.4, 2.4, 5.0)
_CAP = 12.0
_INNER_QUANTILE, _LIT_QUANTILES = 0.9, (0.2, 0.5, 0.8)
_LOWEST_SUN_DEG = 5.0
_FEWEST_AROUND = 40
_EDGE_M = 0.5


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the pixels about one candidate show: ``asked`` (row, col) says which, ``values`` (pixel, number) float32 what.

    NaN stands where something cannot be said: the sun unknown, a neighbour outside the window.
    """

    asked: Mask
    values: Float32Array


def delineated(
    looks: Sequence[LookEvidence],
    window: Window,
    found: Lifecycle,
    direction: Direction,
    difference: Float32Array,
) -> Float32Array:
    """Return (row, col) float32, the probability that a pixel is a container that came or went, 0 where none is near.

    Parameters
    ----------
    looks : all looks in time order, as the window's planes
    difference : how much likelier presence is on one side of the onset, see ``imagery.verification.presence_difference``

    Raises
    ------
    NetworkWeightsDamaged : the stored trees are not the ones their card describes
    """
    near = surroundings(looks, window, found, direction, difference)
    membership = np.zeros(difference.shape, np.float32)
    if near.asked.any():
        (log_odds,) = _trees().run(["log_odds"], {"values": near.values})
        membership[near.asked] = 1.0 / (1.0 + np.exp(-log_odds[:, 0]))
    return membership


@lru_cache(maxsize=1)
def _trees() -> Any:
    return open_described(WEIGHTS, CARD, ["values"])


def names() -> list[str]:
    """Return what the numbers of a pixel are called, in their order."""
    boxes = [f"{what}_{size:g}" for what in ("difference", "light") for size in _BOXES_M]
    sunward = [f"{what}_{distance:g}" for what in ("difference", "light") for distance in SUNWARD_M]
    return [
        "difference", "with", "without", "above_edge", "below_inside", "rival", "light", "contrast", "gradient",
        *boxes, *(f"inside_{q:g}" for q in _LIT_QUANTILES), "above_median", "pixel", "looks", "shadow", *sunward,
    ]  # fmt: skip


def surroundings(
    looks: Sequence[LookEvidence],
    window: Window,
    found: Lifecycle,
    direction: Direction,
    difference: Float32Array,
) -> Surroundings:
    """Measure the pixels about one candidate; parameters as ``delineated``, numbers as ``names``."""
    gsd_m = window.grid.gsd_m
    near = _joined(difference >= OUTLINE_LEVEL, window.core)
    asked = _joined(difference >= _ASKED_LEVEL, near)
    asked = ndimage.binary_dilation(asked, iterations=max(1, round(_RIM_M / gsd_m)))
    if not near.any():
        return Surroundings(np.zeros_like(near), np.empty((0, len(names())), np.float32))
    with_it, without = sides(window, found, direction)
    shown = next_to_onset(with_it, direction, _MOST_LOOKS)
    around = ~ndimage.binary_dilation(near, iterations=3)
    usual = window.usual_light(without)
    changes = [_levelled(window.light[i] - usual, around) for i in shown]
    change = mean_of_known(changes)
    light = np.nan_to_num(change)
    there = np.clip(mean_of_known(window.evidence[shown]), -_CAP, _CAP)
    sure = there[near & np.isfinite(there)]
    lit = change[near & np.isfinite(change)]
    low, middle, high = np.quantile(lit, _LIT_QUANTILES) if lit.size else (0.0, 0.0, 0.0)
    planes: list[Any] = [
        difference,
        there,
        np.clip(mean_of_known(window.evidence[without]), -_CAP, _CAP),
        there - edge_level(window, with_it),
        there - (np.quantile(sure, _INNER_QUANTILE) if sure.size else 0.0),
        np.clip(mean_of_known(window.rivals[shown]), -_CAP, _CAP),
        change,
        mean_of_known([_levelled(window.light[i], around) for i in shown]),
        ndimage.gaussian_gradient_magnitude(light, max(_EDGE_M / gsd_m, 0.6)),
        *(ndimage.uniform_filter(difference, _pixels(size, gsd_m), mode="nearest") for size in _BOXES_M),
        *(ndimage.uniform_filter(light, _pixels(size, gsd_m), mode="nearest") for size in _BOXES_M),
        low,
        middle,
        high,
        change - middle,
        gsd_m,
        len(with_it),
    ]
    columns = [
        plane[asked] if isinstance(plane, np.ndarray) else np.full(asked.sum(), plane) for plane in planes
    ]
    sunlit = [
        (look, plane)
        for look, plane in zip((looks[i] for i in shown), changes, strict=True)
        if _has_sun(look)
    ]
    columns += _sunward(sunlit, difference, asked, gsd_m)
    return Surroundings(asked, np.stack(columns, axis=-1).astype(np.float32))


def _joined(mask: Mask, seeds: Mask) -> Mask:
    """Return the connected parts of a mask that hold a seed."""
    labels, count = ndimage.label(mask)
    wanted = np.zeros(count + 1, bool)
    wanted[labels[seeds]] = True
    wanted[0] = False
    joined: Mask = wanted[labels]
    return joined


def _levelled(light: Float32Array, around: Mask) -> Float32Array:
    """Return brightness less its median around the candidate, where enough of that was seen."""
    known = light[around & np.isfinite(light)]
    return light - median(known) if known.size >= _FEWEST_AROUND else light


def _pixels(size_m: float, gsd_m: float) -> int:
    return max(1, round(size_m / gsd_m)) | 1


def _has_sun(look: LookEvidence) -> bool:
    return look.sun_azimuth_deg is not None and look.sun_elevation_deg is not None


def _sunward(
    sunlit: Sequence[tuple[LookEvidence, Float32Array]], difference: Float32Array, asked: Mask, gsd_m: float
) -> Iterator[Float32Array]:
    """Yield how long shadows are against heights, and presence and light at neighbours on the line to the sun."""
    if not sunlit:
        return iter(np.full((1 + 2 * len(SUNWARD_M), int(asked.sum())), np.float32(np.nan)))
    lengths = [
        1.0 / math.tan(math.radians(max(look.sun_elevation_deg or 0.0, _LOWEST_SUN_DEG)))
        for look, _ in sunlit
    ]
    row, col = np.nonzero(asked)
    presence, light = [], []
    for distance in SUNWARD_M:
        seen_presence, seen_light = [], []
        for look, change in sunlit:
            azimuth = math.radians(look.sun_azimuth_deg or 0.0)
            # Rows count southwards: towards the sun is up where the sun stands north.
            at_row = row - round(distance * math.cos(azimuth) / gsd_m)
            at_col = col + round(distance * math.sin(azimuth) / gsd_m)
            seen_presence.append(_at(difference, at_row, at_col))
            seen_light.append(_at(change, at_row, at_col))
        presence.append(mean_of_known(seen_presence))
        light.append(mean_of_known(seen_light))
    return iter([np.full(row.size, np.mean(lengths), np.float32), *presence, *light])


def _at(plane: Float32Array, row: NDArray[np.int64], col: NDArray[np.int64]) -> Float32Array:
    """Return a plane's values at some pixels, NaN outside it."""
    rows, cols = plane.shape
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    values = plane[np.clip(row, 0, rows - 1), np.clip(col, 0, cols - 1)]
    return np.where(inside, values, np.float32(np.nan))
