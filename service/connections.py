"""Connections on which no request comes to its end are closed, so that silence costs a stranger more than us.

uvicorn waits for ever for a connection's first request, and for the rest of one that was begun. What is no request at
all it refuses before any application hears of it, so the problem that tells of it is made here.
"""

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from imagery.errors import DepotwatchError
from service.problems import PROBLEM_JSON, problem


class NotHttp(DepotwatchError):
    """No HTTP request: a line or header that is malformed, or HTTP/1.1 without Host."""

    code = "bad-request"


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

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP as everything is refused; ``msg``, uvicorn's own, says less."""
        told = problem(400, NotHttp.code, "a line or header is malformed, or HTTP/1.1 comes without Host")
        body = json.dumps(told).encode()
        headers = [
            ("Content-Type", PROBLEM_JSON),
            ("Content-Length", str(len(body))),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ]
        answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

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
