"""Registered scenes on the web's own grid: WebMercatorQuad of OGC's registry, for maps that know no other.

Such a tile is made of the pictures in the site's own zone, so both show one stretch, one registration, one licence.
It is not kept: what it is made of is.
"""

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from service.errors import NotFound
from service.tiles import TILE_PX, Pyramid, SiteTiles, Tile, TiledScene, find_tile, png_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Picture = NDArray[np.float32]

NAME = "WebMercatorQuad"
URI = f"http://www.opengis.net/def/tilematrixset/OGC/1.0/{NAME}"
EPSG = 3857
CRS = f"http://www.opengis.net/def/crs/EPSG/0/{EPSG}"
LEVELS = 25
VERSION = 1
# Between places computed so far apart, others lie on a straight line to within a fiftieth of a pixel.
MESH_PX = 16
RING = ((0, 0), (1, 1), (1, 1))  # nothing, around what there is
HALF_M = math.pi * 6_378_137.0
HALF_TURN = 180.0
LEVEL_0_SCALE = 559_082_264.0287178  # OGC's pixel of 0.28 mm
CORNER = [-20037508.342789244, 20037508.342789244]


def cell_m(level: int) -> float:
    """Return the side of a pixel in the projection's metres, which are ground metres at the equator alone."""
    return 2.0 * HALF_M / (TILE_PX << level)


def definition() -> dict[str, Any]:
    """Return the set as OGC's registry has it (Two Dimensional Tile Matrix Set 2.0, annex D.1)."""
    return {
        "id": NAME,
        "title": "Google Maps Compatible for the World",
        "uri": URI,
        "crs": CRS,
        "orderedAxes": ["X", "Y"],
        "wellKnownScaleSet": "http://www.opengis.net/def/wkss/OGC/1.0/GoogleMapsCompatible",
        "tileMatrices": [
            {
                "id": str(level),
                "scaleDenominator": LEVEL_0_SCALE / 2**level,
                "cellSize": cell_m(level),
                "cornerOfOrigin": "topLeft",
                "pointOfOrigin": CORNER,
                "tileWidth": TILE_PX,
                "tileHeight": TILE_PX,
                "matrixWidth": 2**level,
                "matrixHeight": 2**level,
            }
            for level in range(LEVELS)
        ],
    }


@dataclass(frozen=True, slots=True)
class Span:
    """Which tiles of a level show a site: columns ``wests[i]`` to ``easts[i]``, two runs across the antimeridian."""

    north: int
    south: int
    wests: tuple[int, ...]
    easts: tuple[int, ...]

    def holds(self, col: int, row: int) -> bool:
        """Tell whether a tile is one of them."""
        runs = zip(self.wests, self.easts, strict=True)
        return self.north <= row <= self.south and any(west <= col <= east for west, east in runs)

    def as_limits(self, level: int) -> dict[str, Any]:
        """Return them as OGC's TileMatrixSetLimits, which knows one run of columns."""
        return {
            "tileMatrix": str(level),
            "minTileRow": self.north,
            "maxTileRow": self.south,
            "minTileCol": min(self.wests),
            "maxTileCol": max(self.easts),
        }


@lru_cache(maxsize=256)
def _box(pyramid: Pyramid) -> tuple[float, float, float, float]:
    return pyramid.bounds_lonlat()


def span(pyramid: Pyramid, level: int) -> Span:
    """Return which tiles of a level show a site's grid."""
    west, south, east, north = _box(pyramid)
    runs = [(west, east)] if west <= east else [(west, HALF_TURN), (-HALF_TURN, east)]
    cols = [tuple(_index((lon + HALF_TURN) / (2 * HALF_TURN), level) for lon in run) for run in runs]
    wests, easts = zip(*cols, strict=True)
    return Span(_index(_down(north), level), _index(_down(south), level), wests, easts)


def limits(pyramid: Pyramid) -> list[dict[str, Any]]:
    """Return the tiles that show a site, level by level."""
    return [span(pyramid, level).as_limits(level) for level in range(LEVELS)]


def _down(latitude: float) -> float:
    """Return how far down the map a latitude lies, 0 to 1."""
    return 0.5 - math.asinh(math.tan(math.radians(latitude))) / (2 * math.pi)


