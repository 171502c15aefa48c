"""Disturbed or covered ground at pixel sizes that cannot resolve objects, found in time rather than in shape.

At 10 m a container is a third of a pixel: nothing here counts, names or measures objects. It says where ground changed
for good, between which clear looks, over how much area, and how sure that is.

Source for the idea of scanning moving sums: C.-S. J. Chu, K. Hornik, C.-M. Kuan (1995), MOSUM tests for parameter
constancy, Biometrika 82(3), 603-617; the null from the site's own pixels is ours.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from imagery.calibration import within_budget
from imagery.changes import (
    Change,
    Detection,
    DetectionLimit,
    Direction,
    Estimate,
    ObjectClass,
    OnsetInterval,
    Standing,
    Status,
)
from imagery.grid import SiteGrid
from imagery.limits import as_measured
from imagery.look import Look
from imagery.objects import OUTLINE_LEVEL, contour
from imagery.timeseries.comparable import Comparable, at_pixel_size, comparable_looks, kinds_of
from imagery.timeseries.controls import commonness, take_controls
from imagery.timeseries.course import ABSENT_BELOW, PRESENT_ABOVE, Course, follow, surroundings
from imagery.timeseries.cube import (
    Dates,
    Float32,
    NoCommonGrid,
    common_bands,
    date_cube,
    independent_dates,
    median_of_three,
    without_season,
)
from imagery.timeseries.operating import measured_points
from imagery.timeseries.scan import Spot, scan

Mask = NDArray[np.bool_]

EARLIEST_CONFIRMED_DATES = 3
COARSE_CONFIRMED_FROM = 0.9
HALO_PX = 40
MARGIN_PX = 10
# Between these shares of the full effect the true edge lies, nine times in ten (439 things planted into rendered ground).
AREA_LEVELS = (0.7, 0.2)
# Finer than any pixel tells, coarser than what the order of a sum leaves of a float.
OUTLINE_GRID_M = 0.01
SMALLEST_CERTAIN_M2 = 1000.0
LARGEST_USUAL_M2 = 50_000.0
SUN_RIVAL = 4.0
GREEN = 0.5
# What each cue (``cues_of``) weighs in log-odds, by how many dates there are at most: ridge logistic regression on rendered series
# (our renderer), signs fixed by what the cues mean, half a unit taken off the base since most sites are quieter than those. Few
# dates: seeds 600000-600035 thinned to 2, 3 and 5 looks; on series it has not seen (660000-660029, false places counted 4-fold
# for the same reason) the calibration error is 0.04 and 0.05. Many: benchmarks/coarse_weights.py, on depots, quiet sites and small
# things planted into quiet ground. ``extent`` is held at 1 and below, since the renderer's small places are decoys, which the
# world's need not be; ``one date`` at -2 and below, since the renderer's masks miss less than real ones do.
WEIGHTS: dict[float, dict[str, float]] = {
    3: {"base": -1.49, "rarity": 1.33, "contrast": 0.073, "stands out": 0.54, "step": 0.0, "one date": 0.0, "third date": 0.0, "extent": 0.28, "wide": -0.5, "sun": 0.0, "vegetation": -0.33},
    6: {"base": -1.28, "rarity": 0.91, "contrast": 0.028, "stands out": 0.41, "step": 0.158, "one date": -1.18, "third date": 0.0, "extent": 0.27, "wide": -0.5, "sun": 0.0, "vegetation": -0.18},
    math.inf: {"base": -5.334, "rarity": 0.825, "contrast": 0.195, "stands out": 2.386, "step": 0.172, "one date": -2.0, "third date": 1.876, "extent": 1.0, "wide": -0.861, "sun": 3.0, "vegetation": -0.249},
}  # fmt: skip
# What one date alone shows of one side of a change may pass again, however clear it is.
SUREST_ONCE = 0.8


@dataclass(frozen=True, slots=True)
class TimeSeriesOptions:
    """What may be tuned; the defaults were chosen on rendered series and checked on real ones.

    ``max_false_alarms`` is the wanted number of false reports per km2 and year; None reports from ``least_confidence`` on.
    """

    apart_days: float = 4.0
    sigma_px: float = 0.7
    misregistration_px: float = 0.2
    smallest_deviation: float = 0.004
    high_z: float = 6.0
    pair_high_z: float = 7.0
    low_z: float = 3.2
    pair_low_z: float = 2.6
    smallest_area_m2: float = 120.0
    whole_site_share: float = 0.35
    commonest: float = 0.08
    pair_commonest: float = 0.08
    least_confidence: float = 0.1
    max_false_alarms: float | None = None
    tile_values: int = 64_000_000


@dataclass(frozen=True, slots=True)
class _Place:
    """A spot that survived, with its course; ``footprint`` is its mask in the window ``box``, ``sides`` the dates compared."""

    spot: Spot
    course: Course
    box: tuple[slice, slice]
    sides: tuple[slice, slice]
    footprint: Mask
    contrast_gain: float
    commonness: float


def find_disturbances(
    looks: Sequence[Look], aoi_mask: Mask, options: TimeSeriesOptions | None = None
) -> Detection:
    """Find lasting changes of the ground in registered, normalised looks on one coarse grid.

    Parameters
    ----------
    looks : any order, one grid; reflectance (band, row, col) NaN where unseen; a few that the others cannot be
        compared with are left out, and named in a warning
    aoi_mask : (row, col) True inside the area of interest; nothing is reported outside
    options : None for the defaults

    Returns
    -------
    detection : changes of class ``other`` ordered by onset and place, without counts; never a claim where
        nothing was seen; no standing for looks that were left out

    Raises
    ------
    NoCommonGrid : looks or mask on different grids
    """
    options = options or TimeSeriesOptions()
    ordered = sorted(looks, key=lambda look: (look.t_utc, look.scene_id))
    if not ordered:
        return Detection((), (), ())
    grid = ordered[0].grid
    if any(look.grid != grid for look in ordered) or aoi_mask.shape != grid.shape:
        raise NoCommonGrid(
            "all looks and the area mask must lie on one grid; warp them to the site grid first"
        )
    compared = comparable_looks(ordered)
    ordered = list(compared.looks)
    options = _for_pixels(options, compared)
    limits = coarse_limits(max(look.gsd_m for look in ordered))
    dates = independent_dates([look.t_utc for look in ordered], options.apart_days)
    changes: list[Change] = []
    least, warnings = within_budget(measured_points(), options.max_false_alarms, options.least_confidence)
    warnings.extend(compared.warnings)
    if len(dates) >= 2:
        for tile, core in _tiles(grid, len(dates) * max(len(common_bands(ordered)), 1), options.tile_values):
            cut = [at_pixel_size(_window(look, tile), compared.gsd_m) for look in ordered]
            found, said = _changes_of_tile(cut, aoi_mask[tile], int(aoi_mask.sum()), dates, options)
            sure = [c for c in found if c.confidence >= least]
            changes.extend(c for c in sure if core is None or _owned(c, core))
            warnings.extend(w for w in said if w not in warnings)
    changes.sort(key=lambda c: (c.onset.end, c.onset.start, c.footprint.centroid.y, c.footprint.centroid.x))
    standing = tuple(_standing(look, aoi_mask, changes) for look in ordered)
    return Detection(tuple(changes), standing, limits, tuple(warnings))


def _for_pixels(options: TimeSeriesOptions, compared: Comparable) -> TimeSeriesOptions:
    """Return options that count in the coarsest looks' pixels where looks of several sizes are compared.

    How sharp a look is and where it lies is known to a fraction of its own pixels, whatever grid it was warped to.
    """
    if not compared.several_sizes:
        return options
    times = compared.gsd_m / compared.looks[0].grid.gsd_m
    return replace(
        options,
        sigma_px=options.sigma_px * times,
        misregistration_px=options.misregistration_px * times,
    )


def coarse_limits(gsd_m: float) -> tuple[DetectionLimit, ...]:
    """Say what pixels of this size can show of each class."""
    size = f"{gsd_m:g} m"
    return (
        DetectionLimit(
            ObjectClass.CONTAINER,
            gsd_m,
            False,
            None,
            f"Pixels of {size} cannot resolve containers: only rows and stacks of about 120 m² and more change the ground "
            "visibly, and they are reported as other, without a count.",
        ),
        DetectionLimit(
            ObjectClass.BERM,
            gsd_m,
            False,
            None,
            f"Pixels of {size} cannot resolve berms: opened soil along them is reported as other.",
        ),
        as_measured(
            DetectionLimit(
                ObjectClass.OTHER,
                gsd_m,
                True,
                max(SMALLEST_CERTAIN_M2, 10 * gsd_m**2),
                f"At {size}, ground disturbed or covered over {max(SMALLEST_CERTAIN_M2, 10 * gsd_m**2):.0f} m² and more; "
                "smaller places are missed more often than not.",
            )
        ),
    )


def _tiles(
    grid: SiteGrid, values_per_px: int, limit: int
) -> Iterator[tuple[tuple[slice, slice], tuple[float, float, float, float] | None]]:
    """Yield windows with a halo, and the bounds (west, south, east, north) each owns; one without where all fits."""
    if grid.rows * grid.cols * values_per_px <= limit:
        yield (slice(0, grid.rows), slice(0, grid.cols)), None
        return
    side = max(int(np.sqrt(limit / values_per_px)) - 2 * HALO_PX, 128)
    for row in range(0, grid.rows, side):
        for col in range(0, grid.cols, side):
            window = (
                slice(max(row - HALO_PX, 0), min(row + side + HALO_PX, grid.rows)),
                slice(max(col - HALO_PX, 0), min(col + side + HALO_PX, grid.cols)),
            )
            yield window, grid.window(row, col, side, side).bounds


def _window(look: Look, tile: tuple[slice, slice]) -> Look:
    """Cut a look to a window without copying it."""
    rows, cols = tile
    return replace(
        look,
        grid=look.grid.window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start),
        reflectance=look.reflectance[:, rows, cols],
        state=look.state[rows, cols],
    )


def _owned(change: Change, core: tuple[float, float, float, float]) -> bool:
    """Whether a change's centroid lies in a tile's own part (half open, so that no two tiles own it)."""
    west, south, east, north = core
    point = change.footprint.centroid
    return bool(west <= point.x < east and south < point.y <= north)


def _changes_of_tile(
    looks: list[Look], aoi: Mask, site_px: int, dates: Dates, options: TimeSeriesOptions
) -> tuple[list[Change], list[str]]:
    """Scan one tile and turn what was found into changes and warnings; ``site_px`` is the whole site's size.

    A tile may hold a corner of the site that one object fills, so only what covers much of the site, or of all ground
    that the tile shows of a larger site, is no object.
    """
    if not aoi.any():
        return [], []
    bands = common_bands(looks)
    cube = date_cube(looks, dates, bands, slice(None), options.sigma_px)
    cube = without_season(median_of_three(cube), dates.days)
    pair = len(dates) == 2
    level = _brightness_scale(cube)
    spots = list(
        scan(
            cube,
            bands,
            np.ones_like(aoi),
            misregistration_px=options.misregistration_px,
            floor=options.smallest_deviation * level,
            high_z=options.pair_high_z if pair else options.high_z,
            low_z=options.pair_low_z if pair else options.low_z,
        )
    )
    spots = [s for s in spots if aoi.ravel()[s.pixels].any()]
    spots, whole = _without_whole_site(spots, min(site_px, aoi.size), options.whole_site_share)
    warnings = []
    if whole:
        warnings.append(
            "Most of the site changed at once on some dates (season, wetness, snow or light); "
            "no object is claimed from such a change."
        )
    controls = take_controls(cube, bands)
    commonest = options.pair_commonest if pair else options.commonest
    rare = [(spot, commonness(controls, cube, bands, spot)) for spot in _independent_spots(spots)]
    rare = [(spot, common) for spot, common in rare if common <= commonest]
    places = _follow_all(looks, cube, bands, dates, [s for s, _ in rare], [c for _, c in rare], options)
    return list(_as_changes(places, looks, dates, bands, aoi, options)), warnings


def _brightness_scale(cube: Float32) -> float:
    """Return 1 for reflectance; for relative numbers, what corresponds to a reflectance of about 0.15."""
    middle = float(np.nanmedian(np.abs(cube[:, :, ::4, ::4]))) if np.isfinite(cube).any() else 1.0
    return 1.0 if middle < 1.5 else middle / 0.15


def _without_whole_site(spots: list[Spot], site_px: int, share: float) -> tuple[list[Spot], bool]:
    """Drop spots that cover too much of the site to be an object on it."""
    kept = [s for s in spots if len(s.pixels) <= max(share * site_px, 60)]
    return kept, len(kept) < len(spots)


def _independent_spots(spots: list[Spot]) -> list[Spot]:
    """Keep the strongest spot of each event: the same place shows at neighbouring splits and several windows."""
    kept: list[Spot] = []
    at_pixel: dict[int, list[int]] = {}
    for spot in sorted(spots, key=lambda s: (-s.mass, s.split, s.window, int(s.pixels[0]))):
        rivals = _sharing(spot, kept, at_pixel)
        if not any(_same_event(spot, kept[r]) for r in rivals):
            for pixel in spot.pixels.tolist():
                at_pixel.setdefault(pixel, []).append(len(kept))
            kept.append(spot)
    return kept


def _neighbours(spots: list[Spot]) -> list[list[int]]:
    """Return for every spot the indices of the others at its place."""
    at_pixel: dict[int, list[int]] = {}
    for index, spot in enumerate(spots):
        for pixel in spot.pixels.tolist():
            at_pixel.setdefault(pixel, []).append(index)
    return [[r for r in _sharing(s, spots, at_pixel) if r != i] for i, s in enumerate(spots)]


def _sharing(spot: Spot, kept: list[Spot], at_pixel: dict[int, list[int]]) -> list[int]:
    """Return the indices of spots that share a quarter of the smaller one's pixels with this one."""
    shared: dict[int, int] = {}
    for pixel in spot.pixels.tolist():
        for index in at_pixel.get(pixel, ()):
            shared[index] = shared.get(index, 0) + 1
    least = {index: 0.25 * min(len(spot.pixels), len(kept[index].pixels)) for index in shared}
    return sorted(index for index, n in shared.items() if n >= least[index])


