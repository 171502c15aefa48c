"""Subscriptions to the feed: who wants to be told what, and the log of what was told."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from service.audit import Caller
from service.database import Database, Record
from service.errors import LimitReached, NotFound
from service.identifiers import new_id
from service.moments import rfc3339, rfc3339_or_none
from service.problems import ManyErrors
from service.tables import deliveries, delivery_attempts, sites, subscriptions, tenants

KINDS = ("new", "updated", "retracted", "superseded")
STATES = ("active", "paused", "disabled")
MOST_PER_TENANT = 50
TEST = "test"


@dataclass(frozen=True, slots=True)
class SubscriptionDraft:
    """What is wanted; ``sites`` None for all of them, ``since`` the last news already known."""

    url: str
    kinds: tuple[str, ...]
    sites: tuple[str, ...] | None
    note: str
    since: int | None


def check_sites(connection: Connection, tenant: str, wanted: Sequence[str] | None) -> None:
    """Refuse sites that are not the tenant's.

    Raises
    ------
    ManyErrors
    """
    if wanted is None:
        return
    known = set(
        connection.execute(
            select(sites.c.id).where(
                sites.c.tenant == tenant, sites.c.deleted.is_(None), sites.c.id.in_(wanted)
            )
        ).scalars()
    )
    faults = [
        (f"/sites/{index}", "unusable-input", f"sites.{index}: there is no such site")
        for index, site in enumerate(wanted)
        if site not in known
    ]
    if faults:
        raise ManyErrors(faults)


def subscribe(database: Database, connection: Connection, caller: Caller, draft: SubscriptionDraft) -> Record:
    """Write a subscription; it is told what becomes known from now on, or after ``since``.

    Raises
    ------
    LimitReached, ManyErrors
    """
    tenant = connection.execute(select(tenants).where(tenants.c.id == caller.tenant).with_for_update()).one()
    have = connection.execute(
        select(func.count()).select_from(subscriptions).where(subscriptions.c.tenant == caller.tenant)
    ).scalar_one()
    if have >= MOST_PER_TENANT:
        raise LimitReached(f"a tenant has at most {MOST_PER_TENANT} subscriptions; delete some first")
    check_sites(connection, caller.tenant, draft.sites)
    return connection.execute(
        subscriptions.insert()
        .values(
            id=new_id("sub"),
            tenant=caller.tenant,
            url=draft.url,
            kinds=json.dumps(draft.kinds),
            sites=None if draft.sites is None else json.dumps(draft.sites),
            note=draft.note,
            state="active",
            created=database.now,
            updated=database.now,
            feed_seq=tenant.feed_seq if draft.since is None else min(draft.since, tenant.feed_seq),
        )
        .returning(subscriptions)
    ).one()


def find_subscription(
    connection: Connection, tenant: str, subscription: str, *, lock: bool = False
) -> Record:
    """Return one subscription.

    Raises
    ------
    NotFound
    """
    statement = select(subscriptions).where(
        subscriptions.c.id == subscription, subscriptions.c.tenant == tenant
    )
    row = connection.execute(statement.with_for_update() if lock else statement).first()
    if row is None:
        raise NotFound("there is no such subscription")
    return row


def list_subscriptions(
    connection: Connection, tenant: str, after: tuple[float, str] | None, limit: int
) -> Sequence[Record]:
    """Return a tenant's subscriptions, oldest first."""
    table = subscriptions.c
    statement = select(subscriptions).where(table.tenant == tenant)
    if after is not None:
        created, known = after
        statement = statement.where(
            (table.created > created) | ((table.created == created) & (table.id > known))
        )
    return connection.execute(statement.order_by(table.created, table.id).limit(limit)).all()


def change_subscription(
    database: Database, connection: Connection, row: Record, values: dict[str, Any]
) -> Record:
    """Change what is given; back to ``active`` it goes on where it stopped, and its failures are forgiven."""
    if values.get("state") == "active":
        values = {**values, "reason": "", "failures": 0, "not_before": 0.0}
    elif "state" in values:
        values = {**values, "reason": "paused by its owner"}
    return connection.execute(
        update(subscriptions)
        .where(subscriptions.c.id == row.id)
        .values(**values, updated=database.now)
        .returning(subscriptions)
    ).one()


def rotate_secret(database: Database, connection: Connection, row: Record) -> Record:
    """Turn to the next secret; the one before signs too for a day."""
    return connection.execute(
        update(subscriptions)
        .where(subscriptions.c.id == row.id)
        .values(secret_version=subscriptions.c.secret_version + 1, rotated=database.now, updated=database.now)
        .returning(subscriptions)
    ).one()


