"""Could we have seen it? Rendered objects planted into a site's own looks, and the share the detectors find.

The site is analysed once; registration and common scale come from there and are not made again. In each round objects
stand at drawn places from a drawn look on; every look is read with them in it, its evidence made as always, and the very
detectors of a report run over all. What is planted is rendered: the recall is of such objects on this site, no more.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy.special import betaincinv
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from imagery.calibration import stored_verifier
from imagery.changes import LOG_ODDS_STEP, UNSEEN, Change, Direction, LookEvidence, ObjectClass
from imagery.detection import DetectionOptions, find_changes, look_evidence
from imagery.displacement import Displacement
from imagery.errors import DepotwatchError
from imagery.grid import SiteGrid
from imagery.limits import state_of
from imagery.look import Look
from imagery.observability import ObservationState
from imagery.planting import (
    COARSE_PATTERNS,
    FINE_PATTERNS,
    SEEN_SHARE,
    Pattern,
    Planting,
    choose_places,
    free_ground,
    plant,
    tone_of,
)
from imagery.radiometry import Normalisation, apply_normalisation
from imagery.scene import Scene
from imagery.timeseries import TimeSeriesOptions, find_disturbances
from imagery.warp import read_look
from pipelines.analysis import LookSummary, Site
from pipelines.memory import look_bytes
from pipelines.parameters import COARSE_GSD_M, Parameters
from pipelines.products import ProductStore, product_key
from pipelines.progress import Progress, silent
from pipelines.runner import Runner
from pipelines.site import Finished, SceneSet, analyse_scenes
from pipelines.steps import (
    VERSIONS,
    _evidence_parts,
    _look_header,
    _network,
    aoi_mask,
    evidence_from,
    look_from,
    project,
    scene_key,
    weights_sha256,
)

STEP_VERSION = 1
LEVEL = 0.95
# An object counts as found where a claim of its class and direction shares so much of their union.
LEAST_IOU = 0.3
BERM_TOLERANCE_M = 3.0
MOST_ROUNDS = 12
# Ground a planted object needs around it, so that a round does not fill the site it is to test.
GROUND_PER_OBJECT_M2 = 2500.0


class NothingToPlantIn(DepotwatchError):
    """Fewer than two looks show the site, so nothing could appear between them."""

    code = "too-few-looks"


class BadPlanting(DepotwatchError):
    """A number of objects that cannot be meant."""

    code = "bad-planting"


@dataclass(frozen=True, slots=True)
class PlantUnit:
    """One look to be read with objects in it; those that do not stand yet at its time are left out already."""

    store: str
    scene: Scene
    grid: SiteGrid
    displacement: Displacement
    gains: tuple[tuple[str, float, float], ...]
    coarse: bool
    network: bool
    plantings: tuple[Planting, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one planted object.

    ``hidden`` is the reason why it could not be judged, None where it could. ``found``: class, direction and place right;
    ``noticed``: place and direction right, whatever it was called; ``dated``: its onset interval holds the truth.
    ``shown_in`` are looks in which it stood in full view and that look alone speaks for it, ``stood_in`` all in which
    it stood in full view.
    """

    planting: Planting
    hidden: str | None
    found: bool
    noticed: bool
    dated: bool
    confidence: float | None
    gsd_m: float
    sun_elevation_deg: float | None
    stood_in: tuple[str, ...]
    shown_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """``found`` of ``judged``, with the exact 95 % interval; NaN where nothing could be judged."""

    judged: int
    found: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself."""
        return self.found / self.judged if self.judged else math.nan


@dataclass(frozen=True, slots=True)
class PlantingReport:
    """All objects of all rounds, and what they were planted into."""

    site: str
    seed: int
    processing_version: str
    learned: bool
    looks: tuple[tuple[str, datetime, float, float | None], ...]
    objects: tuple[Judged, ...]
    rounds: int
    no_room: tuple[str, ...]
    least_confidence: tuple[tuple[str, float], ...]


def share_of(found: int, judged: int, level: float = LEVEL) -> Share:
    """Return a share with its exact interval.

    Source: C. J. Clopper, E. S. Pearson (1934), The use of confidence or fiducial limits, Biometrika 26(4), 404-413.
    """
    if judged == 0:
        return Share(0, 0, math.nan, math.nan)
    tail = (1 - level) / 2
    low = 0.0 if found == 0 else float(betaincinv(found, judged - found + 1, tail))
    high = 1.0 if found == judged else float(betaincinv(found + 1, judged - found, 1 - tail))
    return Share(judged, found, low, high)


def could_we_have_seen(
    site: Site,
    scenes: SceneSet,
    *,
    store: str,
    runner: Runner,
    period: tuple[datetime, datetime] | None = None,
    parameters: Parameters | None = None,
    each: int = 5,
    seed: int = 0,
    contrast: float = 1.0,
    patterns: Sequence[Pattern] | None = None,
    progress: Progress = silent,
) -> PlantingReport:
    """Plant objects into a site's looks and report which are found.

    Parameters
    ----------
    store : folder or URL of products; what the site's own analysis left there is used again
    each : objects of every pattern, over all rounds
    seed : of places, onsets and colours; equal seeds give equal reports
    contrast : scales what the objects do to the numbers; 0 plants nothing, to see what chance finds
    patterns : what to plant; None for what pixels of the site's size are asked for

    Raises
    ------
    NothingToPlantIn : fewer than two looks show the site
    BadPlanting : ``each`` is no number from 1 to 200
    """
    if not 1 <= each <= 200:
        raise BadPlanting(f"{each} objects of each size were asked for; give a number from 1 to 200")
    parameters = parameters or Parameters()
    finished = analyse_scenes(
        site, scenes, store=store, runner=runner, period=period, parameters=parameters, progress=progress
    )
    usable = [look for look in finished.analysis.looks if look.used and look.usable_fraction > 0]
    fine = [look for look in usable if look.scene.gsd_m <= COARSE_GSD_M]
    coarse = [look for look in usable if look.scene.gsd_m > COARSE_GSD_M]
    paths = [_Path.of(finished, looks, store, parameters) for looks in (fine, coarse) if len(looks) >= 2]
    if not paths:
        raise NothingToPlantIn(
            f"{len(usable)} of {len(finished.analysis.looks)} looks show {site.name}; two of one kind of pixel are needed"
        )
    objects: list[Judged] = []
    no_room: list[str] = []
    rounds = 0
    for path in paths:
        chosen = patterns or (COARSE_PATTERNS if path.coarse else FINE_PATTERNS)
        told, left, took = path.run(chosen, each, seed, contrast, runner, progress)
        objects, no_room, rounds = objects + told, no_room + left, rounds + took
    return PlantingReport(
        site.name,
        seed,
        finished.analysis.processing_version,
        parameters.network,
        tuple((k.scene.id, k.scene.t_utc, k.usable_fraction, k.scene.light_elevation_deg) for k in usable),
        tuple(objects),
        rounds,
        tuple(no_room),
        tuple(
            (
                f"{kind.value}, {'coarse' if path.coarse else 'fine'} pixels",
                confidence,
            )
            for path in paths
            for kind, confidence in path.least.items()
        ),
    )


def plant_look(unit: PlantUnit) -> str:
    """Read one look with objects in it, look at it as always, and return the product's key."""
    network = weights_sha256(unit.network and not unit.coarse)
    key = product_key(
        "planted",
        STEP_VERSION,
        [scene_key(unit.scene), _displacement_id(unit.displacement), network],
        {
            "grid": asdict(unit.grid),
            "gains": unit.gains,
            "coarse": unit.coarse,
            "evidence": VERSIONS["evidence"],
            "seed": unit.seed if unit.plantings else None,
            "plantings": [asdict(p) for p in unit.plantings],
        },
    )
    store = ProductStore(unit.store)
    if store.has(key):
        return key
    look = read_look(unit.scene, unit.grid, displacement=unit.displacement)
    tone = tone_of(look, unit.gains, calibrated=unit.scene.units == "reflectance")
    residual = unit.displacement.residual_m
    look = plant(
        look, unit.plantings, tone, residual_m=residual if math.isfinite(residual) else 0.0, seed=unit.seed
    )
    if unit.coarse:
        look = apply_normalisation(look, _normalisation(unit.gains))
        store.put(key, _look_header(look), {"reflectance": look.reflectance, "state": look.state})
        return key
    found = look_evidence(
        look,
        registration_residual_m=residual,
        network=_network() if unit.network else None,
        sun_elevation_deg=unit.scene.sun_elevation_deg,
    )
    header, arrays = _evidence_parts(found)
    store.put(key, {"evidence": header}, arrays)
    return key


