"""Archives looked at again and again: new scenes become rows, and rows become work for the sites they cover.

Rows and work are written in one transaction, so that no scene is known without being worked on. A local archive is
read only when its files changed. A remote one is asked for what touches the watched sites: the recent past every time,
all of it once an hour, because catalogs receive scenes late and in any order. No time a server writes is believed to
grow: what is compared is which scenes there are and what their files hold, so nothing can slip behind a cursor.
"""

import hashlib
import itertools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, delete, select, update

from imagery.errors import DepotwatchError
from service import jobs
from service.archives import covering_scenes, hosts_of, is_waiting_folder, note_watch, store_scenes
from service.database import Database, Record
from service.settings import Settings
from service.tables import archives, sites, units, warnings
from service.tables import jobs as jobs_table

if TYPE_CHECKING:
    from imagery.scene import Scene
    from pipelines.archives.archive import Archive, ArchiveResult, Refusal

log = logging.getLogger(__name__)

RECENT_S = 45 * 86_400.0
WHOLE_EVERY_S = 3_600.0
AGAIN_S = 300.0
WATCH_LEASE_S = 900.0
SILENT = "ingest-silence"
MIN_SCENES_FOR_SILENCE = 4
# Refusals of a scene that may be none the next time.
PASSING = frozenset({"download-failed"})


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look at an archive gave: the cursor to keep, and what was found; None where there was nothing to ask.

    That is so of a local archive none of whose files changed, and of a remote one while no watched site reads it.
    """

    cursor: str | None
    found: "ArchiveResult | None"


class Watch:
    """Looks at archives that are due, one at a time, each in one process at a time."""

    def __init__(self, database: Database, settings: Settings, owner: str) -> None:
        self._database, self._settings, self._owner = database, settings, owner

    def run_due(self) -> int:
        """Look at every archive that is due; return how many were."""
        looked = 0
        while (row := self._claim()) is not None:
            looked += 1
            self._look_at(row)
        if looked:
            note_silence(self._database, self._settings)
        return looked

    def _claim(self) -> Record | None:
        database = self._database
        due = (
            archives.c.watched.is_(None) | (archives.c.watched < database.now - self._settings.watch_s)
        ) & (archives.c.watch_until < database.now)
        with database.read() as connection:
            if connection.execute(select(archives.c.id).where(due).limit(1)).first() is None:
                return None
        with database.write() as connection:
            first = (
                select(archives.c.id)
                .where(due)
                .order_by(archives.c.name)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            return connection.execute(
                update(archives)
                .where(archives.c.id == first.scalar_subquery())
                .values(watch_owner=self._owner, watch_until=database.now + WATCH_LEASE_S)
                .returning(archives)
            ).first()

    def _look_at(self, row: Record) -> None:
        cursor, error = None, None
        try:
            cursor = index_archive(self._database, self._settings, row).cursor
        except DepotwatchError as fault:
            error = f"{fault.code}: {fault.detail}"
            log.warning(
                "archive-unreadable", extra={"archive": row.name, "code": fault.code, "detail": fault.detail}
            )
        except Exception as fault:
            error = f"internal: {type(fault).__name__}"
            log.exception("archive-broke", extra={"archive": row.name})
        with self._database.write() as connection:
            note_watch(self._database, connection, row.id, cursor, error)
            connection.execute(
                update(archives)
                .where(archives.c.id == row.id, archives.c.watch_owner == self._owner)
                .values(watch_until=0.0)
            )


def index_archive(database: Database, settings: Settings, row: Record, *, anew: bool = False) -> Looked:
    """Bring one archive's scene rows up to date and submit work; ``anew`` looks at all of it, whatever was seen before."""
    if row.kind == "remote":
        return _index_remote(database, settings, row, anew)
    mark = _fingerprint(Path(row.source))
    if mark == str(row.watch_cursor) and not anew:
        return Looked(mark, None)
    from pipelines.archives import ArchiveResult

    found = ArchiveResult(()) if is_waiting_folder(row.source) else opened(settings, row).search()
    with database.write() as connection:
        fresh = store_scenes(database, connection, row.id, found.scenes, whole=True)
        submit_for_scenes(database, connection, settings, row, fresh)
    return Looked(mark, found)


def opened(settings: Settings, row: Record) -> "Archive":
    """Return an archive ready to be searched, with the private hosts the operator allowed it."""
    from pipelines.archives import open_archive  # heavy, and an API may live for years without it

    allowed = settings.allowed_hosts | hosts_of(row)
    return open_archive(row.source, cache=settings.downloads_place, allow_hosts=allowed, trust_named=False)


