"""A real HTTP server of files with ranges, ETags and If-Range, that counts what it sends and can be made to misbehave."""

import hashlib
import http.server
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Sent:
    """What was asked and answered once: ``first`` and ``last`` (one beyond) of the range asked for."""

    path: str
    first: int | None
    last: int | None
    status: int
    bytes: int = 0


@dataclass
class FileServer:
    """``files`` by path; the rest is how it behaves, to be set by a test at any time.

    ``before`` is called with the number of the request, from 1, and ``fails`` gives a status and headers to answer it with
    instead of the file. ``limit`` is the most that one answer holds, ``cut`` how
    many bytes of a body are sent before the connection breaks, ``shift`` moves what is sent from what was asked.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    before: Callable[[int], None] = lambda _number: None
    fails: Callable[[int], tuple[int, dict[str, str]] | None] = lambda _number: None
    ranges: bool = True
    etags: bool = True
    weak: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    limit: int | None = None
    cut: int | None = None
    shift: int = 0
    claimed: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, content: bytes | Path) -> str:
        """Serve a file; return its address."""
        self.files[f"/{name}"] = content if isinstance(content, bytes) else content.read_bytes()
        return f"{self.url}/{name}"

    def etag(self, path: str) -> str:
        """Return what the server calls a file's version by."""
        tag = self.tags.get(path) or f'"{hashlib.sha256(self.files[path]).hexdigest()[:16]}"'
        return f"W/{tag}" if self.weak else tag

    @property
    def bytes_sent(self) -> int:
        """How much of bodies went out in all."""
        return sum(answer.bytes for answer in self.sent)

    def forget(self) -> None:
        """Count anew."""
        self.sent.clear()


def _handler(server: FileServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with server.lock:
                number = len(server.sent) + 1
                path = self.path.split("?")[0]
                asked = RANGE.fullmatch(self.headers.get("Range", ""))
                first = int(asked[1]) if asked else None
                last = int(asked[2]) + 1 if asked and asked[2] else None
                answer = Sent(path, first, last, 0)
                server.sent.append(answer)
            server.before(number)
            if failure := server.fails(number):
                self._head(answer, failure[0], {"Content-Length": "0"} | failure[1])
                return
            if path in server.redirects:
                self._head(answer, 302, {"Location": server.redirects[path], "Content-Length": "0"})
                return
            if path not in server.files:
                self._head(answer, 404, {"Content-Length": "0"})
                return
            body = server.files[path]
            headers = {"ETag": server.etag(path)} if server.etags else {}
            wanted = self.headers.get("If-Range")
            if first is None or not server.ranges or (wanted and wanted != headers.get("ETag")):
                self._body(answer, 200, headers, body)
                return
            if first >= len(body):
                self._head(answer, 416, {"Content-Length": "0", "Content-Range": f"bytes */{len(body)}"})
                return
            end = min(len(body), last or len(body), first + (server.limit or len(body)))
            begin = first + server.shift
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{server.claimed or len(body)}"
            self._body(answer, 206, headers, body[begin:end])

        def _head(self, answer: Sent, status: int, headers: dict[str, str]) -> None:
            answer.status = status
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def _body(self, answer: Sent, status: int, headers: dict[str, str], body: bytes) -> None:
            self._head(answer, status, headers | {"Content-Length": str(len(body))})
            if server.cut is not None and len(body) > server.cut:
                body, self.close_connection = body[: server.cut], True
            for at in range(0, len(body), 65_536):
                part = body[at : at + 65_536]
                answer.bytes += len(part)  # counted before it goes: who has read it may ask at once
                try:
                    self.wfile.write(part)
                except OSError:  # whoever asked has enough
                    answer.bytes -= len(part)
                    self.close_connection = True
                    return

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serving() -> Iterator[FileServer]:
    """Serve on loopback while the block runs."""
    server = FileServer()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(server)) as running:
        running.daemon_threads = True
        server.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            running.shutdown()
            thread.join()
