"""Static STAC catalogs as met in the wild: what is read from them, and what is refused without stopping the rest."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from shapely import box

from imagery.illumination import Sun, View
from pipelines.archives import ArchiveResult, open_archive
from pipelines.archives.errors import RemoteAssetRefused, UnreadableArchive

Tiff = Callable[..., Path]
Item = Callable[..., dict[str, Any]]
Catalog = Callable[..., Path]

TO_DEGREES = Transformer.from_crs("EPSG:32636", "EPSG:4326", always_xy=True).transform


def degrees(west: float, south: float, east: float, north: float) -> Any:
    return shapely.transform(box(west, south, east, north), TO_DEGREES, interleaved=False)


def only_refusal(result: ArchiveResult) -> tuple[str, str, str]:
    assert len(result.refused) == 1, result.refused
    refusal = result.refused[0]
    assert "\n" not in refusal.sentence
    return refusal.where, refusal.code, refusal.sentence


def test_a_described_scene_is_read_as_described(tiff: Tiff, item: Item, catalog: Catalog) -> None:
    tiff("pixels/a.tif")
    tiff("pixels/a_mask.tif", bands=1, dtype="uint8", value=0)
    document = item(
        "a", "./pixels/a.tif", **{"view:sun_azimuth": 150.0, "view:sun_elevation": 40.0, "view:azimuth": 100.0,
        "view:off_nadir": 12.0, "license": "CC-BY-4.0", "providers": [{"name": "The Owner"}]},
    )  # fmt: skip
    document["assets"]["cloud-mask"] = {"href": "pixels/a_mask.tif", "type": "image/tiff", "roles": ["cloud"]}
    (scene,) = open_archive(str(catalog(document))).search().scenes
    assert scene.id == "a"
    assert scene.t_utc == datetime(2024, 5, 12, 10, 30, 21, tzinfo=UTC)
    assert scene.band_names == ("blue", "green", "red", "nir")
    assert {(b.scale, b.offset, b.nodata) for b in scene.bands} == {(1e-4, 0.0, 0.0)}
    assert scene.sun == Sun(150.0, 40.0)
    assert scene.view == View(100.0, 12.0)
    assert scene.mask is not None
    assert scene.mask.kind == "cloud-mask"
    assert scene.licence == "CC-BY-4.0; The Owner"
    assert (scene.gsd_m, scene.units, scene.platform) == (10.0, "reflectance", "test-1")
    assert [len(digest) for _, digest in scene.sha256] == [64, 64]
    assert scene.notes == ()


def test_what_is_missing_is_told_and_not_made_up(tiff: Tiff, item: Item, catalog: Catalog) -> None:
    tiff("a.tif", bands=3, dtype="uint8", gsd=0.5)
    document = item("a", "a.tif")
    document["properties"] = {"datetime": "2024-05-12T10:30:21"}
    document["assets"] = {"visual": {"href": "a.tif"}}
    (scene,) = open_archive(str(catalog(document))).search().scenes
    assert (scene.sun, scene.view, scene.platform, scene.licence, scene.mask) == (
        None,
        None,
        None,
        None,
        None,
    )
    assert scene.units == "relative"
    assert scene.bands[0].scale == pytest.approx(1 / 255)
    assert scene.gsd_m == pytest.approx(0.5, rel=0.002)
    assert scene.band_names == ("red", "green", "blue")
    told = " ".join(scene.notes)
    for word in (
        "gsd missing",
        "sun angles missing",
        "view angles missing",
        "relative",
        "no cloud mask",
        "UTC",
    ):
        assert word in told


@pytest.mark.parametrize(
    ("off_nadir", "kept", "missing"),
    [(65.0, 65.0, "azimuth"), (-65.0, 65.0, "azimuth"), (None, None, "angles"), (95.0, None, "angles")],
)
def test_an_angle_off_nadir_is_kept_without_an_azimuth(
    off_nadir: float | None, kept: float | None, missing: str, tiff: Tiff, item: Item, catalog: Catalog
) -> None:
    tiff("a.tif")
    document = item("a", "a.tif", **{"view:off_nadir": off_nadir})
    (scene,) = open_archive(str(catalog(document))).search().scenes
    assert (scene.view, scene.off_nadir_deg) == (None, kept)
    assert any(note.startswith(f"view {missing} missing") for note in scene.notes)


@pytest.mark.parametrize(
    ("elevation", "kept", "missing"),
    [(3.5, 3.5, "azimuth"), (-2, -2.0, "azimuth"), (None, None, "angles"), (95.0, None, "angles")],
)
def test_the_suns_elevation_is_kept_without_an_azimuth(
    elevation: float | None, kept: float | None, missing: str, tiff: Tiff, item: Item, catalog: Catalog
) -> None:
    tiff("a.tif")
    document = item("a", "a.tif", **{"view:sun_elevation": elevation})
    (scene,) = open_archive(str(catalog(document))).search().scenes
    assert (scene.sun, scene.sun_elevation_deg, scene.light_elevation_deg) == (None, kept, kept)
    assert any(note.startswith(f"sun {missing} missing") for note in scene.notes)


def test_one_asset_per_band_is_put_together(tiff: Tiff, item: Item, catalog: Catalog) -> None:
    document = item("a", "x", **{"platform": "sentinel-2b", "s2:processing_baseline": "05.10"})
    document["assets"] = {}
    for name, gsd in (("red", 10.0), ("blue", 10.0), ("green", 10.0), ("nir", 10.0), ("swir16", 20.0)):
        tiff(f"{name}.tif", bands=1, gsd=gsd, size=round(400 / gsd))
        document["assets"][name] = {
            "href": f"{name}.tif", "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"], "eo:bands": [{"common_name": name}],
        }  # fmt: skip
        document["assets"][f"{name}-jp2"] = {"href": f"{name}.jp2", "type": "image/jp2", "roles": ["data"]}
    tiff("visual.tif", bands=3, dtype="uint8")
    document["assets"]["visual"] = {"href": "visual.tif", "type": "image/tiff", "roles": ["visual"]}
    tiff("scl.tif", bands=1, dtype="uint8", gsd=20.0, size=20, value=4)
    document["assets"]["scl"] = {"href": "scl.tif", "type": "image/tiff", "roles": ["data", "reflectance"]}
    (scene,) = open_archive(str(catalog(document))).search().scenes
    assert scene.band_names == ("blue", "green", "red", "nir")
    assert {b.offset for b in scene.bands} == {-0.1}
    assert {b.nodata for b in scene.bands} == {0.0}
    assert scene.mask is not None
    assert scene.mask.kind == "scl"
    assert any("coarser bands left out: swir16.tif" in n for n in scene.notes)


def test_stac_one_point_one_bands_are_understood(tiff: Tiff, item: Item, catalog: Catalog) -> None:
    tiff("a.tif", bands=2)
    document = item("a", "a.tif")
    document["assets"]["data"] = {
        "href": "a.tif", "type": "image/tiff", "roles": ["data"], "raster:scale": 0.0002,
        "bands": [{"eo:common_name": "red", "raster:offset": -0.05}, {"eo:common_name": "nir"}],
    }  # fmt: skip
    (scene,) = open_archive(str(catalog(document))).search().scenes
    assert [(b.name, b.scale, b.offset) for b in scene.bands] == [
        ("red", 0.0002, -0.05),
        ("nir", 0.0002, 0.0),
    ]


def test_catalogs_of_catalogs_item_collections_and_single_items_are_walked(
    tiff: Tiff, item: Item, tmp_path: Path
) -> None:
    path = tiff("deep/down/a.tif")
    (tmp_path / "deep/down/a.json").write_text(json.dumps(item("a", "./a.tif")))
    collection = {
        "type": "Collection", "id": "k", "license": "CC-BY-SA-4.0", "providers": [{"name": "P"}],
        "links": [{"rel": "item", "href": "./down/a.json"}, {"rel": "root", "href": "../catalog.json"}],
    }  # fmt: skip
    (tmp_path / "deep/collection.json").write_text(json.dumps(collection))
    top = {
        "type": "Catalog", "id": "c",
        "links": [{"rel": "child", "href": "deep/collection.json"}, {"rel": "child", "href": "./catalog.json"}],
    }  # fmt: skip
    (tmp_path / "catalog.json").write_text(json.dumps(top))
    for source in (tmp_path, tmp_path / "catalog.json"):
        (scene,) = open_archive(str(source)).search().scenes
        assert scene.licence == "CC-BY-SA-4.0; P"
    (tmp_path / "items.json").write_text(
        json.dumps(
            {"type": "FeatureCollection", "features": [item("b", path.as_uri()), item("a", str(path)), 7]}
        )
    )
    result = open_archive(str(tmp_path / "items.json")).search()
    assert [s.id for s in result.scenes] == ["b"]
    assert sorted(r.code for r in result.refused) == ["bad-scene-metadata", "duplicate-acquisition"]
    assert [s.id for s in open_archive(str(tmp_path / "deep/down/a.json")).search().scenes] == ["a"]


def test_area_and_period_choose_scenes_and_the_rest_is_known(
    tiff: Tiff, item: Item, catalog: Catalog
) -> None:
    tiff("here.tif")
    tiff("later.tif")
    tiff("there.tif", east=700_000.0)
    path = catalog(
        item("later", "later.tif", "2025-01-01T00:00:00Z"),
        item("here", "here.tif"),
        item("there", "there.tif"),
    )
    area = degrees(600_100, 3_699_700, 600_200, 3_699_800)
    result = open_archive(str(path)).search(area)
    assert [s.id for s in result.scenes] == ["here", "later"]
    assert len(result.elsewhere) == 1
    year = (datetime(2025, 1, 1, tzinfo=UTC), None)
    assert [s.id for s in open_archive(str(path)).search(area, year).scenes] == ["later"]
    assert [s.id for s in open_archive(str(path)).search(area, (None, year[0])).scenes] == ["here", "later"]


def test_a_scene_whose_description_lies_about_its_place_is_judged_by_its_file(
    tiff: Tiff, item: Item, catalog: Catalog
) -> None:
    tiff("a.tif", east=700_000.0)
    document = item("a", "a.tif")
    document["bbox"] = list(degrees(600_000, 3_699_600, 600_400, 3_700_000).bounds)
    result = open_archive(str(catalog(document))).search(degrees(600_100, 3_699_700, 600_200, 3_699_800))
    assert result.scenes == ()
    assert len(result.elsewhere) == 1


# --- one bad scene among good ones ---------------------------------------------------------------------------------


def edited(document: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = copy.deepcopy(document)
    change(document)
    return document


def data(document: dict[str, Any]) -> dict[str, Any]:
    asset: dict[str, Any] = document["assets"]["data"]
    return asset


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda d: d["properties"].pop("datetime"), "scene-without-time", "no datetime"),
        (lambda d: d["properties"].update(datetime="yesterday"), "scene-without-time", "RFC 3339"),
        (
            lambda d: d["properties"].update(
                datetime=None, start_datetime="2024-01-01T00:00:00Z", end_datetime="2024-03-01T00:00:00Z"
            ),
            "scene-without-time", "mosaics",
        ),
        (lambda d: d.update(assets={}), "scene-without-bands", "none of its assets"),
        (lambda d: data(d).update(type="image/png"), "scene-without-bands", "data"),
        (lambda d: data(d).update({"eo:bands": [{"common_name": "red"}], "raster:bands": []}), "band-count-mismatch", "4"),
        (lambda d: data(d).update({"raster:bands": [{"scale": float("nan")}] * 4}), "bad-scene-metadata", "radiometry"),
        (lambda d: data(d).update({"raster:bands": [{"scale": 0}] * 4}), "bad-scene-metadata", "radiometry"),
        (lambda d: data(d).update({"raster:bands": [{"scale": 1e-4}, {}, {}, {}]}), "bad-scene-metadata", "some do not"),
        (lambda d: d["properties"].update(gsd="fine"), "bad-scene-metadata", "gsd"),
        (lambda d: d["properties"].update(gsd=-1), "bad-scene-metadata", "gsd"),
        (lambda d: d["properties"].update({"view:sun_azimuth": "south"}), "bad-scene-metadata", "sun_azimuth"),
        (lambda d: d.pop("id"), "bad-scene-metadata", "id"),
        (lambda d: data(d).update(href="missing.tif"), "unreadable-raster", "no such file"),
        (lambda d: data(d).update(href="/vsicurl/http://127.0.0.1/a.tif"), "remote-asset-refused", "not a file"),
        (lambda d: data(d).update(href="s3://bucket/a.tif"), "remote-asset-refused", "not a file"),
        (lambda d: data(d).update(href="vrt:///a.tif"), "remote-asset-refused", "not a file"),
        (lambda d: data(d).update(href="http://127.0.0.1:9/a.tif"), "remote-asset-refused", "no public address"),
        (lambda d: data(d).update(href="empty.tif"), "unreadable-raster", "0 bytes"),
        (lambda d: data(d).update(href="cut.tif"), "unreadable-raster", "truncated"),
        (lambda d: data(d).update(href="disguise.tif"), "unreadable-raster", "disguise.tif"),
        (lambda d: data(d).update(href="nocrs.tif"), "unsupported-raster", "no CRS"),
        (lambda d: data(d).update(href="nowhere.tif"), "unsupported-raster", "no geotransform"),
        (lambda d: data(d).update(href="moon.tif"), "unsupported-raster", "nowhere on Earth"),
        (
            lambda d: d["assets"].update({"cloud-mask": {"href": "cut.tif", "type": "image/tiff"}}),
            "unreadable-raster", "truncated",
        ),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_one_bad_scene_is_told_and_does_not_stop_the_rest(
    tiff: Tiff, item: Item, catalog: Catalog, tmp_path: Path,
    change: Callable[[dict[str, Any]], object], code: str, words: str,
) -> None:  # fmt: skip
    tiff("good.tif")
    tiff("a.tif")
    tiff("nocrs.tif", crs=None)
    tiff("nowhere.tif", transform=Affine.identity())
    tiff("moon.tif", transform=Affine(10.0, 0.0, 1e12, 0.0, -10.0, 1e12))
    (tmp_path / "empty.tif").touch()
    whole = tiff("whole.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "disguise.tif").write_text("<VRTDataset rasterXSize='1' rasterYSize='1'></VRTDataset>")
    bad = edited(item("bad", "a.tif"), change)
    result = open_archive(str(catalog(bad, item("good", "good.tif", "2024-06-01T00:00:00Z")))).search()
    assert [s.id for s in result.scenes] == ["good"]
    _, found, sentence = only_refusal(result)
    assert found == code
    assert words in sentence


def test_files_of_different_types_without_a_scale_are_refused(
    tiff: Tiff, item: Item, catalog: Catalog
) -> None:
    document = item("a", "x")
    document["assets"] = {}
    for name, dtype in (("red", "uint8"), ("green", "uint16"), ("blue", "uint16")):
        tiff(f"{name}.tif", bands=1, dtype=dtype)
        document["assets"][name] = {"href": f"{name}.tif", "eo:bands": [{"common_name": name}]}
    _, code, sentence = only_refusal(open_archive(str(catalog(document))).search())
    assert code == "mixed-dtypes"
    assert "uint16 and uint8" in sentence


def test_broken_documents_and_links_are_told(
    tiff: Tiff, item: Item, catalog: Catalog, tmp_path: Path
) -> None:
    tiff("a.tif")
    path = catalog(item("a", "a.tif"), "{", "[]", json.dumps({"type": "Topology"}))
    top = json.loads(path.read_text())
    top["links"] += [
        {"rel": "item", "href": "gone.json"}, {"rel": "child", "href": "https://example.com/c.json"}, "x", {"rel": "item"},
    ]  # fmt: skip
    path.write_text(json.dumps(top))
    result = open_archive(str(path)).search()
    assert [s.id for s in result.scenes] == ["a"]
    assert sorted(r.code for r in result.refused) == [
        "bad-scene-metadata", "remote-asset-refused", "remote-asset-refused", "unreadable-archive",
        "unreadable-archive", "unreadable-archive",
    ]  # fmt: skip


def test_an_address_of_a_file_is_that_file(tiff: Tiff, item: Item, catalog: Catalog, tmp_path: Path) -> None:
    tiff("a.tif")
    path = catalog(item("a", "a.tif"))
    folder = tmp_path / "of one"
    path.parent.joinpath("item0.json").rename(path.parent / "item 0.json")
    path.write_text(path.read_text().replace("item0.json", "item%200.json"))
    folder.symlink_to(path.parent)
    for address in (path.as_uri(), f"FILE://localhost{path}", folder.as_uri()):
        assert [s.id for s in open_archive(address).search().scenes] == ["a"]
    with pytest.raises(RemoteAssetRefused, match="not a file on this machine"):
        open_archive(f"file://elsewhere{path}")


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 50_000, '{"type": "Topology"}'])
def test_what_is_no_catalog_is_refused_as_a_whole(tmp_path: Path, text: str) -> None:
    (tmp_path / "catalog.json").write_text(text)
    with pytest.raises(UnreadableArchive, match=r"catalog\.json"):
        open_archive(str(tmp_path / "catalog.json")).search()
    with pytest.raises(UnreadableArchive, match="no such file"):
        open_archive(str(tmp_path / "other.json"))


# --- one acquisition twice -----------------------------------------------------------------------------------------


def test_the_newest_processing_of_one_acquisition_stays(tiff: Tiff, item: Item, catalog: Catalog) -> None:
    tiff("old.tif")
    tiff("new.tif")
    old = item("S2A_x_N0509_y", "old.tif", platform="sentinel-2a")
    new = item("S2A_x_N0510_y", "new.tif", "2024-05-12T10:30:25Z", platform="sentinel-2a")
    for order in ((old, new), (new, old)):
        result = open_archive(str(catalog(*order))).search()
        assert [s.id for s in result.scenes] == ["S2A_x_N0510_y"]
        where, code, sentence = only_refusal(result)
        assert (where, code) == ("S2A_x_N0509_y", "duplicate-acquisition")
        assert "S2A_x_N0510_y" in sentence


def test_a_copy_of_the_same_bytes_is_a_duplicate_at_any_time(
    tiff: Tiff, item: Item, catalog: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "b.tif").write_bytes(tiff("a.tif").read_bytes())
    result = open_archive(
        str(catalog(item("a", "a.tif"), item("b", "b.tif", "2024-07-01T00:00:00Z")))
    ).search()
    assert len(result.scenes) == 1
    assert only_refusal(result)[1] == "duplicate-acquisition"


def test_different_platforms_and_times_are_no_duplicates(tiff: Tiff, item: Item, catalog: Catalog) -> None:
    for name in ("a", "b", "c"):
        tiff(f"{name}.tif")
    result = open_archive(
        str(
            catalog(
                item("a", "a.tif"),
                item("b", "b.tif", platform="test-2"),
                item("c", "c.tif", "2024-05-12T10:35:00Z"),
            )
        )
    ).search()
    assert [s.id for s in result.scenes] == ["a", "b", "c"]


def test_neighbouring_tiles_of_one_pass_both_stay_only_where_they_divide_the_area(
    tiff: Tiff, item: Item, catalog: Catalog
) -> None:
    tiff("west.tif")
    tiff("east.tif", east=600_350.0)  # a strip of 50 m in common
    path = catalog(item("west", "west.tif"), item("east", "east.tif", "2024-05-12T10:30:35Z"))
    divided = open_archive(str(path)).search(degrees(600_200, 3_699_700, 600_600, 3_699_900))
    assert [s.id for s in divided.scenes] == ["west", "east"]
    assert all(any("not an independent look" in n for n in s.notes) for s in divided.scenes)
    inside_both = open_archive(str(path)).search(degrees(600_360, 3_699_700, 600_390, 3_699_900))
    assert len(inside_both.scenes) == 1


# --- radiometry: by what is said, never by the date ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "offset", "units"),
    [
        ({"s2:processing_baseline": "02.14"}, 0.0, "reflectance"),
        ({"s2:processing_baseline": "04.00"}, -0.1, "reflectance"),
        ({"s2:processing_baseline": "05.10"}, -0.1, "reflectance"),
        ({"s2:product_uri": "S2A_MSIL2A_20180101T0_N0500_R0.SAFE"}, -0.1, "reflectance"),
        ({"s2:processing_baseline": "05.10", "earthsearch:boa_offset_applied": True}, 0.0, "reflectance"),
        ({"s2:processing_baseline": "05.10", "earthsearch:boa_offset_applied": False}, -0.1, "reflectance"),
        ({"s2:processing_baseline": "02.14", "earthsearch:boa_offset_applied": False}, 0.0, "reflectance"),
        ({}, 0.0, "relative"),
    ],
)
@pytest.mark.parametrize("when", ["2018-01-01T10:00:00Z", "2024-05-12T10:00:00Z"])
def test_sentinel_2_offset_follows_the_metadata_and_never_the_date(
    tiff: Tiff, item: Item, catalog: Catalog, properties: dict[str, Any], offset: float, units: str, when: str
) -> None:
    tiff("a.tif")
    document = item("a", "a.tif", when, platform="Sentinel-2A", **properties)
    del document["assets"]["data"]["raster:bands"]
    (scene,) = open_archive(str(catalog(document))).search().scenes
    assert {(b.scale, b.offset, b.nodata) for b in scene.bands} == {(1e-4, offset, 0.0)}
    assert scene.units == units
    assert any("Sentinel-2" in n for n in scene.notes)


def test_described_offset_wins_unless_the_catalog_says_that_it_was_applied(
    tiff: Tiff, item: Item, catalog: Catalog
) -> None:
    tiff("a.tif")
    tiff("b.tif")
    plain = item("a", "a.tif", platform="sentinel-2a", **{"s2:processing_baseline": "05.10"})
    plain["assets"]["data"]["raster:bands"] = [{"scale": 0.0001, "offset": -0.1, "nodata": 0}] * 4
    applied = copy.deepcopy(plain) | {"id": "b"}
    applied["assets"]["data"]["href"] = "b.tif"
    applied["properties"] |= {"datetime": "2024-06-12T10:30:21Z", "earthsearch:boa_offset_applied": True}
    first, second = open_archive(str(catalog(plain, applied))).search().scenes
    assert {b.offset for b in first.bands} == {-0.1}
    assert {b.offset for b in second.bands} == {0.0}
    assert any("not applied again" in n for n in second.notes)


@pytest.mark.parametrize(
    ("properties", "doubted"),
    [
        ({"s2:processing_baseline": "05.10"}, True),
        ({"s2:processing_baseline": "02.14"}, False),
        ({"s2:processing_baseline": "05.10", "earthsearch:boa_offset_applied": True}, False),
    ],
)
def test_a_scale_without_the_offset_its_product_needs_is_doubted(
    tiff: Tiff, item: Item, catalog: Catalog, properties: dict[str, Any], doubted: bool
) -> None:
    tiff("a.tif")
    document = item("a", "a.tif", platform="sentinel-2a", **properties)
    document["assets"]["data"]["raster:bands"] = [{"scale": 0.0001, "nodata": 0}] * 4
    (scene,) = open_archive(str(catalog(document))).search().scenes
    assert {b.offset for b in scene.bands} == {0.0}
    assert any("describe offset -0.1" in note for note in scene.notes) is doubted


@pytest.mark.parametrize(
    ("dtype", "profile", "scale", "units"),
    [
        ("uint8", {}, 1 / 255, "relative"),
        ("uint16", {}, 1e-4, "relative"),
        ("uint16", {"NBITS": 11}, 1 / 2047, "relative"),
        ("float32", {}, 1.0, "reflectance"),
    ],
)
def test_undescribed_numbers_are_taken_for_no_more_than_they_are(
    tiff: Tiff, item: Item, catalog: Catalog, dtype: str, profile: dict[str, Any], scale: float, units: str
) -> None:
    tiff("a.tif", dtype=dtype, **profile)
    document = item("a", "a.tif")
    del document["assets"]["data"]["raster:bands"]
    (scene,) = open_archive(str(catalog(document))).search().scenes
    assert [b.scale for b in scene.bands] == pytest.approx([scale] * 4)
    assert scene.units == units
    assert any("no scale given" in n for n in scene.notes)


def test_scale_inside_the_file_is_used(tiff: Tiff, item: Item, catalog: Catalog) -> None:
    path = tiff("a.tif")
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (2e-5,) * 4, (-0.2,) * 4
    document = item("a", "a.tif")
    del document["assets"]["data"]["raster:bands"]
    (scene,) = open_archive(str(catalog(document))).search().scenes
    assert {(b.scale, b.offset) for b in scene.bands} == {(2e-5, -0.2)}


def test_a_pixel_size_that_does_not_fit_the_file_is_not_believed(
    tiff: Tiff, item: Item, catalog: Catalog
) -> None:
    tiff("a.tif")
    tiff("b.tif")
    result = open_archive(
        str(catalog(item("a", "a.tif", gsd=0.5), item("b", "b.tif", "2024-06-12T10:30:21Z", gsd=20)))
    ).search()
    assert result.scenes[0].gsd_m == pytest.approx(10.0, rel=0.002)
    assert any("does not fit" in n for n in result.scenes[0].notes)
    assert result.scenes[1].gsd_m == 20.0  # an oversampled file shows no more than its sensor saw


def test_south_up_and_rotated_files_lie_where_they_say(tiff: Tiff, item: Item, catalog: Catalog) -> None:
    tiff("up.tif", transform=Affine(10.0, 0.0, 600_000.0, 0.0, 10.0, 3_699_600.0))
    tiff("turned.tif", transform=Affine(0.0, 10.0, 600_000.0, 10.0, 0.0, 3_699_600.0))
    result = open_archive(
        str(catalog(item("up", "up.tif"), item("turned", "turned.tif", "2024-06-12T10:30:21Z")))
    ).search(degrees(600_010, 3_699_610, 600_390, 3_699_990))
    assert [s.id for s in result.scenes] == ["up", "turned"]
    assert np.isclose([s.gsd_m for s in result.scenes], 10.0).all()


def test_hashes_are_those_of_the_files(tiff: Tiff, item: Item, catalog: Catalog) -> None:
    import hashlib

    path = tiff("a.tif")
    source = str(catalog(item("a", "a.tif")))
    (scene,) = open_archive(source).search().scenes
    assert dict(scene.sha256) == {scene.bands[0].path: hashlib.sha256(path.read_bytes()).hexdigest()}
    tiff("a.tif", seed=9)
    (again,) = open_archive(source).search().scenes
    assert again.sha256 != scene.sha256
