"""The scorer is judged by hand-made cases whose answers are known."""

import json
from datetime import UTC, datetime

import pytest
from shapely.geometry import MultiPolygon, box, mapping

from benchmarks.scoring import (
    Event,
    asked_for,
    calibration_error,
    could_be_seen,
    large_enough,
    lies_inside,
    matches,
    merged,
    overlap,
    read_truth,
    score_events,
    stands,
    summary,
    with_intervals,
    without_hidden,
)

DAY = [datetime(2024, 5, d, 10, tzinfo=UTC) for d in range(1, 29)]
TIMES = {f"s{d}": DAY[d] for d in range(0, 28, 4)}


def truth(geometry, name="container", direction="appeared", day=9, **more):
    return Event(name, direction, geometry, DAY[day], DAY[day], **more)


def claim(geometry, name="container", direction="appeared", days=(8, 12), **more):
    return Event(name, direction, geometry, DAY[days[0]], DAY[days[1]], **more)


def score(claims, truths):
    return score_events("a", claims, truths, area_km2=2.0, scene_times=TIMES)


def test_touching_containers_of_one_time_are_one_object_and_those_of_another_time_are_not():
    rows = [truth(box(3 * i, 0, 3 * i + 2.4, 12)) for i in range(4)]
    later = truth(box(12, 0, 14.4, 12), day=20)
    groups = merged([*rows, later], by_time=True)
    assert sorted(len(g.members) for g in groups) == [1, 4]


def test_overlap_of_a_half_shifted_box_is_one_third():
    assert overlap(box(0, 0, 10, 10), box(5, 0, 15, 10), "container") == pytest.approx(1 / 3)


def test_a_thin_berm_a_metre_off_still_matches_by_its_tolerance():
    berm, shifted = box(0, 0, 100, 1.0), box(0, 1.5, 100, 2.5)
    assert overlap(shifted, berm, "container") == 0.0
    assert overlap(shifted, berm, "berm") > 0.5


def test_each_truth_is_matched_once_by_the_better_claim():
    paired = matches([claim(box(0, 0, 9, 10)), claim(box(0, 0, 10, 10))], [truth(box(0, 0, 10, 10))], 0.3)
    assert paired == [(1, 0)]


def test_wrong_direction_or_class_is_a_false_alarm_and_a_miss():
    found = score([claim(box(0, 0, 10, 10), direction="removed")], [truth(box(0, 0, 10, 10))])
    assert found.hits["container", "appeared", 0.3] == [0, 0, 1]
    assert found.hits["container", "removed", 0.3] == [0, 1, 0]
    assert found.false_alarms["all"] == 1
    assert found.clean_false_alarms["all"] == 0


def test_only_confirmed_false_alarms_count_at_the_confirmed_operating_point():
    far = [claim(box(500, 0, 510, 10), status="first"), claim(box(700, 0, 710, 10), status="confirmed")]
    numbers = summary([score(far, [truth(box(0, 0, 10, 10))])])
    assert numbers["false_alarms.all.per_km2"] == 1.0
    assert numbers["false_alarms.confirmed.clean_per_km2"] == 0.5
    assert numbers["false_alarms.confirmed.per_km2_look"] == pytest.approx(1 / (2.0 * (len(TIMES) - 1)))


def test_recall_and_precision_of_confirmed_changes_leave_out_what_is_not_confirmed():
    here, there, far = box(0, 0, 10, 10), box(50, 0, 60, 10), box(500, 0, 510, 10)
    claims = [claim(here), claim(there, status="provisional"), claim(far, status="closed")]
    numbers = summary([score(claims, [truth(here), truth(there), truth(box(90, 0, 99, 9))])])
    assert numbers["container.appeared.iou0.3.recall"] == pytest.approx(2 / 3)
    assert numbers["container.appeared.confirmed.recall"] == pytest.approx(1 / 3)
    assert numbers["container.appeared.confirmed.precision"] == pytest.approx(1 / 2)


def test_onset_and_count_intervals_cover_or_do_not():
    place = box(0, 0, 10, 10)
    inside = score([claim(place, count=(4, 3, 5))], [truth(place, count=(5, 5, 5))])
    outside = score([claim(place, days=(10, 12), count=(2, 1, 3))], [truth(place, count=(5, 5, 5))])
    assert (inside.onset, inside.counts) == ([True], [True])
    assert (outside.onset, outside.counts) == ([False], [False])


