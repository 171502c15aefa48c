"""Plan past one machine: what a look and a report cost, measured here, and where ten thousand sites bend first.

    python -m benchmarks.scaling [--only cost,requests,queue,dask,check] [--workers 1,2,4,...] [--out FILE.json]

``cost``: small series at each kind of pixel through the whole analysis, in a process of its own each: seconds, products,
report files. ``requests``: what one look and one report ask of an object store. ``queue``: the service's own table of
leases on SQLite and on a PostgreSQL of its own, under more and more worker processes whose units do nothing but take a known
time and publish a report of a known size: where units per second stop growing with workers; and the rows and bytes that a
unit leaves in the database.
``dask``: what one task costs a real scheduler. ``check``: stub units of the measured duration and size on that scheduler,
against what the model of ``benchmarks.scaling_model`` says of them.
``python -m benchmarks.throughput_docs`` multiplies it all out and writes ``docs/scaling.md``.
"""

import argparse
import json
import logging
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.throughput import ONE_CORE, Case, child, warm_up, write_scenes

RESULTS = Path(__file__).parent / "results" / "scaling.json"

# A site of 2.6 km2 as each kind of pixel sees it; of the finest, whose cost is its pixels', a tenth.
COST = (
    Case("look_0.5m", 1020, 0.5, 4, "0.26 km2 at 0.5 m, 4 looks"),
    Case("look_3m", 538, 3.0, 6, "2.6 km2 at 3 m, 6 looks"),
    Case("look_10m", 162, 10.0, 12, "2.6 km2 at 10 m, 12 looks"),
)
REQUESTS = Case("requests", 300, 0.5, 6, "six looks at 0.5 m over S3")
UNIT_S = 1.0
CHANGES_EACH = 30
WORKERS = (1, 2, 4, 8, 16, 32)
SETTLE_S = 0.5
DASK_TASKS = 2000
DASK_ROUNDS = 3
DASK_WORKERS = 4
DASK_THREADS = 8
DASK_SLOTS = DASK_WORKERS * DASK_THREADS
UNIT_BYTES = 4096
"""A ``LookUnit`` as a scheduler gets it, with its scenes' metadata (pickled, measured)."""
CHECK_LONGEST_S = 4.0
CHECK_S = 15.0
CHECK_UNITS = 6000
START_LIMIT_S = 120.0


# --- cost ---------------------------------------------------------------------------------------------------------


def cost(work: Path) -> dict[str, Any]:
    """Return per kind of pixel what one look and one report take."""
    warm_up(work)
    found = {}
    for case in COST:
        scenes = work / case.name
        if not scenes.is_dir():
            write_scenes(scenes, case)
        with tempfile.TemporaryDirectory(dir=work) as fresh:
            store, kept = Path(fresh) / "store", Path(fresh) / "kept"
            cold = child("analyse", scenes, work, "--store", str(store))
            warm = child("analyse", scenes, work, "--store", str(store), "--keep", str(kept))
            found[case.name] = _cost_of(case, scenes, cold, warm, store, kept)
        print(f"  cost {found[case.name]}", flush=True)
    return found


def _cost_of(
    case: Case, scenes: Path, cold: dict[str, Any], warm: dict[str, Any], store: Path, kept: Path
) -> dict[str, Any]:
    area = (case.side_px * case.gsd_m) ** 2 / 1e6
    products = [path for path in store.rglob("*") if path.is_file()]
    files = [path for path in kept.rglob("*") if path.is_file()]
    changes = len(json.loads((kept / "changes.geojson").read_text())["features"])
    look_s = (cold["cpu_s"] - warm["cpu_s"]) / case.looks
    return {
        "what": case.what,
        "km2": area,
        "looks": case.looks,
        "cpu_s_per_look": look_s,
        "cpu_s_per_km2_look": look_s / area,
        "cpu_s_per_report": warm["cpu_s"],
        "report_looks": case.looks,
        "scene_mb_per_look": sum(p.stat().st_size for p in scenes.glob("*.tif")) / 1e6 / case.looks,
        "product_mb_per_look": sum(p.stat().st_size for p in products) / 1e6 / case.looks,
        "products_per_look": len(products) / case.looks,
        "report_files": len(files),
        "report_mb": sum(p.stat().st_size for p in files) / 1e6,
        "changes": changes,
        "peak_mib": cold["peak_mib"],
    }


# --- requests -----------------------------------------------------------------------------------------------------