def _index(share: float, level: int) -> int:
    tiles = 1 << level
    return min(max(math.floor(share * tiles), 0), tiles - 1)


@dataclass(frozen=True, slots=True)
class MercatorTile:
    """One tile of a look on the web's grid."""

    tiles: SiteTiles
    scene: TiledScene
    level: int
    col: int
    row: int

    @property
    def etag(self) -> str:
        """A strong one, known before the picture is: of what the pictures it is made of are kept under."""
        finest = self.tiles.pyramid.levels - 1
        made_of = find_tile(self.tiles, self.scene, finest, 0, 0).block
        told = f"{NAME} {VERSION} {made_of} {self.level}/{self.col}/{self.row}"
        return '"' + hashlib.sha256(told.encode()).hexdigest()[:32] + '"'

    @property
    def source_level(self) -> int:
        """Level of the site's own pyramid to draw from: the coarsest that loses nothing, else the finest or coarsest."""
        p = self.tiles.pyramid
        enough = [level for level in range(p.levels) if p.gsd_m * p.factor(level) <= self._ground_m]
        return enough[0] if enough else p.levels - 1

    @property
    def _ground_m(self) -> float:
        _, south, _, north = _box(self.tiles.pyramid)
        return cell_m(self.level) * math.cos(math.radians((south + north) / 2))

    @property
    def reduction(self) -> int:
        """How many pixels of that level a side are averaged first: above 1 only where the site is but a few pixels."""
        p = self.tiles.pyramid
        return max(1, int(self._ground_m / (p.gsd_m * p.factor(self.source_level))))


def find_mercator(tiles: SiteTiles, scene: TiledScene, level: int, col: int, row: int) -> MercatorTile:
    """Return a look's tile on the web's grid.

    Raises
    ------
    NotFound : outside the grid, or away from the site
    """
    if not (0 <= level < LEVELS and span(tiles.pyramid, level).holds(col, row)):
        raise NotFound("the site lies in no such tile; /sites/{id}/tiles tells in which")
    return MercatorTile(tiles, scene, level, col, row)


@dataclass(frozen=True, slots=True)
class Warp:
    """Where the pixels of a tile lie on the pictures they are made of.

    ``rows`` and ``cols`` are the part of the tile that may show the site; ``down`` and ``right`` (row, col) float64
    are pixel-edge coordinates there on the window of ``source`` that starts at ``top``, ``left``.
    """

    rows: slice
    cols: slice
    down: "Floats"
    right: "Floats"
    top: int
    left: int
    height: int
    width: int
    parts: Mapping[tuple[int, int], Tile]


def lay_out(tile: MercatorTile) -> Warp | None:
    """Return how a tile is made of tiles in the site's zone; None where it shows none of the site."""
    import numpy as np

    from imagery.grid import transformer

    rows, cols = _part(tile)
    if rows.stop <= rows.start or cols.stop <= cols.start or tile.reduction > TILE_PX:
        return None  # so far out, the whole site is less than a pixel
    cell, p = cell_m(tile.level), tile.tiles.pyramid
    (across, x), (along, y) = _mesh(cols), _mesh(rows)
    x, y = (tile.col * TILE_PX + x + 0.5) * cell - HALF_M, HALF_M - (tile.row * TILE_PX + y + 0.5) * cell
    to_zone = transformer(f"EPSG:{EPSG}", f"EPSG:{p.epsg}")
    east, north = (along @ plane @ across.T for plane in to_zone.transform(*np.meshgrid(x, y)))
    side = p.gsd_m * p.factor(tile.source_level)
    right, down = (east - p.east_m) / side, (p.north_m - north) / side
    (top, bottom), (left, end) = (
        _edges(places, size, tile.reduction)
        for places, size in zip((down, right), p.size_px(tile.source_level), strict=True)
    )
    height, width = bottom - top, end - left
    parts = _parts(tile, (top, left, top + height, left + width))
    return Warp(rows, cols, down - top, right - left, top, left, height, width, parts) if parts else None


