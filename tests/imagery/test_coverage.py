"""What could be compared: a pixel counts where two looks far enough apart in time saw it, and nowhere else."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagery.coverage import comparable_fraction
from imagery.observability import ObservationState

CLEAR, CLOUD = np.uint8(ObservationState.OBSERVED), np.uint8(ObservationState.CLOUD)


def halves() -> tuple[np.ndarray, np.ndarray]:
    """The states of two looks of which each shows the half that the other does not."""
    upper = np.full((10, 8), CLOUD)
    upper[:5] = CLEAR
    return upper, np.where(upper == CLEAR, CLOUD, CLEAR)


def test_two_looks_at_opposite_halves_compare_nothing() -> None:
    assert comparable_fraction(halves(), np.array([0.0, 30.0]), np.ones((10, 8), bool), 2.0) == 0.0


@pytest.mark.parametrize(("apart", "share"), [(5.0 / 86_400.0, 0.0), (1.9, 0.0), (2.0, 1.0), (40.0, 1.0)])
def test_looks_close_in_time_are_one_date(apart: float, share: float) -> None:
    clear = np.full((10, 8), CLEAR)
    assert comparable_fraction([clear, clear], np.array([0.0, apart]), np.ones((10, 8), bool), 2.0) == share


def test_tiles_that_divide_a_site_are_compared_with_those_of_the_next_pass() -> None:
    upper, lower = halves()
    inside = np.zeros((10, 8), bool)
    inside[2:7] = True
    days = np.array([0.0, 0.0, 5.0])
    assert comparable_fraction([upper, lower, upper], days, inside, 2.0) == 3 / 5
    assert comparable_fraction([upper, lower], days[:2], inside, 2.0) == 0.0


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.floats(0.5, 5.0))
def test_it_is_what_looking_at_every_pair_of_looks_gives_in_any_order(
    seed: int, looks: int, apart: float
) -> None:
    rng = np.random.default_rng(seed)
    states = [rng.integers(0, 3, (4, 5)).astype(np.uint8) for _ in range(looks)]
    days = rng.integers(0, 40, looks) / 4.0
    inside = rng.random((4, 5)) < 0.8
    pairs = [(i, j) for i, j in combinations(range(looks), 2) if abs(days[i] - days[j]) >= apart]
    twice = [(states[i] == CLEAR) & (states[j] == CLEAR) for i, j in pairs]
    wanted = int((np.any(twice, axis=0) & inside).sum()) if pairs else 0
    assert comparable_fraction(states, days, inside, apart) == wanted / max(int(inside.sum()), 1)
