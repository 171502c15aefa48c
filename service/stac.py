"""What a tenant has as STAC Items: the scenes its current reports saw, registered, and those reports themselves."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, exists, func, literal, select

from service.artefacts import media_type
from service.database import Record, Statement
from service.errors import NotFound
from service.moments import rfc3339
from service.sites import BBox, beside, corners
from service.tables import looks, report_files, reports, site_geometries, sites
from service.tiles import REGISTRATION

STAC_VERSION = "1.1.0"
SCENES, REPORTS = "scenes", "reports"
COLLECTIONS = {
    SCENES: ("Registered scenes", "Scenes as the current reports saw and registered them, one Item per scene and site"),
    REPORTS: ("Reports", "The current report of each site, with every file it holds"),
}  # fmt: skip
EXTENSIONS = {
    "proj": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "processing": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "view": "https://stac-extensions.github.io/view/v1.0.0/schema.json",
    "eo": "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "file": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
}
"""Schemas by the prefix of their members."""
TITLE = "depotwatch"
PROVIDERS = [
    {"name": "depotwatch", "description": "registered and compared the scenes", "roles": ["processor"]}
]
LICENCE = re.compile(r"[\w.+-]+")
"""What STAC lets stand as ``license``; all else is ``other``, spelled out beside it."""
ASSETS = {
    "report.json": ("The report for a program", ["metadata"]),
    "report.html": ("The report for a person", ["overview"]),
    "changes.geojson": ("Changes", ["data"]),
    "changes.gpkg": ("Changes, styled for QGIS", ["data"]),
    "changes.kmz": ("Changes for Google Earth", ["data"]),
    "changes.parquet": ("Changes as GeoParquet", ["data"]),
    "looks.geojson": ("How much each scene showed", ["metadata"]),
    "timeline.csv": ("What stood when", ["data"]),
    REGISTRATION: ("How each scene was registered", ["metadata"]),
    "bundle.zip": ("Evidence bundle", ["data", "archive"]),
}
LOOK_MEMBERS = ("reference", "usable_fraction", "displacement", "residual_m", "state", "notes")
STAC_NAMES = {
    "gsd": "gsd",
    "platform": "platform",
    "view:sun_azimuth": "sun_azimuth_deg",
    "view:sun_elevation": "sun_elevation_deg",
    "view:azimuth": "view_azimuth_deg",
    "view:off_nadir": "off_nadir_deg",
}
BATCH = 200
# A search that fits little looks at so many rows, then gives what it has, with a link to go on.
MOST_ROWS = 5_000
SHA256 = "1220"
"""How a multihash calls 32 bytes of SHA-256."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search: what to keep, None or empty for all."""

    collections: tuple[str, ...] = (SCENES, REPORTS)
    ids: tuple[str, ...] | None = None
    bbox: BBox | None = None
    span: tuple[float, float] | None = None
    intersects: BaseGeometry | None = None


Place = tuple[str, str, int]
"""Collection, and the order within it: ``(site, position)`` or ``(report, 0)``."""


@dataclass(frozen=True, slots=True)
class Found:
    """Items of one page; ``next`` is where the next one goes on, None at the end."""

    items: tuple[dict[str, Any], ...]
    next: Place | None


def search(
    connection: Connection, tenant: str, wanted: Wanted, after: Place | None, size: int, base: str
) -> Found:
    """Return a page of Items, scenes before reports, each in an order that does not change."""
    items: list[dict[str, Any]] = []
    last = after
    for count, (place, item) in enumerate(_stream(connection, tenant, wanted, after, base)):
        # Clients take an empty page for the end, so none is given before it.
        if len(items) == size or (items and count >= MOST_ROWS):
            return Found(tuple(items), last)
        if _fits(item, wanted):
            items.append(item)
        last = place
    return Found(tuple(items), None)


def find_item(connection: Connection, tenant: str, collection: str, item: str, base: str) -> dict[str, Any]:
    """Return one Item.

    Raises
    ------
    NotFound : no such Item, or another tenant's
    """
    found = search(connection, tenant, Wanted((collection,), (item,)), None, 1, base).items
    if not found:
        raise NotFound("there is no such item")
    return found[0]


