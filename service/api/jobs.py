"""``/jobs``: work asked for, watched live, dismissed."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from service import estimates, jobs
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    JSON,
    Body,
    Cursor,
    IdempotencyKey,
    JobsWriter,
    Limit,
    ReportsReader,
    ServiceOf,
    address,
    answer,
    body_schema,
    capped,
    next_link,
    parse_body,
    place_in_time,
)
from service.audit import record
from service.context import Service
from service.errors import ResultNotReady
from service.identifiers import decode_cursor, encode_cursor
from service.intake import check_parameters
from service.moments import interval, rfc3339
from service.problems import ManyErrors
from service.submission import RETRY_AFTER_S, Wish, chosen_sites, submit_once

router = APIRouter(prefix="/jobs", tags=["jobs"])

# A stream ends after this and the client comes back by itself: revoked keys and restarts are noticed by then.
STREAM_S = 120.0
KEEPALIVE_S = 15.0
POLL_S = 0.5


@router.post(
    "",
    status_code=202,
    openapi_extra=body_schema(schemas.JobIn),
    responses={
        200: {"model": schemas.Estimate, "description": "an estimate; nothing was started"},
        202: {"model": schemas.Job, "description": "accepted"},
    },
)
def submit_job(
    request: Request,
    service: ServiceOf,
    caller: JobsWriter,
    body: Body,
    idempotency_key: IdempotencyKey = None,
    estimate: Annotated[bool, Query(description="only tell what it would take")] = False,
) -> Response:
    """Ask for sites to be analysed again, reprocessed with other parameters, or their reports verified.

    A verified report came out again byte for byte from its evidence bundle; where one does not, its unit fails with
    `not-verified` and the results name the step that first differs.
    """
    wanted = parse_body(request, body, schemas.JobIn)
    _check_job(wanted)
    if estimate or wanted.estimate:
        with service.database.read() as connection:
            chosen = chosen_sites(connection, caller.tenant, wanted.sites)
        return answer(estimates.estimate(service, caller.tenant, chosen, wanted.period, wanted.parameters))
    wish = Wish(wanted.type, wanted.sites, wanted.period, wanted.parameters)
    made = submit_once(service, caller, wish, body, idempotency_key)
    return answer(made.body, status=made.status, headers=made.headers)


def _check_job(wanted: schemas.JobIn) -> None:
    """Refuse what would be done on nothing, or otherwise than asked."""
    faults = []
    if not wanted.sites:
        faults.append(("/sites", "unusable-input", "sites: this names none; give at least one id, or 'all'"))
    if wanted.type == "verify" and (wanted.period is not None or wanted.parameters):
        told = "type: verify takes no period and no parameters: a report is made as it was"
        faults.append(("/type", "unusable-input", told))
    if faults:
        raise ManyErrors(faults)
    if wanted.period is not None:
        interval(wanted.period, "/period")
    check_parameters(wanted.parameters, "/parameters")


@router.get("", responses={200: {"model": schemas.JobList}})
def get_jobs(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    state: Annotated[
        Literal["accepted", "running", "successful", "failed", "dismissed"] | None, Query()
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List your jobs, newest first."""
    after = place_in_time(cursor)
    size = capped(limit)
    with service.database.read() as connection:
        rows = jobs.list_jobs(connection, caller.tenant, state, after, size + 1)
        shown = [jobs.describe(row, jobs.job_progress(connection, row.id)) for row in rows[:size]]
    links = [{"rel": "self", "href": address(request), "type": JSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(rows[size - 1].created, rows[size - 1].id)))
    return answer({"jobs": shown, "links": links})


def _describe(service: Service, tenant: str, job: str) -> tuple[dict[str, Any], int]:
    with service.database.read() as connection:
        row = jobs.find_job(connection, tenant, job)
        return jobs.describe(row, jobs.job_progress(connection, job)), row.revision


