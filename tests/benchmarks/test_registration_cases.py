"""The registration benchmark's truth is what it says."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def world():  # type: ignore[no-untyped-def]
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import registration_cases
    finally:
        sys.path.remove(str(BENCHMARKS))
    return registration_cases, registration_cases.open_world(Path("/nowhere"), 3, dev=True)


@pytest.mark.long
@pytest.mark.parametrize("family", ["A", "G", "H", "I"])
def test_the_target_at_a_place_shows_the_reference_where_truth_says(world, family: str) -> None:  # type: ignore[no-untyped-def]
    cases, opened = world
    source = opened.surfaces[0][1]
    warp = cases.random_warp(
        np.random.default_rng(1), source.shape, 2.0, 0.2 if family == "G" else 0.0, 0.001
    )
    target = cases.sampled(source, warp)
    at = np.array([[60.0, 70.0], [150.0, 33.0], [201.0, 180.0]])
    q = at + warp(at)
    assert target[tuple(at.T.astype(int))] == pytest.approx(source.sample(q[:, 0], q[:, 1]), abs=1e-5)
    again = [cases.family_case(opened, family, 1).target for _ in (0, 1)]
    assert np.array_equal(*again)
