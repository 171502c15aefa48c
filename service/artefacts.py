"""Files of reports in a folder or an object store, named by their SHA-256 and written once.

Two workers that make the same report write the same names; one that dies half-way leaves files no row points to.
"""

import hashlib
import mimetypes
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, ObjectStore, S3Store, from_url

from imagery.errors import DepotwatchError
from service.errors import NotAvailable

CACHE_BYTES = 64 * 2**20
CACHE_LARGEST = 4 * 2**20
CHUNK_BYTES = 4 * 2**20
# A blob written again counts as new once it is this old; far below the grace period of ``service.retention``.
RENEWED_AFTER = timedelta(hours=1)


class ArtefactMissing(DepotwatchError):
    """A row points to a file that is not in the store: restore it from a backup, or analyse again."""

    code = "artefact-missing"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a report: its place inside the report, and the blob that holds it."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """One blob, and when it was last written or written again."""

    digest: str
    bytes: int
    written: datetime


def media_type(path: str) -> str:
    """Return the media type a report's file is served with."""
    if path.endswith(".geojson"):
        return "application/geo+json"
    if path.endswith((".tif", ".tiff")):
        return "image/tiff; application=geotiff"
    if path.endswith(".html"):
        return "text/html; charset=utf-8"
    if path.endswith(".csv"):
        return "text/csv; charset=utf-8"
    known = {
        ".kmz": "application/vnd.google-earth.kmz",
        ".gpkg": "application/geopackage+sqlite3",
        ".parquet": "application/vnd.apache.parquet",
    }
    return known.get(Path(path).suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"


class ArtefactStore:
    """Content-addressed blobs: ``blobs/<two hex>/<sha256>``."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.folder: Path | None = None
        self._store: ObjectStore
        if "://" in place:
            self._store = from_url(
                place, retry_config={"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
            )
        else:
            self.folder = Path(place)
            self.folder.mkdir(parents=True, exist_ok=True)
            self._store = LocalStore(place)
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    @property
    def remote(self) -> bool:
        """True where blobs lie behind the network."""
        return isinstance(self._store, S3Store)

    def put_folder(self, folder: Path) -> list[StoredFile]:
        """Store every file below a folder; return them by path."""
        stored = []
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            stored.append(self.put_file(path, path.relative_to(folder).as_posix()))
        return stored

    def put_file(self, path: Path, name: str) -> StoredFile:
        """Store one file under the hash of its bytes; one that is there already is not written again.

        Raises
        ------
        NotAvailable : the store takes nothing at the moment (disk full, server errors)
        """
        data = path.read_bytes()
        return StoredFile(name, self.put_bytes(data), len(data))

    def put_bytes(self, data: bytes) -> str:
        """Store bytes; return the name they have from now on. See ``put_file``."""
        digest = hashlib.sha256(data).hexdigest()
        try:
            try:
                obstore.put(self._store, _key(digest), data, mode="create")
            except AlreadyExistsError:
                self._renew(digest, data)
            self._settle(digest)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise NotAvailable(f"the artefact store takes nothing: {type(error).__name__}") from error
        return digest

    def _renew(self, digest: str, data: bytes) -> None:
        """Let a blob that is there count as written now: an orphan about to get its row must not be collected.

        One of another size is what a machine that lost its power left of it: it is written again.
        """
        with suppress(FileNotFoundError):
            if self.folder is not None:
                path = self.folder / _key(digest)
                if path.stat().st_size == len(data):
                    os.utime(path)
                    return
            else:
                head = obstore.head(self._store, _key(digest))
                fresh = datetime.now(UTC) - head["last_modified"] < RENEWED_AFTER
                if fresh and head["size"] == len(data):
                    return
        obstore.put(self._store, _key(digest), data, mode="overwrite")

    def _settle(self, digest: str) -> None:
        """Have a blob on the disk before a row says so; object stores see to that themselves."""
        if self.folder is None:
            return
        path = self.folder / _key(digest)
        for place in (path, path.parent):
            handle = os.open(place, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def get(self, digest: str) -> bytes:
        """Return a blob; small ones are remembered, which is safe because they never change.

        Raises
        ------
        ArtefactMissing : there is no such blob
        NotAvailable : the store does not answer
        """
        with self._lock:
            if digest in self._cache:
                self._cache.move_to_end(digest)
                return self._cache[digest]
        try:
            data = bytes(obstore.get(self._store, _key(digest)).bytes())
        except FileNotFoundError as error:
            raise ArtefactMissing(f"file {digest[:12]} of a report is not in the store") from error
        except (OSError, obstore.exceptions.BaseError) as error:
            raise NotAvailable(f"the artefact store does not answer: {type(error).__name__}") from error
        if len(data) <= CACHE_LARGEST:
            self._remember(digest, data)
        return data

    def _remember(self, digest: str, data: bytes) -> None:
        with self._lock:
            if digest in self._cache:
                return
            self._cache[digest] = data
            self._cached_bytes += len(data)
            while self._cached_bytes > CACHE_BYTES:
                _, dropped = self._cache.popitem(last=False)
                self._cached_bytes -= len(dropped)

    def stream(self, digest: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield bytes ``start`` to ``stop`` (exclusive) of a blob."""
        for at in range(start, stop, CHUNK_BYTES):
            end = min(at + CHUNK_BYTES, stop)
            yield bytes(obstore.get_range(self._store, _key(digest), start=at, end=end))

    def check(self) -> None:
        """Raise ``NotAvailable`` unless the store answers."""
        try:
            with suppress(FileNotFoundError):
                obstore.head(self._store, _key("0" * 64))
        except (OSError, obstore.exceptions.BaseError) as error:
            raise NotAvailable(f"the artefact store does not answer: {type(error).__name__}") from error

    def digests(self) -> Iterator[str]:
        """List every stored blob."""
        for blob in self.blobs():
            yield blob.digest

    def blobs(self) -> Iterator[StoredBlob]:
        """List every stored blob with its size and age."""
        for batch in obstore.list(self._store, prefix="blobs"):
            for entry in batch:
                digest = entry["path"].rsplit("/", 1)[-1]
                yield StoredBlob(digest, entry["size"], entry["last_modified"])

    def written(self, digest: str) -> datetime | None:
        """Return when a blob was last written, or None where it is gone."""
        try:
            moment: datetime = obstore.head(self._store, _key(digest))["last_modified"]
        except FileNotFoundError:
            return None
        return moment

    def delete(self, digest: str) -> None:
        """Remove a blob no report points to."""
        obstore.delete(self._store, _key(digest))


def _key(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"
