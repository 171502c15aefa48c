"""Polls are answered in rounds: the same answers as the slow way, to the same people."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text, update
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from service.api import quick
from service.api.quick import Quick
from service.app import build_app
from service.context import Service
from service.errors import NotAvailable, TooManyRequests, Unauthorised
from service.feed import page_after
from service.identifiers import encode_cursor
from service.keys import SCOPES, create_key, list_keys, pepper, revoke_key
from service.tables import keys
from tests.service.support import client_of, feature, work_off


def slow_app(service: Service) -> FastAPI:
    """The application without the layer under test."""
    app = build_app(service)
    app.user_middleware = [layer for layer in app.user_middleware if getattr(layer, "cls", None) is not Quick]
    return app


def spied(app: FastAPI) -> list[str]:
    """Note which paths get past the quick layer."""
    passed: list[str] = []

    class Spy:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            passed.append(scope["path"])
            await self._inner(scope, receive, send)

    app.middleware_stack = None
    where = next(i for i, layer in enumerate(app.user_middleware) if getattr(layer, "cls", None) is Quick)
    app.user_middleware.insert(where + 1, Middleware(Spy))
    return passed


def with_report(service: Service) -> tuple[TestClient, str, str]:
    """A client, its site with a report, and the feed's last cursor."""
    client = client_of(service)
    site = client.post("/sites", json=feature("Yard")).json()["id"]
    work_off(service)
    cursor = client.get("/changes").json()["cursor"]
    return client, site, cursor


def polls(site: str, cursor: str, etag: str, feed_tag: str) -> list[tuple[str, dict[str, str]]]:
    """What pollers, careless ones too, may send."""
    latest, feed = f"/sites/{site}/reports/latest", f"/changes?since={cursor}"
    return [
        (latest, {"If-None-Match": etag}),
        (latest, {"If-None-Match": f'W/{etag}, "x"'}),
        (latest, {"If-None-Match": "*"}),
        (latest, {"If-None-Match": '"older"'}),
        (latest, {}),
        (f"{latest}?a=b", {"If-None-Match": etag}),
        (f"/sites/site-{'0' * 32}/reports/latest", {"If-None-Match": etag}),
        ("/sites/%F0%9F%8F%97/reports/latest", {"If-None-Match": etag}),
        ("/sites//reports/latest", {"If-None-Match": etag}),
        (feed, {}),
        (feed, {"If-None-Match": feed_tag}),
        (f"{feed}&limit=2", {}),
        (f"{feed}&limit=999999", {}),
        (f"{feed}&limit=0", {}),
        (f"{feed}&limit=many", {}),
        (f"{feed}&limit=1&limit=2", {}),
        (f"{feed}&other=1", {}),
        ("/changes?since=", {}),
        ("/changes?since=nonsense", {}),
        ("/changes?since=%00", {}),
        ("/changes?since=WyJmZWVkIiwgMF0", {}),
        (f"/changes?since={encode_cursor('feed', 0)}&limit=2", {}),
        (f"/changes?since={encode_cursor('feed', -(10**30))}", {}),
        (f"/changes?since={encode_cursor('feed', 10**9)}", {}),
        (f"/changes?since={encode_cursor('report-1', 1)}", {}),
        ("/changes", {}),
    ]


def shown(answer: Any) -> tuple[Any, ...]:
    varying = {"x-request-id"}
    headers = {name: value for name, value in answer.headers.items() if name not in varying}
    return answer.status_code, headers, answer.text


def test_every_poll_gets_the_answer_of_the_slow_way(service: Service) -> None:
    client, site, cursor = with_report(service)
    etag = client.get(f"/sites/{site}/reports/latest").headers["etag"]
    feed_tag = client.get(f"/changes?since={cursor}").headers["etag"]
    slow = TestClient(slow_app(service), base_url="http://127.0.0.1", raise_server_exceptions=False)
    reader = create_key(service.database, pepper(service.settings), "first", ["sites:read"])
    whose = [client.headers["authorization"], f"Bearer {reader}", "Bearer dw_x", "Bearer \x80", None]
    seen = set()
    for authorisation in whose:
        for path, headers in polls(site, cursor, etag, feed_tag):
            given = dict(headers)
            if authorisation is not None:
                given["Authorization"] = authorisation
            sent = {name.encode(): value.encode("latin-1") for name, value in given.items()}
            client.headers.pop("authorization", None)
            quick_answer, slow_answer = client.get(path, headers=sent), slow.get(path, headers=sent)
            assert shown(quick_answer) == shown(slow_answer), (path, authorisation)
            seen.add(quick_answer.status_code)
    assert seen == {200, 304, 400, 401, 403, 404}


