"""A worker as a process of its own: signals, the archive watch beside it, and an end that loses nothing."""

import contextlib
import logging
import os
import signal
import threading

from imagery.errors import DepotwatchError
from service.analysis_unit import SiteRunner, UnitRunner
from service.artefacts import ArtefactStore
from service.database import Database
from service.delivery import Deliveries, run_quietly
from service.digests import keep_due
from service.keys import pepper
from service.leases import Fenced, release
from service.settings import Settings
from service.watch import Watch
from service.worker import Worker, sweep_spare

log = logging.getLogger(__name__)

PARENT_POLL_S = 1.0
DIGEST_POLL_S = 60.0
# After the drain a step may still be under way; then the unit is given back over its head.
GRACE_S = 5.0
SPARE_KEPT_S = 86_400.0


def run_worker(
    settings: Settings, *, parent: int | None = None, job: str | None = None, runner: UnitRunner | None = None
) -> int:
    """Work until SIGTERM or SIGINT, or until the process that started this one is gone; on one job only if named."""
    database = Database(settings.database_url, pool_size=4)
    database.migrate()
    sweep_spare(settings.data, SPARE_KEPT_S)
    store = ArtefactStore(settings.artefacts_place)
    chosen = runner or SiteRunner.by(settings)
    worker = Worker(database, store, chosen, settings, job=job)
    stopping = threading.Event()

    def stop(_signal: int = 0, _frame: object = None) -> None:
        if stopping.is_set():
            return
        stopping.set()
        worker.stop()
        threading.Thread(target=_give_up, args=(worker, settings.drain_s + GRACE_S), daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if job is None:
        watch = Watch(database, settings, worker.owner)
        threading.Thread(target=_watch, args=(watch, stopping), daemon=True).start()
        outbox = Deliveries(database, pepper(settings), settings.allowed_hosts, worker.owner)
        threading.Thread(target=_deliver, args=(outbox, stopping), daemon=True).start()
        threading.Thread(target=_keep_digests, args=(database, stopping), daemon=True).start()
    if parent is not None:
        threading.Thread(target=_follow_parent, args=(parent,), daemon=True).start()
    log.info("worker-started", extra={"owner": worker.owner})
    worker.run()
    log.info("worker-stopped", extra={"owner": worker.owner})
    database.close()
    return 0


def _watch(watch: Watch, stopping: threading.Event) -> None:
    while True:
        try:
            watch.run_due()
        except DepotwatchError as error:
            log.warning("watch-failed", extra={"code": error.code, "detail": error.detail})
        if stopping.wait(PARENT_POLL_S):
            return


def _deliver(outbox: Deliveries, stopping: threading.Event) -> None:
    while True:
        run_quietly(outbox.run_due, "delivery-failed")
        if stopping.wait(PARENT_POLL_S):
            return


def _keep_digests(database: Database, stopping: threading.Event) -> None:
    while not stopping.wait(DIGEST_POLL_S):
        run_quietly(lambda: keep_due(database), "digest-failed")


def _follow_parent(parent: int) -> None:
    waiting = threading.Event()
    while os.getppid() == parent:
        waiting.wait(PARENT_POLL_S)
    log.warning("parent-gone")
    os.kill(os.getpid(), signal.SIGTERM)


def _give_up(worker: Worker, after_s: float) -> None:
    threading.Event().wait(after_s)
    if (lease := worker.current) is not None:
        with contextlib.suppress(Fenced, DepotwatchError):
            release(worker.database, lease)
        log.warning("unit-abandoned", extra={"unit": lease.unit})
    os._exit(0)
