"""A second way of making scenes, for testing only: nothing is trained or tuned on it, nothing of the first is used.

The first renderer casts rays over height fields; this one paints polygons. Grounds are Fourier noise and Voronoi
parcels, or real orthophotos that lie beside the project. Containers are roofs, sides and a shadow polygon; berms
are flanks shaded segment by segment. The lens is an Airy pattern, the noise Poisson. It writes a static STAC catalog,
``aoi.geojson`` and ``truth.geojson`` as ``benchmarks.scoring`` reads it.

    python -m benchmarks.second_renderer --out DIR --seed N --looks K --gsd M [--background plain|real] [--quiet]
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pyproj import Transformer
from scipy import ndimage, signal, special
from shapely.affinity import rotate, translate
from shapely.geometry import LineString, Point, Polygon, box, mapping

Canvas = NDArray[np.float32]

BANDS = ("blue", "green", "red", "nir")
EPSG, EAST, NORTH = 32636, 512_000.0, 5_310_000.0  # an arbitrary place at 48 degrees north
LATITUDE, LONGITUDE = 47.94, 33.16
REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "real"

# blue, green, red, near infrared reflectance, and how much of it is green plants in high summer
MATERIALS: dict[str, tuple[tuple[float, float, float, float], float]] = {
    "meadow": ((0.08, 0.10, 0.12, 0.20), 0.8),
    "crop": ((0.09, 0.12, 0.16, 0.21), 0.9),
    "scrub": ((0.07, 0.09, 0.10, 0.18), 0.5),
    "loam": ((0.09, 0.12, 0.15, 0.19), 0.15),
    "sand": ((0.17, 0.22, 0.28, 0.33), 0.05),
    "gravel": ((0.15, 0.16, 0.17, 0.19), 0.05),
    "asphalt": ((0.07, 0.075, 0.08, 0.09), 0.0),
    "concrete": ((0.20, 0.22, 0.23, 0.25), 0.0),
}
PLANTS = np.array([0.035, 0.065, 0.04, 0.42], np.float32)
PAINTS = (
    (0.06, 0.09, 0.22, 0.25), (0.04, 0.06, 0.20, 0.23), (0.20, 0.10, 0.06, 0.12), (0.14, 0.09, 0.05, 0.10),
    (0.42, 0.44, 0.45, 0.46), (0.22, 0.24, 0.25, 0.26), (0.08, 0.13, 0.09, 0.20), (0.08, 0.20, 0.33, 0.36),
    (0.10, 0.12, 0.10, 0.14),
)  # fmt: skip
SKY_SHARE = np.array([0.40, 0.33, 0.28, 0.22], np.float32)  # of the light, that reaches into shadow


@dataclass(frozen=True, slots=True)
class Thing:
    """Something standing on the ground over ``[since, until)`` in look numbers; local metres, origin south-west."""

    kind: str
    base: Polygon
    height_m: float
    paint: tuple[float, float, float, float]
    since: int = 0
    until: int = 10_000
    axis: LineString | None = None
    count: int | None = None
    levels: int = 1


@dataclass(frozen=True, slots=True)
class Light:
    """Sun and view of one look, degrees from grid north, and the sky."""

    sun_azimuth: float
    sun_elevation: float
    view_azimuth: float
    off_nadir: float
    haze: float
    gain: float

    @property
    def shadow(self) -> tuple[float, float]:
        """Metres (east, north) of shadow per metre of height."""
        length = 1.0 / math.tan(math.radians(self.sun_elevation))
        away = math.radians(self.sun_azimuth + 180.0)
        return length * math.sin(away), length * math.cos(away)

    @property
    def lean(self) -> tuple[float, float]:
        """Metres (east, north) by which a raised point is displaced per metre of height."""
        length = math.tan(math.radians(self.off_nadir))
        away = math.radians(self.view_azimuth + 180.0)
        return length * math.sin(away), length * math.cos(away)

    def lit(self, east: float, north: float, up: float) -> float:
        """Light on a face against flat ground: cosine of incidence over that of the level, 0 where turned away."""
        elevation, azimuth = math.radians(self.sun_elevation), math.radians(self.sun_azimuth)
        toward = (
            math.cos(elevation) * math.sin(azimuth),
            math.cos(elevation) * math.cos(azimuth),
            math.sin(elevation),
        )
        return max(east * toward[0] + north * toward[1] + up * toward[2], 0.0) / toward[2]


@dataclass(slots=True)
class Sheet:
    """A canvas of ``side_m`` metres with pixels of ``step_m``: (band, row, col) reflectance and sunlight (row, col)."""

    side_m: float
    step_m: float
    ground: Canvas
    sunlit: Canvas = field(init=False)

    def __post_init__(self) -> None:
        """Start in full sun."""
        self.sunlit = np.ones(self.ground.shape[1:], np.float32)

    def mask(self, shape: Any) -> tuple[tuple[slice, slice], NDArray[np.bool_]] | None:
        """Rasterise a polygon in local metres; window and mask, None outside."""
        west, south, east, north = shape.bounds
        n = self.ground.shape[1]
        rows = slice(
            max(int((self.side_m - north) / self.step_m) - 1, 0),
            min(int((self.side_m - south) / self.step_m) + 2, n),
        )
        cols = slice(max(int(west / self.step_m) - 1, 0), min(int(east / self.step_m) + 2, n))
        if rows.stop <= rows.start or cols.stop <= cols.start:
            return None
        image = Image.new("1", (cols.stop - cols.start, rows.stop - rows.start))
        draw = ImageDraw.Draw(image)
        for part in shapely.get_parts(shape):
            if part.geom_type != "Polygon":
                continue
            for ring, fill in ((part.exterior, 1), *((hole, 0) for hole in part.interiors)):
                xy = np.asarray(ring.coords)[:, :2] / self.step_m
                spots = [(x - cols.start, self.side_m / self.step_m - y - rows.start) for x, y in xy]
                draw.polygon(spots, fill=fill)
        return (rows, cols), np.array(image)

    def shade(self, shape: Any, light: float = 0.0) -> None:
        """Lower the sunlight inside a polygon."""
        cut = self.mask(shape)
        if cut is not None:
            (rows, cols), inside = cut
            here = self.sunlit[rows, cols]
            here[inside] = np.minimum(here[inside], light)

    def paint(self, shape: Any, colour: NDArray[np.float32], light: float, grain: float = 0.0) -> None:
        """Cover a polygon with a colour in so much sunlight, keeping ``grain`` of the texture below."""
        cut = self.mask(shape)
        if cut is None:
            return
        (rows, cols), inside = cut
        for band in range(len(self.ground)):
            here = self.ground[band, rows, cols]
            texture = (
                1.0 + grain * (here[inside] / max(float(here[inside].mean()), 1e-3) - 1.0) if grain else 1.0
            )
            here[inside] = colour[band] * texture
        self.sunlit[rows, cols][inside] = light

    def finished(self) -> Canvas:
        """Return what the sun and the sky make of it."""
        sky = SKY_SHARE[: len(self.ground), None, None]
        return self.ground * (sky + (1.0 - sky) * self.sunlit)


def fourier_noise(rng: np.random.Generator, n: int, slope: float) -> Canvas:
    """Return (n, n) noise with a power law spectrum, zero mean, unit spread."""
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1.0
    spectrum = rng.normal(size=radius.shape) + 1j * rng.normal(size=radius.shape)
    noise = np.fft.irfft2(spectrum / radius ** (slope / 2), s=(n, n))
    noise -= noise.mean()
    unit: Canvas = (noise / noise.std()).astype(np.float32)
    return unit


@dataclass(frozen=True, slots=True)
class Ground:
    """Static ground: bare reflectance (band, row, col), share of plants (row, col), and a furrow pattern."""

    bare: Canvas
    plants: Canvas
    photographed: bool = False


def plain_ground(rng: np.random.Generator, side_m: float, step_m: float) -> Ground:
    """Voronoi parcels of one material each, with noise at two scales and furrows in crops."""
    n = round(side_m / step_m)
    coarse = max(n // 4, 64)
    points = rng.uniform(0, coarse, (rng.integers(8, 22), 2))
    yy, xx = np.mgrid[:coarse, :coarse]
    warp = 0.03 * coarse * fourier_noise(rng, coarse, 3.2)
    nearest = np.argmin((yy + warp - points[:, :1, None]) ** 2 + (xx - points[:, 1:, None]) ** 2, axis=0)
    parcel = ndimage.zoom(nearest, n / coarse, order=0)[:n, :n]
    parcel = np.pad(parcel, [(0, n - parcel.shape[0]), (0, n - parcel.shape[1])], mode="edge")
    names = ["meadow", "crop", "scrub", "loam", "sand", "gravel", "meadow", "crop"]
    bare = np.zeros((4, n, n), np.float32)
    plants = np.zeros((n, n), np.float32)
    fine, broad = fourier_noise(rng, n, 1.6), fourier_noise(rng, n, 2.8)
    rows, cols = np.mgrid[:n, :n].astype(np.float32) * step_m
    for index in range(len(points)):
        inside = parcel == index
        colour, green = MATERIALS[names[rng.integers(len(names))]]
        texture = 1.0 + rng.uniform(0.05, 0.14) * fine[inside] + rng.uniform(0.03, 0.1) * broad[inside]
        if rng.random() < 0.5:
            angle, pitch = rng.uniform(0, np.pi), rng.uniform(2.0, 9.0)
            across = rows[inside] * math.cos(angle) + cols[inside] * math.sin(angle)
            texture *= 1.0 + rng.uniform(0.02, 0.08) * np.sin(2 * np.pi * across / pitch)
        bare[:, inside] = np.array(colour, np.float32)[:, None] * rng.uniform(0.8, 1.25) * texture
        plants[inside] = np.clip(green * rng.uniform(0.6, 1.1) * (1 + 0.3 * broad[inside]), 0, 1)
    return Ground(np.clip(bare, 0.01, 0.9), plants)


def real_ground(rng: np.random.Generator, side_m: float, step_m: float) -> Ground:
    """A piece of a real picture as it is, taken for reflectance; its own shadows and objects stay in it."""
    # Only those fine enough not to look enlarged; each with the size of its pixels in metres, (row, col).
    sources = [
        *((p, (0.25, 0.154)) for p in sorted(REAL.glob("pdok_maasvlakte/**/*.tif"))),
        *((p, (0.4, 0.4)) for p in sorted(REAL.glob("spacenet_samples/**/*.tif"))),
        *((p, (0.5, 0.5)) for p in sorted(REAL.glob("pytorch_change_models_demo/**/*.png"))),
        *((p, (0.5, 0.5)) for p in sorted(REAL.glob("xbd_hurricane_matthew/**/*.png"))),
    ]
    if not sources:
        raise FileNotFoundError(f"no real pictures lie in {REAL}, which real backgrounds are cut from")
    path, (row_m, col_m) = sources[rng.integers(len(sources))]
    image = _picture(path)
    n = round(side_m / step_m)
    scaled = np.stack([ndimage.zoom(b, (row_m / step_m, col_m / step_m), order=1) for b in image])
    reach = [(0, 0), *((0, max(n - s, 0)) for s in scaled.shape[1:])]
    scaled = np.pad(scaled, reach, mode="symmetric")
    top, left = (int(rng.integers(0, s - n + 1)) for s in scaled.shape[1:])
    piece = scaled[:, top : top + n, left : left + n]
    return Ground(np.clip(piece, 0.01, 0.9), np.zeros((n, n), np.float32), photographed=True)


def _picture(path: Path) -> Canvas:
    """Read a picture as four bands of about plausible reflectance; near infrared is made up from the others."""
    if path.suffix == ".png":
        raw = np.array(Image.open(path).convert("RGB")).transpose(2, 0, 1).astype(np.float32)
    else:
        with rasterio.open(path) as source:
            raw = source.read().astype(np.float32)
    low, high = np.percentile(raw, (0.5, 99.5))
    scaled = np.clip((raw - low) / max(high - low, 1.0), 0, 1.2) * 0.35 + 0.02
    red, green, blue = scaled[:3] if len(scaled) >= 3 else (scaled[0],) * 3
    greenness = np.clip((2 * green - red - blue) / (red + green + blue), 0, 0.3)
    return np.stack([blue, green, red, red * 1.15 + 1.2 * greenness]).astype(np.float32)


def container_group(rng: np.random.Generator, centre: tuple[float, float], most: int = 8) -> list[Thing]:
    """Boxes of the two lengths, up to ``most`` side by side, in a row or a block, one paint each."""
    long = rng.choice([6.06, 12.19])
    across, along = int(rng.integers(1, most + 1)), int(rng.integers(1, 3 + most // 12))
    gap = rng.uniform(0.1, 0.9)
    angle = rng.uniform(0, 180)
    levels = int(rng.choice([1, 1, 1, 2]))
    things = []
    for i in range(across):
        for j in range(along):
            if across > 3 and rng.random() < 0.08:
                continue
            x = (i - across / 2) * (2.44 + gap) + rng.normal(0, 0.08)
            y = (j - along / 2) * (long + 0.6) + rng.normal(0, 0.1)
            base = box(x, y, x + 2.44, y + long)
            base = translate(rotate(base, angle, origin=(0, 0)), *centre)
            paint = PAINTS[rng.integers(len(PAINTS))]
            things.append(Thing("container", base, 2.59 * levels, paint, count=levels, levels=levels))
    return things


def berm(rng: np.random.Generator, centre: tuple[float, float]) -> Thing:
    """An earth bank along a straight, angled, U-shaped or closed line."""
    length, form = rng.uniform(20, 70), rng.integers(4)
    corners = [
        [(-0.5, 0.0), (0.5, 0.0)],
        [(-0.5, 0.0), (0.0, 0.0), (0.0, 0.5)],
        [(-0.33, 0.33), (-0.33, 0.0), (0.33, 0.0), (0.33, 0.33)],
        [(-0.33, -0.33), (0.33, -0.33), (0.33, 0.33), (-0.33, 0.33), (-0.33, -0.33)],
    ][form]
    points = np.array(corners) * length
    line = shapely.segmentize(LineString(points), 4.0)
    wander = rng.normal(0, 0.35, (len(line.coords), 2))
    if form == 3:
        wander[-1] = wander[0]
    line = LineString(np.asarray(line.coords) + wander)
    line = translate(rotate(line, rng.uniform(0, 360), origin=(0, 0)), *centre)
    height = rng.uniform(1.5, 4.0)
    base = line.buffer(height / math.tan(math.radians(32)) + rng.uniform(0.3, 1.0), cap_style="square")
    soil = np.array(MATERIALS[rng.choice(["loam", "sand", "gravel"])][0]) * rng.uniform(0.85, 1.2)
    return Thing("berm", base, height, tuple(soil), axis=line)


def shed(rng: np.random.Generator, centre: tuple[float, float]) -> Thing:
    """A gabled roof larger than any container."""
    half = rng.uniform(4.5, 9), rng.uniform(8, 16)
    base = translate(rotate(box(-half[0], -half[1], half[0], half[1]), rng.uniform(0, 180)), *centre)
    return Thing(
        "shed", base, rng.uniform(3.5, 7), tuple(np.array([0.2, 0.2, 0.21, 0.23]) * rng.uniform(0.5, 1.8))
    )


def vehicle(rng: np.random.Generator, centre: tuple[float, float]) -> Thing:
    """A car or lorry."""
    length, width, height = [(4.5, 1.9, 1.5), (8.0, 2.5, 3.0), (16.0, 2.55, 3.8)][
        rng.choice(3, p=[0.6, 0.25, 0.15])
    ]
    base = translate(
        rotate(box(-width / 2, -length / 2, width / 2, length / 2), rng.uniform(0, 180)), *centre
    )
    return Thing("vehicle", base, height, PAINTS[rng.integers(len(PAINTS))])


def tree(rng: np.random.Generator, centre: tuple[float, float]) -> Thing:
    """A round crown."""
    radius = rng.uniform(1.5, 5.0)
    return Thing(
        "tree",
        Point(centre).buffer(radius, quad_segs=4),
        radius * rng.uniform(1.5, 2.6),
        (0.03, 0.05, 0.035, 0.3),
    )


def heap(rng: np.random.Generator, centre: tuple[float, float]) -> Thing:
    """A round bale or small heap."""
    return Thing(
        "heap", Point(centre).buffer(rng.uniform(0.7, 2.5), quad_segs=4), 1.3, (0.16, 0.22, 0.30, 0.36)
    )


def tarp(rng: np.random.Generator, centre: tuple[float, float]) -> Thing:
    """A flat sheet."""
    half = rng.uniform(1.0, 4.0), rng.uniform(2.0, 7.0)
    base = translate(rotate(box(-half[0], -half[1], half[0], half[1]), rng.uniform(0, 180)), *centre)
    return Thing("tarp", base, 0.1, PAINTS[rng.integers(len(PAINTS))])


def furnish(
    rng: np.random.Generator, side_m: float, looks: int, quiet: bool, density: float, most: int
) -> list[Thing]:
    """Put things on the site so that they do not overlap; some come, some go, unless ``quiet``."""
    taken: list[Polygon] = []
    things: list[Thing] = []

    def free(margin: float) -> tuple[float, float]:
        return float(rng.uniform(margin, side_m - margin)), float(rng.uniform(margin, side_m - margin))

    def place(new: list[Thing], clearance: float = 2.5) -> bool:
        around = shapely.union_all([t.base for t in new]).buffer(clearance)
        if any(around.intersects(other) for other in taken):
            return False
        taken.append(around)
        things.extend(new)
        return True

    def life() -> tuple[int, int]:
        if quiet or looks < 2 or rng.random() < 0.35:
            return 0, 10_000
        kind = rng.integers(3)
        first = int(rng.integers(1, looks))
        if kind == 0:
            return first, 10_000
        if kind == 1:
            return 0, first
        last = int(rng.integers(first + 1, looks + 1)) if looks > 3 else 10_000
        return first, last if last < looks else 10_000

    scale = density * (side_m / 250.0) ** 2
    for maker, number, margin in ((container_group, 12, 10), (berm, 5, 30)):
        for _ in range(round(number * scale)):
            since, until = life()
            spot = free(margin + 2 * most)
            new = [berm(rng, spot)] if maker is berm else container_group(rng, spot, most)
            place([replace(t, since=since, until=until) for t in new])
    for _ in range(round(5 * scale)):
        since, until = life() if rng.random() < 0.3 else (0, 10_000)
        place([replace(shed(rng, free(15)), since=since, until=until)])
    for maker, number in ((tree, 35), (heap, 12), (tarp, 4)):
        for _ in range(round(number * scale)):
            place([maker(rng, free(5))], 0.5)
    for look in range(looks):  # what moves is somewhere else every time
        for _ in range(round(rng.integers(4, 14) * scale)):
            place([replace(vehicle(rng, free(8)), since=look, until=look + 1)], 0.3)
    return things


def paint_box(sheet: Sheet, thing: Thing, light: Light) -> None:
    """Roof and the sides that show; the roof leans away from the sensor."""
    colour = np.array(thing.paint, np.float32)
    lean = tuple(v * thing.height_m for v in light.lean)
    corners = np.asarray(thing.base.exterior.coords)
    turn = 1.0 if thing.base.exterior.is_ccw else -1.0
    for (x0, y0), (x1, y1) in zip(corners[:-1, :2], corners[1:, :2], strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        out = turn * (y1 - y0) / max(length, 1e-6), -turn * (x1 - x0) / max(length, 1e-6)
        # The roof is displaced by `lean`; a side shows where it faces the sensor, against the lean.
        if out[0] * lean[0] + out[1] * lean[1] < 0:
            side = Polygon([(x0, y0), (x1, y1), (x1 + lean[0], y1 + lean[1]), (x0 + lean[0], y0 + lean[1])])
            sheet.paint(side, 0.8 * colour, min(light.lit(*out, 0.0), 1.5))
    roof = translate(thing.base, *lean)
    if thing.kind == "shed":
        _paint_gable(sheet, roof, colour, light)
        return
    sheet.paint(roof, colour, 1.0, grain=0.25)
    if thing.kind == "container":
        _corrugate(sheet, roof, colour)


def _paint_gable(sheet: Sheet, roof: Polygon, colour: NDArray[np.float32], light: Light) -> None:
    """Two roof halves of 20 degrees each, lit apart."""
    corners = np.asarray(roof.exterior.coords)[:4, :2]
    edges = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    if edges[0] > edges[1]:
        corners = np.roll(corners, -1, axis=0)
    ridge = (corners[0] + corners[1]) / 2, (corners[2] + corners[3]) / 2
    slope = math.radians(20)
    for one, two in ((corners[0], corners[3]), (corners[1], corners[2])):
        out = (one + two) / 2 - (ridge[0] + ridge[1]) / 2
        out = out / np.linalg.norm(out) * math.sin(slope)
        half = Polygon([ridge[0], one, two, ridge[1]])
        sheet.paint(half, colour, light.lit(out[0], out[1], math.cos(slope)), grain=0.2)


def _corrugate(sheet: Sheet, roof: Polygon, colour: NDArray[np.float32]) -> None:
    """A seam or two across the roof, as worn paint shows."""
    corners = np.asarray(roof.exterior.coords)[:4, :2]
    for share in (0.02, 0.5, 0.98):
        one = corners[0] + share * (corners[3] - corners[0])
        two = corners[1] + share * (corners[2] - corners[1])
        sheet.paint(LineString([one, two]).buffer(0.12, cap_style="flat"), 0.7 * colour, 1.0)


def paint_berm(sheet: Sheet, thing: Thing, light: Light) -> None:
    """Both flanks of every segment, lit by how they face the sun; below the sun's own angle they are dark."""
    assert thing.axis is not None
    colour = np.array(thing.paint, np.float32)
    reach = thing.height_m / math.tan(math.radians(32))
    sheet.paint(thing.base, colour, 1.0, grain=0.6)
    slope = math.radians(32)
    lean = light.lean[0] * thing.height_m, light.lean[1] * thing.height_m
    points = np.asarray(thing.axis.coords)
    for (x0, y0), (x1, y1) in pairwise(points):
        length = max(math.hypot(x1 - x0, y1 - y0), 1e-6)
        for sign in (1.0, -1.0):
            out = sign * (y1 - y0) / length, -sign * (x1 - x0) / length
            foot = [(x + out[0] * reach, y + out[1] * reach) for x, y in ((x0, y0), (x1, y1))]
            crest = [(x1 + lean[0], y1 + lean[1]), (x0 + lean[0], y0 + lean[1])]
            flank = Polygon([*foot, *crest]).buffer(0)
            lit = light.lit(out[0] * math.sin(slope), out[1] * math.sin(slope), math.cos(slope))
            sheet.paint(flank, colour, min(lit, 2.4), grain=0.6)


