"""What a sensor makes of radiance: footprint, sampling at a displaced grid, noise, numbers."""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.special import erf

from imagery.simulation.canvas import Array


@dataclass(frozen=True, slots=True)
class Sensor:
    """A camera: pixel size (m), blur beyond the pixel (pixels, one sigma), noise (reflectance) and band set.

    ``bits`` is the depth numbers are rounded to (full scale at a reflectance of ``FULL_SCALE``), ``jpeg_quality`` 1-95
    sends 8-bit numbers through JPEG as orthophotos are, ``sharpening`` is the share of an unsharp mask added.
    """

    gsd_m: float
    blur_px: float = 0.45
    noise: float = 0.004
    shot: float = 0.004
    bands: tuple[str, ...] = ("blue", "green", "red", "nir")
    bits: int = 16
    jpeg_quality: int | None = None
    sharpening: float = 0.0


FULL_SCALE = 1.0
BAND_PLANES = {"blue": 0, "green": 1, "red": 2, "nir": 3}
PAN_WEIGHTS = (0.15, 0.35, 0.35, 0.15)


def sample(
    planes: Array,
    step_m: float,
    gsd_m: float,
    corner_m: tuple[float, float],
    shape: tuple[int, int],
    blur_px: float,
) -> Array:
    """Average over the pixel's footprint, blur, and sample at pixel centres.

    ``corner_m`` is (south, east) of the outer corner of the first pixel from the canvas's north-west corner, metres.
    Returns (plane, row, col) float32.
    """
    rows = _footprints(planes.shape[1], step_m, gsd_m, corner_m[0], shape[0], blur_px)
    cols = _footprints(planes.shape[2], step_m, gsd_m, corner_m[1], shape[1], blur_px)
    out = np.empty((len(planes), *shape), np.float32)
    for k, plane in enumerate(planes):
        out[k] = (cols @ np.ascontiguousarray((rows @ plane).T)).T
    return out


def _footprints(
    cells: int, step_m: float, gsd_m: float, corner_m: float, pixels: int, blur_px: float
) -> csr_matrix:
    """Return the (pixel, cell) weights of one axis: a box one pixel wide, blurred; each row sums to one.

    Every pixel's footprint is integrated over the cells, so a shift of any part of a cell is exact.
    """
    sigma = max(blur_px * gsd_m, 1e-3 * step_m)
    centres = corner_m + (np.arange(pixels) + 0.5) * gsd_m
    reach = gsd_m / 2 + 3.5 * sigma
    width = int(2 * reach / step_m) + 2
    first = np.floor((centres - reach) / step_m).astype(np.int64)
    index = first[:, None] + np.arange(width)
    middle = (index + 0.5) * step_m - centres[:, None]
    weights = _blurred_box(middle, gsd_m, np.hypot(sigma, step_m / math.sqrt(12.0)))
    weights /= weights.sum(axis=1, keepdims=True)
    pointers = np.arange(pixels + 1) * width
    return csr_matrix(
        (weights.ravel().astype(np.float32), np.clip(index, 0, cells - 1).ravel(), pointers),
        shape=(pixels, cells),
    )


def _blurred_box(distance_m: NDArray[np.float64], width_m: float, sigma_m: float) -> NDArray[np.float64]:
    scale = sigma_m * math.sqrt(2.0)
    result: NDArray[np.float64] = erf((distance_m + width_m / 2) / scale) - erf(
        (distance_m - width_m / 2) / scale
    )
    return result


def numbers(reflectance: Array, sensor: Sensor, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Add noise, sharpen, round to the sensor's depth and return numbers of 0.0001 reflectance; 0 is kept for no data."""
    spread = np.sqrt(sensor.noise**2 + sensor.shot**2 * np.clip(reflectance, 0, None))
    image = reflectance + rng.standard_normal(reflectance.shape, np.float32) * spread
    if sensor.sharpening:
        image = image + np.float32(sensor.sharpening) * (
            image - ndimage.gaussian_filter(image, (0, 1.2, 1.2))
        )
    if sensor.jpeg_quality is not None:
        image = _through_jpeg(image, sensor.jpeg_quality)
    elif sensor.bits < 16:
        levels = 2**sensor.bits - 1
        image = np.rint(np.clip(image / FULL_SCALE, 0, 1) * levels) / levels * FULL_SCALE
    counts: NDArray[np.uint16] = np.clip(np.rint(image * 10_000), 1, 65_535).astype(np.uint16)
    return counts


def _through_jpeg(image: Array, quality: int) -> Array:
    """Return the image after 8-bit JPEG: three bands as one colour picture, a single or fourth one as grey."""
    shown = np.rint(np.clip(image / FULL_SCALE, 0, 1) * 255).astype(np.uint8)
    colour = 3 if len(image) >= 3 else 0
    groups = ([shown[:3].transpose(1, 2, 0)] if colour else []) + list(shown[colour:])
    parts = []
    for group in groups:
        packed = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(group)).save(packed, "JPEG", quality=quality)
        back = np.asarray(Image.open(packed), np.float32)
        parts.append(back.transpose(2, 0, 1) if back.ndim == 3 else back[None])
    result: Array = np.concatenate(parts) / np.float32(255 / FULL_SCALE)
    return result


def band_planes(radiance: Array, bands: tuple[str, ...]) -> Array:
    """Return the planes a sensor delivers from the four of the world."""
    planes = [
        np.tensordot(np.array(PAN_WEIGHTS, np.float32), radiance, 1)
        if name == "pan"
        else radiance[BAND_PLANES[name]]
        for name in bands
    ]
    return np.stack(planes).astype(np.float32)
