"""What goes wrong in a batch: each fault is one sentence with a code, costs nothing that was done, and tells no lie.

A fault of one scene leaves that scene out and says so; a fault of anything else (archive gone, disk full, a product
damaged) ends the run, because a report of the scenes that happened to be left would be a different story.
"""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest
import rasterio
from rasterio.transform import from_origin

from imagery.errors import DepotwatchError, UnreadableRaster
from pipelines.aoi import read_aoi
from pipelines.archives import open_archive
from pipelines.parameters import BadParameter, parameters_from
from pipelines.products import ProductStore, StoreFailed
from pipelines.report.write import OutputNotWritable
from pipelines.runner import Runner, SerialRunner, ThreadRunner
from pipelines.site import analyse
from service.cli import main

MANY = 10_000
LOOKS = 6
FULL = "Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)\n\nDebug"


def write_site(folder: Path, looks: int = LOOKS, gsd_m: float = 10.0, side: int = 48) -> Path:
    """Write a small site of textured looks at 10 m: a catalog, its items and an AOI."""
    rng = np.random.default_rng(3)
    folder.mkdir()
    ground = rng.integers(500, 3000, (4, side // 4, side // 4)).repeat(4, 1).repeat(4, 2)
    for look in range(looks):
        image = np.clip(ground + rng.normal(0, 30, ground.shape), 1, 9000).astype(np.uint16)
        write_scene(folder / f"s{look:05d}.tif", image, gsd_m)
    write_catalog(folder, [f"s{look:05d}" for look in range(looks)], gsd_m)
    return folder


def write_scene(path: Path, image: np.ndarray[Any, Any], gsd_m: float) -> None:
    """Write one four-band GeoTIFF."""
    bands, rows, cols = image.shape
    profile = {
        "driver": "GTiff", "count": bands, "height": rows, "width": cols, "dtype": "uint16", "crs": "EPSG:32636",
        "transform": from_origin(500_000, 5_300_000, gsd_m, gsd_m), "nodata": 0,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(image)


def day(number: int) -> datetime:
    """Return when the scene of a number was taken: they lie a day apart."""
    return datetime(1990, 1, 1, 9, tzinfo=UTC) + timedelta(days=number)


def write_catalog(folder: Path, names: list[str], gsd_m: float = 10.0) -> None:
    """Write a catalog of items a day apart, all over the same ground."""
    ring = [[33.0, 47.8497], [33.0, 47.8541], [33.0066, 47.8541], [33.0066, 47.8497], [33.0, 47.8497]]
    links = []
    for number, name in enumerate(names):
        bands = [{"name": b, "common_name": b} for b in ("blue", "green", "red", "nir")]
        item = {
            "type": "Feature", "stac_version": "1.0.0", "id": name, "bbox": [33.0, 47.8497, 33.0066, 47.8541],
            "geometry": {"type": "Polygon", "coordinates": [ring]}, "links": [],
            "properties": {
                "datetime": day(number).isoformat().replace("+00:00", "Z"), "gsd": gsd_m, "view:sun_azimuth": 160.0,
                "view:sun_elevation": 40.0, "view:off_nadir": 2.0, "view:azimuth": 100.0,
            },
            "assets": {"data": {
                "href": f"./{name}.tif", "type": "image/tiff; application=geotiff", "roles": ["data"],
                "eo:bands": bands,
                "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": 0}] * 4,
            }},
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(item))
        links.append({"rel": "item", "href": f"./{name}.json", "type": "application/geo+json"})
    said = {"type": "Catalog", "stac_version": "1.0.0", "id": "batch", "description": "test", "links": links}
    (folder / "catalog.json").write_text(json.dumps(said))
    inner = [[33.001, 47.8505], [33.0055, 47.8505], [33.0055, 47.8535], [33.001, 47.8535], [33.001, 47.8505]]
    area = {
        "type": "Feature",
        "properties": {"name": "a"},
        "geometry": {"type": "Polygon", "coordinates": [inner]},
    }
    (folder / "aoi.geojson").write_text(json.dumps(area))


def run(site: Path, out: Path, **more: Any) -> dict[str, bytes]:
    """Analyse a site; return every file of its report."""
    analyse(catalog=str(site / "catalog.json"), site=read_aoi(site / "aoi.geojson"), out=out, **more)
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a site that nothing is wrong with; read only."""
    return write_site(tmp_path_factory.mktemp("whole") / "site")


@pytest.fixture(scope="module")
def as_it_should_be(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the report of that site."""
    return run(whole, tmp_path_factory.mktemp("fine") / "report")


@pytest.fixture
def site(whole: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "site"))


