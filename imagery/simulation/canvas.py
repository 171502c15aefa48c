"""The world as height and albedo on one fine grid, and the primitives that paint on it.

Rows grow southward, columns eastward; ``x`` is metres east of the west edge, ``y`` metres *south* of the north edge.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]
# Noise up to this size meets itself at its edges; larger noise is cut from a size that transforms fast.
PERIODIC_SIZE = 700


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
        axis = (np.arange(self.size, dtype=np.float32) + 0.5) * self.step_m  # centres of the cells
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

    def fill(
        self, part: Window, inside: Mask, colour: Array, height: float | Array | None, label: Array | None
    ) -> None:
        """Paint the cells ``inside`` a window, raise them by a height in metres, and give them one label."""
        view = self.albedo[(slice(None), *part)]
        view[:, inside] = np.broadcast_to(
            colour[:, None] if colour.ndim == 1 else colour[:, inside], (4, int(inside.sum()))
        )
        if height is not None:
            top = self.height[part]
            ground = self.ground_under(top[inside]) if inside.any() else 0.0
            top[inside] = ground + (height[inside] if isinstance(height, np.ndarray) else height)
        for plane in (self.container, self.berm, self.other):
            plane[part][inside] = 1.0 if plane is label else 0.0

    def ground_under(self, heights: Array) -> float:
        """Return what a thing stands on: the ground, not the trees or walls it displaces."""
        return float(np.clip(np.min(heights), -0.5, 0.5))


def local_frame(x: float, y: float, angle: float) -> Callable[[float, float], tuple[float, float]]:
    """Return the map from (along, across) metres of a turned frame around a point to the canvas's (x, y)."""
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    return lambda u, v: (x + u * cosine - v * sine, y + u * sine + v * cosine)


def spectral_noise(
    rng: np.random.Generator, size: int, slope: float, anisotropy: float = 1.0, angle: float = 0.0
) -> Array:
    """Return (size, size) zero-mean unit-variance noise with a power law spectrum, optionally stretched along an angle."""
    padded = size if size <= PERIODIC_SIZE else int(fft.next_fast_len(size, real=True))
    fy, fx = np.meshgrid(
        np.fft.fftfreq(padded).astype(np.float32), np.fft.rfftfreq(padded).astype(np.float32), indexing="ij"
    )
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    radius = ((fx * cosine + fy * sine) * np.float32(anisotropy)) ** 2 + (fy * cosine - fx * sine) ** 2
    radius[0, 0] = 1.0
    spectrum = rng.standard_normal((*fx.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    spectrum *= radius ** np.float32(-slope / 2)
    spectrum[0, 0] = 0
    noise = fft.irfft2(spectrum, s=(padded, padded))[:size, :size]
    result: Array = (noise / (noise.std() + 1e-9)).astype(np.float32)
    return result


def smooth_noise(rng: np.random.Generator, size: int, slope: float, factor: int = 8) -> Array:
    """Return (size, size) noise without detail below ``factor`` cells: cheap, for what is soft by nature.

    Opposite edges meet where ``size`` is a multiple of ``factor``.
    """
    few = -(-size // factor)
    coarse = spectral_noise(rng, few, slope)
    at = np.arange(size) / factor
    low = at.astype(np.intp)
    high = (low + 1) % few
    share = (at - low).astype(np.float32)
    rows: Array = coarse[low] * (1 - share[:, None]) + coarse[high] * share[:, None]
    result = rows[:, low] * (1 - share) + rows[:, high] * share
    return result.astype(np.float32)


def strip(canvas: Canvas, points: NDArray[np.float64], reach: float) -> tuple[Window, Array, Array]:
    """Return (window, distance, along): metres to a polyline and along it, for cells up to ``reach`` metres off it."""
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    rows, cols = (
        slice(*(int(np.clip(v / canvas.step_m, 0, canvas.size)) for v in (low[k], high[k] + canvas.step_m)))
        for k in (1, 0)
    )
    xx, yy = canvas.xx[rows, cols], canvas.yy[rows, cols]
    best = np.full(xx.shape, np.inf, np.float32)
    along = np.zeros_like(best)
    run = 0.0
    for (x0, y0), (x1, y1) in pairwise(points.tolist()):
        length = float(np.hypot(x1 - x0, y1 - y0)) + 1e-6
        t = np.clip(((xx - x0) * (x1 - x0) + (yy - y0) * (y1 - y0)) / length**2, 0, 1)
        d = np.hypot(xx - x0 - t * (x1 - x0), yy - y0 - t * (y1 - y0))
        closer = d < best
        best = np.where(closer, d, best)
        along = np.where(closer, run + t * length, along)
        run += length
    return (rows, cols), best, along
