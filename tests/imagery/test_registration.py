"""Registration: what is put in is measured, what cannot be known is refused."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from imagery.displacement import RegistrationState
from imagery.grid import SiteGrid
from imagery.illumination import View
from imagery.look import Look
from imagery.observability import ObservationState
from imagery.registration import ArrayRegistration, estimate_displacement, register_arrays
from imagery.registration.motion import fit_motion
from imagery.registration.prefilter import filled
from imagery.registration.refinement import Motion, warp
from imagery.registration.shadows import shadow_mask

REAL = Path(__file__).parents[3] / "shared/data/real"
Image = NDArray[np.float32]


def texture(side: int, seed: int, slope: float = 1.5) -> NDArray[np.float64]:
    """Return a random-phase surface of unit deviation, periodic."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = 1.0
    spectrum = frequency**-slope * np.exp(2j * np.pi * rng.random(frequency.shape))
    spectrum[0, 0] = 0.0
    surface = np.fft.irfft2(spectrum, s=(side, side))
    return surface / surface.std()


def moved(surface: NDArray[np.float64], row: float, col: float) -> NDArray[np.float64]:
    """Move the content of a periodic surface by an exact phase ramp."""
    down = np.fft.fftfreq(surface.shape[0])[:, None]
    across = np.fft.rfftfreq(surface.shape[1])[None, :]
    ramp = np.exp(-2j * np.pi * (down * row + across * col))
    return np.fft.irfft2(np.fft.rfft2(surface) * ramp, s=surface.shape)


def pair(
    side: int, row: float, col: float, *, noise: float = 0.02, seed: int = 1, slope: float = 1.5
) -> tuple[Image, Image]:
    """Return two chips of one surface, the content of the second moved by (row, col)."""
    surface = texture(side + 80, seed, slope)
    rng = np.random.default_rng(seed + 1000)
    chips = [
        s[40:-40, 40:-40] + noise * rng.standard_normal((side, side))
        for s in (surface, moved(surface, row, col))
    ]
    return chips[0].astype(np.float32), chips[1].astype(np.float32)


def register(reference: Image, target: Image, *, reach: float = 20.0) -> ArrayRegistration:
    """Register two whole chips."""
    return register_arrays(
        reference, target, np.ones(reference.shape, bool), np.ones(target.shape, bool), max_shift_px=reach
    )


def error(answer: ArrayRegistration, row: float, col: float) -> float:
    """Return how far the answer is from undoing a move of (row, col)."""
    return float(np.hypot(answer.shift_px[0] + row, answer.shift_px[1] + col))


@settings(max_examples=12, deadline=None)
@given(st.floats(-9.0, 9.0), st.floats(-9.0, 9.0))
def test_a_shift_put_in_is_the_shift_measured_on_both_axes_and_signs(row: float, col: float) -> None:
    answer = register(*pair(160, row, col))
    assert answer.state is RegistrationState.USE
    assert error(answer, row, col) < 0.02


def test_adding_the_displacement_brings_the_target_onto_the_reference() -> None:
    reference, target = pair(192, 2.4, -3.3, noise=0.0)
    answer = register(reference, target)
    back = ndimage.shift(target, answer.shift_px, order=3, mode="nearest")
    inner = np.s_[12:-12, 12:-12]
    before, after = (np.abs(image - reference)[inner].mean() for image in (target, back))
    assert after < 0.1 * before


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([-1.0, 1.0]), st.floats(0.01, 900.0), st.floats(-1000.0, 1000.0))
def test_gain_offset_and_inverted_contrast_change_nothing(sign: float, gain: float, offset: float) -> None:
    reference, target = pair(160, 1.3, -2.6, noise=0.01)
    plain = register(reference, target)
    other = register(reference, (sign * gain * target + offset).astype(np.float32))
    assert other.state is RegistrationState.USE
    assert np.allclose(other.shift_px, plain.shift_px, atol=0.01)
    assert other.contrast_inverted == (sign < 0)


def test_swapping_the_images_turns_the_shift_round() -> None:
    reference, target = pair(192, 3.7, 1.2)
    there, back = register(reference, target), register(target, reference)
    assert np.allclose(there.shift_px, -np.array(back.shift_px), atol=0.01)


