"""One acquisition as parsed values: where its bands lie and how numbers become reflectance.

Parsed once by ``pipelines.archives``; valid ever after. Angles count from *true* north here, as STAC does;
a look turns them to grid north.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from imagery.illumination import Sun, View

Units = Literal["reflectance", "relative"]


@dataclass(frozen=True, slots=True)
class BandSource:
    """One band of one file: ``reflectance = number * scale + offset``; ``name`` is a STAC common name."""

    name: str
    path: str
    index: int
    scale: float
    offset: float
    nodata: float | None


@dataclass(frozen=True, slots=True)
class MaskSource:
    """A classification raster: ``cloud-mask`` (0 clear, 1 cloud, 2 shadow, 3 snow, 255 nodata) or ``scl``."""

    path: str
    index: int
    kind: Literal["cloud-mask", "scl"]


@dataclass(frozen=True, slots=True)
class FilePart:
    """What was fetched of a remote file: ``spans`` are (offset, length) in the whole one of ``size`` bytes.

    ``name`` is what the whole file would be kept as, whatever of it is.
    """

    name: str
    size: int
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """One acquisition; ``footprint`` is a WKT polygon in EPSG:4326, ``sha256`` maps each path to its hash.

    ``parts`` tells by path which of the files are excerpts of remote ones; their hash is of the spans alone, see
    ``pipelines.archives.cutting.excerpt_sha256``.


    ``off_nadir_deg`` is told only where ``view`` cannot be, for want of its azimuth: which way things lean is then
    unknown, but not whether the view is too oblique. ``sun_elevation_deg`` likewise, where ``sun`` lacks its azimuth: how
    much light there is is known, but not where shadows fall.
    """

    id: str
    t_utc: datetime
    bands: tuple[BandSource, ...]
    mask: MaskSource | None
    gsd_m: float
    sun: Sun | None
    view: View | None
    platform: str | None
    licence: str | None
    units: Units
    footprint: str
    sha256: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    off_nadir_deg: float | None = None
    parts: tuple[tuple[str, FilePart], ...] = ()
    sun_elevation_deg: float | None = None

    @property
    def band_names(self) -> tuple[str, ...]:
        """Common names in reading order."""
        return tuple(b.name for b in self.bands)

    @property
    def light_elevation_deg(self) -> float | None:
        """How high the sun stood, whether or not its azimuth is known."""
        return self.sun_elevation_deg if self.sun is None else self.sun.elevation_deg

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file that it is read from, in order."""
        return tuple(sorted({b.path for b in self.bands} | ({self.mask.path} if self.mask else set())))