def _same_event(spot: Spot, other: Spot) -> bool:
    """Whether two spots at one place tell of one step: same sign within reach of each other's window."""
    if float(spot.effect @ other.weights) < 0:
        return spot.split == other.split
    return abs(spot.split - other.split) <= max(spot.window, other.window)


def _follow_all(
    looks: list[Look],
    cube: Float32,
    bands: tuple[str, ...],
    dates: Dates,
    spots: list[Spot],
    commons: list[float],
    options: TimeSeriesOptions,
) -> list[_Place]:
    """Judge every spot in every look; drop what does not last or is too small."""
    shape = cube.shape[2:]
    taken = np.zeros(shape[0] * shape[1], bool)
    for spot in spots:
        taken[spot.pixels] = True
    taken_image = taken.reshape(shape)
    places = []
    for spot, common, rivals in zip(spots, commons, _neighbours(spots), strict=True):
        others = [spots[r] for r in rivals]
        place = _follow_spot(looks, cube, bands, dates, spot, others, taken_image, common, options)
        if place is not None:
            places.append(place)
    return places


def _follow_spot(
    looks: list[Look],
    cube: Float32,
    bands: tuple[str, ...],
    dates: Dates,
    spot: Spot,
    rivals: list[Spot],
    taken: Mask,
    common: float,
    options: TimeSeriesOptions,
) -> _Place | None:
    """Judge one spot in every look between the splits of others at the same place."""
    low, high = 0, len(dates)
    for other in rivals:
        if other.split < spot.split:
            low = max(low, other.split)
        elif other.split > spot.split:
            high = min(high, other.split)
    shape = cube.shape[2:]
    box, mask = _boxed(spot.pixels, (shape[0], shape[1]), MARGIN_PX)
    sides = (
        slice(max(spot.split - spot.window, low), spot.split),
        slice(spot.split, min(spot.split + spot.window, high)),
    )
    footprint = _footprint(cube, spot, box, mask, sides)
    if footprint.sum() * looks[0].grid.gsd_m ** 2 < options.smallest_area_m2:
        return None
    local = [_window(look, box) for look in looks]
    ring = surroundings(footprint, taken[box] | mask)
    first = dates.members[low][0]
    last = dates.members[high - 1][-1] + 1
    reach = max(spot.window // 2, 1)
    near = (
        dates.members[max(spot.split - reach, low)][0],
        dates.members[min(spot.split + reach, high - 1)][0],
    )
    core = np.flatnonzero(footprint)
    course = follow(local, bands, core, ring, spot.weights, (first, last), near)
    if course is None or not _lasts(course):
        return None
    gain = _contrast_gain(course, spot.weights, bands)
    return _Place(spot, course, box, sides, footprint, gain, common)


def _boxed(
    pixels: NDArray[np.int64], shape: tuple[int, int], margin: int
) -> tuple[tuple[slice, slice], Mask]:
    """Return a window around some pixels and their mask in it."""
    rows, cols = np.divmod(pixels, shape[1])
    top, left = max(int(rows.min()) - margin, 0), max(int(cols.min()) - margin, 0)
    bottom, right = min(int(rows.max()) + margin + 1, shape[0]), min(int(cols.max()) + margin + 1, shape[1])
    mask = np.zeros((bottom - top, right - left), bool)
    mask[rows - top, cols - left] = True
    return (slice(top, bottom), slice(left, right)), mask


def _footprint(
    cube: Float32, spot: Spot, box: tuple[slice, slice], mask: Mask, sides: tuple[slice, slice]
) -> Mask:
    """Return the pixels that show at least half of the full effect."""
    before, after = (cube[side, :, box[0], box[1]] for side in sides)
    shown, full = _near(_effect(before, after, spot.weights), mask)
    return shown > 0.5 * full


def _effect(before: Float32, after: Float32, weights: Float32) -> Float32:
    """Return (row, col) how far ground went the way of a change between (date, band, row, col) sides, NaN unseen."""
    effect: Float32 = np.tensordot(weights, _mean_dates(after) - _mean_dates(before), axes=1)
    return effect


def _near(effect: Float32, mask: Mask) -> tuple[Float32, float]:
    """Return an effect at a mask and a pixel around it, 0 elsewhere and where unseen; and its full size there."""
    near = ndimage.binary_dilation(mask, iterations=1)
    shown = np.where(near & np.isfinite(effect), effect, np.float32(0.0))
    return shown, float(np.quantile(shown[mask], 0.9))


def _mean_dates(values: Float32) -> Float32:
    """Mean over the first axis of what is finite; NaN where nothing is."""
    seen = np.isfinite(values)
    count = seen.sum(axis=0)
    total = np.where(seen, values, np.float32(0)).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan))