def unsubscribe(connection: Connection, subscription: str) -> None:
    """Remove a subscription with everything that waits for it and its log."""
    mine = select(deliveries.c.id).where(deliveries.c.subscription == subscription)
    connection.execute(delete(delivery_attempts).where(delivery_attempts.c.delivery.in_(mine)))
    connection.execute(delete(deliveries).where(deliveries.c.subscription == subscription))
    connection.execute(delete(subscriptions).where(subscriptions.c.id == subscription))


def enqueue_test(database: Database, connection: Connection, row: Record) -> Record:
    """Put a test message into the outbox."""
    body = {"type": TEST, "timestamp": None, "data": {"subscription": row.id}}
    now = connection.execute(select(database.now.label("now"))).scalar_one()
    body["timestamp"] = rfc3339(now)
    return connection.execute(
        deliveries.insert()
        .values(
            id=new_id("msg"),
            tenant=row.tenant,
            subscription=row.id,
            seq=None,
            kind=TEST,
            body=json.dumps(body, separators=(",", ":")),
            state="waiting",
            created=now,
        )
        .returning(deliveries)
    ).one()


def list_deliveries(
    connection: Connection,
    subscription: str,
    state: str | None,
    before: tuple[float, str] | None,
    limit: int,
) -> Sequence[Record]:
    """Return a subscription's deliveries, newest first."""
    table = deliveries.c
    statement = select(deliveries).where(table.subscription == subscription)
    if state is not None:
        statement = statement.where(table.state == state)
    if before is not None:
        created, known = before
        statement = statement.where(
            (table.created < created) | ((table.created == created) & (table.id < known))
        )
    return connection.execute(statement.order_by(table.created.desc(), table.id.desc()).limit(limit)).all()


def find_delivery(connection: Connection, subscription: str, delivery: str) -> Record:
    """Return one delivery.

    Raises
    ------
    NotFound
    """
    row = connection.execute(
        select(deliveries).where(deliveries.c.id == delivery, deliveries.c.subscription == subscription)
    ).first()
    if row is None:
        raise NotFound("there is no such delivery")
    return row


def attempts_of(connection: Connection, delivery: str) -> list[dict[str, Any]]:
    """Return every attempt of a delivery, in order."""
    rows = connection.execute(
        select(delivery_attempts)
        .where(delivery_attempts.c.delivery == delivery)
        .order_by(delivery_attempts.c.number)
    )
    return [
        {
            "number": row.number,
            "at": rfc3339(row.at),
            "ended": rfc3339_or_none(row.ended),
            "status": row.status,
            "detail": row.detail,
        }
        for row in rows
    ]


def deliver_again(connection: Connection, delivery: str) -> Record:
    """Put a delivery back into the outbox under its old id, with a fresh schedule."""
    return connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery)
        .values(state="waiting", tries=0, not_before=0.0, finished=None)
        .returning(deliveries)
    ).one()


def describe(row: Record) -> dict[str, Any]:
    """Return a subscription as HTTP shows it, without its secret."""
    here = f"/subscriptions/{row.id}"
    return {
        "id": row.id,
        "url": row.url,
        "kinds": json.loads(row.kinds),
        "sites": None if row.sites is None else json.loads(row.sites),
        "note": row.note,
        "state": row.state,
        "reason": row.reason or None,
        "created": rfc3339(row.created),
        "updated": rfc3339(row.updated),
        "failures_in_a_row": row.failures,
        "last_success": rfc3339_or_none(row.last_success),
        "secret_rotated": rfc3339_or_none(row.rotated),
        "links": [
            {"rel": "self", "href": here, "type": "application/json"},
            {"rel": "deliveries", "href": f"{here}/deliveries", "type": "application/json"},
        ],
    }


def describe_delivery(row: Record) -> dict[str, Any]:
    """Return a delivery as the log shows it."""
    here = f"/subscriptions/{row.subscription}/deliveries/{row.id}"
    waiting = row.state == "waiting"
    return {
        "id": row.id,
        "type": row.kind,
        "state": row.state,
        "attempts": row.attempts,
        "created": rfc3339(row.created),
        "finished": rfc3339_or_none(row.finished),
        "next_attempt": rfc3339(max(row.not_before, row.created)) if waiting else None,
        "status": row.status,
        "detail": row.detail,
        "links": [{"rel": "self", "href": here, "type": "application/json"}],
    }
