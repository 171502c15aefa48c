"""A GeoPackage written with SQLite alone: OGC 12-128r18 without GDAL, pandas or geopandas, whose import takes longer.

Layers of multipolygons in EPSG:4326 with a spatial index, and plain tables. Equal rows give equal bytes: the one time
that the format insists on is handed in, and the file is built in memory and written whole.
"""

import sqlite3
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import shapely
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry

APPLICATION_ID = 0x47504B47
VERSION = 10_400
EPSG = 4326
GEOMETRY = "geom"
# Flags: little-endian, standard, with an envelope of four numbers; 16 more where the geometry is empty.
_LITTLE, _BOX, _EMPTY = 1, 1 << 1, 1 << 4

WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,'
    'AUTHORITY["EPSG","9122"]],AXIS["Latitude",NORTH],AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]'
)
_SYSTEMS = (
    ("Undefined Cartesian SRS", -1, "NONE", -1, "undefined", "undefined Cartesian coordinate reference system"),
    ("Undefined geographic SRS", 0, "NONE", 0, "undefined", "undefined geographic coordinate reference system"),
    ("WGS 84 geodetic", EPSG, "EPSG", EPSG, WGS84, "longitude/latitude in decimal degrees on the WGS 84 spheroid"),
)  # fmt: skip
_FRAME = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY,
  organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
  description TEXT DEFAULT '', last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,
  geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name), CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
CREATE TABLE gpkg_extensions (table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL,
  definition TEXT NOT NULL, scope TEXT NOT NULL, CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name));
"""
_SEEN = 'NEW."geom" NOTNULL AND NOT ST_IsEmpty(NEW."geom")'
_UNSEEN = 'NEW."geom" ISNULL OR ST_IsEmpty(NEW."geom")'
_BOUNDS = 'ST_MinX(NEW."geom"), ST_MaxX(NEW."geom"), ST_MinY(NEW."geom"), ST_MaxY(NEW."geom")'
# Annex F.3 of the standard: they keep the index right when somebody edits the layer. {0} is the layer.
_TRIGGERS = f"""
CREATE TRIGGER "rtree_{{0}}_geom_insert" AFTER INSERT ON "{{0}}" WHEN ({_SEEN})
BEGIN INSERT OR REPLACE INTO "rtree_{{0}}_geom" VALUES (NEW."fid", {_BOUNDS}); END;
CREATE TRIGGER "rtree_{{0}}_geom_update6" AFTER UPDATE OF "geom" ON "{{0}}" WHEN OLD."fid" = NEW."fid"
  AND ({_SEEN}) AND (OLD."geom" NOTNULL AND NOT ST_IsEmpty(OLD."geom"))
BEGIN UPDATE "rtree_{{0}}_geom" SET minx = ST_MinX(NEW."geom"), maxx = ST_MaxX(NEW."geom"),
  miny = ST_MinY(NEW."geom"), maxy = ST_MaxY(NEW."geom") WHERE id = NEW."fid"; END;
CREATE TRIGGER "rtree_{{0}}_geom_update7" AFTER UPDATE OF "geom" ON "{{0}}" WHEN OLD."fid" = NEW."fid"
  AND ({_SEEN}) AND (OLD."geom" ISNULL OR ST_IsEmpty(OLD."geom"))
BEGIN INSERT INTO "rtree_{{0}}_geom" VALUES (NEW."fid", {_BOUNDS}); END;
CREATE TRIGGER "rtree_{{0}}_geom_update2" AFTER UPDATE OF "geom" ON "{{0}}" WHEN OLD."fid" = NEW."fid" AND ({_UNSEEN})
BEGIN DELETE FROM "rtree_{{0}}_geom" WHERE id = OLD."fid"; END;
CREATE TRIGGER "rtree_{{0}}_geom_update5" AFTER UPDATE ON "{{0}}" WHEN OLD."fid" != NEW."fid" AND ({_SEEN})
BEGIN DELETE FROM "rtree_{{0}}_geom" WHERE id = OLD."fid";
  INSERT OR REPLACE INTO "rtree_{{0}}_geom" VALUES (NEW."fid", {_BOUNDS}); END;
