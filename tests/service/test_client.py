"""The client is patient with what passes and plain with what does not."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from service.client import Client, ServiceAway, ServiceRefused


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
    answers: Iterator[httpx.Response | Exception] | Callable[[httpx.Request], httpx.Response], clock: Clock
) -> Client:
    def handle(request: httpx.Request) -> httpx.Response:
        if callable(answers):
            return answers(request)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Client(
        "http://service", "k", sleep=clock.sleep, clock=clock, transport=httpx.MockTransport(handle)
    )


def job(state: str) -> httpx.Response:
    return httpx.Response(200, json={"id": "j", "state": state, "units": {}}, headers={"Retry-After": "2"})


def test_wait_survives_limits_restarts_and_lost_connections() -> None:
    clock = Clock()
    answers = iter(
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
