"""Registered scenes on the web's grid: the same pixels at the same place on the ground, for maps that paste an address."""

import io
import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject
from starlette.testclient import TestClient

from imagery.grid import utm_epsg
from service import mercator
from service.context import Service
from service.tiles import TILE_PX, Pyramid, SiteTiles, TiledScene, png_of
from tests.service.loopback import served
from tests.service.support import client_of
from tests.service.test_tiles import (
    BRIGHT,
    COLS,
    EAST,
    EPSG,
    GSD,
    NORTH,
    ROWS,
    pixels,
    registered_site,
)
from tests.service.test_tiles import tile as own_tile

HALF_M = 20037508.342789244
LEVEL = 19  # its pixels are 0.19 m of ground here, finer than the scene's
WEB = "?tileMatrixSet=WebMercatorQuad"
TO_WEB = Transformer.from_crs(EPSG, 3857, always_xy=True)


@pytest.fixture
def site(lite_service: Service, lite_client: TestClient, tmp_path: Path) -> str:
    """A site whose scene has a white square."""
    (tmp_path / "archive").mkdir()
    return registered_site(lite_service, lite_client, tmp_path / "archive" / "scene.tif")


def place(row: float, col: float, level: int) -> tuple[float, float]:
    """Return (column, row) in pixels of a level of the web's grid, of pixel edges of the site's."""
    x, y = TO_WEB.transform(EAST + col * GSD, NORTH - row * GSD)
    scale = TILE_PX * 2**level / (2 * HALF_M)
    return (x + HALF_M) * scale, (HALF_M - y) * scale


