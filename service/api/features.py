"""OGC API - Features Part 1 over what a tenant has: collections ``sites``, ``changes`` and ``looks``."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import ColumnElement, Connection, FromClause, func, select
from starlette.responses import Response

from imagery.changes import ObjectClass, Status
from service import reports
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    GEOJSON,
    JSON,
    Cursor,
    Limit,
    ReportsReader,
    ServiceOf,
    address,
    answer,
    base_of,
    bbox_of,
    capped,
    interval_of,
    next_link,
    words_of,
)
from service.api.parameters import refuse_others
from service.changes import ChangeFilter
from service.cql import Kind, Predicate, parse
from service.database import Record, Statement
from service.errors import BadQuery, NotFound
from service.features import is_retracted, served, told, with_retracted
from service.identifiers import decode_cursor, encode_cursor
from service.moments import rfc3339
from service.sites import BBox, beside, describe, find_site
from service.tables import changes, looks, sites

router = APIRouter(prefix="/collections", tags=["OGC API - Features"])

CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/queryables",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/features-filter",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-text",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-cql2",
    "http://www.opengis.net/spec/cql2/1.0/conf/advanced-comparison-operators",
    "http://www.opengis.net/spec/tms/2.0/conf/tilematrixset",
    "http://www.opengis.net/spec/tms/2.0/conf/json-tilematrixset",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/tileset",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/tilesets-list",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/png",
]
SCHEMA_JSON = "application/schema+json"
QUERYABLES_RELS = ("http://www.opengis.net/def/rel/ogc/1.0/queryables", "queryables")
TITLES = {
    "sites": ("Sites", "Watched places"),
    "changes": ("Changes", "Objects that appeared or were removed, as the current reports tell"),
    "looks": ("Looks", "Scenes as seen on the sites, with how much of each site they showed"),
}
COMMON = {"bbox", "limit", "cursor", "datetime", "f", "filter", "filter-lang", "filter-crs"}
PARAMETERS = {
    "sites": COMMON,
    "changes": COMMON | {"class", "direction", "status", "min_confidence", "site"},
    "looks": COMMON | {"site"},
}


def _asked(**names: str) -> dict[str, Kind]:
    """Return properties with their kinds."""
    kinds: dict[str, Kind] = {"text": "string", "number": "number", "truth": "boolean", "time": "date-time"}
    return {name: kinds[called] for called, several in names.items() for name in several.split()}


QUERYABLES = {
    "sites": _asked(
        text="name current_report",
        number="area_m2 utm_epsg version geometry_version reports",
        time="created updated",
    ),
    "changes": _asked(
        text="change_type direction status site count_reason statement before_scene after_scene",
        number="confidence count count_low count_high area_m2 area_m2_low area_m2_high length_m width_m "
        "orientation_deg gsd looks_supporting looks_against shift_sensitivity",
        time="first_seen last_absent last_seen",
    ),
    "looks": _asked(
        text="scene_id site platform licence state",
        number="gsd usable_fraction quality residual_m sun_azimuth_deg sun_elevation_deg view_azimuth_deg "
        "off_nadir_deg",
        truth="used reference chips_allowed",
        time="datetime",
    ),
}
"""What a filter may ask for: properties that are one text, number, truth value or time."""
# So many rows are read at once under a filter: few at first, more where it finds little.
BATCH, MOST_ROWS = 500, 8_000
Collection = Annotated[str, Path(alias="collectionId")]
"""Named as OGC's own examples do: GDAL looks for parameters of items under this very path."""


@router.get("", responses={200: {"model": schemas.Listing}})
def get_collections(request: Request, service: ServiceOf, caller: ReportsReader) -> Response:
    """List the collections."""
    with service.database.read() as connection:
        shown = [_collection(request, connection, caller.tenant, name) for name in TITLES]
    here = f"{base_of(request)}/collections"
    return answer({"collections": shown, "links": [{"rel": "self", "href": here, "type": JSON}]})


