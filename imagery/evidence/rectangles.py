"""Container-like rectangles in one look: two long straight edges 2.44 m apart that face each other.

An edge pixel looks across its gradient for a partner one container's width away whose gradient points back at it; the
middle between them gets a vote along the edges' direction. Texture makes as many partners that point the *same* way,
and those are the null: only what rises above all but a tiny share of the null response counts.

Close to the stroke width transform: B. Epshtein, E. Ofek, Y. Wexler (2010), Detecting text in natural scenes with
stroke width transform, CVPR; the same-direction null is ours.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.evidence.background import Float32Image, Mask, smooth
from imagery.order_statistics import quantile

CONTAINER_WIDTH_M = 2.44
MAX_GSD_M = 1.25

_WIDTHS_M = (2.1, 2.45, 2.8)
_FACING_COSINE = 0.92
_MAGNITUDE_RATIO = 0.5
_EDGE_SHARE = 0.12
# False votes accepted, as components of the null response: about this share of pixels.
_NULL_SHARE = 2e-4
_ABSENT = -2.5
_PRESENT = 2.5


def rectangle_response(image: Float32Image, seen: Mask, gsd_m: float) -> tuple[Float32Image, float]:
    """Return how many facing edge pixels vote for a container's middle line, and the level its null rarely passes.

    Parameters
    ----------
    image : (row, col) float32, log brightness without gaps
    seen : (row, col) where it is real

    Returns
    -------
    response : (row, col) float32, coherent votes per square metre
    level : the null's quantile; infinite where nothing can be said
    """
    gradient, magnitude = _gradient(image, gsd_m)
    usable = ndimage.binary_erosion(seen, iterations=max(1, round(2.0 / gsd_m)))
    if not usable.any() or gsd_m > MAX_GSD_M:
        return np.zeros_like(image), np.inf
    strong = quantile(magnitude[usable], 1.0 - _EDGE_SHARE)
    rows, cols = np.nonzero(usable & (magnitude > strong) & _crest(gradient, magnitude))
    facing = _votes(gradient, magnitude, rows, cols, gsd_m, -1.0)
    null = _votes(gradient, magnitude, rows, cols, gsd_m, 1.0)
    level = float(quantile(null[usable], 1.0 - _NULL_SHARE))
    return facing, max(level, 1e-6)


def rectangle_log_odds(image: Float32Image, seen: Mask, gsd_m: float) -> Float32Image:
    """Return the log-odds of a container per pixel, from one look's geometry alone."""
    response, level = rectangle_response(image, seen, gsd_m)
    core = response / level
    roof = ndimage.maximum_filter(core, max(1, round(CONTAINER_WIDTH_M / gsd_m * 0.6)) | 1)
    return np.asarray(np.clip(_ABSENT + (_PRESENT - _ABSENT) * (roof - 0.5), _ABSENT, _PRESENT), np.float32)


def _gradient(image: Float32Image, gsd_m: float) -> tuple[NDArray[np.float32], Float32Image]:
    sigma = max(0.35 / gsd_m, 0.6)
    soft = ndimage.gaussian_filter(image, sigma, mode="nearest")
    down = ndimage.sobel(soft, 0, mode="nearest")
    right = ndimage.sobel(soft, 1, mode="nearest")
    magnitude = np.hypot(down, right)
    return np.stack([down, right]) / np.maximum(magnitude, 1e-6), magnitude


def _crest(gradient: NDArray[np.float32], magnitude: Float32Image) -> Mask:
    """Return where the magnitude is highest across the edge, to the nearest of four directions."""
    down, right = np.abs(gradient)
    rows, cols = magnitude.shape
    step_row, step_col = (down > 0.38).astype(np.int8), (right > 0.38).astype(np.int8)
    flip = np.where(gradient[0] * gradient[1] < 0, -1, 1).astype(np.int8)
    index_row, index_col = np.indices((rows, cols), np.int32, sparse=True)
    ahead = magnitude[
        np.clip(index_row + step_row, 0, rows - 1), np.clip(index_col + flip * step_col, 0, cols - 1)
    ]
    behind = magnitude[
        np.clip(index_row - step_row, 0, rows - 1), np.clip(index_col - flip * step_col, 0, cols - 1)
    ]
    crest: Mask = (magnitude >= 0.95 * ahead) & (magnitude >= 0.95 * behind)
    return crest


def _votes(
    gradient: NDArray[np.float32],
    magnitude: Float32Image,
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    gsd_m: float,
    facing: float,
) -> Float32Image:
    """Vote for middles between partners; ``facing`` -1 for edges that face each other, +1 for the null."""
    shape = magnitude.shape
    down, right = gradient[0][rows, cols], gradient[1][rows, cols]
    strength = magnitude[rows, cols]
    sums = np.zeros((3, magnitude.size), np.float64)
    for side in (1.0, -1.0):
        best = np.zeros(rows.size, np.float32)
        middle = np.zeros(rows.size, np.int64)
        for width in _WIDTHS_M:
            reach = side * width / gsd_m
            row = np.clip(np.rint(rows + reach * down).astype(np.int64), 0, shape[0] - 1)
            col = np.clip(np.rint(cols + reach * right).astype(np.int64), 0, shape[1] - 1)
            cosine = facing * (down * gradient[0][row, col] + right * gradient[1][row, col])
            there = magnitude[row, col]
            alike = np.minimum(there, strength) / np.maximum(np.maximum(there, strength), 1e-6)
            score = np.where((cosine > _FACING_COSINE) & (alike > _MAGNITUDE_RATIO), cosine, 0.0)
            better = score > best
            best[better] = score[better]
            middle[better] = ((rows + row) // 2 * shape[1] + (cols + col) // 2)[better]
        double = 2.0 * np.arctan2(down, right)
        for k, weight in enumerate((best, best * np.cos(double), best * np.sin(double))):
            sums[k] += np.bincount(middle, weight, minlength=magnitude.size)
    pooled = [
        smooth(layer.reshape(shape).astype(np.float32), max(1.0, 1.2 / gsd_m)) / gsd_m**2 for layer in sums
    ]
    return np.asarray(np.hypot(pooled[1], pooled[2]), np.float32)
