"""Hashes that are remembered are those of the files as they are."""

import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from imagery.errors import UnreadableRaster
from imagery.rasters import RasterHeader, read_header
from pipelines.archives import fingerprints, open_archive
from pipelines.archives.fingerprints import Fingerprints


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Name every file that is read for its hash."""
    read: list[str] = []

    def sha256(path: str) -> str:
        read.append(Path(path).name)
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    monkeypatch.setattr(fingerprints, "_sha256", sha256)
    monkeypatch.setattr(fingerprints, "TOO_FRESH_S", 0.0)
    return read


def hash_in_a_new_run(place: Path, path: Path) -> str:
    prints = Fingerprints(place)
    said = prints.sha256_of(str(path))
    prints.keep()
    return said


def test_a_file_is_read_once_over_many_runs(tmp_path: Path, reads: list[str]) -> None:
    scene, place = tmp_path / "a.tif", tmp_path / "kept" / "prints"
    scene.write_bytes(b"first")
    time.sleep(0.02)
    said = {hash_in_a_new_run(place, scene) for _ in range(3)}
    assert said == {hashlib.sha256(b"first").hexdigest()}
    assert reads == ["a.tif"]


@pytest.mark.parametrize("in_place", [True, False])
def test_a_file_that_was_replaced_and_given_its_old_date_is_read_again(
    tmp_path: Path, reads: list[str], in_place: bool
) -> None:
    scene, place = tmp_path / "a.tif", tmp_path / "prints"
    scene.write_bytes(b"first")
    time.sleep(0.02)
    hash_in_a_new_run(place, scene)
    old = scene.stat()
    fresh = scene if in_place else tmp_path / "new.tif"
    fresh.write_bytes(b"other")
    os.utime(fresh, ns=(old.st_atime_ns, old.st_mtime_ns))
    os.replace(fresh, scene)
    assert hash_in_a_new_run(place, scene) == hashlib.sha256(b"other").hexdigest()


def test_a_file_that_was_just_touched_is_not_remembered(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "TOO_FRESH_S", 60.0)
    scene, place = tmp_path / "a.tif", tmp_path / "prints"
    scene.write_bytes(b"first")
    hash_in_a_new_run(place, scene)
    hash_in_a_new_run(place, scene)
    assert reads == ["a.tif", "a.tif"]
    assert not place.exists()


def test_two_runs_at_once_keep_what_both_found_and_drop_what_is_gone(
    tmp_path: Path, reads: list[str]
) -> None:
    place = tmp_path / "prints"
    names = ("gone.tif", "a.tif", "b.tif")
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    time.sleep(0.02)
    hash_in_a_new_run(place, tmp_path / "gone.tif")
    one, other = Fingerprints(place), Fingerprints(place)
    one.sha256_of(str(tmp_path / "a.tif"))
    other.sha256_of(str(tmp_path / "b.tif"))
    one.keep()
    (tmp_path / "gone.tif").unlink()
    other.keep()
    (kept,) = place.iterdir()
    assert sorted(json.loads(kept.read_text())) == ["a.tif", "b.tif"]
    assert reads == list(names)


@pytest.mark.parametrize("text", ["", "[]", '{"x": 3}', '{"x": [[1, 2], "y"]}', "\x00"])
def test_what_was_kept_and_is_damaged_counts_as_nothing(tmp_path: Path, reads: list[str], text: str) -> None:
    scene, place = tmp_path / "a.tif", tmp_path / "prints"
    scene.write_bytes(b"first")
    time.sleep(0.02)
    hash_in_a_new_run(place, scene)
    for kept in place.iterdir():
        kept.write_text(text)
    assert hash_in_a_new_run(place, scene) == hashlib.sha256(b"first").hexdigest()
    assert reads == ["a.tif", "a.tif"]


def test_a_place_that_takes_nothing_stops_nobody(tmp_path: Path, reads: list[str]) -> None:
    scene, blocked = tmp_path / "a.tif", tmp_path / "file"
    scene.write_bytes(b"first")
    blocked.write_text("no folder")
    time.sleep(0.02)
    assert hash_in_a_new_run(blocked / "prints", scene) == hashlib.sha256(b"first").hexdigest()


# --- headers -------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Name every file whose header is read."""
    read: list[str] = []

    def header(path: str) -> RasterHeader:
        read.append(Path(path).name)
        return read_header(path)

    monkeypatch.setattr(fingerprints, "read_header", header)
    monkeypatch.setattr(fingerprints, "TOO_FRESH_S", 0.0)
    return read


