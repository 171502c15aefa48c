"""``/archives``: what scenes come from, and scenes uploaded."""

from operator import itemgetter
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service import archives
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    JSON,
    ArchiveWriter,
    Body,
    Cursor,
    Limit,
    ServiceOf,
    SitesReader,
    address,
    answer,
    body_schema,
    capped,
    needs,
    next_link,
    parse_body,
)
from service.audit import Caller, record
from service.errors import NotFound
from service.identifiers import decode_cursor, encode_cursor
from service.uploads import receive_scene

router = APIRouter(prefix="/archives", tags=["archives"])

UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "GeoTIFF"},
                        "mask": {"type": "string", "format": "binary", "description": "cloud mask, GeoTIFF"},
                        "item": {
                            "type": "string",
                            "description": "STAC Item as JSON: time, angles, licence, bands and their scale",
                        },
                    },
                }
            }
        },
    }
}


@router.get("", responses={200: {"model": schemas.Listing}})
def get_archives(
    request: Request,
    service: ServiceOf,
    caller: SitesReader,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List the archives your sites may use, in order of their names."""
    after = decode_cursor(cursor, str)[0] if cursor is not None else ""
    size = capped(limit)
    with service.database.read() as connection:
        known = archives.list_archives(connection, caller.tenant)
    left = sorted((one for one in known if one["name"] > after), key=itemgetter("name"))
    links = [{"rel": "self", "href": address(request), "type": JSON}]
    if len(left) > size:
        links.append(next_link(request, encode_cursor(left[size - 1]["name"])))
    return answer({"archives": left[:size], "links": links})


@router.get("/{name}", responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}})
def get_archive(service: ServiceOf, caller: SitesReader, name: str) -> Response:
    """Return one archive: how many scenes it holds, and of which times."""
    with service.database.read() as connection:
        for shown in archives.list_archives(connection, caller.tenant):
            if shown["name"] == name:
                return answer(shown)
    raise NotFound("there is no such archive")


@router.post(
    "",
    status_code=201,
    openapi_extra=body_schema(schemas.ArchiveIn),
    responses={201: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
def add_archive(
    request: Request, service: ServiceOf, caller: Annotated[Caller, needs("admin")], body: Body
) -> Response:
    """Add an archive on the network, for your tenant; folders are added by the operator."""
    wanted = parse_body(request, body, schemas.ArchiveIn)
    if "://" not in wanted.source:
        raise archives.BadArchive("over HTTP only http(s) addresses can be added", pointer="/source")
    kind, source = archives.check_source(wanted.source, service.settings.allowed_hosts)
    with service.database.write() as connection:
        row = archives.add_archive(service.database, connection, wanted.name, kind, source, caller.tenant)
        record(service.database, connection, caller, "archive.add", row.name)
        shown = archives.describe(row, operator=False)
    return answer(shown, status=201, headers={"Location": f"/archives/{row.name}"})


@router.post(
    "/{name}/scenes",
    status_code=201,
    openapi_extra=UPLOAD_BODY,
    responses={201: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def upload_scene(
    request: Request,
    service: ServiceOf,
    caller: ArchiveWriter,
    name: str,
    scene_id: Annotated[str | None, Query(max_length=128, description="default: the file's name")] = None,
) -> Response:
    """Upload a scene: checked, hashed, indexed, or refused with what is missing."""
    made = await receive_scene(request, service, caller, name, scene_id)
    return answer(made, status=201, headers={"Location": f"/archives/{name}"})
