"""A smooth local residual on top of a motion, only where two disjoint sets of pixels agree on it (A2 step 7)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.registration.motion import Float64, Motion
from imagery.registration.prefilter import Float32Image, Mask
from imagery.registration.refinement import TIGHT, Bands, Warped, WindowShifts, window_shifts
from imagery.registration.windows import Lattice

CHECKER_PX = 8
SMOOTHING_CELLS = 1.0
MIN_CELL_PX = 12
ROUNDS = 4
MIN_COMMON_PX = 0.08
MIN_COMMON_SHARE = 0.7
# The field must at least halve what does not match; shadows and change bias windows alike but match no better.
MATCH_GAIN = 0.5


@dataclass(frozen=True)
class LocalField:
    """Pixels (2, row, col) on nodes at the window centres and one beyond; node (i, j) at ``first + step * (i, j)``."""

    nodes: Float64
    first: float
    step: float

    def at(self, positions: Float64) -> Float64:
        """Return (n, 2) values at (n, 2) positions, flat outside the nodes."""
        index = (positions.T - self.first) / self.step
        return np.stack(
            [ndimage.map_coordinates(layer, index, order=1, mode="nearest") for layer in self.nodes], axis=1
        )

    def scaled(self, factor: float) -> "LocalField":
        """Return the same field on a lattice ``factor`` times finer."""
        return LocalField(self.nodes * factor, self.first * factor, self.step * factor)


def local_field(bands: Bands, motion: Motion, cells: Lattice) -> LocalField | None:
    """Return the field that windows prove beyond a motion, None where they don't.

    Proof: the residuals of two checkerboards of pixels go together, and the field at least halves the decorrelation.
    """
    fine = max(MIN_CELL_PX, cells.cell_px // 2)
    cells = Lattice(bands.reference.shape[0] // fine, bands.reference.shape[1] // fine, fine)
    before = window_shifts(bands.reference, bands.warped(motion), cells, TIGHT)
    if not _halves_agree(bands, motion, cells):
        return None
    field = LocalField(
        np.zeros((2, cells.rows, cells.cols)), (0.5 * cells.cell_px) - 0.5, float(cells.cell_px)
    )
    for _ in range(ROUNDS):
        left = window_shifts(bands.reference, warped_by(bands, motion, field), cells, TIGHT)
        if left.index.size < 4:
            return None
        field = LocalField(field.nodes + _smoothed(left, cells), field.first, field.step)
    after = window_shifts(bands.reference, warped_by(bands, motion, field), cells, TIGHT)
    return field if _decorrelation(after) < MATCH_GAIN * _decorrelation(before) else None


def _decorrelation(windows: WindowShifts) -> float:
    return 1.0 - float(np.median(np.abs(windows.correlation))) if windows.index.size else 1.0


def _halves_agree(bands: Bands, motion: Motion, cells: Lattice) -> bool:
    """Tell whether disjoint pixels see the same residual shifts."""
    warped = bands.warped(motion)
    rows, cols = (np.arange(n) // CHECKER_PX for n in warped.both.shape)
    board = (rows[:, None] + cols[None, :]) % 2 == 0
    sides = [
        window_shifts(bands.reference, Warped(warped.image, warped.both & side), cells, TIGHT)
        for side in (board, ~board)
    ]
    common, first, second = np.intersect1d(sides[0].index, sides[1].index, return_indices=True)
    if common.size < 6:
        return False
    one, two = sides[0].shifts[first], sides[1].shifts[second]
    one, two = one - np.median(one, axis=0), two - np.median(two, axis=0)
    shared = float(np.mean(np.sum(one * two, axis=1)))
    power = float(np.mean(np.sum((one**2 + two**2) / 2.0, axis=1)))
    return shared > MIN_COMMON_PX**2 and shared > MIN_COMMON_SHARE * power


def _smoothed(windows: WindowShifts, cells: Lattice) -> Float64:
    """Spread window residuals over the cell lattice by normalised convolution."""
    weight = np.zeros(cells.shape)
    weight.flat[windows.index] = 1.0 / windows.variances
    layers = []
    share = _blurred(weight)
    for k in (0, 1):
        value = np.zeros(cells.shape)
        value.flat[windows.index] = windows.shifts[:, k] / windows.variances
        layers.append(_extended(_blurred(value) / (share + 1e-3 * float(share.max()))))
    return np.stack(layers)


def _extended(nodes: Float64) -> Float64:
    """Add one node on every side, continuing the slope."""
    if min(nodes.shape) < 2:
        return np.pad(nodes, 1, mode="edge")
    return np.pad(nodes, 1, mode="reflect", reflect_type="odd")


def _blurred(lattice: Float64) -> Float64:
    out: Float64 = ndimage.gaussian_filter(lattice, SMOOTHING_CELLS, mode="nearest")
    return out


def warped_by(bands: Bands, motion: Motion, field: LocalField) -> Warped:
    """Return the target band sampled at ``p + v(p) + f(p)``."""
    shape = bands.reference.shape
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    index = np.stack([(rows - field.first) / field.step, (cols - field.first) / field.step])
    slope, centre = motion.slope, motion.centre
    at = []
    for k, base in ((0, rows), (1, cols)):
        affine = motion.shift[k] + slope[k, 0] * (rows - centre[0]) + slope[k, 1] * (cols - centre[1])
        at.append(base + affine + ndimage.map_coordinates(field.nodes[k], index, order=1, mode="nearest"))
    image: Float32Image = ndimage.map_coordinates(
        bands.coefficients, at, output=np.float32, order=3, mode="nearest", prefilter=False
    )
    near = ndimage.map_coordinates(bands.target_valid.astype(np.uint8), at, order=0, mode="constant")
    both: Mask = (near > 0) & bands.reference_valid
    return Warped(image, both)


def target_nodes(field: LocalField, motion: Motion) -> NDArray[np.float64]:
    """Return the (2, row, col) part of the displacement *of the target* beyond its affine, at nodes of target pixels.

    The field lives on reference positions ``p``; a target position ``q`` belongs to ``p`` with ``q = p + v(p) + f(p)``.
    """
    shape = field.nodes.shape[1:]
    grid = np.stack(
        np.meshgrid(*(field.first + field.step * np.arange(n) for n in shape), indexing="ij"), axis=-1
    )
    q = grid.reshape(-1, 2)
    inverse = np.linalg.inv(np.eye(2) + motion.slope)
    plain = motion.centre + (q - motion.centre - motion.shift) @ inverse.T
    p = plain
    for _ in range(3):
        p = plain - field.at(p) @ inverse.T
    return np.moveaxis((p - plain).reshape(*shape, 2), -1, 0)