def test_the_same_input_gives_the_same_numbers() -> None:
    chips = pair(200, 1.1, 0.4)
    first, second = register(*chips), register(*chips)
    assert first.shift_px == second.shift_px
    assert first.quality == second.quality


@pytest.mark.parametrize("seed", range(6))
def test_unrelated_places_are_not_registered(seed: int) -> None:
    side = (64, 96, 160)[seed % 3]
    first, second = (texture(side, 50 + seed + k).astype(np.float32) for k in (0, 100))
    assert register(first, second).state is RegistrationState.NOT_REGISTERED


def test_noise_flat_and_smooth_images_are_not_registered() -> None:
    rng = np.random.default_rng(3)
    noise = [rng.standard_normal((160, 160)).astype(np.float32) for _ in (0, 1)]
    ramp = np.tile(np.linspace(0, 1, 160, dtype=np.float32), (160, 1))
    smooth = ndimage.gaussian_filter(noise[0], 25)
    for first, second in (
        (noise[0], noise[1]),
        (ramp, ramp),
        (ramp, noise[0]),
        (smooth, smooth + 0.1 * noise[1]),
    ):
        assert register(first, second).state is RegistrationState.NOT_REGISTERED
    constant = register(np.ones((160, 160), np.float32), noise[0])
    assert constant.reasons == ("too_little_texture",)


def test_a_straight_edge_tells_nothing_along_itself() -> None:
    rng = np.random.default_rng(4)
    across = np.mgrid[:192, :192][1]
    first, second = (
        ((across > at) + 0.02 * rng.standard_normal((192, 192))).astype(np.float32) for at in (80, 83)
    )
    assert register(first, second).state is RegistrationState.NOT_REGISTERED


def test_a_lattice_of_identical_containers_is_reported_as_ambiguous() -> None:
    rng = np.random.default_rng(5)
    chips = []
    for row, col in ((0.0, 0.0), (2.3, -1.2)):
        down, across = np.mgrid[:256, :256].astype(float)
        tall = 1 / (1 + np.exp(-6 * (np.cos(2 * np.pi * (down - row) / 30) - 0.2)))
        wide = 1 / (1 + np.exp(-6 * (np.cos(2 * np.pi * (across - col) / 30) - 0.5)))
        chips.append((tall * wide + 0.02 * rng.standard_normal((256, 256))).astype(np.float32))
    far = register(*chips, reach=40.0)
    assert "ambiguous_lattice" in far.reasons
    assert far.state is RegistrationState.NOT_REGISTERED
    near = register(*chips, reach=10.0)
    assert near.state is RegistrationState.USE
    assert error(near, 2.3, -1.2) < 0.02


def test_masks_on_both_sides_hide_what_they_cover() -> None:
    reference, target = pair(256, 2.2, -4.1)
    seen_r, seen_t = np.ones((256, 256), bool), np.ones((256, 256), bool)
    reference[:90], seen_r[:90] = 9.0, False
    target[:, :100], seen_t[:, :100] = np.nan, False
    answer = register_arrays(reference, target, seen_r, seen_t, max_shift_px=20)
    assert answer.state is RegistrationState.USE
    assert error(answer, 2.2, -4.1) < 0.03


def test_nothing_seen_is_nothing_measured() -> None:
    reference, target = pair(128, 1.0, 1.0)
    seen = np.ones((128, 128), bool)
    answer = register_arrays(reference, target, seen, ~seen, max_shift_px=10)
    assert (answer.state, answer.reasons) == (RegistrationState.NOT_REGISTERED, ("no_overlap",))
    nothing = register_arrays(reference, np.full_like(target, np.nan), seen, seen, max_shift_px=10)
    assert nothing.reasons == ("no_overlap",)


def test_a_yard_that_fills_up_does_not_pull_the_shift() -> None:
    reference, target = pair(320, 1.6, -0.9, slope=1.3)
    rng = np.random.default_rng(8)
    for row in range(80, 240, 16):
        for col in range(80, 240, 7):
            target[row : row + 13, col : col + 5] = rng.uniform(-4, 4)
    answer = register(reference, target)
    assert answer.state is not RegistrationState.NOT_REGISTERED
    assert error(answer, 1.6, -0.9) < 0.05