def _stream(
    connection: Connection, tenant: str, wanted: Wanted, after: Place | None, base: str
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield what the database finds, batch by batch, each with its place."""
    missed = [] if wanted.bbox is None else beside(connection, tenant, wanted.bbox)
    for collection, make in ((SCENES, _scene_items), (REPORTS, _report_items)):
        if collection not in wanted.collections or (collection == SCENES and after and after[0] == REPORTS):
            continue
        here, batch = after if after and after[0] == collection else None, BATCH
        while True:
            statement = _rows(collection, tenant, wanted, here).where(sites.c.id.not_in(missed))
            rows = connection.execute(statement.limit(batch)).all()
            near = _near(rows, wanted.intersects)
            for row, item in zip(near, make(connection, near, base), strict=True):
                yield (collection, row.first, row.second), item
            if len(rows) < batch:
                break
            here = (collection, rows[-1].first, rows[-1].second)
            batch = min(2 * batch, MOST_ROWS)


def _near(rows: Sequence[Record], shape: BaseGeometry | None) -> Sequence[Record]:
    """Return the rows whose corners a shape touches: to make Items of all would take most of a search's time."""
    if shape is None or not rows:
        return rows
    corners_of = np.array([(row.minx, row.miny, row.maxx, row.maxy) for row in rows])
    touched = shapely.intersects(shape, shapely.box(*corners_of.T))
    return [row for row, touches in zip(rows, touched, strict=True) if touches]


def _fits(item: Mapping[str, Any], wanted: Wanted) -> bool:
    """Judge what the database could not: whether a scene was used at all, exact ids and shapes."""
    if wanted.ids is not None and item["id"] not in wanted.ids:
        return False
    if not item["properties"].get("depotwatch:registered", True):
        return False
    if wanted.intersects is None:
        return True
    place = item["geometry"]
    return place is not None and bool(wanted.intersects.intersects(shapely.from_geojson(json.dumps(place))))


def _rows(collection: str, tenant: str, wanted: Wanted, after: Place | None) -> Statement:
    return (_look_rows if collection == SCENES else _report_rows)(tenant, wanted, after)


def _look_rows(tenant: str, wanted: Wanted, after: Place | None) -> Statement:
    statement = (
        select(looks.c.site.label("first"), looks.c.position.label("second"), looks.c.feature, looks.c.report)
        .add_columns(sites.c.utm_epsg, sites.c.name, reports.c.processing_version, *_corners_in(looks))
        .join(sites, sites.c.id == looks.c.site)
        .join(reports, reports.c.id == looks.c.report)
        .where(looks.c.tenant == tenant, looks.c.current, sites.c.deleted.is_(None))
    )
    if wanted.ids is not None:
        statement = statement.where(looks.c.site.in_({text.partition("_")[0] for text in wanted.ids}))
    if wanted.span is not None:
        statement = statement.where(looks.c.at >= wanted.span[0], looks.c.at <= wanted.span[1])
    if after is not None:
        later = (looks.c.site == after[1]) & (looks.c.position > after[2])
        statement = statement.where((looks.c.site > after[1]) | later)
    return _where(statement, looks, wanted).order_by(looks.c.site, looks.c.position)


def _report_rows(tenant: str, wanted: Wanted, after: Place | None) -> Statement:
    statement = (
        select(reports.c.id.label("first"), literal(0).label("second"), reports)
        .add_columns(sites.c.utm_epsg, sites.c.name, site_geometries.c.geometry, *_corners_in(sites))
        .join(sites, sites.c.id == reports.c.site)
        .join(
            site_geometries,
            (site_geometries.c.site == reports.c.site)
            & (site_geometries.c.version == reports.c.geometry_version),
        )
        .where(reports.c.tenant == tenant, reports.c.current, sites.c.deleted.is_(None))
    )
    if wanted.ids is not None:
        statement = statement.where(reports.c.id.in_(wanted.ids))
    if wanted.span is not None:
        start, end = wanted.span
        mine = exists().where(looks.c.report == reports.c.id)
        spans = mine.where(looks.c.at >= start) & mine.where(looks.c.at <= end)
        dated = ~mine & (reports.c.created >= start) & (reports.c.created <= end)
        statement = statement.where(spans | dated)
    if after is not None:
        statement = statement.where(reports.c.id > after[1])
    return _where(statement, sites, wanted).order_by(reports.c.id)


def _corners_in(table: Any) -> tuple[Any, ...]:
    return table.c.minx, table.c.miny, table.c.maxx, table.c.maxy


def _where(statement: Statement, table: Any, wanted: Wanted) -> Statement:
    if wanted.bbox is not None:
        statement = statement.where(*wanted.bbox.touches(table))
    if wanted.intersects is not None:
        statement = statement.where(*BBox(*wanted.intersects.bounds).touches(table))
    return statement


def scene_item_id(site: str, scene_id: str) -> str:
    """Return the id of a scene's Item on a site: the same in every report of the site, safe in an address."""
    return f"{site}_{hashlib.sha256(scene_id.encode()).hexdigest()[:16]}"


def licence_of(texts: Iterable[str | None]) -> str:
    """Return terms as STAC's ``license`` has them: one identifier, or ``other``."""
    said = {text or "" for text in texts}
    (one,) = said if len(said) == 1 else ("",)
    return one if LICENCE.fullmatch(one) and one not in {"proprietary", "various"} else "other"


def _item(collection: str, item: str, geometry: Any, properties: dict[str, Any], base: str) -> dict[str, Any]:
    here = f"{base}/stac/collections/{collection}"
    made: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": _extensions(properties),
        "id": item,
        "collection": collection,
        "geometry": geometry,
    }
    if geometry is not None:
        made["bbox"] = corners(shapely.from_geojson(json.dumps(geometry)))
    links = [
        {"rel": "self", "href": f"{here}/items/{item}", "type": "application/geo+json"},
        {"rel": "root", "href": f"{base}/stac", "type": "application/json"},
        {"rel": "parent", "href": here, "type": "application/json"},
        {"rel": "collection", "href": here, "type": "application/json"},
    ]
    return {**made, "properties": {**properties, "providers": PROVIDERS}, "links": links, "assets": {}}