def test_areas_are_judged_where_one_claim_is_one_true_group():
    place = box(0, 0, 10, 10)
    right, wrong = (score([claim(place, area_m2=a)], [truth(place)]).areas for a in ((90, 120), (110, 120)))
    assert (right, wrong) == ([True], [False])
    halves = [claim(box(0, 0, 5, 10), area_m2=(90, 120)), claim(box(5, 0, 10, 10), area_m2=(90, 120))]
    assert score(halves, [truth(place)]).areas == []


def test_lag_counts_clear_looks_between_the_truth_and_the_first_sight():
    place = box(0, 0, 10, 10)
    seen = truth(place, day=5, visible_in=("s4", "s8", "s12", "s16"))
    assert score([claim(place, days=(4, 8))], [seen]).lags == [0]
    assert score([claim(place, days=(4, 16))], [seen]).lags == [2]


def test_a_claim_first_seen_in_a_look_that_did_not_see_the_place_is_counted():
    place = box(0, 0, 10, 10)
    seen = truth(place, visible_in=("s4", "s12"))
    assert score([claim(place, scene_first="s8")], [seen]).unseen_claims == 1
    assert score([claim(place, scene_first="s12")], [seen]).unseen_claims == 0


def test_calibration_error_of_honest_and_of_boasting_confidence():
    honest = [(0.75, i < 75) for i in range(100)]
    assert calibration_error(honest) == pytest.approx(0.0)
    assert calibration_error([(0.95, False)] * 10) == pytest.approx(0.95)


def test_intervals_come_from_sites_and_hold_the_value():
    place = box(0, 0, 10, 10)
    good, bad = score([claim(place)], [truth(place)]), score([], [truth(place)])
    numbers = with_intervals([good, bad, good, bad])
    recall = numbers["container.appeared.iou0.3.recall"]
    assert recall["low"] < recall["value"] == 0.5 < recall["high"]


def test_a_claim_on_what_could_not_be_seen_is_left_out_unless_it_touches_what_could():
    hidden, known = truth(box(0, 0, 10, 10)), truth(box(8, 0, 30, 10))
    alone, both, far = claim(box(0, 0, 5, 5)), claim(box(5, 0, 15, 5)), claim(box(900, 0, 910, 9))
    assert without_hidden([alone, both, far], [hidden], [known]) == [both, far]


def test_looks_that_saw_nothing_do_not_dilute_false_alarms():
    wrong = [claim(box(500, 0, 510, 10))]
    seen = {name: 1.0 if i < 2 else 0.0 for i, name in enumerate(TIMES)}
    blind = score_events("a", wrong, [], area_km2=2.0, scene_times=TIMES, seen=seen)
    numbers = summary([blind])
    assert numbers["false_alarms.all.per_km2_look"] == 0.5
    assert numbers["looks_used"] == pytest.approx(2 / len(TIMES))


def test_a_scattered_group_is_as_many_objects_as_it_has_places():
    scattered = MultiPolygon([box(0, 0, 10, 10), box(30, 0, 40, 10), box(41, 0, 51, 10)])
    groups = merged([truth(scattered, count=(6, 6, 6))], by_time=True)
    assert sorted((round(g.geometry.area), round(g.count[0])) for g in groups) == [(100, 2), (200, 4)]
    found = score([claim(box(0, 0, 10, 10))], [truth(scattered)])
    assert found.hits["container", "appeared", 0.5] == [1, 1, 2]


def test_ten_metre_pixels_are_not_asked_for_less_than_four_containers_side_by_side():
    lone = truth(box(0, 0, 2.4, 12))
    row = [truth(box(100 + 3 * i, 0, 102.4 + 3 * i, 12)) for i in range(5)]
    assert large_enough([lone, *row], 10.0) == row
    assert large_enough([lone, *row], 0.5) == [lone, *row]


def test_an_object_that_lies_mostly_outside_the_area_is_nobodys_to_find():
    area = box(0, 0, 100, 100)
    assert lies_inside(truth(box(94, 0, 104, 10)), area)
    assert not lies_inside(truth(box(96, 0, 106, 10)), area)


# --- what else stands up: halls, tanks, lorries, class ``other`` -------------------------------------------------------

AREA = box(-100, -100, 100, 100)


