"""Sun, shadow and lean: how a height map is lit and how raised things move under an oblique view."""

import math
from datetime import datetime

import numpy as np
from scipy import ndimage

from imagery.illumination import Sun, View
from imagery.simulation.canvas import Array, Canvas

LONGEST_SHADOW_M = 70.0
# Half the height over which a shadow's edge fades: the sun is half a degree wide and objects are not razors.
PENUMBRA_M = 0.125


def sun_position(t_utc: datetime, longitude: float, latitude: float) -> Sun:
    """Return the sun's azimuth (clockwise from true north) and elevation in degrees, without refraction.

    Source: NOAA Global Monitoring Laboratory, General Solar Position Calculations (Fourier series of the year angle);
    good to about 0.3 degrees between 1950 and 2050.
    """
    day = t_utc.timetuple().tm_yday
    hour = t_utc.hour + t_utc.minute / 60 + t_utc.second / 3600
    year = 2 * math.pi / 365 * (day - 1 + (hour - 12) / 24)
    equation_min = 229.18 * (
        0.000075
        + 0.001868 * math.cos(year)
        - 0.032077 * math.sin(year)
        - 0.014615 * math.cos(2 * year)
        - 0.040849 * math.sin(2 * year)
    )
    declination = (
        0.006918
        - 0.399912 * math.cos(year)
        + 0.070257 * math.sin(year)
        - 0.006758 * math.cos(2 * year)
        + 0.000907 * math.sin(2 * year)
        - 0.002697 * math.cos(3 * year)
        + 0.00148 * math.sin(3 * year)
    )
    solar_min = hour * 60 + equation_min + 4 * longitude
    angle = math.radians(solar_min / 4 - 180)
    phi = math.radians(latitude)
    sine = math.sin(phi) * math.sin(declination) + math.cos(phi) * math.cos(declination) * math.cos(angle)
    elevation = math.asin(max(-1.0, min(1.0, sine)))
    azimuth = math.atan2(
        -math.cos(declination) * math.sin(angle),
        math.cos(phi) * math.sin(declination) - math.sin(phi) * math.cos(declination) * math.cos(angle),
    )
    return Sun(math.degrees(azimuth) % 360, math.degrees(elevation))


def sunlight(canvas: Canvas, sun: Sun) -> tuple[Array, Array]:
    """Return (direct, sky): cosine on the slope times how much of the sun is seen, and the share of open sky."""
    height, step = canvas.height, canvas.step_m
    gy, gx = np.gradient(ndimage.gaussian_filter(height, 0.6), step)
    az, el = math.radians(sun.azimuth_deg), math.radians(sun.elevation_deg)
    sx, sy, sz = math.sin(az) * math.cos(el), -math.cos(az) * math.cos(el), math.sin(el)
    cosine = (-gx * sx - gy * sy + sz) / np.sqrt(1 + np.clip(gx**2 + gy**2, 0, 9))
    tallest = float(height.max() - np.percentile(height[::4, ::4], 2)) + 0.1
    reach = min(tallest / math.tan(el), LONGEST_SHADOW_M)
    shade = np.full_like(height, -np.inf)
    for k in range(1, int(reach / step) + 1):
        rows, cols = round(math.cos(az) * k), round(-math.sin(az) * k)
        moved = np.roll(height, (rows, cols), (0, 1))
        shade = np.maximum(shade, moved - k * step * math.tan(el))
    lit = np.clip((height - shade) / (2 * PENUMBRA_M) + 0.5, 0, 1)
    direct: Array = (np.clip(cosine, 0, None) * lit).astype(np.float32)
    sky: Array = (0.85 + 0.15 * lit).astype(np.float32)
    return direct, sky


def seen(canvas: Canvas, planes: Array, view: View) -> Array:
    """Lean raised things away from the sensor; planes are (plane, row, col), the highest surface wins."""
    if view.off_nadir_deg < 1:
        return planes
    lean = math.tan(math.radians(view.off_nadir_deg)) / canvas.step_m
    away = math.radians(view.azimuth_deg + 180)
    height = np.clip(canvas.height, 0, None)
    rows, cols = np.mgrid[0 : canvas.size, 0 : canvas.size]
    order = np.argsort(height, axis=None, kind="stable")
    last = canvas.size - 1
    r = np.clip(np.rint(rows - height * math.cos(away) * lean), 0, last).astype(np.intp).ravel()[order]
    c = np.clip(np.rint(cols + height * math.sin(away) * lean), 0, last).astype(np.intp).ravel()[order]
    out = planes.copy()
    out[:, r, c] = planes.reshape(len(planes), -1)[:, order]
    return out
