"""What stood in a look: areas of connected places, however they lie."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from shapely import box

from imagery import objects
from imagery.changes import Estimate
from imagery.standing import MOST_STACKED, _count, _covered


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.7), st.integers(1, 12))
def test_places_keep_their_size_whatever_lies_empty_between_them(seed: int, share: float, least: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((23, 31)) < share
    mask[rng.random(23) < 0.5] = False
    mask[:, rng.random(31) < 0.5] = False
    sizes = np.bincount(ndimage.label(mask)[0].ravel())[1:]
    assert _covered(mask, least) == sizes[sizes >= least].sum()


def test_what_stands_is_counted_as_high_as_its_objects_are_for_stacks() -> None:
    assert MOST_STACKED == objects.MOST_STACKED
    counted, _ = objects.count_containers(box(0, 0, 12.19, 2.44), 0.5)
    assert counted is not None
    one = _count(Estimate(25.0, 25.0, 25.0))
    assert (one.value, one.high) == (counted.value, counted.high)
    assert _count(Estimate(500.0, 400.0, 600.0)) == Estimate(20.0, 12.0, 72.0)


def test_two_places_with_one_empty_line_between_them_stay_two() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:4, 2:4] = mask[5:7, 2:4] = True
    assert _covered(mask, 5) == 0.0
    assert _covered(mask, 4) == 8.0
