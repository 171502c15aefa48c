"""Who connects and says nothing, or a word at a time, is shown out; who asks is answered as long as he likes."""

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import uvicorn

from service.connections import NotHttp, prompt_within
from service.problems import PROBLEM_JSON, status_of
from service.server import bind


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the size of the body, after as long as the path says."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await asyncio.sleep(float(scope["path"][1:] or 0))
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listening = bind("127.0.0.1", 0)
    config = uvicorn.Config(
        answering, http=prompt_within(0.4), lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    running = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    running.start()
    yield int(listening.getsockname()[1])
    server.should_exit = True
    running.join(10)


def closed_after(connection: socket.socket, wait_s: float = 5.0) -> float:
    """Return after how many seconds the other side hung up, whatever it said before."""
    begun = time.monotonic()
    connection.settimeout(wait_s)
    while connection.recv(65_536):
        pass
    return time.monotonic() - begun


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: "])
def test_a_request_that_is_never_finished_is_given_up(port: int, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(said)
        assert 0.2 < closed_after(connection) < 4


def test_a_word_at_a_time_buys_no_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        words = threading.Thread(target=dribble, args=(connection,))
        words.start()
        assert 0.2 < closed_after(connection) < 4
        words.join()


def dribble(connection: socket.socket) -> None:
    with suppress(OSError):
        for _ in range(100):
            connection.sendall(b"X-A: b\r\n")
            time.sleep(0.05)


def test_a_second_request_must_come_whole_too(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200 OK" in connection.recv(65_536)
        connection.sendall(b"GET / HT")
        assert 0.2 < closed_after(connection) < 4


def test_an_answer_may_take_longer_and_the_connection_is_kept(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for path in ("/0", "/1", "/0.6"):
            answer = client.post(path, content=b"x" * 100_000)
            assert (answer.status_code, answer.text) == (200, "100000")
            time.sleep(0.6)
        assert len(client._transport._pool.connections) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_problem_like_any_other(port: int, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(said)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        told = json.loads(answer.read())
        assert connection.recv(1) == b""
    assert (answer.status, answer.headers["content-type"]) == (400, PROBLEM_JSON)
    assert (told["status"], told["code"], told["type"]) == (
        400,
        "bad-request",
        "urn:depotwatch:error:bad-request",
    )
    assert told["errors"] == [{"pointer": "", "code": told["code"], "detail": told["detail"]}]
    assert status_of(NotHttp(told["detail"])) == answer.status
