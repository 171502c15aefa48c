"""Any two rasters: north-up, south-up, degrees, other CRS, no CRS; and every bad one in one sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.errors import NotGeoreferencedWarning
from scipy import ndimage

from imagery.errors import DepotwatchError, UnreadableRaster, UnsupportedRaster
from pipelines.register import CannotRegister, CannotWrite, register_files
from service.cli import main

SIDE, GSD = 200, 0.5
EAST, NORTH = 500_000.0, 5_000_000.0
Image = NDArray[np.float32]


def surface(seed: int = 1, side: int = SIDE + 80) -> NDArray[np.float64]:
    """Return a smooth random-phase surface around 1000."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = 1.0
    spectrum = frequency**-1.5 * np.exp(2j * np.pi * rng.random(frequency.shape))
    spectrum[0, 0] = 0.0
    image = ndimage.gaussian_filter(np.fft.irfft2(spectrum, s=(side, side)), 0.8, mode="wrap")
    return 1000.0 + 200.0 * image / image.std()


def chip(row: float = 0.0, col: float = 0.0, seed: int = 1, side: int = SIDE) -> Image:
    """Return a chip whose content lies (row, col) pixels off, quintic."""
    at = np.mgrid[:side, :side].astype(float) + 40.0 - np.array([row, col])[:, None, None]
    return ndimage.map_coordinates(surface(seed), at, order=5, mode="grid-wrap").astype(np.float32)


def write(path: Path, image: NDArray[Any], **changes: Any) -> Path:
    """Write (row, col) or (band, row, col) as a GeoTIFF; ``changes`` go over the profile."""
    planes = image if image.ndim == 3 else image[None]
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": planes.shape[1],
        "width": planes.shape[2],
        "count": planes.shape[0],
        "dtype": planes.dtype.name,
        "crs": "EPSG:32636",
        "transform": Affine(GSD, 0, EAST, 0, -GSD, NORTH),
    } | changes
    with rasterio.open(path, "w", **profile) as sink:
        sink.write(planes)
    return path


def picture(path: Path, image: Image) -> Path:
    """Write an 8-bit PNG without georeferencing."""
    scaled = np.clip((image - 200) / 6.0, 0, 255).astype(np.uint8)
    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(
            path, "w", driver="PNG", height=image.shape[0], width=image.shape[1], count=1, dtype="uint8"
        ) as f,
    ):
        f.write(scaled[None])
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return write(tmp_path / "reference.tif", chip())


def test_displacement_is_told_in_metres_and_pixels(reference: Path, tmp_path: Path) -> None:
    found = register_files(reference, write(tmp_path / "b.tif", chip(2.0, -3.0)), max_shift=8.0).to_json()
    assert found["state"] == "use"
    displacement = found["displacement"]
    assert (displacement["row_px"], displacement["col_px"]) == pytest.approx((-2.0, 3.0), abs=0.02)
    assert (displacement["east_m"], displacement["north_m"]) == pytest.approx((1.5, 1.0), abs=0.02)
    assert found["gsd_m"] == pytest.approx(GSD)


def test_where_a_file_claims_to_lie_counts_not_its_pixels(reference: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "b.tif", chip(), transform=Affine(GSD, 0, EAST + 3.0, 0, -GSD, NORTH - 2.0))
    displacement = register_files(reference, target, max_shift=8.0).to_json()["displacement"]
    assert (displacement["east_m"], displacement["north_m"]) == pytest.approx((-3.0, 2.0), abs=0.02)


@pytest.mark.parametrize("which", ["reference", "target", "both"])
def test_south_up_files_give_the_same_metres(which: str, tmp_path: Path) -> None:
    upside_down = Affine(GSD, 0, EAST, 0, GSD, NORTH - SIDE * GSD)
    files = []
    for name, image in (("reference", chip()), ("target", chip(2.0, -3.0))):
        flipped = which in (name, "both")
        changes = {"transform": upside_down} if flipped else {}
        files.append(write(tmp_path / f"{name}.tif", image[::-1] if flipped else image, **changes))
    displacement = register_files(*files, max_shift=8.0).to_json()["displacement"]
    assert (displacement["east_m"], displacement["north_m"]) == pytest.approx((1.5, 1.0), abs=0.02)


