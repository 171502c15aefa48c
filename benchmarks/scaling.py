"""Plan past one machine: what a look and a report cost, measured here, and where ten thousand sites bend first.

    python -m benchmarks.scaling [--database URL] [--only cost,queue,dask] [--out FILE.json]

Three parts. ``cost``: small series at each kind of pixel through the whole analysis, in a process of its own each:
seconds, products, report files, rows. ``queue``: the service's own table of leases under more and more worker
processes whose units do nothing but take a known time and publish a report of a known size: where units per second
stop growing with workers. ``dask``: a real scheduler under stub tasks. ``docs/scaling.md`` multiplies them out.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.throughput import ONE_CORE, Case, child, write_scenes

RESULTS = Path(__file__).parent / "results" / "scaling.json"

COST = (
    Case("look_0.5m", 1000, 0.5, 6, "0.25 km2, 6 looks"),
    Case("look_3m", 500, 3.0, 6, "2.25 km2, 6 looks"),
    Case("look_10m", 300, 10.0, 24, "9 km2, 24 looks"),
)
UNIT_S = 1.0
CHANGES_EACH = 30
WORKERS = (1, 2, 4, 8, 16, 32, 48)
DASK_TASKS = 4000
DASK_WORKERS = 4
START_LIMIT_S = 120.0


# --- cost ---------------------------------------------------------------------------------------------------------


def cost(work: Path) -> dict[str, Any]:
    """Return per kind of pixel what one look and one report take."""
    found = {}
    for case in COST:
        scenes = work / case.name
        if not scenes.is_dir():
            write_scenes(scenes, case)
        with tempfile.TemporaryDirectory(dir=work) as fresh:
            store, kept = Path(fresh) / "store", Path(fresh) / "kept"
            cold = child("analyse", scenes, work, "--store", str(store))
            warm = child("analyse", scenes, work, "--store", str(store), "--keep", str(kept))
            found[case.name] = _cost_of(case, cold, warm, store, kept)
    return found


def _cost_of(
    case: Case, cold: dict[str, Any], warm: dict[str, Any], store: Path, kept: Path
) -> dict[str, Any]:
    area = (case.side_px * case.gsd_m) ** 2 / 1e6
    products = [path for path in store.rglob("*") if path.is_file()]
    files = [path for path in kept.rglob("*") if path.is_file()]
    changes = len(json.loads((kept / "changes.geojson").read_text())["features"])
    return {
        "what": case.what,
        "km2": area,
        "looks": case.looks,
        "cpu_s_per_km2_look": (cold["cpu_s"] - warm["cpu_s"]) / area / case.looks,
        "cpu_s_per_report": warm["cpu_s"],
        "product_mb_per_km2_look": sum(p.stat().st_size for p in products) / 1e6 / area / case.looks,
        "products_per_look": len(products) / case.looks,
        "report_files": len(files),
        "report_mb": sum(p.stat().st_size for p in files) / 1e6,
        "changes": changes,
        "peak_mib": cold["peak_mib"],
    }


# --- the table of leases ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueueRun:
    """How many workers, how many units they had, and how long all of it took from the first claim to the last end."""

    workers: int
    units: int
    seconds: float

    @property
    def units_per_s(self) -> float:
        """Units ended per second."""
        return self.units / self.seconds


def _work(settings: dict[str, Any], unit_s: float, changes: int, ready: Any, start: Any) -> None:
    """Work off the queue until it is empty."""
    from benchmarks.service_fake import FakeRunner
    from service.artefacts import ArtefactStore
    from service.database import Database
    from service.settings import Settings
    from service.telemetry import configure_logging
    from service.worker import Worker

    configure_logging("ERROR")
    parsed = Settings(**settings)
    database = Database(parsed.database_url, pool_size=2)
    worker = Worker(database, ArtefactStore(parsed.artefacts_place), FakeRunner(changes, unit_s), parsed)
    ready.release()
    start.wait()
    while worker.run_one():
        pass
    database.close()


def queue(database: str, counts: Sequence[int], unit_s: float) -> list[dict[str, Any]]:
    """Return units per second against what as many workers could do if nothing but the unit took time."""
    rows = []
    for workers in counts:
        units = max(24, round(workers * 12 / unit_s))
        with tempfile.TemporaryDirectory() as folder:
            run = _queue_run(Path(folder), database, workers, units, unit_s)
        ideal = workers / unit_s
        rows.append(
            {
                "workers": workers,
                "units": units,
                "seconds": round(run.seconds, 2),
                "units_per_s": round(run.units_per_s, 2),
                "of_ideal": round(run.units_per_s / ideal, 3),
            }
        )
        print(f"  queue {rows[-1]}", flush=True)
    return rows


def _queue_run(folder: Path, database: str, workers: int, units: int, unit_s: float) -> QueueRun:
    from service.context import open_service
    from service.settings import Settings

    settings = {
        "data": str(folder), "database": database, "secret": "scaling", "poll_s": 0.05,
        "max_running_per_tenant": 10_000, "lease_s": 60.0,
    }  # fmt: skip
    service = open_service(Settings(**settings))
    _submit(service, f"scaling-{workers}", units)
    service.close()
    spawn = multiprocessing.get_context("forkserver")
    spawn.set_forkserver_preload(["benchmarks.service_fake", "service.worker", "service.artefacts"])
    ready, start = spawn.Semaphore(0), spawn.Event()
    arguments = (settings, unit_s, CHANGES_EACH, ready, start)
    processes = [spawn.Process(target=_work, args=arguments, daemon=True) for _ in range(workers)]
    for process in processes:
        process.start()
    for _ in processes:
        if not ready.acquire(timeout=START_LIMIT_S):
            raise RuntimeError("a worker process did not start")
    began = time.perf_counter()
    start.set()
    for process in processes:
        process.join()
    return QueueRun(workers, units, time.perf_counter() - began)


def _submit(service: Any, tenant_name: str, count: int) -> None:
    """Put one job of ``count`` sites into the database."""
    from service import jobs
    from service.intake import read_document
    from service.sites import create_site
    from service.tenancy import ensure_tenant

    made = []
    with service.database.write() as connection:
        tenant = ensure_tenant(service.database, connection, tenant_name)
        for number in range(count):
            west, south = 10 + number % 40 * 0.1, 40 + number // 40 * 0.1
            ring = [[west, south], [west + 0.01, south], [west + 0.01, south + 0.01], [west, south]]
            geometry = {"type": "Polygon", "coordinates": [ring]}
            feature = {"type": "Feature", "properties": {"name": f"site {number}"}, "geometry": geometry}
            draft = read_document(feature).drafts[0]
            made.append(create_site(service.database, connection, tenant, draft, max_sites=count).id)
        request = jobs.JobRequest("analyse", made, None, {})
        jobs.submit(service.database, connection, tenant, request, max_queued=count)


# --- a real Dask scheduler ----------------------------------------------------------------------------------------


def _stub(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def dask(seconds: float = 0.0) -> dict[str, Any]:
    """Return what one task costs a real scheduler in a process of its own, through the runner's window."""
    from pipelines.runner import open_runner

    environment = os.environ | ONE_CORE | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        quiet = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "cwd": folder,
            "env": environment,
        }
        here = [sys.executable, "-m", "dask"]
        at = ["--host", "127.0.0.1", "--scheduler-file", str(file)]
        running = [
            subprocess.Popen(
                [*here, "scheduler", *at, "--port", "0", "--dashboard-address", "127.0.0.1:0"], **quiet
            )
        ]
        try:
            end = time.monotonic() + START_LIMIT_S
            while not file.is_file() and time.monotonic() < end:
                time.sleep(0.05)
            address = json.loads(file.read_text())["address"]
            more = [
                "--nthreads",
                "8",
                "--no-nanny",
                "--dashboard-address",
                "127.0.0.1:0",
                "--memory-limit",
                "0",
            ]
            running += [
                subprocess.Popen([*here, "worker", address, "--host", "127.0.0.1", *more], **quiet)
                for _ in range(DASK_WORKERS)
            ]
            _wait_for_workers(address)
            with open_runner(scheduler=address) as runner:
                rates = []
                for _ in range(3):
                    began = time.perf_counter()
                    runner.map(_stub, [seconds] * DASK_TASKS, lambda _count: None)
                    rates.append(DASK_TASKS / (time.perf_counter() - began))
        finally:
            for process in running:
                process.kill()
                process.wait()
    return {"tasks": DASK_TASKS, "threads": DASK_WORKERS * 8, "tasks_per_s": statistics.median(rates)}


def _wait_for_workers(address: str) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(DASK_WORKERS, timeout=START_LIMIT_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts and merge them into the file of results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", default="", help="PostgreSQL URL of an empty database; default SQLite")
    parser.add_argument("--only", default="cost,queue,dask")
    parser.add_argument("--workers", default=",".join(map(str, WORKERS)))
    parser.add_argument("--unit-s", type=float, default=UNIT_S, help="how long a stub unit takes")
    parser.add_argument("--work", type=Path, help="keep the scenes here")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    said = json.loads(args.out.read_text()) if args.out.is_file() else {}
    wanted = args.only.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        work = args.work or Path(scratch)
        if "cost" in wanted:
            said["cost"] = cost(work)
        if "queue" in wanted:
            kind = "postgresql" if args.database else "sqlite"
            counts = [int(n) for n in args.workers.split(",")]
            said[f"queue_{kind}"] = queue(args.database, counts, args.unit_s)
        if "dask" in wanted:
            said["dask"] = dask()
    said["run"] = {
        "python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[1], 1),
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
    print(json.dumps(said, indent=1, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
