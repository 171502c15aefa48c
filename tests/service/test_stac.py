"""``/stac`` as STAC clients use it: read by pystac-client, its Items valid, nobody else's among them."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pystac
import pytest
from pystac.validation import validate_dict
from pystac_client import Client
from starlette.testclient import TestClient

from service.context import Service
from tests.service.loopback import served
from tests.service.stac_api_check import KeptIO
from tests.service.support import client_of, feature, square, work_off
from tests.service.test_tiles import SCENES, Registering

EAST = {"type": "Polygon", "coordinates": [[[39, 49], [41, 49], [41, 51], [39, 51], [39, 49]]]}


@pytest.fixture
def world(lite_service: Service, lite_client: TestClient) -> dict[str, str]:
    """Two sites far apart, each with a report of three looks."""
    made = {}
    for name, west in (("west", 30.0), ("east", 40.0)):
        answer = lite_client.post("/sites", json=feature(name, geometry=square(west)))
        made[name] = answer.json()["id"]
    work_off(lite_service)
    return made


@pytest.fixture
def catalog(lite_service: Service, lite_client: TestClient, world: dict[str, str]) -> Iterator[Client]:
    """The API as pystac-client opens it."""
    with served(lite_service) as address:
        headers = {"Authorization": lite_client.headers["Authorization"]}
        yield Client.open(f"{address}/stac", headers=headers)


@pytest.fixture
def schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemas of extensions as pystac finds them: here."""
    monkeypatch.setattr(pystac.StacIO, "_default_io", KeptIO)


def found(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    answer = client.post("/stac/search", json=body)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["features"])


def test_pystac_client_reads_everything_page_by_page(catalog: Client, world: dict[str, str]) -> None:
    assert catalog.conforms_to("ITEM_SEARCH")
    assert catalog.conforms_to("COLLECTIONS")
    assert {c.id for c in catalog.get_collections()} == {"scenes", "reports"}
    for method in ("GET", "POST"):
        items = list(catalog.search(limit=3, method=method).items())
        assert len({item.id for item in items}) == len(items) == 8
    collection = catalog.get_collection("scenes")
    assert collection is not None
    scenes = list(collection.get_items())
    assert len(scenes) == 6
    assert {item.properties["depotwatch:site"] for item in scenes} == set(world.values())
    assert collection.get_item("nothing") is None
    (one,) = collection.get_items(scenes[0].id)
    assert one.to_dict() == scenes[0].to_dict()


def test_pystac_client_searches_by_place_time_and_id(catalog: Client, world: dict[str, str]) -> None:
    def sites(**wanted: Any) -> list[str]:
        return [i.properties["depotwatch:site"] for i in catalog.search(**wanted).items()]

    assert set(sites(bbox=[39, 49, 41, 51])) == {world["east"]}
    assert set(sites(intersects=EAST)) == {world["east"]}
    june = list(catalog.search(collections=["scenes"], datetime="2024-06").items())
    assert [item.datetime and item.datetime.month for item in june] == [6, 6]
    (item,) = catalog.search(ids=[june[0].id]).items()
    assert item.to_dict() == june[0].to_dict()
    assert sites(collections=["reports"], datetime="../2024-05-02T00:00:00Z") != []
    assert sites(collections=["reports"], datetime="2025-01-01/..") == []


def test_items_and_collections_are_valid_stac(catalog: Client, schemas: None) -> None:
    for item in catalog.search().items():
        assert len(item.validate()) > 1
        assert item.get_links("root")
    for collection in catalog.get_collections():
        assert len(collection.validate()) > 1


@pytest.mark.long
@pytest.mark.parametrize("collection", ["scenes", "reports"])
def test_stac_api_validator_finds_no_error(
    lite_service: Service, lite_client: TestClient, world: dict[str, str], collection: str
) -> None:
    key = lite_client.headers["Authorization"].removeprefix("Bearer ")
    with served(lite_service) as address:
        command = ["-m", "tests.service.stac_api_check", f"{address}/stac", key, collection]
        ran = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, timeout=500, check=False
        )
    assert ran.returncode == 0, ran.stdout
    assert "Errors: none" in ran.stdout


