"""Cases with exact truth for the registration benchmark: the families of ALGORITHMS A1.

Truth is exact by construction. A *surface* is a fine raster, blurred by the PSF first; both images of a case sample
that one surface through a quintic spline, at least 1.5 surface pixels per image pixel, so that the interpolation
error is far below any error measured. The code under test resamples with FFTs and cubic splines only.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

PSF_SIGMA_PX = 0.7
MARGIN_PX = 44
# Scenes for tuning and scenes for the published numbers never mix.
DEV_SCENES = (
    "pdok_maasvlakte/osm_way_450553995_original.png",
    "sztaki_airchange_szada/1/im1.png",
    "spacenet_samples/pan1.tif",
    "dota_samples/dota_demo.png",
)
TEST_SCENES = (
    "pdok_maasvlakte/osm_node_8624960749_original.png",
    "pdok_maasvlakte/osm_way_204035532_original.png",
    "pdok_maasvlakte/osm_way_822818454_original.png",
    "sztaki_airchange_szada/4/im1.png",
    "sztaki_airchange_szada/6/im2.png",
    "spacenet_samples/road_mask_input.tif",
    "spacenet_samples/pan3.tif",
    "xbd_hurricane_matthew/hurricane-matthew_00000010_pre_disaster.png",
    "pytorch_change_models_demo/t1_img.png",
    "oscd_train_cities/beirut/t1_B02_B03_B04_B08.tif",
    "oscd_train_cities/hongkong/t1_B02_B03_B04_B08.tif",
)
DEV_PAIRS = (
    ("sztaki_airchange_szada/1/im1.png", "sztaki_airchange_szada/1/im2.png"),
    ("oscd_train_cities/rennes/t1_B02_B03_B04_B08.tif", "oscd_train_cities/rennes/t2_B02_B03_B04_B08.tif"),
)
TEST_PAIRS = (
    ("sztaki_airchange_szada/2/im1.png", "sztaki_airchange_szada/2/im2.png"),
    ("sztaki_airchange_szada/5/im1.png", "sztaki_airchange_szada/5/im2.png"),
    (
        "oscd_train_cities/bordeaux/t1_B02_B03_B04_B08.tif",
        "oscd_train_cities/bordeaux/t2_B02_B03_B04_B08.tif",
    ),
    ("oscd_train_cities/beirut/t1_B02_B03_B04_B08.tif", "oscd_train_cities/beirut/t2_B02_B03_B04_B08.tif"),
    (
        "xbd_hurricane_matthew/hurricane-matthew_00000010_pre_disaster.png",
        "xbd_hurricane_matthew/hurricane-matthew_00000010_post_disaster.png",
    ),
    ("pytorch_change_models_demo/t1_img.png", "pytorch_change_models_demo/t2_img.png"),
    ("optical_matching_pairs/OO6a.png", "optical_matching_pairs/OO6b.png"),
)


@dataclass(frozen=True)
class Surface:
    """A fine raster as quintic spline; image pixel (r, c) lies at ``(r + MARGIN) * step`` of it."""

    coefficients: Float64
    step: float
    shape: tuple[int, int]

    def sample(self, rows: Float64, cols: Float64) -> Image:
        """Return the surface at image positions (pixels)."""
        at = np.stack([(rows + MARGIN_PX) * self.step, (cols + MARGIN_PX) * self.step])
        out = ndimage.map_coordinates(self.coefficients, at, order=5, mode="mirror", prefilter=False)
        return out.astype(np.float32)


def surface(fine: Float64, step: float, limit: int = 480) -> Surface:
    """Blur a fine raster by the PSF and make it a surface of images of at most ``limit`` pixels a side."""
    blurred = ndimage.gaussian_filter(fine, PSF_SIGMA_PX * step, mode="mirror")
    standard = (blurred - blurred.mean()) / blurred.std()
    rows, cols = (min(limit, int(n / step) - 2 * MARGIN_PX) for n in fine.shape)
    return Surface(ndimage.spline_filter(standard, order=5, mode="mirror"), step, (rows, cols))


@dataclass(frozen=True)
class Case:
    """One pair; ``truth`` maps (n, 2) target positions to what must be added to them, None for unrelated places."""

    family: str
    name: str
    reference: Image
    target: Image
    seen_reference: Mask
    seen_target: Mask
    truth: Callable[[Float64], Float64] | None
    max_shift_px: float = 40.0
    floor_px: float = math.nan
    group: str = ""
    notes: dict[str, float] = field(default_factory=dict)


def luminance(path: Path) -> Float64:
    """Return the mean of at most three bands as float64, zeros of uint16 files filled by the median."""
    with rasterio.open(path) as source:
        data = source.read(list(range(1, min(source.count, 3) + 1))).astype(np.float64)
    image = data.mean(axis=0) if data.shape[0] != 2 else data[0]
    high = np.percentile(image, 99.7)
    image = np.minimum(image, high)
    image[image == 0] = np.median(image)
    return image


def real_surface(path: Path, limit: int = 480) -> Surface:
    """Return a real image as a surface, oversampled 1.5 to 2.4 times."""
    fine = luminance(path)
    return surface(fine, float(np.clip(min(fine.shape) / 500.0, 1.5, 2.4)), limit)


# --- rendered places -------------------------------------------------------------------------------------------------


def fractal(rng: np.random.Generator, shape: tuple[int, int], slope: float) -> Float64:
    """Return a random-phase texture of spectrum ``f^-slope``, zero mean, unit deviation."""
    down = np.fft.fftfreq(shape[0])[:, None]
    across = np.fft.rfftfreq(shape[1])[None, :]
    frequency = np.hypot(down, across)
    frequency[0, 0] = 1.0
    spectrum = frequency**-slope * np.exp(2j * np.pi * rng.random(frequency.shape))
    spectrum[0, 0] = 0.0
    texture = np.fft.irfft2(spectrum, s=shape)
    return (texture - texture.mean()) / texture.std()


@dataclass(frozen=True)
class Place:
    """Albedo and height (metres) on a fine raster of ``pixel_m``."""

    albedo: Float64
    height: Float64
    pixel_m: float


def _box(place: Place, rng: np.random.Generator, centre: tuple[float, float], size: tuple[float, float], turn: float,
         height: float, albedo: float) -> None:  # fmt: skip
    """Draw one box in place; metres, metres, radians."""
    reach = math.hypot(*size) / 2 / place.pixel_m + 2
    row, col = centre[0] / place.pixel_m, centre[1] / place.pixel_m
    r0, r1 = max(0, int(row - reach)), min(place.albedo.shape[0], int(row + reach) + 2)
    c0, c1 = max(0, int(col - reach)), min(place.albedo.shape[1], int(col + reach) + 2)
    if r0 >= r1 or c0 >= c1:
        return
    down, across = np.mgrid[r0:r1, c0:c1].astype(float)
    down, across = (down - row) * place.pixel_m, (across - col) * place.pixel_m
    along = down * math.cos(turn) + across * math.sin(turn)
    aside = -down * math.sin(turn) + across * math.cos(turn)
    inside = (np.abs(along) < size[0] / 2) & (np.abs(aside) < size[1] / 2)
    place.albedo[r0:r1, c0:c1][inside] = albedo * (1 + 0.04 * rng.standard_normal())
    place.height[r0:r1, c0:c1][inside] = height


def depot(rng: np.random.Generator, side_m: float, pixel_m: float, rows: int, houses: int) -> Place:
    """Return ground with tracks, container rows, halls, trees and berms."""
    n = int(side_m / pixel_m)
    ground = 0.25 + 0.03 * fractal(rng, (n, n), 1.4) + 0.05 * fractal(rng, (n, n), 2.2)
    place = Place(ground, np.zeros((n, n)), pixel_m)
    for _ in range(3):
        track = np.abs(_line(rng, n, pixel_m)) < rng.uniform(2, 4)
        place.albedo[track] = rng.uniform(0.12, 0.4)
    for _ in range(rows):
        _container_row(place, rng, side_m)
    for _ in range(houses):
        size = (rng.uniform(8, 30), rng.uniform(6, 15))
        spot = (rng.uniform(0, side_m), rng.uniform(0, side_m))
        _box(place, rng, spot, size, rng.uniform(0, np.pi), rng.uniform(3, 8), rng.uniform(0.1, 0.6))
    _trees(place, rng, int(houses * 4), side_m)
    _berms(place, rng, 2)
    return place


def _line(rng: np.random.Generator, n: int, pixel_m: float) -> Float64:
    turn, offset = rng.uniform(0, np.pi), rng.uniform(-0.3, 0.3) * n * pixel_m
    down, across = np.mgrid[:n, :n] * pixel_m - n * pixel_m / 2
    wave = rng.uniform(3, 10) * np.sin(down / rng.uniform(20, 60))
    return np.asarray(down * math.cos(turn) + across * math.sin(turn) - offset + wave)


def _container_row(place: Place, rng: np.random.Generator, side_m: float) -> None:
    turn = rng.choice([0.1, 0.1 + np.pi / 2]) + rng.normal(0, 0.02)
    start = np.array([rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)]) * side_m
    pitch = 2.44 + rng.uniform(0.2, 0.6)
    side = np.array([-math.sin(turn), math.cos(turn)])
    for k in range(int(rng.integers(6, 24))):
        if rng.random() < 0.1:
            continue
        centre = start + k * pitch * side
        colour = rng.choice([0.15, 0.2, 0.3, 0.45, 0.55])
        _box(place, rng, (centre[0], centre[1]), (12.19, 2.44), turn, 2.6 * rng.integers(1, 3), colour)


def _trees(place: Place, rng: np.random.Generator, count: int, side_m: float) -> None:
    n = place.albedo.shape[0]
    for _ in range(count):
        radius = rng.uniform(1.5, 4.0) / place.pixel_m
        row, col = rng.uniform(0, side_m, 2) / place.pixel_m
        r0, r1 = max(0, int(row - radius)), min(n, int(row + radius) + 1)
        c0, c1 = max(0, int(col - radius)), min(n, int(col + radius) + 1)
        if r0 >= r1 or c0 >= c1:
            continue
        down, across = np.mgrid[r0:r1, c0:c1]
        dome = 1 - ((down - row) ** 2 + (across - col) ** 2) / radius**2
        inside = dome > 0
        place.height[r0:r1, c0:c1][inside] = radius * place.pixel_m * 2 * np.sqrt(dome[inside])
        place.albedo[r0:r1, c0:c1][inside] = 0.08 * (1 + 0.3 * rng.standard_normal(int(inside.sum())))


def _berms(place: Place, rng: np.random.Generator, count: int) -> None:
    for _ in range(count):
        distance = np.abs(_line(rng, place.albedo.shape[0], place.pixel_m))
        place.height[:] = np.maximum(place.height, 2.5 * np.maximum(0, 1 - distance / 5.0))


def lit(place: Place, azimuth_deg: float, elevation_deg: float) -> Float64:
    """Return the place under one sun: Lambert shading, hard cast shadows, sky light."""
    azimuth, tangent = math.radians(azimuth_deg), math.tan(math.radians(elevation_deg))
    toward = (-math.cos(azimuth), math.sin(azimuth))
    shadow = np.zeros(place.height.shape, bool)
    reach = place.height.max() / tangent
    step = 1.5 * place.pixel_m
    for k in range(1, int(reach / step) + 1):
        offset = [round(-toward[i] * k * step / place.pixel_m) for i in (0, 1)]
        shadow |= _moved(place.height, offset[0], offset[1]) > place.height + k * step * tangent
    smooth = ndimage.gaussian_filter(place.height, 1.0)
    down, across = np.gradient(smooth, place.pixel_m)
    normal = 1.0 / np.sqrt(1 + down**2 + across**2)
    sun = np.array([toward[0], toward[1], tangent]) / math.hypot(1.0, tangent)
    incidence = np.clip((-down * sun[0] - across * sun[1] + sun[2]) * normal, 0, None)
    direct = np.where(shadow, 0.0, incidence)
    return np.asarray(place.albedo * (0.22 + direct))


def _moved(image: Float64, down: int, across: int) -> Float64:
    """Return ``out(p + (down, across)) = image(p)``, zero outside."""
    out = np.zeros_like(image)
    rows, cols = image.shape
    out[max(0, down) : rows + min(0, down), max(0, across) : cols + min(0, across)] = image[
        max(0, -down) : rows - max(0, down), max(0, -across) : cols - max(0, across)
    ]
    return out


# --- pairs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Warp:
    """Target position q samples the reference frame at ``q + d(q)``: shift, linear part about ``centre``, waves."""

    shift: Float64
    linear: Float64
    centre: Float64
    waves: tuple[tuple[float, float, float, float, float], ...] = ()

    def __call__(self, at: Float64) -> Float64:
        out = self.shift + (at - self.centre) @ self.linear.T
        for amplitude, turn, down, across, phase in self.waves:
            wave = amplitude * np.sin(at[:, 0] * down + at[:, 1] * across + phase)
            out = out + wave[:, None] * np.array([math.cos(turn), math.sin(turn)])
        return out


def random_warp(
    rng: np.random.Generator, shape: tuple[int, int], size: float, turn_deg: float = 0.0, scale: float = 0.0
) -> Warp:
    """Return a warp of random direction; ``size`` is the length of its shift."""
    direction = rng.uniform(0, 2 * np.pi)
    turn, sign = math.radians(turn_deg) * rng.choice([-1, 1]), rng.choice([-1, 1])
    linear = np.array([[scale * sign, -turn], [turn, scale * sign]])
    centre = (np.array(shape) - 1) / 2
    return Warp(size * np.array([math.cos(direction), math.sin(direction)]), linear, centre)


def sampled(surface_: Surface, warp: Warp | None = None) -> Image:
    """Return an image of the surface, warped."""
    rows, cols = (np.arange(n, dtype=float) for n in surface_.shape)
    at = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
    if warp is not None:
        at = at + warp(at)
    return surface_.sample(at[:, 0], at[:, 1]).reshape(surface_.shape)


def noisy(rng: np.random.Generator, image: Image, sigma: float) -> Image:
    """Add white noise, ``sigma`` in units of the scene's contrast (its standard deviation, which is 1)."""
    return image + (sigma * rng.standard_normal(image.shape)).astype(np.float32)


