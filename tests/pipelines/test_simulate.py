"""A rendered series on disk is a catalog other programs read, with truth that fits it."""

import json
from dataclasses import replace
from pathlib import Path

import pystac
import pytest
import rasterio
from shapely.geometry import shape

from imagery.simulation import Sensor, SeriesOptions, other_truths
from pipelines.simulate import write_series

OPTIONS = SeriesOptions(extent_m=80, looks=2, clouds=0.4, sensor=Sensor(1.0, bands=("red", "nir")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered") / "site"
    write_series(5, OPTIONS, out, "--seed 5")
    return out


def test_pystac_reads_every_item_and_its_rasters(folder: Path) -> None:
    catalog = pystac.Catalog.from_file(str(folder / "catalog.json"))
    items = list(catalog.get_items())
    assert len(items) == 2
    for item in items:
        assert item.properties["gsd"] == 1.0
        assert {"view:sun_azimuth", "view:sun_elevation", "view:off_nadir", "view:azimuth"} <= set(
            item.properties
        )
        with rasterio.open(item.assets["data"].get_absolute_href()) as sheet:
            assert (sheet.count, sheet.shape, sheet.dtypes[0]) == (2, (80, 80), "uint16")
            assert sheet.crs.to_epsg() == item.ext.proj.epsg
        with rasterio.open(item.assets["cloud-mask"].get_absolute_href()) as sheet:
            assert set(map(int, sheet.read(1).ravel())) <= {0, 1, 2, 3}


def test_truth_names_every_scene_and_lies_on_the_site(folder: Path) -> None:
    truth = json.loads((folder / "truth.geojson").read_text())
    site = shape(json.loads((folder / "aoi.geojson").read_text())["geometry"])
    assert truth["rendered"] is True
    assert len(truth["scenes"]) == 2
    assert all({"east_m", "north_m"} <= set(shift) for shift in truth["scenes"].values())
    assert truth["features"]
    for feature in truth["features"]:
        assert shape(feature["geometry"]).distance(site) < 1e-3
        assert feature["properties"]["class"] in {"container", "berm", "other"}
        assert set(feature["properties"]["visible_in"]) <= set(truth["scenes"])


def test_what_else_stands_up_is_in_the_truth_with_its_stay_and_the_looks_that_show_it(folder: Path) -> None:
    told = json.loads((folder / "truth.geojson").read_text())["features"]
    others = [f for f in told if f["properties"]["class"] == "other"]
    expected = [(t, span) for t in other_truths(5, OPTIONS) for span in t.thing.spans]
    assert len(others) == len(expected) > 0
    for feature, (truth, (came, went)) in zip(others, expected, strict=True):
        said = feature["properties"]
        assert said["object"] == truth.thing.number
        assert (said["appeared"] is None, said["removed"] is None) == (came is None, went is None)
        assert (said["count"], said["height_m"]) == (None, round(truth.height_m, 2))


def test_the_folder_says_that_nothing_in_it_is_real(folder: Path) -> None:
    assert "RENDERED" in (folder / "README.md").read_text()
    assert "RENDERED" in json.loads((folder / "catalog.json").read_text())["description"]


def test_equal_seeds_write_equal_bytes(folder: Path, tmp_path: Path) -> None:
    write_series(5, OPTIONS, tmp_path / "again", "--seed 5")
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_without_masks_no_item_claims_one(tmp_path: Path) -> None:
    write_series(5, replace(OPTIONS, masks="none"), tmp_path / "bare", "--seed 5")
    assert not list((tmp_path / "bare").glob("*-mask.tif"))
    for item in pystac.Catalog.from_file(str(tmp_path / "bare" / "catalog.json")).get_items():
        assert set(item.assets) == {"data"}
