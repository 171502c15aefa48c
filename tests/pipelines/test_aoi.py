"""The AOI as people write it: what is mended, what is refused, and what the refusal says."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import Polygon, box
from shapely.geometry import mapping

from imagery.errors import DepotwatchError
from pipelines import aoi

SQUARE = [[35.0, 33.0], [35.01, 33.0], [35.01, 33.01], [35.0, 33.01], [35.0, 33.0]]


def polygon(*rings: object) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry: object) -> dict[str, object]:
    return {"type": "Feature", "properties": {"name": "a depot"}, "geometry": geometry}


def test_a_feature_becomes_a_site_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.geojson").write_text(json.dumps(feature(polygon(SQUARE))))
    site = aoi.read_aoi(tmp_path / "x.geojson")
    assert site.name == "a depot"
    assert aoi.area_m2(site.aoi) == pytest.approx(1_035_000, rel=0.01)
    assert aoi.utm_zone(site.aoi) == 32636


def test_a_file_without_a_name_gives_its_own(tmp_path: Path) -> None:
    (tmp_path / "yard 7.json").write_text("\ufeff" + json.dumps(polygon(SQUARE)), "utf-8")
    assert aoi.read_aoi(tmp_path / "yard 7.json").name == "yard 7"


def test_winding_and_altitude_are_mended_silently() -> None:
    high = [[*p, 120.0] for p in reversed(SQUARE)]
    mended = aoi.parse_aoi(polygon(high))
    assert mended.equals(Polygon(SQUARE))
    assert mended.exterior.is_ccw
    assert not mended.has_z


def test_polygons_that_touch_become_one_and_others_stay_parts() -> None:
    near, far = mapping(box(35.01, 33.0, 35.02, 33.01)), mapping(box(35.05, 33.0, 35.06, 33.01))
    joined = aoi.parse_aoi(
        {"type": "FeatureCollection", "features": [feature(polygon(SQUARE)), feature(near)]}
    )
    assert joined.geom_type == "Polygon"
    apart = aoi.parse_aoi({"type": "FeatureCollection", "features": [feature(polygon(SQUARE)), feature(far)]})
    assert apart.geom_type == "MultiPolygon"
    assert len(apart.geoms) == 2


@given(st.floats(-179, 178), st.floats(-79, 82), st.floats(0.002, 0.05), st.booleans())
def test_any_sound_box_is_taken_and_keeps_its_place(
    west: float, south: float, size: float, turned: bool
) -> None:
    outline = box(west, south, west + size, south + size, ccw=not turned)
    parsed = aoi.parse_aoi(mapping(outline) | {})
    assert parsed.equals(outline)
    assert parsed.exterior.is_ccw


BOWTIE = [[35.0, 33.0], [35.01, 33.01], [35.01, 33.0], [35.0, 33.01], [35.0, 33.0]]
OUTSIDE_HOLE = [[36.0, 33.0], [36.01, 33.0], [36.01, 33.01], [36.0, 33.0]]


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        ({"type": "FeatureCollection", "features": []}, "aoi-empty", "no polygon"),
        (feature(None), "aoi-empty", "no polygon"),
        (polygon(), "aoi-empty", "no polygon"),
        (polygon([]), "aoi-empty", "four positions"),
        (polygon(SQUARE[:3]), "aoi-empty", "four positions"),
        (polygon([[35.0, 33.0], [35.01, 33.01], [35.0, 33.0], [35.0, 33.0]]), "aoi-empty", "no area"),
        (polygon([[35.0, 33.0]] * 5), "aoi-empty", "no area"),
        (polygon(BOWTIE), "aoi-self-crossing", "35.005 33.005"),
        (polygon(SQUARE, OUTSIDE_HOLE), "aoi-self-crossing", "ring 1"),
        ({"type": "Point", "coordinates": [35, 33]}, "aoi-not-polygon", "Point"),
        (feature({"type": "LineString", "coordinates": SQUARE}), "aoi-not-polygon", "LineString"),
        (
            {"type": "GeometryCollection", "geometries": [polygon(SQUARE), {"type": "Point", "coordinates": [35, 33]}]},
            "aoi-not-polygon", "Point",
        ),
        (polygon([[35.0, float("nan")], *SQUARE[1:]]), "aoi-not-a-number", "vertex 0"),
        (polygon([*SQUARE[:2], [float("inf"), 33.0], *SQUARE[3:]]), "aoi-not-a-number", "vertex 2"),
        (polygon([*SQUARE[:2], [35.01, -(10**400)], *SQUARE[3:]]), "aoi-not-a-number", "vertex 2"),
        (polygon([["35", 33.0], *SQUARE[1:]]), "aoi-not-a-number", "vertex 0"),
        (polygon([[35.0], *SQUARE[1:]]), "aoi-not-a-number", "vertex 0"),
        (polygon([[None, 3.0], *SQUARE[1:]]), "aoi-not-a-number", "vertex 0"),
        (polygon([[True, 3.0], *SQUARE[1:]]), "aoi-not-a-number", "vertex 0"),
        (polygon([[33.0, 135.0], [33.0, 135.01], [33.01, 135.0], [33.0, 135.0]]), "aoi-out-of-range", "exchanged"),
        (polygon([[500000.0, 5000000.0]] * 4), "aoi-out-of-range", "EPSG:4326"),
        (polygon([[190.0, 10.0], [190.1, 10.0], [190.1, 10.1], [190.0, 10.0]]), "aoi-antimeridian", "write -170 to -169.9"),
        (polygon([[365.0, 10.0], [365.1, 10.0], [365.1, 10.1], [365.0, 10.0]]), "aoi-out-of-range", "not degrees"),
        (mapping(box(-180, -80, 180, 80)), "aoi-antimeridian", "two polygons"),
        (polygon([[179.5, 10.0], [-179.5, 10.0], [-179.5, 10.5], [179.5, 10.5], [179.5, 10.0]]), "aoi-too-large", "divide it"),
        (mapping(box(10, 85, 10.01, 85.01)), "aoi-polar", "84 N"),
        (mapping(box(35, 33, 35.00005, 33.00005)), "aoi-too-small", "m2"),
        (mapping(box(35, 33, 36, 34)), "aoi-too-large", "divide it"),
        (
            {"type": "FeatureCollection", "features": [feature(polygon(SQUARE)), feature(mapping(box(37, 34, 37.01, 34.01)))]},
            "aoi-too-large", "in 2 parts",
        ),
        (polygon([[35 + i * 1e-8, 33.0] for i in range(100_002)]), "aoi-too-many-vertices", "100,000"),
        (polygon(SQUARE) | {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32636"}}},
         "aoi-wrong-crs", "EPSG::32636"),
        ([], "aoi-unreadable", "no GeoJSON"),
        ({"type": "Topology"}, "aoi-unreadable", "Topology"),
        ({"type": "FeatureCollection"}, "aoi-unreadable", "features"),
        ({"type": "FeatureCollection", "features": [7]}, "aoi-unreadable", "no GeoJSON object"),
        ({"type": "MultiPolygon", "coordinates": [7]}, "aoi-unreadable", "no polygon"),
    ],
)  # fmt: skip
def test_what_cannot_be_watched_is_refused_in_one_sentence(document: object, code: str, words: str) -> None:
    with pytest.raises(DepotwatchError) as caught:
        aoi.parse_aoi(document)
    assert caught.value.code == code
    assert words in caught.value.detail
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(
    "name",
    [
        "urn:ogc:def:crs:OGC:1.3:CRS84",
        "urn:ogc:def:crs:EPSG::4326",
        "EPSG:4326",
        "urn:ogc:def:crs:OGC::CRS84",
    ],
)
def test_declared_longitude_and_latitude_is_taken(name: str) -> None:
    document = polygon(SQUARE) | {"crs": {"type": "name", "properties": {"name": name}}}
    assert aoi.parse_aoi(document).equals(Polygon(SQUARE))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00\xff", "9" * 5_000])
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.geojson").write_bytes(text.encode("latin-1"))
    with pytest.raises(aoi.AoiUnreadable, match=r"x\.geojson"):
        aoi.read_aoi(tmp_path / "x.geojson")
    with pytest.raises(aoi.AoiUnreadable, match="no such file"):
        aoi.read_aoi(tmp_path / "y.geojson")
    with pytest.raises(aoi.AoiUnreadable, match="is a folder"):
        aoi.read_aoi(tmp_path)


@pytest.mark.parametrize("content", [b"<kml/>", b"II*\x00\xff\xfe\xc0\xc1"])
def test_another_format_is_refused_with_the_one_that_is_wanted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.kml").write_bytes(content)
    with pytest.raises(
        aoi.AoiUnreadable, match=r"is no GeoJSON .*; save the site's outline as GeoJSON in EPSG:4326"
    ):
        aoi.read_aoi(tmp_path / "x.kml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_aoi_is_read_as_any_shell_writes_it(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.geojson").write_text(json.dumps(polygon(SQUARE)), encoding)
    assert aoi.read_aoi(tmp_path / "x.geojson").aoi.equals(Polygon(SQUARE))


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.geojson").write_text(json.dumps(polygon(SQUARE)))

    def denied(self: Path, *_: object) -> str:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(aoi.AoiUnreadable, match="Permission denied"):
        aoi.read_aoi(tmp_path / "x.geojson")


def test_the_crossing_is_pointed_at() -> None:
    with pytest.raises(aoi.AoiSelfCrossing) as caught:
        aoi.parse_aoi({"type": "FeatureCollection", "features": [feature(polygon(BOWTIE))]})
    assert caught.value.pointer.startswith("/features/0/geometry/coordinates/0/")


def test_an_aoi_in_the_wrong_order_is_told_by_where_the_scenes_lie() -> None:
    scenes = [box(35, 33, 36, 34).wkt]
    swapped = aoi.parse_aoi(mapping(box(33.1, 35.1, 33.11, 35.11)))
    assert "exchanged" in aoi.outside_scenes(swapped, scenes).detail
    elsewhere = aoi.parse_aoi(mapping(box(10, 50, 10.01, 50.01)))
    assert "longitude 35.0000 to 36.0000" in aoi.outside_scenes(elsewhere, scenes).detail
    assert "no scene at all" in aoi.outside_scenes(elsewhere, []).detail


ACROSS = box(179.99, 10.0, 180.01, 10.01)


@pytest.mark.parametrize(
    "written",
    [
        mapping(ACROSS),
        mapping(box(-180.01, 10.0, -179.99, 10.01)),
        polygon([[179.99, 10.0], [-179.99, 10.0], [-179.99, 10.01], [179.99, 10.01], [179.99, 10.0]]),
        polygon([[-179.99, 10.01], [179.99, 10.01], [179.99, 10.0], [-179.99, 10.0], [-179.99, 10.01]]),
        {
            "type": "MultiPolygon",
            "coordinates": [
                mapping(box(-180, 10, -179.99, 10.01))["coordinates"],
                mapping(box(179.99, 10, 180, 10.01))["coordinates"],
            ],
        },
    ],
)
def test_an_aoi_across_the_antimeridian_is_cut_along_it_however_written(written: dict[str, object]) -> None:
    found = aoi.parse_aoi(written)
    assert found.geom_type == "MultiPolygon"
    assert [part.bounds for part in found.geoms] == [
        pytest.approx((179.99, 10.0, 180.0, 10.01)),
        pytest.approx((-180.0, 10.0, -179.99, 10.01)),
    ]
    assert all(part.exterior.is_ccw for part in found.geoms)
    assert aoi.area_m2(found) == pytest.approx(aoi.area_m2(box(9.99, 10.0, 10.01, 10.01)), rel=1e-6)
    assert aoi.utm_zone(found) in {32601, 32660}
    assert aoi.parse_aoi(mapping(found)) == found


def test_the_zone_of_a_cut_aoi_is_that_of_its_larger_side() -> None:
    assert aoi.utm_zone(aoi.parse_aoi(mapping(box(179.97, -17.0, 180.01, -16.99)))) == 32760
    assert aoi.utm_zone(aoi.parse_aoi(mapping(box(179.99, -17.0, 180.03, -16.99)))) == 32701


def test_holes_and_separate_parts_near_the_antimeridian_stay_what_they_are() -> None:
    hole = box(179.995, 10.002, 180.005, 10.008)
    ring = aoi.parse_aoi(mapping(ACROSS.difference(hole)))
    expected = aoi.area_m2(box(0, 10.0, 0.02, 10.01)) - aoi.area_m2(box(0, 10.002, 0.01, 10.008))
    assert aoi.area_m2(ring) == pytest.approx(expected, rel=1e-6)
    apart = {
        "type": "MultiPolygon",
        "coordinates": [mapping(box(w, 10, w + 0.01, 10.01))["coordinates"] for w in (179.95, -179.97)],
    }
    found = aoi.parse_aoi(apart)
    assert [part.bounds[0] for part in found.geoms] == pytest.approx([179.95, -179.97])
