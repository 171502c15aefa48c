"""STAC Items as they are met in the wild, read into claims: STAC 1.0 and 1.1, one file or one per band."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from shapely import MultiPoint, box
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from pipelines.antimeridian import FULL_TURN, cut, uncut
from pipelines.archives.band_names import common_name
from pipelines.archives.claims import BandClaim, FileClaim, MaskClaim, SceneClaim, finite, plain
from pipelines.archives.errors import BadSceneMetadata, SceneWithoutBands, SceneWithoutTime
from pipelines.archives.radar import is_mission, radar_in_asset, radar_in_properties

Json = Mapping[str, Any]

# What one file of pixels is called, best first; the eye's picture comes after the measured bands.
_WHOLE_KEYS = ("data", "analytic", "image", "ms_analytic", "pan_analytic", "visual")
_NOT_PIXELS = {
    "thumbnail",
    "overview",
    "metadata",
    "cloud",
    "cloud-mask",
    "snow-ice",
    "data-mask",
    "saturation",
}
_MASK_KEYS = {"cloud-mask", "cloud_mask", "cloudmask"}
HOW = "add it to the Item's properties"


def parse_item(item: Json, folder: Path, collection: Json | None = None) -> SceneClaim:
    """Read one STAC Item.

    Parameters
    ----------
    folder : where relative references start
    collection : its Collection if known, for licence, providers and defaults

    Raises
    ------
    SceneWithoutTime, SceneWithoutBands, BadSceneMetadata
    """
    identifier = item.get("id")
    if not isinstance(identifier, str) or not identifier:
        raise BadSceneMetadata("an Item without id; give it one")
    properties = _mapping(item.get("properties"))
    where = identifier[:200]
    when, notes = _time(properties, where)
    assets = _assets(item)
    mask = _mask(assets)
    files = _files(assets, mask)
    radar = _radar(item, properties, assets, files)
    if not files and not radar:
        raise SceneWithoutBands(
            f"{where}: none of its assets ({', '.join(sorted(assets)) or 'none'}) is a GeoTIFF with role data; "
            "name one data or visual, or one per band with eo:bands common names",
            pointer=where,
        )
    return SceneClaim(
        id=identifier,
        where=where,
        t_utc=when,
        files=files,
        folder=folder,
        how=HOW,
        mask=mask,
        gsd_m=_number(properties.get("gsd"), "gsd", where),
        sun_azimuth_deg=_number(properties.get("view:sun_azimuth"), "view:sun_azimuth", where),
        sun_elevation_deg=_number(properties.get("view:sun_elevation"), "view:sun_elevation", where),
        view_azimuth_deg=_number(properties.get("view:azimuth"), "view:azimuth", where),
        off_nadir_deg=_number(properties.get("view:off_nadir"), "view:off_nadir", where),
        platform=_text(properties.get("platform")) or _text(properties.get("constellation")),
        licence=_licence(properties, collection),
        baseline=_baseline(item, properties),
        offset_applied=_flag(properties.get("earthsearch:boa_offset_applied")),
        created=_text(properties.get("updated")) or _text(properties.get("created")) or "",
        outline=_outline(item),
        radar=radar,
        notes=notes,
    )


def radar_in_item(item: Json) -> str:
    """Return what says of an Item that radar took it; empty where nothing does."""
    assets = _assets(item)
    return _radar(item, _mapping(item.get("properties")), assets, _files(assets, _mask(assets)))


def _radar(item: Json, properties: Json, assets: Mapping[str, Json], files: Sequence[FileClaim]) -> str:
    if told := radar_in_properties(properties):
        return told
    name = item.get("collection")
    if is_mission(name) and not (properties.get("platform") or properties.get("constellation")):
        return f"its collection {str(name)[:80]}"
    chosen = {file.href for file in files}
    for key in sorted(assets):
        picked = str(assets[key].get("href")) in chosen if chosen else _is_tiff(assets[key])
        if picked and (told := radar_in_asset(key, assets[key])):
            return told
    return ""


# --- properties ----------------------------------------------------------------------------------------------------


def parse_time(text: str) -> tuple[datetime, bool]:
    """Return an aware UTC time and whether the text named its zone.

    Raises
    ------
    ValueError : not an ISO 8601 time
    """
    when = datetime.fromisoformat(text.strip())
    told = when.tzinfo is not None
    return (when.astimezone(UTC) if told else when.replace(tzinfo=UTC)), told


def _time(properties: Json, where: str) -> tuple[datetime, tuple[str, ...]]:
    text = properties.get("datetime")
    start, end = properties.get("start_datetime"), properties.get("end_datetime")
    if text is None and start is None:
        raise SceneWithoutTime(
            f"{where}: has no datetime; add properties.datetime, for example 2024-05-12T10:30:21Z",
            pointer=where,
        )
    try:
        when, told = parse_time(str(text if text is not None else start))
        notes = () if told else ("time without zone taken as UTC",)
        if text is None:
            last, _ = parse_time(str(end if end is not None else start))
            if (last - when).total_seconds() > 86_400.0:
                raise SceneWithoutTime(
                    f"{where}: covers {start} to {end}; a scene must be of one day, mosaics over time cannot be used",
                    pointer=where,
                )
            when, notes = (
                when + (last - when) / 2,
                (*notes, "time is the middle of start_datetime and end_datetime"),
            )
    except (ValueError, OverflowError) as error:
        raise SceneWithoutTime(
            f"{where}: its datetime {str(text or start)[:40]!r} is no RFC 3339 time ({error})", pointer=where
        ) from error
    return when, notes


def _baseline(item: Json, properties: Json) -> float | None:
    """Return Sentinel-2's processing baseline, from properties or from a product name."""
    for key in ("s2:processing_baseline", "processing:version", "sentinel2:processing_baseline"):
        text = str(properties.get(key, ""))
        if re.fullmatch(r"0?\d\.\d+", text):
            return float(text)
    for product in (properties.get("s2:product_uri"), properties.get("sentinel:product_id"), item.get("id")):
        if match := re.search(r"_N(\d{2})(\d{2})_", str(product or "")):
            baseline = float(f"{match[1]}.{match[2]}")
            return baseline if baseline < 90.0 else None
    return None


