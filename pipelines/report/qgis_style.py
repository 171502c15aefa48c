"""How QGIS draws the layers when it opens the GeoPackage: changes by class, filled where something appeared."""

from itertools import product
from xml.sax.saxutils import escape, quoteattr

from imagery.changes import Direction, ObjectClass
from pipelines.report import wording
from pipelines.report.palette import colour


def _rgba(object_class: str, alpha: int) -> str:
    rgb = colour(object_class)
    return ",".join(str(int(rgb[i : i + 2], 16)) for i in (1, 3, 5)) + f",{alpha}"


def _symbol(name: int, object_class: ObjectClass, direction: Direction) -> str:
    came = direction is Direction.APPEARED
    fill = _rgba(object_class, 90 if came else 0)
    return _fill(name, fill if came else None, _rgba(object_class, 255), "solid" if came else "dash", "0.6")


def _fill(name: int, fill: str | None, outline: str, line: str, width_mm: str) -> str:
    """Return a polygon symbol; colours are ``r,g,b,alpha``, a fill of None is none."""
    properties = {
        "color": fill or "0,0,0,0",
        "style": "solid" if fill else "no",
        "outline_color": outline,
        "outline_style": line,
        "outline_width": width_mm,
        "outline_width_unit": "MM",
    }
    lines = "".join(f"<prop k={quoteattr(k)} v={quoteattr(v)}/>" for k, v in properties.items())
    return (
        f'<symbol type="fill" name="{name}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="SimpleFill" enabled="1" locked="0" pass="0">{lines}</layer></symbol>'
    )


def changes_qml() -> str:
    """Return a QGIS style document (QML) for layer ``changes``: one category per class and direction."""
    pairs = list(enumerate(product(ObjectClass, Direction)))
    categories = "".join(
        f'<category symbol="{i}" value={quoteattr(f"{k} {d}")} '
        f'label={quoteattr(f"{wording.short(k)}, {d}")} render="true"/>'
        for i, (k, d) in pairs
    )
    symbols = "".join(_symbol(i, k, d) for i, (k, d) in pairs)
    attribute = quoteattr('"change_type" || \' \' || "direction"')
    return _document(
        f'<renderer-v2 type="categorizedSymbol" attr={attribute} symbollevels="0" enableorderby="0" forceraster="0">'
        f"<categories>{categories}</categories><symbols>{symbols}</symbols></renderer-v2>"
    )


def looks_qml() -> str:
    """Return the style of layer ``looks``: thin outlines, for many lie over each other."""
    return _single(_fill(0, None, "110,110,110,160", "dot", "0.3"))


def aoi_qml() -> str:
    """Return the style of layer ``aoi``: one outline that stands over an image."""
    return _single(_fill(0, None, "255,225,77,255", "solid", "0.8"))


def _single(symbol: str) -> str:
    return _document(
        '<renderer-v2 type="singleSymbol" symbollevels="0" enableorderby="0" forceraster="0">'
        f"<symbols>{symbol}</symbols></renderer-v2>"
    )


def _document(renderer: str) -> str:
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        f'<qgis version="3.28.0" styleCategories="Symbology">{renderer}'
        f"<!-- {escape('made by depotwatch')} --></qgis>"
    )
