"""Which reports a comparison is of, and what they tell, out of the database.

A job's reports are compared with what they took or would take the place of: of a reprocess the site's current report,
or, once it was promoted, the one that was current before; of an analysis the one it superseded.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, select

from pipelines.comparison import Comparison, OtherSite, SiteComparison, Told, compare_reports
from pipelines.comparison import Side as ReportSide
from service.database import Record
from service.errors import NotFound, ResultNotReady
from service.jobs import ENDED, find_job
from service.moments import rfc3339
from service.tables import changes, promoted_sites, promotions, reports, sites, units

# Sites whose reports are in memory at one time.
AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class _Case:
    """One site of a job: which report stands against which, or why there is none."""

    site: str
    name: str
    before: str | None
    after: str | None
    note: str = ""


def between(connection: Connection, tenant: str, before: str, after: str) -> Comparison:
    """Compare two reports of one living site.

    Raises
    ------
    NotFound : one of them is not there, or another tenant's
    OtherSite : they are of two sites
    """
    rows = connection.execute(
        select(reports.c.id, reports.c.site, sites.c.name)
        .join(sites, sites.c.id == reports.c.site)
        .where(reports.c.tenant == tenant, reports.c.id.in_([before, after]), sites.c.deleted.is_(None))
    ).all()
    known = {row.id: row for row in rows}
    for report in (before, after):
        if report not in known:
            raise NotFound("there is no such report")
    if known[before].site != known[after].site:
        raise OtherSite("these are reports of two sites; compare two reports of one", pointer="after")
    told = _told(connection, {before, after})
    found = compare_reports(told[before], told[after], known[after].site)
    return Comparison((replace(found, name=known[after].name),))


def of_job(connection: Connection, tenant: str, job: str) -> Comparison:
    """Compare a job's reports with those they took or would take the place of, in the order of the job's sites.

    Raises
    ------
    NotFound : no such job, another tenant's, or one that makes no reports
    ResultNotReady : it has not ended
    """
    row = find_job(connection, tenant, job)
    if row.type == "verify":
        raise NotFound("a verify job makes no reports, so there is nothing to compare")
    if row.state not in ENDED:
        raise ResultNotReady(f"the job is {row.state}; ask again, or listen to /jobs/{job}/events")
    cases = list(_reprocessed(connection, row) if row.type == "reprocess" else _analysed(connection, row))
    return Comparison(tuple(_compared(connection, cases)))


def _compared(connection: Connection, cases: Sequence[_Case]) -> Iterator[SiteComparison]:
    for start in range(0, len(cases), AT_ONCE):
        some = cases[start : start + AT_ONCE]
        told = _told(connection, {r for case in some for r in (case.before, case.after) if r is not None})
        for case in some:
            yield _one(case, told)


def _one(case: _Case, told: Mapping[str, Told]) -> SiteComparison:
    before, after = (told[r] if r is not None else None for r in (case.before, case.after))
    notes = (case.note,) if case.note else ()
    if before is None and after is None:
        return SiteComparison(case.site, case.name, None, None, (), 0, (), notes=notes)
    try:
        found = compare_reports(before, after, case.site)
    except OtherSite:
        assert before is not None
        assert after is not None
        moved = "The site's outline was moved to other ground, so nothing can be compared."
        return SiteComparison(case.site, case.name, before.side, after.side, (), 0, (), notes=(*notes, moved))
    return replace(found, name=case.name, notes=(*notes, *found.notes))


def _told(connection: Connection, wanted: set[str]) -> dict[str, Told]:
    rows = connection.execute(select(reports).where(reports.c.id.in_(wanted))).all()
    features: dict[str, list[dict[str, object]]] = {row.id: [] for row in rows}
    found = connection.execute(
        select(changes.c.report, changes.c.feature)
        .where(changes.c.report.in_(wanted))
        .order_by(changes.c.report, changes.c.position)
    )
    for row in found:
        features[row.report].append(json.loads(row.feature))
    return {row.id: Told(_side(row), json.loads(row.body), features[row.id]) for row in rows}


def _side(row: Record) -> ReportSide:
    return ReportSide(row.id, row.number, rfc3339(row.created), row.processing_version, bool(row.current))


def _units(connection: Connection, job: Record) -> Sequence[Record]:
    """Return a job's units of living sites with the report each left, if any."""
    return connection.execute(
        select(
            units.c.site,
            units.c.state,
            units.c.code,
            units.c.detail,
            units.c.report,
            sites.c.name,
            sites.c.current_report,
            reports.c.job,
            reports.c.supersedes,
        )
        .join(sites, and_(sites.c.id == units.c.site, sites.c.deleted.is_(None)))
        .outerjoin(reports, reports.c.id == units.c.report)
        .where(units.c.job == job.id)
        .order_by(units.c.id)
    ).all()


def _reprocessed(connection: Connection, job: Record) -> Iterator[_Case]:
    previous = _replaced(connection, job)
    for unit in _units(connection, job):
        before = previous.get(unit.site, unit.current_report)
        yield _Case(unit.site, unit.name, before, unit.report, _why_none(unit))


def _analysed(connection: Connection, job: Record) -> Iterator[_Case]:
    for unit in _units(connection, job):
        # A run that gave the very report there was published nothing.
        before = unit.supersedes if unit.job == job.id else unit.report
        if unit.report is None:
            before = unit.current_report
        yield _Case(unit.site, unit.name, before, unit.report, _why_none(unit))


def _why_none(unit: Record) -> str:
    if unit.report is not None:
        return ""
    why = f": {unit.code}: {unit.detail}" if unit.code else ""
    return f"No report was made (the unit is {unit.state}){why}"


def _replaced(connection: Connection, job: Record) -> dict[str, str | None]:
    """Return, by site, the report that the job's standing promotion took the place of."""
    last = (
        select(promotions.c.id)
        .where(promotions.c.job == job.id, promotions.c.undone.is_(None))
        .order_by(promotions.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(promoted_sites.c.site, promoted_sites.c.previous).where(promoted_sites.c.promotion == last)
    )
    return {row.site: row.previous for row in rows}
