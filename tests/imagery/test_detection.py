"""Changes from made-up single-look evidence: what must hold whatever the network says."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from imagery.calibration import PRIOR
from imagery.changes import (
    LOG_ODDS_STEP,
    UNSEEN,
    Change,
    Direction,
    LookEvidence,
    ObjectClass,
    Status,
)
from imagery.detection import (
    DetectionOptions,
    MixedGrids,
    as_identified,
    find_changes,
    look_evidence,
    one_class_per_place,
)
from imagery.grid import SiteGrid
from imagery.illumination import Sun
from imagery.look import Look
from imagery.observability import ObservationState

GRID = SiteGrid(32633, 500000.0, 5500000.0, 0.5, 120, 120)
START = datetime(2024, 3, 1, 10, tzinfo=UTC)
CLASSES = (ObjectClass.CONTAINER, ObjectClass.BERM)
EVERYWHERE = np.ones(GRID.shape, bool)

Box = tuple[int, float, float, float, float, int, int]
"""Class index, row m, col m, length m (along columns), width m, first look, first look without."""

CONTAINER_BOX: Box = (0, 20.0, 20.0, 12.19, 2.44, 3, 99)


@pytest.fixture(autouse=True)
def plain_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge made-up evidence by the prior: the stored verifier knows one network's numbers."""
    monkeypatch.setattr("imagery.detection.stored_verifier", lambda: PRIOR)


def series(
    boxes: Sequence[Box],
    looks: int,
    *,
    clouded: Sequence[int] = (),
    seed: int = 0,
    grid: SiteGrid = GRID,
) -> list[LookEvidence]:
    """Evidence of well separated objects with noise, as a good network would give it."""
    rng = np.random.default_rng(seed)
    row, col = (np.indices(grid.shape) + 0.5) * grid.gsd_m
    out = []
    for t in range(looks):
        odds = np.full((2, *grid.shape), -4.0)
        for index, down, right, length, width, first, last in boxes:
            if first <= t < last:
                depth = np.minimum(length / 2 - np.abs(col - right), width / 2 - np.abs(row - down))
                odds[index] = np.maximum(odds[index], np.clip(8 * depth, -4.0, 4.0))
        odds += rng.normal(0, 0.7, odds.shape)
        state = np.zeros(grid.shape, np.uint8)
        if t in clouded:
            state[:] = ObservationState.CLOUD
        stored = np.where(state == 0, np.rint(odds / LOG_ODDS_STEP), UNSEEN).astype(np.int8)
        light = (0.3 * rng.normal(size=grid.shape) + 0.8 * (odds.max(0) > 0)).astype(np.float16)
        light[state > 0] = np.nan
        out.append(
            LookEvidence(
                f"S{t:02d}",
                START + timedelta(days=16 * t),
                grid,
                CLASSES,
                stored,
                light,
                state,
                grid.gsd_m,
                150.0,
                40.0,
                None,
                None,
                0.1,
                True,
            )
        )
    return out


def reversed_in_time(looks: Sequence[LookEvidence]) -> list[LookEvidence]:
    last = looks[-1].t_utc
    return [replace(look, t_utc=START + (last - look.t_utc)) for look in looks]


def words(changes: Sequence[Change]) -> list[tuple[str, str, int, int]]:
    return sorted(
        (str(c.object_class), str(c.direction), round(c.footprint.centroid.x), round(c.footprint.centroid.y))
        for c in changes
    )


def test_a_container_that_comes_is_found_once_with_its_interval_size_and_count() -> None:
    (change,) = find_changes(series([CONTAINER_BOX], 8), EVERYWHERE).changes
    assert (change.object_class, change.direction) == (ObjectClass.CONTAINER, Direction.APPEARED)
    assert (change.before_scene, change.after_scene) == ("S02", "S03")
    assert change.status is Status.CONFIRMED
    assert change.length_m == pytest.approx(12.19, abs=0.6)
    assert change.area_m2.low <= 12.19 * 2.44 <= change.area_m2.high
    assert change.count is not None
    assert change.count.low <= 1 <= change.count.high
    assert change.orientation_deg == pytest.approx(90.0, abs=4.0)


