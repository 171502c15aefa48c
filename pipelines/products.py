"""Products: what a step made, named by what went in, written once and never changed.

A product's key is a hash of its step's name and version, the keys of its inputs and the parameters it declares
(ARCHITECTURE section 3). Writing is a conditional create, so two workers that do the same unit agree and a killed
one leaves a whole product or nothing.

A product is a small JSON header plus named arrays in one blob. An array that shrinks by a third or more is kept
compressed and unpacked when it is asked for; one that does not is kept as it is and, in a folder, memory-mapped, so
that windows of many looks cost page cache and not memory (docs/decisions/0003-products-are-raw-blobs.md has the
measurements). Header and arrays carry a CRC: what a disk changed is refused, not read.

Any product may be deleted: it is made again when it is asked for, with the same bytes. In a folder a product's time of
change is kept as the time of its last use; an object store knows only when it was written.
"""

import hashlib
import json
import mmap
import os
import re
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pyarrow
from numpy.typing import NDArray
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url
from pyarrow import Codec

from imagery.errors import DepotwatchError

MAGIC = b"DWP4"
# Part of every key: a store may hold products of another layout, and none is ever read as what it is not.
LAYOUT = 3
ALIGNMENT = 64
FRONT = "<IQ"
"""After the magic: CRC-32 and length of the JSON header."""
CODECS = {MAGIC: "lz4_raw", b"DWP3": "zstd"}
"""What arrays are packed with, by magic. What an older version wrote is read; it takes what this one wrote for damaged."""
# Where arrays are unpacked to: the heap that numpy's arrays lie in. Arrow's own allocator asks the system for pages of two
# megabytes, which took a virtual machine seven times as long to clear.
HEAP = pyarrow.system_memory_pool()
SCRATCH = "scratch:"
"""Before a store's folder: it lasts for one run only, so that packing what lies there would save nobody anything."""
WORTH_PACKING = 2 / 3
# Pieces spread over an array that tell whether packing it may be worth the time, and what of them is too much.
PROBES, PROBE_BYTES = 16, 4096
HOPELESS = 0.85
KEY = re.compile(r"[a-z_]+/[0-9a-f]{64}")
# What was used so lately may be in use: it is never collected, however little is to be kept.
IN_USE = timedelta(hours=1)
# A use is noted no more often than this.
NOTED_EVERY_S = 600.0


class StoreFailed(DepotwatchError):
    """The product store takes or gives nothing: full, not writable, or not answering."""

    code = "product-store-failed"


class DamagedProduct(DepotwatchError):
    """A stored product that is not whole: something other than this program changed it."""

    code = "damaged-product"


@dataclass(frozen=True, slots=True)
class Product:
    """One stored result: ``header`` holds plain JSON values, ``arrays`` read-only arrays."""

    key: str
    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class StoredProduct:
    """One product as it lies in a store; ``used`` is its last use, in an object store when it was written."""

    key: str
    step: str
    bytes: int
    used: datetime


@dataclass(frozen=True, slots=True)
class StepUsage:
    """One line of ``depotwatch products list``: what the products of one step take together."""

    step: str
    count: int
    bytes: int
    used: datetime


def usage(entries: Iterable[StoredProduct]) -> list[StepUsage]:
    """Add products up by step, in the order of the steps' names."""
    by_step: dict[str, list[StoredProduct]] = {}
    for entry in entries:
        by_step.setdefault(entry.step, []).append(entry)
    return [
        StepUsage(step, len(mine), sum(e.bytes for e in mine), max(e.used for e in mine))
        for step, mine in sorted(by_step.items())
    ]


def collectable(
    entries: Iterable[StoredProduct],
    now: datetime,
    *,
    older_than: timedelta | None = None,
    keep_bytes: int | None = None,
) -> list[StoredProduct]:
    """Choose the products to delete: all unused for ``older_than``, then the longest unused until the rest fits.

    What was used within ``IN_USE`` is never chosen, so that a run at work keeps what it has.

    Returns
    -------
    longest unused first
    """
    by_age = sorted(entries, key=lambda entry: (entry.used, entry.key))
    left = sum(entry.bytes for entry in by_age)
    chosen = []
    for entry in by_age:
        too_old = older_than is not None and now - entry.used >= older_than
        too_much = keep_bytes is not None and left > keep_bytes
        if now - entry.used >= IN_USE and (too_old or too_much):
            chosen.append(entry)
            left -= entry.bytes
    return chosen


