"""What people in a hurry send: each gets one sentence that names the place and the cure, under a code that stays."""

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from starlette.testclient import TestClient

from service.context import Service, open_service
from tests.service.support import client_of, feature, make_settings, square, work_off

GEOJSON, KML, CSV = "application/geo+json", "application/vnd.google-earth.kml+xml", "text/csv"
RING = "<Polygon><outerBoundaryIs><LinearRing><coordinates>{}</coordinates></LinearRing></outerBoundaryIs></Polygon>"
HERE = RING.format("30,50,0 30.01,50,0 30.01,50.01,0 30,50.01,0 30,50,0")
THERE = RING.format("30.1,50 30.11,50 30.11,50.01 30.1,50.01 30.1,50")
HEADER = "name,lat,lon,radius_m\n"

Call = Callable[[TestClient, str], Any]


def kml(*placemarks: str) -> str:
    inner = "".join(f"<Placemark>{placemark}</Placemark>" for placemark in placemarks)
    return (
        f'<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>{inner}</Document></kml>'
    )


def outline(*corners: tuple[float, float]) -> dict[str, Any]:
    return feature("drawn", geometry={"type": "Polygon", "coordinates": [[list(c) for c in corners]]})


def site(document: Any, media: str = GEOJSON) -> Call:
    body = document if isinstance(document, str | bytes) else json.dumps(document)
    return lambda client, _known: client.post("/sites", content=body, headers={"Content-Type": media})


def get(path: str) -> Call:
    return lambda client, known: client.get(path.replace("{site}", known))


def job(**wanted: Any) -> Call:
    return lambda client, known: client.post("/jobs", json={"sites": [known], **wanted})


