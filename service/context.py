"""What one process of the service holds: database, artefacts, gate, settings. Built once, handed on."""

import asyncio
from dataclasses import dataclass

from service.admission import Admission, Admitted
from service.artefacts import ArtefactStore
from service.audit import Caller
from service.database import Database
from service.errors import Forbidden, Unauthorised
from service.idempotency import Replays
from service.keys import SCOPES, Gate, any_key, pepper
from service.settings import Settings
from service.tenancy import LOCAL, ensure_tenant


@dataclass(slots=True)
class Service:
    """The parts every route and command works with.

    ``open`` is for a loopback address on which no key was ever made: whoever reaches it is the local tenant.
    """

    settings: Settings
    database: Database
    store: ArtefactStore
    gate: Gate
    admission: Admission
    replays: Replays
    open: bool = False
    local_tenant: str = ""

    async def admit(self, authorisation: str | None, request: str) -> Admitted:
        """Return who is asking.

        Raises
        ------
        Unauthorised, TooManyRequests
        """
        if authorisation is None:
            return Admitted(await asyncio.to_thread(self._admit_nobody, request), None)
        kind, _, token = authorisation.partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise Unauthorised("send the key as 'Authorization: Bearer KEY'")
        return await self.admission.admit(token.strip(), request)

    def _admit_nobody(self, request: str) -> Caller:
        if not self.open or any_key(self.database):
            raise Unauthorised("this call needs a key: 'Authorization: Bearer KEY'")
        if not self.local_tenant:
            with self.database.write() as connection:
                self.local_tenant = ensure_tenant(self.database, connection, LOCAL)
        return Caller(self.local_tenant, "local", frozenset(SCOPES), request)

    def close(self) -> None:
        """Write what is still to be written, and give connections back."""
        self.admission.close()
        self.database.close()


def require(caller: Caller, scope: str) -> None:
    """Raise ``Forbidden`` unless the caller's key has a scope; ``admin`` has all."""
    if scope not in caller.scopes and "admin" not in caller.scopes:
        raise Forbidden(f"this call needs a key with the scope {scope}")


def open_service(settings: Settings, *, is_open: bool = False) -> Service:
    """Connect to the database, bring its tables up to date, and build the parts."""
    database = Database(settings.database_url)
    database.migrate()
    gate = Gate(database, pepper(settings), settings)
    return Service(
        settings,
        database,
        ArtefactStore(settings.artefacts_place),
        gate,
        Admission(gate),
        Replays(database, settings.idempotency_s),
        is_open,
    )
