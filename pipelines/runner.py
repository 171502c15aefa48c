"""``map(step, units)`` in this process, on local processes, or on an existing Dask cluster.

Steps passed to a runner are module-level functions of picklable values. Results come back in the order of the units
whatever the order of completion, so that one worker and sixteen give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from distributed import Client

Unit = TypeVar("Unit")
Result = TypeVar("Result")

# A cluster is never handed more than this many unfinished units per worker: the graph stays small
# however large the archive, and the scheduler's memory bounded.
WINDOW_PER_WORKER = 4


class Runner(Protocol):
    """Anything that can run one step over many units."""

    def map(
        self, step: Callable[[Unit], Result], units: Sequence[Unit], done: Callable[[int], None]
    ) -> list[Result]:
        """Run ``step`` on every unit; call ``done(1)`` as each ends; return results in unit order."""
        ...


class SerialRunner:
    """One unit after the other in this process."""

    def map(
        self, step: Callable[[Unit], Result], units: Sequence[Unit], done: Callable[[int], None]
    ) -> list[Result]:
        """See ``Runner``."""
        results = []
        for unit in units:
            results.append(step(unit))
            done(1)
        return results


class DaskRunner:
    """Units as Dask tasks, a bounded window of them at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def map(
        self, step: Callable[[Unit], Result], units: Sequence[Unit], done: Callable[[int], None]
    ) -> list[Result]:
        """See ``Runner``. Tasks are impure on purpose: products, not the scheduler, remember results."""
        from distributed import as_completed

        waiting = iter(enumerate(units))
        width = max(1, sum(self._client.nthreads().values())) * WINDOW_PER_WORKER
        position: dict[object, int] = {}
        results: dict[int, Result] = {}

        def submit(count: int) -> Iterable[object]:
            for _, (index, unit) in zip(range(count), waiting, strict=False):
                future = self._client.submit(step, unit, pure=False)
                position[future.key] = index
                yield future

        with self._client.as_current():
            running = as_completed(list(submit(width)), with_results=True)
            for future, result in running:
                results[position[future.key]] = result
                done(1)
                for fresh in submit(1):
                    running.add(fresh)
        return [results[index] for index in range(len(units))]


@contextmanager
def open_runner(workers: int = 1, scheduler: str | None = None) -> Iterator[Runner]:
    """Yield a runner: serial for one worker, local processes for more, an existing cluster by ``scheduler`` address."""
    if scheduler is None and workers <= 1:
        yield SerialRunner()
        return
    import dask
    from distributed import Client, LocalCluster

    if scheduler is not None:
        with Client(scheduler, set_as_default=False) as client:
            yield DaskRunner(client)
        return
    quiet = {"distributed.admin.log-format": "%(message)s", "distributed.worker.daemon": True}
    with (
        dask.config.set(quiet),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            host="127.0.0.1",
            silence_logs="ERROR",
            memory_limit=0,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield DaskRunner(client)
