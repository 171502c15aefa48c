"""Radar is told from optical scenes by what is said of it, refused one by one, and never by a place that is called alike."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from shapely.geometry import box

from benchmarks.real_catalog import write_catalogs
from pipelines.archives import open_archive
from pipelines.archives.radar import is_mission, radar_in_name

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "real"
Tiff = Callable[..., Path]
Item = Callable[..., dict[str, Any]]
OPERA = "OPERA_L2_RTC-S1_T137-292322-IW2_20240512T015906Z_20250830T120333Z_S1A_30_v1.0_VV"


def pixels(href: str, *bands: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An asset of pixels."""
    return {
        "href": href,
        "type": "image/tiff; application=geotiff",
        "roles": ["data"],
        "bands": list(bands),
    } | more


@pytest.mark.parametrize(
    "name",
    ["sentinel-1a", "SENTINEL-1", "Sentinel 1B", "sentinel1c", "S1A", "ICEYE-X12", "iceye", "UMBRA-04", "capella-2", "RADARSAT-2",
     "rcm1", "RCM-3", "TerraSAR-X", "TDX-1", "PAZ", "cosmo-skymed", "CSKS1", "SAOCOM-1A", "alos-2", "gaofen-3", "NISAR", "ers-2"],
)  # fmt: skip
def test_a_mission_with_a_radar_is_known_however_it_is_spelt(name: str) -> None:
    assert is_mission(name)


@pytest.mark.parametrize(
    "name",
    ["sentinel-2a", "S2A", "sentinel-10", "landsat-8", "planetscope", "alos", "gaofen-1", "gaofen-31", "kompsat-3", "worldview-2",
     "skysat-c12", "umbrage", "Pazardzhik", "rcmp", "kite", "", None, 1],
)  # fmt: skip
def test_a_mission_with_a_camera_is_none_of_them(name: object) -> None:
    assert not is_mission(name)


@pytest.mark.parametrize(
    "stem",
    [OPERA, "S1A_IW_GRDH_1SDV_20240512T015906_20240512T015931_053833_068AC0_F8A2", "site_20240512_vh", "20240512-HH", "VV",
     "s1a-iw-grd-vv-20240512t015906-20240512t015931-053833-068ac0-001", "S1B_S3_GRDH_1SSV_20240512T015906", "x_VV_gamma0",
     "S1A_IW_20240512T015906_DVP_RTC30_G_gpuned_0A1B_VV", "ICEYE_X12_GRD_SLH_20240512T015906", "CAPELLA_C02_SM_GEO_HH_20240512015906",
     "2024-05-12-01-59-06_UMBRA-04_GEC", "RS2_OK12345_PK1_DK1_FQ2_20240512_143805_HH_VV_SLC", "TSX1_SAR__MGD_SE___SM_S_SRA_20240512T0159",
     "N45E008_20_sl_HH_F02DAR"],
)  # fmt: skip
def test_a_radar_product_is_known_by_its_name(stem: str) -> None:
    assert radar_in_name(stem)


@pytest.mark.parametrize(
    "stem",
    ["S2A_MSIL2A_20240512T103021_N0510_R108_T36SYC_20240512T140000", "20240512_103021_12_2440_3B_AnalyticMS_SR", "pan_20240512",
     "24MAY12103021-P2AS-016789", "S1_20240512", "S1A_S2_20240512", "site_S1A_20240512", "umbra_20240512", "la-paz_2024-05-12",
     "VVH_20240512", "VV_20240512", "RS2_20240512", "capella_2024-05-12", "LC08_L1TP_174038_20240512_02_T1_B8"],
)  # fmt: skip
def test_other_names_are_not_taken_for_radar(stem: str) -> None:
    assert not radar_in_name(stem)


def test_bare_files_of_a_radar_product_are_refused_and_the_others_stay(tiff: Tiff, tmp_path: Path) -> None:
    tiff(f"{OPERA}.tif", bands=1, dtype="float32")
    tiff("pan_20240512.tif", bands=1)
    result = open_archive(str(tmp_path)).search()
    assert [scene.id for scene in result.scenes] == ["pan_20240512"]
    (refused,) = result.refused
    assert (refused.where, refused.code) == (f"{OPERA}.tif", "radar-scene")
    assert refused.sentence == (
        f"{OPERA}.tif: is radar by its file name, and radar backscatter is no reflectance; take it out of the archive, or correct "
        "that if the scene is optical"
    )


