"""Registered scenes as map tiles: one stretch and one pyramid per site, in the site's own UTM zone.

A report says how every look was brought onto the site's grid (``registration.json``). Tiles are drawn from the scene's
own file with that, when somebody first looks, and kept as products a block of tiles at a time; the finest level has
the grid's very pixels. What a tile shows follows from the report alone, so its address may be kept for ever.
"""

import hashlib
import io
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from imagery.errors import DepotwatchError
from service import reports
from service.archives import ArchiveSource
from service.artefacts import ArtefactStore, StoredFile
from service.errors import NotFound

if TYPE_CHECKING:
    from imagery.scene import Scene

TILE_PX = 256
BLOCK_TILES = 4  # a block of so many tiles a side is read and kept at once
VERSION = 1
REGISTRATION = "registration.json"
PNG_LEVEL = 6
# Archives tell a scene's time to the microsecond at best.
NEARLY = timedelta(seconds=1)
WIDE_M = 2.0e7


class PixelsWithheld(DepotwatchError):
    """The licence of a scene's source forbids to publish its pixels."""

    code = "licence-forbids-pixels"


class SceneNotAtHand(DepotwatchError):
    """The file a picture would be drawn from is no longer in the site's archives as the report read it."""

    code = "scene-not-at-hand"


@dataclass(frozen=True, slots=True)
class Pyramid:
    """A site's grid as tile matrices, coarse (0) to fine (``levels - 1``), all from one north-west corner."""

    epsg: int
    east_m: float
    north_m: float
    gsd_m: float
    rows: int
    cols: int

    @property
    def levels(self) -> int:
        """How many there are: the coarsest is one tile."""
        return 1 + max(0, math.ceil(math.log2(max(self.rows, self.cols) / TILE_PX)))

    def factor(self, level: int) -> int:
        """Return how many grid pixels a side of one pixel of a level has."""
        return int(2 ** (self.levels - 1 - level))

    def size_px(self, level: int) -> tuple[int, int]:
        """Return (rows, cols) of a level."""
        return -(-self.rows // self.factor(level)), -(-self.cols // self.factor(level))

    def size_tiles(self, level: int) -> tuple[int, int]:
        """Return (rows, cols) of a level in tiles."""
        rows, cols = self.size_px(level)
        return -(-rows // TILE_PX), -(-cols // TILE_PX)

    def holds(self, level: int, col: int, row: int) -> bool:
        """Tell whether there is such a tile."""
        if not 0 <= level < self.levels:
            return False
        rows, cols = self.size_tiles(level)
        return 0 <= row < rows and 0 <= col < cols

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in metres."""
        return (
            self.east_m,
            self.north_m - self.rows * self.gsd_m,
            self.east_m + self.cols * self.gsd_m,
            self.north_m,
        )

    def bounds_lonlat(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees; west above east across the antimeridian."""
        from pyproj import Transformer

        west, south, east, north = Transformer.from_crs(
            self.epsg, "OGC:CRS84", always_xy=True
        ).transform_bounds(*self.bounds)
        return west, south, east, north

    @property
    def crs(self) -> str:
        """The CRS by OGC's name."""
        return f"http://www.opengis.net/def/crs/EPSG/0/{self.epsg}"

    def as_tile_matrix_set(self, name: str, title: str) -> dict[str, Any]:
        """Return it as OGC Two Dimensional Tile Matrix Set 2.0."""
        west, south, east, north = self.bounds
        return {
            "id": name,
            "title": title,
            "crs": self.crs,
            "orderedAxes": ["E", "N"],
            "boundingBox": {
                "crs": self.crs,
                "orderedAxes": ["E", "N"],
                "lowerLeft": [west, south],
                "upperRight": [east, north],
            },
            "tileMatrices": [self._matrix(level) for level in range(self.levels)],
        }

    def _matrix(self, level: int) -> dict[str, Any]:
        rows, cols = self.size_tiles(level)
        cell = self.gsd_m * self.factor(level)
        return {
            "id": str(level),
            "scaleDenominator": cell / 0.00028,  # OGC's pixel of 0.28 mm
            "cellSize": cell,
            "cornerOfOrigin": "topLeft",
            "pointOfOrigin": [self.east_m, self.north_m],
            "tileWidth": TILE_PX,
            "tileHeight": TILE_PX,
            "matrixWidth": cols,
            "matrixHeight": rows,
        }


@dataclass(frozen=True, slots=True)
class TiledScene:
    """One look that can be drawn; ``entry`` is its line of ``registration.json``."""

    scene_id: str
    t_utc: datetime
    sha256: tuple[str, ...]
    licence: str
    withheld: bool
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SiteTiles:
    """What one report says about drawing its looks; ``aoi`` is WKB, EPSG:4326.

    ``ground`` (west, south, east, north in metres) is what excerpts of remote files were fetched for; None for all of
    them, or where there are none.
    """

    report: str
    aoi: bytes
    pyramid: Pyramid
    stretch: Mapping[str, Any]
    scenes: Mapping[str, TiledScene]
    ground: tuple[float, float, float, float] | None


def tiles_of(connection: Connection, store: ArtefactStore, report: str) -> SiteTiles | None:
    """Return how to draw a report's looks; None where the report does not say (made before it was written down)."""
    try:
        file = reports.file_of(connection, report, REGISTRATION)
    except NotFound:
        return None
    return _tiles_from(report, json.loads(reports.body(connection, report)), _document(store, file))


def _document(store: ArtefactStore, file: StoredFile) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(store.get(file.sha256))
    return told


def _tiles_from(report: str, body: Mapping[str, Any], told: Mapping[str, Any]) -> SiteTiles:
    sources = {source["scene_id"]: source for source in body["generated_from"]}
    scenes = {
        entry["scene_id"]: TiledScene(
            entry["scene_id"],
            datetime.fromisoformat(entry["datetime"]),
            tuple(entry["sha256"]),
            str(sources[entry["scene_id"]]["licence"]),
            not sources[entry["scene_id"]]["chips_allowed"],
            entry,
        )
        for entry in told["scenes"]
    }
    ground = tuple(told["ground"]) if told.get("ground") else None
    return SiteTiles(
        report,
        bytes.fromhex(body["site"]["aoi_wkb"]),
        Pyramid(**told["grid"]),
        told["stretch"],
        scenes,
        ground,
    )


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile's place, and what its picture is kept under."""

    block: str
    name: str
    level: int
    block_col: int
    block_row: int

    @property
    def etag(self) -> str:
        """A strong one, known before the picture is."""
        return '"' + hashlib.sha256(f"{self.block} {self.name}".encode()).hexdigest()[:32] + '"'


def find_tile(tiles: SiteTiles, scene: TiledScene, level: int, col: int, row: int) -> Tile:
    """Return a tile of a look.

    Raises
    ------
    NotFound : outside the tile matrix
    """
    from pipelines.products import product_key

    if not tiles.pyramid.holds(level, col, row):
        raise NotFound("there is no such tile; /sites/{id}/tiles tells where tiles lie")
    block = product_key("tile", VERSION, scene.sha256, _drawn_with(tiles, scene, level, col, row))
    return Tile(block, f"{row}/{col}", level, col // BLOCK_TILES, row // BLOCK_TILES)


def _drawn_with(tiles: SiteTiles, scene: TiledScene, level: int, col: int, row: int) -> dict[str, Any]:
    p = tiles.pyramid
    return {
        "entry": dict(scene.entry),
        "stretch": dict(tiles.stretch),
        "grid": [p.epsg, p.east_m, p.north_m, p.gsd_m, p.rows, p.cols],
        "block": [level, col // BLOCK_TILES, row // BLOCK_TILES],
    }


def kept(products: str, tile: Tile) -> bytes | None:
    """Return a tile's PNG, or None where its block has not been drawn."""
    from pipelines.products import ProductStore

    product = ProductStore(products).get(tile.block)
    return None if product is None else product.arrays[tile.name].tobytes()


def draw(
    tiles: SiteTiles,
    scene: TiledScene,
    tile: Tile,
    archives: Sequence[ArchiveSource],
    *,
    products: str,
    downloads: Path,
    allow_hosts: frozenset[str],
) -> dict[str, bytes]:
    """Draw and keep the block a tile lies in; return its PNGs by name.

    Raises
    ------
    SceneNotAtHand : the scene's file is not in the archives, or not as it was
    """
    from pipelines.products import ProductStore

    store = ProductStore(products)
    product = store.get(tile.block)
    if product is None:
        source = _find_scene(tiles, scene, archives, downloads, allow_hosts)
        product = store.put(tile.block, {"scene_id": scene.scene_id}, _block(tiles, scene, tile, source))
    return {name: png.tobytes() for name, png in product.arrays.items()}


def _find_scene(
    tiles: SiteTiles,
    scene: TiledScene,
    archives: Sequence[ArchiveSource],
    downloads: Path,
    allow_hosts: frozenset[str],
) -> "Scene":
    """Return the scene a look was made from: by id and time, its files the very same."""
    import shapely

    from pipelines.archives import Ground, open_archive

    ground = tiles.ground and Ground(tiles.pyramid.epsg, *tiles.ground)
    aoi, period = shapely.from_wkb(tiles.aoi), (scene.t_utc - NEARLY, scene.t_utc + NEARLY)
    for archive in archives:
        try:
            opened = open_archive(
                archive.source,
                cache=downloads,
                allow_hosts=allow_hosts | archive.allow_hosts,
                trust_named=False,
            )
            result = opened.search(aoi, period)
            found = [result.bring(s, ground) for s in result.scenes if s.id == scene.scene_id]
        except DepotwatchError:
            continue  # An archive that is away is no reason not to ask the next.
        for candidate in found:
            if tuple(sorted(digest for _, digest in candidate.sha256)) == scene.sha256:
                return candidate
    raise SceneNotAtHand(
        f"scene {scene.scene_id} is not in the site's archives as the report read it; bring its files back to see it"
    )


def _block(tiles: SiteTiles, scene: TiledScene, tile: Tile, source: "Scene") -> dict[str, Any]:
    """Read one block of a look and cut it into PNGs, by row/column of the matrix."""
    import numpy as np

    from imagery.grid import SiteGrid
    from imagery.radiometry import Normalisation, apply_normalisation
    from imagery.warp import read_look
    from pipelines.report.registration import displacement_of, stretch_of
    from pipelines.report.rendering import shown_bands, tile_picture

    p = tiles.pyramid
    whole = SiteGrid(p.epsg, p.east_m, p.north_m, p.gsd_m, p.rows, p.cols).coarsened(p.factor(tile.level))
    side = BLOCK_TILES * TILE_PX
    row, col = tile.block_row * side, tile.block_col * side
    window = whole.window(row, col, min(side, whole.rows - row), min(side, whole.cols - col))
    bands = shown_bands(source.band_names)
    look = read_look(
        _unmasked(source, p.epsg), window, displacement=displacement_of(scene.entry), bands=bands
    )
    gains = {name: (gain, offset) for name, gain, offset in scene.entry["gains"] if name in bands}
    scale = tuple(gain for gain, _ in gains.values()), tuple(offset for _, offset in gains.values())
    look = apply_normalisation(look, Normalisation(tuple(gains), *scale, 1.0, None, ()))
    shown = tile_picture(look, stretch_of(tiles.stretch))
    cut = {}
    for y in range(0, window.rows, TILE_PX):
        for x in range(0, window.cols, TILE_PX):
            name = f"{(row + y) // TILE_PX}/{(col + x) // TILE_PX}"
            cut[name] = np.frombuffer(png_of(shown[y : y + TILE_PX, x : x + TILE_PX]), np.uint8)
    return cut


def _unmasked(scene: "Scene", epsg: int) -> "Scene":
    """Return a scene whose clouds are to be seen: who looks wants to see what hid the ground."""
    from imagery.scene import MaskSource

    return replace(scene, mask=MaskSource(_nothing_masked(epsg), 1, "cloud-mask"))


# A cache lets two threads make the same thing at once, and the folder of the one that comes second is removed again.
_MAKING = Lock()


def _nothing_masked(epsg: int) -> str:
    """Return the path of a mask of one clear pixel over a whole UTM zone and more, written once."""
    with _MAKING:
        return _written_mask(epsg)


@lru_cache(maxsize=1)
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="depotwatch-tiles-")


@lru_cache(maxsize=120)
def _written_mask(epsg: int) -> str:
    import numpy as np
    import rasterio
    from rasterio.transform import from_bounds

    path = str(Path(_scratch().name) / f"{epsg}.tif")
    transform = from_bounds(-WIDE_M, -WIDE_M, WIDE_M, WIDE_M, 1, 1)
    with rasterio.open(
        path, "w", driver="GTiff", width=1, height=1, count=1, dtype="uint8", crs=f"EPSG:{epsg}", transform=transform
    ) as file:  # fmt: skip
        file.write(np.zeros((1, 1, 1), np.uint8))
    return path


def png_of(rgba: Any) -> bytes:
    """Return a picture (row, col, 4) uint8 as the PNG of a tile, padded to its full size with nothing."""
    import numpy as np
    from PIL import Image

    whole = np.zeros((TILE_PX, TILE_PX, 4), np.uint8)
    whole[: rgba.shape[0], : rgba.shape[1]] = rgba
    file = io.BytesIO()
    Image.fromarray(whole).save(file, "PNG", compress_level=PNG_LEVEL)
    return file.getvalue()
