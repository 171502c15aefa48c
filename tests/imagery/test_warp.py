"""A scene onto the grid: where pixels land, what they become, and what is said of those that were not seen."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject
from rasterio.warp import transform as transform_points

from imagery.displacement import Displacement, DisplacementField, RegistrationState, no_displacement
from imagery.errors import UnreadableRaster, UnsupportedRaster
from imagery.grid import SiteGrid
from imagery.illumination import Sun, View
from imagery.observability import ObservationState as State
from imagery.scene import BandSource, MaskSource, Scene
from imagery.warp import read_look

EPSG = 32636
EAST, NORTH = 500_000.0, 5_000_000.0
GRID = SiteGrid(EPSG, EAST + 50.0, NORTH - 50.0, 1.0, 100, 120)
Painter = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def smooth(east: NDArray[np.float64], north: NDArray[np.float64]) -> NDArray[np.float64]:
    """Paint a pattern with 9 m and longer waves, between 0.03 and 0.31."""
    return (
        0.17 + 0.07 * np.sin((east - EAST) / 1.9) + 0.07 * np.cos((north - NORTH) / 2.3 + (east - EAST) / 7.0)
    )


def paint(
    path: Path,
    painter: Painter = smooth,
    *,
    transform: Affine | None = None,
    size: tuple[int, int] = (240, 240),
    crs: str = f"EPSG:{EPSG}",
    dtype: str = "uint16",
    scale: float = 1e-4,
    bands: int = 1,
    edit: Callable[[NDArray[np.generic]], None] | None = None,
    **profile: object,
) -> Path:
    """Write a GeoTIFF whose pixel centres show ``painter(east, north)`` in the grid's CRS."""
    transform = transform or Affine(1.0, 0.0, EAST, 0.0, -1.0, NORTH)
    row, col = np.mgrid[: size[0], : size[1]] + 0.5
    a, b, c, d, e, f = transform[:6]
    x, y = a * col + b * row + c, d * col + e * row + f
    if crs != f"EPSG:{EPSG}":
        xs, ys = transform_points(crs, f"EPSG:{EPSG}", x.ravel(), y.ravel())
        x, y = np.reshape(xs, x.shape), np.reshape(ys, y.shape)
    number = painter(x, y) / scale
    stored = (np.round(number) if np.dtype(dtype).kind in "iu" else number).astype(dtype)
    cube = np.stack([stored] * bands)
    if edit:
        edit(cube)
    with rasterio.open(
        path, "w", driver="GTiff", height=size[0], width=size[1], count=bands, dtype=dtype, crs=crs,
        transform=transform, **profile,
    ) as file:  # fmt: skip
        file.write(cube)
    return path


def scene(
    path: Path, *, bands: int = 1, nodata: float | None = None, scale: float = 1e-4, **more: object
) -> Scene:
    names = ("green", "red", "blue", "nir")[:bands]
    sources = tuple(BandSource(n, str(path), i + 1, scale, 0.0, nodata) for i, n in enumerate(names))
    plain = Scene(
        "s",
        datetime(2024, 5, 12, tzinfo=UTC),
        sources,
        None,
        1.0,
        None,
        None,
        None,
        None,
        "reflectance",
        "",
        (),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def shift(
    east: float, north: float, *, linear: tuple[tuple[float, float], tuple[float, float]] = ((0, 0), (0, 0)),
    field: DisplacementField | None = None,
) -> Displacement:  # fmt: skip
    return Displacement(GRID.centre, east, north, linear, field, RegistrationState.USE, 5.0, 0.0, 9)


def truth(grid: SiteGrid = GRID, painter: Painter = smooth) -> NDArray[np.float64]:
    row, col = np.mgrid[: grid.rows, : grid.cols] + 0.5
    east, north = grid.world(row, col)
    return painter(east, north)


def rms(look_band: NDArray[np.float32], expected: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.nanmean((look_band - expected) ** 2)))


# --- where pixels land ---------------------------------------------------------------------------------------------


def test_a_grid_on_the_files_own_pixels_returns_them_unchanged(tmp_path: Path) -> None:
    look = read_look(scene(paint(tmp_path / "a.tif")), GRID)
    np.testing.assert_allclose(look.band("green"), truth(), atol=6e-5)
    assert look.usable_fraction == 1.0
    assert look.reflectance.dtype == np.float32


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3))
def test_a_known_displacement_is_undone_with_its_sign(
    tmp_path_factory: pytest.TempPathFactory, east: float, north: float
) -> None:
    # The scene says that the ground lies (east, north) short of where it is; adding the displacement puts it right.
    path = paint(
        tmp_path_factory.mktemp("w") / "a.tif",
        lambda x, y: smooth(x + east, y + north),
        dtype="float32",
        scale=1.0,
    )
    moved = read_look(scene(path, scale=1.0), GRID, displacement=shift(east, north))
    still = read_look(scene(path, scale=1.0), GRID)
    assert rms(moved.band("green"), truth()) < 3e-3
    if abs(east) + abs(north) > 0.2:
        assert rms(moved.band("green"), truth()) < 0.3 * rms(still.band("green"), truth())