def _displacement_id(displacement: Displacement) -> str:
    field = displacement.field
    parts = [] if field is None else [field.east_m.tobytes(), field.north_m.tobytes()]
    plain = repr((displacement.centre, displacement.east_m, displacement.north_m, displacement.linear))
    digest = hashlib.sha256(plain.encode())
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _normalisation(gains: Sequence[tuple[str, float, float]]) -> Normalisation:
    return Normalisation(
        tuple(name for name, _, _ in gains),
        tuple(gain for _, gain, _ in gains),
        tuple(offset for _, _, offset in gains),
        1.0,
        None,
        (),
    )


@dataclass(frozen=True, slots=True)
class _Path:
    """The looks of one kind of pixel, and how they are judged."""

    looks: tuple[LookSummary, ...]
    grid: SiteGrid
    inside: NDArray[np.bool_]
    coarse: bool
    store: str
    parameters: Parameters

    @classmethod
    def of(
        cls, finished: Finished, looks: Sequence[LookSummary], store: str, parameters: Parameters
    ) -> "_Path":
        grid = finished.analysis.grid
        coarse = looks[0].scene.gsd_m > COARSE_GSD_M
        if coarse:
            finest = min(look.scene.gsd_m for look in looks)
            grid = grid.coarsened(max(1, round(finest / grid.gsd_m)))
        area = project(finished.analysis.site.aoi, "EPSG:4326", grid.crs)
        return cls(tuple(looks), grid, aoi_mask(shapely.to_wkb(area), grid), coarse, store, parameters)

    @property
    def least(self) -> dict[ObjectClass, float]:
        """Return the confidence from which on the report lists changes of each class."""
        return self.parameters.listed_from((look.scene for look in self.looks), coarse=self.coarse)

    def run(
        self,
        patterns: Sequence[Pattern],
        each: int,
        seed: int,
        contrast: float,
        runner: Runner,
        progress: Progress,
    ) -> tuple[list[Judged], list[str], int]:
        """Plant round after round until all are placed; return what became of them, what found no room, and rounds."""
        step = f"{'coarse' if self.coarse else 'fine'} rounds"
        empty = self._evidence((), seed, runner)
        before = self._changes(empty)
        evidence = [] if self.coarse else [look for look in empty if isinstance(look, LookEvidence)]
        free = free_ground(evidence, self.inside, self.grid, [change.footprint for change in before])
        times = sorted({look.scene.t_utc for look in self.looks})
        most = max(1, int(self.inside.sum() * self.grid.gsd_m**2 / GROUND_PER_OBJECT_M2))
        waiting = [pattern for _ in range(each) for pattern in patterns]
        judged: list[Judged] = []
        rounds = 0
        for number in range(MOST_ROUNDS):
            progress(step, len(judged), each * len(patterns))
            rng = np.random.default_rng([seed, int(self.coarse), number])
            placed = choose_places(
                free, self.grid, waiting, times, rng, most=most, first=len(judged), contrast=contrast
            )
            if not placed:
                break
            for planting in placed:
                waiting.remove(planting.pattern)
            looks = self._evidence(placed, seed, runner)
            changes = self._changes(looks)
            judged += [self._judge(planting, looks, changes) for planting in placed]
            rounds += 1
            if not waiting:
                break
        progress(step, len(judged), len(judged))
        return judged, [pattern.name for pattern in waiting], rounds

    def _evidence(
        self, plantings: Sequence[Planting], seed: int, runner: Runner
    ) -> list[LookEvidence | Look]:
        units = [
            PlantUnit(
                self.store,
                look.scene,
                self.grid,
                _moved(look),
                look.gains,
                self.coarse,
                self.parameters.network,
                tuple(p for p in plantings if p.stands(look.scene.t_utc)),
                seed,
            )
            for look in self.looks
        ]
        products = ProductStore(self.store)
        keys = runner.map(plant_look, units, lambda _count: None, look_bytes(self.grid))
        made = [product for key in keys if (product := products.get(key)) is not None]
        return [look_from(product) if self.coarse else evidence_from(product) for product in made]

    def _changes(self, looks: Sequence[LookEvidence | Look]) -> list[Change]:
        """Return what a report would list."""
        least = self.least
        if self.coarse:
            said = TimeSeriesOptions(max_false_alarms=self.parameters.max_false_alarms)
            found = find_disturbances([look for look in looks if isinstance(look, Look)], self.inside, said)
        else:
            options = DetectionOptions(
                min_confidence=min(least.values()), max_false_alarms=self.parameters.max_false_alarms
            )
            seen = [look for look in looks if isinstance(look, LookEvidence)]
            found = find_changes(seen, self.inside, options)
        return [change for change in found.changes if change.confidence >= least[change.object_class]]

    def _judge(
        self, planting: Planting, looks: Sequence[LookEvidence | Look], changes: Sequence[Change]
    ) -> Judged:
        mask = _mask(planting.outline, self.grid)
        shares = [float(np.mean(look.state[mask] == ObservationState.OBSERVED)) for look in looks]
        after = [look for look in looks if planting.stands(look.t_utc)]
        clear = {look.scene_id for look, share in zip(looks, shares, strict=True) if share >= SEEN_SHARE}
        stood = [look for look in after if look.scene_id in clear]
        near = [
            c for c in changes if c.direction is Direction.APPEARED and _overlap(planting, c) >= LEAST_IOU
        ]
        wanted = {ObjectClass.OTHER} if self.coarse else {planting.pattern.object_class}
        own = [change for change in near if change.object_class in wanted]
        best = max(own, key=lambda c: c.confidence, default=None)
        lights = {k.scene.id: k.scene.light_elevation_deg for k in self.looks}
        suns = [elevation for s in stood if (elevation := lights[s.scene_id]) is not None]
        return Judged(
            planting,
            self._hidden(planting, looks, clear, mask),
            best is not None,
            bool(near),
            best is not None and best.onset.start <= planting.since <= best.onset.end,
            None if best is None else best.confidence,
            min(look.scene.gsd_m for look in self.looks),
            float(np.median(suns)) if suns else None,
            tuple(look.scene_id for look in stood),
            tuple(look.scene_id for look in stood if _speaks_for(look, planting, mask)),
        )

    def _hidden(
        self,
        planting: Planting,
        looks: Sequence[LookEvidence | Look],
        clear: set[str],
        mask: NDArray[np.bool_],
    ) -> str | None:
        """Return why an object could not be judged: one side of its onset was never seen, or it cannot be told."""
        kind = planting.pattern.object_class
        told = [state_of(kind, k.scene.gsd_m, k.scene.light_elevation_deg) for k in self.looks]
        if not self.coarse and ObservationState.OBSERVED not in told:
            return max(told, key=told.count).label
        for side in (True, False):
            mine = [look for look in looks if planting.stands(look.t_utc) is side]
            if not any(look.scene_id in clear for look in mine):
                states = Counter(int(v) for look in mine for v in look.state[mask])
                states.pop(int(ObservationState.OBSERVED), None)
                reason = min(states, key=lambda s: (-states[s], s)) if states else ObservationState.NODATA
                return ObservationState(reason).label
        suns = {k.scene.id: k.scene for k in self.looks}
        turn = self.grid.convergence_deg
        standing = [
            suns[look.scene_id].sun
            for look in looks
            if planting.stands(look.t_utc) and look.scene_id in clear
        ]
        turned = [sun and replace(sun, azimuth_deg=(sun.azimuth_deg - turn) % 360.0) for sun in standing]
        if turned and all(planting.along_sun(sun) for sun in turned):
            return ObservationState.POOR_LIGHT.label
        return None


