"""Changes and looks as RFC 7946 features: the property names of CONTRACT section 3.

A change's ``id`` is a hash of its class, direction, onset interval and the cell of a 5 m lattice in the site's UTM
zone that holds its footprint's centroid. It holds no number that moves a little between runs, so re-running, adding
later scenes or a slightly different footprint keeps it; two changes that share all four are told apart by order of
their exact place. Across processing versions ``pipelines.matching`` is what links changes, not the id.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from imagery.changes import Change
from imagery.displacement import Displacement, DisplacementField
from imagery.grid import SiteGrid, transformer
from imagery.relations import Related, relations
from pipelines.analysis import Analysis, LookSummary
from pipelines.antimeridian import centre_lonlat, cut, uncut
from pipelines.report import wording
from pipelines.report.canonical import number, rfc3339
from pipelines.report.licences import UNSTATED, forbids_chips

Feature = dict[str, Any]

ID_CELL_M = 5.0
DECIMALS = 7  # of a degree: about a centimetre


def _identity(change: Change, epsg: int) -> str:
    centre = change.footprint.centroid
    cell = f"{round(centre.x / ID_CELL_M)}:{round(centre.y / ID_CELL_M)}"
    onset = f"{rfc3339(change.onset.start)}/{rfc3339(change.onset.end)}"
    return f"{change.object_class}|{change.direction}|{onset}|{epsg}|{cell}"


def _place(change: Change) -> tuple[float, float, float, bytes]:
    centre = change.footprint.centroid
    return centre.x, centre.y, change.footprint.area, change.footprint.wkb


def change_ids(changes: Sequence[Change], epsg: int) -> list[str]:
    """Return one id of 16 hex digits per change, in the order given; unique within the sequence.

    Which of two changes in one cell gets which id depends on where they lie, not on their order.
    """
    ids = [""] * len(changes)
    seen: dict[str, int] = {}
    for index in sorted(range(len(changes)), key=lambda i: _place(changes[i])):
        identity = _identity(changes[index], epsg)
        ordinal = seen.get(identity, 0)
        seen[identity] = ordinal + 1
        text = identity if ordinal == 0 else f"{identity}|{ordinal}"
        ids[index] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return ids


def to_wgs84(geometry: BaseGeometry, epsg: int) -> BaseGeometry:
    """Return a geometry of a UTM zone in EPSG:4326, rounded to 1e-7 degrees and wound as RFC 7946 asks."""
    project = transformer(f"EPSG:{epsg}", "EPSG:4326")

    def lonlat(xy: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.column_stack(project.transform(xy[:, 0], xy[:, 1]))

    placed = shapely.transform(geometry, lonlat)
    return rounded(cut(uncut(placed)))


def rounded(geometry: BaseGeometry) -> BaseGeometry:
    """Round an EPSG:4326 geometry to 1e-7 degrees, still valid, outer rings counter-clockwise."""
    snapped = shapely.set_precision(shapely.force_2d(geometry), 10.0**-DECIMALS)
    kept = geometry if snapped.is_empty and not geometry.is_empty else snapped
    return shapely.orient_polygons(kept, exterior_cw=False)


def _coordinates(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DECIMALS)
    return [_coordinates(v) for v in value]


def geojson_geometry(geometry: BaseGeometry) -> dict[str, Any] | None:
    """Return a GeoJSON geometry object; None (RFC 7946 'unlocated') for an empty one."""
    if geometry.is_empty:
        return None
    plain = mapping(geometry)
    return {"type": plain["type"], "coordinates": _coordinates(plain["coordinates"])}


def _change_feature(
    index: int, ids: Sequence[str], related: Sequence[Related], analysis: Analysis
) -> Feature:
    changes = analysis.detection.changes
    change, change_id = changes[index], ids[index]
    scenes = {look.scene.id: look.scene for look in analysis.looks}
    concerned = [scenes[i] for i in change.scene_ids if i in scenes]
    count = change.count
    properties = {
        "id": change_id,
        "change_type": str(change.object_class),
        "direction": str(change.direction),
        "first_seen": rfc3339(change.onset.end),
        "last_absent": rfc3339(change.onset.start),
        "last_seen": rfc3339(change.last_seen),
        "onset_interval": [rfc3339(change.onset.start), rfc3339(change.onset.end)],
        "status": str(change.status),
        "confidence": number(change.confidence),
        "count": None if count is None else round(count.value),
        "count_low": None if count is None else number(count.low, 1),
        "count_high": None if count is None else number(count.high, 1),
        "count_reason": change.count_reason,
        "area_m2": number(change.area_m2.value, 1),
        "area_m2_low": number(change.area_m2.low, 1),
        "area_m2_high": number(change.area_m2.high, 1),
        "length_m": number(change.length_m, 1),
        "width_m": number(change.width_m, 1),
        "orientation_deg": number(change.orientation_deg, 1),
        "gsd": number(change.gsd_m),
        "looks_supporting": change.looks_supporting,
        "looks_against": change.looks_against,
        "shift_sensitivity": number(change.shift_sensitivity),
        "evidence": f"evidence/{change_id}/",
        "evidence_log_odds": {name: number(value) for name, value in change.evidence},
        "against": list(change.against),
        "before_scene": change.before_scene,
        "after_scene": change.after_scene,
        "scene_ids": list(change.scene_ids),
        "platforms": sorted({s.platform for s in concerned if s.platform}),
        "licences": sorted({s.licence or UNSTATED for s in concerned}),
        "related": [{"relation": str(r.relation), "id": ids[r.other]} for r in related],
        "statement": " ".join(
            [
                wording.statement(change),
                *(wording.related(change, r.relation, changes[r.other]) for r in related),
            ]
        ),
    }
    return {
        "type": "Feature",
        "id": change_id,
        "geometry": geojson_geometry(to_wgs84(change.footprint, analysis.grid.epsg)),
        "properties": properties,
    }


def features(analysis: Analysis) -> list[Feature]:
    """Return one GeoJSON feature per change, by onset, class, direction and id."""
    changes = analysis.detection.changes
    ids = change_ids(changes, analysis.grid.epsg)
    made = [_change_feature(i, ids, related, analysis) for i, related in enumerate(relations(changes))]
    return sorted(made, key=_feature_order)


def _feature_order(feature: Feature) -> tuple[str, str, str, str]:
    p = feature["properties"]
    return p["first_seen"], p["change_type"], p["direction"], p["id"]


def changes_by_id(analysis: Analysis) -> dict[str, Change]:
    """Map id to change."""
    changes = analysis.detection.changes
    return dict(zip(change_ids(changes, analysis.grid.epsg), changes, strict=True))


def _field_at(field: DisplacementField, east_m: float, north_m: float) -> tuple[float, float]:
    """Interpolate a residual field bilinearly, held constant beyond its outer nodes."""
    rows, cols = field.east_m.shape
    col = min(max((east_m - field.origin[0]) / field.step_m, 0.0), cols - 1.0)
    row = min(max((field.origin[1] - north_m) / field.step_m, 0.0), rows - 1.0)
    r0, c0 = int(row), int(col)
    r1, c1 = min(r0 + 1, rows - 1), min(c0 + 1, cols - 1)
    a, b = row - r0, col - c0

    def at(image: np.ndarray[Any, np.dtype[np.float32]]) -> float:
        top = (1 - b) * float(image[r0, c0]) + b * float(image[r0, c1])
        low = (1 - b) * float(image[r1, c0]) + b * float(image[r1, c1])
        return float((1 - a) * top + a * low)

    return at(field.east_m), at(field.north_m)


def displacement_at(d: Displacement, east_m: float, north_m: float) -> tuple[float, float]:
    """Return ``(east, north)`` metres to add to the scene's own coordinates at one point of the grid's CRS."""
    x, y = east_m - d.centre[0], north_m - d.centre[1]
    (a, b), (c, e) = d.linear
    east, north = d.east_m + a * x + b * y, d.north_m + c * x + e * y
    if d.field is not None:
        more = _field_at(d.field, east_m, north_m)
        return east + more[0], north + more[1]
    return east, north


def aoi_centre(analysis: Analysis) -> tuple[float, float]:
    """Return the AOI's centroid in the grid's CRS, metres."""
    east, north = transformer("EPSG:4326", analysis.grid.crs).transform(*centre_lonlat(analysis.site.aoi))
    return float(east), float(north)


def aoi_on_grid(analysis: Analysis) -> BaseGeometry:
    """Return the AOI in the grid's CRS."""
    project = transformer("EPSG:4326", analysis.grid.crs)

    def metres(xy: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.column_stack(project.transform(xy[:, 0], xy[:, 1]))

    return shapely.transform(analysis.site.aoi, metres)


def _shift(look: LookSummary, centre: tuple[float, float]) -> dict[str, float | None] | None:
    if look.displacement is None or not look.displacement.registered:
        return None
    east, north = displacement_at(look.displacement, *centre)
    return {"east_m": number(east, 4), "north_m": number(north, 4)}


def _look_feature(look: LookSummary, centre: tuple[float, float]) -> Feature:
    scene, d = look.scene, look.displacement
    properties = {
        "scene_id": scene.id,
        "datetime": rfc3339(scene.t_utc),
        "platform": scene.platform,
        "gsd": number(scene.gsd_m),
        "bands": list(scene.band_names),
        "licence": scene.licence,
        "chips_allowed": not forbids_chips(scene.licence),
        "used": look.used,
        "reference": look.reference,
        "usable_fraction": number(look.usable_fraction, 4),
        "fractions": {label: number(share, 4) for label, share in look.fractions},
        "displacement": _shift(look, centre),
        "state": None if d is None else str(d.state),
        "quality": None if d is None else number(d.quality),
        "residual_m": None if d is None else number(d.residual_m, 4),
        "registration_reasons": [] if d is None else list(d.reasons),
        "sun_azimuth_deg": None if scene.sun is None else number(scene.sun.azimuth_deg, 2),
        "sun_elevation_deg": None if (sun := scene.light_elevation_deg) is None else number(sun, 2),
        "view_azimuth_deg": None if scene.view is None else number(scene.view.azimuth_deg, 2),
        "off_nadir_deg": None if scene.view is None else number(scene.view.off_nadir_deg, 2),
        "gains": [
            {"band": b, "gain": number(gain, 6), "offset": number(offset, 6)}
            for b, gain, offset in look.gains
        ],
        "notes": list(dict.fromkeys([*scene.notes, *look.notes])),
    }
    return {
        "type": "Feature",
        "id": scene.id,
        "geometry": geojson_geometry(rounded(look.footprint)),
        "properties": properties,
    }


def look_features(analysis: Analysis) -> list[Feature]:
    """Return one GeoJSON feature per scene, used or not, by time and id."""
    centre = aoi_centre(analysis)
    looks = sorted(analysis.looks, key=lambda look: (look.scene.t_utc, look.scene.id))
    return [_look_feature(look, centre) for look in looks]


def aoi_feature(analysis: Analysis) -> Feature:
    """Return the AOI as a feature."""
    return {
        "type": "Feature",
        "geometry": geojson_geometry(rounded(analysis.site.aoi)),
        "properties": {"name": analysis.site.name, "processing_version": analysis.processing_version},
    }


def collection(made: Sequence[Feature]) -> dict[str, Any]:
    """Wrap features into an RFC 7946 FeatureCollection."""
    return {"type": "FeatureCollection", "features": list(made)}


def strength(feature: Feature) -> tuple[float, float, str]:
    """Sort key: strongest first (confidence, then area), id as the tie-breaker."""
    p = feature["properties"]
    return -(p["confidence"] or 0.0), -(p["area_m2"] or 0.0), p["id"]


def window_of(change: Change, grid: SiteGrid) -> SiteGrid:
    """Return the square window of whole grid pixels an evidence chip shows.

    The footprint's bounds plus a margin of its own size, at least 25 m and at most 250 m, and never fewer than
    96 pixels: at 10 m per pixel a change is only readable with its surroundings.
    """
    west, south, east, north = change.footprint.bounds
    size = max(east - west, north - south)
    side = max(96, round((size + 2 * min(max(25.0, size), 250.0)) / grid.gsd_m))
    row, col = grid.pixel((west + east) / 2, (south + north) / 2)
    return grid.window(round(row - side / 2), round(col - side / 2), side, side)
