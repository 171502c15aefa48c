"""Geometry over the antimeridian: cut along it in files (RFC 7946 section 3.1.9), whole where it is reckoned with.

Nothing this service handles is wider than a few hundred kilometres, so what spans more than 180 degrees of longitude
lies across the antimeridian.
"""

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

HALF_TURN, FULL_TURN = 180.0, 360.0


def crosses(geometry: BaseGeometry) -> bool:
    """Tell whether a geometry in degrees lies across the antimeridian, cut or not."""
    if geometry.is_empty:
        return False
    west, _, east, _ = geometry.bounds
    return bool(east - west > HALF_TURN or east > HALF_TURN or west < -HALF_TURN)


def eastward(longitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return longitudes counted east from Greenwich, 0 to 360 degrees."""
    return np.where(longitudes < 0.0, longitudes + FULL_TURN, longitudes)


def uncut(geometry: BaseGeometry) -> BaseGeometry:
    """Return a geometry in one piece, longitudes beyond 180 where it lies across; any other as it is."""
    if not crosses(geometry):
        return geometry
    whole = shapely.transform(geometry, lambda xy: np.column_stack([eastward(xy[:, 0]), xy[:, 1]]))
    return shapely.union_all(getattr(whole, "geoms", [whole]))


def cut(geometry: BaseGeometry) -> BaseGeometry:
    """Return a (multi)polygon as ``uncut`` gives it cut along the antimeridian: longitudes within -180 to 180 degrees.

    What does not cross stays as it is. The parts west of the antimeridian come first, each in its normal form.
    """
    if not crosses(geometry):
        return geometry
    south, north = -90.0, 90.0
    near = shapely.intersection(geometry, shapely.box(-HALF_TURN, south, HALF_TURN, north))
    far = shapely.intersection(geometry, shapely.box(HALF_TURN, south, HALF_TURN + FULL_TURN, north))
    far = shapely.transform(far, lambda xy: np.column_stack([xy[:, 0] - FULL_TURN, xy[:, 1]]))
    parts = [
        part.normalize()
        for side in (near, far)
        for part in getattr(side, "geoms", [side])
        if isinstance(part, Polygon) and part.area > 0.0
    ]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def centre_lonlat(geometry: BaseGeometry) -> tuple[float, float]:
    """Return (longitude, latitude) of a geometry's centroid, cut or not, longitude within -180 to 180 degrees."""
    point = uncut(geometry).centroid
    longitude = point.x - FULL_TURN if point.x > HALF_TURN else point.x
    return float(longitude), float(point.y)
