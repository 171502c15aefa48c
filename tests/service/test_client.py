"""The client is patient with what passes and plain with what does not."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from service import client as client_module
from service import options
from service.cli import main
from service.client import Client, ServiceAway, ServiceRefused
from tests.service.support import free_port


class Clock:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def client_over(
    answers: Iterator[httpx.Response | Exception] | Callable[[httpx.Request], httpx.Response],
    clock: Clock,
    **more: Any,
) -> Client:
    def handle(request: httpx.Request) -> httpx.Response:
        if callable(answers):
            return answers(request)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Client(
        "http://service", "k", sleep=clock.sleep, clock=clock, transport=httpx.MockTransport(handle), **more
    )


def job(state: str) -> httpx.Response:
    return httpx.Response(200, json={"id": "j", "state": state, "units": {}}, headers={"Retry-After": "2"})


def test_wait_survives_limits_restarts_and_lost_connections() -> None:
    clock = Clock()
    answers: Iterator[httpx.Response | Exception] = iter(
        [
            httpx.Response(429, headers={"Retry-After": "7"}),
            httpx.ConnectError("refused"),
            httpx.Response(502),
            job("accepted"),
            httpx.ReadError("reset"),
            httpx.Response(503, headers={"Retry-After": "2"}),
            job("running"),
            job("successful"),
        ]
    )
    with client_over(answers, clock) as client:
        assert client.wait("j")["state"] == "successful"
    assert clock.slept[0] >= 7 * 0.75


def test_a_sleeping_machine_gets_one_more_try() -> None:
    clock = Clock()

    def answer(_request: httpx.Request) -> httpx.Response:
        if clock.now < 5_000:
            clock.now += 10_000  # the lid was closed while waiting for the answer
            return job("running")
        return job("successful")

    with client_over(answer, clock) as client:
        assert client.wait("j")["state"] == "successful"


def test_patience_ends() -> None:
    clock = Clock()
    with client_over(lambda _r: httpx.Response(503), clock) as client, pytest.raises(ServiceAway):
        client.job("j")
    assert 60 < sum(clock.slept) <= 150


def test_a_refusal_is_told_with_its_code_and_not_repeated() -> None:
    clock = Clock()
    body = {"code": "name-taken", "detail": "taken", "errors": [{"pointer": "/properties/name"}]}
    answers = iter([httpx.Response(409, json=body)])
    with client_over(answers, clock) as client, pytest.raises(ServiceRefused) as raised:
        client.add_site("x", {})
    assert (raised.value.code, raised.value.status, raised.value.pointer) == (
        "name-taken",
        409,
        "/properties/name",
    )
    assert clock.slept == []


def test_another_service_is_recognised_as_such() -> None:
    with (
        client_over(iter([httpx.Response(404, text="nginx")]), Clock()) as client,
        pytest.raises(ServiceRefused, match="depotwatch service"),
    ):
        client.job("j")


def test_a_repeated_post_carries_the_same_idempotency_key() -> None:
    keys = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        return httpx.Response(503) if len(keys) < 3 else httpx.Response(202, json={"id": "j"})

    with client_over(answer, Clock()) as client:
        assert client.submit("all") == "j"
        client.submit("all")
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


def test_a_post_whose_first_try_is_still_being_answered_is_waited_for() -> None:
    clock = Clock()
    running = {"code": "idempotency-in-flight", "detail": "still being answered"}
    answers = iter(
        [
            httpx.ReadTimeout("slow"),
            httpx.Response(409, json=running, headers={"Retry-After": "2"}),
            httpx.Response(202, json={"id": "j"}),
        ]
    )
    with client_over(answers, clock) as client:
        assert client.submit("all") == "j"
    assert clock.slept[1] >= 2 * 0.75


def test_the_wait_can_be_limited() -> None:
    clock = Clock()
    with client_over(lambda _r: job("running"), clock) as client, pytest.raises(TimeoutError):
        client.wait("j", timeout_s=30)
    assert clock.now < 1_040


def test_the_key_is_sent_and_redirects_are_not_followed() -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, request.headers["authorization"]))
        return httpx.Response(302, headers={"Location": "http://elsewhere/"})

    with client_over(answer, Clock()) as client:
        client.request("GET", "/")
    assert seen == [("service", "Bearer k")]


def refused(_request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("[Errno 111] Connection refused")


@pytest.mark.parametrize("answer", [refused, lambda _r: httpx.Response(502)])
def test_an_address_that_never_answered_is_given_up_soon_and_told_of(
    answer: Callable[[httpx.Request], httpx.Response],
) -> None:
    clock, said = Clock(), list[str]()
    with (
        client_over(answer, clock, first_s=20.0, notice=said.append) as client,
        pytest.raises(ServiceAway, match="no answer from the service at http://service for 20 s"),
    ):
        client.job("j")
    assert 10 < sum(clock.slept) <= 22
    (sentence,) = said
    assert "does not answer" in sentence
    assert " s more" in sentence


def test_a_service_that_answered_once_is_waited_for_through_a_restart() -> None:
    clock, said = Clock(), list[str]()
    down = (clock.now + 5, clock.now + 100)

    def answer(request: httpx.Request) -> httpx.Response:
        if down[0] < clock.now < down[1]:
            return refused(request)
        return job("running" if clock.now < down[1] else "successful")

    with client_over(answer, clock, first_s=20.0, notice=said.append) as client:
        assert client.wait("j")["state"] == "successful"
    assert clock.now >= down[1]
    assert len(said) == 1


def test_a_limit_is_an_answer() -> None:
    clock = Clock()

    def answer(_request: httpx.Request) -> httpx.Response:
        return job("successful") if clock.now > 1_060 else httpx.Response(429, headers={"Retry-After": "9"})

    with client_over(answer, clock, first_s=20.0) as client:
        assert client.job("j")["state"] == "successful"


def test_a_first_answer_that_does_not_come_is_told_of_while_it_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "SILENT_S", 0.02)
    said: list[str] = []

    def answer(_request: httpx.Request) -> httpx.Response:
        until = time.monotonic() + 20
        while not said and time.monotonic() < until:
            time.sleep(0.01)
        return job("successful")

    with client_over(answer, Clock(), first_s=20.0, notice=said.append) as client:
        client.job("j")
        assert len(said) == 1
        assert "has not answered yet; waiting 20 s more" in said[0]
        client.job("j")
    assert len(said) == 1


def test_a_remote_command_says_that_nothing_answers_and_gives_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client_module, "SILENT_S", 0.2)
    monkeypatch.setattr(options, "FIRST_ANSWER_S", 1.6)
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["site", "list", "--url", url]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    waits, gives_up = said.err.splitlines()
    assert waits.startswith(f"depotwatch: the service at {url} ")
    assert gives_up.startswith(
        f"depotwatch site: service-away: no answer from the service at {url} for 1.6 s (ConnectError"
    )


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost:8000", "ftp://depot", "http://[::1"])
def test_an_address_that_can_be_none_is_refused_at_once(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert main(["digest", "--url", url]) == 2
    assert time.monotonic() - began < 10
    (line,) = capsys.readouterr().err.splitlines()
    assert "http://HOST:PORT" in line


@pytest.mark.parametrize("key", ["dw_geheim_1\ndw_geheim_2", "dw_geheim_é", "dw_geheim dw"])
def test_a_key_that_can_be_none_is_refused_and_not_printed(
    key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEPOTWATCH_KEY", key)
    assert main(["site", "list", "--url", f"http://127.0.0.1:{free_port()}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "DEPOTWATCH_KEY" in line
    assert "geheim" not in line


def test_white_space_around_a_key_is_none_of_it() -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return job("successful")

    with Client("http://service", " k\r\n", transport=httpx.MockTransport(answer)) as client:
        client.job("j")
    assert seen == ["Bearer k"]
