"""Pictures of what the detection benchmark found wrong: ``python -m benchmarks.detection_pictures --work WORK``.

Reads the scenes and reports that ``benchmarks.detection --work WORK`` left behind and writes one sheet per kind of mistake
to docs/figures. Each case is two looks, before and after, 60 m wide unless its sheet says otherwise; green is the truth, magenta
the claim. Cases are drawn evenly over all mistakes of a kind, ordered by size or confidence, not picked by hand.
"""

import argparse
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from benchmarks import scoring
from imagery.displacement import Displacement, RegistrationState
from imagery.grid import SiteGrid
from imagery.scene import Scene
from imagery.warp import read_look
from pipelines.aoi import read_aoi
from pipelines.archives import open_archive

CASES = 6
TILE_PX, ACROSS = 200, 3
WIDE_M = 60.0
GREEN, MAGENTA = (0, 230, 80), (255, 0, 220)
NARROW_OUTLINE = 0.5
Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Case:
    """One mistake: the folder it was made in, what is true, what was claimed, the looks either side, and its rank."""

    folder: Path
    truth: BaseGeometry | None
    claim: BaseGeometry | None
    before: str
    after: str
    rank: float
    wide_m: float = WIDE_M

    @property
    def middle(self) -> tuple[float, float]:
        """Where to look, metres."""
        shown = self.claim if self.truth is None else self.truth
        assert shown is not None  # a mistake is one of the two at least
        return shown.centroid.x, shown.centroid.y


@dataclass(frozen=True, slots=True)
class Sheet:
    """A kind of mistake: file name, the sets it is looked for in, object class, which mistake, and how wide it is shown.

    ``classless`` sheets are of places, whatever they are called, as coarse sets are scored.
    """

    name: str
    sets: str
    object_class: str
    kind: str
    wide_m: float = WIDE_M
    classless: bool = False


SHEETS = (
    Sheet("containers-missed", "series_0.5m", "container", "missed"),
    Sheet("containers-wide", "series_0.5m", "container", "outline"),
    Sheet("containers-wrong", "series_0.5m", "container", "wrong"),
    Sheet("berms-missed", "series_0.5m", "berm", "missed"),
    Sheet("berms-wrong", "series_0.5m", "berm", "wrong"),
    Sheet("berms-missed-second", "second_series_0.5m", "berm", "missed"),
    Sheet("quiet-confirmed", "quiet*m", "", "confirmed"),
    Sheet("places-beside-3m", "series_3m", "", "beside", 150.0, classless=True),
    Sheet("places-missed-second-10m", "second_series_10m", "", "missed", 400.0, classless=True),
)


def cases(folder: Path, sheet: Sheet) -> Iterator[Case]:
    """Yield every mistake of a kind on one site."""
    report, truth_path, aoi = (
        folder / "report",
        folder / "scenes" / "truth.geojson",
        folder / "scenes" / "aoi.geojson",
    )
    area = shapely.union_all([shape(g) for g in scoring.geometries(json.loads(aoi.read_text()))])
    project = scoring.to_metres(area.centroid.x, area.centroid.y)
    times = scoring.scene_times(report) if (report / "timeline.csv").is_file() else {}
    if not times:
        return
    told = scoring.read_truth(truth_path, project, scoring.reference_scene(report))
    asked = scoring.asked_for(
        told, project(area), times, scoring.pixel_size(report), classless=sheet.classless
    )
    claims, seen = asked.without_hidden(scoring.read_claims(report / "changes.geojson", project)), asked.seen
    if sheet.classless:
        claims, seen = [scoring.nameless(c) for c in claims], [scoring.nameless(t) for t in seen]
    grouped, known = scoring.merged(claims, by_time=False), scoring.merged(seen, by_time=True)
    paired = scoring.matches(grouped, known, scoring.THRESHOLDS[0])

    def wanted(e: scoring.Event) -> bool:
        return not sheet.object_class or e.object_class == sheet.object_class

    if sheet.kind == "missed":
        for j, true in enumerate(known):
            if wanted(true) and all(j != k for _, k in paired):
                near = [g.geometry for g in grouped if g.geometry.intersects(true.geometry)]
                claim = shapely.union_all(near) if near else None
                place = _closed(true.geometry) if sheet.classless else true.geometry
                yield Case(folder, place, claim, *_around(true, times), true.geometry.area, sheet.wide_m)
    elif sheet.kind == "outline":
        for i, j in paired:
            iou = scoring.overlap(grouped[i].geometry, known[j].geometry, sheet.object_class)
            if wanted(known[j]) and iou < NARROW_OUTLINE:
                yield Case(folder, known[j].geometry, grouped[i].geometry, *_around(known[j], times), iou)
    else:
        yield from _wrong(folder, sheet, grouped, known, {i for i, _ in paired}, times)


