"""A plainer way of making sites than ``imagery.simulation``, for training only: polygons of one colour each on noisy fields.

What judges candidates must not take one renderer's habits for the world's. Here nothing is traced: a box is a polygon
that leans, with a convex shadow; a bank is a strip shaded by its slope; shadows keep a share of the light that the sky gives. Looks
are drawn on the site's own grid, but for the error registration leaves. Nothing of ``benchmarks.second_renderer`` is used,
which stays for testing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine
from scipy import ndimage
from shapely.affinity import rotate, translate
from shapely.geometry import LineString, MultiPoint, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from imagery.grid import SiteGrid
from imagery.illumination import Sun, View, lean_offset, shadow_offset
from imagery.look import Look
from imagery.observability import ObservationState

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
Colour = tuple[float, float, float, float]
Box = tuple[slice, slice]

BANDS = ("blue", "green", "red", "nir")
BAND_SETS = (BANDS, BANDS[:3], ("pan",))
EPSG, WEST, SOUTH = 32633, 500_000.0, 5_500_000.0
ALWAYS = (0, 1_000)
EDGE_M = 9.0
FINER = 2  # cells drawn to a pixel's side
GRASS, STRAW, BARE, ASPHALT, CONCRETE, GRAVEL = (
    (0.04, 0.08, 0.05, 0.35), (0.09, 0.12, 0.14, 0.22), (0.10, 0.13, 0.17, 0.22), (0.09, 0.095, 0.10, 0.11),
    (0.20, 0.22, 0.23, 0.25), (0.15, 0.16, 0.17, 0.19),
)  # fmt: skip
CROWN: Colour = (0.02, 0.04, 0.03, 0.25)
SIDES = 0.65  # how bright the walls that show are against a roof


@dataclass(frozen=True, slots=True)
class Style:
    """What all looks of one site share: pixels, sensor, ground and how much of it the seasons turn."""

    gsd_m: float
    looks: int
    bands: tuple[str, ...]
    blur_px: float
    noise: float
    levels: int
    texture: float
    grain_m: float
    season: float
    sky: float
    sun_told: bool
    off_nadir_deg: float
    clouds: float
    traffic: int
    quiet: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """One thing of a site: ``footprint`` in metres east and north of the south-west corner, ``looks`` from which until which it stands.

    It is of one ``colour`` from above; ``crest`` is a bank's.
    """

    kind: str
    footprint: Polygon
    height_m: float
    looks: tuple[int, int]
    colour: Colour
    crest: LineString | None = None


@dataclass(frozen=True, slots=True)
class DrawnSite:
    """Looks in time order, things, and the times at which they may come and go: between looks, None before the first."""

    looks: tuple[Look, ...]
    things: tuple[Drawn, ...]
    turns: tuple[datetime | None, ...]

    def stay(self, thing: Drawn) -> tuple[datetime | None, datetime | None]:
        """Return when a thing came and went; None where it was there before, or stays after, all looks."""
        since, until = thing.looks
        return self.turns[since], self.turns[until] if until < len(self.turns) else None


def style_of(rng: np.random.Generator) -> Style:
    """Draw what a site is like."""
    gsd = float(rng.choice([0.3, 0.4, 0.5, 0.5, 0.5, 0.8, 1.0, 1.5, 2.0]))
    bands = BAND_SETS[int(rng.choice(3, p=(0.5, 0.4, 0.1)))]
    return Style(
        gsd, int(rng.choice([2, 2, 3, 4, 6, 8])), bands, float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.002, 0.012)),
        int(rng.choice([255, 10_000])), float(rng.uniform(0.02, 0.18)), float(rng.uniform(0.3, 4.0)), float(rng.uniform(0.0, 0.5)),
        float(rng.uniform(0.12, 0.4)), bool(rng.random() < 0.75), float(rng.choice([0.0, 8.0, 20.0])),
        float(rng.choice([0.0, 0.3])), int(rng.integers(0, 25)), bool(rng.random() < 0.25),
    )  # fmt: skip


@dataclass(slots=True)
class Sheet:
    """A square of ``side_m`` in cells of ``step_m``: (row, col, band) reflectance, and (row, col) sunlight against level ground's."""

    side_m: float
    step_m: float
    colour: Plane
    sunlight: Plane

    def covered(self, shape: BaseGeometry) -> tuple[Box, Mask]:
        """Return the window about a shape and which of its cells lie inside."""
        west, south, east, north = shape.bounds
        last = len(self.colour)
        down = slice(*(self._cell(self.side_m - north, -1, last), self._cell(self.side_m - south, 2, last)))
        right = slice(*(self._cell(west, -1, last), self._cell(east, 2, last)))
        size = max(down.stop - down.start, 1), max(right.stop - right.start, 1)
        corner = Affine(
            self.step_m,
            0,
            right.start * self.step_m,
            0,
            -self.step_m,
            self.side_m - down.start * self.step_m,
        )
        inside = rasterize([shape], out_shape=size, transform=corner, dtype="uint8").astype(bool)
        return (down, right), inside[: down.stop - down.start, : right.stop - right.start]

    def _cell(self, at_m: float, more: int, last: int) -> int:
        return min(max(int(at_m / self.step_m) + more, 0), last)

    def fill(self, shape: BaseGeometry, colour: Colour, light: float = 1.0) -> None:
        """Paint a shape in one colour, lit alike."""
        window, inside = self.covered(shape)
        self.colour[window][inside] = colour
        self.sunlight[window][inside] = light

    def shade(self, shape: BaseGeometry) -> None:
        """Take the sun from a shape."""
        window, inside = self.covered(shape)
        self.sunlight[window][inside] = 0.0


