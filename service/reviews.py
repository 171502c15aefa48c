"""Reviews: what a person thought of a change. They stand beside the report and never alter it."""

from typing import Any

from sqlalchemy import Connection, select

from service.audit import Caller
from service.database import Database, Record
from service.moments import rfc3339
from service.tables import reviews


def add_review(
    database: Database,
    connection: Connection,
    caller: Caller,
    change: Record,
    *,
    verdict: str,
    change_type: str | None,
    note: str,
) -> Record:
    """Write one review; earlier ones stay as history."""
    return connection.execute(
        reviews.insert()
        .values(
            tenant=caller.tenant,
            change=change.change,
            report=change.report,
            at=database.now,
            key=caller.key,
            verdict=verdict,
            change_type=change_type,
            note=note,
        )
        .returning(reviews)
    ).one()


def history(connection: Connection, tenant: str, change: str) -> list[dict[str, Any]]:
    """Return every review of a change, newest first."""
    rows = connection.execute(
        select(reviews)
        .where(reviews.c.tenant == tenant, reviews.c.change == change)
        .order_by(reviews.c.id.desc())
    )
    return [describe(row) for row in rows]


def describe(row: Record) -> dict[str, Any]:
    """Return a review as HTTP shows it."""
    return {
        "verdict": row.verdict,
        "class": row.change_type,
        "note": row.note,
        "by": row.key,
        "at": rfc3339(row.at),
        "report": row.report,
    }
