"""A site's tiles as an OGC WMTS 1.0.0 capabilities document: what QGIS and GDAL open as they are.

Every layer is there in the site's zone, which programs take first, and on the web's grid.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from service import mercator
from service.tiles import TILE_PX, Pyramid

WMTS, OWS, XLINK = (
    "http://www.opengis.net/wmts/1.0",
    "http://www.opengis.net/ows/1.1",
    "http://www.w3.org/1999/xlink",
)
TILE_MATRIX_SET = "site"
Element = ElementTree.Element


def capabilities(title: str, pyramid: Pyramid, layers: Iterable[tuple[str, str, str]], here: str) -> bytes:
    """Return the document.

    Parameters
    ----------
    layers : (identifier, title, address of a tile with ``{TileMatrixSet}``, ``{TileMatrix}``, ``{TileCol}`` and
        ``{TileRow}`` in it)
    here : the document's own address
    """
    for prefix, name in (("", WMTS), ("ows", OWS), ("xlink", XLINK)):
        ElementTree.register_namespace(prefix, name)
    root = Element(f"{{{WMTS}}}Capabilities", version="1.0.0")
    service = _add(root, OWS, "ServiceIdentification")
    for name, text in (("Title", title), ("ServiceType", "OGC WMTS"), ("ServiceTypeVersion", "1.0.0")):
        _add(service, OWS, name, text)
    contents = _add(root, WMTS, "Contents")
    for identifier, called, template in layers:
        _layer(contents, pyramid, identifier, called, template)
    _matrix_set(contents, TILE_MATRIX_SET, pyramid.epsg, pyramid.as_tile_matrix_set("", "")["tileMatrices"])
    web = _matrix_set(contents, mercator.NAME, mercator.EPSG, mercator.definition()["tileMatrices"])
    scales = _element(WMTS, "WellKnownScaleSet", "urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible")
    web.insert(2, scales)  # after the identifier and the CRS
    _add(root, WMTS, "ServiceMetadataURL").set(f"{{{XLINK}}}href", here)
    told: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return told


def _add(parent: Element, space: str, name: str, text: str | None = None, **attributes: str) -> Element:
    element = _element(space, name, text, **attributes)
    parent.append(element)
    return element


def _element(space: str, name: str, text: str | None = None, **attributes: str) -> Element:
    element = Element(f"{{{space}}}{name}", attributes)
    element.text = text
    return element


def _corners(parent: Element, name: str, box: tuple[float, float, float, float], **attributes: str) -> None:
    element = _add(parent, OWS, name, **attributes)
    _add(element, OWS, "LowerCorner", f"{box[0]!r} {box[1]!r}")
    _add(element, OWS, "UpperCorner", f"{box[2]!r} {box[3]!r}")


def _layer(contents: Element, pyramid: Pyramid, identifier: str, title: str, template: str) -> None:
    layer = _add(contents, WMTS, "Layer")
    _add(layer, OWS, "Title", title)
    west, south, east, north = pyramid.bounds_lonlat()
    if west <= east:  # the standard has no box across the antimeridian, and needs none
        _corners(layer, "WGS84BoundingBox", (west, south, east, north))
    # Tiles are padded to their full size; this is where the pictures end.
    _corners(layer, "BoundingBox", pyramid.bounds, crs=_urn(pyramid.epsg))
    _add(layer, OWS, "Identifier", identifier)
    _add(_add(layer, WMTS, "Style", isDefault="true"), OWS, "Identifier", "default")
    _add(layer, WMTS, "Format", "image/png")
    _add(_add(layer, WMTS, "TileMatrixSetLink"), WMTS, "TileMatrixSet", TILE_MATRIX_SET)
    _web_link(layer, pyramid)
    _add(layer, WMTS, "ResourceURL", format="image/png", resourceType="tile", template=template)


def _web_link(layer: Element, pyramid: Pyramid) -> None:
    """Say where on the world's grid the site lies, so that nobody asks for the rest of the world."""
    link = _add(layer, WMTS, "TileMatrixSetLink")
    _add(link, WMTS, "TileMatrixSet", mercator.NAME)
    limits = _add(link, WMTS, "TileMatrixSetLimits")
    for told in mercator.limits(pyramid):
        element = _add(limits, WMTS, "TileMatrixLimits")
        _add(element, WMTS, "TileMatrix", told["tileMatrix"])
        for name in ("MinTileRow", "MaxTileRow", "MinTileCol", "MaxTileCol"):
            _add(element, WMTS, name, str(told[name[0].lower() + name[1:]]))


def _matrix_set(contents: Element, name: str, epsg: int, matrices: Sequence[Mapping[str, Any]]) -> Element:
    element = _add(contents, WMTS, "TileMatrixSet")
    _add(element, OWS, "Identifier", name)
    _add(element, OWS, "SupportedCRS", _urn(epsg))
    for told in matrices:
        matrix = _add(element, WMTS, "TileMatrix")
        _add(matrix, OWS, "Identifier", told["id"])
        _add(matrix, WMTS, "ScaleDenominator", repr(told["scaleDenominator"]))
        _add(matrix, WMTS, "TopLeftCorner", " ".join(map(repr, told["pointOfOrigin"])))
        for size in ("TileWidth", "TileHeight"):
            _add(matrix, WMTS, size, str(TILE_PX))
        _add(matrix, WMTS, "MatrixWidth", str(told["matrixWidth"]))
        _add(matrix, WMTS, "MatrixHeight", str(told["matrixHeight"]))
    return element


def _urn(epsg: int) -> str:
    return f"urn:ogc:def:crs:EPSG::{epsg}"
