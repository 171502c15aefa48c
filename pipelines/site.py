"""One site through all steps: scenes in, one finished analysis out. The order of scenes never matters.

Looks of a pixel size at which single objects show (``COARSE_GSD_M`` and finer) go through evidence per look; coarser
ones through time-series statistics on a coarsened grid with the same corner. Both are registered to one reference.
"""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from imagery.changes import (
    Compared,
    Detection,
    DetectionLimit,
    LookEvidence,
)
from imagery.coverage import comparable_fraction, could_compare
from imagery.detection import TOO_FEW_LOOKS, DetectionOptions, find_changes
from imagery.displacement import Displacement, no_displacement
from imagery.errors import DepotwatchError
from imagery.excerpt import PixelsNotHeld
from imagery.grid import SiteGrid
from imagery.lifecycle import day_numbers
from imagery.limits import LOWEST_SUN_DEG, MOST_OBLIQUE_DEG, detection_limits
from imagery.look import Look
from imagery.observability import ObservationState
from imagery.radiometry import Normalisation, apply_normalisation
from imagery.scene import Scene
from imagery.standing import with_changes
from imagery.timeseries import TimeSeriesOptions, coarse_limits, find_disturbances
from imagery.timeseries.comparable import comparable_looks
from pipelines.analysis import Analysis, LookSummary, RasterMaker, Site, WindowReader
from pipelines.aoi import outside_scenes
from pipelines.archives import ArchiveResult, Bring, as_found, open_archive
from pipelines.archives.errors import DownloadFailed
from pipelines.fetching import fetch_pixels, fetch_surroundings
from pipelines.memory import check_room, chip_bytes, look_bytes, machine_bytes, site_bytes
from pipelines.parameters import COARSE_GSD_M, Parameters
from pipelines.products import SCRATCH, DamagedProduct, Product, ProductStore, product_key
from pipelines.progress import Progress, counter, silent
from pipelines.report import write_report
from pipelines.report.evidence import cog_bytes
from pipelines.runner import Runner, open_runner
from pipelines.site_grids import grids_of, site_grid
from pipelines.steps import (
    VERSIONS,
    ChipSummary,
    ChipUnit,
    LookOutcome,
    LookUnit,
    LostProduct,
    algorithm_sha256,
    aoi_mask,
    evidence_from,
    look_from,
    make_chip,
    make_look,
    processing_version,
    project,
    read_window,
    weights_sha256,
)
from pipelines.working_memory import WORKING_MEMORY

USABLE_STEP = 0.1
ELEVATION_STEP_DEG = 15.0
OFF_NADIR_STEP_DEG = 10.0
MIN_REFERENCE_FRACTION = 0.3
# How many scenes are tried as the reference, and from which share of the looks that could be placed one will do.
REFERENCES = 4
MIN_PLACED_SHARE = 0.4
# What light or angle keeps from being judged was placed on the ground all the same.
SHOWS_GROUND = {
    kind.label
    for kind in (ObservationState.OBSERVED, ObservationState.POOR_LIGHT, ObservationState.POOR_VIEW)
}
# How often a look that could not be placed is tried against another that was.
BRIDGES = 2
# How often products that were deleted or damaged under a run are made again before it is given up.
REPAIRS = 3

# As the detector says it of looks that show nothing.
_NOT_NO_CHANGE = "so no change could have been seen: this is not 'no change'."


class NothingToAnalyse(DepotwatchError):
    """The archive holds no scene of the AOI in the period."""

    code = "no-scenes"


class NothingReadable(DepotwatchError):
    """Scenes cover the AOI, but not one of them can be used."""

    code = "no-usable-scenes"


@dataclass(frozen=True, slots=True)
class SceneSet:
    """The scenes of one site and period, and what was refused on the way: ``(where, code, sentence)``.

    ``folders`` hold the archives, where there are several. ``bring`` gives scenes the pixels of a piece of ground.
    """

    scenes: tuple[Scene, ...]
    refused: tuple[tuple[str, str, str], ...] = ()
    folders: tuple[str, ...] = ()
    bring: Bring = as_found


@dataclass(frozen=True, slots=True)
class Finished:
    """An analysis, the way back to its pixels, and what makes rasters of them."""

    analysis: Analysis
    read_window: WindowReader
    raster: RasterMaker = cog_bytes