def test_what_a_scene_tells_of_sun_and_view_is_valid(
    lite_service: Service, lite_client: TestClient, schemas: None
) -> None:
    class Telling(Registering):
        def __call__(self, unit: Any, out: Any, step: Any) -> None:
            super().__call__(unit, out, step)
            told = json.loads((out / "looks.geojson").read_text())
            for look in told["features"]:
                look["properties"] |= {
                    "sun_azimuth_deg": 151.2,
                    "sun_elevation_deg": 41.0,
                    "view_azimuth_deg": 12.0,
                    "off_nadir_deg": 8.5,
                    "gsd": 0.5,
                    "platform": "one",
                    "fractions": {"clear": 0.85, "cloud": 0.15},
                }
            (out / "looks.geojson").write_text(json.dumps(told))

    lite_client.post("/sites", json=feature("yard"))
    work_off(lite_service, Telling({}))
    item = found(lite_client, collections=["scenes"])[0]
    told = {
        name: item["properties"][name] for name in ("eo:cloud_cover", "view:off_nadir", "gsd", "platform")
    }
    assert told == {"eo:cloud_cover": 15.0, "view:off_nadir": 8.5, "gsd": 0.5, "platform": "one"}
    kinds = {address.split("/")[3] for address in item["stac_extensions"]}
    assert kinds == {"projection", "processing", "view", "eo"}
    assert len(validate_dict(item)) == 5


def test_a_report_tells_its_files_with_their_hashes(world: dict[str, str], lite_client: TestClient) -> None:
    for report in found(lite_client, collections=["reports"]):
        page = report["assets"]["report.html"]
        served = lite_client.get(page["href"])
        digest = served.headers["repr-digest"].removeprefix("sha-256=:").removesuffix(":")
        assert page["file:checksum"] == "1220" + base64.b64decode(digest).hex()
        assert page["file:size"] == len(served.content)
        assert report["properties"]["processing:version"] == "fake"


def test_pixels_are_linked_only_where_the_licence_lets_them(
    lite_service: Service, lite_client: TestClient
) -> None:
    class Licensed(Registering):
        def __call__(self, unit: Any, out: Any, step: Any) -> None:
            super().__call__(unit, out, step)
            told = json.loads((out / "looks.geojson").read_text())
            for look, scene, allowed in zip(told["features"], SCENES, (True, False), strict=False):
                terms = "CC-BY-4.0" if allowed else "no-chips; ask"
                look["properties"] |= {"scene_id": scene, "licence": terms, "chips_allowed": allowed}
            told["features"][2]["properties"]["used"] = False
            (out / "looks.geojson").write_text(json.dumps(told))

    lite_client.post("/sites", json=feature("yard"))
    work_off(lite_service, Licensed({}))
    shown, withheld = found(lite_client, collections=["scenes"])
    assert shown["properties"]["license"] == "CC-BY-4.0"
    assert "/tiles/plain%2Fscene%201/0/0/0.png?report=" in shown["assets"]["thumbnail"]["href"]
    assert withheld["properties"]["license"] == "other"
    assert withheld["properties"]["depotwatch:licence"] == "no-chips; ask"
    assert set(withheld["assets"]) == {"registration"}


def test_a_page_of_a_search_by_post_says_how_to_go_on(world: dict[str, str], lite_client: TestClient) -> None:
    asked: dict[str, Any] = {"limit": 5, "bbox": [29, 49, 31, 51]}
    first = lite_client.post("/stac/search", json=asked).json()
    assert "next" not in {link["rel"] for link in first["links"]}
    asked["limit"] = 2
    ids = []
    for _ in range(2):
        page = lite_client.post("/stac/search", json=asked).json()
        ids += [item["id"] for item in page["features"]]
        asked = next((link["body"] for link in page["links"] if link["rel"] == "next"), {})
    assert asked == {}
    assert ids == [item["id"] for item in first["features"]]


