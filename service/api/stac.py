"""``/stac``: a STAC API over registered scenes and reports (core, collections, features, item search)."""

import hashlib
import json
import re
from typing import Annotated, Any

import shapely
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from pipelines.antimeridian import HALF_TURN, cut, uncut
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    GEOJSON,
    JSON,
    UNCHANGED,
    Body,
    Limit,
    ReportsReader,
    ServiceOf,
    address,
    answer,
    base_of,
    bbox_of,
    body_schema,
    capped,
    interval_of,
    next_link,
    unchanged,
)
from service.api.landing import OPENAPI
from service.api.quick import REVALIDATE
from service.context import Service
from service.errors import BadQuery, NotFound
from service.identifiers import decode_cursor, encode_cursor
from service.intake import parse_json
from service.stac import (
    COLLECTIONS,
    STAC_VERSION,
    TITLE,
    Found,
    Place,
    Wanted,
    describe_collection,
    find_item,
    search,
)

router = APIRouter(prefix="/stac", tags=["STAC API"])

CONFORMANCE = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
]
Token = Annotated[str | None, Query(max_length=1024, description="From a `next` link.")]
Box = Annotated[str | None, Query(description="west,south,east,north")]
When = Annotated[str | None, Query(description="time or interval")]
Words = Annotated[str | None, Query(max_length=20_000, description="comma-separated")]
MAX_IDS, MAX_VERTICES = 1_000, 10_000
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+ -]\d\d:\d\d)")
"""RFC 3339 to the letter: a time without its zone means something else to everybody."""


class StacSearch(BaseModel):
    """The body of an item search; what it does not know it refuses, for half a filter finds too much."""

    model_config = ConfigDict(extra="forbid", strict=True)

    collections: list[str] | None = None
    ids: list[str] | None = Field(default=None, max_length=MAX_IDS)
    bbox: list[float] | None = Field(default=None, min_length=4, max_length=6)
    datetime: str | None = None
    intersects: dict[str, Any] | None = None
    limit: int = Field(default=DEFAULT_LIMIT, ge=1)
    token: str | None = Field(default=None, max_length=1024)


@router.get("", responses={**UNCHANGED, 200: {"model": schemas.Listing}})
def get_catalog(request: Request, caller: ReportsReader) -> Response:
    """Return the catalog at the root of the STAC API."""
    base = base_of(request)
    here = f"{base}/stac"
    told = (
        ("self", here, JSON, TITLE),
        ("root", here, JSON, TITLE),
        ("conformance", f"{here}/conformance", JSON, "Conformance classes"),
        ("service-desc", f"{base}/openapi.json", OPENAPI, "OpenAPI 3.1"),
        ("data", f"{here}/collections", JSON, "Collections"),
    )
    links = [{"rel": rel, "href": href, "type": kind, "title": title} for rel, href, kind, title in told]
    links += [
        {"rel": "search", "href": f"{here}/search", "type": GEOJSON, "method": method, "title": "Item search"}
        for method in ("GET", "POST")
    ]
    links += [
        {"rel": "child", "href": f"{here}/collections/{name}", "type": JSON, "title": title}
        for name, (title, _) in COLLECTIONS.items()
    ]
    return _answer(
        request,
        {
            "type": "Catalog",
            "stac_version": STAC_VERSION,
            "id": "depotwatch",
            "title": TITLE,
            "description": "Registered scenes of watched sites and the reports made from them.",
            "conformsTo": CONFORMANCE,
            "links": links,
        },
    )


@router.get("/conformance", responses={**UNCHANGED, 200: {"model": schemas.Conformance}})
def get_conformance(request: Request, caller: ReportsReader) -> Response:
    """Return the STAC API's conformance classes."""
    return _answer(request, {"conformsTo": CONFORMANCE})


