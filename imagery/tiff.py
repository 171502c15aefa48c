"""The tables of TIFF and BigTIFF files, read strictly: every place and count is checked before it is believed.

Enough to know where a file's blocks of pixels lie; what their bytes mean is GDAL's business.
"""

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

MAX_BLOCKS = 4_000_000
MAX_ENTRIES = 4096

SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION = 254, 256, 257, 258, 259
SAMPLES, ROWS_PER_STRIP, PLANAR = 277, 278, 284
STRIP_OFFSETS, STRIP_BYTES = 273, 279
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
READ = frozenset({
    SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, SAMPLES, ROWS_PER_STRIP, PLANAR, STRIP_OFFSETS, STRIP_BYTES,
    TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES,
})  # fmt: skip
"""Tags whose values are read; of others only where they lie."""

_SIZES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}


@dataclass(frozen=True, slots=True)
class Head:
    """How a file's numbers are written, and where its first directory lies."""

    order: Literal["<", ">"]
    big: bool
    first: int


@dataclass(frozen=True, slots=True)
class Directory:
    """One image of a file.

    ``fields`` are the integers of the tags in ``READ``; ``tags`` are all that there are; ``spans`` is where its table and
    the values that lie outside of it are, (offset, length); ``next`` is the place of the next directory, 0 after the last.
    """

    fields: dict[int, NDArray[np.uint64]]
    tags: frozenset[int]
    spans: tuple[tuple[int, int], ...]
    next: int

    def one(self, tag: int, default: int) -> int:
        """Return the first value of a field."""
        return int(self.fields[tag][0]) if tag in self.fields else default


@dataclass(frozen=True, slots=True)
class Blocks:
    """How an image is divided: strips are blocks as wide as the image. ``planes`` are bands that lie apart."""

    rows: int
    cols: int
    block_rows: int
    block_cols: int
    samples: int
    planes: int
    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]

    @property
    def expected(self) -> int:
        """How many blocks such an image has."""
        return -(-self.cols // self.block_cols) * -(-self.rows // self.block_rows) * self.planes


def read_head(file: BinaryIO) -> Head:
    """Return what a TIFF or BigTIFF begins with.

    Raises
    ------
    ValueError, struct.error : it is none
    """
    file.seek(0)
    head = file.read(16)
    orders: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
    order = orders.get(head[:2])
    if order is None:
        raise ValueError("it does not begin as a TIFF")
    (magic,) = struct.unpack(order + "H", head[2:4])
    if magic == 42:
        return Head(order, False, *struct.unpack(order + "I", head[4:8]))
    if magic == 43:
        return Head(order, True, *struct.unpack(order + "Q", head[8:16]))
    raise ValueError("it does not begin as a TIFF")


def read_directory(file: BinaryIO, size: int, head: Head, place: int) -> Directory:
    """Return the directory at ``place`` of a file of ``size`` bytes.

    Raises
    ------
    ValueError, struct.error, OverflowError : it cannot be one
    """
    counter, entry, inline = ("Q", "HHQ8s", 8) if head.big else ("H", "HHI4s", 4)
    pointer = head.order + ("Q" if head.big else "I")
    width = struct.calcsize(head.order + counter)
    if place + width > size:
        raise ValueError("a directory lies beyond the end of the file")
    file.seek(place)
    (count,) = struct.unpack(head.order + counter, file.read(width))
    if count > MAX_ENTRIES:
        raise ValueError(f"{count} directory entries")
    table = file.read(count * struct.calcsize(head.order + entry))
    # Files exist that end where the place of the next directory should be: they have none.
    end = file.read(struct.calcsize(pointer))
    following = struct.unpack(pointer, end)[0] if len(end) == struct.calcsize(pointer) else 0
    spans = [(place, width + len(table) + len(end))]
    fields: dict[int, NDArray[np.uint64]] = {}
    tags = set()
    for tag, kind, values, data in struct.iter_unpack(head.order + entry, table):
        tags.add(tag)
        span = _outside(head, kind, values, data, inline)
        if span is not None:
            spans.append(span)
        if kind in _INTEGERS and tag in READ:
            fields[tag] = _values(file, size, head, kind, values, data, span)
    return Directory(fields, frozenset(tags), tuple(spans), int(following))


def _outside(head: Head, kind: int, count: int, data: bytes, inline: int) -> tuple[int, int] | None:
    """Return where a field's values lie, None where the entry itself holds them."""
    need = count * _SIZES.get(kind, 0)
    if need <= inline:
        return None
    (place,) = struct.unpack(head.order + ("Q" if head.big else "I"), data)
    return int(place), need


def _values(
    file: BinaryIO, size: int, head: Head, kind: int, count: int, data: bytes, span: tuple[int, int] | None
) -> NDArray[np.uint64]:
    """Return one field's values, from the entry itself or from where it points."""
    if not 1 <= count <= MAX_BLOCKS:
        raise ValueError(f"a field of {count:,} values")
    if span is not None:
        if sum(span) > size:
            raise ValueError("its block table lies beyond the end of the file")
        file.seek(span[0])
        data = file.read(span[1])
    dtype: Any = np.dtype(head.order + _INTEGERS[kind])
    return np.frombuffer(data, dtype, count).astype(np.uint64)


def blocks_of(directory: Directory) -> Blocks:
    """Return how a directory's image is divided, as it says; whether that can be is for the caller to judge.

    Raises
    ------
    KeyError : a field that every image has is missing
    """
    fields = directory.fields
    cols, rows = int(fields[WIDTH][0]), int(fields[LENGTH][0])
    samples = directory.one(SAMPLES, 1)
    planes = samples if directory.one(PLANAR, 1) == 2 else 1
    if TILE_OFFSETS in fields:
        size = int(fields[TILE_LENGTH][0]), int(fields[TILE_WIDTH][0])
        return Blocks(rows, cols, *size, samples, planes, fields[TILE_OFFSETS], fields[TILE_BYTES])
    height = min(directory.one(ROWS_PER_STRIP, rows), rows)
    return Blocks(rows, cols, height, cols, samples, planes, fields[STRIP_OFFSETS], fields[STRIP_BYTES])
