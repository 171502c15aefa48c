"""What an archive says of a scene, before its files were opened: every field may be missing or wrong."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, slots=True)
class BandClaim:
    """One band as described; None where the description is silent."""

    name: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None


@dataclass(frozen=True, slots=True)
class FileClaim:
    """One file of pixels as described. Without ``bands`` the file speaks for itself."""

    href: str
    bands: tuple[BandClaim, ...] = ()
    gsd_m: float | None = None


@dataclass(frozen=True, slots=True)
class MaskClaim:
    """A classification layer as described."""

    href: str
    kind: Literal["cloud-mask", "scl"]
    index: int = 1


@dataclass(frozen=True, slots=True)
class SceneClaim:
    """One scene as described. Angles in degrees from true north; ``baseline`` is Sentinel-2's processing baseline.

    ``offset_applied`` tells whether a catalog says that it already added Sentinel-2's offset to the numbers.
    ``outline`` is the described footprint, EPSG:4326. ``how`` tells the user where a missing field may be given.
    """

    id: str
    where: str
    t_utc: datetime
    files: tuple[FileClaim, ...]
    folder: Path
    how: str
    mask: MaskClaim | None = None
    gsd_m: float | None = None
    sun_azimuth_deg: float | None = None
    sun_elevation_deg: float | None = None
    view_azimuth_deg: float | None = None
    off_nadir_deg: float | None = None
    platform: str | None = None
    licence: str | None = None
    baseline: float | None = None
    offset_applied: bool | None = None
    level: str | None = None
    created: str = ""
    outline: BaseGeometry | None = None
    notes: tuple[str, ...] = ()
