"""How remote files are kept in a cache folder: under their address, whole or in excerpts, each file written by one alone.

A file gets its name when it is finished, and no file is ever written to that has one: any number of processes share
a cache.
"""

import contextlib
import glob
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imagery.errors import UnreadableRaster
from imagery.excerpt import Excerpt, Held, Span, read_excerpt

COPIED_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the cache a remote file is kept, whole or in excerpts; of an excerpt, by its version and its windows."""

    folder: Path
    address: str
    name: str

    @property
    def whole(self) -> Path:
        return self.folder / f"{self.address}-{self.name}"

    @property
    def head(self) -> Path:
        return self.folder / f"{self.address}-head-{self.name}"

    def excerpt(self, etag: str, windows: Sequence[Held]) -> Path:
        key = hashlib.sha256(json.dumps([etag, windows]).encode()).hexdigest()[:16]
        return self.folder / f"{self.address}-{key}-{self.name}"

    def excerpts(self, etag: str) -> Iterator[tuple[Path, Excerpt]]:
        """Yield what is kept of one version of the file."""
        for path in sorted(self.folder.glob(f"{self.address}-*-{glob.escape(self.name)}")):
            with contextlib.suppress(OSError, UnreadableRaster):
                found = read_excerpt(path)
                if found is not None and found.etag == etag:
                    yield path, found


def link(new: Path, target: Path) -> None:
    """Give a finished file its name; unlike a rename, a link never replaces what another worker has put there."""
    with contextlib.suppress(FileExistsError):
        os.link(new, target)


@contextlib.contextmanager
def new_file(folder: Path) -> Iterator[Path]:
    """Yield an empty file that nobody else writes, gone in the end."""
    new = folder / f".{uuid.uuid4().hex}.part"
    new.touch()
    try:
        yield new
    finally:
        new.unlink(missing_ok=True)


def excerpt_at(path: Path) -> Excerpt:
    """Return what an excerpt holds.

    Raises
    ------
    UnreadableRaster : it is damaged
    FileNotFoundError : it is gone
    """
    found = read_excerpt(path)
    if found is None:
        raise UnreadableRaster(
            f"{path.name}: was an excerpt of a remote file and is damaged; delete it, and it is fetched again",
            pointer=str(path),
        )
    return found


def write_excerpt(new: Path, excerpt: Excerpt, fill: Callable[[BinaryIO, Sequence[Span]], None]) -> None:
    """Write a sparse file of the whole one's size, its spans filled, its mark behind."""
    with new.open("wb") as out:
        out.truncate(excerpt.size)
        fill(out, excerpt.spans)
        out.seek(excerpt.size)
        out.write(excerpt.mark())


def copy_spans(source: Path, out: BinaryIO, spans: Sequence[Span]) -> None:
    """Copy spans of a file to their own places in another."""
    with source.open("rb") as file:
        for at, part in _parts_of(file, spans):
            out.seek(at)
            out.write(part)


def same_bytes(one: Path, other: Path, spans: Sequence[Span]) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        pairs = zip(_parts_of(first, spans), _parts_of(second, spans), strict=True)
        return all(a == b for a, b in pairs)


def _parts_of(file: BinaryIO, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
    for offset, length in spans:
        for at in range(offset, offset + length, COPIED_BYTES):
            file.seek(at)
            part = file.read(min(COPIED_BYTES, offset + length - at))
            if len(part) < min(COPIED_BYTES, offset + length - at):
                raise UnreadableRaster(
                    f"{Path(file.name).name}: ends too early; delete it, and it is fetched again",
                    pointer=file.name,
                )
            yield at, part