def test_degrees_are_turned_to_local_metres(tmp_path: Path) -> None:
    degrees = Affine(8e-6, 0, 36.0, 0, -5e-6, 50.0)
    first = write(tmp_path / "a.tif", chip(), crs="EPSG:4326", transform=degrees)
    second = write(tmp_path / "b.tif", chip(2.0, -3.0), crs="EPSG:4326", transform=degrees)
    found = register_files(first, second, max_shift=8.0).to_json()
    # 1 degree is 111.23 km north and 71.70 km east at 50 N.
    assert found["displacement"]["east_m"] == pytest.approx(3 * 8e-6 * 71_696, rel=0.01)
    assert found["displacement"]["north_m"] == pytest.approx(2 * 5e-6 * 111_229, rel=0.02)
    assert found["displacement"]["axes"] == "true"


def test_another_crs_is_read_onto_the_reference_and_said_so(reference: Path, tmp_path: Path) -> None:
    degrees = Affine(7e-6, 0, 33.0001, 0, -4.5e-6, 45.1532)
    down, across = np.mgrid[:SIDE, :SIDE] + 0.5
    east, north = Transformer.from_crs("EPSG:4326", "EPSG:32636", always_xy=True).transform(
        degrees.c + degrees.a * across, degrees.f + degrees.e * down
    )
    at = np.stack([(NORTH - north) / GSD - 0.5 + 40.0 - 1.0, (east - EAST) / GSD - 0.5 + 40.0 - 2.0])
    image = ndimage.map_coordinates(surface(), at, order=5, mode="grid-wrap").astype(np.float32)
    target = write(tmp_path / "degrees.tif", image, crs="EPSG:4326", transform=degrees)
    found = register_files(reference, target, max_shift=8.0).to_json()
    assert found["state"] == "use"
    assert (found["displacement"]["east_m"], found["displacement"]["north_m"]) == pytest.approx(
        (-1.0, 0.5), abs=0.03
    )
    assert any("another CRS" in note for note in found["notes"])


def test_without_any_crs_everything_is_in_pixels(tmp_path: Path) -> None:
    first, second = (
        picture(tmp_path / "a.png", chip()),
        picture(tmp_path / "b.png", chip(4.0, 5.5)[:180, :170]),
    )
    found = register_files(first, second).to_json()
    assert (found["displacement"]["row_px"], found["displacement"]["col_px"]) == pytest.approx(
        (-4.0, -5.5), abs=0.05
    )
    assert found["displacement"]["east_m"] is None
    assert any("pixels" in note for note in found["notes"])


def test_a_finer_target_is_registered_on_the_reference_grid(reference: Path, tmp_path: Path) -> None:
    at = (np.mgrid[: 2 * SIDE, : 2 * SIDE] + 0.5) / 2 - 0.5 + 40.0 - np.array([1.0, 2.0])[:, None, None]
    fine = ndimage.map_coordinates(surface(), at, order=5, mode="grid-wrap").astype(np.float32)
    target = write(tmp_path / "fine.tif", fine, transform=Affine(GSD / 2, 0, EAST, 0, -GSD / 2, NORTH))
    displacement = register_files(reference, target, max_shift=8.0).to_json()["displacement"]
    assert (displacement["east_m"], displacement["north_m"]) == pytest.approx((-1.0, 0.5), abs=0.03)
    back = register_files(target, reference, max_shift=8.0).to_json()["displacement"]
    assert (back["east_m"], back["north_m"]) == pytest.approx((1.0, -0.5), abs=0.03)


