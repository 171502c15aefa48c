"""Idempotency-Key: the answer of a call is stored in the transaction of its effect and replayed for the same body.

A crash between effect and answer is thereby impossible. A second call while the first is still being answered gets
409 when it comes through the same process, or after a short wait for the first one's transaction.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, text, update

from imagery.errors import DepotwatchError
from service.audit import Caller
from service.database import Database
from service.errors import IdempotencyInFlight, IdempotencyMismatch
from service.tables import idempotency

MAX_KEY_LENGTH = 255
LOCK_WAIT = "5s"


class BadIdempotencyKey(DepotwatchError):
    """An Idempotency-Key that is empty, too long or not printable ASCII."""

    code = "bad-idempotency-key"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call answered."""

    status: int
    headers: Mapping[str, str]
    body: str


class Replays:
    """Remembers answers per tenant, route and key."""

    def __init__(self, database: Database, keep_s: float) -> None:
        self._database = database
        self._keep_s = keep_s
        self._running: set[tuple[str, str, str]] = set()
        self._lock = threading.Lock()

    @contextmanager
    def once(self, caller: Caller, route: str, key: str | None) -> Iterator[None]:
        """Refuse a second call with the same key while the block runs."""
        if key is None:
            yield
            return
        if not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
            raise BadIdempotencyKey(
                f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable ASCII characters",
                pointer="Idempotency-Key",
            )
        mark = (caller.tenant, route, key)
        with self._lock:
            if mark in self._running:
                raise IdempotencyInFlight("the first call with this Idempotency-Key is still being answered")
            self._running.add(mark)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(mark)

    def recall(
        self, connection: Connection, caller: Caller, route: str, key: str | None, body: bytes
    ) -> Answer | None:
        """Claim the key in this transaction, or return what was answered before.

        Raises
        ------
        IdempotencyMismatch : the key was used with another body
        IdempotencyInFlight : another process is answering it
        """
        if key is None:
            return None
        place = {"tenant": caller.tenant, "route": route, "key": key}
        fingerprint = hashlib.sha256(body).hexdigest()
        old = delete(idempotency).where(idempotency.c.created < self._database.now - self._keep_s)
        connection.execute(old.where(*(idempotency.c[name] == value for name, value in place.items())))
        if not self._database.is_sqlite:
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
        claimed = connection.execute(
            self._database.insert(idempotency)
            .values(**place, fingerprint=fingerprint, created=self._database.now)
            .on_conflict_do_nothing()
            .returning(idempotency.c.key)
        ).scalar()
        if not self._database.is_sqlite:
            connection.execute(text("SET LOCAL lock_timeout = 0"))
        if claimed is not None:
            return None
        row = connection.execute(
            select(idempotency).where(*(idempotency.c[name] == value for name, value in place.items()))
        ).one()
        if row.fingerprint != fingerprint:
            raise IdempotencyMismatch(
                "this Idempotency-Key was used with another body; use a new one", pointer="Idempotency-Key"
            )
        if row.status is None:
            raise IdempotencyInFlight("the first call with this Idempotency-Key is still being answered")
        return Answer(row.status, {**json.loads(row.headers), "Idempotency-Replayed": "true"}, row.body)

    def remember(
        self, connection: Connection, caller: Caller, route: str, key: str | None, answer: Answer
    ) -> None:
        """Store the answer beside the effect it tells of."""
        if key is None:
            return
        connection.execute(
            update(idempotency)
            .where(
                idempotency.c.tenant == caller.tenant,
                idempotency.c.route == route,
                idempotency.c.key == key,
            )
            .values(status=answer.status, headers=json.dumps(dict(answer.headers)), body=answer.body)
        )