def reference_candidates(scenes: Sequence[Scene], chips: Sequence[ChipSummary]) -> list[int]:
    """Return the indices of the readable scenes, first the one that all others are best registered to.

    The rule: enough of the site seen; finest pixels; then most of the site seen (in tenths); then near nadir (in steps
    of 10 degrees), high sun (in steps of 15 degrees); then sharpest by half; then earliest. Unknown angles count as
    worst.
    """

    def rank(index: int) -> tuple[object, ...]:
        scene, chip = scenes[index], chips[index]
        view = 90.0 if scene.view is None else scene.view.off_nadir_deg
        light = scene.light_elevation_deg
        sun = 0.0 if light is None else light
        return (
            round(scene.gsd_m, 1),
            -int(chip.usable_fraction / USABLE_STEP),
            int(view / OFF_NADIR_STEP_DEG),
            -int(sun / ELEVATION_STEP_DEG),
            -round(2 * chip.sharpness),
            scene.t_utc,
            scene.id,
        )

    readable = [i for i, chip in enumerate(chips) if chip.error is None]
    return sorted(readable, key=lambda i: (chips[i].usable_fraction < MIN_REFERENCE_FRACTION, rank(i)))


@WORKING_MEMORY
def analyse_scenes(
    site: Site,
    found: SceneSet,
    *,
    store: str,
    runner: Runner,
    period: tuple[datetime, datetime] | None = None,
    parameters: Parameters | None = None,
    progress: Progress = silent,
    memory_bytes: int | None = None,
) -> Finished:
    """Take one site's scenes through all steps.

    Parameters
    ----------
    store : folder or URL where products are kept; what is there already is not made again
    runner : where steps run
    memory_bytes : what this process may take; None for what the machine has

    Raises
    ------
    NothingReadable : not one scene could be opened
    MemoryTooSmall : the site needs more than that; nothing was begun
    VanishedScene, StoreFailed : the archive or the store went away; what is done is kept for the next run
    """
    walk = partial(
        _through_all_steps,
        site,
        found,
        store=store,
        runner=runner,
        period=period,
        parameters=parameters or Parameters(),
        progress=progress,
        memory_bytes=machine_bytes() if memory_bytes is None else memory_bytes,
    )
    for _ in range(REPAIRS):
        try:
            return walk()
        except PixelsNotHeld:  # a scene lies further off than was searched for, or leans more
            walk = partial(walk, everywhere=True)
        except LostProduct:  # somebody collected it meanwhile: it is made again
            continue
        except DamagedProduct as error:
            ProductStore(store).delete(error.pointer)
    return walk()


def _through_all_steps(
    site: Site,
    found: SceneSet,
    *,
    store: str,
    runner: Runner,
    period: tuple[datetime, datetime] | None,
    parameters: Parameters,
    progress: Progress,
    memory_bytes: int,
    everywhere: bool = False,
) -> Finished:
    _check_room(site, found.scenes, parameters, memory_bytes)
    fetched = fetch_pixels(
        site.aoi, found.scenes, found.bring, parameters, everywhere=everywhere, progress=progress
    )
    scenes, drawn, ground = fetched.scenes, fetched.grids, fetched.ground
    grid, grids, chip_grids = drawn.site, drawn.looks, drawn.chips
    aoi = project(site.aoi, "EPSG:4326", grid.crs)
    coarse = tuple(scene.gsd_m > COARSE_GSD_M for scene in scenes)
    chips = runner.map(
        make_chip,
        [ChipUnit(store, scene, chip_grids[flag]) for scene, flag in zip(scenes, coarse, strict=True)],
        counter(progress, "chips", len(scenes)),
        max(map(chip_bytes, chip_grids.values())),
    )
    refused = [*found.refused, *fetched.refused]
    refused += [(s.id, *chip.error) for s, chip in zip(scenes, chips, strict=True) if chip.error is not None]
    if all(chip.error is not None for chip in chips):
        where, code, sentence = refused[-1]
        raise NothingReadable(f"none of {len(scenes)} scenes can be used; {where}: {code}: {sentence}")

    reference, units, outcomes = _placed(
        scenes,
        chips,
        coarse,
        grids,
        chip_grids,
        aoi,
        store=store,
        runner=runner,
        parameters=parameters,
        progress=progress,
    )
    by_scene = {unit.scene.id: outcome for unit, outcome in zip(units, outcomes, strict=True)}
    refused += [
        (unit.scene.id, *o.error) for unit, o in zip(units, outcomes, strict=True) if o.error is not None
    ]

    progress("changes", 0, 1)
    detection = _detect(ProductStore(store), units, outcomes, aoi, parameters)
    progress("changes", 1, 1)
    scenes, ground = fetch_surroundings(fetched, detection.changes, found.bring, parameters, progress)
    reader = partial(_read_window, store, _readable(scenes, by_scene))

    summaries = [
        _summary(site, scene, index == reference, by_scene.get(scene.id), chips[index])
        for index, scene in enumerate(scenes)
    ]
    analysis = Analysis(
        site,
        period,
        grid,
        tuple(summaries),
        detection,
        _processing_version(parameters),
        parameters.as_pairs(),
        _versions(parameters),
        tuple(refused),
        (*_warnings(summaries, detection), *_missing(refused)),
        found.folders,
        ground,
    )
    # What lasts for one run only has no next report.
    raster = cog_bytes if store.startswith(SCRATCH) else partial(kept_raster, ProductStore(store))
    return Finished(analysis, reader, raster)


