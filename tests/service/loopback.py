"""A service on a loopback port of this process, for clients that come over HTTP."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from service.app import build_app
from service.context import Service


@contextmanager
def served(service: Service) -> Iterator[str]:
    """Serve while the block runs; its address."""
    server = uvicorn.Server(uvicorn.Config(build_app(service), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