REFUSED: list[tuple[str, Call, int, str, str]] = [
    ("latitude first", site(outline((40, 149), (40.01, 149), (40.01, 149.01), (40, 149))), 422,
     "aoi-out-of-range", "look exchanged"),
    ("metres for degrees", site(outline((3e5, 5e6), (3.1e5, 5e6), (3.1e5, 5.1e6), (3e5, 5e6))), 422,
     "aoi-out-of-range", "EPSG:4326"),
    ("a bow tie", site(outline((30, 50), (30.01, 50.01), (30.01, 50), (30, 50.01), (30, 50))), 422,
     "aoi-self-crossing", "30.005 50.005"),
    ("a whole country", site(outline((10, 40), (20, 40), (20, 50), (10, 50), (10, 40))), 422,
     "aoi-too-large", "divide it"),
    ("a pin", site(feature("pin", geometry={"type": "Point", "coordinates": [30, 50]})), 422,
     "aoi-not-polygon", "draw a polygon"),
    ("an outline and nothing else", site(square()), 422, "bad-site", "properties.name"),
    ("no name", site({"type": "Feature", "properties": {}, "geometry": square()}), 422, "bad-site", "properties.name"),
    ("nothing", site(""), 400, "bad-body", "the body is empty"),
    ("curl's own media type", site(feature("a"), "application/x-www-form-urlencoded"), 415,
     "unsupported-media-type", GEOJSON),
    ("the same site twice", site(feature("known")), 409, "name-taken", "'known'"),
    ("kilometres for metres", site(HEADER + "a,50,30,250000\n", CSV), 422, "bad-radius", "6 to 11000"),
    ("a radius below nothing", site(HEADER + "a,50,30,-5\n", CSV), 422, "bad-radius", "line 2"),
    ("no radius", site("name,lat,lon\na,50,30\n", CSV), 422, "bad-csv", "radius_m"),
    ("no header", site("a,50,30,200\n", CSV), 422, "bad-csv", "it needs name, longitude, latitude and radius_m"),
    ("degrees, minutes, seconds", site(HEADER + "a,50°6'0\"N,30,200\n", CSV), 422, "bad-csv", "latitude"),
    ("a table in Latin-1", site((HEADER + "Dép,50,30,200\n").encode("latin-1"), CSV), 400, "bad-body", "UTF-8"),
    ("pins of Google Earth", site(kml("<Point><coordinates>30,50</coordinates></Point>"), KML), 422,
     "bad-kml", "draw one around each site"),
    ("two placemarks that were never named", site(kml(f"<name>Untitled</name>{HERE}", f"<name>Untitled</name>{THERE}"), KML),
     422, "unusable-input", "'Untitled' is also the name of"),
    ("a KMZ", site(b"PK\x03\x04", KML), 422, "bad-kml", "unzip it"),
    ("a limit below nothing", get("/sites?limit=-5"), 400, "bad-query", "limit"),
    ("three numbers for a box", get("/sites?bbox=1,2,3"), 400, "bad-query", "west,south,east,north"),
    ("a date for a cursor", get("/changes?since=2024-01-01"), 400, "bad-cursor", "start again without it"),
    ("a report before its time", get("/sites/{site}/reports/latest"), 404, "no-report-yet", "first job"),
    ("a date as written on paper", get("/sites/{site}/changes?datetime=01.02.2024"), 400, "bad-query", "2024-01-31T12:00:00Z"),
    ("a date without hyphens", get("/sites/{site}/changes?datetime=20240131"), 400, "bad-query", "2024-01-31T12:00:00Z"),
    ("a week for a date", get("/sites/{site}/changes?datetime=2024-W05"), 400, "bad-query", "2024-01-31T12:00:00Z"),
    ("a class in the plural", get("/sites/{site}/changes?class=containers"), 400, "bad-query", "container, berm, other"),
    ("a variable that was never set", get("/sites/{site}/changes?class="), 400, "bad-query", "leave it out for all"),
    ("a status of one's own", get("/sites/{site}/changes?status=done"), 400, "bad-query", "confirmed"),
    ("per cent for a share", get("/sites/{site}/changes?min_confidence=80"), 400, "bad-query", "less than or equal to 1"),
    ("a filter misspelt", get("/sites/{site}/changes?min_confidnce=0.9"), 400, "bad-query", "min_confidence"),
    ("a packed body", lambda client, _known: client.post("/sites", content=gzip.compress(b"{}"), headers={
        "Content-Type": GEOJSON, "Content-Encoding": "gzip"}), 415, "unsupported-media-type", "without Content-Encoding"),
    ("a file format not made", get("/sites/{site}/changes?f=shp"), 400, "bad-query", "gpkg"),
    ("a slash too many", get("/sites/"), 404, "not-found", "nothing at /sites/"),
    ("a period backwards", job(period="2024-02-01/2024-01-01"), 400, "bad-query", "ends before it starts"),
    ("a name for a list of ids", job(sites="known"), 422, "unusable-input", "a valid list or 'all'"),
    ("a list of no site", job(sites=[]), 422, "unusable-input", "at least one id, or 'all'"),
    ("American spelling", job(type="analyze"), 422, "unusable-input", "'analyse'"),
    ("a parameter misspelt", job(parameters={"min_confidnce": 0.5}), 422, "bad-parameter", "min_confidence"),
    ("a member misspelt", job(priod="2024-01-01/.."), 422, "unusable-input", "priod"),
]  # fmt: skip


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> tuple[TestClient, str]:
    """A client, and a site called ``known`` that was not analysed yet."""
    service = open_service(make_settings(tmp_path_factory.mktemp("hurried") / "data"))
    client = client_of(service)
    return client, client.post("/sites", json=feature("known")).json()["id"]