def test_the_registered_raster_keeps_bands_type_and_nodata_and_lies_on_the_reference(
    reference: Path, tmp_path: Path
) -> None:
    planes = np.stack([chip(2.5, -3.25), 500 + chip(2.5, -3.25)]).round().astype(np.uint16)
    planes[:, :20, :20] = 7
    target = write(tmp_path / "b.tif", planes, nodata=7)
    out = tmp_path / "out.tif"
    assert register_files(reference, target, max_shift=8.0, out=out).to_json()["out"] == str(out)
    with rasterio.open(out) as result, rasterio.open(reference) as wanted:
        assert (result.count, result.dtypes[0], result.nodata) == (2, "uint16", 7)
        assert (result.transform, result.shape, result.crs) == (wanted.transform, wanted.shape, wanted.crs)
        values, seen = result.read(1).astype(float), result.read_masks(1) > 0
        assert 0.9 < seen.mean() < 1.0
        off = np.abs(values - wanted.read(1))[8:-8, 8:-8][seen[8:-8, 8:-8]]
        assert np.percentile(off, 99) < 3.0
        assert off.max() < 30.0  # beside no data, which must not bleed in: it is 1000 away
    again = register_files(reference, out, max_shift=8.0).to_json()["displacement"]
    assert np.hypot(again["row_px"], again["col_px"]) < 0.02


def test_masks_hide_clouds_on_either_side(reference: Path, tmp_path: Path) -> None:
    image = chip(1.0, 2.0)
    image[:, :90] = 4000.0
    target = write(tmp_path / "b.tif", image)
    hidden = np.zeros((SIDE, SIDE), np.uint8)
    hidden[:, :90] = 1
    mask = write(tmp_path / "m.tif", hidden)
    displacement = register_files(reference, target, mask_target=mask, max_shift=8.0).to_json()[
        "displacement"
    ]
    assert (displacement["row_px"], displacement["col_px"]) == pytest.approx((-1.0, -2.0), abs=0.03)


def test_unrelated_places_are_a_result_and_write_nothing(reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    found = register_files(
        reference, write(tmp_path / "b.tif", chip(seed=9)), max_shift=8.0, out=out
    ).to_json()
    assert found["state"] == "not_registered"
    assert found["displacement"]["east_m"] is None
    assert not out.exists()
    assert any("nothing was written" in note for note in found["notes"])


def test_nan_in_a_float_raster_is_no_data(reference: Path, tmp_path: Path) -> None:
    image = chip(1.0, 1.0)
    image[30:90, 30:120] = np.nan
    displacement = register_files(reference, write(tmp_path / "b.tif", image), max_shift=8.0).to_json()[
        "displacement"
    ]
    assert (displacement["row_px"], displacement["col_px"]) == pytest.approx((-1.0, -1.0), abs=0.03)


def test_bands_of_unequal_number_and_one_constant_band_do_not_matter(reference: Path, tmp_path: Path) -> None:
    planes = np.stack([np.full((SIDE, SIDE), 3.0, np.float32), chip(1.0, 1.0), chip(1.0, 1.0)])
    displacement = register_files(reference, write(tmp_path / "b.tif", planes), max_shift=8.0).to_json()[
        "displacement"
    ]
    assert (displacement["row_px"], displacement["col_px"]) == pytest.approx((-1.0, -1.0), abs=0.03)


def bad_inputs(folder: Path) -> dict[str, tuple[Path, type[DepotwatchError]]]:
    """Return targets that cannot be used, by name."""
    whole = write(folder / "whole.tif", chip())
    (folder / "empty.tif").write_bytes(b"")
    (folder / "truncated.tif").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "disguise.tif").write_text(
        f'<VRTDataset rasterXSize="9" rasterYSize="9"><!-- {whole} --></VRTDataset>'
    )
    (folder / "text.tif").write_text("not an image")
    far = Affine(GSD, 0, EAST + 90_000.0, 0, -GSD, NORTH)
    with pytest.warns(NotGeoreferencedWarning):
        bare = write(folder / "bare.tif", chip(), crs=None, transform=Affine.identity())
    return {
        "missing": (folder / "missing.tif", UnreadableRaster),
        "empty": (folder / "empty.tif", UnreadableRaster),
        "truncated": (folder / "truncated.tif", UnreadableRaster),
        "disguise": (folder / "disguise.tif", UnreadableRaster),
        "text": (folder / "text.tif", UnreadableRaster),
        "far": (write(folder / "far.tif", chip(), transform=far), CannotRegister),
        "bare": (bare, CannotRegister),
        "constant": (write(folder / "constant.tif", np.full((SIDE, SIDE), 5, np.uint16)), CannotRegister),
        "nodata": (write(folder / "nodata.tif", np.zeros((SIDE, SIDE), np.uint16), nodata=0), CannotRegister),
        "nan": (write(folder / "nan.tif", np.full((SIDE, SIDE), np.nan, np.float32)), CannotRegister),
        "complex": (write(folder / "complex.tif", np.ones((SIDE, SIDE), np.complex64)), UnsupportedRaster),
    }


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "empty",
        "truncated",
        "disguise",
        "text",
        "far",
        "bare",
        "constant",
        "nodata",
        "nan",
        "complex",
    ],
)
def test_bad_files_are_refused_in_one_sentence(name: str, reference: Path, tmp_path: Path) -> None:
    target, kind = bad_inputs(tmp_path)[name]
    with pytest.raises(kind) as caught:
        register_files(reference, target, max_shift=8.0)
    assert "\n" not in caught.value.detail


