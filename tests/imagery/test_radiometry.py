"""Normalisation is fitted on what did not change, and a site that changed as a whole is named."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage, special

from imagery.grid import SiteGrid
from imagery.look import Look
from imagery.observability import ObservationState
from imagery.radiometry import (
    NormalisationOptions,
    WholeSiteKind,
    Yardstick,
    apply_normalisation,
    chance_beyond,
    normalise,
)

SIDE = 180
GRID = SiteGrid(32636, 0.0, 0.0, 0.5, SIDE, SIDE)
BANDS = ("blue", "green", "red", "nir")


def pattern(seed: int) -> NDArray[np.float64]:
    """Return smooth ground of zero mean and unit deviation, fine texture on top."""
    rng = np.random.default_rng(seed)
    ground = sum(ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), s) * s for s in (1, 3, 9))
    return (ground - ground.mean()) / ground.std()


def scene(seed: int = 1) -> NDArray[np.float64]:
    """Return (band, row, col) reflectance of soil with some grass."""
    soil, grass = pattern(seed), pattern(seed + 50)
    return np.stack(
        [0.09 + 0.02 * soil, 0.12 + 0.025 * soil, 0.15 + 0.03 * soil, 0.28 + 0.04 * soil + 0.03 * grass]
    )


def look(values: NDArray[np.float64], bands: tuple[str, ...] = BANDS) -> Look:
    return Look(
        "s", datetime(2024, 1, 1, tzinfo=UTC), GRID, bands, values.astype(np.float32),
        np.zeros((SIDE, SIDE), np.uint8), 0.5, None, None,
    )  # fmt: skip


def noisy(values: NDArray[np.float64], seed: int = 7) -> NDArray[np.float64]:
    return values + 0.002 * np.random.default_rng(seed).standard_normal(values.shape)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.7, 1.4), st.floats(-0.03, 0.03))
def test_gain_and_offset_put_in_are_taken_out(gain: float, offset: float) -> None:
    reference, target = look(scene()), look(noisy(scene() * gain + offset))
    found = normalise(reference, target)
    same = apply_normalisation(target, found)
    assert np.abs(same.reflectance - reference.reflectance).mean() < 0.004
    assert [name for name, _, _ in found.by_band] == list(BANDS)


def test_a_filled_yard_is_no_part_of_the_fit() -> None:
    values = noisy(scene() * 1.2 - 0.01)
    values[:, 40:140, 40:130] = 0.55 + 0.1 * pattern(9)[40:140, 40:130]
    same = apply_normalisation(look(values), normalise(look(scene()), look(values)))
    outside = np.ones((SIDE, SIDE), bool)
    outside[36:144, 36:134] = False
    assert np.abs(same.reflectance - look(scene()).reflectance)[:, outside].mean() < 0.004


def test_excluded_places_are_no_part_of_the_fit() -> None:
    values = noisy(scene())
    values[:, :120] = values[:, :120] * 1.6 + 0.05
    named = np.zeros((SIDE, SIDE), bool)
    named[:120] = True
    found = normalise(look(scene()), look(values), exclude=named)
    assert found.gains == pytest.approx([1.0] * 4, abs=0.05)


def test_gains_are_capped_and_say_so() -> None:
    found = normalise(look(scene()), look(noisy(scene() * 0.2)))
    assert max(found.gains) == NormalisationOptions().gain_limits[1]
    assert "capped_gain" in found.reasons


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda a: a * 0.7, WholeSiteKind.WET),
        (lambda a: a * 0.7 + 0.08, WholeSiteKind.HAZE),
        (lambda a: a + 0.06, WholeSiteKind.FROST),
        (lambda a: 0.7 + 0.02 * pattern(30) + 0 * a, WholeSiteKind.SNOW),
        (lambda a: a * np.array([1, 1, 0.6, 1.3])[:, None, None], WholeSiteKind.GREEN),
        (lambda a: a * np.array([1, 1, 1.3, 0.65])[:, None, None], WholeSiteKind.BARE),
    ],
)
def test_a_site_that_changed_as_a_whole_is_named(change: object, kind: WholeSiteKind) -> None:
    assert callable(change)
    found = normalise(look(scene()), look(noisy(change(scene()))))
    assert found.whole_site_change is not None
    assert found.whole_site_change.kind is kind
    assert f"whole_site_{kind.value}" in found.reasons


def test_a_site_that_did_not_change_is_not_named() -> None:
    assert normalise(look(scene()), look(noisy(scene()))).whole_site_change is None


def test_snow_hides_objects_and_is_not_fitted_away() -> None:
    values = 0.7 + 0.02 * pattern(30) + 0 * scene()
    found = normalise(look(scene()), look(values))
    assert found.whole_site_change is not None
    assert found.whole_site_change.hides_objects
    assert found.gains == (1.0,) * 4
    assert found.offsets == (0.0,) * 4


def test_brightness_of_relative_numbers_names_nothing() -> None:
    found = normalise(look(scene()), look(noisy(scene() * 0.7)), NormalisationOptions(relative=True))
    assert found.whole_site_change is None


@pytest.mark.parametrize(("gain", "offset"), [(2.2, 0.06), (1.9, 0.0), (0.4, 0.0)])
def test_another_stretch_of_relative_numbers_is_no_weather(gain: float, offset: float) -> None:
    found = normalise(
        look(scene()), look(noisy(scene() * gain + offset)), NormalisationOptions(relative=True)
    )
    assert found.whole_site_change is None


def test_numbers_beyond_any_reflectance_are_relative_whatever_was_said() -> None:
    assert normalise(look(scene()), look(noisy(scene()) * 10_000.0)).whole_site_change is None
    assert normalise(look(scene() * 10_000.0), look(noisy(scene()) * 255.0)).whole_site_change is None


def test_snow_in_relative_numbers_is_told_by_the_lost_pattern() -> None:
    values = 0.7 + 0.02 * pattern(30) + 0 * scene()
    found = normalise(look(scene()), look(values), NormalisationOptions(relative=True))
    assert found.whole_site_change is not None
    assert found.whole_site_change.kind is WholeSiteKind.SNOW
    assert found.whole_site_change.hides_objects


def test_too_little_in_common_changes_nothing() -> None:
    hidden = look(scene() * 1.3)
    hidden.state[:] = ObservationState.CLOUD
    found = normalise(look(scene()), hidden)
    assert (found.gains, found.reasons) == ((1.0,) * 4, ("too_few_common_pixels",))
    other = look(scene()[:1], bands=("pan",))
    assert normalise(look(scene()), other).reasons == ("no_common_band",)


def test_bands_without_a_fit_stay_as_they_are() -> None:
    reference = look(scene()[:3], bands=BANDS[:3])
    target = look(noisy(scene() * 1.2))
    same = apply_normalisation(target, normalise(reference, target))
    assert np.array_equal(same.reflectance[3], target.reflectance[3])


@pytest.mark.parametrize("freedom", range(1, 14))
def test_the_closed_form_of_a_chi_square_is_the_incomplete_gamma_function(freedom: int) -> None:
    chi = np.concatenate([[0.0], np.logspace(-8.0, 2.7, 200)])
    np.testing.assert_allclose(
        chance_beyond(chi, freedom), special.gammaincc(freedom / 2.0, chi / 2.0), rtol=1e-12, atol=1e-300
    )


def test_what_is_kept_of_a_reference_changes_no_answer() -> None:
    reference, kept = look(scene(0)), Yardstick(look(scene(0)))
    hidden = np.zeros((SIDE, SIDE), np.uint8)
    hidden[:9, 20:50] = ObservationState.CLOUD
    for target in (
        look(noisy(scene(0))),
        replace(look(noisy(scene(0), 8)), state=hidden),
        look(noisy(scene(0), 9)),
        look(noisy(scene(0))[:2], BANDS[:2]),
    ):
        assert normalise(kept, target) == normalise(reference, target)