def _licence(properties: Json, collection: Json | None) -> str | None:
    """Return the licence with who must be named."""
    holder = collection or {}
    licence = _text(properties.get("license")) or _text(holder.get("license"))
    providers = properties.get("providers") or holder.get("providers") or []
    names = (
        [_text(p.get("name")) for p in providers if isinstance(p, Mapping)]
        if isinstance(providers, list)
        else []
    )
    attribution = ", ".join(n for n in names if n)
    return "; ".join(part for part in (licence, attribution) if part) or None


def _outline(item: Json) -> BaseGeometry | None:
    geometry = item.get("geometry")
    if isinstance(geometry, Mapping):
        try:
            with np.errstate(invalid="ignore"):  # NaN in it is told by its bounds
                outline = shape(geometry)
                sound = _on_earth(outline) and outline.is_valid
            if sound:
                return cut(uncut(outline))  # many write what crosses the antimeridian without cutting it
        except (ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError):
            pass
    bounds = item.get("bbox")
    if isinstance(bounds, list) and len(bounds) in (4, 6):
        half = len(bounds) // 2
        corners = [v for v in map(finite, [*bounds[:2], *bounds[half : half + 2]]) if v is not None]
        if len(corners) == 4 and _on_earth(MultiPoint([corners[:2], corners[2:]])):
            west, south, east, north = corners
            east += FULL_TURN if west > east else 0.0
            return cut(uncut(box(west, south, east, north)))
    return None


def _on_earth(outline: BaseGeometry) -> bool:
    """Tell whether coordinates are degrees at all; an empty geometry's bounds are NaN."""
    west, south, east, north = outline.bounds
    return bool(max(-west, east) <= FULL_TURN and max(-south, north) <= 90.0)


def _number(value: object, name: str, where: str) -> float | None:
    number = finite(value)
    if value is not None and number is None:
        raise BadSceneMetadata(f"{where}: {name} is {str(value)[:40]!r}, not a number", pointer=where)
    return number


def _text(value: object) -> str | None:
    return plain(value) or None if isinstance(value, str) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


# --- assets --------------------------------------------------------------------------------------------------------


def _assets(item: Json) -> dict[str, Json]:
    return {k: v for k, v in _mapping(item.get("assets")).items() if isinstance(v, Mapping)}


def _roles(asset: Json) -> set[str]:
    roles = asset.get("roles")
    return {str(r) for r in roles} if isinstance(roles, list) else set()


def _is_tiff(asset: Json) -> bool:
    kind, href = str(asset.get("type") or ""), str(asset.get("href") or "")
    if kind:
        return kind.split(";", maxsplit=1)[0].strip() in (
            "image/tiff",
            "image/vnd.stac.geotiff",
            "image/geotiff",
        )
    return href.split("?", maxsplit=1)[0].lower().endswith((".tif", ".tiff"))


