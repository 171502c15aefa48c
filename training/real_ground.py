"""Real imagery whose licence lets weights be trained on it: negatives, and grounds to paint objects on.

SpaceNet (CC BY-SA 4.0, imagery Maxar): Las Vegas and Rotterdam, panchromatic. PDOK / Beeldmateriaal Nederland (CC BY
4.0): truck parks and yards near Rotterdam. Nothing is labelled here: where a person looking at the chips could not
exclude a container or a bank, that part of that class is left out of the loss.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Array = NDArray[np.float32]

# Las Vegas east of this column is kept for measuring.
VEGAS_TRAINING_COLUMNS = 1000

# Left out of the loss: class (0 container, 1 berm) and x0, y0, x1, y1 in pixels of the first size of the image.
DOUBTFUL = {
    "osm_way_204035532_original": [(0, 80, 190, 400, 460)],
    "osm_way_450553995_original": [(0, 0, 0, 411, 667)],
    "osm_way_822818454_original": [(0, 0, 40, 140, 110), (0, 0, 170, 411, 460), (1, 0, 440, 411, 667)],
    "pan3": [(0, 190, 280, 380, 362), (0, 0, 60, 200, 150)],
    "pan2": [(0, 0, 150, 600, 403)],
}
# The one chip with containers a person is sure of is for measuring alone.
KEPT_FOR_MEASURING = ("osm_way_243466917_rows0-631",)
# Sun by eye from the shadows of poles and trees, azimuth and elevation in degrees, good to ten degrees.
SUNS = {"vegas": (158.0, 46.0), "pan1": (165.0, 46.0), "pan2": (165.0, 46.0), "pan3": (165.0, 46.0)}
GROUNDS = ("vegas", "pan1", "osm_node_8624960749_original", "osm_way_450553995_original")


@dataclass(frozen=True)
class Chip:
    """One real image at one pixel size; ``weight`` (2, row, col) is 0 where a class is doubtful."""

    name: str
    image: Array
    gsd_m: float
    weight: Array


def load_chips(folder: Path) -> list[Chip]:
    """Return every chip of ../shared/data/real that may be trained on, each at three or four pixel sizes."""
    chips = []
    with rasterio.open(folder / "spacenet_samples/road_mask_input.tif") as source:
        vegas = source.read().astype(np.float32)[:, :, :VEGAS_TRAINING_COLUMNS]
    chips += _sizes("vegas", vegas / np.percentile(vegas, 99.5), (0.3, 0.3), (0.3, 0.45, 0.7, 1.1))
    for name in ("pan1", "pan2", "pan3"):
        with rasterio.open(folder / f"spacenet_samples/{name}.tif") as source:
            pan = source.read().astype(np.float32)
        filled = np.where((pan[0] > 0).mean(1) > 0.98)[0]
        pan = pan[:, filled[0] : filled[-1] + 1]
        chips += _sizes(name, pan / np.percentile(pan, 99.5), (0.5, 0.5), (0.5, 0.8, 1.2))
    sizes = json.loads((folder / "pdok_maasvlakte/georef.json").read_text())
    for path in sorted((folder / "pdok_maasvlakte").glob("*.png")):
        if path.stem in KEPT_FOR_MEASURING:
            continue
        image = np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1)[::-1] / 255
        pixel = (sizes[path.name]["m_per_px_y"], sizes[path.name]["m_per_px_x"])
        chips += _sizes(path.stem, image, pixel, (0.3, 0.5, 0.8))
    return chips


def resampled(image: Array, pixel_m: tuple[float, float], gsd_m: float) -> Array:
    """Return (band, row, col) on square pixels, blurred first where they grow."""
    blur = [0.4 * gsd_m / p if gsd_m > p else 0.0 for p in pixel_m]
    zoom = [p / gsd_m for p in pixel_m]
    return np.stack([ndimage.zoom(ndimage.gaussian_filter(b, blur), zoom, order=1) for b in image]).astype(
        np.float32
    )


def _sizes(name: str, image: Array, pixel_m: tuple[float, float], gsds_m: tuple[float, ...]) -> list[Chip]:
    chips = []
    for gsd_m in gsds_m:
        small = resampled(image, pixel_m, gsd_m)
        weight = np.ones((2, *small.shape[1:]), np.float32)
        for class_, *box in DOUBTFUL.get(name, []):
            x0, y0, x1, y1 = (int(v * gsds_m[0] / gsd_m) for v in box)
            weight[class_, y0:y1, x0:x1] = 0
        chips.append(Chip(name, small, gsd_m, weight))
    return chips


@dataclass(frozen=True)
class Crop:
    """A turned and slightly zoomed square of a chip."""

    image: Array
    weight: Array
    gsd_m: float
    sun: tuple[float, float] | None


class RealGround:
    """Random crops of the chips, each place about equally often."""

    def __init__(self, folder: Path) -> None:
        self.chips = load_chips(folder)
        area = np.array([c.image[0].size * min(c.gsd_m, 0.8) for c in self.chips])
        area = area * np.array([3.0 if c.name == "vegas" else 1.0 for c in self.chips])
        self.share = area / area.sum()

    def crop(self, rng: np.random.Generator, size: int) -> Crop:
        """Return a crop of ``size`` pixels a side, turned by any angle; beyond the edge the chip is mirrored."""
        chip = self.chips[rng.choice(len(self.chips), p=self.share)]
        zoom = rng.uniform(0.85, 1.2)
        rows, cols, degrees = _turned(rng, chip.image.shape[1:], size, zoom)
        image = np.stack(
            [ndimage.map_coordinates(b, [rows, cols], order=1, mode="mirror") for b in chip.image]
        )
        weight = np.stack(
            [ndimage.map_coordinates(b, [rows, cols], order=0, mode="mirror") for b in chip.weight]
        )
        sun = SUNS.get(chip.name)
        # Turning the axes of the crop clockwise by so much turns everything in it, the sun too, the other way.
        sun = sun and ((sun[0] - degrees) % 360, sun[1])
        return Crop(image, weight, chip.gsd_m * zoom, sun)

    def ground(self, rng: np.random.Generator, size: int, step_m: float) -> Array:
        """Return (4, size, size) reflectance with the texture of a real place, blue green red near-infrared."""
        name = GROUNDS[rng.integers(len(GROUNDS))]
        chip = min((c for c in self.chips if c.name == name), key=lambda c: abs(c.gsd_m - 1.2 * step_m))
        rows, cols, _ = _turned(rng, chip.image.shape[1:], size, step_m / chip.gsd_m)
        image = np.stack(
            [ndimage.map_coordinates(b, [rows, cols], order=1, mode="mirror") for b in chip.image]
        )
        image *= rng.uniform(0.25, 0.5)
        if len(image) == 1:
            return (image * rng.uniform(0.7, 1.3, (4, 1, 1))).astype(np.float32)
        infrared = image.mean(0, keepdims=True) * rng.uniform(0.8, 1.6)
        return np.concatenate([image, infrared]).astype(np.float32)


def _turned(
    rng: np.random.Generator, shape: tuple[int, ...], size: int, zoom: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return the rows and cols to sample, and by how many degrees the crop's axes are turned clockwise."""
    degrees = float(rng.uniform(0, 360))
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    axis = (np.arange(size) - size / 2) * zoom
    x, y = np.meshgrid(axis, axis)
    row0, col0 = rng.integers(0, shape[0]), rng.integers(0, shape[1])
    return row0 + x * s + y * c, col0 + x * c - y * s, degrees
