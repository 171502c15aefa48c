"""The finished analysis of one site: everything a report is written from, and nothing else.

``pipelines.site`` makes it, ``pipelines.report`` and ``pipelines.exports`` print it. It holds no pixels: those are
read again, window by window, through ``WindowReader``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from shapely.geometry.base import BaseGeometry

from imagery.changes import Detection
from imagery.displacement import Displacement
from imagery.grid import SiteGrid
from imagery.look import Look
from imagery.scene import Scene

if TYPE_CHECKING:  # answering a request loads no reader of rasters
    from pipelines.archives.ground import Ground

WindowReader = Callable[[str, SiteGrid], Look]
"""``(scene_id, grid) -> Look``: registered and radiometrically normalised to the site's common scale."""
RasterMaker = Callable[[Look, str], bytes]
"""``(look, processing_version) -> bytes``: a look's window as a cloud-optimised GeoTIFF."""


@dataclass(frozen=True, slots=True)
class Site:
    """One watched place; ``aoi`` is a valid (multi)polygon in EPSG:4326, RFC 7946 winding."""

    name: str
    aoi: BaseGeometry


@dataclass(frozen=True, slots=True)
class LookSummary:
    """One scene as it ended up on the site, used or not.

    ``fractions`` is the share of the AOI per observation state label, summing to 1; ``used`` False where the scene was
    left out altogether, with the reason last in ``notes``. ``footprint`` is the scene's outline cut to the AOI, EPSG:4326.
    """

    scene: Scene
    footprint: BaseGeometry
    reference: bool
    used: bool
    displacement: Displacement | None
    usable_fraction: float
    fractions: tuple[tuple[str, float], ...]
    gains: tuple[tuple[str, float, float], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Analysis:
    """One site over one period by one processing version.

    ``processing_version`` is the hash of algorithm versions, ``parameters`` and model weights. ``looks`` are in time order.
    ``refused`` are scenes that could not be opened at all: ``(where, code, sentence)``. ``folders`` hold the archives, where
    there are several: files are named relative to theirs. ``ground`` is what the excerpts of remote files, where there are
    any, were fetched for; None for all of them.
    """

    site: Site
    period: tuple[datetime, datetime] | None
    grid: SiteGrid
    looks: tuple[LookSummary, ...]
    detection: Detection
    processing_version: str
    parameters: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    refused: tuple[tuple[str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    ground: Ground | None = None
