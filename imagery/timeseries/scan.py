"""Every place and date where the ground before differs from the ground after beyond the site's own null.

For each split between two dates the mean of up to m dates before is compared with that of up to m after, m short and
long: short windows see what came and went, long ones see what is faint. The scan is blind to the direction of time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.order_statistics import median, medians, quantile
from imagery.timeseries.null import SpatialNull, deviation, equivalent_z, fit_null

Float32 = NDArray[np.float32]

SAMPLE = 6_000
WINDOWS = (2, 4, 9)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a tile is made of, over all dates: flat pixel arrays.

    ``covariates`` (covariate, pixel), the first being the kind of ground (vegetation where bands allow);
    ``slope_row``/``slope_col`` (band, pixel) reflectance per pixel step of the mean image; ``shape`` is (row, col).
    """

    shape: tuple[int, int]
    covariates: Float32
    slope_row: Float32
    slope_col: Float32


@dataclass(frozen=True, slots=True)
class Spot:
    """A connected place that differs across one split: ``pixels`` flat indices, ascending; ``effect`` (band,)."""

    split: int
    window: int
    pixels: NDArray[np.int64]
    peak_z: float
    mass: float
    effect: Float32
    weights: Float32


def describe_ground(cube: Float32, bands: tuple[str, ...]) -> Ground:
    """Describe a (date, band, row, col) cube's ground: means, kind, how much its kind varies, slopes."""
    _, n_bands, rows, cols = cube.shape
    seen = np.isfinite(cube)
    count = np.maximum(seen.sum(axis=0), 1).astype(np.float32)
    filled = np.where(seen, cube, np.float32(0))
    mean = filled.sum(axis=0) / count
    kind = vegetation_kind(mean[None], bands)[0]
    kinds = vegetation_kind(filled, bands)
    seen_any = seen[:, 0]
    wobble = np.sqrt(np.sum(np.where(seen_any, kinds - kind, np.float32(0)) ** 2, axis=0) / count[0])
    columns = [kind, wobble, *mean] if len(cube) > 2 else [kind, *mean]
    covariates = np.stack([c.ravel() for c in columns]).astype(np.float32)
    covariates -= np.nanmean(covariates, axis=1, keepdims=True)
    slope_row = np.gradient(mean, axis=1) if rows > 1 else np.zeros_like(mean)
    slope_col = np.gradient(mean, axis=2) if cols > 1 else np.zeros_like(mean)
    slopes = (slope.reshape(n_bands, -1).astype(np.float32) for slope in (slope_row, slope_col))
    return Ground((rows, cols), covariates, *slopes)


def vegetation_kind(values: Float32, bands: tuple[str, ...]) -> Float32:
    """Return (date, row, col): how much like vegetation a place is, linear in reflectance."""
    if "nir" in bands and "red" in bands:
        nir: Float32 = values[:, bands.index("nir")] - values[:, bands.index("red")]
        return nir
    if "green" in bands and "red" in bands:
        green: Float32 = values[:, bands.index("green")] - values[:, bands.index("red")]
        return green
    bright: Float32 = values.mean(axis=1)
    return bright


def windows_for(split: int, n_dates: int) -> tuple[int, ...]:
    """Return the window lengths worth trying at a split: no two that see the same dates."""
    reach = max(split, n_dates - split)
    return tuple(sorted({min(w, reach) for w in WINDOWS}))


