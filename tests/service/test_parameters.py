"""What a call does not take is refused on every call alike, and what other programs add of their own is let pass."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import build_app
from service.context import Service
from tests.service.support import feature

LENIENT = {"/healthz", "/readyz", "/metrics", "/sites/{site}/feed.atom", "/sites/{site}/wmts"}


def operations(service: Service) -> list[tuple[str, str, set[str]]]:
    """Every operation of the OpenAPI with the query parameters it names."""
    paths: dict[str, dict[str, Any]] = build_app(service).openapi()["paths"]
    return [
        (method, path, {p["name"] for p in told.get("parameters", []) if p["in"] == "query"})
        for path, methods in paths.items()
        for method, told in methods.items()
    ]


def test_every_call_refuses_what_its_description_does_not_name(
    lite_service: Service, lite_client: TestClient
) -> None:
    heard = set()
    for method, path, known in operations(lite_service):
        answer = lite_client.request(method, path, params={"misspelt": "1"})
        told = answer.json() if answer.headers["content-type"] == "application/problem+json" else {}
        if path in LENIENT:
            assert (path, told.get("code")) != (path, "bad-query")
            continue
        assert (method, path, answer.status_code, told.get("code")) == (
            method, path, 400, "bad-query",
        )  # fmt: skip
        assert "misspelt" in told["detail"]
        if known and path != "/collections/{collectionId}/items":
            assert all(name in told["detail"] for name in known), told
        heard.add((method, path))
    assert len(heard) > 70


def test_a_misspelt_estimate_starts_no_job(lite_service: Service, lite_client: TestClient) -> None:
    lite_client.post("/sites", json=feature("a", analyse=False))
    body = {"type": "analyse", "sites": "all"}
    assert lite_client.post("/jobs?estimat=true", json=body).status_code == 400
    assert lite_client.get("/jobs").json()["jobs"] == []


def test_of_two_values_none_is_left_out_without_a_word(lite_client: TestClient) -> None:
    answer = lite_client.get("/collections/changes/items?class=container&class=berm")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-query")
    assert "commas" in answer.json()["detail"]
    assert lite_client.get("/collections/changes/items?class=container,berm").status_code == 200


def test_a_collection_takes_only_its_own_filters(lite_client: TestClient) -> None:
    assert lite_client.get("/collections/changes/items?direction=appeared").status_code == 200
    answer = lite_client.get("/collections/looks/items?direction=appeared")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-query")


@pytest.mark.parametrize(
    "path", ["/", "/conformance", "/collections", "/collections/sites", "/stac", "/sites", "/tileMatrixSets"]
)
def test_json_may_be_asked_for_where_there_is_nothing_else(lite_client: TestClient, path: str) -> None:
    plain = lite_client.get(path)
    assert lite_client.get(path, params={"f": "json"}).status_code == plain.status_code == 200
    assert lite_client.get(path, params={"f": "xml"}).status_code == 400


def test_a_link_to_the_page_may_carry_what_others_hung_on_it(lite_client: TestClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml"}
    assert lite_client.get("/?utm_source=mail", headers=browser).status_code == 200
    assert lite_client.get("/?utm_source=mail").status_code == 400


def test_who_has_no_key_is_told_that_and_nothing_else(lite_client: TestClient) -> None:
    nobody = {"Authorization": ""}
    assert lite_client.get("/sites?misspelt=1", headers=nobody).status_code == 401
    assert lite_client.get("/conformance?misspelt=1", headers=nobody).status_code == 400


def test_a_quick_answer_takes_no_parameter_either(lite_client: TestClient) -> None:
    site = lite_client.post("/sites", json=feature("a", analyse=False)).json()["id"]
    path = f"/sites/{site}/reports/latest"
    answer = lite_client.get(path, params={"f": "html"}, headers={"If-None-Match": "*"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-query")
