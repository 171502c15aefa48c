"""Dated events over HTTP: kept as posted, and set beside the site's own timeline with what could have been seen."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from benchmarks import service_fake
from benchmarks.service_fake import FakeRunner
from service.analysis_unit import AnalyseUnit, Step
from service.context import Service
from service.tables import events
from tests.service.support import client_of, feature, work_off

START = datetime(2021, 1, 4, 10, tzinfo=UTC)
EVENT = {"label": "Twelve trucks", "when": "2022-05-10", "source": "Newspaper, 11 May 2022"}


def stamp(day: int) -> str:
    """A time so many days after the first look."""
    return (START + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclasses.dataclass(frozen=True)
class Timeline:
    """A stand-in analysis: a look every ten days, hidden between two days, and containers that came on given days."""

    arrivals: tuple[int, ...]
    hidden: tuple[int, int] = (0, 0)
    days: int = 1_100

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        """See ``service.analysis_unit.UnitRunner``."""
        FakeRunner(len(self.arrivals))(unit, out, step)
        path = out / "changes.geojson"
        told = json.loads(path.read_text())
        for found, day in zip(told["features"], self.arrivals, strict=True):
            found["properties"] |= {
                "change_type": "container",
                "direction": "appeared",
                "confidence": 0.9,
                "last_absent": stamp(day // 10 * 10),
                "first_seen": stamp(day // 10 * 10 + 10),
            }
        path.write_text(json.dumps(told))
        looks = [self._look(unit, day) for day in range(0, self.days, 10)]
        (out / "looks.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": looks}))

    def _look(self, unit: AnalyseUnit, day: int) -> dict[str, Any]:
        look = service_fake.fake_look(unit, 0)
        clouded = self.hidden[0] <= day < self.hidden[1]
        look["properties"] |= {
            "scene_id": f"scene-{day}",
            "datetime": stamp(day),
            "gsd": 0.5,
            "usable_fraction": 0.1 if clouded else 0.95,
            "fractions": {"observed": 0.1, "cloud": 0.8, "snow": 0.1} if clouded else {"observed": 0.95},
        }
        return look


def site_with(service: Service, client: TestClient, name: str, timeline: Timeline) -> str:
    """A site analysed by a stand-in."""
    site: str = client.post("/sites", json=feature(name)).json()["id"]
    work_off(service, timeline)
    return site


def post(client: TestClient, site: str, day: int, **more: Any) -> dict[str, Any]:
    """An event so many days after the first look."""
    made = client.post(f"/sites/{site}/events", json={**EVENT, "when": stamp(day), **more})
    assert made.status_code == 201, made.text
    body: dict[str, Any] = made.json()
    return body


def test_an_event_is_kept_as_posted_with_its_window(service: Service, client: TestClient) -> None:
    site = client.post("/sites", json=feature("a")).json()["id"]
    headers = {"Idempotency-Key": "once"}
    first = client.post(f"/sites/{site}/events", json=EVENT, headers=headers)
    again = client.post(f"/sites/{site}/events", json=EVENT, headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    event = client.get(first.headers["location"]).json()
    assert event == first.json()
    # One day either way at least: claims carry local dates, images UTC.
    assert event["window"] == {"start": "2022-05-09T00:00:00.000Z", "end": "2022-05-11T23:59:59.999Z"}
    assert event["lag_days"] == [0, 30]
    listed = client.get(f"/sites/{site}/events").json()["events"]
    assert [e["id"] for e in listed] == [event["id"]]
    assert client.delete(first.headers["location"]).status_code == 204
    assert client.get(first.headers["location"]).status_code == 404
    assert client.delete(first.headers["location"]).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"label": "  "}, "/label"),
        ({"label": "a\u0000b"}, "/label"),
        ({"when": "soon"}, "/when"),
        ({"when": "2022-05-10/.."}, "/when"),
        ({"when": "1700-01-01"}, "/when"),
        ({"when": "2000-01-01/2022-01-01"}, "/when"),
        ({"uncertainty_days": 0.5}, "/uncertainty_days"),
        ({"lag_days": [30, 0]}, "/lag_days"),
        ({"lag_days": [1]}, "/lag_days"),
        ({"source": ""}, "/source"),
        ({"source_url": "javascript:alert(1)"}, "/source_url"),
        ({"surprise": 1}, "/surprise"),
    ],
)
def test_an_event_that_cannot_be_meant_is_refused_where_it_is_wrong(
    lite_client: TestClient, wrong: dict[str, Any], pointer: str
) -> None:
    site = lite_client.post("/sites", json=feature("a")).json()["id"]
    answer = lite_client.post(f"/sites/{site}/events", json={**EVENT, **wrong})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_events_page_in_order_of_their_dates(lite_client: TestClient) -> None:
    site = lite_client.post("/sites", json=feature("a")).json()["id"]
    for day in (40, 10, 30, 20):
        post(lite_client, site, day, label=str(day))
    page = lite_client.get(f"/sites/{site}/events", params={"limit": 3}).json()
    following = next(link["href"] for link in page["links"] if link["rel"] == "next")
    rest = lite_client.get(following).json()
    labels = [event["label"] for event in page["events"] + rest["events"]]
    assert labels == ["10", "20", "30", "40"]


def test_changes_that_follow_every_event_co_occur_and_a_quiet_site_beside_it_does_not(
    service: Service, client: TestClient
) -> None:
    days = (105, 333, 518, 744, 905)
    busy = site_with(service, client, "busy", Timeline(tuple(day + 6 for day in days)))
    site_with(service, client, "other", Timeline((50, 250, 460, 640, 840)))
    for day in days:
        post(client, busy, day, lag_days=[0, 15])
    told = client.get(f"/sites/{busy}/corroboration").json()
    assert told["joint"]["verdict"] == "co_occurs"
    assert told["joint"]["p_value"] < 0.01
    assert told["joint"]["events"] == 5
    assert told["control"]["sites_tested"] == 1
    assert told["control"]["as_strong_or_stronger"] == 0
    assert told["control"]["p_value"] == 0.5
    event = told["events"][0]
    assert [change["lag_days"] for change in event["changes"]] == [event["lag_days"]]
    low, high = event["lag_days"]
    assert low <= 6 <= high
    assert event["p_adjusted"] >= event["p_value"] > 0
    assert {null["name"] for null in event["nulls"]} == {"circular_shift", "season", "resampled_looks"}
    assert all(look["clear"] for look in event["looks"])


def test_the_same_question_gets_the_same_bytes_and_a_new_event_another_answer(
    lite_service: Service, lite_client: TestClient
) -> None:
    site = site_with(lite_service, lite_client, "a", Timeline((111, 400)))
    post(lite_client, site, 105)
    path = f"/sites/{site}/corroboration"
    one, two = lite_client.get(path), lite_client.get(path)
    assert one.content == two.content
    assert lite_client.get(path, headers={"If-None-Match": one.headers["etag"]}).status_code == 304
    post(lite_client, site, 390)
    assert lite_client.get(path, headers={"If-None-Match": one.headers["etag"]}).status_code == 200
    narrower = lite_client.get(path, params={"direction": "removed"})
    assert narrower.headers["etag"] != one.headers["etag"]
    assert narrower.json()["joint"]["p_value"] == 1.0


def test_a_window_under_cloud_is_not_testable_and_its_looks_say_why(
    lite_service: Service, lite_client: TestClient
) -> None:
    site = site_with(lite_service, lite_client, "a", Timeline((50,), hidden=(300, 400)))
    post(lite_client, site, 320)
    event = lite_client.get(f"/sites/{site}/corroboration").json()["events"][0]
    assert (event["verdict"], event["reason"]) == ("not_testable", "no_clear_look_in_window")
    assert event["p_value"] is None
    assert {look["reason"] for look in event["looks"]} == {"cloud"}
    assert event["nearest"]["lag_days"][1] < 0
    assert "neither yes nor no" in event["statement"]


def test_an_event_before_the_first_clear_look_is_told_that_nothing_lies_before(
    lite_service: Service, lite_client: TestClient
) -> None:
    site = site_with(lite_service, lite_client, "late", Timeline((300,), hidden=(0, 100)))
    post(lite_client, site, 100, lag_days=[0, 5])
    (event,) = lite_client.get(f"/sites/{site}/corroboration").json()["events"]
    assert (event["verdict"], event["reason"]) == ("not_testable", "no_clear_look_before")
    assert "no clear look before the first one" in event["statement"]


def test_an_event_from_imagery_is_excluded_and_a_coarse_look_shows_no_container(
    lite_service: Service, lite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse = Timeline((50,))
    look = Timeline._look
    monkeypatch.setattr(
        Timeline, "_look", lambda self, unit, day: _with_gsd(look(self, unit, day), 10.0 if day > 90 else 0.5)
    )
    site = site_with(lite_service, lite_client, "a", coarse)
    post(lite_client, site, 300)
    post(lite_client, site, 310, derived_from_imagery=True)
    first, second = lite_client.get(f"/sites/{site}/corroboration").json()["events"]
    assert (first["verdict"], first["reason"]) == ("not_testable", "no_power")
    assert (second["verdict"], second["reason"]) == ("excluded", "derived_from_imagery")
    asked = lite_client.get(f"/sites/{site}/corroboration", params={"class": "container"}).json()["events"][0]
    assert asked["verdict"] == "not_testable"
    assert {seen["reason"] for seen in asked["looks"]} == {"too_coarse"}
    assert "(pixels too coarse)" in asked["statement"]


def test_an_event_that_no_onset_could_have_set_apart_is_not_testable_by_itself(
    lite_service: Service, lite_client: TestClient
) -> None:
    quiet = site_with(lite_service, lite_client, "quiet", Timeline((50,), days=2_200))
    busy = site_with(lite_service, lite_client, "busy", Timeline(tuple(range(5, 2_190, 40)), days=2_200))
    for site in (quiet, busy):
        post(lite_client, site, 1_000, lag_days=[0, 5])
    calm, lively = (
        lite_client.get(f"/sites/{site}/corroboration").json()["events"][0] for site in (quiet, busy)
    )
    assert (calm["verdict"], calm["reason"]) == ("not_distinguished", None)
    assert calm["power"] > 0.5
    assert f"with a probability of {calm['power']:.2f}" in calm["statement"]
    assert (lively["verdict"], lively["reason"], lively["power"]) == ("not_testable", "no_power", 0.0)
    # It had clear looks before and in its window: the reason told is the one there is.
    assert lively["looks"][0]["clear"]
    assert "could not have been told from chance" in lively["statement"]
    assert "neither yes nor no" in lively["statement"]
    assert "no clear look" not in lively["statement"]
    assert lively["p_value"] is not None
    for day in (300, 600, 1_300):
        post(lite_client, quiet, day, lag_days=[0, 5])
    told = lite_client.get(f"/sites/{quiet}/corroboration").json()
    # Of four events one has to do better to stand out than one alone.
    same = next(event for event in told["events"] if event["event"] == calm["event"])
    assert same["power"] < calm["power"]
    assert f"with a probability of {told['joint']['power']:.2f}" in told["joint"]["statement"]


def _with_gsd(look: dict[str, Any], gsd: float) -> dict[str, Any]:
    look["properties"]["gsd"] = gsd
    return look


def test_no_answer_speaks_of_cause_or_content(lite_service: Service, lite_client: TestClient) -> None:
    site = site_with(lite_service, lite_client, "a", Timeline((111, 333, 555), hidden=(700, 800)))
    for day in (105, 325, 548, 720):
        post(lite_client, site, day)
    told = lite_client.get(f"/sites/{site}/corroboration").json()
    sentences = " ".join(event["statement"] for event in told["events"]) + told["joint"]["statement"]
    for word in ("because", "caused", "proves", "confirms", "delivered", "weapon", "ammunition"):
        assert word not in sentences
    assert any("cause" in note for note in told["notes"])


def test_how_the_events_were_chosen_is_told(service: Service, client: TestClient) -> None:
    site = site_with(service, client, "a", Timeline((111, 333)))
    fits, fails = post(client, site, 105), post(client, site, 700)
    ahead = post(client, site, 4_000)
    path = f"/sites/{site}/corroboration"
    before = client.get(path)
    assert before.json()["events_removed"] == 0
    assert [event["posted_before_seen"] for event in before.json()["events"]] == [False, False, True]
    assert any(note.startswith("2 of 3 events were posted when") for note in before.json()["notes"])
    assert client.delete(f"/sites/{site}/events/{fails['id']}").status_code == 204
    after = client.get(path, headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert [event["event"] for event in after.json()["events"]] == [fits["id"], ahead["id"]]
    assert after.json()["events_removed"] == 1
    assert any("removed: 1" in note for note in after.json()["notes"])
    assert client.get(f"/sites/{site}/events/{fails['id']}").status_code == 404
    assert client.delete(f"/sites/{site}/events/{fails['id']}").status_code == 404
    assert [event["id"] for event in client.get(f"/sites/{site}/events").json()["events"]] == [
        fits["id"],
        ahead["id"],
    ]
    with service.database.read() as connection:
        rows = connection.execute(select(events).where(events.c.id == fails["id"])).one()
    assert (rows.label, rows.source, rows.given, rows.note) == ("", "", "", "")


def test_without_a_report_there_is_nothing_to_compare(lite_client: TestClient) -> None:
    site = lite_client.post("/sites", json=feature("a")).json()["id"]
    answer = lite_client.get(f"/sites/{site}/corroboration")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-report-yet")


def test_a_site_keeps_only_so_many_events(lite_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.events.MOST_PER_SITE", 2)
    site = lite_client.post("/sites", json=feature("a")).json()["id"]
    post(lite_client, site, 1)
    post(lite_client, site, 2)
    answer = lite_client.post(f"/sites/{site}/events", json=EVENT)
    assert (answer.status_code, answer.json()["code"]) == (409, "limit-reached")


def test_reading_needs_reports_read_and_posting_reviews_write(lite_service: Service) -> None:
    writer = client_of(lite_service, "sites:write", "sites:read", "reviews:write")
    reader = client_of(lite_service, "reports:read")
    site = writer.post("/sites", json=feature("a")).json()["id"]
    assert writer.get(f"/sites/{site}/events").status_code == 403
    assert reader.post(f"/sites/{site}/events", json=EVENT).status_code == 403
    assert reader.get(f"/sites/{site}/events").status_code == 200
