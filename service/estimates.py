"""What a batch will take, told before it is begun: scenes, pixels, seconds, and what is stored already.

Sites are sampled evenly where there are many, and the answer says how many were looked at. Seconds are those of one
worker, by what the tenant's own units took; where none has run, by a stated rate.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from sqlalchemy import Connection, func, select

from imagery.errors import DepotwatchError
from service.analysis_unit import period_of
from service.archives import ArchiveSource, covering_scenes, is_waiting_folder, sources
from service.context import Service
from service.database import Record
from service.moments import interval
from service.tables import looks, reports, sites, units

# Sites whose scenes are counted, and of these whose products are looked up; evenly spread over all.
SAMPLED, LOOKED_UP = 50, 20
LOOK_UP_S = 10.0
PAST_UNITS = 200
# Measured on one core of the machine docs/performance-analysis.md was made on: 1.6 to 3.8 over its three cases.
ASSUMED_S_PER_MPX = 3.0
DEFAULT_GSD_M = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one site's scenes amount to: ``looks`` of so many ``pixels`` together, on the site's grid."""

    looks: int
    pixels: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds per pixel of a look that is made, and of one that is stored; ``units`` is how many runs say so."""

    made: float
    stored: float
    units: int
    spread: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Found:
    """How many looks of how many sites are stored."""

    sites: int = 0
    looks: int = 0
    stored: int = 0


def estimate(
    service: Service, tenant: str, wanted: Sequence[str], period: str | None, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what analysing sites would take; nothing is started and nothing written.

    Raises
    ------
    DepotwatchError : parameters or period that cannot be meant
    """
    from pipelines.parameters import parameters_from
    from pipelines.steps import processing_version, weights_sha256

    checked = parameters_from(dict(parameters))
    chosen = _spread(wanted, SAMPLED)
    with service.database.read() as connection:
        rows = _sites(connection, tenant, chosen)
        loads = {row.id: load_of(connection, row, period, parameters) for row in rows}
        rates = _rates(connection, tenant)
        tried = [(row, _sources(connection, row)) for row in _spread(rows, LOOKED_UP)]
    found = _look_up(service, tried, period, parameters)
    scale = len(wanted) / max(len(rows), 1)
    pixels = scale * sum(load.pixels for load in loads.values())
    share = found.stored / found.looks if found.looks else 0.0
    seconds = pixels * ((1 - share) * rates.made + share * rates.stored)
    low, high = rates.spread
    return {
        "sites": len(wanted),
        "sites_sampled": len(rows),
        "scenes": round(scale * sum(load.looks for load in loads.values())),
        "pixels": round(pixels),
        "seconds": round(seconds, 1),
        "seconds_low": round(seconds * low, 1),
        "seconds_high": round(seconds * high, 1),
        "basis": _basis(rates),
        "cached": {"looks": found.stored, "of": found.looks, "sites_looked_up": found.sites},
        "processing_version": processing_version(dict(checked.as_pairs()), weights_sha256(checked.network)),
        "period": period,
        "parameters": dict(parameters),
    }


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """Return up to ``most`` items, evenly spread over the sequence."""
    if len(items) <= most:
        return list(items)
    return [items[int(index * len(items) / most)] for index in range(most)]


def _sites(connection: Connection, tenant: str, wanted: Sequence[str]) -> list[Record]:
    rows = connection.execute(
        select(sites)
        .where(sites.c.tenant == tenant, sites.c.id.in_(wanted), sites.c.deleted.is_(None))
        .order_by(sites.c.created, sites.c.id)
    )
    return list(rows)


def load_of(connection: Connection, site: Record, period: str | None, parameters: Mapping[str, Any]) -> Load:
    """Return what the indexed scenes of a site amount to."""
    aoi = shapely.from_geojson(site.geometry)
    names = json.loads(site.archives)
    rows = covering_scenes(connection, site.tenant, names, aoi)
    if period is not None:
        start, end = interval(period)
        rows = [row for row in rows if start <= row.at <= end]
    if not rows:
        return Load(0, 0.0)
    gsds = np.array([row.gsd_m or DEFAULT_GSD_M for row in rows])
    own = {**json.loads(site.parameters), **parameters}.get("gsd_m")
    return Load(len(rows), _pixels(aoi, gsds, own))


def _pixels(aoi: shapely.Geometry, gsds: np.ndarray[Any, Any], gsd_m: float | None) -> float:
    """Return the pixels of looks on a site's grid: coarse looks lie on a grid as coarse as the finest of them."""
    from pipelines.parameters import COARSE_GSD_M
    from pipelines.site_grids import site_grid

    size = float(gsd_m or gsds.min())
    grid = site_grid(aoi, (), size)
    coarse = gsds[gsds > COARSE_GSD_M]
    factor = max(1, round(float(coarse.min()) / size)) if coarse.size else 1
    return grid.rows * grid.cols * ((gsds.size - coarse.size) + coarse.size / factor**2)


