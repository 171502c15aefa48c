"""Which band is which: common names from descriptions, sensor names, colours, or at last the number of bands."""

import re
from collections.abc import Sequence

COMMON_NAMES = frozenset(
    [
        "pan",
        "coastal",
        "blue",
        "green",
        "yellow",
        "red",
        "rededge",
        "rededge071",
        "rededge075",
        "rededge078",
        "nir",
        "nir08",
        "nir09",
        "cirrus",
        "swir16",
        "swir22",
        "lwir",
        "lwir11",
        "lwir12",
        "green05",
        "gray",
    ]
)
_SENTINEL_2 = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge071", "B06": "rededge075",
    "B07": "rededge078", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B10": "cirrus", "B11": "swir16",
    "B12": "swir22",
}  # fmt: skip
_ALIASES = {
    "r": "red", "g": "green", "b": "blue", "n": "nir", "near-infrared": "nir", "near infrared": "nir",
    "nir1": "nir", "panchromatic": "pan", "gray": "pan", "grey": "pan", "rgb_r": "red", "rgb_g": "green", "rgb_b": "blue",
    "coastal_blue": "coastal", "red_edge": "rededge", "red edge": "rededge", "rededge1": "rededge", "green_i": "green05",
}  # fmt: skip


def common_name(text: str | None) -> str | None:
    """Return the STAC common name that a band name or description stands for; None where it stands for none."""
    if not text:
        return None
    word = text.strip()
    if match := re.fullmatch(r"(?:.*[_ ])?B(\d{1,2}|8A)(?:[_ ].*)?", word, re.IGNORECASE):
        number = match[1].upper()
        return _SENTINEL_2.get("B" + (number if number == "8A" else number.zfill(2)))
    lower = word.lower()
    lower = _ALIASES.get(lower, lower)
    return lower if lower in COMMON_NAMES else None


def guessed_names(descriptions: Sequence[str], colours: Sequence[str]) -> tuple[tuple[str, ...] | None, str]:
    """Name the bands of a file that nobody described, and say how.

    Returns
    -------
    names : one per band, None where neither descriptions, colours nor their number tell
    note : how they were named
    """
    described = tuple(common_name(d) for d in descriptions)
    if all(described) and len(set(described)) == len(described):
        return tuple(str(d) for d in described), "bands named by the file's own descriptions"
    coloured = tuple(c if c in ("red", "green", "blue") else None for c in colours)
    count = len(colours)
    if count == 1:
        return ("pan",), "its one band is taken as panchromatic"
    if count == 4 and coloured[:3] == ("red", "green", "blue"):
        return ("red", "green", "blue", "nir"), "the fourth band is taken as near infrared"
    if all(coloured) and len(set(coloured)) == count:
        return tuple(str(c) for c in coloured), "bands named by the file's colours"
    if count == 3:
        return ("red", "green", "blue"), "its three bands are taken as red, green, blue"
    if count == 4:
        return ("red", "green", "blue", "nir"), "its four bands are taken as red, green, blue, near infrared"
    return None, ""


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Number names that come twice: rededge, rededge_2."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return tuple(out)
