"""Which pixels about a change are the container: its shadow is not, whichever way it falls, and no look's order matters."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from imagery import delineation
from imagery.changes import Direction, LookEvidence, ObjectClass
from imagery.delineation import SUNWARD_M, delineated, names, surroundings
from imagery.evidence.network import NetworkWeightsDamaged
from imagery.grid import SiteGrid
from imagery.lifecycle import Lifecycle, LifecycleOptions, follow
from imagery.objects import OUTLINE_LEVEL
from imagery.verification import Window, presence_difference

GRID = SiteGrid(32633, 500_000.0, 5_500_060.0, 0.5, 120, 120)
# A row of four, 12 by 11 m, and the strip that its shadow fills with the sun in the south.
ROOF = (slice(60, 82), slice(40, 64))
SHADOW = (slice(54, 60), slice(40, 64))
SOUTH = 180.0


def scene(
    azimuth_deg: float | None = SOUTH, roof: float = 0.5, count: int = 2
) -> tuple[list[LookEvidence], Window]:
    """Return looks of which the later half shows a row, and a detector that takes it and its shadow for one object."""
    rng = np.random.default_rng(5)
    evidence = np.full((count, *GRID.shape), -8.0, np.float32) + rng.normal(0, 0.5, (count, *GRID.shape))
    light = rng.normal(0.0, 0.03, (count, *GRID.shape))
    for look in range(count // 2, count):
        evidence[look][ROOF] = 5.0
        evidence[look][SHADOW] = 2.0
        light[look][ROOF] += roof
        light[look][SHADOW] -= 0.8
    evidence = ndimage.gaussian_filter(evidence, (0, 1.0, 1.0)).astype(np.float32)
    light = ndimage.gaussian_filter(light, (0, 0.7, 0.7)).astype(np.float32)
    core = evidence.max(0) > 0.0
    start = datetime(2024, 3, 1, tzinfo=UTC)
    looks = [
        LookEvidence(
            f"S{i}", start + timedelta(days=10 * i), GRID, tuple(ObjectClass), np.zeros((3, *GRID.shape), np.int8),
            light[i].astype(np.float16), np.zeros(GRID.shape, np.uint8), 0.5,
            azimuth_deg, None if azimuth_deg is None else 40.0, None, None, 0.1, True,
        )
        for i in range(count)
    ]  # fmt: skip
    return looks, Window(GRID, core, evidence, np.full_like(evidence, -8.0), light)


def followed(window: Window, direction: Direction = Direction.APPEARED) -> Lifecycle:
    count = len(window.evidence)
    stands = np.arange(count) >= count // 2
    stands = stands if direction is Direction.APPEARED else ~stands
    found = follow(
        np.where(stands, 4.0, -6.0), np.ones(count, bool), 10.0 * np.arange(count), direction,
        (count // 2 - 1, count // 2), LifecycleOptions(),
    )  # fmt: skip
    assert found is not None
    return found


def membership(
    looks: list[LookEvidence], window: Window, direction: Direction = Direction.APPEARED
) -> NDArray[np.float32]:
    found = followed(window, direction)
    return delineated(looks, window, found, direction, presence_difference(window, found, direction))


@pytest.mark.parametrize("count", [2, 6])
def test_the_roof_is_the_object_and_the_shadow_behind_it_is_not(count: int) -> None:
    looks, window = scene(count=count)
    found = followed(window)
    assert (presence_difference(window, found, Direction.APPEARED)[SHADOW] > OUTLINE_LEVEL).mean() > 0.7
    said = membership(looks, window)
    assert (said[ROOF] > 0.5).mean() > 0.9
    assert (said[SHADOW] > 0.5).mean() < 0.1


def test_far_from_the_change_nothing_is_the_object() -> None:
    looks, window = scene()
    said = membership(looks, window)
    assert said[:40].max() == said[:, :30].max() == 0.0


def test_where_the_detector_is_sure_of_nothing_nothing_is_drawn() -> None:
    looks, window = scene()
    nothing = np.zeros(GRID.shape, np.float32)
    assert not delineated(looks, window, followed(window), Direction.APPEARED, nothing).any()


def test_time_reversed_says_the_same_of_a_removal() -> None:
    looks, window = scene(count=10)
    reversed_in_time = Window(
        GRID, window.core, window.evidence[::-1], window.rivals[::-1], window.light[::-1]
    )
    np.testing.assert_allclose(
        membership(looks[::-1], reversed_in_time, Direction.REMOVED), membership(looks, window), atol=1e-3
    )


def test_a_brighter_look_changes_nothing() -> None:
    looks, window = scene()
    light = window.light.copy()
    light[1] += np.float32(0.3)
    brighter = Window(GRID, window.core, window.evidence, window.rivals, light)
    assert np.abs(membership(looks, brighter) - membership(looks, window)).mean() < 1e-3


def test_neighbours_towards_the_sun_are_those_towards_the_sun() -> None:
    looks, window = scene()
    found = followed(window)
    difference = presence_difference(window, found, Direction.APPEARED)
    shown = surroundings(looks, window, found, Direction.APPEARED, difference)
    rows, _ = np.nonzero(shown.asked)
    middle = (rows >= 56) & (rows < 58)
    at = {name: shown.values[middle, k] for k, name in enumerate(names())}
    # From the shadow, 2.4 m to the south stands the roof; as far to the north lies open ground.
    assert np.nanmedian(at["light_2.4"]) == pytest.approx(0.5, abs=0.1)
    assert np.nanmedian(at["light_-2.4"]) == pytest.approx(0.0, abs=0.1)
    assert np.nanmedian(at["shadow"]) == pytest.approx(1 / math.tan(math.radians(40.0)), rel=1e-3)
    assert at["light_2.4"].size > 0


def test_a_hidden_sun_leaves_its_numbers_out_and_the_rest_answers() -> None:
    looks, window = scene(None)
    found = followed(window)
    difference = presence_difference(window, found, Direction.APPEARED)
    shown = surroundings(looks, window, found, Direction.APPEARED, difference)
    unknown = {name for k, name in enumerate(names()) if np.isnan(shown.values[:, k]).all()}
    assert unknown == {"shadow"} | {f"{what}_{d:g}" for what in ("difference", "light") for d in SUNWARD_M}
    said = membership(looks, window)
    assert (said[ROOF] > 0.5).mean() > 0.8


def test_pixels_that_a_look_did_not_see_are_judged_by_the_others() -> None:
    looks, window = scene(count=6)
    for planes in (window.evidence, window.light, window.rivals):
        planes[4, :70] = np.nan
    said = membership(looks, window)
    assert np.isfinite(said).all()
    assert (said[ROOF] > 0.5).mean() > 0.8


def test_the_stored_trees_ask_for_the_numbers_that_are_measured() -> None:
    card = json.loads(delineation.WEIGHTS.with_name(delineation.CARD).read_text())
    assert card["values"] == names()


def test_trees_that_their_card_does_not_describe_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = tmp_path / delineation.WEIGHTS.name
    spoilt.write_bytes(delineation.WEIGHTS.read_bytes()[:-1])
    (tmp_path / delineation.CARD).write_text(delineation.WEIGHTS.with_name(delineation.CARD).read_text())
    monkeypatch.setattr(delineation, "WEIGHTS", spoilt)
    delineation._trees.cache_clear()
    looks, window = scene()
    with pytest.raises(NetworkWeightsDamaged, match=delineation.CARD):
        membership(looks, window)
    delineation._trees.cache_clear()
