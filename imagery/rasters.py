"""Opening GeoTIFFs that others made: one driver, no network, nothing beside the file, and only if it is whole.

GDAL guesses a driver from content, follows references to other files and to remote addresses, and finds out only while
reading that half of a file is missing. Here the driver is fixed, side files are ignored, paths are never read as URLs,
and the table of blocks is checked against the file's length before the first pixel is read.
"""

import os
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Interleaving, MaskFlags
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from imagery.errors import UnreadableRaster, UnsupportedRaster
from imagery.tiff import BITS, Directory, blocks_of, read_directory, read_head

DTYPES = ("uint8", "uint16", "int16", "float32")

# A window read decodes whole blocks: this bounds the memory that one hostile block can ask for.
MAX_BLOCK_BYTES = 512 * 2**20
MAX_RASTER_PIXELS = 20_000_000_000
# DEFLATE cannot pack more than 1032:1; whatever claims more holds nothing or is a bomb. Small files may: a flat mask.
MAX_PACKING = 2000
PACKING_MATTERS_BYTES = 256 * 2**20

_ENVIRONMENT = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "GDAL_PAM_ENABLED": "NO",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
}


@dataclass(frozen=True, slots=True)
class RasterHeader:
    """What a GeoTIFF says of itself, checked.

    ``transform`` maps pixel-edge (col, row) to the coordinates of ``crs``; it may be rotated or south-up.
    ``masked`` tells whether an alpha band or an inner mask says which pixels hold data; ``colours`` and
    ``descriptions`` have one entry per band, and ``scalings`` a (scale, offset); ``indexes`` are the bands that hold
    data (no alpha). ``bits`` is the number of bits used where fewer than the type has. ``tags`` are the file's own
    text tags and those of its bands, their keys in upper case.
    """

    path: str
    rows: int
    cols: int
    dtype: str
    crs: str
    transform: Affine
    nodata: float | None
    indexes: tuple[int, ...]
    descriptions: tuple[str, ...]
    colours: tuple[str, ...]
    masked: bool
    scalings: tuple[tuple[float, float], ...]
    bits: int | None
    tags: tuple[tuple[str, str], ...]


@contextmanager
def open_raster(path: str | Path) -> Iterator[rasterio.DatasetReader]:
    """Open a local GeoTIFF for reading, with no other driver, no side files and no network.

    Raises
    ------
    UnreadableRaster : no such file, no GeoTIFF, or damaged; also when reading inside the ``with`` block fails
    """
    place = Path(path)
    if not place.is_file():
        raise UnreadableRaster(f"{place.name}: there is no such file", pointer=str(path))
    try:
        # A Path, not a string, so that rasterio takes it as it is: "a?b#c.tif" and "x://y" are file names here.
        with rasterio.Env(**_ENVIRONMENT), rasterio.open(place, driver="GTiff") as dataset:
            yield dataset
    except RasterioIOError as error:
        raise UnreadableRaster(
            f"{place.name}: not a readable GeoTIFF, copy or convert it again ({_first_line(error)})",
            pointer=str(path),
        ) from error


def read_header(path: str | Path) -> RasterHeader:
    """Check that a file is a whole, georeferenced GeoTIFF of a supported type and return what it says.

    Raises
    ------
    UnreadableRaster : empty, truncated, no TIFF, or claiming more than it can hold
    UnsupportedRaster : no CRS, no geotransform, or a number type other than ``DTYPES``
    """
    _check_blocks(Path(path))
    name = Path(path).name
    with open_raster(path) as dataset:
        if dataset.crs is None:
            raise UnsupportedRaster(
                f"{name}: has no CRS; give it one, for example gdal_edit -a_srs EPSG:32636", pointer=str(path)
            )
        if not dataset.crs.is_projected and not dataset.crs.is_geographic:
            raise UnsupportedRaster(
                f"{name}: its CRS is local to the file, not a place on Earth; give it an EPSG code",
                pointer=str(path),
            )
        transform = dataset.transform
        if transform == Affine.identity() or transform.is_degenerate or not np.all(np.isfinite(transform)):
            raise UnsupportedRaster(
                f"{name}: has no geotransform (control points and RPCs are not used); orthorectify it first",
                pointer=str(path),
            )
        if len(set(dataset.dtypes)) > 1 or dataset.dtypes[0] not in DTYPES:
            raise UnsupportedRaster(
                f"{name}: holds {', '.join(sorted(set(dataset.dtypes)))}; "
                f"convert it to one of {', '.join(DTYPES)}",
                pointer=str(path),
            )
        colours = _colours(dataset)
        indexes = tuple(i for i, c in zip(dataset.indexes, colours, strict=True) if c != "alpha")
        bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
        tags = {k: v for i in dataset.indexes for k, v in dataset.tags(i).items()}
        tags = {k.upper(): v for k, v in (tags | dataset.tags() | dataset.tags(ns="IMAGERY")).items()}
        return RasterHeader(
            path=str(path),
            rows=dataset.height,
            cols=dataset.width,
            dtype=dataset.dtypes[0],
            crs=dataset.crs.to_wkt(),
            transform=transform,
            nodata=dataset.nodata,
            indexes=indexes,
            descriptions=tuple(d or "" for d in dataset.descriptions),
            colours=colours,
            masked=has_mask(dataset, ()),
            scalings=tuple(zip(dataset.scales, dataset.offsets, strict=True)),
            bits=int(bits) if bits else None,
            tags=tuple(sorted(tags.items())),
        )


