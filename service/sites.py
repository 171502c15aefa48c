"""Sites: made, listed, changed with ``If-Match``, softly deleted; every geometry they ever had is kept."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, func, select, update

from pipelines.antimeridian import FULL_TURN, HALF_TURN, uncut
from pipelines.aoi import area_m2, utm_zone
from service.database import Database, Record
from service.errors import LimitReached, NameTaken, NotFound, UnknownArchive
from service.identifiers import new_id
from service.intake import SiteDraft
from service.moments import rfc3339
from service.tables import archives, site_geometries, sites, warnings


@dataclass(frozen=True, slots=True)
class BBox:
    """A box in degrees; ``west`` above ``east`` crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    def touches(self, table: Any) -> list[Any]:
        """Return conditions on a table's minx, miny, maxx, maxy."""
        conditions = [table.c.miny <= self.north, table.c.maxy >= self.south]
        if self.west <= self.east:
            return [*conditions, table.c.minx <= self.east, table.c.maxx >= self.west]
        return [*conditions, (table.c.maxx >= self.west) | (table.c.minx <= self.east)]


def corners(geometry: BaseGeometry) -> list[float]:
    """Return west, south, east, north in degrees; west above east across the antimeridian (RFC 7946 section 5.2)."""
    west, south, east, north = uncut(geometry).bounds
    return [west, south, east - FULL_TURN if east > HALF_TURN else east, north]


def beside(connection: Connection, tenant: str, box: BBox) -> list[str]:
    """Return the sites a box misses though it is between their outermost longitudes, -180 and 180 degrees.

    ``BBox.touches`` knows only those of what lies across the antimeridian.
    """
    if box.west > box.east:
        return []
    wide = select(sites.c.id, sites.c.geometry).where(
        sites.c.minx <= -HALF_TURN, sites.c.maxx >= HALF_TURN, sites.c.tenant == tenant, *box.touches(sites)
    )
    place = shapely.box(box.west, box.south, box.east, box.north)
    return [
        row.id
        for row in connection.execute(wide)
        if not any(
            shapely.box(*part.bounds).intersects(place) for part in shape(json.loads(row.geometry)).geoms
        )
    ]


def geometry_json(geometry: BaseGeometry) -> str:
    """Return a geometry as compact GeoJSON."""
    return json.dumps(mapping(geometry), separators=(",", ":"))


def _place(geometry: BaseGeometry) -> dict[str, Any]:
    west, south, east, north = geometry.bounds
    return {
        "geometry": geometry_json(geometry),
        "minx": west,
        "miny": south,
        "maxx": east,
        "maxy": north,
        "area_m2": area_m2(geometry),
        "utm_epsg": utm_zone(geometry),
    }


def usable_archives(
    connection: Connection, tenant: str, names: Sequence[str] | None, pointer: str
) -> list[str]:
    """Return the names of archives a site may use; all the tenant's and the shared ones where none are named.

    Raises
    ------
    UnknownArchive : a name that is not configured, or another tenant's
    """
    rows = connection.execute(
        select(archives.c.name)
        .where((archives.c.tenant == tenant) | archives.c.tenant.is_(None))
        .order_by(archives.c.name)
    ).scalars()
    known = list(rows)
    if names is None:
        return known
    for index, name in enumerate(names):
        if name not in known:
            raise UnknownArchive(
                f"there is no archive {name!r}; known are {', '.join(known) or 'none yet'}",
                pointer=f"{pointer}/properties/archives/{index}",
            )
    return list(names)


def create_site(
    database: Database, connection: Connection, tenant: str, draft: SiteDraft, *, max_sites: int
) -> Record:
    """Write a site and the first version of its geometry.

    Raises
    ------
    NameTaken, LimitReached, UnknownArchive
    """
    have = connection.execute(
        select(func.count()).select_from(sites).where(sites.c.tenant == tenant, sites.c.deleted.is_(None))
    ).scalar_one()
    if have >= max_sites:
        raise LimitReached(f"this tenant has {have:,} sites, the most it may have")
    if draft.archives is not None:
        usable_archives(connection, tenant, draft.archives, draft.pointer)
    site, place = new_id("site"), _place(draft.aoi)
    row = connection.execute(
        database.insert(sites)
        .values(
            id=site,
            tenant=tenant,
            name=draft.name,
            properties=json.dumps(draft.properties),
            archives=json.dumps(draft.archives),
            parameters=json.dumps(draft.parameters),
            version=1,
            geometry_version=1,
            created=database.now,
            updated=database.now,
            **place,
        )
        .on_conflict_do_nothing()
        .returning(sites)
    ).first()
    if row is None:
        raise _taken(draft.name, draft.pointer)
    _keep_geometry(database, connection, site, 1, place)
    return row


