"""The learned presence map: what it must not depend on, and that it sees a plain box and a plain bank."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from imagery.blocks import block_mean
from imagery.evidence.network import (
    BORDER_M,
    CLASSES,
    WEIGHTS,
    NetworkWeightsDamaged,
    NetworkWeightsMissing,
    PresenceNetwork,
    _away_from_missing,
    condition_vector,
    normalised,
    slots,
    weights_sha256,
)
from imagery.grid import SiteGrid
from imagery.illumination import Sun, View
from imagery.look import Look
from imagery.observability import ObservationState
from imagery.order_statistics import percentiles_in_order

RGBN = ("blue", "green", "red", "nir")
SUN = Sun(160.0, 40.0)


@pytest.fixture(scope="module")
def network() -> PresenceNetwork:
    return PresenceNetwork.load()


def look_of(
    image: NDArray[np.float32],
    bands: tuple[str, ...] = RGBN,
    *,
    grid_gsd_m: float = 0.5,
    look_gsd_m: float | None = None,
    state: NDArray[np.uint8] | None = None,
) -> Look:
    grid = SiteGrid(32636, 500_000.0, 5_000_000.0, grid_gsd_m, *image.shape[1:])
    state = np.zeros(grid.shape, np.uint8) if state is None else state
    image = np.where(state == ObservationState.OBSERVED, image, np.nan).astype(np.float32)
    when = datetime(2026, 5, 1, tzinfo=UTC)
    return Look("scene", when, grid, bands, image, state, look_gsd_m or grid_gsd_m, SUN, View(90.0, 5.0))


def ground(shape: tuple[int, int], bands: int = 4, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    rough = ndimage.gaussian_filter(rng.standard_normal((bands, *shape)), (0, 3, 3)) * 0.08
    fine = rng.standard_normal((bands, *shape)) * 0.004
    return (0.2 + rough + fine).astype(np.float32)


def with_containers(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Stand six 40 ft containers side by side on the ground, with the shadow of a sun in the south-south-east."""
    image, box = image.copy(), np.zeros(image.shape[1:], bool)
    rng = np.random.default_rng(5)
    for k in range(6):
        left = 100 + 7 * k
        box[100:124, left : left + 5] = True
        image[:, 100:124, left : left + 5] = rng.uniform(0.1, 0.7, (image.shape[0], 1, 1))
    shadow = np.roll(box, (-6, -2), (0, 1)) & ~box
    image[:, shadow] *= 0.35
    return image, box


def test_classes_keep_their_order() -> None:
    assert CLASSES == ("container", "berm", "other")


def test_log_odds_lie_on_the_looks_grid_and_are_finite_where_seen(network: PresenceNetwork) -> None:
    found = network.log_odds(look_of(ground((70, 133))))
    assert found.shape == (3, 70, 133)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_a_row_of_containers_is_seen_and_empty_ground_is_not(network: PresenceNetwork) -> None:
    empty = ground((256, 256))
    full, box = with_containers(empty)
    with_box, without = network.log_odds(look_of(full)), network.log_odds(look_of(empty))
    assert np.median(with_box[0][box]) > 0
    assert (without[0] < 0).mean() > 0.999
    assert np.median(with_box[0][box]) > np.median(without[0][box]) + 3


@pytest.mark.parametrize("bands", [RGBN, RGBN[:3], ("pan",), ("green", "red", "nir"), ("red",)])
def test_containers_are_seen_with_any_band_set(network: PresenceNetwork, bands: tuple[str, ...]) -> None:
    full, box = with_containers(ground((224, 224), len(bands)))
    found = network.log_odds(look_of(full, bands))
    assert np.median(found[0][box]) > np.quantile(found[0][~box], 0.98)


def test_gain_and_offset_of_each_band_change_nothing(network: PresenceNetwork) -> None:
    full, _ = with_containers(ground((192, 192)))
    gain = np.array([3.0, 0.2, 40.0, 1.0], np.float32)[:, None, None]
    offset = np.array([-0.3, 0.5, 100.0, 0.0], np.float32)[:, None, None]
    plain, changed = network.log_odds(look_of(full)), network.log_odds(look_of(full * gain + offset))
    np.testing.assert_allclose(changed, plain, atol=0.02)


def test_unseen_ground_and_eight_metres_beside_it_have_no_answer(network: PresenceNetwork) -> None:
    state = np.zeros((160, 160), np.uint8)
    state[:, :40] = ObservationState.CLOUD
    found = network.log_odds(look_of(ground((160, 160)), state=state))
    assert np.isnan(found[:, :, :56]).all()
    assert np.isfinite(found[:, :, 57:]).all()


def test_single_missing_pixels_cost_only_themselves(network: PresenceNetwork) -> None:
    state = np.zeros((128, 128), np.uint8)
    state[64, 64] = ObservationState.SATURATED
    found = network.log_odds(look_of(ground((128, 128)), state=state))
    assert np.isnan(found[0]).sum() == 1


def test_a_look_never_seen_has_no_answer(network: PresenceNetwork) -> None:
    state = np.full((40, 40), ObservationState.CLOUD, np.uint8)
    assert np.isnan(network.log_odds(look_of(ground((40, 40)), state=state))).all()


def test_the_same_look_gives_the_same_bytes_whoever_asks(network: PresenceNetwork) -> None:
    look = look_of(ground((200, 180)))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: network.log_odds(look).tobytes(), range(4)))
    assert len(set(answers)) == 1
    assert PresenceNetwork.load().log_odds(look).tobytes() == answers[0]