def _mask(assets: Mapping[str, Json]) -> MaskClaim | None:
    """Choose the classification layer: an explicit cloud mask, Sentinel-2's SCL, then anything with role cloud."""
    tiffs = {k: a for k, a in sorted(assets.items()) if _is_tiff(a) and isinstance(a.get("href"), str)}
    for key, asset in tiffs.items():
        if key.lower() in _MASK_KEYS:
            return MaskClaim(asset["href"], "cloud-mask")
    for key, asset in tiffs.items():
        if key.lower() == "scl":
            return MaskClaim(asset["href"], "scl")
    for asset in tiffs.values():
        if _roles(asset) & {"cloud", "cloud-mask"}:
            return MaskClaim(asset["href"], "cloud-mask")
    return None


def _files(assets: Mapping[str, Json], mask: MaskClaim | None) -> tuple[FileClaim, ...]:
    """Choose the assets of pixels: one whole file by key, one file per band, or one whole file by role."""
    pixels = {
        key: asset
        for key, asset in assets.items()
        if _is_tiff(asset)
        and isinstance(asset.get("href"), str)
        and not _roles(asset) & _NOT_PIXELS
        and key.lower() not in _MASK_KEYS | {"scl", "thumbnail", "overview", "preview"}
        and (mask is None or asset["href"] != mask.href)
    }
    for key in ("data", "analytic"):
        if key in pixels:
            return (_file(pixels[key]),)
    singles = {key: _file(asset, key) for key, asset in pixels.items()}
    per_band: dict[str, FileClaim] = {}
    for key in sorted(singles):
        file = singles[key]
        name = file.bands[0].name if len(file.bands) == 1 else None
        if name and (name not in per_band or (file.gsd_m or math.inf) < (per_band[name].gsd_m or math.inf)):
            per_band[name] = file
    if {"red", "green", "blue"} <= set(per_band) or (per_band and len(per_band) == len(pixels)):
        return tuple(per_band[name] for name in sorted(per_band, key=_band_order))
    whole = [
        k for k in pixels if k.lower() in _WHOLE_KEYS or _roles(pixels[k]) & {"data", "visual", "reflectance"}
    ]
    if not whole and len(pixels) == 1:
        whole = list(pixels)
    if not whole:
        return tuple(per_band[name] for name in sorted(per_band, key=_band_order))
    return (_file(pixels[min(whole, key=lambda k: _preference(k, pixels[k]))]),)


def _preference(key: str, asset: Json) -> tuple[float, int, int, str]:
    """Sort finest first, then as ``_WHOLE_KEYS`` has them, then most bands."""
    file = _file(asset)
    place = _WHOLE_KEYS.index(key.lower()) if key.lower() in _WHOLE_KEYS else len(_WHOLE_KEYS)
    return file.gsd_m or math.inf, place, -len(file.bands), key


def _band_order(name: str) -> tuple[int, str]:
    order = ("pan", "blue", "green", "red", "nir")
    return (order.index(name) if name in order else len(order)), name


def _file(asset: Json, key: str = "") -> FileClaim:
    described = asset.get("bands") or asset.get("eo:bands") or []
    raster = asset.get("raster:bands") or []
    described = [_mapping(b) for b in described] if isinstance(described, list) else []
    raster = [_mapping(b) for b in raster] if isinstance(raster, list) else []
    if described and raster and len(described) != len(raster):
        described = described if len(raster) == 1 else []
        raster = raster * len(described) if len(raster) == 1 else raster
    count = max(len(described), len(raster))
    bands = tuple(
        _band(described[i] if described else {}, raster[i] if raster else {}, asset) for i in range(count)
    )
    if count == 0 and common_name(key):
        bands = (_band({"name": key}, {}, asset),)
    gsd = asset.get("gsd") or (raster[0].get("spatial_resolution") if raster else None)
    gsd_m = finite(gsd or asset.get("raster:spatial_resolution"))
    return FileClaim(asset["href"], bands, gsd_m if gsd_m is not None and gsd_m > 0 else None)


def _band(described: Json, raster: Json, asset: Json) -> BandClaim:
    name = (
        _text(described.get("common_name"))
        or _text(described.get("eo:common_name"))
        or common_name(_text(described.get("name")))
        or common_name(_text(described.get("description")))
    )

    def value(key: str) -> float | None:
        for holder, field in (
            (raster, key),
            (described, f"raster:{key}"),
            (described, key),
            (asset, f"raster:{key}"),
        ):
            if (number := _any_number(holder.get(field))) is not None:
                return number
        return None

    nodata = value("nodata")
    if nodata is None:
        nodata = _any_number(asset.get("nodata"))
    return BandClaim(name, value("scale"), value("offset"), nodata)


def _any_number(value: object) -> float | None:
    """Return a number, which may be none or infinite: nodata often is, and of a scale it is refused later."""
    if isinstance(value, str) and value.lower() in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