def test_a_mask_over_everything_is_refused(reference: Path, tmp_path: Path) -> None:
    mask = write(tmp_path / "m.tif", np.ones((SIDE, SIDE), np.uint8))
    with pytest.raises(CannotRegister, match="mask hides"):
        register_files(reference, reference, mask_reference=mask)


def test_a_mask_of_another_shape_without_crs_is_refused(reference: Path, tmp_path: Path) -> None:
    with pytest.warns(NotGeoreferencedWarning):
        mask = write(tmp_path / "m.tif", np.zeros((9, 9), np.uint8), crs=None, transform=Affine.identity())
    with pytest.raises(CannotRegister, match="shape of its image"):
        register_files(reference, reference, mask_target=mask)


@pytest.mark.parametrize("shift", [0.0, -3.0, float("nan")])
def test_an_impossible_search_range_is_refused(shift: float, reference: Path) -> None:
    with pytest.raises(CannotRegister, match="positive"):
        register_files(reference, reference, max_shift=shift)


def test_an_existing_or_impossible_output_is_refused_before_measuring(
    reference: Path, tmp_path: Path
) -> None:
    with pytest.raises(CannotWrite, match="exists"):
        register_files(reference, reference, out=reference)
    with pytest.raises(CannotWrite, match="no such folder"):
        register_files(reference, reference, out=tmp_path / "nowhere" / "out.tif")


def test_the_command_prints_json_and_returns_zero(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = write(tmp_path / "b.tif", chip(1.0, 0.0))
    code = main(
        ["register", "--reference", str(reference), "--target", str(target), "--max-shift", "8", "--json"]
    )
    answer = json.loads(capsys.readouterr().out)
    assert (code, answer["state"]) == (0, "use")
    assert {"quality", "displacement", "residual_m", "residual_px", "windows_used", "reasons"} <= set(answer)
    assert main(["register", "--reference", str(reference), "--target", str(target), "--max-shift", "8"]) == 0
    said = capsys.readouterr().out
    assert "north" in said
    assert f"residual: {answer['residual_m']:.3f} m, {answer['residual_px']:.3f} reference pixels" in said


def test_the_command_says_what_is_wrong_in_one_line_and_returns_two(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["register", "--reference", str(reference), "--target", str(tmp_path / "missing.tif")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
