"""Events beside onsets: gaps kept, nothing claimed where nothing could be seen, and p-values that mean what they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.corroboration import NULLS, WORLDS, check_world, power_row, tables
from pipelines.corroboration import (
    Onset,
    Untestable,
    Window,
    circular_p,
    common_lag,
    corroborate,
    holm,
    lag_days,
    merge_onsets,
    season_of,
    share_inside,
)

SITES = 200
LOOKS = list(range(18_000, 18_000 + 3 * 365, 10))


def onset(day: float, gap: float = 10.0, weight: float = 0.9) -> Onset:
    """An onset between the two looks around a day."""
    start = 18_000 + (day - 18_000) // gap * gap
    return Onset(start, start + gap, weight)


def test_a_window_without_a_clear_look_is_not_tested() -> None:
    looks = [day for day in LOOKS if not 18_300 <= day <= 18_420]
    result = corroborate(looks, [onset(18_200)], [Window(18_310, 3, (0, 30))])
    assert result.events[0].untestable is Untestable.NO_CLEAR_LOOK_IN_WINDOW
    assert result.events[0].tested is None
    assert result.joint is None


def test_the_first_look_alone_has_nothing_to_compare_with() -> None:
    result = corroborate(LOOKS, [], [Window(17_990, 3, (0, 12)), Window(17_990, 3, (0, 22))])
    assert result.events[0].untestable is Untestable.NO_CLEAR_LOOK_BEFORE
    assert result.events[1].untestable is None


@pytest.mark.parametrize("looks", [[], [18_000], [18_000, 18_000]])
def test_fewer_than_two_looks_test_nothing(looks: list[int]) -> None:
    result = corroborate(looks, [], [Window(17_995, 5, (0, 30))])
    assert result.events[0].tested is None
    assert circular_p(looks, [], [Window(17_995, 5, (0, 30))]) is None


def test_onsets_right_after_every_event_are_found_and_others_are_not() -> None:
    starts = [18_105, 18_390, 18_610, 18_905]
    windows = [Window(start, 3, (0, 15)) for start in starts]
    close = corroborate(LOOKS, [onset(start + 8) for start in starts], windows)
    far = corroborate(LOOKS, [onset(start + 70) for start in starts], windows)
    assert close.joint is not None
    assert far.joint is not None
    assert close.joint.p_value < 0.01
    assert far.joint.p_value == 1.0
    assert far.joint_power is not None
    assert far.joint_power > 0.9


def test_the_p_value_of_one_event_and_one_onset_is_the_share_of_days_counted_by_hand() -> None:
    # Window of 20 days, onset over [18 500, 18 510]: it holds the whole onset from 11 starts, and the event's is one.
    window = Window(18_495, 5, (0, 15))
    result = corroborate(LOOKS, [Onset(18_500.0, 18_510.0, 1.0)], [window])
    assert result.joint is not None
    circular = result.joint.nulls[0]
    # Starts from 20 days before the second look to the last look, and the ten earlier ones the circle goes on over.
    testable = LOOKS[-1] - (LOOKS[1] - 19) + 1
    assert circular.exact
    assert circular.placements == testable
    assert circular.p_value == pytest.approx(11 / testable)
    resampled = result.joint.nulls[2]
    # Of 109 equally long gaps between looks this is the only one that lies wholly in the window.
    assert resampled.p_value == pytest.approx(1 / 109)
    season = result.joint.nulls[1]
    quarters = season_of(np.arange(LOOKS[1] - 19, LOOKS[-1] + 1))
    assert season.p_value == pytest.approx(11 / int((quarters == season_of(np.array([18_495]))[0]).sum()))


def test_a_change_hidden_by_a_long_gap_counts_little() -> None:
    sharp = share_inside(18_500.0, 18_510.0, (18_495, 18_515))
    blurred = share_inside(18_400.0, 18_600.0, (18_495, 18_515))
    assert (sharp, blurred) == (1.0, 0.1)
    assert share_inside(18_500.0, 18_500.0, (18_495, 18_515)) == 1.0


def test_without_two_years_the_season_is_said_not_to_be_separable() -> None:
    looks = LOOKS[:40]
    result = corroborate(looks, [onset(18_100)], [Window(18_095, 5, (0, 15))])
    assert result.joint is not None
    season = result.joint.nulls[1]
    assert season.p_value is None
    assert "season cannot be told" in str(season.reason)


def test_a_site_seen_often_has_more_power_than_one_seen_seldom() -> None:
    window = [Window(18_495, 2, (0, 6))]
    often = corroborate(range(18_000, 19_095, 2), [], window).events[0].power
    seldom = corroborate(range(18_000, 19_095, 50), [], window).events[0].power
    assert often == 1.0
    # An onset somewhere in 50 days puts 8/50 of itself into any window of 8 days: 43 of the season's 270 days do as well.
    assert seldom == 0.0


def test_a_window_that_begins_with_the_last_look_has_no_power() -> None:
    windows = [Window(LOOKS[-1], 3, (0, 30)), Window(LOOKS[-1], 5, (0, 30))]
    result = corroborate(LOOKS, [onset(18_100)], windows)
    assert [event.power for event in result.events] == [0.0, 0.0]
    assert result.joint_power == 0.0


def test_holm_by_hand() -> None:
    # Holm (1979): sorted .01 .03 .04 times 3, 2, 1, and never falling.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_lags_are_signed_intervals_and_their_common_part_may_be_nothing() -> None:
    assert lag_days((100.0, 103.0), (105.0, 115.0)) == (2.0, 15.0)
    assert lag_days((100.0, 103.0), (80.0, 90.0)) == (-23.0, -10.0)
    assert common_lag([(2.0, 15.0), (10.0, 30.0)]) == (10.0, 15.0)
    assert common_lag([(2.0, 15.0), (20.0, 30.0)]) is None
    assert common_lag([]) is None


def test_changes_of_one_interval_are_one_onset() -> None:
    assert merge_onsets([(5.0, 9.0, 0.6), (1.0, 2.0, 0.5), (5.0, 9.0, 0.8)]) == (
        Onset(1.0, 2.0, 0.5),
        Onset(5.0, 9.0, 0.8),
    )


days = st.integers(17_900, 19_200)
windows_drawn = st.lists(
    st.builds(Window, days, st.integers(1, 40), st.tuples(st.integers(-30, 0), st.integers(0, 60))),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(
    looks=st.lists(days, max_size=30),
    spans=st.lists(st.tuples(days, st.integers(0, 200), st.floats(0.01, 1.0)), max_size=6),
    windows=windows_drawn,
    seed=st.integers(0, 9),
)
def test_p_values_are_never_zero_and_the_order_of_what_is_given_changes_nothing(
    looks: list[int], spans: list[tuple[int, int, float]], windows: list[Window], seed: int
) -> None:
    onsets = merge_onsets([(float(start), float(start + length), weight) for start, length, weight in spans])
    result = corroborate(looks, onsets, windows, seed=seed)
    again = corroborate(looks[::-1], onsets, windows, seed=seed)
    assert result == again
    for event, window in zip(result.events, windows, strict=True):
        start, end = window.tested
        if not any(start <= look < end for look in looks):
            assert event.tested is None
        if event.tested is not None:
            assert event.power is not None
            assert 0.0 <= event.power <= 1.0
            for null in event.tested.nulls:
                assert null.p_value is None or 0.0 < null.p_value <= 1.0
            assert event.p_adjusted is not None
            assert event.p_adjusted >= event.tested.p_value
    assert (result.joint is None) == all(event.tested is None for event in result.events)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_p_values_are_uniform_where_the_null_holds_and_the_headline_never_errs_too_often(
    world: object,
) -> None:
    found = check_world(world, SITES, 7)  # type: ignore[arg-type]
    for name in NULLS:
        row = found["nulls"][name]
        if row["assumption_holds"]:
            # Six such tests in all: .05 for them together. benchmarks/corroboration.py asks each of ten times the sites.
            assert row["ks_p"] > 0.05 / 6, (name, row)
    assert found["headline_at_5_percent"] * SITES <= stats.binom.ppf(0.99, SITES, 0.05)


def test_the_uniformity_test_would_notice_a_wrong_null() -> None:
    seasonal = next(world for world in WORLDS if world.name == "seasonal")
    assert check_world(seasonal, SITES, 7)["nulls"]["circular_shift"]["ks_p"] < 0.01


def test_planted_changes_are_found_more_often_the_more_events_there_are() -> None:
    one, six = power_row(1, 10.0, 40, 3), power_row(6, 10.0, 40, 3)
    assert six["found"] > max(0.7, one["found"])
    # What is stated beforehand is what comes true; one event among six never has it by itself.
    assert abs(six["stated_power_of_all"] - six["found"]) < 0.15
    assert six["stated_power_of_one_event"] < 0.05
    page = tables({"runs": 1, "worlds": [], "power": [one, six]})
    assert page.count("\n") == 7
