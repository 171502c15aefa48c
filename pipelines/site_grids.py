"""The grids that one site is read on: its own, that of its coarser looks, and the wider ones looks are placed on."""

from collections.abc import Sequence
from dataclasses import dataclass

from shapely.geometry.base import BaseGeometry

from imagery.grid import SiteGrid, snapped_grid
from imagery.scene import Scene
from pipelines.aoi import utm_zone
from pipelines.parameters import COARSE_GSD_M, Parameters
from pipelines.steps import project

# Context for the detectors and the registration beyond the AOI's edge.
MARGIN_M = 20.0
MARGIN_PX = 4
# A chip smaller than this carries too little texture to be placed by (PITFALLS 1, small AOI).
MIN_CHIP_PX = 384
CHIP_MARGIN_PX = 48
# What a site is drawn on that no scene tells a pixel size of: what the freest archive of all has everywhere.
SCENELESS_GSD_M = 10.0


@dataclass(frozen=True, slots=True)
class SiteGrids:
    """``looks`` and ``chips`` are by kind of pixel, True for coarse; of kinds that no scene is of there is no chip's."""

    site: SiteGrid
    looks: dict[bool, SiteGrid]
    chips: dict[bool, SiteGrid]


def grids_of(aoi: BaseGeometry, scenes: Sequence[Scene], parameters: Parameters) -> SiteGrids:
    """Return the grids for some scenes of a site; ``aoi`` in EPSG:4326."""
    grid = site_grid(aoi, scenes, parameters.gsd_m)
    coarse = [scene for scene in scenes if scene.gsd_m > COARSE_GSD_M]
    looks = {False: grid, True: _coarse_grid(grid, coarse) if coarse else grid}
    kinds = sorted({scene.gsd_m > COARSE_GSD_M for scene in scenes})
    chips = {kind: _chip_grid(looks[kind], parameters.search_m(looks[kind].gsd_m)) for kind in kinds}
    return SiteGrids(grid, looks, chips)


def site_grid(aoi: BaseGeometry, scenes: Sequence[Scene], gsd_m: float | None) -> SiteGrid:
    """Return the site's grid: UTM zone of the AOI, snapped origin, finest pixel size, a margin around the AOI."""
    epsg = utm_zone(aoi)
    finest = min((scene.gsd_m for scene in scenes), default=SCENELESS_GSD_M)
    size = gsd_m if gsd_m is not None else round(finest, 3)
    west, south, east, north = project(aoi, "EPSG:4326", f"EPSG:{epsg}").bounds
    margin = max(MARGIN_M, MARGIN_PX * size)
    return snapped_grid(epsg, (west - margin, south - margin, east + margin, north + margin), size)


def _chip_grid(grid: SiteGrid, search_m: float) -> SiteGrid:
    smallest = min(grid.shape)
    margin_px = max(search_m / grid.gsd_m + CHIP_MARGIN_PX, (MIN_CHIP_PX - smallest) / 2)
    return grid.buffered(margin_px * grid.gsd_m)


def _coarse_grid(grid: SiteGrid, scenes: Sequence[Scene]) -> SiteGrid:
    finest = min(scene.gsd_m for scene in scenes)
    return grid.coarsened(max(1, round(finest / grid.gsd_m)))