def test_a_fine_grid_is_answered_at_the_looks_own_pixel_size(network: PresenceNetwork) -> None:
    coarse = ground((50, 60))
    fine = coarse.repeat(4, 1).repeat(4, 2)
    found = network.log_odds(look_of(fine, grid_gsd_m=0.5, look_gsd_m=2.0))
    own = network.log_odds(look_of(coarse, grid_gsd_m=2.0))
    assert found.shape == (3, 200, 240)
    np.testing.assert_allclose(block_mean(found, 4)[:, 2:-2, 2:-2], own[:, 2:-2, 2:-2], atol=0.6)


def test_pixels_finer_than_trained_for_are_averaged_first(network: PresenceNetwork) -> None:
    full, box = with_containers(ground((224, 224)))
    fine = full.repeat(4, 1).repeat(4, 2)
    found = network.log_odds(look_of(fine, grid_gsd_m=0.125))
    assert found.shape == (3, 896, 896)
    assert np.median(found[0][box.repeat(4, 0).repeat(4, 1)]) > np.quantile(found[0][0:320], 0.99)


def test_a_look_coarser_than_four_metres_has_no_answer(network: PresenceNetwork) -> None:
    assert np.isnan(network.log_odds(look_of(ground((40, 40)), grid_gsd_m=10.0))).all()
    assert np.isnan(network.log_odds(look_of(ground((40, 40)), grid_gsd_m=1.0, look_gsd_m=10.0))).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (33, 31)])
def test_any_shape_is_answered(network: PresenceNetwork, shape: tuple[int, int]) -> None:
    assert np.isfinite(network.log_odds(look_of(ground(shape)))).all()


def test_constant_ground_is_answered_without_warnings(network: PresenceNetwork) -> None:
    assert np.isfinite(network.log_odds(look_of(np.full((4, 64, 64), 0.2, np.float32)))).all()


@pytest.mark.long
def test_tiles_leave_no_seams(network: PresenceNetwork) -> None:
    full = ground((160, 1700), seed=3)
    left, right = full[:, :, :1000], full[:, :, 900:]
    whole = network.log_odds(look_of(full))
    # Tiles begin at pixel 1280; the parts are answered in one piece each. Brightness cells differ a little.
    for part, start in ((left, 0), (right, 900)):
        found = network.log_odds(look_of(part))
        middle = slice(200, found.shape[2] - 200)
        difference = np.abs(found - whole[:, :, start : start + found.shape[2]])[:, :, middle]
        assert np.median(difference) < 0.5


def test_missing_values_are_zero_after_normalisation_and_do_not_move_the_rest() -> None:
    image = ground((256, 256), 1)
    holed = image.copy()
    holed[0, 100:110, 100:110] = np.nan
    plain, found = normalised(image), normalised(holed)
    assert (found[0, 100:110, 100:110] == 0).all()
    outside = np.isfinite(holed)
    assert np.abs(found[outside] - plain[outside]).max() < 0.05


def test_a_missing_band_is_filled_with_the_mean_of_the_visible_ones() -> None:
    image = ground((8, 8), 3)
    filled = slots(("blue", "green", "red"), image)
    np.testing.assert_allclose(filled[3], image.mean(0), rtol=1e-6)
    assert (slots(("pan",), image[:1]) == image[:1]).all()


def test_the_condition_points_where_shadows_fall() -> None:
    east, north = condition_vector(RGBN, Sun(180.0, 45.0), None, 0.8)[:2]
    assert abs(east) < 1e-6
    assert north == pytest.approx(0.5)  # half a metre per metre of height, towards the north


def test_the_card_describes_the_packaged_weights(network: PresenceNetwork) -> None:
    card = json.loads(WEIGHTS.with_name("presence.json").read_text())
    assert card["sha256"] == network.weights_sha256
    assert card["classes"] == list(CLASSES)
    assert sum(path.stat().st_size for path in WEIGHTS.parent.iterdir()) < 5 * 2**20


def test_the_hash_of_the_weights_is_known_without_loading_them(network: PresenceNetwork) -> None:
    assert weights_sha256() == network.weights_sha256


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkWeightsMissing, match=r"nothing\.onnx"):
        PresenceNetwork.load(tmp_path / "nothing.onnx")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(WEIGHTS.read_bytes()[:1000])
    with pytest.raises(NetworkWeightsDamaged):
        PresenceNetwork.load(broken)


def test_weights_that_are_not_those_of_the_card_are_refused(tmp_path: Path) -> None:
    (tmp_path / "presence.onnx").write_bytes(WEIGHTS.read_bytes())
    (tmp_path / "presence.json").write_text('{"sha256": "0"}')
    with pytest.raises(NetworkWeightsDamaged, match=r"presence\.json"):
        PresenceNetwork.load(tmp_path / "presence.onnx")


@given(
    hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)),
    st.sampled_from([0.1, 0.3, 0.31, 0.5, 0.8, 1.0, 2.7, 4.0, 10.0]),
    st.integers(1, 5),
)
def test_the_border_of_missing_ground_is_where_a_distance_transform_says(
    seen: NDArray[np.bool_], gsd_m: float, blocks: int
) -> None:
    seen = np.kron(seen, np.ones((blocks, blocks), bool))
    missing = ndimage.binary_opening(~seen, np.ones((3, 3)), border_value=1) & ~seen
    far = ndimage.distance_transform_edt(~missing) * gsd_m > BORDER_M if missing.any() else True
    np.testing.assert_array_equal(_away_from_missing(seen, gsd_m), seen & far)


@given(hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(-2, 2, width=32)))
def test_percentiles_are_numpys_to_the_bit(values: NDArray[np.float32]) -> None:
    assert percentiles_in_order(np.sort(values), (5, 50, 95)) == np.percentile(values, (5, 50, 95)).tolist()