def clouds(rng: np.random.Generator, shape: tuple[int, int], share: float) -> tuple[Image, Image]:
    """Return opacity in [0, 1] and brightness of clouds that cover about ``share``."""
    texture = fractal(rng, shape, 2.2)
    level = np.quantile(texture, 1 - share)
    opacity = np.clip((texture - level) / 0.15, 0, 1)
    return opacity.astype(np.float32), (2.5 + 0.5 * fractal(rng, shape, 1.8)).astype(np.float32)


def clouded(image: Image, cloud: tuple[Image, Image]) -> Image:
    """Lay clouds over an image."""
    return image * (1 - cloud[0]) + cloud[0] * cloud[1]


def changed(rng: np.random.Generator, image: Image, other: Image, share: float) -> Image:
    """Replace about ``share`` of an image by rectangles of another place."""
    out, done = image.copy(), np.zeros(image.shape, bool)
    while done.mean() < share:
        height, width = rng.integers(20, 90, 2)
        row = rng.integers(0, max(1, image.shape[0] - height))
        col = rng.integers(0, max(1, image.shape[1] - width))
        patch = other[row : row + height, col : col + width]
        out[row : row + patch.shape[0], col : col + patch.shape[1]] = patch
        done[row : row + patch.shape[0], col : col + patch.shape[1]] = True
    return out