@router.get("/collections", responses={**UNCHANGED, 200: {"model": schemas.Listing}})
def get_collections(request: Request, service: ServiceOf, caller: ReportsReader) -> Response:
    """List the collections."""
    base = base_of(request)
    with service.database.read() as connection:
        shown = [describe_collection(connection, caller.tenant, name, base) for name in COLLECTIONS]
    links = [
        {"rel": "self", "href": f"{base}/stac/collections", "type": JSON},
        {"rel": "root", "href": f"{base}/stac", "type": JSON},
    ]
    return _answer(request, {"collections": shown, "links": links})


@router.get("/collections/{kind}", responses={**UNCHANGED, 200: {"model": schemas.Listing}})
def get_collection(request: Request, service: ServiceOf, caller: ReportsReader, kind: str) -> Response:
    """Describe one collection."""
    _known(kind)
    with service.database.read() as connection:
        return _answer(request, describe_collection(connection, caller.tenant, kind, base_of(request)))


@router.get("/collections/{kind}/items", responses={**UNCHANGED, 200: {"model": schemas.FeatureCollection}})
def get_items(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    kind: str,
    bbox: Box = None,
    datetime: When = None,
    limit: Limit = DEFAULT_LIMIT,
    token: Token = None,
    collections: Words = None,
    ids: Words = None,
) -> Response:
    """Return the Items of one collection."""
    _known(kind)
    # pystac-client names the collection here once more.
    named = _words(collections)
    within = [kind] if named is None or kind in named else []
    wanted = _wanted(within, _words(ids), bbox, datetime, None)
    found = _search(request, service, caller.tenant, wanted, token, limit)
    return _page(request, found, _get_next(request, found))


@router.get("/collections/{kind}/items/{entry}", responses={**UNCHANGED, 200: {"model": schemas.Feature}})
def get_item(request: Request, service: ServiceOf, caller: ReportsReader, kind: str, entry: str) -> Response:
    """Return one Item."""
    _known(kind)
    with service.database.read() as connection:
        found = find_item(connection, caller.tenant, kind, entry, base_of(request))
    return _answer(request, found, GEOJSON)


@router.get("/search", responses={**UNCHANGED, 200: {"model": schemas.FeatureCollection}})
def get_search(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    collections: Words = None,
    ids: Words = None,
    bbox: Box = None,
    datetime: When = None,
    intersects: Annotated[str | None, Query(description="a GeoJSON geometry")] = None,
    limit: Limit = DEFAULT_LIMIT,
    token: Token = None,
) -> Response:
    """Search Items of all collections."""
    shape = None if intersects is None else _geometry(parse_json(intersects.encode("utf-8", "replace")))
    wanted = _wanted(_words(collections), _words(ids), bbox, datetime, shape)
    found = _search(request, service, caller.tenant, wanted, token, limit)
    return _page(request, found, _get_next(request, found))


@router.post(
    "/search", responses={200: {"model": schemas.FeatureCollection}}, openapi_extra=body_schema(StacSearch)
)
def post_search(request: Request, service: ServiceOf, caller: ReportsReader, body: Body) -> Response:
    """Search Items of all collections, the search as JSON."""
    document = parse_json(body)
    try:
        asked = StacSearch.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise BadQuery(f"{where or 'the body'}: {fault['msg']}", pointer=where) from error
    shape = None if asked.intersects is None else _geometry(asked.intersects)
    box = None if asked.bbox is None else ",".join(map(repr, asked.bbox))
    wanted = _wanted(asked.collections, asked.ids, box, asked.datetime, shape)
    found = _search(request, service, caller.tenant, wanted, asked.token, asked.limit)
    links = []
    if found.next is not None:
        again = {**document, "token": encode_cursor(*found.next)}
        link = {"rel": "next", "href": f"{base_of(request)}/stac/search", "type": GEOJSON}
        links.append({**link, "method": "POST", "body": again})
    return _page(request, found, links)


def _known(kind: str) -> None:
    if kind not in COLLECTIONS:
        raise NotFound(f"there is no such collection; there are {', '.join(COLLECTIONS)}")


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word for word in text.split(",") if word]


