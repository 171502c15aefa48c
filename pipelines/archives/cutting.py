"""Which bytes of a GeoTIFF are needed to read a window of its pixels, and the hash of just those.

Every table of the file is needed, since GDAL walks through all of them, and of the blocks those that the window
touches, in the image and in its mask. Overviews are never read: a look is taken from full resolution. What lies
otherwise than that can be told of (``NotCut``) is fetched whole.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from imagery import tiff
from imagery.errors import UnreadableRaster
from imagery.excerpt import Held, Span

MAX_IMAGES = 64
MAX_HEAD_BYTES = 48 * 2**20
# GDAL's notes on how a file is laid out follow its first bytes.
FRONT_BYTES = 1024
# In such files each block's length stands before it, and its last bytes are repeated behind it.
AROUND_BYTES = 4
# The reader of headers looks at these in the middle to tell an alpha band from a fourth band of pixels.
MIDDLE_PX = 256
# Without compression, scenes of one place have equal tables: by those alone two could not be told apart.
UNCOMPRESSED, OLD_JPEG = 1, 6
REDUCED, MASK = 1, 4
# Tags that lead to tables which no pixel of ours is in, or to blocks otherwise than by the usual tables.
ELSEWHERE = frozenset({330, 513, 34665, 34853, 40965})


class NotCut(Exception):
    """A file that is read whole: nothing is wrong with it, but which bytes a window needs cannot be told."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tables and blocks of a file lie; ``images`` are the first one at full resolution and its mask."""

    size: int
    tables: tuple[Span, ...]
    images: tuple[tiff.Blocks, ...]

    @property
    def always(self) -> tuple[Held, ...]:
        """Windows that opening the file may read: its first block, and the middle where a band may be alpha."""
        image = self.images[0]
        first = self.snapped((0, 0, 1, 1))
        if image.samples == 1:
            return (first,)
        rows, cols = min(image.rows, MIDDLE_PX), min(image.cols, MIDDLE_PX)
        middle = ((image.rows - rows) // 2, (image.cols - cols) // 2, rows, cols)
        return (first, self.snapped(middle))

    def snapped(self, window: Held) -> Held:
        """Return the whole blocks that a window, cut to the image, touches, as a window of pixels."""
        image = self.images[0]
        row, col = max(window[0], 0), max(window[1], 0)
        last_row = min(window[0] + window[2], image.rows)
        last_col = min(window[1] + window[3], image.cols)
        if last_row <= row or last_col <= col:
            return (0, 0, 0, 0)
        row -= row % image.block_rows
        col -= col % image.block_cols
        last_row = min(-(-last_row // image.block_rows) * image.block_rows, image.rows)
        last_col = min(-(-last_col // image.block_cols) * image.block_cols, image.cols)
        return row, col, last_row - row, last_col - col

    def spans(self, windows: Iterable[Held]) -> tuple[Span, ...]:
        """Return what is needed of the file to read some windows, in order and merged."""
        found = list(self.tables)
        for window in windows:
            for image in self.images:
                found += _blocks_in(image, window, self.size)
        return merged(found)


def _blocks_in(image: tiff.Blocks, window: Held, size: int) -> list[Span]:
    row, col, rows, cols = window
    if rows < 1 or cols < 1:
        return []
    across, down = -(-image.cols // image.block_cols), -(-image.rows // image.block_rows)
    down_at = np.arange(row // image.block_rows, (row + rows - 1) // image.block_rows + 1)
    across_at = np.arange(col // image.block_cols, (col + cols - 1) // image.block_cols + 1)
    plane = (down_at[:, None] * across + across_at[None]).ravel()
    at = (np.arange(image.planes)[:, None] * (across * down) + plane[None]).ravel()
    return [
        (
            max(offset - AROUND_BYTES, 0),
            min(offset + length + AROUND_BYTES, size) - max(offset - AROUND_BYTES, 0),
        )
        for offset, length in zip(image.offsets[at].tolist(), image.lengths[at].tolist(), strict=True)
        if length > 0  # a block that was never written is nowhere
    ]


def layout_of(file: BinaryIO, size: int, name: str) -> Layout:
    """Read where everything lies in a file of ``size`` bytes; ``file`` need hold no more than it is asked for.

    Raises
    ------
    NotCut : it is laid out in a way that is not known here
    UnreadableRaster : it is no TIFF, or its tables contradict each other or the file's length
    """
    try:
        return _layout(file, size)
    except (struct.error, KeyError, IndexError, ValueError, OverflowError) as error:
        raise UnreadableRaster(
            f"{name}: its TIFF directory is damaged or missing ({error})", pointer=name
        ) from error


def _layout(file: BinaryIO, size: int) -> Layout:
    head = tiff.read_head(file)
    tables: list[Span] = [(0, min(FRONT_BYTES, size))]
    images: list[tiff.Blocks] = []
    seen: set[int] = set()
    place = head.first
    while place:
        if place in seen:
            raise ValueError("its directories lead in a circle")
        if len(seen) == MAX_IMAGES:
            raise NotCut(f"more than {MAX_IMAGES} images")
        seen.add(place)
        directory = tiff.read_directory(file, size, head, place)
        for offset, length in directory.spans:
            if offset + length > size:
                raise ValueError("a table lies beyond the end of the file")
        tables += directory.spans
        if sum(length for _, length in tables) > MAX_HEAD_BYTES:
            raise NotCut("larger tables than are worth it")
        if directory.tags & ELSEWHERE or directory.one(tiff.COMPRESSION, 1) in (UNCOMPRESSED, OLD_JPEG):
            raise NotCut("not compressed, or tables that others lead to")
        kind = directory.one(tiff.SUBFILE, 0)
        if not images:
            if kind & (REDUCED | MASK):
                raise NotCut("its first image is not the full one")
            images.append(_checked(tiff.blocks_of(directory), size))
        elif kind & MASK and not kind & REDUCED:
            mask = _checked(tiff.blocks_of(directory), size)
            if (mask.rows, mask.cols) == (images[0].rows, images[0].cols):
                images.append(mask)
        place = directory.next
    if not images:
        raise ValueError("it holds no image")
    return Layout(size, merged(tables), tuple(images))


def _checked(blocks: tiff.Blocks, size: int) -> tiff.Blocks:
    if min(blocks.rows, blocks.cols, blocks.block_rows, blocks.block_cols, blocks.samples) < 1:
        raise ValueError("its header gives a size of zero")
    if len(blocks.offsets) != blocks.expected or len(blocks.lengths) != blocks.expected:
        raise ValueError(f"its header promises {blocks.expected:,} blocks and lists {len(blocks.offsets):,}")
    if (
        np.any(blocks.offsets > size)
        or np.any(blocks.lengths > size)
        or np.any(blocks.offsets + blocks.lengths > size)
    ):
        raise ValueError(f"blocks lie beyond its end ({size:,} bytes)")
    return blocks


# --- spans of bytes --------------------------------------------------------------------------------------------------


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return spans in order, those that touch or overlap as one."""
    found: list[list[int]] = []
    for offset, length in sorted(span for span in spans if span[1] > 0):
        if found and offset <= found[-1][1]:
            found[-1][1] = max(found[-1][1], offset + length)
        else:
            found.append([offset, offset + length])
    return tuple((first, last - first) for first, last in found)


def common(one: Sequence[Span], other: Sequence[Span]) -> tuple[Span, ...]:
    """Return what two lists of spans, each in order, both hold."""
    found: list[Span] = []
    i = j = 0
    while i < len(one) and j < len(other):
        first = max(one[i][0], other[j][0])
        ends = sum(one[i]), sum(other[j])
        if first < min(ends):
            found.append((first, min(ends) - first))
        if ends[0] <= ends[1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def without(spans: Sequence[Span], taken: Sequence[Span]) -> tuple[Span, ...]:
    """Return what of some spans, in order, is not in others, in order."""
    left: list[Span] = []
    cuts = common(spans, taken)
    at = 0
    for offset, length in spans:
        first, last = offset, offset + length
        while at < len(cuts) and cuts[at][0] < last:
            if cuts[at][0] > first:
                left.append((first, cuts[at][0] - first))
            first = sum(cuts[at])
            at += 1
        if first < last:
            left.append((first, last - first))
    return tuple(left)


def grouped(spans: Sequence[Span], gap: int, most: int) -> list[Span]:
    """Return the requests that fetch some spans: those less than ``gap`` bytes apart together, none above ``most``."""
    groups: list[list[int]] = []
    for offset, length in spans:
        if groups and offset - groups[-1][1] <= gap:
            groups[-1][1] = offset + length
        else:
            groups.append([offset, offset + length])
    return [(at, min(most, last - at)) for first, last in groups for at in range(first, last, most)]


def excerpt_sha256(path: str | Path, size: int, spans: Sequence[Span]) -> str:
    """Return the SHA-256 of some spans of a file of ``size`` bytes, whether ``path`` is all of it or an excerpt.

    Hashed are a line ``depotwatch-excerpt/1 SIZE``, a line ``OFFSET LENGTH`` for each span in order, an empty line, and
    the bytes of the spans, one after the other.

    Raises
    ------
    OSError : it cannot be read
    ValueError : it ends before a span does
    """
    lines = [f"depotwatch-excerpt/1 {size}", *(f"{offset} {length}" for offset, length in spans), "", ""]
    digest = hashlib.sha256("\n".join(lines).encode())
    with Path(path).open("rb") as file:
        for offset, length in spans:
            file.seek(offset)
            left = length
            while left > 0:
                part = file.read(min(left, 1 << 20))
                if not part:
                    raise ValueError(f"{Path(path).name} ends before byte {offset + length}")
                digest.update(part)
                left -= len(part)
    return digest.hexdigest()
