"""AOIs as clients send them: GeoJSON, KML, or a CSV of points with a radius; one draft per site.

GeoJSON is parsed by ``pipelines.aoi``; KML and CSV are turned into GeoJSON first, so that there is one judgement of
what a usable AOI is. Faults point into what the client sent.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from pyproj import Geod
from shapely.geometry.base import BaseGeometry

from imagery.errors import DepotwatchError
from pipelines.antimeridian import crosses, uncut
from pipelines.aoi import AoiEmpty, parse_aoi
from service.errors import BadBody, NameTaken, UnsupportedMediaType
from service.problems import ManyErrors

MAX_SITES = 2_000
MAX_NAME = 200
MAX_PROPERTIES_BYTES = 64 * 1024
MIN_RADIUS_M, MAX_RADIUS_M = 6.0, 11_000.0
CIRCLE_CORNERS = 64
MAX_FAULTS = 20

GEOJSON_TYPES = ("application/geo+json", "application/json")
KML_TYPE = "application/vnd.google-earth.kml+xml"
CSV_TYPE = "text/csv"
MEDIA_TYPES = (*GEOJSON_TYPES, KML_TYPE, CSV_TYPE)


class BadSite(DepotwatchError):
    """A member of a site that is not what it must be."""

    code = "bad-site"


class BadRadius(DepotwatchError):
    """A radius that is no number of metres within the limits."""

    code = "bad-radius"


class BadKml(DepotwatchError):
    """KML that cannot be read as places."""

    code = "bad-kml"


class BadCsv(DepotwatchError):
    """A table without the columns that make a place."""

    code = "bad-csv"


@dataclass(frozen=True, slots=True)
class SiteDraft:
    """One site as wished for: parsed and valid. ``archives`` None means all the tenant may use."""

    name: str
    aoi: BaseGeometry
    properties: dict[str, Any]
    archives: tuple[str, ...] | None
    parameters: dict[str, Any]
    analyse: bool
    pointer: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Intake:
    """What one body asked for; ``many`` where it was a collection."""

    drafts: tuple[SiteDraft, ...]
    many: bool


def parse_json(body: bytes) -> Any:
    """Parse JSON as RFC 8259 has it: UTF-8, no NaN, no Infinity, no text that UTF-8 cannot hold.

    Raises
    ------
    BadBody : anything else
    """

    def refuse(name: str) -> Any:
        raise BadBody(f"the body is not JSON: {name} is no JSON number")

    if not body.strip():
        raise BadBody("the body is empty")
    try:
        text = body.decode("utf-8-sig")
        document = json.loads(text, parse_constant=refuse)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()
        return document
    except UnicodeDecodeError as error:
        raise BadBody("the body is not UTF-8") from error
    except UnicodeEncodeError as error:
        # It could neither be kept nor be answered: no UTF-8 text holds it.
        raise BadBody("the body is not usable JSON: a \\u escape is half of a surrogate pair") from error
    except json.JSONDecodeError as error:
        raise BadBody(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise BadBody("the body is not usable JSON: nested too deeply, or a number too long") from error


def read_sites(body: bytes, media_type: str) -> Intake:
    """Turn a body into site drafts.

    Raises
    ------
    UnsupportedMediaType, BadBody : not one of ``MEDIA_TYPES``, or not what it says
    ManyErrors, DepotwatchError : a site that cannot be watched as drawn
    """
    match media_type:
        case "application/geo+json" | "application/json":
            document = parse_json(body)
        case "application/vnd.google-earth.kml+xml":
            return _read_placed(_kml_features(body))
        case "text/csv":
            return _read_placed(_csv_features(body))
        case _:
            raise UnsupportedMediaType(
                f"sites come as {', '.join(MEDIA_TYPES)}, not {media_type or 'untyped'}"
            )
    return read_document(document)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A Feature made of part of what a client sent, and that part: its pointer, and in words."""

    pointer: str
    words: str
    feature: dict[str, Any]


def _read_placed(found: list[_Placed]) -> Intake:
    """Turn Features into drafts; faults point to where the client drew or wrote them, not into our GeoJSON."""
    try:
        made = read_document(_collection(found))
    except ManyErrors as error:
        raise ManyErrors([_placed_fault(fault, found) for fault in error.faults]) from error
    return Intake(
        tuple(replace(draft, pointer=place.pointer) for draft, place in zip(made.drafts, found, strict=True)),
        made.many,
    )


