"""Rendered objects planted into real pairs: ``python -m benchmarks.planted_real --real ../shared/data/real``.

Ground, clutter, season and sensor are real; only the objects are rendered (``imagery.planting``). The pairs are those at
0.5 m (LEVIR, xBD, the pytorch demo), taken as two looks or, with small disturbances, as three looks before and three after;
objects appear or go between the two photographs; the sun is given or not. Detection runs on the looks as they are, with the
registration error that is left put in by hand. What is claimed with nothing planted counts as false; in the series of
photographs repeated, whatever stands in one of the two stands in three looks, so those numbers are upper bounds.
"""

import argparse
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from benchmarks.scoring import overlap
from imagery.changes import Change, Direction, LookEvidence, ObjectClass
from imagery.detection import DetectionOptions, find_changes, look_evidence
from imagery.evidence.network import PresenceNetwork
from imagery.grid import SiteGrid
from imagery.look import Look
from imagery.planting import FINE_PATTERNS, Planting, choose_places, free_ground, plant, tone_of
from imagery.scene import Sun
from pipelines.parameters import Parameters

GSD_M, RESIDUAL_M, EDGE_M = 0.5, 0.15, 8.0
LEAST_IOU = 0.25
GROUND_PER_OBJECT_M2 = 4000.0
FIRST, APART = datetime(2023, 3, 1, tzinfo=UTC), timedelta(days=60)
Picture = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Case:
    """A pair of photographs and how it is used."""

    name: str
    before: Path
    after: Path
    series: bool
    sun_known: bool
    removed: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case: (pattern, class, reported) per object, classes claimed with nothing planted, km2."""

    case: Case
    objects: tuple[tuple[str, str, bool], ...]
    false: tuple[str, ...]
    km2: float


def cases(real: Path) -> Iterator[Case]:
    """Yield every pair in every use."""
    demo, xbd, levir = (
        real / n for n in ("pytorch_change_models_demo", "xbd_hurricane_matthew", "levir_cd_samples")
    )
    storm = "hurricane-matthew_00000010_{}_disaster.png"
    pairs = [("demo", demo / "t1_img.png", demo / "t2_img.png")]
    pairs += [("xbd", xbd / storm.format("pre"), xbd / storm.format("post"))]
    pairs += [("levir " + p.stem, p, levir / "B" / p.name) for p in sorted((levir / "A").iterdir())]
    for (name, before, after), series, sun_known, removed in product(pairs, *[(False, True)] * 3):
        yield Case(name, before, after, series, sun_known, removed)


def looks_of(case: Case) -> list[Look]:
    """Return the case's looks, in time order, without objects; the sun is where a draw puts it."""
    rng = np.random.default_rng(zlib.crc32(repr((case.name, case.series, case.removed)).encode()))
    pictures = [_read(case.before), _read(case.after)]
    looks = []
    for number, which in enumerate((0, 0, 0, 1, 1, 1) if case.series else (0, 1)):
        image = pictures[which]
        if case.series:
            image = image * rng.uniform(0.9, 1.1) + rng.normal(0, 0.01, image.shape)
            blur, shift = rng.uniform(0.01, 0.5), rng.normal(0, 0.15, 2)
            image = np.stack([ndimage.gaussian_filter(band, blur) for band in image])
            image = ndimage.shift(image, (0, *shift), order=1, mode="nearest")
        rows, cols = image.shape[1:]
        looks.append(
            Look(
                f"R{number}", FIRST + number * APART, SiteGrid(32633, 500_000.0, 5_500_000.0, GSD_M, rows, cols),
                ("red", "green", "blue"), image.astype(np.float32), np.zeros((rows, cols), np.uint8), GSD_M,
                Sun(float(rng.uniform(100, 260)), float(rng.uniform(25, 60))), None,
            )
        )  # fmt: skip
    return looks


def _read(path: Path) -> Picture:
    return np.moveaxis(np.asarray(Image.open(path).convert("RGB"), np.float32), -1, 0) / np.float32(255)


