"""What changes of one site have to do with each other: gone again, returned, moved within the site.

Told only where one other change can be meant. Of two rows of containers that went while two alike came, which went where
cannot be seen, and nothing is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shapely.geometry.base import BaseGeometry

from imagery.changes import Change, Direction, Estimate, ObjectClass

# Share of the smaller outline that must lie on the larger one to be the same place.
_SAME_PLACE = 0.5
# How far lengths of one object, measured twice, may differ: half a pixel at either end of 6 m at 0.5 m, and lean.
_SAME_LENGTH = 1.3


class Relation(StrEnum):
    """What another change is to this one."""

    REMOVED_BY = "removed_by"
    REMOVES = "removes"
    RETURN_OF = "return_of"
    RETURNED_AS = "returned_as"
    MOVED_TO = "moved_to"
    MOVED_FROM = "moved_from"


@dataclass(frozen=True, slots=True)
class Related:
    """``other`` is the index of the other change in the sequence given."""

    relation: Relation
    other: int


def relations(changes: Sequence[Change]) -> list[tuple[Related, ...]]:
    """Relate changes of one site to each other.

    Parameters
    ----------
    changes : of one site, footprints in one projected CRS in metres; any order

    Returns
    -------
    related : one tuple per change, in the order given. An object that came and went: ``removed_by``/``removes``; one
        that came where one alike went before: ``return_of``/``returned_as``; one that went while a single one of its
        class and size came elsewhere: ``moved_to``/``moved_from``, which is a possibility and not an observation
    """
    found: list[list[Related]] = [[] for _ in changes]

    def tell(one: int, relation: Relation, other: int, back: Relation) -> None:
        found[one].append(Related(relation, other))
        found[other].append(Related(back, one))

    for one, change in enumerate(changes):
        later = _next_here(changes, one)
        if later is None:
            continue
        if change.direction is Direction.APPEARED:
            tell(one, Relation.REMOVED_BY, later, Relation.REMOVES)
        else:
            tell(one, Relation.RETURNED_AS, later, Relation.RETURN_OF)
    for gone, come in _moves(changes, found):
        tell(gone, Relation.MOVED_TO, come, Relation.MOVED_FROM)
    return [tuple(mine) for mine in found]


def _next_here(changes: Sequence[Change], one: int) -> int | None:
    """Return the first later change of the same class at the same place, where that is one of the other direction."""
    change = changes[one]
    here = [
        i
        for i, other in enumerate(changes)
        if i != one
        and other.object_class is change.object_class
        and other.onset.start >= change.onset.end
        and _same_place(change.footprint, other.footprint)
    ]
    if not here:
        return None
    first = min(here, key=lambda i: _order(change, changes[i]))
    return first if changes[first].direction is not change.direction else None


def _order(change: Change, other: Change) -> tuple[object, ...]:
    """Return what tells the first change after another, whatever order they came in."""
    shared, centre = _shared(change.footprint, other.footprint), other.footprint.centroid
    return other.onset.end, other.onset.start, -shared, other.direction, centre.x, centre.y


def _moves(changes: Sequence[Change], told: Sequence[Sequence[Related]]) -> list[tuple[int, int]]:
    """Return (removed, appeared) pairs that are each other's only possibility."""
    gone = [i for i, c in enumerate(changes) if c.direction is Direction.REMOVED and _has_shape(c)]
    come = [i for i, c in enumerate(changes) if c.direction is Direction.APPEARED and _has_shape(c)]
    possible = [(g, c) for g in gone for c in come if _could_be_one(changes[g], changes[c])]
    return [
        (g, c)
        for g, c in possible
        if sum(g == other for other, _ in possible) == 1
        and sum(c == other for _, other in possible) == 1
        and not any(r.relation is Relation.RETURNED_AS for r in told[g])
        and not any(r.relation is Relation.RETURN_OF for r in told[c])
    ]


def _has_shape(change: Change) -> bool:
    return change.object_class is not ObjectClass.OTHER and bool(change.length_m)


def _could_be_one(gone: Change, come: Change) -> bool:
    """Tell whether one object may have left here and arrived there between the same looks."""
    lengths = (gone.length_m or 0.0, come.length_m or 0.0)
    return (
        gone.object_class is come.object_class
        and gone.onset.start < come.onset.end
        and come.onset.start < gone.onset.end
        and max(lengths) <= _SAME_LENGTH * min(lengths)
        and _overlap(gone.area_m2, come.area_m2)
        and not _same_place(gone.footprint, come.footprint)
    )


def _overlap(one: Estimate, other: Estimate) -> bool:
    return one.low <= other.high and other.low <= one.high


def _shared(one: BaseGeometry, other: BaseGeometry) -> float:
    return one.intersection(other).area if one.intersects(other) else 0.0


def _same_place(one: BaseGeometry, other: BaseGeometry) -> bool:
    return bool(_shared(one, other) > _SAME_PLACE * min(one.area, other.area))
