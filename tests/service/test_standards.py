"""What the OGC and STAC answers claim is so: conformance, media types, boxes over the antimeridian, extents."""

import pytest
from starlette.testclient import TestClient

from service.context import Service
from tests.service.support import feature, square, work_off

# Taveuni, cut along the antimeridian: between -180 and 180 degrees, and at neither of the others.
ACROSS = {
    "type": "MultiPolygon",
    "coordinates": [square(179.99, -16.9)["coordinates"], square(-180.0, -16.9)["coordinates"]],
}
PATHS = ("/sites", "/collections/sites/items", "/collections/looks/items", "/stac/search")


@pytest.fixture
def across(lite_service: Service, lite_client: TestClient) -> str:
    """A site across the antimeridian with a report, and one on the same latitude."""
    site = lite_client.post("/sites", json=feature("across", geometry=ACROSS)).json()["id"]
    lite_client.post("/sites", json=feature("inland", geometry=square(20.0, -16.9)))
    work_off(lite_service)
    return str(site)


@pytest.mark.parametrize(
    ("bbox", "looks"),
    [
        ("170,-20,-170,0", 3),
        ("179.9,-20,180,0", 3),
        ("-180,-20,-179.9,0", 3),
        ("10,-20,30,0", 3),
        ("-180,-20,180,0", 6),
        ("100,-20,179.9,0", 0),
        ("-179.9,-20,-100,0", 0),
        ("40,-20,50,0", 0),
    ],
)
def test_a_box_finds_what_lies_across_the_antimeridian_where_it_lies(
    across: str, lite_client: TestClient, bbox: str, looks: int
) -> None:
    found = {path: len(lite_client.get(path, params={"bbox": bbox}).json()["features"]) for path in PATHS}
    items = {"/collections/looks/items": looks, "/stac/search": looks + looks // 3}
    assert found == {**dict.fromkeys(PATHS, looks // 3), **items}


def test_corners_of_a_site_across_the_antimeridian_are_those_of_rfc_7946(
    across: str, lite_client: TestClient
) -> None:
    site = lite_client.get(f"/sites/{across}").json()
    assert site["bbox"] == pytest.approx([179.99, -16.9, -179.99, -16.89])
    item = next(
        item
        for item in lite_client.get("/stac/search?collections=reports").json()["features"]
        if item["properties"]["depotwatch:site"] == across
    )
    assert item["bbox"] == site["bbox"]


def test_conformance_claims_only_what_is_there(lite_client: TestClient) -> None:
    spec = lite_client.get("/openapi.json")
    assert spec.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.1"
    assert spec.json()["openapi"].startswith("3.1")
    for root in ("", "/stac"):
        claimed = lite_client.get(f"{root}/conformance").json()["conformsTo"]
        assert not [name for name in claimed if name.endswith("/oas30")]
        assert "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core" in claimed
        assert "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson" in claimed
    assert lite_client.get("/stac").json()["conformsTo"] == claimed
    # The description is served under the name it is linked by.
    for root in ("/", "/stac"):
        (link,) = (x for x in lite_client.get(root).json()["links"] if x["rel"] == "service-desc")
        assert lite_client.get(link["href"]).headers["content-type"] == link["type"]


@pytest.mark.parametrize(
    "bbox", ["1,2,3", "a,b,c,d", "0,10,1,-10", "nan,0,1,1", "0,0,1e9,1", "1,2,3,4,5", ""]
)
@pytest.mark.parametrize("path", PATHS)
def test_a_box_that_is_none_is_refused_in_one_sentence(lite_client: TestClient, path: str, bbox: str) -> None:
    answer = lite_client.get(path, params={"bbox": bbox})
    told = answer.json()
    assert (answer.status_code, told["code"]) == (400, "bad-query")
    assert told["detail"].startswith("bbox is west,south,east,north in degrees")


def test_extents_forget_deleted_sites(across: str, lite_client: TestClient) -> None:
    lite_client.delete(f"/sites/{across}", headers={"If-Match": "*"})
    for name in ("sites", "changes", "looks"):
        ((west, _, east, _),) = lite_client.get(f"/collections/{name}").json()["extent"]["spatial"]["bbox"]
        assert (name, 20.0 <= west <= east <= 20.01) == (name, True)


def test_pages_of_a_collection_lead_to_all_of_it_once(across: str, lite_client: TestClient) -> None:
    for path in ("/collections/looks/items", "/stac/collections/scenes/items", "/stac/search"):
        seen, href = [], f"{path}?limit=2&bbox=-180%2C-90%2C180%2C90"
        while href:
            page = lite_client.get(href).json()
            assert page["numberReturned"] == len(page["features"]) <= 2
            seen += [item["id"] for item in page["features"]]
            links = {link["rel"]: link["href"] for link in page["links"]}
            assert links["self"].endswith(href)
            href = links.get("next", "")
        assert len(seen) == len(set(seen)) == (8 if path.endswith("search") else 6)
