"""How QGIS draws the changes when it opens the GeoPackage: colour by class, filled where something appeared."""

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
    properties = {
        "color": _rgba(object_class, 90 if came else 0),
        "style": "solid" if came else "no",
        "outline_color": _rgba(object_class, 255),
        "outline_style": "solid" if came else "dash",
        "outline_width": "0.6",
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
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.28.0" styleCategories="Symbology">'
        f'<renderer-v2 type="categorizedSymbol" attr={attribute} symbollevels="0" enableorderby="0" forceraster="0">'
        f"<categories>{categories}</categories><symbols>{symbols}</symbols></renderer-v2>"
        f"<!-- {escape('made by depotwatch')} --></qgis>"
    )
