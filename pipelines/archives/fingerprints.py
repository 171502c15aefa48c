"""What was found in files, remembered from run to run: who adds one scene to a thousand opens and hashes one file.

What is remembered of a file, its SHA-256 and its checked header, holds while its size, inode and both of its times
stay what they were. The time of its last change of status cannot be set from outside, so a file that was replaced and
given its old date is read again. A file that was touched within ``TOO_FRESH_S`` of its reading is not remembered at
all: the clock of a file system is coarse, and what is written right after would look the same. Headers are read again
by another version of the program that reads them.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine

from imagery import rasters, tiff
from imagery.excerpt import Span
from imagery.rasters import RasterHeader, read_header
from pipelines.archives.cutting import excerpt_sha256

TOO_FRESH_S = 5.0
EXCERPT = "excerpt 1"

Identity = tuple[int, int, int, int]
"""``(size, inode, time of change, time of change of status)``, times in nanoseconds."""
Entries = dict[str, tuple[Identity, dict[str, Any]]]
"""By a file's name: what it was, and what was found in it then, plain JSON values by kind."""


class Fingerprints:
    """What was found in files, kept by the folder that they lie in: whatever names them, each is read once.

    Parameters
    ----------
    place : folder to keep it in, made when there is something to keep; None keeps it for this archive only
    """

    def __init__(self, place: Path | None) -> None:
        self._place = place
        self._known: dict[str, Entries] = {}
        self._changed: set[str] = set()

    def sha256_of(self, path: str) -> str:
        """Return a file's SHA-256, reading it only where it changed since it was last read."""
        return str(self._found(path, "sha256", lambda: _sha256(path)))

    def sha256_of_excerpt(self, path: str, size: int, spans: Sequence[Span]) -> str:
        """Return the SHA-256 of what is kept of a remote file, see ``pipelines.archives.cutting.excerpt_sha256``."""
        return str(self._found(path, EXCERPT, lambda: excerpt_sha256(path, size, spans)))

    def header_of(self, path: str) -> RasterHeader:
        """Return a file's checked header, see ``imagery.rasters.read_header``, opening it only where it changed.

        Raises
        ------
        UnreadableRaster, UnsupportedRaster : the file cannot be used; that is never remembered
        """
        if not os.path.isfile(path):
            return read_header(path)  # which says what is wrong
        found = self._found(path, _header_kind(), lambda: _plain(read_header(path)))
        return _header(path, found)

    def _found(self, path: str, kind: str, read: Callable[[], Any]) -> Any:
        folder, name = os.path.split(os.path.abspath(path))
        if folder not in self._known:
            self._known[folder] = {} if self._place is None else _read(self._place / _name_of(folder))
        before = _identity(path)
        identity, facts = self._known[folder].get(name, (before, {}))
        if identity != before:
            facts = {}
        if kind in facts:
            return facts[kind]
        now = time.time()
        found = read()
        if now - max(before[2:]) / 1e9 > TOO_FRESH_S and _identity(path) == before:
            self._known[folder][name] = before, facts | {kind: found}
            self._changed.add(folder)
        return found

    def keep(self) -> None:
        """Write down what is new; a place that takes nothing is no reason to stop."""
        if self._place is not None:
            for folder in sorted(self._changed):
                with suppress(OSError):
                    _merge(self._place / _name_of(folder), folder, self._known[folder])
        self._changed.clear()


def _merge(place: Path, folder: str, entries: Entries) -> None:
    """Add to what a folder's files were found to be, by whomever, and drop what is there no more."""
    merged = {name: e for name, e in (_read(place) | entries).items() if os.path.exists(Path(folder, name))}
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=place.parent, prefix=".", suffix=".part", delete=False) as file:
        file.write(json.dumps(merged))  # to a file it would go through Python piece by piece
    os.replace(file.name, place)


def _name_of(folder: str) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:32] + ".json"


def _identity(path: str) -> Identity:
    status = os.stat(path)
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _read(place: Path) -> Entries:
    """Read what was kept, less headers of other versions; what is not there or not whole is nothing."""
    kinds = {"sha256", EXCERPT, _header_kind()}
    try:
        return {
            str(name): (
                (int(size), int(inode), int(changed), int(status)),
                {kind: found for kind, found in facts.items() if kind in kinds},
            )
            for name, ((size, inode, changed, status), facts) in json.loads(place.read_text()).items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


# --- hash and header -----------------------------------------------------------------------------------------------


def _sha256(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def _header_kind() -> str:
    """Name headers by what reads them: our reader's source and GDAL's version."""
    sources = [Path(str(module.__file__)).read_bytes() for module in (rasters, tiff)]
    return f"header {hashlib.sha256(b''.join(sources)).hexdigest()[:16]} {rasterio.__gdal_version__}"


def _plain(header: RasterHeader) -> dict[str, Any]:
    values = asdict(header)
    del values["path"]
    return values | {"transform": header.transform[:6]}


def _header(path: str, found: dict[str, Any]) -> RasterHeader:
    values = {name: _tuples(value) for name, value in found.items()}
    return RasterHeader(**values | {"path": path, "transform": Affine(*found["transform"])})


def _tuples(value: Any) -> Any:
    """Return lists as the tuples they were before JSON."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