@pytest.mark.parametrize(("azimuth_deg", "gone"), [(92.0, False), (272.0, False), (150.0, True)])
def test_a_bank_is_not_gone_because_the_sun_stood_along_it(azimuth_deg: float, gone: bool) -> None:
    looks = series([(1, 30.0, 30.0, 40.0, 7.0, 0, 3)], 6)
    along = [replace(look, sun_azimuth_deg=azimuth_deg) for look in looks[3:]]
    changes = find_changes(looks[:3] + along, EVERYWHERE).changes
    assert [str(c.direction) for c in changes] == ["removed"] * gone


def test_a_bank_that_shows_although_the_sun_stands_along_it_counts() -> None:
    looks = [replace(look, sun_azimuth_deg=90.0) for look in series([(1, 30.0, 30.0, 40.0, 7.0, 3, 6)], 6)]
    looks[:3] = [replace(look, sun_azimuth_deg=150.0) for look in looks[:3]]
    (change,) = find_changes(looks, EVERYWHERE).changes
    assert change.direction is Direction.APPEARED
    assert any("azimuth" in said for said in change.against)


def test_a_bank_is_measured_along_its_crest() -> None:
    (change,) = find_changes(series([(1, 30.0, 30.0, 40.0, 7.0, 2, 99)], 7), EVERYWHERE).changes
    assert change.object_class is ObjectClass.BERM
    assert change.length_m == pytest.approx(40.0, abs=2.0)
    assert change.width_m == pytest.approx(7.0, abs=1.0)
    assert change.count is None
    assert change.count_reason == "banks are measured, not counted"


@pytest.mark.parametrize(("width_m", "claimed"), [(20.0, 1), (75.0, 0)])
def test_a_field_that_looks_like_a_bank_all_over_is_none(width_m: float, claimed: int) -> None:
    wide = replace(GRID, gsd_m=1.0)
    looks = series([(1, 60.0, 60.0, 90.0, width_m, 2, 99)], 7, grid=wide)
    changes = find_changes(looks, np.ones(wide.shape, bool)).changes
    assert [str(c.object_class) for c in changes] == ["berm"] * claimed


def test_what_is_not_identified_is_not_called_a_bank_where_no_count_is_given() -> None:
    looks = series([(1, 30.0, 30.0, 24.0, 9.0, 3, 99)], 10)
    others = [replace(look, classes=(ObjectClass.CONTAINER, ObjectClass.OTHER)) for look in looks]
    (change,) = find_changes(others, EVERYWHERE).changes
    assert change.object_class is ObjectClass.OTHER
    assert change.count is None
    assert change.count_reason == "what is not identified is not counted"


def test_what_comes_and_goes_gives_two_changes_the_first_of_them_closed() -> None:
    found = find_changes(series([(0, 30.0, 30.0, 24.0, 5.5, 3, 6)], 10), EVERYWHERE).changes
    assert [(c.direction, c.status) for c in found] == [
        (Direction.APPEARED, Status.CLOSED),
        (Direction.REMOVED, Status.CONFIRMED),
    ]


def test_what_comes_back_is_found_three_times() -> None:
    boxes: list[Box] = [(0, 30.0, 30.0, 24.0, 5.5, 3, 6), (0, 30.0, 30.0, 24.0, 5.5, 9, 99)]
    found = find_changes(series(boxes, 12), EVERYWHERE).changes
    assert [str(c.direction) for c in found] == ["appeared", "removed", "appeared"]


def test_a_pair_of_looks_gives_first_sightings_only() -> None:
    found = find_changes(series([(0, 20.0, 20.0, 12.19, 2.44, 1, 99)], 2), EVERYWHERE).changes
    assert [c.status for c in found] == [Status.FIRST]
    assert 0.3 < found[0].confidence < 0.95


def test_more_looks_make_surer() -> None:
    box: Box = (0, 20.0, 20.0, 12.19, 2.44, 2, 99)
    confidences = [find_changes(series([box], n), EVERYWHERE).changes[0].confidence for n in (3, 4, 8)]
    assert confidences == sorted(confidences)
    assert confidences[0] < confidences[-1]


