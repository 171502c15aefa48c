"""What the service's tests are made with: sites, clients, workers, a private PostgreSQL."""

import glob
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, text
from starlette.testclient import TestClient

from benchmarks.service_fake import FakeRunner
from service.app import build_app
from service.artefacts import ArtefactStore
from service.context import Service
from service.keys import SCOPES, create_key, pepper
from service.settings import Settings
from service.worker import Worker

PROGRAMS = ("initdb", "postgres", "pg_ctl", "pg_isready")


def square(west: float = 30.0, south: float = 50.0, size: float = 0.01) -> dict[str, Any]:
    """A square as GeoJSON."""
    e, n = west + size, south + size
    return {"type": "Polygon", "coordinates": [[[west, south], [e, south], [e, n], [west, n], [west, south]]]}


def feature(name: str, **properties: Any) -> dict[str, Any]:
    """A site as a client sends it."""
    geometry = properties.pop("geometry", None) or square()
    return {"type": "Feature", "properties": {"name": name, **properties}, "geometry": geometry}


@dataclass
class PostgresServer:
    """A private PostgreSQL cluster on a loopback port; ``durable`` as one is in service: commits reach the disk."""

    folder: Path
    port: int
    bin: Path
    durable: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}"

    def start(self) -> None:
        hasty = [] if self.durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        command = [
            str(self.bin / "postgres"), "-D", str(self.folder), "-p", str(self.port), "-k", str(self.folder),
            "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", *hasty,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            _as_postgres(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ready = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        for _ in range(200):
            if subprocess.run(ready, check=False).returncode == 0:
                return
            self.process.poll()
            time.sleep(0.05)
        raise RuntimeError("PostgreSQL did not start")

    def stop(self, mode: str = "fast") -> None:
        command = [str(self.bin / "pg_ctl"), "-D", str(self.folder), "-m", mode, "-w", "stop"]
        subprocess.run(_as_postgres(command), check=False, capture_output=True)
        if self.process is not None:
            self.process.wait(30)

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """A fresh database; its URL."""
        name = f"t{secrets.token_hex(6)}"
        # No pool: the server may be restarted while the database is in use.
        admin = create_engine(f"{self.url}/postgres", isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template or 'template1'}"))
        try:
            yield f"{self.url}/{name}"
        finally:
            with admin.connect() as connection:
                connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            admin.dispose()


def _as_postgres(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root: become its own user where we are."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else command


def postgres_bin() -> Path | None:
    """The folder of PostgreSQL's programs, wherever the system keeps it."""
    known = sorted(Path(found).parent for found in glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    if found := shutil.which("initdb"):
        known.insert(0, Path(found).resolve().parent)
    whole = [folder for folder in known if all((folder / name).exists() for name in PROGRAMS)]
    return whole[-1] if whole else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def private_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Make a cluster, run it, throw it away."""
    programs = postgres_bin()
    if programs is None:
        raise RuntimeError("PostgreSQL is needed for these tests: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="depotwatch-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    subprocess.run(
        _as_postgres(
            [str(programs / "initdb"), "-D", str(folder), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"]
        ),
        check=True,
        capture_output=True,
    )
    server = PostgresServer(folder, free_port(), programs, durable)
    try:
        server.start()
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def make_settings(data: Path, database_url: str = "", **more: Any) -> Settings:
    short = {
        "lease_s": 2.0,
        "poll_s": 0.02,
        "backoff_s": 0.0,
        "drain_s": 1.0,
        "watch_s": 0.2,
        "secret": "test",
    }
    return Settings(data=data, database=database_url, **{**short, **more})


def client_of(service: Service, *scopes: str, tenant: str = "first") -> TestClient:
    """A client with a fresh key of a tenant."""
    key = create_key(service.database, pepper(service.settings), tenant, scopes or SCOPES)
    headers = {"Authorization": f"Bearer {key}"}
    return TestClient(
        build_app(service), base_url="http://127.0.0.1", headers=headers, raise_server_exceptions=False
    )


def make_worker(service: Service, runner: Any = None, **more: Any) -> Worker:
    """A worker in this process."""
    store = ArtefactStore(service.settings.artefacts_place)
    return Worker(service.database, store, runner or FakeRunner(), service.settings, **more)


def work_off(service: Service, runner: Any = None, limit: int = 1_000) -> int:
    """Run units until none is left; how many."""
    worker = make_worker(service, runner)
    ran = 0
    while ran < limit and worker.run_one():
        ran += 1
    return ran


@dataclass
class LiveService:
    """``depotwatch serve`` as a process of its own, with stand-in workers beside it."""

    address: str
    process: subprocess.Popen[str]
    workers: list[subprocess.Popen[bytes]]
    key: str


@contextmanager
def live_service(settings: Settings, *, workers: int = 1, tenant: str = "first") -> Iterator[LiveService]:
    """Serve on a free port until the block ends."""
    from service.context import open_service

    service = open_service(settings)
    key = create_key(service.database, pepper(settings), tenant, SCOPES, burst=settings.rate_burst)
    service.close()
    environment = environment_of(settings)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.service.run", "serve", "--port", "0", "--workers", "0"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    crew = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.service_fake"], env=environment, stderr=subprocess.DEVNULL
        )
        for _ in range(workers)
    ]
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), "the service did not start"
        yield LiveService(address, process, crew, key)
    finally:
        for running in (process, *crew):
            running.terminate()
        for running in (process, *crew):
            try:
                running.wait(15)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
        assert process.stdout is not None
        process.stdout.close()


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment that gives a process the same settings."""
    values = {f"DEPOTWATCH_{k.upper()}": str(v) for k, v in settings.model_dump(mode="json").items()}
    return {**os.environ, **values, "PYTHONPATH": os.getcwd()}