def _placed_fault(fault: tuple[str, str, str], found: list[_Placed]) -> tuple[str, str, str]:
    pointer, code, detail = fault
    index = re.match(r"/features/(\d+)/", f"{pointer}/")
    if index is None:
        return fault
    place = found[int(index[1])]
    if code == NameTaken.code:
        detail = re.sub(r"/features/(\d+)$", lambda other: found[int(other[1])].words, detail)
    return place.pointer, code, f"{place.words}: {detail}"


def _collection(found: list[_Placed]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": [place.feature for place in found]}


def read_document(document: Any) -> Intake:
    """Turn parsed GeoJSON into drafts: one per Feature."""
    if not isinstance(document, dict):
        raise BadSite("a site is a GeoJSON Feature or FeatureCollection, not " + type(document).__name__)
    if document.get("type") == "FeatureCollection":
        features = document.get("features")
        if not isinstance(features, list) or not features:
            raise AoiEmpty("the FeatureCollection holds no features; draw a polygon", pointer="/features")
        if len(features) > MAX_SITES:
            raise BadSite(f"{len(features)} sites in one call; send {MAX_SITES} at most", pointer="/features")
        common = {key: document[key] for key in ("analyse", "crs") if key in document}
        return Intake(tuple(_all(features, common)), True)
    if document.get("type") != "Feature":
        raise BadSite(
            f"type is {document.get('type')!r}; a site is a GeoJSON Feature with properties.name",
            pointer="/type",
        )
    return Intake((read_feature(document, ""),), False)


def _all(features: list[Any], common: dict[str, Any]) -> list[SiteDraft]:
    faults: list[tuple[str, str, str]] = []
    drafts = []
    for index, feature in enumerate(features):
        pointer = f"/features/{index}"
        try:
            if not isinstance(feature, dict):
                raise BadSite("a feature is a JSON object", pointer=pointer)
            drafts.append(read_feature({**common, **feature}, pointer))
        except ManyErrors as error:
            faults += error.faults
        except DepotwatchError as error:
            faults.append((error.pointer, error.code, error.detail))
        if len(faults) >= MAX_FAULTS:
            break
    seen: dict[str, str] = {}
    for draft in drafts:
        if draft.name in seen:
            pointer = f"{draft.pointer}/properties/name"
            faults.append((pointer, NameTaken.code, f"{draft.name!r} is also the name of {seen[draft.name]}"))
        seen[draft.name] = draft.pointer
    if faults:
        raise ManyErrors(faults)
    return drafts


def read_feature(feature: dict[str, Any], pointer: str) -> SiteDraft:
    """Turn one Feature into a draft."""
    if feature.get("type") != "Feature":
        raise BadSite(f"type is {feature.get('type')!r}; it must be Feature", pointer=f"{pointer}/type")
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        raise BadSite("a site needs properties with a name", pointer=f"{pointer}/properties")
    own, extra = _split(properties, feature, pointer)
    try:
        aoi = parse_aoi({key: feature[key] for key in ("type", "geometry", "crs") if key in feature})
    except DepotwatchError as error:
        error.pointer = pointer + (error.pointer or "/geometry")
        raise
    return SiteDraft(
        own.name, aoi, extra, own.archives, own.parameters, own.analyse, pointer, tuple(_warnings(aoi))
    )


@dataclass(frozen=True, slots=True)
class _Own:
    name: str
    archives: tuple[str, ...] | None
    parameters: dict[str, Any]
    analyse: bool


# Members the service writes itself: taken out of what a client sends back to it.
READ_ONLY = frozenset(
    {"area_m2", "utm_epsg", "created", "updated", "geometry_version", "version", "reports", "current_report"}
)


def _split(properties: dict[str, Any], feature: dict[str, Any], pointer: str) -> tuple[_Own, dict[str, Any]]:
    at = f"{pointer}/properties"
    analyse = feature.get("analyse", properties.get("analyse", True))
    if not isinstance(analyse, bool):
        raise BadSite("analyse is true or false", pointer=f"{pointer}/analyse")
    own = _Own(
        check_name(properties.get("name"), f"{at}/name"),
        check_archives(properties.get("archives"), f"{at}/archives"),
        check_parameters(properties.get("parameters", {}), f"{at}/parameters"),
        analyse,
    )
    return own, check_extra(properties, at)


def check_extra(properties: dict[str, Any], pointer: str) -> dict[str, Any]:
    """Return the client's own properties, without those that have a meaning here."""
    known = READ_ONLY | {"name", "archives", "parameters", "analyse"}
    extra = {key: value for key, value in properties.items() if key not in known}
    if len(json.dumps(extra)) > MAX_PROPERTIES_BYTES:
        raise BadSite(f"properties hold more than {MAX_PROPERTIES_BYTES:,} bytes", pointer=pointer)
    if "\\u0000" in json.dumps(extra):
        raise BadSite("properties hold a NUL character", pointer=pointer)
    return extra


def check_name(name: Any, pointer: str) -> str:
    """Return a usable name: 1 to ``MAX_NAME`` characters, none of them a control character."""
    if not isinstance(name, str) or not name.strip():
        raise BadSite("a site needs a name: properties.name", pointer=pointer)
    text: str = name.strip()
    if len(text) > MAX_NAME or not text.isprintable():
        raise BadSite(f"a name has at most {MAX_NAME} characters and no control characters", pointer=pointer)
    return text


def check_archives(names: Any, pointer: str) -> tuple[str, ...] | None:
    """Return archive names; None for all."""
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(n, str) and n.isprintable() for n in names):
        raise BadSite("archives is a list of archive names", pointer=pointer)
    return tuple(dict.fromkeys(names))