class _Requests(logging.Handler):
    """Counts what an S3 server is asked, by method, from its own log."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        if found := re.search(r"(GET|PUT|HEAD|POST|DELETE) /", record.getMessage()):
            self.seen[found.group(1)] += 1


def requests(work: Path) -> dict[str, Any]:
    """Return what one look and one unchanged look ask of an object store that keeps the products."""
    from tests.pipelines.bucket import bucket  # the server our tests use, a development dependency

    scenes = work / REQUESTS.name
    if not scenes.is_dir():
        write_scenes(scenes, REQUESTS)
    log, counter = logging.getLogger("werkzeug"), _Requests()
    log.addHandler(counter)
    told = {}
    with bucket("scaling") as address:
        log.setLevel(logging.INFO)
        for name in ("cold", "warm"):
            counter.seen.clear()
            child("analyse", scenes, work, "--store", f"{address}/products")
            told[name] = {method: n / REQUESTS.looks for method, n in sorted(counter.seen.items())}
    log.removeHandler(counter)
    return {"what": REQUESTS.what, "per_look": told}


# --- the table of leases ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A database to work on: its kind, its URL ('' is SQLite in the data folder), and its server's process, if any."""

    kind: str
    url: str = ""
    server: int | None = None


@dataclass(frozen=True, slots=True)
class Worked:
    """What one worker took: of the processor, in transactions that write, and how often it found nothing to do.

    ``writing_s`` is by the clock, waiting included, ``writing_cpu_s`` of the processor.
    """

    cpu_s: float
    writing_s: float
    writing_cpu_s: float
    empty_handed: int


def _work(settings: dict[str, Any], unit_s: float, changes: int, ready: Any, start: Any, told: Any) -> None:
    """Work as a worker of the service does until nothing waits; put what it took into ``told``."""
    from sqlalchemy import select

    from benchmarks.service_fake import FakeRunner
    from service.artefacts import ArtefactStore
    from service.database import Database
    from service.settings import Settings
    from service.tables import units
    from service.telemetry import configure_logging
    from service.worker import Worker

    class Timed(Database):
        writing_s = writing_cpu_s = 0.0

        @contextmanager
        def write(self) -> Iterator[Any]:
            began, cpu = time.perf_counter(), time.thread_time()
            try:
                with super().write() as connection:
                    yield connection
            finally:
                self.writing_s += time.perf_counter() - began
                self.writing_cpu_s += time.thread_time() - cpu

    configure_logging("ERROR")
    parsed = Settings(**settings)
    database = Timed(parsed.database_url, pool_size=2)
    empty_handed = 0

    def idle() -> None:
        nonlocal empty_handed
        with database.read() as connection:
            if connection.execute(select(units.c.id).where(units.c.state == "ready")).first() is None:
                worker.stop()
            else:
                empty_handed += 1

    runner = FakeRunner(changes, unit_s)
    worker = Worker(database, ArtefactStore(parsed.artefacts_place), runner, parsed, idle=idle)
    ready.release()
    start.wait()
    before_s = time.process_time()
    worker.run()
    told.put(Worked(time.process_time() - before_s, database.writing_s, database.writing_cpu_s, empty_handed))
    database.close()


@contextmanager
def places(folder: Path) -> Iterator[list[Callable[[], AbstractContextManager[Place]]]]:
    """Yield what opens a fresh database of each kind: SQLite, and a PostgreSQL of its own that is as durable."""
    from tests.service.support import private_postgres  # the server our tests use, a development dependency

    with private_postgres(durable=True) as server:
        postmaster = int((server.folder / "postmaster.pid").read_text().split()[0])

        @contextmanager
        def postgresql() -> Iterator[Place]:
            with server.database() as url:
                yield Place("postgresql", url, postmaster)

        yield [lambda: nullcontext(Place("sqlite")), postgresql]


