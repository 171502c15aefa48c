"""What others take for the same looks: odc-stac to load them, and a plain dask.delayed loop to analyse them.

odc-stac is no dependency of ours: it runs in an environment of its own (``benchmarks.odc_load`` says how), and where none
is named its row is left out. The loop calls our own steps one after the other, as a script would: nothing is kept, so
whatever changes, all of it is computed again.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np


def measure_read(catalog: Path) -> dict[str, Any]:
    """Load every band of every look with our reader onto the looks' own grid moved by part of a pixel."""
    from pyproj import CRS

    from imagery.grid import SiteGrid
    from imagery.rasters import read_header
    from imagery.warp import read_look
    from pipelines.archives import open_archive

    scenes = open_archive(str(catalog)).search().scenes
    header = read_header(scenes[0].bands[0].path)
    epsg, gsd_m = CRS.from_user_input(header.crs).to_epsg(), header.transform.a
    if epsg is None:
        raise ValueError(f"{header.path}: its CRS has no EPSG code")
    east, north = header.transform.c + 0.37 * gsd_m, header.transform.f - 0.41 * gsd_m
    grid = SiteGrid(epsg, east, north, gsd_m, header.rows, header.cols)
    wall, cpu, total = time.perf_counter(), time.process_time(), 0.0
    for scene in scenes:
        total += float(np.nansum(read_look(scene, grid).reflectance[:, ::500, ::500]))
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "check": total * 1e4}


def measure_delayed(catalog: Path, aoi: Path) -> dict[str, Any]:
    """Analyse a site with one dask.delayed task per look and no products; one thread, no report."""
    import shapely
    from dask.base import compute
    from dask.delayed import delayed

    from imagery.detection import find_changes
    from pipelines.aoi import read_aoi
    from pipelines.archives import open_archive
    from pipelines.site_grids import site_grid
    from pipelines.steps import aoi_mask, project

    wall, cpu = time.perf_counter(), time.process_time()
    area = read_aoi(aoi).aoi
    scenes = open_archive(str(catalog)).search(area).scenes
    grid = site_grid(area, scenes, None)
    tasks = [delayed(_evidence_of)(scene, scenes[0], grid) for scene in scenes]
    evidence: list[Any] = list(compute(*tasks, scheduler="synchronous"))
    inside = aoi_mask(shapely.to_wkb(project(area, "EPSG:4326", grid.crs)), grid)
    found = find_changes([each for each in evidence if each is not None], inside)
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "changes": len(found.changes),
    }


def _evidence_of(scene: Any, reference: Any, grid: Any) -> Any:
    """Register one scene, read it, normalise it and look at it; None where it cannot be placed."""
    from imagery.detection import look_evidence
    from imagery.evidence.network import PresenceNetwork
    from imagery.radiometry import apply_normalisation, normalise
    from imagery.registration import estimate_displacement
    from imagery.warp import read_look
    from pipelines.steps import registration_bands

    bands = registration_bands(scene)
    moved = estimate_displacement(
        read_look(reference, grid, bands=bands), read_look(scene, grid, bands=bands), max_shift_m=30.0
    )
    if not moved.registered:
        return None
    look = read_look(scene, grid, displacement=moved)
    look = apply_normalisation(look, normalise(read_look(reference, grid), look))
    return look_evidence(look, registration_residual_m=moved.residual_m, network=PresenceNetwork.load())


def measure_odc(python: Path, catalog: Path, environment: dict[str, str]) -> dict[str, Any] | None:
    """Load the same with odc-stac in another environment; None where there is none."""
    if not python.is_file():
        return None
    script = Path(__file__).with_name("odc_load.py")
    done = subprocess.run(
        [str(python), str(script), str(catalog)],
        capture_output=True, text=True, check=True, env=os.environ | environment,
    )  # fmt: skip
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said