def _lasts(course: Course) -> bool:
    """Whether both sides hold their level in most of their looks and the step stands out of its scatter."""
    seen = np.isfinite(course.presence)
    after = course.presence[course.split :][seen[course.split :]]
    before = course.presence[: course.split][seen[: course.split]]
    held = np.mean(after > 0.5) if len(after) else 0.0
    clear = np.mean(before < 0.5) if len(before) else 0.0
    return bool(held >= 0.7 and clear >= 0.7 and course.step >= 3.0)


def _contrast_gain(course: Course, weights: Float32, bands: tuple[str, ...]) -> float:
    """Return how much more the place stands out after than before, about -1 to 1; antisymmetric in time.

    What was put there differs from the ground around it; where it was taken away the ground matches again. Vegetation
    that went speaks for something new, vegetation that came back for something gone.
    """
    whiten = weights / max(float(np.linalg.norm(weights)), 1e-12)
    out_before = abs(float((course.before[0] - course.before[1]) @ whiten))
    out_after = abs(float((course.after[0] - course.after[1]) @ whiten))
    gain = (out_after - out_before) / max(out_after + out_before, 1e-9)
    if "nir" in bands and "red" in bands:
        green = [_ndvi(side[0], bands) - _ndvi(side[1], bands) for side in (course.before, course.after)]
        gain += float(np.clip((green[0] - green[1]) / 0.2, -1.0, 1.0))
    return gain


