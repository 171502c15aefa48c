"""Sites whose scenes lie on a server: the same report for a part of the bytes, replayed, and told for what it is."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from imagery.scene import BandSource, FilePart, Scene
from imagery.simulation import Sensor, SeriesOptions
from pipelines import fetching
from pipelines.analysis import Site
from pipelines.aoi import read_aoi
from pipelines.archives import Ground, patience
from pipelines.archives.cutting import excerpt_sha256
from pipelines.archives.duplicates import without_duplicates
from pipelines.archives.errors import DownloadFailed
from pipelines.archives.scenes import CheckedScene
from pipelines.parameters import Parameters
from pipelines.replay import replay
from pipelines.report.bundle import write_bundle
from pipelines.report.features import window_of
from pipelines.simulate import write_series
from pipelines.site import analyse
from pipelines.verify import ReplayState, verify_bundle
from tests.pipelines.file_server import FileServer, serving

SERIES = SeriesOptions(
    extent_m=96.0, looks=4, clouds=0.0, snow=0.0, traffic=0.0, sensor=Sensor(0.5), geolocation_m=1.0
)
AROUND_PX = 750
HOSTS = frozenset({"127.0.0.1"})
# Low enough that there is something to show: what is found is not the matter here.
PLAIN = Parameters(network=False, min_confidence=0.0)


def widened(path: Path, seed: int) -> None:
    """Put a rendered scene into the middle of a large one, tiled and with overviews as providers publish them."""
    with rasterio.open(path) as file:
        numbers, profile, names = file.read(), file.profile, file.descriptions
        tags = file.tags()
    bands, rows, cols = numbers.shape
    mask = numbers.dtype == np.uint8
    rng = np.random.default_rng(seed)
    shape = (bands, rows + 2 * AROUND_PX, cols + 2 * AROUND_PX)
    around = np.zeros(shape, np.uint8) if mask else rng.integers(500, 900, shape).astype(numbers.dtype)
    around[:, AROUND_PX:-AROUND_PX, AROUND_PX:-AROUND_PX] = numbers
    place = profile["transform"] @ Affine.translation(-AROUND_PX, -AROUND_PX)
    with rasterio.open(
        path, "w", driver="COG", height=shape[1], width=shape[2], count=bands, dtype=numbers.dtype,
        crs=profile["crs"], transform=place, nodata=profile.get("nodata"), compress="zstd", blocksize=256, level=1,
    ) as file:  # fmt: skip
        file.write(around)
        file.descriptions = names
        file.update_tags(**{k: v for k, v in tags.items() if k != "AREA_OR_POINT"})


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of four large scenes of one small site; read only."""
    folder = tmp_path_factory.mktemp("published") / "site"
    write_series(9, SERIES, folder, "test")
    for number, path in enumerate(sorted(folder.rglob("*.tif"))):
        widened(path, number)
    return folder


@pytest.fixture(scope="module")
def site(published: Path) -> Site:
    return read_aoi(published / "aoi.geojson")


@pytest.fixture(scope="module")
def running() -> Iterator[FileServer]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: FileServer) -> FileServer:
    running.forget()
    running.ranges = True
    return running


