"""Kill the workers of a batch of real analyses at random and count what was lost, doubled and done again (G18).

    python -m benchmarks.batch_kills [--sites 100] [--looks 50] [--kills 40] [--database URL] [--work DIR] [--out FILE]

A reprocess of many small sites over one made archive runs through the service's own table of leases in worker
processes of its own. Each worker notes every step that ended (one chip, one look, one report) with the time. Whatever
a killed worker had done since its last note, and whatever its successor did until it came past that note, is work done
again. Some sites are then analysed once more, undisturbed and with a store of their own: the bytes must be the same.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks.throughput import EAST, EPSG, NORTH, ONE_CORE, Case, write_scenes

RESULTS = Path(__file__).parent / "results" / "batch_kills.json"
GSD_M, SITE_PX, PITCH_PX = 0.5, 80, 120
COMPARED = 5
LEASE_S = 3.0
PRELOADED = ["benchmarks.throughput", "service.worker_process", "pipelines.site", "pipelines.report"]
FORK = multiprocessing.get_context("forkserver")


@dataclass(frozen=True, slots=True)
class Note:
    """One line a worker wrote: when, who, on which site, what had ended (``begin`` first), how many of it."""

    at: float
    process: int
    site: str
    step: str
    done: int


@dataclass(frozen=True, slots=True)
class NotingRunner:
    """The real analysis, which notes each step that ended in a file that all workers share."""

    products: str
    downloads: Path
    notes: Path

    def __call__(self, unit: Any, out: Path, step: Any) -> None:
        """See ``UnitRunner``."""
        from service.analysis_unit import SiteRunner

        with self.notes.open("a", buffering=1) as file:

            def noted(name: str, done: int, total: int) -> None:
                file.write(f"{time.monotonic():.4f} {os.getpid()} {unit.site} {name} {done}\n")
                step(name, done, total)

            file.write(f"{time.monotonic():.4f} {os.getpid()} {unit.site} begin 0\n")
            SiteRunner(self.products, self.downloads, frozenset())(unit, out, noted)
            file.write(f"{time.monotonic():.4f} {os.getpid()} {unit.site} end 1\n")

    def afresh(self, products: Path) -> "NotingRunner":
        """See ``UnitRunner``."""
        return NotingRunner(str(products), self.downloads, self.notes)


def run_noting_worker(settings: dict[str, Any], job: str, notes: str) -> None:
    """Work on one job until it is done or this process is killed."""
    os.environ.update(ONE_CORE)
    from service.settings import Settings
    from service.telemetry import configure_logging
    from service.worker_process import run_worker

    configure_logging("ERROR")
    parsed = Settings(**settings)
    run_worker(
        parsed, job=job, runner=NotingRunner(parsed.products_place, parsed.downloads_place, Path(notes))
    )


def site_ring(index: int, across: int) -> dict[str, Any]:
    """Return the outline of one of the sites that lie in rows over the scenes."""
    from pyproj import Transformer

    back = Transformer.from_crs(EPSG, 4326, always_xy=True)
    east = EAST + (index % across + 0.25) * PITCH_PX * GSD_M
    north = NORTH - (index // across + 0.25) * PITCH_PX * GSD_M
    side = SITE_PX * GSD_M
    corners = ((0, 0), (side, 0), (side, -side), (0, -side), (0, 0))
    return {
        "type": "Polygon",
        "coordinates": [[list(back.transform(east + x, north + y)) for x, y in corners]],
    }


def submit(service: Any, scenes: Path, sites: int) -> tuple[str, list[str]]:
    """Register the archive and the sites and submit one reprocess of all; return the job and the sites' ids."""
    from pipelines.archives import open_archive
    from service import jobs
    from service.archives import add_archive, store_scenes
    from service.intake import read_document
    from service.sites import create_site
    from service.tables import archives
    from service.tenancy import ensure_tenant

    across = max(1, round(sites**0.5))
    found = open_archive(str(scenes / "catalog.json")).search(None, None).scenes
    with service.database.write() as connection:
        tenant = ensure_tenant(service.database, connection, "batch")
        add_archive(service.database, connection, "made", "catalog", str(scenes / "catalog.json"), tenant)
        archive = connection.execute(select(archives.c.id)).scalar_one()
        store_scenes(service.database, connection, archive, found, whole=True)
        made = []
        for index in range(sites):
            outline = site_ring(index, across)
            feature = {"type": "Feature", "properties": {"name": f"site {index}"}, "geometry": outline}
            draft = read_document(feature).drafts[0]
            made.append(create_site(service.database, connection, tenant, draft, max_sites=sites).id)
        request = jobs.JobRequest("reprocess", made, None, {})
        job = jobs.submit(service.database, connection, tenant, request, max_queued=sites)
    return job, made


