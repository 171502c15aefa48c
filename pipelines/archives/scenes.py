"""From what an archive says of a scene, and what its files say themselves, to one checked ``Scene``.

Where the two differ about the picture (size, position, CRS, number of bands) the file is right or the scene is
refused; the description alone knows time, angles and how numbers become reflectance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from affine import Affine
from pyproj import Geod
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from imagery.errors import UnsupportedRaster
from imagery.excerpt import Held
from imagery.grid import transformer
from imagery.illumination import Sun, View
from imagery.rasters import RasterHeader
from imagery.scene import BandSource, FilePart, MaskSource, Scene, Units
from pipelines.antimeridian import HALF_TURN, cut, eastward, uncut
from pipelines.archives.band_names import guessed_names, unique_names
from pipelines.archives.claims import BandClaim, FileClaim, SceneClaim, one_line
from pipelines.archives.errors import (
    BadSceneMetadata,
    BandCountMismatch,
    MixedDtypes,
    RadarScene,
    SceneWithoutBands,
)
from pipelines.archives.fingerprints import Fingerprints
from pipelines.archives.ground import Ground, window_of
from pipelines.archives.radar import radar_in_header
from pipelines.archives.radiometry import Radiometry, radiometry


class Fetch(Protocol):
    """Brings what an archive refers to onto this machine."""

    def __call__(self, href: str, folder: Path, /) -> Path:
        """Return the local file of a reference as written in an archive that lies in ``folder``; maybe without pixels."""
        ...

    def bring(self, path: Path, window: Held) -> Path:
        """Return a file that holds a window of the pixels of one that was returned before."""
        ...

    def part_of(self, path: str) -> FilePart | None:
        """Return what of a remote file one that was returned before is; None where it is all of it."""
        ...


# Bands this much coarser than the scene's finest are left out: they would need another resampling and add no object.
COARSER_BANDS_LEFT_OUT = 1.5
_GEOD = Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True)
class CheckedScene:
    """A scene and what only the archive needs to know of it.

    ``covered`` is where it says it has data, EPSG:4326; ``rank`` orders copies of one acquisition, best last.
    """

    scene: Scene
    covered: BaseGeometry
    rank: tuple[float, float, int, str, str]


@dataclass(frozen=True, slots=True)
class _OpenedFile:
    claim: FileClaim
    header: RasterHeader
    pixel_m: float


def check_scene(claim: SceneClaim, fetch: Fetch, prints: Fingerprints) -> CheckedScene:
    """Open every file of a scene, check it, and return the scene, not hashed yet.

    Raises
    ------
    UnreadableRaster, UnsupportedRaster : a file cannot be used
    DepotwatchError : any of ``pipelines.archives.errors``: what is described cannot be
    """
    if claim.radar:
        raise _of_radar(claim, claim.radar)
    files = [_open(f, fetch, claim, prints) for f in claim.files]
    if not files:
        raise SceneWithoutBands(f"{claim.where}: has no GeoTIFF of pixels; {claim.how}", pointer=claim.where)
    finest = min(f.pixel_m for f in files)
    kept = [f for f in files if f.pixel_m <= finest * COARSER_BANDS_LEFT_OUT]
    footprint = _common_footprint([file_footprint(f.header) for f in kept], claim)
    covered = _covered(footprint, claim.outline)
    notes = list(claim.notes)
    if len(kept) < len(files):
        left_out = sorted(Path(f.header.path).name for f in files if f not in kept)
        notes.append(f"coarser bands left out: {', '.join(left_out)}")
    bands, units, told = _bands(kept, claim)
    mask = _mask(claim, fetch, prints)
    if mask is None:
        told.append("no cloud mask given")
    gsd_m, gsd_notes = _gsd(claim, finest)
    sun, view, angle_notes = _angles(claim)
    scene = Scene(
        id=claim.id,
        t_utc=claim.t_utc,
        bands=bands,
        mask=mask,
        gsd_m=gsd_m,
        sun=sun,
        view=view,
        platform=claim.platform,
        licence=claim.licence,
        units=units,
        footprint=footprint.wkt,
        sha256=(),
        notes=tuple(dict.fromkeys([*notes, *told, *gsd_notes, *angle_notes])),
        off_nadir_deg=_off_nadir_alone(claim),
        sun_elevation_deg=_sun_elevation_alone(claim),
    )
    rank = (claim.baseline or 0.0, -gsd_m, int(mask is not None), claim.created, claim.id)
    return CheckedScene(scene, covered, rank)


def _mask(claim: SceneClaim, fetch: Fetch, prints: Fingerprints) -> MaskSource | None:
    if claim.mask is None:
        return None
    path = str(fetch(claim.mask.href, claim.folder))
    header = prints.header_of(path)
    if claim.mask.index not in header.indexes:
        raise BandCountMismatch(f"{claim.where}: its mask {Path(path).name} has no band {claim.mask.index}")
    return MaskSource(path, claim.mask.index, claim.mask.kind)


def hashed(scene: Scene, fetch: Fetch, prints: Fingerprints) -> Scene:
    """Return the scene with the SHA-256 of every file that it is read from: of remote ones of what was fetched."""
    parts = tuple((path, part) for path in scene.paths if (part := fetch.part_of(path)) is not None)
    cut = dict(parts)
    digests = tuple(
        (p, prints.sha256_of_excerpt(p, cut[p].size, cut[p].spans) if p in cut else prints.sha256_of(p))
        for p in scene.paths
    )
    return replace(scene, sha256=digests, parts=parts)


def brought(scene: Scene, ground: Ground | None, fetch: Fetch, prints: Fingerprints) -> Scene:
    """Return a scene whose files hold the pixels of some ground, all of them where it is None.

    Raises
    ------
    DepotwatchError : a remote file did not arrive
    """
    moved = {}
    for path, _ in scene.parts:
        header = prints.header_of(path)
        window = (0, 0, header.rows, header.cols) if ground is None else window_of(header, ground)
        moved[path] = str(fetch.bring(Path(path), window))
    if not moved:
        return scene
    bands = tuple(replace(band, path=moved.get(band.path, band.path)) for band in scene.bands)
    mask = scene.mask and replace(scene.mask, path=moved.get(scene.mask.path, scene.mask.path))
    return hashed(replace(scene, bands=bands, mask=mask), fetch, prints)


# --- files ---------------------------------------------------------------------------------------------------------


def _open(file: FileClaim, fetch: Fetch, claim: SceneClaim, prints: Fingerprints) -> _OpenedFile:
    header = prints.header_of(str(fetch(file.href, claim.folder)))
    if file.bands and len(file.bands) == len(header.colours):
        header = replace(header, indexes=tuple(range(1, len(header.colours) + 1)))
    if file.bands and len(file.bands) != len(header.indexes):
        raise BandCountMismatch(
            f"{claim.where}: {Path(header.path).name} has {len(header.indexes)} bands, its description "
            f"{len(file.bands)}; correct the one that is wrong",
            pointer=claim.where,
        )
    if told := radar_in_header(header, described=bool(file.bands) and all(b.name for b in file.bands)):
        raise _of_radar(claim, told)
    pixel_m = _pixel_size_m(header.crs, header.transform, header.cols, header.rows)
    if not (math.isfinite(pixel_m) and pixel_m > 0):
        raise _nowhere(header)
    return _OpenedFile(file, header, pixel_m)


def _of_radar(claim: SceneClaim, told: str) -> RadarScene:
    return RadarScene(
        f"{claim.where}: is radar by {one_line(told)}, and radar backscatter is no reflectance; take it out of the archive, or "
        "correct that if the scene is optical",
        pointer=claim.where,
    )


def file_footprint(header: RasterHeader) -> BaseGeometry:
    """Return the outline of a file in EPSG:4326, its edges followed at eight points each, cut at the antimeridian.

    Raises
    ------
    UnsupportedRaster : the outline cannot be put on the globe
    """
    outline = _outline(header.crs, header.transform, header.cols, header.rows)
    if outline is None:
        raise _nowhere(header)
    return outline


# Files of one sensor and place lie on one lattice: to project their corners once for all of them is most of an archive.
@lru_cache(maxsize=256)
def _outline(crs: str, transform: Affine, cols: int, rows: int) -> BaseGeometry | None:
    """Return the outline of so many pixels, None where it cannot be put on the globe."""
    along = np.linspace(0.0, 1.0, 9)[:-1]
    col = np.concatenate([along, np.ones(8), 1 - along, np.zeros(8)]) * cols
    row = np.concatenate([np.zeros(8), along, np.ones(8), 1 - along]) * rows
    lon, lat = _to_lonlat(crs, transform, col, row)
    if np.ptp(lon) > HALF_TURN:
        lon = eastward(lon)
    outline = Polygon(np.column_stack([lon, lat])) if np.all(np.isfinite([lon, lat])) else Polygon()
    west, south, east, north = outline.bounds if not outline.is_empty else (0.0, 0.0, 0.0, 0.0)
    if (
        not outline.is_valid
        or outline.area == 0
        or abs(south) > 90.0
        or abs(north) > 90.0
        or east - west > HALF_TURN
    ):
        return None
    return cut(outline.simplify(1e-6)).normalize()


def _nowhere(header: RasterHeader) -> UnsupportedRaster:
    return UnsupportedRaster(
        f"{Path(header.path).name}: its CRS and geotransform put it nowhere on Earth; georeference it again",
        pointer=header.path,
    )


@lru_cache(maxsize=256)
def _pixel_size_m(crs: str, transform: Affine, cols: int, rows: int) -> float:
    """Return the pixel's size on the ground in the middle of a file: root of its area, metres."""
    col, row = cols / 2.0, rows / 2.0
    lon, lat = _to_lonlat(crs, transform, np.array([col, col + 1, col]), np.array([row, row, row + 1]))
    if not np.all(np.isfinite([lon, lat])):
        return float("nan")
    _, _, wide = _GEOD.inv(lon[0], lat[0], lon[1], lat[1])
    _, _, tall = _GEOD.inv(lon[0], lat[0], lon[2], lat[2])
    return math.sqrt(float(wide) * float(tall))