def paint_tree(sheet: Sheet, thing: Thing, light: Light, green: float) -> None:
    """A crown as three discs, lighter towards the sun; bare crowns let the ground through."""
    bare = np.array([0.05, 0.06, 0.07, 0.13], np.float32)
    colour = green * np.array(thing.paint, np.float32) + (1 - green) * bare
    lean = light.lean[0] * thing.height_m * 0.6, light.lean[1] * thing.height_m * 0.6
    toward = -light.shadow[0], -light.shadow[1]
    norm = math.hypot(*toward)
    radius = math.sqrt(thing.base.area / math.pi)
    for share, brightness in ((1.0, 0.5), (0.75, 0.9), (0.45, 1.3)):
        shift = (1 - share) * radius * 0.8 / norm
        x, y = (
            thing.base.centroid.x + lean[0] + toward[0] * shift,
            thing.base.centroid.y + lean[1] + toward[1] * shift,
        )
        sheet.paint(Point(x, y).buffer(radius * share, quad_segs=4), colour, brightness)


def shadow_of(thing: Thing, light: Light) -> Any:
    """The polygon on the ground that a thing keeps from the sun."""
    throw = light.shadow[0] * thing.height_m, light.shadow[1] * thing.height_m
    if thing.kind == "berm" and thing.axis is not None:
        points = np.asarray(thing.axis.coords)
        quads = []
        for (x0, y0), (x1, y1) in pairwise(points):
            ends = [(x1 + throw[0], y1 + throw[1]), (x0 + throw[0], y0 + throw[1])]
            quads.append(Polygon([(x0, y0), (x1, y1), *ends]).buffer(0))
        return shapely.union_all(quads)
    if thing.kind == "tree":
        crown = translate(thing.base, throw[0] * 0.6, throw[1] * 0.6)
        return shapely.union_all([crown, translate(thing.base, throw[0] * 0.35, throw[1] * 0.35)])
    return shapely.union_all([thing.base, translate(thing.base, *throw)]).convex_hull