@pytest.mark.parametrize(
    ("call", "status", "code", "words"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_a_mistake_gets_one_clear_sentence(
    hurried: tuple[TestClient, str], call: Call, status: int, code: str, words: str
) -> None:
    answer = call(*hurried)
    problem = answer.json()
    told = [(problem["code"], problem["detail"])] + [
        (e["code"], e["detail"]) for e in problem.get("errors", [])
    ]
    assert answer.status_code == status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert code in {one[0] for one in told}
    assert words in problem["detail"]
    assert "\n" not in problem["detail"]
    assert len(problem["detail"]) < 300


@pytest.mark.parametrize(
    ("body", "media", "names"),
    [
        ("name;lat;lon;radius_m\nTorget;50,1;30,2;200\n", CSV, ["Torget"]),
        ("name;lat;lon;radius_m\nTorget;50.1;30.2;200\n", CSV, ["Torget"]),
        ("\ufeffname,lat,lon,radius_m\nTorget,50.1,30.2,200\n", CSV, ["Torget"]),
        ("Name\tLat\tLon\tRadius\rTorget\t50.1\t30.2\t200\r", CSV + "; charset=utf-8", ["Torget"]),
        (kml(f"<name>a</name>{HERE}", f"<name>b</name>{THERE}"), KML, ["a", "b"]),
        (kml(f"<name>a</name><MultiGeometry>{HERE}{THERE}</MultiGeometry>"), KML, ["a"]),
        (kml("<name>pin</name><Point><coordinates>30,50</coordinates></Point>", f"<name>a</name>{HERE}"), KML, ["a"]),
    ],
    ids=["decimal commas", "semicolons", "byte order mark", "tabs of an old Mac", "two places", "two polygons", "pin beside"],
)  # fmt: skip
def test_what_was_meant_is_taken(lite_client: TestClient, body: str, media: str, names: list[str]) -> None:
    answer = site(body.encode(), media)(lite_client, "")
    assert answer.status_code == 201, answer.text
    made = lite_client.get("/sites").json()["features"]
    assert sorted(one["properties"]["name"] for one in made) == names
    if names == ["Torget"]:
        west, south, east, north = made[0]["bbox"]
        assert (west + east) / 2 == pytest.approx(30.2)
        assert (south + north) / 2 == pytest.approx(50.1)


def test_without_scenes_the_answer_is_not_observable_and_never_no_change(lite_client: TestClient) -> None:
    made = lite_client.post("/sites", json=feature("a")).json()
    assert made["coverage"]["scenes"] == 0
    assert any("not observable" in warning for warning in made["warnings"])


def test_a_site_deleted_while_it_waits_ends_its_job_with_the_reason(
    lite_service: Service, lite_client: TestClient
) -> None:
    made = lite_client.post("/sites", json=feature("a")).json()
    assert lite_client.delete(f"/sites/{made['id']}").status_code == 204
    work_off(lite_service)
    job = lite_client.get(f"/jobs/{made['job']}").json()
    assert (job["state"], job["units"]["skipped"]) == ("successful", 1)
    (result,) = lite_client.get(f"/jobs/{made['job']}/results").json()["results"]
    assert (result["state"], result["code"]) == ("skipped", "site-deleted")


def test_a_time_without_a_zone_is_utc_and_shown_as_such(lite_client: TestClient) -> None:
    made = lite_client.post("/sites", json=feature("a")).json()["id"]
    event = {"label": "x", "when": "2024-06-01T10:00:00", "source": "s"}
    window = lite_client.post(f"/sites/{made}/events", json=event).json()["window"]
    assert window == {"start": "2024-05-31T10:00:00.000Z", "end": "2024-06-02T10:00:00.000Z"}


@pytest.mark.parametrize("part", ["склад", "СКЛАД", "Склад", "№7"])
def test_a_name_is_found_by_its_part_in_any_script(client: TestClient, part: str) -> None:
    made = client.post("/sites", json=feature("Склад №7", analyse=False)).json()
    found = client.get("/sites", params={"q": part}).json()["features"]
    assert [one["id"] for one in found] == [made["id"]]


def told(*arguments: str) -> str:
    """Return what a command says where it is given something unusable."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.service.run", *arguments], capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_port_that_is_none_gets_one_line(tmp_path: Path) -> None:
    assert "0 to 65535" in told("api", "--port", "99999", "--data", str(tmp_path / "data"))


def test_a_backup_that_is_none_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.tar").write_text("hello")
    assert "no.tar cannot be read" in told(
        "restore", str(tmp_path / "no.tar"), "--data", str(tmp_path / "data")
    )


def test_a_name_with_a_line_break_gets_one_line_too(tmp_path: Path) -> None:
    assert r"no\nsuch.tar cannot be read" in told(
        "restore", str(tmp_path / "no\nsuch.tar"), "--data", str(tmp_path / "data")
    )


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_folder_of_pictures_without_place_gets_one_line(tmp_path: Path) -> None:
    folder, aoi = tmp_path / "pictures", tmp_path / "aoi.geojson"
    folder.mkdir()
    aoi.write_text(json.dumps(square()))
    shape: dict[str, Any] = {"width": 64, "height": 64, "count": 3, "dtype": "uint16"}
    with rasterio.open(folder / "20240101T000000.tif", "w", driver="GTiff", **shape) as sink:
        sink.write(np.ones((3, 64, 64), "uint16"))
    said = told("analyse", "--catalog", str(folder), "--aoi", str(aoi), "--out", str(tmp_path / "out"))
    assert "has no CRS" in said


def test_a_reader_that_has_enough_ends_the_command_quietly(tmp_path: Path) -> None:
    code = "import sys; from service.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "archive", "list", "--json", "--data", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (128 + signal.SIGPIPE, b"")