def drawn_site(seed: int) -> DrawnSite:
    """Draw a site: the same seed gives the same looks."""
    rng = np.random.default_rng([seed, 1])
    style = style_of(rng)
    gsd = style.gsd_m
    count = round((240.0 if gsd < 1.0 else 360.0) / gsd)
    side = count * gsd
    ground = _ground(rng, style, side, gsd / FINER)
    things = _furnished(rng, style, side)
    day = float(rng.choice([15, 40, 90]))
    start = datetime(2021, 1, 1, 9, tzinfo=UTC) + timedelta(days=int(rng.integers(0, 300)))
    times = [start + timedelta(days=day * k + float(rng.uniform(0, 0.4 * day))) for k in range(style.looks)]
    grid = SiteGrid(EPSG, WEST, SOUTH + side, gsd, count, count)
    looks = tuple(
        _look(np.random.default_rng([seed, 2, k]), style, ground, things, k, times[k], grid)
        for k in range(style.looks)
    )
    turns = (None, *(a + (b - a) / 2 for a, b in pairwise(times)))
    return DrawnSite(looks, tuple(things), turns)


def _noise(rng: np.random.Generator, size: int, step_m: float, grain_m: float) -> Plane:
    """Return (size, size) noise of unit spread whose grains are so wide."""
    coarse = max(round(size * step_m / grain_m), 4)
    fine = ndimage.zoom(rng.normal(0, 1, (coarse, coarse)).astype(np.float32), size / coarse, order=1)
    rest = [(0, max(size - n, 0)) for n in fine.shape]
    noise: Plane = np.pad(fine, rest, mode="edge")[:size, :size]
    noise /= noise.std()
    return noise


@dataclass(frozen=True, slots=True)
class _Ground:
    """What never moves: ``bare`` (row, col, band), where plants grow, and the texture both share."""

    bare: Plane
    planted: Mask
    texture: Plane

    def coloured(self, green: float) -> Plane:
        """Return (row, col, band) reflectance when so much of what grows is green."""
        plants = green * np.array(GRASS, np.float32) + (1 - green) * np.array(STRAW, np.float32)
        colour: Plane = np.where(self.planted[..., None], plants, self.bare) * self.texture[..., None]
        return colour


def _ground(rng: np.random.Generator, style: Style, side_m: float, step_m: float) -> _Ground:
    """Fields, a paved yard and a road."""
    size = round(side_m / step_m)
    grain, broad = _noise(rng, size, step_m, style.grain_m), _noise(rng, size, step_m, 25.0)
    texture = 1.0 + style.texture * (0.6 * grain + 0.4 * broad)
    soil = np.array(BARE, np.float32) * rng.uniform(0.7, 1.5)
    planted = _noise(rng, size, step_m, float(rng.uniform(30, 90))) > rng.uniform(-0.6, 0.8)
    sheet = Sheet(side_m, step_m, np.tile(soil, (size, size, 1)), np.ones((size, size), np.float32))
    west, south = side_m * rng.uniform(0.05, 0.4, 2)
    yard = box(west, south, west + side_m * rng.uniform(0.3, 0.6), south + side_m * rng.uniform(0.3, 0.6))
    height = rng.uniform(0.1, 0.9, 2) * side_m
    road = LineString([(0, height[0]), (side_m, height[1])]).buffer(rng.uniform(2.5, 5.0))
    for place, cover in ((yard, (ASPHALT, CONCRETE, GRAVEL, BARE)[rng.integers(4)]), (road, ASPHALT)):
        sheet.fill(place, cover)
        window, inside = sheet.covered(place)
        planted[window][inside] = False
    return _Ground(sheet.colour, planted, np.clip(texture, 0.3, 2.0).astype(np.float32))


