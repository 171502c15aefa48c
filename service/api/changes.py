"""``/changes``: the feed over all sites, single changes with their evidence, and their reviews."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service import reports, reviews
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    GEOJSON,
    JSON,
    UNCHANGED,
    Body,
    Cursor,
    Limit,
    ReportsReader,
    Reviewer,
    ServiceOf,
    address,
    answer,
    body_schema,
    capped,
    next_link,
    parse_body,
    stored,
    unchanged,
)
from service.api.quick import REVALIDATE, feed_answer
from service.api.reports import blob_answer
from service.audit import record
from service.context import Service
from service.errors import NotFound
from service.features import as_retracted, is_retracted, served
from service.feed import check_reached, number_of, page_after
from service.identifiers import decode_cursor, encode_cursor
from service.problems import ManyErrors

router = APIRouter(prefix="/changes", tags=["changes"])


@router.get("", responses={**UNCHANGED, 200: {"model": schemas.FeedPage}})
def get_feed(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    since: Annotated[
        str | None, Query(max_length=1024, description="the cursor you kept; none: from the start")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """Return what became known after a cursor, over all your sites, in one order that never skips."""
    seq = number_of(since) if since else 0
    size = capped(limit)
    with service.database.read() as connection:
        check_reached(connection, caller.tenant, seq)
        page = page_after(connection, caller.tenant, seq, size)
    return feed_answer(request, seq, size, page)


@router.get("/{change}", responses={**UNCHANGED, 200: {"model": schemas.Feature}})
def get_change(request: Request, service: ServiceOf, caller: ReportsReader, change: str) -> Response:
    """Return one change with its site, report and latest review."""
    with service.database.read() as connection:
        row = reports.find_change(connection, caller.tenant, change)
        history = reviews.history(connection, caller.tenant, change)
        gone = not row.current and is_retracted(connection, row)
    standing = "retracted" if gone else "current" if row.current else "earlier"
    tag = f'"{row.digest}.{row.report[-12:]}.{len(history)}.{standing}"'
    headers = {"ETag": tag, "Cache-Control": REVALIDATE}
    if unchanged(request, tag):
        return Response(status_code=304, headers=headers)
    feature = json.loads(served(as_retracted(row.feature) if gone else row.feature))
    here = f"/changes/{row.change}"
    feature |= {
        "site": row.site,
        "report": row.report,
        "current": bool(row.current),
        "review": history[0] if history else None,
        "links": [
            {"rel": "self", "href": here, "type": GEOJSON},
            {"rel": "before", "href": f"{here}/before.png", "type": "image/png"},
            {"rel": "after", "href": f"{here}/after.png", "type": "image/png"},
            {"rel": "provenance", "href": f"{here}/provenance", "type": JSON},
            {"rel": "reviews", "href": f"{here}/reviews", "type": JSON},
            {"rel": "site", "href": f"/sites/{row.site}", "type": GEOJSON},
            {"rel": "report", "href": f"/sites/{row.site}/reports/{row.report}", "type": JSON},
        ],
    }
    return answer(feature, media=GEOJSON, headers=headers)


def _evidence(request: Request, service: Service, tenant: str, change: str, name: str) -> Response:
    with service.database.read() as connection:
        row = reports.find_change(connection, tenant, change)
        if not row.evidence:
            raise NotFound("this change has no pictures: the licence of its scenes does not allow them")
        file = reports.file_of(connection, row.report, f"{row.evidence}/{name}")
    return blob_answer(request, service, name, file.sha256, file.size, row.created, REVALIDATE)


@router.get("/{change}/before.png", responses=stored("image/png"))
def get_before(request: Request, service: ServiceOf, caller: ReportsReader, change: str) -> Response:
    """Return the look before, at the stretch of the one after."""
    return _evidence(request, service, caller.tenant, change, "before.png")


@router.get("/{change}/after.png", responses=stored("image/png"))
def get_after(request: Request, service: ServiceOf, caller: ReportsReader, change: str) -> Response:
    """Return the look after, at the stretch of the one before."""
    return _evidence(request, service, caller.tenant, change, "after.png")


@router.get("/{change}/flicker.gif", responses=stored("image/gif"))
def get_flicker(request: Request, service: ServiceOf, caller: ReportsReader, change: str) -> Response:
    """Return both looks in turn."""
    return _evidence(request, service, caller.tenant, change, "flicker.gif")


@router.get("/{change}/provenance", responses=stored(JSON))
def get_provenance(request: Request, service: ServiceOf, caller: ReportsReader, change: str) -> Response:
    """Return scenes with hashes, shifts applied, parameters and versions."""
    return _evidence(request, service, caller.tenant, change, "provenance.json")


@router.put(
    "/{change}/review",
    openapi_extra=body_schema(schemas.ReviewIn),
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}},
)
def put_review(request: Request, service: ServiceOf, caller: Reviewer, change: str, body: Body) -> Response:
    """Say what you think of a change; earlier reviews stay in the history, the report stays as it is."""
    wanted = parse_body(request, body, schemas.ReviewIn)
    _check_review(wanted)
    with service.database.write() as connection:
        row = reports.find_change(connection, caller.tenant, change)
        made = reviews.add_review(
            service.database,
            connection,
            caller,
            row,
            verdict=wanted.verdict,
            change_type=wanted.class_,
            note=wanted.note,
        )
        record(service.database, connection, caller, "review.put", change)
    return answer(reviews.describe(made))


def _check_review(wanted: schemas.ReviewIn) -> None:
    faults: list[tuple[str, str, str]] = []
    if wanted.verdict == "relabelled" and wanted.class_ is None:
        faults.append(("/class", "unusable-input", "class: relabelled as what?"))
    if wanted.verdict != "relabelled" and wanted.class_ is not None:
        faults.append(("/class", "unusable-input", f"class: goes with relabelled, not with {wanted.verdict}"))
    for name, text in (("class", wanted.class_), ("note", wanted.note)):
        if text is not None and "\x00" in text:
            faults.append((f"/{name}", "unusable-input", f"{name}: holds a NUL character"))
    if faults:
        raise ManyErrors(faults)


@router.get("/{change}/reviews", responses={200: {"model": schemas.Listing}})
def get_reviews(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    change: str,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List the reviews of a change, newest first."""
    # Counted from the oldest: reviews are only ever added, at the other end.
    number = decode_cursor(cursor, int)[0] if cursor is not None else None
    size = capped(limit)
    with service.database.read() as connection:
        row = reports.find_change(connection, caller.tenant, change)
        history: list[dict[str, Any]] = reviews.history(connection, caller.tenant, change)
    left = history if number is None else history[max(0, len(history) - max(0, number)) :]
    links = [
        {"rel": "self", "href": address(request), "type": JSON},
        {"rel": "change", "href": f"/changes/{row.change}", "type": GEOJSON},
    ]
    if len(left) > size:
        links.append(next_link(request, encode_cursor(len(left) - size)))
    return answer({"reviews": left[:size], "links": links})
