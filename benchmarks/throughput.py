"""What an analysis costs against the floor: reading and warping the same pixels once with rasterio, same run, one core.

Every measurement runs in a process of its own, so that its time is its own and its peak memory is the kernel's
(``getrusage``). Analysis and floor alternate, and the medians of both are compared: the ratio holds on a busy machine
where the seconds do not.

    python -m benchmarks.throughput [--only pair_10m,...] [--rounds N] [--work DIR] [--no-network]
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from scipy import ndimage
from shapely.geometry import box, mapping

from benchmarks.throughput_peers import measure_delayed, measure_odc, measure_read

RESULTS = Path(__file__).parent / "results" / "throughput.json"
EPSG, EAST, NORTH = 32636, 500_000.0, 5_300_000.0
BANDS = ("blue", "green", "red", "nir")
ONE_CORE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "GDAL_NUM_THREADS": "1",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A site to time: pixels per side, pixel size, looks; ``target`` names the TARGETS row."""

    name: str
    side_px: int
    gsd_m: float
    looks: int
    what: str


CASES = (
    Case("pair_10m", 2000, 10.0, 2, "400 km2, two dates at 10 m (G17)"),
    Case("pair_0.5m", 1000, 0.5, 2, "0.25 km2, two dates at 0.5 m (G17b)"),
    Case("pair_wide_0.5m", 3225, 0.5, 2, "2.6 km2, two dates at 0.5 m (G17b)"),
    Case("series_0.5m", 700, 0.5, 12, "0.12 km2, 12 looks at 0.5 m (G20)"),
    Case("series_10m", 300, 10.0, 40, "9 km2, 40 looks at 10 m (G20)"),
)
BATCH = Case("workers", 1000, 0.5, 24, "0.25 km2, 24 looks at 0.5 m (G16, G23)")
BATCH_SITES = 4
PEERS = Case("peers", 1000, 0.5, 8, "0.25 km2, 8 looks at 0.5 m against odc-stac and a dask.delayed loop")
INCREMENTS = (
    Case(
        "increment",
        300,
        0.5,
        100,
        "0.02 km2, 100 looks at 0.5 m, one more, and one parameter changed (G21, G22)",
    ),
    Case(
        "increment_yard",
        700,
        0.5,
        100,
        "0.12 km2, 100 looks at 0.5 m, one more, and one parameter changed (G21, G22)",
    ),
    Case(
        "increment_depot",
        1000,
        0.5,
        100,
        "0.25 km2, 100 looks at 0.5 m, one more, and one parameter changed (G21, G22)",
    ),
)
MEMORY = Case("memory", 3225, 0.5, 24, "2.6 km2 at 0.5 m, 24 looks (G24)")


