"""What people reach for first, as baselines on the very pairs our detectors saw: a difference, Otsu, rules on shape.

Three differences: change vector analysis, iteratively reweighted multivariate alteration detection, and one minus
structural similarity. All get the same registered and normalised pair, the same mask, and the same shape rules.

Sources: W. Malila (1980), Change vector analysis, Purdue LARS; A. A. Nielsen (2007), The regularized iteratively
reweighted MAD method, IEEE TIP 16(2), 463-478; Z. Wang et al. (2004), Image quality assessment, IEEE TIP 13(4), 600-612;
N. Otsu (1979), A threshold selection method from gray-level histograms, IEEE SMC 9(1), 62-66.
"""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy import ndimage, stats
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from skimage.filters import threshold_otsu
from skimage.metrics import structural_similarity

from benchmarks.scoring import Event

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Difference = Callable[[Image, Image, Mask], NDArray[np.float64]]

SMALLEST_M2 = 8.0
BLUR_M = 0.8


def change_vector(before: Image, after: Image, seen: Mask) -> NDArray[np.float64]:
    """Length of the spectral difference in each band's own spread; inputs (band, row, col)."""
    spread = np.array([np.std(b[seen]) + np.std(a[seen]) for b, a in zip(before, after, strict=True)]) / 2
    length: NDArray[np.float64] = np.sqrt(np.sum(((after - before) / spread[:, None, None]) ** 2, axis=0))
    return length


def irmad(before: Image, after: Image, seen: Mask, rounds: int = 12) -> NDArray[np.float64]:
    """Root of the chi-square sum of the MAD variates after reweighting by the no-change probability."""
    x, y = before[:, seen].astype(np.float64), after[:, seen].astype(np.float64)
    weight = np.ones(x.shape[1])
    bands = len(x)
    for _ in range(rounds):
        joint = np.cov(np.concatenate([x, y]), aweights=weight)
        sxx, syy, sxy = joint[:bands, :bands], joint[bands:, bands:], joint[:bands, bands:]
        ridge = 1e-9 * np.trace(joint) * np.eye(bands)
        root_x, root_y = np.linalg.cholesky(sxx + ridge), np.linalg.cholesky(syy + ridge)
        u, rho, vt = np.linalg.svd(np.linalg.solve(root_x, sxy) @ np.linalg.inv(root_y).T)
        a, b = np.linalg.solve(root_x.T, u), np.linalg.solve(root_y.T, vt.T)
        mean_x, mean_y = np.average(x, axis=1, weights=weight), np.average(y, axis=1, weights=weight)
        mads = a.T @ (x - mean_x[:, None]) - b.T @ (y - mean_y[:, None])
        squared = np.sum(mads**2 / np.maximum(2 * (1 - rho), 1e-6)[:, None], axis=0)
        weight = np.maximum(stats.chi2.sf(squared, bands), 1e-6)
    out = np.zeros(seen.shape)
    out[seen] = np.sqrt(squared)
    return out


def structural(before: Image, after: Image, _seen: Mask) -> NDArray[np.float64]:
    """One minus the structural similarity of brightness in windows of 7 pixels."""
    one, two = (
        np.log(np.clip(before.mean(axis=0), 1e-3, None)),
        np.log(np.clip(after.mean(axis=0), 1e-3, None)),
    )
    span = float(max(np.ptp(one), np.ptp(two), 1e-3))
    similar: NDArray[np.float64] = structural_similarity(one, two, data_range=span, win_size=7, full=True)[1]  # type: ignore[no-untyped-call]
    return 1.0 - similar


PEERS: dict[str, Difference] = {"cva": change_vector, "irmad": irmad, "ssim": structural}


def peer_changes(
    name: str, before: Image, after: Image, seen: Mask, transform: object, gsd_m: float,
    times: tuple[datetime, datetime],
) -> list[Event]:  # fmt: skip
    """Run one peer on a pair (band, row, col), NaN where unseen, and classify what Otsu leaves by its shape."""
    if not seen.any():
        return []
    filled = [
        _blurred(np.where(seen, image, np.median(image[:, seen], axis=1)[:, None, None]), gsd_m)
        for image in (before, after)
    ]
    difference = PEERS[name](filled[0], filled[1], seen)
    levels = np.clip(difference[seen], None, np.quantile(difference[seen], 0.999))
    threshold = threshold_otsu(levels)  # type: ignore[no-untyped-call]
    changed = ndimage.binary_opening((difference > threshold) & seen)
    busy = [_busyness(image) for image in filled]
    events = []
    for outline, _ in shapes(changed.astype(np.uint8), mask=changed, transform=transform):
        place = shape(outline)
        if place.area < SMALLEST_M2:
            continue
        inside = _window_mean(busy, place, transform)
        direction = "appeared" if inside[1] >= inside[0] else "removed"
        events.append(Event(shape_class(place), direction, place, times[0], times[1], 0.5, "first"))
    return events


def shape_class(place: BaseGeometry) -> str:
    """Name a polygon in metres by its size and outline alone."""
    box = shapely.minimum_rotated_rectangle(place)
    corners = np.asarray(box.exterior.coords) if box.geom_type == "Polygon" else np.zeros((5, 2))
    sides = sorted(
        (float(np.linalg.norm(corners[1] - corners[0])), float(np.linalg.norm(corners[2] - corners[1])))
    )
    filled = place.area / max(box.area, 1e-6)
    width = 2 * place.area / max(place.length, 1e-6)
    if filled >= 0.6 and 1.8 <= sides[0] <= 30 and 5 <= sides[1] <= 120 and place.area >= 10:
        return "container"
    if place.area >= 100 and 3 <= width <= 20 and place.length / 2 >= 4 * width:
        return "berm"
    return "other"


def _blurred(image: Image, gsd_m: float) -> Image:
    blurred: Image = ndimage.gaussian_filter(image, (0, BLUR_M / gsd_m, BLUR_M / gsd_m)).astype(np.float32)
    return blurred


def _busyness(image: Image) -> NDArray[np.float64]:
    """Edge strength of log brightness."""
    busy: NDArray[np.float64] = ndimage.gaussian_gradient_magnitude(
        np.log(np.clip(image.mean(axis=0), 1e-3, None)), 1.0
    )
    return busy


def _window_mean(images: list[NDArray[np.float64]], place: BaseGeometry, transform: object) -> list[float]:
    """Mean of each image over a polygon's bounding box grown by a pixel."""
    west, south, east, north = place.bounds
    (col0, row0), (col1, row1) = ((~transform) @ (west, north), (~transform) @ (east, south))  # type: ignore[operator]
    window = (slice(max(int(row0) - 1, 0), int(row1) + 2), slice(max(int(col0) - 1, 0), int(col1) + 2))
    return [float(image[window].mean()) for image in images]
