"""What a site's report says where its looks show nothing or little."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import shapely

from imagery.illumination import Sun, View
from imagery.scene import Scene
from imagery.simulation import Sensor, SeriesOptions
from pipelines.analysis import Analysis, Site
from pipelines.aoi import read_aoi
from pipelines.archives import open_archive
from pipelines.parameters import Parameters
from pipelines.runner import SerialRunner
from pipelines.simulate import place, write_series
from pipelines.site import SceneSet, analyse_scenes
from pipelines.steps import ChipUnit, LookUnit, make_chip, make_look

SMALL = SeriesOptions(
    extent_m=96.0, looks=3, clouds=0.0, snow=0.0, traffic=0.0, sensor=Sensor(0.5), geolocation_m=1.0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render a catalog of three looks of 96 m at 0.5 m; read only."""
    folder = tmp_path_factory.mktemp("rendered") / "site"
    write_series(9, SMALL, folder, "test")
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> Site:
    return read_aoi(folder / "aoi.geojson")


@pytest.fixture(scope="module")
def scenes(folder: Path, site: Site) -> tuple[Scene, ...]:
    return open_archive(str(folder / "catalog.json")).search(site.aoi, None).scenes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Products that all tests of this file share."""
    return str(tmp_path_factory.mktemp("products"))


def analysed(site: Site, scenes: Sequence[Scene], store: str) -> Analysis:
    """Analyse without the network, which these tests are not about."""
    parameters = Parameters(network=False)
    return analyse_scenes(
        site, SceneSet(tuple(scenes)), store=store, runner=SerialRunner(), parameters=parameters
    ).analysis


@pytest.mark.parametrize(
    ("sun", "view", "reason", "said"),
    [
        (Sun(180.0, 2.0), None, "poor_light", "3 of 3 looks were taken with the sun less than 5 degrees high"),
        (Sun(180.0, 40.0), View(90.0, 65.0), "poor_view", "3 of 3 looks were taken more than 50 degrees from"),
    ],
)  # fmt: skip
def test_looks_in_hardly_any_light_or_from_the_side_show_nothing(
    site: Site, scenes: Sequence[Scene], store: str, sun: Sun, view: View | None, reason: str, said: str
) -> None:
    found = analysed(site, [replace(scene, sun=sun, view=view) for scene in scenes], store)
    assert [look.usable_fraction for look in found.looks] == [0.0] * 3
    assert all(dict(look.fractions)[reason] > 0.9 for look in found.looks)
    assert found.detection.changes == ()
    assert found.detection.standing == ()
    assert any(warning.startswith(said) for warning in found.warnings)


def test_one_look_at_dusk_costs_the_others_nothing(site: Site, scenes: Sequence[Scene], store: str) -> None:
    dusk = replace(scenes[-1], sun=Sun(180.0, 2.0))
    found = analysed(site, [*scenes[:-1], dusk], store)
    assert [look.usable_fraction > 0.9 for look in found.looks] == [True, True, False]
    assert {row.scene_id for row in found.detection.standing} <= {scene.id for scene in scenes[:-1]}


def test_dusk_hides_ground_from_coarse_pixels_too(scenes: Sequence[Scene], store: str) -> None:
    grid = place(SMALL)
    dusk = replace(scenes[1], sun=Sun(180.0, 2.0))
    chips = [make_chip(ChipUnit(store, scene, grid)).key for scene in (scenes[0], dusk)]
    aoi = shapely.to_wkb(shapely.box(*grid.bounds))
    unit = LookUnit(store, dusk, chips[1], grid, aoi, scenes[0], chips[0], 10.0, coarse=True, network=False)
    assert dict(make_look(unit).fractions)["poor_light"] > 0.9