def run(case: Case) -> Outcome:
    """Look at a case bare and with objects planted."""
    looks = looks_of(case)
    grid = looks[0].grid
    inside = np.ones(grid.shape, bool)
    edge = round(EDGE_M / GSD_M)
    inside[:edge], inside[-edge:], inside[:, :edge], inside[:, -edge:] = False, False, False, False
    bare = _evidence(case, looks)
    since = looks[len(looks) // 2].t_utc - APART / 2
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    patterns = [FINE_PATTERNS[k] for k in rng.permutation(len(FINE_PATTERNS))] * 2
    ends = [looks[0].t_utc, looks[-1].t_utc]
    most = max(3, int(inside.sum() * GSD_M**2 / GROUND_PER_OBJECT_M2))
    plantings = choose_places(free_ground(bare, inside, grid, []), grid, patterns, ends, rng, most=most)
    plantings = tuple(replace(planting, since=since) for planting in plantings)
    planted = [_with(look, plantings, since, removed=case.removed) for look in looks]
    wanted = Direction.REMOVED if case.removed else Direction.APPEARED
    claims = [c for c in _listed(case, _evidence(case, planted), inside) if c.direction is wanted]
    objects = tuple(
        (p.pattern.name, str(p.pattern.object_class), any(_is(p, claim) for claim in claims))
        for p in plantings
    )
    false = tuple(str(c.object_class) for c in _listed(case, bare, inside))
    return Outcome(case, objects, false, grid.area_km2)


def _evidence(case: Case, looks: Sequence[Look]) -> list[LookEvidence]:
    network = PresenceNetwork.load()
    return [
        look_evidence(
            look if case.sun_known else replace(look, sun=None),
            registration_residual_m=RESIDUAL_M,
            network=network,
        )
        for look in looks
    ]


def _with(look: Look, plantings: Sequence[Planting], since: datetime, *, removed: bool) -> Look:
    """Plant what stands at the look's time: all from ``since`` on, or all until then."""
    stands = (look.t_utc > since) != removed
    there = replace(look, t_utc=since + APART if stands else since - APART)
    made = plant(there, plantings, tone_of(look, [], calibrated=False), residual_m=RESIDUAL_M)
    return replace(made, t_utc=look.t_utc)


def _listed(case: Case, evidence: Sequence[LookEvidence], inside: NDArray[np.bool_]) -> list[Change]:
    """Return containers and banks that a report would list."""
    least = {kind: Parameters().least_confidence(kind, sunless=not case.sun_known) for kind in ObjectClass}
    options = DetectionOptions(min_confidence=min(least.values()), keep_to_limits=False)
    found = find_changes(evidence, inside, options).changes
    return [
        c for c in found if c.object_class is not ObjectClass.OTHER and c.confidence >= least[c.object_class]
    ]


def _is(planting: Planting, claim: Change) -> bool:
    kind = planting.pattern.object_class
    return claim.object_class is kind and overlap(claim.footprint, planting.outline, str(kind)) >= LEAST_IOU


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the shares reported and the false claims per km2, by use."""
    lines = ["use              object                            n  reported"]
    for series, sun_known in product((False, True), repeat=2):
        mine = [o for o in outcomes if (o.case.series, o.case.sun_known) == (series, sun_known)]
        use = f"{'series' if series else 'pair'}, {'sun' if sun_known else 'no sun'}"
        for pattern in FINE_PATTERNS:
            told = [seen for o in mine for name, _, seen in o.objects if name == pattern.name]
            if told:
                lines.append(f"{use:16} {pattern.name:32} {len(told):3} {np.mean(told):8.2f}")
        km2 = sum(o.km2 for o in mine)
        for kind in ("container", "berm"):
            false = sum(name == kind for o in mine for name in o.false)
            lines.append(f"{use:16} false {kind}s per km2, {km2:.2f} km2: {false / km2:.2f}")
    for kind in ("container", "berm"):
        told = [seen for o in outcomes for _, name, seen in o.objects if name == kind]
        lines.append(f"all              {kind:32} {len(told):3} {np.mean(told):8.2f}")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, required=True, help="the folder ../shared/data/real")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers) as pool:
        print(table(list(pool.map(run, cases(args.real)))))


if __name__ == "__main__":
    main()
