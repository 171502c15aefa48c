"""What is done to the pixels before two looks are compared: masks, filling, band-pass, decimation, orientation.

Arrays are (row, col) float32. Invalid pixels are filled with the local mean of the valid ones *before* any filter, so
that neither a cloud's edge nor the frame of the image ever becomes structure.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from imagery.order_statistics import median

Float32Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Band-pass and normalisation of ALGORITHMS A2 step 5, in pixels.
FINE_SIGMA_PX = 1.0
COARSE_SIGMA_PX = 6.0
FILL_SIGMA_PX = 12.0
ENERGY_FLOOR = 0.3
FRAME_PX = 24
_BLOCK = 8
_HALVING_TAPS = np.exp(-0.5 * np.arange(-3, 4) ** 2).astype(np.float32)
_HALVING_TAPS /= _HALVING_TAPS.sum()


def usable_pixels(image: Float32Image, observed: Mask, erosion_px: int) -> Mask:
    """Return where a pixel is finite, observed and at least ``erosion_px`` away from one that is not."""
    valid: Mask = observed & np.isfinite(image)
    if erosion_px < 1 or valid.all():
        return valid
    size = 2 * erosion_px + 1
    return np.asarray(ndimage.minimum_filter(valid.astype(np.uint8), size=size, mode="nearest").astype(bool))


def block_sums(image: Float32Image, step: int) -> Float32Image:
    """Return sums over ``step`` x ``step`` blocks; the last ones are short where the shape does not divide."""
    rows = np.add.reduceat(image, np.arange(0, image.shape[0], step), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, image.shape[1], step), axis=1))


def _spread_rows(coarse: Float32Image, step: int, rows: int) -> Float32Image:
    position = np.clip((np.arange(rows) + 0.5) / step - 0.5, 0.0, coarse.shape[0] - 1.0)
    low = np.minimum(position.astype(np.intp), max(coarse.shape[0] - 2, 0))
    high = np.minimum(low + 1, coarse.shape[0] - 1)
    part = (position - low).astype(np.float32)[:, None]
    return np.asarray(coarse[low] * (1 - part) + coarse[high] * part)


def spread(coarse: Float32Image, step: int, shape: tuple[int, int]) -> Float32Image:
    """Return block values interpolated linearly to pixels, flat beyond the outermost block centres."""
    rows = _spread_rows(coarse, step, shape[0])
    return np.ascontiguousarray(_spread_rows(np.ascontiguousarray(rows.T), step, shape[1]).T)


def local_mean(image: Float32Image, weight: Float32Image, sigma_px: float) -> Float32Image:
    """Return the weighted mean around every pixel (about Gaussian), the global one where no weight is near."""
    sigma = sigma_px / _BLOCK
    total = ndimage.gaussian_filter(block_sums(image * weight, _BLOCK), sigma, mode="nearest", truncate=3.0)
    count = ndimage.gaussian_filter(block_sums(weight, _BLOCK), sigma, mode="nearest", truncate=3.0)
    everywhere = float(total.sum()) / max(float(count.sum()), 1e-12)
    # A thousandth of a full block of evidence is worth as much as the global mean.
    floor = 1e-3 * _BLOCK**2
    mean = (total + floor * everywhere) / (count + floor)
    return spread(mean.astype(np.float32), _BLOCK, image.shape)


def filled(image: Float32Image, valid: Mask) -> Float32Image:
    """Return the image less its global mean, invalid pixels replaced by the local mean of the valid ones."""
    count = int(valid.sum())
    if count == 0:
        return np.zeros(image.shape, np.float32)
    mean = float(np.sum(image, where=valid, dtype=np.float64)) / count
    centred = np.where(valid, image - np.float32(mean), np.float32(0.0)).astype(np.float32)
    if count == valid.size:
        return centred
    around = local_mean(centred, valid.astype(np.float32), FILL_SIGMA_PX)
    return np.where(valid, centred, around).astype(np.float32)


def frequencies(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return squared frequency, cycles per pixel, on the half plane of ``rfft2``."""
    rows = np.fft.fftfreq(shape[0])[:, None] ** 2
    cols = np.fft.rfftfreq(shape[1])[None, :] ** 2
    return (rows + cols).astype(np.float32)


