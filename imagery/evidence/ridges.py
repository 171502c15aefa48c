"""Banks in one look: a lit flank beside a dark one, on the sides the sun says.

The response with the sun turned round is the null: roads, tree lines and texture answer to both as often, ditches
answer to the reversed one, and a bank answers to the true one only. Where the axis runs along the sun's azimuth neither
flank is lit more, and nothing can be said.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.evidence.background import Float32Image, Mask, local_contrast, smooth
from imagery.illumination import Sun
from imagery.order_statistics import quantile

WORK_GSD_M = 1.5
MIN_BERM_LENGTH_M = 10.0
# A bank whose normal lies further than this from the sun's azimuth shows no flank pair (ALGORITHMS B1).
MIN_NORMAL_COSINE = 0.26

_DIRECTIONS = 12
_FLANK_M = 3.0
_LENGTH_M = 14.0
_NULL_SHARE = 1e-3
_ABSENT = -2.0
_PRESENT = 2.0


def ridge_response(
    image: Float32Image, seen: Mask, gsd_m: float, sun: Sun
) -> tuple[Float32Image, Float32Image, int]:
    """Return the flank response for the sun as it stood and for the sun reversed, on a coarser lattice.

    Parameters
    ----------
    image : (row, col) float32, log brightness without gaps

    Returns
    -------
    true, reversed : (row // factor, col // factor) float32, in units of the look's own contrast
    factor : pixels per lattice cell along one side
    """
    factor = max(1, round(WORK_GSD_M / gsd_m))
    coarse = _coarsened(image, factor)
    cell_m = gsd_m * factor
    contrast = local_contrast(smooth(coarse, max(1.0, 1.0 / cell_m)), 25.0 / cell_m)
    np.clip(contrast, -4.0, 4.0, out=contrast)
    spectrum = np.fft.rfft2(_padded(contrast, cell_m))
    true = np.full(coarse.shape, -np.inf, np.float32)
    reverse = np.full(coarse.shape, -np.inf, np.float32)
    for index in range(_DIRECTIONS):
        normal = math.radians(sun.azimuth_deg) + (index + 0.5) / _DIRECTIONS * math.pi - math.pi / 2
        if abs(math.cos(normal - math.radians(sun.azimuth_deg))) < MIN_NORMAL_COSINE:
            continue
        answer = _oriented(spectrum, coarse.shape, normal, cell_m)
        np.maximum(true, answer, out=true)
        np.maximum(reverse, -answer, out=reverse)
    return true, reverse, factor


def ridge_log_odds(image: Float32Image, seen: Mask, gsd_m: float, sun: Sun | None) -> Float32Image:
    """Return the log-odds of a bank per pixel from the flanks alone; zero everywhere without the sun's position."""
    if sun is None or not seen.any():
        return np.zeros_like(image)
    true, reverse, factor = ridge_response(image, seen, gsd_m, sun)
    level = float(quantile(reverse, 1.0 - _NULL_SHARE))
    elongated = _long_components(true > level, gsd_m * factor)
    core = np.where(elongated, true / max(level, 1e-6), 0.0).astype(np.float32)
    core = ndimage.maximum_filter(core, 3)
    odds = np.clip(_ABSENT + (_PRESENT - _ABSENT) * core, _ABSENT, _PRESENT)
    return _enlarged(odds, factor, image.shape)


def _oriented(
    spectrum: NDArray[np.complex128], shape: tuple[int, int], normal: float, cell_m: float
) -> Float32Image:
    """Correlate with a flank pair whose lit side lies towards ``normal`` (radians clockwise from north)."""
    reach = math.ceil(0.75 * _LENGTH_M / cell_m)
    row, col = np.mgrid[-reach : reach + 1, -reach : reach + 1] * cell_m
    across = col * math.sin(normal) - row * math.cos(normal)
    along = col * math.cos(normal) + row * math.sin(normal)
    profile = across / _FLANK_M * np.exp(-0.5 * (across / _FLANK_M) ** 2)
    window = np.exp(-0.5 * (along / (_LENGTH_M / 2.5)) ** 2)
    kernel = profile * window
    kernel -= kernel.mean()
    kernel /= np.abs(kernel).sum()
    size = ((spectrum.shape[0]), 2 * (spectrum.shape[1] - 1))
    placed = np.zeros(size)
    placed[: kernel.shape[0], : kernel.shape[1]] = kernel
    placed = np.roll(placed, (-reach, -reach), (0, 1))
    answer = np.fft.irfft2(spectrum * np.conj(np.fft.rfft2(placed)), s=size)
    pad = _pad(cell_m)
    return np.asarray(answer[pad : pad + shape[0], pad : pad + shape[1]], np.float32)


def _pad(cell_m: float) -> int:
    return math.ceil(_LENGTH_M / cell_m)


def _padded(image: Float32Image, cell_m: float) -> Float32Image:
    """Reflect so that borders answer to nothing, and make the width even for the real transform."""
    pad = _pad(cell_m)
    mode = "reflect" if min(image.shape) > pad else "edge"
    return np.pad(image, ((pad, pad), (pad, pad + image.shape[1] % 2)), mode=mode)  # type: ignore[call-overload,no-any-return]


def _long_components(mask: Mask, cell_m: float) -> Mask:
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return mask
    keep = np.zeros(count + 1, bool)
    for index, part in enumerate(ndimage.find_objects(labels), start=1):
        height, width = part[0].stop - part[0].start, part[1].stop - part[1].start
        keep[index] = math.hypot(height, width) * cell_m >= MIN_BERM_LENGTH_M
    long: Mask = keep[labels]
    return long


def _coarsened(image: Float32Image, factor: int) -> Float32Image:
    """Average blocks of an image without gaps; its last row and column go on beyond its edge."""
    rows, cols = (-(-n // factor) * factor for n in image.shape)
    padded = np.pad(image, ((0, rows - image.shape[0]), (0, cols - image.shape[1])), mode="edge")
    blocks = padded.reshape(rows // factor, factor, cols // factor, factor)
    return np.asarray(blocks.mean((1, 3)), np.float32)


def _enlarged(image: NDArray[np.floating], factor: int, shape: tuple[int, int]) -> Float32Image:
    grown = np.repeat(np.repeat(image, factor, 0), factor, 1)[: shape[0], : shape[1]]
    return np.ascontiguousarray(grown, np.float32)
