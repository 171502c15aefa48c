"""The evidence of each change: what anybody needs to look for themselves, and where every number came from.

Before and after are cut on the same pixels at the site's one stretch. The pictures carry the footprint's outline,
drawn outside the object; the COG chips are the untouched reflectance.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rasterio.io import MemoryFile
from shapely.geometry.base import BaseGeometry

from imagery.changes import Change
from imagery.grid import SiteGrid
from imagery.look import Look
from pipelines.analysis import Analysis, LookSummary, RasterMaker, WindowReader
from pipelines.report import wording
from pipelines.report.canonical import json_bytes, number, rfc3339
from pipelines.report.features import displacement_at, window_of
from pipelines.report.licences import UNSTATED, withheld
from pipelines.report.rendering import Picture, Stretch, displayed, has_colour, picture
from pipelines.report.sources import source_files, source_folders

READABLE_PX = 384  # side to which small chips are enlarged, by whole factors
LARGEST_PX = 640
BUCKET_PX = 512  # changes whose windows start in one such cell share a read
OUTLINE_CLEARANCE_PX = 1.5
OUTLINE = (255, 225, 77)
CASING = (20, 20, 20)
FLICKER_MS = 700
PNG_LEVEL, PNG_RGB, PNG_UP = 1, 2, 2
WRITERS = 4


@dataclass(frozen=True, slots=True)
class Chip:
    """One look's window as a picture at its own resolution, (row, col, 3) uint8; None where it may not be shown."""

    scene_id: str
    shown: Picture | None
    observed_fraction: float


@dataclass(frozen=True, slots=True)
class ChipPair:
    """Before and after of one change on one window."""

    window: SiteGrid
    before: Chip
    after: Chip


def png_bytes(image: Image.Image | Picture) -> bytes:
    """Encode (row, col, 3) uint8 without any metadata.

    Every row as its difference from the one above: of enlarged pixels most is then nothing. To try all filters on every
    row, as Pillow does, takes twice as long and comes out an eighth larger there; on chips as they are a thirtieth smaller.
    """
    pixels = np.asarray(image)
    height, width, channels = pixels.shape
    values = pixels.reshape(height, width * channels)
    lines = np.full((height, 1 + width * channels), PNG_UP, np.uint8)
    lines[0, 1:] = values[0]
    np.subtract(values[1:], values[:-1], out=lines[1:, 1:])
    head = struct.pack(">IIBBBBB", width, height, 8, PNG_RGB, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), PNG_LEVEL)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def outline_px(footprint: BaseGeometry, window: SiteGrid) -> list[NDArray[np.float64]]:
    """Return the footprint's outer rings as (n, 2) column/row pixel-edge coordinates, moved clear of the object."""
    clear = footprint.buffer(OUTLINE_CLEARANCE_PX * window.gsd_m, join_style="mitre")
    parts = getattr(clear, "geoms", [clear])
    corner = np.array([window.east_m, window.north_m])
    rings = [(np.asarray(p.exterior.coords)[:, :2] - corner) / window.gsd_m for p in parts if not p.is_empty]
    return [ring * [1.0, -1.0] for ring in rings]


def _zoom(side: int) -> float:
    if side > LARGEST_PX:
        return LARGEST_PX / side
    return float(max(1, round(READABLE_PX / side)))


def _enlarged(shown: Picture, zoom: float) -> Image.Image:
    image = Image.fromarray(shown)
    size = round(shown.shape[1] * zoom), round(shown.shape[0] * zoom)
    return image.resize(size, Image.Resampling.BOX if zoom < 1 else Image.Resampling.NEAREST)


def _draw_outline(image: Image.Image, rings: Sequence[NDArray[np.float64]], zoom: float, inks: Any) -> None:
    pen = ImageDraw.Draw(image)
    for ink, width in zip(inks, (3, 1), strict=True):
        for ring in rings:
            pen.line([(x * zoom, y * zoom) for x, y in ring], fill=ink, width=width, joint="curve")


def framed(shown: Picture, rings: Sequence[NDArray[np.float64]]) -> Image.Image:
    """Return a readable picture of a chip with the footprint outlined."""
    zoom = _zoom(max(shown.shape[:2]))
    image = _enlarged(shown, zoom)
    _draw_outline(image, rings, zoom, (CASING, OUTLINE))
    return image


def flicker_gif(before: Picture, after: Picture, rings: Sequence[NDArray[np.float64]]) -> bytes:
    """Return two frames in turn with one palette for both, so that nothing changes but the ground."""
    zoom = _zoom(max(before.shape[:2]))
    both = Image.fromarray(np.concatenate([before, after], axis=1))
    indexed = both.quantize(250, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    colours = (indexed.getpalette() or [])[: 250 * 3]
    palette = colours + [0] * (254 * 3 - len(colours)) + [*CASING, *OUTLINE]
    frames = []
    for half in np.split(np.asarray(indexed), 2, axis=1):
        frame = Image.fromarray(half).resize(
            (round(half.shape[1] * zoom), round(half.shape[0] * zoom)), Image.Resampling.NEAREST
        )
        frame.putpalette(palette)
        _draw_outline(frame, rings, zoom, (254, 255))
        frames.append(frame)
    file = io.BytesIO()
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=FLICKER_MS, loop=0, optimize=False, disposal=1
    )  # fmt: skip
    return file.getvalue()


