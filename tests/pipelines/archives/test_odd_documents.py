"""Documents that are JSON and no more: whatever a member holds, one scene is refused in one line and the rest is read."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from pipelines.archives import ArchiveResult, open_archive
from pipelines.archives.download import Downloader
from pipelines.archives.errors import RemoteAssetRefused, UnreadableArchive
from pipelines.archives.items import parse_item
from pipelines.archives.stac_api import StacApi

Tiff = Callable[..., Path]
Item = Callable[..., dict[str, Any]]

HUGE = 10**400
ODD: list[Any] = [
    None, True, 0, -1, 7, HUGE, -HUGE, 1e308, float("nan"), float("inf"), "", " ", "a\nb", "\x00", "%00", "\ud800", "\udc80",
    "x" * 5_000, "http://[", "file://[", "http://127.0.0.1:9/\na.tif", "/vsizip/a", "..", "2024-05-12", "0001-01-01T00:00:00+14:00",
    [], [[]], [None], [HUGE], ["a\nb"], [0, 0, 1, HUGE], {}, {"": HUGE}, {"type": "Polygon", "coordinates": [[[HUGE, 0]] * 4]},
]  # fmt: skip
ITEM = {
    "type": "Feature", "stac_version": "1.0.0", "id": "odd", "bbox": [34.0, 33.4, 34.1, 33.5], "collection": "c",
    "geometry": {"type": "Polygon", "coordinates": [[[34.0, 33.4], [34.1, 33.4], [34.1, 33.5], [34.0, 33.4]]]},
    "links": [{"rel": "self", "href": "./odd.json"}],
    "properties": {
        "datetime": "2024-05-12T10:30:21Z", "start_datetime": None, "end_datetime": None, "gsd": 10, "platform": "sentinel-2a",
        "license": "CC-BY-4.0", "providers": [{"name": "The Owner"}], "view:sun_azimuth": 150.0, "view:sun_elevation": 40.0,
        "view:azimuth": 100.0, "view:off_nadir": 5.0, "s2:processing_baseline": "05.10", "updated": "2024-05-13",
        "earthsearch:boa_offset_applied": False,
    },
    "assets": {
        "data": {
            "href": "a.tif", "type": "image/tiff", "roles": ["data"], "gsd": 10, "nodata": 0,
            "eo:bands": [{"common_name": "red"}], "raster:bands": [{"scale": 1e-4, "offset": 0, "nodata": 0}],
        },
        "cloud-mask": {"href": "a_mask.tif", "type": "image/tiff", "roles": ["cloud"]},
    },
}  # fmt: skip
SIDE = {
    "datetime": "2024-05-12T10:30:21Z", "gsd": 10, "sun_azimuth": 150, "sun_elevation": 40, "off_nadir": 5, "view_azimuth": 100,
    "bands": ["red"], "scale": 1e-4, "offset": 0, "nodata": 0, "mask": "a_mask.tif", "platform": "sentinel-2a",
    "licence": "CC0", "processing_baseline": 5.1, "id": "odd",
}  # fmt: skip
CATALOG = {
    "type": "Catalog", "id": "c", "links": [
        {"rel": "item", "href": "good_20240601.json"}, {"rel": "child", "href": "items.json"}, {"rel": "item", "href": "gone.json"},
    ],
}  # fmt: skip
ITEMS = {"type": "FeatureCollection", "features": [ITEM, {}], "links": []}


def _places(node: object, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inside: Any = (
        node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    )
    for key, value in inside:
        yield (*before, key)
        yield from _places(value, (*before, key))


def odd(document: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return the document with up to two of its members replaced by something odd."""
    changes = st.lists(st.tuples(st.sampled_from(list(_places(document))), st.sampled_from(ODD)), max_size=2)
    return changes.map(lambda chosen: _changed(document, chosen))


