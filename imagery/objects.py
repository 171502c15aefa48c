"""From pixels that changed to an object: its outline, size, heading, and how many containers it may be.

Outlines are drawn at sub-pixel places, where the mean presence over all looks on one side of the onset exceeds that on
the other by half: averaging looks is what makes a 2.44 m wide roof measurable on 0.5 m pixels.
"""

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.affinity import affine_transform
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from skimage.measure import find_contours
from skimage.morphology import skeletonize

from imagery.changes import Estimate, ObjectClass
from imagery.grid import SiteGrid
from imagery.limits import COUNTABLE_GSD_M

Mask = NDArray[np.bool_]
Float32Image = NDArray[np.float32]

CONTAINER_WIDTH_M = 2.44
TWENTY_FOOT_M, FORTY_FOOT_M = 6.06, 12.19
# Side by side, containers stand so far apart, centre to centre.
PITCH_M = 2.75
OUTLINE_LEVEL = 0.45
_SMALLEST_PX = 4
_BOX_FILL = 0.72
_BLOCK_FILL = 0.88
_SINGLE_WIDTH_M = 4.5
_SINGLE_FILE_M = CONTAINER_WIDTH_M + 0.1
_SNAP_M = 2.0
# Less than this share of the smallest container is a piece of one that the outline broke off.
_FRAGMENT = 0.6
# Parts of an outline this small are no object of their class beside one that is: half a 20 ft container, 5 m of a low bank.
_CRUMB_M2 = {ObjectClass.CONTAINER: 7.4, ObjectClass.BERM: 10.0}
_SHARE_FORTY = 0.55
# True counts over counts by outline, 5 % and 95 % of 125 on rendered pairs and series of seeds of their own (0.66, 3.0): outlines
# swallow gaps and lose ends, and stacks hold up to three layers of which the outline shows one, so the interval reaches much
# further up than down.
_FEWEST, MOST_STACKED = 0.5, 3.0
# Outlines of rows and blocks reach so far over the true edge, in pixels: a pixel that a roof covers in part, its wall and its
# shadow all look like the roof. On 32 rendered series of 0.4-0.8 m, drawn in by this, the median area was 1.3 of the true one
# instead of 1.6, and 51 % of those found matched at an IoU of 0.5 instead of 43 %. Single files have their own width already.
_OVER_EDGE_PX = 0.75
# True areas over outlined ones, 5 % and 95 %: 125 containers and rows of those series, 9 banks of older ones. Those of containers drawn by
# ``imagery.delineation`` lie from 0.75 to 1.81 (217 on the verifier's sites, which it was not fitted on); they stay as wide, since other sensors and
# renderers draw worse.
_AREA_FACTORS = {
    ObjectClass.CONTAINER: (0.5, 2.2),
    ObjectClass.BERM: (0.46, 1.73),
    ObjectClass.OTHER: (0.4, 1.73),
}
# How well an edge is placed, in pixels, one standard deviation.
_EDGE_PX = 0.35


@dataclass(frozen=True, slots=True)
class Outline:
    """An object's outline in the grid's CRS with its sizes."""

    footprint: BaseGeometry
    area_m2: Estimate
    length_m: float
    width_m: float
    orientation_deg: float
    box_fill: float

    @property
    def single_file(self) -> bool:
        """Whether it is as wide as one container."""
        return self.width_m < _SINGLE_FILE_M

    @property
    def thickness_m(self) -> float:
        """The diameter of the largest circle in it."""
        return 2.0 * float(shapely.maximum_inscribed_circle(self.footprint, tolerance=1.0).length)