def test_a_nul_in_a_path_is_nowhere(service: Service) -> None:
    client = client_of(service)
    for path in ("/sites/a%00b/reports/latest", "/sites/a%00", "/jobs/%00", "/changes/%00/provenance"):
        assert client.get(path, headers={"If-None-Match": "*"}).status_code == 404, path


def test_polls_that_find_nothing_new_do_not_reach_the_application(lite_service: Service) -> None:
    client, site, cursor = with_report(lite_service)
    etag = client.get(f"/sites/{site}/reports/latest").headers["etag"]
    app = client.app
    assert isinstance(app, FastAPI)
    passed = spied(app)
    assert client.get(f"/changes?since={cursor}").json()["entries"] == []
    assert client.get(f"/sites/{site}/reports/latest", headers={"If-None-Match": etag}).status_code == 304
    assert passed == []
    assert client.get("/changes").json()["entries"]
    assert passed == ["/changes"]


def test_news_are_read_and_written_out_once_for_all_who_wait_for_the_same(
    lite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _, _ = with_report(lite_service)
    start = encode_cursor("feed", 0)
    alone = client.get(f"/changes?since={start}&limit=2")
    stranger = client_of(lite_service, tenant="second")
    reads: list[tuple[str, int, int]] = []

    def counted(connection: Any, *which: Any) -> Any:
        reads.append(which)
        time.sleep(0.05)
        return page_after(connection, *which)

    monkeypatch.setattr(quick, "page_after", counted)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(client.get, f"/changes?since={start}&limit=2") for _ in range(40)]
        others = [pool.submit(stranger.get, f"/changes?since={start}&limit=2") for _ in range(3)]
    assert {one.result().text for one in asked} == {alone.text}
    assert all(one.result().json()["entries"] == [] for one in others)
    assert 0 < len(reads) < 20


def test_news_are_in_the_next_poll(service: Service) -> None:
    client, site, cursor = with_report(service)
    etag = client.get(f"/sites/{site}/reports/latest").headers["etag"]
    assert client.get(f"/changes?since={cursor}").json()["entries"] == []
    job = client.post("/jobs", json={"sites": [site], "parameters": {"min_confidence": 0.2}})
    assert job.status_code == 202
    work_off(service)
    assert client.get(f"/changes?since={cursor}").json()["entries"]
    assert client.get(f"/sites/{site}/reports/latest", headers={"If-None-Match": etag}).status_code == 200


def test_another_tenant_neither_sees_a_report_nor_learns_of_it(service: Service) -> None:
    client, site, cursor = with_report(service)
    etag = client.get(f"/sites/{site}/reports/latest").headers["etag"]
    stranger = client_of(service, tenant="second")
    for tag in (etag, "*"):
        answer = stranger.get(f"/sites/{site}/reports/latest", headers={"If-None-Match": tag})
        assert answer.status_code == 404
    assert stranger.get(f"/changes?since={cursor}").json()["code"] == "bad-cursor"
    assert stranger.get("/changes").json()["entries"] == []


def test_revocation_holds_with_the_next_poll(service: Service) -> None:
    client, site, cursor = with_report(service)
    etag = client.get(f"/sites/{site}/reports/latest").headers["etag"]
    assert client.get(f"/changes?since={cursor}").status_code == 200
    revoke_key(service.database, list_keys(service.database)[0].id)
    assert client.get(f"/changes?since={cursor}").status_code == 401
    assert client.get(f"/sites/{site}/reports/latest", headers={"If-None-Match": etag}).status_code == 401


