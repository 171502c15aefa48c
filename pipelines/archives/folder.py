"""A plain folder of GeoTIFFs: time from a side file, the name or the file's own tags, and what is missing said per file.

Looked at in this order: one table for all (``scenes.json`` or ``scenes.csv``), ``NAME.json`` beside ``NAME.tif``, the
name, the tags. Band files of one Sentinel-2 scene (``..._B02.tif``, ``..._B03.tif``) are put together by name.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shapely.geometry.base import BaseGeometry

from imagery.errors import DepotwatchError
from imagery.rasters import open_raster
from pipelines.archives.archive import ArchiveResult, Period, Refusal, gather
from pipelines.archives.band_names import common_name
from pipelines.archives.claims import BandClaim, FileClaim, MaskClaim, SceneClaim
from pipelines.archives.errors import BadSceneMetadata, SceneWithoutTime, UnreadableArchive
from pipelines.archives.items import parse_time
from pipelines.archives.scenes import Fetch

MAX_FILES = 200_000
MAX_SIDE_FILE_BYTES = 16 * 2**20
_MASK_NAME = re.compile(r"(?i)^(?P<stem>.+?)[_-](?P<kind>cloud[_-]?mask|mask|scl)(?:_\d+m)?$")
_BAND_NAME = re.compile(r"(?i)^(?P<stem>.+)_(?P<band>B(?:\d{2}|8A))(?P<rest>_\d+m)?$")
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_FIELDS = {
    "datetime", "gsd", "sun_azimuth", "sun_elevation", "off_nadir", "view_azimuth", "bands", "scale", "offset",
    "nodata", "mask", "platform", "licence", "license", "processing_baseline", "file", "id",
}  # fmt: skip


class Folder:
    """Every ``.tif`` and ``.tiff`` under a folder, as scenes."""

    def __init__(self, path: Path, fetch: Fetch) -> None:
        self.source = str(path)
        self._path = path
        self._fetch = fetch

    def search(self, area: BaseGeometry | None = None, period: Period | None = None) -> ArchiveResult:
        """See ``Archive``."""
        return gather(self._claims(), self._fetch, area, period)

    def _claims(self) -> Iterator[SceneClaim | Refusal]:
        files = sorted(
            p
            for p in self._path.rglob("*")
            if p.suffix.lower() in (".tif", ".tiff") and not p.name.startswith(".")
        )
        if not files:
            raise UnreadableArchive(
                f"{self._path}: holds no GeoTIFF (.tif) and no catalog.json; give the folder of the scenes",
                pointer=self.source,
            )
        if len(files) > MAX_FILES:
            raise UnreadableArchive(
                f"{self._path}: holds more than {MAX_FILES:,} files; describe them by a STAC catalog"
            )
        table = _table(self._path)
        given = {name for entry in table.values() if isinstance(name := entry.get("mask"), str)}
        masks = {f for f in files if _mask_of(f, files) is not None or f.name in given}
        for group in _groups([f for f in files if f not in masks]):
            try:
                yield _claim(group, self._path, table, {m for m in masks if m.parent == group[0].parent})
            except DepotwatchError as error:
                yield Refusal(_label(group[0], self._path), error.code, error.detail)


def _label(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


# --- which files belong together -----------------------------------------------------------------------------------


def _groups(files: list[Path]) -> list[tuple[Path, ...]]:
    """Put band files of one scene together; every other file is a scene of its own."""
    groups: dict[tuple[str, str], list[Path]] = {}
    for path in files:
        match = _BAND_NAME.match(path.stem)
        key = (str(path.parent), match["stem"] + (match["rest"] or "") if match else path.name)
        groups.setdefault(key, []).append(path)
    return [tuple(groups[key]) for key in sorted(groups)]


def _mask_of(path: Path, files: list[Path]) -> Path | None:
    """Return the file of pixels that a file is the mask of, by name; None where it is none."""
    match = _MASK_NAME.match(path.stem)
    if not match:
        return None
    stem = match["stem"].lower()
    return next(
        (f for f in files if f != path and f.parent == path.parent and f.stem.lower().startswith(stem)), None
    )


# --- side files ----------------------------------------------------------------------------------------------------


def _table(folder: Path) -> dict[str, dict[str, Any]]:
    """Read ``scenes.json`` (a list of objects with ``file``) or ``scenes.csv``; by file name."""
    rows: list[dict[str, Any]] = []
    if (path := folder / "scenes.json").is_file():
        document = _json(path)
        rows = document if isinstance(document, list) else []
        if not isinstance(document, list):
            raise UnreadableArchive(f"{path.name}: must be a list of objects, each with file and datetime")
    elif (path := folder / "scenes.csv").is_file():
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [
                {k: v for k, v in row.items() if k and v not in (None, "")} for row in csv.DictReader(file)
            ]
    entries: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or not isinstance(row.get("file"), str):
            raise UnreadableArchive(f"{path.name}: row {number} names no file", pointer=str(path))
        entries[Path(row["file"]).name] = dict(row)
    return entries


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_SIDE_FILE_BYTES:
            raise BadSceneMetadata(f"{path.name}: is larger than {MAX_SIDE_FILE_BYTES // 2**20} MiB")
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadSceneMetadata(f"{path.name}: is not JSON ({error})", pointer=str(path)) from error


def _side(group: tuple[Path, ...], table: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what the user says of a scene: the table's row, overridden by the file's own side file."""
    said: dict[str, Any] = {}
    for path in group:
        said |= table.get(path.name, {})
        own = path.with_suffix(".json")
        if own.is_file():
            document = _json(own)
            if not isinstance(document, dict):
                raise BadSceneMetadata(f"{own.name}: must hold one object", pointer=str(own))
            said |= document
    unknown = sorted(set(said) - _FIELDS)
    if unknown:
        raise BadSceneMetadata(
            f"{group[0].name}: {', '.join(unknown)} is no known field; use {', '.join(sorted(_FIELDS))}",
            pointer=str(group[0]),
        )
    return said


