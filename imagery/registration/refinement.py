"""Window shifts to a thousandth of a pixel: symmetric Gauss-Newton on normalised band-passed images (A2 step 5).

The target is warped by the current motion and every window says what is still missing. Iterating to zero residual
is what removes the peak-locking of one-shot methods.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.order_statistics import quantile
from imagery.registration.motion import Float64, Motion
from imagery.registration.prefilter import Float32Image, Mask
from imagery.registration.windows import Lattice

MIN_VALID = 0.10
MIN_CORRELATION = 0.10
MAX_STEP_PX = 2.0
NOISE_CORRELATION = 12.0
FLOOR_PX = 0.03
PIXEL_SCALE = 1.5
DISTRUST = 4.0
# The weighted variance of a redescending fit is too small by about this factor for Gaussian errors.
LOOSE = (1.0,)
TIGHT = (1.0, 2.2)


@dataclass(frozen=True)
class WindowShifts:
    """What each usable window still misses after the current motion: (n, 2) shift, variance, correlation, valid share."""

    index: NDArray[np.intp]
    positions: Float64
    shifts: Float64
    variances: Float64
    correlation: Float64
    valid: Float64


@dataclass(frozen=True)
class Warped:
    """The target band sampled at the motion's positions, and where both images are valid."""

    image: Float32Image
    both: Mask


@dataclass(frozen=True)
class Bands:
    """Both images band-passed and normalised, the target as cubic spline coefficients, and where each is valid."""

    reference: Float32Image
    coefficients: Float32Image
    reference_valid: Mask
    target_valid: Mask

    def warped(self, motion: Motion) -> Warped:
        """Return the target band at ``p + v(p)``."""
        return warp(self.coefficients, self.target_valid, self.reference_valid, motion)


def sample_matrix(motion: Motion) -> tuple[Float64, Float64]:
    """Return matrix and offset with ``target position = matrix @ p + offset``."""
    matrix = np.eye(2) + motion.slope
    return matrix, motion.shift - motion.slope @ motion.centre


def warp(coefficients: Float32Image, target_valid: Mask, reference_valid: Mask, motion: Motion) -> Warped:
    """Sample spline coefficients of the target at ``p + v(p)``; a pixel needs a valid nearest neighbour."""
    matrix, offset = sample_matrix(motion)
    if not motion.slope.any():
        image = _translated(coefficients, motion.shift)
        inside = _shifted_mask(target_valid, np.rint(motion.shift).astype(int))
        return Warped(image, inside & reference_valid)
    image = ndimage.affine_transform(coefficients, matrix, offset, order=3, mode="nearest", prefilter=False)
    inside = ndimage.affine_transform(
        target_valid.astype(np.uint8), matrix, offset, order=0, mode="constant", prefilter=False
    )
    return Warped(image, inside.astype(bool) & reference_valid)


def _translated(coefficients: Float32Image, shift: Float64) -> Float32Image:
    """Return the cubic spline at ``p + shift``: two passes of four taps, as a translation separates."""
    image = coefficients
    for axis in (0, 1):
        whole = int(np.floor(shift[axis]))
        f = float(shift[axis]) - whole
        taps = [(1 - f) ** 3, 4 - 6 * f**2 + 3 * f**3, 1 + 3 * f + 3 * f**2 - 3 * f**3, f**3]
        image = ndimage.correlate1d(image, np.array(taps) / 6.0, axis=axis, mode="nearest", origin=-1)
        # Four taps from origin -1 start at p - 1; whole pixels move the result, the edge repeats.
        at = np.clip(np.arange(image.shape[axis]) + whole, 0, image.shape[axis] - 1)
        image = np.take(image, at, axis=axis)
    return image


