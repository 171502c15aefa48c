"""Where single-look evidence flips for good: connected places that may have changed, and between which looks.

Per pixel the evidence of all looks is a short series; a two-state path with a price on every switch is found through
it, and each switch is a transition between the last look that saw the old state and the first that saw the new one.
Clouds make that gap differ from pixel to pixel, so pixels belong together where they touch and their gaps overlap.
Nothing here decides that a change is real: that takes the whole object (``imagery.lifecycle``).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from imagery.calibration import Emission
from imagery.changes import LOG_ODDS_STEP, UNSEEN, Direction

Mask = NDArray[np.bool_]
Layer = NDArray[np.int8]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Box = tuple[slice, slice]


# Further below an emission's zero all evidence weighs the same, with the cap that is put on a look.
_OUT_OF_REACH = 4.0


@dataclass(frozen=True, slots=True)
class CandidateOptions:
    """Where to look: low thresholds, since a candidate costs only its own verification."""

    tile_px: int = 96
    smoothing_m: float = 1.2
    cap: float = 3.0
    switch_price: float = 1.2
    present_above: float = 0.3
    absent_below: float = -0.3
    merge_m: float = 3.0


@dataclass(frozen=True, slots=True)
class Transitions:
    """Switches of single pixels, one row per switch; ``before``/``after`` are look indices at the gap's ends."""

    row: NDArray[np.int32]
    col: NDArray[np.int32]
    appeared: Mask
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    gain: Float32Array

    def where(self, keep: Mask | NDArray[np.int64]) -> "Transitions":
        """Return some of the rows."""
        return Transitions(
            self.row[keep],
            self.col[keep],
            self.appeared[keep],
            self.before[keep],
            self.after[keep],
            self.gain[keep],
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """Pixels that flipped together; between looks ``before`` and ``after`` at most."""

    direction: Direction
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class _Span:
    """The least and the most that any look which saw it says of each pixel, as stored; ``UNSEEN`` where none did."""

    least: Layer
    most: Layer

    @classmethod
    def of(cls, layers: Iterable[Layer]) -> Self:
        """Take in one look after the other."""
        first, *others = layers
        least, most = _above_least(first), first.copy()
        for layer in others:
            np.minimum(least, _above_least(layer), out=least)
            np.maximum(most, layer, out=most)
        return cls((least - np.uint8(127)).view(np.int8), most)

    def cut(self, part: Box | Mask) -> Self:
        """Return a part of it."""
        return replace(self, least=self.least[part], most=self.most[part])


def _above_least(layer: Layer) -> NDArray[np.uint8]:
    """Return stored log-odds counted from the least there is, so that what is unseen, 255, lies above all."""
    return layer.view(np.uint8) + np.uint8(127)


def find_candidates(
    layers: Sequence[Layer],
    inside: Mask,
    gsd_m: float,
    smallest_area_m2: float,
    options: CandidateOptions,
    emission: Emission | None = None,
) -> list[Candidate]:
    """Find places whose evidence of one class flips.

    Parameters
    ----------
    layers : per look in time order, (row, col) int8 log-odds in steps of ``LOG_ODDS_STEP``, ``UNSEEN`` where unseen
    inside : (row, col), where changes may be claimed
    smallest_area_m2 : smaller places are dropped
    emission : what the layers' numbers weigh; None takes them as they are

    Returns
    -------
    candidates : ordered by direction, first row and column
    """
    span = _Span.of(layers)
    parts = [
        _transitions(layers, span, tiles, inside, gsd_m, options, emission or Emission())
        for tiles in _tiles(inside.shape, options)
    ]
    found = [part for part in parts if part.row.size]
    if not found:
        return []
    together = Transitions(
        *(np.concatenate([getattr(part, name) for part in found]) for name in Transitions.__slots__)
    )
    least = max(1, math.floor(0.5 * smallest_area_m2 / gsd_m**2))
    out: list[Candidate] = []
    for direction in Direction:
        mine = together.where(together.appeared == (direction is Direction.APPEARED))
        out += _grouped(mine, direction, max(1, round(options.merge_m / gsd_m)), least)
    return sorted(out, key=lambda c: (c.direction, int(c.row[0]), int(c.col[0]), c.before, c.after))


def _tiles(shape: tuple[int, ...], options: CandidateOptions) -> Iterator[list[tuple[Box, Box]]]:
    """Yield one row of tiles after the other, each tile with the same and its margin."""
    halo = 8
    step = options.tile_px
    for top in range(0, shape[0], step):
        rows = slice(top, min(top + step, shape[0]))
        wide = slice(max(0, top - halo), min(rows.stop + halo, shape[0]))
        cores = [slice(left, min(left + step, shape[1])) for left in range(0, shape[1], step)]
        yield [
            ((rows, cols), (wide, slice(max(0, cols.start - halo), min(cols.stop + halo, shape[1]))))
            for cols in cores
        ]


def _transitions(
    layers: Sequence[Layer],
    span: _Span,
    tiles: Sequence[tuple[Box, Box]],
    inside: Mask,
    gsd_m: float,
    options: CandidateOptions,
    emission: Emission,
) -> Transitions:
    """Return the switches of the pixels of some tiles: smoothed tile by tile, followed through the looks together."""
    parts = [
        part
        for core, halo in tiles
        if (part := _restless(layers, span, core, halo, inside, gsd_m, options, emission)) is not None
    ]
    if not parts:
        return _none()
    row, col = (np.concatenate(places) for places in zip(*(place for place, _ in parts), strict=True))
    series = np.concatenate([series for _, series in parts], axis=1)
    seen = np.isfinite(series)
    evidence = np.where(seen, series, np.float32(0.0))
    states = best_path(evidence, options.switch_price)
    pixel, appeared, before, after, gain = switches(states, seen, evidence)
    return Transitions(row[pixel], col[pixel], appeared, before, after, gain)


def _restless(
    layers: Sequence[Layer],
    span: _Span,
    core: Box,
    halo: Box,
    inside: Mask,
    gsd_m: float,
    options: CandidateOptions,
    emission: Emission,
) -> tuple[tuple[NDArray[np.int32], NDArray[np.int32]], Float32Array] | None:
    """Return the pixels of one tile that some looks call present and others absent, and what each look says of them."""
    cut = _moved(core, halo, -1)
    active = _may_flip(span.cut(halo), inside[halo], options, emission)
    if not active[cut].any():
        return None
    size = max(1, round(options.smoothing_m / gsd_m)) | 1
    active, core, halo, cut = _cropped(active, core, halo, cut, 2 * size)
    raw = quietened(np.stack([layer[halo] for layer in layers]), emission, span.cut(halo))
    smoothed = weighed(raw, size, options.cap, emission)
    # What no look saw is neither.
    flips = (np.fmax.reduce(smoothed) > options.present_above) & (
        np.fmin.reduce(smoothed) < options.absent_below
    )
    keep = np.zeros(active.shape, bool)
    keep[cut] = ndimage.binary_dilation(active, iterations=size // 2 + 1)[cut] & flips[cut] & inside[core]
    row, col = np.nonzero(keep)
    place = (row + halo[0].start).astype(np.int32), (col + halo[1].start).astype(np.int32)
    return place, smoothed[:, row, col]


def quietened(raw: NDArray[np.int8], emission: Emission, span: _Span | None = None) -> NDArray[np.int8]:
    """Return (look, row, col) stored log-odds moved as ``Emission.excess`` says; ``UNSEEN`` stays.

    Quiet ground is raised only where some look then comes near enough to ``zero`` to count, which is little of a site.
    ``span`` is what the looks span where that is known already.
    """
    return _lowered(raw, _excess(span or _Span.of(raw), emission))


def _excess(span: _Span, emission: Emission) -> Float64Array:
    """Return (row, col) by how many steps the log-odds of all looks are to be lowered; 0 where they stay."""
    low = np.where(span.least == UNSEEN, np.int8(127), span.least)
    excess = emission.excess(low * LOG_ODDS_STEP) / LOG_ODDS_STEP
    near = span.most - excess > (emission.zero - _OUT_OF_REACH) / LOG_ODDS_STEP
    return np.where((excess > 0.0) | ((excess < 0.0) & near), excess, 0.0)


def _lowered(raw: NDArray[np.int8], excess: Float64Array) -> NDArray[np.int8]:
    """Return (..., row, col) stored log-odds less an excess in steps, to whole steps; ``UNSEEN`` stays."""
    at = np.flatnonzero(excess)
    if not at.size:
        return raw
    moved = raw.copy()
    planes = moved.reshape(*raw.shape[:-2], -1)
    restless = planes[..., at]
    lowered = restless - excess.ravel()[at]
    np.clip(np.rint(lowered, out=lowered), UNSEEN + 1, 127, out=lowered)
    planes[..., at] = np.where(restless == UNSEEN, UNSEEN, lowered)
    return moved


def _cropped(active: Mask, core: Box, halo: Box, cut: Box, margin_px: int) -> tuple[Mask, Box, Box, Box]:
    """Cut a tile down to what lies within a margin of its active pixels: most of most tiles never flips."""
    outer = _extent(np.any(active, axis=1), margin_px), _extent(np.any(active, axis=0), margin_px)
    inner = tuple(slice(max(c.start, o.start), min(c.stop, o.stop)) for c, o in zip(cut, outer, strict=True))
    return (
        active[outer],
        _moved(inner, halo, 1),
        _moved(outer, halo, 1),
        _moved(inner, outer, -1),
    )


def _extent(occupied: Mask, margin: int) -> slice:
    at = np.flatnonzero(occupied)
    return slice(max(int(at[0]) - margin, 0), min(int(at[-1]) + margin + 1, occupied.size))


def _moved(box: tuple[slice, ...], by: tuple[slice, ...], sign: int) -> Box:
    first, second = (
        slice(b.start + sign * o.start, b.stop + sign * o.start) for b, o in zip(box, by, strict=True)
    )
    return first, second


def _none() -> Transitions:
    empty = np.empty(0, np.int32)
    return Transitions(empty, empty, np.empty(0, bool), empty, empty, np.empty(0, np.float32))


def _may_flip(span: _Span, inside: Mask, options: CandidateOptions, emission: Emission) -> Mask:
    """Return the pixels that any look calls present and any other calls absent, before smoothing.

    What is moved is moved alike in every look, so that the least and the most of all looks stay the least and the most.
    """
    least = round((emission.zero + options.present_above / emission.gain) / LOG_ODDS_STEP)
    most = round((emission.zero + options.absent_below / emission.gain) / LOG_ODDS_STEP)
    raised = -float(emission.excess(np.array(-np.inf))) / LOG_ODDS_STEP
    flip: Mask = inside & (span.most >= math.floor(least - raised))  # of most ground no look comes near
    span = span.cut(flip)
    excess = _excess(span, emission)
    lowest = _lowered(span.least, excess)
    flip[flip] = (_lowered(span.most, excess) >= least) & (lowest <= most) & (lowest != UNSEEN)
    return flip


def weighed(raw: NDArray[np.int8], size_px: int, cap: float, emission: Emission) -> Float32Array:
    """Return capped evidence in natural-log units as the mean over a box of seen pixels; NaN where unseen.

    Parameters
    ----------
    raw : (look, row, col) as stored; every look by itself
    """
    seen = raw != UNSEEN
    value = _values(cap, emission)[raw.view(np.uint8)]
    if size_px > 1:
        value = _box_mean(value, size_px)
        holed = np.flatnonzero(~seen.all((1, 2)))
        if holed.size:
            value[holed] /= np.maximum(_box_mean(seen[holed].astype(np.float32), size_px), 1e-3)
    value[~seen] = np.nan
    return value


def _box_mean(planes: Float32Array, size_px: int) -> Float32Array:
    mean: Float32Array = ndimage.uniform_filter(planes, size_px, mode="nearest", axes=(1, 2))
    return mean


def _values(cap: float, emission: Emission) -> Float32Array:
    """Return what each of the 256 stored numbers weighs, by its bits read as unsigned; 0 for ``UNSEEN``."""
    stored = np.arange(256, dtype=np.uint8).view(np.int8)
    evidence = np.float32(emission.gain) * (
        stored.astype(np.float32) * np.float32(LOG_ODDS_STEP) - emission.zero
    )
    return np.where(stored == UNSEEN, 0.0, np.clip(evidence, -cap, cap)).astype(np.float32)


def best_path(evidence: Float32Array, price: float) -> Mask:
    """Return the two-state path that pays least, per pixel.

    Parameters
    ----------
    evidence : (look, pixel) log-odds of presence, 0 where unseen
    price : natural-log units paid for every switch

    Returns
    -------
    present : (look, pixel) bool
    """
    looks, pixels = evidence.shape
    present = np.zeros((looks, pixels), bool)
    if not looks:
        return present
    stayed = np.zeros((2, looks, pixels), bool)
    off = np.zeros(pixels, np.float32)
    on = evidence[0].copy()
    for t in range(1, looks):
        stayed[0, t] = off >= on - price
        stayed[1, t] = on >= off - price
        off, on = (
            np.maximum(off, on - price),
            np.maximum(on, off - price) + evidence[t],
        )
    present[-1] = on > off
    for t in range(looks - 1, 0, -1):
        stays = np.where(present[t], stayed[1, t], stayed[0, t])
        np.equal(present[t], stays, out=present[t - 1])
    return present


def switches(
    states: Mask, seen: Mask, evidence: Float32Array
) -> tuple[NDArray[np.int64], Mask, NDArray[np.int32], NDArray[np.int32], Float32Array]:
    """Return every switch along every pixel's path: pixel, appeared, last seen look before, first seen look after, gain.

    ``gain`` is the evidence of the two looks at the gap's ends for the switch, summed.
    """
    restless = np.flatnonzero((states[1:] != states[:-1]).any(axis=0))
    states, seen, evidence = states[:, restless], seen[:, restless], evidence[:, restless]
    looks = np.arange(len(states), dtype=np.int32)[:, None]
    last = np.maximum.accumulate(np.where(seen, looks, np.int32(-1)), axis=0)[:-1]
    flipped = seen[1:] & (last >= 0) & (states[1:] != np.take_along_axis(states, np.maximum(last, 0), axis=0))
    look, pixel = np.nonzero(flipped)
    before, after = last[look, pixel], (look + 1).astype(np.int32)
    appeared = states[after, pixel]
    step = np.where(appeared, 1.0, -1.0) * (evidence[after, pixel] - evidence[before, pixel])
    return restless[pixel], appeared, before, after, step.astype(np.float32)


def _grouped(part: Transitions, direction: Direction, reach_px: int, least_px: int) -> list[Candidate]:
    """Group switches of one direction that lie within reach of each other and may have happened at one time."""
    if part.row.size < least_px:
        return []
    group = _linked(part, reach_px)
    order = np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order])) + 1
    out: list[Candidate] = []
    for members in np.split(order, bounds):
        if members.size >= least_px:
            out += _at_one_time(part.where(members), direction, reach_px, least_px)
    return out