def boxes_under_sun(azimuth_deg: float, row: float, col: float) -> Image:
    """Return ground with raised boxes and their shadows, the content moved by (row, col), 4 x supersampled."""
    rng = np.random.default_rng(21)
    fine = 1120
    ground = 1.0 + 0.06 * texture(fine, 22, 1.5)
    height = np.zeros((fine, fine))
    for _ in range(60):
        r, c = rng.integers(60, fine - 120, 2)
        tall, wide = rng.integers(20, 60, 2)
        ground[r : r + tall, c : c + wide] = rng.uniform(0.6, 1.8)
        height[r : r + tall, c : c + wide] = rng.uniform(10, 30)
    shadow = np.zeros((fine, fine), bool)
    toward = np.array([-np.cos(np.radians(azimuth_deg)), np.sin(np.radians(azimuth_deg))])
    for k in range(1, 31, 2):
        shadow |= np.roll(height, tuple(np.rint(-toward * k).astype(int)), (0, 1)) > height + k
    blurred = moved(
        ndimage.gaussian_filter(np.where(shadow, 0.3, 1.0) * ground, 3.0, mode="wrap"), 4 * row, 4 * col
    )
    return blurred[::4, ::4].astype(np.float32)


def test_shadows_that_moved_with_the_sun_do_not_pull_the_shift() -> None:
    morning, evening = boxes_under_sun(120.0, 0.0, 0.0), boxes_under_sun(230.0, 1.4, -2.3)
    answer = register(morning, evening)
    assert answer.state is not RegistrationState.NOT_REGISTERED
    assert error(answer, 1.4, -2.3) < 0.15


def test_shadow_is_found_where_it_is_dark_against_the_neighbourhood() -> None:
    image = np.ones((120, 120), np.float32)
    image[50:62, 50:70] = 0.2
    found = shadow_mask(image + 0.01 * texture(120, 3).astype(np.float32), np.ones((120, 120), bool))
    assert found[52:60, 52:68].all()
    assert found[:40].mean() < 0.05


def _warped(surface: NDArray[np.float64], side: int, displacement: NDArray[np.float64]) -> Image:
    """Return a chip whose pixel q shows the surface at q + displacement(q), quintic."""
    grid = np.mgrid[:side, :side].astype(float) + 40
    return ndimage.map_coordinates(surface, grid + displacement, order=5, mode="grid-wrap").astype(np.float32)


def test_rotation_and_scale_are_measured_over_the_whole_chip() -> None:
    side, surface = 288, ndimage.gaussian_filter(texture(368, 31), 1.0, mode="wrap")
    down, across = np.mgrid[:side, :side] - (side - 1) / 2
    turn, scale = np.radians(0.2), 0.001
    truth = np.stack([scale * down - turn * across + 1.5, turn * down + scale * across - 0.7])
    answer = register(_warped(surface, side, np.zeros_like(truth)), _warped(surface, side, truth))
    at = np.stack([(truth[0] * 0 + np.arange(side)[:, None]).ravel(), np.tile(np.arange(side), side)], axis=1)
    found = answer.displacement_at(at.astype(float)).T.reshape(truth.shape)
    assert np.sqrt(np.mean(np.sum((found - truth) ** 2, axis=0))) < 0.02


def test_a_smooth_local_field_is_followed_only_where_it_is_there() -> None:
    side, surface = 352, ndimage.gaussian_filter(texture(432, 32), 1.0, mode="wrap")
    down, across = np.mgrid[:side, :side].astype(float)
    truth = np.stack([0.8 * np.sin(2 * np.pi * across / 260), 0.8 * np.sin(2 * np.pi * down / 300 + 1)])
    answer = register(_warped(surface, side, np.zeros_like(truth)), _warped(surface, side, truth))
    assert answer.field is not None
    at = np.stack([down.ravel(), across.ravel()], axis=1)
    found = answer.displacement_at(at).T.reshape(truth.shape)
    assert np.sqrt(np.mean(np.sum((found - truth) ** 2, axis=0))) < 0.25
    assert register(*pair(352, 1.2, 0.3)).field is None


def test_target_positions_and_displacements_are_inverse() -> None:
    side, surface = 288, ndimage.gaussian_filter(texture(368, 33), 1.0, mode="wrap")
    down, across = np.mgrid[:side, :side].astype(float)
    truth = np.stack([0.004 * across + 1.0, -0.003 * down + 0.7 * np.sin(2 * np.pi * across / 250)])
    answer = register(_warped(surface, side, np.zeros_like(truth)), _warped(surface, side, truth))
    at = np.random.default_rng(1).uniform(30, side - 30, (200, 2))
    q = answer.target_position(at)
    assert np.allclose(q + answer.displacement_at(q), at, atol=2e-3)