def scan(
    cube: Float32,
    bands: tuple[str, ...],
    inside: NDArray[np.bool_],
    *,
    misregistration_px: float,
    floor: float,
    high_z: float,
    low_z: float,
) -> Iterator[Spot]:
    """Yield every spot of every split and window, in order of split, window, then place."""
    n_dates, n_bands = cube.shape[:2]
    flat = cube.reshape(n_dates, n_bands, -1)
    ground = describe_ground(cube, bands)
    sample = np.flatnonzero(inside.ravel())
    sample = sample[:: max(len(sample) // SAMPLE, 1)]
    seen = np.isfinite(flat[:, 0])
    sums = np.zeros((n_dates + 1, *flat.shape[1:]), np.float32)
    counts = np.zeros((n_dates + 1, flat.shape[2]), np.float32)
    for date, values in enumerate(flat):
        np.add(sums[date], np.nan_to_num(values), out=sums[date + 1])
        np.add(counts[date], seen[date], out=counts[date + 1])
    for split in range(1, n_dates):
        for window in windows_for(split, n_dates):
            low, high = max(split - window, 0), min(split + window, n_dates)
            n_before, n_after = counts[split] - counts[low], counts[high] - counts[split]
            with np.errstate(invalid="ignore", divide="ignore"):
                difference = (sums[high] - sums[split]) / n_after - (sums[split] - sums[low]) / n_before
                noise = 1.0 / n_before + 1.0 / n_after
            usable = np.isfinite(noise)
            chosen = sample[usable[sample]]
            described = ground.covariates[:, chosen].T.astype(np.float64)
            null = fit_null(difference[:, chosen].T.astype(np.float64), described, floor)
            if null is None:
                continue
            usual = median(noise[chosen])
            z, whitened = _significance(null, difference, ground, noise / usual, misregistration_px)
            z[~(usable & inside.ravel())] = -np.inf
            yield from _spots(z, whitened, null, difference, ground.shape, (split, window), high_z, low_z)


def _significance(
    null: SpatialNull, difference: Float32, ground: Ground, noise: Float32, misregistration_px: float
) -> tuple[Float32, Float32]:
    """Return per pixel the normal deviate, flat, and the (band, pixel) whitened difference."""
    whitened = deviation(null, difference, ground.covariates)
    squared = np.einsum("bn,bn->n", whitened, whitened)
    edge = np.zeros(len(squared), np.float32)
    for slope in (ground.slope_row, ground.slope_col):
        steep = null.whiten.T @ slope
        edge += np.einsum("bn,bn->n", steep, steep)
    spread = _between(ground.covariates[0], null.kind_at, null.kind_spread)
    # Fewer looks than usual make a mean noisier, but only half of the null's spread is noise of that sort.
    inflation = spread**2 * (0.5 + 0.5 * np.maximum(noise, 1.0)) + misregistration_px**2 * edge
    return equivalent_z(np.sqrt(squared / inflation), null.bands), whitened


def _between(at: Float32, knots: Float32, values: Float32) -> Float32:
    """Interpolate linearly between a few ascending knots, flat beyond them: in place of ``np.interp``, which is slow."""
    out = np.full(at.shape, values[0], np.float32)
    for low, high, step in zip(knots[:-1], knots[1:], np.diff(values), strict=True):
        out += step * (np.clip(at, low, high) - low) / max(high - low, np.float32(1e-12))
    return out


def _spots(
    z: Float32,
    whitened: Float32,
    null: SpatialNull,
    difference: Float32,
    shape: tuple[int, int],
    where: tuple[int, int],
    high_z: float,
    low_z: float,
) -> Iterator[Spot]:
    """Cut one significance map into connected spots by hysteresis."""
    if not (z >= high_z).any():
        return
    labels, _ = ndimage.label((z >= low_z).reshape(shape))
    labels = labels.ravel()
    wanted = np.unique(labels[z >= high_z])
    pixels = np.flatnonzero(labels)
    of = labels[pixels]
    order = np.argsort(of, kind="stable")
    pixels, of = pixels[order], of[order]
    starts = np.searchsorted(of, wanted, side="left")
    ends = np.searchsorted(of, wanted, side="right")
    for start, end in zip(starts, ends, strict=True):
        mine = pixels[start:end]
        strength = z[mine]
        core = mine[strength >= quantile(strength, 0.6)]
        effect = medians(difference[:, core])
        weights = null.whiten @ medians(whitened[:, core])
        yield Spot(
            where[0],
            where[1],
            mine,
            float(strength.max()),
            float(strength.sum() / np.sqrt(len(mine))),
            effect.astype(np.float32),
            weights.astype(np.float32),
        )
