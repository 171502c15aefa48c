"""A real STAC API (rustac, in memory) on loopback, and its assets on a second server."""

import http.server
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from shapely import box

from pipelines.archives import open_archive
from pipelines.archives.errors import UnreadableArchive
from pipelines.archives.fingerprints import Fingerprints
from pipelines.archives.patience import Patience
from pipelines.archives.stac_api import StacApi

Tiff = Callable[..., Path]
OPERATIONS = Path(__file__).parents[3] / "docs/operations.md"
RUSTAC = Path(sys.executable).with_name("rustac")


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    """Serve the test's folder; yields the base URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietFiles, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def api(tiff: Tiff, item: Callable[..., dict[str, Any]], files: str, tmp_path: Path) -> Iterator[str]:
    """Serve twelve scenes of one place and one of another from a STAC API; yields its URL."""
    documents = []
    for month in range(1, 13):
        tiff(f"s{month:02d}.tif")
        document = item(f"s{month:02d}", f"{files}/s{month:02d}.tif", f"2024-{month:02d}-05T10:00:00Z")
        documents.append(located(document, (34.0, 33.3, 34.2, 33.5)))
    tiff("far.tif", east=300_000.0)
    documents.append(
        located(item("far", f"{files}/far.tif", "2024-03-07T10:00:00Z"), (30.8, 33.3, 30.9, 33.5))
    )
    collection = {
        "type": "Collection", "stac_version": "1.0.0", "id": "depots", "description": "d", "license": "CC-BY-4.0",
        "providers": [{"name": "The Owner"}], "links": [],
        "extent": {"spatial": {"bbox": [[30, 33, 35, 34]]}, "temporal": {"interval": [["2024-01-01T00:00:00Z", None]]}},
    }  # fmt: skip
    (tmp_path / "collection.json").write_text(json.dumps(collection))
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": documents}))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [RUSTAC, "serve", "--addr", f"127.0.0.1:{port}", "collection.json", "items.json"],
            cwd=tmp_path, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(url, trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.05)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def located(document: dict[str, Any], bounds: tuple[float, float, float, float]) -> dict[str, Any]:
    return document | {
        "bbox": list(bounds), "geometry": box(*bounds).__geo_interface__, "collection": "depots",
        "links": [{"rel": "collection", "href": "./collection.json"}],
    }  # fmt: skip


AREA = box(34.074, 33.42, 34.076, 33.434)


def test_scenes_are_found_by_area_and_period_and_brought_here(api: str, tmp_path: Path) -> None:
    period = (datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 11, 30, tzinfo=UTC))
    archive = open_archive(api, cache=tmp_path / "cache", allow_hosts={"127.0.0.1"})
    result = archive.search(AREA, period)
    assert result.refused == ()
    assert [s.id for s in result.scenes] == [f"s{m:02d}" for m in range(2, 12)]
    assert {s.licence for s in result.scenes} == {"CC-BY-4.0; The Owner"}
    assert all(Path(s.bands[0].path).parent == tmp_path / "cache" for s in result.scenes)
    assert archive.search(AREA, period) == result


def test_assets_on_a_host_that_nobody_allowed_are_refused_one_by_one(api: str, tmp_path: Path) -> None:
    result = open_archive(api, cache=tmp_path / "cache").search(AREA)
    assert result.scenes == ()
    assert {r.code for r in result.refused} == {"remote-asset-refused"}
    assert len(result.refused) == 12


def test_a_server_that_is_no_stac_api_is_refused_as_a_whole(files: str, tmp_path: Path) -> None:
    (tmp_path / "catalog.json").write_text("{}")
    for url in (files, files + "/catalog.json", f"http://127.0.0.1:{free_port()}"):
        with pytest.raises(UnreadableArchive, match="cannot be searched"):
            open_archive(url).search(AREA)


@pytest.mark.parametrize(
    ("later", "fails", "waits"),
    [(None, 3, [0.5, 1.0, 2.0]), ("4", 1, [4.0]), (None, 9, [0.5, 1.0, 2.0]), ("3600", 9, [])],
)
def test_a_search_that_a_busy_server_refuses_is_sent_again(
    later: str | None, fails: int, waits: list[float]
) -> None:
    """By a server that answers with an API's landing page after so many failures, which is as far as this looks."""
    waited: list[float] = []
    asked: list[str] = []

    class Busy(QuietFiles):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = b"busy" if len(asked) <= fails else b"{}"
            self.send_response(503 if len(asked) <= fails else 200)
            if later and len(asked) <= fails:
                self.send_header("Retry-After", later)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        archive = StacApi(url, None, Fingerprints(None), patience=Patience(waited.append))
        with pytest.raises(UnreadableArchive) as caught:
            archive.search(AREA)
        server.shutdown()
    assert waited == waits
    assert ("(it answers 503: busy)" in caught.value.detail) is (fails == 9)


def test_a_static_catalog_behind_a_url_is_told_from_an_api(files: str, tmp_path: Path) -> None:
    catalog = {
        "type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d",
        "links": [{"rel": "self", "href": f"{files}/catalog.json"}],
    }  # fmt: skip
    (tmp_path / "catalog.json").write_text(json.dumps(catalog))
    with pytest.raises(UnreadableArchive, match=r"item search.* is read from disk"):
        open_archive(f"{files}/catalog.json").search(AREA)
    collection = catalog | {
        "type": "Collection", "license": "CC0-1.0",
        "extent": {"spatial": {"bbox": [[30, 33, 35, 34]]}, "temporal": {"interval": [["2024-01-01T00:00:00Z", None]]}},
    }  # fmt: skip
    (tmp_path / "collection.json").write_text(json.dumps(collection))
    with pytest.raises(UnreadableArchive, match=r"no catalog.* is read from disk"):
        open_archive(f"{files}/collection.json").search(AREA)


def test_a_static_catalog_behind_a_url_is_read_once_it_was_saved(
    tiff: Tiff, item: Callable[..., dict[str, Any]], files: str, tmp_path: Path
) -> None:
    """As ``docs/operations.md`` shows it."""
    tiff("a.tif")
    link = {"rel": "item", "href": "./a.json"}
    catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d", "links": [link]}
    (tmp_path / "a.json").write_text(json.dumps(item("a", "./a.tif")))
    (tmp_path / "catalog.json").write_text(json.dumps(catalog))
    (shown,) = re.findall(r"python - <<'EOF'\n(.*?pystac.*?)EOF\n", OPERATIONS.read_text("utf-8"), re.DOTALL)
    code = dedent(shown).replace("https://example.com/catalog.json", f"{files}/catalog.json")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    result = open_archive(
        str(tmp_path / "saved"), cache=tmp_path / "cache", allow_hosts={"127.0.0.1"}
    ).search()
    assert result.refused == ()
    assert [scene.id for scene in result.scenes] == ["a"]


def test_a_path_of_the_servers_machine_is_never_one_of_ours(
    tiff: Tiff,
    item: Callable[..., dict[str, Any]],
    files: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pipelines.archives.stac_api import _make_absolute

    document = item("a", "/etc/hostname")
    _make_absolute(document, "https://example.com/stac/search")
    assert document["assets"]["data"]["href"] == "https://example.com/etc/hostname"
    document = item("a", "./a.tif") | {"links": [{"rel": "self", "href": "https://example.com/c/items/a"}]}
    _make_absolute(document, "https://example.com/")
    assert document["assets"]["data"]["href"] == "https://example.com/c/items/a.tif"
