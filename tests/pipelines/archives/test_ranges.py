"""Large remote GeoTIFFs in ranges: the very pixels of the whole file, for a part of its bytes, or nothing."""

import json
import multiprocessing
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window

from imagery.errors import UnreadableRaster
from imagery.excerpt import PixelsNotHeld, are_spans, assert_held, read_excerpt
from imagery.grid import SiteGrid, transformer
from imagery.rasters import open_raster, read_header
from imagery.warp import read_look
from pipelines.archives import Ground, open_archive
from pipelines.archives.cutting import common, excerpt_sha256, grouped, merged, without
from pipelines.archives.download import Downloader
from pipelines.archives.errors import DownloadFailed, RemoteAssetRefused
from pipelines.archives.patience import PAUSES_IN_ALL_S, Patience
from tests.pipelines.file_server import FileServer, serving

EAST, NORTH = 600_000.0, 3_700_000.0
SIZE = 2048
WINDOW = (900, 700, 300, 260)
HERE = {"127.0.0.1"}


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running


def textured(bands: int, dtype: str, seed: int = 1) -> np.ndarray[Any, Any]:
    """Noise on slopes: it packs, but not to nothing."""
    rng = np.random.default_rng(seed)
    slope = np.add.outer(np.arange(SIZE), np.arange(SIZE)) % 180
    return (slope + rng.integers(1, 60, (bands, SIZE, SIZE))).astype(dtype)


def cog(path: Path, *, bands: int = 1, dtype: str = "uint16", mask: bool = False, driver: str = "COG",
        seed: int = 1, **options: Any) -> Path:  # fmt: skip
    """Write a raster with 10 m pixels as others publish it: by GDAL's own driver, overviews and all."""
    plain = path.with_suffix(".plain.tif")
    profile = {
        "driver": "GTiff", "height": SIZE, "width": SIZE, "count": bands, "dtype": dtype, "tiled": True, "BIGTIFF": "NO",
        "crs": "EPSG:32636", "transform": Affine(10.0, 0.0, EAST, 0.0, -10.0, NORTH),
    }  # fmt: skip
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(plain, "w", **profile) as file:
        file.write(textured(bands, dtype, seed))
        if mask:
            hidden = np.full((SIZE, SIZE), 255, np.uint8)
            hidden[900:1000, 700:760] = 0
            file.write_mask(hidden)
    copy_raster(plain, path, driver=driver, **options)
    plain.unlink()
    return path


def pixels(path: Path, window: tuple[int, int, int, int]) -> list[np.ndarray[Any, Any]]:
    """Read a window and its mask as looks do."""
    row, col, rows, cols = window
    where = Window(col, row, cols, rows)
    assert_held(path, where)
    with open_raster(path) as dataset:
        return [dataset.read(window=where), dataset.read_masks(1, window=where)]