def write_scenes(out: Path, case: Case, seed: int = 0) -> None:
    """Write a quick series: one static textured ground, boxes that come, gain, noise and a small shift per look."""
    rng = np.random.default_rng(seed)
    n = case.side_px
    out.mkdir(parents=True)
    ground = _ground(rng, n)
    boxes = [
        (int(r), int(c), int(rng.integers(1, case.looks)))
        for r, c in rng.integers(20, n - 40, (max(n // 50, 4), 2))
    ]
    transform = Affine(case.gsd_m, 0, EAST, 0, -case.gsd_m, NORTH)
    profile = {
        "driver": "GTiff", "height": n, "width": n, "crs": f"EPSG:{EPSG}", "transform": transform, "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate", "count": 4, "dtype": "uint16", "nodata": 0,
    }  # fmt: skip
    start = datetime(2023, 1, 15, 9, 0, tzinfo=UTC)
    links = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    for look in range(case.looks):
        scene_id = f"scene-{look:03d}"
        image = ground * rng.uniform(0.95, 1.05)
        for row, col, since in boxes:
            if look >= since:
                image[:, row : row + 5, col : col + 24] = 0.4
        shift = rng.normal(0, 0.6, 2)
        image = np.stack([ndimage.shift(b, shift, order=1, mode="nearest") for b in image])
        image += rng.normal(0, 0.004, image.shape).astype(np.float32)
        with rasterio.open(out / f"{scene_id}.tif", "w", **profile) as file:
            file.write(np.clip(image * 1e4, 1, 65_000).astype(np.uint16))
        item = _item(scene_id, start + timedelta(days=16 * look), case)
        (out / f"{scene_id}.json").write_text(json.dumps(item))
        links.append({"rel": "item", "href": f"./{scene_id}.json", "type": "application/geo+json"})
    _write_catalog(out / "catalog.json", links)
    _write_catalog(out / "catalog-but-one.json", links[:-1])
    inset = 12 * case.gsd_m
    side = n * case.gsd_m
    area = _lonlat(EAST + inset, NORTH - side + inset, EAST + side - inset, NORTH - inset)
    feature = {"type": "Feature", "properties": {"name": case.name}, "geometry": mapping(area)}
    (out / "aoi.geojson").write_text(json.dumps(feature))


def _ground(rng: np.random.Generator, n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Four bands of textured ground with parcels, (band, row, col) reflectance."""
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1.0
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(n, n)).astype(np.float32)) / radius**0.9, s=(n, n))
    noise = (noise / noise.std()).astype(np.float32)
    cells = -(-n // 60)
    parcels = np.kron(rng.uniform(0.7, 1.3, (cells, cells)), np.ones((60, 60)))[:n, :n]
    base = np.array([0.09, 0.12, 0.14, 0.22], np.float32)[:, None, None]
    ground: np.ndarray[Any, np.dtype[np.float32]] = (base * parcels * (1 + 0.12 * noise)).astype(np.float32)
    return ground


def _lonlat(west: float, south: float, east: float, north: float) -> Any:
    back = Transformer.from_crs(EPSG, 4326, always_xy=True)
    corners = [back.transform(x, y) for x, y in ((west, south), (east, north))]
    return box(*corners[0], *corners[1])


def _item(scene_id: str, when: datetime, case: Case) -> dict[str, Any]:
    side = case.side_px * case.gsd_m
    footprint = _lonlat(EAST, NORTH - side, EAST + side, NORTH)
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": scene_id, "bbox": list(footprint.bounds),
        "geometry": mapping(footprint), "links": [],
        "properties": {
            "datetime": when.isoformat().replace("+00:00", "Z"), "gsd": case.gsd_m, "view:sun_azimuth": 160.0,
            "view:sun_elevation": 40.0, "view:off_nadir": 2.0, "view:azimuth": 100.0,
        },
        "assets": {
            "data": {
                "href": f"./{scene_id}.tif", "type": "image/tiff; application=geotiff", "roles": ["data"],
                "eo:bands": [{"name": b, "common_name": b} for b in BANDS],
                "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": 0}] * 4,
            }
        },
    }  # fmt: skip


def _write_catalog(path: Path, links: list[dict[str, str]]) -> None:
    catalog = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "throughput",
        "description": "made for timing",
        "links": links,
    }
    path.write_text(json.dumps(catalog))


def measure_analyse(args: argparse.Namespace) -> dict[str, Any]:
    """Run one analysis in this process; wall and CPU seconds per step, without imports."""
    from pipelines.aoi import read_aoi
    from pipelines.parameters import Parameters
    from pipelines.site import analyse

    steps: dict[str, float] = {}
    last = time.perf_counter()

    def progress(step: str, _done: int, _total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        steps[step] = steps.get(step, 0.0) + now - last
        last = now

    parameters = Parameters(network=not args.no_network)
    if args.min_confidence is not None:
        parameters = Parameters(network=not args.no_network, min_confidence=args.min_confidence)
    start, cpu = time.perf_counter(), time.process_time()
    last = start
    analyse(
        catalog=str(args.catalog), site=read_aoi(args.aoi), out=args.report, parameters=parameters, store=args.store, workers=args.workers,
        scheduler=args.scheduler,
    )  # fmt: skip
    plain = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
    if args.keep is not None:
        shutil.copytree(args.report, args.keep)
    if args.steps:
        shutil.rmtree(args.report)
        last = time.perf_counter()
        analyse(
            catalog=str(args.catalog),
            site=read_aoi(args.aoi),
            out=args.report,
            parameters=parameters,
            progress=progress,
        )
    return plain | {"steps_s": steps, "peak_mib": _peak_mib(), "sha256": _digest(args.report)}


def measure_floor(args: argparse.Namespace) -> dict[str, Any]:
    """Read and warp every scene's bands onto the site's grid once, cubic, with rasterio alone."""
    items = [
        json.loads((args.catalog.parent / link["href"]).read_text())
        for link in json.loads(args.catalog.read_text())["links"]
        if link["rel"] == "item"
    ]
    start, cpu = time.perf_counter(), time.process_time()
    total = 0.0
    for item in items:
        gsd = item["properties"]["gsd"]
        with rasterio.open(args.catalog.parent / item["assets"]["data"]["href"]) as source:
            # Half a pixel aside, so that there is something to interpolate.
            transform = source.transform @ Affine.translation(0.37, 0.41)
            with WarpedVRT(
                source,
                crs=source.crs,
                transform=transform,
                width=source.width,
                height=source.height,
                resampling=Resampling.cubic,
            ) as warped:
                total += float(warped.read(out_dtype="float32")[:, ::500, ::500].sum()) * gsd
    return {
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "peak_mib": _peak_mib(),
        "check": total,
    }


def resident_bytes(name: str) -> int:
    """Return what Linux tells of this program's memory: ``VmRSS`` is what it holds, ``VmHWM`` the most that it held.

    What ``getrusage`` tells begins with the peak of whoever started it.
    """
    (line,) = (
        row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(f"{name}:")
    )
    return int(line.split()[1]) * 1024


def _peak_mib() -> float:
    return resident_bytes("VmHWM") / 2**20


def _digest(report: Path) -> str:
    """One hash over everything a report wrote."""
    whole = hashlib.sha256()
    for path in sorted(p for p in report.rglob("*") if p.is_file()):
        whole.update(str(path.relative_to(report)).encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def bytecode(work: Path) -> dict[str, str]:
    """Return settings that keep compiled modules, as an installed package has them."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(work / "bytecode")}


def warm_up(work: Path) -> None:
    """Let every module be compiled before anything is timed."""
    scenes = work / "warm-up"
    if not scenes.is_dir():
        write_scenes(scenes, Case("warm-up", 200, 0.5, 2, "nothing"))
    child("analyse", scenes, work)
    child("floor", scenes, work)


def child(what: str, scenes: Path, work: Path, *more: str, catalog: str = "catalog.json") -> dict[str, Any]:
    """Measure in a new process."""
    with tempfile.TemporaryDirectory(dir=work) as fresh:
        command = [
            sys.executable, "-m", "benchmarks.throughput", "--measure", what, "--catalog", str(scenes / catalog),
            "--aoi", str(scenes / "aoi.geojson"), "--report", str(Path(fresh) / "report"), *more,
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | ONE_CORE | bytecode(work)
        )
    if done.returncode != 0:
        raise RuntimeError(f"{what} failed: {done.stderr.strip().splitlines()[-1:]}")
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def compare(case: Case, work: Path, rounds: int, flags: Sequence[str]) -> dict[str, Any]:
    """Alternate analysis and floor and compare their medians."""
    scenes = work / case.name
    if not scenes.is_dir():
        write_scenes(scenes, case)
    floors, analyses = [], []
    for index in range(rounds):
        floors.append(child("floor", scenes, work))
        analyses.append(child("analyse", scenes, work, *flags, *(["--steps"] if index == 0 else [])))
    floor_s = statistics.median(f["cpu_s"] for f in floors)
    analyse_s = statistics.median(a["cpu_s"] for a in analyses)
    area = (case.side_px * case.gsd_m) ** 2 / 1e6
    steps = analyses[0]["steps_s"]
    return {
        "what": case.what,
        "floor_cpu_s": floor_s,
        "analyse_cpu_s": analyse_s,
        "ratio_to_floor": analyse_s / floor_s,
        "km2_per_minute_one_core": area / analyse_s * 60.0,
        "peak_mib": max(a["peak_mib"] for a in analyses),
        "step_shares": {k: v / sum(steps.values()) for k, v in steps.items()},
        "same_bytes": len({a["sha256"] for a in analyses}) == 1,
        "rounds": rounds,
        "load_average": round(os.getloadavg()[0], 1),
    }


def increment(case: Case, rounds: int, work: Path, flags: Sequence[str]) -> dict[str, Any]:
    """Cold run of all looks; all but one on a store, and on copies of it all, and one parameter changed: medians."""
    scenes = work / case.name
    if not scenes.is_dir():
        write_scenes(scenes, case)
    cold = child("analyse", scenes, work, *flags)
    added, changed = [], []
    with tempfile.TemporaryDirectory(dir=work) as place:
        kept, copy = Path(place) / "kept", Path(place) / "copy"
        child("analyse", scenes, work, *flags, "--store", str(kept), catalog="catalog-but-one.json")
        for _ in range(rounds):
            shutil.copytree(kept, copy)
            stored = [*flags, "--store", str(copy)]
            added.append(child("analyse", scenes, work, *stored))
            changed.append(child("analyse", scenes, work, *stored, "--min-confidence", "0.35"))
            shutil.rmtree(copy)
    return {
        "what": case.what,
        "looks": case.looks,
        "cold_cpu_s": cold["cpu_s"],
        "one_scene_more_of_cold": statistics.median(run["cpu_s"] for run in added) / cold["cpu_s"],
        "parameter_changed_of_cold": statistics.median(run["cpu_s"] for run in changed) / cold["cpu_s"],
        "same_bytes_warm_and_cold": {run["sha256"] for run in added} == {cold["sha256"]},
        "rounds": rounds,
        "load_average": round(os.getloadavg()[0], 1),
    }


def memory(work: Path, flags: Sequence[str]) -> dict[str, Any]:
    """Peak memory of one large unit."""
    scenes = work / MEMORY.name
    if not scenes.is_dir():
        write_scenes(scenes, MEMORY)
    said = child("analyse", scenes, work, *flags)
    return {"what": MEMORY.what, "peak_mib": said["peak_mib"], "cpu_s": said["cpu_s"]}


def workers(work: Path, flags: Sequence[str]) -> dict[str, Any]:
    """Four workers against one on one series: seconds on the clock, and the same bytes for every kind of worker."""
    scenes = work / BATCH.name
    if not scenes.is_dir():
        write_scenes(scenes, BATCH)
    load = os.getloadavg()[0]
    one = child("analyse", scenes, work, *flags)
    four = child("analyse", scenes, work, *flags, "--workers", "4")
    threads = child("analyse", scenes, work, *flags, "--workers", "4", "--scheduler", "threads")
    two = child("analyse", scenes, work, *flags, "--workers", "2")
    together_s, together = _side_by_side(BATCH_SITES, scenes, work, flags)
    digests = {run["sha256"] for run in (one, two, four, threads, *together)}
    return {
        "what": BATCH.what,
        "one_wall_s": one["wall_s"],
        "one_cpu_s": one["cpu_s"],
        "two_processes_wall_s": two["wall_s"],
        "four_processes_wall_s": four["wall_s"],
        "four_threads_wall_s": threads["wall_s"],
        "batch_sites": BATCH_SITES,
        "batch_wall_s": together_s,
        "batch_speedup": BATCH_SITES * one["wall_s"] / together_s,
        "batch_cpu_of_alone": sum(run["cpu_s"] for run in together) / BATCH_SITES / one["cpu_s"],
        "speedup": one["wall_s"] / four["wall_s"],
        "speedup_threads": one["wall_s"] / threads["wall_s"],
        "same_bytes": len(digests) == 1,
        "load_average_before": load,
    }


def _side_by_side(
    count: int, scenes: Path, work: Path, flags: Sequence[str]
) -> tuple[float, list[dict[str, Any]]]:
    """Analyse as many sites at once as there are workers, one process each; seconds until the last has ended.

    These are the analyses' own seconds, without the start of a process, as those of one alone are.
    """
    with ThreadPoolExecutor(count) as pool:
        done = list(pool.map(lambda _: child("analyse", scenes, work, *flags), range(count)))
    return max(run["wall_s"] for run in done), done


def peers(work: Path, flags: Sequence[str], python: Path) -> dict[str, Any]:
    """The same looks loaded with odc-stac and by us, and analysed by a loop that keeps nothing; medians of three."""
    scenes = work / PEERS.name
    if not scenes.is_dir():
        write_scenes(scenes, PEERS)
    runs: dict[str, list[float]] = {}
    changes = 0
    for _ in range(3):
        for what in ("floor", "read", "delayed"):
            said = child(what, scenes, work)
            runs.setdefault(what, []).append(said["cpu_s"])
            changes = said.get("changes", changes)
        odc = measure_odc(python, scenes / "catalog.json", ONE_CORE)
        if odc is not None:
            runs.setdefault("odc_stac", []).append(odc["cpu_s"])
        with tempfile.TemporaryDirectory(dir=work) as store:
            runs.setdefault("analyse", []).append(
                child("analyse", scenes, work, *flags, "--store", store)["cpu_s"]
            )
            runs.setdefault("analyse_again", []).append(
                child("analyse", scenes, work, *flags, "--store", store)["cpu_s"]
            )
    middle = {f"{what}_cpu_s": statistics.median(each) for what, each in runs.items()}
    return {"what": PEERS.what, "looks": PEERS.looks, "delayed_changes": changes} | middle


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all cases, or one measurement where asked to by the parent process."""
    parser = argparse.ArgumentParser(
        description="Time analyses against reading and warping the same pixels once."
    )
    parser.add_argument(
        "--only",
        help="comma-separated: the cases, increment, increment_yard, increment_depot, memory, workers, peers",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="keep the scenes here")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--no-network", action="store_true")
    parser.add_argument("--measure", choices=("analyse", "floor", "read", "delayed"), help=argparse.SUPPRESS)
    for name in ("--catalog", "--aoi", "--report", "--keep"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    parser.add_argument("--min-confidence", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--scheduler", help=argparse.SUPPRESS)
    parser.add_argument(
        "--odc-python", type=Path, default=Path(".bench-venv/bin/python"), help="Python that has odc-stac"
    )
    parser.add_argument("--steps", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.measure:
        print(json.dumps(_measure(args)))
        return 0
    flags = ["--no-network"] if args.no_network else []
    wanted = (
        args.only.split(",")
        if args.only
        else [*(c.name for c in (*CASES, *INCREMENTS)), "memory", "workers", "peers"]
    )
    with tempfile.TemporaryDirectory() as scratch:
        work = args.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        warm_up(work)
        for name in wanted:
            found = _measured(name, work, args.rounds, flags, args.odc_python)
            _keep(args.out, name, found, network=not args.no_network)
    return 0


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    match args.measure:
        case "floor":
            return measure_floor(args)
        case "read":
            return measure_read(args.catalog)
        case "delayed":
            return measure_delayed(args.catalog, args.aoi)
        case _:
            return measure_analyse(args)


def _measured(name: str, work: Path, rounds: int, flags: Sequence[str], odc_python: Path) -> dict[str, Any]:
    singles: dict[str, Callable[[Path, Sequence[str]], dict[str, Any]]] = {
        "memory": memory, "workers": workers, **{case.name: partial(increment, case, rounds) for case in INCREMENTS},
    }  # fmt: skip
    try:
        if name == "peers":
            return peers(work, flags, odc_python)
        if name in singles:
            return singles[name](work, flags)
        return compare({c.name: c for c in CASES}[name], work, rounds, flags)
    except RuntimeError as error:  # a case that fails is a result
        return {"failed": str(error)}


def _keep(path: Path, name: str, found: dict[str, Any], *, network: bool) -> None:
    """Print and merge one result into the file."""
    print(f"\n{name}")
    for key, value in found.items():
        print(f"  {key:<28} {value:.3f}" if isinstance(value, float) else f"  {key:<28} {value}")
    path.parent.mkdir(parents=True, exist_ok=True)
    said = json.loads(path.read_text()) if path.is_file() else {"cases": {}}
    said["cases"][name] = found | {"cores": os.cpu_count()}
    said["run"] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "network": network,
    }
    path.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
