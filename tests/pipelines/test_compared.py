"""No look is not no change: looks that never show one place twice, in a way that compares, state nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
from shapely.affinity import scale

from imagery.scene import Scene
from imagery.simulation import Sensor, SeriesOptions
from pipelines.analysis import Analysis
from pipelines.aoi import read_aoi
from pipelines.archives import open_archive
from pipelines.parameters import Parameters
from pipelines.report.html_page import headline
from pipelines.report.summary import Verdict, verdict
from pipelines.runner import SerialRunner
from pipelines.simulate import write_series
from pipelines.site import SceneSet, analyse_scenes
from service.summary import summary_lines

OPTIONS = SeriesOptions(
    extent_m=320.0,
    sensor=Sensor(1.0),
    looks=3,
    kind="quiet",
    density=0.0,
    clouds=0.0,
    snow=0.0,
    traffic=0.0,
    geolocation_m=0.1,
    start=datetime(2024, 6, 1, tzinfo=UTC),
    end=datetime(2024, 7, 30, tzinfo=UTC),
)
Analyse = Callable[[Sequence[Scene]], Analysis]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, ...]:
    """Three looks at a place where nothing happens, the first two under a cloud over opposite halves of its middle."""
    folder = tmp_path_factory.mktemp("rendered") / "site"
    write_series(12, OPTIONS, folder, "test")
    found = open_archive(str(folder / "catalog.json")).search().scenes
    for scene, cloudy in zip(found, (slice(80, 160), slice(160, 240)), strict=False):
        assert scene.mask is not None
        with rasterio.open(scene.mask.path) as mask:
            clouds = np.zeros(mask.shape, np.uint8)
            kept = {"crs": mask.crs, "transform": mask.transform, "count": 1, "dtype": "uint8"}
        clouds[cloudy] = 1
        height, width = clouds.shape
        with rasterio.open(scene.mask.path, "w", driver="GTiff", height=height, width=width, **kept) as mask:
            mask.write(clouds, 1)
    return open_archive(str(folder / "catalog.json")).search().scenes


@pytest.fixture(scope="module")
def analyse(scenes: tuple[Scene, ...], tmp_path_factory: pytest.TempPathFactory) -> Analyse:
    """Analyse some of the scenes without the network, which these tests are not about."""
    store = tmp_path_factory.mktemp("products")
    assert scenes[0].mask is not None
    whole = read_aoi(Path(scenes[0].mask.path).parent / "aoi.geojson")
    site = replace(whole, aoi=scale(whole.aoi, 0.4, 0.4))

    def run(chosen: Sequence[Scene]) -> Analysis:
        return analyse_scenes(
            site,
            SceneSet(tuple(chosen)),
            store=str(store),
            runner=SerialRunner(),
            parameters=Parameters(network=False),
        ).analysis

    return run


def assert_nothing_stated(analysis: Analysis, tmp_path: Path) -> None:
    assert sum(look.usable_fraction > 0.3 for look in analysis.looks) == len(analysis.looks) == 2
    assert verdict(analysis) is Verdict.NOTHING_TO_COMPARE
    assert "Nothing can be said about changes: no part of the site" in headline(analysis)
    assert any("not 'no change'" in warning for warning in analysis.warnings)
    assert not any("No change was found" in line for line in summary_lines(analysis, tmp_path))


def test_two_looks_at_opposite_halves_state_nothing(
    scenes: tuple[Scene, ...], analyse: Analyse, tmp_path: Path
) -> None:
    assert_nothing_stated(analyse(scenes[:2]), tmp_path)


def test_two_tiles_of_one_pass_state_nothing(
    scenes: tuple[Scene, ...], analyse: Analyse, tmp_path: Path
) -> None:
    twin = replace(scenes[2], id="twin", t_utc=scenes[2].t_utc + timedelta(seconds=5))
    assert_nothing_stated(analyse((scenes[2], twin)), tmp_path)


def test_a_fine_and_a_coarse_look_are_not_compared_and_state_nothing(
    scenes: tuple[Scene, ...], analyse: Analyse, tmp_path: Path
) -> None:
    analysis = analyse((scenes[0], replace(scenes[2], gsd_m=4.0)))
    assert [part.fraction for part in analysis.detection.compared] == [0.0, 0.0]
    assert_nothing_stated(analysis, tmp_path)


def test_one_look_is_told_once(scenes: tuple[Scene, ...], analyse: Analyse) -> None:
    told = [warning for warning in analyse(scenes[:1]).warnings if "not 'no change'" in warning]
    assert len(told) == 1
    assert told[0].startswith("Only one look shows the site")


def test_no_change_is_stated_of_what_was_seen_twice_alone(
    scenes: tuple[Scene, ...], analyse: Analyse, tmp_path: Path
) -> None:
    half = analyse((scenes[0], scenes[2]))
    assert verdict(half) is Verdict.NO_CHANGE_FOUND
    seen = {look.scene.id: look.usable_fraction for look in half.looks}
    (compared,) = half.detection.compared
    assert compared.fraction == pytest.approx(seen[scenes[0].id], abs=0.02)
    assert f"is {int(100 * compared.fraction)} % of the site" in headline(half)
    (told,) = [line for line in summary_lines(half, tmp_path) if "No change was found" in line]
    assert "nothing is claimed about the rest" in told
    whole = analyse((scenes[2], replace(scenes[2], id="later", t_utc=scenes[2].t_utc + timedelta(days=9))))
    assert whole.detection.compared[0].fraction > 0.98
    assert "could be compared" not in headline(whole)


def test_coarse_looks_that_are_left_out_of_the_comparison_compare_nothing(
    scenes: tuple[Scene, ...], analyse: Analyse
) -> None:
    """One far coarser look shows all of the site a second time, but is not compared with the four on one date."""
    whole = replace(scenes[2], gsd_m=4.0)
    near = [replace(whole, id=f"near-{n}", t_utc=whole.t_utc + timedelta(hours=n)) for n in range(4)]
    odd = replace(whole, id="odd", gsd_m=12.0, t_utc=whole.t_utc + timedelta(days=9))
    (compared,) = analyse((*near, odd)).detection.compared
    assert compared.fraction == 0.0


def test_a_single_fine_look_beside_compared_coarse_ones_lends_them_no_limits(
    scenes: tuple[Scene, ...], analyse: Analyse
) -> None:
    later = scenes[2].t_utc + timedelta(days=9)
    coarse = replace(scenes[2], gsd_m=4.0)
    analysis = analyse((scenes[0], coarse, replace(coarse, id="later", t_utc=later)))
    fine, both = analysis.detection.compared
    assert (fine.gsd_m, fine.fraction, both.gsd_m) == (1.0, 0.0, 4.0)
    assert both.fraction > 0.98
    assert {limit.gsd_m for limit in analysis.detection.limits} == {4.0}
    assert "is none of the site at 1 m and all of the site at 4 m;" in headline(analysis)
