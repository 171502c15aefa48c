"""``/sites``: sites in, changed, listed, deleted."""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from imagery.errors import DepotwatchError
from pipelines.aoi import parse_aoi
from service import jobs
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    GEOJSON,
    JSON,
    UNCHANGED,
    Body,
    Cursor,
    IdempotencyKey,
    IfMatch,
    Limit,
    ServiceOf,
    SitesReader,
    SitesWriter,
    address,
    answer,
    bbox_of,
    body_schema,
    capped,
    media_type_of,
    next_link,
    parse_body,
    place_in_time,
    unchanged,
)
from service.archives import coverage_forecast
from service.audit import Caller, record
from service.context import Service
from service.database import Record
from service.errors import PreconditionFailed, PreconditionRequired, UnsupportedMediaType
from service.idempotency import Answer
from service.identifiers import decode_cursor, encode_cursor
from service.intake import (
    CSV_TYPE,
    GEOJSON_TYPES,
    KML_TYPE,
    MEDIA_TYPES,
    Intake,
    SiteDraft,
    check_archives,
    check_extra,
    check_name,
    check_parameters,
    read_sites,
)
from service.sites import (
    SitePatch,
    change_site,
    create_site,
    delete_site,
    describe,
    etag,
    find_site,
    geometry_versions,
    list_sites,
    same_version,
    standing_warnings,
)

router = APIRouter(prefix="/sites", tags=["sites"])

SITES_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            **{kind: {"schema": {"$ref": "#/components/schemas/SiteIn"}} for kind in GEOJSON_TYPES},
            KML_TYPE: {"schema": {"type": "string"}},
            CSV_TYPE: {"schema": {"type": "string"}},
        },
    }
}


