"""Cloud, cloud shadow and snow where no mask was given: careful, and the look says that it was guessed.

A thin cloud left in costs a doubtful edge that later looks refute; a site erased because its roofs are white costs the
answer. So only what is large, bright, colourless, smooth and soft-edged at once is called cloud; a shadow only where
a cloud has its own shape in the dark beside it; snow only where a large part of the look is bluish white.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.illumination import Sun
from imagery.look import Float32Image, StateImage
from imagery.observability import ObservationState
from imagery.order_statistics import median, quantile

# Decisions are made on pixels of about this size: a cloud's rim fades over several of them, a roof's edge within one.
WORKING_GSD_M = 1.5
# A cloud smaller than this is left in: at very high resolution it could be a white roof, at 10 m anything.
MIN_CLOUD_M2 = 1_500.0
MIN_CLOUD_PX = 60
# In a look of fine pixels that holds such a cloud, others from this size on are believed.
COMPANION_M2 = 200.0
# Visible brightness of an opaque cloud at least: reflectance (top of atmosphere or surface), or share of full scale.
BRIGHT = {False: 0.30, True: 0.68}
# Without an edge inside the look nothing tells a cloud from a salt flat but sheer brightness.
BRIGHT_WITHOUT_EDGE = 1.4
# (largest - smallest) / mean of red, green, blue at most; sand and bare soil reach 0.4 and more, concrete 0.2.
MAX_COLOUR = 0.16
# Blue / red at least: clouds reach 0.95 and more, concrete and salt stay below.
MIN_BLUE = 0.9
# Standard deviation / mean inside one working pixel at most: roofs, vehicles and fields are rougher.
MAX_ROUGHNESS = 0.05
# Pixels coarser than this hold more of a cloud's own relief: twice that.
COARSE_GSD_M = 4.0
# Share of an edge's whole contrast that one working pixel may bridge: 0.5 for a wall, which the 3 x 3 range sees
# from both sides, less for a cloud's rim.
MAX_EDGE_STEP = 0.4
GROW_M = 16.0
MIN_SNOW_SHARE = 0.25
MAX_SHADOW_M = 2_000.0
# Share of the usual brightness that a cloud's shadow takes away at least, on average over its shape.
MIN_SHADOW_DEPTH = 0.25


@dataclass(frozen=True)
class _Coarse:
    """A look on working pixels: means, roughness, and where at least half of a pixel was observed."""

    bands: dict[str, Float32Image]
    bright: Float32Image
    roughness: Callable[[], Float32Image]
    seen: NDArray[np.bool_]
    gsd_m: float

    @cached_property
    def rough(self) -> Float32Image:
        """Standard deviation over mean; measured when something bright asks for it, which in clear looks nothing does."""
        return self.roughness()


def guess_obstruction(
    values: Float32Image,
    bands: tuple[str, ...],
    observed: NDArray[np.bool_],
    gsd_m: float,
    *,
    relative: bool,
    sun: Sun | None = None,
) -> StateImage:
    """Guess what hides the ground in one look.

    Parameters
    ----------
    values : (band, row, col) float32, reflectance, or 0-1 relative brightness where ``relative``
    bands : common names, one per band
    observed : (row, col) bool; False where there is no number at all
    sun : from grid north, if known: a shadow then falls away from it

    Returns
    -------
    state : (row, col) uint8: ``OBSERVED``, ``CLOUD``, ``CLOUD_SHADOW`` or ``SNOW``
    """
    state = np.zeros(observed.shape, np.uint8)
    factor = max(1, round(WORKING_GSD_M / gsd_m))
    coarse = _coarsened(values, bands, observed, gsd_m, factor)
    if coarse is None:
        return state
    snow = _snow(coarse, relative)
    cloud = _cloud(coarse, relative) & ~snow
    shadow = _shadow(coarse, cloud, sun) & ~cloud if cloud.any() else np.zeros_like(cloud)
    small = np.zeros(coarse.seen.shape, np.uint8)
    small[snow] = ObservationState.SNOW
    small[shadow] = ObservationState.CLOUD_SHADOW
    small[cloud] = ObservationState.CLOUD
    if small.any():
        full = np.repeat(np.repeat(small, factor, axis=0), factor, axis=1)
        rows, cols = observed.shape
        state[:] = full[:rows, :cols]
        state[~observed] = 0
    return state


def _coarsened(
    values: Float32Image, bands: tuple[str, ...], observed: NDArray[np.bool_], gsd_m: float, factor: int
) -> _Coarse | None:
    """Average over working pixels; None where no visible band is there."""
    wanted: list[str] = [b for b in ("red", "green", "blue", "pan", "nir", "swir16") if b in bands]
    visible = [b for b in wanted if b in ("red", "green", "blue")] or [b for b in wanted if b == "pan"]
    if not visible:
        return None
    weight = _block_sum(observed.astype(np.float32), factor)
    means: dict[str, Float32Image] = {}
    for name in wanted:
        plane = np.where(observed, values[bands.index(name)], np.float32(0.0))
        means[name] = np.asarray(_block_sum(plane, factor) / np.maximum(weight, np.float32(1.0)), np.float32)
    bright = np.asarray(np.mean([means[b] for b in visible], axis=0, dtype=np.float32))
    seen = weight >= 0.5 * factor * factor

    def roughness() -> Float32Image:
        if factor == 1:
            return _roughness_around(bright)
        # One band tells how rough: the greenest, whose noise is least.
        lead = "green" if "green" in means else visible[0]
        plane = np.where(observed, values[bands.index(lead)], np.float32(0.0))
        square = _block_sum(plane * plane, factor) / np.maximum(weight, 1.0)
        deviation = np.sqrt(np.maximum(square - means[lead] ** 2, 0.0))
        return np.asarray(deviation / np.maximum(means[lead], 1e-6), np.float32)

    return _Coarse(means, bright, roughness, seen, gsd_m * factor)


def _roughness_around(bright: Float32Image) -> Float32Image:
    mean = ndimage.uniform_filter(bright, 3)
    square = ndimage.uniform_filter(bright * bright, 3)
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0.0)) / np.maximum(mean, 1e-6), np.float32)


def _block_sum(plane: Float32Image, factor: int) -> Float32Image:
    """Sum over blocks of ``factor`` pixels; the last ones may be incomplete."""
    if factor == 1:
        return plane
    # One offset in the blocks after the other: numpy is slow at many short sums.
    down, across = (-(-n // factor) for n in plane.shape)
    rows = np.zeros((down, plane.shape[1]), np.float32)
    blocks = np.zeros((down, across), np.float32)
    for offset in range(factor):
        part = plane[offset::factor]
        rows[: len(part)] += part
    for offset in range(factor):
        part = rows[:, offset::factor]
        blocks[:, : part.shape[1]] += part
    return blocks


def _colour(coarse: _Coarse) -> Float32Image:
    """Return (largest - smallest) / mean of red, green and blue; zero where there are no three."""
    if not {"red", "green", "blue"} <= set(coarse.bands):
        return np.zeros_like(coarse.bright)
    stack = np.stack([coarse.bands[b] for b in ("red", "green", "blue")])
    return np.asarray((stack.max(0) - stack.min(0)) / np.maximum(coarse.bright, 1e-6), np.float32)


# --- cloud ---------------------------------------------------------------------------------------------------------


def _cloud(coarse: _Coarse, relative: bool) -> NDArray[np.bool_]:
    """Find large, bright, colourless, smooth, soft-edged regions, with their dimmer rims."""
    if not coarse.seen.any():
        return np.zeros_like(coarse.seen)
    colourless = _colour(coarse) <= MAX_COLOUR
    if "nir" in coarse.bands and "red" in coarse.bands:
        ratio = coarse.bands["nir"] / np.maximum(coarse.bands["red"], 1e-6)
        colourless &= (ratio > 0.75) & (ratio < 1.7)
    if "blue" in coarse.bands and "red" in coarse.bands:
        colourless &= coarse.bands["blue"] >= MIN_BLUE * coarse.bands["red"]
    threshold = BRIGHT[relative]
    if len(coarse.bands) == 1 or relative:
        # Without colour, or without units, brightness means something only against the rest of the look.
        floor = float(quantile(coarse.bright[coarse.seen], 0.2))
        threshold = max(threshold, min(1.6 * floor, 0.9) if relative else 1.6 * floor)
    core = coarse.seen & (coarse.bright >= threshold) & colourless
    least = max(MIN_CLOUD_M2 / coarse.gsd_m**2, MIN_CLOUD_PX)
    if np.count_nonzero(core) < least:  # white roofs, as a rule: what follows only takes pixels away
        return np.zeros_like(core)
    roughest = MAX_ROUGHNESS * (2.0 if coarse.gsd_m > COARSE_GSD_M else 1.0)
    core &= ndimage.uniform_filter(coarse.rough, 3) <= roughest
    if np.count_nonzero(core) < least:
        return np.zeros_like(core)
    core = np.asarray(ndimage.binary_opening(core), bool)
    labels, count = ndimage.label(core, np.ones((3, 3), bool))
    if count == 0:
        return core
    sizes = np.bincount(labels.ravel())
    boxes = ndimage.find_objects(labels)

    def cloudlike(low: float, high: float) -> list[int]:
        of_size = 1 + np.flatnonzero((sizes[1:] >= low) & (sizes[1:] < high))
        return [k for k in of_size.tolist() if _cloudlike(coarse, labels, k, boxes[k - 1], threshold)]

    large = cloudlike(least, math.inf)
    if not large:
        return np.zeros_like(core)
    fine = coarse.gsd_m <= COARSE_GSD_M
    core = np.isin(labels, large + (cloudlike(COMPANION_M2 / coarse.gsd_m**2, least) if fine else []))
    # The rim: dimmer, still colourless, and connected.
    dim = coarse.seen & (coarse.bright >= 0.75 * threshold) & (_colour(coarse) <= MAX_COLOUR)
    whole = ndimage.binary_propagation(core, mask=(dim & _near(core, 2.5 * GROW_M, coarse.gsd_m)) | core)
    return np.asarray(_near(whole, GROW_M, coarse.gsd_m) & coarse.seen, bool)


def _near(region: NDArray[np.bool_], metres: float, gsd_m: float) -> NDArray[np.bool_]:
    """Return a region grown by a distance (as a square, which is enough for a safety margin)."""
    size = 2 * math.ceil(metres / gsd_m) + 1
    return np.asarray(ndimage.maximum_filter(region.view(np.uint8), size, mode="nearest") > 0, bool)


def _cloudlike(
    coarse: _Coarse, labels: NDArray[np.int32], label: int, where: tuple[slice, slice], threshold: float
) -> bool:
    """Tell whether a labelled region's edge fades over several working pixels; where it has none, whether it is very bright."""
    margin = 10
    rows, cols = (
        slice(max(s.start - margin, 0), min(s.stop + margin, n))
        for s, n in zip(where, labels.shape, strict=True)
    )
    region, bright, seen = labels[rows, cols] == label, coarse.bright[rows, cols], coarse.seen[rows, cols]
    inside = float(median(bright[region]))
    outside = ndimage.binary_dilation(region, iterations=margin) & ~ndimage.binary_dilation(
        region, iterations=4
    )
    outside &= seen
    if np.count_nonzero(outside) < 0.2 * math.sqrt(np.count_nonzero(region)):
        return inside >= min(BRIGHT_WITHOUT_EDGE * threshold, 0.95)
    contrast = inside - float(np.percentile(bright[outside], 25))
    if contrast <= 0.02:
        return False
    edge = ndimage.binary_dilation(region) & seen & ~ndimage.binary_erosion(region, border_value=1)
    # A 3 x 3 range spans two steps; the region ends some pixels short of a wall, whose pixels are not smooth.
    step = (ndimage.maximum_filter(bright, 3) - ndimage.minimum_filter(bright, 3)) / 2.0
    step = ndimage.maximum_filter(np.where(seen, step, 0.0), 5)[edge]
    return float(np.percentile(step, 60)) <= MAX_EDGE_STEP * contrast


