"""A STAC Item that lies beside its one file, told in the words of a side file."""

from pathlib import Path
from typing import Any

from pipelines.archives.errors import BadSceneMetadata, SceneWithoutBands
from pipelines.archives.items import parse_item, radar_in_item

# STAC's names of what a side file may say.
SIDE_FIELDS = {
    "datetime": "datetime",
    "gsd": "gsd",
    "view:sun_azimuth": "sun_azimuth",
    "view:sun_elevation": "sun_elevation",
    "view:off_nadir": "off_nadir",
    "view:azimuth": "view_azimuth",
    "platform": "platform",
    "license": "licence",
}


class NotOneFile(BadSceneMetadata):
    """An Item of other than one file of pixels, or one whose bands no single side file can tell of."""


def is_item(document: dict[str, Any]) -> bool:
    """Tell a STAC Item from a side file of ours."""
    return isinstance(document.get("properties"), dict)


def told_by(item: dict[str, Any]) -> dict[str, Any]:
    """Return what an Item says of the file it lies beside, under a side file's names; of radar not what its bands are.

    Raises
    ------
    NotOneFile : it describes other than one file of pixels, or what one side file cannot say
    DepotwatchError : what it says of its assets is wrong, as for an Item of a catalog
    """
    properties = item["properties"]
    told = {ours: properties[stac] for stac, ours in SIDE_FIELDS.items() if stac in properties}
    return told if radar_in_item(item) else {**told, **_pixels_told(item, properties)}


def _pixels_told(item: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """Return what an Item's assets say of the file's numbers: which band is which, and how they become reflectance."""
    if not item.get("assets"):
        return {}
    # Whether the time is told elsewhere is judged with the file; here it is only in the way.
    timed = {**properties, "datetime": properties.get("datetime") or "2000-01-01T00:00:00Z"}
    try:
        files = parse_item({**item, "id": "item", "properties": timed}, Path()).files
    except SceneWithoutBands:
        return {}
    if len(files) != 1:
        raise NotOneFile(
            f"item describes {len(files)} files of pixels, and there is one; put the bands into one GeoTIFF"
        )
    bands = files[0].bands
    told: dict[str, Any] = {"bands": [b.name for b in bands]} if all(b.name for b in bands) else {}
    for field in ("scale", "offset", "nodata"):
        # By their text: NaN, as nodata may be, is not even itself.
        values = {str(value): value for b in bands if (value := getattr(b, field)) is not None}
        if len(values) > 1:
            raise NotOneFile(f"item gives its bands more than one {field}; bring them to one")
        if values:
            told[field] = next(iter(values.values()))
    return told if bands else {}
