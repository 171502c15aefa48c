"""A site over time: what stands when, and how each look of it comes out. RENDERED, never real.

Ground and permanent things are painted from the site's seed; every thing that comes or goes has a seed of its own, so it
looks the same in every look it stands in. The camera is displaced per look by a known geolocation error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy import ndimage
from shapely import union_all
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from imagery.illumination import Sun, View
from imagery.observability import ObservationState
from imagery.simulation.canvas import Array, Canvas, smooth_noise
from imagery.simulation.ground import blank, road, slab, trees
from imagery.simulation.light import seen, sun_position, sunlight, wall_light
from imagery.simulation.scenery import dress, traffic
from imagery.simulation.sensor import Sensor, band_planes, numbers, sample
from imagery.simulation.things import berm, containers, decoy_box, disturbance, ditch_or_heap

Kind = Literal["container", "berm", "other"]
SeriesKind = Literal["depot", "quiet", "pair"]
Masks = Literal["perfect", "imperfect", "none"]
MARGIN_M = 30.0
LOWEST_SUN_DEG = 8.0
CLOUD_TOP_M = 900.0
# Shares of a pixel from which truth calls it hidden.
CLOUD_SEEN, SHADOW_SEEN, SNOW_SEEN = 0.08, 0.15, 0.6
SNOW_MONTHS = (12, 1, 2)
HALF_METRE = Sensor(0.5)
# From this pixel size on, single objects vanish and what comes and goes is opened or covered ground.
COARSE_GSD_M = 4.0


@dataclass(frozen=True, slots=True)
class SeriesOptions:
    """What a series is to be like: a square of ``extent_m``, looks spread over [start, end].

    ``masks`` says how good the masks delivered with the looks are; truth always knows what was hidden.
    ``traffic`` is the mean number of vehicles per hectare, elsewhere in every look: no things of the site, and no truth.
    ``inset`` is a finer series whose site lies in the middle of this one, same seed: the same place seen from further up.
    """

    extent_m: float = 250.0
    sensor: Sensor = HALF_METRE
    looks: int = 12
    start: datetime = datetime(2023, 4, 1, tzinfo=UTC)
    end: datetime = datetime(2024, 9, 30, tzinfo=UTC)
    longitude: float = 15.3
    latitude: float = 50.1
    kind: SeriesKind = "depot"
    clouds: float = 0.3
    geolocation_m: float = 2.5
    snow: float = 0.5
    off_nadir_deg: float = 12.0
    density: float = 1.0
    traffic: float = 0.5
    masks: Masks = "perfect"
    inset: "SeriesOptions | None" = None


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing of the site; ``spans`` are half-open times it stands, (None, None) for always.

    ``x_m`` east of the west edge and ``y_m`` south of the north edge of the canvas.
    """

    number: int
    kind: Kind
    x_m: float
    y_m: float
    seed: int
    spans: tuple[tuple[datetime | None, datetime | None], ...]

    def stands(self, t_utc: datetime) -> bool:
        """Tell whether it stands at a time."""
        return any((a is None or a <= t_utc) and (b is None or t_utc < b) for a, b in self.spans)


@dataclass(frozen=True, slots=True)
class Truth:
    """What a thing is once painted: footprint in metres (east, north) from the site's south-west corner, count, height."""

    thing: Thing
    footprint: BaseGeometry
    count: int | None
    height_m: float


@dataclass(frozen=True, slots=True)
class RenderedLook:
    """One look: (band, row, col) uint16 numbers of 0.0001 reflectance, cloud-mask codes, and how it was taken.

    ``mask`` is what is delivered, ``hidden`` what was truly so: 0 clear, 1 cloud, 2 cloud shadow, 3 snow, uint8 (row, col).
    ``shift_m`` (east, north) is to be ADDED to the scene's own coordinates to bring it onto the truth. ``sun`` and
    ``view`` count from grid north.
    """

    number: int
    t_utc: datetime
    bands: tuple[str, ...]
    image: NDArray[np.uint16]
    mask: NDArray[np.uint8]
    hidden: NDArray[np.uint8]
    sun: Sun
    view: View
    shift_m: tuple[float, float]
    snow: bool


