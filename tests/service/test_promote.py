"""Promotion: a reprocess's reports become current together, followers hear of it, and it can be taken back."""

import json
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from benchmarks.service_fake import FakeRunner, fake_look
from service.analysis_unit import AnalyseUnit, Step
from service.context import Service
from service.tables import audit, changes, looks, reports, sites
from tests.service.support import client_of, feature, square, work_off

STRICT = {"min_confidence": 0.9}


class LaterLook:
    """As ``FakeRunner``, with one more look: a scene came in."""

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        FakeRunner(changes=4)(unit, out, step)
        path = out / "looks.geojson"
        whole = json.loads(path.read_text("utf-8"))
        late = fake_look(unit, 3)
        late["properties"]["datetime"] = "2024-12-01T10:00:00Z"
        path.write_text(json.dumps({**whole, "features": [*whole["features"], late]}), "utf-8")


def analysed(client: TestClient, service: Service, count: int = 1) -> list[str]:
    """Sites with a first report of three changes."""
    made = [
        client.post("/sites", json=feature(f"site {i}", geometry=square(10 + i))).json()["id"]
        for i in range(count)
    ]
    work_off(service)
    return made


def reprocessed(
    client: TestClient, service: Service, wanted: list[str] | str, runner: Any = None, **parameters: float
) -> str:
    """A reprocess job that has ended; its id."""
    body = {"type": "reprocess", "sites": wanted, "parameters": parameters}
    job = client.post("/jobs", json=body).json()["id"]
    work_off(service, runner or FakeRunner(changes=5))
    assert client.get(f"/jobs/{job}").json()["state"] == "successful"
    return str(job)


def cursor_of(client: TestClient) -> str:
    return str(client.get("/changes", params={"limit": 1000}).json()["cursor"])


def news_since(client: TestClient, cursor: str) -> list[dict[str, Any]]:
    found = client.get("/changes", params={"since": cursor, "limit": 1000}).json()["entries"]
    return list(found)


def kinds(entries: list[dict[str, Any]]) -> Counter[str]:
    return Counter(entry["event"] for entry in entries)


def shown(client: TestClient, site: str) -> dict[str, Any]:
    """Everything a reader of a site sees: report, changes, looks."""
    latest = client.get(f"/sites/{site}/reports/latest").json()
    found = client.get(f"/sites/{site}/changes").json()["features"]
    seen = client.get(f"/sites/{site}/looks").json()["features"]
    return {"report": latest["id"], "changes": found, "looks": seen}


def flags(service: Service) -> dict[str, set[str]]:
    """Which reports each table calls current."""
    with service.database.read() as connection:
        return {
            "reports": set(connection.execute(select(reports.c.id).where(reports.c.current)).scalars()),
            "changes": set(connection.execute(select(changes.c.report).where(changes.c.current)).scalars()),
            "looks": set(connection.execute(select(looks.c.report).where(looks.c.current)).scalars()),
            "sites": set(connection.execute(select(sites.c.current_report)).scalars()),
        }


def test_a_promotion_is_seen_everywhere_and_told_in_the_feed(service: Service, client: TestClient) -> None:
    (site,) = analysed(client, service)
    assert {len(found) for found in flags(service).values()} == {1}
    before, cursor = shown(client, site), cursor_of(client)
    job = reprocessed(client, service, [site], **STRICT)
    assert shown(client, site) == before
    assert news_since(client, cursor) == []

    answer = client.post(f"/jobs/{job}/promote")
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "promoted"
    assert answer.json()["sites"] == {"promoted": 1, "unchanged": 0, "without_report": 0, "deleted": 0}
    after = shown(client, site)
    assert after["report"] != before["report"]
    assert len(after["changes"]) == 5
    assert {len(found) for found in flags(service).values()} == {1}
    entries = news_since(client, cursor)
    # The first three changes tell another confidence, two are new, and one report follows the other.
    assert kinds(entries) == {"updated": 3, "new": 2, "superseded": 1}
    assert {e["report"] for e in entries} == {after["report"]}
    listed = client.get(f"/sites/{site}/reports").json()["reports"]
    assert [(r["id"], r["current"], r["supersedes"]) for r in listed] == [
        (after["report"], True, before["report"]),
        (before["report"], False, None),
    ]
    assert client.get(f"/jobs/{job}").json()["promoted"] is not None


