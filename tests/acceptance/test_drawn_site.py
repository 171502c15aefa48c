"""A site drawn with plain polygons, like nothing our renderers make: no sun, no mask, eight bits, three bands, dates in file names."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image, ImageDraw
from pyproj import Transformer
from rasterio.transform import from_origin
from scipy import ndimage
from shapely.affinity import rotate
from shapely.geometry import MultiPoint, Point, Polygon, box, mapping, shape

from benchmarks.scoring import moment, to_metres
from service.cli import main

SIDE_M, GSD_M, FINER = 220.0, 0.5, 4
WEST, NORTH = 500_000.0, 5_500_000.0
DAYS = [datetime(2024, month, 15, 10, tzinfo=UTC) for month in (1, 3, 5, 7, 9, 11)]
RED, BLUE, WHITE, GREEN, ORANGE = (160, 40, 35), (40, 70, 140), (190, 190, 185), (60, 110, 70), (200, 120, 40)
FLEET = (RED, BLUE, WHITE, GREEN, ORANGE)

# What comes and goes, in metres east of the west and south of the north edge.
ROW = [box(100 + 2.8 * k, 70, 102.44 + 2.8 * k, 82.19) for k in range(5)]
SINGLE = rotate(box(144, 99, 156.19, 101.44), 30)
GONE = [box(70, 100 + 3 * k, 76.06, 102.44 + 3 * k) for k in range(3)]
HALLS = [
    (rotate(box(40, 50, 80, 68), 10), (150, 150, 155)),
    (rotate(box(170, 20, 200, 42), 80), (120, 60, 50)),
]


def standing(look: int) -> list[tuple[Polygon, float, tuple[int, int, int]]]:
    """Return (footprint, height in metres, colour) of what stands in a look."""
    things = [(hall, 7.0, colour) for hall, colour in HALLS]
    if look >= 3:
        things += [(place, 2.6, colour) for place, colour in zip(ROW, FLEET, strict=True)]
        things.append((SINGLE, 2.6, RED))
    if look < 4:
        things += [(place, 2.6, colour) for place, colour in zip(GONE, FLEET[2:], strict=True)]
    return things


def misplaced(look: int) -> np.ndarray:
    """Return by how many pixels (down, right) a look is drawn off its place."""
    return np.random.default_rng([2, look]).normal(0, 1.5, 2)


def drawn(look: int) -> np.ndarray:
    """Return (band, row, col) uint8: polygons and their shadows, four times finer, moved, blurred and averaged."""
    rng = np.random.default_rng([1, look])
    size = round(SIDE_M / GSD_M) * FINER
    picture = Image.new("RGB", (size, size), (112, 104, 92))
    pen = ImageDraw.Draw(picture)

    def fill(place: Polygon, colour: tuple[int, int, int]) -> None:
        pen.polygon([(x / GSD_M * FINER, y / GSD_M * FINER) for x, y in place.exterior.coords], fill=colour)

    azimuth, elevation = np.radians(rng.uniform(140, 200)), np.radians(rng.uniform(35, 55))
    away = np.array([-np.sin(azimuth), np.cos(azimuth)]) / np.tan(elevation)
    fill(box(0, 140, SIDE_M, SIDE_M), (90, 110, 60))
    fill(box(0, 132, SIDE_M, 140), (70, 70, 72))
    trees = np.random.default_rng(5).uniform((8, 175, 2), (210, 210, 4), (20, 3))
    things = standing(look)
    for x, y, radius in trees:
        things.append((Point(x, y).buffer(radius), 1.8 * radius, (45, 75, 35)))
    for place, height, _ in things:
        corners = np.array(place.exterior.coords)
        fill(MultiPoint(np.vstack([corners, corners + height * away])).convex_hull, (36, 35, 37))
    for place, _, colour in things:
        fill(place, colour)
    ground = ndimage.gaussian_filter(np.random.default_rng(7).normal(0, 1, (size, size)), 3)
    light = np.asarray(picture, float) * (1 + 0.05 * ground / ground.std())[..., None]
    light = ndimage.shift(light, (*misplaced(look) * FINER, 0), order=1, mode="nearest")
    light = ndimage.gaussian_filter(light, (0.45 * FINER, 0.45 * FINER, 0))
    pixels = light.reshape(size // FINER, FINER, size // FINER, FINER, 3).mean((1, 3))
    pixels = pixels * rng.uniform(0.9, 1.1) + rng.normal(0, 1.5, pixels.shape)
    return np.moveaxis(np.clip(pixels, 1, 255).astype(np.uint8), -1, 0)


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Return the changes that the command lists, their footprints in the drawing's metres."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "scenes").mkdir()
    for look, day in enumerate(DAYS):
        picture = drawn(look)
        profile = {
            "driver": "GTiff", "count": 3, "height": picture.shape[1], "width": picture.shape[2], "dtype": "uint8",
            "crs": "EPSG:32633", "transform": from_origin(WEST, NORTH, GSD_M, GSD_M), "photometric": "RGB",
        }  # fmt: skip
        with rasterio.open(folder / "scenes" / f"scene_{day:%Y%m%dT%H%M%S}.tif", "w", **profile) as file:
            file.write(picture)
    back = Transformer.from_crs(32633, 4326, always_xy=True)
    area = shapely.transform(
        box(WEST + 8, NORTH - SIDE_M + 8, WEST + SIDE_M - 8, NORTH - 8),
        lambda xy: np.column_stack(back.transform(*xy.T)),
    )
    aoi = {"type": "Feature", "properties": {"name": "drawn"}, "geometry": mapping(area)}
    (folder / "aoi.geojson").write_text(json.dumps(aoi))
    arguments = ["--catalog", str(folder / "scenes"), "--aoi", str(folder / "aoi.geojson")]
    assert main(["analyse", *arguments, "--out", str(folder / "report")]) == 0
    looks = json.loads((folder / "report" / "looks.geojson").read_text())["features"]
    (reference,) = (k for k, look in enumerate(looks) if look["properties"]["reference"])
    down, right = misplaced(reference) * GSD_M
    project = to_metres(15.0, 49.0)
    said = json.loads((folder / "report" / "changes.geojson").read_text())["features"]
    for claim in said:
        on_map = project(shape(claim["geometry"]))
        claim["place"] = shapely.transform(on_map, lambda xy: np.abs(xy - (WEST, NORTH)) - (right, down))
    return said


@pytest.mark.parametrize(
    ("direction", "places", "onset"),
    [("appeared", ROW, (2, 3)), ("appeared", [SINGLE], (2, 3)), ("removed", GONE, (3, 4))],
    ids=["row", "single", "removed"],
)
def test_what_came_or_went_is_listed_where_and_between_looks_that_hold_its_date(
    claims: list[dict], direction: str, places: Sequence[Polygon], onset: tuple[int, int]
) -> None:
    whole = MultiPoint([xy for place in places for xy in place.exterior.coords]).convex_hull
    mine = [
        claim
        for claim in claims
        if (claim["properties"]["change_type"], claim["properties"]["direction"]) == ("container", direction)
        and claim["place"].intersection(whole).area > 0.3 * claim["place"].union(whole).area
    ]
    assert len(mine) == 1
    said = mine[0]["properties"]
    assert moment(said["last_absent"]) <= DAYS[onset[0]] < DAYS[onset[1]] <= moment(said["first_seen"])
    assert said["count_low"] <= len(places) <= said["count_high"]


def test_nothing_is_confirmed_where_nothing_changed(claims: list[dict]) -> None:
    changed = [place.buffer(3) for place in (*ROW, SINGLE, *GONE)]
    sure = [claim for claim in claims if claim["properties"]["status"] in {"confirmed", "closed"}]
    assert all(any(claim["place"].intersects(place) for place in changed) for claim in sure)
    elsewhere = [c for c in claims if not any(c["place"].intersects(place) for place in changed)]
    assert len(elsewhere) <= 2
