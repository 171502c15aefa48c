"""A scene onto the site grid: every pixel interpolated exactly once, straight from the file.

Registration is composed into the warp: the destination is laid out in the scene's own, uncorrected coordinates, so the
shift found against the reference costs no second interpolation. Classification layers are never interpolated.

Validity is decided on the numbers as stored, before scaling: a harmonised Sentinel-2 value may be zero or negative and
still be ground, and a stored zero may not. Invalid pixels are bridged from their valid neighbours before the warp, so
that nothing bleeds in, and blanked after it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling, reproject
from rasterio.warp import transform as transform_points
from rasterio.windows import Window
from scipy import ndimage

from imagery.cloud import guess_obstruction
from imagery.displacement import Displacement, DisplacementField
from imagery.errors import UnsupportedRaster
from imagery.excerpt import assert_held
from imagery.grid import SiteGrid
from imagery.illumination import Sun, View
from imagery.look import Float32Image, Look, StateImage
from imagery.observability import ObservationState
from imagery.radiometry import BEYOND_REFLECTANCE
from imagery.rasters import DecodedPixels, has_mask, open_raster
from imagery.scene import BandSource, MaskSource, Scene

State = ObservationState

# Between two CRSs GDAL interpolates coordinates along a row and keeps within so many source pixels of the truth.
COORDINATE_TOLERANCE_PX = 0.01
# Native pixels times bands held at once; a look larger than that is warped strip by strip.
STRIP_SAMPLES = 24_000_000
# GDAL widens its kernel below this ratio of grid to scene resolution, and so antialiases.
_KERNEL_SUPPORT_PX = 2.0
# Closer to a file's edge than this, rounding decides on which side a pixel's centre lies.
_ON_THE_EDGE_PX = 1e-6
# Pixels that lie so near to a shifted lattice are of it: rounding must not tell two windows of one scene apart.
_SAME_LATTICE_PX = 1e-6
_SHIFT_ROWS = 32
CLOUD_BUFFER_M = (4.0, 30.0)
COMPACT_CLOUD_M2 = 2_500.0
CLEARLY_BELOW_ZERO = -0.02
# No shadow or water is zero in every band over so many pixels on a side, unless the stretch has cut all it held.
COLLAR_BLOCK_PX = 12

_CLOUD_MASK = {
    0: State.OBSERVED, 1: State.CLOUD, 2: State.CLOUD_SHADOW, 3: State.SNOW, 255: State.NODATA,
}  # fmt: skip
# Sentinel-2 scene classification: 7 (unclassified) and 2 (dark area) are ground; 10 is thin cirrus.
_SCL = {
    0: State.NODATA, 1: State.SATURATED, 2: State.OBSERVED, 3: State.CLOUD_SHADOW, 4: State.OBSERVED,
    5: State.OBSERVED, 6: State.OBSERVED, 7: State.OBSERVED, 8: State.CLOUD, 9: State.CLOUD, 10: State.CLOUD,
    11: State.SNOW, 255: State.NODATA,
}  # fmt: skip
# Where a mask has no pixel it calls nothing clear.
_NO_SAY = 254


def read_look(
    scene: Scene,
    grid: SiteGrid,
    *,
    displacement: Displacement | None = None,
    bands: Sequence[str] | None = None,
    pixels: DecodedPixels | None = None,
) -> Look:
    """Read one scene onto a grid.

    Parameters
    ----------
    displacement : what must be added to the scene's coordinates to bring it onto the reference; None for none
    bands : common names to read, in that order; all by default. One band is the cheap path for registration
    pixels : where decoded pixels may be kept from one read to the next; nowhere by default

    Returns
    -------
    look : reflectance (band, row, col) float32, NaN where not observed; state (row, col) uint8

    Raises
    ------
    UnreadableRaster : a file is missing, damaged or no GeoTIFF
    UnsupportedRaster : a file lacks a CRS or cannot be transformed to the grid
    PixelsNotHeld : a file is an excerpt of a remote one and holds less than the grid needs
    KeyError : a band of ``bands`` is not in the scene
    """
    wanted = scene.bands if bands is None else tuple(_band(scene, name) for name in bands)
    placed = _Placement(grid, displacement)
    reflectance = np.zeros((len(wanted), *grid.shape), np.float32)
    state = np.zeros(grid.shape, np.uint8)
    numbered = sorted(enumerate(wanted), key=lambda pair: (pair[1].path, pair[0]))
    for path, group in groupby(numbered, key=lambda pair: pair[1].path):
        rows, sources = zip(*group, strict=True)
        data = [b.index for b in scene.bands if b.path == path]
        together = rows[-1] - rows[0] == len(rows) - 1
        values = reflectance[rows[0] : rows[-1] + 1] if together else np.zeros_like(reflectance[: len(rows)])
        found = _read_file(path, sources, data, placed, values, pixels or DecodedPixels())
        if not together:
            reflectance[list(rows)] = values
        state = np.where((state == 0) | (found == State.OUTSIDE_FOOTPRINT), found, state)
    sun, view = _to_grid_north(scene, grid)
    state, notes = _mask(scene, state, placed, wanted, reflectance, sun)
    notes += _below_zero(wanted, reflectance, state == State.OBSERVED)
    np.copyto(reflectance, np.nan, where=state != State.OBSERVED)
    names = tuple(b.name for b in wanted)
    return Look(
        scene.id, scene.t_utc, grid, names, reflectance, state, scene.gsd_m, sun, view, scene.notes + notes
    )


def _below_zero(
    wanted: Sequence[BandSource], values: Float32Image, seen: NDArray[np.bool_]
) -> tuple[str, ...]:
    """Doubt an offset that puts a good part of the ground below zero: catalogs are known to describe it wrongly."""
    total = np.count_nonzero(seen)
    for band, plane in zip(wanted, values, strict=True):
        if band.offset < 0.0 and total:
            share = np.count_nonzero((plane < CLEARLY_BELOW_ZERO) & seen) / total
            if share > 0.02:
                return (
                    f"{share:.0%} of band {band.name} lies below zero after the described offset {band.offset:g}: "
                    "it may have been applied already",
                )
    return ()


def _band(scene: Scene, name: str) -> BandSource:
    for band in scene.bands:
        if band.name == name:
            return band
    raise KeyError(name)


def _to_grid_north(scene: Scene, grid: SiteGrid) -> tuple[Sun | None, View | None]:
    """Turn the scene's angles, clockwise from true north, to the grid's north."""
    turn = _convergence(grid) if scene.sun or scene.view else 0.0
    sun = scene.sun and replace(scene.sun, azimuth_deg=(scene.sun.azimuth_deg - turn) % 360.0)
    view = scene.view and replace(scene.view, azimuth_deg=(scene.view.azimuth_deg - turn) % 360.0)
    return sun, view


@lru_cache(maxsize=64)
def _convergence(grid: SiteGrid) -> float:
    return grid.convergence_deg


# --- where the grid lies in a file ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Placement:
    """The grid as the uncorrected scene sees it."""

    grid: SiteGrid
    displacement: Displacement | None

    @property
    def transform(self) -> Affine:
        """Grid pixel-edge (col, row) to scene coordinates in the grid's CRS, without the local field."""
        if self.displacement is None:
            return self.grid.transform
        composed: Affine = ~self.displacement.forward @ self.grid.transform
        return composed

    @property
    def field(self) -> DisplacementField | None:
        return None if self.displacement is None else self.displacement.field

    def strip(self, row: int, rows: int) -> "_Placement":
        return _Placement(self.grid.window(row, 0, rows, self.grid.cols), self.displacement)