def _moved(look: LookSummary) -> Displacement:
    """Return what was applied to a look when it was read; a look that was used always has one."""
    if look.displacement is None:
        raise ValueError(f"look {look.scene.id} was used without a displacement")
    return look.displacement


def _mask(outline: BaseGeometry, grid: SiteGrid) -> NDArray[np.bool_]:
    burnt = rasterize([outline], grid.shape, transform=grid.transform)
    if not burnt.any():
        burnt = rasterize([outline], grid.shape, transform=grid.transform, all_touched=True)
    return np.asarray(burnt > 0)


def _overlap(planting: Planting, change: Change) -> float:
    one, other = planting.outline, change.footprint
    if planting.pattern.object_class is ObjectClass.BERM:
        one, other = one.buffer(BERM_TOLERANCE_M), other.buffer(BERM_TOLERANCE_M)
    shared = one.intersection(other).area
    return float(shared / max(one.area + other.area - shared, 1e-9))


def _speaks_for(look: LookEvidence | Look, planting: Planting, mask: NDArray[np.bool_]) -> bool:
    """Whether a look by itself is for the object's class on half of its ground."""
    if isinstance(look, Look) or planting.pattern.object_class not in look.classes:
        return False
    values = look.log_odds[look.classes.index(planting.pattern.object_class)][mask]
    values = values[values != UNSEEN]
    even = stored_verifier().emissions[planting.pattern.object_class].zero if look.learned else 0.0
    return bool(values.size) and float(np.median(values)) * LOG_ODDS_STEP > even