def framed(image: Float32Image) -> Float32Image:
    """Return the image with mirrored margins, grown to a size the FFT likes; it starts at ``FRAME_PX``."""
    pads = []
    for n in image.shape:
        total = fft.next_fast_len(n + 2 * FRAME_PX, real=True)
        pads.append((FRAME_PX, total - n - FRAME_PX))
    mode = "symmetric"
    return np.pad(image, pads, mode=mode)  # type: ignore[call-overload, no-any-return]


def band_passed(image: Float32Image, fine_px: float = FINE_SIGMA_PX) -> Float32Image:
    """Return ``G(fine) - G(6)`` of a filled image: edges and texture, neither noise nor shading."""
    padded = framed(image)
    squared = frequencies((padded.shape[0], padded.shape[1]))
    scale = -2.0 * np.pi**2
    transfer = np.exp(scale * fine_px**2 * squared) - np.exp(scale * COARSE_SIGMA_PX**2 * squared)
    back = fft.irfft2(fft.rfft2(padded, workers=1) * transfer, s=padded.shape, workers=1)
    rows, cols = image.shape
    return np.ascontiguousarray(back[FRAME_PX : FRAME_PX + rows, FRAME_PX : FRAME_PX + cols])


def normalised(band: Float32Image, valid: Mask) -> Float32Image:
    """Return a band-passed image divided by its local RMS, so that one bright roof does not outvote a yard."""
    weight = valid.astype(np.float32)
    energy = local_mean(band * band, weight, FILL_SIGMA_PX)
    inside = energy[::_BLOCK, ::_BLOCK][valid[::_BLOCK, ::_BLOCK]]
    floor = ENERGY_FLOOR * float(median(inside)) if inside.size else 1.0
    return (band / np.sqrt(np.maximum(energy, max(floor, 1e-20)))).astype(np.float32)


def halved(image: Float32Image, valid: Mask) -> tuple[Float32Image, Mask]:
    """Return every second pixel of a filled image after a blur, and which of them are valid.

    Blur and point sampling, never block means: pixel (i, j) of the result lies at (2 i, 2 j) of the source.
    """
    rows = _every_second(image)
    return np.ascontiguousarray(_every_second(rows.T).T), np.ascontiguousarray(valid[::2, ::2])


def _every_second(image: Float32Image) -> Float32Image:
    """Return every second row of the image blurred along its columns, sigma 1; only what is kept is computed."""
    radius = _HALVING_TAPS.size // 2
    padded = np.pad(image, ((radius, radius), (0, 0)), mode="edge")
    kept = -(-image.shape[0] // 2)
    out = np.zeros((kept, image.shape[1]), np.float32)
    for k, tap in enumerate(_HALVING_TAPS):
        out += tap * padded[k : k + 2 * kept - 1 : 2]
    return out


def orientation(image: Float32Image, valid: Mask, sigma_px: float) -> NDArray[np.complex64]:
    """Return the double-angle gradient feature: blind to gain, offset and the sign of the contrast.

    ``((gx^2 - gy^2) + 2 i gx gy) / (|g|^2 + 4 median |g|^2)`` less its masked mean, zero where not valid.
    """
    smooth = ndimage.gaussian_filter(image, sigma_px, mode="nearest", truncate=3.0)
    down = np.zeros_like(smooth)
    across = np.zeros_like(smooth)
    down[1:-1] = smooth[2:] - smooth[:-2]
    across[:, 1:-1] = smooth[:, 2:] - smooth[:, :-2]
    power = down * down + across * across
    inside = power[valid]
    middle = float(median(inside)) if inside.size else 0.0
    feature = np.empty(image.shape, np.complex64)
    scale = 1.0 / (power + max(4.0 * middle, 1e-30))
    feature.real = (across * across - down * down) * scale
    feature.imag = 2.0 * across * down * scale
    feature[~valid] = 0.0
    if inside.size:
        feature[valid] -= np.complex64(feature.sum() / inside.size)
    return feature
