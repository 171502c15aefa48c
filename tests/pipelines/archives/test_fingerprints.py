"""Hashes that are remembered are those of the files as they are."""

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from pipelines.archives import fingerprints
from pipelines.archives.fingerprints import Fingerprints


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Name every file that is read for its hash."""
    read: list[str] = []

    def sha256(path: str, _identity: object) -> str:
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