def outline(
    difference: Float32Image, core: Mask, object_class: ObjectClass, grid: SiteGrid
) -> Outline | None:
    """Draw an object's outline.

    Parameters
    ----------
    difference : (row, col) float32 on ``grid``, how much likelier presence is on one side of the onset, -1 to 1, or how likely
        a pixel is the object's
    core : (row, col), the candidate's pixels; what does not touch them is another object
    grid : the window's own grid

    Returns
    -------
    outline : None where no pixel of the core reaches the level
    """
    labels, _ = ndimage.label(difference >= OUTLINE_LEVEL)
    touched = np.unique(labels[core & (labels > 0)])
    if touched.size == 0:
        return None
    mine = ndimage.binary_dilation(np.isin(labels, touched))
    whole = contour(np.where(mine, difference, np.minimum(difference, 0.0)), grid, OUTLINE_LEVEL)
    if whole.is_empty:
        return None
    polygon = _without_crumbs(whole, object_class)
    if object_class is ObjectClass.CONTAINER:
        polygon = _squared(polygon)
    length, width, heading, fill = _measures(polygon, object_class, grid.gsd_m)
    return Outline(polygon, area_estimate(polygon, grid.gsd_m, object_class), length, width, heading, fill)


def drawn_in(drawn: Outline, object_class: ObjectClass, gsd_m: float) -> Outline:
    """Return the outline as reported: rows and blocks of containers drawn in by how far outlines reach over their edge.

    Banks, single files and parts that would vanish stay as they are.
    """
    if object_class is not ObjectClass.CONTAINER:
        return drawn
    margin = _OVER_EDGE_PX * gsd_m
    parts = []
    for part in shapely.get_parts(drawn.footprint):
        single = box_sides(part)[1] < _SINGLE_FILE_M
        # Drawn in with sharp corners, a ragged outline can cross itself; what is left then is whole parts of it.
        inner = part if single else _areas_of(part.buffer(-margin, join_style="mitre"))
        parts.append(part if inner.is_empty else inner)
    polygon = shapely.union_all(parts)
    length, width, heading, fill = _measures(polygon, object_class, gsd_m)
    return Outline(polygon, area_estimate(polygon, gsd_m, object_class), length, width, heading, fill)


def contour(
    image: Float32Image, grid: SiteGrid, level: float, smallest_px: float = _SMALLEST_PX
) -> BaseGeometry:
    """Return where a (row, col) image of values from about -1 to 1 exceeds a level, at sub-pixel places, in its grid's CRS.

    Parts of fewer pixels than ``smallest_px`` are left out; beyond the image nothing exceeds the level.
    """
    padded = np.pad(image, 1, constant_values=-1.0)
    contours = find_contours(padded, level)  # type: ignore[no-untyped-call]
    rings = [ring for ring in contours if len(ring) >= 4]
    polygons = sorted(
        (Polygon(ring[:, ::-1] - 0.5).buffer(0) for ring in rings), key=lambda p: p.area, reverse=True
    )
    drawn: BaseGeometry = Polygon()
    for polygon in polygons:
        drawn = drawn.symmetric_difference(polygon)
    t = grid.transform
    placed: BaseGeometry = affine_transform(drawn, [t.a, t.b, t.d, t.e, t.c, t.f])
    kept = [part for part in shapely.get_parts(placed) if part.area >= smallest_px * grid.gsd_m**2]
    simple = shapely.simplify(MultiPolygon(kept) if len(kept) != 1 else kept[0], 0.25 * grid.gsd_m)
    return _areas_of(simple)


def _without_crumbs(polygon: BaseGeometry, object_class: ObjectClass) -> BaseGeometry:
    """Drop the parts of an outline that are too small to be an object of the class, beside others that are not."""
    parts = shapely.get_parts(polygon)
    large = [part for part in parts if part.area >= _CRUMB_M2.get(object_class, 0.0)]
    return shapely.union_all(large) if 0 < len(large) < len(parts) else polygon


def _areas_of(geometry: BaseGeometry) -> BaseGeometry:
    """Return a geometry made valid, without the lines and points that can leave behind."""
    if geometry.is_valid:
        return geometry
    parts = shapely.get_parts(shapely.make_valid(geometry))
    return shapely.union_all([part for part in parts if part.geom_type in {"Polygon", "MultiPolygon"}])


def _squared(polygon: BaseGeometry) -> BaseGeometry:
    """Replace parts that nearly fill their box by the box of the same area: containers have straight sides."""
    parts = []
    for part in shapely.get_parts(polygon):
        box = part.minimum_rotated_rectangle
        fill = part.area / max(box.area, 1e-9)
        length, width, _ = box_sides(part)
        if width < _SINGLE_WIDTH_M and fill > _BOX_FILL:
            parts.append(_single_file(box, length, width))
        elif fill > _BLOCK_FILL:
            parts.append(_of_area(box, part.area))
        else:
            parts.append(part)
    return shapely.union_all(parts)


