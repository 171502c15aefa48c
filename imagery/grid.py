"""The one raster grid of a site: local UTM zone, fixed origin, fixed pixel size, north up.

Rows grow southward, columns eastward; ``(row, col)`` order everywhere. A *pixel edge* coordinate of 0.0 is the
outer edge of the first pixel; pixel centres lie at half-integers.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer

from imagery.errors import BadGrid

MAX_PIXELS = 400_000_000


@lru_cache(maxsize=64)
def transformer(source: str, target: str) -> Transformer:
    """Return a cached transformer between two CRS strings, x/y (longitude/latitude) axis order."""
    return Transformer.from_crs(source, target, always_xy=True)


def utm_epsg(longitude: float, latitude: float) -> int:
    """Return the EPSG code of the WGS 84 / UTM zone of a place, by longitude alone (no Norway exceptions)."""
    if not (-180.0 <= longitude <= 180.0 and -80.0 <= latitude <= 84.0):
        raise BadGrid(f"{longitude:.4f}, {latitude:.4f} lies outside the UTM zones (84 N to 80 S)")
    zone = min(int((longitude + 180.0) // 6.0) + 1, 60)
    return (32600 if latitude >= 0 else 32700) + zone


@dataclass(frozen=True, slots=True)
class SiteGrid:
    """A north-up metric grid; ``east_m``/``north_m`` is the outer corner of its first (north-west) pixel."""

    epsg: int
    east_m: float
    north_m: float
    gsd_m: float
    rows: int
    cols: int

    def __post_init__(self) -> None:
        """Refuse grids that cannot exist."""
        if not (self.gsd_m > 0 and math.isfinite(self.gsd_m)):
            raise BadGrid(f"pixel size must be a positive number of metres, not {self.gsd_m}")
        if self.rows < 1 or self.cols < 1:
            raise BadGrid(f"the grid is empty: {self.rows} x {self.cols} pixels")
        if self.rows * self.cols > MAX_PIXELS:
            raise BadGrid(
                f"the grid would have {self.rows} x {self.cols} pixels, more than {MAX_PIXELS:,}; "
                "draw a smaller area or choose a coarser pixel with --gsd"
            )

    @property
    def crs(self) -> str:
        """The CRS as ``EPSG:n``."""
        return f"EPSG:{self.epsg}"

    @property
    def shape(self) -> tuple[int, int]:
        """``(rows, cols)``."""
        return self.rows, self.cols

    @property
    def transform(self) -> Affine:
        """Pixel-edge ``(col, row)`` to ``(east, north)`` metres."""
        return Affine(self.gsd_m, 0.0, self.east_m, 0.0, -self.gsd_m, self.north_m)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """``(west, south, east, north)`` in metres, outer pixel edges."""
        return (
            self.east_m,
            self.north_m - self.rows * self.gsd_m,
            self.east_m + self.cols * self.gsd_m,
            self.north_m,
        )

    @property
    def centre(self) -> tuple[float, float]:
        """``(east, north)`` of the middle of the grid in metres."""
        return (
            self.east_m + self.cols * self.gsd_m / 2.0,
            self.north_m - self.rows * self.gsd_m / 2.0,
        )

    @property
    def area_km2(self) -> float:
        """Area covered, projected."""
        return self.rows * self.cols * self.gsd_m**2 / 1e6

    def world(self, row: NDArray[np.float64], col: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``(2, ...)`` east/north of pixel-*edge* coordinates."""
        return np.stack([self.east_m + col * self.gsd_m, self.north_m - row * self.gsd_m])

    def pixel(self, east_m: float, north_m: float) -> tuple[float, float]:
        """Return pixel-edge ``(row, col)`` of a point."""
        return (self.north_m - north_m) / self.gsd_m, (east_m - self.east_m) / self.gsd_m

    def window(self, row: int, col: int, rows: int, cols: int) -> "SiteGrid":
        """Return the sub-grid of whole pixels that starts at ``(row, col)``; it may reach outside."""
        return SiteGrid(
            self.epsg,
            self.east_m + col * self.gsd_m,
            self.north_m - row * self.gsd_m,
            self.gsd_m,
            rows,
            cols,
        )

    def buffered(self, metres: float) -> "SiteGrid":
        """Return the grid grown on every side by at least so many metres, same pixel lattice."""
        n = math.ceil(metres / self.gsd_m)
        return self.window(-n, -n, self.rows + 2 * n, self.cols + 2 * n)

    def coarsened(self, factor: int) -> "SiteGrid":
        """Return the grid of ``factor`` times larger pixels, same north-west corner, covering this one."""
        return SiteGrid(
            self.epsg,
            self.east_m,
            self.north_m,
            self.gsd_m * factor,
            -(-self.rows // factor),
            -(-self.cols // factor),
        )

    @property
    def convergence_deg(self) -> float:
        """Meridian convergence at the centre: grid azimuth = true azimuth - convergence, degrees."""
        lon, lat = transformer(self.crs, "EPSG:4326").transform(*self.centre)
        return float(Proj(CRS.from_epsg(self.epsg)).get_factors(lon, lat).meridian_convergence)


def snapped_grid(epsg: int, bounds: tuple[float, float, float, float], gsd_m: float) -> SiteGrid:
    """Return the smallest grid covering ``bounds`` (west, south, east, north) with edges on multiples of the GSD."""
    west, south, east, north = bounds
    col0, col1 = math.floor(west / gsd_m + 1e-9), math.ceil(east / gsd_m - 1e-9)
    row0, row1 = math.floor(south / gsd_m + 1e-9), math.ceil(north / gsd_m - 1e-9)
    return SiteGrid(epsg, col0 * gsd_m, row1 * gsd_m, gsd_m, max(row1 - row0, 1), max(col1 - col0, 1))
