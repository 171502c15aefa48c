"""Which change of a newer report is the same object as one of an older report: one decision, in one place.

Two changes are the same object where direction and place agree and their dates do not contradict each other. Footprints
move a little from run to run, so a shift no larger than the registration error is taken out before they are compared;
of berms the corridors around the crest lines are compared, because a bank three metres wide that lies one metre beside
itself hardly overlaps. An object that went and came back is another object: a removal between two appearances parts
them. Pairs are chosen together, best sum first, each change at most once; nothing depends on the order given.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.affinity import translate
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from imagery.changes import ObjectClass, Status
from pipelines.antimeridian import crosses, eastward, uncut

METRES_PER_DEGREE = 111_320.0
# A report's registration error: a pixel of its coarser side, and never better than this.
LEAST_TOLERANCE_M = 1.5
# Of an object's width: containers stand side by side, and a neighbour must not be shifted into an object's place.
MOST_TOLERANCE_WIDTHS = 0.25
SAME_IOU = 0.3
# A footprint that lies this much inside another is a part of it; of a pair it must also be this much of the whole.
PART = 0.7
PART_IOU = 0.1
# How far an object may be told elsewhere and still be called moved rather than lost and new.
LEAST_REACH_M = 10.0
REACH_TOLERANCES = 2.0
MOVED_AREA_RATIO = 0.6
PLACE_WEIGHT = 0.8
ID_BONUS = 1e-6


class Relation(StrEnum):
    """How two changes of a pair belong together; all but ``MOVED`` are one object."""

    SAME = "same"
    REDATED = "redated"
    RECLASSIFIED = "reclassified"
    MOVED = "moved"


@dataclass(frozen=True)
class ReportedChange:
    """A change as one report tells it.

    ``footprint`` is in metres of a frame that all changes compared share; empty where the report gives no place.
    ``start`` and ``end`` are the onset interval, seconds since 1970 UTC.
    """

    id: str
    object_class: str
    direction: str
    start: float
    end: float
    footprint: BaseGeometry
    gsd_m: float
    closed: bool = False

    @cached_property
    def width_m(self) -> float:
        """Return the shorter side of the smallest rectangle around the footprint."""
        corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(self.footprint))
        if len(corners) < 4:
            return 0.0
        return float(min(np.hypot(*(corners[1] - corners[0])), np.hypot(*(corners[2] - corners[1]))))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two changes that belong together; ``shift_m`` is how far apart their centroids lie."""

    old: str
    new: str
    relation: Relation
    shift_m: float

    @property
    def one_object(self) -> bool:
        """Tell whether both are the same object and so share an id."""
        return self.relation is not Relation.MOVED


@dataclass(frozen=True, slots=True)
class Matching:
    """What became of each change between two reports, by id.

    ``parts`` maps a new change without a partner to the old one it is a part of (a split); ``merged`` an old change
    without a partner to the new one that holds it (a merge).
    """

    pairs: tuple[Pair, ...]
    lost: tuple[str, ...]
    new: tuple[str, ...]
    parts: Mapping[str, str] = field(default_factory=dict)
    merged: Mapping[str, str] = field(default_factory=dict)


