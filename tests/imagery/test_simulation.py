"""The renderer obeys the sun, the camera and its own truth."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from imagery.illumination import Sun, View, lean_offset, shadow_offset
from imagery.simulation import Sensor, SeriesOptions, simulate_series
from imagery.simulation.canvas import Canvas
from imagery.simulation.light import ceiling, seen, sun_position, sunlight
from imagery.simulation.sensor import numbers, sample

STEP = 0.25
SIZE = 320
SUMMER = SeriesOptions(extent_m=70, looks=3, clouds=0, sensor=Sensor(0.5, noise=0, shot=0))


def empty(size: int = SIZE) -> Canvas:
    """Return flat grey ground."""
    planes = np.zeros((4, size, size), np.float32)
    albedo = np.full((4, size, size), 0.2, np.float32)
    return Canvas(STEP, size, planes[0], albedo, planes[1], planes[2], planes[3], np.random.default_rng(0))


def centroid_m(mask: np.ndarray) -> tuple[float, float]:
    """Return (east, north) metres of the middle of a mask from the canvas's middle."""
    rows, cols = np.nonzero(mask)
    return (cols.mean() + 0.5 - SIZE / 2) * STEP, (SIZE / 2 - rows.mean() - 0.5) * STEP


@pytest.mark.parametrize(
    ("t_utc", "longitude", "latitude", "azimuth", "elevation"),
    [
        # Reda & Andreas (2003), NREL/TP-560-34302, example of appendix A.5: zenith 50.11162, azimuth 194.34024
        # at 1830 m with refraction, 2003-10-17 12:30:30 at UTC-7.
        (datetime(2003, 10, 17, 19, 30, 30, tzinfo=UTC), -105.1786, 39.742476, 194.34, 39.888),
        # At the June solstice the sun stands overhead on the Tropic of Cancer at noon (equation of time -1.8 min).
        (datetime(2024, 6, 20, 12, 1, 50, tzinfo=UTC), 0.0, 23.44 - 30.0, 0.0, 60.0),
        # Equinox of 2024-03-20 03:06: declination 0, so noon elevation is 90 - latitude (equation of time -7.4 min).
        (datetime(2024, 3, 20, 12, 7, 25, tzinfo=UTC), 0.0, 50.0, 180.0, 40.14),
    ],
)
def test_the_sun_stands_where_it_was_published(
    t_utc: datetime, longitude: float, latitude: float, azimuth: float, elevation: float
) -> None:
    sun = sun_position(t_utc, longitude, latitude)
    assert abs((sun.azimuth_deg - azimuth + 180) % 360 - 180) < 0.6
    assert sun.elevation_deg == pytest.approx(elevation, abs=0.3)


@pytest.mark.parametrize("azimuth", [0.0, 37.0, 90.0, 135.0, 200.0, 270.0, 318.0])
@pytest.mark.parametrize("elevation", [12.0, 45.0])
def test_shadows_fall_away_from_the_sun_as_far_as_arithmetic_says(azimuth: float, elevation: float) -> None:
    canvas = empty()
    middle = slice(SIZE // 2 - 2, SIZE // 2 + 2)
    canvas.height[middle, middle] = 4.0
    sun = Sun(azimuth, elevation)
    direct, _ = sunlight(canvas, sun)
    dark = (direct < 0.5 * math.sin(math.radians(elevation))) & (canvas.height < 1)
    tip_east, tip_north = shadow_offset(4.0, sun)
    length = math.hypot(tip_east, tip_north)
    rows, cols = np.nonzero(dark)
    east, north = (cols + 0.5 - SIZE / 2) * STEP, (SIZE / 2 - rows - 0.5) * STEP
    along = (east * tip_east + north * tip_north) / length
    across = (east * tip_north - north * tip_east) / length
    assert along.min() > -1.0
    assert along.max() == pytest.approx(length + 0.5, abs=0.6)
    assert np.abs(across).max() < 1.1


def test_a_ceiling_ignores_what_is_lower_than_the_ray() -> None:
    height = np.zeros((50, 50), np.float32)
    height[25] = 1.0
    over = ceiling(height, 1.0, 0.0, 45.0)
    assert over[26, 10] == pytest.approx(0.0, abs=1e-5)
    assert over[25, 10] < 0
    assert over[24, 10] < 0


@pytest.mark.parametrize("azimuth", [0.0, 61.0, 180.0, 225.0, 300.0])
def test_a_roof_leans_away_from_the_sensor(azimuth: float) -> None:
    canvas = empty()
    part = slice(SIZE // 2 - 16, SIZE // 2 + 16)
    canvas.height[part, part] = 6.0
    planes = np.zeros((1, SIZE, SIZE), np.float32)
    planes[0, part, part] = 1.0
    view = View(azimuth, 25.0)
    east, north = lean_offset(6.0, view)
    image = seen(canvas, planes, view, wall=0.5)[0]
    found = centroid_m(image > 0.9)
    assert found[0] == pytest.approx(east, abs=0.35)
    assert found[1] == pytest.approx(north, abs=0.35)
    # The foot on the far side is hidden, the wall on the near side is seen: nothing of the roof stays behind.
    assert set(np.unique(image)) <= {0.0, 0.5, 1.0}
    assert (image == 0.5).any()


def test_nadir_views_lean_nothing() -> None:
    canvas = empty()
    canvas.height[100:120, 100:120] = 5.0
    planes = canvas.albedo.copy()
    assert seen(canvas, planes, View(10.0, 0.0)) is planes


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -0.19), (-1.234, 2.71)])
def test_a_shifted_camera_moves_the_image_by_exactly_that_much(shift: tuple[float, float]) -> None:
    yy, xx = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    x, y = (xx + 0.5) * STEP, (yy + 0.5) * STEP
    blob = np.exp(-((x - 40.1) ** 2 + (y - 39.3) ** 2) / (2 * 3.0**2)).astype(np.float32)
    gsd = 0.5
    image = sample(blob[None], STEP, gsd, (10.0 - shift[1], 10.0 + shift[0]), (120, 120), 0.45)[0].astype(
        float
    )
    rows, cols = np.mgrid[0:120, 0:120] + 0.5
    east = (image * cols).sum() / image.sum() * gsd + 10.0
    south = (image * rows).sum() / image.sum() * gsd + 10.0
    assert east + shift[0] == pytest.approx(40.1, abs=2e-3)
    assert south - shift[1] == pytest.approx(39.3, abs=2e-3)


