"""A plain folder of GeoTIFFs: time from a side file, the name or the file's own tags, and what is missing said per file.

Looked at in this order: one table for all (``scenes.json`` or ``scenes.csv``), ``NAME.json`` beside ``NAME.tif`` (fields of
ours, or a STAC Item), the name, the tags. Band files of one Sentinel-2 scene (``..._B02.tif``, ``..._B03.tif``) are put together by name.
"""

import codecs
import csv
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shapely.geometry.base import BaseGeometry

from imagery.errors import DepotwatchError
from imagery.rasters import open_raster
from pipelines.archives.archive import ArchiveResult, Period, Refusal, gather
from pipelines.archives.band_names import common_name
from pipelines.archives.claims import BandClaim, FileClaim, MaskClaim, SceneClaim, one_line, plain
from pipelines.archives.errors import BadSceneMetadata, SceneWithoutTime, UnreadableArchive
from pipelines.archives.fingerprints import Fingerprints
from pipelines.archives.item_beside import is_item, told_by
from pipelines.archives.items import parse_time, radar_in_item
from pipelines.archives.radar import is_mission, radar_in_bands, radar_in_name
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

    def __init__(self, path: Path, fetch: Fetch, prints: Fingerprints) -> None:
        self.source = str(path)
        self._path = path
        self._fetch = fetch
        self._prints = prints

    def search(self, area: BaseGeometry | None = None, period: Period | None = None) -> ArchiveResult:
        """See ``Archive``."""
        return gather(self._claims(), self._fetch, area, period, self._prints)

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
        table = _table(self._path, files)
        given = _given_masks(files, table)
        masks = {f for f in files if f in given or _mask_of(f, files) is not None}
        groups = _groups([f for f in files if f not in masks])
        owned = _owned(masks - given, groups)
        for group in groups:
            try:
                yield _claim(group, self._path, table, owned)
            except DepotwatchError as error:
                yield Refusal.of(error, _label(group[0], self._path))


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
    return next((f for f in files if f != path and f.parent == path.parent and _begins(f, stem)), None)


def _begins(path: Path, stem: str) -> bool:
    """Tell whether a file's name is ``stem``, lower case, or goes on after it with another word: 10 is not 1."""
    name = path.stem.lower()
    return name.startswith(stem) and not name[len(stem) :][:1].isalnum()


def _owned(masks: Iterable[Path], groups: Sequence[tuple[Path, ...]]) -> dict[Path, Path]:
    """Return the mask of each scene (by its first file), by name; a mask that may be of several scenes is of none."""
    named: dict[tuple[Path, str], tuple[Path, ...]] = {}
    inside: dict[Path, list[tuple[Path, ...]]] = {}
    for group in groups:
        inside.setdefault(group[0].parent, []).append(group)
        for path in group:
            match = _BAND_NAME.match(path.stem)
            for stem in {path.stem.lower(), match["stem"].lower() if match else path.stem.lower()}:
                named[path.parent, stem] = group
    owned: dict[Path, Path] = {}
    for mask in sorted(masks):
        match = _MASK_NAME.match(mask.stem)
        assert match is not None  # masks are known by their names
        stem = match["stem"].lower()
        exact = named.get((mask.parent, stem))
        like = [exact] if exact else [g for g in inside.get(mask.parent, []) if _begins(g[0], stem)]
        if len(like) == 1:
            owned[like[0][0]] = mask
    return owned


def _given_masks(files: Iterable[Path], table: Mapping[Path, Mapping[str, Any]]) -> set[Path]:
    """Return the files that a table or a side file names as the mask of another."""
    given = set()
    for path in files:
        own = path.with_suffix(".json")
        said = dict(table.get(path, {}))
        if own.is_file():
            try:
                document = _json(own)
            except BadSceneMetadata:
                document = None  # refused with its scene
            said |= document if isinstance(document, dict) else {}
        if isinstance(name := said.get("mask"), str):
            given.add(path.parent / name)
    return given


# --- side files ----------------------------------------------------------------------------------------------------