@pytest.mark.parametrize("side", [44, 64, 96, 128])
def test_small_chips_work(side: int) -> None:
    answer = register(*pair(side, 2.3, -1.6, seed=side), reach=8.0)
    assert answer.state is not RegistrationState.NOT_REGISTERED
    assert error(answer, 2.3, -1.6) < 0.15


def test_chips_too_small_to_judge_are_refused() -> None:
    assert register(*pair(24, 0.0, 0.0)).reasons == ("too_small",)


def test_shifts_beyond_the_search_range_are_not_accepted() -> None:
    assert register(*pair(200, 30.0, 4.0), reach=10.0).state is RegistrationState.NOT_REGISTERED


def test_large_scenes_keep_their_accuracy() -> None:
    answer = register(*pair(1400, -7.25, 3.4), reach=30.0)
    assert answer.state is RegistrationState.USE
    assert error(answer, -7.25, 3.4) < 0.03


def test_filling_leaves_valid_pixels_and_makes_no_edge() -> None:
    image = np.full((96, 96), 5.0, np.float32)
    image[:40] = 900.0
    valid = np.ones((96, 96), bool)
    valid[:40] = False
    assert np.allclose(filled(image, valid), 0.0, atol=1e-4)


def test_a_translation_is_warped_like_the_general_spline() -> None:
    rng = np.random.default_rng(2)
    coefficients = rng.standard_normal((60, 70)).astype(np.float32)
    seen = np.ones((60, 70), bool)
    shift = Motion(np.array([2.3, -1.6]), np.zeros((2, 2)), np.zeros(2))
    general = ndimage.shift(coefficients, (-2.3, 1.6), order=3, prefilter=False)
    assert np.allclose(
        warp(coefficients, seen, seen, shift).image[9:-9, 9:-9], general[9:-9, 9:-9], atol=1e-5
    )


def test_a_third_of_wrong_windows_does_not_move_the_fit() -> None:
    rng = np.random.default_rng(6)
    at = rng.uniform(0, 400, (90, 2))
    shifts = np.array([1.5, -2.5]) + 0.02 * rng.standard_normal((90, 2))
    shifts[:30] += rng.uniform(1.0, 2.0, (30, 2))
    fit = fit_motion(at, shifts, np.full(90, 0.03**2), np.array([200.0, 200.0]), affine=False)
    assert np.allclose(fit.motion.shift, [1.5, -2.5], atol=0.02)


# --- looks -----------------------------------------------------------------------------------------------------------

GRID = SiteGrid(32636, 500_000.0, 5_000_000.0, 0.5, 224, 224)


def look(
    image: Image, *, bands: tuple[str, ...] = ("red",), gsd_m: float = 0.5, view: View | None = None
) -> Look:
    """Return a look of one grey image in every band."""
    planes = np.stack([image * (0.5 + 0.2 * k) + 0.1 * k for k in range(len(bands))]).astype(np.float32)
    state = np.zeros(image.shape, np.uint8)
    return Look("scene", datetime(2024, 5, 1, tzinfo=UTC), GRID, bands, planes, state, gsd_m, None, view)


def test_displacement_is_told_in_metres_east_and_north() -> None:
    reference, target = pair(224, 2.0, -3.0)
    found = estimate_displacement(look(reference), look(target), max_shift_m=8.0)
    # Content lies 2 rows too far south and 3 columns too far west: it must go north and east.
    assert found.north_m == pytest.approx(1.0, abs=0.02)
    assert found.east_m == pytest.approx(1.5, abs=0.02)
    east, north = found.forward @ GRID.centre
    assert (east - GRID.centre[0], north - GRID.centre[1]) == pytest.approx((1.5, 1.0), abs=0.02)


