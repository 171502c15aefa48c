"""Webhooks: signed so that Standard Webhooks' own library accepts them, delivered at least once, never led astray."""

import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.testclient import TestClient

from service.api.schemas import WEBHOOK_URL
from service.context import Service
from service.delivery import Deliveries, DeliveryRules, claim_attempt, clean_outbox, fill_outbox, settle
from service.errors import AddressRefused
from service.feed import News, publish
from service.keys import pepper
from service.tables import deliveries, delivery_attempts, subscriptions, tenants
from service.webhooks import Outcome, check_target, secret_of, send, sign
from tests.service.support import client_of, environment_of, feature, work_off

LOCAL = frozenset({"127.0.0.1"})
QUICK = DeliveryRules(waits_s=(0.0, 0.0, 0.0), jitter=0.0, timeout_s=2.0, lease_s=5.0, longest_pause_s=0.0)


class Receiver:
    """A receiver on loopback that notes what it is sent and answers as it is told to."""

    def __init__(self, answer: Callable[[Any], None] | int = 204) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                if callable(outer.answer):
                    outer.answer(self)
                else:
                    self.send_response(outer.answer)
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.answer = answer
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?a=b"

    @property
    def ids(self) -> list[str]:
        """Message ids in order of arrival."""
        return [headers["webhook-id"] for headers, _ in self.got]


@contextmanager
def receiving(answer: Callable[[Any], None] | int = 204) -> Iterator[Receiver]:
    """A receiver until the block ends."""
    made = Receiver(answer)
    threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with receiving() as made:
        yield made


def allowing(service: Service) -> Service:
    """The same service, allowed to send to loopback."""
    service.settings = service.settings.model_copy(update={"allow_hosts": "127.0.0.1"})
    return service


def subscribe(client: TestClient, url: str, **more: Any) -> dict[str, Any]:
    """A subscription as answered."""
    made = client.post("/subscriptions", json={"url": url, **more})
    assert made.status_code == 201, made.text
    body: dict[str, Any] = made.json()
    return body


def tell(service: Service, *changes: str, kind: str = "new", site: str = "s", report: str = "r") -> None:
    """Put news into the first tenant's feed."""
    with service.database.write() as connection:
        tenant = connection.execute(select(tenants.c.id).where(tenants.c.name == "first")).scalar_one()
        body = json.dumps({"type": "Feature"})
        publish(service.database, connection, tenant, [News(kind, site, report, c, body) for c in changes])


def deliver(service: Service, rules: DeliveryRules = QUICK, **more: Any) -> None:
    """One round of housekeeping."""
    Deliveries(service.database, pepper(service.settings), LOCAL, "tester", rules=rules, **more).run_due()


def state_of(service: Service, table: Any, column: str = "state") -> list[Any]:
    """A column of every row."""
    with service.database.read() as connection:
        return list(connection.execute(select(table.c[column]).order_by(table.c.id)).scalars())


def test_a_report_reaches_the_receiver_signed_as_the_library_wants_it(
    service: Service, receiver: Receiver
) -> None:
    client = client_of(allowing(service))
    made = subscribe(client, receiver.url)
    site = client.post("/sites", json=feature("a")).json()["id"]
    work_off(service)
    deliver(service)
    headers, body = receiver.got[0]
    told = Webhook(made["secret"]).verify(body, headers)
    assert told["type"] == "report.changes"
    assert told["data"]["site"] == site
    assert {entry["event"] for entry in told["data"]["entries"]} == {"new"}
    feed = client.get("/changes").json()["entries"]
    assert told["data"]["entries"] == feed
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(body + b" ", headers)
    old = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 600)}
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(body, old)
    deliver(service)
    assert len(receiver.got) == 1
    entry = client.get(f"/subscriptions/{made['id']}/deliveries").json()["deliveries"][0]
    assert (entry["state"], entry["status"], entry["attempts"]) == ("delivered", 204, 1)
    assert client.get(f"/subscriptions/{made['id']}").json()["last_success"]


