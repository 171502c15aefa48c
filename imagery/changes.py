"""What was found: one object that appeared or was removed, and the words used for it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from imagery.grid import SiteGrid


class ObjectClass(StrEnum):
    """What a change is of. More may come: never assume three."""

    CONTAINER = "container"
    BERM = "berm"
    OTHER = "other"


class Direction(StrEnum):
    """Whether the object came or went."""

    APPEARED = "appeared"
    REMOVED = "removed"


class Status(StrEnum):
    """The ladder of CONTRACT section 1."""

    FIRST = "first"
    PROVISIONAL = "provisional"
    CONFIRMED = "confirmed"
    CLOSED = "closed"
    RETRACTED = "retracted"


@dataclass(frozen=True, slots=True)
class OnsetInterval:
    """Between which two clear looks it happened.

    For an appearance: last clear look without it, first clear look with it. For a removal: last look with it,
    first look without. Products print them as ``last_absent`` and ``first_seen`` for both directions.
    """

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Change:
    """One object that appeared or was removed on one site.

    ``footprint`` is in the grid's CRS. ``count`` is None where it cannot be resolved; ``count_reason`` then says why.
    ``before_scene``/``after_scene`` are the looks at either end of the onset interval. ``evidence`` are named numbers
    that spoke for (positive) or against (negative) it, log-odds, as shown to the user. ``against`` are sentences.
    """

    object_class: ObjectClass
    direction: Direction
    footprint: BaseGeometry
    onset: OnsetInterval
    last_seen: datetime
    status: Status
    confidence: float
    count: Estimate | None
    count_reason: str | None
    area_m2: Estimate
    length_m: float | None
    width_m: float | None
    orientation_deg: float | None
    gsd_m: float
    looks_supporting: int
    looks_against: int
    shift_sensitivity: float
    before_scene: str
    after_scene: str
    scene_ids: tuple[str, ...]
    evidence: tuple[tuple[str, float], ...] = ()
    against: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """What stood on the site in one look: objects of one class, with the share of the site that was seen."""

    scene_id: str
    object_class: ObjectClass
    count: Estimate | None
    area_m2: Estimate
    appeared: int
    removed: int
    usable_fraction: float


@dataclass(frozen=True, slots=True)
class DetectionLimit:
    """Smallest object of a class that a look of this pixel size can show; ``observable`` False: never reported."""

    object_class: ObjectClass
    gsd_m: float
    observable: bool
    smallest_area_m2: float | None
    statement: str


@dataclass(frozen=True, slots=True)
class Compared:
    """How much of the area could be compared by looks that are compared with each other and with no others.

    ``fraction`` was observed on two independent dates or more; ``gsd_m`` is the finest pixel size among the looks.
    """

    gsd_m: float
    fraction: float


@dataclass(frozen=True, slots=True)
class Detection:
    """Everything found over one series of looks; where nothing was compared, nothing found says nothing."""

    changes: tuple[Change, ...]
    standing: tuple[Standing, ...]
    limits: tuple[DetectionLimit, ...]
    warnings: tuple[str, ...] = ()
    compared: tuple[Compared, ...] = ()


@dataclass(frozen=True, slots=True)
class LookEvidence:
    """One look's own evidence, independent of every other look: a cacheable product.

    ``log_odds`` is (class, row, col) int8 in eighths of a natural-log unit for the classes named in ``classes``:
    how much more likely the pixels are with such an object standing there than without; ``UNSEEN`` where not
    observable. ``brightness`` is (row, col) float16: log reflectance normalised over the look, NaN where unseen,
    for structural comparison between looks. The sun's elevation may be known without its azimuth, then without shadows'
    direction. ``learned`` tells whether the network spoke or only the physics.
    """

    scene_id: str
    t_utc: datetime
    grid: SiteGrid
    classes: tuple[ObjectClass, ...]
    log_odds: NDArray[np.int8]
    brightness: NDArray[np.float16]
    state: NDArray[np.uint8]
    gsd_m: float
    sun_azimuth_deg: float | None
    sun_elevation_deg: float | None
    view_azimuth_deg: float | None
    off_nadir_deg: float | None
    registration_residual_m: float
    learned: bool


UNSEEN = -128
LOG_ODDS_STEP = 0.125