def _rates(connection: Connection, tenant: str) -> Rates:
    """Return what a pixel took in the tenant's last units: in a site's first report, and in later ones."""
    seen = select(func.count()).where(looks.c.report == reports.c.id).scalar_subquery()
    rows = connection.execute(
        select(
            units.c.site,
            reports.c.number,
            (units.c.finished - units.c.started).label("seconds"),
            seen.label("seen"),
        )
        .join(reports, reports.c.unit == units.c.id)
        .where(units.c.tenant == tenant, units.c.state == "successful", units.c.attempts == 1)
        .order_by(units.c.id.desc())
        .limit(PAST_UNITS)
    ).all()
    per_look = _pixels_per_look(connection, tenant, _spread(sorted({row.site for row in rows}), SAMPLED))
    first: list[float] = []
    later: list[float] = []
    for row in rows:
        if row.seen and per_look.get(row.site):
            taken = max(row.seconds, 0.0) / (row.seen * per_look[row.site])
            (first if row.number == 1 else later).append(taken)
    if not first and not later:
        assumed = ASSUMED_S_PER_MPX / 1e6
        return Rates(assumed, assumed, 0, (0.5, 2.0))
    made = float(np.median(first or later))
    spread = np.quantile(np.array(first or later) / made, (0.1, 0.9)) if made > 0 else (1.0, 1.0)
    return Rates(
        made,
        min(made, float(np.median(later))) if later else made,
        len(first) + len(later),
        (float(spread[0]), float(spread[1])),
    )


def _pixels_per_look(connection: Connection, tenant: str, wanted: Sequence[str]) -> dict[str, float]:
    loads = {row.id: load_of(connection, row, None, {}) for row in _sites(connection, tenant, wanted)}
    return {site: load.pixels / load.looks for site, load in loads.items() if load.looks}


def _basis(rates: Rates) -> str:
    if rates.units:
        return f"median of the last {rates.units} units that ran, on one worker"
    return f"no past runs: {ASSUMED_S_PER_MPX:g} s per million pixels of a look assumed, on one worker"


def _sources(connection: Connection, site: Record) -> list[ArchiveSource]:
    return sources(connection, site.tenant, json.loads(site.archives))


def _look_up(
    service: Service,
    tried: Sequence[tuple[Record, list[ArchiveSource]]],
    period: str | None,
    parameters: Mapping[str, Any],
) -> Found:
    """Count stored looks of some sites, for as long as an estimate may take.

    Remote archives are not asked: that could take longer than the run.
    """
    found = [Found()]
    ended = threading.Event()

    def work() -> None:
        for site, archives in tried:
            counted = _look_up_one(service, site, archives, period, parameters)
            if ended.is_set():
                return
            if counted is not None:
                so_far = found[0]
                found[0] = Found(so_far.sites + 1, so_far.looks + counted[0], so_far.stored + counted[1])

    thread = threading.Thread(target=work, name="estimate", daemon=True)
    thread.start()
    thread.join(LOOK_UP_S)
    ended.set()
    return found[0]


def _look_up_one(
    service: Service,
    site: Record,
    archives: Sequence[ArchiveSource],
    period: str | None,
    parameters: Mapping[str, Any],
) -> tuple[int, int] | None:
    """Return (looks, stored) of one site; None where it cannot be told from here."""
    from pipelines.analysis import Site
    from pipelines.archives import open_archive
    from pipelines.inventory import take_inventory
    from pipelines.parameters import parameters_from
    from pipelines.site import SceneSet

    if not archives or any("://" in archive.source for archive in archives):
        return None
    aoi = shapely.from_geojson(site.geometry)
    scenes: dict[str, Any] = {}
    try:
        for archive in archives:
            if is_waiting_folder(archive.source):
                continue
            opened = open_archive(
                archive.source,
                cache=service.settings.downloads_place,
                allow_hosts=service.settings.allowed_hosts,
            )
            for scene in opened.search(aoi, period_of(period)).scenes:
                scenes.setdefault(scene.id, scene)
        if any(scene.parts for scene in scenes.values()):
            return None  # products are named by pixels that would have to be fetched first
        inventory = take_inventory(
            Site(site.name, aoi),
            SceneSet(tuple(scenes.values())),
            store=service.settings.products_place,
            parameters=parameters_from({**json.loads(site.parameters), **parameters}),
        )
    except DepotwatchError:
        return None  # the run itself will say what is wrong, unit by unit
    return inventory.looks, inventory.stored