def _wanted(
    collections: list[str] | None,
    ids: list[str] | None,
    bbox: str | None,
    datetime: str | None,
    intersects: Any,
) -> Wanted:
    if bbox is not None and intersects is not None:
        raise BadQuery("bbox and intersects exclude each other; send one of them", pointer="intersects")
    if ids is not None and len(ids) > MAX_IDS:
        raise BadQuery(f"at most {MAX_IDS} ids at once", pointer="ids")
    if any("\x00" in word for word in (ids or [])):
        raise BadQuery("ids hold a NUL character", pointer="ids")
    return Wanted(
        tuple(COLLECTIONS) if collections is None else tuple(collections),
        None if ids is None else tuple(ids),
        bbox_of(bbox),
        _span(datetime),
        intersects,
    )


def _span(text: str | None) -> tuple[float, float] | None:
    ends = [] if text is None else text.split("/")
    wrong = [end for end in ends if end not in {"", ".."} and not MOMENT.fullmatch(end)]
    if wrong or (ends and not any(MOMENT.fullmatch(end) for end in ends)):
        raise BadQuery(
            "datetime is a time such as 2024-01-31T12:00:00Z, or two of them with a slash between, one end `..` where open",
            pointer="datetime",
        )
    return interval_of(text)


def _geometry(document: Any) -> Any:
    try:
        shape = shapely.from_geojson(json.dumps(document))
        within = not shape.is_empty and all(abs(value) <= 360 for value in shape.bounds)
    except (shapely.errors.ShapelyError, ValueError, TypeError) as error:
        raise BadQuery("intersects is a GeoJSON geometry", pointer="intersects") from error
    if not within or document.get("type") in {"Feature", "FeatureCollection"}:
        raise BadQuery("intersects is a GeoJSON geometry in degrees, and not empty", pointer="intersects")
    if shapely.get_num_coordinates(shape) > MAX_VERTICES:
        raise BadQuery(
            f"intersects has more than {MAX_VERTICES:,} vertices; simplify it", pointer="intersects"
        )
    whole = shape if shape.is_valid else shapely.make_valid(shape)
    west, _, east, _ = whole.bounds
    if west < -HALF_TURN or east > HALF_TURN:
        whole = cut(uncut(whole))
    if whole.is_empty:
        raise BadQuery("intersects beyond 180 degrees is understood of polygons only", pointer="intersects")
    shapely.prepare(whole)
    return whole


def _search(
    request: Request, service: Service, tenant: str, wanted: Wanted, token: str | None, limit: int
) -> Found:
    after: Place | None = None
    if token is not None:
        collection, first, second = decode_cursor(token, str, str, int, pointer="token")
        after = (collection, first, second)
    with service.database.read() as connection:
        return search(connection, tenant, wanted, after, capped(limit), base_of(request))


def _get_next(request: Request, found: Found) -> list[dict[str, Any]]:
    if found.next is None:
        return []
    link = next_link(request, encode_cursor(*found.next), name="token", media=GEOJSON)
    return [{**link, "method": "GET"}]


def _page(request: Request, found: Found, links: list[dict[str, Any]]) -> Response:
    own = [
        {"rel": "self", "href": address(request), "type": GEOJSON},
        {"rel": "root", "href": f"{base_of(request)}/stac", "type": JSON},
    ]
    body = {"type": "FeatureCollection", "features": found.items, "numberReturned": len(found.items)}
    return _answer(request, {**body, "links": own + links}, GEOJSON)


def _answer(request: Request, content: Any, media: str = JSON) -> Response:
    """Return JSON with an ETag of its bytes, or 304 where the client has them."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    tag = f'"{hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": REVALIDATE}
    if request.method == "GET" and unchanged(request, tag):
        return Response(status_code=304, headers=headers)
    return answer(text, media=media, headers=headers)
