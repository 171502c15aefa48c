"""Training samples: a crop of a rendered or real look, disturbed as sensors and products do, normalised as in use.

The pool is a folder of ``s_*.npz`` written by ``training.generate``: ``im`` (4, row, col) float16 (the first ``nb``
bands count), ``fr`` (3, row, col) uint8 coverage per class, ``sun`` and ``view`` in degrees, ``g`` metres per pixel.
"""

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch.utils.data import IterableDataset, get_worker_info

from imagery.evidence.network import condition_vector, slots
from imagery.illumination import Sun, View
from training.real_ground import RealGround

Array = NDArray[np.float32]
Angles = tuple[float, float] | None
PIXELS = 160
RELIST_EVERY = 3000
# A lorry's load and a container look alike from above; being told so firmly either way costs real containers.
VEHICLE_WEIGHT, COARSEST_VEHICLE_M = 0.2, 1.2
LOAD_M2, LOAD_WIDTH_M, LOAD_LENGTH_M = (11.0, 48.0), (1.7, 3.3), (5.0, 18.0)
HELD_OUT_EVERY = 25  # of the pool's places, for measuring
BANDS = {1: ("pan",), 3: ("blue", "green", "red"), 4: ("blue", "green", "red", "nir")}


@dataclass
class Sample:
    """Image, coverage and loss weight of one crop, before normalisation."""

    image: Array
    fractions: Array
    weight: Array
    sun: Angles
    view: Angles
    gsd_m: float


def pool_files(pool: Path, held_out: bool) -> list[Path]:
    """Return the looks of the pool that are, or are not, held out; both looks of a place go together."""
    files = sorted(pool.glob("s_*.npz"))
    return [f for f in files if (int(f.stem.split("_")[1]) % HELD_OUT_EVERY == 7) == held_out]


class Crops(IterableDataset[tuple[Array, Array, Array, Array]]):
    """Endless crops; every worker draws from its own seed, so a run repeats with the same number of workers."""

    def __init__(self, pools: list[Path], real: Path, real_share: float, seed: int) -> None:
        super().__init__()
        self.pools = pools
        self.real, self.real_share, self.seed = real, real_share, seed

    def __iter__(self) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Yield (image (4, n, n), condition (8,), fractions (3, n, n), weight (3, n, n))."""
        worker = get_worker_info()
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        ground = RealGround(self.real)
        for drawn in itertools.count():
            if drawn % RELIST_EVERY == 0:  # the pool may still grow while training has begun
                pools = [pool_files(pool, held_out=False) for pool in self.pools]
            if rng.random() < self.real_share:
                sample = _real(ground, rng)
            else:
                files = pools[rng.integers(len(pools))]
                sample = _rendered(files[rng.integers(len(files))], rng)
            yield finished(sample, rng)


def _real(ground: RealGround, rng: np.random.Generator) -> Sample:
    crop = ground.crop(rng, PIXELS)
    nothing = np.zeros((1, PIXELS, PIXELS), np.float32)
    sun = crop.sun if crop.sun and rng.random() < 0.6 else None
    return Sample(
        crop.image.astype(np.float32), np.repeat(nothing, 3, 0), np.concatenate([crop.weight, nothing]), sun, None, crop.gsd_m
    )  # fmt: skip


def _rendered(path: Path, rng: np.random.Generator) -> Sample:
    with np.load(path) as data:
        image, fractions = data["im"][: int(data["nb"])], data["fr"]
        sun, view, gsd_m = tuple(data["sun"]), tuple(data["view"]), float(data["g"])
    row, col = _place(fractions, rng)
    part = (slice(None), slice(row, row + PIXELS), slice(col, col + PIXELS))
    weight = np.ones((3, PIXELS, PIXELS), np.float32)
    if gsd_m < COARSEST_VEHICLE_M:
        weight[0::2][:, like_vehicles(fractions[part][2], gsd_m)] = VEHICLE_WEIGHT
    sample = Sample(
        image[part].astype(np.float32), fractions[part].astype(np.float32) / 255, weight, sun, view,
        gsd_m * rng.uniform(0.95, 1.05),
    )  # fmt: skip
    sample = turned(sample, int(rng.integers(4)), rng.random() < 0.5)
    if rng.random() < 0.35:
        sample.sun = None
    if rng.random() < 0.35:
        sample.view = None
    return sample


def like_vehicles(other: NDArray[np.uint8], gsd_m: float) -> NDArray[np.bool_]:
    """Return the pixels of separate things that measure like a lorry's load, and so like a container, from above.

    From above one box is like another: what tells them is whether they stay, which one look cannot know.
    """
    labels, n = ndimage.label(other > 127)
    alike = np.zeros(n + 1, bool)
    for k, box in enumerate(ndimage.find_objects(labels), 1):
        rows, cols = np.nonzero(labels[box] == k)
        if not LOAD_M2[0] <= rows.size * gsd_m**2 <= LOAD_M2[1]:
            continue
        # A rectangle's spread along a side is the side squared over twelve.
        spread = np.linalg.eigvalsh(np.cov(np.stack([rows, cols])))
        width, length = np.sqrt(12 * np.maximum(spread, 0)) * gsd_m
        alike[k] = (
            LOAD_WIDTH_M[0] <= width <= LOAD_WIDTH_M[1] and LOAD_LENGTH_M[0] <= length <= LOAD_LENGTH_M[1]
        )
    found: NDArray[np.bool_] = alike[labels]
    return found


def _place(fractions: NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, int]:
    """Return the corner of a crop: over a random object of our classes more often than not."""
    room = fractions.shape[1] - PIXELS
    where = np.argwhere((fractions[:2, ::4, ::4] > 100).any(0)) * 4
    if len(where) and rng.random() < 0.65:
        row, col = where[rng.integers(len(where))] - rng.integers(0, PIXELS, 2)
        return int(np.clip(row, 0, room)), int(np.clip(col, 0, room))
    row, col = rng.integers(0, room + 1, 2)
    return int(row), int(col)


def turned(sample: Sample, quarters: int, mirrored: bool) -> Sample:
    """Turn by quarters counter-clockwise, then mirror east and west; sun and view go along."""

    def turn(angles: Angles) -> Angles:
        if angles is None:
            return None
        azimuth = angles[0] - 90 * quarters
        return ((-azimuth if mirrored else azimuth) % 360, angles[1])

    def planes(image: Array) -> Array:
        image = np.rot90(image, quarters, (1, 2))
        return image[:, :, ::-1] if mirrored else image

    return Sample(
        planes(sample.image), planes(sample.fractions), planes(sample.weight), turn(sample.sun), turn(sample.view), sample.gsd_m
    )  # fmt: skip


def finished(sample: Sample, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Disturb, drop bands, normalise and cut holes."""
    image = disturbed(sample.image, rng)
    if len(image) >= 3 and rng.random() < 0.12:
        image = np.tensordot(rng.dirichlet([3, 3, 3]), image[:3], 1)[None]
    if len(image) == 4 and rng.random() < 0.25:
        image = image[:3]
    bands = BANDS[len(image)]
    # Each look is stretched by its surroundings in use, by the crop here: blur the difference.
    jitter = (np.exp(rng.normal(0, 0.3)), rng.normal(0, 0.35)) if rng.random() < 0.7 else (1.0, 0.0)
    score = np.arcsinh(jitter[0] * crop_scores(image) + jitter[1]).astype(np.float32)
    sun = None if sample.sun is None else Sun(*sample.sun)
    view = None if sample.view is None else View(*sample.view)
    condition = condition_vector(bands, sun, view, sample.gsd_m)
    result, weight = slots(bands, score), sample.weight
    if rng.random() < 0.15:
        seen = ~_hole(rng)
        result, weight = result * seen, weight * seen
    return tuple(np.ascontiguousarray(a, np.float32) for a in (result, condition, sample.fractions, weight))  # type: ignore[return-value]


