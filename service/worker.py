"""The loop that runs units: claim, analyse, publish, and stop politely.

The analysis runs in the loop's own thread; a second thread prolongs the lease and learns of dismissal. Both, and a
request to stop, reach the analysis through its progress callback, that is at its step boundaries.
"""

import json
import logging
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import select

from imagery.errors import DepotwatchError
from service.analysis_unit import AnalyseUnit, UnitRunner
from service.archives import sources
from service.artefacts import ArtefactStore
from service.database import Database
from service.errors import NoReportYet, NotAvailable
from service.leases import (
    Fenced,
    Lease,
    LeaseRules,
    claim,
    fail,
    finish,
    heartbeat,
    note_verdict,
    release,
    skip,
)
from service.publishing import publish_report, store_report
from service.settings import Settings
from service.sites import geometry_of
from service.tables import sites
from service.verification import verify_current
from service.words import counted

log = logging.getLogger(__name__)

# Of the whole unit, how much each step of ``pipelines.site`` takes: only a progress bar depends on it.
STEP_SHARES = {"search": 0.05, "chips": 0.2, "looks": 0.45, "changes": 0.15, "report": 0.1, "upload": 0.05}
# The same where scenes are fetched from elsewhere, which takes longest of all the first time.
REMOTE_SHARES = {
    "search": 0.05, "fetch": 0.4, "chips": 0.1, "looks": 0.25, "changes": 0.1, "report": 0.05, "upload": 0.05,
}  # fmt: skip

# Errors that may pass by themselves; everything else of the family will be the same next time.
PASSING = frozenset(
    {
        "cluster-failed", "download-failed", "internal", "lost-product", "no-scheduler", "not-available", "out-not-writable",
        "product-store-failed", "unreadable-archive", "vanished-scene", "wrong-worker-code",
    }
)  # fmt: skip


class Stopping(DepotwatchError):
    """The worker was asked to stop and its time to finish is up."""

    code = "stopping"


class NoRoom(DepotwatchError):
    """The worker's data folder is full or cannot be written; the unit is tried again later."""

    code = "no-room"


class InternalFault(DepotwatchError):
    """A bug met while running a unit: the trace is in the worker's log."""

    code = "internal"


def code_version() -> str:
    """Name the method this process would analyse with: algorithm and model weights."""
    from pipelines.steps import processing_version, weights_sha256

    return processing_version({}, weights_sha256(True))


def rules_of(settings: Settings) -> LeaseRules:
    """Return the lease rules an operator set."""
    return LeaseRules(
        settings.lease_s, settings.max_attempts, settings.backoff_s, settings.max_running_per_tenant
    )


def overall_progress(step: str, done: int, total: int, *, remote: bool = False) -> float:
    """Return how far a unit is, 0-1, from where one of its steps is; ``remote`` where it has fetched scenes."""
    before = 0.0
    for name, share in (REMOTE_SHARES if remote else STEP_SHARES).items():
        if name == step:
            return min(1.0, before + share * done / max(total, 1))
        before += share
    return 0.0


class Beat:
    """Keeps one lease alive in a thread of its own."""

    def __init__(self, database: Database, lease: Lease, rules: LeaseRules) -> None:
        self._database, self._lease, self._rules = database, lease, rules
        self.step, self.progress = "", 0.0
        self.lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"beat-{lease.unit}", daemon=True)

    def __enter__(self) -> "Beat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._rules.lease_s / 3):
            try:
                heartbeat(self._database, self._lease, self._rules, self.step, self.progress)
            except Fenced:
                self.lost = True
                return
            except NotAvailable as error:
                # The lease lasts two more beats; the next one may get through.
                log.warning("heartbeat-missed", extra={"unit": self._lease.unit, "detail": error.detail})


