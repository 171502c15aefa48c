"""What a candidate looks like: a small network sees its place with the object and without, turned to the sun.

The detector sees one look and the whole scene; it cannot tell what is new in it. Here the looks with the object are held
against what the place usually is without it: what stands out is the object and its shadow, on any ground. Every look with the
object is turned so that the sun stands above the picture, so that lit sides and shadows always lie alike. The network is fitted by
``training/fit_appearance.py`` on rendered sites on which the trees that judge candidates were not fitted; its
answer is one number among theirs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.changes import Direction, LookEvidence, ObjectClass
from imagery.evidence.network import open_described
from imagery.lifecycle import Lifecycle
from imagery.order_statistics import median
from imagery.verification import Window, mean_of_known, next_to_onset, sides

Mask = NDArray[np.bool_]
Float32Array = NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "evidence" / "weights"
CARD = "appearance.json"

SIZE = 48
# Half of a crop of containers lies within 12 m, of one of banks within 24 m.
STEP_M = {ObjectClass.CONTAINER: 0.5, ObjectClass.BERM: 1.0}
PLANES = ("change", "light", "usual", "presence", "absence", "rival", "difference", "outline", "seen")
FACTS = ("shadow", "sun_known", "pixel", "own_pixel")
_MOST_LOOKS, _MOST_CENTRES = 4, 3
_APART = 0.4 * SIZE
_ODDS = 12.0
_RIM_M, _FEWEST_AROUND = 1.5, 40
_LOWEST_SUN_DEG, _LONGEST_SHADOW = 5.0, 4.0
_NO_SUN = (180.0, 45.0)
_PIXEL_M = 0.5
# A crop whose cells are larger than the site's pixels is taken from a smoothed plane.
_COARSER, _SMOOTHING = 1.3, 0.4


@dataclass(frozen=True, slots=True)
class Crops:
    """Pictures of one candidate.

    ``planes`` is (crop, plane, row, col) float32 in -1 to 1, in the order of ``PLANES``, up being towards the sun;
    ``facts`` (crop, fact) float32 what holds of a whole picture, in the order of ``FACTS``. ``places`` says of each crop its centre
    (row, col) in the window and by how many degrees clockwise from grid north its upward side points.
    """

    planes: Float32Array
    facts: Float32Array
    places: tuple[tuple[float, float, float], ...]


def appearance(
    looks: Sequence[LookEvidence],
    window: Window,
    found: Lifecycle,
    direction: Direction,
    kind: ObjectClass,
    difference: Float32Array,
    inside: Mask,
) -> float:
    """Return the log-odds that a candidate is what it is taken for, by its looks alone; NaN where nothing fits the class.

    Parameters
    ----------
    looks : all looks in time order, as the window's planes
    difference : how much likelier presence is on one side of the onset, see ``imagery.verification.presence_difference``
    inside : (row, col), the window's pixels within the outline that is told of it

    Raises
    ------
    NetworkWeightsDamaged : the stored networks are not the ones their card describes
    """
    if kind not in STEP_M:
        return math.nan
    crops = crops_of(looks, window, found, direction, kind, difference, inside)
    (log_odds,) = _network(kind).run(["log_odds"], {"planes": crops.planes, "facts": crops.facts})
    return float(log_odds.mean())


@lru_cache(maxsize=len(STEP_M))
def _network(kind: ObjectClass) -> Any:
    return open_described(WEIGHTS / f"appearance_{kind}.onnx", CARD, ["planes", "facts"], kind)


def crops_of(
    looks: Sequence[LookEvidence],
    window: Window,
    found: Lifecycle,
    direction: Direction,
    kind: ObjectClass,
    difference: Float32Array,
    inside: Mask,
) -> Crops:
    """Cut the pictures of one candidate: up to four looks with the object, those nearest its onset, about up to three points of it.

    Parameters as ``appearance``.
    """
    gsd_m = window.grid.gsd_m
    around = ~ndimage.binary_dilation(inside, iterations=max(2, round(_RIM_M / gsd_m)))
    with_it, without = sides(window, found, direction)
    usual = window.usual_light(without)
    ordinary = _levelled(usual, around)
    absence = mean_of_known(window.evidence[without]) / _ODDS
    outlined = inside.astype(np.float32)
    step_px = STEP_M[kind] / gsd_m
    centres = _centres(inside, difference, _APART * step_px)
    planes, facts, places = [], [], []
    for index in next_to_onset(with_it, direction, _MOST_LOOKS):
        sun = _sun(looks[index])
        azimuth_deg, elevation_deg = sun or _NO_SUN
        light = window.light[index]
        seen = np.isfinite(window.evidence[index]) & np.isfinite(usual)
        shows = [
            _levelled(light - usual, around),
            _levelled(light, around),
            ordinary,
            window.evidence[index] / _ODDS,
            absence,
            window.rivals[index] / _ODDS,
            difference,
            outlined,
        ]
        stack = np.nan_to_num(np.clip(np.stack(shows), -1.0, 1.0)).astype(np.float32, copy=False)
        stack = softened(stack, step_px)
        shadow = min(1.0 / math.tan(math.radians(max(elevation_deg, _LOWEST_SUN_DEG))), _LONGEST_SHADOW)
        told = (
            shadow / _LONGEST_SHADOW,
            float(sun is not None),
            math.log(gsd_m / _PIXEL_M),
            math.log(looks[index].gsd_m / _PIXEL_M),
        )
        planes += [crop(stack, seen, centre, azimuth_deg, step_px) for centre in centres]
        facts += [told] * len(centres)
        places += [(*centre, azimuth_deg) for centre in centres]
    return Crops(np.stack(planes), np.array(facts, np.float32), tuple(places))


def _sun(look: LookEvidence) -> tuple[float, float] | None:
    if look.sun_azimuth_deg is None or look.sun_elevation_deg is None:
        return None
    return look.sun_azimuth_deg, look.sun_elevation_deg


def _levelled(light: Float32Array, around: Mask) -> Float32Array:
    """Return brightness less its median around the candidate; less that of all of it where too little of that was seen."""
    known = light[around & np.isfinite(light)]
    if known.size < _FEWEST_AROUND:
        known = light[np.isfinite(light)]
    return light - median(known) if known.size else light


def _centres(inside: Mask, difference: Float32Array, apart_px: float) -> list[tuple[float, float]]:
    """Return the pixel nearest the middle of a candidate, and others of it as far as possible from those there are."""
    points = np.argwhere(inside).astype(np.float64)
    weight = np.maximum(difference[inside], 1e-3).astype(np.float64)
    middle = (points * weight[:, None]).sum(0) / weight.sum()
    chosen = [points[int(np.argmin(((points - middle) ** 2).sum(1)))]]
    while len(chosen) < _MOST_CENTRES:
        nearest = np.min([((points - one) ** 2).sum(1) for one in chosen], axis=0)
        furthest = int(np.argmax(nearest))
        if nearest[furthest] < apart_px**2:
            break
        chosen.append(points[furthest])
    return [(float(row), float(col)) for row, col in chosen]


def softened(stack: Float32Array, step_px: float) -> Float32Array:
    """Return (plane, row, col) smoothed as far as cells of so many pixels need it."""
    if step_px <= _COARSER:
        return stack
    smoothed: Float32Array = ndimage.gaussian_filter(stack, _SMOOTHING * step_px, axes=(1, 2))
    return smoothed


def crop(
    stack: Float32Array, seen: Mask, centre: tuple[float, float], azimuth_deg: float, step_px: float
) -> Float32Array:
    """Return the (plane, row, col) picture about a centre whose upward side points to an azimuth; 0 where nothing was seen.

    ``stack`` is softened already.
    """
    axis = (np.arange(SIZE) - (SIZE - 1) / 2) * step_px
    down, right = np.meshgrid(axis, axis, indexing="ij")
    cosine, sine = math.cos(math.radians(azimuth_deg)), math.sin(math.radians(azimuth_deg))
    # Rows count southwards: the way to the sun is up where it stands north.
    row = centre[0] + down * cosine + right * sine
    col = centre[1] - down * sine + right * cosine
    rows, cols = seen.shape
    there = (row >= 0) & (row <= rows - 1) & (col >= 0) & (col <= cols - 1)
    top, left = np.clip(row, 0, rows - 2).astype(np.intp), np.clip(col, 0, cols - 2).astype(np.intp)
    below = np.clip(row - top, 0.0, 1.0).astype(np.float32)
    beside = np.clip(col - left, 0.0, 1.0).astype(np.float32)
    upper = stack[:, top, left] * (1 - beside) + stack[:, top, left + 1] * beside
    lower = stack[:, top + 1, left] * (1 - beside) + stack[:, top + 1, left + 1] * beside
    shown = (upper * (1 - below) + lower * below) * there
    known = (
        there
        & seen[
            np.clip(np.rint(row), 0, rows - 1).astype(np.intp),
            np.clip(np.rint(col), 0, cols - 1).astype(np.intp),
        ]
    )
    shown[: PLANES.index("difference")] *= known
    return np.concatenate([shown, known[None]]).astype(np.float32)