def test_clouds_over_the_onset_widen_the_interval() -> None:
    (change,) = find_changes(series([CONTAINER_BOX], 8, clouded=(2, 3)), EVERYWHERE).changes
    assert (change.before_scene, change.after_scene) == ("S01", "S04")


def test_looks_under_cloud_alone_yield_no_change_but_a_warning() -> None:
    found = find_changes(series([CONTAINER_BOX], 6, clouded=range(6)), EVERYWHERE)
    assert found.changes == ()
    assert any("not 'no change'" in warning for warning in found.warnings)


def test_nothing_outside_the_area_is_claimed() -> None:
    inside = np.ones(GRID.shape, bool)
    inside[:, :60] = False
    assert find_changes(series([CONTAINER_BOX], 8), inside).changes == ()


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(onset=st.integers(1, 5), seed=st.integers(0, 1000))
def test_hiding_every_look_after_the_onset_leaves_no_claim(onset: int, seed: int) -> None:
    looks = series([(0, 20.0, 20.0, 12.19, 2.44, onset, 99)], 6, clouded=range(onset, 6), seed=seed)
    found = find_changes(looks, EVERYWHERE)
    assert found.changes == ()
    assert not any(row.scene_id >= f"S{onset:02d}" for row in found.standing)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(onset=st.integers(1, 6), length=st.sampled_from([6.06, 12.19, 24.0]), seed=st.integers(0, 1000))
def test_time_reversed_swaps_appeared_and_removed(onset: int, length: float, seed: int) -> None:
    looks = series([(0, 25.0, 30.0, length, 2.44, onset, 99)], 8, seed=seed)
    forward = find_changes(looks, EVERYWHERE).changes
    backward = find_changes(reversed_in_time(looks), EVERYWHERE).changes
    swap = {Direction.APPEARED: Direction.REMOVED, Direction.REMOVED: Direction.APPEARED}
    assert words(forward) == words([replace(c, direction=swap[c.direction]) for c in backward])
    assert [c.confidence for c in forward] == pytest.approx([c.confidence for c in backward], abs=0.02)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.permutations(range(8)))
def test_the_order_of_looks_does_not_matter(order: list[int]) -> None:
    looks = series([CONTAINER_BOX, (1, 45.0, 30.0, 30.0, 6.0, 0, 5)], 8)
    assert find_changes([looks[i] for i in order], EVERYWHERE) == find_changes(looks, EVERYWHERE)


def test_a_late_look_gives_the_same_as_an_early_one() -> None:
    looks = series([CONTAINER_BOX], 8)
    late = [*looks[:4], *looks[5:], looks[4]]
    assert find_changes(late, EVERYWHERE).changes == find_changes(looks, EVERYWHERE).changes


def test_what_is_listed_is_drawn_by_its_own_pixels_and_judged_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = series([CONTAINER_BOX], 8)
    drawn_by = {}
    for length_m in (12.0, 6.0, 0.0):
        # As many pixels of the row as this are said to be the container, from its western end on.
        def said(*_: object, length_m: float = length_m) -> NDArray[np.float32]:
            difference: NDArray[np.float32] = np.asarray(_[4], np.float32)
            west = int(np.nonzero(difference.max(0) > 0.5)[0][0])
            there = np.arange(difference.shape[1]) < west + round(length_m / GRID.gsd_m)
            return np.where((difference > 0.5) & there, np.float32(0.9), np.float32(0.1))

        monkeypatch.setattr("imagery.detection.delineated", said)
        (drawn_by[length_m],) = find_changes(looks, EVERYWHERE).changes
    lengths = {length_m: change.length_m for length_m, change in drawn_by.items()}
    assert lengths[6.0] == pytest.approx(6.06, abs=1.0)
    assert lengths[12.0] == pytest.approx(12.19, abs=1.0)
    assert lengths[0.0] == pytest.approx(
        12.19, abs=1.0
    )  # no pixel is likely: the outline it was judged by stays
    assert drawn_by[6.0].area_m2.value == pytest.approx(drawn_by[6.0].footprint.area)
    assert drawn_by[6.0].area_m2.value < 0.7 * drawn_by[12.0].area_m2.value
    judged = {(c.confidence, c.status, c.onset, c.evidence) for c in drawn_by.values()}
    assert len(judged) == 1