def _check_room(site: Site, scenes: Sequence[Scene], parameters: Parameters, memory_bytes: int) -> None:
    """Refuse a site that needs more memory than there is before a byte of it is fetched."""
    drawn = grids_of(site.aoi, scenes, parameters)
    need = site_bytes(drawn.looks, drawn.chips, [scene.gsd_m > COARSE_GSD_M for scene in scenes])
    size = f"{drawn.site.rows} x {drawn.site.cols} pixels"
    check_room(f"{site.name} with {len(scenes)} looks of {size}", need, memory_bytes)


def _processing_version(parameters: Parameters) -> str:
    return processing_version(dict(parameters.as_pairs()), weights_sha256(parameters.network))


def _versions(parameters: Parameters) -> tuple[tuple[str, str], ...]:
    return (
        ("depotwatch", version("depotwatch")),
        ("algorithm", algorithm_sha256()),
        *((f"step-{step}", str(number)) for step, number in VERSIONS.items()),
        ("presence-network", weights_sha256(parameters.network)),
    )


def _placed(
    scenes: Sequence[Scene],
    chips: Sequence[ChipSummary],
    coarse: Sequence[bool],
    grids: dict[bool, SiteGrid],
    chip_grids: dict[bool, SiteGrid],
    aoi: BaseGeometry,
    *,
    store: str,
    runner: Runner,
    parameters: Parameters,
    progress: Progress,
) -> tuple[int, list[LookUnit], list[LookOutcome]]:
    """Register all looks to one reference; return its index, the looks, and what they came to.

    A reference that hardly any look can be placed on is itself the odd one (a cloud that no mask tells of has no ground
    to register to), so the next candidates are tried, and the one that places most looks is taken.
    """
    best: tuple[int, int, list[LookUnit], list[LookOutcome]] | None = None
    for reference in reference_candidates(scenes, chips)[:REFERENCES]:
        units = _units(
            scenes,
            chips,
            coarse,
            grids,
            chip_grids,
            reference,
            aoi,
            store=store,
            runner=runner,
            parameters=parameters,
        )
        need = max((look_bytes(unit.grid) for unit in units), default=0)
        outcomes = runner.map(make_look, units, counter(progress, "looks", len(units)), need)
        for _ in range(BRIDGES):
            units, outcomes = _bridge(units, outcomes, runner, chip_grids)
        seen = [_shows_ground(outcome) for outcome in outcomes]
        if best is None or sum(seen) > best[0]:
            best = (sum(seen), reference, units, outcomes)
        hoped = sum(chip.usable_fraction >= MIN_REFERENCE_FRACTION for chip in chips if chip.error is None)
        if sum(seen) >= min(hoped, max(2, MIN_PLACED_SHARE * hoped)):
            break
    assert best is not None  # there is a readable scene
    return best[1:]


def _shows_ground(outcome: LookOutcome) -> bool:
    return outcome.product is not None and any(name in SHOWS_GROUND for name, _ in outcome.fractions)