def sun_position(when: datetime) -> tuple[float, float]:
    """Return (azimuth, elevation) of the sun at the site, good to a degree (Cooper's declination)."""
    day = when.timetuple().tm_yday
    declination = math.radians(23.45 * math.sin(2 * math.pi * (284 + day) / 365))
    hour = math.radians(15 * (when.hour + when.minute / 60 + LONGITUDE / 15 - 12))
    latitude = math.radians(LATITUDE)
    sine = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(
        hour
    )
    elevation = math.asin(sine)
    azimuth = math.atan2(
        -math.cos(declination) * math.sin(hour),
        math.sin(declination) * math.cos(latitude)
        - math.cos(declination) * math.sin(latitude) * math.cos(hour),
    )
    return math.degrees(azimuth) % 360, math.degrees(elevation)


def greenness(when: datetime) -> float:
    """0 in winter, 1 in early summer."""
    day = when.timetuple().tm_yday
    return float(np.clip(math.exp(-(((day - 165) / 62) ** 2)), 0.05, 1))


def paint_look(
    ground: Ground,
    things: Sequence[Thing],
    look: int,
    when: datetime,
    light: Light,
    side_m: float,
    step_m: float,
) -> Canvas:
    """Return (band, row, col) reflectance at the fine step, before air and lens."""
    green = greenness(when)
    cover = ground.plants * green
    sheet = Sheet(side_m, step_m, ground.bare * (1 - cover) + PLANTS[:, None, None] * cover)
    here = [t for t in things if t.since <= look < t.until]
    for thing in here:
        sheet.shade(shadow_of(thing, light))
    for thing in sorted(here, key=lambda t: (t.height_m, t.base.bounds)):
        if thing.kind == "berm":
            paint_berm(sheet, thing, light)
        elif thing.kind == "tree":
            paint_tree(sheet, thing, light, green)
        else:
            paint_box(sheet, thing, light)
    return sheet.finished()


