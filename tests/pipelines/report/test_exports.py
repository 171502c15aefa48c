"""Each export opened with a program that is not ours."""

import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
import pandas as pd
import pyarrow.parquet
import pyogrio
import pytest

from pipelines.exports import export_csv, export_geojson, export_gpkg, export_kmz, export_parquet, features
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
