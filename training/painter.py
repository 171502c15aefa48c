"""A second, plainer scene painter, for training only.

Everything is a height map and an albedo map on one fine grid, painted with primitives (oriented boxes, strips along
polylines, blobs) over spectral-noise ground, lit by one sun with marched shadows, seen from one direction. ``imagery.simulation``
grew from an early copy of it and went its own way: scores on that are no scores on a foreign renderer.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.simulation import canvas as simulation
from imagery.simulation.ground import GROUNDS, HARD, paint_colour, slab, trees
from imagery.simulation.things import bank_line, decoy_box

Array = NDArray[np.float32]


class Canvas(simulation.Canvas):
    """The world as ``imagery.simulation`` paints it, but for where the cells lie and what a thing stands on."""

    def __post_init__(self) -> None:
        axis = np.arange(self.size, dtype=np.float32) * self.step_m  # corners of the cells
        self.yy, self.xx = np.meshgrid(axis, axis, indexing="ij")

    def ground_under(self, heights: Array) -> float:
        """Return what a thing stands on: what is there most."""
        return np.median(heights)


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


ON_TRAILERS = 0.3  # share of the groups of containers


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
    line = bank_line(str(shape), length, depth, rng)
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
    fleet = [paint_colour(rng) for _ in range(rng.integers(1, 6))]
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
            canvas.fill(part, inside, _roof(rng, colour, u, v, own), float(tall), canvas.container)


def _on_trailers(canvas: Canvas, x: float, y: float) -> None:
    """Park trailers side by side, each under a container or bare, some with a tractor before them."""
    rng = canvas.rng
    number, pitch, angle = int(rng.integers(1, 13)), rng.uniform(3.0, 5.0), rng.uniform(0, np.pi)
    slant, length = rng.uniform(-0.6, 0.6), float(rng.choice([6.06, 12.19, 12.19, 13.72]))
    fleet = [paint_colour(rng) for _ in range(rng.integers(1, 8))]
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
        canvas.fill(part, inside, grey, 1.2, None)
        if rng.random() < 0.5:
            part, cab, *_ = canvas.box(
                *along(bed / 2 + rng.uniform(0.8, 1.8)), rng.uniform(2, 2.6), 2.4, heading
            )
            if cab.any():
                canvas.fill(part, cab, paint_colour(rng), 3.2, canvas.other)
        if rng.random() < 0.8:
            part, inside, u, v = canvas.box(cx, cy, length, 2.44, heading)
            if inside.any():
                colour = fleet[rng.integers(len(fleet))] * rng.uniform(0.85, 1.15)
                canvas.fill(part, inside, _roof(rng, colour, u, v, length), 3.9, canvas.container)


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


def furnish(canvas: Canvas) -> None:
    """Put a random place on the ground."""
    rng = canvas.rng
    km2 = (canvas.extent / 1000) ** 2
    many = lambda low, high: int(rng.uniform(low, high) * (km2 / 0.04) ** 0.75 + 0.5)  # noqa: E731
    where = lambda: rng.uniform(0.02, 0.98, 2) * canvas.extent  # noqa: E731
    for _ in range(many(0, 4)):
        x, y = where()
        slab(canvas, x, y, rng.uniform(15, 120), rng.uniform(10, 70), rng.uniform(0, np.pi), _ground_colour)
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
        trees(canvas, _ground_colour)


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