@pytest.mark.parametrize("gsd", [0.37, 0.5, 0.8, 1.7, 3.0])
def test_a_sensor_keeps_the_light_it_collects(gsd: float) -> None:
    flat = np.full((1, SIZE, SIZE), 0.3, np.float32)
    assert sample(flat, STEP, gsd, (0.0, 0.0), (20, 20), 0.5) == pytest.approx(0.3, abs=1e-6)
    point = np.zeros((1, SIZE, SIZE), np.float32)
    point[0, 150, 161] = 1.0
    side = int(70 / gsd)
    total = sample(point, STEP, gsd, (3.0, 3.0), (side, side), 0.5).sum() * gsd**2
    assert total == pytest.approx(STEP**2, rel=0.03)


def test_shallow_depths_have_few_numbers_and_jpeg_stays_close() -> None:
    rng = np.random.default_rng(4)
    image = np.clip(rng.normal(0.3, 0.02, (4, 64, 64)), 0, 1).astype(np.float32)
    still = Sensor(0.5, noise=0.0, shot=0.0)
    shallow = numbers(image, replace(still, bits=8), rng)
    assert len(np.unique(shallow)) < len(np.unique(numbers(image, still, rng))) / 5
    packed = numbers(image, replace(still, jpeg_quality=85), rng)
    assert np.abs(packed / 1e4 - image).mean() < 0.03
    assert not np.array_equal(packed, shallow)


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not() -> None:
    first, second, other = (simulate_series(seed, SUMMER) for seed in (7, 7, 8))
    for a, b in zip(first.looks, second.looks, strict=True):
        assert np.array_equal(a.image, b.image)
        assert a.shift_m == b.shift_m
    assert [t.footprint for t in first.truths] == [t.footprint for t in second.truths]
    assert not np.array_equal(first.looks[0].image, other.looks[0].image)


def test_things_of_the_truth_change_the_pixels_they_cover() -> None:
    options = replace(
        SUMMER, extent_m=120, geolocation_m=0.0, off_nadir_deg=0.0, start=datetime(2023, 5, 1, tzinfo=UTC)
    )
    options = replace(options, end=datetime(2023, 9, 1, tzinfo=UTC), looks=4)
    checked = 0
    for seed in range(3):
        series = simulate_series(seed, options)
        for truth in series.truths:
            spans = [truth.thing.stands(look.t_utc) for look in series.looks]
            if truth.thing.kind != "container" or all(spans) or not any(spans):
                continue
            west, south, east, north = (round(v / 0.5) for v in truth.footprint.bounds)
            part = (slice(max(240 - north, 0), 240 - south), slice(max(west, 0), east))
            images = [look.image[(slice(None), *part)] / 1e4 for look in series.looks]
            with_it, without = images[spans.index(True)], images[spans.index(False)]
            checked += 1
            assert np.abs(with_it - without).mean() > 0.01
            assert truth.count is not None
            assert truth.count >= 1
    assert checked >= 2


def test_a_poor_mask_never_changes_what_truth_calls_hidden() -> None:
    cloudy = replace(SUMMER, clouds=0.6, looks=4, extent_m=100)
    perfect, poor, none = (
        simulate_series(3, replace(cloudy, masks=m)) for m in ("perfect", "imperfect", "none")
    )
    pairs = list(zip(perfect.looks, poor.looks, none.looks, strict=True))
    assert any((a.mask > 0).any() for a, _, _ in pairs)
    for a, b, c in pairs:
        assert np.array_equal(a.hidden, b.hidden)
        assert np.array_equal(a.mask, a.hidden)
        assert not c.mask.any()
    assert any(not np.array_equal(b.mask, b.hidden) for _, b, _ in pairs)


def test_vehicles_stand_elsewhere_in_every_look_and_leave_the_rest_alone() -> None:
    """Without noise the looks with and without traffic differ where vehicles and their shadows are, and there alone."""
    still = simulate_series(4, replace(SUMMER, traffic=0.0, geolocation_m=0.0))
    busy = simulate_series(4, replace(SUMMER, traffic=4.0, geolocation_m=0.0))
    assert [t.thing for t in still.truths] == [t.thing for t in busy.truths]
    places = [
        np.abs(a.image.astype(float) - b.image).max(axis=0) > 100
        for a, b in zip(still.looks, busy.looks, strict=True)
    ]
    assert all(0.005 < share.mean() < 0.3 for share in places)
    first, second, _ = places
    assert (first & second).sum() < 0.3 * min(first.sum(), second.sum())
