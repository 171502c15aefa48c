"""What may be deleted: products, which are made again when asked for, and files in the artefact store no row points to.

Reports, their evidence and everything a row names are never deleted here. A worker that died between storing a
report's files and writing its rows leaves such files without a row; so may one that is about to write them, hence the
grace period. A table whose rows point to the artefact store does so in a column named ``sha256``.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from pipelines.products import ProductStore, StoredProduct, collectable, half_written
from service.artefacts import ArtefactStore, StoredBlob
from service.database import Database
from service.tables import metadata

GRACE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Collection:
    """What is deleted, or would be: products, files without a row, and files that were never finished."""

    products: tuple[StoredProduct, ...]
    orphans: tuple[StoredBlob, ...]
    unfinished: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        """Bytes of products and files together; those of unfinished files are not counted."""
        return sum(e.bytes for e in self.products) + sum(e.bytes for e in self.orphans)


def referenced(database: Database) -> set[str]:
    """Return the digests that any row points to."""
    found: set[str] = set()
    with database.read() as connection:
        for table in metadata.sorted_tables:
            if "sha256" in table.c:
                found.update(connection.execute(select(table.c.sha256).distinct()).scalars())
    return found


def orphans(database: Database, store: ArtefactStore, before: datetime) -> list[StoredBlob]:
    """Return the files that no row points to and that were last written ``before``.

    The files are listed before the rows are read: a row written meanwhile counts.
    """
    old = [blob for blob in store.blobs() if blob.written < before]
    kept = referenced(database) if old else set()
    return sorted((blob for blob in old if blob.digest not in kept), key=lambda blob: blob.digest)


def plan(
    products: ProductStore,
    service: tuple[Database, ArtefactStore] | None,
    now: datetime,
    *,
    older_than: timedelta | None,
    keep_bytes: int | None,
    grace: timedelta = GRACE,
) -> Collection:
    """Choose what to delete; ``service`` None looks at products only."""
    chosen = collectable(products.entries(), now, older_than=older_than, keep_bytes=keep_bytes)
    unfinished = products.leftovers(now)
    lost: list[StoredBlob] = []
    if service is not None:
        database, store = service
        lost = orphans(database, store, now - grace)
        unfinished += [] if store.folder is None else half_written(store.folder, now - grace)
    return Collection(tuple(chosen), tuple(lost), tuple(unfinished))


def collect(
    products: ProductStore, store: ArtefactStore | None, chosen: Collection, before: datetime
) -> None:
    """Delete what was chosen, except files that were written again since ``before``."""
    for product in chosen.products:
        products.delete(product.key)
    if store is not None:
        _delete_orphans(store, chosen.orphans, before)
    for path in chosen.unfinished:
        with suppress(FileNotFoundError):
            path.unlink()


def _delete_orphans(store: ArtefactStore, blobs: Iterable[StoredBlob], before: datetime) -> None:
    for blob in blobs:
        written = store.written(blob.digest)
        if written is not None and written < before:
            store.delete(blob.digest)
