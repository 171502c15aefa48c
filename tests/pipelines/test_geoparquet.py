"""A GeoParquet of ours, read by pyarrow and geopandas."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import geopandas
import pyarrow
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pipelines import geoparquet
from pipelines.geoparquet import write_geoparquet

NO_SURROGATES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.lists(st.none() | NO_SURROGATES), st.lists(st.none() | st.floats(allow_nan=False)))
def test_columns_hold_what_they_were_given(words: list[str | None], numbers: list[float | None]) -> None:
    assert geoparquet.texts(words).to_pylist() == words
    assert geoparquet.reals(numbers).to_pylist() == numbers
    geoparquet.texts(words).validate(full=True)


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)), st.lists(st.lists(NO_SURROGATES, max_size=3)))
def test_whole_numbers_and_lists_do_too(counts: list[int | None], lists: list[list[str]]) -> None:
    assert geoparquet.wholes(counts).to_pylist() == counts
    made = geoparquet.text_lists(lists)
    assert made.to_pylist() == lists
    made.validate(full=True)


def test_times_keep_their_milliseconds_and_gaps() -> None:
    when = datetime(2024, 5, 1, 10, 0, 0, 123_000, tzinfo=UTC)
    before = datetime(1969, 12, 31, 23, 59, 59, 1_000, tzinfo=UTC)
    assert geoparquet.times([when, None, before]).to_pylist() == [when, None, before]


def test_a_place_nobody_knows_has_neither_geometry_nor_box(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    places = [shapely.box(10, 50, 11, 51), None, shapely.MultiPolygon([shapely.box(20, 50, 21, 51)])]
    write_geoparquet({"name": geoparquet.texts(["a", "b", "c"])}, places, path)
    table = parquet.read_table(path)
    table.validate(full=True)
    assert table.column("bbox").null_count == table.column("geometry").null_count == 1
    assert table.schema.field("bbox").type == pyarrow.struct(
        [(s, pyarrow.float64()) for s in geoparquet.SIDES]
    )
    frame = geopandas.read_parquet(path)
    assert frame.crs == "EPSG:4326"
    assert frame.geometry.isna().tolist() == [False, True, False]
    assert frame.total_bounds.tolist() == [10, 50, 21, 51]
    assert geopandas.read_parquet(path, bbox=(19, 49, 22, 52))["name"].tolist() == ["c"]


def test_writing_a_report_imports_no_pandas(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from pipelines.exports import export_gpkg, export_parquet; here = pathlib.Path(sys.argv[1]); "
        "export_parquet([], here / 'a.parquet'); export_gpkg([], here / 'a.gpkg'); "
        "print(sorted({'pandas', 'geopandas', 'pyogrio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
