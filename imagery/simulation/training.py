"""Random places seen a few times, for a network to learn from: the widest ranges the renderer has.

Nothing here is a series: every look has its own sun, view, season, weather and sensor, and no registration error, since
the network sees one look at a time. Labels are what the image shows: a leaning roof is labelled where it appears, its
visible wall with it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagery.illumination import Sun, View
from imagery.simulation.canvas import Array, Canvas, smooth_noise
from imagery.simulation.ground import blank, road, slab, trees
from imagery.simulation.light import seen, sunlight, wall_light
from imagery.simulation.scenery import dress
from imagery.simulation.sensor import Sensor, band_planes, numbers, sample
from imagery.simulation.things import berm, containers, decoy_box, ditch_or_heap

BANDS = (("blue", "green", "red", "nir"), ("blue", "green", "red"), ("pan",))
BAND_ODDS = (0.4, 0.35, 0.25)
FINEST_STEP_M, COARSEST_STEP_M = 0.2, 0.75
MOST_ROADS, FEWEST_PLACES = 7, 0.4
AIR = (1.5, 1.0, 0.7, 0.4)


@dataclass(frozen=True, slots=True)
class TrainingLook:
    """One look as a product would deliver it, with the coverage of each class.

    ``image`` is (band, row, col) float32 in whatever units the product has; ``fractions`` is (3, row, col) float32 in 0-1 for
    container, berm and other; ``observed`` is False under cloud. ``sun`` is (azimuth, elevation) and ``view`` (azimuth,
    off nadir) in degrees from grid north, None where the product does not say.
    """

    bands: tuple[str, ...]
    image: Array
    fractions: Array
    observed: NDArray[np.bool_]
    sun: tuple[float, float] | None
    view: tuple[float, float] | None
    gsd_m: float
    season: str


def training_step(gsd_m: float) -> float:
    """Return the cell size in metres on which a place of this pixel size is painted."""
    return float(np.clip(gsd_m / 2, FINEST_STEP_M, COARSEST_STEP_M))


def training_site(
    seed: int, gsd_m: float, pixels: int = 256, looks: int = 2, ground: Array | None = None
) -> list[TrainingLook]:
    """Render one random place of ``pixels`` squared a few times.

    ``ground`` (4, row, col) float32 replaces the painted ground's reflectance by a real one on cells of
    ``training_step(gsd_m)`` metres, at least as large as the place; it is then furnished sparsely, since real ground is full.
    """
    rng = np.random.default_rng([seed, 6])
    canvas = blank(rng, pixels * gsd_m + 4, training_step(gsd_m))
    if ground is not None:
        canvas.albedo[:] = ground[:, : canvas.size, : canvas.size]
        canvas.height *= np.float32(0.3)
    _furnish(canvas, sparse=ground is not None)
    result = []
    for number in range(looks):
        own = canvas.clone(np.random.default_rng([seed, 7, number]))
        for _ in range(int(own.rng.integers(0, 4))):  # the world changes besides its targets
            decoy_box(own, *_spot(own))
        result.append(_look(own, gsd_m, pixels))
    return result


def _spot(canvas: Canvas) -> tuple[float, float]:
    x, y = canvas.rng.uniform(0.02, 0.98, 2) * canvas.extent
    return float(x), float(y)


def _furnish(canvas: Canvas, *, sparse: bool) -> None:
    """Put everything there is on the ground, in numbers that grow more slowly than its area."""
    rng = canvas.rng
    places = max((canvas.extent / 200.0) ** 1.5, FEWEST_PLACES)

    def many(low: float, high: float) -> range:
        return range(int(rng.uniform(low, high) * places + 0.5))

    with_containers, with_berms = rng.random() < 0.75, rng.random() < 0.7
    if not sparse:
        dress(canvas, len(many(0, 6)))
        for _ in many(0, 2.5):
            slab(canvas, *_spot(canvas), rng.uniform(15, 110), rng.uniform(10, 70), rng.uniform(0, np.pi))
        for _ in many(0, 2.5)[:MOST_ROADS]:
            road(canvas)
        for _ in many(0, 2.5):
            ditch_or_heap(canvas)
    if with_berms:
        for _ in many(0, 3.5):
            berm(canvas, *_spot(canvas))
    for _ in many(0, 2 if sparse else 7):
        decoy_box(canvas, *_spot(canvas))
    if with_containers:
        for _ in many(0, 5):
            containers(canvas, *_spot(canvas))
    if not sparse:
        for _ in many(0, 2.5):
            trees(canvas)


def _look(canvas: Canvas, gsd_m: float, pixels: int) -> TrainingLook:
    """Light, weather, lean, photograph and deliver one look."""
    rng = canvas.rng
    azimuth = rng.uniform(90, 270) if rng.random() < 0.9 else rng.uniform(0, 360)
    sun = Sun(float(azimuth), float(np.clip(rng.normal(42, 17), 8, 80)))
    view = View(float(rng.uniform(0, 360)), float(min(abs(rng.normal(0, 13)), 40.0)))
    albedo, season = _season(canvas)
    fill, haze = rng.uniform(0.1, 0.45), rng.choice([0.0, rng.uniform(0, 0.05), rng.uniform(0.05, 0.2)])
    direct, sky = sunlight(canvas, sun)
    light = direct / max(np.sin(np.radians(sun.elevation_deg)), 0.15) * (1 - fill) + fill * sky
    radiance = seen(canvas, (albedo * light).astype(np.float32), view, wall_light(sun, view, fill))
    labels = seen(canvas, np.stack([canvas.container, canvas.berm, canvas.other]), view)
    radiance = radiance * np.float32(1 - haze) + (np.array(AIR, np.float32) * np.float32(haze))[:, None, None]
    cover = np.zeros_like(canvas.height)
    if rng.random() < 0.15:
        field = smooth_noise(rng, canvas.size, 2.0)
        cover = np.clip((field - rng.uniform(0, 2)) * rng.uniform(0.5, 3), 0, 1).astype(np.float32)
        radiance = radiance * (1 - cover) + cover * np.float32(rng.uniform(0.4, 0.9))
    corner, shape = (2.0, 2.0), (pixels, pixels)
    bands = BANDS[int(rng.choice(len(BANDS), p=BAND_ODDS))]
    planes = band_planes(radiance.astype(np.float32), bands)
    image = sample(planes, canvas.step_m, gsd_m, corner, shape, float(rng.uniform(0.2, 0.8)))
    shares = sample(np.concatenate([labels, cover[None]]), canvas.step_m, gsd_m, corner, shape, 0.0)
    return TrainingLook(
        bands,
        _delivered(image, gsd_m, bands, rng),
        np.clip(shares[:3], 0, 1),
        shares[3] < 0.3,
        (sun.azimuth_deg, sun.elevation_deg) if rng.random() < 0.85 else None,
        (view.azimuth_deg, view.off_nadir_deg) if rng.random() < 0.8 else None,
        gsd_m,
        season,
    )


def _season(canvas: Canvas) -> tuple[Array, str]:
    """Return the ground's reflectance in one season and its name."""
    rng, albedo = canvas.rng, canvas.albedo
    season = str(rng.choice(["plain", "snow", "wet", "green", "dry"], p=[0.35, 0.1, 0.15, 0.2, 0.2]))
    if season == "snow":
        drift = smooth_noise(rng, canvas.size, 1.5) + np.float32(rng.uniform(-0.5, 2.0))
        roofs = np.where(canvas.container + canvas.other > 0, rng.uniform(0, 1), 1.0)
        share = (np.clip(drift, 0, 1) * roofs * rng.uniform(0.4, 1)).astype(np.float32)
        return albedo * (1 - share) + np.float32(0.75) * share, season
    if season == "wet":
        low = canvas.height < 0.4
        return (albedo * np.where(low, rng.uniform(0.55, 0.9), 1.0)).astype(np.float32), season
    if season in {"green", "dry"}:
        plants = np.clip(albedo[3] / (albedo[2] + 0.01) - 1.2, 0, 1)
        tint = np.array([0.8, 1.0, 0.7, 1.3] if season == "green" else [1.3, 1.15, 1.9, 0.65], np.float32)
        gain: Array = tint[:, None, None] * np.float32(rng.uniform(0.8, 1.2)) - 1
        return albedo * (1 + plants * gain), season
    return albedo, season


