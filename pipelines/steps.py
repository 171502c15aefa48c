"""The declared steps of one scene on one site: chip, displacement, evidence, window.

Each is a module-level function of one picklable unit, reads and writes products, and has no other effects; a runner
may call it in any process, twice, or not at all where its product is there already.

A step's version below is part of its product's key: change what a step computes and raise it.
``tests/pipelines/test_golden.py`` fails when a step's numbers move and its version does not.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from datetime import datetime
from functools import lru_cache, reduce
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from imagery.changes import Estimate, LookEvidence, ObjectClass, Standing
from imagery.detection import DetectionOptions, look_evidence
from imagery.displacement import Displacement, DisplacementField, RegistrationState
from imagery.errors import DepotwatchError, UnreadableRaster
from imagery.evidence.network import PresenceNetwork
from imagery.evidence.network import weights_sha256 as network_weights_sha256
from imagery.excerpt import PixelsNotHeld
from imagery.grid import SiteGrid, transformer
from imagery.illumination import Sun, View
from imagery.limits import conditions_state
from imagery.look import Look
from imagery.observability import ObservationState
from imagery.radiometry import (
    Normalisation,
    NormalisationOptions,
    WholeSiteChange,
    WholeSiteKind,
    Yardstick,
    apply_normalisation,
    normalise,
)
from imagery.registration import Reference, estimate_displacement
from imagery.scene import Scene
from imagery.standing import standing_in
from imagery.warp import read_look
from pipelines.products import DamagedProduct, Product, ProductStore, StoreFailed, product_key
from pipelines.working_memory import WORKING_MEMORY

VERSIONS = {"chip": 4, "displacement": 3, "evidence": 12, "look": 7, "raster": 1, "standing": 1, "window": 3}
"""Step name to step version."""

# Windows up to so many pixels are kept: what an event's pictures need, not whole looks.
KEPT_WINDOW_PX = 2**18

# Enough pixels to fit a gain on, few enough to cost nothing beside the reading.
NORMALISATION_PX = 400_000


class LostProduct(DepotwatchError):
    """A product that a step had just been told of is gone."""

    code = "lost-product"


class VanishedScene(DepotwatchError):
    """A scene's file was there when its archive was searched and is not there for the process that reads it."""

    code = "vanished-scene"


# No fault of one scene: to leave the scene out and go on would tell of a site what nobody looked at.
NOT_THE_SCENES_FAULT = (LostProduct, VanishedScene, DamagedProduct, StoreFailed, PixelsNotHeld)


@dataclass(frozen=True, slots=True)
class ChipUnit:
    """One scene to be read on a grid: as it claims to lie, or moved by ``displacement``."""

    store: str
    scene: Scene
    grid: SiteGrid
    displacement: Displacement | None = None


@dataclass(frozen=True, slots=True)
class ChipSummary:
    """What the choice of the reference needs to know of a chip; ``error`` is (code, sentence) where it failed."""

    key: str
    usable_fraction: float
    sharpness: float
    error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class LookUnit:
    """One scene to be registered, read, normalised and looked at.

    ``reference_chip`` is the product key of the chip to register to: the reference's, or one already registered to it
    (``through`` then names that scene). ``reference`` is the reference scene itself; ``aoi`` is WKB in the grid's CRS.
    ``coarse`` looks keep their pixels for the time-series path instead of evidence.
    """

    store: str
    scene: Scene
    chip: str
    grid: SiteGrid
    aoi: bytes
    reference: Scene
    reference_chip: str
    max_shift_m: float
    coarse: bool
    network: bool
    through: str | None = None


@dataclass(frozen=True, slots=True)
class LookOutcome:
    """What one look came to.

    ``product`` is the evidence or look product's key, None where it cannot be used; ``standing`` what evidence shows to
    stand, no change counted.
    """

    displacement: Displacement
    product: str | None
    fractions: tuple[tuple[str, float], ...]
    gains: tuple[tuple[str, float, float], ...]
    notes: tuple[str, ...]
    error: tuple[str, str] | None = None
    standing: tuple[Standing, ...] = ()


