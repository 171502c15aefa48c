"""What planted objects do to a look, and what they leave alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize

from imagery.grid import SiteGrid
from imagery.illumination import Sun, View
from imagery.look import Look
from imagery.planting import (
    COARSE_PATTERNS,
    FINE_PATTERNS,
    Pattern,
    Planting,
    choose_places,
    free_ground,
    plant,
    tone_of,
)

GRID = SiteGrid(32633, 500_000.0, 5_550_000.0, 0.5, 160, 160)
NOON = datetime(2024, 6, 1, 10, tzinfo=UTC)
BEFORE = NOON - timedelta(days=30)
BANDS = ("blue", "green", "red", "nir")
FORTY = FINE_PATTERNS[1]
SOUTH = Sun(180.0, 30.0)


def a_look(sun: Sun | None = SOUTH, view: View | None = None, grid: SiteGrid = GRID) -> Look:
    rng = np.random.default_rng(5)
    ground = np.array([0.10, 0.13, 0.16, 0.25], np.float32)[:, None, None]
    image = (ground + rng.normal(0, 0.004, (4, *grid.shape))).astype(np.float32)
    state = np.zeros(grid.shape, np.uint8)
    return Look("a", NOON, grid, BANDS, image, state, grid.gsd_m, sun, view)


def an_object(pattern: Pattern = FORTY, *, contrast: float = 1.0, angle_deg: float = 0.0) -> Planting:
    east, north = GRID.centre
    return Planting(0, pattern, east, north, angle_deg, 7, BEFORE, contrast)


def planted(look: Look, *objects: Planting) -> Look:
    return plant(look, objects, tone_of(look, (), calibrated=True))


def moved(look: Look, *objects: Planting) -> np.ndarray:
    """(row, col) by how much the red band went up."""
    return planted(look, *objects).band("red") - look.band("red")


def test_nothing_but_the_ground_the_object_reaches_changes() -> None:
    look = a_look()
    after = planted(look, an_object())
    same = (after.reflectance == look.reflectance).all(axis=0)
    rows, cols = np.nonzero(~same)
    reach = 12.19 / 2 + 2.59 / np.tan(np.radians(30.0)) + 3.0
    assert rows.size > 100
    assert np.hypot(rows - 79.5, cols - 79.5).max() * GRID.gsd_m < reach


@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_without_contrast_or_before_its_time_nothing_is_planted(contrast: float) -> None:
    look = a_look()
    late = replace(an_object(contrast=contrast), since=NOON + timedelta(days=1))
    assert planted(look, late) is look
    assert planted(look, an_object(contrast=0.0)) is look


def test_the_shadow_lies_away_from_the_sun() -> None:
    look = a_look()
    change = moved(look, an_object())
    north, south = change[60:74, 68:92].mean(), change[86:100, 68:92].mean()
    assert north < -0.02
    assert abs(south) < 0.002


def test_level_ground_in_the_sun_keeps_its_brightness_however_low_the_sun() -> None:
    look = a_look(Sun(180.0, 8.0))
    change = moved(look, an_object())
    assert np.abs(change[90:, :]).max() < 1e-3


def test_an_oblique_view_moves_the_roof_away_from_the_sensor() -> None:
    tall = replace(FORTY, height_m=8.0)
    look = a_look(None, View(90.0, 25.0))
    change = np.abs(moved(look, an_object(tall, angle_deg=90.0)))
    _, cols = np.nonzero(change > 0.3 * change.max())
    west_m = (79.5 - cols.min()) * GRID.gsd_m
    assert west_m == pytest.approx(2.44 / 2 + 8.0 * np.tan(np.radians(25.0)), abs=0.8)


def test_what_was_hidden_stays_hidden() -> None:
    look = a_look()
    state = look.state.copy()
    state[:, :80] = 3
    image = look.reflectance.copy()
    image[:, state > 0] = np.nan
    after = planted(replace(look, reflectance=image, state=state), an_object())
    assert np.isnan(after.reflectance[:, :, :80]).all()
    assert np.isfinite(after.reflectance[:, :, 80:]).all()


@pytest.mark.parametrize("pattern", FINE_PATTERNS, ids=lambda p: p.name)
def test_an_outline_is_where_the_object_shows_when_nothing_shades_or_leans(pattern: Pattern) -> None:
    wide = SiteGrid(32633, 500_000.0, 5_550_000.0, 0.5, 200, 200)
    look = a_look(None, None, wide)
    east, north = wide.centre
    thing = Planting(0, pattern, east, north, 33.0, 7, BEFORE)
    after = planted(look, thing)
    shown = np.abs(after.reflectance - look.reflectance).max(axis=0) > 0.02
    outline = rasterize([thing.outline], wide.shape, transform=wide.transform) > 0
    assert (shown & outline).sum() / (shown | outline).sum() > 0.6


def test_numbers_without_calibration_carry_the_object_on_their_own_scale() -> None:
    look = a_look()
    grey = replace(look, reflectance=(look.reflectance * 700).astype(np.float32))
    tones = [tone_of(k, (), calibrated=False) for k in (look, grey)]
    first, second = (
        plant(k, [an_object()], tone, seed=1) for k, tone in zip((look, grey), tones, strict=True)
    )
    np.testing.assert_allclose(second.reflectance, first.reflectance * 700, rtol=1e-3, atol=0.5)


def test_a_straight_bank_along_the_sun_hardly_shows() -> None:
    bank = an_object(FINE_PATTERNS[4], angle_deg=90.0)  # its axis runs from north to south
    assert bank.along_sun(Sun(185.0, 30.0))
    assert not bank.along_sun(Sun(100.0, 30.0))
    assert not bank.along_sun(None)
    assert not an_object(FORTY, angle_deg=90.0).along_sun(Sun(180.0, 30.0))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_objects_lie_on_free_ground_clear_of_each_other(seed: int) -> None:
    free = np.ones(GRID.shape, bool)
    free[:, 70:80] = False
    times = [BEFORE, NOON, NOON + timedelta(days=9)]
    placed = choose_places(free, GRID, FINE_PATTERNS[:4], times, np.random.default_rng(seed), most=4)
    again = choose_places(free, GRID, FINE_PATTERNS[:4], times, np.random.default_rng(seed), most=4)
    assert placed == again
    assert placed
    for thing in placed:
        ground = rasterize([thing.outline], GRID.shape, transform=GRID.transform) > 0
        assert free[ground].all()
        assert all(thing.outline.distance(other.outline) > 3.0 for other in placed if other != thing)
        assert times[0] < thing.since < times[-1]


def test_no_more_objects_are_placed_than_asked_for_or_than_there_is_room() -> None:
    times = [BEFORE, NOON]
    rng = np.random.default_rng(0)
    assert len(choose_places(np.ones(GRID.shape, bool), GRID, FINE_PATTERNS, times, rng, most=2)) == 2
    assert choose_places(np.zeros(GRID.shape, bool), GRID, FINE_PATTERNS, times, rng, most=9) == ()


def test_claimed_ground_is_not_free() -> None:
    inside = np.ones(GRID.shape, bool)
    claimed = an_object().outline
    free = free_ground((), inside, GRID, [claimed])
    assert not free[80, 80]
    assert free[10, 10]


@pytest.mark.parametrize("pattern", COARSE_PATTERNS, ids=lambda p: p.name)
def test_a_pixel_of_ten_metres_sees_what_fills_it(pattern: Pattern) -> None:
    grid = SiteGrid(32633, 500_000.0, 5_550_000.0, 10.0, 40, 40)
    look = a_look(SOUTH, View(90.0, 3.0), grid)
    east, north = grid.centre
    after = planted(look, Planting(0, pattern, east, north, 20.0, 11, BEFORE))
    change = np.abs(after.reflectance - look.reflectance).max(axis=0)
    assert change[17:23, 17:23].max() > 0.02
    assert change[:8].max() == 0.0
