"""A GeoPackage of ours, read, searched and edited by GDAL."""

import sqlite3
from pathlib import Path
from typing import Any

import geopandas
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon

from pipelines.geopackage import GeoPackage

COLUMNS = {"name": "TEXT", "area": "REAL", "count": "INTEGER", "at": "DATETIME"}
WHEN = "2000-01-01T00:00:00.000Z"


def _square(west: float, south: float, size: float = 0.5) -> Polygon:
    return shapely.box(west, south, west + size, south + size)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three squares, one of them two, and a place nobody knows."""
    path = tmp_path / "x.gpkg"
    made = GeoPackage(WHEN)
    rows: list[list[Any]] = [
        ["a", 1.5, 3, "2024-05-01T10:00:00.123Z"],
        ["ß'\"", None, None, None],
        ["c", 0.0, 0, None],
        ["nowhere", 1.0, 1, None],
    ]
    places = [_square(10, 50), MultiPolygon([_square(20, 50), _square(30, 50)]), _square(-10, -50), None]
    made.layer("things", COLUMNS, rows, places)
    made.table("words", {"said": "TEXT"}, [["one"], ["two"]])
    made.write(path)
    return path


def test_gdal_reads_what_was_written(file: Path) -> None:
    assert dict(pyogrio.list_layers(file).tolist()) == {"things": "MultiPolygon", "words": None}
    frame = pyogrio.read_dataframe(file, layer="things")
    assert frame.crs == "EPSG:4326"
    assert frame["name"].tolist() == ["a", "ß'\"", "c", "nowhere"]
    assert frame["count"].tolist()[0] == 3
    assert frame["count"].isna().tolist() == [False, True, False, False]
    assert frame["at"][0].isoformat() == "2024-05-01T10:00:00.123000+00:00"
    assert frame.geometry[0].equals(_square(10, 50))
    assert frame.geometry[1].equals(MultiPolygon([_square(20, 50), _square(30, 50)]))
    assert frame.geometry[3] is None
    info = pyogrio.read_info(file, layer="things")
    assert info["capabilities"]["fast_spatial_filter"]
    assert info["total_bounds"] == (-10.0, -50.0, 30.5, 50.5)
    assert pyogrio.read_dataframe(file, layer="words")["said"].tolist() == ["one", "two"]


def test_the_spatial_index_finds_what_lies_there(file: Path) -> None:
    near = pyogrio.read_dataframe(file, layer="things", bbox=(29, 49, 31, 51))
    assert near["name"].tolist() == ["ß'\""]
    assert len(pyogrio.read_dataframe(file, layer="things", bbox=(0, 0, 1, 1))) == 0


def test_gdal_adds_a_feature_and_the_index_learns_of_it(file: Path) -> None:
    more = geopandas.GeoDataFrame(
        {"name": ["late"]}, geometry=[MultiPolygon([_square(60, 60)])], crs="EPSG:4326"
    )
    pyogrio.write_dataframe(more, file, layer="things", append=True)
    assert pyogrio.read_dataframe(file, layer="things", bbox=(59, 59, 61, 61))["name"].tolist() == ["late"]


def test_the_tables_are_whole_and_point_to_what_is_there(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA application_id").fetchone() == (0x47504B47,)
        assert connection.execute("SELECT count(*) FROM rtree_things_geom").fetchone() == (3,)
    connection.close()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
            st.floats(-179, 178),
            st.floats(-89, 88),
        ),
        max_size=5,
    )
)
def test_any_rows_come_back_and_are_the_same_bytes_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float, float]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    written = []
    for name in "ab":
        made = GeoPackage(WHEN)
        made.layer("things", {"name": "TEXT"}, [[r[0]] for r in rows], [_square(r[1], r[2]) for r in rows])
        made.write(folder / f"{name}.gpkg")
        written.append((folder / f"{name}.gpkg").read_bytes())
    assert written[0] == written[1]
    frame = pyogrio.read_dataframe(folder / "a.gpkg")
    assert frame["name"].tolist() == [r[0] for r in rows]
    assert [g.bounds[:2] for g in frame.geometry] == [(r[1], r[2]) for r in rows]