def _colours(dataset: rasterio.DatasetReader) -> tuple[str, ...]:
    """Return what each band is of; a fourth 8 bit band that is called alpha but varies freely is called undefined.

    GDAL calls the fourth band of any 8 bit file alpha unless told otherwise, near infrared ones included.
    """
    colours = [c.name for c in dataset.colorinterp]
    for index, colour in zip(dataset.indexes, colours, strict=True):
        if colour == "alpha":
            rows, cols = min(dataset.height, 256), min(dataset.width, 256)
            middle = Window((dataset.width - cols) // 2, (dataset.height - rows) // 2, cols, rows)
            if np.unique(dataset.read(index, window=middle)).size > 8:
                colours[index - 1] = "undefined"
    return tuple(colours)


def has_mask(dataset: rasterio.DatasetReader, data: Collection[int]) -> bool:
    """Tell whether an inner mask, or an alpha band that is none of the ``data`` bands, says which pixels hold data."""
    flags = dataset.mask_flag_enums[0]
    if MaskFlags.per_dataset not in flags:
        return False
    alpha = [i for i, c in zip(dataset.indexes, dataset.colorinterp, strict=True) if c.name == "alpha"]
    return not (MaskFlags.alpha in flags and set(alpha) & set(data))


# --- pixels that are wanted again ----------------------------------------------------------------------------------

# What is kept of one file and of all together, bytes.
KEPT_OF_FILE = 32 * 2**20
KEPT_IN_ALL = 128 * 2**20

Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Decoded:
    """The stored numbers (band, row, col) of some bands of a file's window, read-only."""

    identity: Identity
    window: Window
    bands: dict[int, NDArray[Any]]

    def holds(self, window: Window, indexes: Collection[int]) -> bool:
        (top, bottom), (left, right) = self.window.toranges()
        (first_row, last_row), (first_col, last_col) = window.toranges()
        inside = top <= first_row and last_row <= bottom and left <= first_col and last_col <= right
        return inside and set(indexes) <= set(self.bands)

    def cut(self, window: Window, indexes: Sequence[int]) -> NDArray[Any]:
        row, col = window.row_off - self.window.row_off, window.col_off - self.window.col_off
        where = slice(row, row + window.height), slice(col, col + window.width)
        return np.stack([self.bands[index][where] for index in indexes])


class DecodedPixels:
    """Stored numbers of files, kept from the first read for the next while that is asked for: none is decoded twice.

    What is kept holds while a file's size, inode and times stay what they were. The first files stay, and nothing is
    pushed out: files are read in turns, so that the oldest is always the next to be wanted.
    """

    def __init__(self) -> None:
        self._wanted = False
        self._kept: dict[str, _Decoded] = {}
        self._bytes = 0
        self._lock = Lock()

    def keep(self, wanted: bool) -> None:
        """Begin to keep what is read, or stop and forget all."""
        with self._lock:
            self._wanted = wanted
            self._kept, self._bytes = {}, 0

    def read(
        self,
        dataset: rasterio.DatasetReader,
        path: str,
        indexes: Sequence[int],
        window: Window,
        scene_indexes: Sequence[int],
    ) -> NDArray[Any]:
        """Return (band, row, col) of a window; ``scene_indexes`` are the bands that will be wanted sooner or later."""
        if not self._wanted:
            return np.asarray(dataset.read(indexes, window=window))
        identity = _identity(path)
        known = self._kept.get(path)
        if known is not None and known.identity == identity and known.holds(window, indexes):
            return known.cut(window, indexes)
        # Bands that lie pixel by pixel are decoded together whichever is asked for.
        together = dataset.count > 1 and dataset.interleaving is Interleaving.pixel
        bands = sorted({*indexes, *scene_indexes}) if together else list(indexes)
        size = window.width * window.height * len(bands) * np.dtype(dataset.dtypes[0]).itemsize
        if known is not None or size > KEPT_OF_FILE or self._bytes + size > KEPT_IN_ALL:
            return np.asarray(dataset.read(indexes, window=window))
        planes = dataset.read(bands, window=window)
        planes.flags.writeable = False
        decoded = _Decoded(identity, window, dict(zip(bands, planes, strict=True)))
        with self._lock:
            if self._wanted and path not in self._kept:
                self._kept[path] = decoded
                self._bytes += size
        return decoded.cut(window, indexes)


def _identity(path: str) -> Identity:
    status = os.stat(path)
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


# --- the table of blocks -------------------------------------------------------------------------------------------


def _check_blocks(path: Path) -> None:
    """Raise UnreadableRaster unless every block of the first image lies in the file and the sizes are possible."""
    try:
        _check_table(path)
    except OSError as error:  # no right to it, or a disk that fails: one scene less, not the end of a run
        raise UnreadableRaster(
            f"{path.name}: cannot be read, see to its rights and its disk ({error.strerror or _first_line(error)})",
            pointer=str(path),
        ) from error


def _check_table(path: Path) -> None:
    if not path.is_file():
        raise UnreadableRaster(f"{path.name}: there is no such file", pointer=str(path))
    size = path.stat().st_size
    if size == 0:
        raise UnreadableRaster(f"{path.name}: is empty (0 bytes); copy it again", pointer=str(path))
    with path.open("rb") as file:
        try:
            head = read_head(file)
            problem = _block_problem(read_directory(file, size, head, head.first), size)
        except (struct.error, KeyError, IndexError, ValueError, OverflowError) as error:
            raise UnreadableRaster(
                f"{path.name}: its TIFF directory is damaged or missing; copy it again ({_first_line(error)})",
                pointer=str(path),
            ) from error
    if problem:
        raise UnreadableRaster(f"{path.name}: {problem}", pointer=str(path))


def _block_problem(directory: Directory, size: int) -> str:
    """Say what is impossible about a TIFF directory, or nothing."""
    blocks = blocks_of(directory)
    cols, rows, samples = blocks.cols, blocks.rows, blocks.samples
    block_cols, block_rows = blocks.block_cols, blocks.block_rows
    offsets, lengths = blocks.offsets, blocks.lengths
    bits = directory.fields.get(BITS)
    sample_bytes = 1 if bits is None else -(-int(bits.max()) // 8)
    if min(cols, rows, block_cols, block_rows, samples) < 1:
        return "its header gives a size of zero"
    if cols * rows > MAX_RASTER_PIXELS:
        return f"its header claims {cols:,} x {rows:,} pixels, more than {MAX_RASTER_PIXELS:,}; cut it to the site"
    block_bytes = block_cols * block_rows * sample_bytes * (1 if blocks.planes > 1 else samples)
    if block_bytes > MAX_BLOCK_BYTES:
        return f"one block would take {block_bytes / 2**20:,.0f} MiB; write it tiled (gdal_translate -of COG)"
    expected = blocks.expected
    if len(offsets) != expected or len(lengths) != expected:
        return f"its header promises {expected:,} blocks and lists {len(offsets):,}; copy it again"
    if np.any(offsets > size) or np.any(offsets + lengths > size):
        missing = int(np.count_nonzero((offsets > size) | (offsets + lengths > size)))
        return f"is truncated: {missing:,} of {expected:,} blocks lie beyond its end ({size:,} bytes); copy it again"
    claimed = cols * rows * samples * sample_bytes
    if claimed > PACKING_MATTERS_BYTES and claimed > MAX_PACKING * int(lengths.sum()):
        return (
            f"its header claims {cols:,} x {rows:,} pixels ({claimed / 2**30:,.1f} GiB) but only "
            f"{int(lengths.sum()):,} bytes of pixels are there; cut it to the part that holds data"
        )
    return ""
