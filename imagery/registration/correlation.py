"""Where in the search range two masked feature images agree: normalised correlation by FFT, and its best peaks.

Source: D. Padfield (2012), Masked object registration in the Fourier domain, IEEE TIP 21(5), 2706-2718; here for
complex features of zero mean, so that the local means drop out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from imagery.order_statistics import median
from imagery.registration.prefilter import Mask

Complex64Image = NDArray[np.complex64]

MIN_OVERLAP = 0.05
MAX_PEAKS = 4


@dataclass(frozen=True, slots=True)
class Peak:
    """One candidate: the content at ``p`` of the reference lies at ``p + (row, col)`` of the target."""

    row: int
    col: int
    correlation: float
    z: float


def _lags(surface: NDArray[np.float32], reach: tuple[int, int]) -> NDArray[np.float32]:
    """Cut lags ``-reach..reach`` out of a wrapped correlation surface."""
    rows = np.arange(-reach[0], reach[0] + 1) % surface.shape[0]
    cols = np.arange(-reach[1], reach[1] + 1) % surface.shape[1]
    return surface[np.ix_(rows, cols)]


def masked_correlation(
    reference: Complex64Image,
    target: Complex64Image,
    reference_valid: Mask,
    target_valid: Mask,
    reach: tuple[int, int],
) -> NDArray[np.float32]:
    """Return the normalised correlation for whole-pixel lags.

    Parameters
    ----------
    reference, target : (row, col) complex64 of one shape, zero where not valid
    reference_valid, target_valid : (row, col) bool
    reach : largest lag (row, col)

    Returns
    -------
    correlation : (2 reach + 1, 2 reach + 1) float32, lag (0, 0) in the middle; 0 where the overlap is too small
    """
    size = [fft.next_fast_len(n + r) for n, r in zip(reference.shape, reach, strict=True)]

    def spectrum(real: NDArray[np.float32]) -> NDArray[np.complex64]:
        return fft.rfft2(real, s=size, workers=1)  # type: ignore[no-any-return]

    cross = np.conj(fft.fft2(reference, s=size, workers=1)) * fft.fft2(target, s=size, workers=1)
    joint = _lags(fft.ifft2(cross, workers=1).real, reach)
    reference_power = spectrum(reference.real**2 + reference.imag**2)
    target_power = spectrum(target.real**2 + target.imag**2)
    reference_mask = spectrum(reference_valid.astype(np.float32))
    target_mask = spectrum(target_valid.astype(np.float32))
    seen_r = _lags(fft.irfft2(np.conj(reference_power) * target_mask, s=size, workers=1), reach)
    seen_t = _lags(fft.irfft2(np.conj(reference_mask) * target_power, s=size, workers=1), reach)
    energy = np.sqrt(np.maximum(seen_r, 0.0) * np.maximum(seen_t, 0.0))
    whole = float(np.sqrt(reference_power[0, 0].real * target_power[0, 0].real))
    # Without this floor extreme lags win: a few pixels always correlate somewhere (A4).
    enough = energy > max(MIN_OVERLAP * whole, 1e-12)
    return np.where(enough, joint / np.where(enough, energy, 1.0), 0.0).astype(np.float32)


def best_peaks(correlation: NDArray[np.float32]) -> list[Peak]:
    """Return up to four local maxima, best first; none where the surface is flat."""
    middle = float(median(correlation))
    spread = 1.4826 * float(median(np.abs(correlation - middle)))
    if not spread > 0.0:
        return []
    height = (correlation - middle) / spread
    tops = (ndimage.maximum_filter(correlation, size=5, mode="nearest") == correlation) & (correlation > 0)
    rows, cols = np.nonzero(tops)
    reach = correlation.shape[0] // 2, correlation.shape[1] // 2
    found = height[rows, cols]
    # A lattice gives more equal peaks than are asked for; of those within a twentieth the nearest come first.
    rank = np.ceil(20.0 * (1.0 - found / max(float(found.max(initial=0.0)), 1e-9)))
    order = np.lexsort((np.hypot(rows - reach[0], cols - reach[1]), rank))[:MAX_PEAKS]
    peaks = [
        Peak(int(r) - reach[0], int(c) - reach[1], float(correlation[r, c]), float(height[r, c]))
        for r, c in zip(rows[order], cols[order], strict=True)
    ]
    return [p for p in peaks if p.z >= 0.5 * max(q.z for q in peaks)]