def product_key(step: str, version: int, inputs: Sequence[str], parameters: Mapping[str, Any]) -> str:
    """Name a product by what goes into it: ``step/<64 hex digits>``."""
    text = json.dumps(
        [LAYOUT, step, version, list(inputs), parameters], sort_keys=True, separators=(",", ":"), default=str
    )
    return f"{step}/{hashlib.sha256(text.encode()).hexdigest()}"


def encode(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, pack: bool = True) -> bytes:
    """Lay header and arrays out as one blob; equal values give equal bytes."""
    table: list[dict[str, Any]] = []
    parts: list[bytes] = []
    offset = 0
    for name in sorted(arrays):
        array = arrays[name]
        plain = np.ascontiguousarray(array).tobytes()
        part = _packed(plain) if pack else plain
        entry = {"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        entry |= {"bytes": len(part), "packed": part is not plain, "crc32": zlib.crc32(part)}
        table.append(entry)
        parts.append(part)
        offset += _aligned(len(part))
    head = json.dumps({"header": header, "arrays": table}, sort_keys=True, separators=(",", ":")).encode()
    front = MAGIC + struct.pack(FRONT, zlib.crc32(head), len(head)) + head
    start = _aligned(len(front))
    return front.ljust(start, b"\0") + b"".join(part.ljust(_aligned(len(part)), b"\0") for part in parts)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _packed(plain: bytes) -> bytes:
    """Return bytes compressed where that saves enough, else the very same bytes."""
    codec = Codec(CODECS[MAGIC])
    if len(plain) > 4 * PROBES * PROBE_BYTES:  # reflectance is long and does not shrink: a few pieces tell
        starts = range(0, len(plain) - PROBE_BYTES, len(plain) // PROBES)
        pieces = b"".join(plain[start : start + PROBE_BYTES] for start in starts)
        if len(codec.compress(pieces, asbytes=True)) > HOPELESS * len(pieces):
            return plain
    packed: bytes = codec.compress(plain, asbytes=True)
    return packed if len(packed) <= len(plain) * WORTH_PACKING else plain


class _Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of one blob: read-only, those that are packed unpacked at each access."""

    def __init__(
        self, key: str, blob: bytes | mmap.mmap, start: int, table: Sequence[Mapping[str, Any]], codec: str
    ) -> None:
        self._key, self._blob, self._start, self._codec = key, blob, start, codec
        self._table = {entry["name"]: entry for entry in table}

    def __getitem__(self, name: str) -> NDArray[Any]:
        entry = self._table[name]
        at = self._start + entry["offset"]
        data: memoryview | pyarrow.Buffer = memoryview(self._blob)[at : at + entry["bytes"]]
        if zlib.crc32(data) != entry["crc32"]:
            raise _damaged(self._key, f"array {name} is not what was written")
        dtype, shape = np.dtype(entry["dtype"]), entry["shape"]
        if entry["packed"]:
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            data = Codec(self._codec).decompress(data, size, memory_pool=HEAP)
        array: NDArray[Any] = np.frombuffer(data, dtype)
        array = array.reshape(shape)
        array.flags.writeable = False
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def decode(key: str, blob: bytes | mmap.mmap) -> Product:
    """Read a blob back; arrays are views into it, or unpacked from it when asked for.

    Raises
    ------
    DamagedProduct : the blob is truncated or not ours; also when an array that was changed is asked for
    """
    try:
        magic = bytes(blob[: len(MAGIC)])
        if magic not in CODECS:
            raise ValueError("magic")
        check, size = struct.unpack_from(FRONT, blob, len(MAGIC))
        first = len(MAGIC) + struct.calcsize(FRONT)
        text = bytes(blob[first : first + size])
        if zlib.crc32(text) != check:
            raise ValueError("header")
        head = json.loads(text)
        start = _aligned(first + size)
        if len(blob) != start + sum(_aligned(entry["bytes"]) for entry in head["arrays"]):
            raise ValueError("length")
        return Product(key, head["header"], _Arrays(key, blob, start, head["arrays"], CODECS[magic]))
    except (ValueError, struct.error) as error:
        raise _damaged(key, str(error)) from error


def _damaged(key: str, why: str) -> DamagedProduct:
    return DamagedProduct(f"product {key} is damaged; delete it and run again ({why})", pointer=key)


class ProductStore:
    """Write-once products in a folder or in any object store that obstore knows, by URL; see ``SCRATCH`` too."""

    def __init__(self, place: str | Path) -> None:
        self._place = str(place).removeprefix(SCRATCH)
        self._packs = not str(place).startswith(SCRATCH)
        self._folder: Path | None = None
        self._store: ObjectStore
        with self._told():
            if "://" in self._place:
                self._store = from_url(self._place)
            else:
                self._folder = Path(self._place).resolve()
                self._folder.mkdir(parents=True, exist_ok=True)
                self._store = LocalStore(self._folder)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what a disk or a server says into one sentence."""
        try:
            yield
        except (FileNotFoundError, AlreadyExistsError):
            raise
        except (OSError, BaseError) as error:
            said = str(error).splitlines()[0]
            raise StoreFailed(
                f"the product store {self._place} cannot be used: {said}; once it can, run again: what is done is kept"
            ) from error

    def get(self, key: str) -> Product | None:
        """Return a product, or None where it has not been made."""
        if self._folder is not None:
            try:
                with self._told(), (self._folder / key).open("rb") as file:
                    _note_use(file.fileno())
                    return decode(key, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except FileNotFoundError:
                return None
            except ValueError as error:
                raise DamagedProduct(
                    f"product {key} is empty; delete it and run again", pointer=key
                ) from error
        blob = self.stored(key)
        return None if blob is None else decode(key, blob)

    def stored(self, key: str) -> bytes | None:
        """Return a product's bytes as they lie in the store, or None where it has not been made."""
        try:
            with self._told():
                return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None

    def has(self, key: str) -> bool:
        """Tell whether a product exists, without reading it."""
        try:
            with self._told():
                obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def put(self, key: str, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Product:
        """Store a product unless it is there; return it as stored.

        Raises
        ------
        StoreFailed : the disk is full, or the server does not take it; nothing of it is left
        """
        blob = encode(header, arrays, pack=self._packs)
        try:
            with self._told():
                obstore.put(self._store, key, blob, mode="create")
            if self._folder is None:  # what was just sent need not be fetched
                return decode(key, blob)
        except AlreadyExistsError:
            pass
        stored = self.get(key)
        return stored if stored is not None else decode(key, blob)

    def entries(self) -> Iterator[StoredProduct]:
        """List what is stored, by key."""
        with self._told():
            listed = [entry for batch in obstore.list(self._store) for entry in batch]
        for entry in sorted(listed, key=lambda e: e["path"]):
            if KEY.fullmatch(entry["path"]):
                step = entry["path"].split("/")[0]
                yield StoredProduct(entry["path"], step, entry["size"], entry["last_modified"])

    def leftovers(self, now: datetime) -> list[Path]:
        """Return half-written files that killed writers left in the folder; an object store keeps none."""
        return [] if self._folder is None else half_written(self._folder, now - IN_USE)

    def delete(self, key: str) -> None:
        """Remove one product, if it is there; it is made again when asked for."""
        with suppress(FileNotFoundError), self._told():
            obstore.delete(self._store, key)


def half_written(folder: Path, before: datetime) -> list[Path]:
    """Return the files below a folder that an interrupted conditional create left, last written ``before``.

    obstore writes ``name#1`` and renames it; its listing passes such names over.
    """
    limit = before.timestamp()
    found = []
    for path in sorted(folder.rglob("*#*")):
        with suppress(FileNotFoundError):
            if path.name.rpartition("#")[2].isdigit() and path.stat().st_mtime < limit:
                found.append(path)
    return found


def _note_use(descriptor: int) -> None:
    """Set a file's time to now, where it was not just done; a store that may only be read notes nothing."""
    if time.time() - os.fstat(descriptor).st_mtime > NOTED_EVERY_S:
        with suppress(OSError):
            os.utime(descriptor)