def one_sentence(error: DepotwatchError) -> str:
    """Return an error's sentence, which is one line and ends like one."""
    assert "\n" not in error.detail
    assert error.code != "error"
    return error.detail


@pytest.mark.long
def test_a_corrupt_scene_in_the_middle_of_ten_thousand_is_named_and_costs_nothing_else(
    tmp_path: Path,
) -> None:
    site = write_site(tmp_path / "site", looks=1, side=24, gsd_m=20.0)
    names = [f"s{number:05d}" for number in range(MANY)]
    pixels = bytearray((site / "s00000.tif").read_bytes())
    for number, name in enumerate(names):
        pixels[-4:] = (number + 1).to_bytes(4, "little")  # no two scenes are the same
        (site / f"{name}.tif").write_bytes(pixels)
    write_catalog(site, names, gsd_m=20.0)
    bad = MANY // 2
    (site / f"s{bad:05d}.tif").write_bytes(pixels[:3000])

    found = open_archive(str(site / "catalog.json")).search()
    assert [scene.id for scene in found.scenes] == names[:bad] + names[bad + 1 :]
    assert [(Path(r.where).stem, r.code) for r in found.refused] == [(names[bad], "unreadable-raster")]

    days = [day(bad + step).isoformat() for step in (-3, 3)]
    with_it = run(site, tmp_path / "report", period=tuple(map(datetime.fromisoformat, days)))
    report = json.loads(with_it["report.json"])
    assert names[bad] in json.dumps(report["refused"])
    used = [look["properties"]["scene_id"] for look in json.loads(with_it["looks.geojson"])["features"]]
    assert used == [name for name in names[bad - 3 : bad + 4] if name != names[bad]]


@pytest.mark.parametrize("runner", [SerialRunner(), ThreadRunner(4, memory_bytes=2**30)])
def test_a_unit_that_fails_is_one_result_of_ten_thousand(runner: Runner) -> None:
    ended: list[int] = []
    found = runner.map(_stub, range(MANY), ended.append)
    assert sum(ended) == MANY
    assert [error for _, error in found if error] == [("unreadable-raster", "s05000: half of it is missing")]
    assert [number for number, error in found if not error] == [n for n in range(MANY) if n != 5000]


def _stub(number: int) -> tuple[int, tuple[str, str] | None]:
    """Do as the steps do: what a scene's own fault is comes back as a value."""
    try:
        if number == 5000:
            raise UnreadableRaster(f"s{number:05d}: half of it is missing")
    except DepotwatchError as error:
        return number, (error.code, error.detail)
    return number, None


def vanishes(site: Path, at: str) -> Callable[[str, int, int], None]:
    """Return a progress callback that takes the archive away when a step is half done."""

    def progress(step: str, done: int, total: int) -> None:
        if step == at and done >= total // 2 and site.exists():
            site.rename(site.with_name("away"))

    return progress


@pytest.mark.parametrize("at", ["search", "chips", "looks", "changes"])
def test_an_archive_that_vanishes_half_way_ends_the_run_and_the_next_one_goes_on(
    site: Path, tmp_path: Path, as_it_should_be: dict[str, bytes], at: str
) -> None:
    store = str(tmp_path / "store")
    with pytest.raises(DepotwatchError) as caught:
        run(site, tmp_path / "report", store=store, progress=vanishes(site, at))
    expected = {"search": "unreadable-archive"}.get(at, "vanished-scene")
    assert caught.value.code == expected
    assert str(site) in one_sentence(caught.value)
    assert not (tmp_path / "report").exists()
    done = {entry.key for entry in ProductStore(store).entries()}
    assert len(done) > {"search": -1, "chips": 1, "looks": LOOKS, "changes": 2 * LOOKS}[at]
    site.with_name("away").rename(site)
    assert run(site, tmp_path / "report", store=store) == as_it_should_be
    assert done <= {entry.key for entry in ProductStore(store).entries()}


