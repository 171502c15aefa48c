"""AOIs as people send them: what is mended, what is refused, and where the refusal points."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from starlette.testclient import TestClient

from imagery.errors import DepotwatchError
from pipelines.aoi import area_m2
from service.errors import BadBody
from service.intake import CSV_TYPE, KML_TYPE, circle, parse_json, read_document, read_sites
from service.problems import ManyErrors
from tests.service.support import feature, square

KML = b"""<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>
<Placemark><name>Yard</name><description>old</description><Polygon><outerBoundaryIs><LinearRing><coordinates>
30,50,0 30.01,50,0 30.01,50.01,0 30,50.01,0 30,50,0</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark>
<Placemark><name>A pin</name><Point><coordinates>30,50</coordinates></Point></Placemark>
</Document></kml>"""


def refusal(document: Any) -> DepotwatchError:
    with pytest.raises(DepotwatchError) as raised:
        read_document(document)
    return raised.value


def test_a_feature_becomes_one_draft() -> None:
    intake = read_document(feature("  North  ", owner="me", analyse=False))
    draft = intake.drafts[0]
    assert (draft.name, draft.properties, draft.analyse, intake.many) == (
        "North",
        {"owner": "me"},
        False,
        False,
    )


def test_a_collection_becomes_as_many_drafts_and_tells_every_fault() -> None:
    good = [feature("a"), feature("b", geometry=square(31))]
    assert [d.name for d in read_document({"type": "FeatureCollection", "features": good}).drafts] == [
        "a",
        "b",
    ]
    bad = [feature(""), feature("x", geometry={"type": "Point", "coordinates": [0, 0]}), 7, feature("fine")]
    error = refusal({"type": "FeatureCollection", "features": bad})
    assert isinstance(error, ManyErrors)
    assert [fault[0] for fault in error.faults] == [
        "/features/0/properties/name",
        "/features/1/geometry",
        "/features/2",
    ]


def test_two_sites_of_one_name_in_one_call_are_refused() -> None:
    error = refusal({"type": "FeatureCollection", "features": [feature("a"), feature("a")]})
    assert isinstance(error, ManyErrors)
    assert error.faults[0][:2] == ("/features/1/properties/name", "name-taken")


def test_a_crossing_outline_is_told_with_its_vertex_and_place() -> None:
    bow = {"type": "Polygon", "coordinates": [[[30, 50], [30.01, 50.01], [30.01, 50], [30, 50.01], [30, 50]]]}
    error = refusal(feature("x", geometry=bow))
    assert error.code == "aoi-self-crossing"
    assert error.pointer.startswith("/geometry/coordinates/0/")
    assert "30.005 50.005" in error.detail


def test_exchanged_axes_are_suspected_out_loud() -> None:
    swapped = {"type": "Polygon", "coordinates": [[[50, 120], [50, 120.1], [50.1, 120.1], [50, 120]]]}
    assert "exchanged" in refusal(feature("x", geometry=swapped)).detail


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"parameters": {"gsd": 1}}, "/properties/parameters/gsd"),
        ({"parameters": {"gsd_m": -1}}, "/properties/parameters/gsd_m"),
        ({"parameters": 3}, "/properties/parameters"),
        ({"archives": "s2"}, "/properties/archives"),
        ({"analyse": "no"}, "/analyse"),
        ({"name": "x" * 300}, "/properties/name"),
        ({"name": "a\nb"}, "/properties/name"),
        ({"blob": "x" * 100_000}, "/properties"),
    ],
)
def test_what_is_wrong_is_pointed_at(change: dict[str, Any], pointer: str) -> None:
    assert refusal(feature(change.pop("name", "n"), **change)).pointer == pointer


def test_a_kml_placemark_is_a_site_and_a_pin_is_not() -> None:
    draft = read_sites(KML, "application/vnd.google-earth.kml+xml").drafts[0]
    assert (draft.name, draft.properties) == ("Yard", {"description": "old"})
    assert draft.aoi.bounds == (30, 50, 30.01, 50.01)


def test_kml_that_would_explode_is_refused_unread() -> None:
    bomb = b'<!DOCTYPE k [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><kml>&b;</kml>'
    with pytest.raises(DepotwatchError, match="document type"):
        read_sites(bomb, "application/vnd.google-earth.kml+xml")
    with pytest.raises(DepotwatchError, match="not XML"):
        read_sites(b"hello", "application/vnd.google-earth.kml+xml")


def test_a_table_of_points_becomes_circles_of_that_radius() -> None:
    table = "Name;lon;lat;radius;owner\r\nA;30;50;250;me\r\nB;31;-10;500;\r\n".encode("utf-8-sig")
    drafts = read_sites(table, "text/csv").drafts
    assert [d.name for d in drafts] == ["A", "B"]
    assert drafts[0].properties == {"owner": "me"}
    west, south, east, north = drafts[0].aoi.bounds
    _, _, width = Geod(ellps="WGS84").inv(west, (south + north) / 2, east, (south + north) / 2)
    assert width == pytest.approx(500, rel=0.002)


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (b"name,lon\nA,3\n", "bad-csv"),
        (b"name,lon,lat,radius_m\nA,x,50,100\n", "bad-csv"),
        (b"name,lon,lat,radius_m\nA,nan,50,100\n", "bad-csv"),
        (b"name,lon,lat,radius_m\nA,30,50,1\n", "bad-radius"),
        (b"name,lon,lat,radius_m\n", "bad-csv"),
        (b"", "bad-csv"),
        (b"\xff\xfe", "bad-body"),
        (b"name,lon,lat,radius_m\nA,300,50,100\n", "aoi-antimeridian"),
    ],
)
def test_tables_that_make_no_place_are_refused(table: bytes, code: str) -> None:
    with pytest.raises(DepotwatchError) as raised:
        read_sites(table, "text/csv")
    found = raised.value.faults[0][1] if isinstance(raised.value, ManyErrors) else raised.value.code
    assert found == code


RING = "30,50 30.01,50 30.01,50.01 30,50.01 30,50"


def placemark(name: str, ring: str) -> str:
    return (
        f"<Placemark><name>{name}</name><Polygon><outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates>"
        "</LinearRing></outerBoundaryIs></Polygon></Placemark>"
    )


@pytest.mark.parametrize(
    ("body", "media", "pointer", "code", "words"),
    [
        ("name,lon,lat,radius_m\nok,30,50,200\n\nfar,30,95,200\n", CSV_TYPE, "/4", "aoi-out-of-range", "line 4: "),
        ("name,lon,lat,radius_m\n,30,50,200\n", CSV_TYPE, "/2", "bad-site", "line 2: "),
        ("name,lon,lat,radius_m\na,30,50,200\na,30,51,200\n", CSV_TYPE, "/3", "name-taken", "line 3: "),
        (
            f"<kml><Placemark><name>pin</name></Placemark>{placemark('ok', RING)}{placemark('eight', '30,50 31,51 31,50 30,51 30,50')}</kml>",
            KML_TYPE, "/Placemark/3", "aoi-self-crossing", "placemark 3 (eight): ",
        ),
        (f"<kml>{placemark('a', 'x,y')}</kml>", KML_TYPE, "/Placemark/1", "bad-kml", "placemark 1: "),
    ],
)  # fmt: skip
def test_faults_of_tables_and_kml_point_to_where_they_were_written(
    lite_client: TestClient, body: str, media: str, pointer: str, code: str, words: str
) -> None:
    answer = lite_client.post("/sites", content=body.encode(), headers={"Content-Type": media})
    assert answer.status_code == 422, answer.text
    fault = answer.json()["errors"][0]
    assert (fault["pointer"], fault["code"]) == (pointer, code)
    assert fault["detail"].startswith(words)
    assert "/features" not in answer.text


@given(st.floats(-179, 179), st.floats(-79, 79), st.floats(10, 10_000))
def test_every_corner_of_a_circle_has_its_distance(
    longitude: float, latitude: float, radius_m: float
) -> None:
    geod = Geod(ellps="WGS84")
    for corner in circle(longitude, latitude, radius_m):
        assert math.isclose(geod.inv(longitude, latitude, *corner)[2], radius_m, rel_tol=1e-6)


@pytest.mark.parametrize("body", [b"{", b"NaN", b'{"a":Infinity}', b"\xff", b"[" * 100_000, b"9" * 10_000])
def test_what_is_not_json_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(BadBody):
        parse_json(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_no_document_breaks_the_intake(document: Any) -> None:
    with pytest.raises(DepotwatchError):
        read_document(document)


def test_over_http_the_fault_is_a_422_with_its_pointer(lite_client: TestClient) -> None:
    answer = lite_client.post("/sites", json=feature("x", parameters={"gsd_m": 1e9}))
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {
            "pointer": "/properties/parameters/gsd_m",
            "code": "bad-parameter",
            "detail": answer.json()["detail"],
        }
    ]


def test_kml_and_csv_come_in_over_http(lite_client: TestClient) -> None:
    kml = lite_client.post(
        "/sites", content=KML, headers={"Content-Type": "application/vnd.google-earth.kml+xml"}
    )
    assert kml.status_code == 201, kml.text
    table = b"name,lon,lat,radius_m\nA,30,50,100\nB,31,50,100\n"
    csv = lite_client.post("/sites", content=table, headers={"Content-Type": "text/csv; charset=utf-8"})
    assert csv.status_code == 201, csv.text
    assert len(csv.json()["features"]) == 2
    assert json.loads(csv.text)["job"]


def test_a_point_near_the_antimeridian_becomes_one_circle_cut_in_two() -> None:
    (draft,) = read_sites(b"name,lon,lat,radius_m\nTaveuni,179.999,-16.9,500\n", "text/csv").drafts
    assert draft.aoi.geom_type == "MultiPolygon"
    assert any("antimeridian" in warning for warning in draft.warnings)
    assert not any("separate parts" in warning for warning in draft.warnings)
    (other,) = read_sites(b"name,lon,lat,radius_m\nSuva,178.4,-16.9,500\n", "text/csv").drafts
    assert area_m2(draft.aoi) == pytest.approx(area_m2(other.aoi), rel=1e-6)
