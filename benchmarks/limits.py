"""What can be seen, measured: objects planted into rendered ground per pixel size, height of the sun and season.

Every cell of the table is a few rendered places, seen in four looks of one season and one height of the sun. Objects of
known size are planted between the second and the third look; found is what the report would list of them, at the report's
own least confidence, without regard to the limits that this table sets. ``imagery.limits`` reads the table.

    python -m benchmarks.limits [--sites N] [--workers 3] [--gsd 0.5,1.2] [--out imagery/limits_table.json]
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from imagery.calibration import stored_verifier
from imagery.changes import LOG_ODDS_STEP, UNSEEN, Change, Direction, LookEvidence, ObjectClass
from imagery.detection import DetectionOptions, find_changes, look_evidence
from imagery.evidence.network import PresenceNetwork
from imagery.grid import SiteGrid
from imagery.lifecycle import LifecycleOptions
from imagery.limits import TABLE
from imagery.look import Look
from imagery.observability import ObservationState
from imagery.planting import (
    COARSE_PATTERNS,
    FINE_PATTERNS,
    Pattern,
    Planting,
    choose_places,
    free_ground,
    plant,
    tone_of,
)
from imagery.simulation import RenderedLook, Sensor, SeriesOptions, simulate_series
from imagery.simulation.light import sun_position
from imagery.timeseries import find_disturbances
from pipelines.parameters import Parameters
from pipelines.planting import share_of

PAGE = Path(__file__).parents[1] / "docs" / "detection-limits.md"
FIRST_SEED = 870_000  # far from the seeds of training, fitting, tests and the other benchmarks
FINE_GSD_M = (0.3, 0.5, 0.8, 1.2, 2.0, 3.0)
COARSE_GSD_M = 10.0
SUN_DEG = (15.0, 30.0, 50.0)
SEASONS = {"summer": (7, 1), "spring_autumn": (10, 1), "winter": (1, 5)}
SEASON_DAYS = 40
LOOKS, COARSE_LOOKS = 4, 12
ROUNDS = 2
RESIDUAL_PX = 0.17
LEAST_IOU = 0.3
BERM_TOLERANCE_M = 3.0
GROUND_PER_OBJECT_M2 = 3000.0
# From this pixel size on single containers are below the floor of the search and rows and blocks are asked for instead.
ROWS_ONLY_M = 2.0
EXTENT_M = {0.3: 150.0, 0.5: 200.0, 0.8: 220.0, 1.2: 260.0, 2.0: 380.0, 3.0: 480.0, 10.0: 1400.0}
LARGE = (COARSE_PATTERNS[1], COARSE_PATTERNS[2])

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cell:
    """One condition; sun and season are None at pixel sizes that need a whole year of looks."""

    gsd_m: float
    sun_deg: float | None
    season: str | None
    seed: int


@dataclass(frozen=True, slots=True)
class Row:
    """One planted object: its cell, class and size, whether one look shows it, and whether the report would list it."""

    cell: Cell
    kind: str
    size: str
    area_m2: float
    shown: bool
    found: bool


def latitude_for(elevation_deg: float, day: datetime) -> float:
    """Return a latitude at which the sun stands at an elevation in the late morning of a day, northern ones first."""
    at = day.replace(hour=10, minute=30)
    choices = [float(v) for v in (*range(80, -1, -1), *range(-1, -61, -1))]
    return min(choices, key=lambda v: round(abs(sun_position(at, 0.0, v).elevation_deg - elevation_deg)))


def series_options(cell: Cell) -> SeriesOptions:
    """Say what the ground of a cell is like: nothing of our classes comes or goes there by itself."""
    base = SeriesOptions(
        extent_m=EXTENT_M[cell.gsd_m],
        sensor=Sensor(cell.gsd_m),
        kind="quiet",
        density=0.0,
        longitude=0.0,
        snow=0.0,
        geolocation_m=RESIDUAL_PX * 1.5 * cell.gsd_m,
    )
    if cell.season is None or cell.sun_deg is None:
        return replace(base, looks=COARSE_LOOKS, clouds=0.2, off_nadir_deg=4.0)
    start = datetime(2024, *SEASONS[cell.season], tzinfo=UTC)
    middle = start + timedelta(days=SEASON_DAYS / 2)
    return replace(
        base,
        looks=LOOKS,
        clouds=0.0,
        start=start,
        end=start + timedelta(days=SEASON_DAYS),
        latitude=latitude_for(cell.sun_deg, middle),
    )


def as_look(rendered: RenderedLook, gsd_m: float) -> Look:
    """Take a rendered look for one that registration has already brought here, as well as it does."""
    side = len(rendered.mask)
    grid = SiteGrid(32633, 500000.0, 5500000.0, gsd_m, side, side)
    state = rendered.mask.astype(np.uint8)
    for code, hidden in (
        (3, ObservationState.SNOW),
        (2, ObservationState.CLOUD_SHADOW),
        (1, ObservationState.CLOUD),
    ):
        state[rendered.mask == code] = hidden
    image = rendered.image.astype(np.float32) / np.float32(1e4)
    image[:, state > 0] = np.nan
    return Look(
        f"S{rendered.number:02d}", rendered.t_utc, grid, rendered.bands, image, state, gsd_m, rendered.sun, rendered.view
    )  # fmt: skip


def patterns_for(gsd_m: float) -> tuple[Pattern, ...]:
    """Return what is planted at a pixel size."""
    if gsd_m >= COARSE_GSD_M:
        return COARSE_PATTERNS
    return FINE_PATTERNS if gsd_m < ROWS_ONLY_M else (*FINE_PATTERNS[2:], *LARGE)


@lru_cache(maxsize=1)
def _network() -> PresenceNetwork:
    return PresenceNetwork.load()


def judged_cell(cell: Cell) -> list[Row]:
    """Render one place of a cell, plant into it, and judge what was planted."""
    looks = rendered_looks(cell)
    return _judged_coarse(cell, looks) if cell.gsd_m >= COARSE_GSD_M else _judged_fine(cell, looks)


def rendered_looks(cell: Cell) -> list[Look]:
    """Render the looks of a cell; nothing of our classes comes or goes in them."""
    return [
        as_look(rendered, cell.gsd_m) for rendered in simulate_series(cell.seed, series_options(cell)).looks
    ]


def planted_year(cell: Cell, looks: Sequence[Look], number: int) -> tuple[list[Look], tuple[Planting, ...]]:
    """Return the looks with one round of objects planted into the later half of them, and the objects."""
    middle = len(looks) // 2
    everywhere = np.ones(looks[0].grid.shape, bool)
    placed = _placed(cell, looks[middle - 1 : middle + 1], everywhere, number)
    return [_planted(look, placed, cell) for look in looks], placed


def _judged_fine(cell: Cell, looks: Sequence[Look]) -> list[Row]:
    before = [_evidence(look) for look in looks[:2]]
    free = free_ground(before, np.ones(looks[0].grid.shape, bool), looks[0].grid, ())
    rows: list[Row] = []
    for number in range(ROUNDS):
        placed = _placed(cell, looks[1:3], free, number)
        after = [_evidence(_planted(look, placed, cell)) for look in looks[2:]]
        changes = _listed(
            find_changes(
                [*before, *after], np.ones(looks[0].grid.shape, bool), _options(keep_to_limits=False)
            ).changes,
            coarse=False,
        )
        for thing in placed:
            if not any(thing.along_sun(look.sun) for look in looks[2:]):
                rows.append(_row(cell, thing, changes, _shows(after[0], thing)))
    return rows


def _judged_coarse(cell: Cell, looks: Sequence[Look]) -> list[Row]:
    """Judge opened and covered ground in a year of looks; one look alone shows none of it for sure."""
    everywhere = np.ones(looks[0].grid.shape, bool)
    rows: list[Row] = []
    for number in range(ROUNDS):
        planted, placed = planted_year(cell, looks, number)
        changes = _listed(find_disturbances(planted, everywhere).changes, coarse=True)
        rows += [_row(cell, thing, changes, shown=False) for thing in placed]
    return rows


def _placed(cell: Cell, around: Sequence[Look], free: Mask, number: int) -> tuple[Planting, ...]:
    rng = np.random.default_rng([cell.seed, 7, number])
    room = free.sum() * cell.gsd_m**2 / (GROUND_PER_OBJECT_M2 if cell.gsd_m < COARSE_GSD_M else 60_000.0)
    wanted = [
        p for _ in range(max(1, round(room))) for p in rng.permutation(np.array(patterns_for(cell.gsd_m)))
    ]
    times = [look.t_utc for look in around]
    return choose_places(free, around[0].grid, wanted, times, rng, most=max(1, round(room)))


def _planted(look: Look, placed: Sequence[Planting], cell: Cell) -> Look:
    tone = tone_of(look, (), calibrated=True)
    return plant(look, placed, tone, residual_m=RESIDUAL_PX * cell.gsd_m, seed=cell.seed)


def _evidence(look: Look) -> LookEvidence:
    return look_evidence(look, registration_residual_m=RESIDUAL_PX * look.gsd_m, network=_network())


def _options(*, keep_to_limits: bool) -> DetectionOptions:
    lowest = min(Parameters().least_confidence(kind) for kind in ObjectClass)
    return DetectionOptions(min_confidence=lowest, keep_to_limits=keep_to_limits)


def _listed(changes: Iterable[Change], *, coarse: bool) -> list[Change]:
    """Return what a report lists of what was found."""
    least = {kind: Parameters().least_confidence(kind, coarse=coarse) for kind in ObjectClass}
    return [c for c in changes if c.direction is Direction.APPEARED and c.confidence >= least[c.object_class]]


def _row(cell: Cell, thing: Planting, changes: Sequence[Change], shown: bool) -> Row:
    # Ground opened or covered is all that coarse pixels tell, whatever lies on it.
    kind = thing.pattern.object_class if cell.gsd_m < COARSE_GSD_M else ObjectClass.OTHER
    found = any(
        c.object_class is kind and overlap(thing.outline, c.footprint, kind) >= LEAST_IOU for c in changes
    )
    return Row(cell, kind.value, thing.pattern.name, float(thing.outline.area), shown, found)


def overlap(one: BaseGeometry, other: BaseGeometry, kind: ObjectClass) -> float:
    """Return intersection over union; banks widened first, since their foot is a matter of opinion."""
    if kind is ObjectClass.BERM:
        one, other = one.buffer(BERM_TOLERANCE_M), other.buffer(BERM_TOLERANCE_M)
    shared = one.intersection(other).area
    return float(shared / max(one.area + other.area - shared, 1e-9))


def _shows(look: LookEvidence, thing: Planting) -> bool:
    """Tell whether one look alone supports the object, as the lifecycle counts it: evidence for its class over its outline."""
    shape, transform = look.grid.shape, look.grid.transform
    inside = rasterize([thing.outline], shape, transform=transform, all_touched=True) > 0
    kind = thing.pattern.object_class
    values = look.log_odds[look.classes.index(kind)][inside]
    values = values[values != UNSEEN]
    emission = stored_verifier().emissions[kind]
    pooled = (
        emission.gain * (float(values.mean()) * LOG_ODDS_STEP - emission.zero) if values.size else -np.inf
    )
    return pooled > LifecycleOptions().supports_above


# --- the table -------------------------------------------------------------------------------------------------------


def cells(sites: int, gsds: Sequence[float]) -> list[Cell]:
    """Return every condition so many times, the slow ones first."""
    out = [
        Cell(gsd, sun, season, FIRST_SEED + 1000 * index + 10 * part + site)
        for index, gsd in enumerate(FINE_GSD_M)
        for part, (sun, season) in enumerate((sun, season) for sun in SUN_DEG for season in SEASONS)
        for site in range(sites)
        if gsd in gsds
    ]
    if COARSE_GSD_M in gsds:
        out += [Cell(COARSE_GSD_M, None, None, FIRST_SEED + 90_000 + site) for site in range(4 * sites)]
    return out


def table(rows: Sequence[Row], sites: int) -> dict[str, Any]:
    """Return the file's content: one line per class, size and cell, with the exact 95 % interval of the recall."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        cell = row.cell
        key = (row.kind, cell.gsd_m, cell.sun_deg or 0.0, cell.season or "", round(row.area_m2, 1), row.size)
        groups.setdefault(key, []).append(row)
    lines = []
    for (kind, gsd, sun, season, area, size), members in sorted(groups.items()):
        share = share_of(sum(r.found for r in members), len(members))
        lines.append(
            {
                "class": kind,
                "gsd_m": gsd,
                "sun_deg": sun or None,
                "season": season or None,
                "size": size,
                "area_m2": area,
                "n": share.judged,
                "found": share.found,
                "recall": round(share.value, 3),
                "low": round(share.low, 3),
                "high": round(share.high, 3),
                "shown": sum(r.shown for r in members),
            }
        )
    parameters = Parameters()
    return {
        "measured_on": "rendered ground with rendered objects planted into it (our renderer)",
        "made_by": f"python -m benchmarks.limits --sites {sites}",
        "network_sha256": _network().weights_sha256,
        "least_confidence": {
            kind.value: parameters.least_confidence(kind) for kind in ObjectClass
        } | {"coarse": parameters.least_confidence(ObjectClass.OTHER, coarse=True)},
        "looks": {"before": 2, "after": 2, "at_10_m": COARSE_LOOKS},
        "first_seed": FIRST_SEED,
        "cells": lines,
    }  # fmt: skip


