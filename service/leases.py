"""What workers hold: units on a lease, with a fencing token.

A claim, a heartbeat and every ending are one short transaction each, timed by the database's clock. Whoever loses a
lease finds its fence outdated and can write nothing more: execution is at least once, effects exactly once.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, exists, func, or_, select, update

from imagery.errors import DepotwatchError
from service.database import Database, Record
from service.tables import jobs, tenants, unit_log, units

MESSAGE_LENGTH = 1_000
LEFT_OUT_LINES = 20


class Fenced(DepotwatchError):
    """The unit is no longer this worker's: its lease ran out or its job was dismissed."""

    code = "fenced"


@dataclass(frozen=True, slots=True)
class Lease:
    """One unit in one worker's hands."""

    unit: int
    job: str
    tenant: str
    site: str
    geometry_version: int
    type: str
    period: str | None
    parameters: dict[str, Any]
    attempt: int
    owner: str
    fence: int
    code: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseRules:
    """How long a lease lasts and how often a unit is tried."""

    lease_s: float
    max_attempts: int
    backoff_s: float
    max_running_per_tenant: int


def claim(database: Database, owner: str, rules: LeaseRules, job: str | None = None) -> Lease | None:
    """Take the next unit: of the tenant with the fewest running, its most urgent and oldest; None where none waits.

    With a ``job`` only that one's units are taken.
    """
    # Looking costs no write lock: idle workers must not stand in the way of working ones.
    with database.read() as connection:
        if not _candidates(database, connection, rules, job):
            return None
    busy = []
    with database.write() as connection:
        for tenant in _candidates(database, connection, rules, job):
            if (own := _hold(connection, rules, tenant)) is None:
                busy.append(tenant)
            elif lease := _claim_of(database, connection, owner, own, tenant, job):
                return lease
    if not busy:
        return None
    # Others claim or publish for every tenant that has work, which takes them milliseconds: to come back empty-handed
    # would cost a worker its whole pause. Only one row is waited for, so that nobody waits in a circle.
    with database.write() as connection:
        own = _hold(connection, rules, busy[0], wait=True)
        return None if own is None else _claim_of(database, connection, owner, own, busy[0], job)


def _open(database: Database, job: str | None) -> tuple[Any, Any]:
    """Return the conditions of a unit that may be taken: waiting and due; running on a lease that ran out.

    Each alone is found in the order of ``ix_units_state_tenant``; with an ``or`` all that wait would be read and sorted
    for every claim.
    """
    mine = [] if job is None else [units.c.job == job]
    return (
        and_(units.c.state == "ready", units.c.not_before <= database.now, *mine),
        and_(units.c.state == "running", units.c.lease_until < database.now, *mine),
    )


def _candidates(database: Database, connection: Connection, rules: LeaseRules, job: str | None) -> list[str]:
    """Return tenants with work that are under their cap, fewest running first."""
    running = (
        select(func.count())
        .where(
            units.c.tenant == tenants.c.id,
            units.c.state == "running",
            units.c.lease_until >= database.now,
        )
        .scalar_subquery()
    )
    waiting = [exists().where(units.c.tenant == tenants.c.id, open_) for open_ in _open(database, job)]
    rows = connection.execute(
        select(tenants.c.id, running.label("running"), tenants.c.max_running).where(or_(*waiting))
    ).all()
    fair = sorted((row.running, row.id) for row in rows if row.running < _cap(row.max_running, rules))
    return [tenant for _, tenant in fair]


def _cap(own: int | None, rules: LeaseRules) -> int:
    return rules.max_running_per_tenant if own is None else own


def _hold(connection: Connection, rules: LeaseRules, tenant: str, *, wait: bool = False) -> LeaseRules | None:
    """Become a tenant's one claimer until the transaction ends; return its rules, None where others have its row.

    One claimer at a time keeps the cap exact, and two workers never wait for the same unit. The lock is of the kind
    that lets rows be written that point to the tenant.
    """
    mine = select(tenants.c.max_running).where(tenants.c.id == tenant)
    row = connection.execute(mine.with_for_update(skip_locked=not wait, key_share=True)).first()
    return None if row is None else replace(rules, max_running_per_tenant=_cap(row.max_running, rules))