def tile_at(row: float, col: float, level: int) -> tuple[int, int]:
    right, down = place(row, col, level)
    return int(right // TILE_PX), int(down // TILE_PX)


def mosaic(
    client: TestClient, site: str, level: int, asked: str = ""
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return all tiles of a level that show the site, side by side, and the column and row of the first."""
    first, last = tile_at(0, 0, level), tile_at(ROWS - 1, COLS - 1, level)
    rows = [
        np.hstack(
            [pixels(client, own_tile(site, level, col, row) + asked) for col in range(first[0], last[0] + 1)]
        )
        for row in range(first[1], last[1] + 1)
    ]
    return np.vstack(rows), first


def test_a_pasted_address_shows_the_square_where_it_lies_on_the_ground(
    site: str, lite_client: TestClient
) -> None:
    shown, (first_col, first_row) = mosaic(lite_client, site, LEVEL)
    white = np.argwhere(shown[..., 0] > 180)
    row, col = BRIGHT
    right, down = place(row + 10, col + 10, LEVEL)
    middle = white.mean(0) + 0.5
    assert middle == pytest.approx([down - first_row * TILE_PX, right - first_col * TILE_PX], abs=0.3)
    corner = place(row, col, LEVEL)
    assert white.min(0) == pytest.approx(
        [corner[1] - first_row * TILE_PX, corner[0] - first_col * TILE_PX], abs=1.5
    )


def test_tiles_of_the_web_are_those_of_the_zone_warped_without_seams(
    site: str, lite_client: TestClient
) -> None:
    """GDAL's warp of the finest tiles, by itself, gives what the service draws."""
    shown, (first_col, first_row) = mosaic(lite_client, site, LEVEL)
    own = np.vstack(
        [np.hstack([pixels(lite_client, own_tile(site, 2, c, r)) for c in range(3)]) for r in range(2)]
    )
    cell = 2 * HALF_M / (TILE_PX * 2**LEVEL)
    warped = np.zeros((4, *shown.shape[:2]), np.float32)
    reproject(
        np.moveaxis(own, -1, 0).astype(np.float32), warped, src_crs=f"EPSG:{EPSG}", dst_crs="EPSG:3857",
        src_transform=from_origin(EAST, NORTH, GSD, GSD), resampling=Resampling.bilinear,
        dst_transform=from_origin(first_col * TILE_PX * cell - HALF_M, HALF_M - first_row * TILE_PX * cell, cell, cell),
    )  # fmt: skip
    whole = warped[3] == 255
    assert whole.mean() > 0.2
    assert np.abs(shown[whole].astype(float) - np.moveaxis(warped, 0, -1)[whole]).max() <= 2.0
    # GDAL keeps within an eighth of a pixel: so little may differ, and only along what is clear.
    assert np.mean((shown[..., 3] == 255) != (warped[3] >= 127.5)) < 1e-3


def test_what_the_scene_does_not_hold_is_clear(site: str, lite_client: TestClient) -> None:
    shown, (first_col, first_row) = mosaic(lite_client, site, LEVEL)
    for row, col, there in (
        (120, 330, False),
        (90, 330, True),
        (238, 20, True),
        (242, 20, False),
        (20, -2, False),
    ):
        right, down = place(row, col, LEVEL)
        pixel = shown[int(down) - first_row * TILE_PX, int(right) - first_col * TILE_PX]
        assert (row, col, pixel[3] == 255) == (row, col, there)


@pytest.mark.parametrize("level", [12, 16, 18, 22])
def test_every_level_of_the_web_shows_the_same_ground(site: str, lite_client: TestClient, level: int) -> None:
    col, row = tile_at(BRIGHT[0] + 10, BRIGHT[1] + 10, level)
    shown = pixels(lite_client, own_tile(site, level, col, row))
    right, down = place(BRIGHT[0] + 10, BRIGHT[1] + 10, level)
    pixel = shown[int(down) - row * TILE_PX, int(right) - col * TILE_PX]
    assert pixel[3] == 255
    grey = np.median(shown[shown[..., 3] == 255][:, 0]) if level < 20 else 150
    assert pixel[0] > grey + (5 if level < 16 else 50)


def test_which_grid_is_meant_is_said_or_follows_from_the_level(site: str, lite_client: TestClient) -> None:
    col, row = tile_at(100, 100, 14)
    bare = lite_client.get(own_tile(site, 14, col, row))
    for name in ("WebMercatorQuad", mercator.URI):
        said = lite_client.get(own_tile(site, 14, col, row), params={"tileMatrixSet": name})
        assert (said.status_code, said.content, said.headers["etag"]) == (
            200,
            bare.content,
            bare.headers["etag"],
        )
    col, row = tile_at(100, 100, 2)
    # The site has a tile of that name too, full of its ground; on the web's grid it is less than a pixel of the world.
    assert pixels(lite_client, own_tile(site, 2, col, row) + WEB)[..., 3].sum() == 0
    assert pixels(lite_client, own_tile(site, 2, col, 0))[..., 3].any()
    assert lite_client.get(own_tile(site, 2, col, row)).status_code == 200
    own = lite_client.get(own_tile(site, 2, 0, 0))
    assert lite_client.get(own_tile(site, 2, 0, 0) + f"?tileMatrixSet={site}").content == own.content
    assert (
        lite_client.get(own_tile(site, 14, *tile_at(9, 9, 14)) + f"?tileMatrixSet={site}").status_code == 404
    )
    strange = lite_client.get(own_tile(site, 2, 0, 0) + "?tileMatrixSet=WorldCRS84Quad")
    assert (strange.status_code, strange.json()["code"]) == (400, "bad-query")


@pytest.mark.parametrize(
    "away", ["18/0/0", "18/150000/0", "25/0/0", "12/4096/1376", "18/-1/5", "99999999999999999999/0/0"]
)
def test_there_is_nothing_away_from_the_site(site: str, lite_client: TestClient, away: str) -> None:
    answer = lite_client.get(f"/sites/{site}/tiles/plain%2Fscene%201/{away}.png{WEB}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_the_web_shows_no_pixel_that_a_licence_withholds(
    site: str, lite_service: Service, lite_client: TestClient
) -> None:
    col, row = tile_at(50, 130, 17)
    answer = lite_client.get(own_tile(site, 17, col, row, "withheld"))
    assert (answer.status_code, answer.json()["code"]) == (403, "licence-forbids-pixels")
    assert lite_client.get(f"/sites/{site}/tiles/withheld{WEB}").status_code == 403
    known = lite_client.get(own_tile(site, 17, col, row)).headers["etag"]
    other = client_of(lite_service, tenant="second")
    assert other.get(own_tile(site, 17, col, row), headers={"If-None-Match": known}).status_code == 404


def test_a_tile_is_kept_by_who_asks_and_is_the_same_when_drawn_again(
    site: str, lite_service: Service, lite_client: TestClient
) -> None:
    told = lite_client.get(f"/sites/{site}/tiles/plain%2Fscene%201{WEB}").json()
    col, row = tile_at(50, 130, LEVEL)
    (template,) = (link["href"] for link in told["links"] if "{z}" in link["href"])
    address = template.replace("{z}", str(LEVEL)).replace("{x}", str(col)).replace("{y}", str(row))
    first = lite_client.get(address)
    assert "immutable" in first.headers["cache-control"]
    again = lite_client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    blocks = [path for path in Path(lite_service.settings.products_place).glob("tile/*") if path.is_file()]
    assert blocks
    for path in blocks:
        path.unlink()
    assert lite_client.get(address).content == first.content
    beside = lite_client.get(own_tile(site, LEVEL, col + 1, row))
    assert beside.headers["etag"] != first.headers["etag"]


def test_the_web_is_told_of_as_ogc_does(site: str, lite_client: TestClient) -> None:
    told = lite_client.get(f"/sites/{site}/tiles").json()
    _, web = told["tilesets"]
    links = {link["rel"]: link["href"] for link in web["links"]}
    assert lite_client.get(links["self"]).json() == web
    assert web["tileMatrixSetURI"] == "http://www.opengis.net/def/tilematrixset/OGC/1.0/WebMercatorQuad"
    scheme = lite_client.get(links["http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"]).json()
    assert (scheme["id"], scheme["uri"], scheme["crs"]) == (
        "WebMercatorQuad",
        web["tileMatrixSetURI"],
        web["crs"],
    )
    levels = scheme["tileMatrices"]
    assert [m["id"] for m in levels] == [str(level) for level in range(25)]
    # OGC 17-083r4, annex D.1
    assert levels[0]["scaleDenominator"] == pytest.approx(559082264.028717, rel=1e-14)
    assert levels[18]["cellSize"] == pytest.approx(0.597164283559817, rel=1e-9)
    assert levels[24]["scaleDenominator"] == pytest.approx(33.3238997477, rel=1e-11)
    assert all(m["pointOfOrigin"] == [-20037508.342789244, 20037508.342789244] for m in levels)
    listed = lite_client.get("/tileMatrixSets?limit=1").json()
    assert [each["id"] for each in listed["tileMatrixSets"]] == ["WebMercatorQuad"]
    (following,) = (link["href"] for link in listed["links"] if link["rel"] == "next")
    rest = lite_client.get(following).json()
    assert [each["id"] for each in rest["tileMatrixSets"]] == [site]
    assert [link["rel"] for link in rest["links"]] == ["self"]


def test_limits_hold_all_tiles_and_no_other(site: str, lite_client: TestClient) -> None:
    _, web = lite_client.get(f"/sites/{site}/tiles").json()["tilesets"]
    limits = {int(told["tileMatrix"]): told for told in web["tileMatrixSetLimits"]}
    told = limits[17]
    edge = (told["maxTileCol"], told["maxTileRow"])
    assert lite_client.get(own_tile(site, 17, *edge)).status_code == 200
    assert lite_client.get(own_tile(site, 17, edge[0] + 1, edge[1])).status_code == 404
    assert lite_client.get(own_tile(site, 17, edge[0], edge[1] + 1)).status_code == 404
    assert lite_client.get(own_tile(site, 17, told["minTileCol"] - 1, edge[1])).status_code == 404


def marked(pyramid: Pyramid, row: int, col: int) -> dict[tuple[int, int], bytes]:
    """Return a grid of one tile that is grey and has a white square of 24 px with its middle at (row, col)."""
    picture = np.full((pyramid.rows, pyramid.cols, 4), 255, np.uint8)
    picture[..., :3] = 60
    picture[row - 12 : row + 12, col - 12 : col + 12, :3] = 255
    return {(0, 0): png_of(picture)}


@settings(max_examples=60, deadline=None)
@given(
    longitude=st.floats(-180, 180), latitude=st.floats(-79, 83), gsd=st.sampled_from([0.3, 0.5, 3.0, 10.0]),
    row=st.integers(40, 200), col=st.integers(40, 200), finer=st.integers(0, 2),
)  # fmt: skip
def test_anywhere_on_earth_ground_is_shown_where_it_lies(
    longitude: float, latitude: float, gsd: float, row: int, col: int, finer: int
) -> None:
    epsg = utm_epsg(longitude, latitude)
    east, north = Transformer.from_crs(4326, epsg, always_xy=True).transform(longitude, latitude)
    pyramid = Pyramid(epsg, east - col * gsd, north + row * gsd, gsd, 240, 240)
    ground = gsd / math.cos(math.radians(latitude))
    level = min(math.floor(math.log2(2 * HALF_M / TILE_PX / ground)) + finer, 24)
    x, y = Transformer.from_crs(4326, 3857, always_xy=True).transform(longitude, latitude)
    scale = 2**level * TILE_PX / (2 * HALF_M)
    right, down = (x + HALF_M) * scale, (HALF_M - y) * scale
    tile_col, tile_row = (min(int(value // TILE_PX), 2**level - 1) for value in (right, down))
    scene = TiledScene("a", datetime(2024, 1, 1, tzinfo=UTC), ("0" * 64,), "CC0-1.0", False, {})
    drawn = mercator.find_mercator(
        SiteTiles("r", b"", pyramid, {}, {}, None), scene, level, tile_col, tile_row
    )
    laid = mercator.lay_out(drawn)
    assert laid is not None
    shown = np.asarray(Image.open(io.BytesIO(mercator.warp(drawn, laid, marked(pyramid, row, col)))))
    white = np.argwhere(shown[..., 0] > 157) + 0.5
    assert len(white) > 0
    middle = np.array([down - tile_row * TILE_PX, right - tile_col * TILE_PX])
    # A square that a tile's edge cuts has its middle elsewhere.
    reach = 18 * 2**finer
    if middle.min() > reach and middle.max() < TILE_PX - reach:
        assert white.mean(0) == pytest.approx(middle, abs=0.5)


TMS = """
import sys
import numpy as np
import rasterio
from rasterio.windows import from_bounds
whole = 20037508.342789244
xml = f'''<GDAL_WMS><Service name="TMS"><ServerUrl>{sys.argv[1]}</ServerUrl></Service>
<DataWindow><UpperLeftX>{-whole}</UpperLeftX><UpperLeftY>{whole}</UpperLeftY><LowerRightX>{whole}</LowerRightX>
<LowerRightY>{-whole}</LowerRightY><TileLevel>19</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY>
<YOrigin>top</YOrigin></DataWindow><Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX>
<BlockSizeY>256</BlockSizeY><BandsCount>4</BandsCount><ZeroBlockHttpCodes>404</ZeroBlockHttpCodes></GDAL_WMS>'''
box = [float(value) for value in sys.argv[4:8]]
with rasterio.Env(GDAL_HTTP_HEADERS="Authorization: Bearer " + sys.argv[2]), rasterio.open(xml) as file:
    window = from_bounds(*box, file.transform).round_offsets().round_lengths()
    np.savez(sys.argv[3], rgba=file.read(window=window), transform=np.array(file.window_transform(window)[:6]))
"""


@pytest.mark.long
def test_gdal_reads_a_pasted_address_as_the_webs_own_tiles(
    site: str, lite_service: Service, lite_client: TestClient, tmp_path: Path
) -> None:
    key = lite_client.headers["Authorization"].removeprefix("Bearer ")
    row, col = BRIGHT
    west, north = TO_WEB.transform(EAST + (col - 20) * GSD, NORTH - (row - 20) * GSD)
    east, south = TO_WEB.transform(EAST + (col + 40) * GSD, NORTH - (row + 40) * GSD)
    with served(lite_service) as address:
        url = f"{address}/sites/{site}/tiles/plain%2Fscene%201/${{z}}/${{x}}/${{y}}.png"
        box = [repr(value) for value in (west, south, east, north)]
        command = [sys.executable, "-c", TMS, url, key, str(tmp_path / "read.npz"), *box]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert ran.returncode == 0, ran.stderr
    read: dict[str, Any] = dict(np.load(tmp_path / "read.npz"))
    white = np.argwhere(read["rgba"][0] > 180).mean(0) + 0.5
    a, _, left, _, e, top = read["transform"]
    middle = TO_WEB.transform(EAST + (col + 10) * GSD, NORTH - (row + 10) * GSD)
    found = (left + a * white[1], top + e * white[0])
    assert found == pytest.approx(middle, abs=0.5 * a)