def written(content: dict[str, Any]) -> str:
    """Return the table as JSON, one cell per line, so that a new measurement reads as a diff."""
    head = {key: value for key, value in content.items() if key != "cells"}
    body = ",\n".join("    " + json.dumps(cell) for cell in content["cells"])
    return json.dumps(head, indent=2)[:-2] + ',\n  "cells": [\n' + body + "\n  ]\n}\n"


def page(content: dict[str, Any]) -> str:
    """Return the page that shows the table: recall by class, size and pixel size, then by sun and by season."""
    lines = [
        "# Detection limits, measured",
        "",
        f"Made by `{content['made_by']}`, which also writes `imagery/limits_table.json`; reports quote that table. **Objects",
        "and ground are rendered** (our own renderer, seeds used nowhere else): real sites will differ, and",
        "`depotwatch could-we-have-seen` measures the same on a site's own looks.",
        "",
        "*Listed*: by the report at its own least confidence, right class and direction, IoU 0.3 or more, from two looks before and",
        "two after in the same season and light. *Shown*: one look alone supports the class over the object.",
        f"At 10 m: {COARSE_LOOKS} looks over 18 months, any object counts as disturbed or covered ground. Banks within 15",
        "degrees of the sun's azimuth are left out: those are `poor_light` by rule. Share, 95 % interval, number of objects.",
        "",
        "What follows from it: where single looks show less than half, such a look is `too_coarse` or `poor_light` for the class and",
        'counts neither for nor against it. Where less than half is listed, a report\'s "no change" does not cover that size.',
        "",
    ]
    measured = content["cells"]
    for kind in ObjectClass:
        mine = [c for c in measured if c["class"] == kind.value]
        if mine:
            lines += [f"## {kind.value}", "", *_by_size(mine, "found"), ""]
            lit = [c for c in mine if c["sun_deg"] is not None]
            if lit:
                lines += [*_by_size(lit, "shown"), ""]
                lines += [
                    *_by_condition(lit, "sun_deg", "shown"),
                    "",
                    *_by_condition(lit, "sun_deg", "found"),
                    "",
                ]
                lines += [*_by_condition(lit, "season", "found"), ""]
    return "\n".join(lines).rstrip() + "\n"


