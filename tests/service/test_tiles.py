"""Registered scenes as map tiles: the right pixels at the right place, and none that a licence withholds."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.transform import from_origin
from starlette.testclient import TestClient

from benchmarks.service_fake import write_fake_report
from pipelines.steps import project
from service import tiles
from service.analysis_unit import AnalyseUnit, Step
from service.archives import add_archive
from service.context import Service
from service.tenancy import ensure_tenant
from tests.service.loopback import served
from tests.service.support import client_of, feature, work_off

MEETING_S = 0.3

EPSG, EAST, NORTH, GSD = 32636, 500_000.0, 5_600_000.0, 0.5
ROWS, COLS = 300, 600
EAST_M, NORTH_M = 3.0, -2.0  # what the scene's own coordinates lack
BRIGHT = (40, 120)  # row and column of a white 20 px square on the site's grid
SCENES = ("plain/scene 1", "withheld")


def write_scene(path: Path) -> str:
    """Write a grey scene with a bright square and a hole, its georeferencing off by the displacement."""
    data = np.full((3, ROWS - 60, COLS), 2000, np.uint16)
    data[:, BRIGHT[0] : BRIGHT[0] + 20, BRIGHT[1] : BRIGHT[1] + 20] = 9000
    data[:, 100:140, 300:360] = 0
    transform = from_origin(EAST - EAST_M, NORTH - NORTH_M, GSD, GSD)
    with rasterio.open(
        path, "w", driver="GTiff", width=COLS, height=ROWS - 60, count=3, dtype="uint16", crs=f"EPSG:{EPSG}",
        transform=transform, nodata=0, compress="deflate",
    ) as file:  # fmt: skip
        file.write(data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def item(name: str, path: str, licence: str) -> dict[str, Any]:
    area = project(aoi(), f"EPSG:{EPSG}", "EPSG:4326")
    bands = [{"name": n, "eo:common_name": n, "raster:scale": 0.0001} for n in ("red", "green", "blue")]
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": name, "bbox": list(area.bounds), "links": [],
        "geometry": shapely.geometry.mapping(area),
        "properties": {"datetime": "2024-05-01T10:00:00Z", "gsd": GSD, "license": licence},
        "assets": {"data": {"href": path, "type": "image/tiff", "roles": ["data"], "bands": bands}},
    }  # fmt: skip


def aoi() -> shapely.Polygon:
    """The site in metres."""
    return shapely.box(EAST + 20, NORTH - ROWS * GSD + 20, EAST + COLS * GSD - 20, NORTH - 20)


def registration(digests: dict[str, str]) -> dict[str, Any]:
    entry = {
        "datetime": "2024-05-01T10:00:00Z", "centre": [EAST, NORTH], "east_m": EAST_M, "north_m": NORTH_M,
        "linear": [[0.0, 0.0], [0.0, 0.0]], "field": None, "state": "use", "residual_m": 0.1, "gains": [["red", 1.0, 0.0]],
    }  # fmt: skip
    return {
        "schema": "depotwatch-registration/1",
        "grid": {"epsg": EPSG, "east_m": EAST, "north_m": NORTH, "gsd_m": GSD, "rows": ROWS, "cols": COLS},
        "stretch": {name: [0.0, 0.9] for name in ("red", "green", "blue", "grey")},
        "scenes": [entry | {"scene_id": name, "sha256": [digest]} for name, digest in digests.items()],
    }


class Registering:
    """Writes reports that tell how two looks were registered."""

    def __init__(self, digests: dict[str, str]) -> None:
        self.digests = digests

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        out.mkdir(exist_ok=True)
        write_fake_report(unit, out, 1)
        (out / "registration.json").write_text(json.dumps(registration(self.digests)))
        report = json.loads((out / "report.json").read_text())
        report["generated_from"] = [
            {"scene_id": SCENES[0], "licence": "CC-BY-4.0", "chips_allowed": True},
            {"scene_id": SCENES[1], "licence": "no-chips", "chips_allowed": False},
        ]
        (out / "report.json").write_text(json.dumps(report))

    def afresh(self, products: Path) -> "Registering":
        return self


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder / "scene.tif"


@pytest.fixture
def site(lite_service: Service, lite_client: TestClient, scene: Path) -> str:
    """A site with a report of two looks, one of which may not be shown."""
    return registered_site(lite_service, lite_client, scene)


def registered_site(service: Service, client: TestClient, scene: Path) -> str:
    """Write a scene and have a site report two looks of it, one of which may not be shown."""
    digest = write_scene(scene)
    items = [item(SCENES[0], "scene.tif", "CC-BY-4.0")]
    (scene.parent / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    with service.database.write() as connection:
        tenant = ensure_tenant(service.database, connection, "first")
        catalog = str(scene.parent / "items.json")
        add_archive(service.database, connection, "own", "catalog", catalog, tenant)
    area = shapely.geometry.mapping(project(aoi(), f"EPSG:{EPSG}", "EPSG:4326"))
    made = client.post("/sites", json=feature("yard", geometry=area)).json()["id"]
    work_off(service, Registering({SCENES[0]: digest, SCENES[1]: digest}))
    return str(made)


def tile(site: str, level: int, col: int, row: int, scene: str = "plain%2Fscene%201") -> str:
    return f"/sites/{site}/tiles/{scene}/{level}/{col}/{row}.png"


def pixels(client: TestClient, path: str) -> np.ndarray[Any, Any]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_the_site_tells_where_its_tiles_lie_as_ogc_does(site: str, lite_client: TestClient) -> None:
    told = lite_client.get(f"/sites/{site}/tiles").json()
    assert told["bbox"] == [EAST, NORTH - ROWS * GSD, EAST + COLS * GSD, NORTH]
    levels = told["tileMatrixSet"]["tileMatrices"]
    assert [(m["id"], m["cellSize"], m["matrixWidth"], m["matrixHeight"]) for m in levels] == [
        ("0", 2.0, 1, 1), ("1", 1.0, 2, 1), ("2", 0.5, 3, 2),
    ]  # fmt: skip
    assert {tuple(m["pointOfOrigin"]) for m in levels} == {(EAST, NORTH)}
    assert [s["scene_id"] for s in told["scenes"]] == [SCENES[0]]
    assert [s["scene_id"] for s in told["withheld"]] == [SCENES[1]]
    assert lite_client.get(f"/tileMatrixSets/{site}").json() == told["tileMatrixSet"]
    listed = lite_client.get("/tileMatrixSets").json()["tileMatrixSets"]
    assert [each["id"] for each in listed] == ["WebMercatorQuad", site]


def test_a_registered_square_shows_where_it_belongs(site: str, lite_client: TestClient) -> None:
    shown = pixels(lite_client, tile(site, 2, 0, 0))
    assert shown.shape == (256, 256, 4)
    row, col = BRIGHT
    white = np.argwhere(shown[..., 0] > 200)
    assert white.min(0).tolist() == [row, col]
    assert white.max(0).tolist() == [row + 19, col + 19]
    assert (shown[:239, :, 3] == 255).all()


def test_only_what_the_scene_does_not_hold_is_transparent(site: str, lite_client: TestClient) -> None:
    right = pixels(lite_client, tile(site, 2, 1, 0))
    assert (right[100:140, 300 - 256 : 360 - 256, 3] == 0).all()
    assert (right[:95, :, 3] == 255).all()
    below = pixels(lite_client, tile(site, 2, 0, 1))
    assert (below[..., 3] == 0).all()


def test_every_level_shows_the_same_ground(site: str, lite_client: TestClient) -> None:
    coarse = pixels(lite_client, tile(site, 0, 0, 0))
    row, col = (value // 4 for value in BRIGHT)
    assert (coarse[row + 1 : row + 4, col + 1 : col + 4, 0] > 200).all()
    assert coarse[row + 10, col + 10, 0] < 150


def test_the_template_of_a_tileset_leads_to_its_tiles_for_ever(site: str, lite_client: TestClient) -> None:
    tileset, _ = lite_client.get(f"/sites/{site}/tiles").json()["tilesets"]
    template = next(link["href"] for link in tileset["links"] if link["rel"] == "item")
    address = template.replace("{tileMatrix}", "2").replace("{tileCol}", "0").replace("{tileRow}", "0")
    answer = lite_client.get(address)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    again = lite_client.get(address, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert not answer.headers["etag"].startswith("W/")


def test_a_drawn_tile_needs_its_scene_no_more_and_another_says_what_is_missing(
    site: str, lite_client: TestClient, scene: Path
) -> None:
    first = lite_client.get(tile(site, 2, 0, 0)).content
    scene.unlink()
    assert lite_client.get(tile(site, 2, 0, 0)).content == first
    missing = lite_client.get(tile(site, 1, 0, 0))
    assert (missing.status_code, missing.json()["code"]) == (404, "scene-not-at-hand")


def test_a_scene_that_was_changed_is_not_drawn(site: str, lite_client: TestClient, scene: Path) -> None:
    with rasterio.open(scene, "r+") as file:
        file.update_tags(TOUCHED="yes")
    assert lite_client.get(tile(site, 2, 0, 0)).json()["code"] == "scene-not-at-hand"


def test_a_licence_that_forbids_pixels_is_obeyed(site: str, lite_client: TestClient) -> None:
    answer = lite_client.get(tile(site, 2, 0, 0, "withheld"))
    assert (answer.status_code, answer.json()["code"]) == (403, "licence-forbids-pixels")
    assert "no-chips" in answer.json()["detail"]


@pytest.mark.parametrize(
    "place", ["3/0/0", "2/3/0", "2/0/2", "-1/0/0", "2/x/0", "2/0/-1", "99999999999999999999/0/0", "2/²/0"]
)
def test_there_is_nothing_outside_the_matrix(site: str, lite_client: TestClient, place: str) -> None:
    answer = lite_client.get(f"/sites/{site}/tiles/plain%2Fscene%201/{place}.png")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_no_other_tenant_sees_a_tile(site: str, lite_service: Service, lite_client: TestClient) -> None:
    assert lite_client.get(tile(site, 2, 0, 0)).status_code == 200
    other = client_of(lite_service, tenant="second")
    paths = [f"/sites/{site}/{name}" for name in ("tiles", "wmts", "tiles/plain%2Fscene%201")]
    for path in (*paths, tile(site, 2, 0, 0), f"/tileMatrixSets/{site}"):
        known = lite_client.get(path).headers["etag"]
        assert (path, other.get(path, headers={"If-None-Match": known}).status_code) == (path, 404)
    (web,) = other.get("/tileMatrixSets").json()["tileMatrixSets"]
    assert web["id"] == "WebMercatorQuad"


def test_a_site_whose_report_does_not_tell_has_no_tiles(
    lite_service: Service, lite_client: TestClient
) -> None:
    site = lite_client.post("/sites", json=feature("old")).json()["id"]
    assert lite_client.get(f"/sites/{site}/tiles").json()["scenes"] == []
    work_off(lite_service)
    assert lite_client.get(f"/sites/{site}/tiles").json()["scenes"] == []
    assert lite_client.get(tile(site, 0, 0, 0)).status_code == 404


def test_a_tileset_tells_of_itself_as_the_list_does(site: str, lite_client: TestClient) -> None:
    listed, _ = lite_client.get(f"/sites/{site}/tiles").json()["tilesets"]
    links = {link["rel"]: link["href"] for link in listed["links"]}
    assert lite_client.get(links["self"]).json() == listed
    scheme = lite_client.get(links["http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"]).json()
    assert scheme == lite_client.get(f"/sites/{site}/tiles").json()["tileMatrixSet"]
    assert listed["crs"] == scheme["crs"]
    assert lite_client.get(f"/sites/{site}/tiles/withheld").status_code == 403
    assert lite_client.get(f"/sites/{site}/tiles/unknown").status_code == 404
    kinds = {"tms/2.0/conf/json-tilematrixset", "ogcapi-tiles-1/1.0/conf/tileset"}
    claimed = {
        name.removeprefix("http://www.opengis.net/spec/")
        for name in lite_client.get("/conformance").json()["conformsTo"]
    }
    assert kinds <= claimed


def test_what_tells_a_sites_name_is_another_thing_under_another_name(
    site: str, lite_client: TestClient
) -> None:
    paths = [f"/sites/{site}/tiles", f"/sites/{site}/tiles?report=1", f"/sites/{site}/wmts?report=1"]
    paths += [f"/sites/{site}/wmts", f"/tileMatrixSets/{site}"]
    before = {path: lite_client.get(path) for path in paths}
    patch = {"properties": {"name": "Quite another name"}}
    lite_client.patch(f"/sites/{site}", json=patch, headers={"If-Match": "*"})
    for path, was in before.items():
        assert "immutable" not in was.headers["cache-control"]
        again = lite_client.get(path, headers={"If-None-Match": was.headers["etag"]})
        assert again.status_code == 200, path
        assert "Quite another name" in again.text


def test_wmts_names_only_what_may_be_shown(site: str, lite_service: Service, lite_client: TestClient) -> None:
    answer = lite_client.get(f"/sites/{site}/wmts")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/xml")
    assert b"plain/scene 1" in answer.content
    assert b"withheld" not in answer.content
    again = lite_client.get(f"/sites/{site}/wmts", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert client_of(lite_service, tenant="second").get(f"/sites/{site}/wmts").status_code == 404


WMTS = """
import sys
import numpy as np
import rasterio
options = {"GDAL_HTTP_HEADERS": "Authorization: Bearer " + sys.argv[2], "GDAL_ENABLE_WMS_CACHE": "NO"}
with rasterio.Env(**options), rasterio.open(f"WMTS:{sys.argv[1]},layer=plain/scene 1") as file:
    np.savez(sys.argv[3], rgba=file.read(), bounds=file.bounds, crs=str(file.crs), res=file.res)
