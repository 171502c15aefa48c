"""Who is asking, for a crowd: keys are read, refilled and noted for many requests at once.

What a request waits for is one read that others share. Handfuls of the rate limit are fetched before they run out, and
the time of last use is written behind the answer.
"""

import asyncio
from dataclasses import dataclass

from service.audit import Caller
from service.database import Record
from service.keys import Gate
from service.rounds import Rounds


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who is asking, and the number of the last news their tenant has; None where no key was given."""

    caller: Caller
    feed_seq: int | None


class Admission:
    """The gate, for one process's event loops."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._rows: Rounds[str, Record | None] = Rounds(gate.rows, "keys-read")
        self._refills: Rounds[str, float] = Rounds(gate.refill, "keys-refill")
        self._uses: Rounds[str, None] = Rounds(gate.note_use, "keys-use")

    async def admit(self, bearer: str, request: str) -> Admitted:
        """Return who is behind a bearer token, one request poorer.

        Raises
        ------
        Unauthorised : no such key, revoked or expired
        TooManyRequests : the bucket is empty
        """
        key, secret = self._gate.parse(bearer)
        row = await asyncio.wrap_future(self._rows.ask(key))
        caller = self._gate.judge(row, secret, request)
        assert row is not None
        await self._draw(key)
        if self._gate.refill_is_due(key):
            self._refills.ask(key)
        if self._gate.use_is_due(key):
            self._uses.ask(key)
        return Admitted(caller, int(row.feed_seq))

    async def _draw(self, key: str) -> None:
        while not self._gate.draw(key):
            if (known_s := self._gate.wait_s(key)) > 0:
                raise self._gate.too_many(known_s)
            wait_s = await asyncio.wrap_future(self._refills.ask(key))
            if wait_s > 0:  # The bucket is empty now: what is in hand is all there is.
                if self._gate.draw(key):
                    return
                raise self._gate.too_many(wait_s)

    def close(self) -> None:
        """Write what is still to be written."""
        self._rows.close()
        self._refills.close()
        self._uses.close()
