"""Registration looks where both looks show ground, however large the chip around it is."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import ndimage

from imagery.grid import SiteGrid
from imagery.look import Look
from imagery.observability import ObservationState
from imagery.registration import Reference, estimate_displacement
from imagery.registration.looks import common_part, common_side

GRID = SiteGrid(32633, 500_000.0, 5_550_000.0, 10.0, 386, 385)


def small_look(shift_px: tuple[float, float], inset: int) -> Look:
    """Return a look of a hundred textured pixels amid a chip that is otherwise outside the scene."""
    rng = np.random.default_rng(5)
    ground = ndimage.gaussian_filter(rng.standard_normal(GRID.shape), 1.5).astype(np.float32)
    image = ndimage.shift(ground, shift_px, order=5, mode="reflect").astype(np.float32) + 0.2
    state = np.full(GRID.shape, ObservationState.OUTSIDE_FOOTPRINT, np.uint8)
    state[inset : inset + 100, inset : inset + 100] = ObservationState.OBSERVED
    image[state != ObservationState.OBSERVED] = np.nan
    when = datetime(2024, 1, 1, tzinfo=UTC)
    return Look(f"look {shift_px}", when, GRID, ("red",), image[None], state, 10.0, None, None)


@pytest.mark.parametrize("inset", [0, 143, 280])
def test_a_small_scene_on_a_large_chip_is_registered(inset: int) -> None:
    found = estimate_displacement(
        small_look((0, 0), inset), small_look((0.37, -1.6), inset), max_shift_m=60.0
    )
    assert found.registered
    assert found.east_m == pytest.approx(16.0, abs=0.5)
    assert found.north_m == pytest.approx(3.7, abs=0.5)


def test_a_reference_kept_for_many_targets_changes_no_answer() -> None:
    reference = small_look((0, 0), 143)
    kept = Reference(reference)
    coarser = replace(small_look((1.0, 0.4), 143), gsd_m=20.0)
    targets = [
        small_look((0.37, -1.6), 143),
        small_look((-0.8, 0.2), 160),
        coarser,
        small_look((0.37, -1.6), 143),
    ]
    for target in targets:
        assert estimate_displacement(kept, target, max_shift_m=60.0) == estimate_displacement(
            reference, target, max_shift_m=60.0
        )
    weight = np.ones(GRID.shape, np.float32)
    weight[180:200, 180:220] = 0.0
    assert estimate_displacement(
        kept, targets[0], max_shift_m=60.0, reference_weight=weight
    ) == estimate_displacement(reference, targets[0], max_shift_m=60.0, reference_weight=weight)
    assert estimate_displacement(kept, targets[0], max_shift_m=60.0) == estimate_displacement(
        reference, targets[0], max_shift_m=60.0
    )


def test_the_common_part_is_what_one_shows_within_reach_of_the_other() -> None:
    first, second = np.zeros((2, 200, 300), bool)
    first[20:120, 30:280] = True
    second[60:190, 100:150] = True
    rows, cols = common_part(first, second, 10.0)
    assert (rows, cols) == (slice(42, 138), slice(82, 168))


def test_without_anything_seen_the_whole_chip_is_the_part() -> None:
    nothing = np.zeros((50, 60), bool)
    assert common_part(nothing, nothing, 5.0) == (slice(0, 50), slice(0, 60))


def strips(common_px: int) -> tuple[Look, Look]:
    """Return two looks of one ground, each with noise of its own, that share a strip of so many columns."""
    rng = np.random.default_rng(6)
    ground = ndimage.gaussian_filter(rng.standard_normal(GRID.shape), 2.0) * 0.3 + 0.2
    looks = []
    for columns in (slice(0, 188 + common_px), slice(188, None)):
        image = np.full(GRID.shape, np.nan, np.float32)
        noise = rng.normal(scale=0.004, size=GRID.shape)
        image[:, columns] = (ground + noise)[:, columns]
        state = np.where(np.isnan(image), ObservationState.OUTSIDE_FOOTPRINT, 0).astype(np.uint8)
        looks.append(replace(small_look((0, 0), 0), reflectance=image[None], state=state))
    return looks[0], looks[1]


@pytest.mark.parametrize(("common_px", "registered"), [(24, False), (38, False), (42, True), (100, True)])
def test_looks_with_a_narrow_strip_in_common_are_not_registered(common_px: int, registered: bool) -> None:
    found = estimate_displacement(*strips(common_px), max_shift_m=60.0)
    assert found.registered is registered
    if registered:
        assert (found.east_m, found.north_m) == pytest.approx((0.0, 0.0), abs=1.5)
    else:
        assert found.reasons == ("too_small",)
        assert found.quality == 0.0


def test_the_common_side_is_measured_where_the_target_lies_once_moved() -> None:
    first, second = np.zeros((2, 200, 300), bool)
    first[20:120, 30:130] = True
    second[20:120, 100:250] = True
    assert common_side(first, second, (0.0, 0.0)) == 30
    assert common_side(first, second, (0.0, -20.2)) == 50
    assert common_side(first, second, (0.4, 5.0)) == 25
    assert common_side(first, second, (-90.0, -60.0)) == 10
    assert common_side(first, second, (0.0, 60.0)) == 0