@pytest.mark.parametrize("room", [0, 1, LOOKS + 2])
def test_a_full_disk_under_the_products_ends_the_run_and_the_next_one_goes_on(
    whole: Path, tmp_path: Path, as_it_should_be: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    left = [room]
    real = obstore.put

    def put(*args: Any, **options: Any) -> Any:
        if left[0] == 0:
            raise obstore.exceptions.GenericError(FULL)
        left[0] -= 1
        return real(*args, **options)

    store = str(tmp_path / "store")
    with monkeypatch.context() as full:
        full.setattr(obstore, "put", put)
        with pytest.raises(StoreFailed, match="No space left on device") as caught:
            run(whole, tmp_path / "report", store=store)
    assert "Debug" not in one_sentence(caught.value)
    assert not (tmp_path / "report").exists()
    assert len(list(ProductStore(store).entries())) == room
    assert run(whole, tmp_path / "report", store=store) == as_it_should_be


def test_a_full_disk_under_the_report_leaves_nothing_behind(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputNotWritable, match="No space left on device") as caught:
            run(whole, tmp_path / "report")
    one_sentence(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_may_not_be_written_says_so(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(StoreFailed, match="store cannot be used") as caught:
        run(whole, tmp_path / "report", store=str(tmp_path / "store"))
    one_sentence(caught.value)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_product_is_made_again(
    whole: Path, tmp_path: Path, as_it_should_be: dict[str, bytes], damage: str
) -> None:
    store = ProductStore(tmp_path / "store")
    run(whole, tmp_path / "first", store=str(tmp_path / "store"))
    before = {entry.key: store.stored(entry.key) for entry in store.entries()}
    for key in before:
        if key.startswith("displacement"):
            store.delete(key)  # so that chips are read again
    for step in ("chip", "look"):
        key = next(key for key in before if key.startswith(step))
        path, blob = tmp_path / "store" / key, bytearray(before[key] or b"")
        blob[len(blob) // 2] ^= 255
        path.write_bytes(blob[:-64] if damage == "cut" else blob)
    shutil.rmtree(tmp_path / "first")
    assert run(whole, tmp_path / "second", store=str(tmp_path / "store")) == as_it_should_be
    assert {entry.key: store.stored(entry.key) for entry in store.entries()} == before


def test_a_product_that_is_collected_under_a_run_is_made_again(
    whole: Path, tmp_path: Path, as_it_should_be: dict[str, bytes]
) -> None:
    store = ProductStore(tmp_path / "store")
    swept: list[str] = []

    def progress(step: str, done: int, total: int) -> None:
        if step == "looks" and done == total and not swept:
            swept.extend(entry.key for entry in store.entries())
            for key in swept:
                store.delete(key)

    assert run(whole, tmp_path / "out", store=str(tmp_path / "store"), progress=progress) == as_it_should_be
    assert len(swept) > LOOKS


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("gsd_m", 0.0, "between 0.1 and 100"),
        ("gsd_m", float("nan"), "between 0.1 and 100"),
        ("max_shift_m", -1.0, "between 0 and 500"),
        ("max_shift_m", 1e9, "between 0 and 500"),
        ("min_confidence", 1.5, "between 0 and 1"),
        ("max_false_alarms", 0.0, "between 0.0001 and 10000"),
        ("max_false_alarms", "few", "must be a number"),
        ("network", 1, "must be true or false"),
        ("sharpness", 1.0, "there is no parameter 'sharpness'"),
    ],
)
def test_a_parameter_out_of_range_is_refused_before_anything_is_done(
    name: str, value: object, said: str
) -> None:
    with pytest.raises(BadParameter, match=said) as caught:
        parameters_from({name: value})
    assert name in one_sentence(caught.value)
    assert caught.value.pointer == f"/parameters/{name}"


def test_the_command_line_says_it_in_one_line_and_does_nothing(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--catalog", str(whole / "catalog.json"), "--aoi", str(whole / "aoi.geojson")]
    assert main(["analyse", *where, "--out", str(tmp_path / "out"), "--gsd", "0"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(
        "depotwatch analyse: bad-parameter: gsd_m is 0.0; it must lie between 0.1 and 100"
    )
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
