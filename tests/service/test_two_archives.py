"""A site of two archives: one acquisition counts once, whichever of them hold it, and the report says so."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from shapely.geometry.base import BaseGeometry

from imagery.scene import Scene
from pipelines.aoi import read_aoi
from pipelines.archives import open_archive
from service.analysis_unit import AnalyseUnit, RecordedScenes, SiteRunner, copies_between
from service.archives import ArchiveSource
from tests.service.test_reprocess import SAMPLE

AOI: BaseGeometry = read_aoi(SAMPLE / "aoi.geojson").aoi
NAMES = sorted(path.stem for path in SAMPLE.glob("rendered-*.json"))[:3]


def written(folder: Path, ids: dict[str, str]) -> str:
    """A catalog of the sample's scenes of these names under other ids, their files' bytes not quite the same."""
    folder.mkdir()
    for name, new in ids.items():
        for path in SAMPLE.glob(f"{name}*.tif"):
            (folder / path.name).write_bytes(path.read_bytes() + new.encode())
        item = json.loads((SAMPLE / f"{name}.json").read_text()) | {"id": new}
        (folder / f"{name}.json").write_text(json.dumps(item))
    catalog = json.loads((SAMPLE / "catalog.json").read_text())
    catalog["links"] = [
        {"rel": "item", "href": f"./{name}.json", "type": "application/geo+json"} for name in ids
    ]
    (folder / "catalog.json").write_text(json.dumps(catalog))
    return str(folder / "catalog.json")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[ArchiveSource, ...]:
    """Two scenes, and in another archive the second of them under another name beside a third."""
    folder = tmp_path_factory.mktemp("archives")
    first = written(folder / "a", {NAMES[0]: "a-0", NAMES[1]: "a-1"})
    second = written(folder / "b", {NAMES[1]: "b-1", NAMES[2]: "b-2"})
    return ArchiveSource("a", "catalog", first), ArchiveSource("b", "catalog", second)


def test_an_acquisition_that_two_archives_hold_is_one_look_and_noted(
    archives: tuple[ArchiveSource, ...], tmp_path: Path
) -> None:
    runner = SiteRunner(str(tmp_path / "products"), tmp_path / "downloads", frozenset())
    unit = AnalyseUnit("s", "North", AOI, archives, None, {"network": False})
    runner(unit, tmp_path / "out", lambda *_: None)
    report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert [look["scene_id"] for look in report["looks"]] == ["a-0", "a-1", "b-2"]
    (copy,) = report["refused"]
    assert (copy["where"], copy["code"]) == ("b-1", "duplicate-acquisition")
    assert "same acquisition as a-1" in copy["detail"]

    again = replace(unit, scenes=RecordedScenes(frozenset({"a-0", "a-1", "b-2"}), frozenset({"b-1"})))
    runner(again, tmp_path / "again", lambda *_: None)
    assert (tmp_path / "again" / "report.json").read_bytes() == (
        tmp_path / "out" / "report.json"
    ).read_bytes()
    shutil.rmtree(tmp_path / "products")


def found(archives: tuple[ArchiveSource, ...]) -> tuple[dict[str, Scene], dict[str, int]]:
    held = [open_archive(archive.source).search(AOI).scenes for archive in archives]
    places = {scene.id: place for place, scenes in enumerate(held) for scene in scenes}
    return {scene.id: scene for scenes in held for scene in scenes}, places


def test_the_better_copy_stays_and_of_equals_the_first_archives(archives: tuple[ArchiveSource, ...]) -> None:
    scenes, places = found(archives)
    assert list(copies_between(scenes, places, AOI)) == ["b-1"]
    assert list(copies_between(scenes, {name: 1 - place for name, place in places.items()}, AOI)) == ["a-1"]
    coarser = scenes | {"a-1": replace(scenes["a-1"], gsd_m=0.6)}
    assert list(copies_between(coarser, places, AOI)) == ["a-1"]
    later = scenes["b-1"].t_utc + timedelta(minutes=2)
    assert copies_between(scenes | {"b-1": replace(scenes["b-1"], t_utc=later)}, places, AOI) == {}


def test_what_one_archive_keeps_apart_stays_apart_beside_another(
    archives: tuple[ArchiveSource, ...],
) -> None:
    """Parts of one tile have one footprint: only their archive knows that they show different ground."""
    scenes, places = found(archives)
    part = replace(scenes["a-0"], id="a-0-part", t_utc=scenes["a-0"].t_utc + timedelta(seconds=4), sha256=())
    copies = copies_between(scenes | {part.id: part}, places | {part.id: 0}, AOI)
    assert list(copies) == ["b-1"]