def _ndvi(values: NDArray[np.float64], bands: tuple[str, ...]) -> float:
    """Normalised difference vegetation index of one (band,) spectrum."""
    nir, red = float(values[bands.index("nir")]), float(values[bands.index("red")])
    return (nir - red) / max(abs(nir) + abs(red), 1e-6)


def _as_changes(
    places: list[_Place],
    looks: list[Look],
    dates: Dates,
    bands: tuple[str, ...],
    aoi: Mask,
    options: TimeSeriesOptions,
) -> Iterator[Change]:
    """Turn places into changes; a place that stepped there and back gets opposite directions."""
    neighbours = _neighbours([place.spot for place in places])
    for place, others in zip(places, neighbours, strict=True):
        if not (place.footprint & aoi[place.box]).any():
            continue
        gain = place.contrast_gain
        closed = False
        for other in (places[i] for i in others):
            if float(place.spot.effect @ other.spot.weights) < 0:
                gain -= other.contrast_gain
                closed |= other.course.split > place.course.split
        direction = Direction.APPEARED if gain >= 0 else Direction.REMOVED
        change = _change(place, direction, closed, looks, dates, bands, options)
        if change is not None:
            yield change


def _change(
    place: _Place,
    direction: Direction,
    closed: bool,
    looks: list[Look],
    dates: Dates,
    bands: tuple[str, ...],
    options: TimeSeriesOptions,
) -> Change | None:
    """Write one place down as a change; None where it is not likely enough."""
    course = place.course
    onset_from, onset_to = _onset(course)
    seen = np.flatnonzero(np.isfinite(course.presence))
    supporting = [int(i) for i in seen if i >= course.split and course.presence[i] > 0.5]
    against = [int(i) for i in seen if (i >= course.split) != (course.presence[i] > 0.5)]
    date_of = {i: d for d, group in enumerate(dates.members) for i in group}
    support_dates = len({date_of[i] for i in supporting})
    before_dates = len({date_of[int(i)] for i in seen if i < course.split})
    sides = min(support_dates, before_dates)
    cues = cues_of(place, looks[0].grid.gsd_m, bands, sides)
    evidence = tuple((name, round(value, 3)) for name, value in weighed(cues, len(dates)).items())
    confidence = float(np.round(1.0 / (1.0 + np.exp(-sum(value for _, value in evidence))), 4))
    if confidence < options.least_confidence:
        return None
    footprint, area = _drawn(place, looks, dates, bands, options.smallest_area_m2)
    sentences = _against(place, looks, cues, area.value)
    status = _status(closed, support_dates, confidence)
    if not _one_kind_shows_it(course, kinds_of(looks)):
        status = Status.FIRST
        sentences += (
            "The looks before and after differ in what their numbers mean, so that may be all there is.",
        )
    return Change(
        object_class=ObjectClass.OTHER,
        direction=direction,
        footprint=footprint,
        onset=OnsetInterval(looks[onset_from].t_utc, looks[onset_to].t_utc),
        last_seen=looks[supporting[-1] if direction is Direction.APPEARED else onset_from].t_utc,
        status=status,
        confidence=confidence,
        count=None,
        count_reason=f"pixels of {max(look.gsd_m for look in looks):g} m cannot resolve containers",
        area_m2=area,
        length_m=None,
        width_m=None,
        orientation_deg=None,
        gsd_m=max(look.gsd_m for look in looks),
        looks_supporting=len(supporting),
        looks_against=len(against),
        shift_sensitivity=_shift_sensitivity(place),
        before_scene=looks[onset_from].scene_id,
        after_scene=looks[onset_to].scene_id,
        scene_ids=tuple(looks[int(i)].scene_id for i in seen),
        evidence=evidence,
        against=sentences,
    )