def _single_file(box: Polygon, length_m: float, width_m: float) -> Polygon:
    """Return a box as wide as a container and as long as one or several end to end, where the outline's blur allows it."""
    blur = width_m - CONTAINER_WIDTH_M
    long = length_m - blur
    nearest = min((TWENTY_FOOT_M, FORTY_FOOT_M), key=lambda known: abs(known - long))
    if abs(nearest - long) < _SNAP_M:
        long = nearest
    return _resized(box, long, CONTAINER_WIDTH_M)


def _resized(box: Polygon, length_m: float, width_m: float) -> Polygon:
    """Return a box of other sides about the same middle, along the same heading."""
    (x0, y0), (x1, y1), (x2, y2) = list(box.exterior.coords)[:3]
    one, other = math.hypot(x1 - x0, y1 - y0), math.hypot(x2 - x1, y2 - y1)
    east, north = (
        ((x1 - x0) / one, (y1 - y0) / one) if one >= other else ((x2 - x1) / other, (y2 - y1) / other)
    )
    middle = box.centroid
    corners = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    return Polygon(
        (
            middle.x + a * length_m / 2 * east - b * width_m / 2 * north,
            middle.y + a * length_m / 2 * north + b * width_m / 2 * east,
        )
        for a, b in corners
    )


def _of_area(box: Polygon, area_m2: float) -> BaseGeometry:
    """Return a box drawn in by the same distance on every side, so that it has the wanted area."""
    length, width, _ = box_sides(box)
    half = (length + width) / 2.0
    margin = (half - math.sqrt(max(half**2 - (length * width - area_m2), 0.0))) / 2.0
    return box.buffer(-margin, join_style="mitre")


def box_sides(polygon: BaseGeometry) -> tuple[float, float, float]:
    """Return the length, width and heading (degrees clockwise from grid north, 0-180) of the smallest box around."""
    box = polygon.minimum_rotated_rectangle
    if not isinstance(box, Polygon):
        return 0.0, 0.0, 0.0
    (x0, y0), (x1, y1), (x2, y2) = list(box.exterior.coords)[:3]
    one, other = math.hypot(x1 - x0, y1 - y0), math.hypot(x2 - x1, y2 - y1)
    east, north = (x1 - x0, y1 - y0) if one >= other else (x2 - x1, y2 - y1)
    heading = math.degrees(math.atan2(east, north)) % 180.0
    return max(one, other), min(one, other), heading


def _measures(
    polygon: BaseGeometry, object_class: ObjectClass, gsd_m: float
) -> tuple[float, float, float, float]:
    length, width, heading = box_sides(polygon)
    fill = polygon.area / max(length * width, 1e-9)
    if object_class is ObjectClass.BERM:
        length = length if fill > 0.5 else crest_length_m(polygon, gsd_m)
        width = polygon.area / max(length, gsd_m)
    return length, width, heading, fill


def crest_length_m(polygon: BaseGeometry, gsd_m: float) -> float:
    """Return the length of the middle line of a bank, straight or bent, plus the ends the thinning ate."""
    west, south, east, north = polygon.bounds
    step = max(gsd_m, 1.0)
    cols = np.arange(west - step, east + 2 * step, step)
    rows = np.arange(north + step, south - 2 * step, -step)
    x, y = np.meshgrid(cols, rows)
    line = skeletonize(shapely.contains_xy(polygon, x, y))  # type: ignore[no-untyped-call]
    straight = int((line[:, 1:] & line[:, :-1]).sum() + (line[1:] & line[:-1]).sum())
    slanted = (line[1:, 1:] & line[:-1, :-1]) & ~(line[1:, :-1] | line[:-1, 1:])
    slanted_other = (line[1:, :-1] & line[:-1, 1:]) & ~(line[1:, 1:] | line[:-1, :-1])
    crest = step * (straight + math.sqrt(2.0) * int(slanted.sum() + slanted_other.sum()))
    return float(crest + min(polygon.area / max(crest, step), 0.5 * crest + step))


