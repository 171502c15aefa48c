"""Reports as clients read them: lists, numbered and latest ones, their files and evidence."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from service.artefacts import StoredFile
from service.database import Record
from service.errors import NoReportYet, NotFound
from service.moments import rfc3339
from service.tables import changes, looks, report_files, reports, sites

HEAD = (
    reports.c.id,
    reports.c.site,
    reports.c.number,
    reports.c.etag,
    reports.c.created,
    reports.c.current,
    reports.c.supersedes,
    reports.c.processing_version,
    reports.c.geometry_version,
    reports.c.job,
)
# One that was promoted, or became current again, is newer to a reader than its own date says.
CURRENT_HEAD = (
    *(column for column in HEAD if column.name != "created"),
    func.coalesce(reports.c.current_since, reports.c.created).label("created"),
)


def latest(connection: Connection, tenant: str, site: str) -> Record:
    """Return the head of a site's current report, without its body; ``created`` is when it became current.

    Raises
    ------
    NotFound, NoReportYet
    """
    statement = (
        select(sites.c.id.label("living"), *CURRENT_HEAD)
        .select_from(sites.outerjoin(reports, reports.c.id == sites.c.current_report))
        .where(sites.c.id == site, sites.c.tenant == tenant, sites.c.deleted.is_(None))
    )
    row = connection.execute(statement).first()
    if row is None:
        raise NotFound("there is no such site")
    if row.id is None:
        raise NoReportYet("this site has no report yet; its first job has not ended")
    return row


def numbered(connection: Connection, tenant: str, site: str, report: str) -> Record:
    """Return the head of one report by id, or by its number on the site.

    Raises
    ------
    NotFound : no such report of a living site of this tenant
    """
    which = reports.c.id == report
    if report.isdecimal() and len(report) < 10:
        which = which | (reports.c.number == int(report))
    row = connection.execute(
        select(*HEAD)
        .join(sites, sites.c.id == reports.c.site)
        .where(reports.c.site == site, reports.c.tenant == tenant, sites.c.deleted.is_(None), which)
    ).first()
    if row is None:
        raise NotFound("there is no such report")
    return row


def seen_until(connection: Connection, site: str) -> list[tuple[float, float]]:
    """Return, per report of a site that has looks, when it was made and its last look."""
    rows = connection.execute(
        select(reports.c.created, func.max(looks.c.at).label("last"))
        .join(looks, looks.c.report == reports.c.id)
        .where(reports.c.site == site)
        .group_by(reports.c.id, reports.c.created)
        .order_by(reports.c.created)
    )
    return [(row.created, row.last) for row in rows]


def body(connection: Connection, report: str) -> str:
    """Return a report's JSON."""
    return str(connection.execute(select(reports.c.body).where(reports.c.id == report)).scalar_one())


def list_reports(connection: Connection, site: str, before: int, limit: int) -> Sequence[Record]:
    """Return the heads of a site's reports with a number below ``before``, newest first."""
    return connection.execute(
        select(*HEAD)
        .where(reports.c.site == site, reports.c.number < before)
        .order_by(reports.c.number.desc())
        .limit(limit)
    ).all()


def describe(row: Record) -> dict[str, Any]:
    """Return one line of the list."""
    here = f"/sites/{row.site}/reports/{row.id}"
    return {
        "id": row.id,
        "number": row.number,
        "created": rfc3339(row.created),
        "current": bool(row.current),
        "supersedes": row.supersedes,
        "processing_version": row.processing_version,
        "geometry_version": row.geometry_version,
        "job": row.job,
        "etag": row.etag,
        "links": [
            {"rel": "self", "href": here, "type": "application/json"},
            {"rel": "alternate", "href": f"{here}.html", "type": "text/html"},
            {"rel": "enclosure", "href": f"{here}/bundle.zip", "type": "application/zip"},
        ],
    }


def file_of(connection: Connection, report: str, path: str) -> StoredFile:
    """Return where a report's file is kept.

    Raises
    ------
    NotFound : the report has no such file
    """
    row = connection.execute(
        select(report_files).where(report_files.c.report == report, report_files.c.path == path)
    ).first()
    if row is None:
        raise NotFound("the report has no such file")
    return StoredFile(row.path, row.sha256, row.size)


def find_change(connection: Connection, tenant: str, change: str) -> Record:
    """Return a change as its latest report tells it, retracted ones included.

    Raises
    ------
    NotFound : no change of that id, or another tenant's, or of a deleted site
    """
    row = connection.execute(
        select(changes, reports.c.number, reports.c.created)
        .join(reports, reports.c.id == changes.c.report)
        .join(sites, sites.c.id == changes.c.site)
        .where(changes.c.tenant == tenant, changes.c.change == change, sites.c.deleted.is_(None))
        # What was never current tells a change only where nothing else does.
        .order_by(changes.c.current.desc(), reports.c.current_since.is_(None), reports.c.created.desc())
        .limit(1)
    ).first()
    if row is None:
        raise NotFound("there is no such change")
    return row