def _number(said: Mapping[str, Any], key: str, where: str) -> float | None:
    value = said.get(key)
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise BadSceneMetadata(
            f"{where}: {key} is {str(value)[:40]!r}, not a number", pointer=where
        ) from error


def _bands(said: Mapping[str, Any], where: str) -> tuple[BandClaim, ...]:
    names = said.get("bands")
    if isinstance(names, str):
        names = re.split(r"[ ,;|]+", names.strip())
    if names is None:
        return ()
    if not isinstance(names, list) or not all(isinstance(n, str) and common_name(n) for n in names):
        raise BadSceneMetadata(
            f"{where}: bands must be a list of common names such as red, green, blue, nir, pan", pointer=where
        )
    return tuple(BandClaim(common_name(n)) for n in names)


# --- one scene -----------------------------------------------------------------------------------------------------


def _claim(
    group: tuple[Path, ...], folder: Path, table: Mapping[str, dict[str, Any]], masks: set[Path]
) -> SceneClaim:
    first = group[0]
    where = _label(first, folder)
    said = _side(group, table)
    when, notes = _time(first, said, where)
    scale, offset, nodata = (_number(said, k, where) for k in ("scale", "offset", "nodata"))
    named = _bands(said, where)
    files = []
    for path in group:
        match = _BAND_NAME.match(path.stem)
        bands = named or ((BandClaim(common_name(match["band"])),) if match else ())
        if not bands and (scale, offset, nodata) != (None, None, None):
            with open_raster(path) as dataset:
                bands = tuple(BandClaim() for _ in range(dataset.count))
        files.append(
            FileClaim(str(path.resolve()), tuple(BandClaim(b.name, scale, offset, nodata) for b in bands))
        )
    side_file = f"put it into {first.stem}.json beside the file, or into scenes.csv"
    return SceneClaim(
        id=str(said.get("id") or _identifier(group, folder)),
        where=where,
        t_utc=when,
        files=tuple(files),
        folder=first.parent,
        how=side_file,
        mask=_mask(first, said, masks, where),
        gsd_m=_number(said, "gsd", where),
        sun_azimuth_deg=_number(said, "sun_azimuth", where),
        sun_elevation_deg=_number(said, "sun_elevation", where),
        view_azimuth_deg=_number(said, "view_azimuth", where),
        off_nadir_deg=_number(said, "off_nadir", where),
        platform=said.get("platform") or _platform(first.stem),
        licence=said.get("licence") or said.get("license"),
        baseline=_number(said, "processing_baseline", where) or _baseline(first.stem),
        notes=notes,
    )


def _identifier(group: tuple[Path, ...], folder: Path) -> str:
    """Return a scene's id: its path without ending, folders joined by dots; the band token left out."""
    inside = group[0].relative_to(folder).with_suffix("")
    match = _BAND_NAME.match(inside.name)
    name = match["stem"] if match else inside.name
    return ".".join([*inside.parts[:-1], name])