def _paint(rng: np.random.Generator) -> Colour:
    """Draw a colour as containers, vehicles and tarpaulins have it."""
    strong = rng.uniform(0.02, 0.5, 3)
    strong += rng.uniform(0, 1) * (strong.mean() - strong)
    blue, green, red = (float(v) for v in strong)
    return blue, green, red, float(np.clip(strong.mean() * rng.uniform(0.8, 1.4), 0.02, 0.6))


def _turned(shape: Polygon, angle: float, centre: tuple[float, float]) -> Polygon:
    moved: Polygon = translate(rotate(shape, angle, origin=(0, 0)), *centre)
    return moved


def _oblong(length_m: float, width_m: float) -> Polygon:
    return box(-length_m / 2, -width_m / 2, length_m / 2, width_m / 2)


def _containers(
    rng: np.random.Generator, centre: tuple[float, float], looks: tuple[int, int], *, most: int
) -> list[Drawn]:
    """One container or a row, flush or apart, of one height or several."""
    length, width = float(rng.choice([6.06, 12.19])), 2.44
    number = 1 if rng.random() < 0.35 else int(rng.integers(2, most + 1))
    apart = width + float(rng.choice([0.05, 0.1, 0.4, 1.0]))
    angle, levels = float(rng.uniform(0, 180)), int(rng.choice([1, 1, 1, 2, 3]))
    one_colour = _paint(rng) if rng.random() < 0.3 else None
    things = []
    for k in range(number):
        if number > 3 and rng.random() < 0.05:
            continue
        base = translate(_oblong(length, width), 0, (k - (number - 1) / 2) * apart)
        height = 2.6 * (levels if rng.random() < 0.8 else 1)
        here = _turned(base, angle, centre)
        things.append(Drawn("container", here, height, looks, one_colour or _paint(rng)))
    return things


def _bank(
    rng: np.random.Generator, centre: tuple[float, float], looks: tuple[int, int], *, most_m: float
) -> list[Drawn]:
    """A straight bank, one with corners, or most of a ring."""
    length, height = float(rng.uniform(14, most_m)), float(rng.uniform(1.0, 3.5))
    around = np.linspace(0, 2 * np.pi * rng.uniform(0.6, 1.0), 18)
    half, third = length / 2, length / 3
    lines = (
        [(-half, 0.0), (half, 0.0)],
        [(-third, -third), (-third, third), (third, third)],
        [(-third, -third), (-third, third), (third, third), (third, -third)],
        [(third * math.cos(a), third * math.sin(a)) for a in around],
    )
    line = LineString(lines[rng.integers(4)])
    crest = translate(rotate(line, float(rng.uniform(0, 180)), origin=(0, 0)), *centre)
    reach = height * float(rng.uniform(1.3, 2.2))
    cover = (BARE, BARE, GRAVEL, STRAW)[rng.integers(4)]
    shade = rng.uniform(0.7, 1.3)
    blue, green, red, nir = (float(v * shade) for v in cover)
    foot = crest.buffer(reach)
    return [Drawn("berm", foot, height, looks, (blue, green, red, nir), crest)]


def _flat(
    rng: np.random.Generator, centre: tuple[float, float], looks: tuple[int, int], *, most_m: float
) -> list[Drawn]:
    """Something that lies flat: a tarpaulin, a puddle, a fresh strip of ground."""
    shape = _turned(_oblong(rng.uniform(4, most_m), rng.uniform(2, 8)), float(rng.uniform(0, 180)), centre)
    shape = shape.buffer(1.5) if rng.random() < 0.5 else shape
    colour = _paint(rng) if rng.random() < 0.5 else (BARE, GRAVEL, CROWN, STRAW)[rng.integers(4)]
    return [Drawn("flat", shape, 0.0, looks, colour)]


def _hall(rng: np.random.Generator, centre: tuple[float, float], looks: tuple[int, int]) -> list[Drawn]:
    """A flat roof of a size no group of containers has."""
    shape = _turned(_oblong(rng.uniform(9, 35), rng.uniform(7, 18)), float(rng.uniform(0, 180)), centre)
    return [Drawn("other", shape, float(rng.uniform(3, 8)), looks, _paint(rng))]


