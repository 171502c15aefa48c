"""How the sun draws height on the ground: where the shadow of a raised point falls.

A berm is often narrower than a pixel while its shadow in winter sun is not, so the detectors
look for a lit slope beside a shadow, and need to know on which side and how long.
Terrain slope is ignored here; `docs/accuracy.md` says what that costs.
"""

import math
from dataclasses import dataclass

from imagery.errors import SunTooLow

# Refraction lifts the sun by 0.16 degrees here, 3 % of the angle and so of every height
# derived from it; lower down the share grows fast and shadows of neighbours merge.
MIN_SUN_ELEVATION_DEG = 5.0


@dataclass(frozen=True, slots=True)
class Sun:
    """Sun position at one acquisition; azimuth clockwise from *grid* north, both in degrees.

    STAC's ``view:sun_azimuth`` counts from true north: subtract the meridian convergence first.
    """

    azimuth_deg: float
    elevation_deg: float


@dataclass(frozen=True, slots=True)
class View:
    """Where the sensor stands seen from the ground; azimuth clockwise from *grid* north, both in degrees.

    A raised point at height h leans away from the sensor by ``h * tan(off_nadir)``, towards ``azimuth + 180``.
    """

    azimuth_deg: float
    off_nadir_deg: float


def shadow_offset(height_m: float, sun: Sun) -> tuple[float, float]:
    """Return ``(east, north)`` in metres from a point's foot to its shadow on level ground."""
    if not sun.elevation_deg >= MIN_SUN_ELEVATION_DEG:  # written so that NaN is refused too
        raise SunTooLow(f"sun at {sun.elevation_deg} deg, shadows need {MIN_SUN_ELEVATION_DEG}")
    length_m = height_m / math.tan(math.radians(sun.elevation_deg))
    away = math.radians(sun.azimuth_deg + 180.0)
    return length_m * math.sin(away), length_m * math.cos(away)


def lean_offset(height_m: float, view: View) -> tuple[float, float]:
    """Return ``(east, north)`` in metres by which a raised point is displaced in an orthoimage of the ground."""
    length_m = height_m * math.tan(math.radians(view.off_nadir_deg))
    away = math.radians(view.azimuth_deg + 180.0)
    return length_m * math.sin(away), length_m * math.cos(away)
