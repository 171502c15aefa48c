"""The address of a change's evidence: one that answers wherever a change is told, while files keep their folders."""

import csv
import io
import json

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from service.api import quick, reports
from service.context import Service
from service.delivery import fill_outbox
from service.tables import deliveries
from tests.service.support import feature, work_off


def test_evidence_is_an_address_that_answers_wherever_a_change_is_told(
    lite_service: Service, lite_client: TestClient
) -> None:
    service, client = lite_service, lite_client
    client.post("/subscriptions", json={"url": "https://8.8.8.8/hook"})
    site = client.post("/sites", json=feature("a")).json()["id"]
    work_off(service)
    fill_outbox(service.database)
    with service.database.read() as connection:
        message = json.loads(connection.execute(select(deliveries.c.body)).scalar_one())
    here = client.get(f"/sites/{site}/changes").json()["features"]
    table = csv.DictReader(io.StringIO(client.get(f"/sites/{site}/changes?f=csv").text))
    told = [
        *here,
        *(client.get(f"/changes/{f['id']}").json() for f in here),
        *(entry["feature"] for entry in client.get("/changes").json()["entries"]),
        *(entry["feature"] for entry in message["data"]["entries"]),
        *client.get("/collections/changes/items").json()["features"],
        *({"id": row["id"], "properties": row} for row in table),
    ]
    assert len(told) == 6 * 3
    for change in told:
        evidence = change["properties"]["evidence"]
        # The stand-in has pictures of its first two changes.
        if change["id"] == here[2]["id"]:
            assert not evidence
        else:
            assert evidence == f"/changes/{change['id']}/provenance"
            assert client.get(evidence).json() == {"scenes": ["a", "b"]}


def test_a_reports_files_name_their_evidence_beside_them(
    lite_service: Service, lite_client: TestClient
) -> None:
    site = lite_client.post("/sites", json=feature("a")).json()["id"]
    work_off(lite_service)
    files = f"/sites/{site}/reports/latest/files"
    first = lite_client.get(f"{files}/changes.geojson").json()["features"][0]["properties"]
    assert lite_client.get(f"{files}/{first['evidence']}before.png").status_code == 200


def test_what_is_told_otherwise_has_another_etag(
    lite_service: Service, lite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who kept an answer from before an upgrade must not be told that it is still the one."""
    site = lite_client.post("/sites", json=feature("a")).json()["id"]
    work_off(lite_service)
    paths = (f"/sites/{site}/changes", "/changes")
    before = [lite_client.get(path).headers["etag"] for path in paths]
    for module in (reports, quick):
        monkeypatch.setattr(module, "TOLD", 1)
    for path, tag in zip(paths, before, strict=True):
        assert lite_client.get(path, headers={"If-None-Match": tag}).status_code == 200
