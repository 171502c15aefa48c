"""Natural and hard ground: fields, textures, slabs, roads, trees."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from imagery.simulation.canvas import Array, Canvas, spectral_noise, strip

# Blue, green, red, near infrared reflectance of common grounds and things.
GROUNDS = {
    "asphalt": (0.09, 0.10, 0.11, 0.13), "old asphalt": (0.16, 0.17, 0.18, 0.20), "concrete": (0.27, 0.29, 0.31, 0.34),
    "gravel": (0.18, 0.21, 0.24, 0.28), "bare soil": (0.10, 0.14, 0.20, 0.28), "sand": (0.22, 0.30, 0.39, 0.46),
    "red soil": (0.07, 0.11, 0.22, 0.31), "dry grass": (0.09, 0.14, 0.18, 0.30), "grass": (0.04, 0.08, 0.06, 0.38),
    "crop": (0.03, 0.07, 0.04, 0.45), "snow": (0.80, 0.82, 0.82, 0.75), "water": (0.06, 0.06, 0.05, 0.02),
    "dark soil": (0.05, 0.06, 0.08, 0.14),
}  # fmt: skip
SECOND_COVERS = ("grass", "dry grass", "bare soil", "sand", "gravel", "dark soil")
HARD = ("asphalt", "old asphalt", "concrete", "gravel", "bare soil", "sand", "dry grass", "red soil")
PAINTS = [
    (0.10, 0.07, 0.05), (0.06, 0.10, 0.28), (0.12, 0.16, 0.22), (0.30, 0.14, 0.07), (0.55, 0.55, 0.55), (0.75, 0.76, 0.78),
    (0.10, 0.20, 0.12), (0.07, 0.07, 0.30), (0.30, 0.30, 0.32), (0.05, 0.30, 0.45), (0.20, 0.20, 0.20), (0.13, 0.13, 0.38),
    (0.45, 0.30, 0.15), (0.10, 0.25, 0.30), (0.06, 0.06, 0.06),
]  # fmt: skip


def paint_colour(rng: np.random.Generator) -> Array:
    if rng.random() < 0.6:
        base = np.array(PAINTS[rng.integers(len(PAINTS))])
    else:
        base = rng.uniform(0.03, 0.7) * rng.uniform(0.5, 1.5, 3)
    base = np.clip(base * rng.uniform(0.6, 1.4), 0.02, 0.9)
    return np.append(base, np.clip(base.mean() * rng.uniform(0.7, 1.8), 0.02, 0.95)).astype(np.float32)


def ground_colour(name: str, rng: np.random.Generator) -> Array:
    return (np.array(GROUNDS[name]) * rng.uniform(0.65, 1.4) * rng.uniform(0.95, 1.05, 4)).astype(np.float32)


def blank(rng: np.random.Generator, extent_m: float, step_m: float) -> Canvas:
    """Return natural ground: fields of different cover with soft or hard borders and texture at several scales."""
    size = int(np.ceil(extent_m / step_m / 8) * 8)
    names = rng.choice(
        [n for n in GROUNDS if n not in {"snow", "water"}], size=rng.integers(1, 6 if extent_m < 600 else 9)
    )
    cells = int(rng.integers(1, 9) * max(1.0, (extent_m / 400) ** 1.5))
    seeds = rng.uniform(0, size, (cells, 2)).astype(np.float32)
    warp = spectral_noise(rng, size, 1.8) * np.float32(rng.uniform(0, 12 / step_m) / max(1.0, extent_m / 600))
    rows, cols = np.mgrid[0:size, 0:size].astype(np.float32)
    stretch = np.float32(rng.uniform(0.3, 3.0))
    closest = np.full((size, size), np.inf, np.float32)
    nearest = np.zeros((size, size), np.intp)
    for i, (r, c) in enumerate(seeds):
        far = (rows + warp - r) ** 2 * stretch + (cols + warp.T - c) ** 2
        np.copyto(nearest, i, where=far < closest)
        np.minimum(closest, far, out=closest)
    colours = np.stack([ground_colour(str(names[i % len(names)]), rng) for i in range(cells)], axis=1)
    albedo = np.take(colours, nearest, axis=1)
    if rng.random() < 0.7:  # a second cover grows or lies in patches, soft or sharp
        patches = spectral_noise(
            rng, size, rng.uniform(0.9, 1.8), rng.choice([1, 1, 4]), rng.uniform(0, np.pi)
        )
        share = np.clip((patches - rng.uniform(-0.5, 1.5)) * rng.uniform(0.5, 6) + 0.5, 0, 1).astype(
            np.float32
        )
        second = ground_colour(str(rng.choice(list(SECOND_COVERS))), rng)
        albedo += (second[:, None, None] - albedo) * (share * np.float32(rng.uniform(0.3, 1.0)))
    texture = np.zeros((size, size), np.float32)
    for slope, low, high in ((0.3, 0.0, 0.10), (1.0, 0.0, 0.15), (1.8, 0.0, 0.15)):
        texture += spectral_noise(
            rng, size, slope, rng.choice([1, 1, 6]), rng.uniform(0, np.pi)
        ) * rng.uniform(low, high)
    if rng.random() < 0.3:  # furrows or mowing stripes in one field
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.8, 8.0)
        wave = np.sin(2 * np.pi * (rows * np.sin(angle) + cols * np.cos(angle)) * step_m / period)
        texture += (nearest == rng.integers(cells)) * wave * rng.uniform(0.02, 0.25)
    albedo *= np.exp(texture).astype(np.float32)
    relief = spectral_noise(rng, size, 2.2) * rng.uniform(0, 0.25) + spectral_noise(
        rng, size, 1.0
    ) * rng.uniform(0, 0.03)
    return Canvas(
        step_m, size, relief, albedo, np.zeros_like(relief), np.zeros_like(relief), np.zeros_like(relief), rng
    )


def slab(
    canvas: Canvas,
    x: float,
    y: float,
    length: float,
    width: float,
    angle: float,
    colour_of: Callable[[str, np.random.Generator], Array] = ground_colour,
) -> None:
    """Paint flat hard ground, with patches, joints or stains."""
    rng = canvas.rng
    part, inside, u, v = canvas.box(x, y, length, width, angle)
    colour = colour_of(str(rng.choice(HARD)), rng)
    view = canvas.albedo[(slice(None), *part)]
    mottled = np.exp(
        ndimage.gaussian_filter(rng.standard_normal(u.shape), rng.uniform(0.5, 6)) * rng.uniform(0, 0.3)
    )
    paint = colour[:, None, None] * mottled[None].astype(np.float32)
    if rng.random() < 0.4:
        pitch = rng.uniform(2.5, 9)
        joints = (np.abs((u % pitch) - pitch / 2) < 0.15) | (np.abs((v % pitch) - pitch / 2) < 0.15)
        paint = paint * np.where(joints, rng.uniform(0.6, 1.3), 1.0)
    view[:, inside] = paint[:, inside]
    canvas.height[part][inside] *= 0.2


def road(canvas: Canvas) -> None:
    """Paint a straight or bent road or track, perhaps kerbed, marked, or on a bank."""
    rng = canvas.rng
    ends = rng.uniform(0, canvas.extent, (3, 2))
    width = rng.uniform(2.5, 12)
    lift = rng.uniform(-1.5, 1.5) if rng.random() < 0.25 else 0.0
    part, distance, along = strip(canvas, ends[: rng.integers(2, 4)], width / 2 + 2 * abs(lift) + 0.5)
    albedo, height = canvas.albedo[(slice(None), *part)], canvas.height[part]
    on = distance < width / 2
    colour = ground_colour(
        str(rng.choice(["asphalt", "old asphalt", "gravel", "bare soil", "sand", "concrete"])), rng
    )
    ruts = 1 + rng.uniform(0, 0.12) * np.cos(2 * np.pi * distance[on] / rng.uniform(1.5, 3.0))
    albedo[:, on] = colour[:, None] * ruts * np.exp(rng.standard_normal(int(on.sum())) * 0.04)
    height[on] *= 0.3
    if rng.random() < 0.5:
        mark = on & (distance < 0.12) & ((along % rng.uniform(4, 12)) < rng.uniform(2, 12))
        albedo[:, mark] = rng.uniform(0.3, 0.6)
    if rng.random() < 0.4:
        kerb = np.abs(distance - width / 2) < rng.uniform(0.1, 0.3)
        albedo[:, kerb] = rng.uniform(0.2, 0.5)
        height[kerb] += rng.uniform(0, 0.2)
    if lift:  # flat-topped embankment or, negative, a cutting: one road, not a berm
        height += (lift * np.clip(1 - (distance - width / 2) / (abs(lift) * 2 + 0.1), 0, 1)).astype(
            np.float32
        )
    for plane in (canvas.container, canvas.berm, canvas.other):
        plane[part][on] = 0


def trees(canvas: Canvas, colour_of: Callable[[str, np.random.Generator], Array] = ground_colour) -> None:
    """Plant single trees, a line, a hedge or a wood."""
    rng = canvas.rng
    kind = rng.choice(["single", "line", "hedge", "wood"])
    colour = colour_of(str(rng.choice(["grass", "crop", "dry grass", "dark soil"])), rng) * rng.uniform(
        0.4, 0.9
    )
    x, y = rng.uniform(0, canvas.extent, 2)
    angle, count = rng.uniform(0, 2 * np.pi), {"single": 3, "line": 18, "hedge": 60, "wood": 90}[str(kind)]
    for k in range(count):
        if kind in {"line", "hedge"}:
            step = 7.0 if kind == "line" else 1.2
            cx, cy = x + k * step * np.cos(angle), y + k * step * np.sin(angle)
        else:
            cx, cy = x + rng.normal(0, 18), y + rng.normal(0, 18)
        radius = rng.uniform(0.8, 1.4) if kind == "hedge" else rng.uniform(1.5, 5)
        tall = radius * rng.uniform(1.2, 2.4)
        part = canvas.window(cx, cy, radius)
        d = np.hypot(canvas.xx[part] - cx, canvas.yy[part] - cy) / radius
        ragged = d + 0.25 * rng.standard_normal(d.shape)
        inside = ragged < 1
        if not inside.any():
            continue
        top = canvas.height[part]
        top[inside] = np.maximum(
            top[inside], (tall * np.sqrt(np.clip(1 - d[inside] ** 2, 0.05, 1))).astype(np.float32)
        )
        canvas.albedo[(slice(None), *part)][:, inside] = colour[:, None] * np.exp(
            0.2 * rng.standard_normal(int(inside.sum()))
        )
        for plane in (canvas.container, canvas.berm, canvas.other):
            plane[part][inside] = 0