def _round(rng: np.random.Generator, centre: tuple[float, float], looks: tuple[int, int]) -> list[Drawn]:
    """A crown or a tank."""
    crown = rng.random() < 0.8
    shape = Point(centre).buffer(rng.uniform(1.5, 4.0))
    colour = CROWN if crown else _paint(rng)
    return [Drawn("tree" if crown else "other", shape, float(rng.uniform(3, 9)), looks, colour)]


def _vehicle(rng: np.random.Generator, centre: tuple[float, float], *, looks: tuple[int, int]) -> list[Drawn]:
    """A car or a lorry."""
    lorry = rng.random() < 0.35
    size = (rng.uniform(7, 15), 2.5) if lorry else (rng.uniform(3.8, 5.2), 1.8)
    shape = _turned(_oblong(*size), float(rng.uniform(0, 180)), centre)
    return [Drawn("vehicle", shape, 3.4 if lorry else 1.5, looks, _paint(rng))]


def _furnished(rng: np.random.Generator, style: Style, side_m: float) -> list[Drawn]:
    """Put things where there is room; on a quiet site none of our classes comes or goes."""
    inside = box(EDGE_M, EDGE_M, side_m - EDGE_M, side_m - EDGE_M)
    things: list[Drawn] = []
    taken: list[BaseGeometry] = []

    def put(make: Callable[[tuple[float, float]], list[Drawn]], room_m: float, *, keep: bool = True) -> None:
        east, north = rng.uniform(EDGE_M, side_m - EDGE_M, 2)
        made = make((float(east), float(north)))
        whole = shapely.union_all([thing.footprint for thing in made]).convex_hull.buffer(room_m)
        if made and inside.contains(whole) and not any(whole.intersects(other) for other in taken):
            things.extend(made)
            if keep:
                taken.append(whole)

    def stay(always: float) -> tuple[int, int]:
        if rng.random() < always:
            return ALWAYS
        turn = int(rng.integers(1, style.looks))
        if rng.random() < 0.15:
            return turn, int(rng.integers(turn + 1, style.looks + 2))
        return (turn, ALWAYS[1]) if rng.random() < 0.5 else (0, turn)

    ours = 1.0 if style.quiet else 0.25
    most, reach = (9, 60.0) if style.gsd_m < 1.0 else (14, 100.0)
    for _ in range(14):
        put(lambda at: _containers(rng, at, stay(ours), most=most), 1.5)
    for _ in range(6):
        put(lambda at: _bank(rng, at, stay(ours), most_m=reach), 1.5)
    for _ in range(4):
        put(lambda at: _hall(rng, at, stay(0.7)), 2.0)
    for _ in range(int(rng.integers(0, 8))):
        put(lambda at: _flat(rng, at, stay(0.3), most_m=reach / 2), 0.5)
    for _ in range(int(rng.integers(5, 40))):
        put(lambda at: _round(rng, at, stay(0.9)), 0.3)
    for look in range(style.looks):
        for _ in range(style.traffic):
            longer = int(rng.random() < 0.1)  # some stay for the next look
            put(partial(_vehicle, rng, looks=(look, look + 1 + longer)), 0.3, keep=bool(longer))
    return things


def _shadow(thing: Drawn, sun: Sun) -> BaseGeometry:
    """Return what a thing keeps from the sun."""
    east, north = shadow_offset(thing.height_m, sun)
    bodies = [thing.footprint.exterior]
    if thing.crest is not None:
        ends = list(thing.crest.coords)
        bodies = [LineString(pair) for pair in pairwise(ends)]
    return shapely.union_all([_swept(body, east, north) for body in bodies])


def _swept(line: LineString, east: float, north: float) -> BaseGeometry:
    """Return what a convex line covers on its way."""
    corners = np.array(line.coords)[:, :2]
    return MultiPoint(np.vstack([corners, corners + np.array([east, north])])).convex_hull


def _raise_bank(sheet: Sheet, thing: Drawn, crest: LineString, sun: Sun, texture: Plane) -> None:
    """Paint a bank, each of its cells lit by its slope (Lambert), rounded at the crest."""
    window, inside = sheet.covered(thing.footprint)
    on_crest = _crest_cells(sheet, crest, window)
    away = np.asarray(ndimage.distance_transform_edt(~on_crest), np.float32) * sheet.step_m
    height = thing.height_m * np.clip(1 - away / max(float(away[inside].max()), sheet.step_m), 0, 1)
    height = ndimage.gaussian_filter(height, 0.4 / sheet.step_m)
    down, right = np.gradient(height, sheet.step_m)
    azimuth, elevation = math.radians(sun.azimuth_deg), math.radians(sun.elevation_deg)
    towards = math.cos(elevation) * math.sin(azimuth), math.cos(elevation) * math.cos(azimuth)
    lit = (-right * towards[0] + down * towards[1] + math.sin(elevation)) / np.sqrt(1 + down**2 + right**2)
    sheet.colour[window][inside] = np.array(thing.colour, np.float32) * texture[window][inside][:, None]
    sheet.sunlight[window][inside] = np.clip(lit / math.sin(elevation), 0.0, 2.5)[inside]