LAYOUTS = {
    "deflate": {"COMPRESS": "DEFLATE", "BLOCKSIZE": 256},
    "predictor": {"COMPRESS": "DEFLATE", "PREDICTOR": "YES", "BLOCKSIZE": 256},
    "zstd": {"COMPRESS": "ZSTD", "BLOCKSIZE": 256},
    "lzw": {"COMPRESS": "LZW", "BLOCKSIZE": 256},
    "lerc": {"COMPRESS": "LERC", "BLOCKSIZE": 256},
    "big": {"COMPRESS": "DEFLATE", "BLOCKSIZE": 256, "BIGTIFF": "YES"},
    "mask": {"COMPRESS": "DEFLATE", "BLOCKSIZE": 256, "mask": True},
    "jpeg": {"COMPRESS": "JPEG", "QUALITY": 95, "BLOCKSIZE": 256, "bands": 3, "dtype": "uint8", "mask": True},
    "webp": {"COMPRESS": "WEBP", "WEBP_LOSSLESS": True, "BLOCKSIZE": 256, "bands": 4, "dtype": "uint8"},
    "four": {"COMPRESS": "ZSTD", "BLOCKSIZE": 256, "bands": 4},
    "alpha": {"COMPRESS": "DEFLATE", "BLOCKSIZE": 256, "bands": 4, "dtype": "uint8"},
    "float": {"COMPRESS": "ZSTD", "BLOCKSIZE": 512, "dtype": "float32"},
    "apart": {"driver": "GTiff", "COMPRESS": "DEFLATE", "TILED": "YES", "INTERLEAVE": "BAND", "bands": 3},
    "strips": {"driver": "GTiff", "COMPRESS": "ZSTD", "bands": 2},
    "motorola": {"driver": "GTiff", "COMPRESS": "DEFLATE", "TILED": "YES", "ENDIANNESS": "BIG"},
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_excerpt_has_the_pixels_and_the_header_of_the_whole_file(
    layout: str, server: FileServer, tmp_path: Path
) -> None:
    whole = cog(tmp_path / "whole.tif", **LAYOUTS[layout])  # type: ignore[arg-type]
    fetcher = Downloader(tmp_path / "cache", HERE, whole_below=2**19)
    head = fetcher.fetch(server.add("a/B04.tif", whole))
    told, true = read_header(head), read_header(whole)
    assert {n: getattr(told, n) for n in told.__slots__ if n != "path"} == {
        n: getattr(true, n) for n in true.__slots__ if n != "path"
    }
    part = fetcher.bring(head, WINDOW)
    for got, wanted in zip(pixels(part, WINDOW), pixels(whole, WINDOW), strict=True):
        np.testing.assert_array_equal(got, wanted)
    size = whole.stat().st_size
    share = server.bytes_sent / size
    assert share < (0.7 if layout in ("strips", "apart") else 0.45), share
    kept = read_excerpt(part)
    assert kept is not None
    assert kept.size == size
    content = whole.read_bytes()
    with part.open("rb") as file:
        for offset, length in kept.spans:
            file.seek(offset)
            assert file.read(length) == content[offset : offset + length]
    assert part.stat().st_blocks * 512 < 0.8 * size, "a hole takes no room on the disk"


def test_pixels_that_were_not_fetched_are_refused_and_never_read_as_zeros(
    server: FileServer, tmp_path: Path
) -> None:
    fetcher = Downloader(tmp_path / "cache", HERE, whole_below=2**19)
    head = fetcher.fetch(server.add("B04.tif", cog(tmp_path / "w.tif", COMPRESS="LZW", BLOCKSIZE=256)))
    part = fetcher.bring(head, WINDOW)
    assert_held(part, Window(700, 900, 260, 300))
    for path, window in (
        (head, Window(700, 900, 1, 1)),
        (part, Window(700, 900, 400, 300)),
        (part, Window(0, 300, 9, 9)),
    ):
        with pytest.raises(PixelsNotHeld, match="not fetched"):
            assert_held(path, window)
    scene = only_scene(server, tmp_path, server.url + "/B04.tif")
    with pytest.raises(PixelsNotHeld):
        read_look(scene, SiteGrid(32636, EAST + 7000, NORTH - 9000, 10.0, 100, 100))


def only_scene(server: FileServer, tmp_path: Path, *hrefs: str, cache: Path | None = None) -> Any:
    """Return the one scene of a static catalog of one Item."""
    return search(server, tmp_path, *hrefs, cache=cache).scenes[0]


def search(server: FileServer, tmp_path: Path, *hrefs: str, cache: Path | None = None) -> Any:
    names = ["red", "green", "blue", "nir"]
    assets = {
        f"band{n}": {
            "href": href, "type": "image/tiff; application=geotiff", "roles": ["data"],
            "eo:bands": [{"name": names[n], "common_name": names[n]}],
            "raster:bands": [{"scale": 0.0001, "offset": 0, "nodata": 0}],
        }
        for n, href in enumerate(hrefs)
    }  # fmt: skip
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "one", "geometry": None, "links": [],
        "properties": {"datetime": "2024-05-12T10:30:21Z", "platform": "test-1"}, "assets": assets,
    }  # fmt: skip
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    return open_archive(
        str(tmp_path / "items.json"), cache=cache or tmp_path / "cache", allow_hosts=HERE
    ).search()


# --- servers that do not give ranges, or not as they should --------------------------------------------------------


def behave(server: FileServer, **how: Any) -> None:
    for name, value in how.items():
        assert hasattr(server, name)
        setattr(server, name, value)