# --- shadow --------------------------------------------------------------------------------------------------------


def _shadow(coarse: _Coarse, cloud: NDArray[np.bool_], sun: Sun | None) -> NDArray[np.bool_]:
    """Find where the clouds' own shape lies dark on the ground: the best shift of the cloud mask onto darkness."""
    nothing = np.zeros_like(cloud)
    lead = coarse.bands.get("nir", coarse.bright)
    ground = coarse.seen & ~cloud
    if np.count_nonzero(ground) < 0.05 * ground.size or cloud.mean() > 0.6:
        return nothing
    usual = float(median(lead[ground]))
    dark = np.where(ground, np.clip(1.0 - lead / max(usual, 1e-6), -0.5, 1.0), 0.0).astype(np.float32)
    reach = int(min(MAX_SHADOW_M / coarse.gsd_m, max(cloud.shape)))
    rows, cols = (n + reach for n in cloud.shape)
    spectrum = np.conj(np.fft.rfft2(cloud.astype(np.float32), (rows, cols)))
    score = np.fft.irfft2(spectrum * np.fft.rfft2(dark, (rows, cols)), (rows, cols))
    share = np.fft.irfft2(spectrum * np.fft.rfft2(ground.astype(np.float32), (rows, cols)), (rows, cols))
    dr = np.fft.fftfreq(rows, 1 / rows)[:, None]
    dc = np.fft.fftfreq(cols, 1 / cols)[None, :]
    distance = np.hypot(dr, dc)
    allowed = (distance >= 2.0) & (distance <= reach) & (share > 0.2 * np.count_nonzero(cloud))
    if sun is not None:
        away = math.radians(sun.azimuth_deg + 180.0)
        along = (dc * math.sin(away) - dr * math.cos(away)) / np.maximum(distance, 1.0)
        allowed &= along > math.cos(math.radians(20.0))
    if not allowed.any():
        return nothing
    mean = np.where(allowed, score / np.maximum(share, 1.0), -1.0)
    best = np.unravel_index(int(np.argmax(mean)), mean.shape)
    shift = (round(float(dr[best[0], 0])), round(float(dc[0, best[1]])))
    others = mean[allowed]
    # Darkness is smooth, so even the right shift stands out by few deviations; less is asked where the sun says where.
    outstanding = float(np.mean(others)) + (3.0 if sun is None else 1.5) * float(np.std(others))
    if mean[best] < max(MIN_SHADOW_DEPTH, outstanding):
        return nothing
    cast = ndimage.shift(cloud.astype(np.uint8), shift, order=0) > 0
    near = _near(cast, GROW_M, coarse.gsd_m) & ground
    return np.asarray(near & (ndimage.uniform_filter(dark, 3) > 0.12), bool)


# --- snow ----------------------------------------------------------------------------------------------------------


def _snow(coarse: _Coarse, relative: bool) -> NDArray[np.bool_]:
    """Find snow that covers a good part of a look: white, not redder than blue, dark in the short-wave infrared."""
    nothing = np.zeros_like(coarse.seen)
    if not {"red", "green", "blue"} <= set(coarse.bands) or not coarse.seen.any():
        return nothing
    red, green, blue = (coarse.bands[b] for b in ("red", "green", "blue"))
    white = coarse.seen & (coarse.bright >= (0.7 if relative else 0.35)) & (_colour(coarse) <= MAX_COLOUR)
    if "swir16" in coarse.bands:
        swir = coarse.bands["swir16"]
        white &= (green - swir) / np.maximum(green + swir, 1e-6) > 0.4
    elif "nir" in coarse.bands:
        white &= (coarse.bands["nir"] < red) & (blue >= 0.97 * red)
    else:
        white &= (blue >= red) & (coarse.rough > MAX_ROUGHNESS / 4)
    if np.count_nonzero(white) < MIN_SNOW_SHARE * np.count_nonzero(coarse.seen):
        return nothing
    return white
