"""The folder as a whole: complete, sealed, the same on every run, and never half there."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pipelines.report import OutputNotEmpty, OutputNotWritable, write_report

CONTRACT_FILES = {
    "report.json", "changes.geojson", "looks.geojson", "timeline.csv", "registration.json", "report.html",
    "changes.kmz", "changes.gpkg", "changes.parquet",
}  # fmt: skip
EVIDENCE_FILES = {"before.png", "after.png", "flicker.gif", "before.tif", "after.tif", "provenance.json"}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_file_of_the_contract_is_written(report: Path) -> None:
    assert {p.name for p in report.iterdir() if p.is_file()} == CONTRACT_FILES
    folders = list((report / "evidence").iterdir())
    assert len(folders) == 5
    assert all({p.name for p in folder.iterdir()} == EVIDENCE_FILES for folder in folders)


def test_a_second_run_gives_the_same_bytes(site: Any, report: Path, tmp_path: Path) -> None:
    write_report(site.analysis, site.read, tmp_path / "again")
    first, again = contents(report), contents(tmp_path / "again")
    assert sorted(first) == sorted(again)
    assert not [name for name in first if first[name] != again[name]]


def test_where_the_scenes_lie_does_not_matter(site: Any, report: Path, tmp_path: Path) -> None:
    def moved(look: Any) -> Any:
        hashes = tuple((path.replace("/data/archive", "/elsewhere/x"), h) for path, h in look.scene.sha256)
        return replace(look, scene=replace(look.scene, sha256=hashes))

    looks = tuple(moved(look) for look in site.analysis.looks)
    write_report(replace(site.analysis, looks=looks), site.read, tmp_path / "moved")
    assert (tmp_path / "moved" / "report.json").read_bytes() == (report / "report.json").read_bytes()


def test_the_order_of_changes_does_not_matter(site: Any, report: Path, tmp_path: Path) -> None:
    detection = replace(site.analysis.detection, changes=site.analysis.detection.changes[::-1])
    write_report(replace(site.analysis, detection=detection), site.read, tmp_path / "turned")
    assert contents(tmp_path / "turned") == contents(report)


def test_report_json_lists_the_hash_of_every_other_file(report: Path) -> None:
    told = json.loads((report / "report.json").read_text("utf-8"))
    listed = {f["path"]: f["sha256"] for f in told["files"]}
    assert listed == {n: sha256(b).hexdigest() for n, b in contents(report).items() if n != "report.json"}


def test_report_json_has_what_the_contract_names(report: Path) -> None:
    told = json.loads((report / "report.json").read_text("utf-8"))
    for member in (
        "site", "period", "processing_version", "summary", "detection_limits", "looks", "warnings", "links",
        "supersedes", "parameters", "versions", "generated_from", "refused",
    ):  # fmt: skip
        assert member in told
    assert told["supersedes"] is None
    assert told["period"] == {"start": "2023-03-04T09:30:00Z", "end": "2023-10-07T09:37:00Z", "given": False}
    assert next(s["files"][0]["path"] for s in told["generated_from"]) == "S00_20230304/data.tif"
    rows = {(r["change_type"], r["direction"]): r for r in told["summary"]}
    assert rows["container", "appeared"]["count"] == {"value": 1.0, "low": 1.0, "high": 2.0}
    assert rows["berm", "appeared"]["count"] is None
    assert rows["berm", "appeared"]["count_reason"] == "pixels too coarse to count"


def test_no_machine_path_leaves_with_a_report(report: Path) -> None:
    for name, data in contents(report).items():
        assert b"/data/archive" not in data, name


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_a_target_that_holds_something_is_refused_and_left_alone(
    kind: str, site: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(OutputNotEmpty) as caught:
        write_report(site.analysis, site.read, out)
    assert caught.value.code == "out-not-empty"
    assert contents(tmp_path) == before


def test_an_empty_folder_is_a_fine_target(site: Any, report: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_report(site.analysis, site.read, out)
    assert contents(out) == contents(report)


def test_a_target_under_a_file_is_refused(site: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritable):
        write_report(site.analysis, site.read, tmp_path / "file" / "out")


def test_a_run_that_fails_midway_leaves_nothing(site: Any, tmp_path: Path) -> None:
    last = site.analysis.detection.changes[1].after_scene

    def broken(scene_id: str, window: Any) -> Any:
        if scene_id == last:
            raise RuntimeError("the disk went away")
        return site.read(scene_id, window)

    with pytest.raises(RuntimeError, match="disk went away"):
        write_report(site.analysis, broken, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_site_without_changes_still_gets_every_file(
    build: Callable[..., Any], unchanged: Callable[..., Any], tmp_path: Path
) -> None:
    made = unchanged(build(n_looks=3, side=120))
    write_report(made.analysis, made.read, tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == CONTRACT_FILES
    told = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert told["verdict"] == "no_change_found"


def test_a_site_without_any_scene_still_gets_every_file(
    build: Callable[..., Any], unchanged: Callable[..., Any], tmp_path: Path
) -> None:
    made = unchanged(build(n_looks=3, side=120))
    detection = replace(made.analysis.detection, standing=())
    empty = replace(made.analysis, looks=(), detection=detection)
    write_report(empty, made.read, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert told["verdict"] == "not_observable"
    assert told["period"] is None