HEADING = {"found": "listed", "shown": "shown by one look"}


def _by_size(mine: list[dict[str, Any]], by: str) -> list[str]:
    gsds = sorted({c["gsd_m"] for c in mine})
    lines = _head(f"{HEADING[by]}, by size", gsds)
    for area, size in sorted({(c["area_m2"], c["size"]) for c in mine}):
        cells = [_recall([c for c in mine if c["size"] == size and c["gsd_m"] == gsd], by) for gsd in gsds]
        lines.append(f"| {size} ({area:.0f} m²) | " + " | ".join(cells) + " |")
    return lines


def _by_condition(mine: list[dict[str, Any]], name: str, by: str) -> list[str]:
    gsds = sorted({c["gsd_m"] for c in mine})
    lines = _head(f"{HEADING[by]}, by {'height of the sun' if name == 'sun_deg' else name}", gsds)
    for value in sorted({c[name] for c in mine}):
        said = f"{value:g}°" if name == "sun_deg" else value.replace("_", ", ")
        cells = [_recall([c for c in mine if c[name] == value and c["gsd_m"] == gsd], by) for gsd in gsds]
        lines.append(f"| {said} | " + " | ".join(cells) + " |")
    return lines


def _head(title: str, gsds: Sequence[float]) -> list[str]:
    return [
        f"| {title} | " + " | ".join(f"{gsd:g} m" for gsd in gsds) + " |",
        "| --- |" + " --- |" * len(gsds),
    ]


def _recall(some: list[dict[str, Any]], by: str) -> str:
    share = share_of(sum(c[by] for c in some), sum(c["n"] for c in some))
    return f"{share.value:.2f} ({share.low:.2f}-{share.high:.2f}) of {share.judged}" if share.judged else "-"


def main() -> int:
    """Measure, and write the table and its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=3, help="places per condition")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument(
        "--gsd", default="", help="only these pixel sizes, comma separated; nothing is written"
    )
    parser.add_argument("--out", type=Path, default=TABLE)
    args = parser.parse_args()
    gsds = tuple(float(v) for v in args.gsd.split(",")) if args.gsd else (*FINE_GSD_M, COARSE_GSD_M)
    start = time.monotonic()
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        rows = [row for part in pool.map(judged_cell, cells(args.sites, gsds)) for row in part]
    content = table(rows, args.sites)
    print(page(content))
    counts = Counter(row.cell.gsd_m for row in rows)
    print(f"{len(rows)} objects {dict(counts)} in {time.monotonic() - start:.0f} s", file=sys.stderr)
    if not args.gsd:
        args.out.write_text(written(content), encoding="utf-8")
        PAGE.write_text(page(content), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
