"""What speaks for a change: edges along its outline, brightness against the ring, a shadow away from the sun."""

import dataclasses
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from scipy import ndimage
from shapely.geometry import box

from imagery.changes import Direction, LookEvidence, ObjectClass
from imagery.grid import SiteGrid
from imagery.lifecycle import LifecycleOptions, follow
from imagery.objects import Outline, area_estimate
from imagery.verification import (
    Window,
    contrast_change,
    footprint_mask,
    lit_share,
    outline_change,
    shadow_change,
    shift_sensitivity,
    structure_change,
    without_shadow,
)

GRID = SiteGrid(32633, 500_000.0, 5_500_060.0, 0.5, 120, 120)
ROOF = box(500_020.0, 5_500_020.0, 500_032.0, 5_500_026.0)
SUN_IN_THE_SOUTH = 180.0


def _light(*, roof: float = 0.0, shade: float = 0.0, seed: int = 0) -> NDArray[np.float32]:
    """Return ground of one brightness with a roof on it and a shadow north of the roof."""
    image = np.random.default_rng(seed).normal(0.0, 0.02, GRID.shape)
    image[68:80, 40:64] += roof
    image[60:68, 40:64] -= shade
    return image.astype(np.float32)


def _window(*light: NDArray[np.float32]) -> Window:
    stack = np.stack(light)
    return Window(GRID, np.zeros(GRID.shape, bool), stack, stack, stack)


def _looks(number: int, azimuth_deg: float | None) -> list[LookEvidence]:
    start = datetime(2024, 3, 1, tzinfo=UTC)
    empty = np.zeros((3, *GRID.shape), np.int8)
    first = LookEvidence(
        "S0", start, GRID, tuple(ObjectClass), empty, np.zeros(GRID.shape, np.float16), np.zeros(GRID.shape, np.uint8),
        0.5, azimuth_deg, None if azimuth_deg is None else 35.0, None, None, 0.1, True,
    )  # fmt: skip
    return [
        dataclasses.replace(first, scene_id=f"S{i}", t_utc=start + timedelta(days=i)) for i in range(number)
    ]


OUTLINE = Outline(ROOF, area_estimate(ROOF, 0.5, ObjectClass.CONTAINER), 12.0, 6.0, 90.0, 1.0)


def test_a_roof_steps_along_its_outline_and_against_its_ring() -> None:
    window = _window(_light(seed=1), _light(seed=2, roof=0.5))
    inside = footprint_mask(OUTLINE, window)
    assert outline_change(window, OUTLINE, [1], [0]) > 1.0
    assert contrast_change(window, inside, [1], [0]) == pytest.approx(0.5, abs=0.05)


def test_ground_that_stays_shows_neither() -> None:
    window = _window(_light(seed=1, roof=0.5), _light(seed=2, roof=0.5))
    inside = footprint_mask(OUTLINE, window)
    assert abs(outline_change(window, OUTLINE, [1], [0])) < 0.2
    assert contrast_change(window, inside, [1], [0]) < 0.05


@pytest.mark.parametrize("unseen", [5, 6])
def test_looks_with_gaps_are_measured_on_what_they_show(unseen: int) -> None:
    lights = [_light(seed=seed, roof=0.1 * seed) for seed in range(4)]
    lights[1][50:90, 30 : 30 + unseen] = lights[3][70:76, 40 : 40 + unseen] = np.nan
    window = _window(*lights)
    inside = footprint_mask(OUTLINE, window)
    ring = ndimage.binary_dilation(inside, iterations=12) & ~ndimage.binary_dilation(inside, iterations=4)
    over = [float(np.nanmean(light[inside]) - np.nanmedian(light[ring])) for light in lights]
    expected = abs(np.mean(over[2:]) - np.mean(over[:2]))
    assert contrast_change(window, inside, [2, 3], [0, 1]) == pytest.approx(expected, abs=1e-7)
    steep = np.hypot(*np.gradient(np.stack(lights), axis=(1, 2)))
    line = geometry_mask([ROOF.boundary], GRID.shape, GRID.transform, invert=True, all_touched=True)
    edges = [float(np.log(np.nanmedian(image[line]) / np.nanmedian(image))) for image in steep]
    stepped = float(np.mean(edges[2:]) - np.mean(edges[:2]))
    assert outline_change(window, OUTLINE, [2, 3], [0, 1]) == pytest.approx(stepped, abs=1e-6)


def test_a_shadow_counts_only_on_the_side_away_from_the_sun() -> None:
    window = _window(_light(seed=1), _light(seed=2, roof=0.5, shade=0.6))
    away = shadow_change(_looks(2, SUN_IN_THE_SOUTH), window, OUTLINE, [1], [0])
    towards = shadow_change(_looks(2, 0.0), window, OUTLINE, [1], [0])
    assert away == pytest.approx(0.6, abs=0.1)
    assert towards == pytest.approx(-0.6, abs=0.1)


def test_without_a_sun_nothing_is_said_of_shadows() -> None:
    window = _window(_light(seed=1), _light(seed=2, shade=0.6))
    assert math.isnan(shadow_change(_looks(2, None), window, OUTLINE, [1], [0]))


