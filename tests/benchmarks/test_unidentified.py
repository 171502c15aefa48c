"""What claims of class other are of, on rendered sites whose truth tells of other things too."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shapely.geometry import box

from benchmarks import detection, unidentified
from benchmarks.scoring import Event
from benchmarks.unidentified import Site
from imagery.simulation import Sensor, SeriesOptions, other_truths, simulate_series

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def on(day: int) -> datetime:
    return DAY + timedelta(days=day)


TIMES = {f"s{day}": on(day) for day in (0, 10, 20, 30, 40)}
HALL = box(20, 20, 40, 30)


def hall(came: int, went: int, seen: tuple[str, ...] = tuple(TIMES)) -> list[Event]:
    """The two events of a hall that stood from one day to another."""
    return [
        Event("other", direction, HALL, on(day), on(day), visible_in=seen, stay=(on(came), on(went)))
        for direction, day in (("appeared", came), ("removed", went))
    ]


def claim(kind: str, direction: str, place, first: int, last: int) -> Event:
    return Event(kind, direction, place, on(first), on(last))


def site(claims: list[Event], others: list[Event], ours: list[Event] | None = None) -> Site:
    return Site(claims, others, ours or [], box(0, 0, 100, 100), TIMES)


def test_a_claim_is_of_what_came_there_in_that_interval_and_of_nothing_else():
    container = Event("container", "removed", box(60, 60, 72, 63), on(25), on(25))
    claims = [
        claim("other", "appeared", box(21, 20, 41, 30), 10, 20),
        claim("other", "appeared", HALL, 20, 30),
        claim("other", "removed", HALL, 10, 20),
        claim("other", "removed", box(60, 60, 70, 63), 20, 30),
        claim("berm", "appeared", HALL, 10, 20),
    ]
    told = unidentified.claims_told(site(claims, hall(15, 99)[:1], [container]))
    assert told == {"claims": 4, "other things": 1, "our classes": 1, "nothing": 2, "outline fits": 1}


def test_what_is_confirmed_in_a_quiet_site_is_told_apart_by_what_was_there():
    went = [
        replace(claim(kind, "removed", HALL, 30, 40), status="confirmed") for kind in ("other", "container")
    ]
    never = replace(claim("other", "removed", box(60, 60, 80, 70), 30, 40), status="closed")
    listed = claim("container", "appeared", HALL, 10, 20)
    told = unidentified.confirmed_told(
        site([*went, never, replace(listed, status="first")], hall(-99, 35)[1:])
    )
    assert told == {"claims": 3, "as told": 1, "misnamed": 1, "nothing": 1}


def test_only_things_that_stood_in_two_clear_looks_and_were_clear_on_either_side_are_asked_for():
    claims = [claim("container", "removed", HALL, 30, 40)]
    assert unidentified.things_listed(site(claims, hall(15, 35)), 0.5) == [
        (200.0, False, False),
        (200.0, False, True),
    ]
    assert unidentified.things_listed(site([], hall(15, 25)), 0.5) == []
    assert unidentified.things_listed(site([], hall(15, 99, ("s20", "s30", "s40"))), 0.5) == []


def test_the_renderer_tells_of_its_other_things_without_rendering_and_leaves_them_out_of_its_series():
    options = SeriesOptions(extent_m=150.0, sensor=Sensor(1.0), looks=2)
    others = other_truths(7, options)
    assert others
    assert all(truth.thing.kind == "other" and truth.footprint.area > 0 for truth in others)
    numbers = {truth.thing.number for truth in simulate_series(7, options).truths}
    assert numbers.isdisjoint(truth.thing.number for truth in others)
    assert other_truths(7, SeriesOptions(extent_m=1000.0, sensor=Sensor(10.0), looks=2)) == ()


def test_sets_of_our_renderer_keep_their_options():
    tests = {test.name: test for test in detection.SETS}
    made = [tests[name].make for name in unidentified.SETS]
    assert all(isinstance(maker, detection.Rendered) for maker in made)
    assert tests["pan_0.5m"].make.options.sensor.bands == ("pan",)
    assert tests["pair_0.5m"].make.options.looks == 2