def _block(grid: SiteGrid) -> int:
    """Return a tile size that holds a small window whole: padding would be compressed too."""
    return min(512, -(-max(grid.shape) // 16) * 16)


def cog_bytes(look: Look, processing_version: str) -> bytes:
    """Return a look's window as a cloud-optimised GeoTIFF: float32 reflectance, NaN where not observed."""
    with MemoryFile() as memory:
        with memory.open(
            driver="COG", dtype="float32", nodata=float("nan"), count=len(look.bands),
            height=look.grid.rows, width=look.grid.cols, crs=look.grid.crs, transform=look.grid.transform,
            compress="deflate", level=1, predictor="yes", blocksize=_block(look.grid), overview_resampling="average",
        ) as file:  # fmt: skip
            file.write(look.reflectance.astype(np.float32, copy=False))
            for index, name in enumerate(look.bands, start=1):
                file.set_band_description(index, name)
            file.update_tags(
                SCENE_ID=look.scene_id,
                DATETIME_UTC=rfc3339(look.t_utc),
                PROCESSING_VERSION=processing_version,
            )
        return bytes(memory.getbuffer())


def _cropped(look: Look, window: SiteGrid) -> Look:
    row, col = (round(v) for v in look.grid.pixel(window.east_m, window.north_m))
    rows, cols = slice(row, row + window.rows), slice(col, col + window.cols)
    return replace(
        look, grid=window, reflectance=look.reflectance[:, rows, cols], state=look.state[rows, cols]
    )


def _union(windows: Sequence[SiteGrid], grid: SiteGrid) -> SiteGrid:
    corners = [tuple(round(v) for v in grid.pixel(w.east_m, w.north_m)) for w in windows]
    row, col = min(r for r, _ in corners), min(c for _, c in corners)
    rows = max(r + w.rows for (r, _), w in zip(corners, windows, strict=True)) - row
    cols = max(c + w.cols for (_, c), w in zip(corners, windows, strict=True)) - col
    return grid.window(row, col, rows, cols)


Bucket = tuple[str, str, int, int]


def _buckets(changes: Mapping[str, Change], grid: SiteGrid) -> dict[Bucket, list[str]]:
    """Group ids of changes between the same two looks whose windows start near each other, in a fixed order."""
    buckets: dict[Bucket, list[str]] = {}
    for change_id in sorted(changes):
        change = changes[change_id]
        window = window_of(change, grid)
        row, col = grid.pixel(window.east_m, window.north_m)
        key = change.before_scene, change.after_scene, int(row // BUCKET_PX), int(col // BUCKET_PX)
        buckets.setdefault(key, []).append(change_id)
    return {key: buckets[key] for key in sorted(buckets)}


def _pairs(
    changes: Mapping[str, Change], analysis: Analysis, read: WindowReader
) -> Iterator[list[tuple[str, Look, Look]]]:
    """Yield changes with their two looks on their windows, neighbours together: they share a read."""
    for (before_id, after_id, _, _), ids in _buckets(changes, analysis.grid).items():
        windows = {i: window_of(changes[i], analysis.grid) for i in ids}
        union = _union(list(windows.values()), analysis.grid)
        before, after = read(before_id, union), read(after_id, union)
        yield [(i, _cropped(before, windows[i]), _cropped(after, windows[i])) for i in ids]


def chip_pair(before: Look, after: Look, stretch: Stretch, barred: frozenset[str]) -> ChipPair:
    """Draw both looks alike: in colour where both have it, else both in grey."""
    colour = has_colour(before.bands) and has_colour(after.bands)

    def chip(look: Look) -> Chip:
        shown = None if look.scene_id in barred else picture(displayed(look, colour), stretch)
        return Chip(look.scene_id, shown, look.usable_fraction)

    return ChipPair(before.grid, chip(before), chip(after))


def write_evidence(
    changes: Mapping[str, Change],
    analysis: Analysis,
    read: WindowReader,
    stretch: Stretch,
    out: Path,
    keep: frozenset[str],
    raster: RasterMaker = cog_bytes,
) -> dict[str, ChipPair]:
    """Write ``out/ID/`` for every change; return the pictures of those in ``keep``.

    ``raster`` is ``cog_bytes`` or what spares it work. Scenes whose licence forbids chips leave no picture and no raster, only their provenance, which says so.
    """
    press = _Press(analysis, stretch, out, withheld(analysis), source_folders(analysis), raster)
    kept: dict[str, ChipPair] = {}
    # Compressing takes the time, and zlib and GDAL let other threads run meanwhile; every file is one thread's own.
    with ThreadPoolExecutor(WRITERS) as pool:
        for neighbours in _pairs(changes, analysis, read):
            made = pool.map(lambda n: press.write(n[0], changes[n[0]], n[1], n[2]), neighbours)
            kept.update({n[0]: pair for n, pair in zip(neighbours, made, strict=True) if n[0] in keep})
    return kept


@dataclass(frozen=True, slots=True)
class _Press:
    """Writes the evidence of one change after the other; holds what all of them share."""

    analysis: Analysis
    stretch: Stretch
    out: Path
    barred: frozenset[str]
    folders: tuple[str, ...]
    raster: RasterMaker

    def write(self, change_id: str, change: Change, before: Look, after: Look) -> ChipPair:
        """Write one change's folder and return its pictures."""
        pair = chip_pair(before, after, self.stretch, self.barred)
        place = self.out / change_id
        place.mkdir(parents=True)
        _write_pictures(place, pair, change)
        for name, look in (("before", before), ("after", after)):
            if look.scene_id not in self.barred:
                (place / f"{name}.tif").write_bytes(self.raster(look, self.analysis.processing_version))
        record = provenance(change_id, change, pair, self.analysis, self.stretch, self.folders)
        (place / "provenance.json").write_bytes(json_bytes(record))
        return pair


def _write_pictures(place: Path, pair: ChipPair, change: Change) -> None:
    rings = outline_px(change.footprint, pair.window)
    for name, chip in (("before", pair.before), ("after", pair.after)):
        if chip.shown is not None:
            (place / f"{name}.png").write_bytes(png_bytes(framed(chip.shown, rings)))
    if pair.before.shown is not None and pair.after.shown is not None:
        (place / "flicker.gif").write_bytes(flicker_gif(pair.before.shown, pair.after.shown, rings))


def _registration(look: LookSummary, window: SiteGrid) -> dict[str, Any] | None:
    d = look.displacement
    if d is None:
        return None
    east, north = displacement_at(d, *window.centre)
    return {
        "state": str(d.state),
        "reference": look.reference,
        "shift_applied_at_window_centre": {"east_m": number(east, 4), "north_m": number(north, 4)},
        "centre": [number(v, 3) for v in d.centre],
        "east_m": number(d.east_m, 6),
        "north_m": number(d.north_m, 6),
        "linear": [[number(v, 9) for v in row] for row in d.linear],
        "smooth_field": d.field is not None,
        "quality": number(d.quality),
        "residual_m": number(d.residual_m, 4),
    }


def _scene_record(
    look: LookSummary, roles: list[str], window: SiteGrid, folders: tuple[str, ...]
) -> dict[str, Any]:
    scene = look.scene
    return {
        "scene_id": scene.id,
        "roles": roles,
        "datetime": rfc3339(scene.t_utc),
        "platform": scene.platform,
        "gsd": number(scene.gsd_m),
        "units": scene.units,
        "licence": scene.licence or UNSTATED,
        "files": source_files(scene, folders),
        "registration": _registration(look, window),
        "normalisation": [
            {"band": b, "gain": number(gain, 6), "offset": number(offset, 6)}
            for b, gain, offset in look.gains
        ],
        "notes": list(dict.fromkeys([*scene.notes, *look.notes])),
    }


def provenance(
    change_id: str,
    change: Change,
    pair: ChipPair,
    analysis: Analysis,
    stretch: Stretch,
    folders: tuple[str, ...],
) -> dict[str, Any]:
    """Return where every pixel and number of one change's evidence came from."""
    looks = {look.scene.id: look for look in analysis.looks}
    roles = {change.before_scene: ["before"], change.after_scene: ["after"]}
    named = [
        i for i in dict.fromkeys([*change.scene_ids, change.before_scene, change.after_scene]) if i in looks
    ]
    named.sort(key=lambda i: (looks[i].scene.t_utc, i))
    window = pair.window
    west, south, east, north = window.bounds
    chips = {"before": pair.before, "after": pair.after}
    return {
        "id": change_id,
        "statement": wording.statement(change),
        "processing_version": analysis.processing_version,
        "window": {
            "crs": window.crs, "gsd_m": window.gsd_m, "rows": window.rows, "cols": window.cols,
            "west": west, "south": south, "east": east, "north": north,
        },
        "chips": {
            name: {
                "scene_id": chip.scene_id,
                "shown": chip.shown is not None,
                "withheld_because": None if chip.shown is not None else "the source's licence forbids chips",
                "observed_fraction": number(chip.observed_fraction, 4),
            }
            for name, chip in chips.items()
        },
        "stretch": stretch.as_json(),
        "scenes": [_scene_record(looks[i], roles.get(i, []), window, folders) for i in named],
        "parameters": dict(analysis.parameters),
        "versions": dict(analysis.versions),
    }  # fmt: skip
