"""What a site's report says where its looks show nothing or little."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely

from imagery.changes import ObjectClass
from imagery.detection import look_evidence
from imagery.grid import SiteGrid
from imagery.illumination import Sun, View
from imagery.limits import detection_limits
from imagery.look import Look
from imagery.scene import Scene
from imagery.simulation import Sensor, SeriesOptions
from imagery.warp import read_look
from pipelines import steps
from pipelines.analysis import Analysis, Site
from pipelines.aoi import read_aoi
from pipelines.archives import open_archive
from pipelines.parameters import Parameters
from pipelines.report.features import look_features
from pipelines.runner import SerialRunner
from pipelines.simulate import place, write_series
from pipelines.site import NothingReadable, SceneSet, analyse, analyse_scenes, reference_candidates
from pipelines.steps import (
    VERSIONS,
    ChipSummary,
    ChipUnit,
    LookUnit,
    algorithm_sha256,
    make_chip,
    make_look,
    scene_key,
)

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


def test_a_view_from_the_side_is_poor_whichever_side_it_is(
    site: Site, scenes: Sequence[Scene], store: str
) -> None:
    slanted = replace(scenes[-1], view=None, off_nadir_deg=65.0)
    found = analysed(site, [*scenes[:-1], slanted], store)
    assert dict(found.looks[-1].fractions)["poor_view"] > 0.9
    upright = replace(slanted, off_nadir_deg=30.0)
    assert analysed(site, [*scenes[:-1], upright], store).looks[-1].usable_fraction > 0.9


def test_low_light_is_poor_wherever_it_comes_from(site: Site, scenes: Sequence[Scene], store: str) -> None:
    dusk = replace(scenes[-1], sun=None, sun_elevation_deg=2.0)
    found = analysed(site, [*scenes[:-1], dusk], store)
    assert dict(found.looks[-1].fractions)["poor_light"] > 0.9
    assert any("1 of 3 looks was taken with the sun less than 5 degrees high" in w for w in found.warnings)
    assert any("1 of 3 looks came without the sun's azimuth" in w for w in found.warnings)
    (dim,) = [f["properties"] for f in look_features(found) if f["id"] == dusk.id]
    assert (dim["sun_azimuth_deg"], dim["sun_elevation_deg"]) == (None, 2.0)
    noon = replace(dusk, sun_elevation_deg=50.0)
    assert analysed(site, [*scenes[:-1], noon], store).looks[-1].usable_fraction > 0.9


def test_a_sun_without_azimuth_lights_but_casts_no_shadow(
    site: Site, scenes: Sequence[Scene], store: str
) -> None:
    """But for what stands in the looks themselves, all is as without any sun: where shadows fall is not known."""
    dark = [replace(scene, sun=None) for scene in scenes]
    lit = [replace(scene, sun_elevation_deg=40.0) for scene in dark]
    without, with_elevation = analysed(site, dark, store), analysed(site, lit, store)
    assert with_elevation.detection == without.detection
    grid = with_elevation.grid
    look = Look(
        "a",
        lit[0].t_utc,
        grid,
        ("pan",),
        np.ones((1, *grid.shape), np.float32),
        np.zeros(grid.shape, np.uint8),
        0.5,
        None,
        None,
    )
    found = look_evidence(look, registration_residual_m=0.1, network=None, sun_elevation_deg=40.0)
    assert (found.sun_azimuth_deg, found.sun_elevation_deg) == (None, 40.0)


def test_a_higher_sun_makes_the_reference_also_without_an_azimuth(scenes: Sequence[Scene]) -> None:
    lit = [
        replace(scene, view=None, sun=None, sun_elevation_deg=20.0 + 20.0 * i)
        for i, scene in enumerate(scenes)
    ]
    chips = [ChipSummary("", 1.0, 1.0, None)] * len(lit)
    assert reference_candidates(lit, chips)[0] == len(lit) - 1


def test_a_scene_described_as_ever_keeps_the_name_of_its_products(scenes: Sequence[Scene]) -> None:
    """The digest was taken before scenes had an angle off nadir beside their view, or a sun's elevation."""
    plain = Scene(
        "a", datetime(2024, 1, 1, tzinfo=UTC), (), None, 0.5, None, None, None, None, "relative", "", ()
    )
    assert scene_key(plain) == "b1005a978550a5fa96072dbe76b2f0f72ff933bc948f75adea359ea9c0468791"
    assert scene_key(replace(plain, off_nadir_deg=30.0)) != scene_key(plain)
    assert scene_key(replace(plain, sun_elevation_deg=30.0)) != scene_key(plain)