def _linked(part: Transitions, reach_px: int) -> NDArray[np.int32]:
    """Return a group number per switch: connected through neighbouring cells with overlapping gaps.

    Cells are half the reach wide, so what lies closer than half of it is always linked and nothing beyond it ever is.
    """
    cell = max(1, reach_px // 2)
    down, right = part.row.astype(np.int64) // cell, part.col.astype(np.int64) // cell
    width = int(right.max()) + 3
    last = int(part.after.max()) + 1
    key = ((down * width + right + 1) * last + part.before) * last + part.after
    nodes, member = np.unique(key, return_inverse=True)
    place, before, after = nodes // (last * last), nodes // last % last, nodes % last
    starts, ends = [], []
    for offset in (0, 1, width - 1, width, width + 1):
        first = np.searchsorted(place, place + offset, "left")
        until = np.searchsorted(place, place + offset, "right")
        for extra in range(int((until - first).max())):
            mine = np.flatnonzero(first + extra < until)
            theirs = first[mine] + extra
            overlap = (before[mine] < after[theirs]) & (before[theirs] < after[mine])
            starts.append(mine[overlap])
            ends.append(theirs[overlap])
    one, other = np.concatenate(starts), np.concatenate(ends)
    graph = sparse.coo_matrix((np.ones(one.size, np.int8), (one, other)), shape=(nodes.size, nodes.size))
    labels: NDArray[np.int32] = connected_components(graph, directed=False)[1][member]
    return labels


def _at_one_time(part: Transitions, direction: Direction, reach_px: int, least_px: int) -> list[Candidate]:
    """Split a group whose gaps do not all share one step into groups whose gaps do, largest first."""
    out: list[Candidate] = []
    rest = part
    while rest.row.size >= least_px:
        steps = np.arange(int(rest.before.min()), int(rest.after.max()))
        weight = [int(((rest.before <= k) & (rest.after > k)).sum()) for k in steps]
        step = int(steps[int(np.argmax(weight))])
        holds = (rest.before <= step) & (rest.after > step)
        if holds.sum() < least_px:
            break
        chosen = rest.where(holds)
        labels = _linked(chosen, reach_px) if holds.sum() < rest.row.size else np.zeros(chosen.row.size, int)
        for label in np.unique(labels):
            one = chosen.where(labels == label)
            if one.row.size >= least_px:
                out.append(_candidate(one, direction))
        rest = rest.where(~holds)
    return out


def _candidate(part: Transitions, direction: Direction) -> Candidate:
    order = np.lexsort((part.col, part.row))
    flat = part.row[order].astype(np.int64) << 32 | part.col[order]
    first = np.concatenate([[True], np.diff(flat) > 0])
    return Candidate(
        direction,
        part.row[order][first],
        part.col[order][first],
        int(part.before.min()),
        int(part.after.max()),
    )
