"""Changes as KML 2.2 for Google Earth: styled by class and direction, on its time slider.

An appearance spans from its last absent look to its last look with it, open-ended while it stands, and only then; a
removal spans its onset interval only, as there is nothing to show after it.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any
from xml.sax.saxutils import escape

from imagery.changes import Direction, ObjectClass, Status
from imagery.relations import Relation
from pipelines.report import wording
from pipelines.report.features import Feature
from pipelines.report.licences import UNSTATED
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
    # What is not sure enough to be closed may be gone all the same: its removal is then listed beside it.
    gone = any(other["relation"] == Relation.REMOVED_BY for other in p.get("related") or ())
    end = p["last_seen"] if gone or p["status"] in {Status.CLOSED, Status.RETRACTED} else None
    if p["direction"] == Direction.REMOVED:
        end = p["first_seen"]
    closed = f"<end>{end}</end>" if end else ""
    return f"<TimeSpan><begin>{p['last_absent']}</begin>{closed}</TimeSpan>"


def picture_names(p: dict[str, Any]) -> tuple[str, ...]:
    """Return under which names a change's pictures lie beside the document; none where it has no evidence."""
    return tuple(f"{p['evidence']}{end}.png" for end in ("before", "after")) if p.get("evidence") else ()


def _balloon(p: dict[str, Any], pictures: frozenset[str]) -> str:
    shown = [
        f'<figure><img src="{escape(name)}" width="320"/><figcaption>{end}</figcaption></figure>'
        for name, end in zip(picture_names(p), ("before", "after"), strict=False)
        if name in pictures
    ]
    text = f"<p>{escape(p['statement'])}</p><p>Confidence {wording.confidence(p['confidence'])}, {p['status']}.</p>{''.join(shown)}"
    text += f"<p>{escape(terms([p]))}</p>"
    return f"<description>{escape(text)}</description>"


def terms(shown: Iterable[dict[str, Any]]) -> str:
    """Return the sources of some changes and their terms as one sentence."""
    held = list(shown)
    platforms = sorted({name for p in held for name in p.get("platforms") or ()})
    licences = sorted({name for p in held for name in p.get("licences") or ()})
    return (
        f"Images: {', '.join(platforms) or 'platform not stated'}. Terms: {', '.join(licences) or UNSTATED}."
    )


# What a table beside the map shows; the statement is in the balloon.
_DATA = (
    "id", "change_type", "direction", "status", "confidence", "last_absent", "first_seen", "last_seen",
    "count", "count_low", "count_high", "count_reason", "area_m2", "length_m", "width_m", "orientation_deg", "gsd",
    "looks_supporting", "looks_against", "shift_sensitivity", "evidence", "before_scene", "after_scene", "scene_ids",
)  # fmt: skip


def _data(p: dict[str, Any]) -> str:
    told = "".join(
        f'<Data name="{name}"><value>{escape(_told(p[name]))}</value></Data>'
        for name in _DATA
        if p.get(name) is not None
    )
    return f"<ExtendedData>{told}</ExtendedData>"


def _told(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)


def _label(p: dict[str, Any]) -> str:
    """Name a mark as the statement in its balloon begins."""
    kind, count = p["change_type"], p.get("count")
    many = 2 if kind == ObjectClass.CONTAINER else 1
    n = many if count is None else max(1, count)
    subject = wording.noun(ObjectClass(kind) if kind in set(ObjectClass) else kind, n, p.get("gsd") or 0.0)
    number = f"{wording.in_words(n)} " if count is not None and n > 1 else ""
    happened = wording.happened(Direction(p["direction"]), n)
    return f"{wording.capital(number + subject)} {happened} ({wording.confidence(p['confidence'])})"


def _placemark(feature: Feature, pictures: frozenset[str]) -> str:
    p = feature["properties"]
    return (
        f'<Placemark id="c{p["id"]}"><name>{escape(_label(p))}</name>{_balloon(p, pictures)}{_time_span(p)}'
        f"<styleUrl>#{escape(_style_id(feature))}</styleUrl>{_data(p)}{_geometry(feature['geometry'])}</Placemark>\n"
    )


def kml(made: Sequence[Feature], pictures: frozenset[str] = frozenset()) -> bytes:
    """Return the document; ``pictures`` are the names under which chips lie beside it."""
    ordered = sorted(made, key=lambda f: (_style_id(f), f["properties"]["first_seen"], f["id"]))
    groups = [(key, list(group)) for key, group in groupby(ordered, key=_style_id)]
    said = escape(terms(feature["properties"] for feature in made)) if made else ""
    text = (
        _HEAD
        + f"<name>Changes</name>\n<description>{said}</description>\n"
        + "".join(_style(key) for key, _ in groups)
    )
    for key, group in groups:
        kind, _, direction = key.rpartition("-")
        plural = wording.noun(ObjectClass(kind)) if kind in set(ObjectClass) else kind
        text += f"<Folder><name>{escape(wording.capital(plural))}: {escape(direction)}</name>\n"
        text += "".join(_placemark(f, pictures) for f in group) + "</Folder>\n"
    return (text + "</Document>\n</kml>\n").encode()