def airy_kernel(gsd_m: float, step_m: float, blur: float) -> Canvas:
    """An Airy pattern of first zero ``blur`` pixels, integrated over a square detector; sums to one."""
    reach = max(round(2.0 * gsd_m / step_m), 1)
    at = np.arange(-reach, reach + 1) * step_m / gsd_m
    radius = np.maximum(np.hypot(at[:, None], at[None]) / blur * 3.8317, 1e-6)
    airy = (2 * special.j1(radius) / radius) ** 2
    detector = np.ones((max(round(gsd_m / step_m), 1),) * 2)
    kernel = signal.convolve2d(airy, detector)
    unit: Canvas = (kernel / kernel.sum()).astype(np.float32)
    return unit


def photograph(
    rng: np.random.Generator,
    scene: Canvas,
    light: Light,
    gsd_m: float,
    step_m: float,
    shift_m: tuple[float, float],
) -> Canvas:
    """Air, lens, sampling with a geolocation error (east, north), and shot noise."""
    hazy = (
        scene * light.gain * (1 - light.haze) + light.haze * np.array([0.22, 0.18, 0.14, 0.09])[:, None, None]
    )
    kernel = airy_kernel(gsd_m, step_m, rng.uniform(0.9, 1.4))
    sharp = [
        signal.oaconvolve(np.pad(b, kernel.shape[0] // 2, mode="edge"), kernel, mode="valid") for b in hazy
    ]
    n = round(scene.shape[1] * step_m / gsd_m)
    centre = (np.arange(n) + 0.5) * gsd_m / step_m - 0.5
    rows, cols = centre + shift_m[1] / step_m, centre - shift_m[0] / step_m
    where = np.meshgrid(rows, cols, indexing="ij")
    sampled = np.stack(
        [
            ndimage.map_coordinates(b[: scene.shape[1], : scene.shape[2]], where, order=1, mode="nearest")
            for b in sharp
        ]
    )
    electrons = rng.uniform(8_000, 40_000)
    noisy = rng.poisson(np.clip(sampled, 0, None) * electrons) / electrons
    read: Canvas = (noisy + rng.normal(0, 0.0015, noisy.shape)).astype(np.float32)
    return read


def clouds(rng: np.random.Generator, n: int, share: float) -> tuple[NDArray[np.bool_], Canvas]:
    """Return a cloud mask and the opacity of (n, n) pixels covering about ``share``."""
    if share <= 0:
        return np.zeros((n, n), bool), np.zeros((n, n), np.float32)
    field_ = fourier_noise(rng, n, 3.6)
    opacity = np.clip((field_ - np.quantile(field_, 1 - share)) * 1.5, 0, 1).astype(np.float32)
    return opacity > 0.08, opacity


@dataclass(frozen=True, slots=True)
class Taken:
    """One look as written: id, time, light, geolocation error and what was clear."""

    scene_id: str
    when: datetime
    light: Light
    shift_m: tuple[float, float]
    clear: NDArray[np.bool_]


def render(
    out: Path, *, seed: int, looks: int, gsd_m: float, background: str = "plain", quiet: bool = False,
    side_m: float | None = None, cloudy: float = 0.4, season_days: int = 420,
) -> None:  # fmt: skip
    """Write a catalog of ``looks`` scenes with truth into ``out`` (made; must not hold one already)."""
    rng = np.random.default_rng([seed, 77])
    side = side_m or (260.0 if gsd_m <= 1.5 else 900.0 if gsd_m <= 5 else 2000.0)
    side = round(side / gsd_m) * gsd_m
    step = gsd_m / (3 if gsd_m <= 1.5 else 4 if gsd_m <= 5 else 6)
    ground = (real_ground if background == "real" else plain_ground)(rng, side, step)
    density, most = (1.0, 8) if gsd_m <= 1.5 else (0.3, 16) if gsd_m <= 5 else (0.06, 36)
    things = furnish(rng, side, looks, quiet, density, most)
    out.mkdir(parents=True, exist_ok=False)
    start = datetime(2022, 1, 1, tzinfo=UTC) + timedelta(days=int(rng.integers(0, 365)))
    apart = max(season_days / max(looks, 1), 6.0)
    taken = []
    for look in range(looks):
        day = look * apart + float(rng.uniform(-0.25, 0.25)) * apart
        when = (start + timedelta(days=day)).replace(
            hour=8, minute=int(rng.integers(0, 60)), second=0, microsecond=0
        )
        taken.append(_take(rng, out, ground, things, look, when, (side, step, gsd_m), cloudy))
    _write_catalog(out, taken, side, gsd_m)
    _write_truth(rng, out, things, taken, gsd_m)


def _take(
    rng: np.random.Generator, out: Path, ground: Ground, things: Sequence[Thing], look: int, when: datetime,
    sizes: tuple[float, float, float], cloudy: float,
) -> Taken:  # fmt: skip
    side, step, gsd_m = sizes
    azimuth, elevation = sun_position(when)
    light = Light(
        azimuth, max(elevation, 8.0), float(rng.uniform(0, 360)), float(rng.uniform(0, 18)) if gsd_m < 5 else 3.0,
        float(rng.uniform(0.02, 0.15)), float(rng.uniform(0.92, 1.08)),
    )  # fmt: skip
    shift = float(rng.normal(0, 0.8 * max(gsd_m, 1.0))), float(rng.normal(0, 0.8 * max(gsd_m, 1.0)))
    image = photograph(
        rng, paint_look(ground, things, look, when, light, side, step), light, gsd_m, step, shift
    )
    n = image.shape[1]
    share = float(rng.uniform(0.05, 0.7)) if look > 0 and rng.random() < cloudy else 0.0
    mask, opacity = clouds(rng, n, share)
    image = image * (1 - opacity) + 0.7 * opacity
    told = (
        ndimage.binary_dilation(mask, iterations=2)
        if rng.random() < 0.7
        else ndimage.binary_erosion(mask, iterations=2)
    )
    scene_id = f"look-{look:02d}-{when:%Y%m%d}"
    transform = Affine(gsd_m, 0, EAST, 0, -gsd_m, NORTH + side)
    common = {
        "driver": "GTiff",
        "height": n,
        "width": n,
        "crs": f"EPSG:{EPSG}",
        "transform": transform,
        "compress": "deflate",
    }
    with rasterio.open(out / f"{scene_id}.tif", "w", count=4, dtype="uint16", nodata=0, **common) as file:
        file.write(np.clip(np.round(image * 1e4), 1, 65535).astype(np.uint16))
    with rasterio.open(
        out / f"{scene_id}-cloud.tif", "w", count=1, dtype="uint8", nodata=255, **common
    ) as file:
        file.write(told.astype(np.uint8), 1)
    return Taken(scene_id, when, light, shift, ~ndimage.binary_dilation(mask, iterations=1))


def _write_catalog(out: Path, taken: Sequence[Taken], side: float, gsd_m: float) -> None:
    back = Transformer.from_crs(EPSG, 4326, always_xy=True)

    def lonlat(west: float, south: float, east: float, north: float) -> Polygon:
        ring = [(west, south), (east, south), (east, north), (west, north)]
        return Polygon([back.transform(*p) for p in ring])

    footprint = lonlat(EAST, NORTH, EAST + side, NORTH + side)
    inset = max(8.0, 2 * gsd_m)
    area = lonlat(EAST + inset, NORTH + inset, EAST + side - inset, NORTH + side - inset)
    feature = {"type": "Feature", "properties": {"name": "second"}, "geometry": mapping(area)}
    (out / "aoi.geojson").write_text(json.dumps(feature))
    links = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    for t in taken:
        links.append({"rel": "item", "href": f"./{t.scene_id}.json", "type": "application/geo+json"})
        (out / f"{t.scene_id}.json").write_text(json.dumps(_item(t, footprint, gsd_m), indent=1))
    catalog = {
        "type": "Catalog", "stac_version": "1.0.0", "id": "second-renderer", "links": links,
        "description": "Rendered scenes for testing; not real.",
    }  # fmt: skip
    (out / "catalog.json").write_text(json.dumps(catalog, indent=1))


def _item(t: Taken, footprint: Polygon, gsd_m: float) -> dict[str, Any]:
    bands = [{"name": b, "common_name": b} for b in BANDS]
    convergence = math.degrees(
        math.atan(math.tan(math.radians(LONGITUDE - 33)) * math.sin(math.radians(LATITUDE)))
    )
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": t.scene_id, "bbox": list(footprint.bounds),
        "geometry": mapping(footprint),
        "stac_extensions": [
            "https://stac-extensions.github.io/view/v1.0.0/schema.json",
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ],
        "properties": {
            "datetime": t.when.isoformat().replace("+00:00", "Z"), "gsd": gsd_m, "license": "CC0-1.0", "platform": "painted",
            "view:sun_azimuth": round((t.light.sun_azimuth + convergence) % 360, 3),
            "view:sun_elevation": round(t.light.sun_elevation, 3),
            "view:azimuth": round((t.light.view_azimuth + convergence) % 360, 3),
            "view:off_nadir": round(t.light.off_nadir, 3),
        },
        "assets": {
            "data": {
                "href": f"./{t.scene_id}.tif", "type": "image/tiff; application=geotiff", "roles": ["data"], "eo:bands": bands,
                "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": 0} for _ in BANDS],
            },
            "cloud-mask": {"href": f"./{t.scene_id}-cloud.tif", "type": "image/tiff; application=geotiff", "roles": ["cloud"]},
        },
        "links": [{"rel": "root", "href": "./catalog.json", "type": "application/json"}],
    }  # fmt: skip