def _extensions(*members: Mapping[str, Any]) -> list[str]:
    """Return the extensions whose members there are."""
    prefixes = {name.partition(":")[0] for told in members for name in told if ":" in name}
    return [schema for prefix, schema in EXTENSIONS.items() if prefix in prefixes]


def _scene_items(connection: Connection, rows: Sequence[Record], base: str) -> list[dict[str, Any]]:
    tiled = _holding(connection, {row.report for row in rows}, REGISTRATION)
    return [_scene_item(row, row.report in tiled, base) for row in rows]


def _holding(connection: Connection, wanted: Iterable[str], path: str) -> set[str]:
    """Return which of some reports have a file."""
    statement = select(report_files.c.report).where(
        report_files.c.path == path, report_files.c.report.in_(sorted(wanted))
    )
    return set(connection.execute(statement).scalars())


def _scene_item(row: Record, tiled: bool, base: str) -> dict[str, Any]:
    feature = json.loads(row.feature)
    told = feature["properties"]
    fractions = told.get("fractions") or {}
    properties = {
        "datetime": told["datetime"],
        "title": f"{told['scene_id']} on {row.name}",
        "license": licence_of([told.get("licence")]),
        "proj:code": f"EPSG:{row.utm_epsg}",
        "processing:version": row.processing_version,
        "depotwatch:site": row.first,
        "depotwatch:scene_id": told["scene_id"],
        "depotwatch:licence": told.get("licence"),
        "depotwatch:registered": bool(told.get("used")),
        **{f"depotwatch:{name}": told.get(name) for name in LOOK_MEMBERS},
        **{stac: told[own] for stac, own in STAC_NAMES.items() if told.get(own) is not None},
    }
    if fractions:
        properties["eo:cloud_cover"] = round(100 * (fractions.get("cloud") or 0.0), 2)
    item = _item(SCENES, scene_item_id(row.first, told["scene_id"]), feature["geometry"], properties, base)
    site, report = f"{base}/sites/{row.first}", f"{base}/sites/{row.first}/reports/{row.report}"
    item["links"] += [
        {"rel": "via", "href": report, "type": "application/json", "title": "The report"},
        {"rel": "related", "href": site, "type": "application/geo+json", "title": "The site"},
    ]
    if tiled:
        item["assets"] = _scene_assets(site, report, row.report, told)
    return item


