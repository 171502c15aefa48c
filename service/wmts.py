"""A site's tiles as an OGC WMTS 1.0.0 capabilities document: what QGIS and GDAL open as they are, in the site's zone."""

from collections.abc import Iterable
from xml.etree import ElementTree

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
    layers : (identifier, title, address of a tile with ``{TileMatrix}``, ``{TileCol}`` and ``{TileRow}`` in it)
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
    _matrix_set(contents, pyramid)
    _add(root, WMTS, "ServiceMetadataURL").set(f"{{{XLINK}}}href", here)
    told: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return told


def _add(parent: Element, space: str, name: str, text: str | None = None, **attributes: str) -> Element:
    element = ElementTree.SubElement(parent, f"{{{space}}}{name}", attributes)
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
    _corners(layer, "BoundingBox", pyramid.bounds, crs=_urn(pyramid))
    _add(layer, OWS, "Identifier", identifier)
    _add(_add(layer, WMTS, "Style", isDefault="true"), OWS, "Identifier", "default")
    _add(layer, WMTS, "Format", "image/png")
    _add(_add(layer, WMTS, "TileMatrixSetLink"), WMTS, "TileMatrixSet", TILE_MATRIX_SET)
    _add(layer, WMTS, "ResourceURL", format="image/png", resourceType="tile", template=template)


def _matrix_set(contents: Element, pyramid: Pyramid) -> None:
    element = _add(contents, WMTS, "TileMatrixSet")
    _add(element, OWS, "Identifier", TILE_MATRIX_SET)
    _add(element, OWS, "SupportedCRS", _urn(pyramid))
    for level, told in enumerate(pyramid.as_tile_matrix_set("", "")["tileMatrices"]):
        matrix = _add(element, WMTS, "TileMatrix")
        _add(matrix, OWS, "Identifier", str(level))
        _add(matrix, WMTS, "ScaleDenominator", repr(told["scaleDenominator"]))
        _add(matrix, WMTS, "TopLeftCorner", f"{pyramid.east_m!r} {pyramid.north_m!r}")
        for name in ("TileWidth", "TileHeight"):
            _add(matrix, WMTS, name, str(TILE_PX))
        _add(matrix, WMTS, "MatrixWidth", str(told["matrixWidth"]))
        _add(matrix, WMTS, "MatrixHeight", str(told["matrixHeight"]))


def _urn(pyramid: Pyramid) -> str:
    return f"urn:ogc:def:crs:EPSG::{pyramid.epsg}"