def test_a_known_signature_by_another_implementation() -> None:
    # The example of the specification's reference library (standardwebhooks, Python, tests).
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    made = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_secret_is_shown_once_and_rotation_signs_with_both_for_a_day(
    service: Service, receiver: Receiver
) -> None:
    client = client_of(allowing(service))
    headers = {"Idempotency-Key": "k"}
    first = client.post("/subscriptions", json={"url": receiver.url}, headers=headers).json()
    again = client.post("/subscriptions", json={"url": receiver.url}, headers=headers).json()
    assert first["secret"] == again["secret"]
    assert "secret" not in client.get(f"/subscriptions/{first['id']}").json()
    assert "whsec_" not in json.dumps([client.get("/subscriptions").json(), *_all_rows(service)])
    second = client.post(f"/subscriptions/{first['id']}/secret").json()["secret"]
    assert second != first["secret"]
    client.post(f"/subscriptions/{first['id']}/test")
    deliver(service)
    headers, body = receiver.got[0]
    assert Webhook(first["secret"]).verify(body, headers) == Webhook(second).verify(body, headers)
    with service.database.write() as connection:
        connection.execute(update(subscriptions).values(rotated=service.database.now - 90_000))
    client.post(f"/subscriptions/{first['id']}/test")
    deliver(service)
    headers, body = receiver.got[1]
    Webhook(second).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(first["secret"]).verify(body, headers)


def test_a_secret_that_leaked_is_ended_at_once_by_rotating_twice(
    service: Service, receiver: Receiver
) -> None:
    client = client_of(allowing(service))
    made = subscribe(client, receiver.url)
    for _ in range(2):
        client.post(f"/subscriptions/{made['id']}/secret")
    client.post(f"/subscriptions/{made['id']}/test")
    deliver(service)
    headers, body = receiver.got[0]
    assert json.loads(body)["type"] == "test"
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(body, headers)


def _all_rows(service: Service) -> list[str]:
    from service.tables import metadata

    with service.database.read() as connection:
        return [str(row) for table in metadata.sorted_tables for row in connection.execute(select(table))]


def test_only_what_was_asked_for_is_sent_in_messages_of_one_report(
    service: Service, receiver: Receiver
) -> None:
    client = client_of(allowing(service))
    site = client.post("/sites", json=feature("a", analyse=False)).json()["id"]
    subscribe(client, receiver.url, kinds=["retracted"], sites=[site])
    tell(service, "a", "b", site=site)
    tell(service, "c", kind="retracted", site="elsewhere")
    tell(service, *(str(number) for number in range(230)), kind="retracted", site=site)
    deliver(service)
    sizes = sorted(len(json.loads(body)["data"]["entries"]) for _, body in receiver.got)
    assert sizes == [30, 100, 100]
    told = {e["change"] for _, body in receiver.got for e in json.loads(body)["data"]["entries"]}
    assert told == {str(number) for number in range(230)}


def test_what_was_known_before_is_not_sent_unless_asked_for(service: Service, receiver: Receiver) -> None:
    client = client_of(allowing(service))
    tell(service, "a")
    cursor = client.get("/changes").json()["cursor"]
    tell(service, "b")
    subscribe(client, receiver.url)
    subscribe(client, receiver.url, since=cursor)
    deliver(service)
    assert [e["change"] for _, body in receiver.got for e in json.loads(body)["data"]["entries"]] == ["b"]


def test_many_workers_fill_the_outbox_once_and_make_no_attempt_twice(
    service: Service, receiver: Receiver
) -> None:
    client = client_of(allowing(service))
    for _ in range(3):
        subscribe(client, receiver.url)
    for number in range(20):
        tell(service, f"c{number}", report=f"r{number}")
    faults: list[BaseException] = []

    def work(name: int) -> None:
        try:
            rounds = Deliveries(service.database, pepper(service.settings), LOCAL, f"w{name}", rules=QUICK)
            for _ in range(3):
                rounds.run_due()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(receiver.ids) == len(set(receiver.ids)) == 60
    assert set(state_of(service, deliveries)) == {"delivered"}