@pytest.mark.parametrize(
    "body",
    [
        {"filter": "gsd < 1"},
        {"sortby": []},
        {"bbox": [1, 2, 3]},
        {"bbox": [0, 10, 1, -10]},
        {"bbox": [0, 0, 1, 1], "intersects": EAST},
        {"intersects": {"type": "Feature", "geometry": EAST, "properties": {}}},
        {"intersects": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}},
        {"intersects": {"type": "LineString", "coordinates": [[i / 1e5, 0] for i in range(10_001)]}},
        {"intersects": {"type": "Point", "coordinates": [1e308, 0]}},
        {"intersects": {"type": "Polygon", "coordinates": []}},
        {"intersects": {"type": "Point", "coordinates": [190, 0]}},
        {"intersects": ["Point"]},
        {"datetime": "yesterday"},
        {"datetime": "2024-05-01"},
        {"datetime": "2024-05-01T10:00:00"},
        {"datetime": "../.."},
        {"datetime": "2024-05-02T00:00:00Z/2024-05-01T00:00:00Z"},
        {"limit": 0},
        {"ids": "one"},
        {"token": "made up"},
    ],
)
def test_what_a_search_does_not_understand_it_refuses(lite_client: TestClient, body: dict[str, Any]) -> None:
    answer = lite_client.post("/stac/search", json=body)
    assert (answer.status_code, answer.json()["status"]) == (400, 400)


def test_unknown_words_in_an_address_are_refused(lite_client: TestClient) -> None:
    for path in ("/stac/search?sortby=-datetime", "/stac/collections/scenes/items?filter=1"):
        assert lite_client.get(path).status_code == 400
    assert lite_client.get("/stac/collections/landsat").status_code == 404
    assert lite_client.get("/stac/search?collections=landsat").json()["features"] == []


def test_a_time_is_read_in_every_way_rfc_3339_writes_it(
    world: dict[str, str], lite_client: TestClient
) -> None:
    whole = found(lite_client, collections=["scenes"])
    for day in ("2024-05-01T10:00:00Z", "2024-05-01t10:00:00.000z", "2024-05-01T12:00:00+02:00"):
        dated = found(lite_client, collections=["scenes"], datetime=day)
        assert dated == [item for item in whole if item["properties"]["datetime"] == "2024-05-01T10:00:00Z"]
        assert len(dated) == 2


def test_what_a_client_has_already_is_not_sent_again(world: dict[str, str], lite_client: TestClient) -> None:
    item = found(lite_client)[0]["id"]
    for path in (
        "",
        "/conformance",
        "/collections",
        "/collections/scenes",
        f"/collections/scenes/items/{item}",
    ):
        first = lite_client.get(f"/stac{path}")
        again = lite_client.get(f"/stac{path}", headers={"If-None-Match": first.headers["etag"]})
        assert (path, again.status_code, again.content) == (path, 304, b"")
    page = lite_client.get("/stac/search")
    lite_client.delete(f"/sites/{world['west']}", headers={"If-Match": "*"})
    assert lite_client.get("/stac/search", headers={"If-None-Match": page.headers["etag"]}).status_code == 200


def test_no_other_tenant_finds_an_item(
    world: dict[str, str], lite_service: Service, lite_client: TestClient
) -> None:
    other = client_of(lite_service, tenant="second")
    for item in found(lite_client):
        link = next(link["href"] for link in item["links"] if link["rel"] == "self")
        assert lite_client.get(link).json()["id"] == item["id"]
        assert other.get(link).status_code == 404
        assert found(other, ids=[item["id"]]) == []
    assert found(other) == []
    extent = other.get("/stac/collections/scenes").json()["extent"]
    assert extent["temporal"] == {"interval": [[None, None]]}


def test_items_of_a_deleted_site_are_gone(world: dict[str, str], lite_client: TestClient) -> None:
    lite_client.delete(f"/sites/{world['west']}", headers={"If-Match": "*"})
    assert {i["properties"]["depotwatch:site"] for i in found(lite_client)} == {world["east"]}
