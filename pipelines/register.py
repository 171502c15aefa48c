"""Two raster files in, where the second lies against the first out; and, asked for, the second moved onto the first.

Measured on the reference's own pixel lattice, so that the reference is never interpolated; the target is read onto it
where it claims to lie. The registered raster is made from the target's file with the displacement composed in, so
every pixel is interpolated once. Files are opened by content: GeoTIFF, and PNG, JPEG or TIFF without any CRS, where
both then count in pixels.
"""

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window
from scipy import ndimage

from imagery.displacement import RegistrationState
from imagery.errors import DepotwatchError, UnreadableRaster, UnsupportedRaster
from imagery.rasters import DTYPES, open_raster, read_header
from imagery.registration import ArrayRegistration, register_arrays
from imagery.registration.looks import equal_sharpness

Float64 = NDArray[np.float64]
Float32Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

MAX_PIXELS = 400_000_000
# Above this the lattice is thinned: a shift is known to a thousandth of a pixel long before.
MEASURED_PIXELS = 6_000_000
DEFAULT_SHIFT_M = 30.0
DEFAULT_SHIFT_PX = 64.0
TILE_PX = 1024
_COARSE_STEP = 16
_KERNEL_PX = 12
_MAGIC = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"II": "GTiff", b"MM": "GTiff"}
_ENVIRONMENT = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_TIFF_INTERNAL_MASK": "YES",
}


class CannotRegister(DepotwatchError):
    """Two rasters that cannot be put against each other at all: no overlap, nothing to see, no common frame."""

    code = "cannot-register"


class CannotWrite(DepotwatchError):
    """A result that cannot be written where it was asked for."""

    code = "cannot-write"


@dataclass(frozen=True, slots=True)
class RasterFile:
    """A raster as opened: ``crs`` is None where it has none, and coordinates are then its own pixels."""

    path: Path
    driver: str
    rows: int
    cols: int
    bands: tuple[int, ...]
    dtype: str
    crs: CRS | None
    transform: Affine
    nodata: float | None
    masked: bool


@dataclass(frozen=True, slots=True)
class FileRegistration:
    """The answer for two files.

    ``shift_px``/``slope`` are in the reference's pixels (row, col), added to the target's coordinates; metres are east
    and north along the axes named by ``axes`` (``grid``: the reference's CRS, ``true``: local metres, ``pixels``: none).
    """

    reference: Path
    target: Path
    result: ArrayRegistration
    shift_px: tuple[float, float]
    shift_m: tuple[float, float] | None
    linear: Float64
    centre: tuple[float, float]
    gsd_m: float | None
    axes: str
    thinning: int
    notes: tuple[str, ...]
    written: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what ``depotwatch register --json`` prints."""
        result, registered = self.result, self.result.state is not RegistrationState.NOT_REGISTERED
        gsd = self.gsd_m
        residual_px = _finite(result.residual_px * self.thinning)
        return {
            "state": result.state.value,
            "quality": _finite(result.quality),
            "displacement": {
                "east_m": self.shift_m[1] if registered and self.shift_m else None,
                "north_m": self.shift_m[0] if registered and self.shift_m else None,
                "row_px": self.shift_px[0] if registered else None,
                "col_px": self.shift_px[1] if registered else None,
                "linear": self.linear.tolist() if registered else None,
                "centre": list(self.centre),
                "axes": self.axes,
                "field": self._field() if registered else None,
            },
            "residual_m": None if residual_px is None or gsd is None else residual_px * gsd,
            "residual_px": residual_px,
            "windows_used": result.windows_used,
            "reasons": list(result.reasons),
            "notes": list(self.notes),
            "reference": str(self.reference),
            "target": str(self.target),
            "gsd_m": gsd,
            "out": None if self.written is None else str(self.written),
        }

    def _field(self) -> dict[str, Any] | None:
        field = self.result.field
        if field is None:
            return None
        k = self.thinning
        return {
            "first_px": (field.first + 0.5) * k - 0.5,
            "step_px": field.step * k,
            "row_px": (field.nodes[0] * k).round(5).tolist(),
            "col_px": (field.nodes[1] * k).round(5).tolist(),
        }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


# --- opening ---------------------------------------------------------------------------------------------------------


def open_file(path: str | Path) -> RasterFile:
    """Check a raster and return what it says of itself.

    Raises
    ------
    UnreadableRaster : missing, empty, truncated, or neither TIFF, PNG nor JPEG by content
    UnsupportedRaster : a number type or size that is not handled
    """
    path = Path(path)
    driver = _driver(path)
    refused: UnsupportedRaster | None = None
    if driver == "GTiff":
        try:
            with _without_georeferencing_warning():
                read_header(path)
        except UnsupportedRaster as error:
            refused = error
    with _opened(path, driver) as dataset:
        # Whole and safe to open; a missing CRS is no fault where both files lack it.
        if refused is not None and dataset.crs is not None:
            raise refused
        return _described(path, driver, dataset)


def _driver(path: Path) -> str:
    if not path.is_file():
        raise UnreadableRaster(f"{path.name}: there is no such file", pointer=str(path))
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise UnreadableRaster(f"{path.name}: is empty (0 bytes); copy it again", pointer=str(path))
    for magic, driver in _MAGIC.items():
        if head.startswith(magic):
            return driver
    raise UnreadableRaster(f"{path.name}: is no TIFF, PNG or JPEG; convert it to GeoTIFF", pointer=str(path))


@contextmanager
def _without_georeferencing_warning() -> Iterator[None]:
    """Files without CRS are expected here and told in the answer; rasterio need not warn of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def _opened(path: Path, driver: str) -> Iterator[rasterio.DatasetReader]:
    """Open a TIFF as ``imagery.rasters`` does; a picture with its own driver only and no side files."""
    with _without_georeferencing_warning():
        if driver == "GTiff":
            with open_raster(path) as dataset:
                yield dataset
            return
        try:
            with rasterio.Env(**_ENVIRONMENT), rasterio.open(path, driver=driver) as dataset:
                yield dataset
        except RasterioError as error:
            raise UnreadableRaster(
                f"{path.name}: is damaged or cut off; copy it again ({str(error).splitlines()[0]})",
                pointer=str(path),
            ) from error


