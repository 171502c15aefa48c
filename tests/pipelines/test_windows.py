"""Windows for pictures: read once, kept beside the other products, and made again where that went wrong."""

from pathlib import Path

import numpy as np
import pytest

import pipelines.steps
from imagery.displacement import no_displacement
from imagery.grid import SiteGrid
from imagery.simulation import Sensor, SeriesOptions
from pipelines.archives import open_archive
from pipelines.products import ProductStore
from pipelines.simulate import place, write_series
from pipelines.steps import ChipUnit, VanishedScene, read_window

OPTIONS = SeriesOptions(
    extent_m=96.0, looks=1, clouds=0.0, snow=0.0, traffic=0.0, sensor=Sensor(0.5), geolocation_m=1.0
)


@pytest.fixture
def unit(tmp_path: Path) -> ChipUnit:
    """Return a window of a rendered scene that nobody has read yet."""
    write_series(9, OPTIONS, tmp_path / "site", "test")
    (scene,) = open_archive(str(tmp_path / "site" / "catalog.json")).search().scenes
    grid = place(OPTIONS)
    displacement = no_displacement(grid.centre, "reference")
    return ChipUnit(str(tmp_path / "store"), scene, grid.window(10, 20, 64, 80), displacement)


def _lose_the_files(unit: ChipUnit) -> None:
    for band in unit.scene.bands:
        Path(band.path).unlink(missing_ok=True)


def _kept(unit: ChipUnit) -> list[str]:
    return [entry.key for entry in ProductStore(unit.store).entries()]


def test_what_was_read_once_is_not_read_again(unit: ChipUnit) -> None:
    first = read_window(unit)
    _lose_the_files(unit)
    second = read_window(unit)
    assert first.grid == second.grid == unit.grid
    assert first.bands == second.bands == unit.scene.band_names
    np.testing.assert_array_equal(first.reflectance, second.reflectance)
    np.testing.assert_array_equal(first.state, second.state)
    assert [key.split("/")[0] for key in _kept(unit)] == ["window"]


@pytest.mark.parametrize("other", ["place", "displacement"])
def test_another_place_or_displacement_is_another_window(unit: ChipUnit, other: str) -> None:
    read_window(unit)
    grid, moved = unit.grid, unit.displacement
    if other == "place":
        grid = SiteGrid(grid.epsg, grid.east_m + grid.gsd_m, grid.north_m, grid.gsd_m, grid.rows, grid.cols)
    else:
        assert moved is not None
        moved = no_displacement((moved.centre[0] + 1.0, moved.centre[1]), "reference")
    read_window(ChipUnit(unit.store, unit.scene, grid, moved))
    assert len(_kept(unit)) == 2


def test_a_damaged_window_is_read_again(unit: ChipUnit) -> None:
    first = read_window(unit)
    (key,) = _kept(unit)
    path = Path(unit.store) / key
    path.write_bytes(path.read_bytes()[:-100])
    np.testing.assert_array_equal(read_window(unit).reflectance, first.reflectance)
    _lose_the_files(unit)
    np.testing.assert_array_equal(read_window(unit).reflectance, first.reflectance)


def test_whole_looks_are_not_kept(unit: ChipUnit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.steps, "KEPT_WINDOW_PX", unit.grid.rows * unit.grid.cols - 1)
    assert read_window(unit).grid == unit.grid
    assert not _kept(unit)
    _lose_the_files(unit)
    with pytest.raises(VanishedScene):
        read_window(unit)