@lru_cache(maxsize=4096)
def scene_key(scene: Scene) -> str:
    """Name a scene by its bytes and by what its metadata says of them, never by where it lies."""
    hashes = dict(scene.sha256)
    facts = _fields(scene)
    del facts["parts"]  # where they lie; what of a file they are is in its hash
    if scene.off_nadir_deg is None:  # products of scenes that are described as ever keep their names
        del facts["off_nadir_deg"]
    if scene.sun_elevation_deg is None:
        del facts["sun_elevation_deg"]
    facts["bands"] = [_fields(band) | {"path": hashes.get(band.path, band.path)} for band in scene.bands]
    if scene.mask:
        facts["mask"] = _fields(scene.mask) | {"path": hashes.get(scene.mask.path, scene.mask.path)}
    facts["sha256"] = sorted(hashes.values())
    text = json.dumps(facts, sort_keys=True, default=_fields_or_text)
    return hashlib.sha256(text.encode()).hexdigest()


def _fields(value: Any) -> dict[str, Any]:
    """Return a value's fields as they are: ``asdict`` copies all that they hold, which takes longer than to hash it."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _fields_or_text(value: object) -> object:
    return _fields(value) if is_dataclass(value) else str(value)


def registration_bands(scene: Scene) -> tuple[str, ...]:
    """Return the one band a scene is registered by: soil and roofs differ most in red; pan where there is one."""
    for name in ("pan", "red", "green"):
        if name in scene.band_names:
            return (name,)
    return scene.band_names[:1]


def read_scene(
    scene: Scene,
    grid: SiteGrid,
    *,
    displacement: Displacement | None = None,
    bands: tuple[str, ...] | None = None,
) -> Look:
    """Read one scene onto a grid, see ``imagery.warp.read_look``, and tell a bad scene from an archive that is gone.

    Raises
    ------
    VanishedScene : a file that was there when the archive was searched is not
    """
    try:
        return read_look(scene, grid, displacement=displacement, bands=bands, pixels=WORKING_MEMORY.pixels)
    except UnreadableRaster as error:
        if gone := [path for path in scene.paths if not Path(path).is_file()]:
            raise VanishedScene(
                f"scene {scene.id}: {gone[0]} was there when its archive was searched and is gone; bring the archive "
                "back, where every worker sees it, and run again: what is done is kept",
                pointer=scene.id,
            ) from error
        raise


@lru_cache(maxsize=4)
def aoi_mask(aoi: bytes, grid: SiteGrid) -> NDArray[np.bool_]:
    """Return (row, col), True for pixels whose centre lies in the AOI (WKB in the grid's CRS)."""
    inside: NDArray[np.bool_] = geometry_mask(
        [shapely.from_wkb(aoi)], grid.shape, grid.transform, all_touched=False, invert=True
    )
    if not inside.any():  # smaller than a pixel: the pixel it touches
        inside = geometry_mask(
            [shapely.from_wkb(aoi)], grid.shape, grid.transform, all_touched=True, invert=True
        )
    inside.flags.writeable = False  # all looks of a site share it
    return inside


def project(geometry: shapely.Geometry, source: str, target: str) -> shapely.Geometry:
    """Reproject a geometry, x/y order."""
    convert = transformer(source, target).transform
    moved: shapely.Geometry = shapely.transform(
        geometry, lambda xy: np.column_stack(convert(xy[:, 0], xy[:, 1]))
    )
    return moved


@lru_cache(maxsize=4)
def _store(place: str) -> ProductStore:
    """Open a store for the steps of all scenes: to open it takes as long as to read from it."""
    return ProductStore(place)


# --- look and displacement as products ------------------------------------------------------------------------------


def _look_header(look: Look) -> dict[str, Any]:
    return {
        "scene_id": look.scene_id,
        "t_utc": look.t_utc.isoformat(),
        "grid": asdict(look.grid),
        "bands": list(look.bands),
        "gsd_m": look.gsd_m,
        "sun": None if look.sun is None else asdict(look.sun),
        "view": None if look.view is None else asdict(look.view),
        "notes": list(look.notes),
    }


def look_from(product: Product) -> Look:
    """Read a look product back."""
    head = product.header
    return Look(
        head["scene_id"],
        datetime.fromisoformat(head["t_utc"]),
        SiteGrid(**head["grid"]),
        tuple(head["bands"]),
        product.arrays["reflectance"],
        product.arrays["state"],
        head["gsd_m"],
        None if head["sun"] is None else Sun(**head["sun"]),
        None if head["view"] is None else View(**head["view"]),
        tuple(head["notes"]),
    )


def _displacement_header(displacement: Displacement) -> dict[str, Any]:
    field = displacement.field
    return {
        "centre": displacement.centre,
        "east_m": displacement.east_m,
        "north_m": displacement.north_m,
        "linear": displacement.linear,
        "field": None if field is None else {"origin": field.origin, "step_m": field.step_m},
        "state": displacement.state.value,
        "quality": displacement.quality,
        "residual_m": displacement.residual_m,
        "windows_used": displacement.windows_used,
        "reasons": displacement.reasons,
    }


def displacement_from(product: Product) -> Displacement:
    """Read a displacement product back."""
    head = product.header
    field = None
    if head["field"] is not None:
        field = DisplacementField(
            tuple(head["field"]["origin"]),
            head["field"]["step_m"],
            product.arrays["field_east_m"],
            product.arrays["field_north_m"],
        )
    (a, b), (c, d) = head["linear"]
    return Displacement(
        tuple(head["centre"]),
        head["east_m"],
        head["north_m"],
        ((a, b), (c, d)),
        field,
        RegistrationState(head["state"]),
        head["quality"],
        head["residual_m"],
        head["windows_used"],
        tuple(head["reasons"]),
    )


def evidence_from(product: Product) -> LookEvidence:
    """Read an evidence product back."""
    values: dict[str, Any] = dict(product.header["evidence"]) | dict(product.arrays)
    values["t_utc"] = datetime.fromisoformat(values["t_utc"])
    values["grid"] = SiteGrid(**values["grid"])
    values["classes"] = tuple(ObjectClass(name) for name in values["classes"])
    return LookEvidence(**values)


# --- chip -----------------------------------------------------------------------------------------------------------


def chip_key(unit: ChipUnit) -> str:
    """Name the chip of a scene on a grid."""
    return _read_key("chip", unit)


def _read_key(step: str, unit: ChipUnit) -> str:
    inputs = [scene_key(unit.scene)]
    if unit.displacement is not None:
        inputs.append(json.dumps(_displacement_header(unit.displacement), sort_keys=True))
    return product_key(step, VERSIONS[step], inputs, asdict(unit.grid))


def make_chip(unit: ChipUnit) -> ChipSummary:
    """Read one band of a scene and measure how much of it can be seen and how sharp it is."""
    key = chip_key(unit)
    store = _store(unit.store)
    product = store.get(key)
    if product is None:
        try:
            look = read_scene(
                unit.scene, unit.grid, displacement=unit.displacement, bands=registration_bands(unit.scene)
            )
        except NOT_THE_SCENES_FAULT:
            raise
        except DepotwatchError as error:
            return ChipSummary(key, 0.0, 0.0, (error.code, error.detail))
        header = _look_header(look) | {
            "sharpness": _sharpness(look.reflectance[0]),
            "usable": _usable(look.state),
        }
        product = store.put(key, header, {"reflectance": look.reflectance, "state": look.state})
    usable = product.header.get("usable")
    if usable is None:  # made before it was noted, which spares the next runs the array
        usable = _usable(product.arrays["state"])
    return ChipSummary(key, float(usable), float(product.header["sharpness"]))


def _usable(state: NDArray[np.uint8]) -> float:
    return int(np.count_nonzero(state == ObservationState.OBSERVED)) / state.size


def _sharpness(image: NDArray[np.float32]) -> float:
    """Return the share of an image's variation that builds up between one and two pixels, over seen pixels.

    Noise has it all within one pixel, so a cloud's grain is not taken for the sharpest picture of a site.
    """
    if not np.isfinite(image).any():
        return 0.0
    # Without a gap both give the same number, the first in half the time.
    variance = np.var if np.isfinite(image).all() else np.nanvar
    spread = float(variance(image))
    near, far = (image[:, step:] - image[:, :-step] for step in (1, 2))
    built = float(variance(far)) - float(variance(near)) if np.isfinite(far).any() else 0.0
    return float(np.sqrt(max(built, 0.0) / spread)) if spread > 0 else 0.0


# --- window ---------------------------------------------------------------------------------------------------------


def read_window(unit: ChipUnit) -> Look:
    """Read all bands of a registered scene on a window of the site's grid; what is small is kept for the next report."""
    if unit.grid.rows * unit.grid.cols > KEPT_WINDOW_PX:
        return read_scene(unit.scene, unit.grid, displacement=unit.displacement)
    key, store = _read_key("window", unit), _store(unit.store)
    try:
        product = store.get(key)
        if product is not None:
            return look_from(product)
    except DamagedProduct:
        store.delete(key)
    look = read_scene(unit.scene, unit.grid, displacement=unit.displacement)
    store.put(key, _look_header(look), {"reflectance": look.reflectance, "state": look.state})
    return look


# --- look -----------------------------------------------------------------------------------------------------------


def displacement_key(unit: LookUnit) -> str:
    """Name the displacement of a scene against the reference."""
    return product_key(
        "displacement",
        VERSIONS["displacement"],
        [unit.reference_chip, unit.chip],
        {"max_shift_m": unit.max_shift_m},
    )


def _displacement(unit: LookUnit, store: ProductStore) -> Displacement:
    key = displacement_key(unit)
    product = store.get(key)
    if product is None:
        reference, target = _reference(unit.store, unit.reference_chip), store.get(unit.chip)
        if reference is None or target is None:
            # A lost chip is made again under its old name, so that it was lost is not to be remembered.
            _reference.cache_clear()
            raise LostProduct(f"a chip of scene {unit.scene.id} was deleted while it was needed; run again")
        look = reference.look if unit.chip == unit.reference_chip else look_from(target)
        found = estimate_displacement(reference, look, max_shift_m=unit.max_shift_m)
        arrays = {}
        if found.field is not None:
            arrays = {"field_east_m": found.field.east_m, "field_north_m": found.field.north_m}
        product = store.put(key, _displacement_header(found), arrays)
    return displacement_from(product)


@lru_cache(maxsize=1)
def _network() -> PresenceNetwork:
    return PresenceNetwork.load()


@lru_cache(maxsize=1)
def _reference(store: str, chip: str) -> Reference | None:
    """Read the chip that others are registered to; kept, with what was worked out of it, for the next of its scenes."""
    product = _store(store).get(chip)
    return None if product is None else Reference(look_from(product))


@lru_cache(maxsize=2)
def _yardstick(store: str, scene: Scene, grid: SiteGrid) -> Yardstick:
    """Read the reference at the size gains are fitted on; kept for the next scene of the same site."""
    return Yardstick(read_window(ChipUnit(store, scene, grid)))


def _thumbnail_grid(grid: SiteGrid) -> SiteGrid:
    return grid.coarsened(max(1, int(np.ceil(np.sqrt(grid.rows * grid.cols / NORMALISATION_PX)))))


def _thumbnail_of(look: Look, grid: SiteGrid) -> Look:
    """Average a look down to the thumbnail grid; a cell with an unseen pixel is unseen."""
    factor = round(grid.gsd_m / look.grid.gsd_m)
    if factor == 1:
        return look
    rows, cols = grid.rows * factor, grid.cols * factor
    pad = ((0, rows - look.grid.rows), (0, cols - look.grid.cols))
    state = np.pad(look.state, pad, constant_values=ObservationState.OUTSIDE_FOOTPRINT)
    state = reduce(np.maximum, (state[offset::factor] for offset in range(factor)))
    state = reduce(np.maximum, (state[:, offset::factor] for offset in range(factor)))
    image = np.pad(look.reflectance, ((0, 0), *pad), constant_values=np.nan)
    # One offset in the cells after the other: numpy is slow at many short sums.
    lines = reduce(np.add, (image[:, offset::factor] for offset in range(factor)))
    image = reduce(np.add, (lines[:, :, offset::factor] for offset in range(factor))) / np.float32(factor**2)
    return Look(
        look.scene_id, look.t_utc, grid, look.bands, image, state, look.gsd_m, look.sun, look.view, look.notes
    )


def look_key(unit: LookUnit, displacement: str, network: str) -> str:
    """Name what one look was seen to hold."""
    step = "look" if unit.coarse else "evidence"
    options: dict[str, object] = asdict(unit.grid)
    if not unit.coarse:
        options |= {"network": network}
    return product_key(
        step, VERSIONS[step], [scene_key(unit.scene), scene_key(unit.reference), displacement], options
    )


def make_look(unit: LookUnit) -> LookOutcome:
    """Register one scene, read it once with its displacement composed in, normalise it and look at it."""
    store = _store(unit.store)
    try:
        displacement = _displacement(unit, store)
        if not displacement.registered:
            return _misregistered(unit, store, displacement)
        network = weights_sha256(unit.network and not unit.coarse)
        key = look_key(unit, displacement_key(unit), network)
        product = store.get(key)
        if product is None:
            product = _see(unit, store, displacement, key)
        fractions, standing = _standing(unit, store, product)
    except NOT_THE_SCENES_FAULT:
        raise
    except DepotwatchError as error:
        return LookOutcome(_unplaced(unit.grid), None, (), (), (), (error.code, error.detail))
    gains = tuple((str(name), float(gain), float(offset)) for name, gain, offset in product.header["gains"])
    remarks = tuple(product.header["remarks"])
    if unit.through is not None:
        remarks += (f"registered to the reference through look {unit.through}",)
    return LookOutcome(displacement, key, fractions, gains, remarks, standing=standing)


def _standing(
    unit: LookUnit, store: ProductStore, product: Product
) -> tuple[tuple[tuple[str, float], ...], tuple[Standing, ...]]:
    """Return how much of the AOI a look shows and what stands there, kept: every further look asks it of all others."""
    key = standing_key(unit, product.key)
    known = store.get(key)
    if known is None:
        inside = aoi_mask(unit.aoi, unit.grid)
        rows = () if unit.coarse else standing_in(evidence_from(product), inside)
        header = {
            "fractions": _fractions(product.arrays["state"], inside),
            "standing": [asdict(row) for row in rows],
        }
        known = store.put(key, header, {})
    return (
        tuple((str(name), float(share)) for name, share in known.header["fractions"]),
        tuple(_standing_from(row) for row in known.header["standing"]),
    )


def standing_key(unit: LookUnit, look: str) -> str:
    """Name what of an AOI was told from one look, itself named by its key."""
    return product_key("standing", VERSIONS["standing"], [look], {"aoi": unit.aoi.hex()})


def _standing_from(row: Mapping[str, Any]) -> Standing:
    count = row["count"]
    return Standing(
        row["scene_id"],
        ObjectClass(row["object_class"]),
        None if count is None else Estimate(**count),
        Estimate(**row["area_m2"]),
        row["appeared"],
        row["removed"],
        row["usable_fraction"],
    )


def _see(unit: LookUnit, store: ProductStore, displacement: Displacement, key: str) -> Product:
    look = read_scene(unit.scene, unit.grid, displacement=displacement)
    grid = _thumbnail_grid(unit.grid)
    relative = "relative" in (unit.reference.units, unit.scene.units)
    normalisation = normalise(
        _yardstick(unit.store, unit.reference, grid),
        _thumbnail_of(look, grid),
        NormalisationOptions(relative=relative),
    )
    shared: dict[str, Any] = {
        "gains": [list(entry) for entry in normalisation.by_band],
        "remarks": [*look.notes, *remarks_of(normalisation)],
    }
    look = hidden_by(normalisation.whole_site_change, told_by_conditions(look, unit.scene))
    if unit.coarse:
        look = apply_normalisation(look, normalisation)
        return store.put(
            key, _look_header(look) | shared, {"reflectance": look.reflectance, "state": look.state}
        )
    found = look_evidence(
        look,
        registration_residual_m=displacement.residual_m,
        network=_network() if unit.network else None,
        options=DetectionOptions(),
        sun_elevation_deg=unit.scene.sun_elevation_deg,
    )
    header, arrays = _evidence_parts(found)
    return store.put(key, shared | {"evidence": header}, arrays)


def _evidence_parts(found: LookEvidence) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    header: dict[str, Any] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for name in LookEvidence.__slots__:
        value = getattr(found, name)
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif isinstance(value, SiteGrid):
            header[name] = asdict(value)
        elif isinstance(value, datetime):
            header[name] = value.isoformat()
        elif name == "classes":
            header[name] = [kind.value for kind in found.classes]
        else:
            header[name] = value
    return header, arrays


# What lies over a whole site and hides small objects: such a look may neither show one nor say that there is none. Other
# kinds do not count: at 10 m fields change their pattern with the season, and a fifth of all looks would be lost.
HIDING = {WholeSiteKind.SNOW: ObservationState.SNOW, WholeSiteKind.HAZE: ObservationState.CLOUD}


def hidden_by(change: WholeSiteChange | None, look: Look) -> Look:
    """Return a look with nothing observed where snow or haze over the whole site hides objects, else as it is."""
    if change is None or not change.hides_objects or change.kind not in HIDING:
        return look
    return _unobserved(look, HIDING[change.kind])


def told_by_conditions(look: Look, scene: Scene) -> Look:
    """Return a look with nothing observed where its light or view is worse than any that was measured, else as it is.

    What its scene knows without an azimuth counts too: from which side it was lit or taken does not matter here.
    """
    sun = look.sun if scene.sun_elevation_deg is None else Sun(0.0, scene.sun_elevation_deg)
    view = look.view if scene.off_nadir_deg is None else View(0.0, scene.off_nadir_deg)
    state = conditions_state(look.gsd_m, sun, view)
    return look if state is ObservationState.OBSERVED else _unobserved(look, state)


def _unobserved(look: Look, reason: ObservationState) -> Look:
    state = np.where(look.observed, np.uint8(reason), look.state).astype(np.uint8)
    return replace(look, state=state, reflectance=np.full_like(look.reflectance, np.nan))


def remarks_of(normalisation: Normalisation) -> tuple[str, ...]:
    """Return what a reader should know of a look's radiometry."""
    change = normalisation.whole_site_change
    if change is None:
        return normalisation.reasons
    named = f"the whole site looks different: {change.kind.value} over {change.share:.0%} of it"
    return (*normalisation.reasons, named)


def _fractions(state: NDArray[np.uint8], inside: NDArray[np.bool_]) -> tuple[tuple[str, float], ...]:
    """Return the share of the AOI per observation state that occurs, in the order of the states."""
    total = left = np.count_nonzero(inside)
    found: list[tuple[str, float]] = []
    for kind in ObservationState:
        if left and (count := np.count_nonzero((state == kind) & inside)):
            found.append((kind.label, count / total))
            left -= count
    return tuple(found)


def _misregistered(unit: LookUnit, store: ProductStore, displacement: Displacement) -> LookOutcome:
    """Account for a scene that could not be placed: what could have been seen is ``misregistered``."""
    chip = store.get(unit.chip)
    if chip is None:
        raise LostProduct(f"the chip of scene {unit.scene.id} was deleted while it was needed; run again")
    look = look_from(chip)
    row, col = (round(value) for value in look.grid.pixel(unit.grid.east_m, unit.grid.north_m))
    state = np.array(look.state[row : row + unit.grid.rows, col : col + unit.grid.cols])
    state[state == ObservationState.OBSERVED] = ObservationState.MISREGISTERED
    return LookOutcome(
        displacement,
        None,
        _fractions(state, aoi_mask(unit.aoi, unit.grid)),
        (),
        (*look.notes, *displacement.reasons),
    )


def _unplaced(grid: SiteGrid) -> Displacement:
    return Displacement(
        grid.centre,
        0.0,
        0.0,
        ((0.0, 0.0), (0.0, 0.0)),
        None,
        RegistrationState.NOT_REGISTERED,
        0.0,
        float("nan"),
        0,
        ("unreadable",),
    )


def weights_sha256(network: bool) -> str:
    """Return the hash of the model weights in use, or ``none``."""
    return _own_weights() if network else "none"


@lru_cache(maxsize=1)
def _own_weights() -> str:
    return network_weights_sha256()


# What a report is made of: code, fitted numbers, weights, the page's style. A network that was named has a hash of its own.
PACKAGES = ("imagery", "pipelines")
SHAPING = (".py", ".json", ".onnx", ".css")


@lru_cache(maxsize=1)
def algorithm_sha256() -> str:
    """Return one hash over the source and fitted numbers of everything that decides what a report says.

    Taken from all files of both packages, so that no change of a method, a threshold or a page can forget to call
    itself a new version; 10 to 20 ms (measured).
    """
    return sources_sha256([Path(str(resources.files(name))) for name in PACKAGES])


def sources_sha256(packages: Sequence[Path]) -> str:
    """Return one hash over the files of some packages, wherever those lie."""
    digest = hashlib.sha256()
    for package in packages:
        files = {f"{package.name}/{p.relative_to(package).as_posix()}": p for p in package.rglob("*")}
        for name in sorted(name for name in files if name.endswith(SHAPING)):
            digest.update(name.encode() + b"\0" + files[name].read_bytes() + b"\0")
    return digest.hexdigest()


def processing_version(parameters: Mapping[str, str], weights: str) -> str:
    """Name algorithm, parameters and model weights together by one hash."""
    text = json.dumps([VERSIONS, algorithm_sha256(), dict(parameters), weights], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
