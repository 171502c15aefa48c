"""A plain folder of GeoTIFFs: where time and the rest are found, and what is said where they are not."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rasterio

from imagery.illumination import Sun, View
from pipelines.archives import open_archive
from pipelines.archives.errors import UnreadableArchive
from pipelines.archives.folder import time_in_name

Tiff = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "when", "exact"),
    [
        ("S2A_MSIL2A_20240512T103021_N0510_R108_T36SYC_20240512T140000", (2024, 5, 12, 10, 30, 21), True),
        ("20240512_103021_12_2440_3B_AnalyticMS_SR", (2024, 5, 12, 10, 30, 21), True),
        ("24MAY12103021-P2AS-016789", (2024, 5, 12, 10, 30, 21), True),
        ("site_2024-05-12T10-30-21Z", (2024, 5, 12, 10, 30, 21), True),
        ("site_2024-05-12T10:30:21", (2024, 5, 12, 10, 30, 21), True),
        ("site 2024-05-12", (2024, 5, 12, 12, 0, 0), False),
        ("20240512_mosaic", (2024, 5, 12, 12, 0, 0), False),
        ("2024_05_12", (2024, 5, 12, 12, 0, 0), False),
        ("tile_99999999_20240512", (2024, 5, 12, 12, 0, 0), False),
        ("20241332", None, False),
        ("18000101", None, False),
        ("scene_12", None, False),
        ("T36SYC_1234567890123", None, False),
    ],
)
def test_times_are_read_from_the_names_that_vendors_give(
    name: str, when: tuple[int, ...] | None, exact: bool
) -> None:
    found = time_in_name(name)
    assert found == (None if when is None else (datetime(*when, tzinfo=UTC), exact))  # type: ignore[misc, arg-type]


def test_a_folder_is_read_with_its_masks_and_its_sub_folders(tiff: Tiff, tmp_path: Path) -> None:
    tiff("2024/site_20240512T103021.tif", bands=4, gsd=0.5)
    tiff("2024/site_20240512T103021_mask.tif", bands=1, dtype="uint8", value=0)
    tiff("site_2024-06-12.tif", bands=1, gsd=0.5)
    result = open_archive(str(tmp_path)).search()
    assert result.refused == ()
    first, second = result.scenes
    assert (first.id, second.id) == ("2024.site_20240512T103021", "site_2024-06-12")
    assert first.mask is not None
    assert first.mask.path.endswith("_mask.tif")
    assert second.mask is None
    assert first.band_names == ("red", "green", "blue", "nir")
    assert second.band_names == ("pan",)
    assert any("noon" in n for n in second.notes)
    assert any("site_2024-06-12.json" in n for n in second.notes)  # where sun angles may be given


def test_a_side_file_says_everything(tiff: Tiff, tmp_path: Path) -> None:
    tiff("a.tif", bands=2, gsd=0.5)
    tiff("where clouds are.tif", bands=1, dtype="uint8", value=0)
    said = {
        "datetime": "2024-05-12T10:30:21Z", "gsd": 0.55, "sun_azimuth": 150, "sun_elevation": 40, "off_nadir": 20,
        "view_azimuth": 90, "bands": ["red", "nir"], "scale": 0.0002, "offset": -0.1, "nodata": 0,
        "mask": "where clouds are.tif", "platform": "kite", "licence": "CC0-1.0",
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(said))
    (scene,) = open_archive(str(tmp_path)).search().scenes
    assert [(b.name, b.scale, b.offset, b.nodata) for b in scene.bands] == [
        ("red", 0.0002, -0.1, 0.0), ("nir", 0.0002, -0.1, 0.0),
    ]  # fmt: skip
    assert (scene.sun, scene.view) == (Sun(150.0, 40.0), View(90.0, 20.0))
    assert (scene.gsd_m, scene.platform, scene.licence, scene.units) == (
        0.55,
        "kite",
        "CC0-1.0",
        "reflectance",
    )
    assert scene.mask is not None
    assert scene.notes == ()


def item_of(*bands: dict[str, object], **properties: object) -> str:
    """A STAC Item whose one asset of pixels has such bands."""
    asset = {"href": "elsewhere.tif", "type": "image/tiff", "roles": ["data"], "raster:bands": list(bands)}
    return json.dumps({"type": "Feature", "id": "x", "properties": properties, "assets": {"data": asset}})


def test_a_stac_item_beside_a_file_is_its_side_file(tiff: Tiff, tmp_path: Path) -> None:
    path = tiff("scene_20240512.tif", bands=1, gsd=0.5)
    said = {
        "datetime": "2024-05-12T10:30:21Z",
        "view:sun_azimuth": 140.0,
        "view:sun_elevation": 60.0,
        "eo:cloud_cover": 3,
    }
    path.with_suffix(".json").write_text(item_of({"scale": 0.0002, "offset": -0.1}, **said))
    (scene,) = open_archive(str(tmp_path)).search().scenes
    assert (scene.id, scene.t_utc) == ("scene_20240512", datetime(2024, 5, 12, 10, 30, 21, tzinfo=UTC))
    assert scene.sun == Sun(140.0, 60.0)
    assert [(band.scale, band.offset) for band in scene.bands] == [(0.0002, -0.1)]


def test_a_stac_item_that_one_file_cannot_be_told_by_is_refused_by_name(tiff: Tiff, tmp_path: Path) -> None:
    path = tiff("scene_20240512.tif", bands=2, gsd=0.5)
    path.with_suffix(".json").write_text(item_of({"scale": 0.1}, {"scale": 0.2}))
    (refused,) = open_archive(str(tmp_path)).search().refused
    assert refused.code == "bad-scene-metadata"
    assert "scene_20240512.json: item gives its bands more than one scale" in refused.sentence


@pytest.mark.parametrize("form", ["csv", "json"])
def test_one_table_describes_all(tiff: Tiff, tmp_path: Path, form: str) -> None:
    tiff("a.tif", bands=3)
    tiff("b.tif", bands=3)
    rows = [
        {"file": "a.tif", "datetime": "2024-05-12T10:30:21Z", "sun_azimuth": "150", "sun_elevation": "40"},
        {"file": "b.tif", "datetime": "2024-06-12T10:30:21Z", "bands": "red green blue"},
    ]
    if form == "csv":
        text = "file,datetime,sun_azimuth,sun_elevation,bands\n"
        text += "a.tif,2024-05-12T10:30:21Z,150,40,\nb.tif,2024-06-12T10:30:21Z,,,red green blue\n"
        (tmp_path / "scenes.csv").write_text(text)
    else:
        (tmp_path / "scenes.json").write_text(json.dumps(rows))
    first, second = open_archive(str(tmp_path)).search().scenes
    assert first.sun == Sun(150.0, 40.0)
    assert second.sun is None
    assert second.t_utc == datetime(2024, 6, 12, 10, 30, 21, tzinfo=UTC)


def test_rows_of_a_table_go_to_the_file_of_their_own_folder(tiff: Tiff, tmp_path: Path) -> None:
    for year in (2021, 2022, 2023):
        tiff(f"{year}/scene.tif", bands=3, seed=year)
    rows = ["file,datetime", "2021/scene.tif,2021-05-12T10:30:21Z", "2022\\scene.tif,2022-06-12T10:30:21Z"]
    rows += [f"/elsewhere/{tmp_path.name}/2023/scene.tif,2023-07-12T10:30:21Z"]
    (tmp_path / "scenes.csv").write_text("\n".join(rows))
    found = open_archive(str(tmp_path)).search()
    assert [(scene.id, scene.t_utc.year) for scene in found.scenes] == [
        ("2021.scene", 2021),
        ("2022.scene", 2022),
        ("2023.scene", 2023),
    ]


@pytest.mark.parametrize(
    "rows",
    [
        "scene.tif,2021-05-12T10:30:21Z\n",
        "2021/scene.tif,2021-05-12T10:30:21Z\n2021/scene.tif,2022-05-12T10:30:21Z\n",
    ],
)
def test_a_row_that_may_mean_several_files_or_a_file_of_two_rows_is_refused(
    tiff: Tiff, tmp_path: Path, rows: str
) -> None:
    for year in (2021, 2022):
        tiff(f"{year}/scene.tif", bands=3, seed=year)
    (tmp_path / "scenes.csv").write_text("file,datetime\n" + rows)
    with pytest.raises(UnreadableArchive, match="with its folders"):
        open_archive(str(tmp_path)).search()


def test_a_row_of_a_file_that_is_not_there_is_given_to_no_other(tiff: Tiff, tmp_path: Path) -> None:
    tiff("scene.tif", bands=3)
    (tmp_path / "scenes.csv").write_text("file,datetime\n2021/scene.tif,2021-05-12T10:30:21Z\n")
    found = open_archive(str(tmp_path)).search()
    assert [refusal.code for refusal in found.refused] == ["scene-without-time"]


def test_a_mask_is_of_the_scene_of_its_name_and_of_no_longer_name(tiff: Tiff, tmp_path: Path) -> None:
    for name in ("look_20240501_1", "look_20240601_1", "look_20240601_10"):
        tiff(f"{name}.tif", bands=3)
    tiff("look_20240601_1_mask.tif", bands=1, dtype="uint8", value=0)
    tiff("look_mask.tif", bands=1, dtype="uint8", value=0)  # of which of the three?
    for scene in open_archive(str(tmp_path)).search().scenes:
        assert (scene.mask is not None) == (scene.id == "look_20240601_1")


def test_a_mask_that_a_side_file_names_is_no_scene_of_its_own(tiff: Tiff, tmp_path: Path) -> None:
    tiff("look.tif", bands=3)
    tiff("clouds of 2024-06-01.tif", bands=1, dtype="uint8", value=0)
    said = {"datetime": "2024-06-01T10:00:00Z", "mask": "clouds of 2024-06-01.tif"}
    (tmp_path / "look.json").write_text(json.dumps(said))
    found = open_archive(str(tmp_path)).search()
    assert [scene.id for scene in found.scenes] == ["look"]
    assert found.refused == ()


def test_time_is_found_in_tags_last(tiff: Tiff, tmp_path: Path) -> None:
    path = tiff("a.tif")
    with rasterio.open(path, "r+") as file:
        file.update_tags(TIFFTAG_DATETIME="2024:05:12 10:30:21")
    (scene,) = open_archive(str(tmp_path)).search().scenes
    assert scene.t_utc == datetime(2024, 5, 12, 10, 30, 21, tzinfo=UTC)
    assert any("TIFFTAG_DATETIME" in n for n in scene.notes)
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="2023-01-02 03:04:05")
    (scene,) = open_archive(str(tmp_path)).search().scenes
    assert scene.t_utc == datetime(2023, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_band_files_of_one_sentinel_2_scene_are_put_together(tiff: Tiff, tmp_path: Path) -> None:
    stem = "S2B_MSIL2A_20240512T103021_N0510_R108_T36SYC"
    for band in ("B02", "B03", "B04", "B08"):
        tiff(f"{stem}_{band}_10m.tif", bands=1)
    tiff(f"{stem}_SCL_20m.tif", bands=1, dtype="uint8", gsd=20.0, size=20, value=4)
    (scene,) = open_archive(str(tmp_path)).search().scenes
    assert scene.id == stem
    assert scene.band_names == ("blue", "green", "red", "nir")
    assert {(b.scale, b.offset) for b in scene.bands} == {(1e-4, -0.1)}
    assert scene.platform == "sentinel-2b"
    assert scene.mask is not None
    assert scene.mask.kind == "scl"


@pytest.mark.parametrize(
    ("side", "code", "words"),
    [
        (None, "scene-without-time", "put {\"datetime\": \"2024-05-12T10:30:21Z\"} into a.json"),
        ("{", "bad-scene-metadata", "a.json"),
        ("[]", "bad-scene-metadata", "one object"),
        ('{"datetime": "soon"}', "scene-without-time", "soon"),
        ('{"datetime": "2024-05-12", "sun": 4}', "bad-scene-metadata", "sun is no known field"),
        ('{"datetime": "2024-05-12", "gsd": "fine"}', "bad-scene-metadata", "not a number"),
        ('{"datetime": "2024-05-12", "bands": ["purple"]}', "bad-scene-metadata", "common names"),
        ('{"datetime": "2024-05-12", "bands": ["red"]}', "band-count-mismatch", "4 bands"),
        ('{"datetime": "2024-05-12", "mask": "gone.tif"}', "bad-scene-metadata", "gone.tif"),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_said_per_file_with_its_cure(
    tiff: Tiff, tmp_path: Path, side: str | None, code: str, words: str
) -> None:
    tiff("a.tif")
    tiff("good_20240601.tif")
    if side is not None:
        (tmp_path / "a.json").write_text(side)
    result = open_archive(str(tmp_path)).search()
    assert [s.id for s in result.scenes] == ["good_20240601"]
    (refusal,) = result.refused
    assert (refusal.where, refusal.code) == ("a.tif", code)
    assert words in refusal.sentence


def test_unknown_bands_are_refused_with_where_to_name_them(tiff: Tiff, tmp_path: Path) -> None:
    tiff("a_20240512.tif", bands=6)
    (refusal,) = open_archive(str(tmp_path)).search().refused
    assert refusal.code == "scene-without-bands"
    assert "a_20240512.json" in refusal.sentence


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UnreadableArchive, match="no GeoTIFF"):
        open_archive(str(tmp_path)).search()


@pytest.mark.parametrize("text", ["{}", '[{"datetime": "2024-05-12"}]', "[7]"])
def test_a_table_that_names_no_files_is_refused(tiff: Tiff, tmp_path: Path, text: str) -> None:
    tiff("a.tif")
    (tmp_path / "scenes.json").write_text(text)
    with pytest.raises(UnreadableArchive, match=r"scenes\.json"):
        open_archive(str(tmp_path)).search()


def test_odd_names_are_only_names(tiff: Tiff, tmp_path: Path) -> None:
    for name in ("a b#c?d_20240512.tif", "zip+x:y_20240513.tif", "ü'(1)_20240514.TIF", "100%_20240515.tiff"):
        tiff(name)
    result = open_archive(str(tmp_path)).search()
    assert result.refused == ()
    assert len(result.scenes) == 4
