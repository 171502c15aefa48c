"""How much of a site was seen often enough to be compared with itself: without that, nothing found says nothing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagery.changes import Detection
from imagery.observability import ObservationState

# Below this share of an area, what was compared says nothing about it as a whole.
LEAST_COMPARED = 0.02


def could_compare(detection: Detection) -> bool:
    """Tell whether a change of the area could have been seen at all."""
    return any(part.fraction >= LEAST_COMPARED for part in detection.compared)


def comparable_fraction(
    states: Sequence[NDArray[np.uint8]],
    days: NDArray[np.float64],
    inside: NDArray[np.bool_],
    apart_days: float,
) -> float:
    """Return the share of an area that was observed on two dates at least so far apart.

    Two looks that each show half of a site, and two tiles of one pass, compare nothing however much they show together.

    Parameters
    ----------
    states : per look (row, col) uint8, see ``ObservationState``; may be memory-mapped
    days : when each was taken, in any order
    inside : (row, col) bool, the area
    """
    order = np.argsort(days, kind="stable")
    ordered = days[order]
    never = len(states)
    first = np.full(inside.shape, never, np.int32)
    twice = np.zeros(inside.shape, np.bool_)
    for place, look in enumerate(order):
        seen = inside & (states[look] == ObservationState.OBSERVED)
        earlier = np.searchsorted(ordered, ordered[place] - apart_days, "right")
        twice |= seen & (first < earlier)
        np.minimum(first, place, out=first, where=seen)
        if np.array_equal(twice, inside):  # no further look can add to it
            break
    return int(np.count_nonzero(twice)) / max(int(np.count_nonzero(inside)), 1)