@dataclass(frozen=True, slots=True)
class Series:
    """A rendered site over time with its exact truth."""

    options: SeriesOptions
    looks: tuple[RenderedLook, ...]
    truths: tuple[Truth, ...]


def simulate_series(seed: int, options: SeriesOptions) -> Series:
    """Render a site series; equal seeds and options give equal bytes."""
    rng = np.random.default_rng([seed, 1])
    times = look_times(rng, options)
    things = plan(np.random.default_rng([seed, 2]), options, times)
    if options.inset is not None:
        off = (options.extent_m - options.inset.extent_m) / 2
        things += tuple(
            replace(t, number=len(things) + t.number, x_m=t.x_m + off, y_m=t.y_m + off)
            for t in _inner_things(seed, options.inset)
        )
    coarse = options.sensor.gsd_m >= COARSE_GSD_M
    bare = _bare(options)
    truths = tuple(_truth(bare, thing, options) for thing in things if thing.kind != "other" or coarse)
    world = _world(seed, options, things)
    looks = tuple(
        _render(
            world,
            number,
            t_utc,
            things,
            options,
            np.random.default_rng([seed, 3, number]),
            np.random.default_rng([seed, 5, number]),
        )
        for number, t_utc in enumerate(times)
    )
    return Series(options, looks, tuple(t for t in truths if not t.footprint.is_empty))


def other_truths(seed: int, options: SeriesOptions) -> tuple[Truth, ...]:
    """Return what stands on a site of fine pixels beside containers and berms: halls, vehicles, tanks, hay and their like.

    ``Series.truths`` leaves them out, since training and fitting ask for our classes alone and outlines take time; flat
    slabs, which raise nothing, are left out here too. Coarse pixels have none: there all that comes and goes is ``truths``.
    """
    if options.sensor.gsd_m >= COARSE_GSD_M:
        return ()
    things = plan(
        np.random.default_rng([seed, 2]), options, look_times(np.random.default_rng([seed, 1]), options)
    )
    bare = _bare(options)
    truths = (_truth(bare, thing, options) for thing in things if thing.kind == "other")
    return tuple(truth for truth in truths if not truth.footprint.is_empty)


def _inner_things(seed: int, inset: SeriesOptions) -> tuple[Thing, ...]:
    """Return the containers and berms of the finer series; its passing decoys are too small to matter from further up."""
    times = look_times(np.random.default_rng([seed, 1]), inset)
    planned = plan(np.random.default_rng([seed, 2]), inset, times)
    return tuple(thing for thing in planned if thing.kind != "other")


def _paste_inset(canvas: Canvas, seed: int, options: SeriesOptions, inset: SeriesOptions) -> None:
    """Lay the finer series' unchanging ground into the middle, averaged over the coarser cells."""
    times = look_times(np.random.default_rng([seed, 1]), inset)
    inner = _world(seed, inset, plan(np.random.default_rng([seed, 2]), inset, times))
    factor = round(canvas.step_m / inner.step_m)
    side = inner.size // factor
    first = round((options.extent_m - inset.extent_m) / 2 / canvas.step_m)
    part = (slice(first, first + side), slice(first, first + side))
    for plane, fine in ((canvas.height, inner.height), *zip(canvas.albedo, inner.albedo, strict=True)):
        blocks = fine[: side * factor, : side * factor].reshape(side, factor, side, factor)
        plane[part] = blocks.mean(axis=(1, 3))


def look_times(rng: np.random.Generator, options: SeriesOptions) -> tuple[datetime, ...]:
    """Return the times of the looks: spread over the period, late morning local time."""
    days = (options.end - options.start).days
    at = np.sort(rng.choice(np.arange(days + 1), size=options.looks, replace=False))
    noon = 10.5 - options.longitude / 15
    return tuple(
        (options.start + timedelta(days=int(day))).replace(hour=0)
        + timedelta(hours=float(noon + rng.uniform(-0.5, 0.5)))
        for day in at
    )