# --- the report ------------------------------------------------------------------------------------------------------


def as_json(report: PlantingReport) -> dict[str, Any]:
    """Return a report as plain values: shares by class, size and look, then every object."""
    judged = [o for o in report.objects if o.hidden is None]
    return {
        "site": report.site,
        "seed": report.seed,
        "processing_version": report.processing_version,
        "learned_detector": report.learned,
        "what": "rendered objects planted into the site's own looks; recall at the report's own least confidence",
        "interval": "95 %, Clopper-Pearson",
        "rounds": report.rounds,
        "least_confidence": dict(report.least_confidence),
        "planted": len(report.objects),
        "judged": len(judged),
        "not_observable_share": round(1 - len(judged) / len(report.objects), 4) if report.objects else None,
        "no_room_for": dict(sorted(Counter(report.no_room).items())),
        "by_class": {
            kind.value: _group([o for o in report.objects if o.planting.pattern.object_class is kind])
            for kind in ObjectClass
            if any(o.planting.pattern.object_class is kind for o in report.objects)
        },
        "by_size": {
            name: _group([o for o in report.objects if o.planting.pattern.name == name])
            for name in dict.fromkeys(o.planting.pattern.name for o in report.objects)
        },
        "by_look": [_look_row(report, *look) for look in report.looks],
        "objects": [_object_row(o) for o in report.objects],
    }