def _shifted_mask(mask: Mask, shift: NDArray[np.int_]) -> Mask:
    out = np.zeros_like(mask)
    row, col = int(shift[0]), int(shift[1])
    rows, cols = mask.shape
    if abs(row) < rows and abs(col) < cols:
        out[max(0, -row) : rows - max(0, row), max(0, -col) : cols - max(0, col)] = mask[
            max(0, row) : rows + min(0, row), max(0, col) : cols + min(0, col)
        ]
    return out


def gradients(image: Float32Image) -> tuple[Float32Image, Float32Image]:
    """Return fourth-order central differences along row and col, zero on a frame of two pixels."""
    down = np.zeros_like(image)
    across = np.zeros_like(image)
    down[2:-2] = (8.0 * (image[3:-1] - image[1:-3]) - (image[4:] - image[:-4])) * np.float32(1 / 12)
    across[:, 2:-2] = (8.0 * (image[:, 3:-1] - image[:, 1:-3]) - (image[:, 4:] - image[:, :-4])) * np.float32(
        1 / 12
    )
    return down, across


def shared_information(bands: Bands, warped: Warped, cells: Lattice, chosen: NDArray[np.intp]) -> float:
    """Return how much of the weakest direction's gradient power both images share, at most 1.

    Gradients of noise agree with nothing: products of the two images' gradients hold only what both saw. An edge
    without corners, a ramp or noise give about 0, whatever the windows claim. Only the cells at the middle of the
    ``chosen`` windows count: ground that changed shares nothing and says nothing of the rest.
    """
    middle = np.zeros(cells.shape[0] * cells.shape[1])
    middle[chosen] = 1.0
    shape = (bands.reference.shape[0], bands.reference.shape[1])
    mask = warped.both * _to_pixels(middle, cells, shape)
    down_r, across_r = gradients(bands.reference)
    down_t, across_t = gradients(warped.image)

    def tensor(a: Float32Image, b: Float32Image, c: Float32Image, d: Float32Image) -> Float64:
        mixed = 0.5 * (np.sum(mask * a * d, dtype=np.float64) + np.sum(mask * b * c, dtype=np.float64))
        return np.array(
            [[np.sum(mask * a * c, dtype=np.float64), mixed], [mixed, np.sum(mask * b * d, dtype=np.float64)]]
        )

    shared = tensor(down_r, across_r, down_t, across_t)
    own = 0.5 * (tensor(down_r, across_r, down_r, across_r) + tensor(down_t, across_t, down_t, across_t))
    values, vectors = np.linalg.eigh(shared * np.sign(np.trace(shared)))
    weakest = vectors[:, 0]
    return float(np.clip(values[0] / max(float(weakest @ own @ weakest), 1e-9), 0.0, 1.0))


def _gain(reference: Float64, target: Float64, cross: Float64, count: Float64) -> tuple[Float64, ...]:
    """Return window means, signed gain (ratio of deviations) and correlation from window sums."""
    mean_r, mean_t = reference[0] / count, target[0] / count
    var_r = np.maximum(reference[1] / count - mean_r**2, 1e-12)
    var_t = np.maximum(target[1] / count - mean_t**2, 1e-12)
    covariance = cross / count - mean_r * mean_t
    rho = np.clip(covariance / np.sqrt(var_r * var_t), -1.0, 1.0)
    gain = np.where(rho < 0, -1.0, 1.0) * np.sqrt(var_r / var_t)
    return mean_r, mean_t, gain, rho