def _onset(course: Course) -> tuple[int, int]:
    """Return the look indices of the last clearly absent look and the first clearly present one."""
    seen = np.flatnonzero(np.isfinite(course.presence))
    left, right = seen[seen < course.split], seen[seen >= course.split]
    absent = [int(i) for i in left if course.presence[i] < ABSENT_BELOW] or [int(left[0])]
    present = [int(i) for i in right if course.presence[i] > PRESENT_ABOVE] or [int(right[-1])]
    return absent[-1], present[0]


def _one_kind_shows_it(course: Course, kinds: tuple[str, ...]) -> bool:
    """Whether looks of one kind alone show the place both clearly absent before the split and clearly present after."""
    if len(set(kinds)) == 1:
        return True
    absent = {
        kind for kind, p in zip(kinds[: course.split], course.presence, strict=False) if p < ABSENT_BELOW
    }
    after = course.presence[course.split :]
    present = {kind for kind, p in zip(kinds[course.split :], after, strict=True) if p > PRESENT_ABOVE}
    return bool(absent & present)


def _status(closed: bool, support_dates: int, confidence: float) -> Status:
    """Climb the ladder by independent dates; what is less likely than ``COARSE_CONFIRMED_FROM`` is never confirmed.

    What was undone later is closed whichever way it went: a removal too, where it came back.
    """
    if support_dates < 2:
        return Status.FIRST
    if support_dates < EARLIEST_CONFIRMED_DATES or confidence < COARSE_CONFIRMED_FROM:
        return Status.PROVISIONAL
    return Status.CLOSED if closed else Status.CONFIRMED