def _changed(document: dict[str, Any], chosen: list[tuple[tuple[str | int, ...], object]]) -> dict[str, Any]:
    document = copy.deepcopy(document)
    for place, value in chosen:
        node: Any = document
        try:
            for key in place[:-1]:
                node = node[key]
            node[place[-1]] = copy.deepcopy(value)
        except (TypeError, KeyError, IndexError):
            pass  # the first change left nothing there for the second
    return document


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the pixels of an odd and of a good scene, and the good one's Item."""
    place = tmp_path_factory.mktemp("odd")
    for seed, name in enumerate(("a", "a_mask", "good_20240601")):
        pixels = np.random.default_rng(seed).integers(1, 250, (1, 16, 16)).astype("uint16")
        with rasterio.open(
            place / f"{name}.tif", "w", driver="GTiff", height=16, width=16, count=1, dtype="uint16", crs="EPSG:32636",
            transform=Affine(10.0, 0.0, 600_000.0, 0.0, -10.0, 3_700_000.0),
        ) as file:  # fmt: skip
            file.write(pixels)
    return place


GOOD = ITEM | {
    "id": "good",
    "properties": {"datetime": "2024-06-01T00:00:00Z"},
    "assets": {"data": {"href": "good_20240601.tif", "type": "image/tiff"}},
}


def read(path: Path) -> ArchiveResult:
    """Search an archive; see that all it says can be printed, each refusal on one line."""
    result = open_archive(str(path)).search()
    for refusal in result.refused:
        assert "\n" not in refusal.where + refusal.sentence
        (refusal.where + refusal.sentence).encode()
    for scene in result.scenes:
        assert "\n" not in scene.id
        "".join([scene.id, scene.platform or "", scene.licence or "", *scene.notes]).encode()
    return result


@given(odd(ITEM))
def test_an_odd_item_costs_itself_and_nothing_else(folder: Path, item: dict[str, Any]) -> None:
    (folder / "items.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": [item, GOOD, None]})
    )
    result = read(folder / "items.json")
    assert "good" in {scene.id for scene in result.scenes}
    assert "bad-scene-metadata" in {refusal.code for refusal in result.refused}  # the one that is null


@given(odd(SIDE) | odd(ITEM))
def test_an_odd_side_file_costs_its_scene_and_nothing_else(folder: Path, said: dict[str, Any]) -> None:
    (folder / "a.json").write_text(json.dumps(said))
    (folder / "good_20240601.json").unlink(missing_ok=True)
    assert "good_20240601" in {scene.id for scene in read(folder).scenes}


@given(odd(CATALOG), odd(ITEMS))
def test_an_odd_catalog_is_read_as_far_as_it_goes_or_refused(
    folder: Path, top: dict[str, Any], items: dict[str, Any]
) -> None:
    for name, document in (("top", top), ("items", items), ("good_20240601", GOOD)):
        (folder / f"{name}.json").write_text(json.dumps(document))
    with suppress(UnreadableArchive):
        read(folder / "top.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"properties": {"datetime": "2024-05-12T10:30:21Z", "gsd": HUGE}}, "gsd"),
        ({"id": "a\nb"}, "no printable text"),
        ({"assets": {"data": {"href": "a.tif", "raster:bands": [{"scale": HUGE}]}}}, "radiometry"),
        ({"assets": {"data": {"href": "\x00.tif"}}}, "no reference to a file"),
        ({"assets": {"data": {"href": "\ud800.tif"}}}, "no reference to a file"),
        ({"assets": {"data": {"href": "x" * 5_000 + ".tif"}}}, "File name too long"),
    ],
)
def test_what_no_scene_can_have_is_refused_with_its_cause(
    folder: Path, change: dict[str, Any], words: str
) -> None:
    (folder / "items.json").write_text(json.dumps(ITEM | change))
    (refusal,) = read(folder / "items.json").refused
    assert words in refusal.sentence


