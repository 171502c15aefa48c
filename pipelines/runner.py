"""``map(step, units)`` in this process, on local processes or threads, or on an existing Dask cluster.

Steps passed to a runner are module-level functions of picklable values. Results come back in the order of the units
whatever the order of completion, so that one worker and sixteen give the same bytes. Dask may run a unit twice when a
worker dies: steps have no effects but their write-once products.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from imagery.errors import DepotwatchError
from pipelines.memory import SHARE_OF_MEMORY, check_room, machine_bytes

if TYPE_CHECKING:
    from distributed import Client, Future, as_completed

Unit = TypeVar("Unit")
Result = TypeVar("Result")

# A cluster is never handed more than this many unfinished units per worker: the graph stays small
# however large the archive, and the scheduler's memory bounded.
WINDOW_PER_WORKER = 4
CONNECT_S = 15
# A cluster that ended nothing for so long is asked whether it still has workers: without any it would wait for ever.
SILENT_S = 60.0
LOOK_S = 0.02
THREADS = "threads"


class WrongCode(DepotwatchError):
    """A worker runs another version of the algorithm than the one that handed it work."""

    code = "wrong-worker-code"


class UnknownScheduler(DepotwatchError):
    """Nothing answers at the scheduler's address, or it has no workers."""

    code = "no-scheduler"


class ClusterFailed(DepotwatchError):
    """The Dask cluster broke under the work: its scheduler went away, or a unit ended every worker it was given."""

    code = "cluster-failed"


class Runner(Protocol):
    """Anything that can run one step over many units."""

    def map(
        self,
        step: Callable[[Unit], Result],
        units: Sequence[Unit],
        done: Callable[[int], None],
        unit_bytes: int = 0,
    ) -> list[Result]:
        """Run ``step`` on every unit; call ``done(1)`` as each ends; return results in unit order.

        ``unit_bytes`` is the memory one unit needs at its peak: no more units run at once than fit, and none is begun
        where not one does (``MemoryTooSmall``).
        """
        ...


class SerialRunner:
    """One unit after the other in this process."""

    def map(
        self,
        step: Callable[[Unit], Result],
        units: Sequence[Unit],
        done: Callable[[int], None],
        unit_bytes: int = 0,
    ) -> list[Result]:
        """See ``Runner``."""
        results = []
        for unit in units:
            results.append(step(unit))
            done(1)
        return results


class ThreadRunner:
    """Units on threads of this process, for steps that wait for a disk or a network more than they compute.

    Parameters
    ----------
    workers : threads
    memory_bytes : what all units that run at once may take together
    """

    def __init__(self, workers: int, memory_bytes: int) -> None:
        self._workers, self._memory_bytes = workers, memory_bytes

    def map(
        self,
        step: Callable[[Unit], Result],
        units: Sequence[Unit],
        done: Callable[[int], None],
        unit_bytes: int = 0,
    ) -> list[Result]:
        """See ``Runner``. After a unit that breaks no further one is begun."""
        results = []
        at_once = _that_fit(self._workers, unit_bytes, [self._memory_bytes]) if units else 1
        with ThreadPoolExecutor(at_once) as pool:
            futures = [pool.submit(step, unit) for unit in units]
            try:
                for future in futures:
                    results.append(future.result())
                    done(1)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return results


