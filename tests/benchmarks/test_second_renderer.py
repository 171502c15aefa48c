"""The second renderer is checked against geometry and against its own truth, not against the first renderer."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from shapely.geometry import shape

from benchmarks.scoring import read_truth, to_metres
from benchmarks.second_renderer import LATITUDE, LONGITUDE, Light, airy_kernel, render, sun_position


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("second") / "site"
    render(out, seed=4, looks=3, gsd_m=1.0, side_m=200.0, cloudy=1.0)
    return out


def test_the_sun_stands_in_the_south_at_local_noon_and_as_high_as_midsummer_says():
    azimuth, elevation = sun_position(datetime(2024, 6, 21, 9, 47, tzinfo=UTC))
    assert azimuth == pytest.approx(180.0, abs=2.0)
    assert elevation == pytest.approx(90 - LATITUDE + 23.44, abs=0.5)


def test_shadow_and_lean_lie_opposite_to_sun_and_sensor():
    light = Light(180.0, 45.0, 90.0, 45.0, 0.0, 1.0)
    assert light.shadow == pytest.approx((0.0, 1.0), abs=1e-9)
    assert light.lean == pytest.approx((-1.0, 0.0), abs=1e-9)
    assert light.lit(0.0, 0.0, 1.0) == pytest.approx(1.0)
    assert light.lit(0.0, 1.0, 0.0) == 0.0


def test_the_lens_passes_all_light_on_and_is_symmetric():
    kernel = airy_kernel(0.5, 0.5 / 3, 1.2)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-7)


def test_the_catalog_names_every_scene_with_its_angles_and_readable_rasters(site):
    links = json.loads((site / "catalog.json").read_text())["links"]
    items = [json.loads((site / link["href"]).read_text()) for link in links if link["rel"] == "item"]
    assert len(items) == 3
    for item in items:
        assert {"view:sun_azimuth", "view:sun_elevation", "gsd", "datetime"} <= set(item["properties"])
        with rasterio.open(site / item["assets"]["data"]["href"]) as file:
            assert (file.count, file.dtypes[0], file.res) == (4, "uint16", (1.0, 1.0))


def test_truth_lies_inside_the_scene_and_comes_and_goes_between_looks(site):
    events = read_truth(site / "truth.geojson", to_metres(LONGITUDE, LATITUDE))
    assert events
    times = sorted(site.glob("look-*[0-9].tif"))
    first, last = (
        datetime.strptime(p.stem[-8:], "%Y%m%d").replace(tzinfo=UTC) for p in (times[0], times[-1])
    )
    assert all(first < e.start < last.replace(hour=23) for e in events)


def test_a_container_that_appeared_changes_the_picture_where_the_truth_says(tmp_path):
    out = tmp_path / "clear"
    render(out, seed=9, looks=2, gsd_m=1.0, side_m=200.0, cloudy=0.0)
    pictures = []
    for path in sorted(out.glob("look-*[0-9].tif")):
        with rasterio.open(path) as file:
            pictures.append(file.read(2).astype(float))
            transform = file.transform
    difference = np.log(pictures[1]) - np.log(pictures[0])
    difference = np.abs(difference - np.median(difference))
    project = to_metres(LONGITUDE, LATITUDE)
    came = [e for e in read_truth(out / "truth.geojson", project) if e.object_class == "container"]
    assert came
    at = []
    for event in came:
        col, row = ~transform @ (event.geometry.centroid.x, event.geometry.centroid.y)
        at.append(difference[int(row) - 1 : int(row) + 2, int(col) - 1 : int(col) + 2].max())
    assert np.median(at) > 2 * np.median(difference)


def test_a_quiet_site_has_no_events(tmp_path):
    out = tmp_path / "quiet"
    render(out, seed=2, looks=2, gsd_m=1.0, side_m=150.0, quiet=True)
    assert read_truth(out / "truth.geojson", to_metres(LONGITUDE, LATITUDE)) == []
    assert len(json.loads((out / "truth.geojson").read_text())["features"]) > 0


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        render(tmp_path / name, seed=3, looks=1, gsd_m=1.0, side_m=100.0)
    one, two = (sorted(p for p in (tmp_path / n).iterdir()) for n in ("one", "two"))
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


def test_the_area_of_interest_lies_inside_the_footprint(site):
    area = shape(json.loads((site / "aoi.geojson").read_text())["geometry"])
    link = next(x for x in json.loads((site / "catalog.json").read_text())["links"] if x["rel"] == "item")
    assert shape(json.loads((site / link["href"]).read_text())["geometry"]).contains(area)