def test_a_name_says_nothing_where_the_bands_are_told(tiff: Tiff, tmp_path: Path) -> None:
    path = tiff("village hall_20240512_VH.tif", bands=1)
    assert [r.code for r in open_archive(str(tmp_path)).search().refused] == ["radar-scene"]
    path.with_suffix(".json").write_text(json.dumps({"bands": ["pan"]}))
    result = open_archive(str(tmp_path)).search()
    assert (len(result.scenes), result.refused) == (1, ())


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"platform": "Sentinel-1A"}, "its platform Sentinel-1A"),
        ({"bands": ["VV", "VH"]}, "its band VV"),
        ({"bands": "gamma0"}, "its band gamma0"),
        ({"type": "Feature", "id": "x", "properties": {"sar:frequency_band": "C"}, "assets": {}}, "its property sar:frequency_band"),
        ({"type": "Feature", "id": "x", "properties": {"constellation": "capella"}, "assets": {"a": pixels("a.tif"), "b": pixels("b.tif")}},
         "its constellation capella"),
    ],
)  # fmt: skip
def test_a_side_file_or_an_item_beside_a_file_tells_radar(
    tiff: Tiff, tmp_path: Path, said: dict[str, Any], told: str
) -> None:
    tiff("a_20240512.tif", bands=2).with_suffix(".json").write_text(json.dumps(said))
    (refused,) = open_archive(str(tmp_path)).search().refused
    assert refused.code == "radar-scene"
    assert f"is radar by {told}," in refused.sentence


@pytest.mark.parametrize(
    ("tags", "description", "told"),
    [
        ({"PLATFORM": "Sentinel-1A"}, None, "its tag PLATFORM Sentinel-1A"),
        ({"POLARIZATION": "VV"}, None, "its tag POLARIZATION VV"),
        ({"RADAR_BAND": "C"}, None, "its tag RADAR_BAND C"),
        ({"SENSOR": "C-SAR"}, None, "its tag SENSOR C-SAR"),
        ({"TIFFTAG_IMAGEDESCRIPTION": "Sentinel-1A IW GRD HR L1"}, None, "its tag TIFFTAG_IMAGEDESCRIPTION Sentinel-1A IW"),
        ({"UNITS": "linear power, sigma0"}, None, "its tag UNITS linear power, sigma0"),
        ({}, "VH", "its band VH"),
        ({}, "gamma0_VV (dB)", "its band gamma0_VV (dB)"),
        ({}, "Radar backscatter", "its band Radar backscatter"),
    ],
)  # fmt: skip
def test_a_file_tells_radar_by_its_tags_and_its_band(
    tiff: Tiff, tmp_path: Path, tags: dict[str, str], description: str | None, told: str
) -> None:
    path = tiff("a_20240512.tif", bands=1, dtype="float32")
    with rasterio.open(path, "r+") as file:
        file.update_tags(**tags)
        if description:
            file.set_band_description(1, description)
    (refused,) = open_archive(str(tmp_path)).search().refused
    assert refused.code == "radar-scene"
    assert f"is radar by {told}" in refused.sentence


def test_a_tag_of_a_band_tells_radar_too(tiff: Tiff, tmp_path: Path) -> None:
    path = tiff("a_20240512.tif", bands=1, dtype="float32")
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, polarisation="HH")
    assert [r.code for r in open_archive(str(tmp_path)).search().refused] == ["radar-scene"]


@pytest.mark.parametrize(
    "tags",
    [
        {"TIFFTAG_IMAGEDESCRIPTION": "Capella, a village; gamma 0.45; registered to Sentinel-1"},
        {"SITE": "La Paz", "PLATFORM": "Sentinel-2A", "SENSOR": "MSI", "PERMISSION": "sarah"},
        {"SARAH": "x", "RADARS": "none"},
    ],
)
def test_tags_of_optical_files_are_no_radar(tiff: Tiff, tmp_path: Path, tags: dict[str, str]) -> None:
    path = tiff("a_20240512.tif", bands=1)
    with rasterio.open(path, "r+") as file:
        file.update_tags(**tags)
        file.set_band_description(1, "HHV 10:30 Vh1")
    result = open_archive(str(tmp_path)).search()
    assert (len(result.scenes), result.refused) == (1, ())


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"sar:instrument_mode": "IW", "platform": "x"}, "its property sar:instrument_mode"),
        ({"platform": "sentinel-1a"}, "its platform sentinel-1a"),
        ({"constellation": "ICEYE"}, "its constellation ICEYE"),
        ({"instruments": ["c-sar"]}, "its instrument c-sar"),
        ({"instruments": ["PALSAR-2"]}, "its instrument PALSAR-2"),
    ],
)
def test_an_item_of_radar_is_refused_before_anything_of_it_is_opened(
    item: Item, catalog: Callable[..., Path], tiff: Tiff, properties: dict[str, Any], told: str
) -> None:
    tiff("a.tif")
    radar = item("radar", "https://example.invalid/not-asked-for.tif", **properties)
    result = open_archive(str(catalog(item("optical", "a.tif"), radar))).search()
    assert [scene.id for scene in result.scenes] == ["optical"]
    (refused,) = result.refused
    assert (refused.where, refused.code) == ("radar", "radar-scene")
    assert refused.sentence.startswith(f"radar: is radar by {told}, and ")


