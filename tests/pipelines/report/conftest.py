"""A made-up site with known changes, read through a small in-memory reader: what every report test writes from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from shapely import box
from shapely.affinity import rotate
from shapely.geometry.base import BaseGeometry

from imagery.changes import (
    Change,
    Compared,
    Detection,
    DetectionLimit,
    Direction,
    Estimate,
    ObjectClass,
    OnsetInterval,
    Standing,
    Status,
)
from imagery.displacement import Displacement, RegistrationState, no_displacement
from imagery.grid import SiteGrid
from imagery.illumination import Sun, View
from imagery.look import Look
from imagery.observability import ObservationState
from imagery.scene import BandSource, Scene
from pipelines.analysis import Analysis, LookSummary, Site
from pipelines.report import write_report
from pipelines.report.features import to_wgs84

START = datetime(2023, 3, 4, 9, 30, tzinfo=UTC)
CLOUDED, UNREGISTERED = 3, 5


@dataclass(frozen=True)
class MadeUpSite:
    """An analysis and the reader of its pixels."""

    analysis: Analysis
    read: Callable[[str, SiteGrid], Look]


def _ground(rows: int, cols: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (rows // 16 + 2, cols // 16 + 2))
    smooth = np.kron(coarse, np.ones((16, 16)))[:rows, :cols]
    return (0.22 + 0.02 * smooth + rng.normal(0, 0.006, (rows, cols))).astype(np.float32)


def footprints(grid: SiteGrid, n: int) -> list[BaseGeometry]:
    """Boxes the size of a 40 ft container (or 12 pixels), scattered over the grid on a fixed lattice."""
    rng = np.random.default_rng(7)
    long, wide = max(12.2, 4 * grid.gsd_m), max(2.4, 2 * grid.gsd_m)
    west, south, east, north = grid.bounds
    made = []
    for _ in range(n):
        x = rng.uniform(west + 2 * long, east - 2 * long)
        y = rng.uniform(south + 2 * long, north - 2 * long)
        made.append(rotate(box(x - long / 2, y - wide / 2, x + long / 2, y + wide / 2), rng.uniform(0, 180)))
    return made


def make_site(
    *, n_changes: int = 5, n_looks: int = 8, gsd_m: float = 0.5, side: int = 400, licence: str | None = "CC-BY-4.0",
    bands: tuple[str, ...] = ("blue", "green", "red", "nir"), gaps: bool = True, name: str = "Quarry north",
) -> MadeUpSite:  # fmt: skip
    """Make a site of ``side`` x ``side`` pixels; with ``gaps`` one look is clouded and one could not be lined up."""
    grid = SiteGrid(32633, 400_000.0, 5_500_000.0, gsd_m, side, side)
    times = [START + timedelta(days=31 * i, minutes=i) for i in range(n_looks)]
    ids = [f"S{i:02d}_{t:%Y%m%d}" for i, t in enumerate(times)]
    boxes = footprints(grid, n_changes)
    changes = tuple(_change(i, boxes[i], ids, times, gsd_m) for i in range(n_changes))
    looks = tuple(_look_summary(i, ids[i], t, grid, licence, bands, gaps) for i, t in enumerate(times))
    standing = tuple(
        Standing(
            ids[i], k, count, Estimate(30.0 * n, 26.0 * n, 34.0 * n), came, went, looks[i].usable_fraction
        )
        for i in range(n_looks)
        if looks[i].used and looks[i].usable_fraction > 0.1
        for k in (ObjectClass.CONTAINER, ObjectClass.BERM)
        for n in [i if k is ObjectClass.CONTAINER else i // 3]
        for count in [Estimate(n, 0.8 * n, 1.2 * n + 0.5)]
        for came, went in [(int(i in (2, 6)) * 2, int(i == 4))]
    )
    limits = (
        DetectionLimit(ObjectClass.CONTAINER, gsd_m, gsd_m < 2, 12.0, "Objects consistent with containers of 12 m² or more are seen at this pixel size."),
        DetectionLimit(ObjectClass.BERM, gsd_m, True, 60.0, "Banks with a crest of 15 m or more are seen unless they run along the sun's direction."),
    )  # fmt: skip
    west, south, east, north = grid.bounds
    inset = 0.05 * side * gsd_m
    aoi = to_wgs84(box(west + inset, south + inset, east - inset, north - inset), grid.epsg)
    analysis = Analysis(
        Site(name, aoi), None, grid, looks, Detection(changes, standing, limits, ("Two looks share one day.",), (Compared(gsd_m, 1.0),)),
        "5e1f" * 16, (("gsd_m", str(gsd_m)), ("min_confidence", "0.5")), (("algorithm", "1"), ("numpy", "2.4")),
        (("S99.tif", "unreadable-raster", "S99.tif is empty; download it again"),), ("One scene could not be opened.",),
    )  # fmt: skip
    return MadeUpSite(analysis, _reader(analysis, boxes, times, gaps))


def _change(i: int, footprint: BaseGeometry, ids: list[str], times: list[datetime], gsd_m: float) -> Change:
    kind = (ObjectClass.CONTAINER, ObjectClass.BERM, ObjectClass.OTHER)[i % 3]
    direction = Direction.REMOVED if i % 4 == 3 else Direction.APPEARED
    counted = kind is ObjectClass.CONTAINER and gsd_m < 2
    before, after = 1, min(2 + 2 * (i % 2), len(ids) - 1)
    area = footprint.area
    return Change(
        kind, direction, footprint, OnsetInterval(times[before], times[after]), times[-1],
        (Status.CONFIRMED, Status.PROVISIONAL, Status.FIRST)[i % 3], 0.97 - 0.07 * (i % 8),
        Estimate(1, 1, 2) if counted else None, None if counted else "pixels too coarse to count",
        Estimate(area, 0.85 * area, 1.15 * area), 12.2 if kind is ObjectClass.BERM else None,
        2.4 if kind is ObjectClass.BERM else None, 37.5, gsd_m, 4, i % 2, 0.05, ids[before], ids[after],
        (ids[before], ids[after], ids[-1]), (("edges", 2.5), ("shadow", 1.25)),
        ("Its edges are partly hidden by cloud shadow in one look.",) if i % 2 else (),
    )  # fmt: skip


def _look_summary(
    i: int,
    scene_id: str,
    t: datetime,
    grid: SiteGrid,
    licence: str | None,
    bands: tuple[str, ...],
    gaps: bool,
) -> LookSummary:
    path = f"/data/archive/{scene_id}/data.tif"
    sources = tuple(BandSource(b, path, k + 1, 1e-4, 0.0, 0.0) for k, b in enumerate(bands))
    west, south, east, north = grid.bounds
    footprint = to_wgs84(box(west, south, east, north), grid.epsg)
    scene = Scene(
        scene_id, t, sources, None, grid.gsd_m, Sun(160.0, 35.0), View(100.0, 8.0), "sat-1", licence, "reflectance",
        footprint.wkt, ((path, f"{i:064x}"),),
    )  # fmt: skip
    lost = gaps and i == UNREGISTERED
    cloud = 0.55 if gaps and i == CLOUDED else 1.0 if lost else 0.03 * (i % 3)
    state = RegistrationState.NOT_REGISTERED if lost else RegistrationState.USE
    displacement = (
        no_displacement(grid.centre, "reference")
        if i == 0
        else Displacement(
            grid.centre, 0.3 * i, -0.2 * i, ((1e-5, 0.0), (0.0, 1e-5)), None, state, 4.2, 0.11, 30
        )
    )
    fractions = (("observed", 1 - cloud), ("misregistered" if lost else "cloud", cloud))
    notes = ("It could not be lined up with the reference: too few windows agree.",) if lost else ()
    return LookSummary(
        scene,
        footprint,
        i == 0,
        not lost,
        displacement,
        1 - cloud,
        fractions,
        (("red", 1.02, -0.003),),
        notes,
    )


def _reader(
    analysis: Analysis, boxes: list[BaseGeometry], times: list[datetime], gaps: bool
) -> Callable[[str, SiteGrid], Look]:
    from rasterio.features import rasterize

    grid = analysis.grid
    pad = 400
    whole = grid.buffered(pad * grid.gsd_m)
    ground = _ground(*whole.shape, seed=1)
    summaries = {look.scene.id: (i, look) for i, look in enumerate(analysis.looks)}
    drawn: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def paint(scene_id: str) -> tuple[np.ndarray, np.ndarray]:
        i, look = summaries[scene_id]
        t = look.scene.t_utc
        image = ground + np.random.default_rng(i).normal(0, 0.004, ground.shape).astype(np.float32)
        stand = [
            (b, 1)
            for b, c in zip(boxes, analysis.detection.changes, strict=True)
            if (t >= c.onset.end) == (c.direction is Direction.APPEARED)
        ]
        if stand:
            mask = rasterize(stand, out_shape=whole.shape, transform=whole.transform)
            image[mask == 1] = 0.55
        state = np.zeros(whole.shape, np.uint8)
        if gaps and i == CLOUDED:
            state[: whole.rows * 55 // 100] = ObservationState.CLOUD
        if i == 2:
            state[pad : pad + 60, pad : pad + 60] = ObservationState.CLOUD_SHADOW
        return image, state

    def read(scene_id: str, window: SiteGrid) -> Look:
        if scene_id not in drawn:
            drawn[scene_id] = paint(scene_id)
        image, state = drawn[scene_id]
        row, col = (round(v) for v in whole.pixel(window.east_m, window.north_m))
        rows, cols = slice(row, row + window.rows), slice(col, col + window.cols)
        scene = summaries[scene_id][1].scene
        tint = {"blue": 0.7, "green": 0.9, "red": 1.1, "nir": 1.4}
        part, seen = image[rows, cols], state[rows, cols]
        stack = np.stack([part * np.float32(tint.get(b, 1.0)) for b in scene.band_names])
        stack[:, seen != ObservationState.OBSERVED] = np.nan
        return Look(
            scene_id, scene.t_utc, window, scene.band_names, stack, seen, scene.gsd_m, scene.sun, scene.view
        )

    return read


def without_changes(site: MadeUpSite) -> MadeUpSite:
    """The same looks with nothing found."""
    detection = replace(site.analysis.detection, changes=())
    return replace(site, analysis=replace(site.analysis, detection=detection))


@pytest.fixture(scope="session")
def site() -> MadeUpSite:
    return make_site()


@pytest.fixture(scope="session")
def build() -> Callable[..., MadeUpSite]:
    return make_site


@pytest.fixture(scope="session")
def report(site: MadeUpSite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one report, written once; tests only read it."""
    out = tmp_path_factory.mktemp("written") / "report"
    write_report(site.analysis, site.read, out)
    return out


@pytest.fixture(scope="session")
def unchanged() -> Callable[[MadeUpSite], MadeUpSite]:
    return without_changes
