"""Kill workers and API at random while work comes in, then count: nothing lost, nothing doubled (G18).

Processes are forked from one that has everything imported, so that a kill costs milliseconds and a thousand of them
minutes. What is counted afterwards is read from the database, and compared with what a client saw through the kills.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from service.artefacts import ArtefactStore
from service.client import Client, ServiceAway
from service.database import Database
from service.keys import create_key, pepper
from service.settings import Settings
from service.tables import changes, feed, jobs, report_files, reports, units

# An API that never lives long enough to answer would only show how patient a client is.
API_LIFE_S = 3.0
# Of all strikes, how many the API gets, and how many freeze a worker instead of killing it.
API_SHARE, FREEZE_SHARE = 0.12, 0.03
PRELOADED = [
    "benchmarks.service_fake",
    "service.server",
    "service.worker_process",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
]
FORK = multiprocessing.get_context("forkserver")


def run_api(settings: dict[str, Any], environment: dict[str, str], port: int) -> None:
    """Answer HTTP until killed."""
    os.environ.update(environment)
    from service.server import serve
    from service.telemetry import configure_logging

    configure_logging("ERROR")
    serve(Settings(**settings), "127.0.0.1", port, 0, announce=lambda _address: None)


def run_fake_worker(
    settings: dict[str, Any], environment: dict[str, str], notes: str, seconds: float, changes_each: int
) -> None:
    """Work off units with the stand-in until killed."""
    os.environ.update(environment)
    from benchmarks.service_fake import FakeRunner
    from service.telemetry import configure_logging
    from service.worker_process import run_worker

    configure_logging("ERROR")
    run_worker(Settings(**settings), runner=FakeRunner(changes_each, seconds, Path(notes)))


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class World:
    """Where the processes live: database URL ('' is SQLite), artefact store ('' is a folder), environment."""

    database: str = ""
    artefacts: str = ""
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Outcome:
    """What was done and what was counted afterwards."""

    database: str
    kills: int = 0
    api_kills: int = 0
    freezes: int = 0
    units: int = 0
    executions: int = 0
    successful: int = 0
    reports: int = 0
    feed_entries: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


class Arena:
    """One API and some workers on one database, and a hand that kills them."""

    def __init__(
        self, folder: Path, world: World, *, workers: int, seconds: float, seed: int, freeze_share: float
    ) -> None:
        self.settings: dict[str, Any] = {
            "data": str(folder),
            "database": world.database,
            "artefacts": world.artefacts,
            "lease_s": 1.0,
            "poll_s": 0.02,
            "backoff_s": 0.0,
            "drain_s": 1.0,
            "max_attempts": 10_000,
            "secret": "faults",
            "rate_per_s": 100_000.0,
            "rate_burst": 1_000_000.0,
        }
        self.environment = dict(world.environment)
        self.freeze_share = freeze_share
        self.notes = folder / "executions"
        self.random = random.Random(seed)
        self.port = free_port()
        self.seconds = seconds
        self.database = Database(Settings(**self.settings).database_url)
        self.database.migrate()
        parsed = Settings(**self.settings)
        self.key = create_key(self.database, pepper(parsed), "faults", ["admin"])
        FORK.set_forkserver_preload(PRELOADED)
        self.api = self._start_api()
        self.workers = [self._start_worker() for _ in range(workers)]

    def _start_api(self) -> Any:
        process = FORK.Process(target=run_api, args=(self.settings, self.environment, self.port), daemon=True)
        process.start()
        self.api_since = time.monotonic()
        return process

    def _start_worker(self) -> Any:
        arguments = (self.settings, self.environment, str(self.notes), self.seconds, 3)
        process = FORK.Process(target=run_fake_worker, args=arguments, daemon=True)
        process.start()
        return process

    def client(self) -> Client:
        """Return a client that waits out kills."""
        return Client(f"http://127.0.0.1:{self.port}", self.key, patience_s=300.0)

    def strike(self, outcome: Outcome) -> None:
        """Kill or freeze somebody."""
        chance = self.random.random()
        if chance < API_SHARE and time.monotonic() - self.api_since > API_LIFE_S:
            _kill(self.api)
            self.api = self._start_api()
            outcome.api_kills += 1
            outcome.kills += 1
            return
        index = self.random.randrange(len(self.workers))
        victim = self.workers[index]
        if chance < API_SHARE + self.freeze_share:
            self._freeze(victim, outcome)
            return
        _kill(victim)
        self.workers[index] = self._start_worker()
        outcome.kills += 1

    def revive(self) -> None:
        """Start again whoever gave up because the database was away, as ``serve`` does with its workers."""
        if not self.api.is_alive():
            self.api = self._start_api()
        self.workers = [w if w.is_alive() else self._start_worker() for w in self.workers]

    def _freeze(self, victim: Any, outcome: Outcome) -> None:
        """Stop a worker for longer than its lease, then let it go on believing it still holds it."""
        _signal(victim, signal.SIGSTOP)
        outcome.freezes += 1

        def thaw() -> None:
            if victim.is_alive():
                _signal(victim, signal.SIGCONT)

        threading.Timer(1.6, thaw).start()

    def end(self) -> None:
        """Kill everybody."""
        for process in (self.api, *self.workers):
            _signal(process, signal.SIGCONT)
            _kill(process)
        self.database.close()


def _kill(process: Any) -> None:
    _signal(process, signal.SIGKILL)
    process.join()


def _signal(process: Any, number: signal.Signals) -> None:
    """Signal a process; one that gave up by itself, its database being away when it started, is dead already."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def square(index: int) -> dict[str, Any]:
    """Return a small square somewhere of its own."""
    west, south = -100 + (index % 100) * 0.1, 40 + (index // 100) * 0.1
    ring = [
        [west, south],
        [west + 0.01, south],
        [west + 0.01, south + 0.01],
        [west, south + 0.01],
        [west, south],
    ]
    return {"type": "Polygon", "coordinates": [ring]}


class Reader(threading.Thread):
    """Polls the feed through every restart and keeps what it saw, by cursor alone."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.seen: list[tuple[str, str, str]] = []
        self.stopping = threading.Event()
        self.fault = ""

    def run(self) -> None:
        """Read until told to stop and nothing is left."""
        cursor: str | None = None
        while True:
            last_round = self.stopping.is_set()
            try:
                for entry, after in self.client.feed(cursor):
                    self.seen.append((entry["event"], entry["change"] or "", entry["report"]))
                    cursor = after
            except ServiceAway as error:
                self.fault = error.detail
                return
            if last_round:
                return
            time.sleep(0.1)


def run_faults(
    folder: Path,
    world: World,
    *,
    kills: int,
    sites: int = 20,
    workers: int = 3,
    seconds: float = 0.1,
    seed: int = 1,
    told: Callable[[Outcome], None] = lambda _outcome: None,
    disturb: Callable[[int], None] = lambda _kill: None,
    freeze_share: float = FREEZE_SHARE,
) -> Outcome:
    """Submit work, strike until ``kills`` processes died, let the rest be worked off, count.

    ``disturb`` is called after every strike, for what a caller wants to break besides.
    """
    outcome = Outcome(world.database.partition(":")[0].partition("+")[0] or "sqlite")
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    arena = Arena(folder, world, workers=workers, seconds=seconds, seed=seed, freeze_share=freeze_share)
    try:
        with arena.client() as client, arena.client() as watching:
            wanted = [client.add_site(f"site {i}", square(i)).job for i in range(sites)]
            reader = Reader(watching)
            reader.start()
            submitter = Submitter(arena.client(), sites, wanted)
            submitter.start()
            while outcome.kills < kills:
                time.sleep(arena.random.uniform(0.01, 0.25))
                arena.strike(outcome)
                disturb(outcome.kills)
                told(outcome)
            submitter.stopping.set()
            arena.revive()
            submitter.join()
            for job in submitter.jobs:
                client.wait(job, timeout_s=300)
            reader.stopping.set()
            reader.join()
        outcome.seconds = round(time.monotonic() - started, 1)
        count(arena, outcome, submitter, reader)
    finally:
        arena.end()
    return outcome


class Submitter(threading.Thread):
    """Keeps asking for all sites with other parameters, whatever happens to the API meanwhile."""

    def __init__(self, client: Client, sites: int, first: list[str | None]) -> None:
        super().__init__(daemon=True)
        self.client, self.sites = client, sites
        self.jobs = [job for job in first if job is not None]
        self.rounds = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        """Submit a round whenever the one before the last has ended."""
        with self.client:
            while not self.stopping.is_set():
                if self.rounds > 1 and not self._nearly_done():
                    self.stopping.wait(0.1)
                    continue
                self.rounds += 1
                self.jobs.append(self.client.submit("all", min_confidence=self.rounds / 10_000))

    def _nearly_done(self) -> bool:
        """Tell whether the round before the last has ended, so that workers never run dry."""
        counts = self.client.job(self.jobs[-2])["units"]
        return bool(counts["done"] + counts["failed"] == counts["total"])


def count(arena: Arena, outcome: Outcome, submitter: Submitter, reader: Reader) -> None:
    """Compare what should be there with what is."""
    expected = submitter.sites * (1 + submitter.rounds)
    faults = outcome.faults
    with arena.database.read() as connection:
        states = Counter(connection.execute(select(units.c.state)).scalars())
        made = connection.execute(select(reports.c.site, reports.c.number, reports.c.unit)).all()
        unended = connection.execute(select(func.count()).where(jobs.c.state != "successful")).scalar_one()
        told = connection.execute(
            select(feed.c.seq, feed.c.kind, feed.c.change, feed.c.report).order_by(feed.c.seq)
        ).all()
        current = set(connection.execute(select(changes.c.change).where(changes.c.current)).scalars())
        digests = set(connection.execute(select(report_files.c.sha256)).scalars())
    outcome.units, outcome.successful = sum(states.values()), states["successful"]
    outcome.reports, outcome.feed_entries = len(made), len(told)
    outcome.executions = sum(line.startswith("begin") for line in arena.notes.read_text().splitlines())
    if outcome.units != expected or states["successful"] != expected:
        faults.append(f"{expected} units were accepted; there are {dict(states)}")
    if unended:
        faults.append(f"{unended} jobs did not end well")
    if len({row.unit for row in made}) != len(made):
        faults.append("a unit has two reports")
    numbers = Counter((row.site, row.number) for row in made)
    if set(numbers.values()) - {1}:
        faults.append("a report number was given twice")
    if len(made) != expected:
        faults.append(f"{expected} different results gave {len(made)} reports")
    if [row.seq for row in told] != list(range(1, len(told) + 1)):
        faults.append("the feed has gaps or repeats")
    if reader.fault:
        faults.append(f"the reader gave up: {reader.fault}")
    if reader.seen != [(row.kind, row.change, row.report) for row in told]:
        faults.append(
            f"the reader saw {len(reader.seen)} entries, the feed has {len(told)}, or in another order"
        )
    if _replayed(told) != current:
        faults.append("replaying the feed does not give the current changes")
    lost = digests - set(ArtefactStore(Settings(**arena.settings).artefacts_place).digests())
    if lost:
        faults.append(f"{len(lost)} files that reports point to are not in the store")


def _replayed(told: Any) -> set[str]:
    standing: set[str] = set()
    for row in told:
        match row.kind:
            case "new":
                if row.change in standing:
                    return {"told as new twice"}
                standing.add(row.change)
            case "retracted":
                standing.discard(row.change)
    return standing


def main() -> int:
    """Run by hand: ``python -m benchmarks.service_faults --kills 1000 [--database URL]``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--database", default="", help="PostgreSQL URL; default SQLite")
    parser.add_argument("--sites", type=int, default=60)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON that keeps what was counted on each database")
    args = parser.parse_args()

    def told(outcome: Outcome) -> None:
        print(f"\r{outcome.kills} kills", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        outcome = run_faults(
            Path(folder),
            World(args.database),
            kills=args.kills,
            sites=args.sites,
            workers=args.workers,
            seed=args.seed,
            told=told,
        )
    print(file=sys.stderr)
    text = json.dumps(asdict(outcome), indent=2)
    print(text)
    if args.out:
        kept = json.loads(args.out.read_text("utf-8")) if args.out.exists() else {}
        kept[outcome.database] = asdict(outcome)
        args.out.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", "utf-8")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
