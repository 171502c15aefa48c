"""Parts of a GeoTIFF kept at their own offsets in a sparse file of its full size, and what of its pixels they hold.

Bytes that are not kept read as zeros, which some decoders take for pixels. So such a file ends in a mark that says which
windows of pixels it holds, and ``assert_held`` refuses any other before a decoder sees it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rasterio.windows import Window

from imagery.errors import DepotwatchError, UnreadableRaster

Span = tuple[int, int]
"""``(offset, length)`` in bytes."""
Held = tuple[int, int, int, int]
"""``(row, col, rows, cols)`` of pixels at full resolution."""

MARK = b"DWPART01"
MAX_MARK_BYTES = 32 * 2**20


class PixelsNotHeld(DepotwatchError):
    """Pixels were asked of an excerpt of a remote file that it does not hold."""

    code = "pixels-not-held"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What a file holds of the one it was cut from.

    ``size`` is the whole file's, bytes; ``spans`` are in order and do not touch; ``windows`` are pixels that can be read.
    ``etag`` is what the server called the whole file by.
    """

    size: int
    spans: tuple[Span, ...]
    windows: tuple[Held, ...]
    etag: str

    def mark(self) -> bytes:
        """Return what is written behind the whole file's last byte."""
        text = json.dumps(
            {"size": self.size, "spans": self.spans, "windows": self.windows, "etag": self.etag}
        ).encode()
        return text + len(text).to_bytes(8, "little") + MARK


def read_excerpt(path: str | Path) -> Excerpt | None:
    """Return what a file holds of the one it was cut from; None of one that is whole.

    Raises
    ------
    UnreadableRaster : it carries the mark of an excerpt, and what the mark says cannot be
    OSError : it cannot be read
    """
    foot = 8 + len(MARK)
    with Path(path).open("rb") as file:
        end = file.seek(0, 2)
        if end < foot:
            return None
        file.seek(end - foot)
        tail = file.read(foot)
        if tail[8:] != MARK:
            return None
        length = int.from_bytes(tail[:8], "little")
        if not 0 < length <= min(MAX_MARK_BYTES, end - foot):
            raise _damaged(path)
        file.seek(end - foot - length)
        text = file.read(length)
    try:
        told = json.loads(text)
        found = Excerpt(
            int(told["size"]),
            tuple((int(offset), int(count)) for offset, count in told["spans"]),
            tuple((int(r), int(c), int(rows), int(cols)) for r, c, rows, cols in told["windows"]),
            str(told["etag"]),
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path) from error
    if found.size != end - foot - length or not are_spans(found.spans, found.size):
        raise _damaged(path)
    return found


def are_spans(spans: Iterable[Span], size: int) -> bool:
    """Tell whether spans are in order, apart from each other and inside a file of ``size`` bytes."""
    last = -1
    for offset, length in spans:
        if offset <= last or length < 1 or offset + length > size:
            return False
        last = offset + length
    return True


def assert_held(path: str | Path, window: Window) -> None:
    """Refuse a window of pixels that an excerpt does not hold; any of a whole file passes.

    Raises
    ------
    PixelsNotHeld : part of it was never fetched
    """
    excerpt = read_excerpt(path)
    if excerpt is None:
        return
    (top, bottom), (left, right) = window.toranges()
    for row, col, rows, cols in excerpt.windows:
        if row <= top and bottom <= row + rows and col <= left and right <= col + cols:
            return
    raise PixelsNotHeld(
        f"{Path(path).name}: rows {top} to {bottom} and columns {left} to {right} were not fetched from its server; "
        "this is a fault of the program: please report it",
        pointer=str(path),
    )


def _damaged(path: str | Path) -> UnreadableRaster:
    return UnreadableRaster(
        f"{Path(path).name}: is an excerpt of a remote file and damaged; delete it, and it is fetched again",
        pointer=str(path),
    )
