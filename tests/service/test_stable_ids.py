"""A change keeps its id from report to report of a site: through new scenes, moved vertices, changed parameters."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from benchmarks.service_fake import write_fake_report
from service.analysis_unit import AnalyseUnit, Step
from service.context import Service
from tests.service.support import client_of, feature, square, work_off

METRE = 1 / 111_320


@dataclass(frozen=True)
class Box:
    """A change's place, metres from the site's lower left corner, and its dates, days of 2024."""

    east: float
    north: float
    days: tuple[int, int] = (10, 40)
    direction: str = "appeared"
    kind: str = "container"
    confidence: float = 0.8


@dataclass(frozen=True)
class Telling:
    """A runner that reports given boxes and names them as reports do: by class, direction, dates and place."""

    boxes: tuple[Box, ...]
    origin: tuple[float, float] = (30.0, 0.0)

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        step("report", 0, 1)
        write_fake_report(unit, out, 0)
        features = [self.told(box) for box in self.boxes]
        for one in features:
            folder = out / "evidence" / one["id"]
            folder.mkdir(parents=True)
            (folder / "before.png").write_bytes(one["id"].encode())
        whole = {"type": "FeatureCollection", "features": features}
        (out / "changes.geojson").write_text(json.dumps(whole), "utf-8")

    def told(self, box: Box) -> dict[str, Any]:
        west, south = self.origin[0] + box.east * METRE, self.origin[1] + box.north * METRE
        east, north = west + 6.1 * METRE, south + 2.4 * METRE
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        mark = f"{box.kind}{box.direction}{box.days}{round(box.east / 5)}{round(box.north / 5)}"
        name = hashlib.sha256(mark.encode()).hexdigest()[:16]
        start, end = (f"2024-{1 + day // 28:02d}-{1 + day % 28:02d}T10:00:00Z" for day in box.days)
        properties = {
            "id": name, "change_type": box.kind, "direction": box.direction, "last_absent": start,
            "first_seen": end, "status": "confirmed", "confidence": box.confidence, "gsd": 0.5,
            "evidence": f"evidence/{name}/",
        }  # fmt: skip
        return {"type": "Feature", "id": name, "properties": properties,
                "geometry": {"type": "Polygon", "coordinates": [ring]}}  # fmt: skip


def new_site(client: TestClient, name: str = "yard") -> str:
    wanted = feature(name, geometry=square(30.0, 0.0), analyse=False)
    return str(client.post("/sites", json=wanted).json()["id"])


def report(client: TestClient, service: Service, site: str, *boxes: Box, kind: str = "analyse") -> str:
    """Analyse the site so that it tells these boxes; the job's id."""
    job = client.post("/jobs", json={"type": kind, "sites": [site]}).json()["id"]
    assert work_off(service, Telling(boxes)) == 1
    return str(job)


def ids(client: TestClient, site: str) -> list[str]:
    return [f["id"] for f in client.get(f"/sites/{site}/changes").json()["features"]]


def events(client: TestClient, since: str) -> list[tuple[str, str]]:
    entries = client.get("/changes", params={"since": since, "limit": 1000}).json()["entries"]
    return [(entry["event"], entry["change"] or "") for entry in entries]


def cursor(client: TestClient) -> str:
    return str(client.get("/changes", params={"limit": 1000}).json()["cursor"])


FIRST = Box(12.4, 12.4)
SECOND = Box(40.0, 12.4)


def test_a_new_scene_that_narrows_a_date_updates_the_change(service: Service, client: TestClient) -> None:
    site = new_site(client)
    report(client, service, site, FIRST, SECOND)
    before, seen = ids(client, site), cursor(client)
    report(client, service, site, replace(FIRST, days=(20, 30)), SECOND)
    assert ids(client, site) == before
    assert events(client, seen) == [("updated", before[0]), ("superseded", "")]


