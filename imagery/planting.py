"""Rendered objects planted into a site's own looks: what would have been found there, had it stood there?

An object is painted on a small patch of fine cells, lit by the look's own sun, leant by its own view, blurred by its own
pixel and set into its numbers. Only what the object covers, shades or lights changes; all else keeps its bytes, its
noise included. What is planted is RENDERED and lies on level ground: trees and walls around it neither shade nor hide it.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from shapely import union_all
from shapely.affinity import rotate, translate
from shapely.geometry import LineString, box
from shapely.geometry.base import BaseGeometry

from imagery.changes import LOG_ODDS_STEP, UNSEEN, LookEvidence, ObjectClass
from imagery.grid import SiteGrid
from imagery.illumination import Sun
from imagery.look import Look
from imagery.simulation.canvas import Array, Canvas, local_frame, strip
from imagery.simulation.ground import ground_colour, paint_colour
from imagery.simulation.light import seen, sunlight, wall_light
from imagery.simulation.sensor import BAND_PLANES, PAN_WEIGHTS, sample

Mask = NDArray[np.bool_]

# A place counts as seen in a look that shows so much of it.
SEEN_SHARE = 0.7
CLEARANCE_M = 10.0
TRIES = 300
LONGEST_SHADOW_M = 45.0
LOWEST_SUN_DEG = 6.0
# A straight bank this near to the sun's azimuth shows no flank (TARGETS section 2).
ALONG_SUN_DEG = 15.0
CONTAINER_WIDTH_M, CONTAINER_GAP_M = 2.44, 0.3
# What numbers without a calibration are tied to: the middle of a look is taken for common ground (blue, green, red, nir).
COMMON_GROUND = (0.10, 0.13, 0.16, 0.25)
DARKEST_SHARE = 0.5
FRESH_SOIL = ("bare soil", "dark soil", "sand", "red soil", "gravel")
SOIL_OR_SLAB = ("bare soil", "sand", "concrete", "gravel")
OTHER_PLANES = {"coastal": 0, "yellow": 1, "rededge": 3, "nir08": 3, "nir09": 3, "swir16": 3, "swir22": 3}


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is planted. ``length_m``/``width_m``: of one container, of a crest's plan, or of a patch of ground.

    ``across`` stand side by side, ``along`` end to end. ``shape`` is ``boxes``, ``bank``, ``horseshoe`` or ``patch``.
    """

    name: str
    object_class: ObjectClass
    shape: str
    length_m: float
    width_m: float
    height_m: float
    across: int = 1
    along: int = 1

    @property
    def extent_m(self) -> tuple[float, float]:
        """Length and width of the whole on the ground."""
        if self.shape == "boxes":
            return (
                self.along * (self.length_m + CONTAINER_GAP_M) - CONTAINER_GAP_M,
                self.across * (self.width_m + CONTAINER_GAP_M) - CONTAINER_GAP_M,
            )
        foot = 2 * _foot_m(self) if self.shape != "patch" else 0.0
        depth = self.width_m if self.shape != "bank" else 0.0
        return self.length_m + foot, depth + foot


CONTAINER, BERM, OTHER = ObjectClass.CONTAINER, ObjectClass.BERM, ObjectClass.OTHER
FINE_PATTERNS = (
    Pattern("one 20 ft container", CONTAINER, "boxes", 6.06, CONTAINER_WIDTH_M, 2.59),
    Pattern("one 40 ft container", CONTAINER, "boxes", 12.19, CONTAINER_WIDTH_M, 2.59),
    Pattern("row of 5 x 40 ft", CONTAINER, "boxes", 12.19, CONTAINER_WIDTH_M, 2.59, across=5),
    Pattern("block of 12 x 40 ft, two high", CONTAINER, "boxes", 12.19, CONTAINER_WIDTH_M, 5.18, 6, 2),
    Pattern("bank 20 m long, 2 m high", BERM, "bank", 20.0, 0.0, 2.0),
    Pattern("bank 50 m long, 3 m high", BERM, "bank", 50.0, 0.0, 3.0),
    Pattern("horseshoe 25 x 20 m, 3 m high", BERM, "horseshoe", 25.0, 20.0, 3.0),
)
COARSE_PATTERNS = (
    Pattern("block of 12 x 40 ft", CONTAINER, "boxes", 12.19, CONTAINER_WIDTH_M, 2.59, 6, 2),
    Pattern("block of 48 x 40 ft, two high", CONTAINER, "boxes", 12.19, CONTAINER_WIDTH_M, 5.18, 12, 4),
    Pattern("horseshoe 60 x 40 m, 4 m high", BERM, "horseshoe", 60.0, 40.0, 4.0),
    Pattern("ground opened, 30 x 30 m", OTHER, "patch", 30.0, 30.0, 0.0),
    Pattern("ground opened, 80 x 60 m", OTHER, "patch", 80.0, 60.0, 0.0),
)