def read_features(*reports: Sequence[Mapping[str, Any]]) -> list[list[ReportedChange]]:
    """Read the GeoJSON features of several reports of one site into one frame.

    The frame is equirectangular about the middle of all of them: true to a few parts in a thousand over a site.
    """
    shapes = [[_geometry(feature) for feature in report] for report in reports]
    flat = side_by_side([geometry for report in shapes for geometry in report])
    placed = [geometry for geometry in flat if not geometry.is_empty]
    west, south, east, north = shapely.total_bounds(placed) if placed else (0.0, 0.0, 0.0, 0.0)
    middle = ((west + east) / 2, (south + north) / 2)
    scale = np.array([METRES_PER_DEGREE * np.cos(np.radians(middle[1])), METRES_PER_DEGREE])

    def metres(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((lonlat - middle) * scale)

    left = iter(flat)
    return [
        [_read(feature, shapely.transform(next(left), metres)) for feature in report] for report in reports
    ]


def side_by_side(geometries: Sequence[BaseGeometry]) -> list[BaseGeometry]:
    """Return geometries of one site with longitudes that run on over the antimeridian where they lie on both sides."""
    whole = [uncut(geometry) for geometry in geometries]
    if not crosses(shapely.GeometryCollection(whole)):
        return whole
    return [
        shapely.transform(geometry, lambda xy: np.column_stack([eastward(xy[:, 0]), xy[:, 1]]))
        for geometry in whole
    ]


def _geometry(feature: Mapping[str, Any]) -> BaseGeometry:
    made = shape(feature["geometry"]) if feature.get("geometry") else shapely.Polygon()
    return made if made.is_valid else shapely.make_valid(made)


def _read(feature: Mapping[str, Any], footprint: BaseGeometry) -> ReportedChange:
    told = feature["properties"]
    return ReportedChange(
        str(feature["id"]),
        str(told["change_type"]),
        str(told["direction"]),
        datetime.fromisoformat(told["last_absent"]).timestamp(),
        datetime.fromisoformat(told["first_seen"]).timestamp(),
        footprint,
        float(told.get("gsd") or 0.0),
        told.get("status") == Status.CLOSED,
    )


def tolerance_m(one: ReportedChange, other: ReportedChange) -> float:
    """Return the shift between two reports' footprints that registration alone may have made, metres."""
    return max(LEAST_TOLERANCE_M, one.gsd_m, other.gsd_m)


def shift_m(one: ReportedChange, other: ReportedChange) -> float:
    """Return the distance between two footprints' centroids, metres; 0 where one has no place."""
    if one.footprint.is_empty or other.footprint.is_empty:
        return 0.0
    return float(shapely.distance(one.footprint.centroid, other.footprint.centroid))


def match_changes(
    old: Sequence[ReportedChange], new: Sequence[ReportedChange], known: Sequence[ReportedChange] = ()
) -> Matching:
    """Decide which change of ``new`` is the same object as which of ``old``; ids are unique within each.

    Parameters
    ----------
    old, new : the changes of two reports in one frame, as ``read_features`` gives them
    known : changes that are not to be paired but whose removals also part two appearances
    """
    search = _Search([*old, *new, *known])
    before, after = _by_id(old), _by_id(new)
    pairs = [Pair(one, other, Relation.SAME, 0.0) for one, other in _told_alike(old, new)]
    for pair in pairs:
        del before[pair.old], after[pair.new]
    for relation, weight in (
        (Relation.SAME, _same),
        (Relation.REDATED, search.redated),
        (Relation.RECLASSIFIED, _reclassified),
        (Relation.MOVED, _moved),
    ):
        for one, other in _assign(before, after, weight):
            pairs.append(Pair(one.id, other.id, relation, shift_m(one, other)))
            del before[one.id], after[other.id]
    return Matching(
        tuple(sorted(pairs, key=lambda pair: (pair.old, pair.new))),
        tuple(before),
        tuple(after),
        {part.id: whole.id for part, whole in _parts(after.values(), _by_id(old).values())},
        {part.id: whole.id for part, whole in _parts(before.values(), _by_id(new).values())},
    )


def stable_ids(
    new: Sequence[ReportedChange],
    current: Sequence[ReportedChange],
    earlier: Sequence[ReportedChange] = (),
    taken: Collection[str] = (),
) -> dict[str, str]:
    """Return the id each new change goes by, by the id its own report gave it.

    An object the site's ``current`` report tells keeps its id. What that one does not tell is looked for among the
    changes of ``earlier`` reports, one telling per id: found, lost and found again is one object. The rest is new and
    keeps the id it came with, unless another object of the site, or one of ``taken``, bears it already.
    """
    around = [*current, *earlier, *new]
    kept = {pair.new: pair.old for pair in match_changes(current, new, around).pairs if pair.one_object}
    left = [change for change in new if change.id not in kept]
    still = {change.id for change in current}
    gone = [change for change in earlier if change.id not in still]
    # What was taken back once needs more than a likeness to be the same: class and dates must agree.
    found = match_changes(gone, left, around).pairs if gone and left else ()
    kept |= {pair.new: pair.old for pair in found if pair.relation is Relation.SAME}
    borne = {*taken, *(change.id for change in (*current, *earlier))}
    for own in sorted(change.id for change in new if change.id not in kept):
        kept[own] = _free(own, borne)
        borne.add(kept[own])
    return kept


def _free(own: str, taken: Collection[str]) -> str:
    """Return an id nothing else bears: its own, or the first of a series made from it."""
    found, ordinal = own, 0
    while found in taken:
        ordinal += 1
        found = hashlib.sha256(f"{own}/{ordinal}".encode()).hexdigest()[:16]
    return found


def _by_id(changes: Iterable[ReportedChange]) -> dict[str, ReportedChange]:
    return {change.id: change for change in sorted(changes, key=lambda change: change.id)}


def _told_alike(old: Sequence[ReportedChange], new: Sequence[ReportedChange]) -> Iterator[tuple[str, str]]:
    """Yield the ids of changes that both reports tell in the very same way: no better pair exists, and most are so."""
    alike: defaultdict[tuple[Any, ...], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, changes in enumerate((old, new)):
        for change in changes:
            key = (change.object_class, change.direction, change.start, change.end, change.footprint.wkb)
            alike[key][side].append(change.id)
    for ones, others in alike.values():
        if len(ones) == len(others) == 1:
            yield ones[0], others[0]


Weight = Callable[[ReportedChange, ReportedChange], float]
"""How well two changes that lie near each other fit, above 0 to about 1; 0 where they do not."""


def _same(one: ReportedChange, other: ReportedChange) -> float:
    if one.object_class != other.object_class:
        return 0.0
    return _weight(one, other)


def _reclassified(one: ReportedChange, other: ReportedChange) -> float:
    if one.object_class == other.object_class:
        return 0.0
    return _weight(one, other)


def _weight(one: ReportedChange, other: ReportedChange) -> float:
    when = _common_time(one, other)
    place = _place(one, other) if when > 0 else 0.0
    if place == 0:
        return 0.0
    return PLACE_WEIGHT * place + (1 - PLACE_WEIGHT) * when + ID_BONUS * (one.id == other.id)


def _moved(one: ReportedChange, other: ReportedChange) -> float:
    if one.object_class != other.object_class or _common_time(one, other) == 0:
        return 0.0
    small, large = sorted((one.footprint.area, other.footprint.area))
    reach = _reach_m(one, other)
    apart = shift_m(one, other)
    if large == 0 or small < MOVED_AREA_RATIO * large or apart > reach:
        return 0.0
    return float((1 - 0.5 * apart / reach) * small / large)


def _reach_m(one: ReportedChange, other: ReportedChange) -> float:
    return max(LEAST_REACH_M, REACH_TOLERANCES * tolerance_m(one, other))


class _Search:
    """Knows every change around, to see whether an object went between two tellings of it."""

    def __init__(self, changes: Sequence[ReportedChange]) -> None:
        self.changes = changes
        self.tree = shapely.STRtree([change.footprint for change in changes])

    def redated(self, one: ReportedChange, other: ReportedChange) -> float:
        """Weigh one object told with dates that exclude each other, if nothing says that it went in between."""
        if one.object_class != other.object_class or _common_time(one, other) > 0:
            return 0.0
        place = _place(one, other)
        if place == 0:
            return 0.0
        first, last = sorted((one, other), key=lambda change: (change.start, change.end))
        return 0.0 if first.closed or self._undone_between(first, last) else place

    def _undone_between(self, first: ReportedChange, last: ReportedChange) -> bool:
        near = (self.changes[int(i)] for i in self.tree.query(first.footprint))
        return any(
            change.direction != first.direction
            and _middle(first) < _middle(change) < _middle(last)
            and _place(first, change) > 0
            for change in near
        )


def _middle(change: ReportedChange) -> float:
    return (change.start + change.end) / 2


def _common_time(one: ReportedChange, other: ReportedChange) -> float:
    """Return the onset intervals' common share of their union; 0 where they merely touch."""
    if (one.start, one.end) == (other.start, other.end):
        return 1.0
    common = min(one.end, other.end) - max(one.start, other.start)
    return max(0.0, common / (max(one.end, other.end) - min(one.start, other.start)))


def _place(one: ReportedChange, other: ReportedChange) -> float:
    """Return the common share of two footprints' union; 0 where they are not one place."""
    if one.footprint.is_empty or other.footprint.is_empty:
        return float(one.id == other.id and one.footprint.is_empty and other.footprint.is_empty)
    if one.footprint.equals_exact(other.footprint, 0.0):
        return 1.0
    iou, part = _overlap(one, other)
    return iou if iou >= SAME_IOU or (part >= PART and iou >= PART_IOU) else 0.0


def _overlap(one: ReportedChange, other: ReportedChange) -> tuple[float, float]:
    """Return intersection over union, and over the smaller of two footprints, registration aside."""
    a, b = one.footprint, other.footprint
    allowed = tolerance_m(one, other)
    if one.object_class == other.object_class == ObjectClass.BERM:
        a, b = a.buffer(allowed, quad_segs=4), b.buffer(allowed, quad_segs=4)
    else:
        allowed = min(allowed, MOST_TOLERANCE_WIDTHS * min(one.width_m, other.width_m))
        b = max((b, _towards(b, a, allowed)), key=lambda moved: float(a.intersection(moved).area))
    common, smaller = float(a.intersection(b).area), float(min(a.area, b.area))
    if smaller <= 0 or common <= 0:
        return 0.0, 0.0
    return common / float(a.area + b.area - common), common / smaller


def _towards(moving: BaseGeometry, still: BaseGeometry, at_most_m: float) -> BaseGeometry:
    east = still.centroid.x - moving.centroid.x
    north = still.centroid.y - moving.centroid.y
    apart = float(np.hypot(east, north))
    share = min(1.0, at_most_m / apart) if apart > 0 else 0.0
    return translate(moving, share * east, share * north)


def _near(some: Sequence[ReportedChange], others: Sequence[ReportedChange]) -> Iterator[tuple[int, int]]:
    """Yield index pairs of one direction that lie within reach of each other, or have no place but one id."""
    coarsest = max((change.gsd_m for change in (*some, *others)), default=0.0)
    reach = max(LEAST_REACH_M, REACH_TOLERANCES * coarsest)
    for direction in sorted({change.direction for change in some}):
        mine = [i for i, change in enumerate(some) if change.direction == direction]
        theirs = [j for j, change in enumerate(others) if change.direction == direction]
        tree = shapely.STRtree([others[j].footprint for j in theirs])
        for i in mine:
            one = some[i]
            if one.footprint.is_empty:
                yield from ((i, j) for j in theirs if others[j].id == one.id)
                continue
            for k in sorted(int(k) for k in tree.query(one.footprint.buffer(reach, quad_segs=2).envelope)):
                yield i, theirs[k]


def _assign(
    before: Mapping[str, ReportedChange], after: Mapping[str, ReportedChange], weight: Weight
) -> list[tuple[ReportedChange, ReportedChange]]:
    """Return the pairs whose weights have the largest sum, each change at most once."""
    old, new = list(before.values()), list(after.values())
    weighed = [(i, j, weight(old[i], new[j])) for i, j in _near(old, new)]
    found = [(i, j, w) for i, j, w in weighed if w > 0]
    chosen: list[tuple[ReportedChange, ReportedChange]] = []
    for edges in _components(found, len(old), len(new)):
        rows, cols = sorted({i for i, _, _ in edges}), sorted({j for _, j, _ in edges})
        table = np.zeros((len(rows), len(cols)))
        for i, j, w in edges:
            table[rows.index(i), cols.index(j)] = w
        for row, col in zip(*linear_sum_assignment(table, maximize=True), strict=True):
            if table[row, col] > 0:
                chosen.append((old[rows[row]], new[cols[col]]))
    return chosen


def _components(
    edges: Sequence[tuple[int, int, float]], n_old: int, n_new: int
) -> list[list[tuple[int, int, float]]]:
    """Part the pairs into groups that share no change: a table per group instead of one for the site."""
    i, j = [e[0] for e in edges], [n_old + e[1] for e in edges]
    size = n_old + n_new
    _, label = connected_components(coo_array((np.ones(len(edges)), (i, j)), (size, size)), directed=False)
    groups: defaultdict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for edge in edges:
        groups[int(label[edge[0]])].append(edge)
    return [groups[key] for key in sorted(groups)]


def _parts(
    pieces: Iterable[ReportedChange], wholes: Iterable[ReportedChange]
) -> Iterator[tuple[ReportedChange, ReportedChange]]:
    """Yield each piece with the whole it lies in: same class and direction, dates that agree, the best if several."""
    some, others = list(pieces), list(wholes)
    best: dict[int, tuple[float, int]] = {}
    for i, j in _near(some, others):
        one, other = some[i], others[j]
        if one.object_class != other.object_class or _common_time(one, other) == 0:
            continue
        if one.footprint.is_empty or other.footprint.is_empty or one.footprint.area > other.footprint.area:
            continue
        share = _overlap(one, other)[1]
        if share >= PART and (i not in best or share > best[i][0]):
            best[i] = (share, j)
    for i, (_, j) in sorted(best.items()):
        yield some[i], others[j]