def _that_fit(most: int, unit_bytes: int, rooms: Collection[int]) -> int:
    """Return how many units may run at once: ``most``, and no more than fit into rooms of so many bytes.

    Raises
    ------
    MemoryTooSmall : not one fits
    """
    if unit_bytes <= 0 or not rooms:
        return most
    check_room("one of the units", unit_bytes, max(rooms))
    return min(most, sum(room // unit_bytes for room in rooms))


class DaskRunner:
    """Units as Dask tasks, a bounded window of them at a time.

    Parameters
    ----------
    client : of the cluster to run on
    memory_bytes : what all units that run at once may take together, of workers on one machine; None where each worker
        of the cluster says what it may take itself (its ``--memory-limit``)
    """

    def __init__(self, client: Client, memory_bytes: int | None = None) -> None:
        self._client = client
        self._memory_bytes = memory_bytes

    def width(self, unit_bytes: int) -> int:
        """Return how many units may be unfinished at once: a few per worker, and no more than fit into memory.

        Raises
        ------
        MemoryTooSmall : not one fits
        """
        most = max(1, self._threads()) * WINDOW_PER_WORKER
        return _that_fit(most, unit_bytes, self._rooms().values())

    def _rooms(self) -> dict[str, int]:
        """Return what each worker may take, or all of them together under no name; nothing where there is no bound."""
        if self._memory_bytes is not None:
            return {"": self._memory_bytes}
        try:
            workers = self._client.scheduler_info()["workers"]
        except OSError as error:
            raise ClusterFailed(_GONE) from error
        limits = {name: int(told["memory_limit"]) for name, told in workers.items()}
        return {} if 0 in limits.values() else {n: int(most * SHARE_OF_MEMORY) for n, most in limits.items()}

    def _able(self, unit_bytes: int) -> dict[str, Any]:
        """Return what tells the scheduler which workers a unit fits into; nothing where it fits into all."""
        rooms = self._rooms()
        able = [name for name, room in rooms.items() if room >= unit_bytes]
        return {} if len(able) == len(rooms) else {"workers": able, "allow_other_workers": False}

    def _threads(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except OSError as error:
            raise ClusterFailed(_GONE) from error

    def map(
        self,
        step: Callable[[Unit], Result],
        units: Sequence[Unit],
        done: Callable[[int], None],
        unit_bytes: int = 0,
    ) -> list[Result]:
        """See ``Runner``. Tasks are impure on purpose: products, not the scheduler, remember results.

        Raises
        ------
        WrongCode : a worker, also one that joined later, runs another version of the algorithm
        ClusterFailed : the scheduler or all workers went away, or workers died of a unit as often as it allows
        """
        from distributed import as_completed

        waiting = iter(enumerate(units))
        checked = partial(_checked, _code(), step)
        position: dict[object, int] = {}
        results: dict[int, Result] = {}

        def submit(count: int) -> list[Future[Result]]:
            # Together: a graph of one task costs the scheduler as much as one of many.
            fresh = list(islice(waiting, count))
            futures = (
                self._client.map(checked, [unit for _, unit in fresh], pure=False, **able) if fresh else []
            )
            position.update((future.key, index) for future, (index, _) in zip(futures, fresh, strict=True))
            return futures

        with _cluster_failures(step), self._client.as_current():
            able = self._able(unit_bytes)
            running = as_completed(submit(self.width(unit_bytes)), with_results=True)
            for ended in self._as_they_end(running):
                for future, result in ended:
                    if future.cancelled():  # what a scheduler that goes away does to all it was given
                        raise ClusterFailed(_GONE)
                    results[position.pop(future.key)] = result
                    done(1)
                running.update(submit(len(ended)))
        return [results[index] for index in range(len(units))]

    def _as_they_end(self, running: as_completed) -> Iterator[list[tuple[Future[Any], Any]]]:
        heard = time.monotonic()
        while not running.is_empty():
            if running.has_ready():
                ended = [next(running)]
                while running.has_ready():  # next_batch would pass errors of all but the first as results
                    ended.append(next(running))
                yield ended
                heard = time.monotonic()
            elif time.monotonic() - heard < SILENT_S:
                time.sleep(LOOK_S)
            elif self._threads():
                heard = time.monotonic()
            else:
                raise ClusterFailed(
                    "the Dask cluster has no workers left; look into their logs why they ended, start them, and run the "
                    "same once more"
                )


_GONE = (
    "the Dask scheduler went away during the work; start it and its workers again and run the same once more"
)


@contextmanager
def _cluster_failures(step: Callable[[Unit], Result]) -> Iterator[None]:
    """Say what distributed raises of its own accord as an error of ours; what a unit raises passes as it is."""
    from distributed import KilledWorker
    from distributed.client import ClosedClientError
    from distributed.comm.core import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise ClusterFailed(
            f"{error.allowed_failures + 1} Dask workers died one after the other of one unit of {step.__name__}, the last "
            f"at {error.last_worker.address}; most often memory ran out: give each worker more, or use fewer"
        ) from error
    except (ClosedClientError, CommClosedError) as error:
        raise ClusterFailed(_GONE) from error


def _code() -> str:
    from pipelines.steps import algorithm_sha256

    return algorithm_sha256()


def _checked(code: str, step: Callable[[Unit], Result], unit: Unit) -> Result:
    """Run a step on a worker, where the worker's own code is the caller's."""
    if _code() != code:
        from distributed import get_worker

        raise WrongCode(
            f"worker {get_worker().address} runs algorithm {_code()[:12]}, this process {code[:12]}; "
            "install the same version of depotwatch on both and start the worker again"
        )
    return step(unit)


@contextmanager
def open_runner(workers: int = 1, scheduler: str | None = None) -> Iterator[Runner]:
    """Yield a runner: serial for one worker, local processes for more, ``scheduler``'s cluster where one is named.

    Parameters
    ----------
    workers : processes of this machine, or threads of this process where ``scheduler`` is ``threads``
    scheduler : address of a Dask scheduler, ``threads``, or None

    Raises
    ------
    UnknownScheduler : nothing answers there, or no worker has joined it
    """
    if scheduler is None and workers <= 1:
        yield SerialRunner()
        return
    if scheduler == THREADS:
        yield ThreadRunner(workers, machine_bytes())
        return
    import dask
    from distributed import Client, LocalCluster

    if scheduler is not None:
        with _joined(scheduler) as client:
            yield DaskRunner(client)
        return
    quiet = {"distributed.admin.log-format": "%(message)s", "distributed.worker.daemon": True}
    with (
        dask.config.set(quiet),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # any free port: the usual one may be taken
            host="127.0.0.1",
            silence_logs="ERROR",
            memory_limit=0,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield DaskRunner(client, machine_bytes())


@contextmanager
def _joined(scheduler: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(scheduler, set_as_default=False, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise UnknownScheduler(
            f"no Dask scheduler answers at {scheduler}; start one there or leave --scheduler out"
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise UnknownScheduler(
                f"the Dask scheduler at {scheduler} has no workers; start `dask worker {scheduler}` first"
            )
        yield client
