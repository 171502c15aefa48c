"""The area of interest as people write it: GeoJSON in, one valid polygon or multipolygon in EPSG:4326 out.

What can be mended without changing what was meant is mended silently (winding, altitudes, several polygons made one);
everything else is refused with the vertex and the cure. What lies across the antimeridian is cut along it
(RFC 7946 section 3.1.9), however it was written.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy import column_stack, float64
from numpy.typing import NDArray
from pyproj import Geod
from shapely import MultiPolygon, Polygon, transform, union_all, wkt
from shapely.affinity import affine_transform
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient
from shapely.validation import explain_validity

from imagery.errors import DepotwatchError
from imagery.grid import utm_epsg
from pipelines.analysis import Site
from pipelines.antimeridian import FULL_TURN, HALF_TURN, centre_lonlat, crosses, cut, eastward

MIN_AREA_M2 = 100.0
MAX_AREA_M2 = 400e6
MAX_VERTICES = 100_000
MAX_FILE_BYTES = 64 * 2**20
_KNOWN_CRS = ("CRS84", "EPSG::4326", "EPSG:4326", "OGC:1.3:CRS84")

GEOD = Geod(ellps="WGS84")


class AoiUnreadable(DepotwatchError):
    """The AOI file does not exist, is no JSON, or is no GeoJSON."""

    code = "aoi-unreadable"


class AoiNotPolygon(DepotwatchError):
    """A GeoJSON without any polygon, or with something else among the polygons."""

    code = "aoi-not-polygon"


class AoiEmpty(DepotwatchError):
    """No features, no rings, or rings without area."""

    code = "aoi-empty"


class AoiSelfCrossing(DepotwatchError):
    """A ring that crosses or touches itself."""

    code = "aoi-self-crossing"


class AoiNotANumber(DepotwatchError):
    """A coordinate that is NaN, infinite or no number."""

    code = "aoi-not-a-number"


class AoiOutOfRange(DepotwatchError):
    """A longitude beyond 180 or a latitude beyond 90 degrees: metres, or latitude and longitude exchanged."""

    code = "aoi-out-of-range"


class AoiAntimeridian(DepotwatchError):
    """An AOI beyond the antimeridian, or so far across it that it cannot be told where it lies."""

    code = "aoi-antimeridian"


class AoiPolar(DepotwatchError):
    """An AOI outside the UTM zones."""

    code = "aoi-polar"


class AoiTooSmall(DepotwatchError):
    """An AOI smaller than anything that could be seen in it."""

    code = "aoi-too-small"


class AoiTooLarge(DepotwatchError):
    """An AOI larger than one site may be."""

    code = "aoi-too-large"


class AoiTooManyVertices(DepotwatchError):
    """An AOI of more vertices than any drawn outline has."""

    code = "aoi-too-many-vertices"


class AoiWrongCrs(DepotwatchError):
    """A GeoJSON that declares coordinates other than longitude and latitude on WGS 84."""

    code = "aoi-wrong-crs"


class AoiOutsideScenes(DepotwatchError):
    """No scene of the archive covers any of the AOI."""

    code = "aoi-outside-scenes"


def read_aoi(path: str | Path) -> Site:
    """Read a site from a GeoJSON file; its name is the feature's ``name``, else the file's.

    Raises
    ------
    DepotwatchError : one of this module's, naming the vertex and the cure
    """
    place = Path(path)
    if not place.is_file():
        what = "is a folder; name the GeoJSON file in it" if place.is_dir() else "there is no such file"
        raise AoiUnreadable(f"{place}: {what}", pointer=str(path))
    if place.stat().st_size > MAX_FILE_BYTES:
        raise AoiTooManyVertices(
            f"{place.name}: is larger than {MAX_FILE_BYTES // 2**20} MiB; simplify the outline",
            pointer=str(path),
        )
    try:
        # json.load takes NaN and Infinity, which JSON does not know: they come out as floats and are refused below.
        document = json.loads(place.read_bytes())  # UTF-8 or, as some shells write, UTF-16
    except OSError as error:
        raise AoiUnreadable(f"{place.name}: cannot be read ({error.strerror})", pointer=str(path)) from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number of thousands of digits is JSON, and no number here
        why = "it is no text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise AoiUnreadable(
            f"{place.name}: is no GeoJSON ({why}); save the site's outline as GeoJSON in EPSG:4326",
            pointer=str(path),
        ) from error
    return Site(site_name(document) or place.stem, parse_aoi(document))


def site_name(document: object) -> str | None:
    """Return the name that a GeoJSON gives its place, if it does: ``properties.name``, ``name`` or ``title``."""
    if not isinstance(document, dict):
        return None
    features = document.get("features")
    first = features[0] if isinstance(features, list) and len(features) == 1 else None
    for holder in (document, document.get("properties"), first and site_holder(first)):
        if isinstance(holder, dict):
            for key in ("name", "title"):
                if isinstance(holder.get(key), str) and holder[key].strip():
                    return str(holder[key]).strip()
    return None


def site_holder(feature: object) -> object:
    """Return a feature's properties."""
    return feature.get("properties") if isinstance(feature, dict) else None