def lorry(came: int, went: int, seen: tuple[str, ...] = tuple(TIMES)) -> Event:
    return truth(box(0, 0, 12, 4), "other", day=came, visible_in=seen, stay=(DAY[came], DAY[went]))


def test_a_thing_stands_that_two_clear_looks_show_or_the_only_one_of_a_pair():
    assert stands(lorry(5, 13), TIMES)
    assert not stands(lorry(5, 9), TIMES)
    assert not stands(lorry(5, 13, ("s0", "s8", "s20")), TIMES)
    assert stands(lorry(5, 9), {"s0": DAY[0], "s8": DAY[8]})


def test_other_things_are_asked_for_where_they_stood_and_were_clear_on_either_side():
    standing, passing = lorry(5, 20), lorry(5, 9)
    unseen = lorry(5, 20, ("s8", "s12", "s16"))
    asked = asked_for([standing, passing, unseen], AREA, TIMES, 0.5, classless=False)
    assert (asked.seen, asked.hidden, asked.hidden_others) == ([standing], [], [unseen])


def test_a_hidden_other_thing_excuses_a_claim_that_names_nothing_and_no_claim_that_names_it():
    asked = asked_for([lorry(5, 20, ("s8", "s12", "s16"))], AREA, TIMES, 0.5, classless=False)
    named, unnamed, elsewhere = (
        claim(box(0, 0, 12, 4)), claim(box(0, 0, 12, 4), "other"), claim(box(50, 0, 62, 4), "other"),
    )  # fmt: skip
    assert asked.without_hidden([named, unnamed, elsewhere]) == [named, elsewhere]


def test_where_places_are_scored_nobody_asks_for_other_things_and_claims_of_them_are_left_out():
    container = truth(box(50, 0, 62, 4), visible_in=tuple(TIMES))
    asked = asked_for([lorry(5, 20), lorry(5, 9), container], AREA, TIMES, 3.0, classless=True)
    assert asked.seen == [container]
    on_it = claim(box(0, 0, 12, 4))
    assert asked.without_hidden([on_it]) == []
    coarse = truth(box(0, 0, 40, 40), "other", visible_in=tuple(TIMES))
    assert asked_for([coarse], AREA, TIMES, 10.0, classless=True).seen == [coarse]


def test_what_stood_only_between_two_clear_looks_was_there_for_nobody():
    def could(direction: str, day: int, stay: tuple[int | None, int | None], seen: tuple[str, ...]) -> bool:
        came, went = (None if d is None else DAY[d] for d in stay)
        event = truth(box(0, 0, 12, 3), direction=direction, day=day, visible_in=seen, stay=(came, went))
        return could_be_seen(event, TIMES)

    for direction, day in (("appeared", 9), ("removed", 17)):
        assert could(direction, day, (9, 17), ("s4", "s12", "s20"))
        assert not could(direction, day, (9, 17), ("s0", "s4", "s20", "s24"))
    assert could("appeared", 9, (9, None), ("s4", "s20"))
    assert not could("appeared", 9, (9, 17), ("s12", "s20"))
    assert not could("removed", 17, (None, 17), ("s4", "s12"))


def test_truth_ends_at_the_sites_edge_and_is_counted_only_where_all_of_it_is_inside():
    inside, across = truth(box(0, 0, 12, 3), count=(4, 4, 4)), truth(box(95, 0, 103, 10), count=(4, 4, 4))
    outside = truth(box(98, 20, 110, 23))
    asked = asked_for([inside, across, outside], AREA, TIMES, 0.5, classless=False)
    assert [(t.geometry.area, t.count) for t in asked.seen] == [(36.0, (4, 4, 4)), (50.0, None)]
    assert asked.hidden == [outside]


def test_truth_tells_from_when_until_when_an_object_stood(tmp_path):
    said = {"class": "other", "appeared": "2024-05-06T10:00:00Z", "removed": None, "visible_in": ["s0", "s8"]}
    feature = {"type": "Feature", "properties": said, "geometry": mapping(box(0, 0, 12, 4))}
    (tmp_path / "truth.geojson").write_text(json.dumps({"features": [feature]}))
    (event,) = read_truth(tmp_path / "truth.geojson", lambda place: place)
    assert (event.start, event.stay, event.visible_in) == (DAY[5], (DAY[5], None), ("s0", "s8"))
