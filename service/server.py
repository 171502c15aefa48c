"""``serve`` and ``api``: bind, check that strangers stay out, answer, and keep workers alive beside.

Workers are processes, so that an analysis never holds up an answer. They belong to the same process group and stop
when the serving process does, however it ends.
"""

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from service.app import build_app
from service.connections import prompt_within
from service.context import Service, open_service
from service.errors import BadSettings
from service.keys import any_key
from service.settings import Settings

log = logging.getLogger(__name__)

GRACEFUL_S = 10
# Longer than pollers wait between two polls, so that they need no new connection for each.
KEEP_ALIVE_S = 75
# Threads hand the interpreter on after 5 ms by default: a poll that crosses threads twice would wait for that.
SWITCH_S = 0.0005
RESTART_PAUSE_S = 1.0
ALLOWED_LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


def is_loopback(host: str) -> bool:
    """Tell whether an address to bind reaches this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(service: Service, host: str) -> None:
    """Refuse to answer the network before there is a key.

    Raises
    ------
    BadSettings
    """
    if is_loopback(host) or any_key(service.database):
        return
    raise BadSettings(
        f"{host} is reachable from the network and no key exists; make one first: "
        "depotwatch keys create --tenant NAME --scopes admin"
    )


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    BadSettings : the address is in use or not this machine's
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, because asyncio switches Nagle's waiting off only then: 40 ms for every answer with a body.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        why = "ports go from 0 to 65535" if isinstance(error, OverflowError) else error.strerror
        raise BadSettings(f"cannot listen on {host}:{port}: {why}; choose another --port") from error
    made.listen(2048)
    made.set_inheritable(False)
    return made


def address_of(listening: socket.socket) -> str:
    """Return the http address of a bound socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Calls back once it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self._ready()


class LocalOnly:
    """ASGI layer for an open loopback service: a page elsewhere must not reach it under another name."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse requests whose Host is no loopback name (DNS rebinding) or that a foreign page sent."""
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            keyed = b"authorization" in headers
            if not keyed and not _local_name(headers.get(b"host", b"").decode("latin-1")):
                await _refuse(send)
                return
            origin = headers.get(b"origin")
            if (
                not keyed
                and origin is not None
                and not _local_name(origin.decode("latin-1").partition("://")[2])
            ):
                await _refuse(send)
                return
        await self._app(scope, receive, send)


def _local_name(host: str) -> bool:
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return name.lower() in ALLOWED_LOCAL_HOSTS


async def _refuse(send: Any) -> None:
    body = (
        b'{"type":"urn:depotwatch:error:forbidden","title":"Not local","status":403,"code":"forbidden",'
        b'"detail":"without keys this service answers only to its own machine, by a loopback name"}'
    )
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass(slots=True)
class Workers:
    """Worker processes, started again when one dies."""

    command: Sequence[str]
    count: int
    environment: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start all, and a thread that looks after them."""
        self.running = [self._start_one() for _ in range(self.count)]
        if self.count:
            threading.Thread(target=self._look_after, daemon=True).start()

    def _start_one(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command, env=self.environment, stdin=subprocess.DEVNULL)

    def _look_after(self) -> None:
        while not self._ended.wait(RESTART_PAUSE_S):
            for index, process in enumerate(self.running):
                if process.poll() is not None and not self._ended.is_set():
                    log.warning("worker-died", extra={"pid": process.pid, "code": process.returncode})
                    self.running[index] = self._start_one()

    def stop(self, patience_s: float) -> None:
        """Ask all to end; kill those that do not within ``patience_s``."""
        self._ended.set()
        for process in self.running:
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + patience_s
        for process in self.running:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def sharing(settings: Settings, workers: int) -> Settings:
    """Return settings under which so many workers of this machine have room at once, each for its unit."""
    from pipelines.memory import machine_bytes

    if settings.memory_mib or workers <= 1:
        return settings
    return settings.model_copy(update={"memory_mib": max(1, machine_bytes() // workers // 2**20)})


def worker_command(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """Return how to start a worker with the same settings as this process; secrets go by environment only."""
    code = "import sys; from service.cli import main; sys.exit(main())"
    environment = dict(os.environ)
    for name, value in settings.model_dump(mode="json").items():
        environment[f"DEPOTWATCH_{name.upper()}"] = str(value)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment.setdefault(name, "1")
    return [sys.executable, "-c", code, "worker", "--parent", str(os.getpid())], environment


def _answering(
    server: _Server,
    address: str,
    announce: Callable[[str], None],
    beside: Callable[[str, Callable[[], None]], None] | None,
) -> None:
    announce(address)

    def stop() -> None:
        server.should_exit = True

    if beside is not None:
        threading.Thread(target=beside, args=(address, stop), daemon=True).start()


def serve(
    settings: Settings,
    host: str,
    port: int,
    workers: int,
    *,
    announce: Callable[[str], None],
    prepare: Callable[[Service], None] = lambda _service: None,
    beside: Callable[[str, Callable[[], None]], None] | None = None,
) -> int:
    """Answer on an address until a signal ends it; ``announce`` is called with the address once it answers.

    ``beside``, where given, then runs in a thread with the address and a function that ends the service.

    Raises
    ------
    BadSettings : the address must not or cannot be listened on
    """
    service = open_service(settings, is_open=is_loopback(host))
    prepare(service)
    check_exposure(service, host)
    listening = bind(host, port)
    command, environment = worker_command(sharing(settings, workers))
    crew = Workers(command, workers, environment)
    app: Any = build_app(service)
    config = uvicorn.Config(
        LocalOnly(app) if service.open and not settings.external_url else app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACEFUL_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        http=prompt_within(settings.body_timeout_s),
        proxy_headers=bool(settings.external_url),
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = _Server(config, lambda: _answering(server, address_of(listening), announce, beside))
    if threading.current_thread() is threading.main_thread():
        # uvicorn ends well and then raises the signal once more: by default it would end us before the workers.
        signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    crew.start()
    sys.setswitchinterval(SWITCH_S)
    try:
        asyncio.run(server.serve(sockets=[listening]))
    finally:
        crew.stop(settings.drain_s + GRACEFUL_S)
        service.close()
    return 0
