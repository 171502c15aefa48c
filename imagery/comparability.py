"""Whether two looks may be compared object by object, and how much of a difference is only geometry or light.

The change finder names what speaks against the two looks at either end of an onset; the page offers the pairs that score
best (``service/web/src/comparable.ts`` follows this module).
"""

import math
from dataclasses import dataclass

from imagery.illumination import MIN_SUN_ELEVATION_DEG, Sun, View, lean_offset, shadow_offset

# Where a view is not told, a quarter of what a vendor would still sell: 10 degrees.
UNKNOWN_LEAN = math.tan(math.radians(10.0))
FULL_LEAN = math.tan(math.radians(30.0))
MAX_SHADOW_LENGTHS = 4.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a look was taken; sun and view None where the provider does not tell."""

    gsd_m: float
    sun: Sun | None
    view: View | None


@dataclass(frozen=True, slots=True)
class Comparability:
    """``score`` in [0, 1], 1 for the same light, view and sharpness; displacements per metre of object height."""

    score: float
    parallax_m_per_m: float
    shadow_shift_m_per_m: float
    gsd_ratio: float
    reasons: tuple[str, ...]


def compare_looks(first: Conditions, second: Conditions) -> Comparability:
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
