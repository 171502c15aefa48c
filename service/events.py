"""Dated outside events kept beside a site: shipments, orders, claims. They are never changed, only made and removed.

The lag within which a change would be looked for is fixed when the event is posted. Whether that was before anybody could see
if it fits is told, and so is how many events were removed: a few that fit, left over of many, prove nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from service.audit import Caller
from service.database import Database, Record
from service.errors import BadQuery, LimitReached, NotFound
from service.identifiers import new_id
from service.moments import OPEN_END, OPEN_START, interval, rfc3339
from service.problems import ManyErrors
from service.tables import events

DAY_S = 86_400.0
MOST_PER_SITE = 200
LONGEST_DAYS = 3_660
EARLIEST_S, LATEST_S = -2_208_988_800.0, 7_258_118_400.0  # 1900 and 2200


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An event as it is to be kept; ``starts`` and ``ends`` in seconds since 1970, uncertainty included."""

    label: str
    kind: str
    given: str
    starts: float
    ends: float
    uncertainty_days: float
    lag_days: tuple[int, int]
    source: str
    source_url: str | None
    note: str
    from_imagery: bool


def event_span(given: str, uncertainty_days: float) -> tuple[float, float]:
    """Return first and last second of an event with its uncertainty.

    Raises
    ------
    ManyErrors : no date, or no interval with two ends, or one nobody could test
    """
    try:
        low, high = interval(given)
    except BadQuery as error:
        raise ManyErrors([("/when", "unusable-input", f"when: {error.detail}")]) from error
    if low <= OPEN_START or high >= OPEN_END:
        raise ManyErrors([("/when", "unusable-input", "when: an event needs both ends; none may be open")])
    if not EARLIEST_S <= low <= high <= LATEST_S:
        raise ManyErrors([("/when", "unusable-input", "when: an event lies between 1900 and 2200")])
    if high - low > LONGEST_DAYS * DAY_S:
        raise ManyErrors([("/when", "unusable-input", f"when: an event lasts at most {LONGEST_DAYS:,} days")])
    return low - uncertainty_days * DAY_S, high + uncertainty_days * DAY_S


def add_event(
    database: Database, connection: Connection, caller: Caller, site: str, draft: EventDraft
) -> Record:
    """Write one event.

    Raises
    ------
    LimitReached : the site has as many as it may have
    """
    kept = (events.c.site == site) & events.c.removed.is_(None)
    have = connection.execute(select(func.count()).select_from(events).where(kept))
    if have.scalar_one() >= MOST_PER_SITE:
        raise LimitReached(f"a site keeps at most {MOST_PER_SITE} events; delete some first")
    return connection.execute(
        events.insert()
        .values(
            id=new_id("event"),
            tenant=caller.tenant,
            site=site,
            label=draft.label,
            kind=draft.kind,
            given=draft.given,
            starts=draft.starts,
            ends=draft.ends,
            uncertainty_days=draft.uncertainty_days,
            lag_low=draft.lag_days[0],
            lag_high=draft.lag_days[1],
            source=draft.source,
            source_url=draft.source_url,
            note=draft.note,
            from_imagery=draft.from_imagery,
            created=database.now,
            key=caller.key,
        )
        .returning(events)
    ).one()


def events_of(
    connection: Connection,
    tenant: str,
    site: str,
    *,
    after: tuple[float, str] | None = None,
    limit: int = MOST_PER_SITE,
) -> Sequence[Record]:
    """Return a site's events in order of their start."""
    statement = select(events).where(
        events.c.tenant == tenant, events.c.site == site, events.c.removed.is_(None)
    )
    if after is not None:
        start, event = after
        statement = statement.where(
            (events.c.starts > start) | ((events.c.starts == start) & (events.c.id > event))
        )
    return connection.execute(statement.order_by(events.c.starts, events.c.id).limit(limit)).all()


def find_event(connection: Connection, tenant: str, site: str, event: str) -> Record:
    """Return one event.

    Raises
    ------
    NotFound
    """
    row = connection.execute(
        select(events).where(
            events.c.id == event,
            events.c.tenant == tenant,
            events.c.site == site,
            events.c.removed.is_(None),
        )
    ).first()
    if row is None:
        raise NotFound("there is no such event")
    return row


def count_withdrawn(connection: Connection, tenant: str, site: str) -> int:
    """Return how many events of a site were removed."""
    mine = (events.c.tenant == tenant) & (events.c.site == site) & events.c.removed.is_not(None)
    return int(connection.execute(select(func.count()).select_from(events).where(mine)).scalar_one())


def withdraw_event(database: Database, connection: Connection, tenant: str, site: str, event: str) -> None:
    """Remove one event with everything it said; only that there was one stays.

    Raises
    ------
    NotFound
    """
    find_event(connection, tenant, site, event)
    nothing = {"label": "", "given": "", "source": "", "source_url": None, "note": ""}
    connection.execute(update(events).where(events.c.id == event).values(removed=database.now, **nothing))


def describe(row: Record) -> dict[str, Any]:
    """Return an event as HTTP shows it."""
    here = f"/sites/{row.site}/events/{row.id}"
    return {
        "id": row.id,
        "site": row.site,
        "label": row.label,
        "kind": row.kind,
        "when": row.given,
        "uncertainty_days": row.uncertainty_days,
        "window": {"start": rfc3339(row.starts), "end": rfc3339(row.ends)},
        "lag_days": [row.lag_low, row.lag_high],
        "source": row.source,
        "source_url": row.source_url,
        "note": row.note,
        "derived_from_imagery": bool(row.from_imagery),
        "created": rfc3339(row.created),
        "by": row.key,
        "links": [
            {"rel": "self", "href": here, "type": "application/json"},
            {"rel": "site", "href": f"/sites/{row.site}", "type": "application/geo+json"},
            {"rel": "related", "href": f"/sites/{row.site}/corroboration", "type": "application/json"},
        ],
    }
