"""A Dask scheduler and workers as processes of their own, as an operator starts them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Cluster:
    """One scheduler and its workers, killed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.running: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the scheduler."""
        file = self.folder / "scheduler.json"
        at = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
        self._start("scheduler", *at, "--scheduler-file", str(file))
        _until(lambda: file.is_file() and file.read_text().rstrip().endswith("}"))
        self.address = json.loads(file.read_text())["address"]

    def worker(self) -> None:
        """Start a worker of one thread and 1 GiB."""
        more = [
            "--nthreads",
            "1",
            "--no-nanny",
            "--memory-limit",
            "1GiB",
            "--dashboard-address",
            "127.0.0.1:0",
        ]
        self.workers.append(self._start("worker", self.address, "--host", "127.0.0.1", *more))

    def joined(self, count: int) -> None:
        """Wait until so many workers have joined."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=30)

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", what, *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.running.append(process)
        return process


def _until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@contextmanager
def running_cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """Yield a cluster whose workers have joined."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        for _ in range(workers):
            cluster.worker()
        if workers:
            cluster.joined(workers)
        yield cluster
    finally:
        for process in cluster.running:
            process.kill()
            process.wait()
