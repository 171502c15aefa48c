"""The same features for every tool: GeoJSON, CSV, KMZ, GeoPackage, GeoParquet.

Each function takes features as ``pipelines.report.features`` makes them (all of a report, or those a filter left)
and writes one file; equal features give equal bytes.
"""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapely.geometry import shape

from pipelines.report.canonical import json_bytes
from pipelines.report.features import Feature, collection, features, strength
from pipelines.report.kml import kml
from pipelines.report.qgis_style import changes_qml
from pipelines.report.spreadsheet import safe_cell

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = [
    "CHANGE_COLUMNS",
    "export_csv",
    "export_geojson",
    "export_gpkg",
    "export_kmz",
    "export_parquet",
    "features",
]

# What a file format insists on storing as its time of writing; a constant, so that reruns give the same bytes.
FIXED_TIME = "2000-01-01T00:00:00.000Z"
FIXED_ZIP_TIME = (2000, 1, 1, 0, 0, 0)
KMZ_CHIPS = 60

# Columns and their types where a format needs a schema even for no features.
_TEXT, _REAL, _WHOLE, _TIME, _TEXTS = "text", "real", "whole", "time", "texts"
CHANGE_COLUMNS: dict[str, str] = {
    "id": _TEXT, "change_type": _TEXT, "direction": _TEXT,
    "first_seen": _TIME, "last_absent": _TIME, "last_seen": _TIME,
    "status": _TEXT, "confidence": _REAL,
    "count": _WHOLE, "count_low": _REAL, "count_high": _REAL, "count_reason": _TEXT,
    "area_m2": _REAL, "area_m2_low": _REAL, "area_m2_high": _REAL,
    "length_m": _REAL, "width_m": _REAL, "orientation_deg": _REAL, "gsd": _REAL,
    "looks_supporting": _WHOLE, "looks_against": _WHOLE, "shift_sensitivity": _REAL,
    "evidence": _TEXT, "against": _TEXTS, "before_scene": _TEXT, "after_scene": _TEXT,
    "scene_ids": _TEXTS, "platforms": _TEXTS, "licences": _TEXTS, "statement": _TEXT,
}  # fmt: skip
LOOK_COLUMNS: dict[str, str] = {
    "scene_id": _TEXT, "datetime": _TIME, "platform": _TEXT, "gsd": _REAL, "licence": _TEXT,
    "used": _WHOLE, "reference": _WHOLE, "usable_fraction": _REAL, "state": _TEXT,
    "quality": _REAL, "residual_m": _REAL, "notes": _TEXTS,
}  # fmt: skip
AOI_COLUMNS: dict[str, str] = {"name": _TEXT, "processing_version": _TEXT}


def export_geojson(made: Sequence[Feature], path: Path) -> None:
    """Write an RFC 7946 FeatureCollection."""
    path.write_bytes(json_bytes(collection(made)))


