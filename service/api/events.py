"""``/sites/{site}/events`` and ``/corroboration``: dated outside events beside the site's own timeline."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from imagery.changes import ObjectClass, Status
from service import reports
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    JSON,
    UNCHANGED,
    Body,
    Cursor,
    IdempotencyKey,
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
    place_in_time,
    unchanged,
    words_of,
)
from service.api.quick import REVALIDATE
from service.audit import record
from service.changes import ChangeFilter
from service.corroboration import Question, answer_to, control_reports
from service.events import (
    EventDraft,
    add_event,
    count_withdrawn,
    describe,
    event_span,
    events_of,
    find_event,
    withdraw_event,
)
from service.idempotency import Answer
from service.identifiers import encode_cursor
from service.problems import ManyErrors
from service.sites import find_site

router = APIRouter(prefix="/sites/{site}", tags=["events"])


@router.post(
    "/events",
    status_code=201,
    openapi_extra=body_schema(schemas.EventIn),
    responses={201: {"model": schemas.Event}},
)
def post_event(
    request: Request,
    service: ServiceOf,
    caller: Reviewer,
    site: str,
    body: Body,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Keep a dated event beside a site. Its lag window is fixed now, before anybody looked whether it fits."""
    draft = _draft(parse_body(request, body, schemas.EventIn))
    route = f"POST /sites/{site}/events"
    with service.replays.once(caller, route, idempotency_key), service.database.write() as connection:
        find_site(connection, caller.tenant, site, lock=True)
        made = service.replays.recall(connection, caller, route, idempotency_key, body)
        if made is None:
            row = add_event(service.database, connection, caller, site, draft)
            record(service.database, connection, caller, "event.create", row.id)
            shown = json.dumps(describe(row), ensure_ascii=False)
            made = Answer(201, {"Location": f"/sites/{site}/events/{row.id}"}, shown)
            service.replays.remember(connection, caller, route, idempotency_key, made)
    return answer(made.body, status=made.status, headers=made.headers)


def _draft(wanted: schemas.EventIn) -> EventDraft:
    low, high = wanted.lag_days
    if low > high:
        raise ManyErrors(
            [("/lag_days", "unusable-input", "lag_days: the least lag comes first, then the largest")]
        )
    starts, ends = event_span(wanted.when, wanted.uncertainty_days)
    return EventDraft(
        wanted.label,
        wanted.kind,
        wanted.when,
        starts,
        ends,
        wanted.uncertainty_days,
        (low, high),
        wanted.source,
        wanted.source_url,
        wanted.note,
        wanted.derived_from_imagery,
    )


@router.get("/events", responses={200: {"model": schemas.EventList}})
def get_events(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    site: str,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List a site's events in order of their dates."""
    after = place_in_time(cursor)
    size = capped(limit)
    with service.database.read() as connection:
        find_site(connection, caller.tenant, site)
        rows = events_of(connection, caller.tenant, site, after=after, limit=size + 1)
    links = [{"rel": "self", "href": address(request), "type": JSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(rows[size - 1].starts, rows[size - 1].id)))
    return answer({"events": [describe(row) for row in rows[:size]], "links": links})


@router.get("/events/{event}", responses={200: {"model": schemas.Event}})
def get_event(service: ServiceOf, caller: ReportsReader, site: str, event: str) -> Response:
    """Return one event."""
    with service.database.read() as connection:
        find_site(connection, caller.tenant, site)
        row = find_event(connection, caller.tenant, site, event)
    return answer(describe(row))


@router.delete("/events/{event}", status_code=204, response_class=Response)
def remove_event(service: ServiceOf, caller: Reviewer, site: str, event: str) -> Response:
    """Remove an event; what it said is gone, that there was one is counted in every corroboration."""
    with service.database.write() as connection:
        find_site(connection, caller.tenant, site)
        withdraw_event(service.database, connection, caller.tenant, site, event)
        record(service.database, connection, caller, "event.delete", event)
    return Response(status_code=204)


@router.get("/corroboration", responses={**UNCHANGED, 200: {"model": schemas.Corroboration}})
def get_corroboration(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    site: str,
    class_: Annotated[
        str | None, Query(alias="class", max_length=200, description="classes, comma-separated")
    ] = None,
    direction: Annotated[str | None, Query(max_length=200, description="appeared, removed")] = None,
    status: Annotated[str | None, Query(max_length=200)] = None,
    min_confidence: Annotated[float | None, Query(ge=0, le=1)] = None,
) -> Response:
    """Say whether the site's changes fall together in time with its events, and whether that could have been seen."""
    wanted = ChangeFilter(
        words_of(class_, ObjectClass, "class"),
        words_of(direction, ("appeared", "removed"), "direction"),
        words_of(status, (known for known in Status if known is not Status.RETRACTED), "status"),
        min_confidence,
    )
    filters: dict[str, Any] = {
        "class": list(wanted.classes) or None,
        "direction": list(wanted.directions) or None,
        "status": list(wanted.statuses) or None,
        "min_confidence": min_confidence,
    }
    with service.database.read() as connection:
        head = reports.latest(connection, caller.tenant, site)
        question = Question(
            caller.tenant,
            site,
            head,
            events_of(connection, caller.tenant, site),
            wanted,
            filters,
            control_reports(connection, caller.tenant, site),
            count_withdrawn(connection, caller.tenant, site),
            reports.seen_until(connection, site),
        )
        headers = {"ETag": f'"{question.mark[:32]}"', "Cache-Control": REVALIDATE}
        if unchanged(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        found = answer_to(connection, question)
    return answer(found, headers=headers)