def write_raster(path: Path, nodata: float | None) -> Path:
    transform = rasterio.Affine(0.3, 0.01, 500_000.1, 0.02, -1 / 3, 5_000_000.7)
    with rasterio.open(
        path, "w", driver="GTiff", width=20, height=30, count=2, dtype="float32", crs="EPSG:32633",
        transform=transform, nodata=nodata,
    ) as file:  # fmt: skip
        file.write(np.ones((2, 30, 20), np.float32))
        file.descriptions = ("red", "green")
        file.scales, file.offsets = (0.1, 1.0), (-0.1, 0.0)
        file.update_tags(TIFFTAG_DATETIME="2024:01:02 03:04:05")
    time.sleep(0.02)
    return path


def header_in_a_new_run(place: Path, path: Path) -> RasterHeader:
    prints = Fingerprints(place)
    said = prints.header_of(str(path))
    prints.keep()
    return said


@pytest.mark.parametrize("nodata", [None, 0.1, -9999.0, float("nan")])
def test_a_remembered_header_is_the_one_that_was_read(
    tmp_path: Path, opened: list[str], nodata: float | None
) -> None:
    scene, place = write_raster(tmp_path / "a.tif", nodata), tmp_path / "prints"
    said = [header_in_a_new_run(place, scene) for _ in range(3)]
    assert opened == ["a.tif"]
    assert {repr(header) for header in said} == {repr(read_header(str(scene)))}
    assert hash(said[1].scalings) == hash(said[0].scalings)


def test_a_hash_and_a_header_of_one_file_are_kept_together(tmp_path: Path, opened: list[str]) -> None:
    scene, place = write_raster(tmp_path / "a.tif", None), tmp_path / "prints"
    header_in_a_new_run(place, scene)
    hash_in_a_new_run(place, scene)
    assert header_in_a_new_run(place, scene).rows == 30
    assert hash_in_a_new_run(place, scene) == hashlib.sha256(scene.read_bytes()).hexdigest()
    assert opened == ["a.tif"]


def test_another_reader_of_headers_reads_them_again(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, place = write_raster(tmp_path / "a.tif", None), tmp_path / "prints"
    header_in_a_new_run(place, scene)
    monkeypatch.setattr(fingerprints, "_header_kind", lambda: "header of tomorrow")
    header_in_a_new_run(place, scene)
    assert opened == ["a.tif", "a.tif"]


def test_a_file_that_was_cut_off_after_it_was_read_is_refused(tmp_path: Path, opened: list[str]) -> None:
    scene, place = write_raster(tmp_path / "a.tif", None), tmp_path / "prints"
    header_in_a_new_run(place, scene)
    scene.write_bytes(scene.read_bytes()[:1000])
    for _ in range(2):
        with pytest.raises(UnreadableRaster):
            header_in_a_new_run(place, scene)
    with pytest.raises(UnreadableRaster):
        header_in_a_new_run(place, tmp_path / "none.tif")


def test_who_verifies_reads_every_file_again(tmp_path: Path, opened: list[str], reads: list[str]) -> None:
    folder, cache = tmp_path / "scenes", tmp_path / "cache"
    folder.mkdir()
    write_raster(folder / "2024-01-02.tif", None)
    for remember in (True, True, False, False):
        assert len(open_archive(str(folder), cache=cache, remember=remember).search().scenes) == 1
    assert opened == reads == ["2024-01-02.tif"] * 3