def radiometry(rng: np.random.Generator, image: Image) -> Image:
    """Apply gain, gamma, shading and a slight blur."""
    low, high = float(image.min()), float(image.max())
    unit = (image - low) / (high - low)
    bent = unit ** rng.uniform(0.6, 1.6) * rng.uniform(0.5, 2.0) + rng.uniform(-0.3, 0.3)
    shading = (
        1
        + 0.3
        * ndimage.zoom(rng.standard_normal((3, 3)), np.array(image.shape) / 3, order=1)[: image.shape[0]]
    )
    out = ndimage.gaussian_filter(bent * shading[: image.shape[0], : image.shape[1]], rng.uniform(0.2, 0.8))
    return ((out - out.mean()) / out.std()).astype(np.float32)


def floor_of(reference: Image, sigma: float) -> float:
    """Return the affine floor of A5, pixels: three times the variance of the translation bound."""
    down, across = np.gradient(reference.astype(np.float64))
    information = np.array(
        [[np.sum(down**2), np.sum(down * across)], [np.sum(down * across), np.sum(across**2)]]
    )
    return float(np.sqrt(3.0 * np.trace(2.0 * sigma**2 * np.linalg.inv(information))))


@dataclass(frozen=True)
class World:
    """Where the cases come from: real surfaces by name, and a seed."""

    surfaces: tuple[tuple[str, Surface], ...]
    pairs: tuple[tuple[str, Surface, Surface], ...]
    seed: int