def _drawn(
    place: _Place, looks: Sequence[Look], dates: Dates, bands: tuple[str, ...], smallest_m2: float
) -> tuple[BaseGeometry, Estimate]:
    """Return the outline in the grid's CRS and its area, drawn at sub-pixel places on dates that were not blurred.

    What the ground around did meanwhile is taken off first. The area's interval reaches from where little of the full
    effect shows to where most of it does.
    """
    grid = looks[0].grid
    _, mask = _boxed(place.spot.pixels, grid.shape, MARGIN_PX)
    local = [_window(look, place.box) for look in looks]
    before, after = (
        date_cube(local, Dates(dates.members[side], dates.days[side]), bands, slice(None), 0.0)
        for side in place.sides
    )
    effect = _effect(before, after, place.spot.weights)
    around = effect.ravel()[surroundings(mask, mask)]
    if np.isfinite(around).any():
        effect -= np.nanmedian(around)
    shown, full = _near(effect, mask)
    image = shown / full if full > 0.0 else place.footprint.astype(np.float32)
    drawn, strong, weak = (
        _large_parts(contour(image, local[0].grid, level, 0.0), smallest_m2)
        for level in (OUTLINE_LEVEL, *AREA_LEVELS)
    )
    area = Estimate(drawn.area, min(strong.area, drawn.area), max(weak.area, drawn.area))
    return drawn.normalize(), area