CREATE TRIGGER "rtree_{{0}}_geom_update4" AFTER UPDATE ON "{{0}}" WHEN OLD."fid" != NEW."fid" AND ({_UNSEEN})
BEGIN DELETE FROM "rtree_{{0}}_geom" WHERE id IN (OLD."fid", NEW."fid"); END;
CREATE TRIGGER "rtree_{{0}}_geom_delete" AFTER DELETE ON "{{0}}" WHEN OLD."geom" NOTNULL
BEGIN DELETE FROM "rtree_{{0}}_geom" WHERE id = OLD."fid"; END;
"""


class GeoPackage:
    """One file in the making; ``changed`` is the RFC 3339 time it says it was written at."""

    def __init__(self, changed: str) -> None:
        self._changed = changed
        self._connection = sqlite3.connect(":memory:")
        self._connection.executescript(_FRAME)
        self._connection.executemany("INSERT INTO gpkg_spatial_ref_sys VALUES (?,?,?,?,?,?)", _SYSTEMS)

    def layer(
        self,
        name: str,
        columns: Mapping[str, str],
        rows: Sequence[Sequence[Any]],
        shapes: Sequence[BaseGeometry | None],
    ) -> None:
        """Add a layer of multipolygons, EPSG:4326; polygons become multipolygons.

        Parameters
        ----------
        columns : name to SQL type
        rows : one per feature, values in the order of ``columns``
        shapes : one per feature
        """
        moved = [None if shape is None else _multi(shape) for shape in shapes]
        self._table(name, "features", {GEOMETRY: "MULTIPOLYGON", **columns}, EPSG, _bounds(moved))
        blobs = [None if shape is None else _blob(shape) for shape in moved]
        self._insert(name, [(blob, *row) for blob, row in zip(blobs, rows, strict=True)], 1 + len(columns))
        self._connection.execute(
            "INSERT INTO gpkg_geometry_columns VALUES (?,?,'MULTIPOLYGON',?,0,0)", (name, GEOMETRY, EPSG)
        )
        self._index(name, moved)

    def table(self, name: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table without geometry."""
        self._table(name, "attributes", columns, None, (None, None, None, None), key="id")
        self._insert(name, rows, len(columns))

    def write(self, path: Path) -> None:
        """Write the file, over one that is there."""
        self._connection.commit()
        path.write_bytes(self._connection.serialize())
        self._connection.close()

    def _table(
        self,
        name: str,
        kind: str,
        columns: Mapping[str, str],
        system: int | None,
        bounds: Sequence[float | None],
        key: str = "fid",
    ) -> None:
        listed = ", ".join(f'"{column}" {sql}' for column, sql in columns.items())
        self._connection.execute(
            f'CREATE TABLE "{name}" ("{key}" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, {listed})'
        )
        self._connection.execute(
            "INSERT INTO gpkg_contents VALUES (?,?,?,'',?,?,?,?,?,?)",
            (name, kind, name, self._changed, *bounds, system),
        )

    def _insert(self, name: str, rows: Sequence[Sequence[Any]], width: int) -> None:
        marks = ",".join("?" * (width + 1))
        numbered = [(number, *row) for number, row in enumerate(rows, 1)]
        self._connection.executemany(f'INSERT INTO "{name}" VALUES ({marks})', numbered)

    def _index(self, name: str, shapes: Sequence[MultiPolygon | None]) -> None:
        tree = f"rtree_{name}_{GEOMETRY}"
        self._connection.execute(f'CREATE VIRTUAL TABLE "{tree}" USING rtree(id, minx, maxx, miny, maxy)')
        boxes = [
            (number, shape.bounds[0], shape.bounds[2], shape.bounds[1], shape.bounds[3])
            for number, shape in enumerate(shapes, 1)
            if shape is not None and not shape.is_empty
        ]
        self._connection.executemany(f'INSERT INTO "{tree}" VALUES (?,?,?,?,?)', boxes)
        self._connection.executescript(_TRIGGERS.format(name))
        self._connection.execute(
            "INSERT INTO gpkg_extensions VALUES (?,?,'gpkg_rtree_index',?,'write-only')",
            (name, GEOMETRY, "http://www.geopackage.org/spec120/#extension_rtree"),
        )


def _multi(shape: BaseGeometry) -> MultiPolygon:
    return shape if isinstance(shape, MultiPolygon) else MultiPolygon([] if shape.is_empty else [shape])


def _bounds(shapes: Sequence[MultiPolygon | None]) -> tuple[float | None, ...]:
    boxes = [shape.bounds for shape in shapes if shape is not None and not shape.is_empty]
    if not boxes:
        return (None, None, None, None)
    west, south, east, north = zip(*boxes, strict=True)
    return (min(west), min(south), max(east), max(north))


def _blob(shape: MultiPolygon) -> bytes:
    """Return a geometry as the standard stores it: a header with the envelope, then WKB."""
    body: bytes = shapely.to_wkb(shape, byte_order=1)
    if shape.is_empty:
        return b"GP" + struct.pack("<BBi", 0, _LITTLE | _EMPTY, EPSG) + body
    west, south, east, north = shape.bounds
    return b"GP" + struct.pack("<BBidddd", 0, _LITTLE | _BOX, EPSG, west, east, south, north) + body
