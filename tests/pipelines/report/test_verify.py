"""Bundles: sealed the same every time, and verified with suspicion."""

import json
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pipelines.report import write_report
from pipelines.report.bundle import NotAReport, write_bundle
from pipelines.verify import BadBundle, ReplayState, UnsafeBundle, first_look_that_differs, verify_bundle
from service.cli import main


@pytest.fixture(scope="session")
def bundle(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "quarry.zip"
    write_bundle(report, path)
    return path


def altered(bundle: Path, out: Path, change: Callable[[dict[str, bytes]], Any]) -> Path:
    with zipfile.ZipFile(bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out


def test_a_bundle_is_the_same_bytes_again(report: Path, bundle: Path, tmp_path: Path) -> None:
    write_bundle(report, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()


def test_a_manifest_names_sources_licences_method_and_hashes(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        assert archive.namelist()[0] == "manifest.json"
        told = json.loads(archive.read("manifest.json"))
        assert {f["path"] for f in told["files"]} == set(archive.namelist()) - {"manifest.json"}
    assert len(told["sources"]) == 8
    assert told["licences"] == ["CC-BY-4.0"]
    assert any("interpolated once" in line for line in told["method"])
    assert told["processing_version"] == "5e1f" * 16


def test_a_folder_whose_files_changed_is_not_sealed(report: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    shutil.copytree(report, folder)
    (folder / "timeline.csv").write_text("mine")
    with pytest.raises(NotAReport, match=r"timeline\.csv"):
        write_bundle(folder, tmp_path / "x.zip")
    with pytest.raises(NotAReport):
        write_bundle(tmp_path, tmp_path / "x.zip")
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_an_untouched_bundle_verifies(bundle: Path) -> None:
    result = verify_bundle(bundle)
    assert result.ok
    assert result.files_checked == 39
    assert result.replay is ReplayState.NOT_RUN
    assert result.as_json()["outcome"] == "hashes agree; not replayed: give --catalog to replay"
    assert result.sources.missing[0] == "S00_20230304/data.tif"


def test_one_changed_byte_is_found_and_named(bundle: Path, tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["timeline.csv"] = members["timeline.csv"].replace(b"5", b"6", 1)

    result = verify_bundle(altered(bundle, tmp_path / "x.zip", change))
    assert not result.ok
    assert result.first_difference is not None
    assert (result.first_difference.path, result.first_difference.why) == ("timeline.csv", "changed")


def test_a_manifest_rewritten_to_match_is_caught_by_the_report(bundle: Path, tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["timeline.csv"] += b"more"
        told = json.loads(members["manifest.json"])
        for file in told["files"]:
            if file["path"] == "timeline.csv":
                file["sha256"] = sha256(members["timeline.csv"]).hexdigest()
        members["manifest.json"] = json.dumps(told).encode()

    result = verify_bundle(altered(bundle, tmp_path / "x.zip", change))
    assert [d.path for d in result.differences] == ["timeline.csv"]
    assert result.step == "bundle"


def test_missing_and_added_files_are_named(bundle: Path, tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        del members["changes.kmz"]
        members["extra.txt"] = b"x"

    result = verify_bundle(altered(bundle, tmp_path / "x.zip", change))
    assert {(d.path, d.why) for d in result.differences} == {
        ("changes.kmz", "missing"),
        ("extra.txt", "not listed"),
    }


def test_damaged_bytes_in_the_zip_are_a_difference_not_a_crash(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        entry = archive.getinfo("changes.kmz")
    data = bytearray(bundle.read_bytes())
    data[entry.header_offset + 30 + len("changes.kmz") + 200] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(data)
    result = verify_bundle(tmp_path / "x.zip")
    assert [(d.path, d.why) for d in result.differences] == [("changes.kmz", "damaged")]


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/etc/evil", "a/../../b", "a\\b", "C:evil", "a//b", "./a", "folder/"]
)
def test_names_that_reach_outside_are_refused(name: str, bundle: Path, tmp_path: Path) -> None:
    path = altered(bundle, tmp_path / "x.zip", lambda members: members.update({name: b""}))
    with pytest.raises(UnsafeBundle):
        verify_bundle(path)


def test_a_zip_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for i in range(3):
            archive.writestr(f"{i}.txt", b"\0" * (40 << 20))
    with pytest.raises(UnsafeBundle, match="unpack"):
        verify_bundle(path)


def test_a_size_that_lies_does_not_inflate_further(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b" " * (8 << 20))
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", 10)
    path.write_bytes(data)
    with pytest.raises(BadBundle):
        verify_bundle(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(bundle: Path, tmp_path: Path) -> None:
    shutil.copy(bundle, tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive:
        archive.writestr("timeline.csv", b"other")
    with pytest.raises(UnsafeBundle, match="twice"):
        verify_bundle(tmp_path / "x.zip")


def test_a_link_is_refused(bundle: Path, tmp_path: Path) -> None:
    shutil.copy(bundle, tmp_path / "x.zip")
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive:
        archive.writestr(entry, b"/etc/passwd")
    with pytest.raises(UnsafeBundle, match="link"):
        verify_bundle(tmp_path / "x.zip")


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members.pop("manifest.json"),
        lambda members: members.pop("report.json"),
        lambda members: members.update({"manifest.json": b"[]"}),
        lambda members: members.update({"manifest.json": b"{"}),
        lambda members: members.update({"manifest.json": b"[" * 100_000}),
        lambda members: members.update({"manifest.json": b'{"files": [1]}'}),
        lambda members: members.update({"report.json": b'{"files": []}'}),
    ],
)
def test_a_zip_that_is_no_bundle_says_so(
    change: Callable[[dict[str, bytes]], Any], bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadBundle):
        verify_bundle(altered(bundle, tmp_path / "x.zip", change))


@pytest.mark.parametrize("data", [b"", b"not a zip", None])
def test_a_file_that_is_no_zip_says_so(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(BadBundle):
        verify_bundle(tmp_path / "x.zip")


@pytest.fixture(scope="session")
def with_sources(site: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Path]:
    """A site whose scenes are real files, its bundle and the folder of the files."""
    place = tmp_path_factory.mktemp("archive")

    def on_disk(look: Any) -> Any:
        path = place / "tiles" / look.scene.id / "data.tif"
        path.parent.mkdir(parents=True)
        path.write_bytes(look.scene.id.encode())
        digest = sha256(path.read_bytes()).hexdigest()
        return replace(look, scene=replace(look.scene, sha256=((str(path), digest),)))

    analysis = replace(site.analysis, looks=tuple(map(on_disk, site.analysis.looks)))
    out = tmp_path_factory.mktemp("sealed")
    write_report(analysis, site.read, out / "report")
    write_bundle(out / "report", out / "x.zip")
    return analysis, out / "x.zip", place


def test_a_replay_that_gives_the_same_files_is_identical(with_sources: Any, site: Any) -> None:
    analysis, path, place = with_sources

    def replay(report: Mapping[str, Any], catalog: Path, out: Path) -> None:
        assert catalog == place
        assert report["site"]["name"] == "Quarry north"
        write_report(analysis, site.read, out)

    result = verify_bundle(path, place, replay)
    assert (result.sources.found, result.sources.recorded) == (8, 8)
    assert result.replay is ReplayState.IDENTICAL
    assert result.ok
    assert result.outcome == "verified"
    assert (result.step, result.told) == (None, None)


def test_a_replay_that_differs_names_the_first_file(with_sources: Any, site: Any) -> None:
    analysis, path, place = with_sources
    fewer = replace(analysis, detection=replace(analysis.detection, changes=analysis.detection.changes[1:]))
    result = verify_bundle(path, place, lambda _r, _c, out: write_report(fewer, site.read, out))
    assert result.replay is ReplayState.DIFFERENT
    assert not result.ok
    assert result.outcome == "NOT verified"
    assert result.first_difference is not None
    assert result.first_difference.path == "changes.geojson"
    assert (result.step, result.look) == ("changes", None)


def test_the_command_names_the_step_that_a_replay_first_differs_in(
    with_sources: Any, site: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    analysis, path, place = with_sources
    measured = analysis.looks[2].displacement
    less = replace(analysis.looks[2], displacement=replace(measured, quality=0.25))
    other = replace(analysis, looks=(*analysis.looks[:2], less, *analysis.looks[3:]))
    monkeypatch.setattr("pipelines.replay.replay", lambda _r, _c, out: write_report(other, site.read, out))
    assert main(["verify", str(path), "--catalog", str(place), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["step"], told["replay"]["scene"]) == ("registration", analysis.looks[2].scene.id)
    assert main(["verify", str(path), "--catalog", str(place)]) == 1
    out = capsys.readouterr().out
    assert f"step registration differs, first at scene {analysis.looks[2].scene.id}: " in out
    assert out.endswith("NOT verified\n")


def test_a_replay_by_another_version_proves_nothing_either_way(with_sources: Any, site: Any) -> None:
    analysis, path, place = with_sources
    other = replace(analysis, processing_version="0" * 64)
    result = verify_bundle(path, place, lambda _r, _c, out: write_report(other, site.read, out))
    assert result.replay is ReplayState.OTHER_VERSION
    assert result.ok
    assert result.outcome.startswith("hashes agree; not comparable")


def test_a_changed_source_is_named_and_nothing_is_replayed(with_sources: Any, tmp_path: Path) -> None:
    _, path, place = with_sources
    shutil.copytree(place, tmp_path / "copy")
    (tmp_path / "copy" / "tiles" / "S02_20230505" / "data.tif").write_bytes(b"other")

    def never(_r: Mapping[str, Any], _c: Path, _o: Path) -> None:
        pytest.fail("replayed on changed sources")

    result = verify_bundle(path, tmp_path / "copy", never)
    assert result.sources.changed == ("S02_20230505/data.tif",)
    assert not result.ok
    assert result.step == "search"
    assert (
        result.told == "step search differs: 1 source files have other bytes now, first S02_20230505/data.tif"
    )


def test_the_command_prints_json_and_its_exit_code_tells(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    bad = altered(bundle, tmp_path / "x.zip", lambda members: members.update({"timeline.csv": b""}))
    assert main(["verify", str(bad)]) == 1
    assert "timeline.csv: changed" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "none.zip")]) == 2
    assert "bad-bundle" in capsys.readouterr().err


def test_a_replay_on_other_scenes_contradicts_nothing_in_the_bundle_but_is_no_proof(
    with_sources: Any, site: Any
) -> None:
    analysis, path, place = with_sources
    fewer = replace(analysis, looks=analysis.looks[:-1])
    result = verify_bundle(path, place, lambda _r, _c, out: write_report(fewer, site.read, out))
    assert result.replay is ReplayState.OTHER_SOURCES
    assert not result.ok
    assert (result.step, result.as_json()["step"]) == ("search", "search")


def test_sources_that_lie_elsewhere_do_not_stop_a_replay(
    with_sources: Any, site: Any, tmp_path: Path
) -> None:
    analysis, path, _ = with_sources
    (tmp_path / "catalog.json").write_text("{}")
    result = verify_bundle(
        path, tmp_path / "catalog.json", lambda _r, _c, out: write_report(analysis, site.read, out)
    )
    assert result.sources.found == 0
    assert result.replay is ReplayState.IDENTICAL


def test_the_first_look_that_differs_is_found_in_order_of_time() -> None:
    looks = [{"scene_id": name, "quality": 1.0, "usable_fraction": 1.0} for name in "abc"]
    assert first_look_that_differs(looks, looks) is None
    worse = [looks[0], {**looks[1], "usable_fraction": 0.5}, {**looks[2], "quality": 0.1}]
    assert first_look_that_differs(looks, worse) == ("looks", "b")
    moved = [looks[0], {**looks[1], "quality": 0.1}, looks[2]]
    assert first_look_that_differs(looks, moved) == ("registration", "b")
    assert first_look_that_differs(looks, looks[1:]) == ("chips", "a")