def export_csv(made: Sequence[Feature], path: Path) -> None:
    """Write one row per change for a spreadsheet: every property, the centroid and the footprint as WKT."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*CHANGE_COLUMNS, "longitude", "latitude", "wkt"])
    for feature in made:
        footprint = shape(feature["geometry"])
        place = [round(footprint.centroid.x, 7), round(footprint.centroid.y, 7), footprint.wkt]
        writer.writerow([_cell(feature["properties"].get(name)) for name in CHANGE_COLUMNS] + place)
    path.write_bytes(text.getvalue().encode())


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return safe_cell("; ".join(map(str, value)))
    return safe_cell(value) if isinstance(value, str) else value


def _column(made: Sequence[Feature], name: str, kind: str, *, lists: bool) -> Any:
    """Return one column as a pandas array of a fixed type, whatever the features hold."""
    import pandas as pd

    values = [f["properties"].get(name) for f in made]
    match kind:
        case "real":
            return pd.array(values, dtype="Float64")
        case "whole":
            return pd.array([None if v is None else int(v) for v in values], dtype="Int64")
        case "time":
            return pd.to_datetime(pd.Series(values, dtype="object"), utc=True).astype("datetime64[ms, UTC]")
        case "texts" if lists:
            return pd.Series([list(v or []) for v in values], dtype="object")
        case "texts":
            return pd.array(["; ".join(map(str, v or [])) for v in values], dtype="string")
        case _:
            return pd.array(values, dtype="string")


def data_frame(made: Sequence[Feature], columns: Mapping[str, str], *, lists: bool) -> "GeoDataFrame":
    """Return features as a GeoDataFrame, EPSG:4326; ``lists`` keeps lists, else they become '; '-joined text."""
    import geopandas

    data = {name: _column(made, name, kind, lists=lists) for name, kind in columns.items()}
    geometry = geopandas.GeoSeries([_located(f) for f in made], crs="EPSG:4326")
    return geopandas.GeoDataFrame(data, geometry=geometry, crs="EPSG:4326")


def _located(feature: Feature) -> Any:
    return None if feature["geometry"] is None else shape(feature["geometry"])


def export_parquet(made: Sequence[Feature], path: Path) -> None:
    """Write GeoParquet 1.1 with a bounding-box covering column."""
    frame = data_frame(made, CHANGE_COLUMNS, lists=True)
    frame.to_parquet(path, index=False, compression="zstd", schema_version="1.1.0", write_covering_bbox=True)


def export_gpkg(
    made: Sequence[Feature], path: Path, looks: Sequence[Feature] = (), aoi: Feature | None = None
) -> None:
    """Write a GeoPackage: layer ``changes`` (styled for QGIS), and ``looks`` and ``aoi`` where given."""
    import pyogrio

    path.unlink(missing_ok=True)
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": FIXED_TIME})
    try:
        _layer(made, CHANGE_COLUMNS, path, "changes")
        if looks:
            _layer(looks, LOOK_COLUMNS, path, "looks")
        if aoi is not None:
            _layer([aoi], AOI_COLUMNS, path, "aoi")
        _styles(path)
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})


def _layer(made: Sequence[Feature], columns: Mapping[str, str], path: Path, layer: str) -> None:
    import pyogrio

    pyogrio.write_dataframe(
        data_frame(made, columns, lists=False),
        path,
        layer=layer,
        driver="GPKG",
        geometry_type="MultiPolygon",
        promote_to_multi=True,
        append=path.exists(),
    )


def _styles(path: Path) -> None:
    """Add the table from which QGIS takes a layer's style when it opens the file."""
    import pandas as pd
    import pyogrio

    rows = {
        "f_table_catalog": [""],
        "f_table_schema": [""],
        "f_table_name": ["changes"],
        "f_geometry_column": ["geom"],
        "styleName": ["class and direction"],
        "styleQML": [changes_qml()],
        "styleSLD": [""],
        "useAsDefault": [True],
        "description": ["Colour tells the class, line and fill the direction."],
        "owner": [""],
        "ui": [""],
        "update_time": pd.to_datetime([FIXED_TIME], utc=True),
    }
    pyogrio.write_dataframe(
        pd.DataFrame(rows),
        path,
        layer="layer_styles",
        driver="GPKG",
        append=True,
        layer_options={"FID": "id"},
    )


def export_kmz(made: Sequence[Feature], path: Path, chips: Path | None = None) -> None:
    """Write a KMZ for Google Earth: one folder per class and direction, time spans, and pictures where given.

    ``chips`` is a report's folder; the before and after pictures of the strongest ``KMZ_CHIPS`` changes found there
    go into the file.
    """
    pictures = _pictures(made, chips) if chips is not None else {}
    with zipfile.ZipFile(path, "w") as archive:
        _member(archive, "doc.kml", kml(made, frozenset(pictures)), zipfile.ZIP_DEFLATED)
        for name in sorted(pictures):
            _member(archive, name, pictures[name].read_bytes(), zipfile.ZIP_STORED)


def _pictures(made: Sequence[Feature], chips: Path) -> dict[str, Path]:
    strongest = sorted(made, key=strength)[:KMZ_CHIPS]
    names = [f"evidence/{f['properties']['id']}/{end}.png" for f in strongest for end in ("before", "after")]
    return {name: chips / name for name in names if (chips / name).is_file()}


def _member(archive: zipfile.ZipFile, name: str, data: bytes, method: int) -> None:
    entry = zipfile.ZipInfo(name, FIXED_ZIP_TIME)
    entry.compress_type = method
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)