def _wrong(
    folder: Path,
    sheet: Sheet,
    claims: Sequence[scoring.Event],
    known: Sequence[scoring.Event],
    taken: Collection[int],
    times: dict[str, datetime],
) -> Iterator[Case]:
    """Yield claims without a match: named ones, confirmed ones of any name, or such as touch a truth of their direction."""
    for i, claim in enumerate(claims):
        if i in taken or (sheet.object_class and claim.object_class != sheet.object_class):
            continue
        if sheet.kind == "confirmed" and not any(m.status in scoring.CONFIRMED for m in claim.members):
            continue
        near = [
            t.geometry
            for t in known
            if t.direction == claim.direction and t.geometry.intersects(claim.geometry)
        ]
        if sheet.kind == "beside" and not near:
            continue
        truth = _closed(shapely.union_all(near)) if sheet.kind == "beside" else None
        yield Case(folder, truth, claim.geometry, *_around(claim, times), claim.confidence, sheet.wide_m)


def _closed(place: BaseGeometry) -> BaseGeometry:
    """Return one outline around what scoring merges, for pictures in which single boxes would run together."""
    return place.buffer(scoring.MERGE_M).buffer(-scoring.MERGE_M)


def _around(event: scoring.Event, times: dict[str, datetime]) -> tuple[str, str]:
    """Return the scenes that show the place last before and first after."""
    there = {s: t for s, t in times.items() if event.visible_in is None or s in event.visible_in}
    before = [
        s for s, t in there.items() if t <= event.start and (t < event.start or event.start != event.end)
    ]
    after = [s for s, t in there.items() if t >= event.end]
    return max(before, key=there.__getitem__), min(after, key=there.__getitem__)


def spread(found: Sequence[Case], most: int) -> list[Case]:
    """Return so many cases, evenly over their rank."""
    ranked = sorted(found, key=lambda c: (-c.rank, str(c.folder)))
    if not ranked:
        return []
    at = np.unique(np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int))
    return [ranked[int(k)] for k in at]


def drawn(case: Case) -> Picture:
    """Return (row, col, 3): the case before and after, side by side."""
    said = json.loads((case.folder / "report" / "registration.json").read_text())
    scenes = {
        s.id: s
        for s in open_archive(str(case.folder / "scenes" / "catalog.json"))
        .search(read_aoi(case.folder / "scenes" / "aoi.geojson").aoi, None)
        .scenes
    }
    gsd = case.wide_m / TILE_PX
    east, north = case.middle
    grid = SiteGrid(
        int(said["grid"]["epsg"]), east - case.wide_m / 2, north + case.wide_m / 2, gsd, TILE_PX, TILE_PX
    )
    moved = {s["scene_id"]: s for s in said["scenes"]}
    halves = [_photograph(scenes[name], grid, moved[name], case) for name in (case.before, case.after)]
    return np.concatenate(halves, axis=1)


def _photograph(scene: Scene, grid: SiteGrid, moved: dict[str, Any], case: Case) -> Picture:
    look = read_look(scene, grid, displacement=_displacement(moved))
    bands = ("red", "green", "blue") if "red" in look.bands else (look.bands[0],) * 3
    image = np.stack([look.band(b) for b in bands])
    known = image[np.isfinite(image)]
    low, high = np.percentile(known, (1, 99)) if known.size else (0.0, 1.0)
    light = np.nan_to_num((image - low) / max(float(high - low), 1e-6)).clip(0, 1)
    sheet = Image.fromarray((255 * light.transpose(1, 2, 0) ** 0.8).astype(np.uint8))
    pen = ImageDraw.Draw(sheet)
    for outline, colour in ((case.truth, GREEN), (case.claim, MAGENTA)):
        for part in shapely.get_parts(outline) if outline is not None else ():
            if part.geom_type == "Polygon":
                corners = [grid.pixel(*corner[:2])[::-1] for corner in part.exterior.coords]
                pen.line(corners, fill=colour, width=1)
    pen.text(
        (3, 3), scene.t_utc.strftime("%Y-%m-%d"), fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0)
    )
    return np.asarray(sheet)


def _displacement(said: dict[str, Any]) -> Displacement:
    (east, north), ((a, b), (c, d)) = said["centre"], said["linear"]
    return Displacement(
        (east, north), float(said["east_m"]), float(said["north_m"]), ((a, b), (c, d)), None,
        RegistrationState.USE, 1.0, 0.0, 0,
    )  # fmt: skip


def assembled(pictures: Sequence[Picture]) -> Picture:
    """Return a sheet of cases, three across, white between them."""
    rows = []
    blank = np.full_like(pictures[0], 255)
    for k in range(0, len(pictures), ACROSS):
        line = [*pictures[k : k + ACROSS], *[blank] * (ACROSS - len(pictures[k : k + ACROSS]))]
        rows.append(
            np.concatenate([np.pad(p, ((0, 8), (0, 12), (0, 0)), constant_values=255) for p in line], 1)
        )
    return np.concatenate(rows, axis=0)


def main() -> None:
    """Parse the command line, draw, write, and say how many mistakes each sheet was drawn from."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="the folder that benchmarks.detection wrote into"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    args = parser.parse_args()
    for sheet in SHEETS:
        folders = sorted(p for p in args.work.glob(f"{sheet.sets}-*") if not p.name.startswith("quiet_10m"))
        found = [case for folder in folders for case in cases(folder, sheet)]
        if not found:
            print(f"{sheet.name}: none")
            continue
        place = args.out / f"detection-{sheet.name}.jpg"
        Image.fromarray(assembled([drawn(case) for case in spread(found, CASES)])).save(place, quality=80)
        print(f"{sheet.name}: {min(CASES, len(found))} of {len(found)}, {place.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