def test_a_shadow_is_dark_all_over_and_a_roof_is_not() -> None:
    ground = _light(seed=1)
    inside = footprint_mask(OUTLINE, _window(ground))
    roof = _window(ground, _light(seed=2, roof=0.5, shade=0.6) + 0.3)
    fallen_on = _window(ground, _light(seed=2, roof=-0.7, shade=0.6) + 0.3)
    assert lit_share(roof, inside, [1], [0]) == pytest.approx(1.0)
    assert lit_share(fallen_on, inside, [1], [0]) == pytest.approx(0.0)
    assert lit_share(fallen_on, inside, [0], [1]) == pytest.approx(1.0)


def test_a_constant_added_to_the_light_changes_nothing() -> None:
    lights = (_light(seed=1), _light(seed=2, roof=0.3, shade=0.4))
    plain, brighter = _window(*lights), _window(lights[0], lights[1] + np.float32(0.25))
    inside = footprint_mask(OUTLINE, plain)
    looks = _looks(2, SUN_IN_THE_SOUTH)
    assert outline_change(brighter, OUTLINE, [1], [0]) == pytest.approx(
        outline_change(plain, OUTLINE, [1], [0]), abs=1e-3
    )
    assert contrast_change(brighter, inside, [1], [0]) == pytest.approx(
        contrast_change(plain, inside, [1], [0]), abs=1e-3
    )
    assert shadow_change(looks, brighter, OUTLINE, [1], [0]) == pytest.approx(
        shadow_change(looks, plain, OUTLINE, [1], [0]), abs=1e-3
    )


def _shaded_difference(azimuth_deg: float | None, *, roof: float = 0.5) -> NDArray[np.float32]:
    """Return what is left of a difference that takes a roof and the dark strip north of it for one object."""
    window = _window(_light(seed=1), _light(seed=2, roof=roof, shade=0.7))
    difference = np.zeros(GRID.shape, np.float32)
    difference[60:80, 40:64] = 0.9
    core = difference > 0
    evidence = np.where(core, 4.0, -6.0).astype(np.float32)
    evidence[60:68] -= 1.0
    found = follow(
        np.array([-6.0, 4.0]),
        np.ones(2, bool),
        np.array([0.0, 30.0]),
        Direction.APPEARED,
        (0, 1),
        LifecycleOptions(),
    )
    assert found is not None
    window = dataclasses.replace(
        window, core=core, evidence=np.stack([np.full_like(evidence, -6.0), evidence])
    )
    return without_shadow(_looks(2, azimuth_deg), window, found, Direction.APPEARED, difference)


def test_the_shadow_behind_a_roof_is_no_part_of_it() -> None:
    left = _shaded_difference(SUN_IN_THE_SOUTH)
    assert left[70:80, 41:63].min() > 0.8
    assert (left[61:67, 41:63] < 0.1).mean() > 0.95


@pytest.mark.parametrize(
    ("azimuth_deg", "roof"),
    [(0.0, 0.5), (None, 0.5), (SUN_IN_THE_SOUTH, -0.8)],
    ids=["towards the sun", "sun unknown", "dark roof"],
)
def test_a_dark_part_that_no_shadow_explains_stays(azimuth_deg: float | None, roof: float) -> None:
    assert _shaded_difference(azimuth_deg, roof=roof)[60:80, 40:64].min() > 0.8


def test_where_the_season_changed_everything_texture_says_nothing() -> None:
    rng = np.random.default_rng(3)
    one, other = (rng.normal(0.0, 0.2, GRID.shape).astype(np.float32) for _ in range(2))
    inside = footprint_mask(OUTLINE, _window(one))
    assert math.isnan(structure_change(_window(one, other), inside, [0], [1]))
    same = one + rng.normal(0.0, 0.02, GRID.shape).astype(np.float32)
    same[footprint_mask(OUTLINE, _window(one))] = other[inside]
    assert structure_change(_window(one, same), inside, [0], [1]) > 0.5


def test_what_registration_left_may_explain_more_of_a_narrow_thing() -> None:
    absent = np.full(GRID.shape, -4.0, np.float32)
    stands = absent.copy()
    stands[60:64, 40:64] = 4.0
    window = _window(absent, stands)
    window = dataclasses.replace(window, evidence=np.stack([absent, stands]))
    found = follow(
        np.array([-4.0, 4.0]),
        np.ones(2, bool),
        np.array([0.0, 30.0]),
        Direction.APPEARED,
        (0, 1),
        LifecycleOptions(),
    )
    assert found is not None
    well, badly = (
        shift_sensitivity(
            [dataclasses.replace(look, registration_residual_m=left_m) for look in _looks(2, None)],
            window,
            stands > 0,
            found,
            1.0,
        )
        for left_m in (0.1, 0.5)
    )
    assert well == pytest.approx(1 / 8, abs=0.02)  # half a pixel of a strip four pixels wide
    assert badly == pytest.approx(2 / 4, abs=0.02)  # two pixels, the most that is looked at