def _taken(name: str, pointer: str) -> NameTaken:
    return NameTaken(f"there is a site {name!r} already", pointer=f"{pointer}/properties/name")


def _keep_geometry(
    database: Database, connection: Connection, site: str, version: int, place: Mapping[str, Any]
) -> None:
    connection.execute(
        site_geometries.insert().values(
            site=site,
            version=version,
            geometry=place["geometry"],
            area_m2=place["area_m2"],
            created=database.now,
        )
    )


def find_site(
    connection: Connection, tenant: str, site: str, *, lock: bool = False, pointer: str = ""
) -> Record:
    """Return a tenant's living site.

    Raises
    ------
    NotFound : no such site, a deleted one, or another tenant's
    """
    statement = select(sites).where(sites.c.id == site, sites.c.tenant == tenant, sites.c.deleted.is_(None))
    row = connection.execute(statement.with_for_update() if lock else statement).first()
    if row is None:
        raise NotFound("there is no such site", pointer=pointer)
    return row


def list_sites(
    connection: Connection,
    tenant: str,
    *,
    bbox: BBox | None,
    query: str | None,
    after: tuple[float, str] | None,
    limit: int,
) -> Sequence[Record]:
    """Return a tenant's living sites, oldest first; ``query`` is a part of the name, letter case ignored."""
    statement = select(sites).where(sites.c.tenant == tenant, sites.c.deleted.is_(None))
    if bbox is not None:
        missed = beside(connection, tenant, bbox)
        statement = statement.where(*bbox.touches(sites), sites.c.id.not_in(missed))
    if query:
        statement = statement.where(func.lower(sites.c.name).contains(query.lower(), autoescape=True))
    if after is not None:
        created, site = after
        statement = statement.where(
            (sites.c.created > created) | ((sites.c.created == created) & (sites.c.id > site))
        )
    return connection.execute(statement.order_by(sites.c.created, sites.c.id).limit(limit)).all()


@dataclass(frozen=True, slots=True)
class SitePatch:
    """What a client wants changed; None leaves as it is."""

    name: str | None = None
    aoi: BaseGeometry | None = None
    properties: dict[str, Any] | None = None
    archives: tuple[str, ...] | None = None
    all_archives: bool = False
    parameters: dict[str, Any] | None = None


def change_site(database: Database, connection: Connection, row: Record, patch: SitePatch) -> Record:
    """Apply a patch to a locked site; a new geometry is a new version of it.

    Raises
    ------
    NameTaken, UnknownArchive
    """
    values: dict[str, Any] = {}
    if patch.name is not None and patch.name != row.name:
        clash = connection.execute(
            select(sites.c.id).where(
                sites.c.tenant == row.tenant, sites.c.name == patch.name, sites.c.deleted.is_(None)
            )
        ).first()
        if clash is not None:
            raise _taken(patch.name, "")
        values["name"] = patch.name
    if patch.all_archives:
        values["archives"] = json.dumps(None)
    elif patch.archives is not None:
        usable_archives(connection, row.tenant, patch.archives, "")
        values["archives"] = json.dumps(patch.archives)
    if patch.properties is not None:
        values["properties"] = json.dumps(patch.properties)
    if patch.parameters is not None:
        values["parameters"] = json.dumps(patch.parameters)
    values = {name: value for name, value in values.items() if value != row._mapping[name]}
    if patch.aoi is not None and not _same(patch.aoi, row.geometry):
        place = _place(patch.aoi)
        values |= place
        values["geometry_version"] = row.geometry_version + 1
        _keep_geometry(database, connection, row.id, row.geometry_version + 1, place)
    if not values:
        return row
    return connection.execute(
        update(sites)
        .where(sites.c.id == row.id)
        .values(version=sites.c.version + 1, updated=database.now, **values)
        .returning(sites)
    ).one()