def _to_pixels(values: Float64, cells: Lattice, shape: tuple[int, int]) -> Float32Image:
    """Give every pixel the value of the window centred on its cell (edge cells take the nearest window's)."""
    grid = values.reshape(cells.shape).astype(np.float32)
    grid = np.pad(grid, 1, mode="edge")
    n = cells.cell_px
    rows = np.minimum(np.arange(shape[0]) // n, cells.rows - 1)
    cols = np.minimum(np.arange(shape[1]) // n, cells.cols - 1)
    return grid[rows][:, cols]


def window_shifts(
    reference: Float32Image, warped: Warped, cells: Lattice, tightenings: tuple[float, ...]
) -> WindowShifts:
    """Return the shift each window still misses.

    ``reference`` and ``warped.image`` are normalised band-passed images. Per window: a signed gain is fitted, then
    ``u = -(sum w g g')^-1 sum w g e`` with the mean gradient of both and a robust pixel weight ``w``.
    """
    weight = warped.both.astype(np.float32)
    observed = cells.window_sums(cells.cell_sums(weight))
    matched, error, rho = warped.image, warped.image - reference, np.zeros(len(observed))
    for tightening in tightenings:
        matched, rho, variance = _match(reference, warped.image, weight, cells)
        error = matched - reference
        bound = _to_pixels(np.float64(PIXEL_SCALE**2 * tightening) * variance, cells, matched.shape)
        weight = np.where(warped.both, 1.0 / (1.0 + error * error / bound) ** 2, np.float32(0.0))
    return _solve(reference + matched, error, weight, cells, observed, rho)


def _match(
    reference: Float32Image, image: Float32Image, weight: Float32Image, cells: Lattice
) -> tuple[Float32Image, Float64, Float64]:
    """Return the image brought to the reference's contrast, window by window, the correlation and the misfit variance."""
    seen_r, seen_t = reference * weight, image * weight
    products = (weight, seen_r, seen_r * reference, seen_t, seen_t * image, seen_r * image)
    sums = cells.window_sums(np.stack([cells.cell_sums(a) for a in products]))
    count = np.maximum(sums[0], 1.0)
    mean_r, mean_t, gain, rho = _gain(sums[1:3], sums[3:5], sums[5], count)
    shape = (reference.shape[0], reference.shape[1])
    matched = image * _to_pixels(gain, cells, shape) + _to_pixels(mean_r - gain * mean_t, cells, shape)
    # After equal deviations the weighted misfit is 2 (1 - |rho|) of the reference's variance.
    variance = (sums[2] / count - mean_r**2) * 2.0 * (1.0 - np.abs(rho))
    return matched, rho, np.maximum(variance, 1e-5)


def _solve(
    double: Float32Image,
    error: Float32Image,
    weight: Float32Image,
    cells: Lattice,
    count: Float64,
    rho: Float64,
) -> WindowShifts:
    down, across = gradients(double * np.float32(0.5))
    weighted_down, weighted_across = weight * down, weight * across
    products = (
        weighted_down * down,
        weighted_down * across,
        weighted_across * across,
        weighted_down * error,
        weighted_across * error,
        weight * error * error,
        weight,
    )
    rr, rc, cc, er, ec, ee, ww = cells.window_sums(np.stack([cells.cell_sums(a) for a in products]))
    trace = rr + cc
    determinant = rr * cc - rc * rc
    sound = determinant > 1e-3 * np.maximum(trace, 1e-9) ** 2
    safe = np.where(sound, determinant, 1.0)
    shifts = -np.stack([cc * er - rc * ec, rr * ec - rc * er], axis=1) / safe[:, None]
    noise = ee / np.maximum(ww, 1e-9)
    variances = NOISE_CORRELATION * noise * trace / (2.0 * safe) + FLOOR_PX**2
    valid = count / (3 * cells.cell_px) ** 2
    keep = sound & (np.abs(rho) > MIN_CORRELATION) & (valid > MIN_VALID)
    keep &= np.hypot(shifts[:, 0], shifts[:, 1]) < MAX_STEP_PX
    index = np.flatnonzero(keep)
    if index.size:
        # A window that matches worse than the good ones has changed; its misfit alone would understate its error.
        good = quantile(np.abs(rho[index]), 0.8)
        variances = variances * np.maximum(good / np.maximum(np.abs(rho), 1e-3), 1.0) ** DISTRUST
    return WindowShifts(
        index, cells.centres[index], shifts[index], variances[index], rho[index], valid[index]
    )