def test_a_refusal_leaves_no_read_behind(lite_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    _, site, _ = with_report(lite_service)
    ended: list[str] = []
    read = Quick._read_heads

    def slowly(layer: Quick, wanted: Any) -> Any:
        time.sleep(0.3)
        found = read(layer, wanted)
        ended.append(site)
        return found

    monkeypatch.setattr(Quick, "_read_heads", slowly)
    poll = TestClient(build_app(lite_service), headers={"Authorization": "Bearer dw_x", "If-None-Match": "*"})
    assert poll.get(f"/sites/{site}/reports/latest").status_code == 401
    assert ended == [site]


def test_a_deleted_site_is_gone_with_the_next_poll(service: Service) -> None:
    client, site, _ = with_report(service)
    etag = client.get(f"/sites/{site}/reports/latest").headers["etag"]
    assert client.delete(f"/sites/{site}").status_code == 204
    gone = client.get(f"/sites/{site}/reports/latest", headers={"If-None-Match": etag})
    assert gone.status_code == 404


def admit_many(service: Service, bearers: list[str]) -> list[Any]:
    """Knock all at once; who came in, or why not."""

    async def knock() -> list[Any]:
        return await asyncio.gather(
            *(service.admission.admit(bearer, "") for bearer in bearers), return_exceptions=True
        )

    return asyncio.run(knock())


def test_a_crowd_gets_in_up_to_the_limit_and_not_beyond(service: Service) -> None:
    gate = service.gate
    gate._settings = service.settings.model_copy(update={"rate_per_s": 0.5, "rate_burst": 50.0})
    key = create_key(service.database, pepper(service.settings), "first", SCOPES, burst=50.0)
    other = create_key(service.database, pepper(service.settings), "second", SCOPES, burst=50.0)
    found = admit_many(service, [key] * 120 + [other] * 40)
    refused = [fault for fault in found if isinstance(fault, TooManyRequests)]
    assert 50 <= 120 - len(refused) <= 53
    assert all(not isinstance(fault, Exception) for fault in found[120:])
    assert all(0 < fault.retry_after_s <= 2.0 for fault in refused)


def test_one_bad_key_spoils_nothing_for_the_others(service: Service) -> None:
    key = create_key(service.database, pepper(service.settings), "first", SCOPES)
    bad = ["dw_\x00_x", "dw_\ud800_x", "dw_" + "0" * 16 + "_x", "x" * 5000, f"{key}x"]
    found = admit_many(service, [*bad, key] * 5)
    kinds = [type(one) for one in found]
    assert kinds == [*[Unauthorised] * len(bad), type(found[-1])] * 5
    assert found[-1].caller.scopes == set(SCOPES)


def test_knocks_of_a_crowd_share_their_reads(lite_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    key = create_key(lite_service.database, pepper(lite_service.settings), "first", SCOPES)
    reads: list[int] = []
    read = lite_service.gate.rows
    begun = threading.Event()

    def counted(wanted: Any) -> Any:
        begun.wait(0.02)
        reads.append(len(wanted))
        return read(wanted)

    monkeypatch.setattr(lite_service.admission._rows, "_look", counted)
    admit_many(lite_service, [key] * 300)
    assert sum(reads) == 300
    assert len(reads) < 10


def test_use_is_written_behind_the_answer_and_not_lost_at_the_end(service: Service) -> None:
    key = create_key(service.database, pepper(service.settings), "first", SCOPES)
    admit_many(service, [key])
    service.admission.close()
    assert list_keys(service.database)[0].last_used is not None


def test_a_key_that_ran_out_between_two_polls_is_out(service: Service) -> None:
    client, _, cursor = with_report(service)
    with service.database.write() as connection:
        connection.execute(update(keys).values(expires=service.database.now - 1))
    assert client.get(f"/changes?since={cursor}").status_code == 401


def test_a_database_that_is_away_is_a_503_for_pollers_too(
    lite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, site, cursor = with_report(lite_service)
    etag = client.get(f"/sites/{site}/reports/latest").headers["etag"]
    with lite_service.database.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1

    def away(*_: Any) -> Any:
        raise NotAvailable("the database does not answer: gone")

    monkeypatch.setattr(lite_service.admission._rows, "_look", away)
    for path, headers in (
        (f"/changes?since={cursor}", {}),
        (f"/sites/{site}/reports/latest", {"If-None-Match": etag}),
    ):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "not-available")