def _table(folder: Path, files: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """Read ``scenes.json`` (a list of objects with ``file``) or ``scenes.csv``; by file.

    A row names a file by its path in the folder, or by its last parts where no other file ends like that.
    """
    rows: list[dict[str, Any]] = []
    if (path := folder / "scenes.json").is_file():
        document = _json(path)
        rows = document if isinstance(document, list) else []
        if not isinstance(document, list):
            raise UnreadableArchive(f"{path.name}: must be a list of objects, each with file and datetime")
    elif (path := folder / "scenes.csv").is_file():
        rows = _csv_rows(path)
    else:
        return {}
    of_name: dict[str, list[Path]] = {}
    for each in files:
        of_name.setdefault(each.name, []).append(each)
    entries: dict[Path, dict[str, Any]] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or not isinstance(row.get("file"), str):
            raise UnreadableArchive(f"{path.name}: row {number} names no file", pointer=str(path))
        meant = _meant(row["file"], of_name, folder)
        if len(meant) > 1 or any(each in entries for each in meant):
            what = "several files" if len(meant) > 1 else "the file of another row"
            raise UnreadableArchive(
                f"{path.name}: row {number} names {what}, {one_line(row['file'][:200])}; "
                "write each file with its folders, once",
                pointer=str(path),
            )
        entries |= {each: dict(row) for each in meant}
    return entries


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a table as spreadsheets save it: UTF-8 or, with its mark in front, UTF-16; commas, semicolons or tabs.

    Raises
    ------
    UnreadableArchive : another encoding, or no table
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_SIDE_FILE_BYTES else None
    except OSError as error:
        raise UnreadableArchive(
            f"{path.name}: cannot be read ({error.strerror})", pointer=str(path)
        ) from error
    if data is None:
        raise UnreadableArchive(
            f"{path.name}: is larger than {MAX_SIDE_FILE_BYTES // 2**20} MiB; describe the scenes by a STAC catalog",
            pointer=str(path),
        )
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        return [{k: v for k, v in row.items() if k and v not in (None, "")} for row in table]
    except UnicodeDecodeError as error:
        raise UnreadableArchive(
            f"{path.name}: is not in UTF-8; save it again as CSV UTF-8", pointer=str(path)
        ) from error
    except csv.Error as error:
        raise UnreadableArchive(f"{path.name}: is no table ({error})", pointer=str(path)) from error


def _meant(name: str, of_name: Mapping[str, list[Path]], folder: Path) -> list[Path]:
    """Return the files that a row may mean: the one of that path, else those that end like it."""
    parts = Path(name.replace("\\", "/")).parts
    named = of_name.get(parts[-1], []) if parts else []
    exact = [path for path in named if path.relative_to(folder).parts == parts]
    # A whole path was written on some other machine: only its end can be that of a file here.
    whole = name.startswith(("/", "\\")) or (parts[:1] and parts[0].endswith(":"))
    return exact or [
        path for path in named if _ends(path.relative_to(folder).parts, parts, whole=bool(whole))
    ]


def _ends(inside: tuple[str, ...], named: tuple[str, ...], *, whole: bool) -> bool:
    """Tell whether a file's path in the folder ends as it is named; or, of a whole path, the other way round."""
    common = min(len(inside), len(named))
    return inside[-common:] == named[-common:] and (whole or len(named) <= len(inside))


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_SIDE_FILE_BYTES:
            raise BadSceneMetadata(f"{path.name}: is larger than {MAX_SIDE_FILE_BYTES // 2**20} MiB")
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadSceneMetadata(f"{path.name}: is not JSON ({error})", pointer=str(path)) from error


def _side(group: tuple[Path, ...], table: Mapping[Path, dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return what the user says of a scene, and what an Item there says that only radar has.

    That is the table's row, overridden by the file's own side file.
    """
    said: dict[str, Any] = {}
    radar = ""
    for path in group:
        said |= table.get(path, {})
        own = path.with_suffix(".json")
        if own.is_file():
            document = _json(own)
            if not isinstance(document, dict):
                raise BadSceneMetadata(f"{own.name}: must hold one object", pointer=str(own))
            if is_item(document):
                radar = radar or radar_in_item(document)
                document = _told_by(own, document)
            said |= document
    unknown = sorted(set(said) - _FIELDS)
    if unknown:
        raise BadSceneMetadata(
            f"{group[0].name}: {', '.join(unknown)} is no known field; use {', '.join(sorted(_FIELDS))}",
            pointer=str(group[0]),
        )
    return said, radar


def _told_by(own: Path, item: dict[str, Any]) -> dict[str, Any]:
    try:
        return told_by(item)
    except DepotwatchError as fault:
        raise BadSceneMetadata(f"{own.name}: {fault.detail}", pointer=str(own)) from fault


def _number(said: Mapping[str, Any], key: str, where: str) -> float | None:
    value = said.get(key)
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadSceneMetadata(
            f"{where}: {key} is {str(value)[:40]!r}, not a number", pointer=where
        ) from error


def _text(said: Mapping[str, Any], key: str, where: str) -> str | None:
    value = said.get(key)
    if value is not None and not isinstance(value, str):
        raise BadSceneMetadata(f"{where}: {key} is {str(value)[:40]!r}, not text", pointer=where)
    return value or None


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
    group: tuple[Path, ...],
    folder: Path,
    table: Mapping[Path, dict[str, Any]],
    owned: Mapping[Path, Path],
) -> SceneClaim:
    first = group[0]
    where = _label(first, folder)
    said, of_item = _side(group, table)
    radar = of_item or _radar(said, first.stem)
    when, notes = _time(first, said, where)
    scale, offset, nodata = (_number(said, k, where) for k in ("scale", "offset", "nodata"))
    named = () if radar else _bands(said, where)
    files = []
    for path in group:
        match = _BAND_NAME.match(path.stem)
        bands = named or ((BandClaim(common_name(match["band"])),) if match else ())
        if not bands and not radar and (scale, offset, nodata) != (None, None, None):
            with open_raster(path) as dataset:
                bands = tuple(BandClaim() for _ in range(dataset.count))
        files.append(
            FileClaim(str(path.resolve()), tuple(BandClaim(b.name, scale, offset, nodata) for b in bands))
        )
    side_file = f"put it into {first.stem}.json beside the file, or into scenes.csv"
    return SceneClaim(
        id=_id(said, where) or _identifier(group, folder),
        where=where,
        t_utc=when,
        files=tuple(files),
        folder=first.parent,
        how=side_file,
        mask=_mask(first, said, owned.get(first), where),
        gsd_m=_number(said, "gsd", where),
        sun_azimuth_deg=_number(said, "sun_azimuth", where),
        sun_elevation_deg=_number(said, "sun_elevation", where),
        view_azimuth_deg=_number(said, "view_azimuth", where),
        off_nadir_deg=_number(said, "off_nadir", where),
        platform=plain(_text(said, "platform", where) or "") or _platform(first.stem),
        licence=plain(_text(said, "licence", where) or _text(said, "license", where) or "") or None,
        baseline=_baseline(said, first.stem, where),
        radar=radar,
        notes=notes,
    )


def _radar(said: Mapping[str, Any], stem: str) -> str:
    """Return what says that radar took a scene: its platform, its bands, or its name where it carries nothing else."""
    if is_mission(said.get("platform")):
        return f"its platform {plain(said['platform'])[:80]}"
    bands = said.get("bands")
    if not bands:
        return radar_in_name(stem)
    return radar_in_bands(str(band) for band in (bands if isinstance(bands, list) else [bands]))


def _id(said: Mapping[str, Any], where: str) -> str | None:
    """Return the id that a scene was given; people number their scenes too."""
    given = said.get("id")
    return str(given) if isinstance(given, int) else _text(said, "id", where)


def _identifier(group: tuple[Path, ...], folder: Path) -> str:
    """Return a scene's id: its path without ending, folders joined by dots; the band token left out."""
    inside = group[0].relative_to(folder).with_suffix("")
    match = _BAND_NAME.match(inside.name)
    name = match["stem"] if match else inside.name
    return ".".join([*inside.parts[:-1], name])


def _mask(first: Path, said: Mapping[str, Any], own: Path | None, where: str) -> MaskClaim | None:
    if name := _text(said, "mask", where):
        path = first.parent / name
        if not os.path.isfile(path):
            raise BadSceneMetadata(f"{where}: its mask {name[:200]} does not exist", pointer=where)
        return MaskClaim(str(path.resolve()), "scl" if "scl" in path.stem.lower() else "cloud-mask")
    if own is None:
        return None
    scl = own.stem.lower().rstrip("0123456789m_").endswith("scl")
    return MaskClaim(str(own.resolve()), "scl" if scl else "cloud-mask")


def _platform(stem: str) -> str | None:
    match = re.search(r"(?i)(?:^|_)(S2[ABCD])(?:_|$)", stem)
    return f"sentinel-{match[1][1:].lower()}" if match else None


def _baseline(said: Mapping[str, Any], stem: str, where: str) -> float | None:
    told = _number(said, "processing_baseline", where)
    if told is not None and not math.isfinite(told):
        raise BadSceneMetadata(f"{where}: processing_baseline is {told}, not a number", pointer=where)
    if told:
        return told
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
