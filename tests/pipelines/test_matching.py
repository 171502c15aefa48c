"""Which change is which across two reports: equal reports, shifts, splits, merges, re-dating, returns."""

import random
from dataclasses import replace

import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.matching import (
    Matching,
    Relation,
    ReportedChange,
    match_changes,
    read_features,
    stable_ids,
)

DAY = 86_400.0


def told(
    name: str,
    east: float = 0.0,
    north: float = 0.0,
    *,
    size: tuple[float, float] = (6.1, 2.4),
    kind: str = "container",
    direction: str = "appeared",
    days: tuple[float, float] = (10, 20),
    gsd: float = 0.5,
) -> ReportedChange:
    """A change with a rectangular footprint whose lower left corner is given, metres."""
    footprint = shapely.box(east, north, east + size[0], north + size[1])
    return ReportedChange(name, kind, direction, days[0] * DAY, days[1] * DAY, footprint, gsd)


def pairs(found: Matching) -> dict[tuple[str, str], str]:
    return {(pair.old, pair.new): str(pair.relation) for pair in found.pairs}


def test_a_shift_within_the_registration_error_is_the_same_object() -> None:
    found = match_changes([told("a")], [told("b", 0.9, 0.7)])
    assert pairs(found) == {("a", "b"): "same"}
    assert abs(found.pairs[0].shift_m - 1.14) < 0.01


def test_a_coarse_report_may_lie_a_pixel_off() -> None:
    one = told("a", size=(30, 30), gsd=10.0, kind="other")
    assert pairs(
        match_changes([one], [replace(told("b", 9, 3, size=(30, 30), gsd=10.0), object_class="other")])
    )


def test_the_neighbour_in_a_tight_row_is_another_container() -> None:
    found = match_changes([told("a")], [told("b", 0, 2.6)])
    assert not any(pair.one_object for pair in found.pairs)


def test_a_row_shifted_as_a_whole_keeps_each_container_its_own() -> None:
    row = [told(f"a{i}", 0, 2.6 * i) for i in range(8)]
    moved = [told(f"b{i}", 0.3, 2.6 * i + 1.0) for i in range(8)]
    assert set(pairs(match_changes(row, moved))) == {(f"a{i}", f"b{i}") for i in range(8)}


def test_what_lies_beyond_the_registration_error_is_moved_and_not_one_object() -> None:
    (pair,) = match_changes([told("a")], [told("b", 0, 6)]).pairs
    assert (pair.relation, pair.one_object) == (Relation.MOVED, False)


def test_what_lies_far_away_is_lost_and_new() -> None:
    found = match_changes([told("a")], [told("b", 40, 0)])
    assert (found.pairs, found.lost, found.new) == ((), ("a",), ("b",))


def test_a_berm_beside_itself_is_the_same_berm() -> None:
    one = told("a", size=(60, 3), kind="berm")
    assert pairs(match_changes([one], [told("b", 2, 1.4, size=(57, 3), kind="berm")])) == {("a", "b"): "same"}


def test_two_berms_a_road_apart_are_two() -> None:
    one = told("a", size=(60, 3), kind="berm")
    found = match_changes([one], [told("b", 0, 9, size=(60, 3), kind="berm")])
    assert not any(pair.one_object for pair in found.pairs)


def test_another_class_at_the_same_place_is_reclassified() -> None:
    assert pairs(match_changes([told("a", kind="other")], [told("b")])) == {("a", "b"): "reclassified"}


def test_the_same_class_goes_before_another_one() -> None:
    found = match_changes([told("a", kind="other"), told("c", 0.5)], [told("b")])
    assert (pairs(found), found.lost) == ({("c", "b"): "same"}, ("a",))


def test_a_removal_is_never_an_appearance() -> None:
    found = match_changes([told("a")], [told("b", direction="removed")])
    assert found.pairs == ()


def test_dates_that_exclude_each_other_are_one_object_told_otherwise() -> None:
    found = match_changes([told("a", days=(10, 20))], [told("b", days=(20, 30))])
    assert pairs(found) == {("a", "b"): "redated"}


def test_what_came_back_after_a_removal_is_another_object() -> None:
    gone = told("r", direction="removed", days=(30, 40))
    old = [told("a"), gone]
    new = [told("a"), gone, told("b", days=(50, 60))]
    found = match_changes(old, new)
    assert pairs(found) == {("a", "a"): "same", ("r", "r"): "same"}
    assert found.new == ("b",)


def test_a_removal_parts_two_appearances_also_where_only_one_report_tells_it() -> None:
    gone = told("r", direction="removed", days=(30, 40))
    found = match_changes([told("a"), gone], [told("b", days=(50, 60))])
    assert (found.pairs, found.new) == ((), ("b",))


def test_an_object_told_as_gone_is_not_the_one_that_came_later() -> None:
    assert match_changes([replace(told("a"), closed=True)], [told("b", days=(50, 60))]).pairs == ()


def test_of_a_split_the_larger_part_stays_the_object() -> None:
    whole = told("a", size=(20, 10))
    found = match_changes([whole], [told("b", size=(12, 10)), told("c", 13, 0, size=(7, 10))])
    assert pairs(found) == {("a", "b"): "same"}
    assert (found.new, dict(found.parts)) == (("c",), {"c": "a"})


