"""Medians and quantiles are numpy's own, to the bit, but for the sign of a zero, which there is left to chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from imagery.order_statistics import median, medians, quantile

NUMBERS = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=1, max_dims=2, max_side=70),
        elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0, 0.1, np.nan]),
    )
)


def same(ours: np.generic, numpys: np.generic) -> bool:
    return ours.dtype == numpys.dtype and ours.tobytes() == (numpys + 0.0).tobytes()


@given(NUMBERS)
def test_medians_are_numpys(values: NDArray[np.float32]) -> None:
    assert same(median(values), np.median(values))
    rows = np.atleast_2d(values)
    np.testing.assert_array_equal(medians(rows), np.median(rows, axis=1))
    assert medians(rows).dtype == rows.dtype


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_zero_is_never_negative(count: int, dtype: type[np.float32]) -> None:
    zeros = np.full(count, -0.0, dtype)
    found = [median(zeros), *medians(zeros[None]), quantile(zeros, 0.3), quantile(zeros, 1.0)]
    assert not any(np.signbit(value) for value in found)
    assert all(value.dtype == dtype for value in found)


@given(NUMBERS, st.floats(0, 1) | st.sampled_from([0.0, 0.5, 0.8, 1.0]))
def test_quantiles_are_numpys(values: NDArray[np.float32], share: float) -> None:
    assert same(quantile(values, share), np.quantile(values, share))


@pytest.mark.parametrize("count", [1_999, 2_000, 100_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_so_are_those_of_many_numbers(count: int, dtype: type[np.float32]) -> None:
    values = np.random.default_rng(count).normal(size=count).astype(dtype)
    assert same(median(values), np.median(values))
    for share in (0.005, 0.2, 0.8, 0.9, 0.999):
        assert same(quantile(values, share), np.quantile(values, share))