def _write_truth(
    rng: np.random.Generator, out: Path, things: Sequence[Thing], taken: Sequence[Taken], gsd_m: float
) -> None:
    """Objects with the times they came and went, drawn between the looks on either side."""
    back = Transformer.from_crs(EPSG, 4326, always_xy=True)
    times = {
        k: taken[k - 1].when + (taken[k].when - taken[k - 1].when) * float(rng.uniform(0.1, 0.9))
        for k in range(1, len(taken))
    }
    features = []
    for thing in things:
        if thing.kind not in {"container", "berm", "shed"}:
            continue
        moved = shapely.transform(
            thing.base, lambda xy: np.column_stack(back.transform(xy[:, 0] + EAST, xy[:, 1] + NORTH))
        )
        said = {
            "class": "other" if thing.kind == "shed" else thing.kind,
            "appeared": _stamp(times.get(thing.since)),
            "removed": _stamp(times.get(thing.until)),
            "count": thing.count,
            "height_m": round(thing.height_m, 2),
            "visible_in": [t.scene_id for t in taken if _clear(t, thing.base, gsd_m)],
        }
        features.append({"type": "Feature", "properties": said, "geometry": mapping(moved)})
    # What must be added to a scene's own coordinates to bring it onto the truth.
    scenes = {t.scene_id: {"east_m": -t.shift_m[0], "north_m": -t.shift_m[1]} for t in taken}
    collection = {"type": "FeatureCollection", "features": features, "scenes": scenes}
    (out / "truth.geojson").write_text(json.dumps(collection))


def _stamp(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat().replace("+00:00", "Z")


def _clear(t: Taken, base: Polygon, gsd_m: float) -> bool:
    n = len(t.clear)
    west, south, east, north = base.bounds
    rows = slice(max(n - int(north / gsd_m) - 1, 0), max(n - int(south / gsd_m), 1))
    cols = slice(max(int(west / gsd_m), 0), min(int(east / gsd_m) + 1, n))
    part = t.clear[rows, cols]
    return bool(part.size and part.mean() > 0.7)


def main(arguments: Sequence[str] | None = None) -> int:
    """Render from the command line."""
    parser = argparse.ArgumentParser(description="Render a test series by painting polygons.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--looks", type=int, default=8)
    parser.add_argument("--gsd", type=float, default=0.5)
    parser.add_argument("--background", choices=("plain", "real"), default="plain")
    parser.add_argument("--quiet", action="store_true", help="nothing of our classes comes or goes")
    args = parser.parse_args(arguments)
    render(
        args.out,
        seed=args.seed,
        looks=args.looks,
        gsd_m=args.gsd,
        background=args.background,
        quiet=args.quiet,
    )
    print(args.out / "catalog.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