def test_of_a_merge_the_larger_part_stays_the_object() -> None:
    parts = [told("a", size=(12, 10)), told("c", 13, 0, size=(7, 10))]
    found = match_changes(parts, [told("b", size=(20, 10))])
    assert pairs(found) == {("a", "b"): "same"}
    assert (found.lost, dict(found.merged)) == (("c",), {"c": "b"})


def test_changes_without_a_place_are_known_by_their_id_only() -> None:
    nowhere = replace(told("a"), footprint=shapely.Polygon())
    found = match_changes([nowhere], [nowhere, replace(nowhere, id="b")])
    assert (pairs(found), found.new) == ({("a", "a"): "same"}, ("b",))


def test_the_frame_is_metres_whatever_the_latitude() -> None:
    def feature(name: str, lon: float) -> dict[str, object]:
        ring = [[lon, 60.0], [lon + 1e-4, 60.0], [lon + 1e-4, 60.0001], [lon, 60.0001], [lon, 60.0]]
        properties = {
            "change_type": "container", "direction": "appeared", "status": "first", "gsd": 0.5,
            "last_absent": "2024-05-01T10:00:00Z", "first_seen": "2024-06-01T10:00:00Z",
        }  # fmt: skip
        return {"id": name, "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}

    (one,), (other,), nothing = read_features([feature("a", 25.0)], [feature("b", 25.0002)], [])
    assert nothing == []
    assert abs(one.footprint.distance(other.footprint) - 5.57) < 0.02
    assert read_features([], []) == [[], []]


def test_an_object_keeps_its_id_through_reports_and_a_returned_one_gets_its_own() -> None:
    first, gone = told("a"), told("r", direction="removed", days=(30, 40))
    again = told("n", 0.2, days=(50, 60))
    ids = stable_ids([told("x", 0.3), told("y", direction="removed", days=(30, 40)), again], [first, gone])
    assert ids == {"x": "a", "y": "r", "n": "n"}


def test_an_object_that_was_lost_and_is_found_again_is_the_same() -> None:
    assert stable_ids([told("x", 0.3)], [], [told("a")]) == {"x": "a"}
    assert stable_ids([told("x", 0.3, days=(50, 60))], [], [told("a")]) == {"x": "x"}


def test_an_id_another_object_bears_is_given_to_no_second_one() -> None:
    ids = stable_ids([told("b", 0.3), told("a", 0, 30)], [told("a")])
    assert ids["b"] == "a"
    assert ids["a"] not in {"a", "b"}
    assert len(ids["a"]) == 16
    assert ids == stable_ids([told("a", 0, 30), told("b", 0.3)], [told("a")])


def _placed(mark: str) -> st.SearchStrategy[list[ReportedChange]]:
    """A handful of changes so close together that they compete."""
    grid = st.integers(0, 12).map(float)
    one = st.builds(
        told,
        st.just(""),
        grid,
        grid,
        size=st.tuples(st.sampled_from((2.4, 6.1, 12.0)), st.sampled_from((2.4, 6.0))),
        kind=st.sampled_from(("container", "berm", "other")),
        direction=st.sampled_from(("appeared", "removed")),
        days=st.sampled_from(((10, 20), (15, 20), (20, 30), (40, 50))),
        gsd=st.sampled_from((0.5, 3.0)),
    )
    return st.lists(one, max_size=9).map(
        lambda some: [replace(c, id=f"{mark}{i}") for i, c in enumerate(some)]
    )


@settings(max_examples=60, deadline=None)
@given(_placed("a"), _placed("b"), st.randoms(use_true_random=False))
def test_the_order_given_decides_nothing(
    old: list[ReportedChange], new: list[ReportedChange], dice: random.Random
) -> None:
    found = match_changes(old, new)
    assert match_changes(dice.sample(old, len(old)), dice.sample(new, len(new))) == found
    ids = stable_ids(new, old, [])
    assert stable_ids(dice.sample(new, len(new)), dice.sample(old, len(old))) == ids
    assert len(set(ids.values())) == len(new)


@settings(max_examples=60, deadline=None)
@given(_placed("a"), _placed("b"))
def test_every_change_is_paired_once_or_told_as_lost_or_new(
    old: list[ReportedChange], new: list[ReportedChange]
) -> None:
    found = match_changes(old, new)
    assert sorted([p.old for p in found.pairs] + list(found.lost)) == sorted(c.id for c in old)
    assert sorted([p.new for p in found.pairs] + list(found.new)) == sorted(c.id for c in new)
    assert set(found.parts) <= set(found.new)
    assert set(found.merged) <= set(found.lost)


@settings(max_examples=60, deadline=None)
@given(_placed("a"))
def test_equal_reports_pair_each_change_with_itself(changes: list[ReportedChange]) -> None:
    found = match_changes(changes, changes)
    assert {(p.old, p.new, p.relation, p.shift_m) for p in found.pairs} == {
        (c.id, c.id, Relation.SAME, 0.0) for c in changes
    }
    assert stable_ids(changes, changes) == {c.id: c.id for c in changes}