@dataclass(frozen=True, slots=True)
class Planting:
    """One object at one place, standing from a time on.

    ``east_m``/``north_m`` is its middle in the grid's CRS, ``angle_deg`` its long axis, clockwise from east in the image
    (azimuth minus 90). ``contrast`` scales all it does to the numbers: 0 plants nothing at all.
    """

    number: int
    pattern: Pattern
    east_m: float
    north_m: float
    angle_deg: float
    seed: int
    since: datetime
    contrast: float = 1.0

    def stands(self, t_utc: datetime) -> bool:
        """Tell whether it stands at a time."""
        return self.since <= t_utc

    @property
    def outline(self) -> BaseGeometry:
        """Its footprint on the ground, in the grid's CRS."""
        plan = self.pattern
        if plan.shape in {"boxes", "patch"}:
            long, wide = plan.extent_m
            shape: BaseGeometry = box(-long / 2, -wide / 2, long / 2, wide / 2)
        else:
            foot = 0.88 * (_foot_m(plan) - _crest_m(plan) / 2) + _crest_m(plan) / 2
            line = LineString([(x, -y) for x, y in _crest_line(plan)])
            shape = union_all([line.buffer(foot, cap_style="square" if plan.shape == "bank" else "round")])
        # The image's y runs south, so a turn clockwise on the map is the same turn there.
        return translate(rotate(shape, -self.angle_deg, origin=(0, 0)), self.east_m, self.north_m)

    def along_sun(self, sun: Sun | None) -> bool:
        """Tell whether it is a straight bank that runs nearly along the sun's azimuth, and so hardly shows."""
        if sun is None or self.pattern.shape != "bank":
            return False
        apart = abs((self.angle_deg + 90.0 - sun.azimuth_deg + 90.0) % 180.0 - 90.0)
        return apart < ALONG_SUN_DEG


@dataclass(frozen=True, slots=True)
class Tone:
    """How reflectance becomes a look's own numbers: ``base + slope * reflectance`` per band; ``dark`` is what no sun adds to."""

    base: NDArray[np.float64]
    slope: NDArray[np.float64]
    dark: NDArray[np.float64]