@pytest.mark.parametrize(
    "how",
    [{"ranges": False}, {"etags": False}, {"weak": True}, {"shift": 7}, {"shift": 7, "etags": False}],
    ids=str,
)
def test_without_sure_ranges_all_of_it_comes_and_the_excerpt_is_the_same(
    how: dict[str, Any], server: FileServer, tmp_path: Path
) -> None:
    url = server.add("B04.tif", cog(tmp_path / "w.tif", COMPRESS="DEFLATE", BLOCKSIZE=256))
    good, other = (Downloader(tmp_path / name, HERE, whole_below=2**19) for name in ("good", "other"))
    by_ranges = good.bring(good.fetch(url), WINDOW)
    behave(server, **how)
    whole = other.bring(other.fetch(url), WINDOW)
    parts = good.part_of(str(by_ranges)), other.part_of(str(whole))
    assert parts[0] is not None
    assert parts[0] == parts[1]
    assert digest(by_ranges, parts[0]) == digest(whole, parts[0]) == digest(tmp_path / "w.tif", parts[0])
    (kept,) = (p for p in (tmp_path / "other").iterdir() if p.name == parts[0].name)
    assert kept.read_bytes() == server.files["/B04.tif"]


def digest(path: Path, part: Any) -> str:
    return excerpt_sha256(path, part.size, part.spans)


def test_a_server_that_stops_to_give_ranges_is_read_whole_if_it_is_still_the_same_file(
    server: FileServer, tmp_path: Path
) -> None:
    url = server.add("B04.tif", cog(tmp_path / "w.tif", COMPRESS="DEFLATE", BLOCKSIZE=256))
    fetcher = Downloader(tmp_path / "cache", HERE, whole_below=2**19)
    head = fetcher.fetch(url)
    server.ranges = False
    part = fetcher.bring(head, WINDOW)
    np.testing.assert_array_equal(pixels(part, WINDOW)[0], pixels(tmp_path / "w.tif", WINDOW)[0])


def test_a_file_that_changes_half_way_is_refused_then_read_anew(server: FileServer, tmp_path: Path) -> None:
    url = server.add("B04.tif", cog(tmp_path / "one.tif", COMPRESS="DEFLATE", BLOCKSIZE=256))
    fetcher = Downloader(tmp_path / "cache", HERE, whole_below=2**19)
    head = fetcher.fetch(url)
    server.add("B04.tif", cog(tmp_path / "two.tif", seed=2, COMPRESS="DEFLATE", BLOCKSIZE=256))
    with pytest.raises(DownloadFailed, match="changed"):
        fetcher.bring(head, WINDOW)
    assert not [p for p in (tmp_path / "cache").iterdir() if p.name.endswith(".part")]
    part = fetcher.bring(fetcher.fetch(url), WINDOW)
    np.testing.assert_array_equal(pixels(part, WINDOW)[0], pixels(tmp_path / "two.tif", WINDOW)[0])


def test_a_file_that_changes_between_two_parts_of_its_tables_is_begun_again(
    server: FileServer, tmp_path: Path
) -> None:
    far = {"driver": "GTiff", "COMPRESS": "DEFLATE", "TILED": "YES"}
    first, second = (cog(tmp_path / f"{n}.tif", seed=n, **far) for n in (1, 2))
    # The table of the first image behind all pixels, as files that are written in one go have it.
    url = server.add("B04.tif", with_tables_last(first))
    later = with_tables_last(second)

    def turn(number: int) -> None:
        if number == 2:
            server.files["/B04.tif"] = later

    server.before = turn
    fetcher = Downloader(tmp_path / "cache", HERE, whole_below=2**19)
    part = fetcher.bring(fetcher.fetch(url), WINDOW)
    np.testing.assert_array_equal(pixels(part, WINDOW)[0], pixels(second, WINDOW)[0])

    server.forget()
    server.before = lambda _number: server.tags.update({"/B04.tif": f'"{len(server.sent)}"'})
    with pytest.raises(DownloadFailed, match="again and again"):
        Downloader(tmp_path / "other", HERE, whole_below=2**19).fetch(url)
    assert list((tmp_path / "other").iterdir()) == []


def with_tables_last(path: Path) -> bytes:
    """Return a little-endian TIFF of one directory with its table copied behind everything else."""
    data = bytearray(path.read_bytes())
    (place,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[place : place + 2])
    table = data[place : place + 2 + 12 * count] + bytes(4)
    data += bytes(len(data) % 2)
    data[4:8] = struct.pack("<I", len(data))
    return bytes(data + table)


