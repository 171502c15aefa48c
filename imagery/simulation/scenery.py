"""What a real place is full of and a detector must not trip over: suburbs, car parks, rails, water, woods, works.

Every piece paints itself around a point with the canvas's own generator. Trees and hedges belong to the ground;
buildings, vehicles and walls are labelled `other`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.simulation.canvas import Array, Canvas, local_frame, strip
from imagery.simulation.ground import ground_colour, paint_colour, slab
from imagery.simulation.things import decoy_box

ROOFS = [
    (0.06, 0.09, 0.20), (0.05, 0.06, 0.09), (0.10, 0.11, 0.12), (0.20, 0.21, 0.22), (0.07, 0.10, 0.15), (0.45, 0.46, 0.46),
    (0.09, 0.13, 0.24), (0.30, 0.32, 0.33),
]  # fmt: skip


def crown(canvas: Canvas, x: float, y: float, radius: float, colour: Array) -> None:
    """Plant one tree: a lumpy crown as tall as it is wide or more."""
    rng = canvas.rng
    part = canvas.window(x, y, radius * 1.3)
    if canvas.xx[part].size == 0:
        return
    lumps = ndimage.gaussian_filter(
        rng.standard_normal(canvas.xx[part].shape, np.float32), 0.6 / canvas.step_m
    )
    lumps /= lumps.std() + 1e-6
    d = np.hypot(canvas.xx[part] - x, canvas.yy[part] - y) / radius + 0.15 * lumps
    inside = d < 1
    dome = np.sqrt(np.clip(1 - d**2, 0.05, 1)) * radius * rng.uniform(1.2, 2.2) + 0.3 * lumps
    top = canvas.height[part]
    top[inside] = np.maximum(top[inside], dome[inside])
    shade = np.exp(0.25 * lumps[inside] + 0.1 * rng.standard_normal(int(inside.sum()), np.float32))
    canvas.albedo[(slice(None), *part)][:, inside] = colour[:, None] * shade
    for plane in (canvas.container, canvas.berm, canvas.other):
        plane[part][inside] = 0


def leaf_colour(rng: np.random.Generator) -> Array:
    """Draw the colour of foliage, from dark conifers to dry bush."""
    name = str(rng.choice(["grass", "grass", "crop", "dry grass"]))
    return ground_colour(name, rng) * np.float32(rng.uniform(0.5, 1.0))


def house(canvas: Canvas, x: float, y: float, length: float, width: float, angle: float) -> None:
    """Build a house: gabled, hipped or flat roof, perhaps chimney, windows or panels on it."""
    rng = canvas.rng
    part, inside, u, v = canvas.box(x, y, length, width, angle)
    if not inside.any():
        return
    pitch = rng.choice([0.0, rng.uniform(0.3, 1.0)])
    rise = pitch * (width / 2 - np.abs(v))
    if rng.random() < 0.4:
        rise = np.minimum(rise, pitch * (length / 2 - np.abs(u)))
    base = np.array(ROOFS[rng.integers(len(ROOFS))]) * rng.uniform(0.6, 1.5)
    colour = np.append(base, base[2] * rng.uniform(1.0, 1.6)).astype(np.float32)
    grain = np.exp(rng.normal(0, 0.06, u.shape) + 0.05 * np.sin(2 * np.pi * v / rng.uniform(0.5, 1.5)))
    paint = (colour[:, None, None] * grain).astype(np.float32)
    canvas.fill(part, inside, paint, (rng.uniform(2.6, 6.5) + rise).astype(np.float32), canvas.other)
    albedo = canvas.albedo[(slice(None), *part)]
    if rng.random() < 0.3:  # panels on one slope
        panels = inside & (v > 0.5) & (v < width / 2 - 0.5) & (np.abs(u) < length * rng.uniform(0.15, 0.4))
        albedo[:, panels] = np.array([0.07, 0.05, 0.04, 0.06], np.float32)[:, None]
    for _ in range(int(rng.integers(0, 4))):
        a, b = rng.uniform(-0.4, 0.4) * length, rng.uniform(-0.4, 0.4) * width
        spot = inside & (np.abs(u - a) < 0.5) & (np.abs(v - b) < 0.5)
        albedo[:, spot] *= np.float32(rng.uniform(0.3, 1.8))
        canvas.height[part][spot] += np.float32(rng.uniform(0, 0.9))


def suburb(canvas: Canvas, x: float, y: float) -> None:
    """Lay a street with houses, drives, gardens, hedges, sheds, pools and cars."""
    rng = canvas.rng
    angle, plots, pitch = rng.uniform(0, np.pi), int(rng.integers(3, 9)), rng.uniform(13, 24)
    at = local_frame(x, y, angle)
    reach = plots * pitch / 2
    _surface(canvas, *at(0, 0), 2 * reach + 8, rng.uniform(5, 9), angle, "asphalt")
    long, wide = rng.uniform(8, 15), rng.uniform(7, 10)
    for side in (-1, 1):
        for k in range(plots):
            u = (k - plots / 2 + 0.5) * pitch + rng.normal(0, 0.5)
            deep = rng.uniform(13, 17)
            lawn = str(rng.choice(["grass", "grass", "dry grass", "bare soil"]))
            _surface(canvas, *at(u, side * 18), pitch - 0.8, 24, angle, lawn)
            _surface(canvas, *at(u + pitch * 0.33, side * 9), 2.6, 10, angle, "concrete")
            house(canvas, *at(u, side * deep), long * rng.uniform(0.8, 1.2), wide, angle)
            if rng.random() < 0.5:
                house(
                    canvas,
                    *at(u + rng.uniform(-5, 5), side * 26),
                    rng.uniform(2, 6),
                    rng.uniform(2, 4),
                    angle,
                )
            if rng.random() < 0.4:
                car(canvas, *at(u + pitch * 0.33, side * 9), angle + np.pi / 2)
            if rng.random() < 0.15:
                pool = np.array([0.35, 0.30, 0.10, 0.03], np.float32)
                _patch(canvas, *at(u + 3, side * 25), rng.uniform(4, 9), rng.uniform(3, 4.5), angle, pool)
            for _ in range(int(rng.integers(0, 4))):
                spot = at(u + rng.uniform(-8, 8), side * rng.uniform(6, 29))
                crown(canvas, *spot, rng.uniform(0.8, 3.5), leaf_colour(rng))


def car(canvas: Canvas, x: float, y: float, angle: float) -> None:
    """Park a car: bonnet, cabin with dark glass, tail."""
    rng = canvas.rng
    length, width = rng.uniform(3.8, 5.4), rng.uniform(1.7, 2.1)
    part, inside, u, _ = canvas.box(x, y, length, width, angle + rng.normal(0, 0.03))
    if not inside.any():
        return
    cabin = np.abs(u + 0.3) < length * 0.28
    colour = paint_colour(rng)
    glass = inside & cabin & (np.abs(u + 0.3) > length * 0.16)
    paint = np.repeat(colour[:, None], inside.size, 1).reshape(4, *inside.shape)
    paint[:, glass] = 0.04
    canvas.fill(part, inside, paint, np.where(cabin, 1.45, 0.9).astype(np.float32), canvas.other)


def car_park(canvas: Canvas, x: float, y: float) -> None:
    """Lay a car park or truck park: hard ground, painted bays, some of them taken, islands with trees."""
    rng = canvas.rng
    angle, rows, bays = rng.uniform(0, np.pi), int(rng.integers(1, 5)), int(rng.integers(6, 26))
    trucks = rng.random() < 0.35
    bay, deep, lane = (3.4, 15.0, 16.0) if trucks else (2.5, 5.0, 6.5)
    at = local_frame(x, y, angle)
    _surface(
        canvas,
        x,
        y,
        bays * bay + 8,
        rows * (deep + lane) + 4,
        angle,
        str(rng.choice(["asphalt", "old asphalt", "concrete"])),
    )
    taken, paint = rng.uniform(0.1, 0.95), rng.uniform(0.25, 0.6)
    white = paint_colour(rng) if rng.random() < 0.5 else np.full(4, 0.6, np.float32)
    for row in range(rows):
        v = (row - (rows - 1) / 2) * (deep + lane)
        for k in range(bays + 1):
            u = (k - bays / 2) * bay
            px, py = at(u, v)
            _patch(canvas, px, py, 0.14, deep, angle, np.full(4, paint, np.float32))
            if k == bays or rng.random() > taken:
                continue
            cx, cy = at(u + bay / 2, v + rng.normal(0, 0.3))
            if not trucks:
                car(canvas, cx, cy, angle + np.pi / 2)
            elif rng.random() < 0.8:
                trailer(canvas, cx, cy, angle + np.pi / 2, white if rng.random() < 0.6 else paint_colour(rng))
        if rng.random() < 0.3:
            px, py = at(rng.uniform(-bays, bays), v + deep / 2 + 1.5)
            crown(canvas, px, py, rng.uniform(1, 3), leaf_colour(rng))


def trailer(canvas: Canvas, x: float, y: float, angle: float, colour: Array) -> None:
    """Park a lorry or bus: load 13.6 m long, mostly 4 m high, often with a cab before a dark gap."""
    rng = canvas.rng
    length = rng.uniform(9, 16.5)
    part, inside, u, _ = canvas.box(x, y, length, rng.uniform(2.4, 2.6), angle + rng.normal(0, 0.02))
    if not inside.any():
        return
    height = np.full(u.shape, rng.choice([3.2, 4.0, 4.0]), np.float32)
    paint = np.repeat(colour[:, None], u.size, 1).reshape(4, *u.shape)
    if rng.random() < 0.6:
        cab, gap = u > length / 2 - 2.2, (u > length / 2 - 3.1) & (u <= length / 2 - 2.2)
        paint[:, cab] = paint_colour(rng)[:, None]
        paint[:, gap] = 0.04
        height[cab], height[gap] = 3.1, 1.0
    if rng.random() < 0.15:  # empty chassis
        height[:], paint[:] = 1.2, 0.06
    canvas.fill(part, inside, paint, height, canvas.other)


def traffic(canvas: Canvas, number: int) -> None:
    """Stand vehicles where they happen to be at one moment: cars and lorries, alone or side by side, on free ground."""
    rng = canvas.rng
    reach = round(10.0 / canvas.step_m)
    while number > 0:
        angle, lorry = rng.uniform(0, np.pi), rng.random() < 0.6
        x, y = rng.uniform(12.0, canvas.extent - 12.0, 2)
        beside = int(rng.integers(2, 5)) if rng.random() < 0.25 else 1
        number -= beside
        pitch = rng.uniform(3.2, 4.2) if lorry else rng.uniform(2.3, 3.0)
        for k in range(beside):
            cx, cy = x - k * pitch * np.sin(angle), y + k * pitch * np.cos(angle)
            row, col = round(cy / canvas.step_m), round(cx / canvas.step_m)
            around = np.s_[max(row - reach, 0) : row + reach, max(col - reach, 0) : col + reach]
            if max(canvas.container[around].max(initial=0), canvas.berm[around].max(initial=0)) > 0:
                continue
            if lorry:
                trailer(canvas, cx, cy, angle, paint_colour(rng))
            else:
                car(canvas, cx, cy, angle)


def railway(canvas: Canvas, x: float, y: float) -> None:
    """Lay parallel tracks: ballast, two rails, sleepers, and wagons on some."""
    rng = canvas.rng
    angle, tracks = rng.uniform(0, np.pi), int(rng.integers(1, 7))
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    ballast = ground_colour(str(rng.choice(["gravel", "dark soil", "old asphalt"])), rng)
    for k in range(tracks):
        middle = np.array([x, y]) + across * (k - tracks / 2) * 4.6
        ends = np.stack([middle - along * canvas.extent, middle + along * canvas.extent])
        part, distance, run = strip(canvas, ends, 2.3)
        albedo = canvas.albedo[(slice(None), *part)]
        bed = distance < 2.0
        albedo[:, bed] = ballast[:, None] * np.exp(0.15 * rng.standard_normal(int(bed.sum()), np.float32))
        albedo[:, bed & (distance < 1.3) & (run % 0.65 < 0.25)] *= np.float32(rng.uniform(0.6, 1.5))
        albedo[:, np.abs(distance - 0.72) < 0.08] = np.float32(rng.uniform(0.08, 0.4))
        canvas.height[part][bed] = 0.3
        if rng.random() < 0.5:
            _wagons(canvas, middle + along * rng.uniform(-80, 80), along, angle)


def _wagons(canvas: Canvas, start: NDArray[np.float64], along: NDArray[np.float64], angle: float) -> None:
    rng = canvas.rng
    pitch, colour = rng.uniform(12, 20), paint_colour(rng)
    kind = rng.choice(["box", "tank", "open"])
    for k in range(int(rng.integers(2, 12))):
        cx, cy = start + along * k * pitch
        part, inside, u, v = canvas.box(cx, cy, pitch - 1.2, 2.9, angle)
        if not inside.any():
            continue
        top = {"box": 4.0 - 0.3 * v**2, "tank": 4.2 - 0.9 * v**2, "open": np.where(np.abs(v) > 1.3, 2.6, 1.6)}
        tint = colour * np.float32(rng.uniform(0.8, 1.2)) if rng.random() < 0.8 else paint_colour(rng)
        canvas.fill(
            part,
            inside,
            tint,
            np.broadcast_to(top[str(kind)], u.shape).astype(np.float32),
            canvas.other,
        )


def water(canvas: Canvas, x: float, y: float) -> None:
    """Fill a pond, or a canal or river with its banks."""
    rng = canvas.rng
    colour = np.array([0.05, 0.06, 0.045, 0.015], np.float32) * rng.uniform(0.5, 2.2, 4).astype(np.float32)
    if rng.random() < 0.5:
        ends = np.array([(x, y)]) + np.cumsum(rng.normal(0, 45, (4, 2)), axis=0)
        half = rng.uniform(1.5, 18)
    else:
        ends, half = np.array([(x, y), (x + rng.normal(0, 20), y + rng.normal(0, 20))]), rng.uniform(3, 25)
    part, distance, _ = strip(canvas, ends, half + 8)
    if distance.size == 0:
        return
    edge = distance + 6 * ndimage.gaussian_filter(
        rng.standard_normal(distance.shape, np.float32), 3 / canvas.step_m
    )
    wet = edge < half
    bank = (edge >= half) & (edge < half + rng.uniform(0.5, 5))
    canvas.albedo[(slice(None), *part)][:, bank] = ground_colour(
        str(rng.choice(["grass", "bare soil", "sand"])), rng
    )[:, None]
    canvas.albedo[(slice(None), *part)][:, wet] = colour[:, None] * np.exp(
        0.05 * rng.standard_normal(int(wet.sum()), np.float32)
    )
    canvas.height[part][wet] = -0.4
    for plane in (canvas.container, canvas.berm, canvas.other):
        plane[part][wet] = 0


def wood(canvas: Canvas, x: float, y: float) -> None:
    """Plant a wood, an orchard in rows, scattered bushes, or felled trunks on bare ground."""
    rng = canvas.rng
    kind = str(rng.choice(["wood", "wood", "orchard", "bush", "felled", "alley"]))
    colour, spread = leaf_colour(rng), rng.uniform(8, 35)
    angle = rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    number = {"wood": 130, "orchard": 60, "bush": 50, "felled": 20, "alley": 24}[kind]
    pitch = rng.uniform(4, 9)
    for k in range(number):
        if kind == "orchard":
            px, py = (
                np.array([x, y])
                + along * (k % 10) * pitch
                + np.array([-along[1], along[0]]) * (k // 10) * pitch
            )
        elif kind == "alley":
            px, py = np.array([x, y]) + along * (k - number / 2) * pitch + rng.normal(0, 0.4, 2)
        else:
            px, py = np.array([x, y]) + rng.normal(0, spread, 2)
        if kind == "felled":
            part, inside, _, v = canvas.box(
                px, py, rng.uniform(4, 16), rng.uniform(0.4, 0.9), rng.uniform(0, np.pi)
            )
            if inside.any():
                canvas.fill(part, inside, ground_colour("dark soil", rng), np.float32(0.6) - v**2, None)
            continue
        size = rng.uniform(0.4, 1.6) if kind == "bush" else rng.uniform(1.6, 4.8)
        crown(canvas, px, py, size, colour * rng.uniform(0.75, 1.25, 4).astype(np.float32))


def works(canvas: Canvas, x: float, y: float) -> None:
    """Set up a works: big halls with skylights and vents, a yard, tanks, stacks of goods, a wall around."""
    rng = canvas.rng
    angle = rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    slab(canvas, x, y, rng.uniform(60, 130), rng.uniform(40, 90), angle)
    for k in range(int(rng.integers(1, 4))):
        length, width = rng.uniform(20, 80), rng.uniform(12, 35)
        px, py = (
            np.array([x, y]) + along * rng.normal(0, 25) + np.array([-along[1], along[0]]) * (k * 38 - 30)
        )
        part, inside, u, v = canvas.box(px, py, length, width, angle)
        if not inside.any():
            continue
        tint = np.full(4, rng.uniform(0.05, 0.7)) * rng.uniform(0.9, 1.1, 4)
        ribs = 1 + rng.uniform(0, 0.08) * np.sign(np.sin(2 * np.pi * u / rng.uniform(1, 6)))
        top = rng.uniform(5, 12) + rng.choice([0.0, 0.05, 0.2]) * (width / 2 - np.abs(v))
        canvas.fill(
            part,
            inside,
            (tint[:, None, None] * ribs).astype(np.float32),
            top.astype(np.float32),
            canvas.other,
        )
        period, long = rng.uniform(5, 14), rng.uniform(3, 9)
        lights = inside & (np.abs(u % period - period / 2) < 0.7) & (np.abs(v % (long + 4)) < long)
        canvas.albedo[(slice(None), *part)][:, lights] = np.float32(rng.uniform(0.1, 0.7))
    for _ in range(int(rng.integers(1, 5))):
        decoy_box(canvas, x + rng.normal(0, 35), y + rng.normal(0, 35))
    wall = np.array([(-60, -45), (60, -45), (60, 45), (-60, 45), (-60, -45)]) * rng.uniform(0.7, 1.1)
    turn = np.array([[along[0], along[1]], [-along[1], along[0]]])
    part, distance, _ = strip(canvas, wall @ turn + (x, y), 0.5)
    fence = distance < rng.uniform(0.1, 0.3)
    canvas.height[part][fence] += np.float32(rng.uniform(0.8, 2.5))
    canvas.albedo[(slice(None), *part)][:, fence] = np.float32(rng.uniform(0.08, 0.4))


def tracks(canvas: Canvas, x: float, y: float) -> None:
    """Drive over soft ground: bundles of wheel tracks, turning circles, puddles in them."""
    rng = canvas.rng
    tone = np.float32(rng.uniform(0.6, 1.6))
    for _ in range(int(rng.integers(2, 9))):
        bends = np.array([(x, y)]) + np.cumsum(rng.normal(0, 18, (5, 2)), axis=0)
        smooth = np.stack([np.interp(np.linspace(0, 4, 25), range(5), bends[:, k]) for k in (0, 1)], axis=1)
        part, distance, _ = strip(canvas, ndimage.uniform_filter1d(smooth, 7, axis=0, mode="nearest"), 1.6)
        wheel = np.abs(distance - 0.9) < 0.3
        canvas.albedo[(slice(None), *part)][:, wheel] *= tone
        canvas.height[part][wheel] -= np.float32(0.1)
    for _ in range(int(rng.integers(0, 6))):
        part = canvas.window(x + rng.normal(0, 15), y + rng.normal(0, 15), rng.uniform(1, 5))
        lumps = ndimage.gaussian_filter(
            rng.standard_normal(canvas.xx[part].shape, np.float32), 1.5 / canvas.step_m
        )
        canvas.albedo[(slice(None), *part)][:, lumps > lumps.std() if lumps.size else lumps > 0] *= (
            np.float32(0.35)
        )


def parcels(canvas: Canvas, x: float, y: float) -> None:
    """Divide land into strips of different crops, with furrows, tramlines and grassy or hedged borders."""
    rng = canvas.rng
    angle, width, long = rng.uniform(0, np.pi), rng.uniform(12, 60), rng.uniform(60, 200)
    across = np.array([-np.sin(angle), np.cos(angle)])
    for k in range(int(rng.integers(2, 6))):
        px, py = np.array([x, y]) + across * k * width
        part, inside, _, v = canvas.box(px, py, long, width, angle)
        if not inside.any():
            continue
        name = str(rng.choice(["crop", "grass", "dry grass", "bare soil", "dark soil"]))
        rows = np.sin(2 * np.pi * v / rng.uniform(0.7, 3.5))
        lines = np.abs(v % rng.uniform(12, 27) - 6) < 0.35
        paint = ground_colour(name, rng)[:, None] * np.exp(rng.uniform(0, 0.15) * rows[inside])
        canvas.albedo[(slice(None), *part)][:, inside] = paint * np.where(
            lines[inside], rng.uniform(0.7, 1.3), 1
        )
        canvas.height[part][inside] += (rng.uniform(0, 0.12) * rows[inside]).astype(np.float32)
    if rng.random() < 0.5:
        colour = leaf_colour(rng)
        at = local_frame(x, y, angle)
        for k in range(int(long / 1.6)):
            px, py = at(k * 1.6 - long / 2, -width / 2)
            if rng.random() < 0.9:
                crown(canvas, px, py, rng.uniform(0.9, 1.8), colour)


def _surface(
    canvas: Canvas, x: float, y: float, length: float, width: float, angle: float, ground: str
) -> None:
    """Lay flat ground of one kind, mottled."""
    rng = canvas.rng
    part, inside, u, _ = canvas.box(x, y, length, width, angle)
    if not inside.any():
        return
    stains = ndimage.gaussian_filter(rng.standard_normal(u.shape, np.float32), rng.uniform(1, 8))
    stains *= np.float32(rng.uniform(0.02, 0.15)) / (stains.std() + np.float32(1e-6))
    grain = 0.05 * rng.standard_normal(u.shape, np.float32)
    canvas.albedo[(slice(None), *part)][:, inside] = (
        ground_colour(ground, rng)[:, None, None] * np.exp(stains + grain)
    )[:, inside]
    canvas.height[part][inside] *= 0.3
    for plane in (canvas.container, canvas.berm, canvas.other):
        plane[part][inside] = 0


def _patch(
    canvas: Canvas, x: float, y: float, length: float, width: float, angle: float, colour: Array
) -> None:
    """Paint a flat rectangle: a marking, a pool, a cover."""
    part, inside, _, _ = canvas.box(x, y, length, width, angle)
    canvas.albedo[(slice(None), *part)][:, inside] = colour[:, None]


PIECES: tuple[tuple[float, Callable[[Canvas, float, float], None]], ...] = (
    (1.0, parcels), (0.7, water), (1.0, tracks), (1.0, suburb), (1.0, car_park), (0.6, railway), (1.2, works), (1.5, wood),
)  # fmt: skip


def dress(canvas: Canvas, number: int) -> None:
    """Paint so many random pieces of scenery at random places, ground first, trees last."""
    rng = canvas.rng
    weights = np.array([w for w, _ in PIECES])
    for k in sorted(rng.choice(len(PIECES), size=number, p=weights / weights.sum())):
        x, y = rng.uniform(0.05, 0.95, 2) * canvas.extent
        PIECES[k][1](canvas, float(x), float(y))