def _described(path: Path, driver: str, dataset: rasterio.DatasetReader) -> RasterFile:
    if dataset.width * dataset.height > MAX_PIXELS:
        raise UnsupportedRaster(
            f"{path.name}: {dataset.width:,} x {dataset.height:,} pixels are more than {MAX_PIXELS:,}; cut it first",
            pointer=str(path),
        )
    if len(set(dataset.dtypes)) > 1 or dataset.dtypes[0] not in DTYPES:
        raise UnsupportedRaster(
            f"{path.name}: holds {', '.join(sorted(set(dataset.dtypes)))}; convert it to one of {', '.join(DTYPES)}",
            pointer=str(path),
        )
    colours = [c.name for c in dataset.colorinterp]
    bands = tuple(i for i, c in zip(dataset.indexes, colours, strict=True) if c != "alpha")
    try:
        crs = None if dataset.crs is None else CRS.from_wkt(dataset.crs.to_wkt())
    except CRSError as error:
        raise UnsupportedRaster(
            f"{path.name}: its CRS cannot be understood; assign one", pointer=str(path)
        ) from error
    transform = dataset.transform if crs is not None else Affine.identity()
    return RasterFile(
        path, driver, dataset.height, dataset.width, bands or (1,), dataset.dtypes[0], crs, transform,
        dataset.nodata, MaskFlags.per_dataset in dataset.mask_flag_enums[0],
    )  # fmt: skip


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Positions:
    """Where lattice pixels lie in a file, as (row, col) pixel-centre positions on a coarse grid, linear between."""

    rows: Float64
    cols: Float64
    shape: tuple[int, int]

    def full(self) -> Float64:
        """Return (2, row, col)."""
        return np.stack([_stretched(self.rows, self.shape), _stretched(self.cols, self.shape)])


def _stretched(coarse: Float64, shape: tuple[int, int]) -> Float64:
    """Interpolate values at every 16th pixel to every pixel, linearly."""
    out = coarse
    for axis, n in enumerate(shape):
        at = np.arange(n) / _COARSE_STEP
        low = np.minimum(at.astype(int), out.shape[axis] - 2)
        part = np.expand_dims(at - low, 1 - axis)
        out = np.take(out, low, axis) * (1 - part) + np.take(out, low + 1, axis) * part
    return out


@dataclass(frozen=True)
class _Lattice:
    """Pixels of one frame: ``transform`` maps pixel-edge (col, row) to coordinates of ``crs``."""

    transform: Affine
    crs: CRS | None
    shape: tuple[int, int]

    def window(self, row: int, col: int, rows: int, cols: int) -> "_Lattice":
        return _Lattice(self.transform @ Affine.translation(col, row), self.crs, (rows, cols))