def _large_parts(drawn: BaseGeometry, smallest_m2: float) -> BaseGeometry:
    """Return an outline without parts too small to be reported, the largest where all are, to ``OUTLINE_GRID_M``."""
    parts = sorted(shapely.get_parts(drawn), key=shapely.area, reverse=True)
    large = [part for part in parts if part.area >= smallest_m2] or parts[:1]
    return shapely.set_precision(shapely.union_all(large), OUTLINE_GRID_M)


def _shift_sensitivity(place: _Place) -> float:
    """Share of the footprint that lies on its own rim, where a pixel of misregistration would eat it; 0-1."""
    inner = ndimage.binary_erosion(place.footprint)
    return float(np.round(1.0 - inner.sum() / max(place.footprint.sum(), 1), 3))


def _against(place: _Place, looks: list[Look], cues: dict[str, float], area_m2: float) -> tuple[str, ...]:
    """Say in sentences what speaks against a place; ``cues`` as ``cues_of`` tells them."""
    course, green = place.course, cues["vegetation"] > 0.0
    fresh = looks[-1].t_utc - looks[course.split].t_utc < timedelta(days=150)
    said = {
        "It comes and goes with the height of the sun, as a shadow would.": course.sun_rivalry < SUN_RIVAL,
        "The ground was green on one side of the change: harvest or ploughing looks like this.": green
        and fresh,
        f"Only {area_m2:.0f} m² changed, near the limit of these pixels.": area_m2 < SMALLEST_CERTAIN_M2,
        "Only one independent date shows one side of the change.": cues["one date"] > 0.0,
    }
    return tuple(sentence for sentence, holds in said.items() if holds)


