"""Jobs as clients see them: submitted, watched, dismissed. Their units are what ``leases`` hands to workers.

States are those of OGC API - Processes. A job ends ``failed`` only where every unit failed; one dead unit among many
is said in its counts and in its log.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, func, select, update

from imagery.errors import DepotwatchError
from service.database import Database, Record, many
from service.errors import LimitReached, NotFound
from service.identifiers import new_id
from service.moments import rfc3339, rfc3339_or_none
from service.tables import jobs, sites, unit_log, units

ENDED = ("successful", "failed", "dismissed")

# Lower runs first: a site somebody just submitted, then new scenes, then batches.
URGENT, ROUTINE, BATCH = 0, 1, 2


class NotRetryable(DepotwatchError):
    """A job that has not ended, was dismissed, or whose reports are current: what it holds must not change."""

    code = "not-retryable"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is to be done: on which sites, over which period, with which parameters on top of the site's own.

    ``key`` is the client's Idempotency-Key, by which it finds an unfinished batch again however late. ``code`` names
    the method that all of its units are to be made with.
    """

    type: str
    sites: Sequence[str]
    period: str | None
    parameters: Mapping[str, Any]
    reason: str = "requested"
    key: str | None = None
    code: str | None = None


def submit(
    database: Database, connection: Connection, tenant: str, request: JobRequest, *, max_queued: int
) -> str:
    """Write a job and its units within this transaction; return the job's id.

    Raises
    ------
    LimitReached : the tenant has too much waiting already
    """
    waiting = connection.execute(
        select(func.count()).select_from(units).where(units.c.tenant == tenant, units.c.state == "ready")
    ).scalar_one()
    if waiting + len(request.sites) > max_queued:
        raise LimitReached(f"{waiting:,} units are waiting, at most {max_queued:,} may; come back later")
    job = new_id("job")
    connection.execute(
        jobs.insert().values(
            id=job,
            tenant=tenant,
            type=request.type,
            state="accepted" if request.sites else "successful",
            request=json.dumps(
                {
                    "period": request.period,
                    "parameters": dict(request.parameters),
                    **({} if request.key is None else {"key": request.key}),
                    **({} if request.code is None else {"code": request.code}),
                }
            ),
            reason=request.reason,
            created=database.now,
            updated=database.now,
            finished=None if request.sites else database.now,
            total=len(request.sites),
        )
    )
    many(connection, units.insert(), _units(connection, tenant, job, request))
    return job


def _units(connection: Connection, tenant: str, job: str, request: JobRequest) -> list[dict[str, Any]]:
    versions: dict[str, int] = {}
    wanted = list(dict.fromkeys(request.sites))
    for start in range(0, len(wanted), 500):
        found = connection.execute(
            select(sites.c.id, sites.c.geometry_version).where(sites.c.id.in_(wanted[start : start + 500]))
        )
        versions |= {row.id: row.geometry_version for row in found}
    priority = BATCH if request.type != "analyse" or len(wanted) > 1 else URGENT
    if request.reason == "new-scenes" and priority == URGENT:
        priority = ROUTINE
    return [
        {
            "job": job,
            "tenant": tenant,
            "site": site,
            "geometry_version": versions[site],
            "priority": priority,
            "state": "ready",
        }
        for site in wanted
    ]


def find_job(connection: Connection, tenant: str, job: str) -> Record:
    """Return a tenant's job.

    Raises
    ------
    NotFound : no such job, or another tenant's
    """
    row = connection.execute(select(jobs).where(jobs.c.id == job, jobs.c.tenant == tenant)).first()
    if row is None:
        raise NotFound("there is no such job")
    return row


def find_unfinished(connection: Connection, tenant: str, kind: str, key: str) -> Record | None:
    """Return the job of a type that was submitted with a key and has not ended, if there is one."""
    rows = connection.execute(
        select(jobs)
        .where(jobs.c.tenant == tenant, jobs.c.type == kind, jobs.c.state.not_in(ENDED))
        .order_by(jobs.c.created.desc())
    )
    return next((row for row in rows if json.loads(row.request).get("key") == key), None)


def list_jobs(
    connection: Connection, tenant: str, state: str | None, after: tuple[float, str] | None, limit: int
) -> Sequence[Record]:
    """Return a tenant's jobs, newest first."""
    statement = select(jobs).where(jobs.c.tenant == tenant)
    if state is not None:
        statement = statement.where(jobs.c.state == state)
    if after is not None:
        created, job = after
        statement = statement.where(
            (jobs.c.created < created) | ((jobs.c.created == created) & (jobs.c.id < job))
        )
    return connection.execute(statement.order_by(jobs.c.created.desc(), jobs.c.id.desc()).limit(limit)).all()


