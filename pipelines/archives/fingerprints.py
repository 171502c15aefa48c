"""SHA-256 of files, remembered from run to run: who adds one scene to a thousand reads one file for its hash.

What is remembered holds while the file's size, inode and both of its times stay what they were. The time of its last
change of status cannot be set from outside, so a file that was replaced and given its old date is read again. A file
that was touched within ``TOO_FRESH_S`` of its reading is not remembered at all: the clock of a file system is coarse,
and what is written right after would look the same.
"""

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

TOO_FRESH_S = 5.0

Identity = tuple[int, int, int, int]
"""``(size, inode, time of change, time of change of status)``, times in nanoseconds."""
Entries = dict[str, tuple[Identity, str]]
"""By a file's name: what it was, and its hash then."""


class Fingerprints:
    """Hashes of files, kept by the folder that they lie in: whatever names them, each is read once.

    Parameters
    ----------
    place : folder to keep them in, made when there is something to keep; None keeps them for this process only
    """

    def __init__(self, place: Path | None) -> None:
        self._place = place
        self._known: dict[str, Entries] = {}
        self._new: dict[str, Entries] = {}

    def sha256_of(self, path: str) -> str:
        """Return a file's SHA-256, reading it only where it changed since it was last read."""
        folder, name = os.path.split(os.path.abspath(path))
        if folder not in self._known:
            self._known[folder] = {} if self._place is None else _read(self._place / _name_of(folder))
        before = _identity(path)
        if (known := self._known[folder].get(name)) is not None and known[0] == before:
            return known[1]
        now = time.time()
        sha256 = _sha256(path, before)
        if now - max(before[2:]) / 1e9 > TOO_FRESH_S and _identity(path) == before:
            self._known[folder][name] = before, sha256
            self._new.setdefault(folder, {})[name] = before, sha256
        return sha256

    def keep(self) -> None:
        """Write down what is new; a place that takes nothing is no reason to stop."""
        if self._place is not None:
            for folder, entries in self._new.items():
                with suppress(OSError):
                    _merge(self._place / _name_of(folder), folder, entries)
        self._new = {}


def _merge(place: Path, folder: str, entries: Entries) -> None:
    """Add to what a folder's files were found to be, by whomever, and drop what is there no more."""
    merged = {name: e for name, e in (_read(place) | entries).items() if os.path.exists(Path(folder, name))}
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=place.parent, prefix=".", suffix=".part", delete=False) as file:
        json.dump(merged, file)
    os.replace(file.name, place)


def _name_of(folder: str) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:32] + ".json"


def _identity(path: str) -> Identity:
    status = os.stat(path)
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=100_000)
def _sha256(path: str, identity: Identity) -> str:
    del identity  # it is the key, not the input
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(place: Path) -> Entries:
    """Read what was kept; what is not there or not whole is nothing."""
    try:
        kept = json.loads(place.read_text())
        return {
            str(name): ((int(a), int(b), int(c), int(d)), str(sha))
            for name, ((a, b, c, d), sha) in kept.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
