"""What the OGC and STAC answers claim is so: conformance, media types, boxes over the antimeridian, extents."""

import json
import subprocess
import sys
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.context import Service
from tests.service.loopback import served
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
        ("170,-20,190,0", 3),
        ("-190,-20,-170,0", 3),
        ("380,-20,390,0", None),
        ("190,-20,200,0", 0),
        ("-360,-20,0,0", 6),
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
    across: str, lite_client: TestClient, bbox: str, looks: int | None
) -> None:
    if looks is None:
        assert {lite_client.get(path, params={"bbox": bbox}).status_code for path in PATHS} == {400}
        return
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


@pytest.mark.parametrize(
    ("west", "east", "reports"), [(170, 190, 1), (-190, -170, 1), (190, 200, 0), (10, 30, 1)]
)
def test_a_shape_is_found_past_the_antimeridian(
    across: str, lite_client: TestClient, west: float, east: float, reports: int
) -> None:
    shape = {
        "type": "Polygon",
        "coordinates": [[[west, -20], [east, -20], [east, 0], [west, 0], [west, -20]]],
    }
    found = lite_client.post("/stac/search", json={"intersects": shape, "collections": ["reports"]}).json()
    assert len(found["features"]) == reports


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


def ids(client: TestClient, collection: str, **asked: str) -> list[str]:
    answer = client.get(f"/collections/{collection}/items", params=asked)
    assert answer.status_code == 200, answer.text
    return [feature["id"] for feature in answer.json()["features"]]


def test_a_filter_finds_what_a_client_would_have_found_itself(across: str, lite_client: TestClient) -> None:
    whole = lite_client.get("/collections/changes/items").json()["features"]
    late = [f["id"] for f in whole if f["properties"]["first_seen"] >= "2024-06-02"]
    told = "first_seen >= TIMESTAMP('2024-06-02T00:00:00Z')"
    assert 0 < len(late) < len(whole)
    assert ids(lite_client, "changes", filter=told) == late
    assert ids(lite_client, "changes", filter=f"NOT {told}") == [
        f["id"] for f in whole if f["id"] not in late
    ]
    assert ids(lite_client, "changes", filter=told, site=across) == [
        f["id"] for f in whole if f["id"] in late and f["properties"]["site"] == across
    ]
    assert ids(lite_client, "sites", filter="name LIKE 'acr%'") == [across]
    assert len(ids(lite_client, "looks", filter="used = TRUE AND usable_fraction > 0.5")) == 6


