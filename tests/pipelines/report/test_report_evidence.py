"""Evidence: pictures that may be compared, rasters that open anywhere, and a trail for every pixel."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from shapely import box

from imagery.blocks import block_mean
from imagery.look import Look
from imagery.observability import ObservationState
from pipelines.report import write_report
from pipelines.report.evidence import chip_pair, outline_px, png_bytes
from pipelines.report.features import changes_by_id, window_of
from pipelines.report.licences import forbids_chips
from pipelines.report.rendering import (
    HATCH_DARK,
    HATCH_LIGHT,
    Stretch,
    overview,
    picture,
    site_stretch,
)


def folders(report: Path) -> list[Path]:
    return sorted((report / "evidence").iterdir())


def test_the_rasters_are_cloud_optimised_with_place_and_bands(report: Path) -> None:
    for folder in folders(report):
        for name in ("before.tif", "after.tif"):
            with rasterio.open(folder / name) as file:
                assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert file.crs.to_epsg() == 32633
                assert file.descriptions == ("blue", "green", "red", "nir")
                assert file.dtypes == ("float32",) * 4
                assert np.isnan(file.nodata)
                assert file.tags()["SCENE_ID"].startswith("S0")


def test_the_rasters_hold_what_the_reader_gave(site: Any, report: Path) -> None:
    for change_id, change in changes_by_id(site.analysis).items():
        expected = site.read(change.after_scene, window_of(change, site.analysis.grid))
        with rasterio.open(report / "evidence" / change_id / "after.tif") as file:
            np.testing.assert_array_equal(file.read(), expected.reflectance)
            assert file.transform == expected.grid.transform


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (60, 64)])
def test_a_picture_comes_back_from_its_file_as_it_was(size: tuple[int, int]) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for given in (drawn, Image.fromarray(drawn)):
        with Image.open(BytesIO(png_bytes(given))) as image:
            assert (image.format, image.mode, image.info) == ("PNG", "RGB", {})
            np.testing.assert_array_equal(np.asarray(image), drawn)


def test_an_enlarged_picture_is_smaller_than_pillow_makes_it() -> None:
    chip = np.random.default_rng(0).integers(90, 120, (60, 64, 3), dtype=np.uint8)
    enlarged = Image.fromarray(chip).resize((256, 240), Image.Resampling.NEAREST)
    enlarged.save(plain := BytesIO(), "PNG", compress_level=1)
    assert len(png_bytes(enlarged)) < 0.95 * len(plain.getvalue())


def test_both_pictures_show_the_same_ground_at_one_size(report: Path) -> None:
    for folder in folders(report):
        with Image.open(folder / "before.png") as before, Image.open(folder / "after.png") as after:
            assert before.size == after.size
            assert min(before.size) >= 320


def test_the_flicker_has_two_frames_and_runs_for_ever(report: Path) -> None:
    for folder in folders(report):
        with Image.open(folder / "flicker.gif") as gif:
            assert gif.n_frames == 2
            assert gif.info["loop"] == 0


def test_the_provenance_names_scenes_hashes_shifts_and_versions(report: Path) -> None:
    for folder in folders(report):
        told = json.loads((folder / "provenance.json").read_text("utf-8"))
        assert told["id"] == folder.name
        assert {"processing_version", "parameters", "versions", "window", "stretch", "chips"} <= set(told)
        roles = [role for scene in told["scenes"] for role in scene["roles"]]
        assert sorted(roles) == ["after", "before"]
        for scene in told["scenes"]:
            assert len(scene["files"][0]["sha256"]) == 64
            assert scene["registration"]["state"] == "use"
            assert scene["licence"] == "CC-BY-4.0"
            assert scene["normalisation"] == [{"band": "red", "gain": 1.02, "offset": -0.003}]


def test_a_licence_that_forbids_chips_leaves_no_picture_and_says_so(
    build: Callable[..., Any], tmp_path: Path
) -> None:
    made = build(n_changes=2, n_looks=4, side=200, licence="CC-BY-ND-4.0")
    write_report(made.analysis, made.read, tmp_path / "out")
    assert not [p for p in (tmp_path / "out").rglob("*") if p.suffix in {".png", ".gif", ".tif"}]
    for folder in folders(tmp_path / "out"):
        told = json.loads((folder / "provenance.json").read_text("utf-8"))
        assert told["chips"]["before"]["withheld_because"] == "the source's licence forbids chips"
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "data:image" not in page
    assert "does not allow a picture" in page


def test_only_the_forbidden_half_of_a_pair_is_withheld(site: Any, tmp_path: Path) -> None:
    change = site.analysis.detection.changes[0]
    looks = tuple(
        replace(look, scene=replace(look.scene, licence="no-chips"))
        if look.scene.id == change.after_scene
        else look
        for look in site.analysis.looks
    )
    detection = replace(site.analysis.detection, changes=(change,))
    write_report(replace(site.analysis, looks=looks, detection=detection), site.read, tmp_path / "out")
    (folder,) = folders(tmp_path / "out")
    assert {p.name for p in folder.iterdir()} == {"before.png", "before.tif", "provenance.json"}


def test_which_terms_forbid_chips() -> None:
    assert all(
        map(
            forbids_chips,
            ["CC-BY-NC-ND-4.0", "cc-by-nd", "NextView", "proprietary; no-chips", "No Redistribution"],
        )
    )
    assert not any(
        map(forbids_chips, [None, "", "proprietary", "CC-BY-4.0", "CC0-1.0", "CC-BY-NC-4.0", "landing-page"])
    )


def look_of(site: Any, image: np.ndarray, bands: tuple[str, ...]) -> Look:
    grid = replace(site.analysis.grid, rows=image.shape[1], cols=image.shape[2])
    state = np.where(np.isfinite(image[0]), 0, ObservationState.CLOUD).astype(np.uint8)
    return Look(
        "S00_20230304", site.analysis.looks[0].scene.t_utc, grid, bands, image, state, 0.5, None, None
    )


def test_what_was_not_seen_is_hatched_and_never_black(site: Any) -> None:
    image = np.full((1, 12, 12), 0.3, np.float32)
    image[:, :6] = np.nan
    limits = (0.0, 1.0)
    shown = picture(image, Stretch(limits, limits, limits, limits))
    assert set(np.unique(shown[:6])) == {HATCH_DARK, HATCH_LIGHT}
    assert len(np.unique(shown[6:])) == 1


def test_equal_numbers_get_equal_colours_in_both_pictures(site: Any) -> None:
    stretch = site_stretch(site.analysis, site.read)
    bright = np.full((3, 8, 8), 0.2, np.float32)
    bright[:, 0, 0] = 5.0
    calm = np.full((3, 8, 8), 0.2, np.float32)
    bands = ("red", "green", "blue")
    pair = chip_pair(look_of(site, bright, bands), look_of(site, calm, bands), stretch, frozenset())
    assert pair.before.shown is not None
    assert pair.after.shown is not None
    np.testing.assert_array_equal(pair.before.shown[1:], pair.after.shown[1:])


def test_a_pair_of_colour_and_pan_is_shown_in_grey_on_both_sides(site: Any) -> None:
    stretch = site_stretch(site.analysis, site.read)
    colour = look_of(
        site, np.random.default_rng(0).random((3, 8, 8)).astype(np.float32), ("red", "green", "blue")
    )
    pan = look_of(site, np.full((1, 8, 8), 0.2, np.float32), ("pan",))
    pair = chip_pair(colour, pan, stretch, frozenset())
    for chip in (pair.before, pair.after):
        assert chip.shown is not None
        assert (chip.shown[..., 0] == chip.shown[..., 1]).all()


def test_the_stretch_ignores_what_was_not_seen(site: Any) -> None:
    def half_blind(scene_id: str, window: Any) -> Look:
        look = site.read(scene_id, window)
        image = look.reflectance.copy()
        image[:, ::2] = np.nan
        return replace(look, reflectance=image)

    seen, half = site_stretch(site.analysis, site.read), site_stretch(site.analysis, half_blind)
    np.testing.assert_allclose(seen.limits(3), half.limits(3), atol=0.02)


def test_a_stretch_of_a_site_that_was_never_seen_is_finite(site: Any) -> None:
    def blind(scene_id: str, window: Any) -> Look:
        look = site.read(scene_id, window)
        return replace(look, reflectance=np.full_like(look.reflectance, np.nan))

    assert np.isfinite(site_stretch(site.analysis, blind).limits(3)).all()


def test_the_outline_lies_outside_the_object(site: Any) -> None:
    grid = site.analysis.grid.window(0, 0, 100, 100)
    west, _, _, north = grid.bounds
    (ring,) = outline_px(box(west + 10, north - 15, west + 20, north - 10), grid)
    assert (ring.min(axis=0) < [20, 20]).all()
    assert (ring.max(axis=0) > [40, 30]).all()


def test_the_overview_averages_only_what_was_seen() -> None:
    image = np.array([[[1.0, np.nan, 4.0], [3.0, np.nan, np.nan]]], np.float32)
    np.testing.assert_array_equal(block_mean(image, 2), [[[2.0, 4.0]]])


def test_the_overview_in_strips_is_the_overview_at_once(site: Any) -> None:
    grid = replace(site.analysis.grid, rows=390)
    scene = site.analysis.looks[0].scene.id
    whole = block_mean(np.stack([site.read(scene, grid).band(b) for b in ("red", "green", "blue")]), 4)
    np.testing.assert_allclose(overview(scene, grid, site.read, True, 100), whole, rtol=1e-6)


def test_neighbours_share_a_read(build: Callable[..., Any], tmp_path: Path) -> None:
    made = build(n_changes=40, side=400)
    reads: list[str] = []

    def counting(scene_id: str, window: Any) -> Look:
        reads.append(scene_id)
        return made.read(scene_id, window)

    write_report(made.analysis, counting, tmp_path / "out")
    assert len(folders(tmp_path / "out")) == 40
    assert len(reads) < 60
