"""Coarse series whose looks differ in pixel size, bands or encoding, on a drawn site whose history is known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import ndimage
from shapely.geometry import box

from imagery.changes import Status
from imagery.grid import SiteGrid
from imagery.look import Look
from imagery.radiometry import NormalisationOptions, apply_normalisation, normalise
from imagery.timeseries import find_disturbances
from imagery.timeseries.comparable import at_pixel_size, comparable_looks

N = 180
GRID = SiteGrid(32636, 500_000.0, 5_000_000.0, 10.0, N, N)
START = datetime(2023, 5, 1, 10, tzinfo=UTC)
BANDS = ("blue", "green", "red", "nir")
EVERYWHERE = np.ones((N, N), bool)
SHEET = np.array([0.22, 0.24, 0.27, 0.30], np.float32)[:, None, None]
YARD = (slice(90, 99), slice(60, 69))
NOTE = "no scale given: 8 bit taken as relative brightness"


def ground(seed):
    """Return (band, row, col) of soil with sharp-edged parcels and roads."""
    rng = np.random.default_rng(seed)
    base = np.stack(
        [ndimage.gaussian_filter(rng.normal(size=(N, N)), 4) * 0.3 + m for m in (0.06, 0.09, 0.12, 0.25)]
    )
    for _ in range(40):
        row, col = rng.integers(0, N - 20, 2)
        tall, wide = rng.integers(2, 14, 2)
        base[:, row : row + tall, col : col + wide] = SHEET * 0.45 * rng.uniform(0.4, 2.2)
    for col in rng.integers(0, N - 2, 5):
        base[:, :, col : col + 2] = SHEET * 0.5
    return np.clip(base, 0.01, None)


def look(index, image, gsd_m, rng):
    """Return what a sensor of this pixel size sees of the ground, on the 10 m grid."""
    times = round(gsd_m / 10)
    seen = ndimage.gaussian_filter(image, (0, 0.45 * times, 0.45 * times))
    seen = seen.reshape(4, N // times, times, N // times, times).mean((2, 4))
    seen = seen + rng.normal(scale=0.004, size=seen.shape)
    if times > 1:
        seen = np.stack([ndimage.zoom(band, times, order=3, grid_mode=True, mode="nearest") for band in seen])
    when = START + timedelta(days=20 * index)
    state = np.zeros((N, N), np.uint8)
    return Look(f"s{index:02d}", when, GRID, BANDS, seen.astype(np.float32), state, gsd_m, None, None)


def series(sizes_m, *, seed=2, since=99):
    """Return looks of these pixel sizes; a yard of 90 m by 90 m is covered from look ``since`` on."""
    rng, before = np.random.default_rng(seed), ground(seed)
    after = before.copy()
    after[:, YARD[0], YARD[1]] = SHEET
    return [look(i, after if i >= since else before, size, rng) for i, size in enumerate(sizes_m)]


def yard():
    return box(500_600.0, 4_999_010.0, 500_690.0, 4_999_100.0)


def stretched(looks, which):
    """Return the looks, some of them in 8 bit with a curve, brought to the first one's scale as the pipeline does."""
    out = list(looks)
    for i in which:
        curve = np.clip((looks[i].reflectance - 0.02) / 0.28, 0, 1) ** (1 / 1.6)
        eight_bit = replace(
            looks[i], reflectance=(np.round(curve * 255) / 255).astype(np.float32), notes=(NOTE,)
        )
        out[i] = apply_normalisation(
            eight_bit, normalise(looks[0], eight_bit, NormalisationOptions(relative=True))
        )
    return out


def pan(one):
    visible = one.reflectance[:3].mean(axis=0, keepdims=True, dtype=np.float32)
    return replace(one, bands=("pan",), reflectance=visible)


@pytest.mark.parametrize("sizes_m", [[30.0] * 5 + [10.0] * 5, [10.0] * 6 + [20.0] * 6])
def test_another_sensors_larger_pixels_are_no_change(sizes_m):
    detection = find_disturbances(series(sizes_m), EVERYWHERE)
    assert detection.changes == ()
    assert detection.limits[0].gsd_m == max(sizes_m)
    (said,) = detection.warnings
    assert f"compared at {max(sizes_m):g} m, the pixel size of the coarsest" in said


