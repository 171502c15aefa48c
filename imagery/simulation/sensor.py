"""What a sensor makes of radiance: footprint, sampling at a displaced grid, noise, numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.simulation.canvas import Array


@dataclass(frozen=True, slots=True)
class Sensor:
    """A camera: pixel size (m), blur beyond the pixel (pixels, one sigma), noise (reflectance) and band set."""

    gsd_m: float
    blur_px: float = 0.45
    noise: float = 0.004
    shot: float = 0.004
    bands: tuple[str, ...] = ("blue", "green", "red", "nir")


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
    box = max(1, round(gsd_m / step_m))
    sigma = blur_px * gsd_m / step_m
    rows = (corner_m[0] + (np.arange(shape[0]) + 0.5) * gsd_m) / step_m - 0.5
    cols = (corner_m[1] + (np.arange(shape[1]) + 0.5) * gsd_m) / step_m - 0.5
    where = np.meshgrid(rows, cols, indexing="ij")
    out = np.empty((len(planes), *shape), np.float32)
    for k, plane in enumerate(planes):
        # The box of an even number of cells is centred half a cell off: say so to the sampler.
        off = 0.0 if box % 2 else 0.5
        soft = ndimage.uniform_filter(plane, box) if box > 1 else plane
        if sigma > 0.2:
            soft = ndimage.gaussian_filter(soft, sigma)
        out[k] = ndimage.map_coordinates(soft, [where[0] + off, where[1] + off], order=3, mode="nearest")
    return out


def numbers(reflectance: Array, sensor: Sensor, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Add noise and return 16-bit numbers of 0.0001 reflectance; 0 is kept for no data."""
    spread = np.sqrt(sensor.noise**2 + sensor.shot**2 * np.clip(reflectance, 0, None))
    noisy = reflectance + rng.standard_normal(reflectance.shape).astype(np.float32) * spread
    counts: NDArray[np.uint16] = np.clip(np.rint(noisy * 10_000), 1, 65_535).astype(np.uint16)
    return counts


def band_planes(radiance: Array, bands: tuple[str, ...]) -> Array:
    """Return the planes a sensor delivers from the four of the world."""
    planes = [
        np.tensordot(np.array(PAN_WEIGHTS, np.float32), radiance, 1)
        if name == "pan"
        else radiance[BAND_PLANES[name]]
        for name in bands
    ]
    return np.stack(planes).astype(np.float32)
