"""``/sites/{site}/feed.atom``: a site's news for feed readers, and the tokens they come with."""

import asyncio
import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from service import feed_tokens
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    JSON,
    UNCHANGED,
    Body,
    Cursor,
    Limit,
    ReportsReader,
    ServiceOf,
    SitesWriter,
    address,
    admitted,
    answer,
    base_of,
    bearer,
    body_schema,
    capped,
    next_link,
    parse_body,
    place_in_time,
    unchanged,
)
from service.api.quick import REVALIDATE
from service.atom import ATOM, news_count, place_of, read_document, render
from service.audit import record
from service.context import Service, require
from service.database import Record
from service.identifiers import encode_cursor
from service.keys import pepper
from service.sites import find_site

router = APIRouter(prefix="/sites/{site}", tags=["feeds"])

IMMUTABLE = "private, max-age=31536000, immutable"
Token = Annotated[
    str | None, Query(max_length=200, description="a feed token, instead of a key in the header")
]


async def _readable(
    request: Request,
    service: ServiceOf,
    site: str,
    _scheme: Annotated[Any, Depends(bearer)],
    token: Token = None,
) -> Record:
    """Return the site, if the token opens it or the key may read it."""
    if token is not None:
        return await asyncio.to_thread(_by_token, service, site, token)
    caller = (await admitted(request, service)).caller
    require(caller, "reports:read")
    return await asyncio.to_thread(_by_key, service, caller.tenant, site)


def _by_token(service: Service, site: str, token: str) -> Record:
    with service.database.read() as connection:
        return feed_tokens.site_of_token(connection, pepper(service.settings), site, token)


def _by_key(service: Service, tenant: str, site: str) -> Record:
    with service.database.read() as connection:
        return find_site(connection, tenant, site)


@router.get("/feed.atom", response_class=Response, responses={**UNCHANGED, 200: {"content": {ATOM: {}}}})
def get_feed_document(
    request: Request,
    service: ServiceOf,
    found: Annotated[Any, Depends(_readable)],
    archive: Annotated[
        int | None, Query(ge=1, le=10**9, description="an archived document; from a `prev-archive` link")
    ] = None,
    token: Token = None,
) -> Response:
    """Return a site's news as an Atom feed, newest first; older ones lie in archived documents (RFC 5005)."""
    here = address(request)
    with service.database.read() as connection:
        count = news_count(connection, found.tenant, found.id)
        place = place_of(count, archive)
        told = (here, base_of(request), found.version, found.current_report, place)
        headers = {
            "ETag": f'"{hashlib.sha256(repr(told).encode()).hexdigest()[:32]}"',
            "Cache-Control": REVALIDATE,
        }
        if archive is not None:
            headers["Cache-Control"] = IMMUTABLE
        if unchanged(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        document = read_document(connection, found, place)
    return Response(render(document, base_of(request), here, token), 200, headers, ATOM)


@router.post(
    "/feed-tokens",
    status_code=201,
    openapi_extra=body_schema(schemas.FeedTokenIn),
    responses={201: {"model": schemas.FeedToken}},
)
def post_token(request: Request, service: ServiceOf, caller: SitesWriter, site: str, body: Body) -> Response:
    """Make a token that opens this site's feed and nothing else. The answer holds it, this once."""
    require(caller, "reports:read")
    wanted = parse_body(request, body, schemas.FeedTokenIn)
    with service.database.write() as connection:
        found = find_site(connection, caller.tenant, site, lock=True)
        row, token = feed_tokens.create_token(
            service.database, connection, caller, pepper(service.settings), found, wanted.note
        )
        record(service.database, connection, caller, "feed-token.create", row.id)
    href = f"{base_of(request)}/sites/{site}/feed.atom?token={token}"
    shown = {**feed_tokens.describe(row), "token": token, "href": href}
    headers = {"Location": f"/sites/{site}/feed-tokens/{row.id}", "Cache-Control": "no-store"}
    return answer(shown, status=201, headers=headers)


@router.get("/feed-tokens", responses={200: {"model": schemas.FeedTokenList}})
def get_tokens(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    site: str,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List a site's feed tokens, oldest first, revoked ones included; what they read is not told again."""
    after = place_in_time(cursor)
    size = capped(limit)
    with service.database.read() as connection:
        find_site(connection, caller.tenant, site)
        rows = feed_tokens.list_tokens(connection, caller.tenant, site, after=after, limit=size + 1)
    links = [{"rel": "self", "href": address(request), "type": JSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(rows[size - 1].created, rows[size - 1].id)))
    return answer({"feed_tokens": [feed_tokens.describe(row) for row in rows[:size]], "links": links})


@router.delete("/feed-tokens/{token_id}", status_code=204, response_class=Response)
def delete_token(service: ServiceOf, caller: SitesWriter, site: str, token_id: str) -> Response:
    """Revoke a feed token; it opens nothing from now on."""
    with service.database.write() as connection:
        find_site(connection, caller.tenant, site)
        feed_tokens.revoke_token(service.database, connection, caller.tenant, site, token_id)
        record(service.database, connection, caller, "feed-token.revoke", token_id)
    return Response(status_code=204)
