"""What an archive says of a scene, before its files were opened: every field may be missing or wrong."""

import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from shapely.geometry.base import BaseGeometry

# Breaks a line, moves a cursor, or cannot be written as UTF-8 at all: JSON holds lone surrogates, file names other bytes.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def one_line(text: str) -> str:
    """Return what an archive wrote fit for a message: what would break the line or its encoding is spelt out."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def plain(text: str) -> str:
    """Return a name or a term as one line with single spaces."""
    return one_line(" ".join(text.split()))


def finite(value: object) -> float | None:
    """Return a number that JSON or a table gave as a float; None for what is none, as is one too large for a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


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
    ``outline`` is the described footprint, EPSG:4326. ``radar`` is what says that radar took it, empty where nothing
    does; it may then be without files. ``how`` tells the user where a missing field may be given.
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
    radar: str = ""
    notes: tuple[str, ...] = ()