def _shown(share: Share) -> dict[str, Any]:
    known = share.judged > 0
    return {
        "judged": share.judged,
        "found": share.found,
        "recall": round(share.value, 4) if known else None,
        "low": round(share.low, 4) if known else None,
        "high": round(share.high, 4) if known else None,
    }


def _group(objects: Sequence[Judged]) -> dict[str, Any]:
    judged = [o for o in objects if o.hidden is None]
    reasons = Counter(o.hidden for o in objects if o.hidden is not None)
    return {
        "planted": len(objects),
        **_shown(share_of(sum(o.found for o in judged), len(judged))),
        "found_whatever_it_was_called": sum(o.noticed for o in judged),
        "onset_right": sum(o.dated for o in judged),
        "not_observable": dict(sorted(reasons.items())),
    }


def _look_row(
    report: PlantingReport, scene_id: str, t_utc: datetime, usable: float, elevation: float | None
) -> dict[str, Any]:
    """One look: of what stood in it in full view, how much it shows by itself; and what became of what it saw first."""
    stood = [o for o in report.objects if scene_id in o.stood_in]
    first = [o for o in report.objects if o.hidden is None and o.stood_in and o.stood_in[0] == scene_id]
    shown = share_of(sum(scene_id in o.shown_in for o in stood), len(stood))
    return {
        "scene_id": scene_id,
        "datetime": t_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "usable_fraction": round(usable, 4),
        "sun_elevation_deg": None if elevation is None else round(elevation, 2),
        "stood_in_full_view": len(stood),
        "shown_by_this_look_alone": _shown(shown),
        "first_seen_here": _shown(share_of(sum(o.found for o in first), len(first))),
    }


