"""What pixels and light can show, as the table says and as reports repeat it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagery import limits
from imagery.changes import DetectionLimit, ObjectClass
from imagery.illumination import Sun, View
from imagery.limits import conditions_state, detection_limits, measured_at, smallest_area_m2, state_of
from imagery.observability import ObservationState

Cell = dict[str, object]
Use = Callable[..., None]


def cell(gsd_m: float, area_m2: float, n: int, shown: int, found: int, sun_deg: float | None = 50.0) -> Cell:
    return {
        "class": "container", "gsd_m": gsd_m, "sun_deg": sun_deg, "season": "summer", "size": f"{area_m2} m2",
        "area_m2": area_m2, "n": n, "shown": shown, "found": found,
    }  # fmt: skip


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Use]:
    """Read another table for one test."""

    def put(*cells: Cell) -> None:
        table = tmp_path / "table.json"
        table.write_text(json.dumps({"cells": list(cells)}), encoding="utf-8")
        monkeypatch.setattr(limits, "TABLE", table)
        limits.measured_table.cache_clear()
        limits.state_of.cache_clear()

    yield put
    limits.measured_table.cache_clear()
    limits.state_of.cache_clear()


def containers(gsd_m: float) -> DetectionLimit:
    return next(x for x in detection_limits(gsd_m) if x.object_class is ObjectClass.CONTAINER)


def test_the_smallest_size_is_that_from_which_half_and_more_was_listed(use: Use) -> None:
    use(cell(0.5, 15, 40, 40, 4), cell(0.5, 30, 40, 40, 24), cell(0.5, 160, 40, 40, 36))
    limit = containers(0.5)
    assert limit.smallest_area_m2 == 30.0
    assert "75 % (65-83 %) were listed" in limit.statement


def test_a_size_listed_less_than_half_the_time_ends_the_claim_for_all_below_it(use: Use) -> None:
    use(cell(0.5, 15, 40, 40, 30), cell(0.5, 30, 40, 40, 10), cell(0.5, 160, 40, 40, 36))
    assert containers(0.5).smallest_area_m2 == 160.0


def test_no_change_says_nothing_of_a_class_that_is_listed_less_than_half_the_time(use: Use) -> None:
    use(cell(0.5, 15, 40, 40, 4), cell(0.5, 160, 40, 40, 16))
    limit = containers(0.5)
    assert limit.observable
    assert limit.smallest_area_m2 is None
    assert "does not mean that there is none" in limit.statement


def test_a_size_that_single_looks_do_not_show_is_not_said_to_be_seen(use: Use) -> None:
    use(cell(3.0, 160, 40, 12, 0), cell(3.0, 1600, 40, 30, 22))
    statement = containers(3.0).statement
    assert "containers of 1600 m² and more can be seen; smaller ones show in less than half" in statement
    assert "cannot be counted" in statement
    assert "of 40 objects of 1600 m² and more, 55 % (40-69 %) were listed" in statement


def test_a_class_that_no_single_look_shows_is_too_coarse(use: Use) -> None:
    use(cell(2.0, 160, 40, 10, 0), cell(2.0, 400, 40, 19, 0))
    assert state_of(ObjectClass.CONTAINER, 2.0, 50.0) is ObservationState.TOO_COARSE
    assert not containers(2.0).observable


def test_a_light_in_which_looks_do_not_show_a_class_is_poor(use: Use) -> None:
    use(cell(0.5, 30, 40, 38, 30, 50.0), cell(0.5, 30, 40, 10, 5, 15.0))
    assert state_of(ObjectClass.CONTAINER, 0.5, 45.0) is ObservationState.OBSERVED
    assert state_of(ObjectClass.CONTAINER, 0.5, 12.0) is ObservationState.POOR_LIGHT
    assert state_of(ObjectClass.CONTAINER, 0.5, None) is ObservationState.OBSERVED
    assert "near 15 degrees do not show them" in containers(0.5).statement


def test_a_handful_of_objects_says_nothing_of_a_light(use: Use) -> None:
    use(cell(0.5, 30, 40, 38, 30, 50.0), cell(0.5, 30, 4, 0, 0, 15.0))
    assert state_of(ObjectClass.CONTAINER, 0.5, 12.0) is ObservationState.OBSERVED


def test_pixels_between_two_that_were_tried_count_as_the_coarser(use: Use) -> None:
    use(cell(0.5, 30, 9, 9, 9), cell(0.8, 30, 8, 8, 8), cell(10.0, 430, 7, 7, 7, None))
    assert {c.gsd_m for c in measured_at(ObjectClass.CONTAINER, 0.6)} == {0.8}
    assert {c.gsd_m for c in measured_at(ObjectClass.CONTAINER, 0.5)} == {0.5}
    assert {c.gsd_m for c in measured_at(ObjectClass.CONTAINER, 0.9)} == {0.8}
    assert measured_at(ObjectClass.CONTAINER, 3.0) == ()
    assert measured_at(ObjectClass.CONTAINER, 30.0) == ()


def test_what_was_not_measured_is_what_sizes_say(use: Use) -> None:
    use()
    assert containers(0.5).smallest_area_m2 == pytest.approx(8.94)
    assert state_of(ObjectClass.CONTAINER, 0.5, 20.0) is ObservationState.OBSERVED
    assert state_of(ObjectClass.CONTAINER, 10.0, 50.0) is ObservationState.TOO_COARSE
    assert state_of(ObjectClass.OTHER, 10.0, 50.0) is ObservationState.OBSERVED


@pytest.mark.parametrize("kind", [ObjectClass.CONTAINER, ObjectClass.BERM])
@pytest.mark.parametrize("gsd_m", [0.3, 0.5, 0.8, 1.2, 2.0, 3.0])
def test_the_shipped_table_covers_every_pixel_size_sun_and_season(kind: ObjectClass, gsd_m: float) -> None:
    cells = measured_at(kind, gsd_m)
    assert {c.sun_deg for c in cells} == {15.0, 30.0, 50.0}
    assert len({c.season for c in cells}) == 3
    assert sum(c.n for c in cells) >= 60
    assert all(0 <= c.found <= c.n and 0 <= c.shown <= c.n for c in cells)


@pytest.mark.parametrize("gsd_m", [0.3, 0.4, 0.5, 0.8, 1.0, 1.2, 2.0, 3.0, 3.5])
def test_no_limit_promises_what_was_listed_less_than_half_the_time(gsd_m: float) -> None:
    for limit in detection_limits(gsd_m):
        if limit.smallest_area_m2 is None:
            continue
        cells = measured_at(limit.object_class, limit.gsd_m)
        above = [c for c in cells if c.area_m2 >= limit.smallest_area_m2]
        assert sum(c.found for c in above) >= 0.5 * sum(c.n for c in above)
        assert limit.smallest_area_m2 >= smallest_area_m2(limit.object_class, gsd_m)


@pytest.mark.parametrize("gsd_m", [0.3, 0.5, 1.0, 2.0, 3.5])
def test_no_change_promises_nothing_of_structures_that_are_not_ours(gsd_m: float) -> None:
    (limit,) = (found for found in detection_limits(gsd_m) if found.object_class is ObjectClass.OTHER)
    assert limit.observable
    assert limit.smallest_area_m2 is None
    assert "none is listed does not mean that there is none" in limit.statement


@pytest.mark.parametrize(
    ("gsd_m", "elevation_deg", "off_nadir_deg", "state"),
    [
        (0.5, 2.0, 0.0, ObservationState.POOR_LIGHT),
        (10.0, -3.0, 0.0, ObservationState.POOR_LIGHT),
        (0.5, 5.0, 50.0, ObservationState.OBSERVED),
        (0.5, 40.0, 51.0, ObservationState.POOR_VIEW),
        (10.0, 40.0, 65.0, ObservationState.OBSERVED),
    ],
)
def test_light_and_view_worse_than_any_measured_show_nothing(
    gsd_m: float, elevation_deg: float, off_nadir_deg: float, state: ObservationState
) -> None:
    told = conditions_state(gsd_m, Sun(150.0, elevation_deg), View(90.0, off_nadir_deg))
    assert told is state
    assert conditions_state(gsd_m, None, None) is ObservationState.OBSERVED