def _units(
    scenes: Sequence[Scene],
    chips: Sequence[ChipSummary],
    coarse: Sequence[bool],
    grids: dict[bool, SiteGrid],
    chip_grids: dict[bool, SiteGrid],
    reference: int,
    aoi: BaseGeometry,
    *,
    store: str,
    runner: Runner,
    parameters: Parameters,
) -> list[LookUnit]:
    """Pair every readable scene with the reference's chip at the scene's own kind of pixel."""
    reference_chips = {coarse[reference]: chips[reference].key}
    for flag in set(coarse) - {coarse[reference]}:
        made = runner.map(
            make_chip, [ChipUnit(store, scenes[reference], chip_grids[flag])], lambda _count: None
        )
        reference_chips[flag] = made[0].key
    return [
        LookUnit(
            store,
            scene,
            chip.key,
            grids[flag],
            shapely.to_wkb(aoi),
            scenes[reference],
            reference_chips[flag],
            parameters.search_m(grids[flag].gsd_m),
            flag,
            parameters.network,
        )
        for scene, chip, flag in zip(scenes, chips, coarse, strict=True)
        if chip.error is None
    ]


def _bridge(
    units: list[LookUnit],
    outcomes: list[LookOutcome],
    runner: Runner,
    chip_grids: dict[bool, SiteGrid],
) -> tuple[list[LookUnit], list[LookOutcome]]:
    """Try looks that could not be placed again, against the registered look that resembles them most by season.

    A snow scene may not match a summer reference and yet match another winter look that does. The bridge's chip is
    read with its displacement, so what is found is a displacement against the reference itself.
    """
    placed = [(u, o) for u, o in zip(units, outcomes, strict=True) if o.product is not None]
    again: dict[int, LookUnit] = {}
    chips: dict[tuple[str, bool], ChipUnit] = {}
    for index, (unit, outcome) in enumerate(zip(units, outcomes, strict=True)):
        if outcome.error is not None or outcome.product is not None:
            continue
        tried = {unit.reference.id, unit.through}
        candidates = [(u, o) for u, o in placed if u.coarse is unit.coarse and u.scene.id not in tried]
        if candidates:
            bridge, via = min(candidates, key=lambda pair: _season_distance(pair[0].scene, unit.scene))
            chips[bridge.scene.id, unit.coarse] = ChipUnit(
                unit.store, bridge.scene, chip_grids[unit.coarse], via.displacement
            )
            again[index] = replace(unit, through=bridge.scene.id)
    chip_need = max(map(chip_bytes, chip_grids.values()))
    bridges = runner.map(make_chip, list(chips.values()), lambda _count: None, chip_need)
    made = dict(zip(chips, bridges, strict=True))
    for index, unit in again.items():
        again[index] = replace(unit, reference_chip=made[str(unit.through), unit.coarse].key)
    need = max((look_bytes(unit.grid) for unit in again.values()), default=0)
    found = runner.map(make_look, list(again.values()), lambda _count: None, need)
    units, outcomes = list(units), list(outcomes)
    for index, outcome in zip(again, found, strict=True):
        units[index] = again[index]
        if outcome.product is not None:
            outcomes[index] = outcome
    return units, outcomes


def _season_distance(one: Scene, other: Scene) -> tuple[float, float, str]:
    apart = abs(one.t_utc.timetuple().tm_yday - other.t_utc.timetuple().tm_yday)
    return (min(apart, 365 - apart), abs((one.t_utc - other.t_utc).total_seconds()), one.id)


@dataclass(frozen=True, slots=True)
class _Readable:
    """A scene with what is applied when its pixels are read again."""

    scene: Scene
    displacement: Displacement
    gains: tuple[tuple[str, float, float], ...]


def _readable(scenes: Sequence[Scene], outcomes: dict[str, LookOutcome]) -> dict[str, _Readable]:
    return {
        scene.id: _Readable(scene, outcomes[scene.id].displacement, outcomes[scene.id].gains)
        for scene in scenes
        if scene.id in outcomes and outcomes[scene.id].product is not None
    }


def _read_window(store: str, readable: dict[str, _Readable], scene_id: str, grid: SiteGrid) -> Look:
    """Read one look on a window, registered, on the site's common radiometric scale."""
    entry = readable[scene_id]
    look = read_window(ChipUnit(store, entry.scene, grid, entry.displacement))
    bands = tuple(name for name, _, _ in entry.gains)
    gains = tuple(gain for _, gain, _ in entry.gains)
    offsets = tuple(offset for _, _, offset in entry.gains)
    return apply_normalisation(look, Normalisation(bands, gains, offsets, 1.0, None, ()))