@router.post(
    "",
    status_code=201,
    openapi_extra=SITES_BODY,
    responses={201: {"content": {GEOJSON: {"schema": {"type": "object"}}}, "description": "the site"}},
)
def submit_sites(
    request: Request,
    service: ServiceOf,
    caller: SitesWriter,
    body: Body,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Watch a place: GeoJSON Feature or FeatureCollection, KML, or CSV of points with a radius.

    Of several sites each feature has its own `etag`, to be sent as `If-Match`.
    """
    kind = media_type_of(request)
    if kind not in MEDIA_TYPES:
        raise UnsupportedMediaType(f"sites come as {', '.join(MEDIA_TYPES)}, not {kind or 'an untyped body'}")
    with service.replays.once(caller, "POST /sites", idempotency_key):
        intake = read_sites(body, kind)
        with service.database.write() as connection:
            known = service.replays.recall(connection, caller, "POST /sites", idempotency_key, body)
            made = known or _create(service, connection, caller, intake)
            if known is None:
                service.replays.remember(connection, caller, "POST /sites", idempotency_key, made)
    return answer(made.body, status=made.status, media=GEOJSON, headers=made.headers)


def _create(service: Service, connection: Connection, caller: Caller, intake: Intake) -> Answer:
    made = []
    for draft in intake.drafts:
        row = create_site(
            service.database,
            connection,
            caller.tenant,
            draft,
            max_sites=service.settings.max_sites_per_tenant,
        )
        record(service.database, connection, caller, "site.create", row.id)
        made.append((row, draft))
    wanted = [row.id for row, draft in made if draft.analyse]
    job = _first_job(service, connection, caller, wanted) if wanted else None
    features = [_shown(connection, row, draft, job if draft.analyse else None) for row, draft in made]
    if not intake.many or len(features) == 1:
        headers = {"Location": f"/sites/{made[0][0].id}", "ETag": etag(made[0][0])}
        return Answer(201, headers, json.dumps(features[0], ensure_ascii=False))
    links = [{"rel": "related", "href": f"/jobs/{job}", "type": "application/json"}] if job else []
    tags = [etag(row) for row, _ in made]
    features = [{**feature, "etag": tag} for feature, tag in zip(features, tags, strict=True)]
    collection = {"type": "FeatureCollection", "features": features, "links": links, "job": job}
    headers = {"Location": "/sites", "ETag": f'"{hashlib.sha256("".join(tags).encode()).hexdigest()[:32]}"'}
    return Answer(201, headers, json.dumps(collection, ensure_ascii=False))


def _first_job(service: Service, connection: Connection, caller: Caller, wanted: Sequence[str]) -> str:
    return jobs.submit(
        service.database,
        connection,
        caller.tenant,
        jobs.JobRequest("analyse", wanted, None, {}, "site-submitted"),
        max_queued=service.settings.max_queued_per_tenant,
    )


def _shown(connection: Connection, row: Record, draft: SiteDraft, job: str | None) -> dict[str, Any]:
    feature = describe(row)
    coverage, warned = coverage_forecast(connection, row.tenant, draft.archives, draft.aoi)
    feature |= {"coverage": coverage, "warnings": [*draft.warnings, *warned], "job": job}
    if job is not None:
        feature["links"].append({"rel": "job", "href": f"/jobs/{job}", "type": "application/json"})
    return feature


@router.get("", responses={200: {"model": schemas.FeatureCollection}})
def get_sites(
    request: Request,
    service: ServiceOf,
    caller: SitesReader,
    bbox: Annotated[str | None, Query(description="west,south,east,north")] = None,
    q: Annotated[str | None, Query(max_length=200, description="part of the name")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List your sites."""
    after = place_in_time(cursor)
    size = capped(limit)
    with service.database.read() as connection:
        rows = list_sites(
            connection,
            caller.tenant,
            bbox=bbox_of(bbox),
            query=None if q is None else q.replace("\x00", ""),
            after=after,
            limit=size + 1,
        )
    links = [{"rel": "self", "href": address(request), "type": GEOJSON}]
    if len(rows) > size:
        links.append(
            next_link(request, encode_cursor(rows[size - 1].created, rows[size - 1].id), media=GEOJSON)
        )
    features = [describe(row) for row in rows[:size]]
    return answer(
        {
            "type": "FeatureCollection",
            "features": features,
            "links": links,
            "numberReturned": len(features),
        },
        media=GEOJSON,
    )


@router.get("/{site}", responses={**UNCHANGED, 200: {"model": schemas.Feature}})
def get_site(request: Request, service: ServiceOf, caller: SitesReader, site: str) -> Response:
    """Return one site, with what the watch warns of, such as that no scenes come any more."""
    with service.database.read() as connection:
        row = find_site(connection, caller.tenant, site)
        warned = standing_warnings(connection, row.id)
        headers = {"ETag": etag(row, warned), "Cache-Control": "no-cache"}
        if unchanged(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        feature = describe(row)
        feature["standing_warnings"] = warned
    return answer(feature, media=GEOJSON, headers=headers)


@router.get("/{site}/geometries", responses={200: {"model": schemas.Listing}})
def get_geometries(
    request: Request,
    service: ServiceOf,
    caller: SitesReader,
    site: str,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List every geometry the site had, oldest first."""
    after = decode_cursor(cursor, int)[0] if cursor is not None else 0
    size = capped(limit)
    with service.database.read() as connection:
        row = find_site(connection, caller.tenant, site)
        left = [one for one in geometry_versions(connection, row.id) if one["version"] > after]
    links = [
        {"rel": "self", "href": address(request), "type": JSON},
        {"rel": "site", "href": f"/sites/{row.id}", "type": GEOJSON},
    ]
    if len(left) > size:
        links.append(next_link(request, encode_cursor(left[size - 1]["version"])))
    return answer({"site": row.id, "geometries": left[:size], "links": links})


@router.patch(
    "/{site}", openapi_extra=body_schema(schemas.SitePatchIn), responses={200: {"model": schemas.Feature}}
)
def patch_site(
    request: Request, service: ServiceOf, caller: SitesWriter, site: str, body: Body, if_match: IfMatch = None
) -> Response:
    """Change a site; a new geometry is a new version and is analysed anew."""
    wanted = parse_body(request, body, schemas.SitePatchIn)
    with service.database.write() as connection:
        row = find_site(connection, caller.tenant, site, lock=True)
        _check_match(if_match, row)
        changed = change_site(service.database, connection, row, _patch(row, wanted))
        if changed.version != row.version:
            record(service.database, connection, caller, "site.change", row.id)
        feature = describe(changed)
        if changed.geometry_version != row.geometry_version:
            job = _first_job(service, connection, caller, [row.id])
            feature["job"] = job
            feature["links"].append({"rel": "job", "href": f"/jobs/{job}", "type": "application/json"})
        tag = etag(changed, standing_warnings(connection, row.id))
    return answer(feature, media=GEOJSON, headers={"ETag": tag})


def _check_match(if_match: str | None, row: Record) -> None:
    if if_match is None:
        raise PreconditionRequired("send the site's ETag as If-Match, so that nobody's change is lost")
    if not same_version(if_match, row):
        raise PreconditionFailed("the site was changed meanwhile; read it again and decide anew")


def _patch(row: Record, wanted: schemas.SitePatchIn) -> SitePatch:
    properties = wanted.properties or {}
    extra = None
    if wanted.properties is not None:
        # JSON merge patch: null removes, everything else replaces.
        merged = {**json.loads(row.properties), **properties}
        extra = check_extra({k: v for k, v in merged.items() if v is not None}, "/properties")
    aoi = None
    if wanted.geometry is not None:
        try:
            aoi = parse_aoi(wanted.geometry)
        except DepotwatchError as error:
            error.pointer = "/geometry" + error.pointer
            raise
    archives = check_archives(properties.get("archives"), "/properties/archives")
    return SitePatch(
        check_name(properties["name"], "/properties/name") if "name" in properties else None,
        aoi,
        extra,
        archives,
        "archives" in properties and archives is None,
        check_parameters(properties["parameters"], "/properties/parameters")
        if "parameters" in properties
        else None,
    )


@router.delete("/{site}", status_code=204, response_class=Response)
def remove_site(service: ServiceOf, caller: SitesWriter, site: str, if_match: IfMatch = None) -> Response:
    """Stop watching a site; its name is free again."""
    with service.database.write() as connection:
        row = find_site(connection, caller.tenant, site, lock=True)
        if if_match is not None:
            _check_match(if_match, row)
        delete_site(service.database, connection, row.id)
        record(service.database, connection, caller, "site.delete", row.id)
    return Response(status_code=204)
