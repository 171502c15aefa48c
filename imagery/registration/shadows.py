"""Where cast shadow lies in one image, seen from the image alone.

A shadow moves with the sun and pulls every registration method by tenths of a pixel (ALGORITHMS A4), so the estimator
tries leaving shadows out. Found by darkness against the neighbourhood, scaled by the image's own black.
"""

import numpy as np
from scipy import ndimage

from imagery.registration.prefilter import Float32Image, Mask, spread

NEIGHBOURHOOD_PX = 60
DARK_SHARE = 0.6
GROWTH_PX = 2


def shadow_mask(image: Float32Image, valid: Mask) -> Mask:
    """Return where a filled image is darker than 0.6 of the way from its black to the 60th percentile around.

    Grown by two pixels, so that the shadow's edge, which is what misleads, lies inside.
    """
    values = image[valid]
    if values.size == 0:
        return np.zeros(image.shape, bool)
    smooth = ndimage.gaussian_filter(image, 1.0, mode="nearest", truncate=3.0)
    black = float(np.percentile(values, 1.0))
    around = spread(_block_percentile(image, 60.0), NEIGHBOURHOOD_PX, (image.shape[0], image.shape[1]))
    dark = (smooth - black) < DARK_SHARE * (around - black)
    grown: Mask = ndimage.maximum_filter(dark.astype(np.uint8), size=2 * GROWTH_PX + 1).astype(bool)
    return grown


def _block_percentile(image: Float32Image, percentile: float) -> Float32Image:
    """Return a percentile of every block, every second pixel asked; the last blocks take what is left."""
    n = NEIGHBOURHOOD_PX
    rows = [slice(r, r + n, 2) for r in range(0, max(image.shape[0] - n // 2, 1), n)]
    cols = [slice(c, c + n, 2) for c in range(0, max(image.shape[1] - n // 2, 1), n)]
    return np.array([[np.percentile(image[r, c], percentile) for c in cols] for r in rows], np.float32)