def tone_of(look: Look, gains: Sequence[tuple[str, float, float]], *, calibrated: bool) -> Tone:
    """Measure a look's tone.

    Parameters
    ----------
    gains : (band, gain, offset) that bring the look's numbers onto the site's common scale
    calibrated : whether numbers are reflectance; otherwise the middle of the look is taken for common ground

    Returns
    -------
    tone : per band of the look
    """
    scale = {name: (gain, offset) for name, gain, offset in gains}
    count = len(look.bands)
    base, slope, dark = np.zeros(count), np.ones(count), np.zeros(count)
    for k, name in enumerate(look.bands):
        known = look.reflectance[k][look.observed]
        known = known[:: max(known.size // 50_000, 1)]
        if known.size == 0:
            continue
        lowest, middle = (float(v) for v in np.percentile(known, (0.5, 50.0)))
        # A site without any shade has no dark place to read what the air adds from.
        dark[k] = min(lowest, DARKEST_SHARE * middle)
        if calibrated:
            gain, offset = scale.get(name, (1.0, 0.0))
            base[k], slope[k] = -offset / gain, 1.0 / gain
        else:
            ground = _planes_of(np.array(COMMON_GROUND), name)
            slope[k] = max(middle - dark[k], 1e-6) / (0.9 * ground)
            base[k] = middle - slope[k] * ground
    return Tone(base, slope, dark)


def plant(
    look: Look, plantings: Sequence[Planting], tone: Tone, *, residual_m: float = 0.0, seed: int = 0
) -> Look:
    """Return the look as it would be had these objects stood there.

    Parameters
    ----------
    look : registered, in its own numbers, NaN where not observed; hidden places stay hidden
    plantings : those that stand at the look's time change it, others do not
    residual_m : how well the look lies on the reference, RMSE; every object is displaced by as much, as a real one is

    Returns
    -------
    look : new reflectance array; the same look where nothing stands yet
    """
    standing = [p for p in plantings if p.contrast > 0 and p.stands(look.t_utc)]
    if not standing:
        return look
    image = np.array(look.reflectance)
    drawn = np.random.default_rng([seed, zlib.crc32(look.scene_id.encode())])
    sky, blur = float(drawn.uniform(0.15, 0.35)), float(drawn.uniform(0.3, 0.6))
    noise = _noise_of(look)
    for planting in standing:
        own = np.random.default_rng([seed, planting.seed, zlib.crc32(look.scene_id.encode())])
        off = own.normal(0.0, residual_m / math.sqrt(2.0), 2) if residual_m > 0 else np.zeros(2)
        _set_in(image, look, planting, tone, (float(off[0]), float(off[1])), (sky, blur), noise, own)
    return replace(look, reflectance=image)


def free_ground(
    evidence: Sequence[LookEvidence], inside: Mask, grid: SiteGrid, changes: Sequence[BaseGeometry]
) -> Mask:
    """Return (row, col), True on the area where no look shows anything standing and no change is claimed.

    Places that no look shows stay in: that nothing could be judged there belongs to the answer.
    """
    free = inside & ~_drawn(changes, grid, 3.0)
    if not evidence:
        return free
    total = np.zeros(grid.shape, np.float32)
    count = np.zeros(grid.shape, np.float32)
    for look in evidence:
        known = (look.log_odds != UNSEEN).all(axis=0)
        total += np.where(known, look.log_odds.max(axis=0).astype(np.float32) * LOG_ODDS_STEP, 0.0)
        count += known
    taken = total > 0.0
    free &= ~ndimage.binary_dilation(taken & (count > 0), iterations=max(1, round(2.0 / grid.gsd_m)))
    return free


def choose_places(
    free: Mask,
    grid: SiteGrid,
    patterns: Sequence[Pattern],
    times: Sequence[datetime],
    rng: np.random.Generator,
    *,
    most: int,
    first: int = 0,
    contrast: float = 1.0,
) -> tuple[Planting, ...]:
    """Place objects on free ground, none near another, each since halfway before a look drawn at random.

    Parameters
    ----------
    free : (row, col) where an object may lie; it lies there as a whole
    patterns : in the order in which they are tried; those without room are left out
    times : of the looks, ascending, two at least
    most : no more objects than this
    first : number of the first object
    """
    room = free.copy()
    placed: list[Planting] = []
    for pattern in patterns:
        if len(placed) == most:
            break
        onset = int(rng.integers(1, len(times)))
        since = times[onset - 1] + (times[onset] - times[onset - 1]) / 2
        found = _place(room, grid, pattern, rng)
        if found is None:
            continue
        row, col, angle = found
        east, north = grid.world(np.array(row + 0.5), np.array(col + 0.5))
        seed = int(rng.integers(1 << 31))
        placed.append(
            Planting(first + len(placed), pattern, float(east), float(north), angle, seed, since, contrast)
        )
        rows, cols = np.ogrid[: grid.rows, : grid.cols]
        reach = math.hypot(*pattern.extent_m) / 2 + CLEARANCE_M
        room[(rows - row) ** 2 + (cols - col) ** 2 <= (reach / grid.gsd_m) ** 2] = False
    return tuple(placed)


def _place(
    room: Mask, grid: SiteGrid, pattern: Pattern, rng: np.random.Generator
) -> tuple[int, int, float] | None:
    """Draw (row, col) and angle so that the whole plan lies on free ground; None where no draw of many does."""
    spots = np.flatnonzero(room)
    if spots.size == 0:
        return None
    long, wide = pattern.extent_m
    pace = grid.gsd_m / 2
    u, v = np.meshgrid(
        np.linspace(-long / 2, long / 2, max(2, round(long / pace))),
        np.linspace(-wide / 2, wide / 2, max(2, round(wide / pace))),
    )
    for _ in range(TRIES):
        row, col = divmod(int(spots[int(rng.integers(spots.size))]), grid.cols)
        angle = float(rng.uniform(0, 180))
        turn = math.radians(angle)
        rows = np.floor(row + 0.5 + (u * math.sin(turn) + v * math.cos(turn)) / grid.gsd_m).astype(np.intp)
        cols = np.floor(col + 0.5 + (u * math.cos(turn) - v * math.sin(turn)) / grid.gsd_m).astype(np.intp)
        held = (rows >= 0) & (rows < grid.rows) & (cols >= 0) & (cols < grid.cols)
        if held.all() and room[rows, cols].all():
            return row, col, angle
    return None


# --- one object into one look ----------------------------------------------------------------------------------------


def _set_in(
    image: Array,
    look: Look,
    planting: Planting,
    tone: Tone,
    offset_m: tuple[float, float],
    optics: tuple[float, float],
    noise: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Change the part of an image (band, row, col) that one object covers, shades or lights."""
    sky, blur = optics
    grid, gsd = look.grid, look.grid.gsd_m
    reach = _reach_m(planting.pattern, look)
    row, col = grid.pixel(planting.east_m + offset_m[0], planting.north_m + offset_m[1])
    top, left = math.floor(row - reach / gsd), math.floor(col - reach / gsd)
    side = math.ceil(2 * reach / gsd) + 1
    step = float(np.clip(min(look.gsd_m, gsd) / 2.5, 0.12, 1.5))
    border = 4 * gsd
    x, y = (col - left) * gsd + border, (row - top) * gsd + border
    canvas = _patch(planting, look, x, y, side * gsd + 2 * border, step)
    share, planes = _transmission(canvas, look, tone, sky)
    planes = _leant(canvas, np.concatenate([share[None], planes]), look, sky)
    # The look was resampled from its own pixel to the grid's: both footprints blur.
    spread = math.sqrt(max(look.gsd_m**2 - gsd**2, 0.0) / 12 + (blur * look.gsd_m) ** 2) / gsd
    seen_planes = sample(planes, step, gsd, (border, border), (side, side), spread)
    rows = slice(max(top, 0), min(top + side, grid.rows))
    cols = slice(max(left, 0), min(left + side, grid.cols))
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return
    part = seen_planes[:, rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]
    old = image[:, rows, cols]
    grain = rng.standard_normal(old.shape) * noise[:, None, None]
    new = part[0] * old + part[1:] + grain * np.sqrt(np.clip(1 - part[0] ** 2, 0, 1))
    touched = (np.abs(part[0] - 1) > 1e-4) | (np.abs(part[1:]).max(axis=0) > 1e-6)
    image[:, rows, cols] = np.where(touched, old + planting.contrast * (new - old), old)


def _reach_m(pattern: Pattern, look: Look) -> float:
    """Return how far from its middle an object changes a look: its own half, its shadow, its lean, the blur."""
    shadow = 0.0
    if look.sun is not None:
        shadow = pattern.height_m / math.tan(math.radians(max(look.sun.elevation_deg, LOWEST_SUN_DEG)))
    lean = 0.0
    if look.view is not None:
        lean = pattern.height_m * math.tan(math.radians(min(look.view.off_nadir_deg, 50.0)))
    half = math.hypot(*pattern.extent_m) / 2
    return half + max(min(shadow, LONGEST_SHADOW_M), lean) + 3.0 * max(look.gsd_m, look.grid.gsd_m)


def _patch(planting: Planting, look: Look, x: float, y: float, extent_m: float, step: float) -> Canvas:
    """Paint one object on empty level ground; its labels say how much of a cell it covers."""
    size = math.ceil(extent_m / step)
    height, container, berm, other = np.zeros((4, size, size), np.float32)
    albedo = np.zeros((4, size, size), np.float32)
    canvas = Canvas(step, size, height, albedo, container, berm, other, np.random.default_rng(planting.seed))
    plan, angle = planting.pattern, math.radians(planting.angle_deg)
    if plan.shape == "boxes":
        _stand_boxes(canvas, plan, x, y, angle)
    elif plan.shape == "patch":
        part, inside, _, _ = canvas.box(x, y, plan.length_m, plan.width_m, angle)
        canvas.fill(
            part, inside, ground_colour(str(canvas.rng.choice(SOIL_OR_SLAB)), canvas.rng), None, other
        )
    else:
        _raise_bank(canvas, plan, x, y, angle)
    return canvas


def _stand_boxes(canvas: Canvas, plan: Pattern, x: float, y: float, angle: float) -> None:
    place = local_frame(x, y, angle)
    fleet = [paint_colour(canvas.rng) for _ in range(3)]
    for i in range(plan.along):
        for j in range(plan.across):
            u = (i - (plan.along - 1) / 2) * (plan.length_m + CONTAINER_GAP_M)
            v = (j - (plan.across - 1) / 2) * (plan.width_m + CONTAINER_GAP_M)
            part, inside, _, _ = canvas.box(*place(u, v), plan.length_m, plan.width_m, angle)
            colour = fleet[int(canvas.rng.integers(len(fleet)))]
            canvas.fill(part, inside, colour, plan.height_m, canvas.container)


def _raise_bank(canvas: Canvas, plan: Pattern, x: float, y: float, angle: float) -> None:
    place = local_frame(x, y, angle)
    points = np.array([place(u, v) for u, v in _crest_line(plan)])
    crest, foot = _crest_m(plan), _foot_m(plan)
    part, distance, _ = strip(canvas, points, foot + 1.0)
    profile = np.clip(1 - (distance - crest / 2) / (foot - crest / 2), 0, 1).astype(np.float32)
    canvas.height[part] = profile * plan.height_m
    canvas.berm[part] = np.clip(profile * 4, 0, 1)
    colour = ground_colour(str(canvas.rng.choice(FRESH_SOIL)), canvas.rng)
    canvas.albedo[(slice(None), *part)] = colour[:, None, None]


def _crest_m(plan: Pattern) -> float:
    return 0.5 * plan.height_m


def _foot_m(plan: Pattern) -> float:
    """Half the width of a bank at its foot: sides of 33 degrees."""
    return _crest_m(plan) / 2 + plan.height_m / math.tan(math.radians(33.0))


def _crest_line(plan: Pattern) -> list[tuple[float, float]]:
    """Crest in metres along and across (southward), around the middle."""
    long, deep = plan.length_m / 2, plan.width_m / 2
    if plan.shape == "bank":
        return [(-long, 0.0), (long, 0.0)]
    return [(-long, deep), (-long, -deep), (long, -deep), (long, deep)]


def _transmission(canvas: Canvas, look: Look, tone: Tone, sky: float) -> tuple[Array, Array]:
    """Return what of the ground's own numbers a cell keeps (row, col), and what the object adds (band, row, col)."""
    cover = np.maximum(np.maximum(canvas.container, canvas.berm), canvas.other)
    light = np.ones_like(cover)
    if look.sun is not None:
        sun = Sun(look.sun.azimuth_deg, max(look.sun.elevation_deg, LOWEST_SUN_DEG))
        direct, open_sky = sunlight(canvas, sun)
        light = sky * open_sky + (1 - sky) * direct / _on_level_ground(canvas.step_m, sun)
    kept = (1 - cover) * light
    added = np.empty((len(look.bands), *cover.shape), np.float32)
    for k, name in enumerate(look.bands):
        own = tone.base[k] + tone.slope[k] * _planes_of(canvas.albedo, name)
        added[k] = tone.dark[k] * (1 - light) + cover * light * own
    return kept.astype(np.float32), added


def _on_level_ground(step_m: float, sun: Sun) -> float:
    """Return what the same sun gives to open level ground, on cells of the same size."""
    plain = np.zeros((16, 16), np.float32)
    planes = np.zeros((4, 16, 16), np.float32)
    direct, _ = sunlight(
        Canvas(step_m, 16, plain, planes, plain, plain, plain, np.random.default_rng(0)), sun
    )
    return float(direct[8, 8])


def _leant(canvas: Canvas, planes: Array, look: Look, sky: float) -> Array:
    if look.view is None:
        return planes
    wall = 1.0 if look.sun is None else wall_light(look.sun, look.view, sky)
    return seen(canvas, planes, look.view, wall)


def _planes_of(planes: NDArray[np.floating], band: str) -> NDArray[np.float64]:
    """Return what a band of that common name sees of (4, ...) blue, green, red, near infrared."""
    if band == "pan":
        return np.tensordot(np.array(PAN_WEIGHTS), planes, 1)
    plane = BAND_PLANES.get(band, OTHER_PLANES.get(band.rstrip("0123456789"), OTHER_PLANES.get(band)))
    chosen = planes.mean(axis=0) if plane is None else planes[plane]
    return np.asarray(chosen, np.float64)


def _noise_of(look: Look) -> NDArray[np.float64]:
    """Return each band's noise, from the quietest tenth of the look's 16 pixel squares."""
    found = np.zeros(len(look.bands))
    side = 16
    rows, cols = (n // side * side for n in look.grid.shape)
    if rows == 0 or cols == 0:
        return found
    for k, plane in enumerate(look.reflectance):
        fine = plane - ndimage.uniform_filter(np.nan_to_num(plane), 3)
        tiles = fine[:rows, :cols].reshape(rows // side, side, cols // side, side).std(axis=(1, 3))
        known = tiles[np.isfinite(tiles)]
        found[k] = float(np.quantile(known, 0.1)) if known.size else 0.0
    return found


def _drawn(shapes: Sequence[BaseGeometry], grid: SiteGrid, margin_m: float) -> Mask:
    from rasterio.features import rasterize

    wide = [s.buffer(margin_m) for s in shapes]
    if not wide:
        return np.zeros(grid.shape, bool)
    burnt = rasterize(wide, grid.shape, transform=grid.transform, all_touched=True)
    return np.asarray(burnt > 0)
