"""What pixels of a size can show of each class, and what they cannot: said in every report, and kept to.

Two floors. Below ``smallest_area_m2`` nothing is searched for: that follows from sizes alone (a 20 ft container covers
14.9 m2, a 40 ft one 29.7 m2, both 2.44 m wide). What is then really found was measured by ``benchmarks.limits`` on
rendered ground and lies in ``limits_table.json``. A look in which less than half of what stands there shows is no look
at that class; "no change" is never said of sizes of which less than half would have been listed.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from imagery.changes import DetectionLimit, ObjectClass
from imagery.illumination import MIN_SUN_ELEVATION_DEG, Sun, View
from imagery.observability import ObservationState

TABLE = Path(__file__).with_name("limits_table.json")
LEAST_RECALL = 0.5
# Fewer objects than this in one light say nothing of it.
LEAST_OBJECTS = 8

# Limits were measured with the sun from 15 degrees up, the network was trained from 9 degrees up and told of nothing
# below 11.3: some way under that it may still be right; where shadows of neighbours merge nobody can say.
LOWEST_SUN_DEG = MIN_SUN_ELEVATION_DEG
# Training saw few views of more than 30 degrees and none of more than about 45; from here on what stands up leans
# further than it is high, over what stands beside it.
MOST_OBLIQUE_DEG = 50.0

COUNTABLE_GSD_M = 1.2
COARSE_GSD_M = 3.5
SMALLEST_ROW_M2 = 120.0
# About a tenth of those that the looks could show, at 0.3 to 1 m (``benchmarks.unidentified``); not measured by size and light.
_MOSTLY_UNLISTED = (
    "On rendered sites far less than half of those that came or went were listed, "
    "so that none is listed does not mean that there is none."
)
_MEASURED = "Measured on rendered ground, from few looks:"
_NOUN = {
    ObjectClass.CONTAINER: "containers",
    ObjectClass.BERM: "banks",
    ObjectClass.OTHER: "other structures",
}
_TWENTY_FOOT_M2 = 14.9
_LEAST_PIXELS = 10.0
_SHORTEST_BERM_M = 10.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of ``n`` objects of one size in one condition; ``sun_deg`` None where a year was looked at.

    ``shown`` are those that a single look speaks for, ``found`` those that a report of a few looks lists.
    """

    kind: str
    gsd_m: float
    sun_deg: float | None
    season: str | None
    size: str
    area_m2: float
    n: int
    shown: int
    found: int