def kept_raster(store: ProductStore, look: Look, processing_version: str) -> bytes:
    """Return a look's window as ``cog_bytes`` does, kept for the next report: most of its changes are those of the last."""
    pixels = hashlib.sha256(look.reflectance.tobytes()).hexdigest()
    written = {"grid": asdict(look.grid), "bands": look.bands, "scene": look.scene_id, "t_utc": look.t_utc}
    maker = [processing_version, rasterio.__gdal_version__]
    key = product_key("raster", VERSIONS["raster"], [pixels, *maker], written)
    try:
        product = store.get(key)
        if product is not None:
            return product.arrays["file"].tobytes()
    except DamagedProduct:
        store.delete(key)
    file = cog_bytes(look, processing_version)
    store.put(key, {}, {"file": np.frombuffer(file, np.uint8)})
    return file


def _detect(
    store: ProductStore,
    units: Sequence[LookUnit],
    outcomes: Sequence[LookOutcome],
    aoi: BaseGeometry,
    parameters: Parameters,
) -> Detection:
    """Run the two paths over the looks that belong to each and put what they found together."""
    parts: list[Detection] = []
    for flag in (False, True):
        mine = [
            (u, o) for u, o in zip(units, outcomes, strict=True) if u.coarse is flag and o.product is not None
        ]
        if not mine:
            continue
        least = parameters.listed_from((unit.scene for unit, _ in mine), coarse=flag)
        inside = aoi_mask(shapely.to_wkb(aoi), mine[0][0].grid)
        products = [_kept(store, outcome.product) for _, outcome in mine if outcome.product is not None]
        if flag:
            looks = [look_from(product) for product in products]
            series = TimeSeriesOptions(max_false_alarms=parameters.max_false_alarms)
            found = find_disturbances(looks, inside, series)
            compared = _compared(comparable_looks(looks).looks, inside, series.apart_days)
        else:
            seen = [evidence_from(product) for product in products]
            options = DetectionOptions(
                min_confidence=min(least.values()), max_false_alarms=parameters.max_false_alarms
            )
            standing = [row for _, outcome in sorted(mine, key=_when) for row in outcome.standing]
            found = find_changes(seen, inside, options, standing)
            compared = _compared(seen, inside, options.lifecycle.dependence_days)
        kept = tuple(change for change in found.changes if change.confidence >= least[change.object_class])
        told = with_changes(found.standing, kept)  # what the report lists, and nothing it leaves out
        parts.append(replace(found, changes=kept, standing=told, compared=(compared,)))
    if not parts:  # not one look could be placed: what its pixels would have shown is told all the same
        return Detection((), (), pixel_limits([unit.scene.gsd_m for unit in units]))
    return _together(parts)


def _compared(
    looks: Sequence[Look] | Sequence[LookEvidence], inside: NDArray[np.bool_], apart_days: float
) -> Compared:
    """Measure how much of the site the looks of one path could compare."""
    days = day_numbers([look.t_utc for look in looks])
    fraction = comparable_fraction([look.state for look in looks], days, inside, apart_days)
    return Compared(min(look.gsd_m for look in looks), fraction)


def _together(parts: Sequence[Detection]) -> Detection:
    """Put what the paths found together; one that compared nothing shows no limit of what would have been found."""
    able = [part for part in parts if could_compare(part)] or parts
    said = ("The finer looks alone: ", "The coarser looks alone: ") if len(parts) > 1 else ("",)
    return Detection(
        tuple(change for part in parts for change in part.changes),
        tuple(row for part in parts for row in part.standing),
        tuple(limit for part in able for limit in part.limits),
        tuple(whose + warning for whose, part in zip(said, parts, strict=True) for warning in part.warnings),
        tuple(compared for part in parts for compared in part.compared),
    )


def pixel_limits(gsds_m: Sequence[float]) -> tuple[DetectionLimit, ...]:
    """Return what looks of such pixels would have shown: per size where objects show, at the coarsest where none does."""
    fine = [limit for gsd in sorted(set(gsds_m)) if gsd <= COARSE_GSD_M for limit in detection_limits(gsd)]
    coarse = [gsd for gsd in gsds_m if gsd > COARSE_GSD_M]
    return (*fine, *(coarse_limits(max(coarse)) if coarse else ()))