def parse_aoi(document: object) -> BaseGeometry:
    """Turn parsed GeoJSON into one valid (multi)polygon, EPSG:4326, RFC 7946 winding, two-dimensional.

    Raises
    ------
    DepotwatchError : one of this module's; ``pointer`` is a JSON pointer into the document
    """
    if not isinstance(document, dict):
        raise AoiUnreadable("the AOI is no GeoJSON object")
    _check_crs(document)
    outlines = list(_outlines(document, ""))
    if not outlines:
        raise AoiEmpty("the AOI holds no polygon; draw one around the site")
    vertices = 0
    polygons = []
    for rings, pointer in outlines:
        vertices += sum(len(r) for r in rings if isinstance(r, (list, tuple)))
        if vertices > MAX_VERTICES:
            raise AoiTooManyVertices(
                f"the AOI has more than {MAX_VERTICES:,} vertices; simplify it", pointer=pointer
            )
        polygons.append(_polygon(rings, pointer))
    area = _whole(polygons, [pointer for _, pointer in outlines])
    _check_place(area, len(polygons))
    area = cut(area)
    parts = [orient(p) for p in getattr(area, "geoms", [area])]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def _whole(polygons: Sequence[Polygon], pointers: Sequence[str]) -> BaseGeometry:
    """Return all polygons as one, in longitudes that do not jump: beyond 180 degrees where the AOI lies across."""
    for polygon, pointer in zip(polygons, pointers, strict=True):
        west, _, east, _ = polygon.bounds
        if west >= HALF_TURN or east <= -HALF_TURN:
            raise AoiAntimeridian(
                f"the AOI's outline lies at longitudes {west:g} to {east:g}, wholly beyond the antimeridian; "
                f"write {_within(west):g} to {_within(east):g}",
                pointer=pointer,
            )
    together = MultiPolygon(polygons) if len(polygons) > 1 else polygons[0]
    if not crosses(together):
        return union_all(polygons)
    return union_all([transform(polygon, _turned) for polygon in polygons])


def _turned(xy: NDArray[float64]) -> NDArray[float64]:
    return column_stack([eastward(xy[:, 0]), xy[:, 1]])


def _within(longitude: float) -> float:
    return (longitude + HALF_TURN) % FULL_TURN - HALF_TURN


def _check_crs(document: dict[str, Any]) -> None:
    declared = document.get("crs")
    if declared is None:
        return
    properties = declared.get("properties") if isinstance(declared, dict) else None
    name = str(properties.get("name", "")) if isinstance(properties, dict) else str(declared)
    if not name.upper().endswith(_KNOWN_CRS):
        raise AoiWrongCrs(
            f"the AOI is in {name or 'an unnamed CRS'}; save it as GeoJSON in EPSG:4326 (longitude, latitude)",
            pointer="/crs",
        )


