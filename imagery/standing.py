"""What stood on a site in each look, by that look's own evidence: area and, where pixels allow, a count."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.changes import LOG_ODDS_STEP, Change, Direction, Estimate, LookEvidence, ObjectClass, Standing
from imagery.limits import COUNTABLE_GSD_M, smallest_area_m2, state_of
from imagery.objects import MOST_STACKED
from imagery.observability import ObservationState

Mask = NDArray[np.bool_]

# Log-odds at which a pixel counts as covered: strictly, as it is, and generously.
_LEVELS = (2.0, 0.5, -1.0)
_MEAN_CONTAINER_M2 = 25.0
_COUNT_SPREAD = 0.25


def standing_in(look: LookEvidence, inside: Mask) -> tuple[Standing, ...]:
    """Return one row per class that a look can show, no change counted yet.

    Areas are what was seen: what clouds hid is not added, the usable fraction beside says how much that is.
    """
    clear = (look.state == 0) & inside
    usable = int(np.count_nonzero(clear)) / max(int(np.count_nonzero(inside)), 1)
    rows = []
    for index, kind in enumerate(look.classes):
        told = state_of(kind, look.gsd_m, look.sun_elevation_deg)
        if told is not ObservationState.OBSERVED or usable <= 0.0:
            continue
        smallest = smallest_area_m2(kind, look.gsd_m)
        area = _area(look.log_odds[index], clear, smallest, look.grid.gsd_m)
        countable = kind is ObjectClass.CONTAINER and look.gsd_m <= COUNTABLE_GSD_M
        rows.append(Standing(look.scene_id, kind, _count(area) if countable else None, area, 0, 0, usable))
    return tuple(rows)


def with_changes(rows: Sequence[Standing], changes: Sequence[Change]) -> tuple[Standing, ...]:
    """Return rows with the changes of each one's class that its look was the first to show counted."""

    def counted(row: Standing, direction: Direction) -> int:
        return sum(
            c.object_class is row.object_class and c.direction is direction and c.after_scene == row.scene_id
            for c in changes
        )

    return tuple(
        replace(row, appeared=counted(row, Direction.APPEARED), removed=counted(row, Direction.REMOVED))
        for row in rows
    )


def _area(layer: NDArray[np.int8], clear: Mask, smallest_m2: float, gsd_m: float) -> Estimate:
    """Return the area covered by objects of at least the smallest size, with how far it hangs on the level."""
    least_px = max(smallest_m2 / gsd_m**2, 1.0)
    low, value, high = (px * gsd_m**2 for px in _covered_px(layer, clear, least_px))
    return Estimate(value, min(low, value), max(high, value))


def _covered_px(layer: NDArray[np.int8], clear: Mask, least_px: float) -> list[float]:
    """Return how many pixels are covered at each level: what lies above one lies above all that follow it."""
    *stricter, most_generous = (round(level / LOG_ODDS_STEP) for level in _LEVELS)
    widest = (layer >= most_generous) & clear
    if np.count_nonzero(widest) < least_px:
        return [0.0] * len(_LEVELS)
    part = np.ix_(_occupied(widest, 1), _occupied(widest, 0))
    layer, widest = layer[part], widest[part]
    return [
        *(_covered((layer >= level) & widest, least_px) for level in stricter),
        _covered(widest, least_px),
    ]


def _covered(mask: Mask, least_px: float) -> float:
    if np.count_nonzero(mask) < least_px:
        return 0.0
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())[1:]
    return float(sizes[sizes >= least_px].sum())


def _occupied(mask: Mask, axis: int) -> Mask:
    """Return which lines hold anything, and the empty one after each: most of a site is empty, but keeps things apart."""
    lines = np.asarray(mask.any(axis=axis))
    lines[1:] |= lines[:-1]
    return lines


def _count(area: Estimate) -> Estimate:
    value = area.value / _MEAN_CONTAINER_M2
    low = area.low / _MEAN_CONTAINER_M2 * (1.0 - _COUNT_SPREAD)
    high = area.high / _MEAN_CONTAINER_M2 * MOST_STACKED  # an area shows one layer, too
    return Estimate(float(round(value)), float(np.floor(low)), float(np.ceil(high)))
