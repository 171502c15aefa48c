"""A user's first day: a site in, a job watched, a report polled, a change looked at and reviewed; on both databases."""

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from benchmarks.service_fake import FakeRunner
from pipelines.archives.errors import DownloadFailed
from service.context import Service
from tests.service.support import client_of, feature, make_worker, square, work_off


def submitted(client: TestClient, name: str = "North", **more: object) -> dict[str, object]:
    response = client.post("/sites", json=feature(name, **more))
    assert response.status_code == 201, response.text
    made: dict[str, object] = response.json()
    return made


def test_a_site_goes_in_and_its_report_comes_out(service: Service, client: TestClient) -> None:
    site = submitted(client)
    job = client.get(f"/jobs/{site['job']}")
    assert job.json()["state"] == "accepted"
    assert int(job.headers["retry-after"]) >= 1
    assert client.get(f"/jobs/{site['job']}/results").json()["code"] == "result-not-ready"
    assert client.get(f"/sites/{site['id']}/reports/latest").json()["code"] == "no-report-yet"

    assert work_off(service) == 1

    ended = client.get(f"/jobs/{site['job']}").json()
    assert (ended["state"], ended["progress"], ended["units"]["done"]) == ("successful", 100.0, 1)
    report = client.get(f"/sites/{site['id']}/reports/latest")
    assert report.status_code == 200
    assert (report.json()["number"], report.json()["supersedes"]) == (1, None)
    results = client.get(f"/jobs/{site['job']}/results").json()["results"]
    assert [entry["report"] for entry in results] == [report.json()["id"]]
    lines = client.get(f"/jobs/{site['job']}/logs").json()["lines"]
    assert [line["code"] for line in lines] == ["published"]