def job_progress(connection: Connection, job: str) -> float:
    """Return how far a job is, 0-100: ended units count whole, running and dismissed ones by their own progress."""
    done = case((units.c.state.in_(("ready", "running", "dismissed")), units.c.progress), else_=1.0)
    share = connection.execute(select(func.avg(done)).where(units.c.job == job)).scalar()
    return round(100.0 * float(share if share is not None else 1.0), 1)


def describe(row: Record, progress: float) -> dict[str, Any]:
    """Return a job as HTTP shows it."""
    asked = json.loads(row.request)
    ended = row.state in ENDED
    links = [
        {"rel": "self", "href": f"/jobs/{row.id}", "type": "application/json"},
        {"rel": "monitor", "href": f"/jobs/{row.id}/events", "type": "text/event-stream"},
        {"rel": "related", "href": f"/jobs/{row.id}/logs", "type": "application/json"},
    ]
    if ended:
        links.append({"rel": "results", "href": f"/jobs/{row.id}/results", "type": "application/json"})
    if ended and row.type == "reprocess":
        for rel, last in (("comparison", "comparison"), ("promotion", "promote")):
            links.append({"rel": rel, "href": f"/jobs/{row.id}/{last}", "type": "application/json"})
    return {
        "jobID": row.id,
        "id": row.id,
        "type": row.type,
        "status": row.state,
        "state": row.state,
        "reason": row.reason,
        "progress": 100.0 if ended and row.state != "dismissed" else progress,
        "units": {
            "total": row.total,
            "done": row.done,
            "failed": row.failed,
            "skipped": row.skipped,
            "cached": row.cached,
        },
        "step": row.step or None,
        "period": asked["period"],
        "parameters": asked["parameters"],
        "created": rfc3339(row.created),
        "started": rfc3339_or_none(row.started),
        "finished": rfc3339_or_none(row.finished),
        "updated": rfc3339(row.updated),
        "promoted": rfc3339_or_none(row.promoted),
        "links": links,
    }


def dismiss(database: Database, connection: Connection, tenant: str, job: str) -> None:
    """End a job: what waits is not begun, what runs stops at its next step, what is finished stays.

    Raises
    ------
    NotFound : no such job, or another tenant's
    """
    find_job(connection, tenant, job)
    # Units before the job, as workers lock them, so that neither waits for the other in a circle.
    stopped = connection.execute(
        update(units)
        .where(units.c.job == job, units.c.state.in_(("ready", "running")))
        .values(state="dismissed", finished=database.now)
        .returning(units.c.id)
    ).all()
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job, jobs.c.state.in_(("accepted", "running")))
        .values(
            state="dismissed",
            finished=database.now,
            updated=database.now,
            revision=jobs.c.revision + 1,
            skipped=jobs.c.skipped + len(stopped),
            step="",
        )
    )


def retry_failed(database: Database, connection: Connection, tenant: str, job: str) -> int:
    """Let the failed units of an ended job be run again, as if for the first time; return how many.

    Raises
    ------
    NotFound : no such job, or another tenant's
    NotRetryable : it goes on, was dismissed or promoted
    """
    row = find_job(connection, tenant, job)
    again = connection.execute(
        update(units)
        .where(units.c.job == job, units.c.state == "failed")
        .values(
            state="ready",
            attempts=0,
            not_before=0.0,
            progress=0.0,
            step="",
            code=None,
            detail=None,
            finished=None,
        )
        .returning(units.c.id)
    ).all()
    values: dict[str, Any] = {"failed": jobs.c.failed - len(again), "revision": jobs.c.revision + 1}
    if again:
        values |= {"state": "accepted", "finished": None}
    kept = connection.execute(
        update(jobs)
        .where(jobs.c.id == job, jobs.c.state.in_(("successful", "failed")), jobs.c.promoted.is_(None))
        .values(updated=database.now, **values)
        .returning(jobs.c.id)
    ).first()
    if kept is None:
        what = "promoted" if row.promoted is not None else row.state
        raise NotRetryable(f"the job is {what}; only one that has ended and is not promoted is tried again")
    return len(again)


def log_lines(connection: Connection, job: str, after: int, limit: int) -> Sequence[Record]:
    """Return log lines of a job's units after a number."""
    return connection.execute(
        select(unit_log)
        .where(unit_log.c.job == job, unit_log.c.id > after)
        .order_by(unit_log.c.id)
        .limit(limit)
    ).all()


def results(connection: Connection, job: str, after: int, limit: int) -> Sequence[Record]:
    """Return a job's units with what became of them."""
    return connection.execute(
        select(units).where(units.c.job == job, units.c.id > after).order_by(units.c.id).limit(limit)
    ).all()


def describe_result(unit: Record) -> dict[str, Any]:
    """Return what became of one unit as HTTP shows it."""
    return {
        "site": unit.site,
        "state": unit.state,
        "attempts": unit.attempts,
        "report": unit.report,
        "code": unit.code,
        "detail": unit.detail,
        "href": f"/sites/{unit.site}/reports/{unit.report}" if unit.report else None,
    }
