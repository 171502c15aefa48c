"""The outbox of webhooks: filled from the feed exactly once, emptied at least once, by any number of workers.

Filling moves a subscription's place in the feed and writes its messages in one transaction. Emptying leases the
subscription, not the message, so that a slow receiver holds up one thread and nobody else; the attempt is numbered
and logged when it is taken, so no two workers ever make the same one. A worker that dies in the middle leaves a
lease that runs out and an attempt without an end; the next one carries the same ``webhook-id``, by which the
receiver knows it.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, select, update

from imagery.errors import DepotwatchError
from service.database import Database, Record, many
from service.feed import entries_after
from service.identifiers import encode_cursor, new_id
from service.moments import rfc3339
from service.tables import deliveries, delivery_attempts, subscriptions, tenants
from service.webhooks import BOTH_SIGN_S, Outcome, secret_of, send, sign

log = logging.getLogger(__name__)

MESSAGE_KIND = "report.changes"
ENTRIES_PER_MESSAGE = 100
ENTRIES_PER_FILL = 1_000
MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0
CLEAN_EVERY_S = HOUR_S


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """How patient deliveries are; ``waits_s`` are the pauses between attempts, three days in all."""

    waits_s: tuple[float, ...] = (
        5.0,
        5 * MINUTE_S,
        30 * MINUTE_S,
        2 * HOUR_S,
        5 * HOUR_S,
        10 * HOUR_S,
        14 * HOUR_S,
        20 * HOUR_S,
        24 * HOUR_S,
    )
    jitter: float = 0.2
    timeout_s: float = 15.0
    lease_s: float = 60.0
    longest_pause_s: float = HOUR_S
    kept_s: float = 30 * DAY_S
    threads: int = 4


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that is this worker's to make."""

    subscription: str
    owner: str
    fence: int
    delivery: str
    number: int
    url: str
    body: str
    at: float
    secret_versions: tuple[int, ...]


def fill_outbox(database: Database) -> int:
    """Move every active subscription up to the end of its tenant's feed; return how many messages that made."""
    made = 0
    behind = (
        select(subscriptions.c.id)
        .join(tenants, tenants.c.id == subscriptions.c.tenant)
        .where(subscriptions.c.state == "active", subscriptions.c.feed_seq < tenants.c.feed_seq)
        .order_by(subscriptions.c.id)
    )
    with database.read() as connection:
        waiting = list(connection.execute(behind).scalars())
    for subscription in waiting:
        more = True
        while more:
            with database.write() as connection:
                number, more = _fill_one(database, connection, subscription)
            made += number
    return made