def _kept(store: ProductStore, key: str) -> Product:
    """Return a product that was just made: a look that silently drops out would be a look that nobody misses."""
    product = store.get(key)
    if product is None:
        raise LostProduct(f"product {key} was deleted while it was needed; run again", pointer=key)
    return product


def _when(one: tuple[LookUnit, LookOutcome]) -> tuple[datetime, str]:
    return one[0].scene.t_utc, one[0].scene.id


def _summary(
    site: Site, scene: Scene, reference: bool, outcome: LookOutcome | None, chip: ChipSummary
) -> LookSummary:
    footprint = shapely.from_wkt(scene.footprint).intersection(site.aoi)
    if outcome is None or outcome.error is not None:
        error = chip.error or (outcome.error if outcome else None) or ("unknown", "")
        return LookSummary(scene, footprint, reference, False, None, 0.0, (), (), (*scene.notes, error[1]))
    displacement = outcome.displacement
    if reference:
        displacement = replace(
            no_displacement(displacement.centre, "reference"), quality=displacement.quality
        )
    fractions = outcome.fractions
    usable = dict(fractions).get("observed", 0.0)
    return LookSummary(
        scene,
        footprint,
        reference,
        outcome.product is not None,
        displacement,
        usable,
        fractions,
        outcome.gains,
        tuple(dict.fromkeys((*scene.notes, *outcome.notes))),
    )


CONDITIONS = {
    ObservationState.POOR_LIGHT: f"with the sun less than {LOWEST_SUN_DEG:g} degrees high",
    ObservationState.POOR_VIEW: f"more than {MOST_OBLIQUE_DEG:g} degrees from straight down",
}


def _warnings(looks: Sequence[LookSummary], detection: Detection) -> tuple[str, ...]:
    """Say what a reader must know before reading on."""
    warnings: list[str] = []
    used = [look for look in looks if look.used and look.usable_fraction > 0]
    if len(used) == 0:
        warnings.append(f"No look shows any of the site, {_NOT_NO_CHANGE}")
    elif len(used) == 1:
        warnings.append(f"Only one look shows the site: nothing can be compared, {_NOT_NO_CHANGE}")
    elif not could_compare(detection) and not detection.changes:
        warnings.append(
            f"No part of the site was seen on two independent dates by looks that can be compared, {_NOT_NO_CHANGE}"
        )
    blind = bool(warnings)  # the detector's own word for it need not follow
    lost = [look for look in looks if look.displacement is not None and not look.displacement.registered]
    if lost:
        names = ", ".join(look.scene.id for look in lost[:5]) + (" and others" if len(lost) > 5 else "")
        warnings.append(
            f"{len(lost)} of {len(looks)} looks could not be registered and {'was' if len(lost) == 1 else 'were'} not used: {names}."
        )
    for reason, taken in CONDITIONS.items():
        if poor := [look for look in looks if reason.label in dict(look.fractions)]:
            warnings.append(
                f"{len(poor)} of {len(looks)} looks {'was' if len(poor) == 1 else 'were'} taken {taken}: nothing was "
                "measured of what such looks show, so they speak neither for nor against a change."
            )
    guessed = [look for look in looks if any("guessed" in note for note in look.notes)]
    if guessed:
        warnings.append(
            f"{len(guessed)} of {len(looks)} looks came without a cloud mask for all they show: it was guessed there."
        )
    doubtful = [look for look in used if any("TIFFTAG_DATETIME" in note for note in look.notes)]
    if doubtful:
        warnings.append(
            f"{len(doubtful)} of {len(looks)} looks {'is' if len(doubtful) == 1 else 'are'} dated by a tag that tells when the file was "
            "written, which may be long after it was taken: give the dates in scenes.csv before any of them is published."
        )
    no_sun = [look for look in looks if look.scene.sun is None]
    if no_sun:
        lacked = (
            "the sun's azimuth"
            if all(look.scene.sun_elevation_deg is not None for look in no_sun)
            else "sun angles"
        )
        warnings.append(
            f"{len(no_sun)} of {len(looks)} looks came without {lacked}: shadows could not speak for or against."
        )
    return (
        *warnings,
        *(warning for warning in detection.warnings if not (blind and warning == TOO_FEW_LOOKS)),
    )


