"""Rasters made coarser by whole blocks of pixels."""

import numpy as np
from numpy.typing import NDArray

Float32Stack = NDArray[np.float32]


def block_mean(image: Float32Stack, factor: int) -> Float32Stack:
    """Average blocks of ``factor`` x ``factor`` pixels over those that were seen.

    Parameters
    ----------
    image : (band, row, col) float32, any unit, NaN where not seen

    Returns
    -------
    image : (band, row / factor, col / factor) float32, the last blocks of a side from what is left there; NaN where
        nothing of a block was seen; the image itself where ``factor`` is 1
    """
    if factor == 1:
        return image
    bands, rows, cols = image.shape
    padded = np.pad(image, ((0, 0), (0, -rows % factor), (0, -cols % factor)), constant_values=np.nan)
    blocks = padded.reshape(bands, padded.shape[1] // factor, factor, padded.shape[2] // factor, factor)
    seen = np.isfinite(blocks)
    count = seen.sum((2, 4))
    total = np.where(seen, blocks, 0.0).sum((2, 4), dtype=np.float64)
    mean: Float32Stack = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return mean
