"""The world as height and albedo on one fine grid, and the primitives that paint on it.

Rows grow southward, columns eastward; ``x`` is metres east of the west edge, ``y`` metres *south* of the north edge.
"""

from copy import copy
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]


@dataclass
class Canvas:
    """The world on a fine grid of ``step_m``: height (m), albedo (4, row, col) for blue green red nir, and labels."""

    step_m: float
    size: int
    height: Array
    albedo: Array
    container: Array
    berm: Array
    other: Array
    rng: np.random.Generator
    yy: Array = field(init=False)
    xx: Array = field(init=False)

    def __post_init__(self) -> None:
        axis = np.arange(self.size, dtype=np.float32) * self.step_m
        self.yy, self.xx = np.meshgrid(axis, axis, indexing="ij")

    @property
    def extent(self) -> float:
        return self.size * self.step_m

    def window(self, x: float, y: float, reach: float) -> Window:
        """Return the part of the canvas within ``reach`` metres of a point."""

        def span(middle: float) -> slice:
            low, high = (middle - reach) / self.step_m, (middle + reach) / self.step_m + 2
            return slice(int(np.clip(low, 0, self.size)), int(np.clip(high, 0, self.size)))

        return span(y), span(x)

    def cropped(self, part: Window) -> "Canvas":
        """Return a view of one window: what is painted on it shows on the whole."""
        view = copy(self)
        for name in ("height", "container", "berm", "other", "xx", "yy"):
            setattr(view, name, getattr(self, name)[part])
        view.albedo = self.albedo[(slice(None), *part)]
        return view

    def clone(self, rng: np.random.Generator) -> "Canvas":
        """Return a copy to paint on, drawing from another generator."""
        twin = copy(self)
        for name in ("height", "container", "berm", "other", "albedo"):
            setattr(twin, name, getattr(self, name).copy())
        twin.rng = rng
        return twin

    def box(
        self, x: float, y: float, length: float, width: float, angle: float
    ) -> tuple[Window, Mask, Array, Array]:
        """Return (window, inside, u, v): u along the length, v across, metres from the centre."""
        part = self.window(x, y, np.hypot(length, width) / 2 + self.step_m)
        dx, dy = self.xx[part] - x, self.yy[part] - y
        u = dx * np.cos(angle) + dy * np.sin(angle)
        v = -dx * np.sin(angle) + dy * np.cos(angle)
        return part, (np.abs(u) <= length / 2) & (np.abs(v) <= width / 2), u, v


def spectral_noise(
    rng: np.random.Generator, size: int, slope: float, anisotropy: float = 1.0, angle: float = 0.0
) -> Array:
    """Return (size, size) zero-mean unit-variance noise with a power law spectrum, optionally stretched along an angle."""
    fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    fu, fv = fx * np.cos(angle) + fy * np.sin(angle), -fx * np.sin(angle) + fy * np.cos(angle)
    radius = np.sqrt((fu * anisotropy) ** 2 + fv**2)
    radius[0, 0] = 1.0
    spectrum = (rng.standard_normal(fx.shape) + 1j * rng.standard_normal(fx.shape)) * radius ** (-slope)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(size, size))
    result: Array = (noise / (noise.std() + 1e-9)).astype(np.float32)
    return result


def polyline_distance(canvas: Canvas, points: NDArray[np.float64]) -> tuple[Array, Array]:
    """Return distance (m) to a polyline and length along it (m), for every pixel."""
    best = np.full(canvas.height.shape, np.inf, np.float32)
    along = np.zeros_like(best)
    run = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        length = float(np.hypot(x1 - x0, y1 - y0)) + 1e-6
        t = np.clip(((canvas.xx - x0) * (x1 - x0) + (canvas.yy - y0) * (y1 - y0)) / length**2, 0, 1)
        d = np.hypot(canvas.xx - x0 - t * (x1 - x0), canvas.yy - y0 - t * (y1 - y0))
        closer = d < best
        best = np.where(closer, d, best)
        along = np.where(closer, run + t * length, along)
        run += length
    return best.astype(np.float32), along.astype(np.float32)


def fill(
    canvas: Canvas,
    part: Window,
    inside: Mask,
    colour: Array,
    height: float | Array | None,
    label: Array | None,
) -> None:
    view = canvas.albedo[(slice(None), *part)]
    view[:, inside] = np.broadcast_to(
        colour[:, None] if colour.ndim == 1 else colour[:, inside], (4, int(inside.sum()))
    )
    if height is not None:
        top = canvas.height[part]
        top[inside] = (np.median(top[inside]) if inside.any() else 0.0) + (
            height[inside] if isinstance(height, np.ndarray) else height
        )
    for plane in (canvas.container, canvas.berm, canvas.other):
        plane[part][inside] = 1.0 if plane is label else 0.0
