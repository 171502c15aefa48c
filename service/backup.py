"""Everything in one file: rows of every table at one moment, the files reports point to, the secret of the keys.

Rows are JSON lines, so that a backup of SQLite can be restored into PostgreSQL and the other way round. What was being
worked on when the backup was made waits to be worked on again after a restore.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Table, func, select, text

from service.artefacts import ArtefactStore
from service.context import Service
from service.database import HEAD, many
from service.errors import BackupUnusable
from service.keys import pepper
from service.tables import metadata, report_files, tenants
from service.words import counted

SCHEMA = "depotwatch-backup/1"
BATCH = 1_000
NOT_KEPT = frozenset({"idempotency"})


def in_words(counts: Mapping[str, int]) -> str:
    """Return what people look for in a backup, from its rows per table."""
    return ", ".join(counted(counts[f"{what}s"], what) for what in ("site", "report", "key"))


def write_backup(service: Service, out: Path) -> dict[str, int]:
    """Write a backup; return the rows per table.

    Raises
    ------
    BackupUnusable : the file exists already
    """
    if out.exists():
        raise BackupUnusable(f"{out} exists already; name a new file")
    part = out.with_name(out.name + ".part")
    counts: dict[str, int] = {}
    try:
        part.unlink(missing_ok=True)
        part.touch(0o600)  # from the first byte on: it holds every tenant's reports
        with tarfile.open(part, "w") as archive, service.database.read() as connection:
            if not service.database.is_sqlite:
                connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            _add(archive, "schema.json", json.dumps({"schema": SCHEMA, "tables": HEAD}).encode())
            for table in _kept():
                lines = [json.dumps(dict(row._mapping)) for row in connection.execute(select(table))]
                counts[table.name] = len(lines)
                _add(archive, f"tables/{table.name}.jsonl", "\n".join(lines).encode())
            for digest in _digests(connection):
                _add(archive, f"blobs/{digest}", service.store.get(digest))
            _add(archive, "secret", pepper(service.settings))
            _add(archive, "manifest.json", json.dumps({"rows": counts}).encode())
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
    return counts


def _kept() -> list[Table]:
    return [table for table in metadata.sorted_tables if table.name not in NOT_KEPT]


def _digests(connection: Connection) -> list[str]:
    column = report_files.c.sha256
    return list(connection.execute(select(column).distinct().order_by(column)).scalars())


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    archive.addfile(entry, io.BytesIO(data))


def restore_backup(service: Service, source: Path) -> dict[str, int]:
    """Fill an empty service from a backup; return the rows per table.

    Raises
    ------
    BackupUnusable : not a whole backup, of another version, or the service is not empty
    """
    with service.database.read() as connection:
        if connection.execute(select(func.count()).select_from(tenants)).scalar_one():
            raise BackupUnusable("this service is not empty; restore into a new data folder or database")
    try:
        with tarfile.open(source) as archive:
            members = {member.name: member for member in archive.getmembers()}
            if "manifest.json" not in members:
                raise BackupUnusable(f"{source} is not whole: its end is missing")
            said = json.loads(_read(archive, members["schema.json"]))
            if said != {"schema": SCHEMA, "tables": HEAD}:
                raise BackupUnusable(
                    f"{source} was made by another version ({said}); restore it with that one"
                )
            _restore_blobs(archive, members, service.store)
            _restore_secret(_read(archive, members["secret"]), service)
            return _restore_rows(archive, members, service)
    except (tarfile.TarError, OSError, KeyError, ValueError) as error:
        why = " ".join(str(error).split("\n")[0].rstrip(":").split())
        raise BackupUnusable(f"{source} cannot be read: {why}") from error


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise BackupUnusable(f"{member.name} in the backup is no file")
    return file.read()


def _restore_blobs(
    archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], store: ArtefactStore
) -> None:
    for name in sorted(members):
        if name.startswith("blobs/"):
            data = _read(archive, members[name])
            if hashlib.sha256(data).hexdigest() != name.removeprefix("blobs/"):
                raise BackupUnusable(f"{name} in the backup is damaged")
            store.put_bytes(data)


def _restore_secret(secret: bytes, service: Service) -> None:
    if service.settings.secret:
        return  # the operator's own secret counts, and must be the one the backup was made with
    path = service.settings.data / "secret"
    path.write_bytes(secret)
    path.chmod(0o600)


def _restore_rows(
    archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], service: Service
) -> dict[str, int]:
    counts: dict[str, int] = {}
    with service.database.write() as connection:
        for table in _kept():
            rows = list(_rows(_read(archive, members[f"tables/{table.name}.jsonl"]), table.name))
            for start in range(0, len(rows), BATCH):
                many(connection, table.insert(), rows[start : start + BATCH])
            counts[table.name] = len(rows)
            _go_on_counting(service, connection, table)
    return counts


def _rows(data: bytes, table: str) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        row = cast(dict[str, Any], json.loads(line))
        if table == "units" and row["state"] == "running":
            row |= {"state": "ready", "owner": None, "lease_until": 0.0}
        yield row


def _go_on_counting(service: Service, connection: Connection, table: Table) -> None:
    """Let PostgreSQL's sequences go on behind the restored numbers; SQLite does so by itself."""
    if service.database.is_sqlite or table.autoincrement_column is None:
        return
    column = table.autoincrement_column.name
    connection.execute(
        text(
            f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column}'), "
            f"coalesce((SELECT max({column}) FROM {table.name}), 0) + 1, false)"
        )
    )