@pytest.mark.parametrize("since", [3, 5])
def test_a_change_is_found_in_a_series_of_two_pixel_sizes(since):
    looks = series([30.0] * 5 + [10.0] * 5, since=since)
    (change,) = find_disturbances(looks, EVERYWHERE).changes
    assert change.status is Status.CONFIRMED
    assert (change.before_scene, change.after_scene) == (f"s{since - 1:02d}", f"s{since:02d}")
    assert change.footprint.intersection(yard()).area > 0.6 * yard().area
    assert change.gsd_m == 30.0
    assert change.count_reason == "pixels of 30 m cannot resolve containers"


def test_a_few_far_coarser_looks_are_left_out_and_named_instead_of_blinding_the_others():
    sizes_m = [10.0] * 10
    sizes_m[2] = sizes_m[7] = 30.0
    looks = series(sizes_m, since=5)
    detection = find_disturbances(looks, EVERYWHERE)
    others = find_disturbances([one for one in looks if one.gsd_m == 10.0], EVERYWHERE)
    assert detection.changes == others.changes
    assert [row.scene_id for row in detection.standing] == [
        one.scene_id for one in looks if one.gsd_m == 10.0
    ]
    (said,) = detection.warnings
    assert "2 looks were not compared" in said
    assert "s02, s07" in said


def test_half_of_a_series_is_not_left_out_for_its_pixels():
    assert len(comparable_looks(series([30.0] * 5 + [10.0] * 5)).looks) == 10


def test_looks_of_one_size_and_one_sort_stay_the_objects_they_were():
    looks = series([10.0] * 4 + [10.5])
    compared = comparable_looks(looks)
    assert compared.warnings == ()
    assert all(at_pixel_size(one, compared.gsd_m) is one for one in compared.looks)
    assert list(compared.looks) == looks


def test_one_panchromatic_look_does_not_take_the_colours_of_all_others():
    looks = series([10.0] * 10, since=5)
    mixed = [*looks[:3], pan(looks[3]), *looks[4:]]
    detection = find_disturbances(mixed, EVERYWHERE)
    assert detection.changes == find_disturbances([*looks[:3], *looks[4:]], EVERYWHERE).changes
    assert detection.warnings == ("1 look was not compared, without bands that most looks have: s03.",)


def test_a_look_with_bands_more_or_a_blue_less_is_compared():
    looks = series([10.0] * 6)
    looks[1] = replace(looks[1], bands=BANDS[1:], reflectance=looks[1].reflectance[1:])
    more = np.concatenate([looks[2].reflectance, looks[2].reflectance[:1]])
    looks[2] = replace(looks[2], bands=(*BANDS, "swir16"), reflectance=more)
    assert comparable_looks(looks).looks == tuple(looks)


def test_where_many_looks_lack_colours_the_report_says_what_was_compared():
    looks = series([10.0] * 8)
    no_infrared = [replace(one, bands=BANDS[:3], reflectance=one.reflectance[:3]) for one in looks[:3]]
    (said,) = find_disturbances([*no_infrared, *looks[3:]], EVERYWHERE).warnings
    assert "compared in blue, green, red only" in said
    (said,) = find_disturbances([*map(pan, looks[:3]), *looks[3:]], EVERYWHERE).warnings
    assert "compared by brightness only" in said


def test_what_changed_together_with_the_encoding_stays_a_first_sight():
    detection = find_disturbances(stretched(series([10.0] * 12), range(6, 12)), EVERYWHERE)
    assert detection.changes  # a curve over the numbers looks like change
    assert {change.status for change in detection.changes} == {Status.FIRST}
    assert all("what their numbers mean" in change.against[-1] for change in detection.changes)
    (said,) = detection.warnings
    assert "6 of 12 in plain numbers" in said


@pytest.mark.parametrize("which", [range(6, 12), range(1, 12, 2)])
def test_what_looks_of_one_encoding_show_alone_is_more_than_a_first_sight(which):
    detection = find_disturbances(stretched(series([10.0] * 12, since=3), which), EVERYWHERE)
    (change,) = [c for c in detection.changes if c.status is not Status.FIRST]
    assert change.before_scene == "s02"
    assert change.confidence > 0.9
    assert change.footprint.intersects(yard())