def _outlines(node: object, pointer: str) -> Iterator[tuple[Sequence[Any], str]]:
    """Yield the ring lists of every polygon in a GeoJSON object, with a pointer to each."""
    if not isinstance(node, dict):
        raise AoiUnreadable("the AOI holds something that is no GeoJSON object", pointer=pointer)
    kind = node.get("type")
    match kind:
        case "FeatureCollection":
            for i, feature in enumerate(_list(node, "features", pointer)):
                yield from _outlines(feature, f"{pointer}/features/{i}")
        case "Feature":
            if node.get("geometry") is not None:
                yield from _outlines(node["geometry"], f"{pointer}/geometry")
        case "GeometryCollection":
            for i, part in enumerate(_list(node, "geometries", pointer)):
                yield from _outlines(part, f"{pointer}/geometries/{i}")
        case "Polygon":
            if rings := _list(node, "coordinates", pointer):
                yield rings, f"{pointer}/coordinates"
        case "MultiPolygon":
            for i, rings in enumerate(_list(node, "coordinates", pointer)):
                if not isinstance(rings, (list, tuple)):
                    raise AoiUnreadable("a MultiPolygon holds something that is no polygon", pointer=pointer)
                yield rings, f"{pointer}/coordinates/{i}"
        case "Point" | "MultiPoint" | "LineString" | "MultiLineString":
            raise AoiNotPolygon(f"the AOI is a {kind}; draw a polygon around the site", pointer=pointer)
        case _:
            raise AoiUnreadable(
                f"the AOI is no GeoJSON: type {kind!r} is not a Feature, FeatureCollection or geometry",
                pointer=pointer,
            )


def _list(node: dict[str, Any], key: str, pointer: str) -> Sequence[Any]:
    value = node.get(key)
    if not isinstance(value, (list, tuple)):
        raise AoiUnreadable(f"the AOI's {node.get('type')} has no list of {key}", pointer=f"{pointer}/{key}")
    return value


def _polygon(rings: Sequence[Any], pointer: str) -> Polygon:
    """Build one polygon; refuse what is not one."""
    parsed = [_ring(ring, f"{pointer}/{i}") for i, ring in enumerate(rings)]
    longitudes = [x for ring in parsed for x, _ in ring]
    west, east = min(longitudes), max(longitudes)
    if east - west > HALF_TURN:
        parsed = [[(x + FULL_TURN if x < 0.0 else x, y) for x, y in ring] for ring in parsed]
    try:
        polygon = Polygon(parsed[0], parsed[1:])
    except (ShapelyError, ValueError, IndexError) as error:
        raise AoiEmpty(f"the AOI's outline has too few corners ({error})", pointer=pointer) from error
    if polygon.is_valid and polygon.area > 0:
        return polygon
    if east - west > HALF_TURN:
        raise AoiAntimeridian(
            f"the AOI's outline spans longitudes {west:g} to {east:g}: it is far too large, or crosses the "
            "antimeridian in a way that cannot be read; write it as two polygons, one that ends at longitude 180 and "
            "one that begins at -180",
            pointer=pointer,
        )
    reason = explain_validity(polygon)
    if polygon.area == 0 and "Self-intersection" not in reason:
        raise AoiEmpty(
            "the AOI's outline encloses no area; draw at least three different corners", pointer=pointer
        )
    where = reason[reason.find("[") + 1 : reason.find("]")] if "[" in reason else ""
    what = reason.split("[")[0].strip().lower()
    ring, vertex = _nearest_vertex(parsed, where)
    raise AoiSelfCrossing(
        f"the AOI's outline crosses itself at longitude/latitude {where or 'unknown'}, near vertex {vertex} "
        f"of ring {ring} ({what}); move that corner or draw it again",
        pointer=f"{pointer}/{ring}/{vertex}",
    )


def _nearest_vertex(rings: list[list[tuple[float, float]]], where: str) -> tuple[int, int]:
    """Return (ring, vertex) nearest to a place written as "x y"; the first one where nothing is written."""
    x, y = (float(v) for v in where.split()) if where else rings[0][0]
    _, ring, vertex = min(
        (math.hypot(px - x, py - y), r, i)
        for r, points in enumerate(rings)
        for i, (px, py) in enumerate(points)
    )
    return ring, vertex


def _ring(ring: object, pointer: str) -> list[tuple[float, float]]:
    if not isinstance(ring, (list, tuple)) or len(ring) < 4:
        raise AoiEmpty("the AOI's outline needs four positions, the last equal to the first", pointer=pointer)
    return [_position(position, f"{pointer}/{i}", i) for i, position in enumerate(ring)]


