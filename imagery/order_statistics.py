"""Medians and quantiles, to the bit what numpy returns, in a fraction of its time.

numpy looks for several places in the order at once, which its fast selection can't; here one is looked for, and its
neighbour is the largest or smallest of the numbers on that side. What it checks and reshapes before and after that
costs more than the selection itself where there are few numbers. Any NaN makes the answer NaN, as with numpy. A zero is
never negative here; there its sign hangs on which of several equal zeros the selection happens to leave in the place.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.float32, np.float64)
Numbers = TypeVar("Numbers", np.float32, np.float64, NDArray[np.float32], NDArray[np.float64])


def median(values: NDArray[Number]) -> Number:
    """Return the median of all values of any shape, at least one."""
    found: Number = medians(values.reshape(1, -1))[0]
    return found


def medians(rows: NDArray[Number]) -> NDArray[Number]:
    """Return the median of every row of (row, value), at least one value each."""
    half = rows.shape[1] // 2
    parted = np.partition(rows, half, axis=1)
    middle = parted[:, half]
    if rows.shape[1] % 2 == 0:
        middle = (parted[:, :half].max(axis=1) + middle) / 2
    middle[np.isnan(parted[:, half:].max(axis=1))] = np.nan  # NaN counts as the largest
    return _unsigned_zero(middle)


def quantile(values: NDArray[Number], share: float) -> Number:
    """Return the quantile of all values of any shape, at least one, interpolated linearly; ``share`` is 0 to 1."""
    at = (values.size - 1) * share
    place = int(at)
    parted = np.partition(values, place, axis=None)
    low: Number = parted[place]
    if place == values.size - 1:
        return _unsigned_zero(low)
    high: Number = parted[place + 1 :].min()
    part = at - place
    # From the nearer end, so that halfway between equal numbers is that number.
    found: Number = high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part
    return _unsigned_zero(found)


def percentiles_in_order(ordered: NDArray[np.float32], shares: Sequence[int]) -> list[float]:
    """Return percentiles (0-100) of values that are in order already, at least one."""
    found = []
    for share in shares:
        at = share / 100 * (ordered.size - 1)
        low = math.floor(at)
        first, second = ordered[low], ordered[min(low + 1, ordered.size - 1)]
        # numpy subtracts in single precision, and starts at the nearer end.
        step, part = float(second - first), at - low
        found.append(float(first) + step * part if part < 0.5 else float(second) - step * (1 - part))
    return found


def _unsigned_zero(values: Numbers) -> Numbers:
    unsigned: Numbers = values + 0.0
    return unsigned