def test_pages_of_a_filter_are_full_until_the_last(
    across: str, lite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.features.BATCH", 2)
    wanted = f"site = '{across}' OR scene_id = 'scene-1'"
    seen, href = [], f"/collections/looks/items?limit=3&filter={wanted}"
    sizes = []
    while href:
        page = lite_client.get(href).json()
        assert "numberMatched" not in page
        seen += [feature["id"] for feature in page["features"]]
        sizes.append(len(page["features"]))
        href = {link["rel"]: link["href"] for link in page["links"]}.get("next", "")
    assert sizes == [3, 1]
    assert sorted(seen) == sorted(ids(lite_client, "looks", filter=wanted))


@pytest.mark.parametrize("collection", ["sites", "changes", "looks"])
def test_everything_asked_for_is_in_the_features_with_that_kind(
    across: str, lite_client: TestClient, collection: str
) -> None:
    described = lite_client.get(f"/collections/{collection}").json()
    rels = {link["rel"]: link for link in described["links"]}
    link = rels["http://www.opengis.net/def/rel/ogc/1.0/queryables"]
    answer = lite_client.get(link["href"])
    assert answer.headers["content-type"] == link["type"] == "application/schema+json"
    plain = lite_client.get(link["href"], headers={"Accept": "application/geo+json, application/json"})
    assert plain.headers["content-type"] == "application/json"
    kinds: dict[str, Any] = {"string": str, "number": (int, float), "boolean": bool}
    features = lite_client.get(f"/collections/{collection}/items").json()["features"]
    asked = answer.json()["properties"]
    for name, told in asked.items():
        values = [f["properties"].get(name) for f in features]
        assert all(value is None or isinstance(value, kinds[told["type"]]) for value in values), name
        assert ids(lite_client, collection, filter=f"{name} IS NULL OR {name} IS NOT NULL") == [
            f["id"] for f in features
        ]
    times = {n for n in features[0]["properties"] if n in {"created", "updated", "datetime"} or "seen" in n}
    assert times <= {name for name, told in asked.items() if told.get("format") == "date-time"}


@pytest.mark.parametrize(
    "asked",
    [
        {"filter": "first_seen >"},
        {"filter": "nothing = 1"},
        {"filter": "direction = 'appeared'", "filter-lang": "cql2-json"},
        {"filter": "direction = 'appeared'", "filter-crs": "http://www.opengis.net/def/crs/EPSG/0/3857"},
        {"crs": "http://www.opengis.net/def/crs/EPSG/0/3857"},
        {"datetime": "2024-06-31"},
        {"limit": "0"},
        {"cursor": "made up"},
    ],
)
def test_what_items_do_not_understand_they_refuse(lite_client: TestClient, asked: dict[str, str]) -> None:
    answer = lite_client.get("/collections/changes/items", params=asked)
    assert (answer.status_code, answer.json()["code"]) in {(400, "bad-query"), (400, "bad-cursor")}
    assert answer.json()["detail"].count("\n") == 0


def test_open_times_are_read_as_qgis_and_gdal_write_them(across: str, lite_client: TestClient) -> None:
    whole = ids(lite_client, "looks")
    for span in ("0000-01-01T00:00:00Z/2024-06-15T00:00:00Z", "../2024-06-15T", "/2024-06-15T00:00:00Z"):
        found = ids(lite_client, "looks", datetime=span)
        assert (span, len(found)) == (span, 4)
    assert ids(lite_client, "looks", datetime="2024-01-01T00:00:00Z/9999-12-31T00:00:00Z") == whole


# GDAL takes any column of times for the parameter ``datetime`` and believes the answer, unless it may send a filter.
GDAL_FILTERS = {
    "last_seen >= '2024-06-20T00:00:00Z'": ("changes", "last_seen", ">=", "2024-06-20"),
    "last_seen <= '2024-06-20T00:00:00Z'": ("changes", "last_seen", "<", "2024-06-20"),
    "first_seen >= '2024-06-02T00:00:00Z'": ("changes", "first_seen", ">=", "2024-06-02"),
    "last_absent >= '2024-05-02'": ("changes", "last_absent", ">=", "2024-05-02"),
    "direction = 'appeared'": ("changes", "direction", "==", "appeared"),
    "name LIKE 'acr%'": ("sites", "name", "==", "across"),
    "datetime >= '2024-06-15T00:00:00Z'": ("looks", "datetime", ">=", "2024-06-15"),
}
READ = """
import json, sys
import pyogrio
pyogrio.set_gdal_config_options({"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": sys.argv[2]})
source, told = "OAPIF:" + sys.argv[1], {}
for where, (layer, *_) in json.loads(sys.argv[3]).items():
    told[where] = len(pyogrio.read_dataframe(source, layer=layer, where=where, read_geometry=False))
boxes = {"wide": (170, -20, 180, 0), "far": (-180, -20, -170, 0), "elsewhere": (100, -20, 170, 0)}
for name, box in boxes.items():
    told[name] = len(pyogrio.read_dataframe(source, layer="sites", bbox=box))
told["crs"] = str(pyogrio.read_info(source, layer="changes")["crs"])
print(json.dumps(told))
"""


@pytest.mark.long
def test_gdal_finds_by_every_column_what_is_there(
    across: str, lite_service: Service, lite_client: TestClient
) -> None:
    compare = {">=": str.__ge__, "<": str.__lt__, "==": str.__eq__}
    expected: dict[str, Any] = {"wide": 1, "far": 1, "elsewhere": 0, "crs": "EPSG:4326"}
    for where, (collection, name, sign, value) in GDAL_FILTERS.items():
        features = lite_client.get(f"/collections/{collection}/items").json()["features"]
        expected[where] = sum(compare[sign](f["properties"][name], value) for f in features)
    key = lite_client.headers["Authorization"].removeprefix("Bearer ")
    with served(lite_service) as address:
        # GDAL keeps the interpreter to itself while it reads, so it may not be in the server's own process.
        ran = subprocess.run(
            [sys.executable, "-c", READ, address, key, json.dumps(GDAL_FILTERS)],
            capture_output=True,
            text=True,
            timeout=500,
            check=True,
        )
    assert json.loads(ran.stdout) == expected
    assert len(set(expected.values())) > 3