def _same(geometry: BaseGeometry, stored: str) -> bool:
    return bool(geometry_json(geometry) == stored)


def _corners_of(row: Record) -> list[float]:
    if row.maxx - row.minx > HALF_TURN:
        return corners(shape(json.loads(row.geometry)))
    return [row.minx, row.miny, row.maxx, row.maxy]


def delete_site(database: Database, connection: Connection, site: str) -> None:
    """Hide a site and stop watching it; its reports stay in the database."""
    connection.execute(
        update(sites)
        .where(sites.c.id == site)
        .values(deleted=database.now, updated=database.now, version=sites.c.version + 1)
    )


def geometry_versions(connection: Connection, site: str) -> list[dict[str, Any]]:
    """Return every geometry a site had, oldest first."""
    rows = connection.execute(
        select(site_geometries).where(site_geometries.c.site == site).order_by(site_geometries.c.version)
    )
    return [
        {
            "version": row.version,
            "created": rfc3339(row.created),
            "area_m2": round(row.area_m2, 1),
            "geometry": json.loads(row.geometry),
        }
        for row in rows
    ]


def geometry_of(connection: Connection, site: str, version: int) -> BaseGeometry:
    """Return one version of a site's geometry."""
    text = connection.execute(
        select(site_geometries.c.geometry).where(
            site_geometries.c.site == site, site_geometries.c.version == version
        )
    ).scalar_one()
    return shapely.from_geojson(text)


def standing_warnings(connection: Connection, site: str) -> list[dict[str, Any]]:
    """Return what the watch has to say about a site, such as that no scenes come any more."""
    rows = connection.execute(select(warnings).where(warnings.c.site == site).order_by(warnings.c.code))
    return [{"code": r.code, "detail": r.detail, "since": rfc3339(r.since)} for r in rows]


def etag(row: Record, warned: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return a site's strong ETag: of what its owner changes, and of what the service adds to it by itself."""
    added = json.dumps([row.reports, row.current_report, list(warned)])
    return f'"{row.id}.{row.version}.{hashlib.sha256(added.encode()).hexdigest()[:12]}"'


def same_version(if_match: str, row: Record) -> bool:
    """Tell whether ``If-Match`` names the site as its owner last changed it; weak ETags never do.

    A report that came between is nobody's change: it does not stand in the way of one.
    """
    tags = {tag.strip() for tag in if_match.split(",")}
    return "*" in tags or f'"{row.id}.{row.version}' in {tag.rpartition(".")[0] for tag in tags}


def describe(row: Record) -> dict[str, Any]:
    """Return a site as a GeoJSON Feature."""
    archive_names = json.loads(row.archives)
    properties = {
        **json.loads(row.properties),
        "name": row.name,
        "archives": archive_names,
        "parameters": json.loads(row.parameters),
        "area_m2": round(row.area_m2, 1),
        "utm_epsg": row.utm_epsg,
        "created": rfc3339(row.created),
        "updated": rfc3339(row.updated),
        "version": row.version,
        "geometry_version": row.geometry_version,
        "reports": row.reports,
        "current_report": row.current_report,
    }
    here = f"/sites/{row.id}"
    return {
        "type": "Feature",
        "id": row.id,
        "bbox": _corners_of(row),
        "geometry": json.loads(row.geometry),
        "properties": properties,
        "links": [
            {"rel": "self", "href": here, "type": "application/geo+json"},
            {"rel": "reports", "href": f"{here}/reports", "type": "application/json"},
            {"rel": "latest-version", "href": f"{here}/reports/latest", "type": "application/json"},
            {"rel": "changes", "href": f"{here}/changes", "type": "application/geo+json"},
            {"rel": "looks", "href": f"{here}/looks", "type": "application/geo+json"},
            {"rel": "timeline", "href": f"{here}/timeline", "type": "application/json"},
        ],
    }