@router.get("/{collectionId}", responses={200: {"model": schemas.Listing}})
def get_collection(
    request: Request, service: ServiceOf, caller: ReportsReader, collection: Collection
) -> Response:
    """Describe one collection."""
    _known(collection)
    with service.database.read() as connection:
        return answer(_collection(request, connection, caller.tenant, collection))


def _known(name: str) -> None:
    if name not in TITLES:
        raise NotFound(f"there is no such collection; there are {', '.join(TITLES)}")


def _collection(request: Request, connection: Connection, tenant: str, name: str) -> dict[str, Any]:
    title, description = TITLES[name]
    here = f"{base_of(request)}/collections/{name}"
    return {
        "id": name,
        "title": title,
        "description": description,
        "itemType": "feature",
        "crs": [CRS84],
        "extent": _extent(connection, tenant, name),
        "links": [
            {"rel": "self", "href": here, "type": JSON},
            {"rel": "items", "href": f"{here}/items", "type": GEOJSON},
            # By the standard's name for QGIS, and by its drafts' for GDAL.
            *({"rel": rel, "href": f"{here}/queryables", "type": SCHEMA_JSON} for rel in QUERYABLES_RELS),
        ],
    }


def _extent(connection: Connection, tenant: str, name: str) -> dict[str, Any]:
    table = {"sites": sites, "changes": changes, "looks": looks}[name]
    alive: ColumnElement[bool] = sites.c.deleted.is_(None)
    if table is not sites:
        alive = table.c.current & table.c.site.in_(_alive(tenant))
    corners = [func.min(table.c.minx), func.min(table.c.miny), func.max(table.c.maxx), func.max(table.c.maxy)]
    times = {
        "sites": (func.min(sites.c.created), func.max(sites.c.created)),
        "changes": (func.min(changes.c.last_absent), func.max(changes.c.first_seen)),
        "looks": (func.min(looks.c.at), func.max(looks.c.at)),
    }[name]
    row = connection.execute(select(*corners, *times).where(table.c.tenant == tenant, alive)).one()
    if row[0] is None:
        return {"spatial": {"bbox": [[-180, -90, 180, 90]], "crs": CRS84}}
    return {
        "spatial": {"bbox": [list(row[:4])], "crs": CRS84},
        "temporal": {"interval": [[rfc3339(row[4]), rfc3339(row[5])]]},
    }


@router.get(
    "/{collectionId}/queryables",
    responses={200: {"content": {SCHEMA_JSON: {"schema": {"type": "object"}}}}},
)
def get_queryables(request: Request, caller: ReportsReader, collection: Collection) -> Response:
    """Return what a filter may ask a collection for, as a JSON Schema."""
    _known(collection)
    asked = QUERYABLES[collection]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{base_of(request)}/collections/{collection}/queryables",
        "type": "object",
        "title": TITLES[collection][0],
        "properties": {name: _described(name, kind) for name, kind in asked.items()},
        "additionalProperties": False,
        # How drafts of the standard listed them, and GDAL reads them.
        "queryables": [{"id": name} for name in asked],
    }
    return answer(schema, media=json_called(request, SCHEMA_JSON), headers={"Vary": "Accept"})


def json_called(request: Request, media: str) -> str:
    """Return a special JSON's own media type, or plain JSON to who asks for that and knows no other (GDAL, QGIS)."""
    accepts = request.headers.get("accept", "").replace(" ", "")
    return JSON if JSON in accepts and media not in accepts else media


def _described(name: str, kind: Kind) -> dict[str, str]:
    if kind == "date-time":
        return {"title": name, "type": "string", "format": "date-time"}
    return {"title": name, "type": kind}