def open_world(root: Path, seed: int, *, dev: bool) -> World:
    """Load the real surfaces of one split; a missing folder leaves the rendered ones."""
    names = DEV_SCENES if dev else TEST_SCENES
    pairs = DEV_PAIRS if dev else TEST_PAIRS
    rng = np.random.default_rng([seed, 999])
    surfaces = [(n, real_surface(root / n)) for n in names if (root / n).exists()]
    for k in range(2):
        place = depot(rng, 200.0, 0.2, rows=14, houses=10)
        fine = lit(place, rng.uniform(120, 240), rng.uniform(30, 60))
        surfaces.append((f"rendered depot {k}", surface(fine, 2.0)))
    loaded = []
    for first, second in pairs:
        if (root / first).exists():
            a, b = _same_size(luminance(root / first), luminance(root / second))
            step = float(np.clip(min(a.shape) / 500.0, 1.0, 2.0))
            loaded.append((first, surface(a, step), surface(b, step)))
    return World(tuple(surfaces), tuple(loaded), seed)


def _same_size(a: Float64, b: Float64) -> tuple[Float64, Float64]:
    rows, cols = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    return a[:rows, :cols], b[:rows, :cols]


def _rng(world: World, family: str, k: int) -> np.random.Generator:
    return np.random.default_rng([world.seed, *family.encode(), k])