def test_answers_that_are_cut_or_short_go_on_where_they_ended(server: FileServer, tmp_path: Path) -> None:
    whole = cog(tmp_path / "w.tif", COMPRESS="ZSTD", BLOCKSIZE=256)
    url = server.add("B04.tif", whole)
    for name, how in (("cut", {"cut": 70_000}), ("short", {"cut": None, "limit": 100_000})):
        behave(server, **how)
        fetcher = Downloader(tmp_path / name, HERE, whole_below=2**19)
        part = fetcher.bring(fetcher.fetch(url), WINDOW)
        np.testing.assert_array_equal(pixels(part, WINDOW)[0], pixels(whole, WINDOW)[0])


def test_a_connection_that_always_breaks_leaves_nothing(server: FileServer, tmp_path: Path) -> None:
    url = server.add("B04.tif", cog(tmp_path / "w.tif", COMPRESS="ZSTD", BLOCKSIZE=256))
    fetcher = Downloader(tmp_path / "cache", HERE, whole_below=2**19)
    server.cut = 500
    with pytest.raises(DownloadFailed, match="try again later"):
        fetcher.fetch(url + "?key=secret")
    assert list((tmp_path / "cache").iterdir()) == []
    server.cut = None
    head = fetcher.fetch(url)
    server.cut = 500
    with pytest.raises(DownloadFailed) as caught:
        fetcher.bring(head, WINDOW)
    assert "secret" not in caught.value.detail
    assert list((tmp_path / "cache").iterdir()) == [head]


def patient(waited: list[float]) -> Patience:
    """Write down pauses instead of making them; the time is fixed."""
    return Patience(waited.append, lambda: datetime(2024, 5, 12, 12, 0, tzinfo=UTC))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_parts_that_a_busy_server_refuses_are_asked_for_again_after_growing_pauses(
    status: int, server: FileServer, tmp_path: Path
) -> None:
    whole = cog(tmp_path / "w.tif", COMPRESS="ZSTD", BLOCKSIZE=256)
    url = server.add("B04.tif", whole)
    waited: list[float] = []
    fetcher = Downloader(tmp_path / "cache", HERE, whole_below=2**19, patience=patient(waited))
    server.fails = lambda number: (status, {}) if number in (1, 3, 4, 5) else None
    part = fetcher.bring(fetcher.fetch(url), WINDOW)
    np.testing.assert_array_equal(pixels(part, WINDOW)[0], pixels(whole, WINDOW)[0])
    assert waited == [0.5, 0.5, 1.0, 2.0]


def test_a_server_is_waited_for_as_long_as_it_says_in_seconds_or_as_a_date(
    server: FileServer, tmp_path: Path
) -> None:
    url = server.add("B04.tif", cog(tmp_path / "w.tif", COMPRESS="ZSTD", BLOCKSIZE=256))
    waited: list[float] = []
    fetcher = Downloader(tmp_path / "cache", HERE, whole_below=2**19, patience=patient(waited))
    said = {1: "7", 2: "Sun, 12 May 2024 12:00:20 GMT", 3: "soon", 5: "0", 6: "Sun, 12 May 2024 11:00:00 GMT"}
    server.fails = lambda number: (503, {"Retry-After": said[number]}) if number in said else None
    fetcher.bring(fetcher.fetch(url), WINDOW)
    assert waited == [7.0, 20.0, 2.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("headers", "waits", "told"),
    [
        ({}, [0.5, 1.0, 2.0], "the server answers 503"),
        ({"Retry-After": "3600"}, [], "the server answers 503 and says Retry-After: 3600"),
    ],
)
def test_a_server_that_stays_away_is_given_up_after_a_few_tries_and_named(
    headers: dict[str, str], waits: list[float], told: str, server: FileServer, tmp_path: Path
) -> None:
    url = server.add("B04.tif", cog(tmp_path / "w.tif", COMPRESS="ZSTD", BLOCKSIZE=256))
    waited: list[float] = []
    fetcher = Downloader(tmp_path / "cache", HERE, whole_below=2**19, patience=patient(waited))
    head = fetcher.fetch(url + "?key=secret")
    server.forget()
    server.fails = lambda _number: (503, headers)
    with pytest.raises(DownloadFailed) as caught:
        fetcher.bring(head, WINDOW)
    assert (
        caught.value.detail
        == f"{url}: could not be read ({told}); try again later: the next run asks for it again"
    )
    assert (waited, len(server.sent)) == (waits, len(waits) + 1)
    server.fails = lambda _number: None
    assert fetcher.bring(head, WINDOW) != head, "what failed is asked for by the next run"


