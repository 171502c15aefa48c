"""Raised things: containers, berms, and the decoys that share one cue with them and miss another."""

import numpy as np
from scipy import ndimage

from imagery.simulation.canvas import Canvas, strip
from imagery.simulation.ground import ground_colour, paint_colour

FRESH_COVERS = ("bare soil", "dark soil", "sand", "red soil", "gravel")
GROWN_COVERS = ("grass", "dry grass", "crop")


def bank_line(shape: str, length: float, depth: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Return the crest of a bank as points (x, y) in metres about its middle: straight, bent, u, ring or cells."""
    lines: dict[str, list[tuple[float, float]]] = {
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
    }
    return lines[shape]


def berm(canvas: Canvas, x: float, y: float) -> float:
    """Raise a bank: straight, bent, U, ring or cells; 1-6 m high, sides of 25-40 degrees, bare to grown over.

    Returns its height in metres.
    """
    rng = canvas.rng
    height = rng.uniform(1.0, 5.5)
    crest = rng.uniform(0.5, 4.0)
    side = height / np.tan(np.radians(rng.uniform(24, 40)))
    angle = rng.uniform(0, 2 * np.pi)
    length, depth = rng.uniform(12, 110), rng.uniform(12, 60)
    shape = rng.choice(["straight", "straight", "bent", "u", "ring", "cells"])
    line = bank_line(str(shape), length, depth, rng)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.array(line) @ turn.T + (x, y)
    part, distance, along = strip(canvas, points, crest / 2 + side + 3.0)
    if distance.size == 0:
        return height
    wander = 2.0 / canvas.step_m
    wobble = ndimage.gaussian_filter(rng.standard_normal(distance.shape, np.float32), wander) * wander
    distance = distance + wobble * np.float32(rng.uniform(0, 0.6))
    profile = np.clip(1 - (distance - crest / 2) / side, 0, 1)
    if rng.random() < 0.4:
        profile = profile**2 * (3 - 2 * profile)
    gaps = rng.random() < 0.2
    if gaps:
        profile = profile * ((along % rng.uniform(25, 60)) > 5)
    canvas.height[part] += (profile * height).astype(np.float32)
    on = profile > 0.12
    covers = FRESH_COVERS if rng.random() < 0.6 else GROWN_COVERS
    colour = ground_colour(str(rng.choice(covers)), rng)
    if rng.random() < 0.75:
        blend = np.clip(profile * 4, 0, 1)[None]
        texture = np.exp(
            ndimage.gaussian_filter(rng.standard_normal(distance.shape), rng.uniform(0.5, 3))
            * rng.uniform(0, 0.4)
        )
        albedo = canvas.albedo[(slice(None), *part)]
        albedo[:] = albedo * (1 - blend) + blend * colour[:, None, None] * texture[None]
    for plane in (canvas.container, canvas.other):
        plane[part][on] = 0
    canvas.berm[part][on] = 1
    return height


def ditch_or_heap(canvas: Canvas) -> None:
    """Dig a ditch (a berm's flanks swapped) or pile a heap."""
    rng = canvas.rng
    x, y = rng.uniform(0, canvas.extent, 2)
    if rng.random() < 0.5:
        ends = np.array([(x, y), (x + rng.uniform(-80, 80), y + rng.uniform(-80, 80))])
        part, distance, _ = strip(canvas, ends, 5.0)
        depth, half = rng.uniform(0.5, 3), rng.uniform(1.5, 5)
        canvas.height[part] -= (depth * np.clip(1 - distance / half, 0, 1)).astype(np.float32)
        return
    radius, tall = rng.uniform(2, 9), rng.uniform(1, 5)
    part = canvas.window(x, y, radius * 1.5)
    d = np.hypot(canvas.xx[part] - x, (canvas.yy[part] - y) * rng.uniform(0.7, 1.4)) / radius
    cone = np.clip(1 - d, 0, 1).astype(np.float32)
    canvas.height[part] += cone * tall
    inside = cone > 0.1
    colour = ground_colour(str(rng.choice(["bare soil", "sand", "gravel", "dark soil"])), rng)
    canvas.albedo[(slice(None), *part)][:, inside] = colour[:, None]
    canvas.other[part][inside] = 1
    canvas.berm[part][inside] = 0


def containers(canvas: Canvas, x: float, y: float) -> tuple[int, float]:
    """Stand containers: one, a row, or a block, with gaps, stacks, wear and slight disorder.

    Returns how many stand there, stacked ones included, and the greatest height in metres.
    """
    rng = canvas.rng
    rows, cols = (1, 1) if rng.random() < 0.3 else (int(rng.integers(1, 5)), int(rng.integers(1, 9)))
    length = float(rng.choice([6.06, 12.19, 12.19, 13.72]))
    angle = rng.uniform(0, np.pi)
    gap_long, gap_wide = rng.uniform(0.2, 3.0), rng.choice([0.05, 0.3, rng.uniform(0.3, 3)])
    fleet = [paint_colour(rng) for _ in range(rng.integers(1, 6))]
    # Wear has a generator of its own, so that the same containers stand there on any cell size.
    wear = np.random.default_rng(rng.integers(1 << 31))
    number, highest = 0, 0.0
    missing, disorder = rng.uniform(0, 0.35), rng.choice([0, 0, 0.02, 0.06])
    for i in range(rows):
        for j in range(cols):
            if rows * cols > 1 and rng.random() < missing:
                continue
            du, dv = (i - (rows - 1) / 2) * (length + gap_long), (j - (cols - 1) / 2) * (2.44 + gap_wide)
            cx, cy = x + du * np.cos(angle) - dv * np.sin(angle), y + du * np.sin(angle) + dv * np.cos(angle)
            own = length if rng.random() < 0.85 else (6.06 if length > 7 else 12.19)
            tiers = int(rng.choice([1, 1, 1, 2, 3]))
            tall = float(rng.choice([2.59, 2.9])) * tiers
            number, highest = number + tiers, max(highest, tall)
            colour = fleet[rng.integers(len(fleet))] * rng.uniform(0.85, 1.15)
            part, inside, u, _ = canvas.box(cx, cy, own, 2.44, angle + rng.normal(0, disorder))
            if not inside.any():
                continue
            rust = 1 + wear.uniform(0, 0.3) * ndimage.gaussian_filter(wear.standard_normal(u.shape), 1.5)
            ribs = 1 + wear.uniform(0, 0.06) * np.sign(np.sin(2 * np.pi * u / wear.uniform(0.6, 1.5)))
            canvas.fill(
                part,
                inside,
                (colour[:, None, None] * (rust * ribs)[None]).astype(np.float32),
                float(tall),
                canvas.container,
            )
    return number, highest


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
            canvas.fill(
                part,
                inside,
                paint_colour(rng),
                None if kind == "slab" else height,
                None if kind == "slab" else canvas.other,
            )
    elif kind == "wagons":
        pitch = rng.uniform(13, 20)
        for k in range(int(rng.integers(2, 9))):
            cx, cy = x + (k - 3) * pitch * np.cos(angle), y + (k - 3) * pitch * np.sin(angle)
            part, inside, _, v = canvas.box(cx, cy, pitch - rng.uniform(0.8, 1.6), 2.9, angle)
            if inside.any():
                canvas.fill(
                    part,
                    inside,
                    paint_colour(rng),
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
            colour = paint_colour(rng)
            if kind == "greenhouse":
                roof = 3 + 0.6 * np.abs(np.sin(np.pi * v / 3.2))
            paint = colour[:, None, None] * np.exp(rng.normal(0, 0.04, u.shape))[None]
            canvas.fill(part, inside, paint.astype(np.float32), roof.astype(np.float32), canvas.other)
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
                canvas.fill(
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
            canvas.fill(part, inside, paint_colour(rng), rng.uniform(3, 10), canvas.other)
    else:
        pitch, number = rng.uniform(4, 9), int(rng.integers(3, 14))
        long = rng.uniform(10, 60)
        for k in range(number):
            off = (k - number / 2) * pitch
            part, inside, _, v = canvas.box(
                x - off * np.sin(angle), y + off * np.cos(angle), long, rng.uniform(1.8, 4), angle
            )
            if inside.any():
                canvas.fill(
                    part,
                    inside,
                    np.array([0.10, 0.06, 0.05, 0.08], np.float32),
                    (1.2 + 0.4 * v).astype(np.float32),
                    canvas.other,
                )


def disturbance(canvas: Canvas, x: float, y: float, rng: np.random.Generator) -> None:
    """Open or cover a patch of ground, as a pixel of 10 m would notice it."""
    colour = ground_colour(str(rng.choice(["bare soil", "sand", "concrete", "gravel"])), rng)
    part, inside, _, _ = canvas.box(x, y, rng.uniform(40, 160), rng.uniform(30, 110), rng.uniform(0, np.pi))
    canvas.albedo[(slice(None), *part)][:, inside] = colour[:, None]
    for plane in (canvas.container, canvas.berm):
        plane[part][inside] = 0
    canvas.other[part][inside] = 1
