"""A second, plainer scene painter, for training only.

Everything is a height map and an albedo map on one fine grid, painted with primitives (oriented boxes, strips along
polylines, blobs) over spectral-noise ground, lit by one sun with marched shadows, seen from one direction. ``imagery.simulation``
grew from an early copy of it and went its own way: scores on that are no scores on a foreign renderer.
"""

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]


@dataclass
class Canvas:
    """The world on a fine grid of ``step_m``: height (m), albedo (4, row, col) for blue green red nir, and labels."""

    step_m: float
    size: int
    height: Array
    albedo: Array
    container: Array
    berm: Array
    other: Array
    rng: np.random.Generator
    yy: Array = field(init=False)
    xx: Array = field(init=False)

    def __post_init__(self) -> None:
        axis = np.arange(self.size, dtype=np.float32) * self.step_m
        self.yy, self.xx = np.meshgrid(axis, axis, indexing="ij")

    @property
    def extent(self) -> float:
        return self.size * self.step_m

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Return the part of the canvas within ``reach`` metres of a point."""
        lo = lambda v: int(np.clip((v - reach) / self.step_m, 0, self.size))  # noqa: E731
        hi = lambda v: int(np.clip((v + reach) / self.step_m + 2, 0, self.size))  # noqa: E731
        return slice(lo(y), hi(y)), slice(lo(x), hi(x))

    def box(
        self, x: float, y: float, length: float, width: float, angle: float
    ) -> tuple[tuple[slice, slice], NDArray, Array, Array]:
        """Return (window, inside, u, v): u along the length, v across, metres from the centre."""
        part = self.window(x, y, np.hypot(length, width) / 2 + self.step_m)
        dx, dy = self.xx[part] - x, self.yy[part] - y
        u = dx * np.cos(angle) + dy * np.sin(angle)
        v = -dx * np.sin(angle) + dy * np.cos(angle)
        return part, (np.abs(u) <= length / 2) & (np.abs(v) <= width / 2), u, v


def spectral_noise(
    rng: np.random.Generator, size: int, slope: float, anisotropy: float = 1.0, angle: float = 0.0
) -> Array:
    """Return (size, size) zero-mean unit-variance noise with a power law spectrum, optionally stretched along an angle."""
    fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    fu, fv = fx * np.cos(angle) + fy * np.sin(angle), -fx * np.sin(angle) + fy * np.cos(angle)
    radius = np.sqrt((fu * anisotropy) ** 2 + fv**2)
    radius[0, 0] = 1.0
    spectrum = (rng.standard_normal(fx.shape) + 1j * rng.standard_normal(fx.shape)) * radius ** (-slope)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return (noise / (noise.std() + 1e-9)).astype(np.float32)


# Blue, green, red, near infrared reflectance of common grounds and things.
GROUNDS = {
    "asphalt": (0.09, 0.10, 0.11, 0.13), "old asphalt": (0.16, 0.17, 0.18, 0.20), "concrete": (0.27, 0.29, 0.31, 0.34),
    "gravel": (0.18, 0.21, 0.24, 0.28), "bare soil": (0.10, 0.14, 0.20, 0.28), "sand": (0.22, 0.30, 0.39, 0.46),
    "red soil": (0.07, 0.11, 0.22, 0.31), "dry grass": (0.09, 0.14, 0.18, 0.30), "grass": (0.04, 0.08, 0.06, 0.38),
    "crop": (0.03, 0.07, 0.04, 0.45), "snow": (0.80, 0.82, 0.82, 0.75), "water": (0.06, 0.06, 0.05, 0.02),
    "dark soil": (0.05, 0.06, 0.08, 0.14),
}  # fmt: skip
HARD = ("asphalt", "old asphalt", "concrete", "gravel", "bare soil", "sand", "dry grass", "red soil")
ON_TRAILERS = 0.3  # share of the groups of containers
PAINTS = [
    (0.10, 0.07, 0.05), (0.06, 0.10, 0.28), (0.12, 0.16, 0.22), (0.30, 0.14, 0.07), (0.55, 0.55, 0.55), (0.75, 0.76, 0.78),
    (0.10, 0.20, 0.12), (0.07, 0.07, 0.30), (0.30, 0.30, 0.32), (0.05, 0.30, 0.45), (0.20, 0.20, 0.20), (0.13, 0.13, 0.38),
    (0.45, 0.30, 0.15), (0.10, 0.25, 0.30), (0.06, 0.06, 0.06),
]  # fmt: skip


def _paint_colour(rng: np.random.Generator) -> Array:
    if rng.random() < 0.6:
        base = np.array(PAINTS[rng.integers(len(PAINTS))])
    else:
        base = rng.uniform(0.03, 0.7) * rng.uniform(0.5, 1.5, 3)
    base = np.clip(base * rng.uniform(0.6, 1.4), 0.02, 0.9)
    return np.append(base, np.clip(base.mean() * rng.uniform(0.7, 1.8), 0.02, 0.95)).astype(np.float32)


def _ground_colour(name: str, rng: np.random.Generator) -> Array:
    return (np.array(GROUNDS[name]) * rng.uniform(0.7, 1.35) * rng.uniform(0.9, 1.1, 4)).astype(np.float32)


def blank(rng: np.random.Generator, extent_m: float, step_m: float) -> Canvas:
    """Return natural ground: fields of different cover with soft or hard borders and texture at several scales."""
    size = int(np.ceil(extent_m / step_m / 8) * 8)
    names = rng.choice([n for n in GROUNDS if n not in {"snow", "water"}], size=rng.integers(1, 6))
    cells = max(1, int(rng.integers(1, 9)))
    seeds = rng.uniform(0, size, (cells, 2))
    warp = spectral_noise(rng, size, 1.8) * rng.uniform(0, 12 / step_m)
    rows, cols = np.mgrid[0:size, 0:size].astype(np.float32)
    stretch = rng.uniform(0.3, 3.0)
    nearest = np.argmin(
        [(rows + warp - r) ** 2 * stretch + (cols + warp.T - c) ** 2 for r, c in seeds], axis=0
    )
    colours = np.stack([_ground_colour(str(names[i % len(names)]), rng) for i in range(cells)])
    albedo = colours[nearest].transpose(2, 0, 1).astype(np.float32)
    texture = np.zeros((size, size), np.float32)
    for slope, low, high in ((0.3, 0.0, 0.10), (1.0, 0.0, 0.15), (1.8, 0.0, 0.15)):
        texture += spectral_noise(
            rng, size, slope, rng.choice([1, 1, 6]), rng.uniform(0, np.pi)
        ) * rng.uniform(low, high)
    if rng.random() < 0.3:  # furrows or mowing stripes in one field
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.8, 8.0)
        wave = np.sin(2 * np.pi * (rows * np.sin(angle) + cols * np.cos(angle)) * step_m / period)
        texture += (nearest == rng.integers(cells)) * wave * rng.uniform(0.02, 0.25)
    albedo *= np.exp(texture)
    zeros = lambda: np.zeros((size, size), np.float32)  # noqa: E731
    relief = spectral_noise(rng, size, 2.2) * rng.uniform(0, 0.25) + spectral_noise(
        rng, size, 1.0
    ) * rng.uniform(0, 0.03)
    return Canvas(step_m, size, relief, albedo, zeros(), zeros(), zeros(), rng)


def _fill(
    canvas: Canvas,
    part: tuple[slice, slice],
    inside: NDArray,
    colour: Array,
    height: float | Array | None,
    label: Array | None,
) -> None:
    view = canvas.albedo[(slice(None), *part)]
    view[:, inside] = np.broadcast_to(
        colour[:, None] if colour.ndim == 1 else colour[:, inside], (4, int(inside.sum()))
    )
    if height is not None:
        top = canvas.height[part]
        top[inside] = (np.median(top[inside]) if inside.any() else 0.0) + (
            height[inside] if isinstance(height, np.ndarray) else height
        )
    for plane in (canvas.container, canvas.berm, canvas.other):
        plane[part][inside] = 1.0 if plane is label else 0.0


def slab(canvas: Canvas, x: float, y: float, length: float, width: float, angle: float) -> None:
    """Paint flat hard ground, with patches, joints or stains."""
    rng = canvas.rng
    part, inside, u, v = canvas.box(x, y, length, width, angle)
    colour = _ground_colour(str(rng.choice(HARD)), rng)
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
    distance, along = polyline_distance(canvas, ends[: rng.integers(2, 4)])
    on = distance < width / 2
    colour = _ground_colour(
        str(rng.choice(["asphalt", "old asphalt", "gravel", "bare soil", "sand", "concrete"])), rng
    )
    canvas.albedo[:, on] = colour[:, None] * np.exp(rng.standard_normal(int(on.sum())) * 0.03)
    if rng.random() < 0.5:
        mark = on & (distance < 0.12) & ((along % rng.uniform(4, 12)) < rng.uniform(2, 12))
        canvas.albedo[:, mark] = 0.6
    if rng.random() < 0.4:
        kerb = np.abs(distance - width / 2) < rng.uniform(0.1, 0.3)
        canvas.albedo[:, kerb] = rng.uniform(0.2, 0.5)
        canvas.height[kerb] += rng.uniform(0, 0.2)
    if rng.random() < 0.25:  # flat-topped embankment or, negative, a cutting: one road, not a berm
        lift = rng.uniform(-1.5, 1.5)
        canvas.height += lift * np.clip(1 - (distance - width / 2) / (abs(lift) * 2 + 0.1), 0, 1)
    for plane in (canvas.container, canvas.berm, canvas.other):
        plane[on] = 0


def polyline_distance(canvas: Canvas, points: Array) -> tuple[Array, Array]:
    """Return distance (m) to a polyline and length along it (m), for every pixel."""
    best = np.full(canvas.height.shape, np.inf, np.float32)
    along = np.zeros_like(best)
    run = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        length = float(np.hypot(x1 - x0, y1 - y0)) + 1e-6
        t = np.clip(((canvas.xx - x0) * (x1 - x0) + (canvas.yy - y0) * (y1 - y0)) / length**2, 0, 1)
        d = np.hypot(canvas.xx - x0 - t * (x1 - x0), canvas.yy - y0 - t * (y1 - y0))
        closer = d < best
        best = np.where(closer, d, best)
        along = np.where(closer, run + t * length, along)
        run += length
    return best.astype(np.float32), along.astype(np.float32)


def berm(canvas: Canvas, x: float, y: float) -> None:
    """Raise a bank: straight, bent, U, ring or cells; 0.5-5.5 m high, sides of 12-45 degrees, bare to grown over."""
    rng = canvas.rng
    height = rng.uniform(0.5, 2.0) if rng.random() < 0.5 else rng.uniform(1.0, 5.5)
    crest = rng.uniform(0.0, 4.0)
    side = height / np.tan(np.radians(rng.uniform(12, 45)))
    angle = rng.uniform(0, 2 * np.pi)
    length, depth = rng.uniform(12, 110), rng.uniform(12, 60)
    shape = rng.choice(["straight", "straight", "bent", "u", "ring", "cells"])
    line = {
        "straight": [(-length / 2, 0), (length / 2, 0)],
        "bent": [(-length / 2, 0), (0, rng.uniform(-10, 10)), (length / 2, rng.uniform(-20, 20))],
        "u": [(-length / 4, depth), (-length / 4, 0), (length / 4, 0), (length / 4, depth)],
        "ring": [(length / 4 * np.cos(a), length / 4 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 14)],
        "cells": [
            (-length / 2, 0),
            (length / 2, 0),
            (length / 2, depth),
            (0, depth),
            (0, 0),
            (0, depth),
            (-length / 2, depth),
            (-length / 2, 0),
        ],
    }[str(shape)]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.array(line) @ turn.T + (x, y)
    distance, along = polyline_distance(canvas, points)
    wobble = (
        ndimage.gaussian_filter(rng.standard_normal(distance.shape), 2.0 / canvas.step_m)
        * 2.0
        / canvas.step_m
    )
    distance = distance + (wobble * rng.uniform(0, 0.6)).astype(np.float32)
    profile = np.clip(1 - (distance - crest / 2) / side, 0, 1)
    draw = rng.random()
    if draw < 0.35:
        profile = profile**2 * (3 - 2 * profile)
    elif draw < 0.6:  # slumped: no edge at the crest and none at the foot
        profile = np.exp(-0.5 * (2 * distance / (crest + side)) ** 2) * (distance < 1.5 * (crest + side))
    if rng.random() < 0.3:  # worn unevenly along its length
        profile = profile * np.clip(1 + 0.25 * spectral_noise(rng, canvas.size, 1.6), 0.3, 1.2)
    gaps = rng.random() < 0.2
    if gaps:
        profile = profile * ((along % rng.uniform(25, 60)) > 5)
    canvas.height += (profile * height).astype(np.float32)
    on = profile > 0.12
    if rng.random() < 0.25:  # the strip it was pushed up from, or the track along it
        off = crest / 2 + side + rng.uniform(0, 4)
        strip = (distance > off) & (distance < off + rng.uniform(2, 8))
        canvas.albedo[:, strip] = _ground_colour(str(rng.choice(HARD)), rng)[:, None] * np.exp(
            0.06 * rng.standard_normal(int(strip.sum()))
        )
        canvas.height[strip] -= rng.uniform(0, 0.5)
    fresh = rng.random() < 0.6
    cover = (
        {"bare soil", "dark soil", "sand", "red soil", "gravel"} if fresh else {"grass", "dry grass", "crop"}
    )
    names = [n for n in GROUNDS if n in cover]
    colour = _ground_colour(str(rng.choice(names)), rng)
    if rng.random() < 0.65:  # else of the very ground it stands on: only its light and shade tell
        blend = np.clip(profile * 4, 0, 1)[None]
        texture = np.exp(
            ndimage.gaussian_filter(rng.standard_normal(distance.shape), rng.uniform(0.5, 3))
            * rng.uniform(0, 0.4)
        )
        canvas.albedo[:] = canvas.albedo * (1 - blend) + blend * colour[:, None, None] * texture[None]
    for plane in (canvas.container, canvas.other):
        plane[on] = 0
    canvas.berm[on] = 1


def ditch_or_heap(canvas: Canvas) -> None:
    """Dig a ditch (a berm's flanks swapped) or pile a heap."""
    rng = canvas.rng
    x, y = rng.uniform(0, canvas.extent, 2)
    if rng.random() < 0.5:
        ends = np.stack([(x, y), np.add((x, y), rng.uniform(-80, 80, 2))])
        distance, _ = polyline_distance(canvas, ends)
        canvas.height -= (rng.uniform(0.5, 3) * np.clip(1 - distance / rng.uniform(1.5, 5), 0, 1)).astype(
            np.float32
        )
        return
    radius, tall = rng.uniform(2, 9), rng.uniform(1, 5)
    part = canvas.window(x, y, radius * 1.5)
    d = np.hypot(canvas.xx[part] - x, (canvas.yy[part] - y) * rng.uniform(0.7, 1.4)) / radius
    cone = np.clip(1 - d, 0, 1).astype(np.float32)
    canvas.height[part] += cone * tall
    inside = cone > 0.1
    colour = _ground_colour(str(rng.choice(["bare soil", "sand", "gravel", "dark soil"])), rng)
    canvas.albedo[(slice(None), *part)][:, inside] = colour[:, None]
    canvas.other[part][inside] = 1
    canvas.berm[part][inside] = 0


def containers(canvas: Canvas, x: float, y: float) -> None:
    """Stand containers: one, a row, or a block, with gaps, stacks, wear and slight disorder; some on trailers."""
    rng = canvas.rng
    if rng.random() < ON_TRAILERS:
        _on_trailers(canvas, x, y)
        return
    rows, cols = (1, 1) if rng.random() < 0.3 else (int(rng.integers(1, 5)), int(rng.integers(1, 9)))
    length = float(rng.choice([6.06, 12.19, 12.19, 13.72]))
    angle = rng.uniform(0, np.pi)
    gap_long, gap_wide = rng.uniform(0.2, 3.0), rng.choice([0.05, 0.3, rng.uniform(0.3, 3)])
    fleet = [_paint_colour(rng) for _ in range(rng.integers(1, 6))]
    missing, disorder = rng.uniform(0, 0.35), rng.choice([0, 0, 0.02, 0.06])
    for i in range(rows):
        for j in range(cols):
            if rows * cols > 1 and rng.random() < missing:
                continue
            du, dv = (i - (rows - 1) / 2) * (length + gap_long), (j - (cols - 1) / 2) * (2.44 + gap_wide)
            cx, cy = x + du * np.cos(angle) - dv * np.sin(angle), y + du * np.sin(angle) + dv * np.cos(angle)
            own = length if rng.random() < 0.85 else (6.06 if length > 7 else 12.19)
            part, inside, u, v = canvas.box(cx, cy, own, 2.44, angle + rng.normal(0, disorder))
            if not inside.any():
                continue
            tall = rng.choice([2.59, 2.9]) * rng.choice([1, 1, 1, 2, 3])
            colour = fleet[rng.integers(len(fleet))] * rng.uniform(0.85, 1.15)
            _fill(canvas, part, inside, _roof(rng, colour, u, v, own), float(tall), canvas.container)


def _on_trailers(canvas: Canvas, x: float, y: float) -> None:
    """Park trailers side by side, each under a container or bare, some with a tractor before them."""
    rng = canvas.rng
    number, pitch, angle = int(rng.integers(1, 13)), rng.uniform(3.0, 5.0), rng.uniform(0, np.pi)
    slant, length = rng.uniform(-0.6, 0.6), float(rng.choice([6.06, 12.19, 12.19, 13.72]))
    fleet = [_paint_colour(rng) for _ in range(rng.integers(1, 8))]
    for k in range(number):
        off = (k - (number - 1) / 2) * pitch
        lean = off * slant + rng.normal(0, 0.2)
        cx, cy = (
            x - off * np.sin(angle) + lean * np.cos(angle),
            y + off * np.cos(angle) + lean * np.sin(angle),
        )
        heading = angle + rng.normal(0, 0.03)

        def along(d: float, cx: float = cx, cy: float = cy, heading: float = heading) -> tuple[float, float]:
            return cx + d * np.cos(heading), cy + d * np.sin(heading)

        bed = length + rng.uniform(0.2, 1.8)
        grey = np.full(4, rng.uniform(0.03, 0.2), np.float32)
        part, inside, *_ = canvas.box(*along(0.3), bed, 2.4, heading)
        if not inside.any():
            continue
        _fill(canvas, part, inside, grey, 1.2, None)
        if rng.random() < 0.5:
            part, cab, *_ = canvas.box(
                *along(bed / 2 + rng.uniform(0.8, 1.8)), rng.uniform(2, 2.6), 2.4, heading
            )
            if cab.any():
                _fill(canvas, part, cab, _paint_colour(rng), 3.2, canvas.other)
        if rng.random() < 0.8:
            part, inside, u, v = canvas.box(cx, cy, length, 2.44, heading)
            if inside.any():
                colour = fleet[rng.integers(len(fleet))] * rng.uniform(0.85, 1.15)
                _fill(canvas, part, inside, _roof(rng, colour, u, v, length), 3.9, canvas.container)


def _roof(rng: np.random.Generator, colour: Array, u: Array, v: Array, length: float) -> Array:
    """Return a roof's albedo (4, row, col): ribs, rust and dirt; some patched, marked, open, or under a tarpaulin."""
    worn = 1 + rng.uniform(0, 0.3) * ndimage.gaussian_filter(rng.standard_normal(u.shape), 1.5)
    ribs = 1 + rng.uniform(0, 0.06) * np.sign(np.sin(2 * np.pi * u / rng.uniform(0.6, 1.5)))
    paint = colour[:, None, None] * (worn * ribs)[None]
    draw = rng.random()
    if draw < 0.25:  # bleached or grimy along the middle, rust along the edges
        rim = np.clip(np.abs(v) / 1.22, 0, 1) ** rng.uniform(1, 6)
        rust = _ground_colour("red soil", rng)[:, None, None]
        paint = paint * (1 - rim * rng.uniform(0, 0.6)) + rust * rim * rng.uniform(0, 0.6)
    elif draw < 0.4:  # a blotch: a repair, a puddle, dirt blown into a corner
        at = rng.uniform(-0.5, 0.5) * length
        blotch = np.exp(-0.5 * (((u - at) / rng.uniform(0.3, 3)) ** 2 + (v / rng.uniform(0.3, 2)) ** 2))
        paint = paint * (1 - blotch * rng.uniform(-0.8, 0.7))
    elif draw < 0.5:  # letters or a logo
        block = (np.abs(u - rng.uniform(-0.3, 0.3) * length) < rng.uniform(0.5, 3)) & (np.abs(v) < 0.7)
        paint = np.where(block, rng.uniform(0.1, 0.8), paint)
    elif draw < 0.56:  # open top: the floor lies in its own shade
        inner = (np.abs(u) < length / 2 - 0.2) & (np.abs(v) < 1.05)
        paint = np.where(inner, paint * rng.uniform(0.15, 0.6), paint)
    return np.clip(paint, 0.01, 0.95).astype(np.float32)


def decoy_box(canvas: Canvas, x: float, y: float) -> None:
    """Stand something box-like that is no container: vehicle, wagon, hall, house, shed, tarp, flat slab, hay."""
    rng = canvas.rng
    kind = rng.choice(
        [
            "car",
            "car",
            "truck",
            "wagons",
            "hall",
            "house",
            "house",
            "shed",
            "tarp",
            "slab",
            "hay",
            "tank",
            "greenhouse",
            "panels",
        ]
    )
    angle = rng.uniform(0, np.pi)
    if kind in {"car", "truck", "shed", "tarp", "slab"}:
        number = 1 if rng.random() < 0.4 else int(rng.integers(2, 12))
        spans = {
            "car": (3.8, 5.2, 1.7, 2.0, 1.5),
            "truck": (6, 17, 2.4, 2.6, 3.6),
            "shed": (3, 8, 3, 6, 2.8),
            "tarp": (4, 15, 3, 9, 0.8),
            "slab": (5, 14, 2, 4, 0.0),
        }
        l0, l1, w0, w1, tall = spans[str(kind)]
        pitch = rng.uniform(1.3, 2.5)
        for k in range(number):
            length, width = rng.uniform(l0, l1), rng.uniform(w0, w1)
            off = (k - number / 2) * width * pitch
            cx, cy = x - off * np.sin(angle), y + off * np.cos(angle)
            part, inside, u, _ = canvas.box(cx, cy, length, width, angle + rng.normal(0, 0.03))
            if not inside.any():
                continue
            height = np.full(u.shape, tall, np.float32)
            if kind == "car":
                height = np.where(np.abs(u + 0.3) < length * 0.28, 1.5, 0.9).astype(np.float32)
            if kind == "truck":  # cab, gap, load: 4 m high at most, on wheels
                cab = u > length / 2 - 2.2
                height = np.where(cab, 3.0, rng.choice([1.3, 3.7])).astype(np.float32)
                height[(u > length / 2 - 2.9) & ~cab] = 1.0
            if kind == "tarp":
                height = (tall * (1 - (2 * u / length) ** 2).clip(0, 1)).astype(np.float32)
            _fill(
                canvas,
                part,
                inside,
                _paint_colour(rng),
                None if kind == "slab" else height,
                None if kind == "slab" else canvas.other,
            )
    elif kind == "wagons":
        pitch = rng.uniform(13, 20)
        for k in range(int(rng.integers(2, 9))):
            cx, cy = x + (k - 3) * pitch * np.cos(angle), y + (k - 3) * pitch * np.sin(angle)
            part, inside, _, v = canvas.box(cx, cy, pitch - rng.uniform(0.8, 1.6), 2.9, angle)
            if inside.any():
                _fill(
                    canvas,
                    part,
                    inside,
                    _paint_colour(rng),
                    (3.8 - 0.4 * v**2).astype(np.float32),
                    canvas.other,
                )
    elif kind in {"hall", "house", "greenhouse"}:
        length, width = (
            (rng.uniform(15, 60), rng.uniform(12, 30))
            if kind == "hall"
            else (rng.uniform(8, 18), rng.uniform(6.5, 11))
        )
        repeat = 1 if kind == "hall" else int(rng.integers(1, 5))
        for k in range(repeat):
            off = k * (length + rng.uniform(2, 12))
            part, inside, u, v = canvas.box(
                x + off * np.cos(angle), y + off * np.sin(angle), length, width, angle
            )
            if not inside.any():
                continue
            gable = rng.uniform(0, 0.25) if kind == "hall" else rng.choice([0.0, rng.uniform(0.3, 0.9)])
            roof = rng.uniform(3, 9) + gable * (width / 2 - np.abs(v))
            colour = _paint_colour(rng)
            if kind == "greenhouse":
                roof = 3 + 0.6 * np.abs(np.sin(np.pi * v / 3.2))
            paint = colour[:, None, None] * np.exp(rng.normal(0, 0.04, u.shape))[None]
            _fill(canvas, part, inside, paint.astype(np.float32), roof.astype(np.float32), canvas.other)
            if rng.random() < 0.4:  # skylights, vents
                part, dot, _, _ = canvas.box(
                    x + off * np.cos(angle) + rng.uniform(-3, 3),
                    y + off * np.sin(angle),
                    rng.uniform(1, 6),
                    rng.uniform(0.8, 2),
                    angle,
                )
                canvas.albedo[(slice(None), *part)][:, dot] *= rng.uniform(0.4, 1.8)
    elif kind == "hay":
        for _ in range(int(rng.integers(1, 25))):
            cx, cy = x + rng.normal(0, 15), y + rng.normal(0, 15)
            part, inside, _, _ = canvas.box(cx, cy, rng.uniform(1.2, 12), rng.uniform(1.2, 3.0), angle)
            if inside.any():
                _fill(
                    canvas,
                    part,
                    inside,
                    np.array([0.14, 0.24, 0.32, 0.45], np.float32) * np.float32(rng.uniform(0.5, 1.4)),
                    rng.uniform(1.2, 4),
                    canvas.other,
                )
    elif kind == "tank":
        radius = rng.uniform(2, 12)
        part = canvas.window(x, y, radius + 1)
        inside = np.hypot(canvas.xx[part] - x, canvas.yy[part] - y) < radius
        if inside.any():
            _fill(canvas, part, inside, _paint_colour(rng), rng.uniform(3, 10), canvas.other)
    else:
        pitch, number = rng.uniform(4, 9), int(rng.integers(3, 14))
        long = rng.uniform(10, 60)
        for k in range(number):
            off = (k - number / 2) * pitch
            part, inside, _, v = canvas.box(
                x - off * np.sin(angle), y + off * np.cos(angle), long, rng.uniform(1.8, 4), angle
            )
            if inside.any():
                _fill(
                    canvas,
                    part,
                    inside,
                    np.array([0.10, 0.06, 0.05, 0.08], np.float32),
                    (1.2 + 0.4 * v).astype(np.float32),
                    canvas.other,
                )


def trees(canvas: Canvas) -> None:
    """Plant single trees, a line, a hedge or a wood."""
    rng = canvas.rng
    kind = rng.choice(["single", "line", "hedge", "wood"])
    colour = _ground_colour(str(rng.choice(["grass", "crop", "dry grass", "dark soil"])), rng) * rng.uniform(
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


def furnish(canvas: Canvas) -> None:
    """Put a random place on the ground."""
    rng = canvas.rng
    km2 = (canvas.extent / 1000) ** 2
    many = lambda low, high: int(rng.uniform(low, high) * (km2 / 0.04) ** 0.75 + 0.5)  # noqa: E731
    where = lambda: rng.uniform(0.02, 0.98, 2) * canvas.extent  # noqa: E731
    for _ in range(many(0, 4)):
        x, y = where()
        slab(canvas, x, y, rng.uniform(15, 120), rng.uniform(10, 70), rng.uniform(0, np.pi))
    for _ in range(many(0, 3)):
        road(canvas)
    for _ in range(many(0, 2.5)):
        ditch_or_heap(canvas)
    if rng.random() < 0.7:
        for _ in range(many(0, 3.5)):
            berm(canvas, *where())
    for _ in range(many(0, 9)):
        decoy_box(canvas, *where())
    if rng.random() < 0.75:
        for _ in range(many(0, 6)):
            containers(canvas, *where())
    for _ in range(many(0, 4)):
        trees(canvas)


def countryside(canvas: Canvas) -> None:
    """Lay small fields, winding tracks, water with sand bars, worn patches, shrubs and litter: no berm among them."""
    rng = canvas.rng
    if rng.random() < 0.7:
        _small_fields(canvas)
    for _ in range(rng.integers(0, 3)):
        _worn_patches(canvas)
    if rng.random() < 0.3:
        _winding(canvas, rng.uniform(8, 45), "water", -0.5)
    for _ in range(rng.integers(0, 4)):
        _winding(
            canvas, rng.uniform(1.0, 6.0), str(rng.choice(["sand", "bare soil", "gravel", "red soil"])), 0.0
        )
    for _ in range(int(rng.choice([0, 40, 150, 400]))):
        _shrub_or_litter(canvas)


def _small_fields(canvas: Canvas) -> None:
    """Divide the ground into oblong plots with paths or low bunds between them."""
    rng = canvas.rng
    angle, long, wide = rng.uniform(0, np.pi), rng.uniform(12, 80), rng.uniform(6, 40)
    bend = spectral_noise(rng, canvas.size, 2.0) * rng.uniform(0, 4)
    u = canvas.xx * np.cos(angle) + canvas.yy * np.sin(angle) + bend
    v = -canvas.xx * np.sin(angle) + canvas.yy * np.cos(angle)
    v = v + np.floor(u / long) * rng.uniform(0, wide)
    plot = (np.floor(u / long) * 31 + np.floor(v / wide) * 17).astype(int)
    covers = ["crop", "grass", "dry grass", "bare soil", "dark soil", "water"][: rng.integers(2, 7)]
    colours = np.stack([_ground_colour(str(rng.choice(covers)), rng) for _ in range(97)])
    within = spectral_noise(rng, canvas.size, 2.0) > rng.uniform(-2, 0.5)
    fresh = colours[plot % 97].transpose(2, 0, 1) * np.exp(0.08 * spectral_noise(rng, canvas.size, 0.6))
    canvas.albedo[:, within] = fresh[:, within]
    edge = np.minimum(np.abs(u % long), np.abs(v % wide)) < rng.uniform(0.3, 1.2)
    if rng.random() < 0.7:
        edge &= within
        canvas.albedo[:, edge] = _ground_colour(
            str(rng.choice(["dry grass", "grass", "bare soil", "sand"])), rng
        )[:, None]
        canvas.height[edge] += rng.uniform(0, 0.4)


def _worn_patches(canvas: Canvas) -> None:
    """Bare or overgrown patches with ragged borders."""
    rng = canvas.rng
    patches = spectral_noise(rng, canvas.size, rng.uniform(1.2, 2.0)) > rng.uniform(0.6, 2.2)
    colour = _ground_colour(
        str(rng.choice(["sand", "bare soil", "dry grass", "crop", "dark soil", "gravel"])), rng
    )
    canvas.albedo[:, patches] = colour[:, None] * np.exp(0.12 * rng.standard_normal(int(patches.sum())))


def _winding(canvas: Canvas, width: float, cover: str, lift: float) -> None:
    """Draw a track or a stream along a bending line; its width varies."""
    rng = canvas.rng
    steps = np.cumsum(rng.normal(0, 0.35, 9)) + rng.uniform(0, 2 * np.pi)
    stride = canvas.extent / 6
    points = (
        rng.uniform(0, 1, 2) * canvas.extent
        + np.cumsum(np.stack([np.cos(steps), np.sin(steps)], 1) * stride, 0)
        - np.array([np.cos(steps[0]), np.sin(steps[0])]) * canvas.extent / 2
    )
    distance, _ = polyline_distance(canvas, points.astype(np.float32))
    ragged = spectral_noise(rng, canvas.size, 1.8) * rng.uniform(0, 0.3) * width
    on = distance + ragged < width / 2
    canvas.albedo[:, on] = _ground_colour(cover, rng)[:, None] * np.exp(
        0.05 * rng.standard_normal(int(on.sum()))
    )
    canvas.height[on] += lift
    if cover == "water":
        bar = ~on & (distance + 0.7 * ragged < width * rng.uniform(0.5, 1.1))
        canvas.albedo[:, bar] = _ground_colour("sand", rng)[:, None]


def _shrub_or_litter(canvas: Canvas) -> None:
    """Grow a shrub, or leave a stone, a log or a puddle."""
    rng = canvas.rng
    x, y = rng.uniform(0, canvas.extent, 2)
    if rng.random() < 0.3:
        part, inside, _, _ = canvas.box(x, y, rng.uniform(1, 9), rng.uniform(0.3, 1.2), rng.uniform(0, np.pi))
        tall = rng.uniform(0, 0.6)
    else:
        radius = rng.uniform(0.4, 2.5)
        part = canvas.window(x, y, radius + canvas.step_m)
        spread = np.hypot(canvas.xx[part] - x, canvas.yy[part] - y) / radius
        inside = spread + 0.3 * rng.standard_normal(spread.shape) < 1
        tall = rng.uniform(0, 1.3) * radius
    colour = _ground_colour(str(rng.choice(["grass", "crop", "dark soil", "dry grass", "gravel"])), rng)
    canvas.albedo[(slice(None), *part)][:, inside] = colour[:, None] * rng.uniform(0.4, 1.2)
    canvas.height[part][inside] += tall


def sunlight(canvas: Canvas, azimuth_deg: float, elevation_deg: float) -> tuple[Array, Array]:
    """Return (direct, sky): cosine on the slope times visibility of the sun, and share of open sky."""
    height, step = canvas.height, canvas.step_m
    gy, gx = np.gradient(ndimage.gaussian_filter(height, 0.6), step)
    az, el = np.radians(azimuth_deg), np.radians(elevation_deg)
    sx, sy, sz = np.sin(az) * np.cos(el), -np.cos(az) * np.cos(el), np.sin(el)  # y grows southward
    cosine = (-gx * sx - gy * sy + sz) / np.sqrt(1 + np.clip(gx**2 + gy**2, 0, 9))
    top = float(height.max() - np.percentile(height, 2)) + 0.1
    reach = min(top / np.tan(el), 70.0)
    shade = np.full_like(height, -np.inf)
    stride = step * 1.0
    for k in range(1, int(reach / stride) + 1):
        dx, dy = np.sin(az) * k * stride / step, -np.cos(az) * k * stride / step
        moved = np.roll(height, (-round(dy), -round(dx)), (0, 1))
        shade = np.maximum(shade, moved - k * stride * np.tan(el))
    lit = np.clip((height - shade) / 0.25 + 0.5, 0, 1)
    return (np.clip(cosine, 0, None) * lit).astype(np.float32), (0.85 + 0.15 * lit).astype(np.float32)


def seen(canvas: Canvas, planes: Array, view_azimuth_deg: float, off_nadir_deg: float) -> Array:
    """Lean raised things away from the sensor: planes (k, row, col) resampled; the highest wins."""
    if off_nadir_deg < 1:
        return planes
    lean = np.tan(np.radians(off_nadir_deg)) / canvas.step_m
    away = np.radians(view_azimuth_deg + 180)
    dx, dy = np.sin(away) * lean, -np.cos(away) * lean
    rows, cols = np.mgrid[0 : canvas.size, 0 : canvas.size]
    h = np.clip(canvas.height, 0, None)
    order = np.argsort(h, axis=None, kind="stable")
    r = np.clip(np.rint(rows + h * dy), 0, canvas.size - 1).astype(int).ravel()[order]
    c = np.clip(np.rint(cols + h * dx), 0, canvas.size - 1).astype(int).ravel()[order]
    out = planes.copy()
    out[:, r, c] = planes.reshape(len(planes), -1)[:, order]
    return out


@dataclass
class PaintedLook:
    """One look as a product would deliver it, with coverage per pixel of each class."""

    bands: tuple[str, ...]
    image: Array
    fractions: Array
    observed: NDArray[np.bool_]
    sun: tuple[float, float] | None
    view: tuple[float, float] | None
    gsd_m: float
    season: str


def _shrink(planes: Array, step_m: float, gsd_m: float, size: int, blur_px: float) -> Array:
    """Blur to the sensor's footprint and sample at its pixel centres."""
    sigma = np.hypot(blur_px, 0.0) * gsd_m / step_m
    centres = (np.arange(size) + 0.5) * gsd_m / step_m - 0.5
    grid = np.meshgrid(centres, centres, indexing="ij")
    box = max(1, round(gsd_m / step_m))
    out = np.empty((len(planes), size, size), np.float32)
    for k, plane in enumerate(planes):
        soft = ndimage.uniform_filter(plane, box) if box > 1 else plane
        if sigma > 0.2:
            soft = ndimage.gaussian_filter(soft, sigma)
        out[k] = ndimage.map_coordinates(soft, grid, order=1, mode="nearest")
    return out


def painted_site(seed: int, gsd_m: float, pixels: int = 256, looks: int = 2) -> list[PaintedLook]:
    """Paint one place and look at it ``looks`` times under other suns, seasons and sensors."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 77]))
    step = max(0.25, min(gsd_m / 2, 1.0)) if gsd_m < 2 else gsd_m / 3
    canvas = blank(rng, pixels * gsd_m + 4, step)
    furnish(canvas)
    return [photograph(canvas, gsd_m, pixels) for _ in range(looks)]


def photograph(canvas: Canvas, gsd_m: float, pixels: int) -> PaintedLook:
    rng = canvas.rng
    sun = (
        float(rng.uniform(90, 270) if rng.random() < 0.9 else rng.uniform(0, 360)),
        float(np.clip(rng.normal(42, 17), 9, 78)),
    )
    view = (float(rng.uniform(0, 360)), float(abs(rng.normal(0, 13))))
    direct, sky = sunlight(canvas, *sun)
    haze = rng.uniform(0, 0.06)
    fill = rng.uniform(0.12, 0.4)
    light = direct / max(np.sin(np.radians(sun[1])), 0.15) * (1 - fill) + fill * sky
    albedo = canvas.albedo
    season = "plain"
    draw = rng.random()
    level = canvas.height < np.percentile(canvas.height, 70)
    if draw < 0.10:
        season = "snow"
        cover = np.clip(spectral_noise(rng, canvas.size, 1.5) + rng.uniform(-0.5, 2.0), 0, 1) * rng.uniform(
            0.4, 1
        )
        roofs = np.where(canvas.container + canvas.other > 0, rng.uniform(0, 1), 1.0)
        albedo = albedo * (1 - cover * roofs) + cover * roofs * 0.75
    elif draw < 0.25:
        season = "wet"
        albedo = albedo * np.where(level, rng.uniform(0.55, 0.9), 1.0)
    elif draw < 0.5:
        season = "green"
        plants = albedo[3] / (albedo[2] + 0.01) > 1.6
        albedo = np.where(
            plants, albedo * np.array([0.8, 1.0, 0.7, 1.3])[:, None, None] * rng.uniform(0.7, 1.2), albedo
        )
    air = np.array([1.5, 1.0, 0.7, 0.4], np.float32)[:, None, None] * haze
    radiance = (albedo * light * (1 - haze) + air).astype(np.float32)
    planes = np.concatenate([radiance, np.stack([canvas.container, canvas.berm, canvas.other])])
    planes = seen(canvas, planes, *view)
    image = _shrink(planes[:4], canvas.step_m, gsd_m, pixels, rng.uniform(0.25, 0.75))
    fractions = _shrink(planes[4:], canvas.step_m, gsd_m, pixels, 0.0)
    bands: tuple[str, ...] = ("blue", "green", "red", "nir")
    draw = rng.random()
    if draw < 0.25:
        weights = rng.dirichlet([2, 4, 4, 2])
        image, bands = np.tensordot(weights, image, 1)[None].astype(np.float32), ("pan",)
    elif draw < 0.65:
        image, bands = image[:3], ("blue", "green", "red")
    image = image + rng.standard_normal(image.shape).astype(np.float32) * (
        rng.uniform(0.001, 0.012) + 0.01 * np.sqrt(np.clip(image, 0, None)) * rng.uniform(0, 1)
    )
    if rng.random() < 0.35:  # a sharpened orthophoto, stretched to 8 bits
        image = image + rng.uniform(0, 1.2) * (image - ndimage.gaussian_filter(image, (0, 1, 1)))
        low, high = np.percentile(image, [rng.uniform(0, 1.5), rng.uniform(98.0, 100)])
        image = (
            np.round(np.clip((image - low) / (high - low + 1e-6), 0, 1) ** rng.uniform(0.5, 1.1) * 255) / 255
        )
    observed = np.ones(image.shape[1:], bool)
    return PaintedLook(
        bands, image.astype(np.float32), np.clip(fractions, 0, 1), observed, sun, view, gsd_m, season
    )
