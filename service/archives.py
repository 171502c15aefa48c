"""Archives by name: where scenes come from, what they hold, and what a site may expect of them.

An archive is configured by an operator and used by name. It belongs to one tenant or is shared by all. Its scenes
are kept as rows (time, place, notes) so that coverage can be told without opening a file.
"""

import hashlib
import itertools
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, delete, func, select, update

from imagery.errors import DepotwatchError
from imagery.scene import Scene
from service.database import Database, Record
from service.errors import NameTaken, NotFound
from service.identifiers import new_id
from service.moments import rfc3339, rfc3339_or_none
from service.outbound import check_address
from service.sites import geometry_json
from service.tables import archives, scenes

DAY_S = 86_400.0
YEAR_S = 365.25 * DAY_S


class BadArchive(DepotwatchError):
    """An archive whose source is neither a folder, a catalog file nor an http(s) address, or whose name is unusable."""

    code = "bad-archive"


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """One archive as the analysis needs it."""

    name: str
    kind: str
    source: str
    allow_hosts: frozenset[str] = frozenset()


def check_source(source: str, allowed_hosts: frozenset[str]) -> tuple[str, str]:
    """Return (kind, source made absolute).

    Raises
    ------
    BadArchive : nothing is there, or a scheme that is not served
    AddressRefused : an address on a private network the operator did not allow
    """
    if "://" in source:
        if urlsplit(source).scheme not in {"http", "https"}:
            raise BadArchive(f"{source[:80]}: an archive's address is http or https", pointer="/source")
        check_address(source, allowed_hosts)
        return "remote", source
    path = Path(source)
    if not path.exists():
        raise BadArchive(f"{source}: there is no such folder or file", pointer="/source")
    return ("folder" if path.is_dir() else "catalog"), str(path.resolve())


def is_waiting_folder(source: str) -> bool:
    """Tell whether an archive is a folder that waits for its first scene, which is no fault."""
    path = Path(source)
    described = any((path / name).is_file() for name in ("catalog.json", "collection.json"))
    return path.is_dir() and not described and not any(path.rglob("*.[tT][iI][fF]*"))


