"""What each step makes of one small rendered scene, checked in beside the step's version.

Numbers are rounded far above what another processor's arithmetic may move, and far below what a change of method would.
If one moves on purpose, raise the step's version in ``pipelines.steps`` and write the new numbers down here.
"""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from rasterio.io import MemoryFile

from imagery.grid import SiteGrid
from imagery.look import Look
from imagery.radiometry import WholeSiteChange, WholeSiteKind
from imagery.simulation import Sensor, SeriesOptions
from pipelines.archives import open_archive
from pipelines.products import ProductStore
from pipelines.simulate import place, write_series
from pipelines.site import kept_raster
from pipelines.steps import (
    VERSIONS,
    ChipUnit,
    LookUnit,
    displacement_from,
    displacement_key,
    evidence_from,
    hidden_by,
    look_from,
    make_chip,
    make_look,
    read_window,
    standing_key,
)

OPTIONS = SeriesOptions(
    extent_m=96.0, looks=2, clouds=0.0, snow=0.0, traffic=0.0, sensor=Sensor(0.5), geolocation_m=1.0
)
WRITTEN_FOR = {
    "chip": 4,
    "displacement": 3,
    "evidence": 12,
    "look": 7,
    "raster": 1,
    "standing": 1,
    "window": 3,
}
# Mean reflectance and sharpness; east and north in metres; mean log-odds in eighths per class; of looks,
# windows and rasters mean and spread of the reflectance; square metres that stand per class.
GOLDEN = {
    "chip": [0.2264, 0.280],
    "displacement": [0.57, -1.64],
    "evidence": [-54, -38, -40],
    "look": [0.2131, 0.0916],
    "raster": [0.211, 0.0686],
    "standing": [607.5, 330.75, 266.5],
    "window": [0.211, 0.0686],
}
TOLERANCE = {
    "chip": 0.002,
    "displacement": 0.02,
    "evidence": 1.01,
    "look": 0.002,
    "raster": 0.002,
    "standing": 12.0,
    "window": 0.002,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """Run the steps once and summarise their products."""
    folder = tmp_path_factory.mktemp("golden")
    write_series(9, OPTIONS, folder / "site", "test")
    scenes = open_archive(str(folder / "site" / "catalog.json")).search().scenes
    grid = place(OPTIONS)
    store = str(folder / "store")
    chips = [make_chip(ChipUnit(store, scene, grid)) for scene in scenes]
    aoi = shapely.to_wkb(shapely.box(*grid.bounds))
    unit = LookUnit(store, scenes[1], chips[1].key, grid, aoi, scenes[0], chips[0].key, 10.0, False, True)
    outcome = make_look(unit)
    assert outcome.product is not None, outcome
    products = ProductStore(store)
    chip = look_from(_there(products, chips[0].key))
    evidence = evidence_from(_there(products, outcome.product))
    displacement = _there(products, displacement_key(unit))
    moved = displacement.header
    standing = _there(products, standing_key(unit, outcome.product))
    coarse = make_look(replace(unit, coarse=True, network=False))
    assert coarse.product is not None, coarse
    corner = grid.window(0, 0, 24, 24)
    window = read_window(ChipUnit(store, scenes[1], corner, displacement_from(displacement)))
    with MemoryFile(kept_raster(products, window, "a version")) as file, file.open() as dataset:
        raster = dataset.read()
    seen = evidence.log_odds[0] != -128
    return {
        "chip": [round(float(np.nanmean(chip.reflectance)), 4), round(chips[0].sharpness, 3)],
        "displacement": [round(moved["east_m"], 2), round(moved["north_m"], 2)],
        "evidence": [round(float(np.mean(plane[seen], dtype=np.float64))) for plane in evidence.log_odds],
        "look": _mean_and_spread(look_from(_there(products, coarse.product))),
        "raster": _mean_and_spread(replace(window, reflectance=raster)),
        "standing": [row["area_m2"]["value"] for row in standing.header["standing"]],
        "window": _mean_and_spread(window),
    }


def _mean_and_spread(look: Look) -> list[float]:
    return [round(float(measure(look.reflectance)), 4) for measure in (np.nanmean, np.nanstd)]


def _there(store: ProductStore, key: str):  # type: ignore[no-untyped-def]
    product = store.get(key)
    assert product is not None
    return product


@pytest.mark.parametrize("step", sorted(VERSIONS))
def test_a_step_makes_what_its_version_made(step: str, made: dict[str, list[float]]) -> None:
    assert made[step] == pytest.approx(GOLDEN[step], abs=TOLERANCE[step])


def test_the_versions_are_those_the_numbers_were_written_for() -> None:
    assert WRITTEN_FOR == VERSIONS


@pytest.mark.parametrize(
    ("kind", "hides", "state"),
    [("snow", True, "SNOW"), ("haze", True, "CLOUD"), ("wet_ground", True, None), ("snow", False, None)],
)
def test_snow_or_haze_over_the_whole_site_is_not_observable(
    kind: str, hides: bool, state: str | None, rendered_look
) -> None:  # type: ignore[no-untyped-def]
    result = hidden_by(WholeSiteChange(WholeSiteKind(kind), 0.9, 0.5, hides), rendered_look)
    if state is None:
        assert result is rendered_look
    else:
        assert not result.observed.any()
        assert np.isnan(result.reflectance).all()


@pytest.fixture
def rendered_look():  # type: ignore[no-untyped-def]
    """Return a look of plain ground."""
    from datetime import UTC, datetime

    grid = SiteGrid(32633, 5e5, 5.5e6, 0.5, 8, 9)
    image = np.full((1, 8, 9), 0.2, np.float32)
    return Look(
        "x",
        datetime(2024, 1, 1, tzinfo=UTC),
        grid,
        ("red",),
        image,
        np.zeros((8, 9), np.uint8),
        0.5,
        None,
        None,
    )