def test_taking_it_back_shows_and_tells_what_was_before(service: Service, client: TestClient) -> None:
    (site,) = analysed(client, service)
    before = shown(client, site)
    job = reprocessed(client, service, [site], **STRICT)
    client.post(f"/jobs/{job}/promote")
    cursor = cursor_of(client)
    answer = client.delete(f"/jobs/{job}/promote")
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "undone"
    assert answer.json()["sites"]["taken_back"] == 1
    assert shown(client, site) == before
    assert {len(found) for found in flags(service).values()} == {1}
    entries = news_since(client, cursor)
    assert kinds(entries) == {"updated": 3, "retracted": 2, "superseded": 1}
    told = {e["change"]: e["feature"] for e in entries if e["event"] == "updated"}
    assert told == {f["id"]: f for f in before["changes"]}
    assert client.get(f"/jobs/{job}").json()["promoted"] is None
    assert client.get(f"/jobs/{job}/promote").json() == answer.json()


def test_promoting_and_taking_back_again_does_nothing_more(service: Service, client: TestClient) -> None:
    (site,) = analysed(client, service)
    job = reprocessed(client, service, [site], **STRICT)
    first = client.post(f"/jobs/{job}/promote").json()
    cursor = cursor_of(client)
    assert client.post(f"/jobs/{job}/promote").json() == first
    assert news_since(client, cursor) == []
    undone = client.delete(f"/jobs/{job}/promote").json()
    cursor = cursor_of(client)
    assert client.delete(f"/jobs/{job}/promote").json() == undone
    assert news_since(client, cursor) == []
    assert client.post(f"/jobs/{job}/promote").json()["state"] == "promoted"
    assert kinds(news_since(client, cursor)) == {"updated": 3, "new": 2, "superseded": 1}


def test_two_who_promote_at_once_promote_once(service: Service, client: TestClient) -> None:
    (site,) = analysed(client, service)
    job = reprocessed(client, service, [site], **STRICT)
    cursor = cursor_of(client)
    both = [client_of(service) for _ in range(2)]
    for (
        one
    ) in both:  # an application builds its routes with the first request, and not in two threads at once
        assert one.get(f"/jobs/{job}/promote").status_code == 404
    answers: list[Any] = []
    start = threading.Barrier(2)

    def go(one: TestClient) -> None:
        start.wait()
        answers.append(one.post(f"/jobs/{job}/promote"))

    threads = [threading.Thread(target=go, args=(one,)) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.status_code for a in answers] == [200, 200]
    assert kinds(news_since(client, cursor))["superseded"] == 1


def test_what_would_lose_a_newer_look_is_refused_and_changes_nothing(
    service: Service, client: TestClient
) -> None:
    kept, moved = analysed(client, service, 2)
    job = reprocessed(client, service, "all", **STRICT)
    client.post("/jobs", json={"sites": [moved]})
    work_off(service, LaterLook())
    before, cursor = [shown(client, site) for site in (kept, moved)], cursor_of(client)

    answer = client.post(f"/jobs/{job}/promote")
    assert answer.status_code == 409
    body = answer.json()
    assert body["code"] == "would-lose-newer"
    assert [fault["pointer"] for fault in body["errors"]] == [f"/sites/{moved}"]
    assert "2024-12-01" in body["detail"]
    assert [shown(client, site) for site in (kept, moved)] == before
    assert news_since(client, cursor) == []
    assert client.get(f"/jobs/{job}/promote").status_code == 404

    writer = client_of(service, "jobs:write")
    assert writer.post(f"/jobs/{job}/promote?force=true").status_code == 403
    forced = client.post(f"/jobs/{job}/promote?force=true").json()
    assert (forced["forced"], forced["sites"]["promoted"]) == (True, 2)
    assert client.delete(f"/jobs/{job}/promote").status_code == 200
    assert [shown(client, site) for site in (kept, moved)] == before


def test_a_report_of_an_outline_the_site_no_longer_has_is_refused(
    lite_service: Service, lite_client: TestClient
) -> None:
    service, client = lite_service, lite_client
    (site,) = analysed(client, service)
    job = reprocessed(client, service, [site], **STRICT)
    etag = client.get(f"/sites/{site}").headers["etag"]
    patch = {"type": "Feature", "geometry": square(10.0, size=0.009)}
    assert client.patch(f"/sites/{site}", json=patch, headers={"If-Match": etag}).status_code == 200
    answer = client.post(f"/jobs/{job}/promote")
    assert (answer.status_code, answer.json()["code"]) == (409, "would-lose-newer")
    assert "outline" in answer.json()["detail"]


