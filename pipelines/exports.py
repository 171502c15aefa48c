"""The same features for every tool: GeoJSON, CSV, KMZ, GeoPackage, GeoParquet.

Each function takes features as ``pipelines.report.features`` makes them (all of a report, or those a filter left)
and writes one file; equal features give equal bytes.
"""

import csv
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from pipelines.geopackage import GeoPackage
from pipelines.report.canonical import json_bytes
from pipelines.report.features import Feature, collection, features, strength
from pipelines.report.kml import kml, picture_names
from pipelines.report.qgis_style import aoi_qml, changes_qml, looks_qml
from pipelines.report.spreadsheet import safe_cell

__all__ = [
    "CHANGE_COLUMNS",
    "export_csv",
    "export_geojson",
    "export_gpkg",
    "export_kmz",
    "export_parquet",
    "features",
    "kmz_pictures",
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


def _located(feature: Feature) -> BaseGeometry | None:
    return None if feature["geometry"] is None else shape(feature["geometry"])


def export_parquet(made: Sequence[Feature], path: Path) -> None:
    """Write GeoParquet 1.1 with a bounding-box covering column; its columns are of one type whatever the features hold."""
    from pipelines import geoparquet  # pyarrow is needed here only

    build: dict[str, Callable[[list[Any]], Any]] = {
        _TEXT: geoparquet.texts, _REAL: geoparquet.reals, _WHOLE: geoparquet.wholes, _TIME: geoparquet.times,
        _TEXTS: geoparquet.text_lists,
    }  # fmt: skip
    columns = {
        name: build[kind]([_native(feature["properties"].get(name), kind) for feature in made])
        for name, kind in CHANGE_COLUMNS.items()
    }
    geoparquet.write_geoparquet(columns, [_located(feature) for feature in made], path)


def _native(value: Any, kind: str) -> Any:
    """Return a property as the column of its kind takes it."""
    if kind == _TEXTS:
        return [str(each) for each in value or []]
    if value is None:
        return None
    match kind:
        case "time":
            return datetime.fromisoformat(value).astimezone(UTC)
        case "whole":
            return int(value)
        case "real":
            return float(value)
        case _:
            return str(value)


def export_gpkg(
    made: Sequence[Feature], path: Path, looks: Sequence[Feature] = (), aoi: Feature | None = None
) -> None:
    """Write a GeoPackage styled for QGIS: layer ``changes``, and ``looks`` and ``aoi`` where given."""
    file = GeoPackage(FIXED_TIME)
    layers = {"changes": (made, CHANGE_COLUMNS)}
    if looks:
        layers["looks"] = (looks, LOOK_COLUMNS)
    if aoi is not None:
        layers["aoi"] = ([aoi], AOI_COLUMNS)
    for name, (held, columns) in layers.items():
        _layer(file, name, held, columns)
    _styles(file, list(layers))
    file.write(path)


SQL_TYPES = {_TEXT: "TEXT", _REAL: "REAL", _WHOLE: "INTEGER", _TIME: "DATETIME", _TEXTS: "TEXT"}


def _layer(file: GeoPackage, name: str, made: Sequence[Feature], columns: Mapping[str, str]) -> None:
    rows = [
        [_stored(feature["properties"].get(column), kind) for column, kind in columns.items()]
        for feature in made
    ]
    types = {column: SQL_TYPES[kind] for column, kind in columns.items()}
    file.layer(name, types, rows, [_located(feature) for feature in made])


def _stored(value: Any, kind: str) -> Any:
    """Return a property as SQLite keeps it: lists joined by '; ', times to the millisecond."""
    native = _native(value, kind)
    if kind == _TEXTS:
        return "; ".join(native)
    if kind == _TIME and native is not None:
        return native.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return native


def _styles(file: GeoPackage, layers: Sequence[str]) -> None:
    """Add the table from which QGIS takes each layer's style when it opens the file."""
    columns = {
        "f_table_catalog": "TEXT", "f_table_schema": "TEXT", "f_table_name": "TEXT", "f_geometry_column": "TEXT",
        "styleName": "TEXT", "styleQML": "TEXT", "styleSLD": "TEXT", "useAsDefault": "BOOLEAN",
        "description": "TEXT", "owner": "TEXT", "ui": "TEXT", "update_time": "DATETIME",
    }  # fmt: skip
    styles = {
        "changes": (
            "class and direction",
            changes_qml(),
            "Colour tells the class, line and fill the direction.",
        ),
        "looks": ("footprints", looks_qml(), "What each scene covers of the site."),
        "aoi": ("site", aoi_qml(), "The watched place."),
    }
    rows = [
        ["", "", layer, "geom", *styles[layer][:2], "", True, styles[layer][2], "", None, FIXED_TIME]
        for layer in layers
    ]
    file.table("layer_styles", columns, rows)


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


def kmz_pictures(made: Sequence[Feature]) -> list[str]:
    """Return the names of the pictures that a KMZ of these changes takes, where a report has them."""
    strongest = sorted(made, key=strength)[:KMZ_CHIPS]
    return [name for feature in strongest for name in picture_names(feature["properties"])]


def _pictures(made: Sequence[Feature], chips: Path) -> dict[str, Path]:
    return {name: chips / name for name in kmz_pictures(made) if (chips / name).is_file()}


def _member(archive: zipfile.ZipFile, name: str, data: bytes, method: int) -> None:
    entry = zipfile.ZipInfo(name, FIXED_ZIP_TIME)
    entry.compress_type = method
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)