def _object_row(judged: Judged) -> dict[str, Any]:
    planting = judged.planting
    return {
        "number": planting.number,
        "class": planting.pattern.object_class.value,
        "size": planting.pattern.name,
        "outline_m": mapping(shapely.set_precision(planting.outline, 0.01)),
        "since": planting.since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "not_observable": judged.hidden,
        "found": judged.found,
        "found_whatever_it_was_called": judged.noticed,
        "onset_right": judged.dated,
        "confidence": None if judged.confidence is None else round(judged.confidence, 4),
        "looks_in_full_view": len(judged.stood_in),
    }


def as_table(report: PlantingReport) -> str:
    """Return the report for a person: one line per size, then one per look."""
    said = as_json(report)
    sizes = list(said["by_size"])
    width = max((len(name) for name in sizes), default=4) + 2
    lines = [
        f"{report.site}: {said['planted']} rendered objects planted into {len(report.looks)} looks in {report.rounds} rounds "
        f"(seed {report.seed}); found = class, place and direction right, as a report would list it.",
        "",
        f"{'planted':<{width}} {'n':>4} {'judged':>7} {'found':>6}  recall (95 % interval)   not observable",
    ]
    for name, row in said["by_size"].items():
        lines.append(
            f"{name:<{width}} {row['planted']:>4} {row['judged']:>7} {row['found']:>6}  {_interval(row):<23}  {_reasons(row)}"
        )
    for kind, row in said["by_class"].items():
        lines.append(
            f"{'all of class ' + kind:<{width}} {row['planted']:>4} {row['judged']:>7} {row['found']:>6}  {_interval(row):<23}  {_reasons(row)}"
        )
    lines += ["", f"{'look':<40} {'seen':>5} {'sun':>5}  shown by this look alone   first seen here, found"]
    for row in said["by_look"]:
        sun = "-" if row["sun_elevation_deg"] is None else f"{row['sun_elevation_deg']:.0f}°"
        alone, first = row["shown_by_this_look_alone"], row["first_seen_here"]
        lines.append(
            f"{row['scene_id'][:40]:<40} {row['usable_fraction']:>5.0%} {sun:>5}  "
            f"{alone['found']:>3} of {alone['judged']:<3} {_interval(alone):<16} {first['found']:>3} of {first['judged']}"
        )
    if said["no_room_for"]:
        left = ", ".join(f"{count} x {name}" for name, count in said["no_room_for"].items())
        lines += ["", f"No free ground was left for: {left}."]
    if said["not_observable_share"]:
        lines += [
            "",
            f"{said['not_observable_share']:.0%} of what was planted could not be judged: not seen is not absent.",
        ]
    return "\n".join(lines)


def _interval(row: dict[str, Any]) -> str:
    return "-" if row["recall"] is None else f"{row['recall']:.2f} ({row['low']:.2f}-{row['high']:.2f})"


def _reasons(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in row["not_observable"].items()) or "-"


def to_json_text(report: PlantingReport) -> str:
    """Return a report as JSON text; equal reports give equal bytes."""
    return json.dumps(as_json(report), indent=2, ensure_ascii=False) + "\n"
