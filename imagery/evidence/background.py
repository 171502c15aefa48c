"""One look's brightness on a scale that gain, offset and haze do not move, and its texture against surroundings."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.look import Look
from imagery.order_statistics import median

Float32Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Shadows keep this share of the span from darkest to median, so that the logarithm stays calm in them.
_FLOOR = 0.15
_DARKEST_QUANTILE = 0.005
_VISIBLE = ("pan", "blue", "green", "red")


def brightness(look: Look) -> NDArray[np.float16]:
    """Return log brightness over the look's own darkest ground, in units in which the median is 0.

    Dark-object subtraction makes it blind to any constant offset, division by the median's height above the darkest
    to any gain: what is left is the ratio between places of one look.

    Returns
    -------
    brightness : (row, col) float16, natural log, NaN where not observed
    """
    names = [name for name in look.bands if name in _VISIBLE] or list(look.bands)
    seen = look.observed
    if not seen.any():
        return np.full(look.state.shape, np.nan, np.float16)
    total = np.zeros(look.state.shape, np.float32)
    for name in names:
        total += look.band(name)
    values = total[seen]
    if values.size > 500_000:
        values = values[:: values.size // 250_000]
    dark, middle = np.nanquantile(values, [_DARKEST_QUANTILE, 0.5])
    span = max(float(middle - dark), 1e-6)
    ratio = np.maximum((total - dark) / span, 0.0) + _FLOOR
    image = np.log(ratio / (1.0 + _FLOOR))
    image[~seen] = np.nan
    return np.asarray(image, np.float16)


def filled(image: NDArray[np.floating], radius_px: float) -> tuple[Float32Image, Mask]:
    """Return the image with gaps filled from what lies around them, and where it was seen."""
    seen = np.isfinite(image)
    if seen.all():
        return image.astype(np.float32), seen
    if not seen.any():
        return np.zeros(image.shape, np.float32), seen
    known = np.where(seen, image, 0.0).astype(np.float32)
    weight = smooth(seen.astype(np.float32), radius_px)
    near = smooth(known, radius_px) / np.maximum(weight, 1e-6)
    middle = np.float32(median(known[seen]))
    return np.where(seen, known, np.where(weight > 1e-3, near, middle)).astype(np.float32), seen


def smooth(image: Float32Image, radius_px: float) -> Float32Image:
    """Return three running means, close to a Gaussian whose sigma is the radius, at a cost the radius does not move."""
    size = max(1, round(radius_px)) | 1
    out = image
    for _ in range(3):
        out = ndimage.uniform_filter(out, size, mode="nearest")
    return out


def local_contrast(image: Float32Image, radius_px: float) -> Float32Image:
    """Return the image less its surroundings, over the look's own median contrast at that scale."""
    high = image - smooth(image, radius_px)
    scale = float(median(np.abs(high[::2, ::2]))) * 1.4826
    return np.asarray(high / max(scale, 1e-6), np.float32)