def _scene_assets(site: str, report: str, number: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what leads to a look's pixels; nothing that shows them where the licence forbids it."""
    assets: dict[str, Any] = {
        "registration": {
            "href": f"{report}/files/{REGISTRATION}",
            "type": "application/json",
            "title": ASSETS[REGISTRATION][0],
            "roles": ["metadata"],
        }
    }
    if told.get("used") and told.get("chips_allowed", True):
        tile = f"{site}/tiles/{quote(told['scene_id'], safe='')}/0/0/0.png?report={number}"
        assets["thumbnail"] = {"href": tile, "type": "image/png", "roles": ["thumbnail", "overview"]}
        assets["tiles"] = {
            "href": f"{site}/tiles?report={number}",
            "type": "application/json",
            "title": "Map tiles in the site's UTM zone",
            "roles": ["visual", "metadata"],
        }
    return assets


def _report_items(connection: Connection, rows: Sequence[Record], base: str) -> list[dict[str, Any]]:
    seen: dict[str, list[Record]] = {row.id: [] for row in rows}
    for look in connection.execute(
        select(looks.c.report, looks.c.at, looks.c.feature).where(looks.c.report.in_(sorted(seen)))
    ):
        seen[look.report].append(look)
    files: dict[str, dict[str, Record]] = {row.id: {} for row in rows}
    for file in connection.execute(
        select(report_files).where(report_files.c.report.in_(sorted(seen)), report_files.c.path.in_(ASSETS))
    ):
        files[file.report][file.path] = file
    return [_report_item(row, seen[row.id], files[row.id], base) for row in rows]


def _report_item(
    row: Record, seen: Sequence[Record], files: Mapping[str, Record], base: str
) -> dict[str, Any]:
    times = [look.at for look in seen] or [row.created]
    terms = sorted({json.loads(look.feature)["properties"].get("licence") or "" for look in seen})
    properties = {
        "datetime": rfc3339(max(times)),
        "start_datetime": rfc3339(min(times)),
        "end_datetime": rfc3339(max(times)),
        "created": rfc3339(row.created),
        "title": f"Report {row.number} of {row.name}",
        "license": licence_of(terms),
        "proj:code": f"EPSG:{row.utm_epsg}",
        "processing:version": row.processing_version,
        "depotwatch:number": row.number,
        "depotwatch:site": row.site,
        "depotwatch:licences": [text for text in terms if text],
    }
    item = _item(REPORTS, row.id, json.loads(row.geometry), properties, base)
    here = f"{base}/sites/{row.site}/reports/{row.id}"
    item["links"].append(
        {"rel": "related", "href": f"{base}/sites/{row.site}", "type": "application/geo+json"}
    )
    item["assets"] = {
        path: {
            "href": f"{here}/bundle.zip" if path == "bundle.zip" else f"{here}/files/{path}",
            "type": media_type(path),
            "title": title,
            "roles": roles,
            "file:size": files[path].size,
            "file:checksum": SHA256 + files[path].sha256,
        }
        for path, (title, roles) in ASSETS.items()
        if path in files
    }
    item["stac_extensions"] = _extensions(properties, *item["assets"].values())
    return item


def describe_collection(connection: Connection, tenant: str, name: str, base: str) -> dict[str, Any]:
    """Return one collection with its extent."""
    title, description = COLLECTIONS[name]
    here, root = f"{base}/stac/collections/{name}", f"{base}/stac"
    alive = looks.c.site.in_(select(sites.c.id).where(sites.c.tenant == tenant, sites.c.deleted.is_(None)))
    row = connection.execute(
        select(
            func.min(looks.c.minx), func.min(looks.c.miny), func.max(looks.c.maxx), func.max(looks.c.maxy),
            func.min(looks.c.at), func.max(looks.c.at),
        ).where(looks.c.tenant == tenant, looks.c.current, alive)
    ).one()  # fmt: skip
    box = [-180.0, -90.0, 180.0, 90.0] if row[0] is None else list(row[:4])
    times = [None, None] if row[4] is None else [rfc3339(row[4]), rfc3339(row[5])]
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": name,
        "title": title,
        "description": description,
        "license": "other",
        "providers": PROVIDERS,
        "extent": {"spatial": {"bbox": [box]}, "temporal": {"interval": [times]}},
        **_summaries(connection, tenant),
        "links": [
            {"rel": "self", "href": here, "type": "application/json", "title": title},
            {"rel": "root", "href": root, "type": "application/json", "title": TITLE},
            {"rel": "parent", "href": root, "type": "application/json", "title": TITLE},
            {"rel": "items", "href": f"{here}/items", "type": "application/geo+json", "title": "Items"},
        ],
    }


def _summaries(connection: Connection, tenant: str) -> dict[str, Any]:
    """Return which UTM zones and processing versions a tenant's Items have; nothing where there are none."""
    current = (
        select(sites.c.utm_epsg, reports.c.processing_version)
        .join(reports, reports.c.site == sites.c.id)
        .where(sites.c.tenant == tenant, sites.c.deleted.is_(None), reports.c.current)
        .distinct()
    )
    rows = connection.execute(current).all()
    if not rows:
        return {}
    told = {
        "proj:code": [f"EPSG:{epsg}" for epsg in sorted({row.utm_epsg for row in rows})],
        "processing:version": sorted({row.processing_version for row in rows}),
    }
    return {"stac_extensions": _extensions(told), "summaries": told}