def _mask(first: Path, said: Mapping[str, Any], masks: set[Path], where: str) -> MaskClaim | None:
    if name := said.get("mask"):
        path = first.parent / str(name)
        if not path.is_file():
            raise BadSceneMetadata(f"{where}: its mask {name} does not exist", pointer=where)
        return MaskClaim(str(path.resolve()), "scl" if "scl" in path.stem.lower() else "cloud-mask")
    mine = [
        (len(m["stem"]), p)
        for p in sorted(masks)
        if (m := _MASK_NAME.match(p.stem)) and _starts(first, m["stem"])
    ]
    if not mine:
        return None
    path = max(mine)[1]
    return MaskClaim(
        str(path.resolve()),
        "scl" if path.stem.lower().rstrip("0123456789m_").endswith("scl") else "cloud-mask",
    )


def _starts(path: Path, stem: str) -> bool:
    return path.stem.lower().startswith(stem.lower())


def _platform(stem: str) -> str | None:
    match = re.search(r"(?i)(?:^|_)(S2[ABCD])(?:_|$)", stem)
    return f"sentinel-{match[1][1:].lower()}" if match else None


def _baseline(stem: str) -> float | None:
    match = re.search(r"_N(\d{2})(\d{2})_", stem)
    return float(f"{match[1]}.{match[2]}") if match else None


# --- time ----------------------------------------------------------------------------------------------------------


def _time(path: Path, said: Mapping[str, Any], where: str) -> tuple[datetime, tuple[str, ...]]:
    """Return when a file was taken and how that is known."""
    if text := said.get("datetime"):
        try:
            when, told = parse_time(str(text))
        except (ValueError, OverflowError) as error:
            raise SceneWithoutTime(
                f"{where}: its datetime {str(text)[:40]!r} is no RFC 3339 time", pointer=where
            ) from error
        return when, () if told else ("time without zone taken as UTC",)
    if found := time_in_name(path.stem):
        when, exact = found
        return when, ("time read from the file's name",) if exact else (
            "date read from the file's name, time of day unknown: noon UTC taken",
        )
    with open_raster(path) as dataset:
        tags = {k.upper(): v for k, v in (dataset.tags() | dataset.tags(ns="IMAGERY")).items()}
    for key in ("ACQUISITIONDATETIME", "ACQUISITION_DATETIME", "TIFFTAG_DATETIME"):
        if when_or_none := _tag_time(tags.get(key, "")):
            return when_or_none, (f"time read from the tag {key}",)
    raise SceneWithoutTime(
        f"{where}: nothing says when it was taken; name it like {path.stem}_20240512T103021Z{path.suffix}, or put "
        f'{{"datetime": "2024-05-12T10:30:21Z"}} into {path.stem}.json',
        pointer=where,
    )


def _tag_time(text: str) -> datetime | None:
    text = text.strip()
    match = re.fullmatch(r"(\d{4}):(\d{2}):(\d{2}) (\d{2}:\d{2}:\d{2})", text)
    try:
        return (
            parse_time(f"{match[1]}-{match[2]}-{match[3]}T{match[4]}" if match else text)[0] if text else None
        )
    except (ValueError, OverflowError):
        return None


_EXACT = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})[T_ -](\d{2})[:-]?(\d{2})[:-]?(\d{2})(?!\d)")
_MAXAR = re.compile(
    rf"(?<!\d)(\d{{2}})({'|'.join(_MONTHS)})(\d{{2}})(\d{{2}})(\d{{2}})(\d{{2}})(?!\d)", re.IGNORECASE
)
_DAY = re.compile(r"(?<!\d)(\d{4})([-_.]?)(\d{2})\2(\d{2})(?!\d)")


def time_in_name(name: str) -> tuple[datetime, bool] | None:
    """Find an acquisition time in a file name: Sentinel-2, PlanetScope and Maxar patterns, or a bare date.

    Returns
    -------
    time : aware UTC; noon where the name gives a day only
    exact : whether the name gives the time of day
    """
    for match in _EXACT.finditer(name):
        if when := _moment(*(int(g) for g in match.groups())):
            return when, True
    for match in _MAXAR.finditer(name):
        year, month = 2000 + int(match[1]), _MONTHS.index(match[2].upper()) + 1
        if when := _moment(year, month, *(int(g) for g in match.groups()[2:])):
            return when, True
    for match in _DAY.finditer(name):
        if when := _moment(int(match[1]), int(match[3]), int(match[4]), 12, 0, 0):
            return when, False
    return None


def _moment(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime | None:
    """Return a time in the age of aerial and satellite pictures, or None."""
    if not 1930 <= year <= 2100:
        return None
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