def plan(rng: np.random.Generator, options: SeriesOptions, times: Sequence[datetime]) -> tuple[Thing, ...]:
    """Place containers, berms and passing decoys, none on top of another, and say when each stands."""
    hectares = (options.extent_m / 100) ** 2
    if options.sensor.gsd_m >= COARSE_GSD_M:
        return _plan_ground(rng, options, times)
    wanted: list[Kind] = ["container"] * round(rng.uniform(1.0, 1.6) * hectares * options.density)
    wanted += ["berm"] * max(2, round(rng.uniform(0.5, 0.8) * hectares * options.density))
    wanted += ["other"] * round(rng.uniform(1.5, 3.0) * hectares)
    reach = {"container": 26.0, "berm": 34.0, "other": 16.0}
    taken: list[tuple[float, float, float]] = []
    things: list[Thing] = []
    for kind in wanted:
        for _ in range(60):
            x, y = rng.uniform(MARGIN_M + 8, MARGIN_M + options.extent_m - 8, 2)
            if all(np.hypot(x - u, y - v) > reach[kind] + r for u, v, r in taken):
                taken.append((x, y, reach[kind]))
                spans = _spans(rng, kind, options, times)
                things.append(Thing(len(things), kind, x, y, int(rng.integers(1 << 31)), spans))
                break
    return tuple(things)


def _plan_ground(
    rng: np.random.Generator, options: SeriesOptions, times: Sequence[datetime]
) -> tuple[Thing, ...]:
    """Place patches of ground that are opened or covered, and given back."""
    things: list[Thing] = []
    middle = MARGIN_M + options.extent_m / 2
    keep_out = 0.0 if options.inset is None else options.inset.extent_m / 2 + 100
    for _ in range(max(3, round((options.extent_m / 1000) ** 2 * 4 * options.density))):
        x, y = rng.uniform(MARGIN_M + 120, MARGIN_M + options.extent_m - 120, 2)
        clear_of_inset = max(abs(x - middle), abs(y - middle)) > keep_out
        if clear_of_inset and all(np.hypot(x - t.x_m, y - t.y_m) > 250 for t in things):
            spans = _spans(rng, "berm", options, times)
            things.append(Thing(len(things), "other", x, y, int(rng.integers(1 << 31)), spans))
    return tuple(things)


def _spans(
    rng: np.random.Generator, kind: Kind, options: SeriesOptions, times: Sequence[datetime]
) -> tuple[tuple[datetime | None, datetime | None], ...]:
    """Draw when a thing stands: always, from or until a time between two looks, in between, or twice."""
    if kind == "other":
        if rng.random() < 0.5:
            return ((None, None),)
        start = options.start + (options.end - options.start) * float(rng.uniform(-0.3, 1.0))
        return ((start, start + timedelta(days=float(rng.uniform(1, 200)))),)
    if options.kind == "quiet" or len(times) < 2:
        return ((None, None),)

    def between(first: int, last: int) -> tuple[datetime, int]:
        k = int(rng.integers(first, last))
        return times[k] + (times[k + 1] - times[k]) * float(rng.uniform(0.1, 0.9)), k

    last = len(times) - 1
    draw = rng.random()
    if draw < 0.2:
        return ((None, None),)
    came, k = between(0, last)
    if draw < 0.75 or k + 2 > last:
        return ((came, None),) if rng.random() < 0.5 else ((None, came),)
    went, j = between(k + 1, last)
    if draw < 0.93 or j + 2 > last:
        return ((came, went),)
    back, _ = between(j + 1, last)
    return ((came, went), (back, None))


