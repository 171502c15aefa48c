"""What speaks for and against one candidate, as a few named numbers over all looks.

Each is on a scale where more means likelier real, so that the verifier can keep the sign physics gives it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from scipy import ndimage
from shapely.affinity import translate

from imagery.calibration import Emission, log_odds
from imagery.candidates import Candidate
from imagery.changes import LOG_ODDS_STEP, UNSEEN, Direction, LookEvidence, ObjectClass
from imagery.evidence.ridges import MIN_NORMAL_COSINE
from imagery.grid import SiteGrid
from imagery.lifecycle import Lifecycle, LifecycleOptions
from imagery.limits import smallest_area_m2
from imagery.objects import OUTLINE_LEVEL, Outline
from imagery.order_statistics import median, medians

Mask = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Statistic = Callable[[Float32Array], Any]

_SEASON_RADIUS_M = 3.0
# A detector in doubt is most in doubt at the rim: the outline is drawn so far below what it says well inside.
_INNER_QUANTILE = 0.9
_EDGE_DROP = 1.5
_NEARBY_M, _WEAKER = 4.0, 2.0
_INNER_DIFFERENCE = 0.7
_PEAK = 0.85
_FEWEST_TO_TELL = 3
_CONTAINER_HEIGHT_M = 2.6
_LONGEST_SHADOW_M = 9.0
# What darkens by a third may be shadow; a stack of two casts it; half of the smallest container must stay lit to cast any.
_SHADOW_DROP = math.log(0.65)
_STACK_HEIGHT_M = 5.2
# Fisher-transformed correlation of the surroundings across an onset, below which the season changed everything alike.
_LEAST_ALIKE = 0.3
_LEAST_LIT_M2 = 7.0
_SHIFTS_PX = (0.5, 2.0)
# A bank that fills so much of its box and is so many times as long as wide has one axis.
_STRAIGHT_FILL, _STRAIGHT_ASPECT = 0.5, 2.0


@dataclass(frozen=True, slots=True)
class Window:
    """A candidate with its surroundings in every look.

    ``evidence`` is (look, row, col) float32, the detector's log-odds; ``rivals`` the same, the largest of the other
    classes; ``light`` (look, row, col) float32 brightness; all NaN where unseen. ``core`` is the candidate's pixels.
    """

    grid: SiteGrid
    core: Mask
    evidence: Float32Array
    rivals: Float32Array
    light: Float32Array
    _usual: dict[tuple[int, ...], Float32Array] = field(default_factory=dict, compare=False, repr=False)

    def usual_light(self, looks: Sequence[int] | NDArray[np.int64]) -> Float32Array:
        """Return ``median_light`` over some looks, remembered: several questions compare with the same ones."""
        chosen = tuple(map(int, looks))
        if chosen not in self._usual:
            self._usual[chosen] = median_light(self.light[list(chosen)])
        return self._usual[chosen]


def cut_window(looks: Sequence[LookEvidence], kind: ObjectClass, place: Candidate, margin_px: int) -> Window:
    """Cut a candidate with a margin out of every look."""
    grid = looks[0].grid
    top, left = max(int(place.row.min()) - margin_px, 0), max(int(place.col.min()) - margin_px, 0)
    bottom = min(int(place.row.max()) + margin_px + 1, grid.rows)
    right = min(int(place.col.max()) + margin_px + 1, grid.cols)
    box = slice(top, bottom), slice(left, right)
    core = np.zeros((bottom - top, right - left), bool)
    core[place.row - top, place.col - left] = True
    index = looks[0].classes.index(kind)
    stored = [np.stack([look.log_odds[i][box] for look in looks]) for i in range(len(looks[0].classes))]
    evidence = _natural(stored.pop(index))
    # A pixel is seen for all classes or for none, so the largest of what is unseen is unseen.
    rivals = _natural(reduce(np.maximum, stored))
    light = np.stack([look.brightness[box] for look in looks]).astype(np.float32)
    return Window(grid.window(top, left, bottom - top, right - left), core, evidence, rivals, light)


def _natural(stored: NDArray[np.int8]) -> Float32Array:
    """Return stored log-odds in natural-log units, NaN where unseen."""
    found = np.multiply(stored, LOG_ODDS_STEP, dtype=np.float32)
    found[stored == UNSEEN] = np.nan
    return found


def pooled_evidence(
    window: Window, mask: Mask, emission: Emission, options: LifecycleOptions
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return what each look's mean log-odds over a mask weighs, and whether it saw enough of it to count."""
    mean, share = _pooled(window.evidence, mask)
    seen = share >= options.least_seen
    if seen.any():
        mean = mean - emission.excess(mean[seen].min())
    return emission.gain * (mean - emission.zero), seen