@pytest.fixture(scope="module")
def catalog(published: Path, running: FileServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same catalog with its pixels on the server."""
    place = tmp_path_factory.mktemp("remote") / "items.json"
    items = [json.loads(p.read_text()) for p in sorted(published.rglob("*.json"))]
    items = [item for item in items if item.get("type") == "Feature" and "assets" in item]
    for item in items:
        for asset in item["assets"].values():
            path = next(published.rglob(Path(asset["href"]).name))
            asset["href"] = running.add(path.name, path)
    place.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return place


def report(catalog: Path, site: Site, out: Path, store: Path, **more: Any) -> dict[str, bytes]:
    """Analyse, and return the report's files."""
    analyse(
        catalog=str(catalog),
        site=site,
        out=out,
        store=str(store),
        allow_hosts=HOSTS,
        parameters=PLAIN,
        **more,
    )
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def reports(
    published: Path, catalog: Path, site: Site, running: FileServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The site's report from local files, by ranges, and with a server that has none; and what the server sent."""
    place = tmp_path_factory.mktemp("reports")
    found: dict[str, Any] = {
        "local": report(published / "catalog.json", site, place / "a", place / "store-a")
    }
    running.forget()
    found["told"] = []
    found["ranges"] = report(
        catalog, site, place / "b", place / "store-b", progress=lambda *step: found["told"].append(step)
    )
    found["sent"] = running.bytes_sent
    running.ranges = False
    found["whole"] = report(catalog, site, place / "c", place / "store-c")
    running.ranges = True
    found["folder"] = place / "b"
    return found


@pytest.mark.long
def test_a_report_is_the_same_bytes_by_ranges_and_from_whole_files(
    reports: dict[str, Any], running: FileServer
) -> None:
    assert reports["ranges"] == reports["whole"]
    assert len(json.loads(reports["ranges"]["report.json"])["looks"]) == 4
    assert reports["sent"] < 0.5 * sum(map(len, running.files.values()))


@pytest.mark.long
def test_a_report_of_remote_scenes_differs_from_one_of_local_files_in_their_hashes_only(
    reports: dict[str, Any],
) -> None:
    remote, local = reports["ranges"], reports["local"]
    assert set(remote) == set(local)
    names = ("changes.geojson", "looks.geojson", "timeline.csv", "report.html")
    assert {n for n in names if remote[n] != local[n]} == set()
    pictures = [n for n in local if n.endswith((".png", ".tif", ".gif"))]
    assert pictures
    assert {n for n in pictures if remote[n] != local[n]} == set()
    one, other = (json.loads(r["report.json"]) for r in (remote, local))
    assert {k for k in one if one[k] != other[k]} <= {"generated_from", "files"}
    assert "ground" not in json.loads(local["registration.json"])
    assert not any("excerpt" in f for s in other["generated_from"] for f in s["files"])


@pytest.mark.long
def test_a_report_says_which_bytes_of_a_remote_file_were_hashed(
    reports: dict[str, Any], published: Path
) -> None:
    told = json.loads(reports["ranges"]["report.json"])["generated_from"]
    for scene in told:
        pixels = [f for f in scene["files"] if "mask" not in f["path"]]
        for file in pixels:
            path = next(published.rglob(file["path"].partition("-")[2]))
            size, spans = file["excerpt"]["size"], file["excerpt"]["spans"]
            assert size == path.stat().st_size
            assert sum(length for _, length in spans) < 0.6 * size
            assert excerpt_sha256(path, size, spans) == file["sha256"]


@pytest.mark.long
def test_a_bundle_of_remote_scenes_is_replayed_from_its_server(
    reports: dict[str, Any],
    catalog: Path,
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_bundle(reports["folder"], tmp_path / "x.zip")
    monkeypatch.setattr("pipelines.replay.analyse", lambda **given: analyse(**given, allow_hosts=HOSTS))
    result = verify_bundle(tmp_path / "x.zip", catalog, replay)
    assert result.replay is ReplayState.IDENTICAL, result.told
    assert result.outcome == "verified"
    assert server.bytes_sent > 0


@pytest.mark.long
def test_how_many_remote_scenes_were_fetched_is_told_before_any_is_read(reports: dict[str, Any]) -> None:
    steps = [step for step, _, _ in reports["told"]]
    assert list(dict.fromkeys(steps))[:3] == ["search", "fetch", "chips"]
    assert [told for told in reports["told"] if told[0] == "fetch"][:5] == [("fetch", n, 4) for n in range(5)]


@pytest.mark.long
def test_a_scene_whose_blocks_do_not_come_is_told_of_and_in_the_next_report(
    catalog: Path, site: Site, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    fetching_now = False

    def progress(step: str, _done: int, _total: int) -> None:
        nonlocal fetching_now
        fetching_now = step == "fetch"

    def fails(number: int) -> tuple[int, dict[str, str]] | None:
        mine = server.sent[number - 1].path == unlucky
        return (503, {"Retry-After": "0"}) if fetching_now and mine else None

    unlucky = next(path for path in sorted(server.files) if "mask" not in path)
    server.fails = fails
    try:
        first = report(catalog, site, tmp_path / "a", tmp_path / "store", progress=progress)
    finally:
        server.fails = lambda _number: None
    told = json.loads(first["report.json"])
    (refused,) = told["refused"]
    assert (refused["code"], len(told["looks"])) == ("download-failed", 3)
    assert (
        "(the server answers 503 and says Retry-After: 0); try again later: the next run asks"
        in refused["detail"]
    )
    said = (
        "1 scene did not come from its server and is not in this report: analyse again later to ask for it."
    )
    assert said in told["warnings"]
    assert said in first["report.html"].decode()
    again = json.loads(report(catalog, site, tmp_path / "b", tmp_path / "store")["report.json"])
    assert (again["refused"], len(again["looks"])) == ([], 4)
    assert said not in again["warnings"]


# --- which ground --------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_what_is_read_beyond_the_ground_that_was_fetched_is_read_from_whole_files(
    reports: dict[str, Any], catalog: Path, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_small(grids: Any, _parameters: Parameters) -> Ground:
        return Ground.around(grids.site, -20.0)

    monkeypatch.setattr(fetching, "_ground", too_small)
    found = report(catalog, site, tmp_path / "out", tmp_path / "store")
    assert found["changes.geojson"] == reports["ranges"]["changes.geojson"]
    assert found["report.html"] == reports["ranges"]["report.html"]
    assert json.loads(found["registration.json"])["ground"] is None


def scene(name: str, gsd_m: float, digest: str = "") -> Scene:
    part = FilePart(f"{name}.tif", 100, ((0, 10),))
    return Scene(
        name, datetime(2024, 5, int(name[1:]), tzinfo=UTC), (BandSource("red", f"/{name}.tif", 1, 1.0, 0.0, None),), None,
        gsd_m, None, None, "p", None, "reflectance", "POINT EMPTY", ((f"/{name}.tif", digest or name),),
        parts=((f"/{name}.tif", part),),
    )  # fmt: skip


AOI = shapely.box(35.0, 33.0, 35.003, 33.003)


@pytest.mark.parametrize("gsds_m", [(0.5, 0.5), (10.0, 10.0), (0.5, 10.0), (3.0, 5.2)])
def test_the_ground_holds_every_grid_that_is_read_with_the_largest_shift(gsds_m: tuple[float, float]) -> None:
    scenes = [scene(f"s{n + 1}", gsd_m) for n, gsd_m in enumerate(gsds_m)]
    found = fetching.fetch_pixels(AOI, scenes, lambda s, _ground: s, Parameters(max_shift_m=80.0))
    assert found.ground is not None
    for grid in found.grids.chips.values():
        assert found.ground.holds(Ground.around(grid, 80.0 + 4 * grid.gsd_m))
    site = found.grids.site
    for level in range(12):
        coarse = site.coarsened(2**level)
        if max(coarse.shape) > 128:
            assert found.ground.holds(Ground.around(coarse, 80.0 + 2 * coarse.gsd_m))


def test_a_scene_that_does_not_come_is_refused_and_the_rest_is_analysed() -> None:
    asked: list[str] = []

    def bring(one: Scene, _ground: Ground | None) -> Scene:
        asked.append(one.id)
        if one.id == "s2" or (one.id == "s1" and asked.count("s1") == 1):
            raise DownloadFailed(f"{one.id}: could not be read", pointer="x")
        return one

    found = fetching.fetch_pixels(AOI, [scene("s1", 0.5), scene("s2", 0.3)], bring, Parameters())
    assert [s.id for s in found.scenes] == ["s1"]
    assert found.refused == (("s2", "download-failed", "s2: could not be read"),)
    assert found.grids.site.gsd_m == 0.5, "the grid is that of the scenes that came"
    with pytest.raises(DownloadFailed):
        fetching.fetch_pixels(AOI, [scene("s2", 0.3)], bring, Parameters())


def test_only_what_lies_elsewhere_is_counted_as_fetched_and_once_however_often_it_is_asked_for() -> None:
    told: list[tuple[str, int, int]] = []
    asked: list[str] = []
    here = replace(scene("s3", 0.5), parts=())

    def bring(one: Scene, _ground: Ground | None) -> Scene:
        asked.append(one.id)
        if one.id == "s1" and asked.count("s1") == 1:
            raise DownloadFailed("s1: could not be read", pointer="x")
        return one

    def fetched(*scenes: Scene) -> list[tuple[str, int, int]]:
        told.clear()
        fetching.fetch_pixels(AOI, scenes, bring, Parameters(), progress=lambda *step: told.append(step))
        return list(told)

    assert fetched(scene("s1", 0.5), scene("s2", 0.5), here) == [("fetch", n, 2) for n in range(3)]
    assert asked == ["s1", "s2", "s3", "s1"]
    assert fetched(here) == []


def test_copies_that_only_their_pixels_betray_count_once() -> None:
    twins = [scene("s1", 0.5, "same"), scene("s2", 0.5, "same"), scene("s3", 0.5)]
    found = fetching.fetch_pixels(AOI, twins, lambda s, _ground: s, Parameters())
    assert [s.id for s in found.scenes] == ["s1", "s3"]
    assert [code for _, code, _ in found.refused] == ["duplicate-acquisition"]


def test_two_scenes_are_no_copies_for_equal_tables() -> None:
    outline = shapely.box(35.0, 33.0, 35.1, 33.1)
    twins = [CheckedScene(scene(n, 0.5, "same"), outline, (0.0, -0.5, 0, "", n)) for n in ("s1", "s2")]
    kept, copies = without_duplicates(twins, None)
    assert (len(kept), copies) == (2, ())


def test_pictures_of_long_changes_at_the_edge_widen_the_ground() -> None:
    found = fetching.fetch_pixels(AOI, [scene("s1", 0.5)], lambda s, _ground: s, Parameters())
    site, asked = found.grids.site, []

    def bring(one: Scene, ground: Ground | None) -> Scene:
        asked.append(ground)
        return one

    west, south, _, north = site.bounds
    inside = SimpleNamespace(footprint=shapely.box(west + 100, south + 100, west + 110, south + 105))
    assert fetching.fetch_surroundings(found, [inside], bring, Parameters())[1] == found.ground
    assert asked == []
    long = SimpleNamespace(footprint=shapely.box(west, south, west + 5, north))
    told: list[tuple[str, int, int]] = []
    scenes, ground = fetching.fetch_surroundings(
        found, [long], bring, Parameters(), lambda *step: told.append(step)
    )
    assert told == [("fetch", 0, 1), ("fetch", 1, 1)]
    assert asked == [ground]
    assert ground is not None
    assert ground.holds(Ground.around(window_of(long, site)))
    assert found.ground is not None
    assert ground.holds(found.ground)
    assert [s.id for s in scenes] == ["s1"]


@pytest.mark.long
def test_a_replay_by_another_version_is_not_judged_by_other_excerpts(
    reports: dict[str, Any], tmp_path: Path
) -> None:
    write_bundle(reports["folder"], tmp_path / "x.zip")
    told = json.loads(reports["ranges"]["report.json"])

    def otherwise(version: str) -> Any:
        def write(_report: Any, _catalog: Path, out: Path) -> None:
            files = [
                {**f, "sha256": "0" * 64}
                for s in told["generated_from"]
                for f in s["files"]
                if "excerpt" in f
            ]
            whole = [f for s in told["generated_from"] for f in s["files"] if "excerpt" not in f]
            out.mkdir(parents=True)
            made = {**told, "processing_version": version, "generated_from": [{"files": files + whole}]}
            (out / "report.json").write_text(json.dumps(made))

        return write

    other = verify_bundle(tmp_path / "x.zip", tmp_path, otherwise("other"))
    assert other.replay is ReplayState.OTHER_VERSION
    same = verify_bundle(tmp_path / "x.zip", tmp_path, otherwise(told["processing_version"]))
    assert same.replay is ReplayState.OTHER_SOURCES


@pytest.mark.long
def test_a_whole_copy_beside_a_bundle_is_compared_by_the_bytes_that_were_read(
    reports: dict[str, Any], published: Path, tmp_path: Path
) -> None:
    write_bundle(reports["folder"], tmp_path / "x.zip")
    told = json.loads(reports["ranges"]["report.json"])["generated_from"][0]["files"]
    file = next(f for f in told if "excerpt" in f)
    place = tmp_path / "copies"
    place.mkdir()
    data = bytearray(next(published.rglob(file["path"].partition("-")[2])).read_bytes())
    (place / file["path"]).write_bytes(data)
    assert verify_bundle(tmp_path / "x.zip", place).sources.found == 1
    offset, _ = file["excerpt"]["spans"][-1]
    data[offset + 5] ^= 1
    (place / file["path"]).write_bytes(data)
    assert verify_bundle(tmp_path / "x.zip", place).sources.changed == (file["path"],)
