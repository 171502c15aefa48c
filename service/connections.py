"""Connections on which no request comes to its end are closed, so that silence costs a stranger more than us.

uvicorn waits for ever for a connection's first request, and for the rest of one that was begun.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class PromptProtocol(H11Protocol):
    """HTTP/1.1 whose request heads must arrive whole within ``head_s`` seconds; bodies are counted where they are read."""

    head_s = 30.0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Go on waiting unless a whole head has come; from the end of an answer on uvicorn counts idle seconds itself."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()


def prompt_within(seconds: float) -> type[PromptProtocol]:
    """Return the protocol with another patience."""
    return type("PromptProtocol", (PromptProtocol,), {"head_s": seconds})