@router.get("/{job}", responses={200: {"model": schemas.Job}})
def get_job(service: ServiceOf, caller: ReportsReader, job: str) -> Response:
    """Return where a job stands."""
    shown, _ = _describe(service, caller.tenant, job)
    headers = {"Cache-Control": "no-cache"}
    if shown["state"] not in jobs.ENDED:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer(shown, headers=headers)


@router.delete("/{job}", responses={200: {"model": schemas.Job}})
def dismiss_job(service: ServiceOf, caller: JobsWriter, job: str) -> Response:
    """Dismiss a job; what is finished stays. Again is no error."""
    with service.database.write() as connection:
        jobs.dismiss(service.database, connection, caller.tenant, job)
        record(service.database, connection, caller, "job.dismiss", job)
    return answer(_describe(service, caller.tenant, job)[0])


@router.post("/{job}/retry", responses={200: {"model": schemas.Job}})
def retry_job(service: ServiceOf, caller: JobsWriter, job: str) -> Response:
    """Run the failed units of an ended job again; what was done stays. Where none failed nothing happens."""
    with service.database.write() as connection:
        if jobs.retry_failed(service.database, connection, caller.tenant, job):
            record(service.database, connection, caller, "job.retry", job)
    return answer(_describe(service, caller.tenant, job)[0])


@router.get("/{job}/logs", responses={200: {"model": schemas.Listing}})
def get_logs(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    job: str,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Return what happened to each unit, with its code."""
    after = decode_cursor(cursor, int)[0] if cursor is not None else 0
    size = capped(limit)
    with service.database.read() as connection:
        jobs.find_job(connection, caller.tenant, job)
        rows = jobs.log_lines(connection, job, after, size + 1)
    lines = [
        {
            "time": rfc3339(row.at),
            "level": row.level,
            "unit": row.unit,
            "site": row.site,
            "code": row.code,
            "message": row.message,
        }
        for row in rows[:size]
    ]
    links = [{"rel": "self", "href": address(request), "type": JSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(rows[size - 1].id)))
    return answer({"job": job, "lines": lines, "links": links})


@router.get("/{job}/results", responses={200: {"model": schemas.Listing}})
def get_results(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    job: str,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Return what became of each site; 404 `result-not-ready` until the job has ended."""
    after = decode_cursor(cursor, int)[0] if cursor is not None else 0
    size = capped(limit)
    with service.database.read() as connection:
        row = jobs.find_job(connection, caller.tenant, job)
        if row.state not in jobs.ENDED:
            raise ResultNotReady(f"the job is {row.state}; ask again, or listen to /jobs/{job}/events")
        rows = jobs.results(connection, job, after, size + 1)
    found = [jobs.describe_result(unit) for unit in rows[:size]]
    links = [{"rel": "self", "href": address(request), "type": JSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(rows[size - 1].id)))
    return answer({"job": job, "state": row.state, "results": found, "links": links})


@router.get(
    "/{job}/events",
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "the job, at every change"},
        204: {"description": "the job has ended, and you have its last event: do not come back"},
    },
)
def get_events(
    service: ServiceOf,
    caller: ReportsReader,
    job: str,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=32)] = None,
) -> Response:
    """Follow a job live; each event is the whole job, its id a number that grows."""
    shown, revision = _describe(service, caller.tenant, job)
    seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
    if shown["state"] in jobs.ENDED and seen >= revision:
        return Response(status_code=204)  # tells an EventSource to stop coming back
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(service, caller.tenant, job, seen), media_type="text/event-stream", headers=headers
    )


async def _events(service: Service, tenant: str, job: str, seen: int) -> AsyncIterator[str]:
    started = spoken = time.monotonic()
    yield f"retry: {RETRY_AFTER_S * 1000}\n\n"
    while time.monotonic() - started < STREAM_S:
        shown, revision = await asyncio.to_thread(_describe, service, tenant, job)
        if revision > seen:
            seen, spoken = revision, time.monotonic()
            yield f"id: {revision}\nevent: status\ndata: {json.dumps(shown)}\n\n"
        if shown["state"] in jobs.ENDED:
            return
        if time.monotonic() - spoken > KEEPALIVE_S:
            spoken = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(POLL_S)