def crop_scores(image: Array) -> Array:
    """Return (value - median) / spread of every band; the spread is the one of imagery.evidence.network."""
    low, middle, high = np.percentile(image[:, ::2, ::2], (5, 50, 95), axis=(1, 2))[:, :, None, None]
    scores: Array = ((image - middle) / (0.304 * (high - low) + 1e-6)).astype(np.float32)
    return scores


def _hole(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return missing ground: beyond a line, or a blob."""
    rows, cols = np.mgrid[0:PIXELS, 0:PIXELS] - PIXELS / 2
    angle = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.6:
        return np.asarray(rows * np.sin(angle) + cols * np.cos(angle) > rng.uniform(0.1, 0.7) * PIXELS)
    row, col = rng.uniform(-0.5, 0.5, 2) * PIXELS
    return np.asarray(
        np.hypot(rows - row, (cols - col) * rng.uniform(0.5, 2)) < rng.uniform(0.05, 0.3) * PIXELS
    )


def disturbed(image: Array, rng: np.random.Generator) -> Array:
    """Do what sensors, air and products do to brightness and sharpness."""
    if rng.random() < 0.5:
        low = image.min()
        span = np.percentile(image[:, ::3, ::3], 99.5) - low + 1e-6
        image = low + span * np.clip((image - low) / span, 0, 3) ** rng.uniform(0.5, 1.7)
    if rng.random() < 0.35:
        image = ndimage.gaussian_filter(image, (0,) + (rng.uniform(0.3, 1.0),) * 2)
    if rng.random() < 0.3:
        image = image + rng.uniform(0.3, 1.6) * (image - ndimage.gaussian_filter(image, (0, 1.0, 1.0)))
    if rng.random() < 0.5:
        noise = rng.standard_normal(image.shape, np.float32)
        if rng.random() < 0.4:
            noise = ndimage.gaussian_filter(noise, (0, 0.7, 0.7)) * 2.5
        image = image + noise * image.std() * rng.uniform(0, 0.15)
    if rng.random() < 0.3:
        ramp = np.linspace(-1, 1, image.shape[2])
        image = image * (1 + rng.uniform(-0.25, 0.25) * ramp + rng.uniform(-0.25, 0.25) * ramp[:, None])
    if rng.random() < 0.3:
        image = _eight_bit(image, rng)
    return image.astype(np.float32)


def _eight_bit(image: Array, rng: np.random.Generator) -> Array:
    """Stretch to few grey values, saturate the ends, perhaps squeeze through JPEG."""
    low, high = np.percentile(image[:, ::3, ::3], (rng.uniform(0, 2), rng.uniform(97, 100)))
    levels = rng.choice([48, 96, 255])
    grey = np.round(np.clip((image - low) / (high - low + 1e-6), 0, 1) * levels) / levels
    if len(image) == 4 or rng.random() < 0.4:
        return np.asarray(grey, np.float32)
    pixels = (grey * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[0] if len(image) == 1 else pixels.transpose(1, 2, 0)).save(
        file, "JPEG", quality=int(rng.integers(35, 95))
    )
    back = np.asarray(Image.open(file), np.float32) / 255
    return back[None] if len(image) == 1 else back.transpose(2, 0, 1)
