"""The real pairs as an archive: found, read, and lying where their AOIs say."""

from pathlib import Path

import numpy as np
import pytest
from shapely.geometry.base import BaseGeometry

from benchmarks.real_catalog import main, write_catalogs
from imagery.grid import SiteGrid, transformer
from imagery.warp import read_look
from pipelines.aoi import read_aoi, utm_zone
from pipelines.archives import open_archive

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "real"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL.is_dir(), reason="the real imagery is not here"),
]


def test_every_pair_can_be_searched_and_read(tmp_path: Path) -> None:
    entries = write_catalogs(REAL, tmp_path, "all")
    assert len(entries) == 30
    for entry in entries[::6]:
        site = read_aoi(entry.aoi)
        result = open_archive(str(entry.catalog)).search(site.aoi)
        assert [s.id[: len(entry.name)] for s in result.scenes] == [entry.name] * 2
        assert result.refused == ()
        assert len(result.elsewhere) == 29
        before = result.scenes[0]
        east, north = _centre(site.aoi, utm_zone(site.aoi))
        size = 40
        half = size / 2 * before.gsd_m
        look = read_look(
            before, SiteGrid(utm_zone(site.aoi), east - half, north + half, before.gsd_m, size, size)
        )
        assert look.usable_fraction > 0.99
        assert np.nanstd(look.reflectance) > 0.002


def test_nothing_is_copied_that_is_a_geotiff_already(tmp_path: Path) -> None:
    entries = write_catalogs(REAL / "oscd_train_cities", tmp_path, "oscd")
    assert [e.name for e in entries] == ["abudhabi", "beirut", "bordeaux", "hongkong", "rennes"]
    assert list(tmp_path.rglob("*.tif")) == []
    scenes = open_archive(str(entries[0].catalog)).search().scenes
    assert {b.scale for s in scenes for b in s.bands} == {1e-4}
    assert {s.units for s in scenes} == {"reflectance"}


def test_a_missing_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--source", str(tmp_path / "gone"), "--out", str(tmp_path / "out")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _centre(aoi: BaseGeometry, epsg: int) -> tuple[float, float]:
    east, north = transformer("EPSG:4326", f"EPSG:{epsg}").transform(aoi.centroid.x, aoi.centroid.y)
    return float(east), float(north)
