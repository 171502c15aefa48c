"""HTTP as CONTRACT section 4 has it: problems everywhere, idempotency, preconditions, paging, limits."""

import base64
import json
import threading
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from benchmarks.service_fake import FakeRunner
from service.archives import add_archive
from service.context import Service
from service.identifiers import encode_cursor
from service.problems import PROBLEM_JSON
from service.tables import warnings
from service.watch import SILENT
from tests.service.support import client_of, feature, square, work_off


def is_problem(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM_JSON
    body = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    for fault in body["errors"] if status in {400, 422} else body.get("errors", []):
        assert fault.keys() == {"pointer", "code", "detail"}
    assert body["detail"]
    assert body["type"].endswith(code)


def test_every_fault_is_a_problem(lite_client: TestClient, lite_service: Service) -> None:
    c = lite_client
    is_problem(c.get("/nowhere"), 404, "not-found")
    is_problem(c.get("/sites/site-0"), 404, "not-found")
    is_problem(c.put("/sites", json={}), 405, "method-not-allowed")
    assert c.put("/sites", json={}).headers["allow"] == "GET, HEAD, POST"
    is_problem(
        c.post("/sites", content=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported-media-type"
    )
    is_problem(
        c.post("/jobs", content=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported-media-type"
    )
    is_problem(c.post("/sites", content=b"{", headers={"Content-Type": "application/json"}), 400, "bad-body")
    is_problem(c.post("/jobs", json={"sites": 3}), 422, "unusable-input")
    is_problem(c.post("/jobs", json={"sites": "all", "surprise": 1}), 422, "unusable-input")
    is_problem(c.post("/jobs", json={"sites": "all", "period": "yesterday/today"}), 400, "bad-query")
    is_problem(c.post("/jobs", json={"sites": "all", "type": "guess"}), 422, "unusable-input")
    is_problem(c.get("/sites", params={"limit": "many"}), 400, "bad-query")
    is_problem(c.get("/sites", params={"limit": 0}), 400, "bad-query")
    is_problem(c.get("/sites", params={"bbox": "1,2"}), 400, "bad-query")
    is_problem(c.get("/sites", params={"cursor": "nonsense"}), 400, "bad-cursor")
    is_problem(c.get("/changes", params={"since": "nonsense"}), 400, "bad-cursor")
    assert c.get("/changes", params={"since": "nonsense"}).json()["errors"][0]["pointer"] == "since"
    is_problem(c.post("/archives/none/scenes", content=b"x"), 404, "not-found")
    big = b'{"type":"Feature","x":"' + b"x" * lite_service.settings.max_body_bytes + b'"}'
    is_problem(c.post("/sites", content=big, headers={"Content-Type": "application/json"}), 413, "too-large")
    is_problem(c.patch("/sites/site-0", json={}), 404, "not-found")


def test_a_bug_is_a_500_problem_without_its_trace(lite_service: Service) -> None:
    client = client_of(lite_service)
    app = client.app
    assert isinstance(app, FastAPI)

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    answer = client.get("/broken", headers={"X-Request-ID": "find-me"})
    is_problem(answer, 500, "internal")
    assert "secret detail" not in answer.text
    assert "find-me" in answer.json()["detail"]
    assert answer.headers["connection"] == "close"


def test_a_database_that_is_away_is_503_with_retry_after(lite_service: Service) -> None:
    client = client_of(lite_service)
    lite_service.database.close()
    path = lite_service.settings.data / "depotwatch.db"
    path.rename(path.with_suffix(".gone"))
    path.mkdir()
    answer = client.get("/sites")
    is_problem(answer, 503, "not-available")
    assert answer.headers["retry-after"]
    is_problem(client.get("/readyz"), 503, "not-available")
    assert client.get("/healthz").status_code == 200


def test_the_same_key_and_body_give_the_same_site_once(service: Service, client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = client.post("/sites", json=feature("a"), headers=headers)
    again = client.post("/sites", json=feature("a"), headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["idempotency-replayed"] == "true"
    is_problem(client.post("/sites", json=feature("b"), headers=headers), 422, "idempotency-mismatch")
    assert len(client.get("/sites").json()["features"]) == 1
    other = client_of(service, tenant="second")
    assert other.post("/sites", json=feature("b"), headers=headers).status_code == 201


def test_a_failed_call_leaves_its_key_unused(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    client.post("/sites", json=feature("a"))
    is_problem(client.post("/sites", json=feature("a"), headers=headers), 409, "name-taken")
    assert client.post("/sites", json=feature("b"), headers=headers).status_code == 201


def test_the_same_key_at_the_same_time_makes_one_site(service: Service) -> None:
    clients = [client_of(service) for _ in range(6)]
    answers: list[Any] = []
    start = threading.Barrier(6)

    def post(client: TestClient) -> None:
        start.wait()
        answers.append(client.post("/sites", json=feature("a"), headers={"Idempotency-Key": "k"}))

    threads = [threading.Thread(target=post, args=(c,)) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = {a.json()["id"] for a in answers if a.status_code == 201}
    assert len(made) == 1
    assert {a.status_code for a in answers} <= {201, 409}
    assert all(a.json()["code"] == "idempotency-in-flight" for a in answers if a.status_code == 409)
    assert len(clients[0].get("/sites").json()["features"]) == 1


def test_one_job_per_key(client: TestClient) -> None:
    site = client.post("/sites", json=feature("a", analyse=False)).json()["id"]
    headers = {"Idempotency-Key": "k"}
    first = client.post("/jobs", json={"sites": [site]}, headers=headers)
    assert first.status_code == 202
    assert int(first.headers["retry-after"]) > 0
    again = client.post("/jobs", json={"sites": [site]}, headers=headers)
    assert again.json()["id"] == first.json()["id"]
    assert len(client.get("/jobs").json()["jobs"]) == 1


def test_an_idempotency_key_that_is_no_key_is_refused(lite_client: TestClient) -> None:
    answer = lite_client.post("/sites", json=feature("a"), headers={"Idempotency-Key": "x" * 300})
    is_problem(answer, 422, "bad-idempotency-key")


def test_sites_page_through_once_each(client: TestClient) -> None:
    many = {
        "type": "FeatureCollection",
        "features": [feature(f"s{i:02}", geometry=square(10 + i / 10)) for i in range(23)],
        "analyse": False,
    }
    made = client.post("/sites", json=many)
    assert made.status_code == 201
    assert made.json()["job"] is None
    seen: list[str] = []
    following: str | None = "/sites?limit=5"
    while following:
        page = client.get(following).json()
        assert len(page["features"]) <= 5
        seen += [f["properties"]["name"] for f in page["features"]]
        following = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert sorted(seen) == [f"s{i:02}" for i in range(23)]
    assert len(set(seen)) == 23
    found = client.get("/sites", params={"q": "S1"}).json()["features"]
    assert len(found) == 10
    boxed = client.get("/sites", params={"bbox": "10.95,49,11.15,51"}).json()["features"]
    assert {f["properties"]["name"] for f in boxed} == {"s10", "s11"}
    assert client.get("/sites", params={"q": "%"}).json()["features"] == []


def test_each_of_several_new_sites_is_changed_under_the_etag_it_came_with(client: TestClient) -> None:
    many = {"type": "FeatureCollection", "features": [feature("a"), feature("b")], "analyse": False}
    made = client.post("/sites", json=many)
    assert made.headers["etag"] not in {"", *(f["etag"] for f in made.json()["features"])}
    for one in made.json()["features"]:
        here = f"/sites/{one['id']}"
        assert client.get(here, headers={"If-None-Match": one["etag"]}).status_code == 304
        headers = {"If-Match": one["etag"]}
        assert client.patch(here, json={"properties": {"tag": 1}}, headers=headers).status_code == 200


def paged(client: TestClient, path: str, member: str, limit: int) -> list[Any]:
    """What a list holds, all its pages."""
    found: list[Any] = []
    following: str | None = f"{path}?limit={limit}"
    while following:
        answer = client.get(following)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert 0 < len(page[member]) <= limit
        found += page[member]
        following = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    return found


def test_short_lists_page_as_long_ones_do(service: Service, client: TestClient) -> None:
    with service.database.write() as connection:
        for name in ("b", "B", "a", "c", "-d"):
            add_archive(service.database, connection, name, "folder", f"/{name}", None)
    site = client.post("/sites", json=feature("a")).json()["id"]
    work_off(service)
    change = client.get("/changes").json()["entries"][0]["change"]
    for number in range(5):
        patch = {"geometry": square(10.0 + number)}
        client.patch(f"/sites/{site}", json=patch, headers={"If-Match": "*"})
        client.put(f"/changes/{change}/review", json={"verdict": "confirmed", "note": str(number)})
        client.post(f"/sites/{site}/feed-tokens", json={"note": str(number)})
    lists = {
        "/archives": ("archives", "name", ["-d", "B", "a", "b", "c"]),
        f"/changes/{change}/reviews": ("reviews", "note", ["4", "3", "2", "1", "0"]),
        f"/sites/{site}/geometries": ("geometries", "version", [1, 2, 3, 4, 5, 6]),
        f"/sites/{site}/feed-tokens": ("feed_tokens", "note", ["0", "1", "2", "3", "4"]),
    }
    for path, (member, name, whole) in lists.items():
        for limit in (1, 2, 5, 5_000):
            assert [one[name] for one in paged(client, path, member, limit)] == whole, path
        is_problem(client.get(path, params={"cursor": "nonsense"}), 400, "bad-cursor")
    first = client.get(f"/changes/{change}/reviews?limit=2").json()
    client.put(f"/changes/{change}/review", json={"verdict": "rejected", "note": "late"})
    second = client.get(next(link["href"] for link in first["links"] if link["rel"] == "next")).json()
    assert [one["note"] for one in second["reviews"]] == ["2", "1"]


HALF = r"\ud800"


@pytest.mark.parametrize("member", ["name", "note"])
def test_text_that_utf8_cannot_hold_is_refused_and_spoils_no_list(client: TestClient, member: str) -> None:
    site = client.post("/sites", json=feature("a", analyse=False))
    told = feature("b", note="b", analyse=False)
    told["properties"][member] = "X"
    body = json.dumps(told).replace('"X"', f'"{HALF}"').encode()
    json_type = {"Content-Type": "application/json"}
    for headers in (json_type, {**json_type, "Idempotency-Key": "k"}):
        is_problem(client.post("/sites", content=body, headers=headers), 400, "bad-body")
    here = f"/sites/{site.json()['id']}"
    patch = f'{{"properties":{{"{member}":"{HALF}"}}}}'.encode()
    is_problem(client.patch(here, content=patch, headers={**json_type, "If-Match": "*"}), 400, "bad-body")
    assert len(json.loads(client.get("/sites").content.decode())["features"]) == 1


def test_a_pair_of_surrogates_is_a_letter(client: TestClient) -> None:
    body = json.dumps(feature("\N{BUILDING CONSTRUCTION}", analyse=False)).encode()
    assert rb"\ud83c\udfd7" in body
    made = client.post("/sites", content=body, headers={"Content-Type": "application/json"})
    assert made.json()["properties"]["name"] == "\N{BUILDING CONSTRUCTION}"


@pytest.mark.parametrize("place", [[1.0, "\ud800"], [1.0, "a\0"], ["\ud800", 1], [], {"a": 1}])
def test_a_forged_cursor_is_a_400(client: TestClient, place: Any) -> None:
    forged = base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")
    site = client.post("/sites", json=feature("a")).json()["id"]
    for path in ("/sites", "/jobs", f"/sites/{site}/changes", f"/sites/{site}/looks", "/subscriptions"):
        answer = client.get(path, params={"cursor": forged})
        assert answer.status_code in {400, 404}, (path, answer.text)
        assert answer.json()["code"] in {"bad-cursor", "no-report-yet"}


@pytest.mark.parametrize("place", [["feed", 10**9], ["feed", -1], ["report-1", 0]])
def test_a_cursor_the_feed_never_gave_is_refused_not_believed(client: TestClient, place: Any) -> None:
    """One of another list, or from before an older backup was restored, would pass news over in silence."""
    for path in (
        f"/changes?since={encode_cursor(*place)}",
        f"/changes?limit=5&since={encode_cursor(*place)}",
    ):
        is_problem(client.get(path), 400, "bad-cursor")
    last = client.get("/changes").json()["cursor"]
    assert client.get("/changes", params={"since": last}).json()["cursor"] == last


def test_jobs_page_newest_first(client: TestClient) -> None:
    site = client.post("/sites", json=feature("a", analyse=False)).json()["id"]
    made = [client.post("/jobs", json={"sites": [site]}).json()["id"] for _ in range(5)]
    page = client.get("/jobs", params={"limit": 3}).json()
    rest = client.get(next(link["href"] for link in page["links"] if link["rel"] == "next")).json()
    assert [j["id"] for j in page["jobs"] + rest["jobs"]] == made[::-1]
    assert client.get("/jobs", params={"state": "failed"}).json()["jobs"] == []


def test_a_job_over_nothing_has_ended(lite_client: TestClient) -> None:
    job = lite_client.post("/jobs", json={"sites": "all"}).json()
    assert (job["state"], job["progress"]) == ("successful", 100.0)


def test_a_patch_merges_properties_and_null_removes(client: TestClient) -> None:
    site = client.post("/sites", json=feature("a", owner="me", tag=1, analyse=False))
    here = f"/sites/{site.json()['id']}"
    changed = client.patch(
        here, json={"properties": {"owner": None, "tag": 2}}, headers={"If-Match": site.headers["etag"]}
    )
    assert changed.status_code == 200, changed.text
    assert "owner" not in changed.json()["properties"]
    assert changed.json()["properties"]["tag"] == 2
    assert client.get(here).headers["etag"] == changed.headers["etag"] != site.headers["etag"]
    assert client.get(here, headers={"If-None-Match": changed.headers["etag"]}).status_code == 304
    bad = client.patch(
        here, json={"geometry": {"type": "Point", "coordinates": [0, 0]}}, headers={"If-Match": "*"}
    )
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/geometry")
    echoed = client.get(here).json()
    same = client.patch(
        here,
        json={k: echoed[k] for k in ("type", "id", "geometry", "properties")},
        headers={"If-Match": changed.headers["etag"]},
    )
    assert same.headers["etag"] == changed.headers["etag"]


def test_a_sites_etag_tells_of_its_reports_and_warnings_and_lets_its_owner_change_it(
    service: Service, client: TestClient
) -> None:
    made = client.post("/sites", json=feature("a"))
    here = f"/sites/{made.json()['id']}"
    known = {"If-None-Match": made.headers["etag"]}
    assert client.get(here, headers=known).status_code == 304
    work_off(service)
    reported = client.get(here, headers=known)
    assert reported.status_code == 200
    assert reported.json()["properties"]["current_report"]
    with service.database.write() as connection:
        told = {"site": made.json()["id"], "code": SILENT, "detail": "quiet", "since": service.database.now}
        connection.execute(warnings.insert().values(**told))
    warned = client.get(here, headers={"If-None-Match": reported.headers["etag"]})
    assert warned.status_code == 200
    assert warned.json()["standing_warnings"][0]["code"] == SILENT
    first = {"If-Match": f'"other", {made.headers["etag"]}'}
    changed = client.patch(here, json={"properties": {"tag": 1}}, headers=first)
    assert changed.status_code == 200, changed.text
    assert changed.headers["etag"] == client.get(here).headers["etag"] != warned.headers["etag"]
    is_problem(client.patch(here, json={"properties": {"tag": 2}}, headers=first), 412, "precondition-failed")
    weak = {"If-Match": f"W/{changed.headers['etag']}"}
    is_problem(client.patch(here, json={"properties": {"tag": 2}}, headers=weak), 412, "precondition-failed")
    is_problem(client.delete(here, headers=first), 412, "precondition-failed")


def test_a_site_kept_to_some_archives_gets_all_of_them_back(client: TestClient) -> None:
    site = client.post("/sites", json=feature("a", archives=[], analyse=False))
    here = f"/sites/{site.json()['id']}"
    assert client.get(here).json()["properties"]["archives"] == []
    every = client.patch(here, json={"properties": {"archives": None}}, headers={"If-Match": "*"})
    assert every.json()["properties"]["archives"] is None
    kept = client.patch(here, json={"properties": {"tag": 1}}, headers={"If-Match": "*"})
    assert kept.json()["properties"]["archives"] is None


def test_a_dismissed_job_says_how_far_it_came(service: Service, client: TestClient) -> None:
    sites = [
        client.post("/sites", json=feature(name, analyse=False)).json()["id"] for name in ("a", "b", "c", "d")
    ]
    job = client.post("/jobs", json={"sites": sites}).json()["id"]
    work_off(service, limit=1)
    dismissed = client.delete(f"/jobs/{job}").json()
    assert (dismissed["state"], dismissed["progress"]) == ("dismissed", 25.0)
    assert dismissed["units"]["done"] == 1


def test_head_answers_as_get_without_a_body(client: TestClient) -> None:
    get, head = client.get("/sites"), client.head("/sites")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]


def test_a_request_id_is_kept_and_a_bad_one_replaced(lite_client: TestClient) -> None:
    assert lite_client.get("/", headers={"X-Request-ID": "a-1"}).headers["x-request-id"] == "a-1"
    assert lite_client.get("/", headers={"X-Request-ID": "a b"}).headers["x-request-id"] != "a b"


def test_reprocessing_makes_a_report_that_is_not_current(service: Service, client: TestClient) -> None:
    site = client.post("/sites", json=feature("a")).json()
    work_off(service)
    before = client.get(f"/sites/{site['id']}/reports/latest")
    client.post("/jobs", json={"type": "reprocess", "sites": "all", "parameters": {"min_confidence": 0.9}})
    work_off(service)
    listed = client.get(f"/sites/{site['id']}/reports").json()["reports"]
    assert [(r["number"], r["current"]) for r in listed] == [(2, False), (1, True)]
    assert client.get(f"/sites/{site['id']}/reports/latest").content == before.content
    assert len(client.get("/changes").json()["entries"]) == 3


def test_a_list_of_reports_is_asked_for_by_etag_and_tells_when_it_changed(
    service: Service, client: TestClient
) -> None:
    site = client.post("/sites", json=feature("a")).json()["id"]
    here = f"/sites/{site}/reports"
    assert "last-modified" not in client.get(here).headers
    work_off(service)
    first = client.get(here)
    latest = client.get(f"{here}/latest")
    assert first.headers["last-modified"] == latest.headers["last-modified"]
    known = {"If-None-Match": first.headers["etag"]}
    same = client.get(here, headers=known)
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
    job = client.post("/jobs", json={"type": "reprocess", "sites": [site]}).json()["id"]
    work_off(service, FakeRunner(changes=5))
    second = client.get(here, headers=known)
    assert second.status_code == 200
    client.post(f"/jobs/{job}/promote")
    # The same two reports, and another of them is the current one.
    assert client.get(here, headers={"If-None-Match": second.headers["etag"]}).status_code == 200
    assert client.get(here, params={"limit": 1}).headers["etag"] != client.get(here).headers["etag"]


def test_the_landing_page_leads_everywhere(lite_client: TestClient) -> None:
    for link in lite_client.get("/").json()["links"]:
        answer = lite_client.get(link["href"])
        assert answer.status_code == 200, link
    spec = lite_client.get("/openapi.json").json()
    assert spec["openapi"].startswith("3.1")
    text = lite_client.get("/metrics").text
    assert "depotwatch_units" in text
    assert "depotwatch_http_request_duration_seconds_bucket" in text


def test_metrics_name_no_tenant_site_or_key(service: Service, client: TestClient) -> None:
    site = client.post("/sites", json=feature("Very secret place")).json()["id"]
    client.get(f"/sites/{site}")
    client.get("/sites/nonexistent-secret-path/thing")
    text = client.get("/metrics").text
    assert 'depotwatch_units{state="ready",type="analyse"} 1.0' in text
    for secret in ("secret", site, "first", "dw_"):
        assert secret not in text


def test_metrics_tell_a_reprocess_from_live_work(lite_client: TestClient) -> None:
    for name in ("one", "two"):
        lite_client.post("/sites", json=feature(name))
    lite_client.post("/jobs", json={"type": "reprocess", "sites": "all"})
    text = lite_client.get("/metrics").text
    for kind, count, told in (("units", 2, "analyse"), ("units", 2, "reprocess"), ("jobs", 1, "reprocess")):
        state = "ready" if kind == "units" else "accepted"
        assert f'depotwatch_{kind}{{state="{state}",type="{told}"}} {count}.0' in text


def test_openapi_refers_to_nothing_that_is_missing(lite_client: TestClient) -> None:
    spec = lite_client.get("/openapi.json").json()
    text = json.dumps(spec)
    for part in text.split('"$ref": "#/components/schemas/')[1:]:
        assert part.partition('"')[0] in spec["components"]["schemas"]
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            assert "default" in operation["responses"], (method, path)


@pytest.mark.parametrize("bbox", ["170,-20,-170,20", "-180,-90,180,90"])
def test_a_box_may_cross_the_antimeridian(lite_client: TestClient, bbox: str) -> None:
    lite_client.post("/sites", json=feature("east", geometry=square(175.0, 10.0), analyse=False))
    lite_client.post("/sites", json=feature("west", geometry=square(-175.0, 10.0), analyse=False))
    found = lite_client.get("/sites", params={"bbox": bbox}).json()["features"]
    assert len(found) == 2