def _positions(lattice: _Lattice, file: RasterFile, moved: Any = None) -> _Positions:
    """Return where lattice pixel centres lie in a file; ``moved`` maps (n, 2) lattice positions before that."""
    counts = [-(-n // _COARSE_STEP) + 2 for n in lattice.shape]
    grid = np.stack(
        np.meshgrid(*(np.arange(n) * float(_COARSE_STEP) for n in counts), indexing="ij"), axis=-1
    )
    at = grid.reshape(-1, 2)
    if moved is not None:
        at = moved(at)
    x, y = _apply(lattice.transform, at[:, 1] + 0.5, at[:, 0] + 0.5)
    if lattice.crs is not None and file.crs is not None and lattice.crs != file.crs:
        x, y = Transformer.from_crs(lattice.crs, file.crs, always_xy=True).transform(x, y)
        if not np.all(np.isfinite(x)):
            raise CannotRegister(
                f"{file.path.name}: its CRS cannot be transformed to the other's there; reproject one of them",
                pointer=str(file.path),
            )
    col, row = _apply(~file.transform, np.asarray(x), np.asarray(y))
    shape = (counts[0], counts[1])
    return _Positions((row - 0.5).reshape(shape), (col - 0.5).reshape(shape), lattice.shape)


def _apply(transform: Affine, x: Float64, y: Float64) -> tuple[Float64, Float64]:
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


def _span(positions: _Positions, file: RasterFile, margin: int) -> tuple[slice, slice] | None:
    """Return the rows and columns of a file that positions touch, or None."""
    parts = []
    for values, n in ((positions.rows, file.rows), (positions.cols, file.cols)):
        low = max(0, math.floor(float(values.min())) - margin)
        high = min(n, math.ceil(float(values.max())) + margin + 1)
        if low >= high:
            return None
        parts.append(slice(low, high))
    return parts[0], parts[1]


def _ratio(positions: _Positions) -> float:
    """Return file pixels per lattice pixel, the larger axis."""
    down = np.hypot(np.diff(positions.rows, axis=0), np.diff(positions.cols, axis=0)).mean()
    across = np.hypot(np.diff(positions.rows, axis=1), np.diff(positions.cols, axis=1)).mean()
    return float(max(down, across)) / _COARSE_STEP


def _read(
    dataset: rasterio.DatasetReader, file: RasterFile, bands: tuple[int, ...], span: tuple[slice, slice]
) -> tuple[Float32Image, Mask]:
    """Return (band, row, col) float32 of a part of a file, and where all bands hold data."""
    window = Window(span[1].start, span[0].start, span[1].stop - span[1].start, span[0].stop - span[0].start)
    raw = dataset.read(list(bands), window=window)
    valid = np.isfinite(raw).all(axis=0) if raw.dtype.kind == "f" else np.ones(raw.shape[1:], bool)
    if file.nodata is not None and math.isfinite(file.nodata):
        valid &= ~(raw == raw.dtype.type(file.nodata)).all(axis=0)
    if file.masked:
        valid &= dataset.read_masks(bands[0], window=window) > 0
    return raw.astype(np.float32), valid


def _resampled(
    dataset: rasterio.DatasetReader, file: RasterFile, bands: tuple[int, ...], positions: _Positions
) -> tuple[Float32Image, Mask]:
    """Return (band, row, col) float32 at positions, interpolated once (cubic spline), and where data is.

    A file finer than the lattice is blurred to the lattice's pixel first.
    """
    ratio = _ratio(positions)
    values = np.zeros((len(bands), *positions.shape), np.float32)
    valid = np.zeros(positions.shape, bool)
    span = _span(positions, file, _KERNEL_PX + math.ceil(2 * ratio))
    if span is None:
        return values, valid
    raw, known = _read(dataset, file, bands, span)
    at = positions.full()
    at[0] -= span[0].start
    at[1] -= span[1].start
    inside = ndimage.map_coordinates(known.astype(np.uint8), at, order=0, mode="constant", cval=0) > 0
    edge = [(at[k] >= -0.5) & (at[k] <= n - 0.5) for k, n in enumerate(known.shape)]
    valid = inside & edge[0] & edge[1]
    whole = known.all()
    nearest = (
        None if whole else ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    )
    for k, band in enumerate(raw):
        plane = band if nearest is None or not known.any() else band[nearest[0], nearest[1]]
        if ratio > 1.3:
            plane = ndimage.gaussian_filter(
                plane, 0.45 * math.sqrt(ratio**2 - 1.0), mode="nearest", truncate=3.0
            )
        values[k] = ndimage.map_coordinates(plane, at, output=np.float32, order=3, mode="nearest")
    return values, valid


def _luminance(values: Float32Image, valid: Mask, name: str) -> Float32Image:
    """Return the mean of up to three bands that have contrast, each of unit deviation."""
    layers = []
    for plane in values[:3]:
        inside = plane[valid]
        deviation = float(inside.std(dtype=np.float64)) if inside.size else 0.0
        if deviation > 1e-9 * max(1.0, float(np.abs(inside).max())):
            layers.append((plane - np.float32(inside.mean(dtype=np.float64))) / np.float32(deviation))
    if not layers:
        raise CannotRegister(
            f"{name}: holds one value wherever the two overlap; nothing can be matched in it"
        )
    return np.asarray(np.mean(layers, axis=0, dtype=np.float32))


# --- the measurement ------------------------------------------------------------------------------------------------


def register_files(
    reference: str | Path,
    target: str | Path,
    *,
    mask_reference: str | Path | None = None,
    mask_target: str | Path | None = None,
    max_shift: float | None = None,
    out: str | Path | None = None,
) -> FileRegistration:
    """Measure where ``target`` lies against ``reference`` and write it moved, where asked.

    Parameters
    ----------
    mask_reference, mask_target : rasters that are not 0 where a pixel must not count; without CRS of their image's shape
    max_shift : largest shift looked for on either axis, metres (pixels where the files have no CRS)
    out : GeoTIFF to write: the target's bands and type on the reference's grid; not written where not registered

    Raises
    ------
    CannotRegister : no common frame, no overlap, all masked, or one constant value
    CannotWrite : ``out`` exists or cannot be written
    UnreadableRaster, UnsupportedRaster : a file that cannot be used
    """
    first, second = open_file(reference), open_file(target)
    if out is not None:
        _check_out(Path(out))
    if (first.crs is None) != (second.crs is None):
        lacking = first if first.crs is None else second
        raise CannotRegister(
            f"{lacking.path.name}: has no CRS while the other has; assign it one", pointer=str(lacking.path)
        )
    if max_shift is not None and not (math.isfinite(max_shift) and max_shift > 0):
        raise CannotRegister(
            f"the largest shift must be a positive number, not {max_shift}", pointer="--max-shift"
        )
    whole = _Lattice(first.transform, first.crs, (first.rows, first.cols))
    scale, axes, notes = _metres(whole)
    pixel_m = float(min(np.hypot(*scale[:, 0]), np.hypot(*scale[:, 1])))
    if max_shift is None:
        max_shift = max(DEFAULT_SHIFT_M, 16.0 * pixel_m) if first.crs is not None else DEFAULT_SHIFT_PX
    reach = max_shift / pixel_m
    lattice, corner, thinning, sharpness = _measured_lattice(whole, second, reach)
    images, seen = _images((first, second), lattice, (mask_reference, mask_target))
    images = list(equal_sharpness(images[0], images[1], 1.0 / thinning, sharpness))
    result = register_arrays(images[0], images[1], seen[0], seen[1], max_shift_px=reach / thinning)
    notes += _remarks(first, second, thinning)
    answer = _in_file_frame(result, whole, corner, thinning, scale, axes, notes, (first.path, second.path))
    if out is not None and result.state is not RegistrationState.NOT_REGISTERED:
        _write(Path(out), whole, second, result, corner, thinning)
        answer = replace(answer, written=Path(out))
    elif out is not None:
        answer = replace(answer, notes=(*answer.notes, "not registered, so nothing was written"))
    return answer


def _remarks(first: RasterFile, second: RasterFile, thinning: int) -> tuple[str, ...]:
    notes = []
    if first.crs is not None and second.crs is not None and first.crs != second.crs:
        notes.append("the target has another CRS and was read onto the reference's grid on the fly")
    if len(first.bands) != len(second.bands):
        notes.append(f"{len(first.bands)} and {len(second.bands)} bands: compared by the mean of up to three")
    if thinning > 1:
        notes.append(f"measured on every {thinning}th pixel of the reference")
    return tuple(notes)


def _metres(lattice: _Lattice) -> tuple[Float64, str, tuple[str, ...]]:
    """Return the matrix that turns (row, col) pixels into (north, east) metres, and along which axes those run."""
    rows, cols = lattice.shape
    a, b, _, d, e, _ = lattice.transform[:6]
    if lattice.crs is None:
        return np.array([[-1.0, 0.0], [0.0, 1.0]]), "pixels", ("no CRS: everything is in pixels",)
    unit = lattice.crs.axis_info[0].unit_conversion_factor if lattice.crs.axis_info else 1.0
    if lattice.crs.is_projected and unit == 1.0 and "Pseudo-Mercator" not in lattice.crs.name:
        return np.array([[e, d], [b, a]]), "grid", ()
    x, y = _apply(lattice.transform, np.array([0, 0, 1]) + cols / 2.0, np.array([0, 1, 0]) + rows / 2.0)
    lon, lat = Transformer.from_crs(lattice.crs, "EPSG:4326", always_xy=True).transform(x, y)
    azimuth, _, length = Geod(ellps="WGS84").inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    turn, length = np.radians(azimuth), np.asarray(length)
    matrix = np.stack([length * np.cos(turn), length * np.sin(turn)])
    return matrix, "true", ("east and north are local metres: the reference's CRS does not count in them",)


def _measured_lattice(
    whole: _Lattice, target: RasterFile, reach_px: float
) -> tuple[_Lattice, tuple[int, int], int, float]:
    """Return the part of the reference to measure on, its first pixel, its thinning and the target's pixel on it."""
    positions = _positions(whole, target)
    ratio = _ratio(positions)
    touching = (
        (positions.rows > -0.5 - reach_px * ratio)
        & (positions.rows < target.rows - 0.5 + reach_px * ratio)
        & (positions.cols > -0.5 - reach_px * ratio)
        & (positions.cols < target.cols - 0.5 + reach_px * ratio)
    )
    if not touching.any():
        raise CannotRegister(f"{target.path.name}: does not overlap the reference", pointer=str(target.path))
    row, col = np.nonzero(touching)
    first = [max(0, (int(v.min()) - 1) * _COARSE_STEP) for v in (row, col)]
    last = [min(n, (int(v.max()) + 2) * _COARSE_STEP) for v, n in zip((row, col), whole.shape, strict=True)]
    shape = [b - a for a, b in zip(first, last, strict=True)]
    if min(shape) < 1:
        raise CannotRegister(f"{target.path.name}: does not overlap the reference", pointer=str(target.path))
    thinning = max(
        1, math.floor(1.0 / ratio + 0.25), math.ceil(math.sqrt(shape[0] * shape[1] / MEASURED_PIXELS))
    )
    part = whole.window(first[0], first[1], shape[0], shape[1])
    thin = _Lattice(
        part.transform @ Affine.scale(thinning),
        part.crs,
        (max(1, shape[0] // thinning), max(1, shape[1] // thinning)),
    )
    return thin, (first[0], first[1]), thinning, 1.0 / (ratio * thinning)


def _images(
    files: tuple[RasterFile, RasterFile],
    lattice: _Lattice,
    masks: tuple[str | Path | None, str | Path | None],
) -> tuple[list[Float32Image], list[Mask]]:
    """Read both files and their masks onto the lattice."""
    images, seen = [], []
    for file, mask in zip(files, masks, strict=True):
        with _opened(file.path, file.driver) as dataset:
            values, valid = _resampled(dataset, file, file.bands[:3], _positions(lattice, file))
        if not valid.any():
            raise CannotRegister(
                f"{file.path.name}: holds no data where the two overlap", pointer=str(file.path)
            )
        if mask is not None:
            valid &= _clear(mask, file, lattice)
            if not valid.any():
                raise CannotRegister(
                    f"{file.path.name}: its mask hides all of the overlap", pointer=str(mask)
                )
        images.append(_luminance(values, valid, file.path.name))
        seen.append(valid)
    return images, seen


def _clear(mask: str | Path, image: RasterFile, lattice: _Lattice) -> Mask:
    """Return where a mask raster is 0 (outside it counts as clear)."""
    file = open_file(mask)
    if file.crs is None:
        if (file.rows, file.cols) != (image.rows, image.cols):
            raise CannotRegister(
                f"{file.path.name}: a mask without CRS must have the shape of its image, {image.rows} x {image.cols}",
                pointer=str(file.path),
            )
        file = replace(file, crs=image.crs, transform=image.transform)
    with _opened(file.path, file.driver) as dataset:
        raw = dataset.read(file.bands[0])
    positions = _positions(lattice, file).full()
    hidden = ndimage.map_coordinates((raw != 0).astype(np.uint8), positions, order=0, mode="constant", cval=0)
    return np.asarray(hidden == 0)


def _in_file_frame(
    result: ArrayRegistration,
    whole: _Lattice,
    corner: tuple[int, int],
    thinning: int,
    scale: Float64,
    axes: str,
    notes: tuple[str, ...],
    paths: tuple[Path, Path],
) -> FileRegistration:
    """Turn an answer on the measured lattice into the reference's pixels and metres."""
    shift = np.array(result.shift_px) * thinning
    middle = (np.array(result.centre) + 0.5) * thinning + np.array(corner)
    x, y = whole.transform @ (middle[1], middle[0])
    slope = np.array(result.slope)
    metres = scale @ shift
    # scale gives (north, east); the linear part is printed as ((dee, den), (dne, dnn)).
    linear = (scale @ slope @ np.linalg.inv(scale))[::-1, ::-1]
    gsd = None if axes == "pixels" else float(np.sqrt(abs(np.linalg.det(scale))))
    return FileRegistration(
        paths[0], paths[1], result, (float(shift[0]), float(shift[1])),
        None if axes == "pixels" else (float(metres[0]), float(metres[1])),
        linear, (float(x), float(y)), gsd, axes, thinning, notes,
    )  # fmt: skip


# --- the registered raster -------------------------------------------------------------------------------------------


def _check_out(out: Path) -> None:
    if out.exists():
        raise CannotWrite(f"{out.name}: exists already; name another file or remove it", pointer=str(out))
    if not out.parent.is_dir():
        raise CannotWrite(f"{out.parent}: there is no such folder", pointer=str(out))
    if not os.access(out.parent, os.W_OK):
        raise CannotWrite(f"{out.parent}: may not be written to", pointer=str(out))


def _write(
    out: Path,
    whole: _Lattice,
    file: RasterFile,
    result: ArrayRegistration,
    corner: tuple[int, int],
    thinning: int,
) -> None:
    """Write the target on the reference's grid, tile by tile, whole or not at all."""
    profile = {
        "driver": "GTiff",
        "height": whole.shape[0],
        "width": whole.shape[1],
        "count": len(file.bands),
        "dtype": file.dtype,
        "nodata": file.nodata,
        "crs": None if whole.crs is None else whole.crs.to_wkt(),
        "transform": whole.transform,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
    }
    part = out.with_name(f".{out.name}.part")
    try:
        with (
            _without_georeferencing_warning(),
            rasterio.Env(**_ENVIRONMENT),
            rasterio.open(part, "w", **profile) as sink,
            _opened(file.path, file.driver) as source,
        ):
            for row in range(0, whole.shape[0], TILE_PX):
                for col in range(0, whole.shape[1], TILE_PX):
                    _write_tile(sink, source, whole, file, (row, col), result, corner, thinning)
        os.replace(part, out)
    except (OSError, RasterioError) as error:
        raise CannotWrite(
            f"{out.name}: could not be written ({str(error).splitlines()[0]})", pointer=str(out)
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _write_tile(
    sink: Any,
    source: rasterio.DatasetReader,
    whole: _Lattice,
    file: RasterFile,
    origin: tuple[int, int],
    result: ArrayRegistration,
    corner: tuple[int, int],
    thinning: int,
) -> None:
    rows, cols = (min(TILE_PX, n - o) for n, o in zip(whole.shape, origin, strict=True))
    offset = np.array(origin, np.float64) - np.array(corner)

    def where_target_claims(at: Float64) -> Float64:
        """Map positions in this tile to where the target says that content lies, tile pixels."""
        measured = (at + offset + 0.5) / thinning - 0.5
        return np.asarray((result.target_position(measured) + 0.5) * thinning - 0.5 - offset)

    tile = whole.window(origin[0], origin[1], rows, cols)
    values, valid = _resampled(source, file, file.bands, _positions(tile, file, where_target_claims))
    kind = np.dtype(file.dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = np.clip(np.rint(values), limits.min, limits.max)
    nodata = file.nodata if file.nodata is not None else (np.nan if kind.kind == "f" else 0)
    values[:, ~valid] = nodata
    window = Window(origin[1], origin[0], cols, rows)
    sink.write(values.astype(kind), window=window)
    if file.nodata is None:
        sink.write_mask(valid, window=window)
