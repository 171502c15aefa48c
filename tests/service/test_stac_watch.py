"""STAC APIs watched: a real server (rustac) behind an address of its own that the test may point elsewhere."""

import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely import box
from sqlalchemy import select, update

from pipelines.archives import open_archive, stac_api
from pipelines.archives.errors import UnreadableArchive
from service import watch
from service.analysis_unit import SiteRunner
from service.archives import add_archive, find_archive, sources
from service.commands import archive as archive_command
from service.context import Service
from service.tables import archives, scenes
from service.tenancy import ensure_tenant
from service.watch import Watch
from tests.pipelines.file_server import serving as file_server
from tests.service.support import client_of, feature, free_port, work_off

RUSTAC = Path(sys.executable).with_name("rustac")
EAST_M, NORTH_M = 284_000.0, 5_546_000.0
PLACE = (29.9, 49.9, 30.1, 50.1)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class Front:
    """The address clients know: hands each request to the server behind, and tells before it does."""

    def __init__(self) -> None:
        self.behind = ""
        self.asked: list[str] = []
        self.before: Callable[[int], None] = lambda _count: None
        front = self

        class Handler(_Quiet):
            def do_GET(self) -> None:
                self._hand_on(b"")

            def do_POST(self) -> None:
                self._hand_on(self.rfile.read(int(self.headers["content-length"])))

            def _hand_on(self, body: bytes) -> None:
                front.asked.append(self.path)
                front.before(len([path for path in front.asked if path.startswith("/search")]))
                headers = {"content-type": "application/json"} if body else {}
                answer = httpx.request(
                    self.command, front.behind + self.path, content=body, headers=headers, trust_env=False
                )
                self.send_response(answer.status_code)
                self.send_header("content-type", answer.headers.get("content-type", "application/json"))
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def serving(server: http.server.ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class World:
    """Scenes on a file server, and STAC servers that each know some of them."""

    def __init__(self, folder: Path, files: str, front: Front) -> None:
        self.folder, self.files, self.front = folder, files, front
        self._servers: list[subprocess.Popen[bytes]] = []

    def item(self, name: str, day: str, **properties: str) -> dict[str, Any]:
        """A scene of the square, its file made if it is not there."""
        path = self.folder / f"{name}.tif"
        if not path.exists():
            write_tiff(path, len(list(self.folder.glob("*.tif"))))
        return {
            "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "c", "bbox": list(PLACE),
            "geometry": box(*PLACE).__geo_interface__,
            "properties": {"datetime": f"{day}T10:00:00Z", **properties},
            "links": [{"rel": "collection", "href": "./collection.json"}],
            "assets": {"data": {"href": f"{self.files}/{name}.tif", "roles": ["data"],
                                "type": "image/tiff; application=geotiff"}},
        }  # fmt: skip

    def serve(self, items: list[dict[str, Any]]) -> str:
        """Start a STAC API that knows these items; its address behind the front."""
        collection = {
            "type": "Collection", "stac_version": "1.0.0", "id": "c", "description": "d",
            "license": "CC0-1.0", "links": [],
            "extent": {"spatial": {"bbox": [list(PLACE)]}, "temporal": {"interval": [["2000-01-01T00:00:00Z", None]]}},
        }  # fmt: skip
        place = self.folder / f"api-{len(self._servers)}"
        place.mkdir()
        (place / "collection.json").write_text(json.dumps(collection))
        (place / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
        port = free_port()
        self._servers.append(
            subprocess.Popen(
                [RUSTAC, "serve", "--addr", self.front.url, "--bind", f"127.0.0.1:{port}", "collection.json", "items.json"],
                cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 30
        while True:
            try:
                httpx.get(address, trust_env=False).raise_for_status()
                return address
            except httpx.HTTPError:
                assert time.monotonic() < until, "rustac did not start"
                time.sleep(0.05)

    def now_knows(self, items: list[dict[str, Any]]) -> None:
        """Let the address answer with these items from now on."""
        self.front.behind = self.serve(items)

    def stop(self) -> None:
        for server in self._servers:
            server.terminate()
        for server in self._servers:
            server.wait(10)


def write_tiff(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(1, 4000, (1, 64, 64), dtype=np.uint16)
    place = Affine(40.0, 0.0, EAST_M, 0.0, -40.0, NORTH_M)
    profile = {
        "driver": "GTiff",
        "width": 64,
        "height": 64,
        "count": 1,
        "dtype": "uint16",
        "crs": "EPSG:32636",
    }
    with rasterio.open(path, "w", transform=place, **profile) as file:
        file.write(pixels)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "world"
    folder.mkdir()
    files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    front = Front()
    with serving(files), serving(front.server):
        made = World(folder, f"http://127.0.0.1:{files.server_address[1]}", front)
        yield made
        made.stop()


@pytest.fixture
def watched(lite_service: Service, world: World) -> Service:
    """A service with one site and the API as its archive, allowed its host by name."""
    client_of(lite_service).post("/sites", json=feature("near", analyse=False))
    with lite_service.database.write() as connection:
        tenant = ensure_tenant(lite_service.database, connection, "first")
        add_archive(
            lite_service.database, connection, "api", "remote", world.front.url, tenant, ["127.0.0.1"]
        )
    return lite_service


def look(service: Service, *, later_s: float = 0.0) -> list[str]:
    """Look at the archive as if it were due, ``later_s`` after the last time; the scenes known then."""
    with service.database.write() as connection:
        row = connection.execute(select(archives)).one()
        kept = json.loads(row.watch_cursor) if row.watch_cursor else None
        if kept is not None:
            kept["whole"] -= later_s
        connection.execute(
            update(archives).values(watched=None, watch_cursor=json.dumps(kept) if kept else None)
        )
    assert Watch(service.database, service.settings, "test").run_due() >= 1
    with service.database.read() as connection:
        assert connection.execute(select(archives.c.watch_error)).scalar_one() is None
        return sorted(connection.execute(select(scenes.c.scene_id)).scalars())


def jobs_made(service: Service) -> int:
    found = client_of(service).get("/jobs").json()["jobs"]
    return len([job for job in found if job["reason"] == "new-scenes"])


def test_scenes_that_come_late_or_are_written_over_are_found_and_make_work_once(
    watched: Service, world: World
) -> None:
    first = [world.item(f"s{n}", f"2024-0{n}-05", created="2024-07-01T00:00:00Z") for n in (3, 4, 5)]
    world.now_knows(first)
    assert look(watched) == ["s3", "s4", "s5"]
    assert jobs_made(watched) == 1
    work_off(watched)
    assert look(watched, later_s=watch.WHOLE_EVERY_S + 1) == ["s3", "s4", "s5"]
    assert jobs_made(watched) == 1

    late = world.item("late", "2019-01-05", created="2024-09-01T00:00:00Z")
    twin = world.item("twin", "2024-05-05", created="2024-07-01T00:00:00Z")
    world.now_knows([*first, late, twin])
    assert look(watched) == ["s3", "s4", "s5"], "older than the recent past, and not yet due"
    assert look(watched, later_s=watch.WHOLE_EVERY_S + 1) == ["late", "s3", "s4", "s5", "twin"]
    assert jobs_made(watched) == 2
    work_off(watched)

    (world.folder / "s4.tif").unlink()
    again = world.item("s4", "2024-04-05", updated="2024-10-01T00:00:00Z")
    write_tiff(world.folder / "s4.tif", 99)
    world.now_knows([first[0], again, first[2], late, twin])
    assert look(watched, later_s=watch.WHOLE_EVERY_S + 1) == ["late", "s3", "s4", "s5", "twin"]
    assert jobs_made(watched) == 3


def test_what_is_removed_or_added_while_pages_are_read_hides_no_scene(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stac_api, "PAGE", 3)
    items = [world.item(f"s{n:02}", f"2024-01-{n:02}") for n in range(1, 11)]
    archive = open_archive(world.front.url, cache=tmp_path / "cache", allow_hosts={"127.0.0.1"})
    for change in (items[1:], [world.item("s00", "2023-12-01"), *items]):
        before, after = world.serve(items), world.serve(change)
        front = world.front
        front.behind, front.asked = before, []

        def turn(count: int, after: str = after) -> None:
            if count == 2:
                world.front.behind = after

        front.before = turn
        found = archive.search(box(*PLACE))
        assert [scene.id for scene in found.scenes] == sorted(item["id"] for item in change)
        assert found.refused == ()


def test_a_catalog_that_never_holds_still_is_not_half_believed(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stac_api, "PAGE", 3)
    items = [world.item(f"s{n:02}", f"2024-01-{n:02}") for n in range(1, 9)]
    sides = [world.serve(items), world.serve(items[2:])]

    def turn(count: int) -> None:
        # Three requests make a reading: each begins where the one before ended.
        world.front.behind = sides[(count // 2) % 2]

    world.front.behind, world.front.before = sides[0], turn
    monkeypatch.setattr(stac_api, "READINGS", 2)
    with pytest.raises(UnreadableArchive, match="changes faster"):
        open_archive(world.front.url, cache=tmp_path, allow_hosts={"127.0.0.1"}).search(box(*PLACE))


def test_a_scene_whose_file_did_not_arrive_is_asked_for_again_soon(watched: Service, world: World) -> None:
    items = [world.item("s1", "2020-01-05"), world.item("s2", "2020-02-05")]
    (world.folder / "s2.tif").rename(world.folder / "away")
    world.now_knows(items)
    assert look(watched) == ["s1"]
    (world.folder / "away").rename(world.folder / "s2.tif")
    assert look(watched, later_s=watch.AGAIN_S + 1) == ["s1", "s2"]


def test_a_site_in_a_new_place_is_looked_for_in_all_of_the_archive(watched: Service, world: World) -> None:
    world.now_knows([world.item("old", "2015-01-05")])
    with watched.database.write() as connection:
        connection.execute(update(archives).values(watch_cursor=json.dumps({"whole": 4e9, "areas": "other"})))
    assert look(watched) == ["old"]


def test_a_host_is_allowed_to_the_archive_it_was_allowed_to_and_no_other(
    watched: Service, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.now_knows([world.item("s1", "2024-01-05")])
    with watched.database.write() as connection:
        tenant = ensure_tenant(watched.database, connection, "first")
        add_archive(watched.database, connection, "other", "remote", world.front.url, tenant)
    assert Watch(watched.database, watched.settings, "test").run_due() >= 2
    with watched.database.read() as connection:
        told = dict(connection.execute(select(archives.c.name, archives.c.watch_error)).all())
        rows = {source.name: source for source in sources(connection, tenant, None)}
        assert find_archive(connection, tenant, "api").allow_hosts == "127.0.0.1"
    assert told["api"] is None
    assert "no public address" in str(told["other"])
    assert rows["api"].allow_hosts == {"127.0.0.1"}
    assert rows["other"].allow_hosts == frozenset()

    report = client_of(watched).get("/archives").json()["archives"]
    assert all("allow_hosts" not in shown for shown in report)
    given = ["--data", str(tmp_path / "cli"), "--json"]
    assert index(["add", "cli", world.front.url, "--allow-host", "127.0.0.1", *given]) == 0
    assert json.loads(capsys.readouterr().out)["allow_hosts"] == ["127.0.0.1"]


def index(given: list[str]) -> int:
    parser = __import__("argparse").ArgumentParser()
    archive_command.add_arguments(parser)
    return archive_command.run(parser.parse_args(given))


def test_the_index_command_says_per_scene_of_an_api_what_is_missing(
    watched: Service, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    (world.folder / "broken.tif").write_bytes(b"II*")
    world.now_knows([world.item("whole", "2020-01-05"), world.item("broken", "2020-02-05")])
    data = ["--data", str(watched.settings.data)]
    for _ in range(2):  # the second time nothing is new, and all of it is told again
        assert index(["index", "api", *data]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        assert "  refused broken: unreadable-raster: " in said.out
        assert "  whole: " in said.out
        assert "sun angles missing" in said.out
    assert index(["index", "api", *data, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["asked"] is True
    assert [(fault["where"], fault["code"]) for fault in told["refused"]] == [("broken", "unreadable-raster")]
    assert [entry["scene"] for entry in told["notes"]] == ["whole"]


def test_the_index_command_says_that_without_a_site_nothing_was_asked(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.now_knows([world.item("s1", "2024-01-05")])
    assert (
        index(["add", "api", world.front.url, "--allow-host", "127.0.0.1", "--data", str(tmp_path / "d")])
        == 0
    )
    assert "nothing was asked: " in capsys.readouterr().out


def test_the_operator_may_name_a_folder_by_its_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my scenes").mkdir()
    write_tiff(tmp_path / "my scenes" / "a_20240105.tif", 1)
    assert (
        index(["add", "mine", (tmp_path / "my scenes").as_uri(), "--data", str(tmp_path / "d"), "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["source"], told["scenes"]) == ("folder", str(tmp_path / "my scenes"), 1)


@pytest.mark.long
def test_a_site_is_analysed_from_the_api_it_was_found_in(watched: Service, world: World) -> None:
    world.now_knows([world.item(f"s{n}", f"2024-0{n}-05") for n in (3, 4, 5)])
    look(watched)
    settings = watched.settings
    assert work_off(watched, SiteRunner(settings.products_place, settings.downloads_place, frozenset())) == 1
    client = client_of(watched)
    (site,) = client.get("/sites").json()["features"]
    report = client.get(f"/sites/{site['id']}/reports/latest").json()
    assert [scene["scene_id"] for scene in report["generated_from"]] == ["s3", "s4", "s5"]


@pytest.mark.long
def test_large_scenes_of_an_api_are_watched_by_their_tables_and_read_in_parts(
    watched: Service, world: World, tmp_path: Path
) -> None:
    with file_server() as files:
        items = []
        for number in (3, 4, 5):
            path = write_large(tmp_path / f"large{number}.tif", number)
            assert path.stat().st_size > 4 * 2**20
            item = world.item(f"s{number}", f"2024-0{number}-05")
            item["assets"]["data"]["href"] = files.add(path.name, path)
            items.append(item)
        world.now_knows(items)
        assert look(watched) == ["s3", "s4", "s5"]
        whole = sum(map(len, files.files.values()))
        assert files.bytes_sent < 0.1 * whole
        settings = watched.settings
        runner = SiteRunner(settings.products_place, settings.downloads_place, frozenset())
        assert work_off(watched, runner) == 1
        assert files.bytes_sent < 0.5 * whole

        client = client_of(watched)
        (site,) = client.get("/sites").json()["features"]
        report = client.get(f"/sites/{site['id']}/reports/latest").json()
        assert [scene["scene_id"] for scene in report["generated_from"]] == ["s3", "s4", "s5"]
        assert all("excerpt" in file for scene in report["generated_from"] for file in scene["files"])

        files.forget()
        shown = client.get(f"/sites/{site['id']}/tiles").json()["scenes"]
        assert shown
        (name, *_) = [scene["scene_id"] for scene in shown]
        assert client.get(f"/sites/{site['id']}/tiles/{name}/0/0/0.png").status_code == 200
        assert files.sent == [], "a tile is drawn from what the report was made from"
        assert look(watched, later_s=watch.WHOLE_EVERY_S + 1) == ["s3", "s4", "s5"]
        assert files.sent == []
        assert jobs_made(watched) == 1, "what was fetched for a site is no news of a scene"


def write_large(path: Path, seed: int) -> Path:
    """Write 20 km of noise on one texture around the square, tiled, as a COG."""
    ground = np.random.default_rng(0).integers(500, 3000, (1, 1024, 1024), dtype=np.uint16)
    noise = np.random.default_rng(seed).integers(0, 100, (1, 2048, 2048), dtype=np.uint16)
    place = Affine(10.0, 0.0, EAST_M - 9000, 0.0, -10.0, NORTH_M + 9000)
    with rasterio.open(
        path, "w", driver="COG", width=2048, height=2048, count=1, dtype="uint16", crs="EPSG:32636", transform=place,
        compress="deflate", level=1, blocksize=256,
    ) as file:  # fmt: skip
        file.write(np.kron(ground, np.ones((1, 2, 2), np.uint16)) + noise)
    return path


def test_an_address_that_turns_private_after_it_was_checked_is_not_read(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.now_knows([world.item("s1", "2024-01-05")])
    port = world.front.url.rsplit(":", 1)[1]
    real = socket.getaddrinfo

    def changing(host: Any, *arguments: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host == "rebinding.example" else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    monkeypatch.setattr(stac_api, "assert_public_address", lambda *_: None)  # what it was when it was checked
    archive = open_archive(f"http://rebinding.example:{port}", cache=tmp_path, trust_named=False)
    with pytest.raises(UnreadableArchive, match="no public address"):
        archive.search(box(*PLACE))
