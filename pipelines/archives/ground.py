"""Which pixels of a file a piece of ground is read from."""

import math
from dataclasses import dataclass

import numpy as np

from imagery.excerpt import Held
from imagery.grid import SiteGrid, transformer
from imagery.rasters import RasterHeader

# Of the file's own pixels, beside what the ground has around it: the kernel's two on each side, and rounding.
MARGIN_PX = 8
NODES = 33


@dataclass(frozen=True, slots=True)
class Ground:
    """A rectangle in the CRS ``EPSG:epsg``, metres."""

    epsg: int
    west: float
    south: float
    east: float
    north: float

    @classmethod
    def around(cls, grid: SiteGrid, metres: float = 0.0) -> "Ground":
        """Return a grid's rectangle grown on every side."""
        west, south, east, north = grid.bounds
        return cls(grid.epsg, west - metres, south - metres, east + metres, north + metres)

    def with_(self, other: "Ground") -> "Ground":
        """Return the smallest rectangle that holds two of one CRS."""
        return Ground(
            self.epsg,
            min(self.west, other.west),
            min(self.south, other.south),
            max(self.east, other.east),
            max(self.north, other.north),
        )

    def holds(self, other: "Ground") -> bool:
        """Tell whether another of the same CRS lies inside."""
        return self.with_(other) == self


def window_of(header: RasterHeader, ground: Ground) -> Held:
    """Return the (row, col, rows, cols) of a file's pixels that a look at some ground may read.

    It may reach outside the file. Ground that the file's CRS has no place for needs no pixels.
    """
    east, north = np.meshgrid(
        np.linspace(ground.west, ground.east, NODES), np.linspace(ground.south, ground.north, NODES)
    )
    x, y = transformer(f"EPSG:{ground.epsg}", header.crs).transform(east.ravel(), north.ravel())
    a, b, c, d, e, f = (~header.transform)[:6]
    col, row = a * x + b * y + c, d * x + e * y + f
    if not np.all(np.isfinite([col, row])):
        return (0, 0, 0, 0)
    first = math.floor(row.min()) - MARGIN_PX, math.floor(col.min()) - MARGIN_PX
    last = math.ceil(row.max()) + MARGIN_PX, math.ceil(col.max()) + MARGIN_PX
    return first[0], first[1], last[0] - first[0], last[1] - first[1]