class Worker:
    """Runs units until told to stop; with a ``job`` that one's only."""

    def __init__(
        self,
        database: Database,
        store: ArtefactStore,
        runner: UnitRunner,
        settings: Settings,
        *,
        job: str | None = None,
        idle: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database, self.store, self.runner, self.settings = database, store, runner, settings
        self.rules = rules_of(settings)
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._job = job
        self._idle = idle
        self._monotonic = monotonic
        self._stop = threading.Event()
        self._stop_at = float("inf")
        self.current: Lease | None = None

    def stop(self) -> None:
        """Take no more units; the one in hand may go on for ``drain_s``."""
        self._stop_at = self._monotonic() + self.settings.drain_s
        self._stop.set()

    def run(self) -> None:
        """Work until stopped; a database that is away is waited for."""
        while not self._stop.is_set():
            try:
                worked = self.run_one()
                if not worked:
                    self._idle()
            except NotAvailable as error:
                log.warning("database-away", extra={"detail": error.detail})
                worked = False
            if not worked:
                self._stop.wait(self.settings.poll_s)

    def run_one(self) -> bool:
        """Run the next unit, if there is one; return whether there was."""
        lease = claim(self.database, self.owner, self.rules, self._job)
        if lease is None:
            return False
        self.current = lease
        started = self._monotonic()
        log.info("unit-started", extra=_fields(lease))
        try:
            with _spare_folder(self.settings.data) as folder:
                self._run_lease(lease, folder / "report")
        except Fenced:
            log.warning("unit-fenced", extra=_fields(lease))
        except NoRoom as error:
            log.warning("unit-failed", extra={**_fields(lease), "code": error.code, "detail": error.detail})
            self._fail(lease, error, final=False)
        finally:
            self.current = None
        log.info("unit-ended", extra={**_fields(lease), "seconds": round(self._monotonic() - started, 3)})
        return True

    def _run_lease(self, lease: Lease, out: Path) -> None:
        with Beat(self.database, lease, self.rules) as beat:
            try:
                unit = self._unit(lease)
                if unit is None:
                    skip(self.database, lease, "site-deleted", "the site was deleted meanwhile")
                    return
                self._check_code(lease)
                if lease.type == "verify":
                    self._verify(lease, beat, out)
                else:
                    self.runner(unit, out, self._step(beat))
                    self._publish(lease, beat, out)
            except Fenced:
                raise
            except Stopping:
                release(self.database, lease)
            except NoReportYet as error:
                skip(self.database, lease, error.code, error.detail)
            except DepotwatchError as error:
                log.warning(
                    "unit-failed", extra={**_fields(lease), "code": error.code, "detail": error.detail}
                )
                self._fail(lease, error, final=error.code not in PASSING)
            except Exception as error:
                log.exception("unit-broke", extra=_fields(lease))
                told = f"{type(error).__name__} while analysing; the worker's log has the trace"
                self._fail(lease, InternalFault(told), final=False)

    def _fail(self, lease: Lease, error: DepotwatchError, *, final: bool) -> None:
        self._persist(lambda: fail(self.database, lease, self.rules, error, final=final))

    def _check_code(self, lease: Lease) -> None:
        """Refuse a unit of a batch made for another method: half a batch by each could not be compared.

        Raises
        ------
        WrongCode
        """
        from pipelines.runner import WrongCode

        if lease.code is not None and lease.code != code_version():
            raise WrongCode(
                f"worker {self.owner} analyses by version {code_version()}, the batch was submitted for {lease.code}; "
                "install one version on all workers, or submit the batch again"
            )

    def _unit(self, lease: Lease) -> AnalyseUnit | None:
        with self.database.read() as connection:
            site = connection.execute(select(sites).where(sites.c.id == lease.site)).one()
            if site.deleted is not None:
                return None
            names = json.loads(site.archives)
            return AnalyseUnit(
                site.id,
                site.name,
                geometry_of(connection, site.id, lease.geometry_version),
                tuple(sources(connection, site.tenant, names)),
                lease.period,
                {**json.loads(site.parameters), **lease.parameters},
            )

    def _step(self, beat: Beat) -> Callable[[str, int, int], None]:
        remote = False

        def step(name: str, done: int, total: int) -> None:
            nonlocal remote
            remote = remote or name == "fetch"
            at = overall_progress(name, done, total, remote=remote)
            # What pictures show beyond the site is fetched when most is done already: that is no way back.
            beat.step, beat.progress = name, max(at, beat.progress) if name == "fetch" else at
            if beat.lost:
                raise Fenced("the lease was lost or the job dismissed")
            if self._monotonic() > self._stop_at:
                raise Stopping("the worker was asked to stop")

        return step

    def _publish(self, lease: Lease, beat: Beat, out: Path) -> None:
        self._step(beat)("upload", 0, 1)
        stored = store_report(self.store, out)
        message = f"{counted(len(stored.changes), 'change')} in {counted(len(stored.looks), 'look')}"
        left_out = [
            (row["code"], f"{row['where']}: {row['detail']}") for row in stored.report.get("refused", ())
        ]
        self._persist(
            lambda: finish(
                self.database,
                lease,
                lambda c: publish_report(self.database, c, lease, stored),
                message,
                left_out,
            )
        )

    def _verify(self, lease: Lease, beat: Beat, folder: Path) -> None:
        verdict = verify_current(self.database, self.store, lease, self.runner, self._step(beat), folder)
        self._persist(
            lambda: note_verdict(self.database, lease, verdict.report, verdict.code, verdict.message)
        )

    def _persist(self, write: Callable[[], object]) -> None:
        """Write a unit's end, waiting for a database that is away as long as the lease may last."""
        until = self._monotonic() + self.rules.lease_s
        while True:
            try:
                write()
                return
            except NotAvailable:
                if self._monotonic() > until:
                    raise
                time.sleep(min(0.5, self.rules.lease_s / 10))


def _fields(lease: Lease) -> dict[str, object]:
    return {"unit": lease.unit, "job": lease.job, "site": lease.site, "attempt": lease.attempt}


@contextmanager
def _spare_folder(data: Path) -> Iterator[Path]:
    try:
        data.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="unit-", dir=_spare_root(data)))
    except OSError as error:
        raise NoRoom(f"{data} takes no files of a unit: {error.strerror}; make room there") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _spare_root(data: Path) -> Path:
    root = data / "tmp"
    root.mkdir(exist_ok=True)
    return root


def sweep_spare(data: Path, older_than_s: float) -> None:
    """Remove folders that killed workers left behind."""
    limit = time.time() - older_than_s
    for folder in _spare_root(data).iterdir() if data.exists() else ():
        with suppress(OSError):
            if folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)
