"""Each export opened with a program that is not ours."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
import pandas as pd
import pyarrow.parquet
import pyogrio
import pytest

from imagery.changes import DetectionLimit, Direction, Estimate, ObjectClass, OnsetInterval, Status
from pipelines.exports import export_csv, export_geojson, export_gpkg, export_kmz, export_parquet, features
from pipelines.report.canonical import rfc3339
from pipelines.report.kml import kml
from pipelines.report.timeline import timeline_csv

SUFFIX = {
    "export_csv": "csv",
    "export_geojson": "geojson",
    "export_gpkg": "gpkg",
    "export_kmz": "kmz",
    "export_parquet": "parquet",
}
KML = "{http://www.opengis.net/kml/2.2}"


def test_the_geopackage_holds_changes_looks_aoi_and_a_style(report: Path) -> None:
    layers = dict(pyogrio.list_layers(report / "changes.gpkg").tolist())
    assert layers == {
        "changes": "MultiPolygon", "looks": "MultiPolygon", "aoi": "MultiPolygon", "layer_styles": None,
    }  # fmt: skip
    changes = pyogrio.read_dataframe(report / "changes.gpkg", layer="changes")
    assert len(changes) == 5
    assert changes.crs == "EPSG:4326"
    assert changes["count"].dropna().tolist() == [1.0, 1.0]
    style = pyogrio.read_dataframe(report / "changes.gpkg", layer="layer_styles", read_geometry=False)
    assert style["f_table_name"].tolist() == ["changes", "looks", "aoi"]
    assert style["useAsDefault"].tolist() == [True] * 3
    qml, *plain = map(ElementTree.fromstring, style["styleQML"])
    assert len(qml.findall(".//category")) == len(qml.findall(".//symbol")) == 6
    assert [len(document.findall(".//symbol")) for document in plain] == [1, 1]


def test_the_geoparquet_is_version_1_1_with_a_covering_box(report: Path) -> None:
    import json

    frame = geopandas.read_parquet(report / "changes.parquet")
    assert len(frame) == 5
    assert frame["scene_ids"].map(len).tolist() == [3] * 5
    assert str(frame["first_seen"].dtype) == "datetime64[ms, UTC]"
    geo = json.loads(pyarrow.parquet.read_metadata(report / "changes.parquet").metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert "bbox" in geo["columns"]["geometry"]["covering"]
    west, south, east, north = frame.total_bounds
    near = geopandas.read_parquet(report / "changes.parquet", bbox=(west, south, east, north))
    assert len(near) == 5


def test_the_kmz_opens_with_time_spans_styles_and_pictures(report: Path) -> None:
    with zipfile.ZipFile(report / "changes.kmz") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        root = ElementTree.fromstring(archive.read("doc.kml"))
    assert names[0] == "doc.kml"
    assert len([n for n in names if n.endswith(".png")]) == 10
    marks = root.findall(f".//{KML}Placemark")
    assert len(marks) == len(root.findall(f".//{KML}TimeSpan/{KML}begin")) == 5
    styles = {s.attrib["id"] for s in root.findall(f".//{KML}Style")}
    assert {m.findtext(f"{KML}styleUrl", "")[1:] for m in marks} == styles
    for image in [n for n in names if n.endswith(".png")]:
        assert any(image in m.findtext(f"{KML}description", "") for m in marks)


def test_gdal_reads_the_kmz(report: Path) -> None:
    layers = pyogrio.list_layers(report / "changes.kmz")[:, 0]
    assert sum(len(pyogrio.read_dataframe(report / "changes.kmz", layer=name)) for name in layers) == 5


def test_every_mark_of_the_kmz_says_whose_images_it_is_made_from(report: Path) -> None:
    with zipfile.ZipFile(report / "changes.kmz") as archive:
        root = ElementTree.fromstring(archive.read("doc.kml"))
    said = "Images: sat-1. Terms: CC-BY-4.0."
    assert root.findtext(f"{KML}Document/{KML}description") == said
    for mark in root.findall(f".//{KML}Placemark"):
        assert said in mark.findtext(f"{KML}description", "")
        told = {d.attrib["name"]: d.findtext(f"{KML}value") for d in mark.findall(f".//{KML}Data")}
        assert f"c{told['id']}" == mark.attrib["id"]
        assert told["before_scene"] == "S01_20230404"
        assert str(told["scene_ids"]).startswith("S01_20230404; ")


def test_a_mark_of_the_kmz_holds_every_property_of_the_contract(site: Any) -> None:
    made = features(site.analysis)
    marks = ElementTree.fromstring(kml(made)).findall(f".//{KML}Placemark")
    told = {
        mark.attrib["id"][1:]: {d.attrib["name"] for d in mark.findall(f".//{KML}Data")} for mark in marks
    }
    wanted = {
        "id", "change_type", "direction", "first_seen", "last_absent", "last_seen", "status", "confidence", "count",
        "count_low", "count_high", "count_reason", "area_m2", "length_m", "width_m", "orientation_deg", "gsd",
        "looks_supporting", "looks_against", "shift_sensitivity", "evidence", "scene_ids",
    }  # fmt: skip
    for feature in made:
        known = {name for name in wanted if feature["properties"][name] is not None}
        assert known <= told[feature["id"]]


def test_the_names_of_marks_claim_no_more_than_the_report(site: Any) -> None:
    detection = site.analysis.detection
    twelve = replace(detection.changes[0], count=Estimate(12.0, 10.0, 14.0))
    changed = replace(site.analysis, detection=replace(detection, changes=(twelve, *detection.changes[1:])))
    names = [
        mark.findtext(f"{KML}name", "")
        for mark in ElementTree.fromstring(kml(features(changed))).findall(f".//{KML}Placemark")
    ]
    assert "12 objects consistent with containers appeared (0.97)" in names
    assert "Object consistent with a container was removed (0.76)" in names
    assert "Earth bank consistent with a berm appeared (0.90)" in names


def test_what_is_gone_again_ends_on_the_time_slider_however_sure_that_is(site: Any) -> None:
    came = replace(site.analysis.detection.changes[0], status=Status.PROVISIONAL)
    later = [look.scene.t_utc for look in site.analysis.looks][-2:]
    went = replace(
        came,
        direction=Direction.REMOVED,
        onset=OnsetInterval(*later),
        status=Status.FIRST,
        last_seen=later[0],
    )
    came = replace(came, last_seen=later[0])
    both = replace(site.analysis, detection=replace(site.analysis.detection, changes=(came, went)))
    marks = ElementTree.fromstring(kml(features(both))).findall(f".//{KML}Placemark")
    ends = [mark.findtext(f"{KML}TimeSpan/{KML}end") for mark in marks]
    assert ends == [rfc3339(later[0]), rfc3339(later[1])]


def test_a_removal_ends_on_the_time_slider_when_it_was_noticed(site: Any, tmp_path: Path) -> None:
    export_kmz(features(site.analysis), tmp_path / "x.kmz")
    with zipfile.ZipFile(tmp_path / "x.kmz") as archive:
        root = ElementTree.fromstring(archive.read("doc.kml"))
    ends = {
        m.findtext(f"{KML}styleUrl", "").split("-")[-1]: m.findtext(f"{KML}TimeSpan/{KML}end")
        for m in root.findall(f".//{KML}Placemark")
    }
    assert ends == {"appeared": None, "removed": "2023-07-06T09:34:00Z"}


def test_pandas_reads_the_csv(site: Any, tmp_path: Path) -> None:
    export_csv(features(site.analysis), tmp_path / "x.csv")
    frame = pd.read_csv(tmp_path / "x.csv", parse_dates=["first_seen"])
    assert len(frame) == 5
    assert frame["latitude"].between(49.6, 49.7).all()
    assert geopandas.GeoSeries.from_wkt(frame["wkt"]).is_valid.all()


def test_a_class_that_no_look_can_show_is_a_gap_in_every_look(site: Any) -> None:
    detection = site.analysis.detection
    coarse = tuple(
        replace(look, scene=replace(look.scene, gsd_m=10.0)) for look in site.analysis.looks if look.used
    )
    blind = replace(
        detection,
        changes=(),
        standing=tuple(
            replace(row, object_class=ObjectClass.OTHER)
            for row in detection.standing
            if row.object_class is ObjectClass.BERM
        ),
        limits=tuple(
            DetectionLimit(kind, 10.0, kind is ObjectClass.OTHER, 1000.0, "") for kind in ObjectClass
        ),
    )
    written = timeline_csv(replace(site.analysis, looks=coarse, detection=blind))
    rows = pd.read_csv(io.BytesIO(written), keep_default_na=False)
    assert len(rows) == 3 * len(coarse)
    for kind in ("container", "berm"):
        mine = rows[rows["class"] == kind]
        assert set(zip(mine["state"], mine["reason"], mine["area_m2"], strict=True)) == {
            ("not_observable", "too_coarse", "")
        }


def test_pandas_reads_the_timeline_with_gaps_that_are_no_zeros(report: Path) -> None:
    frame = pd.read_csv(report / "timeline.csv")
    assert len(frame) == 8 * 3
    lost = frame[frame["scene_id"] == "S05_20230806"]
    assert lost["state"].tolist() == ["not_observable"] * 3
    assert lost["reason"].tolist() == ["misregistered"] * 3
    assert lost["count"].isna().all()
    assert lost["appeared"].isna().all()
    seen = frame[(frame["state"] == "observed") & (frame["class"] == "container")]
    assert seen["count"].tolist() == [0, 1, 2, 3, 4, 6, 7]


@pytest.mark.parametrize("export", [export_csv, export_geojson, export_gpkg, export_kmz, export_parquet])
def test_no_features_make_a_readable_file(export: Any, tmp_path: Path) -> None:
    path = tmp_path / f"empty.{SUFFIX[export.__name__]}"
    export([], path)
    match export.__name__:
        case "export_csv":
            assert len(pd.read_csv(path)) == 0
        case "export_parquet":
            assert len(geopandas.read_parquet(path)) == 0
        case "export_kmz":
            assert zipfile.ZipFile(path).namelist() == ["doc.kml"]
        case "export_gpkg":
            assert "area_m2" in pyogrio.read_info(path, layer="changes")["fields"]
        case _:
            assert len(geopandas.read_file(path)) == 0


@pytest.mark.parametrize("export", [export_csv, export_geojson, export_gpkg, export_kmz, export_parquet])
def test_an_export_is_the_same_bytes_again(export: Any, site: Any, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.{SUFFIX[export.__name__]}" for name in "ab"]
    for path in paths:
        export(features(site.analysis), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_text_that_would_run_in_a_spreadsheet_is_quoted(site: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    hostile = '=HYPERLINK("http://x","y")'
    looks = list(site.analysis.looks)
    looks[1] = replace(looks[1], scene=replace(looks[1].scene, id=hostile))
    change = replace(site.analysis.detection.changes[0], before_scene=hostile, scene_ids=(hostile,))
    analysis = replace(
        site.analysis, looks=tuple(looks), detection=replace(site.analysis.detection, changes=(change,))
    )
    export_csv(features(analysis), tmp_path / "x.csv")
    frame = pd.read_csv(tmp_path / "x.csv")
    assert frame["before_scene"][0] == "'" + hostile
    assert b"\r\n2023-04-04T09:31:00Z,\"'=HYPERLINK" in timeline_csv(analysis)