def _pooled(planes: Float32Array, mask: Mask) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each look's mean over the seen pixels of a mask, and the share of it that was seen."""
    inside = planes[:, mask]
    known = np.isfinite(inside)
    total = np.where(known, inside, 0.0).sum(1, dtype=np.float64)
    return total / np.maximum(known.sum(1), 1), known.mean(1, dtype=np.float64)


def presence_difference(window: Window, found: Lifecycle, direction: Direction) -> Float32Array:
    """Return how much likelier the object is per pixel in the looks of its presence than in those of its absence.

    Only looks from the last reversal before to the first after the onset take part, each as its probability.
    """
    with_it, without = sides(window, found, direction)
    level = edge_level(window, with_it)
    difference = _mean_presence(window.evidence[with_it], level) - _mean_presence(
        window.evidence[without], level
    )
    return np.asarray(np.nan_to_num(difference), np.float32)


def sides(
    window: Window, found: Lifecycle, direction: Direction
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the looks in which the object stands and those in which it is missing."""
    until = found.reversed_at if found.reversed_at is not None else window.evidence.shape[0]
    before = np.array(found.earlier or (found.before,))
    after = np.array(found.supporting) if found.supporting else np.arange(found.after, until)
    return (after, before) if direction is Direction.APPEARED else (before, after)


def without_shadow(
    looks: Sequence[LookEvidence],
    window: Window,
    found: Lifecycle,
    direction: Direction,
    difference: Float32Array,
) -> Float32Array:
    """Return the difference less its share in looks where the place is the shadow of the object, not the object.

    A detector that learned what containers look like with their shadows answers on both. What darkened against the looks
    without the object, and lies behind what did not darken, as seen from the sun and no further than a stack's shadow
    falls, is shadow. Where everything darkened (a dark object) or the detector is surest of the dark part, nothing is.
    """
    with_it, without = sides(window, found, direction)
    usual = window.usual_light(without)
    labels, _ = ndimage.label(difference >= OUTLINE_LEVEL)
    near = np.isin(labels, np.unique(labels[window.core & (labels > 0)])) & (labels > 0)
    around = ~ndimage.binary_dilation(near, iterations=3)
    shares = [
        _shaded(looks[i], window.light[i] - usual, window.evidence[i], near, around, window.grid)
        for i in with_it
    ]
    return np.asarray(difference * (1.0 - np.mean(shares, axis=0)), np.float32)


def median_light(light: Float32Array) -> Float32Array:
    """Return the median of (look, row, col) brightness over the looks that saw a pixel, NaN where none did."""
    ordered = np.sort(light, axis=0)  # what is unseen comes last
    count = np.isfinite(light).sum(0)[None]
    low, high = (
        np.take_along_axis(ordered, np.maximum(at, 0), 0)[0] for at in ((count - 1) // 2, count // 2)
    )
    return np.where(count[0] > 0, (low + high) / np.float32(2.0), np.float32(np.nan))


def _shaded(
    look: LookEvidence, change: Float32Array, evidence: Float32Array, near: Mask, around: Mask, grid: SiteGrid
) -> Mask:
    """Return the pixels of a candidate that are its shadow in one look; none where the sun is unknown."""
    nothing = np.zeros(near.shape, bool)
    if look.sun_azimuth_deg is None or look.sun_elevation_deg is None or not near.any():
        return nothing
    usual = change[around & np.isfinite(change)]
    level = float(median(usual)) if usual.size >= 40 else 0.0
    known = near & np.isfinite(change) & np.isfinite(evidence)
    dark = known & (change - level < _SHADOW_DROP)
    lit = known & ~dark
    if lit.sum() * grid.gsd_m**2 < _LEAST_LIT_M2 or not dark.any():
        return nothing
    if evidence[dark].mean() > evidence[lit].mean():
        return nothing
    reach_m = min(
        _STACK_HEIGHT_M / math.tan(math.radians(max(look.sun_elevation_deg, 10.0))), 2 * _LONGEST_SHADOW_M
    )
    azimuth = math.radians(look.sun_azimuth_deg)
    cast = nothing.copy()
    for step in range(1, max(1, round(reach_m / grid.gsd_m)) + 1):
        # Rows count southwards: away from the sun is down where the sun stands north.
        down, right = step * math.cos(azimuth), -step * math.sin(azimuth)
        cast |= _moved(lit, round(down), round(right))
    return np.asarray(cast & dark, bool)


def _moved(mask: Mask, down: int, right: int) -> Mask:
    """Return a mask moved by whole pixels; nothing comes in from outside."""
    moved = np.zeros_like(mask)
    rows, cols = mask.shape
    if abs(down) >= rows or abs(right) >= cols:
        return moved
    moved[max(down, 0) : rows + min(down, 0), max(right, 0) : cols + min(right, 0)] = mask[
        max(-down, 0) : rows + min(-down, 0), max(-right, 0) : cols + min(-right, 0)
    ]
    return moved


def next_to_onset(with_it: NDArray[np.int64], direction: Direction, most: int) -> NDArray[np.int64]:
    """Return up to so many of the looks with the object, those next to its onset, on whichever side of it they lie."""
    return with_it[:most] if direction is Direction.APPEARED else with_it[-most:]


def edge_level(window: Window, with_it: NDArray[np.int64]) -> Float32Array:
    """Return the log-odds at an object's edge, per pixel: 0 where the detector is sure nearby, lower where it is not.

    In a row some containers show better than others; each has its own edge. Places far weaker than the rest of the
    candidate stay outside.
    """
    planes = window.evidence[with_it]
    total, count = sum_of_known(planes)
    mean = total / np.maximum(count, 1)
    overall = float(np.quantile(mean[window.core], _INNER_QUANTILE))
    size = max(3, round(_NEARBY_M / window.grid.gsd_m) | 1)
    nearby = ndimage.gaussian_filter(ndimage.maximum_filter(mean, size), size / 4)
    level = np.clip(nearby, overall - _WEAKER, None) - _EDGE_DROP
    return np.asarray(np.minimum(level, 0.0), np.float32)


def _mean_presence(evidence: Float32Array, level: Float32Array) -> Float32Array:
    odds_against = level - evidence
    np.exp(odds_against, out=odds_against)
    odds_against += 1.0
    total, count = sum_of_known(np.divide(1.0, odds_against, out=odds_against))
    return np.asarray(total / np.maximum(count, 1e-6), np.float32)


def sum_of_known(planes: Float32Array) -> tuple[Float32Array, NDArray[np.int64]]:
    """Return the sum of (look, row, col) over the looks that know a pixel, and how many do; of one that none knows 0.

    Nearly always all looks know all pixels: then there is nothing to leave out, nor to count.
    """
    known = np.isfinite(planes)
    if known.all():
        return planes.sum(0), np.full(planes.shape[1:], len(planes))
    return np.where(known, planes, np.float32(0.0)).sum(0), known.sum(0)


def mean_of_known(planes: Sequence[Float32Array] | Float32Array) -> Float32Array:
    """Return the mean of (look, row, col) over the looks that know a pixel, NaN where none does."""
    total, count = sum_of_known(np.asarray(planes))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def features_of(
    looks: Sequence[LookEvidence],
    window: Window,
    pooled: NDArray[np.float64],
    seen: NDArray[np.bool_],
    found: Lifecycle,
    drawn: Outline,
    direction: Direction,
    kind: ObjectClass,
) -> dict[str, float]:
    """Return every number the verifier may weigh, by name; NaN where it cannot be said."""
    sign = 1.0 if direction is Direction.APPEARED else -1.0
    inside = footprint_mask(drawn, window)
    after = [i for i in (found.after, *found.supporting, *found.against) if seen[i]] or [found.after]
    before = list(found.earlier) or [found.before]
    standing, missing = (sorted(set(after)), before) if sign > 0 else (before, sorted(set(after)))
    stands, absent = float(np.mean(pooled[standing])), float(np.mean(pooled[missing]))
    return {
        "series": log_odds(found.posterior),
        "stands": stands,
        "missing": -absent,
        "step": stands - absent,
        "rival": _rival(window, inside, standing),
        "structure": structure_change(window, inside, before, sorted(set(after))),
        "peak": _peak(window, inside, standing),
        "empty": -_peak(window, inside, missing),
        "outline": outline_change(window, drawn, standing, missing),
        "contrast": contrast_change(window, inside, standing, missing),
        "shadow": shadow_change(looks, window, drawn, standing, missing),
        "fill": drawn.box_fill,
        "length": drawn.length_m,
        "width": drawn.width_m,
        "pixel": max(looks[found.before].gsd_m, looks[found.after].gsd_m),
        "looks": float(seen.sum()),
        "size": math.log(max(drawn.area_m2.value, 1.0) / smallest_area_m2(kind, looks[found.after].gsd_m)),
        "steady": _steady(pooled, before, sorted(set(after))),
        "shift": shift_sensitivity(looks, window, inside, found, sign),
        "light": _light(looks, found, drawn) if kind is ObjectClass.BERM else 1.0,
        "shown": float(min(found.shown, 4)),
        "without": float(min(len(missing), 4)),
        "lit": lit_share(window, inside, standing, missing),
        "passing": -float(_seen_once(found, seen) and found.bounded),
        "once": -float(_seen_once(found, seen)),
        "agreement": len(found.supporting) / max(len(found.supporting) + len(found.against), 1),
    }


def lit_share(window: Window, inside: Mask, standing: Sequence[int], missing: Sequence[int]) -> float:
    """Return which share of the object's place did not darken as shadow does, 0-1, against the looks without the object.

    A roof or a bank has lit parts; the shadow of something else is dark from rim to rim, and longest under a low sun.
    """
    change = window.usual_light(standing) - window.usual_light(missing)
    known = np.isfinite(change)
    near = ndimage.binary_dilation(inside, iterations=3)
    if (known & ~near).sum() < 40 or (known & inside).sum() < 4:
        return math.nan
    level = float(median(change[known & ~near]))
    return float((change[known & inside] - level > _SHADOW_DROP).mean())


def _seen_once(found: Lifecycle, seen: NDArray[np.bool_]) -> bool:
    """Tell whether one look alone shows the object: vehicles are as bright and as square. Of a pair nothing can be said."""
    return found.shown < 2 and int(seen.sum()) >= _FEWEST_TO_TELL


def _steady(pooled: NDArray[np.float64], before: Sequence[int], after: Sequence[int]) -> float:
    """Return how little the looks on one side of the onset disagree among themselves, 0 at best."""
    spread = [float(np.std(np.clip(pooled[list(side)], -6.0, 6.0))) for side in (before, after)]
    return -max(spread)


def _rival(window: Window, inside: Mask, standing: Sequence[int]) -> float:
    """Return by how much the class leads the next one inside the outline, over the looks in which the object stands."""
    chosen = np.array(standing)
    own, _ = _pooled(window.evidence[chosen], inside)
    other, _ = _pooled(window.rivals[chosen], inside)
    return float(np.mean(own - other))


def _peak(window: Window, inside: Mask, chosen: Sequence[int]) -> float:
    """Return the evidence where it is strongest inside an outline (its 85 % quantile), mean over some looks."""
    places = window.evidence[list(chosen)][:, inside]
    tops = [
        value
        for value in _each(partial(np.quantile, q=_PEAK, axis=1), partial(np.nanquantile, q=_PEAK), places)
        if math.isfinite(value)
    ]
    return float(np.mean(tops)) if tops else math.nan


def _each(
    statistic: Statistic, with_gaps: Statistic, rows: Float32Array, more_than: int | None = None
) -> Float32Array:
    """Return a statistic of what is known of every row, NaN where that is no more than some pixels, or half of it.

    Rows without gaps, nearly all, are done in one call: a call per look is most of what following 100 looks costs.
    """
    known = np.isfinite(rows).sum(1)
    enough = known > (rows.shape[1] / 2 if more_than is None else more_than)
    values = np.full(len(rows), np.nan, np.float32)
    whole = enough & (known == rows.shape[1])
    if whole.any():
        values[whole] = statistic(rows[whole])
    for index in np.flatnonzero(enough & ~whole):
        values[index] = with_gaps(rows[index])
    return values


_means = partial(np.mean, axis=1)


def _median_of_known(row: Float32Array) -> np.float32:
    return median(row[np.isfinite(row)])


def outline_change(window: Window, drawn: Outline, standing: Sequence[int], missing: Sequence[int]) -> float:
    """Return how much more brightness steps along the outline where the object stands than where it is missing.

    The gradient's magnitude along the outline over its median in the window, as a logarithm, so that neither contrast of
    the scene nor haze matters.
    """
    line = drawn.footprint.boundary
    at: Mask = geometry_mask([line], window.grid.shape, window.grid.transform, invert=True, all_touched=True)
    return _step_between(
        _edge_strengths(window.light[list(standing)], at), _edge_strengths(window.light[list(missing)], at)
    )


def _edge_strengths(light: Float32Array, at: Mask) -> list[float]:
    """Return each look's median gradient on a line over that in the window, natural log; NaN where too little is known."""
    down, right = np.gradient(light, axis=(1, 2))
    # What numpy's hypot comes to, in half its time.
    squares = np.square(down, dtype=np.float64) + np.square(right, dtype=np.float64)
    steep = np.sqrt(squares).astype(np.float32).reshape(len(light), -1)
    here, usual = (
        _each(medians, _median_of_known, steep[:, at.ravel()]),
        _each(medians, _median_of_known, steep, 39),
    )
    return [
        math.nan if math.isnan(line + all_of_it) else math.log(max(line, 1e-3) / max(all_of_it, 1e-3))
        for line, all_of_it in zip(here.tolist(), usual.tolist(), strict=True)
    ]


def contrast_change(window: Window, inside: Mask, standing: Sequence[int], missing: Sequence[int]) -> float:
    """Return by how much the object's place changed in brightness against what lies around it (natural log)."""
    reach = max(1, round(2.0 / window.grid.gsd_m))
    near = ndimage.binary_dilation(inside, iterations=reach)
    ring = ndimage.binary_dilation(near, iterations=2 * reach) & ~near
    return abs(
        _step_between(
            _against_ring(window.light[list(standing)], inside, ring),
            _against_ring(window.light[list(missing)], inside, ring),
        )
    )


def _against_ring(light: Float32Array, inside: Mask, ring: Mask) -> list[float]:
    """Return by how much each look's place is brighter than what lies around it; NaN where too little is known."""
    return [
        float(v)
        for v in _each(_means, np.nanmean, light[:, inside])
        - _each(medians, _median_of_known, light[:, ring])
    ]


def shadow_change(
    looks: Sequence[LookEvidence],
    window: Window,
    drawn: Outline,
    standing: Sequence[int],
    missing: Sequence[int],
) -> float:
    """Return how much darker the strip away from the sun gets, against the strip towards it, where the object stands.

    Natural log of brightness; NaN where the sun is unknown or its shadow of a container would be under a pixel.
    """
    least_m = max(looks[i].gsd_m for i in (*standing, *missing))
    own = geometry_mask(
        [drawn.footprint.buffer(0.5 * window.grid.gsd_m)], window.grid.shape, window.grid.transform
    )

    @cache  # looks of one hour and season share their sun, and with it their strips
    def strips(azimuth_deg: float, elevation_deg: float) -> tuple[Mask, Mask] | None:
        reach = min(_CONTAINER_HEIGHT_M / math.tan(math.radians(max(elevation_deg, 10.0))), _LONGEST_SHADOW_M)
        if reach < least_m:
            return None
        east, north = (-reach * turn(math.radians(azimuth_deg)) for turn in (math.sin, math.cos))
        return _strip(window, drawn, own, east, north), _strip(window, drawn, own, -east, -north)

    def shades(chosen: Sequence[int]) -> list[float]:
        by_sun: dict[tuple[float | None, float | None], list[int]] = {}
        for i in chosen:
            by_sun.setdefault((looks[i].sun_azimuth_deg, looks[i].sun_elevation_deg), []).append(i)
        shade = {
            i: value
            for (azimuth, elevation), mine in by_sun.items()
            if azimuth is not None and elevation is not None
            for i, value in zip(mine, _shades(window.light[mine], strips(azimuth, elevation)), strict=True)
        }
        return [shade.get(i, math.nan) for i in chosen]

    return _step_between(shades(missing), shades(standing))


def _strip(window: Window, drawn: Outline, own: Mask, east_m: float, north_m: float) -> Mask:
    """Return the pixels that an outline covers when moved, less those it covers where it stands."""
    moved = translate(drawn.footprint, east_m, north_m)
    strip: Mask = own & geometry_mask([moved], window.grid.shape, window.grid.transform, invert=True)
    return strip


def _shades(light: Float32Array, strips: tuple[Mask, Mask] | None) -> list[float]:
    """Return by how much each look's strip on the far side from the sun is brighter than the one towards it."""
    if strips is None or any(strip.sum() < 4 for strip in strips):
        return [math.nan] * len(light)
    far, near = (_each(_means, np.nanmean, light[:, strip]) for strip in strips)
    return [float(one) - float(other) for one, other in zip(far, near, strict=True)]


def _step_between(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the mean of what is known of one side less that of the other; NaN where a side is unknown."""
    first, second = [v for v in one if math.isfinite(v)], [v for v in other if math.isfinite(v)]
    return float(np.mean(first) - np.mean(second)) if first and second else math.nan


def footprint_mask(drawn: Outline, window: Window) -> Mask:
    """Return the window's pixels inside an outline; its core where the outline is thinner than a pixel."""
    inside: Mask = geometry_mask([drawn.footprint], window.grid.shape, window.grid.transform, invert=True)
    return inside if inside.any() else window.core


def inner_mask(drawn: Outline, difference: Float32Array, window: Window) -> Mask:
    """Return the pixels well inside an outline, where no rim dilutes the evidence; all of it where it has no inside."""
    inside = footprint_mask(drawn, window)
    inner = inside & (difference >= _INNER_DIFFERENCE)
    return inner if 4 * inner.sum() >= inside.sum() else inside


def structure_change(window: Window, inside: Mask, before: Sequence[int], after: Sequence[int]) -> float:
    """Return how much less the object's place resembles itself across the onset than its surroundings do.

    The resemblance is the correlation of high-passed brightness between the looks at either end of the onset, taken
    inside the outline and two metres around it; its null is the same between the same looks in the rest of the window.
    Difference of the two Fisher-transformed correlations: above 0 the place changed more than the rest. NaN where the rest
    does not resemble itself either.
    """
    reach = max(1, round(2.0 / window.grid.gsd_m))
    near = ndimage.binary_dilation(inside, iterations=reach)
    far = ~ndimage.binary_dilation(near, iterations=reach)
    detail = {i: _high_pass(window.light[i], window.grid.gsd_m) for i in {*before[-2:], *after[:2]}}
    pairs = [(detail[i], detail[j]) for i in before[-2:] for j in after[:2]]
    scores = [s for one, other in pairs if math.isfinite(s := _less_alike(one, other, near, far))]
    return float(np.mean(scores)) if scores else math.nan


def _less_alike(one: Float32Array, other: Float32Array, near: Mask, far: Mask) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    here, there = near & both, far & both
    if here.sum() < 12 or there.sum() < 40:
        return math.nan
    around = math.atanh(_correlation(one[there], other[there]))
    if around < _LEAST_ALIKE:
        return math.nan
    return around - math.atanh(_correlation(one[here], other[here]))


def _high_pass(image: Float32Array, gsd_m: float) -> Float32Array:
    known = np.isfinite(image)
    radius = max(3, round(_SEASON_RADIUS_M / gsd_m)) * 2 + 1
    total = ndimage.uniform_filter(np.where(known, image, 0.0), radius, mode="nearest")
    weight = ndimage.uniform_filter(known.astype(np.float32), radius, mode="nearest")
    return np.where(known, image - total / np.maximum(weight, 1e-3), np.nan).astype(np.float32)


def _correlation(one: Float32Array, other: Float32Array) -> float:
    a, b = one - one.mean(), other - other.mean()
    scale = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float(np.clip((a * b).sum() / max(scale, 1e-9), -0.99, 0.99))


def shift_sensitivity(
    looks: Sequence[LookEvidence], window: Window, inside: Mask, found: Lifecycle, sign: float
) -> float:
    """Return the share of the evidence step across the onset that misregistration can take away, 0-1.

    Half a pixel of it, or twice what registration says it left in either of the two looks, if that is more.
    """
    before, after = window.evidence[found.before], window.evidence[found.after]
    step = sign * (np.nan_to_num(after) - np.nan_to_num(before))
    whole = float(step[inside].mean())
    if whole <= 0.0:
        return 1.0
    left_m = max(looks[i].registration_residual_m for i in (found.before, found.after))
    reach = float(np.clip(2.0 * left_m / window.grid.gsd_m, *_SHIFTS_PX))
    moved = []
    for down, right in ((reach, 0.0), (-reach, 0.0), (0.0, reach), (0.0, -reach)):
        shifted = ndimage.shift(np.nan_to_num(after), (down, right), order=1, mode="nearest")
        moved.append(float((sign * (shifted - np.nan_to_num(before)))[inside].mean()))
    return float(np.clip(1.0 - min(moved) / whole, 0.0, 1.0))


def along_the_sun(looks: Sequence[LookEvidence], drawn: Outline) -> NDArray[np.bool_]:
    """Return the looks in which the sun stood so near a straight bank's axis that neither of its flanks was lit more.

    Such a look may show a bank by its colour; that it does not show one says nothing.
    """
    if drawn.box_fill < _STRAIGHT_FILL or drawn.length_m < _STRAIGHT_ASPECT * drawn.width_m:
        return np.zeros(len(looks), bool)
    return np.array([_squarely(look, drawn) < MIN_NORMAL_COSINE for look in looks])


def _light(looks: Sequence[LookEvidence], found: Lifecycle, drawn: Outline) -> float:
    """Return how squarely the sun met a bank's flanks, in the worse of the two looks at the ends of its onset."""
    known = [v for i in (found.before, found.after) if math.isfinite(v := _squarely(looks[i], drawn))]
    return min(known, default=math.nan)


def _squarely(look: LookEvidence, drawn: Outline) -> float:
    """Return |cos| of the angle between a bank's normal and the sun; NaN where the sun is unknown."""
    if look.sun_azimuth_deg is None:
        return math.nan
    return abs(math.sin(math.radians(look.sun_azimuth_deg - drawn.orientation_deg)))
