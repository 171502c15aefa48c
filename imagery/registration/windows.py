"""Sums over overlapping windows: square cells, windows of 3 x 3 cells, one window at every cell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagery.registration.prefilter import Float32Image

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Lattice:
    """Cells of ``cell_px``; the last rows and columns that fill no cell are left out."""

    rows: int
    cols: int
    cell_px: int

    @property
    def shape(self) -> tuple[int, int]:
        """Windows (row, col)."""
        return self.rows - 2, self.cols - 2

    @property
    def centres(self) -> Float64:
        """(n, 2) centres of the windows, row-major."""
        row = (np.arange(self.rows - 2) + 1.5) * self.cell_px - 0.5
        col = (np.arange(self.cols - 2) + 1.5) * self.cell_px - 0.5
        return np.stack(np.meshgrid(row, col, indexing="ij"), axis=-1).reshape(-1, 2)

    def cell_sums(self, image: Float32Image) -> Float32Image:
        """(rows, cols) sums over cells."""
        n = self.cell_px
        cut = image[: self.rows * n, : self.cols * n].reshape(self.rows, n, self.cols * n)
        summed = cut.sum(axis=1).reshape(self.rows, self.cols, n).sum(axis=2)
        return summed.astype(np.float32, copy=False)  # type: ignore[no-any-return]

    def window_sums(self, cells: NDArray[np.float32]) -> Float64:
        """(..., rows, cols) cell sums to (..., n) window sums."""
        cells = cells.astype(np.float64)
        rows = cells[..., :-2, :] + cells[..., 1:-1, :] + cells[..., 2:, :]
        both = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
        return both.reshape(*both.shape[:-2], -1)  # type: ignore[no-any-return]


def lattice(shape: tuple[int, int], largest_px: int = 16) -> Lattice | None:
    """Return cells of ``largest_px`` at most, down to 8 px on small chips; None where not even 3 x 3 cells fit."""
    small = min(shape)
    cell = largest_px if small >= 192 else min(max(small // 8, 8), 16)
    if small < 3 * cell:
        return None
    return Lattice(shape[0] // cell, shape[1] // cell, cell)