@dataclass(frozen=True, slots=True)
class _Native:
    """The part of a file that a grid needs.

    ``scale`` is file pixels per grid pixel along the file's columns and rows; ``inside`` tells whether the whole
    kernel support lies in the file.
    """

    window: Window
    transform: Affine
    crs: CRS
    scale: tuple[float, float]
    inside: bool


def _native(dataset: rasterio.DatasetReader, placed: _Placement) -> _Native | None:
    """Find the part of a file that a grid needs; None where they do not meet.

    Raises
    ------
    UnsupportedRaster : the file's CRS cannot be transformed to the grid's
    PixelsNotHeld : the file is an excerpt that does not hold that part
    """
    grid = placed.grid
    rows, cols = np.meshgrid(np.linspace(0, grid.rows, 17), np.linspace(0, grid.cols, 17), indexing="ij")
    points = _file_pixels(dataset.transform, dataset.crs, placed, cols.ravel(), rows.ravel())
    middle = (grid.cols / 2.0, grid.rows / 2.0)
    ends = np.array([middle, (middle[0] + 1.0, middle[1]), (middle[0], middle[1] + 1.0)])
    at = _file_pixels(dataset.transform, dataset.crs, placed, ends[:, 0], ends[:, 1])
    scale = (
        math.hypot(at[0, 1] - at[0, 0], at[0, 2] - at[0, 0]),
        math.hypot(at[1, 1] - at[1, 0], at[1, 2] - at[1, 0]),
    )
    if not (np.all(np.isfinite(points)) and np.all(np.isfinite(scale)) and min(scale) > 0):
        raise UnsupportedRaster(f"{dataset.name}: its CRS cannot be transformed to {grid.crs}")
    reach = 0.0
    if placed.field is not None:
        reach = float(max(np.abs(placed.field.east_m).max(), np.abs(placed.field.north_m).max())) / grid.gsd_m
    pad = [math.ceil(s * (_KERNEL_SUPPORT_PX + reach) + _KERNEL_SUPPORT_PX) + 2 for s in scale]
    low = [math.floor(points[i].min()) - pad[i] for i in (0, 1)]
    high = [math.ceil(points[i].max()) + pad[i] for i in (0, 1)]
    size = (dataset.width, dataset.height)
    first = [max(low[i], 0) for i in (0, 1)]
    last = [min(high[i], size[i]) for i in (0, 1)]
    if last[0] <= first[0] or last[1] <= first[1]:
        return None
    window = Window(first[0], first[1], last[0] - first[0], last[1] - first[1])
    assert_held(dataset.name, window)
    return _Native(
        window,
        dataset.transform @ Affine.translation(*first),
        dataset.crs,
        scale,
        low == first and high == last,
    )