def test_what_was_judged_as_containers_is_drawn_by_its_pixels_under_whatever_name_it_is_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = series([CONTAINER_BOX], 8)

    def western_half(*said: object) -> NDArray[np.float32]:
        difference: NDArray[np.float32] = np.asarray(said[4], np.float32)
        west = int(np.nonzero(difference.max(0) > 0.5)[0][0])
        there = np.arange(difference.shape[1]) < west + round(6.0 / GRID.gsd_m)
        return np.where((difference > 0.5) & there, np.float32(0.9), np.float32(0.1))

    def unnamed(change: Change, _: object) -> Change:
        return replace(change, object_class=ObjectClass.OTHER)

    monkeypatch.setattr("imagery.detection.delineated", western_half)
    (container,) = find_changes(looks, EVERYWHERE).changes
    monkeypatch.setattr("imagery.detection.as_identified", unnamed)
    (other,) = find_changes(looks, EVERYWHERE).changes
    assert other.object_class is ObjectClass.OTHER
    assert other.footprint.equals(container.footprint)
    assert other.area_m2 == container.area_m2


def test_looks_of_one_day_weigh_as_one() -> None:
    box: Box = (0, 20.0, 20.0, 12.19, 2.44, 3, 99)
    looks = series([box], 6)
    same_day = looks[:4] + [
        replace(look, t_utc=looks[3].t_utc + timedelta(minutes=i + 1)) for i, look in enumerate(looks[4:])
    ]
    (change,) = find_changes(same_day, EVERYWHERE).changes
    assert change.status is Status.FIRST
    assert change.confidence < find_changes(looks, EVERYWHERE).changes[0].confidence


def test_a_false_alarm_budget_never_lowers_the_bar() -> None:
    looks = series([CONTAINER_BOX], 8)
    free = find_changes(looks, EVERYWHERE)
    strict = find_changes(looks, EVERYWHERE, DetectionOptions(max_false_alarms=0.1))
    assert set(words(strict.changes)) <= set(words(free.changes))
    assert len(strict.warnings) == len(free.warnings) + 1


def test_grids_may_not_be_mixed() -> None:
    looks = series([], 2)
    moved = replace(looks[1], grid=GRID.window(1, 0, 120, 120))
    with pytest.raises(MixedGrids):
        find_changes([looks[0], moved], EVERYWHERE)


def test_one_place_is_not_claimed_for_two_classes_at_one_time() -> None:
    (change,) = find_changes(series([CONTAINER_BOX], 8), EVERYWHERE).changes
    rival = replace(change, object_class=ObjectClass.OTHER, confidence=change.confidence - 0.1)
    assert one_class_per_place([rival, change]) == [change]


def test_no_bank_is_drawn_around_a_row_of_containers_however_sure_it_seems() -> None:
    (row,) = find_changes(series([CONTAINER_BOX], 8), EVERYWHERE).changes
    around = row.footprint.buffer(3.0)
    bank = replace(row, object_class=ObjectClass.BERM, footprint=around, confidence=0.999)
    assert row.footprint.area > 0.15 * around.area
    assert one_class_per_place([bank, row]) == [row]
    long_bank = replace(bank, footprint=row.footprint.buffer(15.0))
    assert long_bank in one_class_per_place([long_bank, row])


def test_what_coarse_pixels_take_for_something_else_is_told_as_not_identified() -> None:
    container = find_changes(series([CONTAINER_BOX], 8), EVERYWHERE).changes[0]
    coarse = replace(container, gsd_m=1.5)
    assert as_identified(coarse, {"rival": -0.4}) == replace(coarse, object_class=ObjectClass.OTHER)
    assert as_identified(coarse, {"rival": 0.4}) == coarse
    assert as_identified(container, {"rival": -0.4}) == container