def test_polling_costs_nothing_while_nothing_is_new(service: Service, client: TestClient) -> None:
    site = submitted(client)
    work_off(service)
    first = client.get(f"/sites/{site['id']}/reports/latest")
    again = client.get(
        f"/sites/{site['id']}/reports/latest", headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    dated = client.get(
        f"/sites/{site['id']}/reports/latest", headers={"If-Modified-Since": first.headers["last-modified"]}
    )
    assert dated.status_code == 304
    numbered = client.get(f"/sites/{site['id']}/reports/1")
    assert numbered.json() == first.json()
    assert "immutable" in numbered.headers["cache-control"]
    assert "immutable" not in first.headers["cache-control"]


def test_every_file_a_report_lists_is_served_as_hashed(service: Service, client: TestClient) -> None:
    site = submitted(client)
    work_off(service)
    report = client.get(f"/sites/{site['id']}/reports/latest").json()
    assert len(report["files"]) >= 4
    for entry in report["files"]:
        data = client.get(entry["href"])
        assert data.status_code == 200, entry
        assert hashlib.sha256(data.content).hexdigest() == entry["sha256"]
    page = client.get(f"/sites/{site['id']}/reports/{report['id']}.html")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_bundle_can_be_fetched_in_parts(service: Service, client: TestClient) -> None:
    site = submitted(client)
    work_off(service)
    path = f"/sites/{site['id']}/reports/1/bundle.zip"
    whole = client.get(path)
    assert zipfile.ZipFile(io.BytesIO(whole.content)).testzip() is None
    size = len(whole.content)
    head = client.get(path, headers={"Range": "bytes=0-99"})
    tail = client.get(path, headers={"Range": "bytes=100-"})
    assert (head.status_code, tail.status_code) == (206, 206)
    assert head.headers["content-range"] == f"bytes 0-99/{size}"
    assert head.content + tail.content == whole.content
    assert client.get(path, headers={"Range": "bytes=-10"}).content == whole.content[-10:]
    past = client.get(path, headers={"Range": f"bytes={size}-"})
    assert (past.status_code, past.json()["code"]) == (416, "range-not-satisfiable")
    assert whole.headers["repr-digest"] == head.headers["repr-digest"]
    stale = client.get(path, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (stale.status_code, len(stale.content)) == (200, size)


def test_changes_are_filtered_and_paged(service: Service, client: TestClient) -> None:
    site = submitted(client)
    work_off(service, FakeRunner(changes=50))
    here = f"/sites/{site['id']}/changes"
    everything = client.get(here, params={"limit": 1000}).json()["features"]
    assert len(everything) == 50

    seen: list[str] = []
    following: str | None = f"{here}?limit=7"
    while following:
        page = client.get(following).json()
        seen += [f["id"] for f in page["features"]]
        following = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert seen == [f["id"] for f in everything]

    def ids(**query: Any) -> set[str]:
        found = client.get(here, params={"limit": 1000, **query})
        assert found.status_code == 200, found.text
        return {f["id"] for f in found.json()["features"]}

    def wanted(keep: object) -> set[str]:
        assert callable(keep)
        return {f["id"] for f in everything if keep(f["properties"])}

    assert ids(**{"class": "berm"}) == wanted(lambda p: p["change_type"] == "berm")
    assert ids(**{"class": "berm,other"}) == wanted(lambda p: p["change_type"] != "container")
    assert ids(direction="removed") == wanted(lambda p: p["direction"] == "removed")
    assert ids(status="confirmed") == wanted(lambda p: p["status"] == "confirmed")
    assert ids(min_confidence=0.7) == wanted(lambda p: p["confidence"] >= 0.7)
    assert ids(datetime="2024-06-05/..") == wanted(lambda p: p["first_seen"] >= "2024-06-05")
    assert ids(datetime="../2024-05-04") == wanted(lambda p: p["last_absent"] < "2024-05-05")
    half = ids(bbox="30,50,30.005,50.01")
    assert half
    assert half == {f["id"] for f in everything if f["geometry"]["coordinates"][0][0][0] <= 30.005}
    assert client.get(here, params={"class": "unheard-of"}).json()["code"] == "bad-query"
    assert client.get(here, params={"direction": "sideways"}).json()["code"] == "bad-query"
    assert len(client.get(here, params={"limit": 10_000}).json()["features"]) == 50


def test_exports_hold_what_the_filter_left(service: Service, client: TestClient) -> None:
    site = submitted(client)
    work_off(service, FakeRunner(changes=6))
    here = f"/sites/{site['id']}/changes"
    rows = client.get(here, params={"f": "csv", "class": "container"}).text.splitlines()
    assert len(rows) == 1 + 2
    for kind, magic in (("kmz", b"PK"), ("gpkg", b"SQLite format 3"), ("parquet", b"PAR1")):
        data = client.get(here, params={"f": kind})
        assert data.status_code == 200, data.text
        assert data.content.startswith(magic)


def test_a_change_has_pictures_and_reviews_that_never_alter_the_report(
    service: Service, client: TestClient
) -> None:
    site = submitted(client)
    work_off(service)
    before = client.get(f"/sites/{site['id']}/reports/latest")
    change = client.get(f"/sites/{site['id']}/changes").json()["features"][0]["id"]
    for name in ("before.png", "after.png"):
        picture = client.get(f"/changes/{change}/{name}")
        assert (picture.status_code, picture.content[:4]) == (200, b"\x89PNG")
    assert client.get(f"/changes/{change}/provenance").json()["scenes"] == ["a", "b"]

    shown = client.get(f"/changes/{change}")
    assert shown.json()["review"] is None
    first = client.put(f"/changes/{change}/review", json={"verdict": "rejected", "note": "a lorry"})
    assert first.status_code == 200, first.text
    client.put(f"/changes/{change}/review", json={"verdict": "relabelled", "class": "berm"})
    history = client.get(f"/changes/{change}/reviews").json()["reviews"]
    assert [r["verdict"] for r in history] == ["relabelled", "rejected"]
    assert history[1]["note"] == "a lorry"
    assert all(r["by"] and r["at"] for r in history)
    after = client.get(f"/changes/{change}")
    assert after.json()["review"]["verdict"] == "relabelled"
    assert after.headers["etag"] != shown.headers["etag"]
    assert client.get(f"/sites/{site['id']}/reports/latest").content == before.content
    unclear = client.put(f"/changes/{change}/review", json={"verdict": "relabelled"})
    assert (unclear.status_code, unclear.json()["errors"][0]["pointer"]) == (422, "/class")


def test_the_feed_tells_new_updated_retracted_and_superseded(service: Service, client: TestClient) -> None:
    site = submitted(client)
    work_off(service, FakeRunner(changes=3))
    first = client.get("/changes").json()
    assert [e["event"] for e in first["entries"]] == ["new"] * 3

    client.patch(
        f"/sites/{site['id']}",
        json={"properties": {"parameters": {"min_confidence": 0.5}}},
        headers={"If-Match": client.get(f"/sites/{site['id']}").headers["etag"]},
    )
    client.post("/jobs", json={"sites": [site["id"]]})
    work_off(service, FakeRunner(changes=2))
    second = client.get("/changes", params={"since": first["cursor"]}).json()
    assert sorted(e["event"] for e in second["entries"]) == ["retracted", "superseded", "updated", "updated"]
    report = client.get(f"/sites/{site['id']}/reports/latest").json()
    assert report["number"] == 2
    assert report["supersedes"] == first["entries"][0]["report"]

    nothing = client.get("/changes", params={"since": second["cursor"]})
    assert (nothing.json()["entries"], nothing.json()["cursor"]) == ([], second["cursor"])
    again = client.get(
        "/changes", params={"since": second["cursor"]}, headers={"If-None-Match": nothing.headers["etag"]}
    )
    assert again.status_code == 304
    paged, cursor = [], None
    while True:
        page = client.get("/changes", params={"limit": 2} | ({"since": cursor} if cursor else {})).json()
        if not page["entries"]:
            break
        paged += page["entries"]
        cursor = page["cursor"]
    assert [e["cursor"] for e in paged] == [e["cursor"] for e in first["entries"] + second["entries"]]


def test_a_run_that_finds_the_same_publishes_nothing(service: Service, client: TestClient) -> None:
    site = submitted(client)
    work_off(service)
    before = client.get(f"/sites/{site['id']}/reports/latest")
    job = client.post("/jobs", json={"sites": [site["id"]]}).json()["id"]
    work_off(service)
    ended = client.get(f"/jobs/{job}").json()
    assert (ended["state"], ended["units"]["cached"]) == ("successful", 1)
    after = client.get(f"/sites/{site['id']}/reports/latest")
    assert after.headers["etag"] == before.headers["etag"]
    assert len(client.get(f"/sites/{site['id']}/reports").json()["reports"]) == 1


def test_timeline_and_looks_tell_gaps_with_their_reason(service: Service, client: TestClient) -> None:
    site = submitted(client)
    work_off(service)
    points = client.get(f"/sites/{site['id']}/timeline").json()["points"]
    assert [(p["state"], p["count"], p["reason"]) for p in points] == [
        ("observed", 3.0, None),
        ("not_observable", None, "cloud"),
    ]
    assert client.get(f"/sites/{site['id']}/timeline", params={"f": "csv"}).text.startswith("datetime,")
    looks = client.get(f"/sites/{site['id']}/looks").json()["features"]
    assert len(looks) == 3
    some = client.get(f"/sites/{site['id']}/looks", params={"datetime": "2024-06-01/.."}).json()["features"]
    assert len(some) == 2


def test_a_timeline_of_another_report_is_another_one_though_its_points_are_the_same(
    service: Service, client: TestClient
) -> None:
    site = client.post("/sites", json=feature("North depot")).json()["id"]
    work_off(service)
    here = f"/sites/{site}/timeline"
    first = client.get(here)
    client.post("/jobs", json={"sites": [site]})
    work_off(service, FakeRunner(changes=4))
    second = client.get(here, headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert second.json()["points"] == first.json()["points"]
    assert second.json()["report"] != first.json()["report"]


def test_events_carry_the_job_to_its_end_and_can_be_resumed(service: Service, client: TestClient) -> None:
    site = submitted(client)
    work_off(service)
    with client.stream("GET", f"/jobs/{site['job']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        text = "".join(stream.iter_text())
    data = next(line for line in text.splitlines() if line.startswith("data:"))
    assert json.loads(data[5:])["state"] == "successful"
    last = next(line for line in text.splitlines() if line.startswith("id:"))[3:].strip()
    resumed = client.get(f"/jobs/{site['job']}/events", headers={"Last-Event-ID": last})
    assert resumed.status_code == 204


def test_a_new_geometry_is_a_new_version_and_is_analysed(service: Service, client: TestClient) -> None:
    site = submitted(client)
    work_off(service)
    tag = client.get(f"/sites/{site['id']}").headers["etag"]
    assert client.patch(f"/sites/{site['id']}", json={}).status_code == 428
    moved = client.patch(f"/sites/{site['id']}", json={"geometry": square(31.0)}, headers={"If-Match": tag})
    assert moved.status_code == 200, moved.text
    assert moved.json()["properties"]["geometry_version"] == 2
    lost = client.patch(f"/sites/{site['id']}", json={"properties": {"name": "x"}}, headers={"If-Match": tag})
    assert (lost.status_code, lost.json()["code"]) == (412, "precondition-failed")
    work_off(service)
    assert client.get(f"/sites/{site['id']}/reports/latest").json()["geometry_version"] == 2
    versions = client.get(f"/sites/{site['id']}/geometries").json()["geometries"]
    assert [v["version"] for v in versions] == [1, 2]


def test_a_deleted_site_frees_its_name_and_answers_404(service: Service, client: TestClient) -> None:
    site = submitted(client)
    work_off(service)
    change = client.get(f"/sites/{site['id']}/changes").json()["features"][0]["id"]
    assert client.delete(f"/sites/{site['id']}").status_code == 204
    for path in ("", "/reports/latest", "/reports/1", "/changes", "/looks", "/timeline", "/geometries"):
        assert client.get(f"/sites/{site['id']}{path}").status_code == 404, path
    assert client.get(f"/changes/{change}").status_code == 404
    assert client.get("/sites").json()["features"] == []
    assert client.get("/collections/changes/items").json()["features"] == []
    assert submitted(client)["id"] != site["id"]


def test_dismissal_keeps_what_is_finished(service: Service, client: TestClient) -> None:
    sites = [submitted(client, f"s{i}", geometry=square(30 + i), analyse=False)["id"] for i in range(3)]
    job = client.post("/jobs", json={"sites": sites}).json()["id"]
    work_off(service, limit=1)
    dismissed = client.delete(f"/jobs/{job}").json()
    assert dismissed["state"] == "dismissed"
    assert client.delete(f"/jobs/{job}").json() == dismissed
    assert work_off(service) == 0
    results = client.get(f"/jobs/{job}/results").json()["results"]
    assert [r["state"] for r in results] == ["successful", "dismissed", "dismissed"]
    assert client.get(f"/sites/{sites[0]}/reports/latest").status_code == 200


def test_dismissal_stops_a_running_unit_at_its_next_step(service: Service, client: TestClient) -> None:
    site = submitted(client)
    worker = make_worker(service)

    def dismissing(unit: object, out: object, step: object) -> None:
        client.delete(f"/jobs/{site['job']}")
        FakeRunner()(unit, out, step)  # type: ignore[arg-type]

    worker.runner = dismissing  # type: ignore[assignment]
    worker.run_one()
    assert client.get(f"/jobs/{site['job']}").json()["state"] == "dismissed"
    assert client.get(f"/sites/{site['id']}/reports/latest").json()["code"] == "no-report-yet"


def test_a_job_says_how_much_of_its_remote_scenes_is_fetched(service: Service, client: TestClient) -> None:
    site = submitted(client)
    worker = make_worker(service)
    worker.rules = replace(worker.rules, lease_s=1.5)
    seen: list[tuple[str, float]] = []

    def fetching(unit: object, out: object, step: Callable[[str, int, int], None]) -> None:
        for name, done in (("search", 1), ("fetch", 1), ("changes", 2), ("fetch", 2)):
            step(name, done, 2)
            until = time.monotonic() + 30.0
            while (job := client.get(f"/jobs/{site['job']}").json())["step"] != name:
                assert time.monotonic() < until
                time.sleep(0.05)
            seen.append((name, job["progress"]))
        FakeRunner()(unit, out, step)  # type: ignore[arg-type]

    worker.runner = fetching  # type: ignore[assignment]
    worker.run_one()
    assert [name for name, _ in seen] == ["search", "fetch", "changes", "fetch"]
    # Half of 5 %; half of 40 % after those 5; all up to the report; and no way back from there.
    assert [progress for _, progress in seen] == pytest.approx([2.5, 25.0, 90.0, 90.0], abs=0.2)
    assert client.get(f"/jobs/{site['job']}").json()["state"] == "successful"


def test_a_unit_none_of_whose_scenes_came_is_tried_again(service: Service, client: TestClient) -> None:
    site = submitted(client)
    worker = make_worker(service)
    worker.rules = replace(worker.rules, backoff_s=0.0)

    def away(_unit: object, _out: object, _step: object) -> None:
        raise DownloadFailed("https://example.com/a.tif: could not be read (the server answers 503)")

    worker.runner = away  # type: ignore[assignment]
    worker.run_one()
    assert client.get(f"/jobs/{site['job']}").json()["state"] != "failed"
    worker.runner = FakeRunner()
    worker.run_one()
    assert client.get(f"/jobs/{site['job']}").json()["state"] == "successful"


def test_tenants_share_nothing(service: Service, client: TestClient) -> None:
    submitted(client)
    work_off(service)
    other = client_of(service, tenant="second")
    assert other.get("/sites").json()["features"] == []
    assert other.get("/changes").json()["entries"] == []
    assert other.get("/jobs").json()["jobs"] == []
    submitted(other)  # the same name is free there