def test_what_will_not_pass_by_itself_is_asked_for_once(server: FileServer, tmp_path: Path) -> None:
    waited: list[float] = []
    fetcher = Downloader(tmp_path / "cache", HERE, patience=patient(waited))
    with pytest.raises(DownloadFailed, match="answers 404; correct the address"):
        fetcher.fetch(f"{server.url}/gone.tif")
    assert (waited, len(server.sent)) == ([], 1)


def test_all_pauses_of_an_archive_are_bounded() -> None:
    waited: list[float] = []
    patience = patient(waited)
    while patience.pause(1, "30"):
        assert len(waited) < 100
    assert sum(waited) == PAUSES_IN_ALL_S


def test_a_redirect_of_a_later_request_to_a_private_address_is_refused(
    server: FileServer, tmp_path: Path
) -> None:
    url = server.add("B04.tif", cog(tmp_path / "w.tif", COMPRESS="ZSTD", BLOCKSIZE=256))
    port = server.url.rsplit(":", 1)[1]
    fetcher = Downloader(tmp_path / "cache", {f"127.0.0.1:{port}"}, whole_below=2**19)
    server.redirects["/away"] = "/B04.tif"
    head = fetcher.fetch(server.url + "/away")
    assert fetcher.bring(head, (0, 0, 10, 10)) != head
    server.redirects["/away"] = f"http://127.0.0.2:{port}/B04.tif"
    with pytest.raises(RemoteAssetRefused, match=r"127\.0\.0\.2"):
        fetcher.bring(head, WINDOW)
    assert url not in server.redirects
    assert server.sent[-1].path == "/away"


