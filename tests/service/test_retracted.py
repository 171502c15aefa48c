"""What a later run no longer supports: told as retracted wherever it is told, and listed where it is asked for."""

from typing import Any

from starlette.testclient import TestClient

from benchmarks.service_fake import FakeRunner
from service.context import Service
from tests.service.support import client_of, feature, square, work_off

AFTERWARDS = "2024-07-01/2024-08-01"


def site_of(client: TestClient, service: Service, name: str = "a", west: float = 30.0) -> str:
    """A site whose first report tells five changes."""
    site = client.post("/sites", json=feature(name, geometry=square(west))).json()["id"]
    work_off(service, FakeRunner(changes=5))
    return str(site)


def told_again(client: TestClient, service: Service, site: str, changes: int) -> str:
    """A reprocess that finds only so many, promoted; its job."""
    job = client.post("/jobs", json={"type": "reprocess", "sites": [site]}).json()["id"]
    work_off(service, FakeRunner(changes=changes))
    assert client.post(f"/jobs/{job}/promote").status_code == 200
    return str(job)


def listed(client: TestClient, path: str, **asked: Any) -> list[tuple[str, str]]:
    """Ids and statuses of a list, all its pages."""
    page = client.get(path, params=asked).json()
    found = [(f["id"], f["properties"]["status"]) for f in page["features"]]
    while following := [link["href"] for link in page["links"] if link["rel"] == "next"]:
        page = client.get(following[0]).json()
        found += [(f["id"], f["properties"]["status"]) for f in page["features"]]
    return found


def test_a_retracted_change_says_so_in_the_feed_and_by_itself(service: Service, client: TestClient) -> None:
    site = site_of(client, service)
    ids = [change for change, _ in listed(client, f"/sites/{site}/changes")]
    known = client.get(f"/changes/{ids[4]}")
    assert known.json()["properties"]["status"] != "retracted"
    told_again(client, service, site, 3)
    news = client.get("/changes", params={"limit": 1000}).json()["entries"]
    gone = {e["change"]: e["feature"] for e in news if e["event"] == "retracted"}
    assert gone.keys() == set(ids[3:])
    assert {f["properties"]["status"] for f in gone.values()} == {"retracted"}
    for change in ids[3:]:
        one = client.get(f"/changes/{change}").json()
        assert (one["properties"]["status"], one["current"]) == ("retracted", False)
        item = client.get(f"/collections/changes/items/{change}").json()
        assert item["properties"]["status"] == "retracted"
    again = client.get(f"/changes/{ids[4]}", headers={"If-None-Match": known.headers["etag"]})
    assert again.status_code == 200
    assert client.get(f"/changes/{ids[0]}").json()["properties"]["status"] == "first"


def test_what_a_report_of_another_period_does_not_tell_is_not_retracted(
    lite_service: Service, lite_client: TestClient
) -> None:
    service, client = lite_service, lite_client
    site = site_of(client, service)
    ids = [change for change, _ in listed(client, f"/sites/{site}/changes")]
    client.post("/jobs", json={"sites": [site], "period": AFTERWARDS})
    work_off(service, FakeRunner(changes=0))
    one = client.get(f"/changes/{ids[1]}").json()
    assert (one["properties"]["status"], one["current"]) == ("provisional", False)
    assert client.get(f"/collections/changes/items/{ids[1]}").status_code == 404
    assert listed(client, f"/sites/{site}/changes", status="retracted") == []


def test_retracted_changes_are_listed_where_they_are_asked_for(service: Service, client: TestClient) -> None:
    site, other = site_of(client, service), site_of(client, service, "b", 40.0)
    ids = [change for change, _ in listed(client, f"/sites/{site}/changes")]
    told_again(client, service, site, 2)
    gone = [(change, "retracted") for change in ids[2:]]
    here, items = f"/sites/{site}/changes", "/collections/changes/items"
    for limit in (1, 2, 100):
        for path in (here, items, f"{items}?site={site}"):
            assert sorted(listed(client, path, status="retracted", limit=limit)) == sorted(gone)
    assert (len(listed(client, here)), len(listed(client, items))) == (2, 7)
    mixed = listed(client, here, status="first,retracted", limit=1)
    assert mixed[0] == (ids[0], "first")
    assert sorted(mixed[1:]) == sorted(gone)
    assert listed(client, here, status="retracted", **{"class": "berm"}) == [(ids[4], "retracted")]
    assert listed(client, here, status="retracted", bbox="0,0,1,1") == []
    assert listed(client, f"/sites/{other}/changes", status="retracted") == []
    assert listed(client_of(service, tenant="second"), items, status="retracted") == []
    table = client.get(here, params={"status": "retracted", "f": "csv"}).text
    assert table.count("retracted") == len(gone)


def test_an_etag_of_retracted_changes_knows_of_a_promotion_that_was_taken_back(
    lite_service: Service, lite_client: TestClient
) -> None:
    service, client = lite_service, lite_client
    site = site_of(client, service)
    asked = f"/sites/{site}/changes?status=retracted"
    first = client.get(asked)
    assert client.get(asked, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    job = told_again(client, service, site, 7)
    client.delete(f"/jobs/{job}/promote")
    again = client.get(asked, headers={"If-None-Match": first.headers["etag"]})
    assert (first.json()["numberReturned"], again.json()["numberReturned"]) == (0, 2)


def test_events_are_not_held_against_what_was_retracted(
    lite_service: Service, lite_client: TestClient
) -> None:
    site = site_of(lite_client, lite_service)
    asked = lite_client.get(f"/sites/{site}/corroboration", params={"status": "retracted"})
    assert (asked.status_code, asked.json()["code"]) == (400, "bad-query")