def _missing(refused: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    """Say that scenes are missing for no fault of theirs, so that the next run may have more to say."""
    count = len({where for where, code, _ in refused if code == DownloadFailed.code})
    if not count:
        return ()
    return (
        f"{count} {'scene' if count == 1 else 'scenes'} did not come from {'its' if count == 1 else 'their'} server and "
        f"{'is' if count == 1 else 'are'} not in this report: analyse again later to ask for {'it' if count == 1 else 'them'}.",
    )


@WORKING_MEMORY
def analyse(
    *,
    catalog: str,
    site: Site,
    out: Path,
    period: tuple[datetime, datetime] | None = None,
    parameters: Parameters | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    store: str | None = None,
    allow_hosts: frozenset[str] = frozenset(),
    progress: Progress = silent,
    nothing_is_an_error: bool = True,
    memory_bytes: int | None = None,
) -> Analysis:
    """Run the whole job once and write the report's files into ``out``; ``memory_bytes`` as of ``analyse_scenes``.

    Raises
    ------
    NothingToAnalyse : no scene of the site at any time, unless ``nothing_is_an_error`` is False
    DepotwatchError : whatever else makes the input unusable; ``out`` is then untouched
    """
    progress("search", 0, 1)
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="depotwatch-"))
        place = store or folder
        downloads = Path(folder if "://" in place else place) / "downloads"
        archive = open_archive(catalog, cache=downloads, allow_hosts=allow_hosts)
        result = archive.search(site.aoi, period)
        refused = tuple((r.where, r.code, r.sentence) for r in result.refused)
        found = SceneSet(result.scenes, refused, bring=result.bring)
        progress("search", 1, 1)
        if not found.scenes:
            # An archive of the site that is silent in the period is no mistake: nothing was seen, and the report says so.
            # Nor is one that is refused in passing: without it the answer would be the same, and the report names it.
            ever = result if period is None else archive.search(site.aoi)
            if nothing_is_an_error and not ever.scenes:
                raise _nothing(catalog, site, replace(result, elsewhere=ever.elsewhere), period)
            finished = _empty(site, found, period, parameters or Parameters())
        else:
            runner = stack.enter_context(open_runner(workers, scheduler))
            finished = analyse_scenes(
                site,
                found,
                store=store or SCRATCH + folder,
                runner=runner,
                period=period,
                parameters=parameters,
                progress=progress,
                memory_bytes=memory_bytes,
            )
        progress("report", 0, 1)
        write_report(finished.analysis, finished.read_window, out, finished.raster)
        progress("report", 1, 1)
    return finished.analysis


def _nothing(
    catalog: str, site: Site, result: ArchiveResult, period: tuple[datetime, datetime] | None
) -> DepotwatchError:
    if result.refused:
        first = result.refused[0]
        more = f" ({len(result.refused)} refused in all)" if len(result.refused) > 1 else ""
        return NothingReadable(
            f"no scene of {catalog} can be used; {first.where}: {first.code}: {first.sentence}{more}"
        )
    if result.elsewhere:
        return outside_scenes(site.aoi, list(result.elsewhere))
    when = "" if period is None else f" between {period[0].date()} and {period[1].date()}"
    return NothingToAnalyse(
        f"{catalog} holds no scene of the site{when}; check the AOI's coordinates (longitude first) and the period"
    )


def _empty(
    site: Site, found: SceneSet, period: tuple[datetime, datetime] | None, parameters: Parameters
) -> Finished:
    """Say of a site without scenes that it could not be observed."""
    grid = site_grid(site.aoi, found.scenes, parameters.gsd_m)
    when = "" if period is None else " in the period"
    analysis = Analysis(
        site,
        period,
        grid,
        (),
        Detection((), (), pixel_limits([grid.gsd_m])),
        _processing_version(parameters),
        parameters.as_pairs(),
        _versions(parameters),
        found.refused,
        (f"The archive holds no usable scene of this site{when}, {_NOT_NO_CHANGE}", *_missing(found.refused)),
    )

    def read_nothing(scene_id: str, _grid: SiteGrid) -> Look:
        raise KeyError(scene_id)

    return Finished(analysis, read_nothing)