def check_parameters(values: Any, pointer: str) -> dict[str, Any]:
    """Return parameters that ``analyse`` takes.

    Raises
    ------
    DepotwatchError : unknown name, wrong kind or out of range
    """
    from pipelines.parameters import parameters_from

    if not isinstance(values, dict):
        raise BadSite("parameters is a JSON object", pointer=pointer)
    try:
        parameters_from(dict(values))
    except DepotwatchError as error:
        error.pointer = pointer + error.pointer.removeprefix("/parameters")
        raise
    return values


def _warnings(aoi: BaseGeometry) -> Iterator[str]:
    whole = uncut(aoi)
    if crosses(aoi):
        yield (
            "the site lies across the antimeridian and was cut along it into a MultiPolygon (RFC 7946 section 3.1.9); "
            "it is analysed in one piece"
        )
    if (parts := len(getattr(whole, "geoms", [whole]))) > 1:
        yield f"the site has {parts} separate parts; they are analysed on one grid around all of them"


def kml_to_geojson(body: bytes) -> dict[str, Any]:
    """Return the polygons of a KML file's Placemarks, one Feature each.

    Raises
    ------
    BadKml : no XML, a document type declaration (entities are a known way to exhaust a parser), no polygon
    """
    return _collection(_kml_features(body))


def _kml_features(body: bytes) -> list[_Placed]:
    if body.startswith(b"PK"):
        raise BadKml("this is a KMZ, which is KML zipped: unzip it and send the doc.kml in it")
    if re.search(rb"<!\s*(DOCTYPE|ENTITY)", body, re.IGNORECASE):
        raise BadKml("the KML declares a document type; save it without one")
    try:
        root = ET.fromstring(body)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise BadKml(f"the body is not XML: {error}") from error
    features = []
    for number, placemark in enumerate(root.iterfind(".//{*}Placemark"), 1):
        polygons = [_kml_polygon(node, number) for node in placemark.iterfind(".//{*}Polygon")]
        if not polygons:
            continue
        geometry = {"type": "MultiPolygon", "coordinates": polygons}
        properties = {"name": (placemark.findtext("{*}name") or "").strip() or f"place {number}"}
        if note := (placemark.findtext("{*}description") or "").strip():
            properties["description"] = note
        feature = {"type": "Feature", "properties": properties, "geometry": geometry}
        words = f"placemark {number} ({properties['name'][:40]})"
        features.append(_Placed(f"/Placemark/{number}", words, feature))
    if not features:
        raise BadKml("the KML holds no Placemark with a Polygon; draw one around each site")
    return features


def _kml_polygon(node: ET.Element, number: int) -> list[list[list[float]]]:
    rings = [*node.iterfind("{*}outerBoundaryIs"), *node.iterfind("{*}innerBoundaryIs")]
    return [_kml_ring(ring.findtext(".//{*}coordinates") or "", number) for ring in rings]


def _kml_ring(text: str, number: int) -> list[list[float]]:
    try:
        return [[float(v) for v in position.split(",")[:2]] for position in text.split()]
    except ValueError as error:
        told = f"placemark {number}: a coordinate is no number ({error})"
        raise BadKml(told, pointer=f"/Placemark/{number}") from error


def csv_to_geojson(body: bytes) -> dict[str, Any]:
    """Return one circle per row of a table with the columns name, longitude, latitude, radius_m.

    Raises
    ------
    BadBody, BadCsv : not UTF-8, a column missing, a value that is no number
    """
    return _collection(_csv_features(body))