def test_an_outline_beyond_all_floats_is_no_outline() -> None:
    ring = [[HUGE, 33.4], [34.1, 33.4], [34.1, 33.5], [HUGE, 33.4]]
    item = ITEM | {"geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [34.0, 33.4, HUGE, 33.5]}
    assert parse_item(item, Path()).outline is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"platform": 5}, "platform"),
        ({"gsd": HUGE}, "gsd"),
        ({"mask": ["a"]}, "mask"),
        ({"mask": "\x00"}, "mask"),
    ],
)
def test_a_side_file_that_says_no_such_thing_is_refused_by_its_field(
    folder: Path, said: dict[str, Any], words: str
) -> None:
    (folder / "a.json").write_text(json.dumps(SIDE | said))
    assert [words in refusal.sentence for refusal in read(folder).refused] == [True]


@pytest.mark.parametrize("key", ["links", "features"])
def test_members_that_are_no_list_are_one_refusal(folder: Path, key: str) -> None:
    kind = {"links": "Collection", "features": "FeatureCollection"}[key]
    (folder / "items.json").write_text(json.dumps({"type": kind, key: 7}))
    (refusal,) = read(folder / "items.json").refused
    assert (refusal.code, refusal.sentence) == ("bad-scene-metadata", f"items.json: its {key} are no list")


@pytest.mark.parametrize("href", ["\x00", "\ud800", "x" * 5_000, "http://[", "two\nlines.json"])
def test_a_link_that_leads_nowhere_is_one_line(folder: Path, href: str) -> None:
    links = [{"rel": "item", "href": href}, {"rel": "item", "href": "good_20240601.json"}]
    (folder / "good_20240601.json").write_text(json.dumps(GOOD))
    (folder / "top.json").write_text(json.dumps({"type": "Catalog", "links": links}))
    result = read(folder / "top.json")
    assert [scene.id for scene in result.scenes] == ["good"]
    assert len(result.refused) == 1


TABLE = "file,datetime,platform\na.tif,2024-05-12T10:30:21Z,Süd-1\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_is_read_as_spreadsheets_save_it(
    tiff: Tiff, tmp_path: Path, encoding: str, separator: str
) -> None:
    tiff("a.tif")
    (tmp_path / "scenes.csv").write_bytes(TABLE.replace(",", separator).encode(encoding))
    (scene,) = read(tmp_path).scenes
    assert (scene.t_utc, scene.platform) == (datetime(2024, 5, 12, 10, 30, 21, tzinfo=UTC), "Süd-1")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (TABLE.encode("latin-1"), "save it again as CSV UTF-8"),
        (TABLE.encode("utf-16") + b"\x00", "save it again as CSV UTF-8"),
        (TABLE.encode() + b"x" * 200_000, "field larger"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_the_cure(
    tiff: Tiff, tmp_path: Path, table: bytes, words: str
) -> None:
    tiff("a.tif")
    (tmp_path / "scenes.csv").write_bytes(table)
    with pytest.raises(UnreadableArchive, match=words):
        open_archive(str(tmp_path)).search()


@given(odd(ITEM) | st.sampled_from(ODD))
def test_an_odd_item_of_an_api_costs_itself_and_nothing_else(item: object) -> None:
    items = [item, GOOD, None]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(StacApi, "_items", lambda *_: (copy.deepcopy(items), {}))
        result = open_archive("http://127.0.0.1:9/", trust_named=False).search()
    assert {"remote-asset-refused", "bad-scene-metadata"} <= {refusal.code for refusal in result.refused}
    for refusal in result.refused:
        (refusal.where + refusal.sentence).encode()
        assert "\n" not in refusal.where + refusal.sentence


@pytest.mark.parametrize(
    "url", ["http://[/a.tif", "http://127.0.0.1:9/\ud800.tif", "http://127.0.0.1:x/a.tif"]
)
def test_what_is_no_address_is_never_asked_for(url: str, tmp_path: Path) -> None:
    with pytest.raises(RemoteAssetRefused, match="is no URL"):
        Downloader(tmp_path, {"127.0.0.1"}).fetch(url)


@pytest.mark.parametrize("source", ["http://[", "x" * 5_000, "\x00"])
def test_what_can_be_no_archive_is_refused(source: str) -> None:
    with pytest.raises(UnreadableArchive):
        open_archive(source)