def _position(position: object, pointer: str, index: int) -> tuple[float, float]:
    numbers = isinstance(position, (list, tuple)) and len(position) >= 2
    if not numbers or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in position[:2]):  # type: ignore[index]
        raise AoiNotANumber(
            f"vertex {index} of the AOI is {json.dumps(position)[:60]}; it must be [longitude, latitude]",
            pointer=pointer,
        )
    longitude, latitude = (_degrees(v) for v in position[:2])  # type: ignore[index]
    if not (math.isfinite(longitude) and math.isfinite(latitude)):
        raise AoiNotANumber(f"vertex {index} of the AOI is not a finite number", pointer=pointer)
    if abs(latitude) > 90.0 and abs(longitude) <= 90.0 and abs(latitude) <= 180.0:
        raise AoiOutOfRange(
            f"vertex {index} of the AOI has latitude {latitude:g}: latitude and longitude look exchanged, "
            "GeoJSON wants [longitude, latitude]",
            pointer=pointer,
        )
    if abs(latitude) > 90.0 or abs(longitude) > FULL_TURN:
        raise AoiOutOfRange(
            f"vertex {index} of the AOI is [{longitude:g}, {latitude:g}], not degrees; "
            "save it in EPSG:4326 (longitude, latitude)",
            pointer=pointer,
        )
    return longitude, latitude


def _degrees(number: float) -> float:
    """Return a number as a float; infinite for an integer beyond all floats, which JSON may hold."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _check_place(area: BaseGeometry, parts: int) -> None:
    _, south, _, north = area.bounds
    if north > 84.0 or south < -80.0:
        raise AoiPolar(
            f"the AOI reaches latitude {north if north > 84 else south:g}; sites lie between 80 S and 84 N"
        )
    size_m2 = area_m2(area)
    if size_m2 < MIN_AREA_M2:
        raise AoiTooSmall(
            f"the AOI covers {size_m2:.2g} m2, less than {MIN_AREA_M2:g}; draw it around the whole site"
        )
    spread_m2 = max(size_m2, _box_m2(area))
    if spread_m2 > MAX_AREA_M2:
        apart = f" in {parts} parts" if parts > 1 else ""
        raise AoiTooLarge(
            f"the AOI spans {spread_m2 / 1e6:,.0f} km2{apart}, more than {MAX_AREA_M2 / 1e6:g}; "
            "divide it into several sites"
        )


def _box_m2(area: BaseGeometry) -> float:
    west, south, east, north = area.bounds
    return abs(
        GEOD.geometry_area_perimeter(Polygon([(west, south), (east, south), (east, north), (west, north)]))[0]
    )


def area_m2(geometry: BaseGeometry) -> float:
    """Return the area on the WGS 84 ellipsoid, square metres."""
    return abs(float(GEOD.geometry_area_perimeter(geometry)[0]))


def utm_zone(aoi: BaseGeometry) -> int:
    """Return the EPSG code of the UTM zone of the AOI's centroid."""
    return utm_epsg(*centre_lonlat(aoi))


def outside_scenes(aoi: BaseGeometry, footprints: list[str]) -> AoiOutsideScenes:
    """Return the error for an AOI that no scene covers, with the cure if latitude and longitude look exchanged.

    Parameters
    ----------
    footprints : WKT in EPSG:4326 of every scene that the archive has
    """
    if not footprints:
        return AoiOutsideScenes("the archive has no scene at all in this period; check its path and --period")
    places = union_all([wkt.loads(f) for f in footprints])
    swapped = affine_transform(aoi, [0, 1, 1, 0, 0, 0])
    if swapped.intersects(places):
        return AoiOutsideScenes(
            "no scene covers the AOI, but scenes lie where it would be with latitude and longitude exchanged; "
            "GeoJSON wants [longitude, latitude]"
        )
    west, south, east, north = places.bounds
    at = centre_lonlat(aoi)
    return AoiOutsideScenes(
        f"no scene covers the AOI around [{at[0]:.4f}, {at[1]:.4f}]; the archive's scenes lie within "
        f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"
    )