def cues_of(place: _Place, gsd_m: float, bands: tuple[str, ...], sides: int) -> dict[str, float]:
    """Return what is known of a place on the scales that ``WEIGHTS`` weigh.

    ``sides`` is the number of independent dates on the side of the change that has fewer.
    """
    course = place.course
    area_m2 = float(place.footprint.sum()) * gsd_m**2
    return {
        "rarity": float(np.clip(np.log(0.01 / place.commonness), -2.5, 2.0)),
        "contrast": float(np.clip(place.spot.peak_z - 6.0, 0.0, 12.0)),
        "stands out": min(abs(place.contrast_gain), 1.5),
        "step": 0.0 if np.isinf(course.step) else float(np.clip(course.step - 5.0, -2.0, 8.0)),
        "one date": float(sides < 2),
        "third date": float(sides >= EARLIEST_CONFIRMED_DATES),
        "extent": float(np.clip(np.log(area_m2 / SMALLEST_CERTAIN_M2), -1.5, 0.0)),
        "wide": float(area_m2 > LARGEST_USUAL_M2),
        "sun": min(float(np.log(max(course.sun_rivalry, 1.0) / SUN_RIVAL) / np.log(SUN_RIVAL)), 0.0),
        "vegetation": float(_greenest(course, bands) > GREEN),
    }


def weighed(cues: dict[str, float], dates: int) -> dict[str, float]:
    """Return the log-odds that a place is a lasting change of our sort, in named parts."""
    weight = WEIGHTS[min(limit for limit in WEIGHTS if dates <= limit)]
    parts = {"base": weight["base"]} | {name: weight[name] * cue for name, cue in cues.items()}
    if cues["one date"]:
        parts["once"] = min(SUREST_ONCE - sum(parts.values()), 0.0)
    return {name: value for name, value in parts.items() if value or name == "base"}


def _greenest(course: Course, bands: tuple[str, ...]) -> float:
    """Vegetation index of the greener side of a change; 0 where bands do not tell."""
    if "nir" not in bands or "red" not in bands:
        return 0.0
    return max(_ndvi(course.before[0], bands), _ndvi(course.after[0], bands))


def _standing(look: Look, aoi_mask: Mask, changes: list[Change]) -> Standing:
    """Sum what stood in one look: appeared and not yet gone, or gone only later."""
    value = low = high = 0.0
    appeared = removed = 0
    for change in changes:
        here = change.onset.end <= look.t_utc
        if change.direction is Direction.APPEARED:
            sign = 1.0 if here else 0.0
            appeared += change.after_scene == look.scene_id
        else:
            sign = 0.0 if here else 1.0
            removed += change.after_scene == look.scene_id
            if any(_reappears(other, change) for other in changes):
                sign = -1.0 if here else 0.0  # its appearance already adds it
        value += sign * change.area_m2.value
        low += sign * change.area_m2.low
        high += sign * change.area_m2.high
    seen = float(np.mean(look.observed[aoi_mask])) if aoi_mask.any() else 0.0
    area = Estimate(max(value, 0.0), max(min(low, value), 0.0), max(high, value, 0.0))
    return Standing(look.scene_id, ObjectClass.OTHER, None, area, appeared, removed, seen)


def _reappears(other: Change, removal: Change) -> bool:
    """Whether a removal takes away what an earlier appearance in the same list put there."""
    return (
        other.direction is Direction.APPEARED
        and other.onset.end <= removal.onset.end
        and other.footprint.intersects(removal.footprint)
    )