@router.get("/{collectionId}/items", responses={200: {"content": {GEOJSON: {"schema": {"type": "object"}}}}})
def get_items(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    collection: Collection,
    bbox: Annotated[str | None, Query(description="west,south,east,north")] = None,
    datetime: Annotated[str | None, Query(description="time or interval")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    class_: Annotated[str | None, Query(alias="class")] = None,
    direction: Annotated[str | None, Query()] = None,
    status: Annotated[str | None, Query()] = None,
    min_confidence: Annotated[float | None, Query(ge=0, le=1)] = None,
    site: Annotated[str | None, Query(max_length=64)] = None,
    filter_: Annotated[str | None, Query(alias="filter", description="CQL2 text")] = None,
    filter_lang: Annotated[
        Literal["cql2-text", "cql-text"],
        Query(alias="filter-lang", description="`cql-text` is what drafts and GDAL call it"),
    ] = "cql2-text",
    filter_crs: Annotated[
        Literal["http://www.opengis.net/def/crs/OGC/1.3/CRS84"], Query(alias="filter-crs")
    ] = CRS84,
    f: Annotated[Literal["json", "geojson"], Query()] = "json",
) -> Response:
    """Return features of a collection."""
    _known(collection)
    refuse_others(request.query_params, PARAMETERS[collection])
    size, box, span = capped(limit), bbox_of(bbox), interval_of(datetime)
    wanted = ChangeFilter(
        words_of(class_, ObjectClass, "class"),
        words_of(direction, ("appeared", "removed"), "direction"),
        words_of(status, Status, "status"),
        min_confidence,
        span,
        box,
    )
    matches = None if filter_ is None else parse(filter_, QUERYABLES[collection])
    if site is not None and "\x00" in site:
        raise BadQuery("site holds a NUL character", pointer="site")
    with service.database.read() as connection:
        missed = [] if box is None else beside(connection, caller.tenant, box)
        if collection == "sites":
            statement = _sites(caller.tenant, box, span).where(sites.c.id.not_in(missed))
            place = _place(sites.c.created, sites.c.id, cursor, float)
            found = _page(connection, statement, place, size, describe, matches)
        else:
            table: FromClause = changes if collection == "changes" else looks
            stands = (table.c.tenant == caller.tenant) & table.c.current
            if table is changes and Status.RETRACTED in wanted.statuses:
                table = with_retracted(stands, wanted, caller.tenant, site)
                statement = _features(table)
            elif table is changes:
                statement = wanted.apply(_features(table).where(stands))
            else:  # their places are their sites'
                statement = _looks(_features(table).where(stands, looks.c.site.not_in(missed)), box, span)
            statement = statement.where(table.c.site.in_(_alive(caller.tenant)))
            if site is not None:
                statement = statement.where(table.c.site == site)
            place = _place(table.c.site, table.c.position, cursor, str)
            found = _page(connection, statement, place, size, _with_site, matches)
    here = f"{base_of(request)}/collections/{collection}"
    links = [
        {"rel": "self", "href": address(request), "type": GEOJSON},
        {"rel": "collection", "href": here, "type": JSON},
    ]
    if found.next is not None:
        links.append(next_link(request, encode_cursor(*found.next), media=GEOJSON))
    members: dict[str, Any] = {"type": "FeatureCollection", "features": found.features, "links": links}
    if found.total is not None:
        members["numberMatched"] = found.total
    members |= {"numberReturned": len(found.features), "timeStamp": _now(service)}
    return answer(members, media=GEOJSON)


@dataclass(frozen=True, slots=True)
class _Found:
    """One page; ``total`` None where a filter would have to read everything to tell, ``next`` None at the end."""

    features: list[dict[str, Any]]
    total: int | None
    next: tuple[Any, Any] | None


def _now(service: Any) -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _alive(tenant: str) -> Statement:
    return select(sites.c.id).where(sites.c.tenant == tenant, sites.c.deleted.is_(None))


def _features(table: FromClause) -> Statement:
    return select(table.c.site, table.c.position, table.c.feature)


def _sites(tenant: str, box: BBox | None, span: tuple[float, float] | None) -> Statement:
    statement = select(sites).where(sites.c.tenant == tenant, sites.c.deleted.is_(None))
    if box is not None:
        statement = statement.where(*box.touches(sites))
    if span is not None:
        statement = statement.where(sites.c.created >= span[0], sites.c.created <= span[1])
    return statement


def _looks(statement: Statement, box: BBox | None, span: tuple[float, float] | None) -> Statement:
    if box is not None:
        statement = statement.where(*box.touches(looks))
    if span is not None:
        statement = statement.where(looks.c.at >= span[0], looks.c.at <= span[1])
    return statement


def _place(first: Any, second: Any, cursor: str | None, kind: type) -> tuple[Any, Any, list[Any] | None]:
    """Return the two ordering columns and the place to go on from."""
    after = None
    if cursor is not None:
        after = decode_cursor(cursor, kind, int if kind is str else str)
    return first, second, after


def _page(
    connection: Connection,
    statement: Statement,
    place: tuple[Any, Any, list[Any] | None],
    size: int,
    made: Callable[[Record], dict[str, Any]],
    matches: Predicate | None,
) -> _Found:
    first, second, after = place
    total = None
    if matches is None:
        total = connection.execute(select(func.count()).select_from(statement.subquery())).scalar_one()
    hits: list[tuple[tuple[Any, Any], dict[str, Any]]] = []
    wanted = size + 1 if matches is None else BATCH
    # A filter reads on until the page is full: clients take one that is not for the end.
    while len(hits) <= size:
        left = statement
        if after is not None:
            left = statement.where((first > after[0]) | ((first == after[0]) & (second > after[1])))
        rows = connection.execute(left.order_by(first, second).limit(wanted)).all()
        for row in rows:
            after = [getattr(row, first.name), getattr(row, second.name)]
            feature = made(row)
            if matches is None or matches(feature["properties"]):
                hits.append(((after[0], after[1]), feature))
        if len(rows) < wanted:
            break
        wanted = min(2 * wanted, MOST_ROWS)
    features = [feature for _, feature in hits[:size]]
    return _Found(features, total, hits[size - 1][0] if len(hits) > size else None)


def _with_site(row: Record) -> dict[str, Any]:
    """Add the site to a stored feature's properties; of looks also an id unique over sites."""
    feature: dict[str, Any] = json.loads(served(told(row)))
    feature["properties"]["site"] = row.site
    if "scene_id" in feature["properties"]:
        feature["id"] = f"{row.site}.{row.position}"
    return feature


@router.get("/{collectionId}/items/{item}", responses={200: {"model": schemas.Feature}})
def get_item(
    request: Request, service: ServiceOf, caller: ReportsReader, collection: Collection, item: str
) -> Response:
    """Return one feature of a collection."""
    _known(collection)
    with service.database.read() as connection:
        match collection:
            case "sites":
                feature = describe(find_site(connection, caller.tenant, item))
            case "changes":
                row = reports.find_change(connection, caller.tenant, item)
                if not row.current and not is_retracted(connection, row):
                    raise NotFound("no current report tells this change; /changes/{id} does")
                feature = _with_site(row)
                if not row.current:
                    feature["properties"]["status"] = Status.RETRACTED.value
            case _:
                feature = _with_site(_look(connection, caller.tenant, item))
    here = f"{base_of(request)}/collections/{collection}"
    feature["links"] = [
        {"rel": "self", "href": f"{here}/items/{item}", "type": GEOJSON},
        {"rel": "collection", "href": here, "type": JSON},
    ]
    return answer(feature, media=GEOJSON)


def _look(connection: Connection, tenant: str, item: str) -> Record:
    site, _, position = item.rpartition(".")
    row = None
    if position.isdecimal() and len(position) < 10:
        row = connection.execute(
            select(looks).where(
                looks.c.tenant == tenant,
                looks.c.current,
                looks.c.site == site,
                looks.c.position == int(position),
                looks.c.site.in_(_alive(tenant)),
            )
        ).first()
    if row is None:
        raise NotFound("there is no such look")
    return row