def _delivered(image: Array, gsd_m: float, bands: tuple[str, ...], rng: np.random.Generator) -> Array:
    """Make numbers of light as products do: calibrated reflectance, or a stretched, sharpened, tinted, packed picture."""
    if rng.random() < 0.5:
        sensor = Sensor(
            gsd_m, noise=rng.uniform(0.001, 0.012), shot=rng.uniform(0, 0.012), bands=bands,
            bits=int(rng.choice([8, 11, 16])),
        )  # fmt: skip
        return numbers(image, sensor, rng).astype(np.float32) / np.float32(10_000)
    low, high = np.percentile(image, [rng.uniform(0, 2), rng.uniform(97.5, 100)])
    tint = rng.uniform(0.85, 1.15, (len(image), 1, 1)).astype(np.float32)
    picture = np.clip((image * tint - low) / (high - low + 1e-6), 0, 1) ** np.float32(rng.uniform(0.45, 1.1))
    sensor = Sensor(
        gsd_m, noise=rng.uniform(0.002, 0.02), shot=rng.uniform(0, 0.02), bands=bands, bits=8,
        jpeg_quality=int(rng.integers(40, 96)) if rng.random() < 0.6 else None,
        sharpening=rng.uniform(0, 1.5) if rng.random() < 0.6 else 0.0,
    )  # fmt: skip
    return numbers(picture.astype(np.float32), sensor, rng).astype(np.float32) / np.float32(10_000)
