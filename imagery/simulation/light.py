"""Sun, shadow and lean: how a height map is lit and how raised things move under an oblique view."""

import math
from datetime import datetime

import numpy as np
from scipy import ndimage

from imagery.illumination import Sun, View
from imagery.simulation.canvas import Array, Canvas

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


def ceiling(height: Array, step_m: float, azimuth_deg: float, elevation_deg: float) -> Array:
    """Return (row, col) metres: how high a point must rise to be seen from a direction, -inf where nothing stands before it.

    One sweep away from the source, row by row along the axis nearest to the ray; neighbouring rays share one staircase,
    so nothing blurs or drifts. Exact to half a cell across the ray.
    """
    toward = (-math.cos(math.radians(azimuth_deg)), math.sin(math.radians(azimuth_deg)))
    turned = abs(toward[0]) < abs(toward[1])
    major, minor = toward[::-1] if turned else toward
    surface = height.T if turned else height
    surface = np.ascontiguousarray(surface if major < 0 else surface[::-1])
    slope = minor / abs(major)
    drop = np.float32(step_m * math.hypot(1.0, slope) * math.tan(math.radians(elevation_deg)))
    over = np.full_like(surface, -np.inf)
    for row in range(1, len(surface)):
        aside = round(slope * row) - round(slope * (row - 1))
        above = np.maximum(surface[row - 1], over[row - 1]) - drop
        if aside > 0:
            over[row, :-aside] = above[aside:]
        elif aside < 0:
            over[row, -aside:] = above[:aside]
        else:
            over[row] = above
    over = over if major < 0 else over[::-1]
    return np.ascontiguousarray(over.T if turned else over)


def slopes(height: Array, step_m: float) -> tuple[Array, Array]:
    """Return (southward, eastward) slope; the gentler of both sides, so that walls are no slopes."""

    def gentler(axis: int) -> Array:
        steps = np.diff(height, axis=axis) / np.float32(step_m)
        pad = [(0, 0), (0, 0)]
        pad[axis] = (1, 1)
        steps = np.pad(steps, pad)
        before, after = (steps[:-1], steps[1:]) if axis == 0 else (steps[:, :-1], steps[:, 1:])
        smaller = np.where(np.abs(before) < np.abs(after), before, after)
        result: Array = np.where(before * after > 0, smaller, np.float32(0))
        return result

    return gentler(0), gentler(1)


def sunlight(canvas: Canvas, sun: Sun) -> tuple[Array, Array]:
    """Return (direct, sky): cosine on the slope times how much of the sun is seen, and the share of open sky."""
    height, step = canvas.height, canvas.step_m
    gy, gx = slopes(height, step)
    az, el = math.radians(sun.azimuth_deg), math.radians(sun.elevation_deg)
    sx, sy, sz = math.sin(az) * math.cos(el), -math.cos(az) * math.cos(el), math.sin(el)
    cosine = (sz - gx * np.float32(sx) - gy * np.float32(sy)) / np.sqrt(1 + gx**2 + gy**2)
    over = ceiling(height, step, sun.azimuth_deg, sun.elevation_deg)
    lit = np.clip((height - over) / (2 * PENUMBRA_M) + 0.5, 0, 1)
    direct: Array = (np.clip(cosine, 0, None) * lit).astype(np.float32)
    return direct, open_sky(height, step)


def open_sky(height: Array, step_m: float) -> Array:
    """Return the share of the sky a point sees, roughly: less beside and between tall things."""
    reach = max(int(3.0 / step_m) | 1, 3)
    around = ndimage.uniform_filter(height, reach) - height
    sky: Array = np.clip(1.0 - 0.22 * np.clip(around, 0, None), 0.45, 1.0).astype(np.float32)
    return sky


def seen(canvas: Canvas, planes: Array, view: View, wall: float = 1.0) -> Array:
    """Return planes (plane, row, col) as an oblique orthoimage shows them: raised things lean away from the sensor.

    A pixel shows the last surface on its ray to the sensor, so roofs hide what lies behind them and walls that face the
    sensor appear; those are ``wall`` times as bright as the top they belong to.
    """
    if view.off_nadir_deg < 1:
        return planes
    step, height = canvas.step_m, canvas.height
    lean = math.tan(math.radians(view.off_nadir_deg))
    over = ceiling(height, step, view.azimuth_deg, 90.0 - view.off_nadir_deg)
    rows, cols = np.nonzero(over > 0)
    if rows.size == 0:
        return planes
    north, east = math.cos(math.radians(view.azimuth_deg)), math.sin(math.radians(view.azimuth_deg))
    source, drop = np.full(rows.size, -1, np.intp), np.zeros(rows.size, np.float32)
    open_rays = np.arange(rows.size)
    for k in range(int(float(height.max()) * lean / step), 0, -1):
        r = np.clip(rows[open_rays] - round(north * k), 0, canvas.size - 1)
        c = np.clip(cols[open_rays] + round(east * k), 0, canvas.size - 1)
        excess = height[r, c] - k * step / lean
        hit = excess >= 0
        source[open_rays[hit]] = (r * canvas.size + c)[hit]
        drop[open_rays[hit]] = excess[hit]
        open_rays = open_rays[~hit]
    found = source >= 0
    flat = planes.reshape(len(planes), -1)
    bright = np.where(drop[found] >= step / lean, np.float32(wall), np.float32(1))
    out = planes.copy()
    out[:, rows[found], cols[found]] = flat[:, source[found]] * bright
    return out


def wall_light(sun: Sun, view: View, fill: float) -> float:
    """Return how bright a wall that faces the sensor is, relative to level ground in the sun."""
    turn = math.cos(math.radians(sun.azimuth_deg - view.azimuth_deg))
    facing = turn / math.tan(math.radians(sun.elevation_deg))
    return fill + (1 - fill) * min(max(facing, 0.0), 1.5)