def test_a_whole_pixel_impulse_lands_on_its_own_pixel_through_every_path(tmp_path: Path) -> None:
    def impulse(cube: NDArray[np.generic]) -> None:
        cube[:] = 1000
        cube[0, 80, 90] = 9000

    path = paint(tmp_path / "a.tif", edit=impulse)
    flat = DisplacementField((EAST, NORTH), 50.0, np.zeros((6, 6), np.float32), np.zeros((6, 6), np.float32))
    for displacement, at in (
        (None, (30, 40)),
        (no_displacement(GRID.centre, ""), (30, 40)),
        (shift(2.0, 3.0), (27, 42)),
        (shift(2.0, 3.0, field=flat), (27, 42)),
    ):
        band = read_look(scene(path), GRID, displacement=displacement).band("green")
        assert np.unravel_index(int(np.argmax(band)), band.shape) == at
        assert band[at] == pytest.approx(0.9, abs=1e-6)
        assert np.count_nonzero(np.abs(band - 0.1) > 1e-6) == 1


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-40, 40) | st.integers(-80, 80).map(lambda halves: halves / 2),
    st.floats(-40, 40),
    st.sampled_from([0.0, 1e-5, 0.02]),
    st.sampled_from([0.5, 1.0, 3.0]),
)
def test_what_a_small_scene_covers_is_what_gdal_says_to_the_pixel(
    tmp_path_factory: pytest.TempPathFactory, east: float, north: float, turn: float, gsd_m: float
) -> None:
    transform = Affine(gsd_m, 0.0, EAST + 70.0, 0.0, -gsd_m, NORTH - 80.0)
    path = paint(tmp_path_factory.mktemp("w") / "a.tif", transform=transform, size=(31, 43))
    displacement = shift(east, north, linear=((0.0, turn), (-turn, 0.0)))
    expected = np.zeros(GRID.shape, np.uint8)
    reproject(
        np.ones((31, 43), np.uint8), expected, src_transform=transform, src_crs=f"EPSG:{EPSG}",
        dst_transform=~displacement.forward @ GRID.transform, dst_crs=f"EPSG:{EPSG}", resampling=Resampling.nearest,
    )  # fmt: skip
    look = read_look(scene(path), GRID, displacement=displacement)
    np.testing.assert_array_equal(look.state != State.OUTSIDE_FOOTPRINT, expected == 1)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-60, 60) | st.integers(-160, 160).map(lambda halves: halves / 2),
    st.floats(-60, 60),
)
def test_a_shift_alone_gives_gdal_s_cubic_numbers_and_repeats_the_edges(
    tmp_path_factory: pytest.TempPathFactory, east: float, north: float
) -> None:
    def rough(east: NDArray[np.float64], north: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.random.default_rng(7).uniform(0.05, 0.5, east.shape)

    path = paint(tmp_path_factory.mktemp("w") / "a.tif", rough, size=(61, 73), dtype="float32", scale=1.0)
    with rasterio.open(path) as file:
        stored, transform = file.read(1), file.transform
    moved = shift(east, north)
    expected = np.full(GRID.shape, np.nan, np.float32)
    reproject(
        stored, expected, src_transform=transform, src_crs=f"EPSG:{EPSG}", resampling=Resampling.cubic,
        dst_transform=~moved.forward @ GRID.transform, dst_crs=f"EPSG:{EPSG}", init_dest_nodata=False,
    )  # fmt: skip
    got = read_look(scene(path, scale=1.0), GRID, displacement=moved).band("green")
    row, col = np.mgrid[: GRID.rows, : GRID.cols] + 0.5
    x, y = ~transform @ ~moved.forward @ GRID.transform @ np.stack([col, row])
    within = (x > 0.0) & (x < 73.0) & (y > 0.0) & (y < 61.0)
    inner = (x > 2.5) & (x < 70.5) & (y > 2.5) & (y < 58.5)
    np.testing.assert_allclose(got[inner], expected[inner], atol=1e-6)
    assert np.isfinite(got[within]).all()
    assert np.nanmax(got, initial=0.0) < 0.7


def test_an_affine_displacement_is_composed_exactly(tmp_path: Path) -> None:
    linear = ((0.004, 0.006), (-0.006, 0.003))
    displacement = shift(0.7, -0.4, linear=linear)

    def seen(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b, c, d, e, f = displacement.forward[:6]
        return smooth(a * x + b * y + c, d * x + e * y + f)

    path = paint(tmp_path / "a.tif", seen, dtype="float32", scale=1.0)
    assert (
        rms(read_look(scene(path, scale=1.0), GRID, displacement=displacement).band("green"), truth()) < 3e-3
    )


def test_a_local_field_is_undone_and_interpolated_once(tmp_path: Path) -> None:
    row, col = np.mgrid[:13, :13] * 20.0
    east = (0.8 * np.sin(row / 60.0)).astype(np.float32)
    north = (0.6 * np.cos(col / 50.0)).astype(np.float32)
    field = DisplacementField((EAST, NORTH), 20.0, east, north)

    def seen(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.ndimage import map_coordinates

        at = [(NORTH - y) / 20.0, (x - EAST) / 20.0]
        dx = map_coordinates(east.astype(float), at, order=1, mode="nearest")
        dy = map_coordinates(north.astype(float), at, order=1, mode="nearest")
        return smooth(x + dx + 0.3, y + dy)

    path = paint(tmp_path / "a.tif", seen, dtype="float32", scale=1.0)
    found = read_look(scene(path, scale=1.0), GRID, displacement=shift(0.3, 0.0, field=field)).band("green")
    without = read_look(scene(path, scale=1.0), GRID, displacement=shift(0.3, 0.0)).band("green")
    assert rms(found, truth()) < 2e-3 < 0.2 * rms(without, truth())


def test_an_empty_field_gives_the_numbers_of_the_plain_warp(tmp_path: Path) -> None:
    path = paint(tmp_path / "a.tif", edit=lambda cube: cube[:, 90:95, 90:99].fill(0))
    flat = DisplacementField((EAST, NORTH), 50.0, np.zeros((6, 6), np.float32), np.zeros((6, 6), np.float32))
    linear = ((0.001, 0.002), (-0.002, 0.001))
    plain = read_look(scene(path, nodata=0), GRID, displacement=shift(0.31, -0.22, linear=linear))
    bent = read_look(scene(path, nodata=0), GRID, displacement=shift(0.31, -0.22, linear=linear, field=flat))
    np.testing.assert_array_equal(plain.state, bent.state)
    np.testing.assert_allclose(plain.reflectance, bent.reflectance, atol=2e-6)


@pytest.mark.parametrize(
    "transform",
    [
        Affine(1.0, 0.0, EAST, 0.0, 1.0, NORTH - 240.0),
        Affine.translation(EAST - 60.0, NORTH + 40.0) @ Affine.rotation(-31.0) @ Affine.scale(1.0, -1.0),
        Affine(0.8, 0.0, EAST, 0.0, -1.1, NORTH),
        Affine(0.0, 1.0, EAST, -1.0, 0.0, NORTH),
    ],
    ids=["south-up", "rotated", "non-square", "transposed"],
)
def test_every_geotransform_is_followed_exactly(tmp_path: Path, transform: Affine) -> None:
    path = paint(tmp_path / "a.tif", transform=transform, size=(330, 330), dtype="float32", scale=1.0)
    look = read_look(scene(path, scale=1.0), GRID, displacement=None)
    assert look.usable_fraction > 0.5
    assert rms(look.band("green"), truth()) < 6e-3


def test_a_raster_in_degrees_lands_where_it_lies(tmp_path: Path) -> None:
    xs, ys = transform_points(f"EPSG:{EPSG}", "EPSG:4326", [EAST], [NORTH])
    step = 1.0 / 111_320.0
    path = paint(
        tmp_path / "a.tif", transform=Affine(1.3 * step, 0.0, xs[0], 0.0, -step, ys[0]), crs="EPSG:4326",
        dtype="float32", scale=1.0, size=(260, 260),
    )  # fmt: skip
    look = read_look(scene(path, scale=1.0), GRID, displacement=None)
    assert look.usable_fraction == 1.0
    assert rms(look.band("green"), truth()) < 4e-3


def test_two_utm_zones_meet_on_one_grid(tmp_path: Path) -> None:
    xs, ys = transform_points(f"EPSG:{EPSG}", "EPSG:32637", [EAST], [NORTH + 20.0])
    path = paint(
        tmp_path / "a.tif", transform=Affine(1.0, 0.0, xs[0] - 30.0, 0.0, -1.0, ys[0] + 30.0), crs="EPSG:32637",
        dtype="float32", scale=1.0, size=(320, 320),
    )  # fmt: skip
    look = read_look(scene(path, scale=1.0), GRID)
    assert look.usable_fraction == 1.0
    assert rms(look.band("green"), truth()) < 4e-3


def test_coordinates_between_two_crss_are_right_to_a_fiftieth_of_a_pixel(tmp_path: Path) -> None:
    def ramp(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return (x - EAST) / 10.0 + (y - NORTH) / 7.0

    xs, ys = transform_points(f"EPSG:{EPSG}", "EPSG:4326", [EAST], [NORTH])
    step = 10.0 / 111_320.0
    path = paint(
        tmp_path / "a.tif", ramp, transform=Affine(1.3 * step, 0.0, xs[0], 0.0, -step, ys[0]), crs="EPSG:4326",
        dtype="float32", scale=1.0, size=(700, 700),
    )  # fmt: skip
    grid = SiteGrid(EPSG, EAST + 200.0, NORTH - 400.0, 10.0, 600, 600)
    mask = MaskSource(
        str(paint(tmp_path / "m.tif", dtype="uint8", edit=lambda c: c.fill(0))), 1, "cloud-mask"
    )
    look = read_look(scene(path, scale=1.0, mask=mask), grid)
    wrong = np.abs(look.band("green") - truth(grid, ramp))
    # One pixel is worth 1 eastward and 1.4 northward; rasterio's own tolerance of an eighth would give 0.1 and more.
    assert np.nanmax(wrong) < 0.035


def test_a_part_of_the_grid_gives_the_same_numbers_as_the_whole(tmp_path: Path) -> None:
    path = paint(tmp_path / "a.tif", edit=lambda cube: cube[:, 70:75, 80:99].fill(0))
    displacement = shift(0.37, -1.21, linear=((0.001, 0.0), (0.0, -0.001)))
    mask = MaskSource(
        str(paint(tmp_path / "m.tif", dtype="uint8", edit=lambda c: c.fill(0))), 1, "cloud-mask"
    )
    of = scene(path, nodata=0, mask=mask)
    whole = read_look(of, GRID, displacement=displacement)
    part = read_look(of, GRID.window(13, 21, 40, 50), displacement=displacement)
    np.testing.assert_array_equal(part.state, whole.state[13:53, 21:71])
    np.testing.assert_allclose(part.reflectance, whole.reflectance[:, 13:53, 21:71], atol=1e-6)


def test_strips_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = paint(tmp_path / "a.tif", bands=2, edit=lambda cube: cube[:, 70:75, 80:99].fill(0))
    whole = read_look(scene(path, bands=2, nodata=0), GRID, displacement=shift(0.4, 0.6))
    monkeypatch.setattr("imagery.warp.STRIP_SAMPLES", 3000)
    strips = read_look(scene(path, bands=2, nodata=0), GRID, displacement=shift(0.4, 0.6))
    np.testing.assert_array_equal(whole.state, strips.state)
    np.testing.assert_allclose(whole.reflectance, strips.reflectance, atol=1e-6)


# --- what they become ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "scale"), [("uint8", 1 / 255), ("uint16", 1e-4), ("int16", 1e-4), ("float32", 1.0)]
)
def test_every_number_type_becomes_the_same_reflectance(tmp_path: Path, dtype: str, scale: float) -> None:
    look = read_look(scene(paint(tmp_path / "a.tif", dtype=dtype, scale=scale), scale=scale), GRID)
    np.testing.assert_allclose(look.band("green"), truth(), atol=0.51 * scale if scale < 1 else 1e-6)


def test_offset_is_added_after_the_mask_was_read_from_stored_numbers(tmp_path: Path) -> None:
    def dark(cube: NDArray[np.generic]) -> None:
        cube[:] = 1000  # reflectance zero after the offset, and ground
        cube[0, 60:70, 60:70] = 0  # nothing there

    path = paint(tmp_path / "a.tif", edit=dark)
    of = scene(path)
    of = replace(of, bands=(replace(of.bands[0], offset=-0.1, nodata=0.0),))
    look = read_look(of, GRID)
    assert look.state[5, 5] == State.OBSERVED
    assert look.band("green")[5, 5] == pytest.approx(0.0, abs=1e-6)
    assert (look.state[10:20, 10:20] == State.NODATA).all()
    assert np.count_nonzero(look.state == State.NODATA) == 100


def test_an_offset_that_was_applied_already_is_doubted(tmp_path: Path) -> None:
    of = scene(paint(tmp_path / "a.tif", lambda x, y: smooth(x, y) * 0.4))
    doubted = replace(of, bands=(replace(of.bands[0], offset=-0.1),))
    assert any("may have been applied already" in n for n in read_look(doubted, GRID).notes)
    sound = scene(paint(tmp_path / "b.tif", lambda x, y: smooth(x, y) * 0.4 + 0.1))
    sound = replace(sound, bands=(replace(sound.bands[0], offset=-0.1),))
    assert not any("applied" in n for n in read_look(sound, GRID).notes)


def test_nodata_does_not_bleed_into_its_neighbours(tmp_path: Path) -> None:
    def half(cube: NDArray[np.generic]) -> None:
        cube[:] = 3000
        cube[0, :, 110:] = 0

    path = paint(tmp_path / "a.tif", edit=half)
    for displacement in (None, shift(0.5, 0.5), shift(0.3, -0.2, linear=((0.01, 0.0), (0.0, 0.01)))):
        look = read_look(scene(path, nodata=0), GRID, displacement=displacement)
        seen = look.band("green")[look.observed]
        np.testing.assert_allclose(seen, 0.3, atol=1e-6)
        assert 0.4 < look.usable_fraction < 0.6


def test_a_zero_in_one_band_only_is_ground(tmp_path: Path) -> None:
    path = paint(tmp_path / "a.tif", bands=3, edit=lambda cube: cube[1, 60:70, 60:70].fill(0))
    assert read_look(scene(path, bands=3, nodata=0), GRID).usable_fraction == 1.0


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("float32", -9999.0), ("int16", -32768.0), ("uint16", 65535.0)]
)
def test_a_number_that_is_no_measurement_is_nodata_in_whichever_band_it_stands(
    tmp_path: Path, dtype: str, nodata: float
) -> None:
    path = paint(
        tmp_path / "a.tif", bands=3, dtype=dtype, edit=lambda cube: cube[1, 60:70, 60:70].fill(nodata)
    )
    look = read_look(scene(path, bands=3, nodata=nodata), GRID)
    assert np.count_nonzero(look.state == State.NODATA) == 100
    assert np.nanmin(look.reflectance) > 0.02
    assert np.nanmax(look.reflectance) < 0.32


def test_full_white_in_one_band_of_a_picture_is_ground(tmp_path: Path) -> None:
    path = paint(
        tmp_path / "a.tif",
        bands=3,
        dtype="uint8",
        scale=1 / 255,
        edit=lambda cube: cube[1, 60:70, 60:70].fill(255),
    )
    assert read_look(scene(path, bands=3, nodata=255, scale=1 / 255), GRID).usable_fraction == 1.0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_black_collar_that_nobody_declared_is_no_ground(tmp_path: Path, dtype: str) -> None:
    def collar(cube: NDArray[np.generic]) -> None:
        cube[:, :, :100] = 0  # the first 50 columns of the grid
        cube[:, 80:83, 150:153] = 0  # a deep shadow

    scale = 1e-4 if dtype == "uint16" else 1 / 255
    look = read_look(
        scene(
            paint(tmp_path / "a.tif", bands=3, dtype=dtype, scale=scale, edit=collar), bands=3, scale=scale
        ),
        GRID,
    )
    assert np.all(look.state[:, :50] == State.NODATA)
    assert np.all(look.state[:, 50:] == State.OBSERVED)


def test_finer_scenes_are_averaged_not_sampled(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)

    def noise(cube: NDArray[np.generic]) -> None:
        cube[:] = rng.integers(1000, 5000, cube.shape)

    fine = paint(
        tmp_path / "a.tif", transform=Affine(0.25, 0.0, EAST, 0.0, -0.25, NORTH), size=(960, 960), edit=noise
    )
    deviation = float(np.nanstd(read_look(scene(fine), GRID).band("green")))
    # White noise of 0.1155 over 4 x 4 pixels: 0.029 for a box; a sampled one keeps all of it.
    assert deviation < 0.045


def test_a_coarse_scene_is_interpolated_and_keeps_its_own_pixel_size(tmp_path: Path) -> None:
    def slow(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return 0.3 + 0.1 * np.sin((x - EAST) / 30.0)

    path = paint(
        tmp_path / "a.tif", slow, transform=Affine(10.0, 0.0, EAST, 0.0, -10.0, NORTH), size=(30, 30),
        dtype="float32", scale=1.0,
    )  # fmt: skip
    look = read_look(scene(path, scale=1.0, gsd_m=10.0), GRID)
    assert look.gsd_m == 10.0
    assert rms(look.band("green"), truth(painter=slow)) < 2e-3


def test_nothing_leaves_the_range_of_the_stored_type(tmp_path: Path) -> None:
    def wall(cube: NDArray[np.generic]) -> None:
        cube[:] = 1
        cube[0, :, 120:] = 255

    path = paint(tmp_path / "a.tif", dtype="uint8", scale=1 / 255, edit=wall)
    band = read_look(scene(path, scale=1 / 255), GRID, displacement=shift(0.5, 0.0)).band("green")
    assert band.min() >= 0.0
    assert band.max() <= 1.0 + 1e-6


def test_bands_come_in_the_order_asked_for(tmp_path: Path) -> None:
    path = paint(
        tmp_path / "a.tif",
        bands=4,
        edit=lambda cube: cube.__setitem__(slice(None), 100 * np.arange(1, 5)[:, None, None]),
    )
    look = read_look(scene(path, bands=4), GRID, bands=["nir", "green"])
    assert look.bands == ("nir", "green")
    assert look.reflectance[:, 0, 0].tolist() == pytest.approx([0.04, 0.01])
    with pytest.raises(KeyError, match="swir16"):
        read_look(scene(path, bands=4), GRID, bands=["swir16"])


def test_bands_of_several_files_and_pixel_sizes_share_the_grid(tmp_path: Path) -> None:
    fine = paint(tmp_path / "a.tif", dtype="float32", scale=1.0)
    coarse = paint(
        tmp_path / "b.tif", transform=Affine(2.0, 0.0, EAST, 0.0, -2.0, NORTH), size=(120, 120), dtype="float32",
        scale=1.0,
    )  # fmt: skip
    both = scene(fine, scale=1.0)
    both = replace(both, bands=(BandSource("nir", str(coarse), 1, 1.0, 0.0, None), *both.bands))
    look = read_look(both, GRID)
    assert look.bands == ("nir", "green")
    assert rms(look.band("green"), truth()) < 1e-6
    assert rms(look.band("nir"), truth()) < 0.02


# --- what was not seen ---------------------------------------------------------------------------------------------


def test_outside_the_footprint_is_told_from_nodata(tmp_path: Path) -> None:
    path = paint(tmp_path / "a.tif", size=(240, 100), edit=lambda cube: cube[:, :, 90:].fill(0))
    look = read_look(scene(path, nodata=0), GRID)
    assert (look.state[:, :40] == State.OBSERVED).all()
    assert (look.state[:, 40:50] == State.NODATA).all()
    assert (look.state[:, 50:] == State.OUTSIDE_FOOTPRINT).all()
    assert np.isnan(look.reflectance[0][~look.observed]).all()


def test_a_scene_elsewhere_is_all_outside(tmp_path: Path) -> None:
    look = read_look(scene(paint(tmp_path / "a.tif")), replace(GRID, east_m=EAST + 90_000.0))
    assert (look.state == State.OUTSIDE_FOOTPRINT).all()
    assert look.usable_fraction == 0.0


def test_nan_in_a_float_file_is_nodata(tmp_path: Path) -> None:
    path = paint(
        tmp_path / "a.tif", dtype="float32", scale=1.0, edit=lambda cube: cube[:, 60:70, 60:70].fill(np.nan)
    )
    look = read_look(scene(path, scale=1.0), GRID)
    assert np.count_nonzero(look.state == State.NODATA) == 100
    assert np.isfinite(look.reflectance[0][look.observed]).all()


def test_a_full_sixteen_bit_number_is_saturated_and_an_eight_bit_one_is_a_bright_roof(tmp_path: Path) -> None:
    wide = paint(tmp_path / "a.tif", edit=lambda cube: cube[:, 60:70, 60:70].fill(65535))
    narrow = paint(
        tmp_path / "b.tif", dtype="uint8", scale=1 / 255, edit=lambda cube: cube[:, 60:70, 60:70].fill(255)
    )
    assert np.count_nonzero(read_look(scene(wide), GRID).state == State.SATURATED) == 100
    assert read_look(scene(narrow, scale=1 / 255), GRID).usable_fraction == 1.0


def test_an_alpha_band_says_where_data_is(tmp_path: Path) -> None:
    def alpha(cube: NDArray[np.generic]) -> None:
        cube[1] = 255
        cube[1, 60:70, 60:70] = 0

    path = paint(tmp_path / "a.tif", bands=2, dtype="uint8", scale=1 / 255, edit=alpha, alpha="yes")
    look = read_look(scene(path, scale=1 / 255), GRID)
    assert np.count_nonzero(look.state == State.NODATA) == 100


@pytest.mark.parametrize(
    ("kind", "code", "state"),
    [
        ("cloud-mask", 1, State.CLOUD),
        ("cloud-mask", 2, State.CLOUD_SHADOW),
        ("cloud-mask", 3, State.SNOW),
        ("cloud-mask", 255, State.NODATA),
        ("scl", 0, State.NODATA),
        ("scl", 1, State.SATURATED),
        ("scl", 3, State.CLOUD_SHADOW),
        ("scl", 8, State.CLOUD),
        ("scl", 9, State.CLOUD),
        ("scl", 10, State.CLOUD),
        ("scl", 11, State.SNOW),
        *[("scl", clear, State.OBSERVED) for clear in (2, 4, 5, 6, 7)],
        ("cloud-mask", 0, State.OBSERVED),
    ],
)
def test_mask_codes_mean_what_their_standard_says(tmp_path: Path, kind: str, code: int, state: State) -> None:
    clear = 0 if kind == "cloud-mask" else 4

    def codes(cube: NDArray[np.generic]) -> None:
        cube[:] = clear
        cube[0, 80:110, 80:110] = code

    path = paint(tmp_path / "m.tif", dtype="uint8", edit=codes)
    of = scene(paint(tmp_path / "a.tif"), mask=MaskSource(str(path), 1, kind))  # type: ignore[arg-type]
    look = read_look(of, GRID)
    assert (look.state[30:60, 30:60] == state).all()
    assert look.state[5, 5] == State.OBSERVED
    grown = state in (State.CLOUD, State.CLOUD_SHADOW)
    assert (look.state[28, 40] == state) == (grown or state is State.OBSERVED)


def test_a_mask_moves_with_its_scene(tmp_path: Path) -> None:
    def codes(cube: NDArray[np.generic]) -> None:
        cube[:] = 0
        cube[0, 80:110, 80:110] = 3

    mask = MaskSource(str(paint(tmp_path / "m.tif", dtype="uint8", edit=codes)), 1, "cloud-mask")
    look = read_look(scene(paint(tmp_path / "a.tif"), mask=mask), GRID, displacement=shift(10.0, -5.0))
    assert (look.state[35:65, 40:70] == State.SNOW).all()
    assert np.count_nonzero(look.state == State.SNOW) == 900


def test_a_coarse_mask_is_not_interpolated(tmp_path: Path) -> None:
    def codes(cube: NDArray[np.generic]) -> None:
        cube[:] = 0
        cube[0, 4:6, 4:6] = 3

    mask = paint(
        tmp_path / "m.tif",
        dtype="uint8",
        transform=Affine(20.0, 0.0, EAST, 0.0, -20.0, NORTH),
        size=(12, 12),
        edit=codes,
    )
    look = read_look(scene(paint(tmp_path / "a.tif"), mask=MaskSource(str(mask), 1, "cloud-mask")), GRID)
    assert set(np.unique(look.state)) == {State.OBSERVED, State.SNOW}
    assert np.count_nonzero(look.state == State.SNOW) == 1600


def test_small_cloud_patches_stay_masked_and_are_told(tmp_path: Path) -> None:
    def codes(cube: NDArray[np.generic]) -> None:
        cube[:] = 0
        cube[0, 80:85, 80:92] = 1

    mask = MaskSource(str(paint(tmp_path / "m.tif", dtype="uint8", edit=codes)), 1, "cloud-mask")
    look = read_look(scene(paint(tmp_path / "a.tif"), mask=mask), GRID)
    assert look.state[32, 35] == State.CLOUD
    assert any("bright objects may lie there" in note for note in look.notes)


def test_without_a_mask_the_look_says_that_it_was_guessed(tmp_path: Path) -> None:
    look = read_look(scene(paint(tmp_path / "a.tif")), GRID)
    assert "cloud, shadow and snow mask guessed" in look.notes


@pytest.mark.parametrize(("dtype", "value"), [("uint16", 21824), ("uint8", 100), ("float32", 0.4)])
def test_a_mask_of_another_kind_is_not_read_as_one(tmp_path: Path, dtype: str, value: float) -> None:
    def codes(cube: NDArray[np.generic]) -> None:
        cube[:] = 0
        cube[0, 80:, :] = value

    mask = MaskSource(str(paint(tmp_path / "m.tif", dtype=dtype, edit=codes)), 1, "cloud-mask")
    look = read_look(scene(paint(tmp_path / "a.tif"), mask=mask), GRID)
    assert look.usable_fraction == 1.0
    assert any("not used" in note and f"{value:g}" in note for note in look.notes)
    assert "cloud, shadow and snow mask guessed" in look.notes


def test_where_a_mask_has_no_pixel_the_look_says_that_it_was_guessed(tmp_path: Path) -> None:
    clear = paint(tmp_path / "m.tif", dtype="uint8", size=(100, 240), edit=lambda cube: cube.fill(0))
    of = scene(paint(tmp_path / "a.tif"), mask=MaskSource(str(clear), 1, "cloud-mask"))
    assert "its mask leaves out 50% of what it shows: guessed there" in read_look(of, GRID).notes
    far = paint(
        tmp_path / "f.tif",
        dtype="uint8",
        transform=Affine(1.0, 0.0, EAST + 9e3, 0.0, -1.0, NORTH),
        edit=lambda cube: cube.fill(0),
    )
    of = replace(of, mask=MaskSource(str(far), 1, "cloud-mask"))
    assert "cloud, shadow and snow mask guessed" in read_look(of, GRID).notes


def test_a_mask_that_declares_its_own_nodata_is_taken_at_its_word(tmp_path: Path) -> None:
    def codes(cube: NDArray[np.generic]) -> None:
        cube[:] = 0
        cube[0, 80:110, 80:110] = 99

    mask = MaskSource(str(paint(tmp_path / "m.tif", dtype="uint8", edit=codes, nodata=99)), 1, "cloud-mask")
    look = read_look(scene(paint(tmp_path / "a.tif"), mask=mask), GRID)
    assert np.count_nonzero(look.state == State.NODATA) == 900


def test_grey_ground_in_numbers_of_another_scale_is_no_cloud(tmp_path: Path) -> None:
    rough = np.random.default_rng(4).uniform(800.0, 2400.0, (240, 240))
    rough[::8, ::8] = 6000.0  # what stands for white
    grey = paint(tmp_path / "a.tif", bands=3, dtype="float32", edit=lambda cube: np.copyto(cube, rough))
    look = read_look(scene(grey, bands=3, scale=1.0), GRID)
    assert look.usable_fraction == 1.0
    assert "numbers beyond any reflectance: taken as relative brightness" in look.notes
    assert not any("beyond" in note for note in read_look(scene(grey, bands=3), GRID).notes)


def test_angles_are_turned_to_grid_north(tmp_path: Path) -> None:
    grid = replace(GRID, east_m=EAST + 200_000.0)  # two and a half degrees east of the central meridian, 45 N
    of = scene(paint(tmp_path / "a.tif"), sun=Sun(1.0, 30.0), view=View(350.0, 12.0))
    look = read_look(of, grid)
    assert look.sun is not None
    assert look.view is not None
    assert look.sun.azimuth_deg == pytest.approx((1.0 - grid.convergence_deg) % 360.0)
    assert look.view.azimuth_deg == pytest.approx(350.0 - grid.convergence_deg)
    assert grid.convergence_deg == pytest.approx(1.79, abs=0.05)  # 2.54 deg x sin 45 deg


# --- files that cannot be used -------------------------------------------------------------------------------------


def test_a_file_that_vanished_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRaster, match=r"gone\.tif"):
        read_look(scene(tmp_path / "gone.tif"), GRID)


def test_damaged_pixels_are_refused_when_they_are_read(tmp_path: Path) -> None:
    path = paint(tmp_path / "a.tif", compress="deflate", tiled=True, blockxsize=64, blockysize=64)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle - 4000 : middle + 4000] = b"\xff" * 8000
    path.write_bytes(bytes(data))
    with pytest.raises(UnreadableRaster, match=r"a\.tif"):
        read_look(scene(path), GRID)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_file_without_crs_is_refused(tmp_path: Path) -> None:
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=9, width=9, count=1, dtype="uint8"
    ) as file:
        file.write(np.ones((1, 9, 9), np.uint8))
    with pytest.raises(UnsupportedRaster, match="CRS"):
        read_look(scene(tmp_path / "a.tif"), GRID)


# --- speed ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_look_costs_little_more_than_rasterios_own_warp(tmp_path: Path) -> None:
    path = paint(
        tmp_path / "a.tif", size=(1400, 1400), bands=4, compress="deflate", predictor=2, tiled=True, blockxsize=512,
        blockysize=512, interleave="pixel",
    )  # fmt: skip
    grid = SiteGrid(EPSG, EAST + 100.3, NORTH - 100.4, 1.0, 1200, 1200)

    def plain() -> None:
        with rasterio.open(path) as file, WarpedVRT(
            file, crs=grid.crs, transform=grid.transform, width=1200, height=1200, resampling=Resampling.cubic
        ) as warped:  # fmt: skip
            warped.read()

    def timed(work: Callable[[], object]) -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    pairs = [(timed(lambda: read_look(scene(path, bands=4), grid)), timed(plain)) for _ in range(5)]
    # 1.2 measured on a quiet machine, guessed mask included; the margin is for a noisy one.
    assert min(look for look, _ in pairs) < 2.0 * min(floor for _, floor in pairs)