"""


@pytest.mark.long
def test_gdal_reads_the_pixels_where_they_belong_by_wmts(
    site: str, lite_service: Service, lite_client: TestClient, tmp_path: Path
) -> None:
    key = lite_client.headers["Authorization"].removeprefix("Bearer ")
    with served(lite_service) as address:
        command = [
            sys.executable,
            "-c",
            WMTS,
            f"{address}/sites/{site}/wmts",
            key,
            str(tmp_path / "read.npz"),
        ]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert ran.returncode == 0, ran.stderr
    read = np.load(tmp_path / "read.npz")
    assert str(read["crs"]) == f"EPSG:{EPSG}"
    assert read["res"] == pytest.approx([GSD, GSD])
    assert read["bounds"] == pytest.approx([EAST, NORTH - ROWS * GSD, EAST + COLS * GSD, NORTH])
    red = read["rgba"][0]
    row, col = BRIGHT
    assert red.shape == (ROWS, COLS)
    assert (red[row + 2 : row + 18, col + 2 : col + 18] > 200).all()
    assert (red[row : row + 20, col - 12 : col - 4] < 150).all()


@pytest.mark.long
def test_the_snippets_of_the_standards_page_run_as_printed(
    site: str, lite_service: Service, lite_client: TestClient
) -> None:
    page = (Path(__file__).parents[2] / "docs/standards.md").read_text()
    snippets = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    key = lite_client.headers["Authorization"].removeprefix("Bearer ")
    said = []
    with served(lite_service) as address:
        given = {**os.environ, "DEPOTWATCH_URL": address, "DEPOTWATCH_KEY": key}
        for snippet in snippets:
            ran = subprocess.run(
                [sys.executable, "-c", snippet],
                env=given,
                capture_output=True,
                text=True,
                timeout=500,
                check=False,
            )
            assert ran.returncode == 0, (snippet, ran.stderr)
            said.append(ran.stdout)
    gdal, pixels, owslib, stac = said
    told = [f["properties"] for f in lite_client.get(f"/sites/{site}/changes").json()["features"]]
    appeared = sum(change["direction"] == "appeared" for change in told)
    assert gdal == f"{appeared} changes appeared since June\n"
    assert appeared > 0
    assert f"EPSG:{EPSG} ({ROWS}, {COLS})" in pixels
    assert owslib == "3 looks in 2024, the first 3\n"
    assert len(stac.splitlines()) == 3
    assert site in stac


def test_two_first_readers_at_once_both_get_their_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map asks for its first tiles all at once: were a folder made for each, all but one would be gone again."""
    together = Barrier(2)
    made: list[str] = []

    class Met(tempfile.TemporaryDirectory[str]):
        """Waits for the other reader, who never comes where one folder serves both."""

        def __init__(self, prefix: str) -> None:
            with suppress(BrokenBarrierError):
                together.wait(MEETING_S)
            super().__init__(prefix=prefix)
            made.append(self.name)

    for name in ("_scratch", "_written_mask"):
        monkeypatch.setattr(tiles, name, lru_cache(getattr(tiles, name).__wrapped__))
    monkeypatch.setattr(tempfile, "TemporaryDirectory", Met)
    with ThreadPoolExecutor(2) as readers:
        paths = list(readers.map(tiles._nothing_masked, [EPSG, EPSG + 1]))
    assert len(made) == 1
    assert all(Path(path).is_file() for path in paths)
    tiles._scratch().cleanup()