def test_a_killed_worker_s_message_is_sent_again_under_the_same_id(
    service: Service, receiver: Receiver
) -> None:
    client = client_of(allowing(service))
    subscribe(client, receiver.url)
    tell(service, "a")
    fill_outbox(service.database)
    lost = claim_attempt(service.database, "killed", QUICK)
    assert lost is not None
    assert claim_attempt(service.database, "other", QUICK) is None
    with service.database.write() as connection:
        connection.execute(update(subscriptions).values(lease_until=0.0))
    deliver(service)
    assert receiver.ids == [lost.delivery]
    # The killed one comes back to life: its word counts no more.
    assert not settle(service.database, lost, Outcome(500, "HTTP 500"), QUICK, random.Random(1))
    assert state_of(service, deliveries) == ["delivered"]
    with service.database.read() as connection:
        rows = connection.execute(select(delivery_attempts).order_by(delivery_attempts.c.number)).all()
    assert [(row.number, row.status, row.ended is None) for row in rows] == [
        (1, None, True),
        (2, 204, False),
    ]


def test_a_failing_receiver_is_tried_again_and_in_the_end_disabled_with_the_reason(
    service: Service,
) -> None:
    client = client_of(allowing(service))
    with receiving(500) as receiver:
        made = subscribe(client, receiver.url)
        tell(service, "a")
        for _ in range(6):
            deliver(service)
        assert len(receiver.got) == len(QUICK.waits_s) + 1
        assert len(set(receiver.ids)) == 1
        shown = client.get(f"/subscriptions/{made['id']}").json()
        assert shown["state"] == "disabled"
        assert "nothing got through" in shown["reason"]
        assert "HTTP 500" in shown["reason"]
        tell(service, "b")
        receiver.answer = 204
        deliver(service)
        assert len(receiver.got) == 4
        assert client.patch(f"/subscriptions/{made['id']}", json={"state": "active"}).status_code == 200
        deliver(service)
        last = json.loads(receiver.got[-1][1])
        assert [e["change"] for e in last["data"]["entries"]] == ["b"]
        failed = client.get(f"/subscriptions/{made['id']}/deliveries", params={"state": "failed"}).json()
        lost = failed["deliveries"][0]["id"]
        again = client.post(f"/subscriptions/{made['id']}/deliveries/{lost}/redeliver")
        assert again.status_code == 202
        deliver(service)
        assert receiver.ids[-1] == lost
        told = client.get(f"/subscriptions/{made['id']}/deliveries/{lost}").json()
        assert [entry["status"] for entry in told["log"]] == [500, 500, 500, 500, 204]
        assert told["message"]["type"] == "report.changes"


def test_waits_grow_to_days_with_jitter_and_the_receiver_may_ask_for_longer(service: Service) -> None:
    client = client_of(allowing(service))
    subscribe(client, "http://127.0.0.1:9/x")
    tell(service, "a")
    fill_outbox(service.database)
    rules = DeliveryRules()
    chance = random.Random(4)
    waits = []
    for number in range(len(rules.waits_s)):
        with service.database.write() as connection:
            connection.execute(update(subscriptions).values(not_before=0.0))
            connection.execute(update(deliveries).values(not_before=0.0))
        attempt = claim_attempt(service.database, "w", rules)
        assert attempt is not None
        assert attempt.number == number + 1
        asked = Outcome(503, "HTTP 503", 600.0 if number == 0 else 0.0)
        assert settle(service.database, attempt, asked, rules, chance)
        waits.append(state_of(service, deliveries, "not_before")[0] - attempt.at)
    assert waits[0] == pytest.approx(600.0, abs=5)
    for wait, planned in zip(waits[1:], rules.waits_s[1:], strict=True):
        assert 0.8 * planned - 1 <= wait <= 1.2 * planned + 5
    assert len({round(w / p, 3) for w, p in zip(waits[1:], rules.waits_s[1:], strict=True)}) > 4
    assert sum(rules.waits_s) > 3 * 86_400


def test_gone_disables_at_once(service: Service) -> None:
    client = client_of(allowing(service))
    with receiving(410) as receiver:
        made = subscribe(client, receiver.url)
        tell(service, "a")
        deliver(service)
        deliver(service)
        assert len(receiver.got) == 1
    shown = client.get(f"/subscriptions/{made['id']}").json()
    assert (shown["state"], shown["reason"]) == ("disabled", "the receiver answered 410 Gone")