def _paint(canvas: Canvas, thing: Thing, coarse: bool) -> tuple[int | None, float]:
    """Paint one thing with its own seed; return its count and height."""
    here = replace_rng(canvas, np.random.default_rng(thing.seed))
    if thing.kind == "other" and coarse:
        disturbance(here, thing.x_m, thing.y_m, here.rng)
        return None, 0.0
    if thing.kind == "container":
        return containers(here, thing.x_m, thing.y_m)
    if thing.kind == "berm":
        return None, berm(here, thing.x_m, thing.y_m)
    decoy_box(here, thing.x_m, thing.y_m)
    return None, 0.0


def replace_rng(canvas: Canvas, rng: np.random.Generator) -> Canvas:
    """Return the same canvas (same arrays) drawing from another generator."""
    return replace(canvas, rng=rng)


def _step(options: SeriesOptions) -> float:
    return max(0.25, options.sensor.gsd_m / 2) if options.sensor.gsd_m < 4 else 2.0


def _world(seed: int, options: SeriesOptions, things: Sequence[Thing]) -> Canvas:
    """Paint what never changes; most containers get a yard to stand on."""
    rng = np.random.default_rng([seed, 4])
    canvas = blank(rng, options.extent_m + 2 * MARGIN_M, _step(options))
    # Cover does not grow as fast as area: a large site has larger fields, not a web of roads.
    hectares = min((options.extent_m / 100) ** 2, 7 * (options.extent_m / 265) ** 0.9)
    dress(canvas, round(hectares * rng.uniform(0.1, 0.9)))
    for _ in range(max(2, round(hectares * rng.uniform(0.3, 0.7)))):
        x, y = rng.uniform(0.1, 0.9, 2) * canvas.extent
        slab(canvas, x, y, rng.uniform(25, 110), rng.uniform(18, 70), rng.uniform(0, np.pi))
    for thing in things:
        if thing.kind == "container" and rng.random() < 0.6:
            slab(
                canvas, thing.x_m, thing.y_m, rng.uniform(30, 70), rng.uniform(25, 60), rng.uniform(0, np.pi)
            )
    for _ in range(max(1, round(hectares * rng.uniform(0.1, 0.4)))):
        road(canvas)
    for _ in range(round(hectares * rng.uniform(0, 0.3))):
        ditch_or_heap(canvas)
    for _ in range(round(hectares * rng.uniform(0.2, 0.8))):
        trees(canvas)
    if options.inset is not None:
        _paste_inset(canvas, seed, options, options.inset)
    return canvas


def _bare(options: SeriesOptions) -> Canvas:
    """Return an empty canvas of the site's size, to trace outlines on."""
    size = int(np.ceil((options.extent_m + 2 * MARGIN_M) / _step(options) / 8) * 8)
    height, container, berm_, other = np.zeros((4, size, size), np.float32)
    colours = np.ones((4, size, size), np.float32)
    return Canvas(_step(options), size, height, colours, container, berm_, other, np.random.default_rng(0))


