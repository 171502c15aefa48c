"""Which changes of a site have to do with each other: gone again, returned, moved."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box

from imagery.changes import Change, Direction, Estimate, ObjectClass, OnsetInterval, Status
from imagery.relations import Related, Relation, relations

START = datetime(2024, 1, 1, tzinfo=UTC)
CAME, WENT = Direction.APPEARED, Direction.REMOVED


def change(
    direction: Direction,
    east: float,
    days: tuple[int, int],
    kind: ObjectClass = ObjectClass.CONTAINER,
    length: float = 12.2,
) -> Change:
    """A box of ``length`` x 2.44 m whose lower left corner lies ``east`` metres along a row."""
    start, end = (START + timedelta(days=d) for d in days)
    area = length * 2.44
    return Change(
        kind, direction, box(east, 0, east + length, 2.44), OnsetInterval(start, end), end, Status.CONFIRMED, 0.9,
        None, "said", Estimate(area, 0.8 * area, 1.2 * area), length, 2.44, 90.0, 0.5, 3, 0, 0.0, "A", "B", ("A", "B"),
    )  # fmt: skip


def test_what_came_and_went_points_at_its_removal_and_back() -> None:
    came, went = relations([change(CAME, 0, (0, 10)), change(WENT, 0.5, (30, 40))])
    assert came == (Related(Relation.REMOVED_BY, 1),)
    assert went == (Related(Relation.REMOVES, 0),)


def test_what_stands_again_where_one_like_it_went_has_returned() -> None:
    gone, again = relations([change(WENT, 0, (0, 10)), change(CAME, 0.5, (30, 40))])
    assert gone == (Related(Relation.RETURNED_AS, 1),)
    assert again == (Related(Relation.RETURN_OF, 0),)


def test_a_bank_where_a_container_stood_has_not_returned() -> None:
    assert relations([change(WENT, 0, (0, 10)), change(CAME, 0, (30, 40), ObjectClass.BERM)]) == [(), ()]


def test_one_that_went_while_one_alike_came_elsewhere_may_have_been_moved() -> None:
    gone, come = relations([change(WENT, 0, (10, 20)), change(CAME, 60, (5, 15))])
    assert gone == (Related(Relation.MOVED_TO, 1),)
    assert come == (Related(Relation.MOVED_FROM, 0),)


def test_of_two_that_came_alike_neither_is_called_the_moved_one() -> None:
    two = [change(CAME, 60, (10, 20)), change(CAME, 90, (10, 20))]
    assert relations([change(WENT, 0, (10, 20)), *two]) == [(), (), ()]


def test_another_size_another_time_or_no_known_class_is_no_move() -> None:
    gone = change(WENT, 0, (10, 20))
    for other in (change(CAME, 60, (10, 20), length=24.0), change(CAME, 60, (20, 30))):
        assert relations([gone, other]) == [(), ()]
    unknown = [change(d, e, (10, 20), ObjectClass.OTHER) for d, e in ((WENT, 0), (CAME, 60))]
    assert relations(unknown) == [(), ()]


def test_one_that_returned_to_its_place_was_not_moved_elsewhere() -> None:
    row = [change(WENT, 0, (10, 20)), change(CAME, 0, (30, 40)), change(CAME, 60, (10, 20))]
    told = relations(row)
    assert told[0] == (Related(Relation.RETURNED_AS, 1),)
    assert told[2] == ()


@given(
    st.lists(
        st.tuples(st.sampled_from([CAME, WENT]), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=6
    ),
    st.randoms(use_true_random=False),
)
def test_relations_are_told_from_both_sides_and_do_not_hang_on_the_order(
    drawn: list[tuple[Direction, int, int]], shuffler: object
) -> None:
    changes = [change(d, 20.0 * place, (10 * t, 10 * t + 10)) for d, place, t in dict.fromkeys(drawn)]
    order = list(range(len(changes)))
    shuffler.shuffle(order)  # type: ignore[attr-defined]
    plain, mixed = relations(changes), relations([changes[i] for i in order])
    as_pairs = {(i, r.relation, r.other) for i, mine in enumerate(plain) for r in mine}
    assert as_pairs == {(order[i], r.relation, order[r.other]) for i, mine in enumerate(mixed) for r in mine}
    assert all(any(b == i for b in (r.other for r in plain[o])) for i, _, o in as_pairs)
