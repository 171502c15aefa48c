"""Whether two looks may be compared object by object, and how much of a difference is only geometry or light."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.illumination import MIN_SUN_ELEVATION_DEG, Sun, View, lean_offset, shadow_offset
from imagery.look import Float32Image, Look

# Where a view is not told, a quarter of what a vendor would still sell: 10 degrees.
UNKNOWN_LEAN = math.tan(math.radians(10.0))
FULL_LEAN = math.tan(math.radians(30.0))
MAX_SHADOW_LENGTHS = 4.0


@dataclass(frozen=True, slots=True)
class Comparability:
    """``score`` in [0, 1], 1 for the same light, view and sharpness; displacements per metre of object height."""

    score: float
    parallax_m_per_m: float
    shadow_shift_m_per_m: float
    gsd_ratio: float
    reasons: tuple[str, ...]


def compare_looks(first: Look, second: Look) -> Comparability:
    """Judge a pair; the score is the product of light, view and sharpness, each with its reason where below 0.7."""
    parallax = parallax_tolerance_m(first.view, second.view, 1.0)
    shadow = shadow_shift_m(first.sun, second.sun, 1.0)
    ratio = max(first.gsd_m, second.gsd_m) / min(first.gsd_m, second.gsd_m)
    parts = {
        "view_differs": 1.0 - min(parallax / FULL_LEAN, 1.0) * 0.8,
        "sun_differs": 1.0 - min(shadow / MAX_SHADOW_LENGTHS, 1.0) * 0.8,
        "sharpness_differs": min(1.0, 1.5 / ratio),
    }
    reasons = [name for name, part in parts.items() if part < 0.7]
    if first.sun is None or second.sun is None:
        reasons.append("sun_unknown")
    if first.view is None or second.view is None:
        reasons.append("view_unknown")
    return Comparability(math.prod(parts.values()), parallax, shadow, ratio, tuple(reasons))


def parallax_tolerance_m(first: View | None, second: View | None, height_m: float) -> float:
    """Return how far a point at ``height_m`` moves on the ground between two views; a guess where one is unknown."""
    if first is None or second is None:
        return abs(height_m) * UNKNOWN_LEAN
    one, two = lean_offset(height_m, first), lean_offset(height_m, second)
    return math.hypot(one[0] - two[0], one[1] - two[1])


def shadow_shift_m(first: Sun | None, second: Sun | None, height_m: float) -> float:
    """Return how far the shadow of a point at ``height_m`` moves between two suns; 0 where one is unknown.

    A sun under five degrees counts as one at five: its shadows are longer than any site can compare.
    """
    if first is None or second is None:
        return 0.0
    one, two = (
        shadow_offset(height_m, Sun(s.azimuth_deg, max(s.elevation_deg, MIN_SUN_ELEVATION_DEG)))
        for s in (first, second)
    )
    return math.hypot(one[0] - two[0], one[1] - two[1])


def shift_sensitivity(
    before: Float32Image, after: Float32Image, footprint: NDArray[np.bool_], *, shift_px: float = 0.5
) -> float:
    """Return the share of a difference inside a footprint that survives a shift of either sign on either axis.

    Parameters
    ----------
    before, after : (row, col) float32 chips of one shape, normalised to one scale, a margin around the object
    footprint : (row, col) bool
    shift_px : how far registration may be off

    Returns
    -------
    share : 0 where a shift explains the difference away, 1 where it changes nothing; NaN without common pixels
    """
    inside = footprint & np.isfinite(before) & np.isfinite(after)
    if not inside.any():
        return math.nan
    fill = np.float32(np.nanmedian(after))
    filled = np.where(np.isfinite(after), after, fill)
    still = float(np.sum(np.abs(after - before), where=inside, dtype=np.float64))
    if still <= 0.0:
        return 0.0
    left = still
    for down in (-shift_px, 0.0, shift_px):
        for across in (-shift_px, 0.0, shift_px):
            moved = ndimage.shift(filled, (down, across), order=1, mode="nearest")
            left = min(left, float(np.sum(np.abs(moved - before), where=inside, dtype=np.float64)))
    return left / still