def _csv_features(body: bytes) -> list[_Placed]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadBody("the table is not UTF-8; save it as CSV in UTF-8") from error
    delimiter = _delimiter(text)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    comma = delimiter != ","
    try:
        header = [column.strip().lower() for column in next(rows, [])]
        where = {name: _column(header, names) for name, names in _COLUMNS.items()}
        features = [
            _Placed(f"/{line}", f"line {line}", _circle(row, where, header, line, comma))
            for line, row in enumerate(rows, 2)
            if any(row)
        ]
    except csv.Error as error:
        raise BadCsv(f"the table cannot be read: {error}") from error
    if not features:
        raise BadCsv("the table has a header and no rows")
    return features


_COLUMNS = {
    "name": ("name", "site", "title"),
    "longitude": ("longitude", "lon", "lng", "x"),
    "latitude": ("latitude", "lat", "y"),
    "radius_m": ("radius_m", "radius"),
}


def _delimiter(text: str) -> str:
    first = text.split("\n", 1)[0]
    return max([",", ";", "\t"], key=first.count)


def _column(header: list[str], names: tuple[str, ...]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise BadCsv(f"the table has no column {names[0]}; it needs name, longitude, latitude and radius_m")


def _circle(
    row: list[str], where: dict[str, int], header: list[str], line: int, comma: bool
) -> dict[str, Any]:
    """Return one row's circle; ``comma`` where columns leave it free, so that 50,1 may be a number."""

    def number(name: str) -> float:
        text = row[where[name]].strip() if where[name] < len(row) else ""
        try:
            value = float(text.replace(",", ".") if comma else text)
        except ValueError as error:
            raise BadCsv(
                f"line {line}: {name} is {text[:40]!r}, not a number", pointer=f"/{line}/{name}"
            ) from error
        if not math.isfinite(value):
            raise BadCsv(
                f"line {line}: {name} is {text[:40]!r}, not a finite number", pointer=f"/{line}/{name}"
            )
        return value

    longitude, latitude, radius_m = number("longitude"), number("latitude"), number("radius_m")
    if not MIN_RADIUS_M <= radius_m <= MAX_RADIUS_M:
        raise BadRadius(
            f"line {line}: the radius is {radius_m:g} m; it must be {MIN_RADIUS_M:g} to {MAX_RADIUS_M:g}",
            pointer=f"/{line}/radius_m",
        )
    used = set(where.values())
    properties: dict[str, Any] = {
        header[i]: value for i, value in enumerate(row) if i < len(header) and i not in used and header[i]
    }
    properties["name"] = row[where["name"]]
    ring = circle(longitude, latitude, radius_m)
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def circle(longitude: float, latitude: float, radius_m: float) -> list[list[float]]:
    """Return a closed ring of points at one geodesic distance, counter-clockwise, degrees."""
    if abs(latitude) > 90 or abs(longitude) > 180:
        corner = [longitude, latitude]  # refused with the right words by the AOI parser
        return [corner, [longitude + 1e-3, latitude], [longitude, latitude + 1e-3], corner]
    geod: Callable[..., Any] = Geod(ellps="WGS84").fwd
    bearings = [-360.0 * i / CIRCLE_CORNERS for i in range(CIRCLE_CORNERS)]
    ring = [list(map(float, geod(longitude, latitude, bearing, radius_m)[:2])) for bearing in bearings]
    return [*ring, ring[0]]


def read_file(place: str, name: str | None, *, analyse: bool) -> tuple[bytes, str]:
    """Return a file as ``POST /sites`` takes it: (body, media type), GeoJSON with a name where there was none.

    Raises
    ------
    BadBody, BadKml, BadCsv : it cannot be read
    """
    path = Path(place)
    if not path.is_file():
        raise BadBody(f"{place}: there is no such file")
    body = path.read_bytes()
    if path.suffix.lower() == ".kml":
        document: Any = kml_to_geojson(body)
    elif path.suffix.lower() == ".csv":
        document = csv_to_geojson(body)
    else:
        document = parse_json(body)
    if not isinstance(document, dict):
        raise BadBody(f"{place}: is no GeoJSON object")
    if document.get("type") in {"Polygon", "MultiPolygon"}:
        document = {"type": "Feature", "properties": {}, "geometry": document}
    features = document.get("features") if document.get("type") == "FeatureCollection" else [document]
    for feature in features or []:
        if isinstance(feature, dict) and len(features or []) == 1:
            properties = feature.get("properties") or {}
            feature["properties"] = {**properties, "name": name or properties.get("name") or path.stem}
    return json.dumps({**document, "analyse": analyse}).encode(), GEOJSON_TYPES[0]