def test_a_moved_vertex_that_nudges_a_footprint_keeps_the_id(service: Service, client: TestClient) -> None:
    site = new_site(client)
    report(client, service, site, FIRST)
    before = ids(client, site)
    etag = client.get(f"/sites/{site}").headers["etag"]
    patch = {"type": "Feature", "geometry": square(30.0, 0.0, 0.0101)}
    assert client.patch(f"/sites/{site}", json=patch, headers={"If-Match": etag}).status_code == 200
    moved = replace(FIRST, east=12.9, north=12.7)
    assert Telling(()).told(moved)["id"] != before[0]  # its file calls it otherwise
    work_off(service, Telling((moved,)))
    assert ids(client, site) == before
    latest = client.get(f"/sites/{site}/reports/latest").json()
    assert latest["number"] == 2
    assert latest["change_ids"] == {Telling(()).told(moved)["id"]: before[0]}


def test_evidence_and_reviews_are_found_under_the_kept_id(service: Service, client: TestClient) -> None:
    site = new_site(client)
    report(client, service, site, FIRST)
    (known,) = ids(client, site)
    assert client.put(f"/changes/{known}/review", json={"verdict": "confirmed"}).status_code == 200
    moved = replace(FIRST, east=12.9)
    report(client, service, site, moved)
    shown = client.get(f"/changes/{known}").json()
    assert shown["review"]["verdict"] == "confirmed"
    assert shown["properties"]["id"] == known
    picture = client.get(f"/changes/{known}/before.png")
    assert picture.content.decode() == Telling(()).told(moved)["id"]


def test_a_reprocess_tells_the_site_s_objects_by_their_ids(service: Service, client: TestClient) -> None:
    site = new_site(client)
    report(client, service, site, FIRST, SECOND)
    before, seen = ids(client, site), cursor(client)
    job = report(
        client, service, site, replace(FIRST, east=12.9), replace(SECOND, kind="other"), kind="reprocess"
    )
    assert client.post(f"/jobs/{job}/promote").status_code == 200
    assert sorted(ids(client, site)) == sorted(before)
    assert {event for event, _ in events(client, seen)} == {"updated", "superseded"}


def test_what_returns_after_a_removal_has_an_id_of_its_own(service: Service, client: TestClient) -> None:
    site = new_site(client)
    gone = replace(FIRST, days=(60, 80), direction="removed")
    report(client, service, site, FIRST, gone)
    before = ids(client, site)
    report(client, service, site, FIRST, gone, replace(FIRST, days=(100, 120)))
    after = ids(client, site)
    assert after[:2] == before
    assert after[2] not in before


def test_what_a_report_leaves_out_comes_back_under_its_id(service: Service, client: TestClient) -> None:
    site = new_site(client)
    report(client, service, site, FIRST, SECOND)
    before = ids(client, site)
    report(client, service, site, SECOND)
    seen = cursor(client)
    report(client, service, site, replace(FIRST, east=12.9), SECOND)
    assert ids(client, site) == before
    assert events(client, seen) == [("new", before[0]), ("superseded", "")]


def test_an_id_that_is_borne_already_is_not_given_twice(service: Service, client: TestClient) -> None:
    site = new_site(client)
    report(client, service, site, FIRST)
    first = Telling(()).told(FIRST)["id"]
    nudged, neighbour = Box(12.6, 12.4), Box(11.0, 8.0)
    assert Telling(()).told(nudged)["id"] != first
    assert Telling(()).told(neighbour)["id"] == first
    report(client, service, site, nudged, neighbour)
    found = ids(client, site)
    assert found[0] == first
    assert found[1] != first
    report(client, service, site, nudged, replace(neighbour, confidence=0.9))
    assert ids(client, site) == found


def test_two_sites_over_one_place_share_no_ids(service: Service, client: TestClient) -> None:
    one, other = new_site(client), new_site(client, "again")
    report(client, service, one, FIRST)
    report(client, service, other, FIRST)
    assert set(ids(client, one)).isdisjoint(ids(client, other))
    (known,) = ids(client, other)
    assert client.get(f"/changes/{known}").json()["site"] == other


def test_another_tenant_s_ids_are_none_of_ours(service: Service, client: TestClient) -> None:
    report(client, service, new_site(client), FIRST)
    stranger = client_of(service, tenant="second")
    theirs = new_site(stranger)
    report(stranger, service, theirs, FIRST)
    assert ids(stranger, theirs) == [Telling(()).told(FIRST)["id"]]
