"""GeoParquet 1.1 through pyarrow alone.

Columns are built from buffers: asking pyarrow to make an array of a Python list imports pandas, which takes longer than
everything else a small report needs.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import shapely
from numpy.typing import NDArray
from pyarrow import Array, DataType, parquet
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

SIDES = ("xmin", "ymin", "xmax", "ymax")


def write_geoparquet(columns: Mapping[str, Array], places: Sequence[BaseGeometry | None], path: Path) -> None:
    """Write columns with a geometry column, EPSG:4326, and the boxes by which readers skip rows."""
    boxes = np.array([(np.nan,) * 4 if place is None else place.bounds for place in places]).reshape(-1, 4)
    there = [place is not None for place in places]
    wkb = [None if place is None else bytes(shapely.to_wkb(place)) for place in places]
    whole = {
        **columns,
        "geometry": _variable(wkb, pyarrow.binary()),
        "bbox": _struct([_plain(boxes[:, side], there, pyarrow.float64()) for side in range(4)], there),
    }
    schema = pyarrow.schema(
        [(name, array.type) for name, array in whole.items()], metadata={"geo": json.dumps(_geo(places))}
    )
    table = pyarrow.Table.from_arrays(list(whole.values()), schema=schema)
    parquet.write_table(table, path, compression="zstd")


def texts(values: Sequence[str | None]) -> Array:
    """Return a column of text."""
    return _variable([None if v is None else v.encode() for v in values], pyarrow.string())


def reals(values: Sequence[float | None]) -> Array:
    """Return a column of float64."""
    known = [v is not None for v in values]
    return _plain(np.array([0.0 if v is None else v for v in values], np.float64), known, pyarrow.float64())


def wholes(values: Sequence[int | None]) -> Array:
    """Return a column of int64."""
    known = [v is not None for v in values]
    return _plain(np.array([0 if v is None else v for v in values], np.int64), known, pyarrow.int64())


def times(values: Sequence[datetime | None]) -> Array:
    """Return a column of UTC times to the millisecond; values are aware."""
    known = [v is not None for v in values]
    stamps = np.array([0 if v is None else round(v.timestamp() * 1000) for v in values], np.int64)
    return _plain(stamps, known, pyarrow.timestamp("ms", "UTC"))


def text_lists(values: Sequence[Sequence[str]]) -> Array:
    """Return a column of lists of text, none of them missing."""
    ends = np.cumsum([0, *(len(v) for v in values)]).astype(np.int32)
    items = texts([item for value in values for item in value])
    kind = pyarrow.list_(pyarrow.string())
    return Array.from_buffers(kind, len(values), [None, pyarrow.py_buffer(ends)], children=[items])


def _bits(known: Sequence[bool]) -> pyarrow.Buffer | None:
    if all(known):
        return None
    return pyarrow.py_buffer(np.packbits(np.array(known, bool), bitorder="little"))


def _plain(values: NDArray[Any], known: Sequence[bool], kind: DataType) -> Array:
    data = pyarrow.py_buffer(np.ascontiguousarray(values))
    return Array.from_buffers(kind, len(values), [_bits(known), data])


def _variable(values: Sequence[bytes | None], kind: DataType) -> Array:
    ends = np.cumsum([0, *(len(v or b"") for v in values)]).astype(np.int32)
    data = pyarrow.py_buffer(b"".join(v or b"" for v in values))
    known = _bits([v is not None for v in values])
    return Array.from_buffers(kind, len(values), [known, pyarrow.py_buffer(ends), data])


def _struct(children: Sequence[Array], known: Sequence[bool]) -> Array:
    kind = pyarrow.struct([(side, pyarrow.float64()) for side in SIDES])
    return Array.from_buffers(kind, len(known), [_bits(known)], children=list(children))


def _geo(places: Sequence[BaseGeometry | None]) -> dict[str, Any]:
    """Return what GeoParquet 1.1 keeps of the geometry column."""
    there = [place for place in places if place is not None]
    column = {
        "encoding": "WKB",
        "crs": CRS.from_epsg(4326).to_json_dict(),
        "geometry_types": sorted({place.geom_type for place in there}),
        "covering": {"bbox": {side: ["bbox", side] for side in SIDES}},
    }
    if there:
        west, south, east, north = zip(*(place.bounds for place in there), strict=True)
        column["bbox"] = [min(west), min(south), max(east), max(north)]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