def queue(counts: Sequence[int], unit_s: float, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Return by kind of database what so many workers end, against what they could if nothing but the unit took time.

    The kinds take turns at every number of workers, so that what else the machine does weighs on both; of several rounds
    the best counts, because others only ever take away.
    """
    found: dict[str, dict[int, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch, places(Path(scratch)) as kinds:
        for workers, fresh in ((n, kind) for _ in range(rounds) for n in counts for kind in kinds):
            with fresh() as place, tempfile.TemporaryDirectory(dir=scratch) as folder:
                said = _queue_run(Path(folder), place, workers, unit_s)
            print(
                f"  queue {place.kind} { {k: v for k, v in said.items() if k != 'rows_per_unit'} }",
                flush=True,
            )
            best = found.setdefault(place.kind, {})
            best[workers] = min(best.get(workers, said), said, key=lambda each: each["seconds"])
    return {kind: list(rows.values()) for kind, rows in found.items()}


def _queue_run(folder: Path, place: Place, workers: int, unit_s: float) -> dict[str, Any]:
    from service.context import open_service
    from service.settings import Settings

    settings: dict[str, Any] = {
        "data": str(folder), "database": place.url, "secret": "scaling", "max_running_per_tenant": 10_000,
    }  # fmt: skip
    units = max(24, round(workers * 12 / unit_s))
    url = Settings(**settings).database_url
    service = open_service(Settings(**settings))
    rows_before, size_before = _left_in(url)
    _submit(service, f"scaling-{workers}", units)
    service.close()
    spawn = multiprocessing.get_context("forkserver")
    spawn.set_forkserver_preload(["benchmarks.service_fake", "service.worker", "service.artefacts"])
    ready, start, told = spawn.Semaphore(0), spawn.Event(), spawn.SimpleQueue()
    arguments = (settings, unit_s, CHANGES_EACH, ready, start, told)
    processes = [spawn.Process(target=_work, args=arguments, daemon=True) for _ in range(workers)]
    for process in processes:
        process.start()
    for _ in processes:
        if not ready.acquire(timeout=START_LIMIT_S):
            raise RuntimeError("a worker process did not start")
    server_before_s = 0.0 if place.server is None else _cpu_s(place.server)
    began = time.perf_counter()
    start.set()
    took = [told.get() for _ in processes]
    seconds = time.perf_counter() - began
    for process in processes:
        process.join()
    time.sleep(SETTLE_S)  # until the server has counted what its ended connections took
    server_s = 0.0 if place.server is None else _cpu_s(place.server) - server_before_s
    rows, size = _left_in(url)
    return {
        "workers": workers,
        "units": units,
        "seconds": round(seconds, 2),
        "units_per_s": round(units / seconds, 2),
        "of_ideal": round(units / seconds / (workers / unit_s), 3),
        "worker_cpu_ms": round(1e3 * sum(each.cpu_s for each in took) / units, 1),
        "server_cpu_ms": round(1e3 * server_s / units, 1),
        "writing_ms": round(1e3 * sum(each.writing_s for each in took) / units, 1),
        "writing_cpu_ms": round(1e3 * sum(each.writing_cpu_s for each in took) / units, 1),
        "empty_handed": sum(each.empty_handed for each in took),
        "load_average": round(os.getloadavg()[0], 1),
        "rows_per_unit": {t: round((n - rows_before.get(t, 0)) / units, 2) for t, n in rows.items()},
        "database_bytes_per_unit": round((size - size_before) / units),
    }


def _cpu_s(process: int) -> float:
    """Return the processor seconds of a process and of all its children that have ended (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _left_in(url: str) -> tuple[dict[str, int], int]:
    """Return the rows of every table and the bytes of the whole database."""
    from sqlalchemy import func, select, text

    from service.database import Database
    from service.tables import metadata

    database = Database(url)
    with database.read() as connection:
        rows = {
            table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in metadata.sorted_tables
        }
        asked = (
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            if database.is_sqlite
            else "SELECT pg_database_size(current_database())"
        )
        size = int(connection.execute(text(asked)).scalar_one())
    database.close()
    return {name: n for name, n in rows.items() if n}, size


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


def dask() -> dict[str, Any]:
    """Return what one task costs a real scheduler in a process of its own, through the runner's window.

    The best of some rounds: others only ever take away. What scheduler and client take of the processor is what a quiet
    machine would have to give each of them.
    """
    with _cluster() as (runner, scheduler):
        rates, taken = [], []
        for _ in range(DASK_ROUNDS):
            began, before = time.perf_counter(), (_cpu_s(scheduler), time.process_time())
            runner.map(_stub, [StubUnit(0.0, 0)] * DASK_TASKS, lambda _count: None)
            rates.append(DASK_TASKS / (time.perf_counter() - began))
            taken.append((_cpu_s(scheduler) - before[0], time.process_time() - before[1]))
    scheduler_s, client_s = (statistics.median(each) for each in zip(*taken, strict=True))
    return {
        "tasks": DASK_TASKS,
        "slots": DASK_SLOTS,
        "rounds": DASK_ROUNDS,
        "tasks_per_s": max(rates),
        "scheduler_cpu_ms": round(1e3 * scheduler_s / DASK_TASKS, 3),
        "client_cpu_ms": round(1e3 * client_s / DASK_TASKS, 3),
        "load_average": round(os.getloadavg()[0], 1),
    }


def check(said: dict[str, Any]) -> list[dict[str, Any]]:
    """Run stub units of measured duration and size and compare their seconds with what the model says.

    Durations are those of a look at each kind of pixel, shortened together so that the check ends in minutes: what the
    scheduler takes per unit then weighs more than it would, not less.
    """
    from benchmarks.scaling_model import batch_seconds

    looks = {name: each["cpu_s_per_look"] for name, each in said["cost"].items()}
    shorter = CHECK_LONGEST_S / max(looks.values())
    rows = []
    with _cluster() as (runner, _scheduler):
        runner.map(
            _stub, [StubUnit(0.0, 0)] * DASK_SLOTS, lambda _count: None
        )  # workers import before they are timed
        for name, seconds in sorted(looks.items()):
            unit = StubUnit(seconds * shorter, UNIT_BYTES)
            count = max(DASK_SLOTS * 4, min(CHECK_UNITS, round(CHECK_S * DASK_SLOTS / unit.seconds)))
            began = time.perf_counter()
            runner.map(_stub, [unit] * count, lambda _count: None)
            took = time.perf_counter() - began
            expected = batch_seconds(count, unit.seconds, DASK_SLOTS, said["dask"]["tasks_per_s"])
            rows.append(
                {
                    "unit": name, "unit_s": round(unit.seconds, 4), "units": count, "slots": DASK_SLOTS,
                    "model_s": round(expected, 2), "measured_s": round(took, 2), "ratio": round(took / expected, 3),
                }
            )  # fmt: skip
            print(f"  check {rows[-1]}", flush=True)
    return rows


@dataclass(frozen=True, slots=True)
class StubUnit:
    """A unit that takes its time and comes with as many bytes as a real one."""

    seconds: float
    size: int
    load: bytes = b""

    def __post_init__(self) -> None:
        """Fill it."""
        object.__setattr__(self, "load", bytes(self.size))


def _stub(unit: StubUnit) -> float:
    time.sleep(unit.seconds)
    return unit.seconds


@contextmanager
def _cluster() -> Iterator[tuple[Any, int]]:
    """Yield a runner on a scheduler and workers that are processes of their own, and the scheduler's process."""
    from pipelines.runner import open_runner

    environment = os.environ | ONE_CORE | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        quiet: dict[str, Any] = {
            "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, "env": environment,
        }  # fmt: skip
        here = [sys.executable, "-m", "dask"]
        at = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
        start = [*here, "scheduler", *at, "--scheduler-file", str(file), "--port", "0"]
        running = [subprocess.Popen(start, **quiet)]
        try:
            end = time.monotonic() + START_LIMIT_S
            while not file.is_file() and time.monotonic() < end:
                time.sleep(0.05)
            address = json.loads(file.read_text())["address"]
            more = [*at, "--nthreads", str(DASK_THREADS), "--no-nanny", "--memory-limit", "0"]
            running += [
                subprocess.Popen([*here, "worker", address, *more], **quiet) for _ in range(DASK_WORKERS)
            ]
            _wait_for_workers(address)
            with open_runner(scheduler=address) as runner:
                yield runner, running[0].pid
        finally:
            for process in running:
                process.kill()
                process.wait()


def _wait_for_workers(address: str) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(DASK_WORKERS, timeout=START_LIMIT_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts and merge them into the file of results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="cost,requests,queue,dask,check")
    parser.add_argument("--workers", default=",".join(map(str, WORKERS)))
    parser.add_argument("--rounds", type=int, default=2, help="of the table of leases; the best counts")
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
        if "requests" in wanted:
            said["requests"] = requests(work)
        if "queue" in wanted:
            counts = [int(n) for n in args.workers.split(",")]
            said |= {f"queue_{kind}": rows for kind, rows in queue(counts, args.unit_s, args.rounds).items()}
        if "dask" in wanted:
            said["dask"] = dask()
        if "check" in wanted:
            said["check"] = check(said)
    said["cores"] = said.get("cores", {}) | dict.fromkeys(wanted, os.cpu_count())
    said["run"] = {"python": platform.python_version(), "machine": platform.machine()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
    print(json.dumps(said, indent=1, sort_keys=True))
    return 0


if __name__ == "__main__":
    # Of a module that runs as the program, every task would carry the code of its step to its worker.
    from benchmarks import scaling  # noqa: PLW0406

    sys.exit(scaling.main())