def run_batch(folder: Path, scenes: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Run the batch under kills and return what was counted."""
    from service.context import open_service
    from service.settings import Settings

    settings: dict[str, Any] = {
        "data": str(folder / "data"), "database": args.database, "secret": "batch", "lease_s": LEASE_S, "poll_s": 0.05,
        "backoff_s": 0.0, "max_attempts": 10_000, "max_running_per_tenant": 1000,
    }  # fmt: skip
    (folder / "data").mkdir(parents=True)
    service = open_service(Settings(**settings))
    job, sites = submit(service, scenes, args.sites)
    FORK.set_forkserver_preload(PRELOADED)
    notes = folder / "notes"
    notes.touch()
    dice = random.Random(args.seed)

    def start() -> Any:
        process = FORK.Process(target=run_noting_worker, args=(settings, job, str(notes)), daemon=True)
        process.start()
        return process

    workers = [start() for _ in range(args.workers)]
    killed: dict[int, float] = {}
    began = time.monotonic()
    done = 0
    while done < args.sites:
        time.sleep(0.1)
        done = _ended(service)
        # Kills are spread over the batch, whatever its speed.
        if len(killed) < args.kills and _steps(notes) > (len(killed) + 1) * args.sites * args.looks / (
            args.kills + 1
        ):
            index = dice.randrange(len(workers))
            time.sleep(dice.uniform(0, 0.5))
            if workers[index].is_alive():
                os.kill(workers[index].pid, signal.SIGKILL)
                killed[workers[index].pid] = time.monotonic()
                workers[index].join()
        workers = [worker if worker.is_alive() else start() for worker in workers]
        print(f"\r{done} of {args.sites} sites, {len(killed)} kills", end="", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    for worker in workers:
        worker.kill()
        worker.join()
    print(file=sys.stderr)
    said = counted(service, job, sites)
    said |= redone(read_notes(notes), killed)
    said["same_bytes_undisturbed"] = _same_again(folder, scenes, service, job, sites)
    service.close()
    return said | {
        "kills": len(killed),
        "workers": args.workers,
        "seconds": round(seconds, 1),
        "looks": args.looks,
    }


def _ended(service: Any) -> int:
    from service.tables import units

    with service.database.read() as connection:
        ended = select(func.count()).select_from(units).where(units.c.state.in_(("successful", "failed")))
        return int(connection.execute(ended).scalar_one())


def _steps(notes: Path) -> int:
    """Count the looks that are made: a successor notes those of a killed worker once more, which is no progress."""
    return len({(note.site, note.done) for note in read_notes(notes) if note.step == "looks"})


def counted(service: Any, job: str, sites: Sequence[str]) -> dict[str, Any]:
    """Count units and reports: lost are units without a report that succeeded, doubled those with more than one."""
    from service.tables import reports, units

    with service.database.read() as connection:
        states = Counter(connection.execute(select(units.c.state).where(units.c.job == job)).scalars())
        made = Counter(connection.execute(select(reports.c.site).where(reports.c.job == job)).scalars())
    return {
        "units": sum(states.values()),
        "successful": states["successful"],
        "lost": sum(made[site] == 0 for site in sites),
        "doubled": sum(n - 1 for n in made.values() if n > 1),
    }


def read_notes(path: Path) -> list[Note]:
    """Read what the workers noted; a line that a kill cut short is left out."""
    found = []
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) == 5 and words[4].isdigit():
            found.append(Note(float(words[0]), int(words[1]), words[2], words[3], int(words[4])))
    return sorted(found, key=lambda note: note.at)


def redone(notes: Sequence[Note], killed: dict[int, float]) -> dict[str, Any]:
    """Return the work that was done again, in looks and in seconds, of all that was done.

    Of a killed attempt, the time since its last note is lost; of the attempt after it, the time until it has come
    past what was noted before counts as done again, although most of it only finds what is kept.
    """
    attempts: dict[tuple[int, str], list[Note]] = defaultdict(list)
    for note in notes:
        attempts[note.process, note.site].append(note)
    lost = again = busy = 0.0
    looks_begun_again = interrupted = 0
    furthest: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for (process, site), mine in attempts.items():
        busy += mine[-1].at - mine[0].at
        known = furthest[site]
        for before, note in pairwise(mine):
            if (note.step, note.done) in known:
                again += note.at - before.at
        if mine[-1].step != "end" and process in killed:
            interrupted += 1
            lost += killed[process] - mine[-1].at
            busy += killed[process] - mine[-1].at
            looks_begun_again += mine[-1].step in {"chips", "looks"}
        known.update((note.step, note.done) for note in mine)
    looks = len({(note.site, note.done) for note in notes if note.step == "looks" and note.done > 0})
    return {
        "attempts": len(attempts),
        "interrupted": interrupted,
        "looks_made": looks,
        "looks_begun_again": looks_begun_again,
        "busy_s": round(busy, 1),
        "lost_s": round(lost, 2),
        "found_again_s": round(again, 2),
        "redone_of_looks": looks_begun_again / max(looks, 1),
        "redone_of_seconds": (lost + again) / busy,
    }


def _same_again(folder: Path, scenes: Path, service: Any, job: str, sites: Sequence[str]) -> bool:
    """Analyse some sites once more in one go with a fresh store, and compare every file of their reports."""
    from service.analysis_unit import AnalyseUnit, SiteRunner
    from service.archives import sources
    from service.sites import geometry_of
    from service.tables import report_files, reports
    from service.tables import sites as site_table

    for site in sites[:: max(1, len(sites) // COMPARED)]:
        with service.database.read() as connection:
            named = connection.execute(select(site_table).where(site_table.c.id == site)).one()
            aoi = geometry_of(connection, site, named.geometry_version)
            places = tuple(sources(connection, named.tenant, json.loads(named.archives)))
            report = connection.execute(
                select(reports.c.id).where(reports.c.job == job, reports.c.site == site)
            ).scalar_one()
            files = select(report_files.c.path, report_files.c.sha256).where(report_files.c.report == report)
            kept = {row.path: row.sha256 for row in connection.execute(files)}
        out = folder / "again" / site
        out.parent.mkdir(exist_ok=True)
        unit = AnalyseUnit(site, named.name, aoi, places, None, json.loads(named.parameters))
        SiteRunner(str(folder / "fresh"), folder / "downloads", frozenset())(unit, out, lambda *_: None)
        for name, digest in kept.items():
            if hashlib.sha256((out / name).read_bytes()).hexdigest() != digest:
                print(f"{site}: {name} differs", file=sys.stderr)
                return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and keep what was counted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sites", type=int, default=100)
    parser.add_argument("--looks", type=int, default=50)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", default="", help="PostgreSQL URL of an empty database; default SQLite")
    parser.add_argument("--work", type=Path, help="keep the scenes here")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    across = max(1, round(args.sites**0.5))
    case = Case("batch", (across + 1) * PITCH_PX, GSD_M, args.looks, "small chips")
    with tempfile.TemporaryDirectory(prefix="batch-") as folder:
        scenes = (args.work or Path(folder)) / f"batch-{args.sites}-{args.looks}"
        if not scenes.is_dir():
            write_scenes(scenes, case)
        said = run_batch(Path(folder), scenes, args)
    said["run"] = {
        "python": platform.python_version(), "cores": os.cpu_count(), "load_average": round(os.getloadavg()[1], 1),
        "database": "postgresql" if args.database else "sqlite",
    }  # fmt: skip
    kept = json.loads(args.out.read_text())["runs"] if args.out.is_file() else []
    same = [
        (run["units"], run["looks"], run["kills"]) == (args.sites, args.looks, said["kills"]) for run in kept
    ]
    runs = [run for run, again in zip(kept, same, strict=True) if not again] + [said]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"runs": runs}, indent=1, sort_keys=True) + "\n")
    print(json.dumps(said, indent=1, sort_keys=True))
    good = said["lost"] == said["doubled"] == 0 and said["same_bytes_undisturbed"]
    return 0 if good and said["redone_of_seconds"] < 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
