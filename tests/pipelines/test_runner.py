"""Results come back in unit order whoever did the work: this process, local processes, or a cluster of real ones."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest

from pipelines import runner as runners
from pipelines.memory import SHARE_OF_MEMORY, MemoryTooSmall
from pipelines.runner import ClusterFailed, DaskRunner, ThreadRunner, UnknownScheduler, WrongCode, open_runner
from tests.pipelines.cluster import running_cluster

UNITS = list(range(40))
SQUARES = [n * n for n in UNITS]


def _square(value: int) -> int:
    return value * value


def _slow_square(value: int) -> int:
    time.sleep(0.05)
    return value * value


def _fail_at_seven(value: int) -> int:
    if value == 7:
        raise WrongCode("unit 7 is broken")
    return value


def _end_the_process(_value: int) -> int:
    os._exit(1)


def test_one_worker_keeps_the_order_and_reports_each_end() -> None:
    ended: list[int] = []
    with open_runner(1) as runner:
        assert runner.map(_square, range(5), ended.append) == [0, 1, 4, 9, 16]
    assert sum(ended) == 5


def test_threads_give_the_same_results_in_the_same_order_and_no_more_at_once_than_memory_holds() -> None:
    at_once, most = 0, 0
    lock = threading.Lock()

    def count(value: int) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.005 * (value % 3))
        with lock:
            at_once -= 1
        return value * value

    ended: list[int] = []
    assert ThreadRunner(8, memory_bytes=300).map(count, UNITS, ended.append, unit_bytes=100) == SQUARES
    assert sum(ended) == len(UNITS)
    assert 1 < most <= 3


def test_threads_begin_nothing_more_after_a_unit_that_breaks() -> None:
    begun: list[int] = []

    def step(value: int) -> int:
        begun.append(value)
        time.sleep(0.02)
        return _fail_at_seven(value)

    with open_runner(1, "threads") as runner, pytest.raises(WrongCode, match="unit 7"):
        runner.map(step, UNITS, lambda _count: None)
    assert len(begun) < len(UNITS)


@pytest.mark.long
def test_processes_give_the_same_results_in_the_same_order() -> None:
    ended: list[int] = []
    with open_runner(2) as runner:
        assert runner.map(_square, UNITS, ended.append) == SQUARES
    assert sum(ended) == len(UNITS)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of two workers."""
    with running_cluster(tmp_path_factory.mktemp("cluster"), 2) as cluster:
        yield cluster.address


@pytest.mark.long
def test_a_cluster_of_real_processes_gives_the_same_and_survives_the_death_of_a_worker(
    tmp_path: Path,
) -> None:
    with running_cluster(tmp_path, 2) as cluster:
        killed: list[int] = []

        def done(_count: int) -> None:
            if not killed:
                killed.append(1)
                cluster.workers[0].send_signal(signal.SIGKILL)

        with open_runner(scheduler=cluster.address) as runner:
            assert isinstance(runner, DaskRunner)
            assert runner.map(_slow_square, UNITS, done) == SQUARES
            assert killed


@pytest.mark.long
def test_a_scheduler_that_dies_under_the_work_is_told_in_a_sentence(tmp_path: Path) -> None:
    with running_cluster(tmp_path, 1) as cluster:

        def done(_count: int) -> None:
            cluster.running[0].kill()

        said = "the Dask scheduler went away"
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
            open_runner(scheduler=cluster.address) as runner,
        ):
            for _ in ("under the work", "before it"):
                with pytest.raises(ClusterFailed, match=said):
                    runner.map(_slow_square, UNITS, done)


@pytest.mark.long
def test_a_unit_that_ends_its_workers_is_told_in_a_sentence() -> None:
    said = r"1 Dask workers died .* of one unit of _end_the_process, the last at tcp://127\.0\.0\.1:\d+; "
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(ClusterFailed, match=said),
        open_runner(2) as runner,
    ):
        runner.map(_end_the_process, UNITS[:1], lambda _count: None)


@pytest.mark.long
def test_a_cluster_without_workers_left_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "SILENT_S", 1.0)
    with running_cluster(tmp_path, 1) as cluster, open_runner(scheduler=cluster.address) as runner:
        assert runner.map(_slow_square, UNITS[:3], lambda _count: None) == SQUARES[:3]
        with pytest.raises(ClusterFailed, match="has no workers left"):
            runner.map(_end_the_process, UNITS[:2], lambda _count: None)


@pytest.mark.long
@pytest.mark.xdist_group("cluster")
def test_the_window_is_bounded_by_workers_and_by_what_memory_holds(pair: str) -> None:
    gib = 1 << 30
    with open_runner(scheduler=pair) as runner:
        assert isinstance(runner, DaskRunner)
        assert runner.width(0) == 2 * runners.WINDOW_PER_WORKER
        assert runner.width(gib // 4) == 2 * int(SHARE_OF_MEMORY / 0.25)
        assert runner.width(gib // 2) == 2  # one on each: what a worker has left over helps no other
        with pytest.raises(
            MemoryTooSmall, match=r"needs about 100.0 GiB of memory at its peak and may use 0.8"
        ):
            runner.width(100 * gib)
        begun: list[int] = []
        with pytest.raises(MemoryTooSmall):
            runner.map(_square, UNITS, begun.append, unit_bytes=100 * gib)
        assert begun == []


@pytest.mark.long
@pytest.mark.xdist_group("cluster")
def test_a_unit_that_breaks_ends_the_map_with_its_own_error(pair: str) -> None:
    with open_runner(scheduler=pair) as runner, pytest.raises(WrongCode, match="unit 7"):
        runner.map(_fail_at_seven, UNITS, lambda _count: None)


@pytest.mark.long
@pytest.mark.xdist_group("cluster")
def test_a_worker_of_another_version_is_refused_by_name(pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "_code", lambda: "f" * 64)
    said = r"worker tcp://127.0.0.1:\d+ runs algorithm \w{12}, this process ffff"
    with open_runner(scheduler=pair) as runner, pytest.raises(WrongCode, match=said):
        runner.map(_square, UNITS, lambda _count: None)


@pytest.mark.long
def test_a_scheduler_that_is_not_there_or_has_no_workers_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "CONNECT_S", 1)
    with (
        pytest.raises(UnknownScheduler, match="no Dask scheduler answers"),
        open_runner(scheduler="tcp://127.0.0.1:9"),
    ):
        pass
    with (
        running_cluster(tmp_path, 0) as cluster,
        pytest.raises(UnknownScheduler, match="has no workers"),
        open_runner(scheduler=cluster.address),
    ):
        pass