def test_taking_back_leaves_a_newer_report_alone(service: Service, client: TestClient) -> None:
    kept, moved = analysed(client, service, 2)
    before = shown(client, kept)
    job = reprocessed(client, service, "all", **STRICT)
    client.post(f"/jobs/{job}/promote")
    client.post("/jobs", json={"sites": [moved]})
    work_off(service, LaterLook())
    newer = shown(client, moved)
    answer = client.delete(f"/jobs/{job}/promote").json()
    assert (answer["sites"]["taken_back"], answer["sites"]["newer_since"]) == (1, 1)
    assert shown(client, kept) == before
    assert shown(client, moved) == newer


def test_the_next_scene_is_analysed_with_the_promoted_parameters(
    lite_service: Service, lite_client: TestClient
) -> None:
    service, client = lite_service, lite_client
    (site,) = analysed(client, service)
    job = reprocessed(client, service, [site], **STRICT)
    own = client.get(f"/sites/{site}").json()["properties"]["parameters"]
    client.post(f"/jobs/{job}/promote")
    assert client.get(f"/sites/{site}").json()["properties"]["parameters"] == {**own, **STRICT}
    seen: list[dict[str, Any]] = []

    def noting(unit: AnalyseUnit, out: Path, step: Step) -> None:
        seen.append(unit.parameters)
        FakeRunner()(unit, out, step)

    client.post("/jobs", json={"sites": [site]})
    work_off(service, noting)
    assert seen == [STRICT]
    client.delete(f"/jobs/{job}/promote")
    assert client.get(f"/sites/{site}").json()["properties"]["parameters"] == own


def test_parameters_somebody_set_since_stay(lite_service: Service, lite_client: TestClient) -> None:
    service, client = lite_service, lite_client
    (site,) = analysed(client, service)
    job = reprocessed(client, service, [site], **STRICT)
    client.post(f"/jobs/{job}/promote")
    etag = client.get(f"/sites/{site}").headers["etag"]
    mine = {"type": "Feature", "properties": {"parameters": {"min_confidence": 0.4}}}
    assert client.patch(f"/sites/{site}", json=mine, headers={"If-Match": etag}).status_code == 200
    client.delete(f"/jobs/{job}/promote")
    assert client.get(f"/sites/{site}").json()["properties"]["parameters"] == {"min_confidence": 0.4}


def test_a_site_without_a_report_gets_one_and_loses_it_again(service: Service, client: TestClient) -> None:
    site = client.post("/sites", json=feature("new", analyse=False)).json()["id"]
    cursor = cursor_of(client)
    job = reprocessed(client, service, [site])
    client.post(f"/jobs/{job}/promote")
    assert kinds(news_since(client, cursor)) == {"new": 5}
    cursor = cursor_of(client)
    client.delete(f"/jobs/{job}/promote")
    assert client.get(f"/sites/{site}/reports/latest").status_code == 404
    assert kinds(news_since(client, cursor)) == {"retracted": 5}
    assert {len(found - {None}) for found in flags(service).values()} == {0}


def test_what_gave_the_same_report_is_left_as_it_is(lite_service: Service, lite_client: TestClient) -> None:
    service, client = lite_service, lite_client
    (site,) = analysed(client, service)
    job = reprocessed(client, service, [site], FakeRunner())
    cursor = cursor_of(client)
    assert client.post(f"/jobs/{job}/promote").json()["sites"]["unchanged"] == 1
    assert news_since(client, cursor) == []


def test_only_a_reprocess_that_has_ended_is_promoted(lite_service: Service, lite_client: TestClient) -> None:
    service, client = lite_service, lite_client
    (site,) = analysed(client, service)
    plain = client.post("/jobs", json={"sites": [site]}).json()["id"]
    early = client.post("/jobs", json={"type": "reprocess", "sites": [site]}).json()["id"]
    for job, said in ((plain, "only a reprocess"), (early, "accepted")):
        answer = client.post(f"/jobs/{job}/promote")
        assert (answer.status_code, answer.json()["code"]) == (409, "not-promotable")
        assert said in answer.json()["detail"]
    assert client.delete(f"/jobs/{early}/promote").status_code == 404


def test_a_stranger_sees_no_promotion_and_a_reader_makes_none(
    lite_service: Service, lite_client: TestClient
) -> None:
    service, client = lite_service, lite_client
    (site,) = analysed(client, service)
    job = reprocessed(client, service, [site], **STRICT)
    stranger, reader = client_of(service, tenant="second"), client_of(service, "reports:read")
    for method in ("POST", "GET", "DELETE"):
        assert stranger.request(method, f"/jobs/{job}/promote").status_code == 404
    assert reader.post(f"/jobs/{job}/promote").status_code == 403
    assert reader.delete(f"/jobs/{job}/promote").status_code == 403
    client.post(f"/jobs/{job}/promote")
    client.delete(f"/jobs/{job}/promote")
    with service.database.read() as connection:
        done = connection.execute(select(audit.c.action).where(audit.c.subject == job).order_by(audit.c.id))
        assert list(done.scalars()) == ["job.submit", "job.promote", "job.demote"]