def test_rotation_has_the_right_sign_in_metres() -> None:
    side, surface = 224, ndimage.gaussian_filter(texture(304, 41), 1.0, mode="wrap")
    down, across = np.mgrid[:side, :side] - (side - 1) / 2
    truth = np.stack([-0.004 * across, 0.004 * down])
    reference, target = _warped(surface, side, np.zeros_like(truth)), _warped(surface, side, truth)
    found = estimate_displacement(look(reference), look(target), max_shift_m=8.0)
    east, north = GRID.east_m + 20.0, GRID.north_m - 30.0
    (dee, den), (dne, dnn) = found.linear
    from_centre = np.array([east - found.centre[0], north - found.centre[1]])
    moved_by = np.array([[dee, den], [dne, dnn]]) @ from_centre + [found.east_m, found.north_m]
    row, col = GRID.pixel(east, north)
    rows = truth[0][0, round(col - 0.5)], truth[1][round(row - 0.5), 0]
    assert moved_by == pytest.approx([rows[1] * 0.5, -rows[0] * 0.5], abs=0.02)


def test_panchromatic_is_registered_against_multispectral() -> None:
    reference, target = pair(224, 1.0, 2.0)
    found = estimate_displacement(
        look(reference, bands=("blue", "green", "red", "nir")), look(target, bands=("pan",)), max_shift_m=8.0
    )
    assert (found.east_m, found.north_m) == pytest.approx((-1.0, 0.5), abs=0.03)


def test_a_coarser_scene_is_matched_after_blurring_the_sharper_one() -> None:
    reference, target = pair(224, 1.5, -2.5, noise=0.0)
    coarse = ndimage.gaussian_filter(target, 1.3)
    found = estimate_displacement(look(reference), look(coarse, gsd_m=1.5), max_shift_m=8.0)
    assert found.state is RegistrationState.USE
    assert (found.east_m, found.north_m) == pytest.approx((1.25, 0.75), abs=0.03)


def test_views_from_opposite_sides_are_flagged() -> None:
    reference, target = pair(224, 1.0, 0.0)
    apart = estimate_displacement(
        look(reference, view=View(90.0, 20.0)), look(target, view=View(270.0, 20.0)), max_shift_m=8.0
    )
    assert "parallax" in apart.reasons
    near = estimate_displacement(
        look(reference, view=View(90.0, 8.0)), look(target, view=View(120.0, 8.0)), max_shift_m=8.0
    )
    assert "parallax" not in near.reasons


def test_clouded_ground_and_named_places_are_left_out() -> None:
    reference, target = pair(224, 1.0, 1.0)
    target[:, :80] = 7.0
    seen = look(target)
    seen.state[:, :80] = ObservationState.CLOUD
    weight = np.ones((224, 224), np.float32)
    weight[:60] = 0.0
    reference[:60] = -3.0
    found = estimate_displacement(look(reference), seen, max_shift_m=8.0, reference_weight=weight)
    assert (found.east_m, found.north_m) == pytest.approx((-0.5, 0.5), abs=0.03)


def test_not_registered_moves_nothing() -> None:
    found = estimate_displacement(
        look(texture(224, 1).astype(np.float32)), look(texture(224, 2).astype(np.float32)), max_shift_m=8.0
    )
    assert not found.registered
    assert (found.east_m, found.north_m, found.linear) == (0.0, 0.0, ((0.0, 0.0), (0.0, 0.0)))


def test_looks_on_two_grids_are_refused() -> None:
    first = look(texture(224, 1).astype(np.float32))
    other = Look(
        "other",
        first.t_utc,
        GRID.window(1, 0, 224, 224),
        first.bands,
        first.reflectance,
        first.state,
        0.5,
        None,
        None,
    )
    with pytest.raises(ValueError, match="one grid"):
        estimate_displacement(first, other, max_shift_m=8.0)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="the real imagery is not here")
def test_the_suburb_of_the_orfeo_toolbox_lies_twelve_and_sixteen_pixels_off() -> None:
    chips = []
    for name in ("QB_Suburb.png", "QB_Suburb13x17y.png"):
        with (
            pytest.warns(rasterio.errors.NotGeoreferencedWarning),
            rasterio.open(REAL / "otb_examples" / name) as file,
        ):
            chips.append(file.read(1).astype(np.float32))
    target = np.full(chips[0].shape, np.nan, np.float32)
    target[: chips[1].shape[0], : chips[1].shape[1]] = chips[1]
    answer = register(chips[0], target, reach=40.0)
    assert answer.state is RegistrationState.USE
    assert answer.shift_px == pytest.approx((16.0, 12.0), abs=0.01)