def test_one_scene_more_reads_no_other_scene(
    site: Site, scenes: Sequence[Scene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The light decides which is the reference: the one that comes last must not be.
    lit = [replace(scene, sun=Sun(180.0, 60.0 - 20.0 * i)) for i, scene in enumerate(scenes)]
    analysed(site, lit[:-1], str(tmp_path))
    steps._yardstick.cache_clear()  # as in a process of its own
    steps._reference.cache_clear()
    read: list[str] = []

    def noted(scene: Scene, grid: SiteGrid, **kinds: Any) -> Look:
        read.append(scene.id)
        return read_look(scene, grid, **kinds)

    monkeypatch.setattr(steps, "read_look", noted)
    analysed(site, lit, str(tmp_path))
    assert set(read) == {lit[-1].id}


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


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the catalog that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "site"))


def test_a_site_under_cloud_in_every_look_is_told_what_its_pixels_would_show(own: Path, site: Site) -> None:
    for path in own.glob("*-mask.tif"):
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as sheet:
            sheet.write(np.ones((1, *sheet.shape), np.uint8))
    clouded = open_archive(str(own / "catalog.json")).search(site.aoi, None).scenes
    found = analysed(site, clouded, str(own / "products"))
    assert not any(look.used for look in found.looks)
    assert found.detection.limits == detection_limits(0.5)


LONG_AGO = (datetime(2010, 1, 1, tzinfo=UTC), datetime(2010, 12, 31, tzinfo=UTC))


def _undate(item: Path) -> None:
    said = json.loads(item.read_text())
    said["properties"]["datetime"] = None
    item.write_text(json.dumps(said))


def _items(folder: Path) -> list[Path]:
    links = json.loads((folder / "catalog.json").read_text())["links"]
    return [folder / link["href"] for link in links if link["rel"] == "item"]


def test_one_bad_scene_does_not_turn_a_silent_period_into_bad_input(
    own: Path, site: Site, tmp_path: Path
) -> None:
    _undate(_items(own)[0])
    found = analyse(catalog=str(own / "catalog.json"), site=site, out=tmp_path / "out", period=LONG_AGO)
    assert (found.looks, len(found.refused)) == ((), 1)
    for item in _items(own):
        _undate(item)
    with pytest.raises(NothingReadable):
        analyse(catalog=str(own / "catalog.json"), site=site, out=tmp_path / "none", period=LONG_AGO)


@pytest.mark.parametrize(("asked", "gsd_m"), [(0.5, 0.5), (None, 10.0)])
def test_a_silent_period_is_told_what_pixels_would_have_shown_and_by_whom(
    folder: Path, site: Site, tmp_path: Path, asked: float | None, gsd_m: float
) -> None:
    found = analyse(
        catalog=str(folder / "catalog.json"),
        site=site,
        out=tmp_path / "out",
        period=LONG_AGO,
        parameters=Parameters(gsd_m=asked),
    )
    assert {limit.gsd_m for limit in found.detection.limits} == {gsd_m}
    assert {limit.object_class for limit in found.detection.limits} == set(ObjectClass)
    versions = dict(found.versions)
    assert versions["algorithm"] == algorithm_sha256()
    assert {step: versions[f"step-{step}"] for step in VERSIONS} == {s: str(n) for s, n in VERSIONS.items()}


def test_the_grid_of_a_silent_period_is_that_of_any_other_of_its_pixel_size(
    folder: Path, site: Site, scenes: Sequence[Scene], store: str, tmp_path: Path
) -> None:
    silent = analyse(
        catalog=str(folder / "catalog.json"),
        site=site,
        out=tmp_path / "out",
        period=LONG_AGO,
        parameters=Parameters(gsd_m=0.5),
    )
    assert silent.grid == analysed(site, scenes, store).grid
