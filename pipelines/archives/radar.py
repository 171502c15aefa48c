"""Radar told from pictures in reflected light, by what is said of a scene and never by its pixels.

Backscatter read as reflectance makes claims about light that never fell. What is looked at: STAC fields of the SAR
extension, missions and instruments, names and descriptions of bands, a file's own tags; and for a bare file its name.
Names of places look like some of these words, so each is looked for only where it would be meant so.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from imagery.rasters import RasterHeader
from pipelines.archives.band_names import common_name

Json = Mapping[str, Any]

POLARISATIONS = frozenset({"VV", "VH", "HH", "HV"})
# Missions that carry a radar and no camera, as a whole word at the beginning: "sentinel-1a", "ICEYE-X12", "RCM1".
_MISSION = re.compile(
    r"(?:(?:s1[a-d]|iceye|umbra|capella|radarsat|rcm|terrasar-?x?|tandem-?x|tsx|tdx|paz|cosmo-?skymed|csks?|csg|saocom|novasar|"
    r"risat|nisar|strix|qps-?sar|uavsar)(?![a-z])|(?:sentinel-?1|alos-?[24]|gaofen-?3|gf-?3|kompsat-?5|asnaro-?2|ers-?[12])(?!\d))"
    r"(?:-|\d{0,3}[a-z]?(?![a-z0-9]))"
)
_INSTRUMENT = re.compile(
    r"(?:[clpsx]-?(?:band-?)?)?sar(?:-?[clpsx123])?|palsar(?:-?[23])?|asar|ami(?:-sar)?|nisar"
)
_BACKSCATTER = re.compile(
    r"backscatter|(?<![a-z])(?:sigma|gamma|beta)(?:_?0(?![\d.])|[ _-]?n[ao]ught)(?![a-z])"
)
# Names that agencies and firms give their radar files.
_PRODUCT = re.compile(
    r"OPERA_L\d_[A-Z-]+-(?:S1|NI)_.*"  # OPERA of Sentinel-1 and NISAR
    r"|(?:.*[_-])?S1[A-D][_-](?:(?:IW|EW|WV)\d?|SM|S[1-6][_-](?:GRD|SLC|RAW|OCN).?)[_-].*"  # ESA, and ASF's HyP3
    r"|ICEYE_.*|CAPELLA_C\d+_.*|(?:.*_)?UMBRA-\d+_.*|RCM[123]_OK\d+_.*|RS2_OK\d+_.*|(?:TSX|TDX|PAZ)\d_SAR_.*"
    r"|CSKS\d_.*|CSG_SSAR\d_.*|S1[AB]_OPER_SAR_.*|IMG-[HV]{2}-AL.*|[NS]\d{2}[EW]\d{3}_\d{2}_sl_H[HV]_.*|NISAR_L\d_.*",
    re.IGNORECASE,
)
_LAST_WORD = re.compile(r"(?i)(?:.*[_.-])?(?:VV|VH|HH|HV)(?:[_-](?:db|lin|pow|amp|gamma0|sigma0|beta0))?")
# Where a file's own tags name what took it, and where they are free text.
_TAKEN_BY = re.compile(r"PLATFORM|MISSION|SATELLITE|SPACECRAFT|CONSTELLATION|SENSOR|INSTRUMENT")
_FREE_TEXT = ("TIFFTAG_IMAGEDESCRIPTION", "TIFFTAG_SOFTWARE")
_SAYS_RADAR = re.compile(
    r"sentinel-1(?!\d)|iceye|\{.*\"radar\"\s*:|.*\bsynthetic aperture radar\b", re.DOTALL
)


def is_mission(text: object) -> bool:
    """Tell whether a platform's or constellation's name is that of a mission with a radar and no camera."""
    return isinstance(text, str) and _MISSION.match(_hyphened(text)) is not None


def radar_in_properties(properties: Json) -> str:
    """Return which property of a STAC Item says that radar took it; empty for none."""
    for key in sorted(properties):
        value = properties[key]
        if key.startswith("sar:") and value not in (None, "", []):
            return f"its property {key}"
    for key in ("platform", "constellation", "mission"):
        for text in _texts(properties.get(key)):
            if is_mission(text):
                return f"its {key} {text[:80]}"
    for text in _texts(properties.get("instruments")):
        if _INSTRUMENT.fullmatch(_hyphened(text)) or is_mission(text):
            return f"its instrument {text[:80]}"
    return ""


def radar_in_asset(key: str, asset: Json) -> str:
    """Return what of a STAC asset's own words says that it holds backscatter; empty for nothing.

    A band whose ``common_name`` is a colour is one, whatever else is written beside it.
    """
    bands = [b for field in ("bands", "eo:bands", "raster:bands") for b in _mappings(asset.get(field))]
    if any(_is_colour(b.get("common_name") or b.get("eo:common_name")) for b in bands):
        bands = [b for b in bands if "sar:polarizations" in b or _polarised(_text(b.get("name")))]
        return _band(t for b in bands for t in (_text(b.get("name")),))
    for holder in (asset, *bands):
        if told := radar_in_properties({k: v for k, v in holder.items() if k.startswith("sar:")}):
            return told
    own = [key, *(_text(asset.get(field)) for field in ("title", "description"))]
    return _band([*own, *(_text(b.get(field)) for b in bands for field in ("name", "description"))])


def radar_in_bands(names: Iterable[str]) -> str:
    """Return which name or description of a band means backscatter or a polarisation; empty for none."""
    return _band(names)


def radar_in_name(stem: str) -> str:
    """Say that a file's name, its ending left out, is that of a radar product or of one polarisation; empty if not."""
    return "its file name" if _PRODUCT.fullmatch(stem) or _LAST_WORD.fullmatch(stem) else ""


def radar_in_header(header: RasterHeader, *, described: bool) -> str:
    """Return what a file says of itself that only radar does; empty for nothing.

    Parameters
    ----------
    described : an archive tells what its bands are, so that their own descriptions do not count
    """
    if not described and (told := _band(header.descriptions)):
        return told
    for key, value in header.tags:
        if _tag_says_radar(key, value):
            return f"its tag {key[:40]} {' '.join(value.split())[:60]}"
    return ""


def _tag_says_radar(key: str, value: str) -> bool:
    if re.search(r"POLARI[SZ]ATION", key):
        return _polarised(value)
    if key.startswith(("RADAR_", "SAR_", "SAR:")):
        return bool(value.strip())
    if _TAKEN_BY.search(key):
        return is_mission(value) or _INSTRUMENT.fullmatch(_hyphened(value)) is not None
    if key in _FREE_TEXT and _SAYS_RADAR.match(value.strip().lower()):
        return True
    return _BACKSCATTER.search(value.lower()) is not None


def _band(texts: Iterable[str]) -> str:
    for text in texts:
        if _polarised(text) or _BACKSCATTER.search(text.lower()):
            return f"its band {text[:80]}"
    return ""


def _polarised(text: str) -> bool:
    return bool(POLARISATIONS & set(re.split(r"[^A-Z0-9]+", text.upper())))


def _is_colour(name: object) -> bool:
    return isinstance(name, str) and common_name(name) not in (None, "pan")


def _hyphened(text: str) -> str:
    return re.sub(r"[\s_]+", "-", text.strip().lower())


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> Sequence[str]:
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, str)]


def _mappings(value: object) -> Sequence[Json]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []
