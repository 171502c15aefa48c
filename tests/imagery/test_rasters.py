"""Files that others made: whole ones are opened, and nothing else is."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from imagery.errors import UnreadableRaster, UnsupportedRaster
from imagery.rasters import DecodedPixels, open_raster, read_header

TRANSFORM = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)


def write(path: Path, *, dtype: str = "uint16", count: int = 1, size: int = 128, **profile: object) -> Path:
    settings = {"crs": "EPSG:32636", "transform": TRANSFORM} | profile
    with rasterio.open(
        path, "w", driver="GTiff", height=size, width=size, count=count, dtype=dtype, **settings
    ) as file:
        values = np.random.default_rng(1).integers(1, 200, (count, size, size))
        file.write(values.astype(dtype))
    return path


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"},
        {"compress": "lzw", "count": 3, "interleave": "band"},
        {"BIGTIFF": "YES", "tiled": True, "blockxsize": 64, "blockysize": 64},
        {"ENDIANNESS": "BIG"},
        {"SPARSE_OK": "TRUE"},
    ],
)
def test_whole_files_of_every_layout_are_read(tmp_path: Path, profile: dict[str, object]) -> None:
    header = read_header(write(tmp_path / "a.tif", **profile))  # type: ignore[arg-type]
    assert (header.rows, header.cols, header.dtype) == (128, 128, "uint16")
    assert header.transform == TRANSFORM


def test_a_header_says_what_the_file_says(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", count=4, dtype="uint8", photometric="RGB", alpha="YES", nodata=0)
    assert read_header(path).indexes == (1, 2, 3, 4)  # it varies freely: near infrared that GDAL called alpha
    with rasterio.open(path, "r+") as file:
        file.write(np.full((128, 128), 255, np.uint8), 4)
        file.update_tags(TIFFTAG_DATETIME="2024:05:12 10:30:21")
        file.scales, file.offsets = (0.5,) * 4, (1.0,) * 4
        file.descriptions = ("red", "green", "blue", "")
    header = read_header(path)
    assert header.indexes == (1, 2, 3)
    assert header.colours == ("red", "green", "blue", "alpha")
    assert header.scalings[0] == (0.5, 1.0)
    assert dict(header.tags)["TIFFTAG_DATETIME"] == "2024:05:12 10:30:21"
    assert header.nodata == 0


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.98])
@pytest.mark.parametrize("tiled", [True, False])
def test_a_truncated_file_is_refused_before_a_pixel_is_read(tmp_path: Path, kept: float, tiled: bool) -> None:
    layout = {"tiled": True, "blockxsize": 64, "blockysize": 64} if tiled else {}
    path = write(tmp_path / "a.tif", **layout)  # type: ignore[arg-type]
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UnreadableRaster, match=r"a\.tif: .*(truncated|damaged)"):
        read_header(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    with pytest.raises(UnreadableRaster, match="0 bytes"):
        read_header(tmp_path / "a.tif")


@pytest.mark.parametrize("asked", ["open", "is_file"], ids=["the file", "its folder"])
def test_a_file_that_may_not_be_read_is_one_unreadable_scene(
    tmp_path: Path, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.tif")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, asked, refused)
    with pytest.raises(UnreadableRaster) as told:
        read_header(path)
    assert told.value.detail == "a.tif: cannot be read, see to its rights and its disk (Permission denied)"
    assert told.value.pointer == str(path)


@pytest.mark.parametrize(
    "text",
    [
        "<VRTDataset rasterXSize='9' rasterYSize='9'><SRS>EPSG:32636</SRS></VRTDataset>",
        "GIF89a...........",
        "II*\0\xff\xff\xff\x7f",
        "MM\0*\0\0\0\x08\xff\xff",
        "II+\0\x08\0\0\0" + "\xff" * 8,
    ],
    ids=["vrt", "gif", "directory beyond the end", "cut directory", "bigtiff beyond the end"],
)
def test_what_is_no_tiff_is_refused_whatever_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UnreadableRaster, match=r"a\.tif"):
        read_header(path)
    with pytest.raises(UnreadableRaster, match=r"a\.tif"), open_raster(path):
        pytest.fail("it was opened")


@pytest.mark.parametrize(
    "name", ["/vsicurl/http://127.0.0.1:9/a.tif", "http://127.0.0.1:9/a.tif", "vrt:///tmp/a.tif"]
)
def test_references_to_other_places_are_no_files(name: str) -> None:
    with pytest.raises(UnreadableRaster, match="no such file"), open_raster(name):
        pytest.fail("it was opened")


def test_odd_characters_in_a_name_are_only_characters(tmp_path: Path) -> None:
    for name in ("a b#c?d&e.tif", "zip+s3:x.tif", "ü(1)'.tif", "a!b.tif", "%2e%2e.tif"):
        assert read_header(write(tmp_path / name)).rows == 128


def test_side_files_are_not_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>"
    )
    assert read_header(path).nodata is None


def patched(path: Path, tag: int, value: int) -> Path:
    """Overwrite one inline LONG or SHORT field of a little-endian TIFF's first directory."""
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<HII", data, entry + 2, 4, 1, value)
    path.write_bytes(bytes(data))
    return path