def _truth(bare: Canvas, thing: Thing, options: SeriesOptions) -> Truth:
    """Paint the thing alone, trace its outline and wipe the canvas."""
    step = bare.step_m
    count, height = _paint(bare, thing, options.sensor.gsd_m >= COARSE_GSD_M)
    plane = {"container": bare.container, "berm": bare.berm, "other": bare.other}[thing.kind]
    rows, cols = np.nonzero(plane.any(axis=1))[0], np.nonzero(plane.any(axis=0))[0]
    first = (int(rows[0]), int(cols[0])) if rows.size else (0, 0)
    part = plane[first[0] : rows[-1] + 1, first[1] : cols[-1] + 1] if rows.size else plane[:1, :1]
    parts = [shape(g) for g, value in shapes(part.astype(np.uint8), mask=part > 0) if value]
    outline = union_all(parts).simplify(0.5)
    for wiped in (bare.height, bare.container, bare.berm, bare.other):
        wiped.fill(0)

    def to_site(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        east = (xy[:, 0] + first[1]) * step - MARGIN_M
        north = options.extent_m - ((xy[:, 1] + first[0]) * step - MARGIN_M)
        return np.column_stack([east, north])

    from shapely import transform

    return Truth(thing, transform(outline, to_site), count, height)


def _render(
    world: Canvas,
    number: int,
    t_utc: datetime,
    things: Sequence[Thing],
    options: SeriesOptions,
    rng: np.random.Generator,
    driving: np.random.Generator,
) -> RenderedLook:
    canvas = world.clone(rng)
    coarse = options.sensor.gsd_m >= COARSE_GSD_M
    for thing in things:
        if thing.stands(t_utc):
            _paint(canvas, thing, coarse)
    if not coarse:
        hectares = (canvas.extent / 100) ** 2
        traffic(replace_rng(canvas, driving), int(driving.poisson(options.traffic * hectares)))
    place = sun_position(t_utc, options.longitude, options.latitude)
    sun = Sun(place.azimuth_deg, max(place.elevation_deg, LOWEST_SUN_DEG))
    view = View(float(rng.uniform(0, 360)), float(abs(rng.normal(0, options.off_nadir_deg / 1.5))))
    snowy = t_utc.month in SNOW_MONTHS and rng.random() < options.snow
    albedo, snow = _weathered(canvas, t_utc, snowy, rng)
    direct, sky = sunlight(canvas, sun)
    fill = rng.uniform(0.15, 0.35)
    haze = rng.uniform(0.0, 0.05)
    light = direct / np.sin(np.radians(max(sun.elevation_deg, 12.0))) * (1 - fill) + fill * sky
    air = (np.array([1.5, 1.0, 0.7, 0.4], np.float32) * haze)[:, None, None]
    radiance = (albedo * light * rng.uniform(0.85, 1.1) * (1 - haze) + air).astype(np.float32)
    radiance = seen(canvas, radiance, view, wall_light(sun, view, fill))
    cover, shadow = _clouds(canvas, sun, options, rng)
    radiance = radiance * (1 - 0.55 * shadow) * (1 - cover) + cover * rng.uniform(0.6, 0.9)
    shift = tuple(float(v) for v in rng.normal(0, options.geolocation_m / 1.5, 2))
    return _photograph(
        canvas,
        radiance.astype(np.float32),
        np.stack([cover, shadow, snow]),
        number,
        t_utc,
        sun,
        view,
        shift,
        snowy,
        options,
        rng,
    )


def _photograph(
    canvas: Canvas,
    radiance: Array,
    veils: Array,
    number: int,
    t_utc: datetime,
    sun: Sun,
    view: View,
    shift: tuple[float, ...],
    snowy: bool,
    options: SeriesOptions,
    rng: np.random.Generator,
) -> RenderedLook:
    """Sample the scene where the camera really was and write it down where it claims to be."""
    sensor = options.sensor
    side = round(options.extent_m / sensor.gsd_m)
    # Ground that truly lies at p is written at p - shift, so the pixel claiming p shows p + shift.
    corner = (MARGIN_M - shift[1], MARGIN_M + shift[0])
    planes = sample(
        band_planes(radiance, sensor.bands), canvas.step_m, sensor.gsd_m, corner, (side, side), sensor.blur_px
    )
    veils = sample(veils, canvas.step_m, sensor.gsd_m, corner, (side, side), 0.0)
    hidden = _mask(veils, CLOUD_SEEN, SHADOW_SEEN, SNOW_SEEN)
    return RenderedLook(
        number,
        t_utc,
        sensor.bands,
        numbers(planes, sensor, rng),
        _delivered(hidden, veils, planes, options.masks, rng),
        hidden,
        sun,
        view,
        (shift[0], shift[1]),
        snowy,
    )


def _mask(veils: Array, cloud: float, shadow: float, snow: float) -> NDArray[np.uint8]:
    """Return cloud-mask codes of (cloud, shadow, snow) shares."""
    mask = np.zeros(veils.shape[1:], np.uint8)
    mask[veils[2] > snow] = 3
    mask[veils[1] > shadow] = 2
    mask[veils[0] > cloud] = 1
    return mask


def _delivered(
    hidden: NDArray[np.uint8], veils: Array, planes: Array, masks: Masks, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the mask as providers have it: exact, or blind to thin cloud and shadow, blocky, fooled by bright roofs."""
    if masks == "perfect":
        return hidden
    if masks == "none":
        return np.zeros_like(hidden)
    sloppy = _mask(veils, rng.uniform(0.1, 0.7), rng.choice([0.3, 0.8, 2.0]), rng.choice([0.4, 0.8, 2.0]))
    block = int(rng.choice([1, 4, 10]))
    if block > 1:
        coarse = sloppy[block // 2 :: block, block // 2 :: block]
        grown = np.repeat(np.repeat(coarse, block, 0), block, 1)
        pad = [(0, max(0, n - m)) for n, m in zip(sloppy.shape, grown.shape, strict=True)]
        sloppy = np.pad(grown, pad, mode="edge")[: sloppy.shape[0], : sloppy.shape[1]]
    if rng.random() < 0.5:
        brightness = planes.mean(axis=0)
        sloppy = np.where(brightness > np.quantile(brightness, 0.995), np.uint8(1), sloppy)
    return sloppy.astype(np.uint8)


def _weathered(canvas: Canvas, t_utc: datetime, snowy: bool, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return (albedo, snow share): green in summer, wet after rain, white under snow."""
    albedo = canvas.albedo
    summer = 0.5 - 0.5 * np.cos(2 * np.pi * (t_utc.timetuple().tm_yday - 15) / 365)
    plants = np.clip(albedo[3] / (albedo[2] + 0.01) - 1.4, 0, 1)
    brown = np.array([1.3, 1.15, 1.9, 0.65], np.float32)[:, None, None]
    albedo = albedo * (1 + plants * (1 - summer) * (brown - 1))
    if rng.random() < 0.25:
        albedo = albedo * (1 - rng.uniform(0.1, 0.4) * (canvas.height < 0.4))
    share = np.zeros_like(canvas.height)
    if snowy:
        drift = np.clip(smooth_noise(rng, canvas.size, 1.5) * 0.5 + rng.uniform(0.3, 1.2), 0, 1)
        roofs = np.where(canvas.container + canvas.other > 0, rng.uniform(0.2, 1.0), 1.0)
        share = ndimage.gaussian_filter(drift * roofs, 0.5)
        albedo = albedo * (1 - share) + share * 0.72
    return albedo.astype(np.float32), share.astype(np.float32)


def _clouds(
    canvas: Canvas, sun: Sun, options: SeriesOptions, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return (cover, shadow) in 0-1: soft clouds over a share of the look, their shadows where the sun throws them."""
    cover = np.zeros_like(canvas.height)
    if rng.random() > min(options.clouds * 1.6, 0.9):
        return cover, cover.copy()
    field = smooth_noise(rng, canvas.size, 2.0)
    share = float(np.clip(rng.exponential(options.clouds), 0.03, 0.95))
    edge = float(np.quantile(field[::4, ::4], 1 - share))
    cover = np.clip((field - edge) / 0.35, 0, 1).astype(np.float32)
    length = CLOUD_TOP_M / np.tan(np.radians(sun.elevation_deg)) / canvas.step_m
    away = np.radians(sun.azimuth_deg + 180)
    rows, cols = round(-np.cos(away) * length), round(np.sin(away) * length)
    shadow: Array = np.roll(cover, (rows, cols), (0, 1))
    return cover, shadow * (1 - cover)


def clear_share(look: RenderedLook, truth: Truth, options: SeriesOptions) -> float:
    """Return how much of an object's box the look shows, 0-1."""
    gsd = options.sensor.gsd_m
    west, south, east, north = truth.footprint.bounds
    side = len(look.hidden)
    rows = slice(
        max(int((options.extent_m - north) / gsd), 0), min(int((options.extent_m - south) / gsd) + 1, side)
    )
    cols = slice(max(int(west / gsd), 0), min(int(east / gsd) + 1, side))
    part = look.hidden[rows, cols]
    return float(np.mean(part == ObservationState.OBSERVED)) if part.size else 0.0