def test_a_name_that_changes_its_mind_between_two_requests_is_caught_after_connecting(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.add("B04.tif", cog(tmp_path / "w.tif", COMPRESS="ZSTD", BLOCKSIZE=256))
    allowed = Downloader(tmp_path / "cache", HERE, whole_below=2**19)
    head = allowed.fetch(url)
    monkeypatch.setattr("pipelines.archives.download.assert_public_address", lambda url, hosts: None)
    monkeypatch.setattr(allowed, "_allow_hosts", frozenset())
    with pytest.raises(RemoteAssetRefused, match="no public address"):
        allowed.bring(head, WINDOW)


def test_more_than_may_be_fetched_is_refused_before_it_is_asked_for(
    server: FileServer, tmp_path: Path
) -> None:
    url = server.add("B04.tif", cog(tmp_path / "w.tif", COMPRESS="ZSTD", BLOCKSIZE=256))
    fetcher = Downloader(tmp_path / "cache", HERE, whole_below=2**19, max_bytes=300_000)
    head = fetcher.fetch(url)
    asked = len(server.sent)
    with pytest.raises(RemoteAssetRefused, match="larger than"):
        fetcher.bring(head, (0, 0, SIZE, SIZE))
    assert len(server.sent) == asked
    assert fetcher.bring(head, (0, 0, 9, 9)).is_file(), (
        "the file is larger than that, and a part of it may come"
    )
    server.claimed = 2**50
    with pytest.raises(RemoteAssetRefused, match="larger than"):
        Downloader(tmp_path / "other", HERE).fetch(url)


# --- tables made to harm -------------------------------------------------------------------------------------------


def classic(*directories: list[tuple[int, int, int, bytes]], after: int | None = None) -> bytes:
    """Write a TIFF of entries (tag, type, count, four bytes of value); ``after`` is where the last one leads."""
    data = bytearray(struct.pack("<2sHI", b"II", 42, 8))
    for number, entries in enumerate(directories):
        end = len(data) + 2 + 12 * len(entries) + 4
        last = number == len(directories) - 1
        data += struct.pack("<H", len(entries))
        for tag, kind, count, value in entries:
            data += struct.pack("<HHI", tag, kind, count) + value
        data += struct.pack("<I", (after or 0) if last else end)
    return bytes(data)


def image(**changed: tuple[int, int, bytes]) -> list[tuple[int, int, int, bytes]]:
    """A deflated image of 4 x 4 blocks of 256 pixels whose tables lie at 200 and 264."""
    long = struct.Struct("<I").pack
    fields = {
        "cols": (256, 4, 1, long(1024)), "rows": (257, 4, 1, long(1024)), "bits": (258, 3, 1, long(8)),
        "packed": (259, 3, 1, long(8)), "wide": (322, 4, 1, long(256)), "tall": (323, 4, 1, long(256)),
        "offsets": (324, 4, 16, long(200)), "lengths": (325, 4, 16, long(264)),
    }  # fmt: skip
    return [(fields[name][0], *changed.get(name, fields[name][1:])) for name in fields]


def with_blocks(data: bytes, at: int = 200) -> bytes:
    """Put the tables of ``image`` where it says: sixteen blocks in one place."""
    return data.ljust(at, b"\0") + struct.pack("<32I", *[4096] * 16, *[16] * 16)


LONG = struct.Struct("<I").pack
HOSTILE = {
    "blocks beyond the end": (classic(image()), r"beyond its end"),
    "a circle": (with_blocks(classic(image(), after=8)), r"circle"),
    "a directory beyond the end": (with_blocks(classic(image(), after=2**31)), r"beyond the end"),
    "four thousand million blocks": (
        classic(image(offsets=(4, 2**32 - 1, LONG(200)))),
        r"4,294,967,295 values",
    ),
    "a table beyond the end": (classic(image(offsets=(4, 16, LONG(2**32 - 8)))), r"beyond the end"),
    "too few blocks": (classic(image(offsets=(4, 3, LONG(200)))), r"promises 16 blocks"),
    "no blocks": (classic([e for e in image() if e[0] not in (324, 325)]), r"damaged"),
    "no size": (classic(image(wide=(4, 1, LONG(0)))), r"zero"),
    "no TIFF": (b"<html>" * 9, r"does not begin as a TIFF"),
    "too many entries": (struct.pack("<2sHIH", b"II", 42, 8, 65_535), r"65535 directory entries"),
    "a BigTIFF that is none": (struct.pack("<2sHHHQ", b"II", 43, 8, 0, 2**63), r"beyond the end"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_tables_that_cannot_be_are_refused_by_name_after_few_bytes(
    what: str, server: FileServer, tmp_path: Path
) -> None:
    data, sentence = HOSTILE[what]
    url = server.add("bad.tif", data + b"\xff" * 5_000_000)
    with pytest.raises(UnreadableRaster, match=sentence) as caught:
        Downloader(tmp_path / "cache", HERE).fetch(url)
    assert caught.value.detail.startswith("bad.tif: ")
    assert server.bytes_sent < 400_000
    assert list((tmp_path / "cache").iterdir()) == []
    (refusal,) = search(server, tmp_path, url).refused
    assert refusal.code == "unreadable-raster"


@pytest.mark.parametrize(
    "data",
    [
        with_blocks(classic(image(packed=(3, 1, LONG(1))))),
        with_blocks(classic([*image(), (330, 4, 1, LONG(300))])),
        with_blocks(
            classic(
                image(offsets=(4, 16, LONG(2000)), lengths=(4, 16, LONG(2064))),
                *[[(254, 4, 1, LONG(1))]] * 70,
            ),
            2000,
        ),
    ],
    ids=["not compressed", "tables elsewhere", "many images"],
)
def test_what_cannot_be_divided_comes_whole(data: bytes, server: FileServer, tmp_path: Path) -> None:
    body = data + b"\xff" * 5_000_000
    fetcher = Downloader(tmp_path / "cache", HERE)
    path = fetcher.fetch(server.add("odd.tif", body))
    assert path.read_bytes() == body
    assert fetcher.part_of(str(path)) is None
    assert fetcher.bring(path, WINDOW) == path


# --- scenes and sites ----------------------------------------------------------------------------------------------


def ground_at(row: int, col: int, size: int = 200) -> Ground:
    west, north = EAST + 10.0 * col, NORTH - 10.0 * row
    return Ground(32636, west, north - 10.0 * size, west + 10.0 * size, north)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that is large enough to be divided without being asked to."""
    path = cog(tmp_path / "large.tif", bands=2, COMPRESS="DEFLATE", LEVEL=1, BLOCKSIZE=256)
    assert path.stat().st_size > 4 * 2**20
    return path


def test_sites_that_share_a_scene_share_its_tables_and_blocks(
    large: Path, server: FileServer, tmp_path: Path
) -> None:
    url = server.add("a.tif", large)
    bring = two_bands(server, tmp_path, url).bring
    scene = two_bands(server, tmp_path, url).scenes[0]
    tables = server.bytes_sent
    one = bring(scene, ground_at(300, 300, 400))
    first = server.bytes_sent - tables
    assert bring(scene, ground_at(300, 300, 400)) == one
    assert server.bytes_sent - tables == first, "what is there is not asked for again"
    neighbour = two_bands(server, tmp_path, url).bring(
        scene_of(server, tmp_path, url), ground_at(300, 450, 400)
    )
    assert server.bytes_sent - tables - first < 0.8 * first
    assert server.bytes_sent - tables > first > 0
    assert neighbour.sha256 != one.sha256
    nearly = bring(scene, ground_at(301, 301, 400))
    assert nearly.sha256 == one.sha256, "the same blocks are the same excerpt"


def two_bands(server: FileServer, tmp_path: Path, href: str) -> Any:
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "one", "geometry": None, "links": [],
        "properties": {"datetime": "2024-05-12T10:30:21Z", "platform": "test-1"},
        "assets": {"data": {
            "href": href, "type": "image/tiff; application=geotiff", "roles": ["data"],
            "eo:bands": [{"name": n, "common_name": n} for n in ("red", "nir")],
            "raster:bands": [{"scale": 0.0001, "offset": 0, "nodata": 0}] * 2,
        }},
    }  # fmt: skip
    (tmp_path / "two.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    return open_archive(str(tmp_path / "two.json"), cache=tmp_path / "cache", allow_hosts=HERE).search()


def scene_of(server: FileServer, tmp_path: Path, href: str) -> Any:
    return two_bands(server, tmp_path, href).scenes[0]


def test_a_look_at_any_part_of_the_ground_is_that_at_the_whole_file(
    large: Path, server: FileServer, tmp_path: Path
) -> None:
    found = two_bands(server, tmp_path, server.add("a.tif", large))
    brought = found.bring(found.scenes[0], ground_at(800, 800, 120))
    whole = two_bands(server, tmp_path, str(large)).scenes[0]
    # Another zone's grid turns against the file's; 12.5 m pixels lie between its own.
    to_zone = transformer("EPSG:32636", "EPSG:32637").transform
    east, north = to_zone(EAST + 8600.0, NORTH - 8600.0)
    turned = SiteGrid(32637, round(east) - 375.0, round(north) + 375.0, 12.5, 60, 60)
    for grid in (SiteGrid(32636, EAST + 8000.0, NORTH - 8000.0, 10.0, 120, 120), turned):
        got, wanted = read_look(brought, grid), read_look(whole, grid)
        np.testing.assert_array_equal(got.reflectance, wanted.reflectance)
        np.testing.assert_array_equal(got.state, wanted.state)
        assert got.observed.mean() > 0.9
    assert brought.parts[0][1].size == large.stat().st_size


def test_a_separate_mask_is_fetched_in_parts_like_the_pixels(server: FileServer, tmp_path: Path) -> None:
    pixels_of = cog(tmp_path / "p.tif", bands=2, COMPRESS="DEFLATE", LEVEL=1, BLOCKSIZE=256)
    codes = cog(tmp_path / "scl.tif", dtype="uint8", seed=3, COMPRESS="DEFLATE", LEVEL=1, BLOCKSIZE=256)
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "one", "geometry": None, "links": [],
        "properties": {"datetime": "2024-05-12T10:30:21Z", "platform": "sentinel-2a"},
        "assets": {
            "data": {
                "href": server.add("p.tif", pixels_of), "type": "image/tiff; application=geotiff", "roles": ["data"],
                "eo:bands": [{"name": n, "common_name": n} for n in ("red", "nir")],
                "raster:bands": [{"scale": 0.0001, "offset": 0, "nodata": 0}] * 2,
            },
            "scl": {"href": server.add("scl.tif", codes), "type": "image/tiff; application=geotiff", "roles": ["data-mask"]},
        },
    }  # fmt: skip
    (tmp_path / "m.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    found = open_archive(str(tmp_path / "m.json"), cache=tmp_path / "cache", allow_hosts=HERE).search()
    scene = found.bring(found.scenes[0], ground_at(800, 800, 100))
    assert scene.mask is not None
    grid = SiteGrid(32636, EAST + 8000.0, NORTH - 8000.0, 10.0, 100, 100)
    local = json.loads((tmp_path / "m.json").read_text().replace(server.url, str(tmp_path)))
    (tmp_path / "l.json").write_text(json.dumps(local))
    whole = open_archive(str(tmp_path / "l.json")).search().scenes[0]
    np.testing.assert_array_equal(read_look(scene, grid).state, read_look(whole, grid).state)
    assert len(scene.parts) == (2 if codes.stat().st_size >= 4 * 2**20 else 1)


def test_two_processes_at_once_make_one_excerpt(large: Path, server: FileServer, tmp_path: Path) -> None:
    url = server.add("a.tif", large)
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        made = pool.starmap(fetch_once, [(url, tmp_path / "cache")] * 4)
    assert len(set(made)) == 1
    names = sorted(p.name for p in (tmp_path / "cache").iterdir())
    assert len(names) == 2
    assert not any(name.endswith(".part") for name in names)
    np.testing.assert_array_equal(pixels(Path(made[0][0]), WINDOW)[0], pixels(large, WINDOW)[0])


def fetch_once(url: str, cache: Path) -> tuple[str, str]:
    """Fetch a window in a process of its own; return the file and its hash."""
    fetcher = Downloader(cache, HERE)
    path = fetcher.bring(fetcher.fetch(url), WINDOW)
    part = fetcher.part_of(str(path))
    assert part is not None
    return str(path), excerpt_sha256(path, part.size, part.spans)


def test_an_excerpt_that_a_disk_cut_off_says_so(large: Path, server: FileServer, tmp_path: Path) -> None:
    fetcher = Downloader(tmp_path / "cache", HERE)
    part = fetcher.bring(fetcher.fetch(server.add("a.tif", large)), WINDOW)
    data = part.read_bytes()
    for wrong in (data[:-30] + data[-16:], data.replace(b'"size": ', b'"size":1')):
        part.write_bytes(wrong)
        with pytest.raises(UnreadableRaster, match="delete it"):
            read_excerpt(part)
    part.write_bytes(data[:-16])
    with pytest.raises(UnreadableRaster, match="delete it"):
        fetcher.bring(part, (0, 0, 9, 9))


def test_the_hash_is_what_the_page_on_report_files_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/report-files.md").read_text("utf-8")
    told: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], told)
    path = tmp_path / "x"
    path.write_bytes(bytes(range(256)) * 9)
    for spans in ([], [(0, 3)], [(1, 700), (900, 1404)]):
        assert told["excerpt_sha256"](path, 2304, spans) == excerpt_sha256(path, 2304, spans)
    with pytest.raises(ValueError, match="ends before byte 2305"):
        excerpt_sha256(path, 9999, [(2300, 5)])


# --- spans ---------------------------------------------------------------------------------------------------------

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=8).map(merged)


def places(spans: Any) -> set[int]:
    return {at for offset, length in spans for at in range(offset, offset + length)}


@given(SPANS, SPANS)
def test_spans_are_sets_of_bytes(one: Any, other: Any) -> None:
    assert places(common(one, other)) == places(one) & places(other)
    assert places(without(one, other)) == places(one) - places(other)
    assert are_spans(one, 80)
    assert list(without(one, other)) == sorted(without(one, other))


@given(SPANS, st.integers(0, 9), st.integers(1, 20))
def test_requests_cover_what_is_wanted_and_are_no_larger_than_allowed(
    spans: Any, gap: int, most: int
) -> None:
    requests = grouped(spans, gap, most)
    assert places(requests) >= places(spans)
    assert all(length <= most for _, length in requests)
    assert sum(length for _, length in requests) == len(places(requests)), "nothing is asked for twice"
    gaps = places(requests) - places(spans)
    assert len(gaps) <= gap * max(len(spans) - 1, 0)