def test_one_poisonous_message_does_not_hold_up_the_others(service: Service) -> None:
    def picky(request: Any) -> None:
        poison = b'"change":"poison"' in receiver.got[-1][1]
        request.send_response(500 if poison else 200)
        request.end_headers()

    client = client_of(allowing(service))
    with receiving(picky) as receiver:
        made = subscribe(client, receiver.url)
        tell(service, "poison", report="r1")
        tell(service, "a", report="r2")
        for _ in range(5):
            deliver(service, DeliveryRules(waits_s=(0.0, 3600.0), lease_s=5.0, longest_pause_s=0.0))
        shown = client.get(f"/subscriptions/{made['id']}").json()
        states = {d["state"] for d in client.get(f"/subscriptions/{made['id']}/deliveries").json()["deliveries"]}  # fmt: skip
    assert shown["state"] == "active"
    assert states == {"waiting", "delivered"}


def _forever(request: Any) -> None:
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b"x" * 65_536)
    except OSError:
        pass


def _dripping(request: Any) -> None:
    try:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            request.wfile.write(b"X-Drip: 1\r\n")
            request.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass


def _endless_header(request: Any) -> None:
    try:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            request.wfile.write(b"x" * 65_536)
    except OSError:
        pass


def _redirecting(request: Any) -> None:
    request.send_response(302)
    request.send_header("Location", "http://127.0.0.1:9/secret")
    request.end_headers()


@pytest.mark.parametrize(
    ("answer", "delivered", "said"),
    [
        (_forever, True, "HTTP 200"),
        (_dripping, False, "no answer"),
        (_endless_header, False, "no answer"),
        (_redirecting, False, "redirects are not followed"),
        (500, False, "HTTP 500"),
    ],
)
def test_whatever_a_receiver_does_an_attempt_ends_soon(answer: Any, delivered: bool, said: str) -> None:
    with receiving(answer) as receiver:
        started = time.monotonic()
        outcome = send(receiver.url, {"webhook-id": "m"}, b"{}", LOCAL, timeout_s=1.0)
        assert time.monotonic() - started < 4.0
    assert outcome.delivered is delivered
    assert said in outcome.detail


def test_nobody_there_is_an_outcome() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    outcome = send(f"http://127.0.0.1:{port}/", {}, b"{}", LOCAL, timeout_s=1.0)
    assert outcome == Outcome(None, "no answer: ConnectionRefusedError")


def test_a_name_that_changes_its_mind_is_judged_at_every_attempt() -> None:
    with receiving() as receiver:
        port = receiver.server.server_address[1]
        private = send(
            f"https://rebinding.example:{port}/", {}, b"{}", frozenset(), timeout_s=1.0,
            resolver=lambda _host, _port: ["127.0.0.1"],
        )  # fmt: skip
        assert private.status is None
        assert private.detail.startswith("address-refused")
        # The connection goes to the address that was judged, not to what the name leads to by then.
        judged = send(
            f"http://pinned.example:{port}/", {}, b"{}", frozenset({"pinned.example"}), timeout_s=1.0,
            resolver=lambda _host, _port: ["127.0.0.1"],
        )  # fmt: skip
        assert judged.delivered
        assert receiver.got[0][0]["host"] == f"pinned.example:{port}"


def test_a_host_whose_first_address_is_dead_is_reached_at_the_next() -> None:
    with receiving() as receiver:
        port = receiver.server.server_address[1]
        outcome = send(
            f"http://two.example:{port}/", {}, b"{}", frozenset({"two.example"}), timeout_s=2.0,
            resolver=lambda _host, _port: ["127.0.0.9", "127.0.0.1"],
        )  # fmt: skip
    assert outcome == Outcome(204, "HTTP 204")


