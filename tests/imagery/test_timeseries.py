"""Coarse series are judged on small drawn sites whose history is known."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapely.geometry import box

from imagery.changes import Direction, ObjectClass, Status
from imagery.grid import SiteGrid
from imagery.look import Look
from imagery.timeseries import TimeSeriesOptions, disturbances, find_disturbances
from imagery.timeseries.cube import (
    NoCommonGrid,
    independent_dates,
    median_of_three,
    season_harmonics,
    smooth_seen,
    without_season,
)
from imagery.timeseries.disturbances import SUREST_ONCE, WEIGHTS
from imagery.timeseries.operating import measured_points
from imagery.timeseries.scan import Spot

BANDS = ("blue", "green", "red", "nir")
N = 72
GRID = SiteGrid(32636, 500_000.0, 5_000_000.0, 10.0, N, N)
START = datetime(2021, 3, 1, 10, tzinfo=UTC)
EVERYWHERE = np.ones((N, N), bool)
SHEET = np.array([0.22, 0.24, 0.27, 0.30])  # a covered surface, brighter than any ground here
PATCH = (slice(30, 36), slice(40, 47))


def ground(seed):
    """Return (band, row, col) of hard ground and soil with texture."""
    rng = np.random.default_rng(seed)
    base = np.array([0.07, 0.09, 0.11, 0.16])[:, None, None]
    parcels = np.kron(rng.uniform(0.8, 1.25, (6, 6)), np.ones((N // 6, N // 6)))
    texture = 1.0 + 0.2 * ndimage.gaussian_filter(rng.normal(size=(N, N)), 1.0)
    return base * parcels * texture


def look(index, image, rng, days=20, grid=GRID):
    noisy = image * rng.uniform(0.97, 1.03) + rng.normal(scale=0.003, size=image.shape)
    state = np.zeros(image.shape[1:], np.uint8)
    when = START + timedelta(days=index * days)
    return Look(f"s{index:02d}", when, grid, BANDS, noisy.astype(np.float32), state, 10.0, None, None)


def series(n=8, present=range(4, 8), seed=0, patch=PATCH, sheet=1.0):
    rng = np.random.default_rng(seed)
    still = ground(seed)
    looks = []
    for index in range(n):
        image = still.copy()
        if index in present:
            covered = image[:, patch[0], patch[1]]
            covered += sheet * (SHEET[:, None, None] - covered)
        looks.append(look(index, image, rng))
    return looks


def hidden(one, where=EVERYWHERE):
    reflectance, state = one.reflectance.copy(), one.state.copy()
    reflectance[:, where] = np.nan
    state[where] = 3
    return replace(one, reflectance=reflectance, state=state)


def true_footprint(patch=PATCH):
    rows, cols = patch
    return box(
        GRID.east_m + cols.start * 10, GRID.north_m - rows.stop * 10,
        GRID.east_m + cols.stop * 10, GRID.north_m - rows.start * 10,
    )  # fmt: skip


def test_a_sheet_laid_out_is_found_once_with_its_place_time_and_area():
    looks = series()
    (change,) = find_disturbances(looks, EVERYWHERE).changes
    truth = true_footprint()
    assert change.object_class is ObjectClass.OTHER
    assert change.direction is Direction.APPEARED
    assert change.status is Status.CONFIRMED
    assert (change.onset.start, change.onset.end) == (looks[3].t_utc, looks[4].t_utc)
    assert change.footprint.intersection(truth).area / change.footprint.union(truth).area > 0.6
    assert change.area_m2.low <= truth.area <= change.area_m2.high
    assert change.count is None
    assert change.count_reason == "pixels of 10 m cannot resolve containers"


@pytest.mark.parametrize(("length_m", "width_m"), [(24.0, 20.0), (33.0, 47.0), (90.0, 55.0)])
def test_an_outline_is_drawn_at_sub_pixel_places(length_m, width_m):
    east, north = 403.0, 306.0
    at = (np.arange(N * 10) + 0.5) * 1.0
    inside = ((at >= north) & (at < north + width_m))[:, None] & ((at >= east) & (at < east + length_m))
    share = ndimage.gaussian_filter(inside.astype(float), 5.0).reshape(N, 10, N, 10).mean((1, 3))
    rng, still = np.random.default_rng(3), ground(3)
    looks = [
        look(index, still + (index >= 5) * share * (SHEET[:, None, None] - still), rng) for index in range(10)
    ]
    (change,) = find_disturbances(looks, EVERYWHERE).changes
    truth = box(
        GRID.east_m + east, GRID.north_m - north - width_m, GRID.east_m + east + length_m, GRID.north_m - north
    )  # fmt: skip
    assert change.footprint.intersection(truth).area / change.footprint.union(truth).area > 0.7
    assert change.area_m2.low <= truth.area <= change.area_m2.high
    assert change.area_m2.value == pytest.approx(change.footprint.area)


def test_reversing_time_swaps_appeared_and_removed_and_nothing_else():
    looks = series()
    back = [replace(one, t_utc=START - (one.t_utc - START)) for one in looks]
    (forward,) = find_disturbances(looks, EVERYWHERE).changes
    (backward,) = find_disturbances(back, EVERYWHERE).changes
    assert backward.direction is Direction.REMOVED
    assert backward.footprint.equals(forward.footprint)
    assert backward.before_scene == forward.after_scene


def test_what_came_and_went_is_two_changes_and_the_first_is_closed():
    came, went = find_disturbances(series(12, range(4, 8)), EVERYWHERE).changes
    assert (came.direction, came.status) == (Direction.APPEARED, Status.CLOSED)
    assert (went.direction, went.after_scene) == (Direction.REMOVED, "s08")


def test_what_went_and_came_back_is_two_changes_and_the_first_is_closed():
    went, came = find_disturbances(series(12, [0, 1, 2, 3, 8, 9, 10, 11]), EVERYWHERE).changes
    assert (went.direction, went.status) == (Direction.REMOVED, Status.CLOSED)
    assert (came.direction, came.after_scene) == (Direction.APPEARED, "s08")


def test_a_site_where_nothing_happens_stays_silent():
    for seed in range(4):
        assert find_disturbances(series(8, (), seed), EVERYWHERE).changes == ()


def test_the_order_of_looks_is_irrelevant():
    looks = series()
    assert find_disturbances(looks[::-1], EVERYWHERE) == find_disturbances(looks, EVERYWHERE)


@settings(max_examples=6, deadline=None)
@given(offset=st.floats(-0.02, 0.05))
def test_a_constant_added_to_all_bands_of_all_looks_changes_no_verdict(offset):
    looks = series()
    moved = [replace(one, reflectance=one.reflectance + np.float32(offset)) for one in looks]
    (plain,) = find_disturbances(looks, EVERYWHERE).changes
    (shifted,) = find_disturbances(moved, EVERYWHERE).changes
    assert shifted.onset == plain.onset
    assert shifted.direction is plain.direction
    common = shifted.footprint.intersection(plain.footprint).area
    assert common / shifted.footprint.union(plain.footprint).area > 0.9


def test_with_every_look_after_the_onset_hidden_nothing_is_claimed_and_nothing_counts_as_seen():
    looks = series()
    blind = looks[:4] + [hidden(one) for one in looks[4:]]
    detection = find_disturbances(blind, EVERYWHERE)
    assert detection.changes == ()
    assert [row.usable_fraction for row in detection.standing[4:]] == [0.0] * 4


def test_the_onset_interval_spans_the_looks_in_which_the_place_was_hidden():
    looks = series(10, range(5, 10))
    cloud = np.zeros((N, N), bool)
    cloud[20:50, 30:60] = True
    looks[4], looks[5] = hidden(looks[4], cloud), hidden(looks[5], cloud)
    (change,) = find_disturbances(looks, EVERYWHERE).changes
    assert (change.before_scene, change.after_scene) == ("s03", "s06")


def test_one_odd_look_is_no_change():
    assert find_disturbances(series(9, (4,)), EVERYWHERE).changes == ()


def test_a_place_seen_in_the_last_look_only_is_first_and_not_sure():
    (change,) = find_disturbances(series(8, (7,)), EVERYWHERE).changes
    assert change.status is Status.FIRST
    assert change.confidence < find_disturbances(series(8), EVERYWHERE).changes[0].confidence - 0.1
    assert change.confidence == pytest.approx(1 / (1 + math.exp(-SUREST_ONCE)), abs=1e-3)


def test_cues_speak_for_or_against_as_they_are_meant():
    for row in WEIGHTS.values():
        against = {name for name, weight in row.items() if weight < 0}
        assert against <= {"base", "one date", "wide", "vegetation"}
        assert all(row[name] <= 0 for name in ("one date", "wide", "vegetation"))
    assert len({tuple(row) for row in WEIGHTS.values()}) == 1


def test_looks_of_one_week_confirm_nothing():
    looks = series(8, range(4, 8))
    week = [replace(one, t_utc=looks[4].t_utc + timedelta(days=i)) for i, one in enumerate(looks[4:7])]
    (change,) = find_disturbances(looks[:4] + week, EVERYWHERE).changes
    assert change.status is Status.FIRST


def test_what_is_less_than_nine_tenths_likely_is_not_confirmed_however_often_it_is_seen():
    statuses = set()
    for sheet in (0.06, 0.08, 0.1, 1.0):
        for change in find_disturbances(series(sheet=sheet), EVERYWHERE).changes:
            assert (change.status is Status.CONFIRMED) == (change.confidence >= 0.9)
            statuses.add(change.status)
    assert statuses == {Status.CONFIRMED, Status.PROVISIONAL}


def test_a_pair_gives_a_first_sight_with_little_confidence():
    looks = series(2, (1,))
    (change,) = find_disturbances(looks, EVERYWHERE).changes
    assert change.status is Status.FIRST
    assert change.confidence < 0.7


def test_rain_over_the_whole_site_is_no_change():
    looks = series(8, ())
    wet = [replace(one, reflectance=one.reflectance * np.float32(0.75)) for one in looks[4:]]
    assert find_disturbances(looks[:4] + wet, EVERYWHERE).changes == ()


def test_fields_cut_on_dates_of_their_own_are_not_reported():
    rng = np.random.default_rng(5)
    still = ground(5)
    parcel = np.kron(np.arange(36).reshape(6, 6), np.ones((N // 6, N // 6), int))
    green = np.array([0.04, 0.07, 0.04, 0.40])[:, None]
    cut_at = rng.integers(3, 11, 36)
    looks = []
    for index in range(14):
        image = still.copy()
        for p in range(0, 36, 2):
            if index < cut_at[p]:
                image[:, parcel == p] = green * (1 + 0.05 * rng.normal(size=(1, (parcel == p).sum())))
        looks.append(look(index, image, rng, days=12))
    confirmed = [c for c in find_disturbances(looks, EVERYWHERE).changes if c.confidence > 0.5]
    assert confirmed == []


def test_nothing_outside_the_area_of_interest_is_reported():
    away = EVERYWHERE.copy()
    away[20:50, 30:60] = False
    assert find_disturbances(series(), away).changes == ()


def test_tiles_give_the_same_change_as_the_whole():
    looks = series()
    (whole,) = find_disturbances(looks, EVERYWHERE).changes
    (tiled,) = find_disturbances(looks, EVERYWHERE, TimeSeriesOptions(tile_values=8 * 4 * 60 * 60)).changes
    assert tiled.footprint.equals(whole.footprint)


def test_a_tile_that_holds_a_corner_of_the_site_takes_no_object_there_for_the_whole_site():
    wide = replace(GRID, rows=200, cols=200)
    rng = np.random.default_rng(3)
    still = np.tile(ground(3), (1, 3, 3))[:, :200, :200]
    covered = still.copy()
    covered[:, 170:180, 170:180] = SHEET[:, None, None]
    looks = [look(i, covered if i >= 4 else still, rng, grid=wide) for i in range(8)]
    two_parts = np.zeros((200, 200), bool)
    two_parts[10:60, 10:90] = two_parts[168:182, 168:182] = True
    whole = find_disturbances(looks, two_parts)
    tiled = find_disturbances(looks, two_parts, TimeSeriesOptions(tile_values=100_000))
    assert [c.status for c in whole.changes] == [Status.CONFIRMED]
    assert tiled.warnings == ()
    assert [c.status for c in tiled.changes] == [Status.CONFIRMED]


def test_what_covers_most_of_a_tile_is_no_object_of_a_larger_site(monkeypatch):
    def half_of_it(cube, *_args, **_options):
        half = np.arange(cube.shape[2] * cube.shape[3] // 2)
        yield Spot(4, 2, half, 9.0, 9.0, SHEET.astype(np.float32), SHEET.astype(np.float32))

    monkeypatch.setattr(disturbances, "scan", half_of_it)
    wide = replace(GRID, rows=400, cols=400)
    looks = [look(i, np.full((4, 400, 400), 0.2), np.random.default_rng(i), grid=wide) for i in range(8)]
    detection = find_disturbances(looks, np.ones((400, 400), bool), TimeSeriesOptions(tile_values=100_000))
    assert detection.changes == ()
    (said,) = detection.warnings
    assert "Most of the site changed at once" in said


def test_standing_area_follows_what_came_and_went():
    rows = find_disturbances(series(12, range(4, 8)), EVERYWHERE).standing
    areas = [row.area_m2.value for row in rows]
    assert areas[:4] == [0.0] * 4
    assert min(areas[4:8]) > 2000
    assert areas[8:] == [0.0] * 4


def test_classes_that_pixels_cannot_show_are_said_to_be_unobservable():
    limits = {limit.object_class: limit for limit in find_disturbances(series(2, ()), EVERYWHERE).limits}
    assert not limits[ObjectClass.CONTAINER].observable
    assert "without a count" in limits[ObjectClass.CONTAINER].statement
    assert limits[ObjectClass.OTHER].observable


def test_looks_on_different_grids_are_refused():
    looks = series(2, ())
    other = replace(looks[1], grid=replace(GRID, east_m=GRID.east_m + 10.0))
    with pytest.raises(NoCommonGrid):
        find_disturbances([looks[0], other], EVERYWHERE)


def test_no_looks_or_one_look_give_no_change():
    assert find_disturbances([], EVERYWHERE).changes == ()
    assert find_disturbances(series(1, ()), EVERYWHERE).changes == ()


def test_dates_closer_than_asked_are_one_date():
    times = [START + timedelta(days=d) for d in (0, 2, 3.9, 4, 11)]
    assert independent_dates(times, 4.0).members == ((0, 1, 2), (3,), (4,))


def test_smoothing_keeps_a_constant_beside_a_hole():
    values = np.full((1, 20, 20), 0.3, np.float32)
    values[:, 5:9, 5:9] = np.nan
    smooth = smooth_seen(values, 0.7)
    np.testing.assert_allclose(smooth[np.isfinite(values)], 0.3, rtol=1e-5)
    assert np.isnan(smooth[0, 6, 6])


def test_median_of_three_removes_a_spike_and_keeps_a_step():
    spike = np.array([0, 0, 9, 0, 0], np.float32).reshape(5, 1, 1, 1)
    step = np.array([0, 0, 1, 1, 1], np.float32).reshape(5, 1, 1, 1)
    assert median_of_three(spike).max() == 0
    np.testing.assert_array_equal(median_of_three(step), step)


def test_two_years_of_season_are_taken_out_and_a_step_is_left():
    days = np.arange(0, 1100, 25.0)
    course = 0.2 * np.cos(2 * np.pi * days / 365.2425)
    step = np.where(days > 600, 0.3, 0.0)
    cube = (course + step).astype(np.float32).reshape(-1, 1, 1, 1)
    left = without_season(cube, days)[:, 0, 0, 0]
    assert season_harmonics(days) == 2
    assert np.std(left - step) < 0.05
    assert np.median(left[days > 600]) - np.median(left[days <= 600]) > 0.25


def test_a_false_alarm_budget_says_its_cost_and_lists_the_surer_ones_only():
    looks = series()
    free = find_disturbances(looks, EVERYWHERE)
    tight = find_disturbances(looks, EVERYWHERE, TimeSeriesOptions(max_false_alarms=0.1))
    (said,) = [w for w in tight.warnings if w not in free.warnings]
    assert "false reports per km² and year" in said
    least = min(p.confidence for p in measured_points() if p.false_alarms <= 0.1)
    assert least > 0.5
    assert list(tight.changes) == [c for c in free.changes if c.confidence >= least]


def test_the_measured_points_trade_recall_for_quiet():
    points = measured_points()
    assert len(points) > 10
    assert [p.false_alarms for p in points] == sorted((p.false_alarms for p in points), reverse=True)
    assert [p.recall for p in points] == sorted((p.recall for p in points), reverse=True)
