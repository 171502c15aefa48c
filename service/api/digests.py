"""``/digests``: a day over all sites, as JSON, Markdown or one HTML page."""

import hashlib
import json
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service import digests as store
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    JSON,
    UNCHANGED,
    Cursor,
    Limit,
    ReportsReader,
    ServiceOf,
    address,
    answer,
    base_of,
    capped,
    next_link,
    unchanged,
)
from service.api.quick import REVALIDATE
from service.api.reports import page_policy
from service.database import seconds
from service.digest_text import as_html, as_markdown
from service.identifiers import decode_cursor, encode_cursor
from service.moments import rfc3339

router = APIRouter(prefix="/digests", tags=["digests"])

IMMUTABLE = "private, max-age=31536000, immutable"
LATEST = "latest"
MEDIA = {"json": JSON, "md": "text/markdown; charset=utf-8", "html": "text/html; charset=utf-8"}
AFTER_EVERY_DAY = "9999-99-99"


@router.get("", responses={200: {"model": schemas.DigestList}})
def get_digests(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List the days whose digest is kept, newest first."""
    before = decode_cursor(cursor, str)[0] if cursor else AFTER_EVERY_DAY
    size = capped(limit)
    with service.database.read() as connection:
        rows = store.kept_digests(connection, caller.tenant, before, size + 1)
    links = [{"rel": "self", "href": address(request), "type": JSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(rows[size - 1].day)))
    shown = [
        {"day": row.day, "made": rfc3339(row.made), "href": f"/digests/{row.day}"} for row in rows[:size]
    ]
    return answer({"digests": shown, "links": links})


@router.get(
    "/{day}",
    responses={
        **UNCHANGED,
        200: {"model": schemas.Digest, "content": {"text/markdown": {}, "text/html": {}}},
    },
)
def get_digest(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    day: str,
    f: Annotated[Literal["json", "md", "html"], Query(description="JSON, or a file for people")] = "json",
) -> Response:
    """Return the digest of a day (UTC), or of the ``latest`` complete one; the present day's is still growing."""
    wanted = store.day_named(day) if day != LATEST else _latest(service)
    body = store.digest_of(service.database, caller.tenant, wanted)
    digest = json.loads(body)
    complete = bool(digest["complete"]) and day != LATEST
    shown = body if f == "json" else {"md": as_markdown, "html": as_html}[f](digest, base_of(request))
    headers = {
        "ETag": f'"{hashlib.sha256(shown.encode()).hexdigest()[:32]}"',
        "Cache-Control": IMMUTABLE if complete else REVALIDATE,
        "Content-Location": f"/digests/{wanted.name}" + (f"?f={f}" if f != "json" else ""),
    }
    if unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if f == "html":
        headers["Content-Security-Policy"] = page_policy(shown.encode())
    if f != "json":
        headers["Content-Disposition"] = f'inline; filename="digest-{wanted.name}.{f}"'
    return answer(shown, media=MEDIA[f], headers=headers)


def _latest(service: ServiceOf) -> store.Day:
    with service.database.read() as connection:
        return store.last_complete_day(seconds(service.database, connection))
