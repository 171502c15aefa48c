"""An S3 server for tests (moto), behind a proxy that answers 500 when told to."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import httpx
from moto.server import ThreadedMotoServer

BUCKET = "artefacts"


class Stumbling(ThreadingHTTPServer):
    """A proxy before S3 that answers 500 to the next ``failures`` writes, and to a ``share`` of all requests."""

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Proxy)
        self.upstream, self.failures, self.failed = upstream, 0, 0
        self.share, self.random = 0.0, random.Random(1)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_port}",
            "AWS_ALLOW_HTTP": "true",
        }

    def stumbles(self, command: str) -> bool:
        """Tell whether the request in hand is to fail."""
        if command == "PUT" and self.failures > 0:
            self.failures -= 1
            return True
        return self.random.random() < self.share

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that were killed."""


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        server = self.server
        assert isinstance(server, Stumbling)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if server.stumbles(self.command):
            server.failed += 1
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        headers = {
            k: v for k, v in self.headers.items() if k.lower() not in {"connection", "accept-encoding"}
        }
        answer = httpx.request(self.command, server.upstream + self.path, content=body, headers=headers)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "content-encoding"}:
                self.send_header(name, value)
        length = (
            answer.headers.get("content-length", "0") if self.command == "HEAD" else str(len(answer.content))
        )
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def stumbling_s3() -> Iterator[Stumbling]:
    """Start both, with an empty bucket."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    upstream = f"http://{host}:{port}"
    proxy = Stumbling(upstream)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    client = boto3.client(
        "s3", endpoint_url=upstream, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)
    client.close()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        moto.stop()
