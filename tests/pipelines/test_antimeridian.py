"""Geometry over the antimeridian: cut for others, whole for reckoning, and a whole analysis across it."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box, mapping

from imagery.grid import transformer
from imagery.rasters import read_header
from pipelines.analysis import Site
from pipelines.antimeridian import centre_lonlat, crosses, cut, uncut
from pipelines.aoi import area_m2, parse_aoi
from pipelines.archives.items import parse_item
from pipelines.archives.scenes import file_footprint
from pipelines.report.features import to_wgs84
from pipelines.site import analyse

# UTM 1 north begins at the antimeridian: its easting there at 60 N, metres.
EAST_M, NORTH_M = (float(v) for v in transformer("EPSG:4326", "EPSG:32601").transform(180.0, 60.0))


@given(st.floats(179.0, 181.0), st.floats(-70.0, 70.0), st.floats(1e-4, 0.5))
def test_cutting_loses_and_adds_nothing(west: float, south: float, size: float) -> None:
    whole = box(west, south, west + size, south + size)
    parts = cut(whole)
    assert parts.area == pytest.approx(whole.area, abs=1e-9)
    if whole.bounds[2] > 180.0:
        assert -180.0 <= parts.bounds[0] <= parts.bounds[2] <= 180.0
    if west < 179.999 and whole.bounds[2] > 180.001:
        assert crosses(parts)
        assert shapely.symmetric_difference(uncut(parts), whole).area == pytest.approx(0.0, abs=1e-9)
    longitude, latitude = centre_lonlat(parts)
    assert abs(longitude) <= 180.0
    assert (longitude % 360.0, latitude) == pytest.approx((west + size / 2, south + size / 2), abs=1e-6)


@given(st.floats(-179.9, 170.0), st.floats(-70.0, 60.0))
def test_what_does_not_cross_is_left_alone(west: float, south: float) -> None:
    place = box(west, south, west + 5.0, south + 5.0)
    assert cut(place) is place
    assert uncut(place) is place


def test_a_file_across_the_antimeridian_has_a_cut_outline(tmp_path: Path) -> None:
    write_scene(tmp_path, "across", "2024-05-01", np.random.default_rng(1))
    outline = file_footprint(read_header(str(tmp_path / "across.tif")))
    assert outline.geom_type == "MultiPolygon"
    assert {part.bounds[0] < 0 for part in outline.geoms} == {True, False}
    assert area_m2(outline) == pytest.approx((128 * 10.0) ** 2, rel=0.01)


def test_a_footprint_on_the_line_is_told_in_two_parts() -> None:
    told = to_wgs84(box(EAST_M - 30, NORTH_M, EAST_M + 30, NORTH_M + 20), 32601)
    assert told.geom_type == "MultiPolygon"
    assert area_m2(told) == pytest.approx(1200, rel=0.02)


def test_a_site_across_the_antimeridian_is_analysed_in_one_piece(tmp_path: Path) -> None:
    ground = np.random.default_rng(7)
    base = ground.integers(800, 3000, (128, 128))
    for day in ("2024-05-01", "2024-06-01", "2024-07-01"):
        write_scene(tmp_path, day, day, np.random.default_rng(int(day[5:7])), base)
    aoi = parse_aoi(mapping(box(179.993, 59.997, 180.007, 60.0)))
    assert crosses(aoi)
    found = analyse(catalog=str(tmp_path), site=Site("across", aoi), out=tmp_path / "out")
    assert found.grid.epsg in {32601, 32660}
    width = (found.grid.cols * found.grid.gsd_m, found.grid.rows * found.grid.gsd_m)
    assert max(width) < 1500.0
    looks = json.loads((tmp_path / "out" / "looks.geojson").read_text())["features"]
    assert [look["properties"]["usable_fraction"] for look in looks] == pytest.approx([1.0] * 3, abs=0.05)
    assert {look["geometry"]["type"] for look in looks} == {"MultiPolygon"}


def write_scene(
    folder: Path, name: str, day: str, noise: np.random.Generator, base: np.ndarray | None = None
) -> None:
    """A GeoTIFF of 128 x 128 pixels of 10 m whose middle is the antimeridian, its time beside it."""
    pixels = (base if base is not None else 1000) + noise.integers(0, 20, (4, 128, 128))
    profile = {
        "driver": "GTiff",
        "width": 128,
        "height": 128,
        "count": 4,
        "dtype": "uint16",
        "crs": "EPSG:32601",
    }
    place = Affine(10.0, 0.0, EAST_M - 640.0, 0.0, -10.0, NORTH_M + 200.0)
    text = {"datetime": f"{day}T10:00:00Z", "sun_azimuth": 150.0, "sun_elevation": 40.0}
    (folder / f"{name}.json").write_text(json.dumps(text))
    with rasterio.open(folder / f"{name}.tif", "w", transform=place, **profile) as file:
        file.write(pixels.astype(np.uint16))


@pytest.mark.parametrize(
    "said",
    [
        {"geometry": mapping(box(179.9, 50.0, 180.1, 50.1))},
        {"geometry": mapping(box(-180.1, 50.0, -179.9, 50.1))},
        {"geometry": mapping(box(-179.9, 50.0, 179.9, 50.1))},
        {"geometry": mapping(cut(box(179.9, 50.0, 180.1, 50.1)))},
        {"geometry": None, "bbox": [179.9, 50.0, -179.9, 50.1]},
    ],
)
def test_an_item_across_the_antimeridian_lies_on_both_sides_however_it_is_written(
    said: dict[str, object],
) -> None:
    item = {
        "id": "x",
        "properties": {"datetime": "2024-05-12T10:30:21Z"},
        "assets": {"data": {"href": "x.tif", "roles": ["data"]}},
    }
    outline = parse_item(item | said, Path()).outline
    assert outline is not None
    assert outline.equals(cut(box(179.9, 50.0, 180.1, 50.1)))