def _file_pixels(
    transform: Affine, crs: CRS, placed: _Placement, cols: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (2, n) pixel-edge (col, row) in a file of grid pixel-edge positions, local field left out."""
    x, y = _apply(placed.transform, cols, rows)
    return _world_to_file(transform, crs, placed.grid, x, y)


def _world_to_file(
    transform: Affine, crs: CRS, grid: SiteGrid, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    target = CRS.from_epsg(grid.epsg)
    if crs != target:
        xs, ys = transform_points(target, crs, x.ravel(), y.ravel())
        x, y = np.reshape(xs, np.shape(x)), np.reshape(ys, np.shape(y))
    return np.stack(_apply(~transform, x, y))


def _apply(
    affine: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b, c, d, e, f = affine[:6]
    return a * x + b * y + c, d * x + e * y + f


# --- one file ------------------------------------------------------------------------------------------------------


def _read_file(
    path: str,
    sources: Sequence[BandSource],
    data: Sequence[int],
    placed: _Placement,
    values: Float32Image,
    pixels: DecodedPixels,
) -> StateImage:
    """Warp bands of one file onto the grid: fill zeros with reflectance, and return what is not there."""
    grid = placed.grid
    state = np.full(grid.shape, State.OUTSIDE_FOOTPRINT, np.uint8)
    with open_raster(path) as dataset:
        if dataset.crs is None:
            raise UnsupportedRaster(f"{path}: has no CRS")
        whole = _native(dataset, placed)
        if whole is None:
            return state
        masked = has_mask(dataset, data)
        strips = math.ceil(whole.window.width * whole.window.height * len(sources) / STRIP_SAMPLES)
        height = math.ceil(grid.rows / strips)
        for row in range(0, grid.rows, height):
            part = placed.strip(row, min(height, grid.rows - row))
            where = slice(row, row + part.grid.rows)
            native = whole if height >= grid.rows else _native(dataset, part)
            if native is not None:
                raw = pixels.read(dataset, path, [s.index for s in sources], native.window, data)
                _warp_strip(dataset, raw, sources, masked, part, native, values[:, where], state[where])
    return state


def _warp_strip(
    dataset: rasterio.DatasetReader,
    raw: NDArray[Any],
    sources: Sequence[BandSource],
    masked: bool,
    placed: _Placement,
    native: _Native,
    values: Float32Image,
    state: StateImage,
) -> None:
    """Fill views of one strip's values and state from its stored numbers."""
    codes = _codes(dataset, raw, sources, masked, native.window)
    numbers = raw.astype(np.float32)
    if codes is not None:
        _bridge(numbers, codes != State.NODATA, math.ceil(_KERNEL_SUPPORT_PX * max(1.0, *native.scale)) + 1)
    _warp_values(numbers, placed, native, values)
    if raw.dtype.kind in "iu":
        # Cubic overshoots at edges; a number that the file's type cannot hold is never let through.
        limits = np.iinfo(raw.dtype)
        np.clip(values, limits.min, limits.max, out=values)
    for index, source in enumerate(sources):
        values[index] *= np.float32(source.scale)
        values[index] += np.float32(source.offset)
    if codes is None and native.inside:
        state[:] = State.OBSERVED
    elif codes is None and (covered := _covered(placed, native)) is not None:
        state[covered] = State.OBSERVED
    else:
        _warp_classes(np.zeros(raw.shape[1:], np.uint8) if codes is None else codes, placed, native, state)


def _covered(placed: _Placement, native: _Native) -> NDArray[np.bool_] | None:
    """Return (row, col), True where a grid pixel's centre lies in the native window; None where only a warp can tell.

    Between two lattices of one CRS that is arithmetic, of which GDAL makes a warp. What it makes of a centre on the very
    edge hangs on its rounding.
    """
    grid = placed.grid
    if placed.field is not None or native.crs != CRS.from_epsg(grid.epsg):
        return None
    a, b, c, d, e, f = (~native.transform @ placed.transform)[:6]
    row, col = np.arange(grid.rows)[:, None] + 0.5, np.arange(grid.cols)[None] + 0.5
    x = a * col + c if b == 0.0 else a * col + b * row + c
    y = e * row + f if d == 0.0 else d * col + e * row + f
    inside = np.ones((1, 1), bool)
    for at, size in ((x, native.window.width), (y, native.window.height)):
        if np.any(np.minimum(np.abs(at), np.abs(at - size)) < _ON_THE_EDGE_PX):
            return None
        inside = inside & (at > 0) & (at < size)
    return np.broadcast_to(inside, grid.shape)


def _codes(
    dataset: rasterio.DatasetReader,
    raw: NDArray[np.generic],
    sources: Sequence[BandSource],
    masked: bool,
    window: Window,
) -> StateImage | None:
    """Return nodata and saturation of stored numbers as observation states; None where all is well."""
    missing = _without_data(raw, sources)
    if raw.dtype.kind == "f":
        missing |= ~np.isfinite(raw).all(axis=0)
    if masked:
        missing |= dataset.read_masks(sources[0].index, window=window) == 0
    codes = np.where(missing, np.uint8(State.NODATA), np.uint8(0))
    if raw.dtype == np.uint16:
        # Eight-bit pictures are stretched for the eye and clip on every bright roof: that is no lost measurement.
        codes[(raw == 65535).any(axis=0) & ~missing] = State.SATURATED
    return codes if codes.any() else None


def _without_data(raw: NDArray[np.generic], sources: Sequence[BandSource]) -> NDArray[np.bool_]:
    """Return (row, col), True where stored numbers stand for nothing.

    Zero, and 255 in eight bits, may be a dark or a bright pixel of one band: only all bands together are nodata then.
    Any other declared number is no measurement, in whichever band it stands.
    """
    every, some = np.ones(raw.shape[1:], bool), np.zeros(raw.shape[1:], bool)
    for plane, source in zip(raw, sources, strict=True):
        if source.nodata is None or math.isnan(source.nodata):
            every[:] = False
            continue
        here = plane == source.nodata
        every &= here
        if source.nodata != 0 and not (raw.dtype == np.uint8 and source.nodata == 255):
            some |= here
    if all(source.nodata is None for source in sources):
        some |= _collar(raw)
    return every | some


def _collar(raw: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return where all bands of a file that declares no nodata are zero over whole blocks: the edge of a picture."""
    empty: NDArray[np.bool_] = (raw == 0).all(axis=0)
    size = COLLAR_BLOCK_PX
    if np.count_nonzero(empty) < size:
        return np.zeros_like(empty)
    # What the window cuts goes on beyond it, or two strips of one file would not agree.
    around = np.pad(empty, size, mode="edge")
    opened = ndimage.binary_opening(around, np.ones((size, size), bool))
    return np.asarray(opened[size:-size, size:-size], bool)


def _bridge(numbers: Float32Image, valid: NDArray[np.bool_], rounds: int) -> None:
    """Fill invalid pixels within reach of the kernel by the mean of their valid neighbours, the rest by the mean."""
    known = valid.copy()
    if not known.any():
        numbers[:] = 0.0
        return
    numbers[:, ~known] = 0.0
    fill = numbers.sum(axis=(1, 2), dtype=np.float64) / np.count_nonzero(known)
    rows, cols = known.shape
    for _ in range(min(rounds, 8)):
        row, col = np.nonzero(ndimage.binary_dilation(known, np.ones((3, 3), bool)) & ~known)
        if row.size == 0:
            break
        total = np.zeros((len(numbers), row.size), np.float32)
        count = np.zeros(row.size, np.float32)
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                r, c = np.clip(row + dr, 0, rows - 1), np.clip(col + dc, 0, cols - 1)
                weight = known[r, c].astype(np.float32)
                total += numbers[:, r, c] * weight
                count += weight
        numbers[:, row, col] = total / count
        known[row, col] = True
    for plane, value in zip(numbers, fill, strict=True):
        plane[~known] = value


# --- the warp itself -----------------------------------------------------------------------------------------------


def _warp_values(numbers: Float32Image, placed: _Placement, native: _Native, values: Float32Image) -> None:
    """Interpolate every band once, cubic, antialiased where the scene is finer than the grid."""
    if placed.field is None:
        if native.crs != CRS.from_epsg(placed.grid.epsg):
            _reproject_precisely(numbers, placed, native, values)
        elif (shift := _pure_shift(placed, native)) is not None:
            _shifted(numbers, *shift, values)
        else:
            _reproject(numbers, placed, native, values, Resampling.cubic)
        return
    smooth = [0.5 * math.sqrt(max(s * s - 1.0, 0.0)) for s in (native.scale[1], native.scale[0])]
    if max(smooth) > 0.15:
        numbers = np.stack([ndimage.gaussian_filter(n, smooth, mode="nearest") for n in numbers])
    for where, col, row in _bent_positions(placed, native):
        values[:, where] = _keys_cubic(numbers, col, row)


def _pure_shift(placed: _Placement, native: _Native) -> tuple[float, float] | None:
    """Return by how many (columns, rows) the grid lies from the native window where that is all the difference, else None."""
    a, b, c, d, e, f = (~native.transform @ placed.transform)[:6]
    reach = max(placed.grid.shape)
    if max(abs(a - 1.0), abs(b), abs(d), abs(e - 1.0)) * reach > _SAME_LATTICE_PX:
        return None
    return round(c / _SAME_LATTICE_PX) * _SAME_LATTICE_PX, round(f / _SAME_LATTICE_PX) * _SAME_LATTICE_PX


def _shifted(numbers: Float32Image, cols: float, rows: float, out: Float32Image) -> None:
    """Fill ``out`` with (band, row, col) numbers from so many pixels to the right and below, along one axis after the other.

    The same kernel as GDAL's, which weighs all sixteen neighbours of every pixel anew and takes several times as long.
    ``out`` keeps what it holds where its pixels' centres lie beyond the numbers; edges are repeated.
    """
    down, row_weights, top = _taps(rows, numbers.shape[1], out.shape[1])
    across, col_weights, left = _taps(cols, numbers.shape[2], out.shape[2])
    for plane, target in zip(numbers, out[:, down, across], strict=True):
        for row in range(0, len(target), _SHIFT_ROWS):  # few enough to stay in the processor's cache
            part = target[row : row + _SHIFT_ROWS]
            lines = _weighed(_repeated(plane, 0, top + row, len(part) + len(row_weights) - 1), row_weights, 0)
            part[:] = _weighed(
                _repeated(lines, 1, left, part.shape[1] + len(col_weights) - 1), col_weights, 1
            )


def _taps(shift: float, have: int, want: int) -> tuple[slice, NDArray[np.float32], int]:
    """Return which of ``want`` pixels lie within ``have`` shifted ones, what those they are made of weigh, and the first of these."""
    low = math.floor(shift)
    first = max(0, math.ceil(-shift - 0.5))
    last = max(first, min(want, math.floor(have - shift - 0.5) + 1))
    weights = np.array(_keys_weights(np.float32(shift - low)) if shift != low else (1.0,), np.float32)
    return slice(first, last), weights, first + low - len(weights) // 4


def _repeated(image: NDArray[np.float32], axis: int, start: int, count: int) -> NDArray[np.float32]:
    """Return so many rows (axis 0) or columns (1) of an image, the last on either side repeated beyond it."""
    stop = start + count
    if start >= 0 and stop <= image.shape[axis]:
        return image[start:stop] if axis == 0 else image[:, start:stop]
    return np.take(image, np.arange(start, stop), axis, mode="clip")


def _weighed(image: NDArray[np.float32], weights: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Return the weighted sums of neighbours along an axis of an image, shorter by one less than there are weights."""
    if len(weights) == 1:
        return image
    length = image.shape[axis] - len(weights) + 1
    parts = [image[k : k + length] if axis == 0 else image[:, k : k + length] for k in range(len(weights))]
    total: NDArray[np.float32] = parts[0] * weights[0]
    term = np.empty_like(total)
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        total += np.multiply(part, weight, out=term)
    return total


def _keys_weights(t: Any) -> tuple[Any, Any, Any, Any]:
    """Return what the four neighbours of a place weigh that lies ``t`` past the second: GDAL's cubic kernel.

    Source: R. Keys (1981), Cubic convolution interpolation, IEEE TASSP 29(6), a = -0.5.
    """
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


def _warp_classes(codes: StateImage, placed: _Placement, native: _Native, out: StateImage) -> None:
    """Take the class at every grid pixel's centre; ``out`` keeps what it holds outside the file."""
    if placed.field is None:
        _reproject(codes, placed, native, out, Resampling.nearest)
        return
    rows, cols = codes.shape
    for where, col, row in _bent_positions(placed, native):
        inside = (col >= 0) & (row >= 0) & (col < cols) & (row < rows)
        part = out[where]
        part[inside] = codes[row[inside].astype(np.intp), col[inside].astype(np.intp)]


def _reproject(
    numbers: NDArray[np.generic],
    placed: _Placement,
    native: _Native,
    out: NDArray[np.generic],
    resampling: Resampling,
) -> None:
    # Between two CRSs this is right to an eighth of a pixel, which rasterio fixes: enough for classes only.
    reproject(
        numbers,
        out,
        src_transform=native.transform,
        src_crs=native.crs,
        dst_transform=placed.transform,
        dst_crs=CRS.from_epsg(placed.grid.epsg),
        resampling=resampling,
        init_dest_nodata=False,
        warp_mem_limit=512,
        **_kernel(native),
    )


def _reproject_precisely(
    numbers: Float32Image, placed: _Placement, native: _Native, out: Float32Image
) -> None:
    """Warp between two CRSs with coordinates right to ``COORDINATE_TOLERANCE_PX``: only a warped dataset offers that."""
    count, rows, cols = numbers.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=rows, width=cols, count=count, dtype="float32", crs=native.crs,
            transform=native.transform,
        ) as dataset:  # fmt: skip
            dataset.write(numbers)
        with memory.open() as dataset, WarpedVRT(
            dataset,
            crs=CRS.from_epsg(placed.grid.epsg),
            transform=placed.transform,
            height=placed.grid.rows,
            width=placed.grid.cols,
            resampling=Resampling.cubic,
            tolerance=COORDINATE_TOLERANCE_PX,
            warp_mem_limit=512,
            **_kernel(native),
        ) as warped:  # fmt: skip
            warped.read(out=out)


def _kernel(native: _Native) -> dict[str, float]:
    """Give the kernel's width, which GDAL would derive from the window and so from the strip."""
    return {"XSCALE": min(1.0, 1.0 / native.scale[0]), "YSCALE": min(1.0, 1.0 / native.scale[1])}


# --- a local field on top ------------------------------------------------------------------------------------------

_SAMPLE_ROWS = 256


def _bent_positions(
    placed: _Placement, native: _Native
) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield, some rows at a time, pixel-edge (col, row) in the native window of every grid pixel's centre."""
    grid = placed.grid
    for first in range(0, grid.rows, _SAMPLE_ROWS):
        last = min(first + _SAMPLE_ROWS, grid.rows)
        row, col = np.meshgrid(
            np.arange(first, last) + 0.5, np.arange(grid.cols, dtype=np.float64) + 0.5, indexing="ij"
        )
        x, y = _undisplaced(placed, *grid.world(row, col))
        at = _world_to_file(native.transform, native.crs, grid, x, y)
        yield slice(first, last), at[0], at[1]


def _undisplaced(
    placed: _Placement, east: NDArray[np.float64], north: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve ``forward(s) + field(s) = r`` for the scene point s of every reference point r."""
    assert placed.displacement is not None
    assert placed.field is not None
    back = ~placed.displacement.forward
    x, y = _apply(back, east, north)
    # The field changes by far less than its own size over its own size: three rounds leave nothing.
    for _ in range(3):
        dx, dy = _field_at(placed.field, x, y)
        x, y = _apply(back, east - dx, north - dy)
    return x, y


def _field_at(
    field: DisplacementField, east: NDArray[np.float64], north: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolate the lattice linearly, held constant outside."""
    at = [(field.origin[1] - north) / field.step_m, (east - field.origin[0]) / field.step_m]
    dx, dy = (
        ndimage.map_coordinates(m, at, output=np.float64, order=1, mode="nearest")
        for m in (field.east_m, field.north_m)
    )
    return dx, dy


def _keys_cubic(numbers: Float32Image, col: NDArray[np.float64], row: NDArray[np.float64]) -> Float32Image:
    """Interpolate (band, row, col) at pixel-edge positions with GDAL's cubic kernel, edges repeated."""
    _, rows, cols = numbers.shape
    taps = []
    for place, size in ((row - 0.5, rows), (col - 0.5, cols)):
        base = np.floor(place)
        weights = _keys_weights((place - base).astype(np.float32))
        index = [np.clip(base + k, 0, size - 1).astype(np.intp) for k in (-1, 0, 1, 2)]
        taps.append(list(zip(index, weights, strict=True)))
    out = np.zeros((len(numbers), *col.shape), np.float32)
    for r, wr in taps[0]:
        line = np.zeros_like(out)
        for c, wc in taps[1]:
            line += wc * numbers[:, r, c]
        out += wr * line
    return out


# --- what hides the ground -----------------------------------------------------------------------------------------


def _mask(
    scene: Scene,
    state: StateImage,
    placed: _Placement,
    wanted: Sequence[BandSource],
    values: Float32Image,
    sun: Sun | None,
) -> tuple[StateImage, tuple[str, ...]]:
    """Add cloud, shadow and snow to what the files themselves say: from the scene's mask, or guessed."""
    seen = state == State.OBSERVED
    hidden, notes = _hidden_by_mask(scene.mask, placed)
    silent = (hidden == _NO_SAY) & seen
    told = (hidden != _NO_SAY) & (seen | ((state == State.SATURATED) & (hidden > 0)))
    state = np.where(told, hidden, state)
    if told.any():
        notes += _compact_clouds(state, placed.grid.gsd_m)
    if scene.mask is None or silent.any():
        names, relative = tuple(b.name for b in wanted), scene.units == "relative"
        white = _white(values, seen)
        if white > 1.0:
            values, relative = values / np.float32(white), True
            notes += ("numbers beyond any reflectance: taken as relative brightness",)
        guessed = guess_obstruction(values, names, seen, placed.grid.gsd_m, relative=relative, sun=sun)
        state = np.where(silent, guessed, state)
        notes += _how_much_guessed(silent, seen)
    return state, notes


def _white(values: Float32Image, seen: NDArray[np.bool_]) -> float:
    """Return what stands for white where the numbers are too large to be reflectance; 1 where they are not."""
    large = np.count_nonzero((values > BEYOND_REFLECTANCE) & seen)
    if 2 * large <= len(values) * np.count_nonzero(seen):  # the median, without sorting
        return 1.0
    return float(np.percentile(values[:, seen], 99.5))


def _how_much_guessed(silent: NDArray[np.bool_], seen: NDArray[np.bool_]) -> tuple[str, ...]:
    share = float(silent.sum()) / max(float(seen.sum()), 1.0)
    if np.array_equal(silent, seen):
        return ("cloud, shadow and snow mask guessed",)
    return (f"its mask leaves out {share:.0%} of what it shows: guessed there",) if share > 0.01 else ()


def _compact_clouds(state: StateImage, gsd_m: float) -> tuple[str, ...]:
    """Say how much of a given cloud mask is patches too small for clouds: bright objects are often taken for them."""
    cloud = state == State.CLOUD
    if not cloud.any():
        return ()
    labels, _ = ndimage.label(cloud)
    areas = np.bincount(labels.ravel())[1:] * gsd_m**2
    small = areas < COMPACT_CLOUD_M2
    if not small.any():
        return ()
    return (
        f"{int(small.sum())} patches of the cloud mask, {areas[small].sum():.0f} m2 in all, are smaller than clouds "
        "usually are: bright objects may lie there",
    )


def _hidden_by_mask(mask: MaskSource | None, placed: _Placement) -> tuple[StateImage, tuple[str, ...]]:
    """Warp a classification layer onto the grid, clouds and their shadows grown a little; ``_NO_SAY`` where it is silent.

    A layer with numbers that its kind does not know (percentages, bit fields) is of another kind and says nothing.
    """
    out = np.full(placed.grid.shape, _NO_SAY, np.uint8)
    if mask is None:
        return out, ()
    with open_raster(mask.path) as dataset:
        native = _native(dataset, placed)
        if native is None:
            return out, ()
        raw = dataset.read(mask.index, window=native.window)
        nodata = dataset.nodata
    known = _CLOUD_MASK if mask.kind == "cloud-mask" else _SCL
    codes = np.full(raw.shape, _NO_SAY, np.uint8)
    for value, meaning in known.items():
        codes[raw == value] = meaning
    codes[(codes == _NO_SAY) & (np.isnan(raw) if nodata is None else (raw == nodata) | np.isnan(raw))] = (
        State.NODATA
    )
    if np.any(codes == _NO_SAY):
        kind = "a cloud mask" if mask.kind == "cloud-mask" else "a scene classification"
        strange = raw[codes == _NO_SAY].flat[0]
        return out, (f"its mask holds numbers that {kind} does not know, such as {strange:g}: not used",)
    gsd = [placed.grid.gsd_m / s for s in native.scale]
    buffer_m = min(max(*gsd, CLOUD_BUFFER_M[0]), CLOUD_BUFFER_M[1])
    for meaning in (State.CLOUD_SHADOW, State.CLOUD):
        _grow(codes, meaning, [math.ceil(buffer_m / g) for g in reversed(gsd)])
    _warp_classes(codes, placed, native, out)
    return out, ()


def _grow(codes: StateImage, meaning: State, radius_px: Sequence[int]) -> None:
    """Grow one class over clear ground and lesser classes, in place."""
    here = (codes == meaning).view(np.uint8)
    if not here.any():
        return
    grown = ndimage.maximum_filter(here, [2 * r + 1 for r in radius_px], mode="nearest")
    lesser = (codes == State.OBSERVED) | (codes > meaning)
    codes[(grown > 0) & lesser] = meaning