def test_a_header_of_a_hundred_thousand_square_over_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=100_000, width=100_000, count=1, dtype="uint8", crs="EPSG:32636",
        transform=TRANSFORM, tiled=True, blockxsize=512, blockysize=512, SPARSE_OK="TRUE", compress="deflate",
    ) as file:  # fmt: skip
        file.write(np.ones((1, 512, 512), np.uint8), window=((0, 512), (0, 512)))
    assert path.stat().st_size < 2_000_000
    with pytest.raises(UnreadableRaster, match="100,000 x 100,000"):
        read_header(path)


def test_a_lie_about_the_size_is_refused(tmp_path: Path) -> None:
    path = patched(patched(write(tmp_path / "a.tif"), 256, 100_000), 257, 100_000)
    with pytest.raises(UnreadableRaster, match=r"blocks|pixels|block"):
        read_header(path)


def test_one_enormous_strip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=30_000, width=30_000, count=1, dtype="uint8", crs="EPSG:32636",
        transform=TRANSFORM, blockysize=30_000, compress="deflate", SPARSE_OK="TRUE",
    ):  # fmt: skip
        pass
    with pytest.raises(UnreadableRaster, match=r"one block would take .* MiB"):
        read_header(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_cannot_be_placed_or_counted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedRaster, match="no CRS"):
        read_header(write(tmp_path / "a.tif", crs=None))
    with pytest.raises(UnsupportedRaster, match="no geotransform"):
        read_header(write(tmp_path / "b.tif", transform=Affine.identity()))
    with pytest.raises(UnsupportedRaster, match="complex64"):
        read_header(write(tmp_path / "c.tif", dtype="complex64"))
    with pytest.raises(UnsupportedRaster, match="float64"):
        read_header(write(tmp_path / "d.tif", dtype="float64"))
    local = 'LOCAL_CS["here",UNIT["metre",1]]'
    with pytest.raises(UnsupportedRaster, match="local to the file"):
        read_header(write(tmp_path / "e.tif", crs=local))


@pytest.mark.parametrize(
    "transform",
    [
        Affine(10.0, 0.0, 500_000.0, 0.0, 10.0, 4_990_000.0),
        Affine(8.0, 6.0, 500_000.0, 6.0, -8.0, 5_000_000.0),
    ],
    ids=["south-up", "rotated"],
)
def test_south_up_and_rotated_files_are_taken_as_they_are(tmp_path: Path, transform: Affine) -> None:
    assert read_header(write(tmp_path / "a.tif", transform=transform)).transform == transform


def decoded(pixels: DecodedPixels, path: Path, indexes: list[int], window: Window) -> np.ndarray:
    with open_raster(path) as file:
        return pixels.read(file, str(path), indexes, window, [1, 2, 3])


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_what_was_decoded_is_what_a_file_holds(tmp_path: Path, interleave: str) -> None:
    path = write(tmp_path / "a.tif", count=4, interleave=interleave, tiled=True, blockxsize=64, blockysize=64)
    pixels = DecodedPixels()
    pixels.keep(True)
    for indexes, window in (
        ([2], Window(10, 20, 90, 80)),
        ([2], Window(15, 20, 40, 80)),
        ([3, 1], Window(15, 30, 40, 50)),
        ([4], Window(15, 30, 40, 50)),
        ([2, 3], Window(0, 30, 40, 50)),
        ([2], Window(15, 90, 10, 30)),
    ):
        with rasterio.open(path) as file:
            expected = file.read(indexes, window=window)
        np.testing.assert_array_equal(decoded(pixels, path, indexes, window), expected)


def test_decoded_pixels_are_kept_for_the_same_file_only_and_only_while_wanted(tmp_path: Path) -> None:
    path, window = write(tmp_path / "a.tif", count=3), Window(0, 0, 128, 128)
    pixels = DecodedPixels()
    pixels.keep(True)
    first = decoded(pixels, path, [1], window)
    with rasterio.open(path, "r+") as file:
        file.write(first[0] + 1, 1)
    os.utime(path, ns=(0, 0))  # clocks of file systems are coarse
    np.testing.assert_array_equal(decoded(pixels, path, [1], window), first + 1)
    pixels.keep(False)
    with rasterio.open(path, "r+") as file:
        file.write(first[0] + 2, 1)
    np.testing.assert_array_equal(decoded(pixels, path, [1], window), first + 2)


def test_a_file_is_decoded_once_for_all_its_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", count=3, interleave="pixel")
    pixels = DecodedPixels()
    pixels.keep(True)
    decoded(pixels, path, [1], Window(0, 0, 128, 128))
    with open_raster(path) as file:
        monkeypatch.setattr(type(file), "read", None)
        again = pixels.read(file, str(path), [3, 2], Window(5, 6, 7, 8), [1, 2, 3])
    assert again.shape == (2, 8, 7)