def test_one_place_is_told_once_as_not_identified() -> None:
    sure = replace(
        find_changes(series([CONTAINER_BOX], 8), EVERYWHERE).changes[0], object_class=ObjectClass.OTHER
    )
    again = replace(sure, confidence=sure.confidence / 2)
    assert one_class_per_place([again, sure]) == [sure]


def test_coarse_looks_never_yield_a_container_or_bank() -> None:
    looks = [replace(look, gsd_m=10.0) for look in series([CONTAINER_BOX], 8)]
    found = find_changes(looks, EVERYWHERE)
    assert found.changes == ()
    assert not any(limit.observable for limit in found.limits)


def rendered_look(offset: float, *, clouded: bool = False) -> Look:
    rng = np.random.default_rng(5)
    image = (0.2 + 0.02 * rng.normal(size=(3, *GRID.shape))).astype(np.float32)
    image[:, 36:41, 40:64] += np.float32(0.3)
    image += np.float32(offset)
    state = np.full(GRID.shape, ObservationState.CLOUD if clouded else 0, np.uint8)
    image[:, state > 0] = np.nan
    return Look("A", START, GRID, ("blue", "green", "red"), image, state, 0.5, Sun(150.0, 40.0), None)


def test_a_constant_offset_on_all_bands_changes_nothing() -> None:
    plain, lifted = (
        look_evidence(rendered_look(offset), registration_residual_m=0.1, network=None)
        for offset in (0.0, 0.25)
    )
    apart = np.abs(plain.log_odds.astype(int) - lifted.log_odds.astype(int))
    assert np.mean(apart > 1) < 0.002


def test_geometry_alone_sees_a_lone_container_roof() -> None:
    found = look_evidence(rendered_look(0.0), registration_residual_m=0.1, network=None)
    roof = found.log_odds[0, 37:40, 44:60] * LOG_ODDS_STEP
    ground = found.log_odds[0, 80:, :] * LOG_ODDS_STEP
    assert np.median(roof) > 0.5
    assert np.mean(ground > 0) < 0.01
    assert not found.learned


def test_a_clouded_look_says_nothing() -> None:
    found = look_evidence(rendered_look(0.0, clouded=True), registration_residual_m=0.1, network=None)
    assert np.all(found.log_odds == UNSEEN)
    assert np.isnan(found.brightness).all()


def test_without_the_network_nothing_climbs_above_provisional() -> None:
    looks = [replace(look, learned=False) for look in series([(0, 30.0, 30.0, 24.0, 5.5, 3, 7)], 12)]
    found = find_changes(looks, EVERYWHERE)
    assert found.changes
    assert all(c.status in {Status.FIRST, Status.PROVISIONAL} for c in found.changes)
    assert all(any("unverified" in text for text in c.against) for c in found.changes)


@pytest.mark.parametrize("looks", [(3, 4), (0, 1), (7, 8)], ids=["between", "first", "last"])
def test_what_one_look_alone_shows_is_little_sure_and_never_confirmed(looks: tuple[int, int]) -> None:
    passing: Box = (0, 20.0, 20.0, 12.19, 2.44, *looks)
    staying: Box = (0, 20.0, 20.0, 12.19, 2.44, 3, 6)
    free = DetectionOptions(min_confidence=0.0)
    once = find_changes(series([passing], 8), EVERYWHERE, free).changes
    longer = find_changes(series([staying], 8), EVERYWHERE, free).changes
    assert {str(c.status) for c in once} <= {"first"}
    assert all(
        "a vehicle would look the same" in " ".join(c.against)
        for c in once
        if str(c.object_class) == "container"
    )
    assert max((c.confidence for c in once), default=0.0) < min(
        c.confidence for c in longer if c.confidence > 0.3
    )


def test_of_a_pair_of_looks_a_thing_shown_once_is_as_likely_as_before() -> None:
    (change,) = find_changes(series([(0, 20.0, 20.0, 12.19, 2.44, 1, 2)], 2), EVERYWHERE).changes
    assert change.confidence > 0.5