def _fingerprint(path: Path) -> str:
    """Return what changes when any file of an archive does: names, sizes, times of change."""
    root = path if path.is_dir() else path.parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            status = file.stat()
            digest.update(f"{file.relative_to(root)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _index_remote(database: Database, settings: Settings, row: Record, anew: bool) -> Looked:
    from pipelines.archives import ArchiveResult

    with database.read() as connection:
        areas = [shapely.from_geojson(site.geometry) for site in _watched_sites(connection, row)]
        now = float(connection.execute(select(database.now)).scalar_one())
    if not areas:
        return Looked(None, None)
    kept: dict[str, Any] = json.loads(row.watch_cursor) if row.watch_cursor else {"whole": 0.0, "areas": ""}
    mark = hashlib.sha256(b"".join(shapely.to_wkb(area) for area in areas)).hexdigest()
    whole = anew or now - kept["whole"] > WHOLE_EVERY_S or kept["areas"] != mark
    start = None if whole else datetime.fromtimestamp(now - RECENT_S, UTC)
    archive = opened(settings, row)
    found: dict[str, Scene] = {}
    refused: set[Refusal] = set()
    for area in areas:
        result = archive.search(area, (start, None))
        found |= {scene.id: scene for scene in result.scenes}
        refused.update(result.refused)
    complete = not any(refusal.code in PASSING for refusal in refused)
    with database.write() as connection:
        fresh = store_scenes(database, connection, row.id, list(found.values()), whole=False)
        submit_for_scenes(database, connection, settings, row, fresh)
    # What did not arrive may be older than the recent past: all of it is asked for again soon.
    read = now if complete else now - WHOLE_EVERY_S + AGAIN_S
    cursor = json.dumps({"whole": read if whole else kept["whole"], "areas": mark})
    told = sorted(refused, key=lambda refusal: (refusal.where, refusal.code, refusal.sentence))
    return Looked(cursor, ArchiveResult(tuple(found.values()), tuple(told)))


def _watched_sites(connection: Connection, archive: Record) -> list[Record]:
    statement = select(sites).where(sites.c.deleted.is_(None))
    if archive.tenant is not None:
        statement = statement.where(sites.c.tenant == archive.tenant)
    rows = connection.execute(statement.order_by(sites.c.id)).all()
    return [row for row in rows if (names := json.loads(row.archives)) is None or archive.name in names]


def submit_for_scenes(
    database: Database,
    connection: Connection,
    settings: Settings,
    archive: Record,
    footprints: Sequence[BaseGeometry],
) -> list[str]:
    """Submit one job per tenant for the sites that new footprints touch; return the jobs.

    A site whose next analysis of all scenes has not begun yet needs no other: it will see the new ones too.
    """
    if not footprints:
        return []
    area = shapely.union_all(list(footprints))
    touched = [
        row
        for row in _watched_sites(connection, archive)
        if shapely.intersects(area, shapely.from_geojson(row.geometry))
    ]
    waiting = _about_to_read_all(connection)
    by_tenant: dict[str, list[str]] = {}
    for row in touched:
        if row.id not in waiting:
            by_tenant.setdefault(row.tenant, []).append(row.id)
    return [
        jobs.submit(
            database,
            connection,
            tenant,
            jobs.JobRequest("analyse", wanted, None, {}, "new-scenes"),
            max_queued=settings.max_queued_per_tenant,
        )
        for tenant, wanted in sorted(by_tenant.items())
    ]


def _about_to_read_all(connection: Connection) -> set[str]:
    """Return the sites with an analysis of their whole time to come; of other work they need not see what is new."""
    statement = (
        select(units.c.site, jobs_table.c.request)
        .join(jobs_table, jobs_table.c.id == units.c.job)
        .where(units.c.state == "ready", jobs_table.c.type == "analyse")
    )
    return {row.site for row in connection.execute(statement) if json.loads(row.request)["period"] is None}


def note_silence(database: Database, settings: Settings) -> None:
    """Warn of sites whose scenes stopped coming, and take the warning back when they come again."""
    with database.read() as connection:
        now = float(connection.execute(select(database.now)).scalar_one())
        rows = connection.execute(select(sites).where(sites.c.deleted.is_(None))).all()
        had = set(connection.execute(select(warnings.c.site).where(warnings.c.code == SILENT)).scalars())
        silent = {row.id: text for row in rows if (text := _silence(connection, settings, row, now))}
    with database.write() as connection:
        for site in sorted(set(silent) - had):
            connection.execute(
                database.insert(warnings)
                .values(site=site, code=SILENT, detail=silent[site], since=database.now)
                .on_conflict_do_nothing()
            )
            log.warning(SILENT, extra={"site": site, "detail": silent[site]})
        for site in sorted(had - set(silent)):
            connection.execute(delete(warnings).where(warnings.c.site == site, warnings.c.code == SILENT))


def _silence(connection: Connection, settings: Settings, row: Record, now: float) -> str | None:
    """Say that a site is silent: no scene for several times its usual interval, judged by its own past."""
    scenes = covering_scenes(
        connection, row.tenant, json.loads(row.archives), shapely.from_geojson(row.geometry)
    )
    if len(scenes) < MIN_SCENES_FOR_SILENCE:
        return None
    gaps = sorted(b.at - a.at for a, b in itertools.pairwise(scenes))
    usual = max(gaps[int(0.9 * (len(gaps) - 1))], 86_400.0)
    quiet = now - scenes[-1].at
    if quiet <= settings.silence_factor * usual:
        return None
    return (
        f"no scene for {quiet / 86_400:.0f} days; nine of ten came within {usual / 86_400:.0f}. "
        "Look whether its archives still receive scenes"
    )