@dataclass(frozen=True, slots=True)
class Recall:
    """``hits`` of ``n`` objects of ``area_m2`` and more."""

    area_m2: float
    n: int
    hits: int

    @property
    def value(self) -> float:
        """The share."""
        return self.hits / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share lies with 95 %.

        Source: E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22.
        """
        z2 = 1.959964**2
        middle = (self.hits + z2 / 2) / (self.n + z2)
        half = math.sqrt(z2 * (self.hits * (1 - self.value) + z2 / 4)) / (self.n + z2)
        return max(middle - half, 0.0), min(middle + half, 1.0)

    @property
    def in_words(self) -> str:
        """The share in percent with its interval."""
        low, high = self.interval
        return f"{100 * self.value:.0f} % ({100 * low:.0f}-{100 * high:.0f} %)"


@lru_cache(maxsize=1)
def measured_table() -> tuple[Measured, ...]:
    """Return the table that ships with the package."""
    cells = json.loads(TABLE.read_text(encoding="utf-8"))["cells"]
    return tuple(
        Measured(
            str(c["class"]), float(c["gsd_m"]), c["sun_deg"], c["season"], str(c["size"]),
            float(c["area_m2"]), int(c["n"]), int(c["shown"]), int(c["found"]),
        )
        for c in cells
    )  # fmt: skip


def measured_at(kind: ObjectClass, gsd_m: float) -> tuple[Measured, ...]:
    """Return what was measured of a class at the next coarser pixel size that was tried; empty where none was.

    Pixels that resolve objects and pixels that do not are different detectors, and stay apart.
    """
    fine = gsd_m <= COARSE_GSD_M
    mine = [c for c in measured_table() if c.kind == kind.value and (c.gsd_m <= COARSE_GSD_M) is fine]
    tried = sorted({c.gsd_m for c in mine})
    if not tried:
        return ()
    near_enough = [gsd for gsd in tried if gsd >= 0.95 * gsd_m] or [g for g in tried[-1:] if gsd_m <= 1.2 * g]
    return tuple(c for c in mine if c.gsd_m == near_enough[0]) if near_enough else ()


def recall_from(cells: Sequence[Measured], by: Literal["shown", "found"]) -> Recall | None:
    """Return the recall from the smallest size on from which, size by size, half and more is hit; None if none is."""
    smallest = None
    for area in sorted({cell.area_m2 for cell in cells}, reverse=True):
        if _pooled([cell for cell in cells if cell.area_m2 == area], by).value < LEAST_RECALL:
            break
        smallest = area
    return None if smallest is None else _pooled([cell for cell in cells if cell.area_m2 >= smallest], by)


def _pooled(cells: Sequence[Measured], by: Literal["shown", "found"]) -> Recall:
    return Recall(
        min(cell.area_m2 for cell in cells),
        sum(cell.n for cell in cells),
        sum(cell.shown if by == "shown" else cell.found for cell in cells),
    )


@lru_cache(maxsize=4096)
def state_of(kind: ObjectClass, gsd_m: float, sun_elevation_deg: float | None) -> ObservationState:
    """Say whether a look of such pixels in such light shows objects of a class at all.

    Returns
    -------
    state : ``TOO_COARSE`` where no size was shown half the time by a single look, ``POOR_LIGHT`` where that is so with
        the sun at the measured height nearest to this one; ``OBSERVED`` also where nothing was measured
    """
    if not math.isfinite(smallest_area_m2(kind, gsd_m)) and gsd_m <= COARSE_GSD_M:
        return ObservationState.TOO_COARSE
    if gsd_m > COARSE_GSD_M and kind is not ObjectClass.OTHER:
        return ObservationState.TOO_COARSE
    cells = [cell for cell in measured_at(kind, gsd_m) if cell.sun_deg is not None]
    if not cells:
        return ObservationState.OBSERVED
    best = recall_from(cells, "shown")
    if best is None:
        return ObservationState.TOO_COARSE
    if sun_elevation_deg is None:
        return ObservationState.OBSERVED
    nearest = min(
        sorted({cell.sun_deg for cell in cells if cell.sun_deg is not None}),
        key=lambda sun: abs(sun - sun_elevation_deg),
    )
    lit = _pooled([c for c in cells if c.sun_deg == nearest and c.area_m2 >= best.area_m2], "shown")
    poor = lit.n >= LEAST_OBJECTS and lit.value < LEAST_RECALL
    return ObservationState.POOR_LIGHT if poor else ObservationState.OBSERVED


def conditions_state(gsd_m: float, sun: Sun | None, view: View | None) -> ObservationState:
    """Say whether a look was taken in light and at an angle that anything is known of, whatever the class.

    Returns
    -------
    state : ``POOR_LIGHT`` at any pixel size, ``POOR_VIEW`` where single objects show (what leans by some metres stays
        within pixels of 10 m), else ``OBSERVED``; angles that nobody told count as good ones
    """
    if sun is not None and sun.elevation_deg < LOWEST_SUN_DEG:
        return ObservationState.POOR_LIGHT
    if view is not None and view.off_nadir_deg > MOST_OBLIQUE_DEG and gsd_m <= COARSE_GSD_M:
        return ObservationState.POOR_VIEW
    return ObservationState.OBSERVED


def detection_limits(gsd_m: float) -> tuple[DetectionLimit, ...]:
    """Return the limit of every class for looks of one pixel size, with what was measured of it."""
    return tuple(
        as_measured(limit) for limit in (container_limit(gsd_m), berm_limit(gsd_m), other_limit(gsd_m))
    )


def as_measured(limit: DetectionLimit) -> DetectionLimit:
    """Bring a limit that follows from sizes down to what was found when it was tried.

    ``smallest_area_m2`` becomes the size from which half and more was listed, None where no size reached that:
    "no change" then says nothing of the class.
    """
    cells = measured_at(limit.object_class, limit.gsd_m)
    if limit.observable and limit.object_class is ObjectClass.OTHER:
        return replace(limit, smallest_area_m2=None, statement=f"{limit.statement} {_MOSTLY_UNLISTED}")
    if not limit.observable or not cells:
        return limit
    tried = _pooled(cells, "found")
    if state_of(limit.object_class, limit.gsd_m, None) is ObservationState.TOO_COARSE:
        said = (
            f"At {limit.gsd_m:g} m pixels {_NOUN[limit.object_class]} are not claimed: single looks showed "
            f"{_pooled(cells, 'shown').in_words} of {tried.n} rendered ones."
        )
        return replace(limit, observable=False, smallest_area_m2=None, statement=said)
    best = recall_from(cells, "found")
    if best is None:
        said = (
            f"of {tried.n} objects from {tried.area_m2:.0f} m² up only {tried.in_words} were listed, "
            "so that none is listed does not mean that there is none."
        )
    else:
        said = f"of {best.n} objects of {best.area_m2:.0f} m² and more, {best.in_words} were listed."
    return replace(
        limit,
        smallest_area_m2=None if best is None else max(limit.smallest_area_m2 or 0.0, best.area_m2),
        statement=f"{_seen(limit, cells)} {_MEASURED} {said}{_dark(limit)}",
    )


def _seen(limit: DetectionLimit, cells: Sequence[Measured]) -> str:
    """Say from which size on single looks show a class, where that is not the smallest that was tried."""
    shown = recall_from([cell for cell in cells if cell.sun_deg is not None], "shown")
    if shown is None or shown.area_m2 <= min(cell.area_m2 for cell in cells):
        return limit.statement
    caveat = {
        ObjectClass.CONTAINER: " They cannot be counted." if limit.gsd_m > COUNTABLE_GSD_M else "",
        ObjectClass.BERM: " Those within about 15 degrees of the sun's azimuth show least.",
    }.get(limit.object_class, "")
    return (
        f"At {limit.gsd_m:g} m pixels {_NOUN[limit.object_class]} of {shown.area_m2:.0f} m² and more can be seen; "
        f"smaller ones show in less than half of the looks.{caveat}"
    )


def _dark(limit: DetectionLimit) -> str:
    """Say in which light single looks do not show a class."""
    suns = sorted({c.sun_deg for c in measured_at(limit.object_class, limit.gsd_m) if c.sun_deg is not None})
    poor = [
        f"{sun:.0f}"
        for sun in suns
        if state_of(limit.object_class, limit.gsd_m, sun) is ObservationState.POOR_LIGHT
    ]
    return f" Looks with the sun near {' or '.join(poor)} degrees do not show them." if poor else ""


def container_limit(gsd_m: float) -> DetectionLimit:
    """Return what could be seen of containers by their size: singly, in rows, or not at all."""
    size = f"{gsd_m:g} m pixels"
    if gsd_m > COARSE_GSD_M:
        return DetectionLimit(
            ObjectClass.CONTAINER, gsd_m, False, None, f"Containers cannot be told apart at {size}."
        )
    if gsd_m > COUNTABLE_GSD_M:
        smallest = max(SMALLEST_ROW_M2, _LEAST_PIXELS * gsd_m**2)
        return DetectionLimit(
            ObjectClass.CONTAINER,
            gsd_m,
            True,
            smallest,
            f"At {size} only rows or blocks of containers of {smallest:.0f} m² and more can be seen, and they "
            "cannot be counted.",
        )
    smallest = max(0.6 * _TWENTY_FOOT_M2, _LEAST_PIXELS * gsd_m**2)
    return DetectionLimit(
        ObjectClass.CONTAINER,
        gsd_m,
        True,
        smallest,
        f"At {size} objects consistent with containers of {smallest:.0f} m² and more can be seen and counted"
        + ("." if gsd_m <= 0.8 else "; where they stand close together the count is an estimate from area."),
    )


def berm_limit(gsd_m: float) -> DetectionLimit:
    """Return what could be seen of banks by their size: crest length and width."""
    if gsd_m > COARSE_GSD_M:
        return DetectionLimit(
            ObjectClass.BERM, gsd_m, False, None, f"Single banks cannot be seen at {gsd_m:g} m pixels."
        )
    length = max(_SHORTEST_BERM_M, 8.0 * gsd_m)
    width = max(3.0, 1.5 * gsd_m)
    return DetectionLimit(
        ObjectClass.BERM,
        gsd_m,
        True,
        length * width,
        f"At {gsd_m:g} m pixels banks with a crest of {length:.0f} m and more can be seen, unless they run within "
        "about 15 degrees of the sun's azimuth.",
    )


def other_limit(gsd_m: float) -> DetectionLimit:
    """Return what can be seen of structures of no known class."""
    smallest = max(25.0, 20.0 * gsd_m**2)
    return DetectionLimit(
        ObjectClass.OTHER,
        gsd_m,
        gsd_m <= COARSE_GSD_M,
        smallest,
        f"Other structures of {smallest:.0f} m² and more that stay are searched for at {gsd_m:g} m pixels.",
    )


def smallest_area_m2(object_class: ObjectClass, gsd_m: float) -> float:
    """Return the smallest area worth searching for; infinite where pixels are too large for the class."""
    for limit in (container_limit(gsd_m), berm_limit(gsd_m), other_limit(gsd_m)):
        if limit.object_class is object_class and limit.observable and limit.smallest_area_m2 is not None:
            return limit.smallest_area_m2
    return float("inf")
