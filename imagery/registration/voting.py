"""How many windows agree with a candidate shift, and the rough motion they agree on (ALGORITHMS A2 step 4)."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from imagery.registration.correlation import Complex64Image, Peak
from imagery.registration.motion import Float64, Motion, fit_motion
from imagery.registration.prefilter import Mask
from imagery.registration.windows import Lattice

Image = TypeVar("Image", Complex64Image, Mask)

REACH = 3
AGREE_PX = 0.75
MIN_VALID = 0.15
JUDGED_VALID = 0.40
FEW_JUDGED = 4


@dataclass(frozen=True)
class Vote:
    """The windows' answer to one peak: motion, share that agrees, and the agreeing correlation summed."""

    motion: Motion
    agree: float
    support: float
    windows: int


def _offset_slices(n: int, shift: int) -> tuple[slice, slice]:
    """Return where reference and target overlap along one axis under a whole-pixel shift."""
    return slice(max(0, -shift), min(n, n - shift)), slice(max(0, shift), min(n, n + shift))


def _shifted(image: Image, row: int, col: int) -> Image:
    """Return ``out(p) = image(p + shift)``, zero outside."""
    out = np.zeros_like(image)
    to_row, from_row = _offset_slices(image.shape[0], row)
    to_col, from_col = _offset_slices(image.shape[1], col)
    if to_row.start < to_row.stop and to_col.start < to_col.stop:
        out[to_row, to_col] = image[from_row, from_col]
    return out


def _subpixel(curve: Float64) -> Float64:
    """Return the offset of the parabola through three values (3, n), within half a pixel."""
    bend = curve[0] - 2.0 * curve[1] + curve[2]
    safe = np.where(bend < 0, bend, -1.0)
    return np.clip(np.where(bend < 0, (curve[0] - curve[2]) / (2.0 * safe), 0.0), -0.5, 0.5)


def vote(
    reference: Complex64Image,
    target: Complex64Image,
    reference_valid: Mask,
    target_valid: Mask,
    cells: Lattice,
    peak: Peak,
) -> Vote:
    """Ask every window for its shift within three pixels of a peak."""
    width = 2 * REACH + 1
    products = np.empty((width, width, cells.rows, cells.cols), np.float32)
    rows, cols = reference.shape
    # Real and imaginary part each in one piece, so that no sum strides over the other.
    real, imaginary = np.ascontiguousarray(reference.real), np.ascontiguousarray(reference.imag)
    around = _shifted(np.pad(target, REACH), peak.row, peak.col)
    around_real, around_imaginary = np.ascontiguousarray(around.real), np.ascontiguousarray(around.imag)
    for i in range(width):
        for j in range(width):
            there = slice(i, i + rows), slice(j, j + cols)
            products[i, j] = cells.cell_sums(real * around_real[there] + imaginary * around_imaginary[there])
    moved = _shifted(target, peak.row, peak.col)
    both = reference_valid & _shifted(target_valid, peak.row, peak.col)
    power_r = cells.window_sums(cells.cell_sums(np.where(both, np.abs(reference) ** 2, 0).astype(np.float32)))
    power_t = cells.window_sums(cells.cell_sums(np.where(both, np.abs(moved) ** 2, 0).astype(np.float32)))
    valid = cells.window_sums(cells.cell_sums(both.astype(np.float32))) / (3 * cells.cell_px) ** 2
    energy = np.sqrt(power_r * power_t)
    curve = cells.window_sums(products) / np.maximum(energy, 1e-9)
    return _consensus(curve, valid, energy, cells, peak)


def _consensus(curve: Float64, valid: Float64, energy: Float64, cells: Lattice, peak: Peak) -> Vote:
    """Fit one motion to the windows' best offsets and count who agrees."""
    width = curve.shape[0]
    centre = (np.array([cells.rows, cells.cols]) * cells.cell_px - 1) / 2.0
    nothing = Vote(Motion(np.array([peak.row, peak.col], float), np.zeros((2, 2)), centre), 0.0, 0.0, 0)
    usable = (valid >= MIN_VALID) & (energy > 0)
    if not usable.any():
        return nothing
    columns = np.flatnonzero(usable)
    best = curve.reshape(width * width, -1)[:, columns].argmax(axis=0)
    row, col = np.divmod(best, width)
    inner_row, inner_col = np.clip(row, 1, width - 2), np.clip(col, 1, width - 2)
    down = _subpixel(np.stack([curve[inner_row + k, col, columns] for k in (-1, 0, 1)]))
    across = _subpixel(np.stack([curve[row, inner_col + k, columns] for k in (-1, 0, 1)]))
    shifts = np.stack([peak.row + row - REACH + down, peak.col + col - REACH + across], axis=1)
    score = np.maximum(curve[row, col, columns], 0.0)
    weight = score**2 * energy[columns] + 1e-9 * energy[columns].max()
    positions = cells.centres[columns]
    fit = fit_motion(positions, shifts, weight.mean() / weight, centre, affine=len(columns) >= 8)
    close = np.hypot(*(shifts - fit.motion.at(positions)).T) < AGREE_PX
    judged = valid[columns] >= JUDGED_VALID
    if np.count_nonzero(judged) < FEW_JUDGED:  # cloud with holes, or a small scene: hear every window
        judged[:] = True
    share = float(close[judged].mean()) if judged.any() else 0.0
    return Vote(fit.motion, share, float(score[close].sum()), len(columns))
