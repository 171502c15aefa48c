"""Changes found in the OSCD pairs against the labels drawn by hand by the set's authors, beside CVA with Otsu's threshold.

The labels mark urban growth between two dates years apart at 10 m: buildings, roads, cleared ground. They leave out
what else differs (fields, water, works half done), so a claim beside them is not always wrong; what is counted is agreement.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.warp import Resampling, reproject
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.io import imread

from benchmarks import peers
from imagery.grid import SiteGrid
from imagery.look import Look

Mask = NDArray[np.bool_]
SMALLEST_PX = 4
_SMOOTH_PX = 1.5


@dataclass(frozen=True, slots=True)
class Agreement:
    """Claims, how many touch a label, labelled places, how many are touched; and of pixels precision, recall and F1."""

    claims: int
    claims_on_label: int
    labels: int
    labels_found: int
    precision: float
    recall: float
    f1: float


def labels_on(city: Path, grid: SiteGrid) -> Mask:
    """Return the hand-drawn labels of a city on the site grid, (row, col)."""
    drawn = imread(city / "cm.png")
    drawn = (drawn[..., 0] if drawn.ndim == 3 else drawn) > 127
    placed = np.zeros(grid.shape, np.uint8)
    with rasterio.open(city / "t1_B02_B03_B04_B08.tif") as file:
        reproject(
            drawn.astype(np.uint8), placed, src_transform=file.transform, src_crs=file.crs,
            dst_transform=grid.transform, dst_crs=grid.crs, resampling=Resampling.nearest,
        )  # fmt: skip
    return placed > 0


def agreement(claims: Sequence[Mask], labels: Mask) -> Agreement:
    """Compare claims, one mask each, with labels; labelled places of fewer than ``SMALLEST_PX`` pixels do not count."""
    claimed = np.logical_or.reduce([np.zeros_like(labels), *claims])
    places, count = ndimage.label(labels)
    sizes = np.bincount(places.ravel(), minlength=count + 1)
    wanted = np.flatnonzero(sizes >= SMALLEST_PX)[1:]
    found = np.isin(wanted, np.unique(places[claimed]))
    both = int((claimed & labels).sum())
    precision, recall = both / max(int(claimed.sum()), 1), both / max(int(labels.sum()), 1)
    return Agreement(
        len(claims),
        sum(bool(labels[claim].any()) for claim in claims),
        len(wanted),
        int(found.sum()),
        precision,
        recall,
        2 * both / max(int(claimed.sum() + labels.sum()), 1),
    )


def cva_otsu(before: Look, after: Look) -> list[Mask]:
    """Return the places of change vectors longer than Otsu's threshold, smoothed first; the usual baseline."""
    seen = before.observed & after.observed & np.isfinite(before.reflectance + after.reflectance).all(0)

    def smooth(look: Look) -> NDArray[np.float32]:
        flat = np.where(seen, look.reflectance, 0.0)
        return np.stack([ndimage.gaussian_filter(band, _SMOOTH_PX) for band in flat]).astype(np.float32)

    length = peers.change_vector(smooth(before), smooth(after), seen)
    at = threshold_otsu(np.clip(length[seen], None, np.quantile(length[seen], 0.999)))  # type: ignore[no-untyped-call]
    places, count = ndimage.label((length > at) & seen)
    kept = np.flatnonzero(np.bincount(places.ravel(), minlength=count + 1) >= SMALLEST_PX)[1:]
    return [places == place for place in kept]


def compare(finished: Any, city: Path) -> dict[str, dict[str, float]]:
    """Return the agreement of a finished analysis of one city, and of the baseline on the same registered looks."""
    grid = finished.analysis.grid
    labels = labels_on(city, grid)
    footprints = [change.footprint for change in finished.analysis.detection.changes]
    ours = [rasterize([f], grid.shape, transform=grid.transform).astype(bool) for f in footprints]
    first, last = (finished.read_window(look.scene.id, grid) for look in finished.analysis.looks)
    return {
        "depotwatch": asdict(agreement(ours, labels)),
        "cva_otsu": asdict(agreement(cva_otsu(first, last), labels)),
    }
