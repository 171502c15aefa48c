"""Who did what, when: one row per change of state, written in the transaction that changes it."""

from dataclasses import dataclass

from sqlalchemy import Connection

from service.database import Database
from service.tables import audit


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: a tenant, through one key, with these scopes; ``request`` is the request id."""

    tenant: str
    key: str
    scopes: frozenset[str]
    request: str = ""


def record(database: Database, connection: Connection, caller: Caller, action: str, subject: str) -> None:
    """Write one line of the audit log; ``subject`` is an id, never a secret."""
    connection.execute(
        audit.insert().values(
            at=database.now,
            tenant=caller.tenant,
            key=caller.key,
            action=action,
            subject=subject,
            request=caller.request,
        )
    )