def _to_lonlat(
    crs: str, transform: Affine, col: np.ndarray, row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d, e, f = transform[:6]
    lon, lat = transformer(crs, "EPSG:4326").transform(a * col + b * row + c, d * col + e * row + f)
    return np.asarray(lon), np.asarray(lat)


def _common_footprint(outlines: Sequence[BaseGeometry], claim: SceneClaim) -> BaseGeometry:
    common: BaseGeometry = outlines[0]
    for other in outlines[1:]:
        common = common.intersection(other)
    if common.is_empty or uncut(common).geom_type != "Polygon":
        raise BadSceneMetadata(f"{claim.where}: its band files do not lie in one place", pointer=claim.where)
    return common


def _covered(footprint: BaseGeometry, outline: BaseGeometry | None) -> BaseGeometry:
    if outline is None or not outline.is_valid:
        return footprint
    both = footprint.intersection(outline)
    return both if both.area > 0.001 * footprint.area else footprint


# --- bands ---------------------------------------------------------------------------------------------------------


def _bands(
    files: Sequence[_OpenedFile], claim: SceneClaim
) -> tuple[tuple[BandSource, ...], Units, list[str]]:
    names: list[str] = []
    rules: list[tuple[str, int, Radiometry]] = []
    notes: list[str] = []
    for file in files:
        claims, note = _named(file, claim)
        notes.extend([note] if note else [])
        for band, index in zip(claims, file.header.indexes, strict=True):
            rule = radiometry(claim, band, file.header, index)
            _check_scaling(rule, claim)
            notes.extend([rule.note] if rule.note else [])
            names.append(str(band.name))
            rules.append((file.header.path, index, rule))
    _check_dtypes(files, rules, claim)
    units = {rule.units for _, _, rule in rules}
    if len(units) > 1:
        raise BadSceneMetadata(
            f"{claim.where}: some of its bands have a scale to reflectance and some do not; {claim.how}",
            pointer=claim.where,
        )
    sources = tuple(
        BandSource(name, path, index, rule.scale, rule.offset, rule.nodata)
        for name, (path, index, rule) in zip(unique_names(names), rules, strict=True)
    )
    return sources, units.pop(), list(dict.fromkeys(notes))


def _named(file: _OpenedFile, claim: SceneClaim) -> tuple[tuple[BandClaim, ...], str]:
    """Return one named claim per data band, and how those were named that the archive left unnamed."""
    header = file.header
    claims = file.claim.bands or tuple(BandClaim() for _ in header.indexes)
    if all(c.name for c in claims):
        return claims, ""
    names, note = guessed_names(
        [header.descriptions[i - 1] for i in header.indexes], [header.colours[i - 1] for i in header.indexes]
    )
    if names is None:
        raise SceneWithoutBands(
            f"{claim.where}: nothing says what the {len(header.indexes)} bands of {Path(header.path).name} are; "
            f"{claim.how}",
            pointer=claim.where,
        )
    return tuple(replace(c, name=n) for c, n in zip(claims, names, strict=True)), note


def _check_scaling(rule: Radiometry, claim: SceneClaim) -> None:
    if not (math.isfinite(rule.scale) and math.isfinite(rule.offset) and rule.scale > 0):
        raise BadSceneMetadata(
            f"{claim.where}: scale {rule.scale:g} and offset {rule.offset:g} are no radiometry",
            pointer=claim.where,
        )


def _check_dtypes(
    files: Sequence[_OpenedFile], rules: Sequence[tuple[str, int, Radiometry]], claim: SceneClaim
) -> None:
    dtypes = sorted({f.header.dtype for f in files})
    if len(dtypes) > 1 and any(rule.units == "relative" for _, _, rule in rules):
        raise MixedDtypes(
            f"{claim.where}: its files hold {' and '.join(dtypes)} and nothing says how they compare; {claim.how}",
            pointer=claim.where,
        )


# --- pixel size and angles -----------------------------------------------------------------------------------------


def _gsd(claim: SceneClaim, pixel_m: float) -> tuple[float, list[str]]:
    """Return the pixel size to believe: the described one where it fits the file, which may be oversampled."""
    told = [f.gsd_m for f in claim.files if f.gsd_m] or ([claim.gsd_m] if claim.gsd_m else [])
    described = min(told) if told else None
    if described is None:
        return round(pixel_m, 4), [f"gsd missing: {pixel_m:.2f} m taken from the file"]
    if not (math.isfinite(described) and described > 0):
        raise BadSceneMetadata(f"{claim.where}: gsd {described} is no pixel size", pointer=claim.where)
    if 0.8 * pixel_m <= described <= 4.0 * pixel_m:
        return float(described), []
    return round(pixel_m, 4), [
        f"gsd {described:g} m does not fit the file's pixels: {pixel_m:.2f} m taken instead"
    ]


def _angles(claim: SceneClaim) -> tuple[Sun | None, View | None, list[str]]:
    notes = []
    sun = view = None
    azimuth, elevation = claim.sun_azimuth_deg, claim.sun_elevation_deg
    if azimuth is None or elevation is None:
        missing = "angles" if _sun_elevation_alone(claim) is None else "azimuth"
        notes.append(f"sun {missing} missing: {claim.how}")
    elif abs(azimuth) <= 360.0 and -90.0 <= elevation <= 90.0:
        sun = Sun(azimuth % 360.0, elevation)
    else:
        notes.append(f"sun azimuth {azimuth:g}, elevation {elevation:g} are no angles: left out")
    azimuth, off_nadir = claim.view_azimuth_deg, claim.off_nadir_deg
    if off_nadir is not None and abs(off_nadir) < 1.0 and azimuth is None:
        view = View(0.0, abs(off_nadir))  # straight down has no azimuth
    elif azimuth is None or off_nadir is None:
        missing = "angles" if _off_nadir_alone(claim) is None else "azimuth"
        notes.append(f"view {missing} missing: {claim.how}")
    elif abs(azimuth) <= 360.0 and 0.0 <= off_nadir < 80.0:
        view = View(azimuth % 360.0, off_nadir)
    else:
        notes.append(f"view azimuth {azimuth:g}, off-nadir {off_nadir:g} are no angles: left out")
    return sun, view, notes


def _sun_elevation_alone(claim: SceneClaim) -> float | None:
    """Return how high the sun stood where nothing says in which direction."""
    told = claim.sun_elevation_deg
    if claim.sun_azimuth_deg is not None or told is None or not -90.0 <= told <= 90.0:
        return None
    return told


def _off_nadir_alone(claim: SceneClaim) -> float | None:
    """Return the angle from straight down where nothing says to which side, which the sign of a roll does not either."""
    told = claim.off_nadir_deg
    if claim.view_azimuth_deg is not None or told is None or not 1.0 <= abs(told) < 80.0:
        return None
    return abs(told)