def _crest_cells(sheet: Sheet, crest: LineString, window: Box) -> Mask:
    """Return which cells of a window a bank's crest runs through."""
    down, right = window
    found = np.zeros((down.stop - down.start, right.stop - right.start), bool)
    (rows, cols), on = sheet.covered(crest.buffer(0.75 * sheet.step_m))
    top, left = rows.start - down.start, cols.start - right.start
    found[top : top + on.shape[0], left : left + on.shape[1]] = on
    return found


def _raise_box(sheet: Sheet, thing: Drawn, view: View) -> None:
    """Paint walls where they show, then what lies on top, displaced as it leans."""
    east, north = lean_offset(thing.height_m, view)
    if thing.height_m and view.off_nadir_deg:
        blue, green, red, nir = (SIDES * value for value in thing.colour)
        sheet.fill(_swept(thing.footprint.exterior, east, north), (blue, green, red, nir), 0.8)
    sheet.fill(translate(thing.footprint, east, north), thing.colour)


def _look(
    rng: np.random.Generator, style: Style, ground: _Ground, things: list[Drawn], number: int, t_utc: datetime, grid: SiteGrid,
) -> Look:  # fmt: skip
    """Draw one look."""
    side, step = grid.cols * grid.gsd_m, grid.gsd_m / FINER
    season = math.sin(2 * math.pi * (t_utc.timetuple().tm_yday - 80) / 365)
    sun = Sun(float(rng.uniform(110, 250)), 42.0 + 20.0 * season)
    view = View(float(rng.uniform(0, 360)), float(rng.uniform(0, style.off_nadir_deg)))
    colour = ground.coloured(0.5 + style.season * season)
    sheet = Sheet(side, step, colour, np.ones(colour.shape[:2], np.float32))
    here = [thing for thing in things if thing.looks[0] <= number < thing.looks[1]]
    for thing in here:
        if thing.height_m:
            sheet.shade(_shadow(thing, sun))
    for thing in sorted(here, key=lambda t: t.height_m):
        if thing.crest is not None:
            _raise_bank(sheet, thing, thing.crest, sun, ground.texture)
        else:
            _raise_box(sheet, thing, view)
    light = sheet.colour * (style.sky + (1 - style.sky) * sheet.sunlight)[..., None]
    light = light * rng.uniform(0.9, 1.1) * rng.uniform(0.97, 1.03, 4) + rng.uniform(0, 0.03) * np.array(
        [1, 0.8, 0.6, 0.4]
    )
    off = rng.normal(0, 0.15, 2) * FINER
    blurred = ndimage.gaussian_filter(
        ndimage.shift(light, (*off, 0), order=1, mode="nearest"), (*(FINER * style.blur_px,) * 2, 0)
    )
    pixels = blurred.reshape(grid.rows, FINER, grid.cols, FINER, 4).mean((1, 3)).transpose(2, 0, 1)
    cloud = _cloud(rng, style, grid.cols)
    pixels = pixels * (1 - cloud) + 0.7 * cloud
    image = pixels.mean(0, keepdims=True) if style.bands == ("pan",) else pixels[: len(style.bands)]
    image = image + rng.normal(0, style.noise, image.shape)
    image = np.clip(np.round(image * style.levels), 1, None) / style.levels
    told = cloud > (0.4 if rng.random() < 0.3 else 0.05)  # some masks leave thin cloud out
    state = np.where(told, np.uint8(ObservationState.CLOUD), np.uint8(0))
    return Look(
        f"D{number:02d}", t_utc, grid, style.bands, np.where(state > 0, np.nan, image).astype(np.float32), state, grid.gsd_m,
        sun if style.sun_told else None, view if style.sun_told else None,
    )  # fmt: skip


def _cloud(rng: np.random.Generator, style: Style, size: int) -> Plane:
    """Return (size, size) how much of each pixel cloud hides."""
    if rng.random() >= style.clouds:
        return np.zeros((size, size), np.float32)
    cloud: Plane = np.clip(2 * (_noise(rng, size, 1.0, size / 6) - 0.6), 0, 1).astype(np.float32)
    return cloud
