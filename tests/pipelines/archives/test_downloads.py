"""Remote files: only from where they may come, whole, once, and never by GDAL; for ranges see ``test_ranges``."""

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.archives import download, open_archive
from pipelines.archives.download import Downloader, assert_public_address
from pipelines.archives.errors import DownloadFailed, RemoteAssetRefused

Tiff = Callable[..., Path]


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``/file`` whole or by range, and names no version; ``/cut`` breaks off whole answers; the rest redirect."""

    body = bytes(range(256)) * 4000
    seen: list[tuple[str, str | None]]
    away = ""

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        type(self).seen.append((self.path, wanted))
        path = self.path.split("?")[0]
        if path in ("/away", "/loop"):
            self.send_response(302)
            self.send_header("Location", type(self).away if path == "/away" else "/loop")
            self.end_headers()
            return
        if path == "/missing":
            self.send_error(404)
            return
        first, _, last = (wanted or "=0-").split("=")[1].partition("-")
        start, end = int(first), min(int(last or len(self.body)) + 1, len(self.body))
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        end = len(self.body) // 2 if path == "/cut" and not wanted else end
        with contextlib.suppress(OSError):  # whoever asked may have enough
            self.wfile.write(self.body[start:end])

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    """Serve on loopback; yields ``(base URL, handler class)``."""
    handler = type("OneHandler", (Handler,), {"seen": [], "away": ""})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", handler
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.tif", "http://localhost/a.tif", "http://[::1]/a.tif", "http://[::ffff:127.0.0.1]/a.tif",
        "http://2130706433/a.tif", "http://0x7f.1/a.tif", "http://169.254.169.254/latest", "http://10.0.0.1/",
        "http://192.168.1.1:8080/", "http://0.0.0.0/", "http://[fe80::1]/", "http://[fd00::1]/", "http://224.0.0.1/",
        "http://[2002:7f00:1::]/", "http://user:word@93.184.216.34/", "ftp://93.184.216.34/a", "file:///etc/hostname",
        "/vsicurl/http://93.184.216.34/", "gopher://x", "http://", "http://x:port/", "http://[::1", "",
    ],
)  # fmt: skip
def test_private_places_and_other_protocols_are_refused(url: str) -> None:
    with pytest.raises(RemoteAssetRefused) as caught:
        assert_public_address(url)
    assert "word" not in caught.value.detail


def test_a_public_address_passes_and_a_private_one_only_by_name() -> None:
    assert_public_address("https://93.184.216.34/a.tif")
    assert_public_address("http://127.0.0.1:8000/a.tif", {"127.0.0.1"})
    assert_public_address("http://127.0.0.1:8000/a.tif", {"127.0.0.1:8000"})
    with pytest.raises(RemoteAssetRefused):
        assert_public_address("http://127.0.0.1:8001/a.tif", {"127.0.0.1:8000"})


def test_a_file_arrives_whole_and_once(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    base, handler = server
    fetcher = Downloader(tmp_path / "cache", {"127.0.0.1"})
    first = fetcher.fetch(base + "/file?signature=one")
    assert first.read_bytes() == handler.body
    asked = [wanted for _, wanted in handler.seen]
    assert asked == ["bytes=0-65535", None], "a part that names no version is not believed"
    assert fetcher.fetch(base + "/file?signature=two") == first
    assert len(handler.seen) == 2
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [first.name]
    assert "signature" not in first.name


def test_a_broken_transfer_goes_on_where_it_stopped(
    server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    base, handler = server
    path = Downloader(tmp_path, {"127.0.0.1"}).fetch(base + "/cut")
    assert path.read_bytes() == handler.body
    assert [r for _, r in handler.seen][1:] == [None, f"bytes={len(handler.body) // 2}-"]


def test_what_does_not_arrive_leaves_nothing(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    base, _ = server
    fetcher = Downloader(tmp_path, {"127.0.0.1"}, max_bytes=1000)
    with pytest.raises(RemoteAssetRefused, match="larger than"):
        fetcher.fetch(base + "/file")
    with pytest.raises(DownloadFailed, match="404"):
        fetcher.fetch(base + "/missing?key=secret")
    with pytest.raises(RemoteAssetRefused, match="redirects more than"):
        fetcher.fetch(base + "/loop")
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_is_checked_as_the_first_address_was(
    server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    base, handler = server
    port = base.rsplit(":", 1)[1]
    handler.away = f"http://127.0.0.2:{port}/file"
    fetcher = Downloader(tmp_path, {f"127.0.0.1:{port}"})
    with pytest.raises(RemoteAssetRefused, match=r"127\.0\.0\.2"):
        fetcher.fetch(base + "/away")
    assert [p for p, _ in handler.seen] == ["/away"]
    for nowhere in ("http://[", "http://127.0.0.1:port/"):
        handler.away = nowhere
        with pytest.raises((DownloadFailed, RemoteAssetRefused), match=r"URL|could not be read"):
            fetcher.fetch(base + "/away")
    handler.away = "/file"
    assert fetcher.fetch(base + "/away").read_bytes() == handler.body


def test_a_name_that_changes_its_mind_is_caught_after_connecting(
    server: tuple[str, type[Handler]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, _ = server
    # The check sees a public address, the connection goes to loopback: what rebinding does.
    monkeypatch.setattr(download, "assert_public_address", lambda url, allowed: None)
    with pytest.raises(RemoteAssetRefused, match="no public address"):
        Downloader(tmp_path).fetch(base + "/file")
    assert list(tmp_path.iterdir()) == []


def test_a_local_catalog_of_remote_files_is_read_where_the_host_is_allowed(
    server: tuple[str, type[Handler]], tiff: Tiff, item: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    base, handler = server
    handler.body = tiff("a.tif").read_bytes()
    (tmp_path / "items.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": [item("a", base + "/file")]})
    )
    source = str(tmp_path / "items.json")
    (scene,) = open_archive(source, cache=tmp_path / "cache", allow_hosts={"127.0.0.1"}).search().scenes
    assert Path(scene.bands[0].path).parent == tmp_path / "cache"
    (temporary,) = open_archive(source, allow_hosts={"127.0.0.1"}).search().scenes
    assert Path(temporary.bands[0].path).is_file()
    (refusal,) = open_archive(source).search().refused
    assert refusal.code == "remote-asset-refused"