def _fill_one(database: Database, connection: Connection, subscription: str) -> tuple[int, bool]:
    """Fill one subscription a step further; return how many messages, and whether there is more to do."""
    row = connection.execute(
        select(subscriptions)
        .where(subscriptions.c.id == subscription, subscriptions.c.state == "active")
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return 0, False
    entries = entries_after(connection, row.tenant, row.feed_seq, ENTRIES_PER_FILL)
    if not entries:
        return 0, False
    wanted = _wanted(row, entries)
    messages = [_message(row, group) for group in _grouped(wanted)]
    many(
        connection,
        deliveries.insert(),
        [{**message, "created": now} for now in [_now(database, connection)] for message in messages],
    )
    connection.execute(
        update(subscriptions).where(subscriptions.c.id == subscription).values(feed_seq=entries[-1]["seq"])
    )
    return len(messages), len(entries) == ENTRIES_PER_FILL


def _now(database: Database, connection: Connection) -> float:
    return float(connection.execute(select(database.now)).scalar_one())


def _wanted(row: Record, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = set(json.loads(row.kinds))
    sites = None if row.sites is None else set(json.loads(row.sites))
    return [e for e in entries if e["event"] in kinds and (sites is None or e["site"] in sites)]


def _grouped(entries: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Put news of one report together, so many at a time."""
    groups: list[list[dict[str, Any]]] = []
    for entry in entries:
        last = groups[-1] if groups else []
        same = bool(last) and (last[-1]["site"], last[-1]["report"]) == (entry["site"], entry["report"])
        if same and len(last) < ENTRIES_PER_MESSAGE:
            last.append(entry)
        else:
            groups.append([entry])
    return groups


def _message(row: Record, entries: list[dict[str, Any]]) -> dict[str, Any]:
    first = entries[0]
    told = [{k: v for k, v in e.items() if k != "seq"} | {"cursor": encode_cursor("feed", e["seq"])} for e in entries]  # fmt: skip
    data = {"subscription": row.id, "site": first["site"], "report": first["report"], "entries": told}
    body = {"type": MESSAGE_KIND, "timestamp": first["time"], "data": data}
    return {
        "id": new_id("msg"),
        "tenant": row.tenant,
        "subscription": row.id,
        "seq": first["seq"],
        "kind": MESSAGE_KIND,
        "body": json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        "state": "waiting",
    }


def _due(database: Database) -> ColumnElement[bool]:
    """Condition of a subscription that has something to be sent now."""
    waiting = exists().where(
        deliveries.c.subscription == subscriptions.c.id,
        deliveries.c.state == "waiting",
        deliveries.c.not_before <= database.now,
    )
    return (
        (subscriptions.c.state == "active")
        & (subscriptions.c.lease_until < database.now)
        & (subscriptions.c.not_before <= database.now)
        & waiting
    )


def claim_attempt(database: Database, owner: str, rules: DeliveryRules) -> Attempt | None:
    """Take the next attempt of the subscription that waited longest; None where nothing is due."""
    due = _due(database)
    with database.read() as connection:
        if connection.execute(select(subscriptions.c.id).where(due).limit(1)).first() is None:
            return None
    with database.write() as connection:
        chosen = (
            select(subscriptions.c.id)
            .where(due)
            .order_by(subscriptions.c.lease_until, subscriptions.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        row = connection.execute(
            update(subscriptions)
            .where(subscriptions.c.id == chosen)
            .values(owner=owner, fence=subscriptions.c.fence + 1, lease_until=database.now + rules.lease_s)
            .returning(subscriptions, database.now.label("now"))
        ).first()
        return None if row is None else _take(database, connection, row, owner)


def _take(database: Database, connection: Connection, row: Record, owner: str) -> Attempt | None:
    first = (
        select(deliveries.c.id)
        .where(
            deliveries.c.subscription == row.id,
            deliveries.c.state == "waiting",
            deliveries.c.not_before <= database.now,
        )
        .order_by(deliveries.c.not_before, deliveries.c.created, deliveries.c.seq, deliveries.c.id)
        .limit(1)
        .scalar_subquery()
    )
    taken = connection.execute(
        update(deliveries)
        .where(deliveries.c.id == first)
        .values(attempts=deliveries.c.attempts + 1, tries=deliveries.c.tries + 1)
        .returning(deliveries)
    ).first()
    if taken is None:
        return None
    connection.execute(
        delivery_attempts.insert().values(
            delivery=taken.id, number=taken.attempts, tenant=row.tenant, at=row.now, detail="under way"
        )
    )
    versions = [row.secret_version]
    if row.rotated is not None and row.now - row.rotated < BOTH_SIGN_S and row.secret_version > 1:
        versions.append(row.secret_version - 1)
    return Attempt(
        row.id, owner, row.fence, taken.id, taken.attempts, row.url, taken.body, row.now, tuple(versions)
    )


def settle(
    database: Database, attempt: Attempt, outcome: Outcome, rules: DeliveryRules, chance: random.Random
) -> bool:
    """Write how an attempt went; False where the lease was lost meanwhile and another attempt decides."""
    with database.write() as connection:
        held = connection.execute(
            select(subscriptions)
            .where(
                subscriptions.c.id == attempt.subscription,
                subscriptions.c.owner == attempt.owner,
                subscriptions.c.fence == attempt.fence,
            )
            .with_for_update()
        ).first()
        if held is None:
            return False
        connection.execute(
            update(delivery_attempts)
            .where(
                delivery_attempts.c.delivery == attempt.delivery, delivery_attempts.c.number == attempt.number
            )
            .values(ended=database.now, status=outcome.status, detail=outcome.detail)
        )
        message = connection.execute(select(deliveries).where(deliveries.c.id == attempt.delivery)).one()
        values = _after(database, held, message, outcome, rules, chance)
        connection.execute(
            update(subscriptions)
            .where(subscriptions.c.id == attempt.subscription)
            .values(lease_until=0.0, **values.pop("subscription"))
        )
        connection.execute(update(deliveries).where(deliveries.c.id == attempt.delivery).values(**values))
    return True


def _after(
    database: Database,
    held: Record,
    message: Record,
    outcome: Outcome,
    rules: DeliveryRules,
    chance: random.Random,
) -> dict[str, Any]:
    """Return what an outcome makes of the delivery, and of its subscription."""
    told: dict[str, Any] = {"status": outcome.status, "detail": outcome.detail}
    ended = {**told, "finished": database.now}
    if outcome.delivered:
        fine = {"failures": 0, "not_before": 0.0, "last_success": database.now}
        return {**ended, "state": "delivered", "subscription": fine}
    failures = held.failures + 1
    if outcome.gone:
        reason = "the receiver answered 410 Gone"
        return {**ended, "state": "failed", "subscription": _disabled(failures, reason)}
    pause = min(rules.waits_s[0] * 2.0 ** min(failures - 1, 30), rules.longest_pause_s)
    resting: dict[str, Any] = {"failures": failures, "not_before": database.now + pause}
    if message.tries <= len(rules.waits_s):
        wait = rules.waits_s[message.tries - 1] * (1.0 + rules.jitter * (2.0 * chance.random() - 1.0))
        due = database.now + max(wait, outcome.retry_after_s)
        return {**told, "state": "waiting", "not_before": due, "subscription": resting}
    if held.last_success is None or held.last_success < message.created:
        since = rfc3339(message.created if held.last_success is None else held.last_success)
        resting = _disabled(failures, f"nothing got through since {since}; the last answer: {outcome.detail}")
    return {**ended, "state": "failed", "subscription": resting}


def _disabled(failures: int, reason: str) -> dict[str, Any]:
    return {"failures": failures, "state": "disabled", "reason": reason}


def clean_outbox(database: Database, rules: DeliveryRules) -> None:
    """Forget deliveries that ended long ago."""
    old = select(deliveries.c.id).where(deliveries.c.finished < database.now - rules.kept_s)
    with database.read() as connection:
        if connection.execute(old.limit(1)).first() is None:
            return
    with database.write() as connection:
        connection.execute(delete(delivery_attempts).where(delivery_attempts.c.delivery.in_(old)))
        connection.execute(delete(deliveries).where(deliveries.c.finished < database.now - rules.kept_s))


Send = Callable[[str, dict[str, str], bytes], Outcome]


class Deliveries:
    """Fills and empties the outbox for one worker process."""

    def __init__(
        self,
        database: Database,
        secret: bytes,
        allowed_hosts: frozenset[str],
        owner: str,
        *,
        rules: DeliveryRules | None = None,
        sender: Send | None = None,
        chance: random.Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._secret, self._owner = database, secret, owner
        self._rules = rules or DeliveryRules()
        self._chance = chance or random.Random()
        self._monotonic = monotonic
        self._cleaned = -CLEAN_EVERY_S

        def over_the_network(url: str, headers: dict[str, str], body: bytes) -> Outcome:
            return send(url, headers, body, allowed_hosts, timeout_s=self._rules.timeout_s)

        self._send = sender or over_the_network

    def run_due(self) -> None:
        """Fill the outbox, and send what is due until nothing is."""
        fill_outbox(self._database)
        if self._monotonic() - self._cleaned >= CLEAN_EVERY_S:
            self._cleaned = self._monotonic()
            clean_outbox(self._database, self._rules)
        if not self.run_one():
            return
        with ThreadPoolExecutor(self._rules.threads, "webhook") as pool:
            for running in [pool.submit(self._until_empty) for _ in range(self._rules.threads)]:
                running.result()

    def _until_empty(self) -> None:
        while self.run_one():
            pass

    def run_one(self) -> bool:
        """Make the next attempt, if one is due; return whether one was."""
        attempt = claim_attempt(self._database, self._owner, self._rules)
        if attempt is None:
            return False
        body = attempt.body.encode()
        secrets = [secret_of(self._secret, attempt.subscription, n) for n in attempt.secret_versions]
        timestamp = int(attempt.at)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": attempt.delivery,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(secrets, attempt.delivery, timestamp, body),
        }
        outcome = self._send(attempt.url, headers, body)
        kept = settle(self._database, attempt, outcome, self._rules, self._chance)
        log.info(
            "webhook-attempt",
            extra={
                "subscription": attempt.subscription,
                "delivery": attempt.delivery,
                "attempt": attempt.number,
                "status": outcome.status,
                "lease_lost": not kept,
            },
        )
        return True


def run_quietly(due: Callable[[], object], event: str) -> None:
    """Run one round of housekeeping; what goes wrong is logged and the next round tries again."""
    try:
        due()
    except DepotwatchError as error:
        log.warning(event, extra={"code": error.code, "detail": error.detail})
    except Exception:
        log.exception(event)