def add_archive(
    database: Database,
    connection: Connection,
    name: str,
    kind: str,
    source: str,
    tenant: str | None,
    allow_hosts: Collection[str] = (),
) -> Record:
    """Write an archive; ``allow_hosts`` are private hosts that it, and no other, may be read from.

    Raises
    ------
    BadArchive, NameTaken
    """
    if not (0 < len(name) <= 64 and name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
        raise BadArchive("a name has 1 to 64 letters, digits, - and _", pointer="/name")
    row = connection.execute(
        database.insert(archives)
        .values(
            id=new_id("archive"),
            name=name,
            tenant=tenant,
            kind=kind,
            source=source,
            created=database.now,
            allow_hosts=",".join(sorted({host.strip().lower() for host in allow_hosts})),
        )
        .on_conflict_do_nothing()
        .returning(archives)
    ).first()
    if row is None:
        raise NameTaken(f"there is an archive {name!r} already", pointer="/name")
    return row


def find_archive(connection: Connection, tenant: str | None, name: str) -> Record:
    """Return an archive that a tenant may use; any archive for the operator (None).

    Raises
    ------
    NotFound
    """
    statement = select(archives).where(archives.c.name == name)
    if tenant is not None:
        statement = statement.where((archives.c.tenant == tenant) | archives.c.tenant.is_(None))
    row = connection.execute(statement).first()
    if row is None:
        raise NotFound("there is no such archive")
    return row


def list_archives(connection: Connection, tenant: str | None) -> list[dict[str, Any]]:
    """Return archives with how many scenes each holds; all of them for the operator (None)."""
    counted = (
        select(scenes.c.archive, func.count().label("n"), func.min(scenes.c.at).label("first"))
        .add_columns(func.max(scenes.c.at).label("last"))
        .group_by(scenes.c.archive)
        .subquery()
    )
    statement = select(archives, counted.c.n, counted.c.first, counted.c.last).outerjoin(
        counted, counted.c.archive == archives.c.id
    )
    if tenant is not None:
        statement = statement.where((archives.c.tenant == tenant) | archives.c.tenant.is_(None))
    return [
        describe(row, operator=tenant is None)
        for row in connection.execute(statement.order_by(archives.c.name))
    ]


def describe(row: Record, *, operator: bool) -> dict[str, Any]:
    """Return an archive as shown; where it lies is the operator's business."""
    shown = {
        "name": row.name,
        "kind": row.kind,
        "shared": row.tenant is None,
        "scenes": int(getattr(row, "n", None) or 0),
        "first": rfc3339_or_none(getattr(row, "first", None)),
        "last": rfc3339_or_none(getattr(row, "last", None)),
        "watched": rfc3339_or_none(row.watched),
        "created": rfc3339(row.created),
    }
    if not operator:
        return shown
    hosts = sorted(hosts_of(row))
    return {**shown, "source": row.source, "allow_hosts": hosts, "error": row.watch_error}


def sources(connection: Connection, tenant: str, names: Sequence[str] | None) -> list[ArchiveSource]:
    """Return the archives a site reads: those it names, else all it may use; by name."""
    statement = select(archives).where((archives.c.tenant == tenant) | archives.c.tenant.is_(None))
    rows = connection.execute(statement.order_by(archives.c.name)).all()
    return [
        ArchiveSource(row.name, row.kind, row.source, hosts_of(row))
        for row in rows
        if names is None or row.name in names
    ]


def hosts_of(row: Record) -> frozenset[str]:
    """Return the private hosts an archive may be read from."""
    return frozenset(row.allow_hosts.split(",")) - {""}


def store_scenes(
    database: Database, connection: Connection, archive: str, found: Sequence[Scene], *, whole: bool
) -> list[BaseGeometry]:
    """Bring an archive's scene rows up to date; return footprints of scenes that are new or changed.

    ``whole`` tells that ``found`` is everything the archive holds: rows of other scenes are then removed.
    """
    have = {
        row.scene_id: row.version
        for row in connection.execute(
            select(scenes.c.scene_id, scenes.c.version).where(scenes.c.archive == archive)
        )
    }
    fresh = []
    for scene in found:
        version = scene_version(scene)
        if have.get(scene.id) == version:
            continue
        footprint = shapely.from_wkt(scene.footprint)
        if have.get(scene.id) != _first_version(scene):
            fresh.append(footprint)
        _store_scene(database, connection, archive, scene, version, footprint)
    if whole:
        gone = sorted(set(have) - {scene.id for scene in found})
        for start in range(0, len(gone), 500):
            connection.execute(
                delete(scenes).where(
                    scenes.c.archive == archive, scenes.c.scene_id.in_(gone[start : start + 500])
                )
            )
    return fresh


def scene_version(scene: Scene) -> str:
    """Return what changes when anything does that an analysis takes from a scene: its files, or what is said of them.

    Its notes are left out: some tell of the scenes beside it, which come and go.
    """
    from pipelines.steps import scene_key  # heavy, and an API may live for years without it

    return scene_key(replace(scene, notes=()))[:32]


def _first_version(scene: Scene) -> str:
    """Return what ``scene_version`` was when it knew files and time alone: a row of then is no news of its scene."""
    text = json.dumps([scene.t_utc.isoformat(), scene.footprint, sorted(map(list, scene.sha256))])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _store_scene(
    database: Database,
    connection: Connection,
    archive: str,
    scene: Scene,
    version: str,
    footprint: BaseGeometry,
) -> None:
    west, south, east, north = footprint.bounds
    values = {
        "version": version,
        "at": scene.t_utc.timestamp(),
        "gsd_m": scene.gsd_m,
        "minx": west,
        "miny": south,
        "maxx": east,
        "maxy": north,
        "footprint": geometry_json(footprint),
        "notes": json.dumps(list(scene.notes)),
    }
    connection.execute(
        database.insert(scenes)
        .values(archive=archive, scene_id=scene.id, added=database.now, **values)
        .on_conflict_do_update(index_elements=["archive", "scene_id"], set_=values)
    )


def covering_scenes(
    connection: Connection, tenant: str, names: Sequence[str] | None, aoi: BaseGeometry
) -> list[Record]:
    """Return the scenes of a site's archives that touch it, by time."""
    west, south, east, north = aoi.bounds
    statement = (
        select(scenes.c.at, scenes.c.footprint, scenes.c.gsd_m)
        .join(archives, archives.c.id == scenes.c.archive)
        .where(
            (archives.c.tenant == tenant) | archives.c.tenant.is_(None),
            scenes.c.minx <= east,
            scenes.c.maxx >= west,
            scenes.c.miny <= north,
            scenes.c.maxy >= south,
        )
        .order_by(scenes.c.at)
    )
    if names is not None:
        statement = statement.where(archives.c.name.in_(names))
    rows = connection.execute(statement).all()
    if not rows:
        return []
    hits = shapely.intersects(shapely.from_geojson([row.footprint for row in rows]), aoi)
    return [row for row, hit in zip(rows, hits, strict=True) if hit]


def coverage_forecast(
    connection: Connection, tenant: str, names: Sequence[str] | None, aoi: BaseGeometry
) -> tuple[dict[str, Any], list[str]]:
    """Return what a site may expect of its archives, and what a user should be warned of."""
    rows = covering_scenes(connection, tenant, names, aoi)
    anything = connection.execute(select(scenes.c.id).limit(1)).first() is not None
    warned: list[str] = []
    if not rows:
        swapped = shapely.transform(aoi, lambda xy: xy[:, ::-1])
        if anything and covering_scenes(connection, tenant, names, swapped):
            warned.append(
                "no scene covers the site, but scenes lie where it would be with longitude and latitude "
                "exchanged; GeoJSON wants [longitude, latitude]"
            )
        else:
            warned.append(
                "no scene of its archives covers the site yet; reports will say not observable until one does"
            )
    forecast: dict[str, Any] = {
        "scenes": len(rows),
        "first": rfc3339_or_none(rows[0].at if rows else None),
        "last": rfc3339_or_none(rows[-1].at if rows else None),
        "finest_gsd_m": min((row.gsd_m for row in rows if row.gsd_m), default=None),
        "scenes_per_month": None,
        "median_gap_days": None,
    }
    if len(rows) > 1:
        gaps = sorted(b.at - a.at for a, b in itertools.pairwise(rows))
        span = max(rows[-1].at - rows[0].at, DAY_S)
        forecast["scenes_per_month"] = round(len(rows) / span * YEAR_S / 12, 2)
        forecast["median_gap_days"] = round(gaps[len(gaps) // 2] / DAY_S, 2)
    elif len(rows) == 1:
        warned.append("only one scene covers the site: nothing can be compared until there is a second")
    return forecast, warned


def note_watch(
    database: Database, connection: Connection, archive: str, cursor: str | None, error: str | None
) -> None:
    """Write when an archive was last looked at, and what went wrong if anything did."""
    values: dict[str, Any] = {"watched": database.now, "watch_error": error}
    if cursor is not None:
        values["watch_cursor"] = cursor
    connection.execute(update(archives).where(archives.c.id == archive).values(**values))