def _claim_of(
    database: Database, connection: Connection, owner: str, rules: LeaseRules, tenant: str, job: str | None
) -> Lease | None:
    running = connection.execute(
        select(func.count())
        .select_from(units)
        .where(units.c.tenant == tenant, units.c.state == "running", units.c.lease_until >= database.now)
    ).scalar_one()
    if running >= rules.max_running_per_tenant:
        return None
    by_urgency = (units.c.priority, units.c.id)
    first_of_each = [
        select(units.c.id)
        .where(units.c.tenant == tenant, open_)
        .order_by(*by_urgency)
        .limit(1)
        .scalar_subquery()
        for open_ in _open(database, job)
    ]
    next_one = (
        select(units.c.id)
        .where(units.c.id.in_(first_of_each), or_(*_open(database, job)))
        .order_by(*by_urgency)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    row = connection.execute(
        update(units)
        .where(units.c.id == next_one)
        .values(
            state="running",
            owner=owner,
            fence=units.c.fence + 1,
            attempts=units.c.attempts + 1,
            lease_until=database.now + rules.lease_s,
            started=func.coalesce(units.c.started, database.now),
            progress=0.0,
            step="",
        )
        .returning(units)
    ).first()
    if row is None:
        return None
    if row.attempts > rules.max_attempts:
        _bury(database, connection, row)
        return None
    return _lease(database, connection, row, owner)


def _lease(database: Database, connection: Connection, row: Record, owner: str) -> Lease:
    if row.attempts > 1 and row.code is None:
        _log(
            database, connection, row.job, row.id, row.site, "warning", "lease-lost", "its worker fell silent"
        )
    job = connection.execute(
        update(jobs)
        .where(jobs.c.id == row.job)
        .values(
            state="running",
            started=func.coalesce(jobs.c.started, database.now),
            updated=database.now,
            revision=jobs.c.revision + 1,
        )
        .returning(jobs.c.type, jobs.c.request)
    ).one()
    asked = json.loads(job.request)
    return Lease(
        row.id,
        row.job,
        row.tenant,
        row.site,
        row.geometry_version,
        job.type,
        asked["period"],
        asked["parameters"],
        row.attempts,
        owner,
        row.fence,
        asked.get("code"),
    )


def _bury(database: Database, connection: Connection, row: Record) -> None:
    """Give up a unit whose workers died on it every time: it would take the next one down too."""
    detail = f"{row.attempts - 1} workers fell silent on this unit; it is not tried again"
    connection.execute(
        update(units)
        .where(units.c.id == row.id)
        .values(state="failed", code="dead-letter", detail=detail, finished=database.now)
    )
    _log(database, connection, row.job, row.id, row.site, "error", "dead-letter", detail)
    _count(database, connection, row.job, "failed")


def heartbeat(database: Database, lease: Lease, rules: LeaseRules, step: str, progress: float) -> None:
    """Prolong a lease and say how far the unit is.

    Raises
    ------
    Fenced : it is no longer held
    """
    with database.write() as connection:
        held = connection.execute(
            update(units)
            .where(*_held(lease))
            .values(lease_until=database.now + rules.lease_s, step=step, progress=progress)
            .returning(units.c.id)
        ).scalar()
        if held is None:
            raise Fenced(f"unit {lease.unit} is no longer held")
        connection.execute(
            update(jobs)
            .where(jobs.c.id == lease.job)
            .values(step=step, updated=database.now, revision=jobs.c.revision + 1)
        )


def _held(lease: Lease) -> tuple[Any, ...]:
    return (
        units.c.id == lease.unit,
        units.c.owner == lease.owner,
        units.c.fence == lease.fence,
        units.c.state == "running",
    )


def finish(
    database: Database,
    lease: Lease,
    effect: Callable[[Connection], tuple[str, bool]],
    message: str,
    left_out: Sequence[tuple[str, str]] = (),
) -> None:
    """Commit a unit's result: ``effect`` writes it and returns (report id, was it there already).

    ``left_out`` are scenes that could not be used, as (code, sentence): the log names the first of them.

    Raises
    ------
    Fenced : the unit is no longer held; nothing of ``effect`` remains
    """
    with database.write() as connection:
        _end(database, connection, lease, state="successful")
        report, cached = effect(connection)
        connection.execute(update(units).where(units.c.id == lease.unit).values(report=report, progress=1.0))
        code = "unchanged" if cached else "published"
        for reason, sentence in left_out[:LEFT_OUT_LINES]:
            _log(database, connection, lease.job, lease.unit, lease.site, "warning", reason, sentence)
        if len(left_out) > LEFT_OUT_LINES:
            message += f"; {len(left_out)} scenes were left out, all named in the report"
        _log(database, connection, lease.job, lease.unit, lease.site, "info", code, message)
        _count(database, connection, lease.job, "done", cached=cached)


def note_verdict(database: Database, lease: Lease, report: str, code: str, message: str) -> None:
    """End a unit that looked at a report and left it as it is, with what was found.

    Raises
    ------
    Fenced : the unit is no longer held
    """
    with database.write() as connection:
        _end(
            database, connection, lease,
            state="successful", code=code, detail=message, report=report, progress=1.0,
        )  # fmt: skip
        _log(database, connection, lease.job, lease.unit, lease.site, "info", code, message)
        _count(database, connection, lease.job, "done")


def free_abandoned(database: Database, job: str, is_gone: Callable[[str], bool]) -> int:
    """Let the units of a job be taken at once whose owner is known to be gone; return how many."""
    with database.write() as connection:
        running = connection.execute(
            select(units.c.id, units.c.owner).where(units.c.job == job, units.c.state == "running")
        ).all()
        gone = [row.id for row in running if is_gone(row.owner)]
        connection.execute(update(units).where(units.c.id.in_(gone)).values(lease_until=0.0))
    return len(gone)


def skip(database: Database, lease: Lease, code: str, message: str) -> None:
    """End a unit that has become pointless (its site was deleted)."""
    with database.write() as connection:
        _end(database, connection, lease, state="skipped", code=code, detail=message)
        _log(database, connection, lease.job, lease.unit, lease.site, "info", code, message)
        _count(database, connection, lease.job, "skipped")


def fail(database: Database, lease: Lease, rules: LeaseRules, error: DepotwatchError, *, final: bool) -> bool:
    """End a unit with its error, or put it back for another attempt; return whether it ended.

    Raises
    ------
    Fenced : the unit is no longer held
    """
    ended = final or lease.attempt >= rules.max_attempts
    with database.write() as connection:
        if ended:
            _end(database, connection, lease, state="failed", code=error.code, detail=error.detail)
            _count(database, connection, lease.job, "failed")
        else:
            wait_s = rules.backoff_s * 2 ** (lease.attempt - 1)
            _put_back(database, connection, lease, wait_s, attempts=lease.attempt, code=error.code)
        level = "error" if ended else "warning"
        _log(database, connection, lease.job, lease.unit, lease.site, level, error.code, error.detail)
    return ended


def release(database: Database, lease: Lease) -> None:
    """Give a unit back unfinished, the attempt not counted: its worker was asked to stop."""
    with database.write() as connection:
        _put_back(database, connection, lease, 0.0, attempts=lease.attempt - 1, code="drained")
        text = "its worker was stopped; another one goes on"
        _log(database, connection, lease.job, lease.unit, lease.site, "info", "drained", text)


def _put_back(
    database: Database, connection: Connection, lease: Lease, wait_s: float, *, attempts: int, code: str
) -> None:
    held = connection.execute(
        update(units)
        .where(*_held(lease))
        .values(
            state="ready",
            owner=None,
            lease_until=0.0,
            not_before=database.now + wait_s,
            attempts=attempts,
            code=code,
        )
        .returning(units.c.id)
    ).scalar()
    if held is None:
        raise Fenced(f"unit {lease.unit} is no longer held")


def _end(database: Database, connection: Connection, lease: Lease, **values: Any) -> None:
    held = connection.execute(
        update(units)
        .where(*_held(lease))
        .values(finished=database.now, owner=None, **{"code": None, "detail": None, **values})
        .returning(units.c.id)
    ).scalar()
    if held is None:
        raise Fenced(f"unit {lease.unit} is no longer held")


def _count(
    database: Database, connection: Connection, job: str, column: str, *, cached: bool = False
) -> None:
    """Count an ended unit, and end the job with its last one."""
    row = connection.execute(
        update(jobs)
        .where(jobs.c.id == job)
        .values(
            {
                column: jobs.c[column] + 1,
                "cached": jobs.c.cached + int(cached),
                "updated": database.now,
                "revision": jobs.c.revision + 1,
            }
        )
        .returning(jobs.c.total, jobs.c.done, jobs.c.failed, jobs.c.skipped)
    ).one()
    if row.done + row.failed + row.skipped >= row.total:
        state = "failed" if row.failed and not row.done else "successful"
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job, jobs.c.state.in_(("accepted", "running")))
            .values(state=state, finished=database.now, step="")
        )


def _log(
    database: Database,
    connection: Connection,
    job: str,
    unit: int,
    site: str,
    level: str,
    code: str,
    message: str,
) -> None:
    connection.execute(
        unit_log.insert().values(
            job=job,
            unit=unit,
            site=site,
            at=database.now,
            level=level,
            code=code,
            message=message[:MESSAGE_LENGTH],
        )
    )