def area_estimate(polygon: BaseGeometry, gsd_m: float, object_class: ObjectClass) -> Estimate:
    """Return the area with its 90 % interval: how well the edge is placed, and how far whole outlines are off."""
    reach = 1.645 * _EDGE_PX * gsd_m * polygon.length
    least, most = _AREA_FACTORS.get(object_class, _AREA_FACTORS[ObjectClass.OTHER])
    area = polygon.area
    low = min(max(area - reach, 0.3 * area), least * area)
    return Estimate(area, low, max(area + reach, most * area))


def count_containers(polygon: BaseGeometry, gsd_m: float) -> tuple[Estimate | None, str | None]:
    """Return how many containers the outline holds in one layer with a 90 % interval, or why that cannot be said."""
    if gsd_m > COUNTABLE_GSD_M:
        return None, f"pixels of {gsd_m:g} m are too coarse to count containers"
    mean = variance = 0.0
    for part in shapely.get_parts(polygon):
        one_mean, one_variance = _count_part(part, gsd_m)
        mean, variance = mean + one_mean, variance + one_variance
    spread = 1.645 * math.sqrt(variance)
    value = max(round(mean), 1)
    low = max(min(math.floor(mean - spread + 0.5), math.floor(_FEWEST * value)), 1)
    high = max(math.ceil(mean + spread - 0.5), math.ceil(MOST_STACKED * value))
    return Estimate(float(value), float(min(low, value)), float(high)), None


def _count_part(part: BaseGeometry, gsd_m: float) -> tuple[float, float]:
    """Return mean and variance of the number in one connected outline, from its box or from its area."""
    length, width, _ = box_sides(part)
    edge = _EDGE_PX * gsd_m
    fill = part.area / max(length * width, 1e-9)
    smallest = CONTAINER_WIDTH_M * TWENTY_FOOT_M
    if part.area < _FRAGMENT * smallest:
        return part.area / smallest, 0.25
    if fill < _BOX_FILL or width > 2.2 * FORTY_FOOT_M:
        unit = CONTAINER_WIDTH_M * (_SHARE_FORTY * FORTY_FOOT_M + (1 - _SHARE_FORTY) * TWENTY_FOOT_M) * 1.1
        mean = max(part.area / unit, 1.0)
        return mean, (0.3 * mean) ** 2
    # Along the row of sides stands whichever of the two box sides holds whole pitches beside whole lengths.
    ways = [_lay(length, width, edge), _lay(width, length, edge)]
    weights = np.array([weight for *_, weight in ways])
    weights /= weights.sum()
    mean = float(sum(w * m for w, (m, _, _) in zip(weights, ways, strict=True)))
    variance = float(sum(w * (v + (m - mean) ** 2) for w, (m, v, _) in zip(weights, ways, strict=True)))
    return max(mean, 1.0), variance


def _lay(along: float, across: float, edge_m: float) -> tuple[float, float, float]:
    """Return mean, variance and weight of laying containers lengthwise ``along`` and side by side ``across``."""
    rows = max(round((across + PITCH_M - CONTAINER_WIDTH_M) / PITCH_M), 1)
    misfit = (across - (rows * PITCH_M - (PITCH_M - CONTAINER_WIDTH_M))) / (0.35 * rows + 2 * edge_m)
    fewest = max(round(along / FORTY_FOOT_M), 1)
    most = max(math.floor((along + 0.8) / TWENTY_FOOT_M), fewest)
    per_row = _SHARE_FORTY * fewest + (1 - _SHARE_FORTY) * most if most > fewest else float(fewest)
    if most == 2 * fewest:
        per_row = 0.75 * fewest + 0.25 * most
    doubt = 0.4 * (most - fewest) / math.sqrt(rows)
    too_short = max(0.0, (TWENTY_FOOT_M - along) / (1.0 + edge_m))
    row_doubt = 0.25 * math.sqrt(max(rows - 2, 0)) + 0.15
    variance = (rows * doubt) ** 2 + (per_row * row_doubt) ** 2 if rows > 1 else doubt**2
    return rows * per_row, variance, math.exp(-0.5 * misfit**2 - 0.5 * too_short**2) + 1e-6