def test_a_receiver_that_cannot_prove_its_name_is_told_nothing(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=own.example", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with receiving() as receiver:
        plain = receiver.server.socket
        receiver.server.socket = context.wrap_socket(plain, server_side=True)
        port = receiver.server.server_address[1]
        outcome = send(
            f"https://own.example:{port}/", {}, b"{}", frozenset({"own.example"}), timeout_s=2.0,
            resolver=lambda _host, _port: ["127.0.0.1"],
        )  # fmt: skip
    assert outcome == Outcome(None, "no answer: SSLCertVerificationError")
    assert receiver.got == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest",
        "https://2130706433/",
        "https://user:secret@192.0.2.1/",
        "http://93.184.216.34/",
    ],
)
def test_private_places_and_plain_http_are_refused_when_subscribing(
    lite_client: TestClient, url: str
) -> None:
    answer = lite_client.post("/subscriptions", json={"url": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "address-refused")
    assert answer.json()["errors"][0]["pointer"] == "/url"


def test_what_could_break_the_request_line_is_no_url() -> None:
    import re

    for url in ("https://a.example/\r\nX: y", "https://a.example/a b", "https://a.example/ü", "ftp://a"):
        assert not re.fullmatch(WEBHOOK_URL.strip("^$"), url)
    with pytest.raises(AddressRefused):
        check_target("https://broken.example:99999/", frozenset())


def test_a_paused_subscription_loses_nothing(service: Service, receiver: Receiver) -> None:
    client = client_of(allowing(service))
    made = subscribe(client, receiver.url)
    client.patch(f"/subscriptions/{made['id']}", json={"state": "paused"})
    tell(service, "a")
    deliver(service)
    assert receiver.got == []
    shown = client.patch(f"/subscriptions/{made['id']}", json={"state": "active"}).json()
    assert (shown["state"], shown["reason"]) == ("active", None)
    deliver(service)
    assert len(receiver.got) == 1
    assert client.delete(f"/subscriptions/{made['id']}").status_code == 204
    assert client.get(f"/subscriptions/{made['id']}").status_code == 404
    assert state_of(service, deliveries) == []


def test_deliveries_page_newest_first_and_old_ones_are_forgotten(
    service: Service, receiver: Receiver
) -> None:
    client = client_of(allowing(service))
    made = subscribe(client, receiver.url)
    here = f"/subscriptions/{made['id']}"
    for _ in range(3):
        assert client.post(f"{here}/test").status_code == 202
    deliver(service)
    page = client.get(f"{here}/deliveries", params={"limit": 2}).json()
    following = next(link["href"] for link in page["links"] if link["rel"] == "next")
    rest = client.get(following).json()["deliveries"]
    times = [entry["created"] for entry in page["deliveries"] + rest]
    assert len(times) == 3
    assert times == sorted(times, reverse=True)
    with service.database.write() as connection:
        connection.execute(update(deliveries).values(finished=service.database.now - 31 * 86_400))
    clean_outbox(service.database, DeliveryRules())
    assert client.get(f"{here}/deliveries").json()["deliveries"] == []


def test_sending_reports_away_needs_the_right_to_read_them(lite_service: Service) -> None:
    blind = client_of(allowing(lite_service), "sites:write")
    answer = blind.post("/subscriptions", json={"url": "http://127.0.0.1:9/"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_sites_that_are_not_yours_cannot_be_asked_for(lite_service: Service) -> None:
    client = client_of(allowing(lite_service))
    answer = client.post("/subscriptions", json={"url": "http://127.0.0.1:9/", "sites": ["site-x"]})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/sites/0")


def test_a_tenant_has_only_so_many_subscriptions(
    lite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.subscriptions.MOST_PER_TENANT", 1)
    client = client_of(allowing(lite_service))
    subscribe(client, "http://127.0.0.1:9/")
    assert client.post("/subscriptions", json={"url": "http://127.0.0.1:9/"}).status_code == 409


def test_secrets_differ_by_service_subscription_and_version() -> None:
    made = {secret_of(key, sub, n) for key in (b"a", b"b") for sub in ("x", "y") for n in (1, 2)}
    assert len(made) == 8


@pytest.mark.long
def test_worker_processes_deliver_and_one_killed_in_the_middle_loses_nothing(
    service: Service,
) -> None:
    slow = threading.Event()

    def slowly(request: Any) -> None:
        if not slow.is_set():
            slow.wait(5)
        request.send_response(200)
        request.end_headers()

    settings = allowing(service).settings
    client = client_of(service)
    command = [sys.executable, "-m", "benchmarks.service_fake"]
    environment = environment_of(settings)
    with receiving(slowly) as receiver:
        made = subscribe(client, receiver.url)
        tell(service, "a")
        first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        _until(lambda: bool(receiver.got))
        first.kill()
        first.wait()
        slow.set()
        with service.database.write() as connection:  # instead of waiting a minute for the lease to run out
            connection.execute(update(subscriptions).values(lease_until=0.0))
        second = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            here = f"/subscriptions/{made['id']}/deliveries"
            _until(lambda: client.get(here).json()["deliveries"][0]["state"] == "delivered")
        finally:
            second.terminate()
            second.wait(20)
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


def _until(done: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)