def test_a_poller_by_date_hears_of_a_promotion(lite_service: Service, lite_client: TestClient) -> None:
    service, client = lite_service, lite_client
    (site,) = analysed(client, service)
    job = reprocessed(client, service, [site], **STRICT)
    with service.database.write() as connection:
        # The job ended long before the current report was made; it is promoted after that.
        connection.execute(reports.update().where(reports.c.current).values(current_since=1.5e9))
        connection.execute(reports.update().where(reports.c.job == job).values(created=1.0e9))
    latest = f"/sites/{site}/reports/latest"
    since = {"If-Modified-Since": client.get(latest).headers["last-modified"]}
    assert client.get(latest, headers=since).status_code == 304
    client.post(f"/jobs/{job}/promote")
    assert client.get(latest, headers=since).json()["job"] == job


@pytest.mark.parametrize("found_first", [True, False])
def test_a_change_is_told_as_users_were_shown_it(
    lite_service: Service, lite_client: TestClient, found_first: bool
) -> None:
    service, client = lite_service, lite_client
    (site,) = analysed(client, service)
    number = 0 if found_first else 4
    job = reprocessed(client, service, [site], **STRICT)
    with service.database.read() as connection:
        only = connection.execute(
            select(changes.c.change)
            .join(reports, reports.c.id == changes.c.report)
            .where(reports.c.job == job, changes.c.position == number)
        ).scalar_one()
    live = {f["id"]: f["properties"] for f in shown(client, site)["changes"]}
    told = client.get(f"/changes/{only}").json()
    shown_before = {**live.get(only, told["properties"]), "id": only}
    assert told["properties"] == shown_before
    assert (only in live) == found_first


def replayed(client: TestClient) -> dict[str, dict[str, Any]]:
    """What a follower of the feed holds per site, who does as each entry says."""
    held: dict[str, dict[str, Any]] = {}
    for entry in news_since(client, ""):
        mine = held.setdefault(entry["site"], {})
        if entry["event"] in {"new", "updated"}:
            assert (entry["event"] == "updated") == (entry["change"] in mine), entry
            mine[entry["change"]] = entry["feature"]
        elif entry["event"] == "retracted":
            del mine[entry["change"]]
    return held


def as_shown(client: TestClient, site: str) -> dict[str, Any]:
    return {
        f["id"]: f for f in client.get(f"/sites/{site}/changes", params={"limit": 1000}).json()["features"]
    }


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_follower_of_the_feed_always_holds_what_is_current(
    service: Service, client: TestClient, seed: int
) -> None:
    chance = random.Random(seed)
    made = analysed(client, service, 2)
    batches: list[str] = []
    for _ in range(12):
        runner = FakeRunner(changes=chance.randint(0, 6))
        confidence = chance.choice([0.3, 0.5, 0.9])
        match chance.randrange(5):
            case 0:
                client.post("/jobs", json={"sites": [chance.choice(made)]})
                work_off(service, runner)
            case 1:
                batches.append(reprocessed(client, service, "all", runner, min_confidence=confidence))
            case 2 | 3 if batches:
                client.post(f"/jobs/{chance.choice(batches)}/promote?force=true")
            case _ if batches:
                client.delete(f"/jobs/{chance.choice(batches)}/promote")
        held = replayed(client)
        for site in made:
            assert held.get(site, {}) == as_shown(client, site)
        assert all(len(found - {None}) <= 2 for found in flags(service).values())


def test_promoting_while_reports_are_published_loses_neither(service: Service, client: TestClient) -> None:
    made = analysed(client, service, 6)
    job = reprocessed(client, service, "all", **STRICT)
    ended = threading.Event()
    broken: list[BaseException] = []

    def publish_on() -> None:
        try:
            while not ended.is_set():
                work_off(service, FakeRunner(changes=4))
        except BaseException as error:
            broken.append(error)

    threads = [threading.Thread(target=publish_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        client.post("/jobs", json={"sites": made})
        assert client.post(f"/jobs/{job}/promote").status_code == 200
        assert client.delete(f"/jobs/{job}/promote").status_code == 200
    ended.set()
    for thread in threads:
        thread.join()
    work_off(service)
    assert broken == []
    held = replayed(client)
    for site in made:
        assert held.get(site, {}) == as_shown(client, site)
    found = flags(service)
    assert found["reports"] == found["looks"] == found["sites"]
    assert len(found["sites"]) == len(made)