def _crop(rng: np.random.Generator, source: Surface, side: int) -> Surface:
    """Return a square window of a surface as a surface of its own."""
    fine = int((side + 2 * MARGIN_PX) * source.step) + 2
    row = rng.integers(0, max(1, source.coefficients.shape[0] - fine))
    col = rng.integers(0, max(1, source.coefficients.shape[1] - fine))
    cut = source.coefficients[row : row + fine, col : col + fine]
    return Surface(cut, source.step, (side, side))


def _pair(
    world: World,
    family: str,
    k: int,
    *,
    size: float,
    sigma: float = 0.01,
    turn_deg: float = 0.0,
    scale: float = 0.0,
    waves: float = 0.0,
    side: int = 0,
    change: Callable[[np.random.Generator, Image, Image], Image] | None = None,
    cloud: float = 0.0,
    masked: bool = False,
    aliased: bool = False,
) -> Case:
    """Build one case of a family: scene k of the world, random warp, then what the family adds."""
    rng = _rng(world, family, k)
    name, source = world.surfaces[k % len(world.surfaces)]
    count = len(world.surfaces)
    other = world.surfaces[(k + 1 + k // count % (count - 1)) % count][1]
    if side:
        source, other = _crop(rng, source, side), _crop(rng, other, side)
    warp = random_warp(rng, source.shape, size, turn_deg, scale)
    if waves:
        warp = _with_waves(rng, warp, waves)
    clean = sampled(source)
    spread = float(clean.std())
    clean, moved = clean / spread, sampled(source, warp) / spread
    if change is not None:
        moved = change(rng, moved, _fitted(sampled(other), moved.shape))
    seen = np.ones(clean.shape, bool)
    if cloud:
        veil = clouds(rng, moved.shape, cloud)
        moved = clouded(moved, veil)
        seen = veil[0] < 0.03 if masked else seen
    reference, target = noisy(rng, clean, sigma), noisy(rng, moved, sigma)
    return Case(
        family, f"{family}{k} {name}", reference, target, np.ones(clean.shape, bool), seen, warp,
        floor_px=floor_of(clean, sigma),
    )  # fmt: skip


def _fitted(image: Image, shape: tuple[int, int]) -> Image:
    """Tile an image to a shape."""
    times = [math.ceil(n / m) for n, m in zip(shape, image.shape, strict=True)]
    tiled = np.tile(image, times)[: shape[0], : shape[1]]
    return tiled / tiled.std()


def _with_waves(rng: np.random.Generator, warp: Warp, amplitude: float) -> Warp:
    waves = []
    for _ in range(2):
        turn, length = rng.uniform(0, 2 * np.pi), rng.uniform(220, 330)
        rate = 2 * np.pi / length
        waves.append(
            (
                amplitude * 0.7,
                rng.uniform(0, 2 * np.pi),
                rate * math.cos(turn),
                rate * math.sin(turn),
                rng.uniform(0, 6),
            )
        )
    return Warp(warp.shift, warp.linear, warp.centre, tuple(waves))


def _rendered_pair(world: World, family: str, k: int) -> Case:
    """J, K, L and S: places of our own, where the second date may have another sun or a filled yard."""
    rng = _rng(world, family, k)
    sigma = 0.03
    if family == "K":
        texture = fractal(rng, (1000, 1000), rng.uniform(1.0, 1.6))
        first = second = surface(texture, 2.0, 410)
        sigma = float(rng.uniform(1.0, 3.0)) * 0.3
        # "Noise 1-3 x texture": sand whose own contrast is small against the noise, features are few.
    else:
        place = depot(rng, 180.0, 0.2, rows=26 if family == "J" else 10, houses=2 if family == "J" else 12)
        sun = (rng.uniform(120, 240), rng.uniform(25, 60))
        later = sun
        if family == "L":
            later = ((sun[0] + rng.choice([-1, 1]) * rng.uniform(40, 90)) % 360, rng.uniform(20, 60))
        before = lit(place, *sun)
        if family == "S":
            _fill_yard(place, rng)
        first, second = surface(before, 2.0, 360), surface(lit(place, *later), 2.0, 360)
    warp = random_warp(rng, first.shape, rng.uniform(0.3, 6.0))
    reference, target = sampled(first), sampled(second, warp)
    reference, target = reference / reference.std(), target / target.std()
    everywhere = np.ones(reference.shape, bool)
    return Case(family, f"{family}{k} rendered", noisy(rng, reference, sigma), noisy(rng, target, sigma), everywhere,
                everywhere, warp, floor_px=floor_of(reference, sigma))  # fmt: skip


def _fill_yard(place: Place, rng: np.random.Generator) -> None:
    """Fill the middle 40 % of a place with rows of containers, all of one orientation."""
    side = place.albedo.shape[0] * place.pixel_m
    for down in np.arange(0.18 * side, 0.82 * side, 15.0):
        for across in np.arange(0.18 * side, 0.82 * side, 2.9):
            _box(place, rng, (down, across), (12.19, 2.44), 0.0, 2.6, rng.choice([0.15, 0.3, 0.5, 0.6]))


def _combo(world: World, k: int) -> Case:
    def spoil(rng: np.random.Generator, image: Image, other: Image) -> Image:
        return radiometry(rng, changed(rng, image, other, 0.3))

    turn = 0.15 if k % 2 else 0.0
    return _pair(
        world,
        "P",
        k,
        size=4.0,
        sigma=0.1,
        turn_deg=turn,
        change=spoil,
        cloud=0.4 + 0.1 * (k % 3),
        masked=True,
    )


def _hard(world: World, k: int) -> Case:
    if k % 2:
        return _pair(world, "Q", k, size=4.0, sigma=0.05, cloud=(0.8, 0.9, 0.95)[k // 2 % 3])
    return _pair(world, "Q", k, size=4.0, sigma=(0.4, 0.8, 1.6)[k // 2 % 3])


def _unrelated(world: World, k: int) -> Case:
    """Two different places, the far end of one place, or one place against mere texture."""
    rng = _rng(world, "U", k)
    side = int(rng.choice([96, 160, 256, 320]))
    count = len(world.surfaces)
    first = world.surfaces[k % count][1]
    second = world.surfaces[(k % count + 1 + k // count % (count - 1)) % count][1]
    side = min(side, *first.shape, *second.shape)
    reference = sampled(_crop(rng, first, side))
    target = (
        sampled(_crop(rng, second, side)) if k % 4 else fractal(rng, (side, side), 1.6).astype(np.float32)
    )
    everywhere = np.ones((side, side), bool)
    reference, target = reference / reference.std(), target / target.std()
    return Case("U", f"U{k}", noisy(rng, reference, 0.05), noisy(rng, target, 0.05), everywhere, everywhere, None,
                max_shift_px=30.0)  # fmt: skip


def _second_dates(world: World, k: int, far: bool) -> Case:
    """M: a real second date, warped by a known extra shift; only repeatability can be scored."""
    per_pair = 4
    name, first, second = world.pairs[k // per_pair % len(world.pairs)]
    family = "M26" if far else "M"
    rng = _rng(world, family, k)
    warp = random_warp(rng, second.shape, 26.0 if far else rng.uniform(0.3, 3.0))
    reference, target = sampled(first), sampled(second, warp)
    everywhere = np.ones(reference.shape, bool)
    return Case(family, f"{family}{k} {name}", reference / reference.std(), target / target.std(), everywhere,
                everywhere, warp, group=f"{family} {name}")  # fmt: skip


def family_case(world: World, family: str, k: int) -> Case:
    """Return case ``k`` of a family."""
    rng = np.random.default_rng([world.seed, k, 5])
    match family:
        case "A":
            return _pair(world, family, k, size=rng.uniform(0.1, 1.4))
        case "B":
            return _pair(world, family, k, size=rng.uniform(0.3, 4.0), sigma=(0.05, 0.15)[k % 2])
        case "Ci":
            return _pair(world, family, k, size=rng.uniform(0.3, 4.0), change=lambda _, a, __: -a)
        case "C":
            return _pair(
                world, family, k, size=rng.uniform(0.3, 4.0), change=lambda r, a, _: radiometry(r, a)
            )
        case "D":
            return _pair(world, family, k, size=3.0, cloud=(0.3, 0.6)[k % 2], masked=True)
        case "E":
            return _pair(world, family, k, size=3.0, cloud=(0.3, 0.6)[k % 2])
        case "F":
            share = (0.15, 0.3)[k % 2]
            return _pair(world, family, k, size=3.0, change=lambda r, a, b: changed(r, a, b, share))
        case "G":
            return _pair(world, family, k, size=2.0, turn_deg=0.2, scale=0.001)
        case "H":
            return _pair(world, family, k, size=1.0, waves=1.0)
        case "I":
            return _pair(world, family, k, size=(16.0, 30.0)[k % 2])
        case "J" | "K" | "L" | "S":
            return _rendered_pair(world, family, k)
        case "M":
            return _second_dates(world, k, far=False)
        case "M26":
            return _second_dates(world, k, far=True)
        case "P":
            return _combo(world, k)
        case "Q":
            return _hard(world, k)
        case "R":
            return _pair(world, family, k, size=3.0, side=(128, 192)[k % 2],
                         change=lambda r, a, b: changed(r, a, b, 0.25))  # fmt: skip
        case "U":
            return _unrelated(world, k)
        case _:
            raise ValueError(family)


COUNTS = {
    "A": 18, "B": 24, "Ci": 12, "C": 16, "D": 16, "E": 16, "F": 16, "G": 16, "H": 12, "I": 16, "J": 16, "K": 12,
    "L": 16, "M": 28, "M26": 28, "P": 24, "R": 24, "S": 8, "Q": 36, "U": 70,
}  # fmt: skip


def cases(world: World, families: tuple[str, ...], share: float = 1.0) -> Iterator[Case]:
    """Yield the cases of some families in fixed order; ``share`` shortens every family."""
    for family in families:
        if family.startswith("M") and not world.pairs:
            continue
        for k in range(max(2, round(COUNTS[family] * share))):
            yield family_case(world, family, k)
