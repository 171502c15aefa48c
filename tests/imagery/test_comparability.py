"""What light, view and sharpness allow two looks to be compared for."""

from dataclasses import replace

import numpy as np
import pytest

from imagery.comparability import Conditions, compare_looks, parallax_tolerance_m, shadow_shift_m
from imagery.illumination import Sun, View

LOOK = Conditions(0.5, Sun(150.0, 50.0), View(90.0, 5.0))


def test_parallax_follows_the_arithmetic_of_the_pitfalls_list() -> None:
    nadir, tilted, opposite = View(0.0, 0.0), View(90.0, 25.0), View(270.0, 25.0)
    assert parallax_tolerance_m(nadir, View(90.0, 5.0), 2.6) == pytest.approx(0.23, abs=0.005)
    assert parallax_tolerance_m(nadir, tilted, 2.6) == pytest.approx(1.21, abs=0.005)
    assert parallax_tolerance_m(tilted, opposite, 2.6) == pytest.approx(2.42, abs=0.01)
    assert parallax_tolerance_m(tilted, tilted, 2.6) == 0.0


def test_an_unknown_view_asks_for_some_tolerance() -> None:
    assert 0.2 < parallax_tolerance_m(None, View(0.0, 0.0), 2.6) < 1.0


def test_shadows_move_with_the_sun_and_low_sun_is_bounded() -> None:
    assert shadow_shift_m(Sun(180.0, 45.0), Sun(180.0, 45.0), 3.0) == 0.0
    assert shadow_shift_m(Sun(180.0, 45.0), Sun(0.0, 45.0), 3.0) == pytest.approx(6.0)
    assert np.isfinite(shadow_shift_m(Sun(180.0, 1.0), Sun(180.0, 45.0), 3.0))


def test_the_same_light_and_view_compare_best() -> None:
    assert compare_looks(LOOK, LOOK).score == 1.0
    assert compare_looks(LOOK, LOOK).reasons == ()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (replace(LOOK, sun=Sun(210.0, 12.0)), "sun_differs"),
        (replace(LOOK, view=View(270.0, 28.0)), "view_differs"),
        (replace(LOOK, gsd_m=3.0), "sharpness_differs"),
        (replace(LOOK, sun=None), "sun_unknown"),
        (replace(LOOK, view=None), "view_unknown"),
    ],
)
def test_what_differs_lowers_the_score_or_is_named(other: Conditions, reason: str) -> None:
    found = compare_looks(LOOK, other)
    assert reason in found.reasons
    assert 0.0 <= found.score <= 1.0
    assert reason.endswith("unknown") or found.score < 0.7
    assert found.score == pytest.approx(compare_looks(other, LOOK).score)
