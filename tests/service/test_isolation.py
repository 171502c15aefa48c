"""Another tenant's anything is 404, on every route the OpenAPI lists; and nothing answers without a key."""

from datetime import UTC, datetime
from typing import Any

from starlette.testclient import TestClient

from service.app import build_app
from service.context import Service
from service.database import Database
from service.tenancy import ensure_tenant
from tests.service.support import client_of, feature, work_off

EVENT = {"label": "mine", "when": "2024-06-01", "source": "mine"}
HOOK = "http://127.0.0.1:9/hook"
PUBLIC = {"/", "/conformance", "/healthz", "/readyz", "/metrics"}


def sample_path(path: str, known: dict[str, str]) -> str:
    for name, value in known.items():
        path = path.replace("{" + name + "}", value)
    assert "{" not in path, path
    return path


def calls(service: Service, client: TestClient) -> list[tuple[str, str, dict[str, Any]]]:
    """Every operation of the OpenAPI on the first tenant's own objects."""
    service.settings = service.settings.model_copy(update={"allow_hosts": "127.0.0.1"})
    site = client.post("/sites", json=feature("mine")).json()
    work_off(service)
    change = client.get(f"/sites/{site['id']}/changes").json()["features"][0]["id"]
    report = client.get(f"/sites/{site['id']}/reports/latest").json()["id"]
    event = client.post(f"/sites/{site['id']}/events", json=EVENT).json()["id"]
    subscription = client.post("/subscriptions", json={"url": HOOK}).json()["id"]
    delivery = client.post(f"/subscriptions/{subscription}/test").json()["id"]
    token = client.post(f"/sites/{site['id']}/feed-tokens", json={}).json()["id"]
    place = service.settings.data / "private"
    place.mkdir()
    with service.database.write() as connection:
        from service.archives import add_archive

        tenant = ensure_tenant(service.database, connection, "first")
        add_archive(service.database, connection, "private", "folder", str(place), tenant)
    known = {
        "site": site["id"],
        "job": site["job"],
        "report": report,
        "before": report,
        "after": report,
        "change": change,
        "event": event,
        "subscription": subscription,
        "delivery": delivery,
        "token_id": token,
        "day": datetime.now(UTC).date().isoformat(),
        "name": "private",
        "path": "changes.geojson",
        "scene": "scene-0",
        "kind": "reports",
        "entry": report,
        **dict.fromkeys("zxy", "0"),
    }
    spec = client.get("/openapi.json").json()
    found = []
    for path, operations in spec["paths"].items():
        for method in operations:
            items = (
                [("sites", site["id"]), ("changes", change), ("looks", f"{site['id']}.0")]
                if "{item}" in path
                else [("sites", "")]
            )
            for collection, item in items:
                whole = sample_path(path, {**known, "collectionId": collection, "item": item})
                options: dict[str, Any] = {}
                if method in {"post", "put", "patch"}:
                    options["json"] = {
                        "/sites": feature("theirs"),
                        "/jobs": {"sites": [site["id"]]},
                        "/subscriptions": {"url": HOOK},
                        "/archives": {"name": "n", "source": "http://192.0.2.1/"},
                        f"/sites/{site['id']}": {"properties": {"name": "taken over"}},
                        f"/changes/{change}/review": {"verdict": "rejected"},
                        f"/sites/{site['id']}/events": EVENT,
                    }.get(whole, {})
                    options["headers"] = {"If-Match": "*"}
                found.append((method.upper(), whole, options))
    return found


def test_a_second_tenant_finds_nothing_of_the_first(service: Service, client: TestClient) -> None:
    other = client_of(service, tenant="second")
    ids = set()
    tried = 0
    for method, path, options in calls(service, client):
        if path in PUBLIC:
            continue
        own_object = any(
            part in path for part in ("site-", "job-", "sub-", "private", "/items/", "/changes/", "report-")
        )
        answer = other.request(method, path, **options)
        tried += 1
        if own_object or (method, path) == ("POST", "/jobs"):
            assert answer.status_code == 404, (method, path, answer.status_code, answer.text)
            # A made-up id must be answered in the very same words.
            ids.add(answer.json()["code"])
        else:
            assert answer.status_code in {200, 201, 422}, (method, path, answer.text)
            assert "mine" not in answer.text, (method, path)
    assert tried > 35
    assert ids == {"not-found"}
    mine = client.get("/sites").json()["features"]
    assert [f["properties"]["name"] for f in mine] == ["mine"]


def test_nothing_but_the_public_pages_answers_without_a_key(service: Service, client: TestClient) -> None:
    nobody = TestClient(build_app(service))
    for method, path, options in calls(service, client):
        answer = nobody.request(method, path, **options)
        if path in PUBLIC:
            assert answer.status_code == 200, path
        else:
            assert answer.status_code == 401, (method, path)


def test_a_made_up_id_and_another_tenants_are_told_apart_by_nothing(
    service: Service, client: TestClient
) -> None:
    site = client.post("/sites", json=feature("mine")).json()["id"]
    other = client_of(service, tenant="second")
    real, made_up = other.get(f"/sites/{site}"), other.get("/sites/site-" + "0" * 32)
    assert (real.status_code, real.json()) == (made_up.status_code, made_up.json())


def test_every_table_with_tenants_is_asked_for_the_tenant(service: Service) -> None:
    """A guard for later tables: whatever belongs to a site says whose it is."""
    from service.tables import metadata

    exempt = {"tenants", "site_geometries", "report_files", "scenes", "unit_log", "warnings"}
    for table in metadata.sorted_tables:
        assert "tenant" in table.c or table.name in exempt, table.name
    assert isinstance(service.database, Database)