@pytest.mark.parametrize(
    ("assets", "told"),
    [
        ({"vv": pixels("a.tif"), "vh": pixels("b.tif")}, "its band vh"),
        ({"data": pixels("a.tif", {"name": "VV"}, {"name": "VH"})}, "its band VV"),
        ({"data": pixels("a.tif", {"description": "sigma nought"})}, "its band sigma nought"),
        ({"data": pixels("a.tif", title="Gamma0 terrain-corrected")}, "its band Gamma0 terrain-corrected"),
        ({"data": pixels("a.tif", **{"sar:polarizations": ["HH"]})}, "its property sar:polarizations"),
        ({"data": pixels("a.tif", *({"name": n, "common_name": n} for n in ("red", "green", "blue")), {"name": "VV"})}, "its band VV"),
    ],
)  # fmt: skip
def test_an_item_tells_radar_by_its_bands(
    item: Item, catalog: Callable[..., Path], assets: dict[str, Any], told: str
) -> None:
    (refused,) = open_archive(str(catalog(item("a", "a.tif") | {"assets": assets}))).search().refused
    assert refused.code == "radar-scene"
    assert f"is radar by {told}, and " in refused.sentence


def test_an_item_without_a_platform_is_of_its_collection(item: Item, catalog: Callable[..., Path]) -> None:
    bare = item("a", "a.tif", platform=None) | {"collection": "sentinel-1-grd"}
    (refused,) = open_archive(str(catalog(bare))).search().refused
    assert "its collection sentinel-1-grd" in refused.sentence


def test_colours_beside_a_polarisation_are_optical(
    item: Item, catalog: Callable[..., Path], tiff: Tiff
) -> None:
    """What was fused with radar keeps its colours, which alone are read."""
    for name in ("red", "green", "blue", "vv"):
        tiff(f"{name}.tif", bands=1)
    bands = {n: pixels(f"{n}.tif", {"name": n, "common_name": n}) for n in ("red", "green", "blue")}
    mixed = item("a", "a.tif", **{"sar:polarizations": None}) | {"assets": bands | {"vv": pixels("vv.tif")}}
    (scene,) = open_archive(str(catalog(mixed))).search().scenes
    assert set(scene.band_names) == {"red", "green", "blue"}


def test_words_that_coastal_bands_are_described_by_are_no_radar(
    item: Item, catalog: Callable[..., Path], tiff: Tiff
) -> None:
    tiff("a.tif", bands=1)
    band = {"name": "B1", "common_name": "coastal", "description": "for aerosol backscatter"}
    result = open_archive(
        str(catalog(item("a", "a.tif") | {"assets": {"data": pixels("a.tif", band)}}))
    ).search()
    assert (len(result.scenes), result.refused) == (1, ())


def test_radar_of_another_place_or_time_is_not_told_of(item: Item, catalog: Callable[..., Path]) -> None:
    there = {"type": "Point", "coordinates": [10.0, 50.0]}
    far = item("far", "a.tif", platform="sentinel-1a") | {"geometry": there, "bbox": [10.0, 50.0, 11.0, 51.0]}
    result = open_archive(str(catalog(far))).search(box(34.0, 33.0, 34.1, 33.1))
    assert (result.scenes, result.refused, result.elsewhere) == ((), (), ())


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="the real imagery is not here")
def test_real_radar_is_refused_and_every_real_optical_picture_is_not(tmp_path: Path) -> None:
    refused = open_archive(str(REAL / "opera_rtc_s1")).search().refused
    assert (len(refused), {r.code for r in refused}) == (60, {"radar-scene"})
    pairs = open_archive(str(write_catalogs(REAL, tmp_path / "pairs", "all")[0].catalog)).search()
    assert (len(pairs.scenes), pairs.refused) == (60, ())
    folders = [f for f in sorted(REAL.iterdir()) if f.is_dir() and f.name != "opera_rtc_s1"]
    names = [p.stem for folder in folders for p in folder.rglob("*") if p.suffix in (".tif", ".png")]
    assert len(names) > 100
    assert [name for name in names if radar_in_name(name)] == []
    (tmp_path / "bare").mkdir()  # as of a hurried user: dated, and nothing else told
    for number, path in enumerate(p for folder in folders for p in folder.rglob("*.tif")):
        (tmp_path / "bare" / f"{path.stem}_202405{number + 1:02}.tif").symlink_to(path)
    bare = open_archive(str(tmp_path / "bare")).search()
    assert len(bare.scenes) > 15
    assert "radar-scene" not in {r.code for r in bare.refused}


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="the real imagery is not here")
def test_real_radar_beside_an_optical_scene_costs_only_itself(tiff: Tiff, tmp_path: Path) -> None:
    for path in sorted((REAL / "opera_rtc_s1").glob("2021-11-19/*.tif")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with rasterio.open(next(tmp_path.glob("OPERA*_VV.tif"))) as radar:
        assert np.isfinite(radar.read(1)).any()
        tiff("pan_20211119.tif", bands=1, crs=radar.crs, transform=radar.transform)
    result = open_archive(str(tmp_path)).search()
    assert [scene.id for scene in result.scenes] == ["pan_20211119"]
    assert [r.code for r in result.refused] == ["radar-scene"] * 2
