"""Changes as KML 2.2 for Google Earth: styled by class and direction, on its time slider.

An appearance spans from its last absent look to its last look with it, open-ended while it stands; a removal spans
its onset interval only, as there is nothing to show after it.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from xml.sax.saxutils import escape

from imagery.changes import Direction, ObjectClass, Status
from pipelines.report import wording
from pipelines.report.features import Feature
from pipelines.report.palette import colour

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2">\n<Document>\n'


def _abgr(rgb: str, alpha: str) -> str:
    return alpha + rgb[5:7] + rgb[3:5] + rgb[1:3]


def _style_id(feature: Feature) -> str:
    return f"{feature['properties']['change_type']}-{feature['properties']['direction']}"


def _style(style_id: str) -> str:
    kind, _, direction = style_id.rpartition("-")
    fill = _abgr(colour(kind), "66" if direction == Direction.APPEARED else "00")
    return (
        f'<Style id="{escape(style_id)}"><LineStyle><color>{_abgr(colour(kind), "ff")}</color><width>2</width>'
        f"</LineStyle><PolyStyle><color>{fill}</color></PolyStyle></Style>\n"
    )


def _ring(points: Sequence[Sequence[float]]) -> str:
    text = " ".join(f"{lon:.7f},{lat:.7f}" for lon, lat in points)
    return f"<LinearRing><coordinates>{text}</coordinates></LinearRing>"


def _polygon(rings: Sequence[Any]) -> str:
    inner = "".join(f"<innerBoundaryIs>{_ring(r)}</innerBoundaryIs>" for r in rings[1:])
    return f"<Polygon><outerBoundaryIs>{_ring(rings[0])}</outerBoundaryIs>{inner}</Polygon>"


def _geometry(geometry: dict[str, Any] | None) -> str:
    match geometry:
        case {"type": "Polygon", "coordinates": rings}:
            return _polygon(rings)
        case {"type": "MultiPolygon", "coordinates": parts}:
            return f"<MultiGeometry>{''.join(_polygon(rings) for rings in parts)}</MultiGeometry>"
        case _:
            return ""


def _time_span(p: dict[str, Any]) -> str:
    end = p["last_seen"] if p["status"] in {Status.CLOSED, Status.RETRACTED} else None
    if p["direction"] == Direction.REMOVED:
        end = p["first_seen"]
    closed = f"<end>{end}</end>" if end else ""
    return f"<TimeSpan><begin>{p['last_absent']}</begin>{closed}</TimeSpan>"


def _balloon(p: dict[str, Any], pictures: frozenset[str]) -> str:
    shown = [
        f'<figure><img src="{name}" width="320"/><figcaption>{end}</figcaption></figure>'
        for end in ("before", "after")
        if (name := f"evidence/{p['id']}/{end}.png") in pictures
    ]
    text = f"<p>{escape(p['statement'])}</p><p>Confidence {p['confidence']:.2f}, {p['status']}.</p>{''.join(shown)}"
    return f"<description>{escape(text)}</description>"


def _placemark(feature: Feature, pictures: frozenset[str]) -> str:
    p = feature["properties"]
    label = f"{wording.short(p['change_type'])} {p['direction']} ({p['confidence']:.2f})"
    return (
        f'<Placemark id="c{p["id"]}"><name>{escape(label)}</name>{_balloon(p, pictures)}{_time_span(p)}'
        f"<styleUrl>#{escape(_style_id(feature))}</styleUrl>{_geometry(feature['geometry'])}</Placemark>\n"
    )


def kml(made: Sequence[Feature], pictures: frozenset[str] = frozenset()) -> bytes:
    """Return the document; ``pictures`` are the names under which chips lie beside it."""
    ordered = sorted(made, key=lambda f: (_style_id(f), f["properties"]["first_seen"], f["id"]))
    groups = [(key, list(group)) for key, group in groupby(ordered, key=_style_id)]
    text = _HEAD + "<name>Changes</name>\n" + "".join(_style(key) for key, _ in groups)
    for key, group in groups:
        kind, _, direction = key.rpartition("-")
        plural = wording.noun(ObjectClass(kind)) if kind in set(ObjectClass) else kind
        text += f"<Folder><name>{escape(wording.capital(plural))}: {escape(direction)}</name>\n"
        text += "".join(_placemark(f, pictures) for f in group) + "</Folder>\n"
    return (text + "</Document>\n</kml>\n").encode()