def _mesh(pixels: slice) -> tuple["Floats", "Floats"]:
    """Return how much each of a run of pixels has of each node, (pixel, node), and where among pixels the nodes lie."""
    import numpy as np

    places = np.arange(pixels.start, pixels.stop, dtype=np.float64)
    nodes = np.linspace(places[0], places[-1], -(-(len(places) - 1) // MESH_PX) + 1)
    return np.stack([np.interp(places, nodes, one) for one in np.eye(len(nodes))], axis=1), nodes


def _part(tile: MercatorTile) -> tuple[slice, slice]:
    """Return the rows and columns of a tile within a pixel of the site's box in degrees: the world may fold elsewhere."""
    west, south, east, north = _box(tile.tiles.pyramid)
    side = TILE_PX * 2**tile.level
    top, bottom = (_down(latitude) * side - tile.row * TILE_PX for latitude in (north, south))
    left, right = ((lon + HALF_TURN) / (2 * HALF_TURN) * side - tile.col * TILE_PX for lon in (west, east))
    if west > east:  # one run of columns is at each end of the world
        left, right = (left, math.inf) if left < TILE_PX else (-math.inf, right)
    return _within(top, bottom), _within(left, right)


def _within(first: float, last: float) -> slice:
    start, stop = max(first - 1, 0.0), min(last + 1, float(TILE_PX))
    return slice(math.floor(start), math.ceil(max(start, stop)))


def _edges(places: "Floats", size: int, step: int) -> tuple[int, int]:
    """Return the window of whole steps of the grid that holds what lies there of places and a step on either side."""
    there = -(-size // step)
    first = min(max(math.floor(float(places.min()) / step) - 1, 0), there)
    last = min(max(math.ceil(float(places.max()) / step) + 1, first), there)
    return first * step, last * step


def _parts(tile: MercatorTile, window: tuple[int, int, int, int]) -> dict[tuple[int, int], Tile]:
    """Return the tiles of the site's own that a window of pixels touches, by their row and column."""
    p, level = tile.tiles.pyramid, tile.source_level
    rows, cols = p.size_tiles(level)
    top, left, bottom, right = window
    return {
        (row, col): find_tile(tile.tiles, tile.scene, level, col, row)
        for row in range(max(top // TILE_PX, 0), min(-(-bottom // TILE_PX), rows))
        for col in range(max(left // TILE_PX, 0), min(-(-right // TILE_PX), cols))
    }


def warp(tile: MercatorTile, laid: Warp | None, pngs: Mapping[tuple[int, int], bytes]) -> bytes:
    """Return a tile's PNG: clear where more than half of a pixel is of nothing seen.

    Parameters
    ----------
    pngs : the pictures of ``laid.parts``
    """
    import numpy as np
    from scipy import ndimage

    from imagery.blocks import block_mean

    shown = np.zeros((TILE_PX, TILE_PX, 4), np.uint8)
    if laid is None:
        return png_of(shown)
    times = tile.reduction
    window = np.pad(block_mean(_window(laid, pngs), times), RING)
    places = np.stack([laid.down / times + 0.5, laid.right / times + 0.5])
    planes = np.stack(
        [ndimage.map_coordinates(plane, places, order=1, output=np.float32) for plane in window]
    )
    seen = planes[3] >= 0.5
    colours = planes[:3] / np.where(seen, planes[3], 1.0)
    part = shown[laid.rows, laid.cols]
    part[..., :3] = np.moveaxis(np.clip(colours + 0.5, 0.0, 255.0), 0, -1) * seen[..., None]
    part[..., 3] = seen * np.uint8(255)
    return png_of(shown)


def _window(laid: Warp, pngs: Mapping[tuple[int, int], bytes]) -> "Picture":
    """Return (4, row, col) float32: colours times how much is seen of a pixel, 0 to 1, and that."""
    import numpy as np
    from PIL import Image

    whole = np.zeros((4, laid.height, laid.width), np.float32)
    for (row, col), png in pngs.items():
        picture = np.moveaxis(np.asarray(Image.open(io.BytesIO(png)), np.float32), -1, 0)
        top, left = row * TILE_PX - laid.top, col * TILE_PX - laid.left
        there = whole[:, max(top, 0) : top + TILE_PX, max(left, 0) : left + TILE_PX]
        from_row, from_col = max(-top, 0), max(-left, 0)
        there[:] = picture[:, from_row : from_row + there.shape[1], from_col : from_col + there.shape[2]]
    whole[3] /= 255.0
    return whole
