"""What a candidate looks like: turned to the sun, the same whichever way time or ground go, and unseen ground says nothing."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from imagery import appearance as appearances
from imagery.appearance import FACTS, PLANES, SIZE, STEP_M, Crops, appearance, crop, crops_of, softened
from imagery.changes import Direction, LookEvidence, ObjectClass
from imagery.evidence.network import NetworkWeightsDamaged
from imagery.verification import Window, presence_difference
from tests.imagery.test_delineation import GRID, ROOF, SOUTH, followed, scene

INSIDE = np.zeros(GRID.shape, bool)
INSIDE[ROOF] = True


def pictures(
    looks: list[LookEvidence],
    window: Window,
    direction: Direction = Direction.APPEARED,
    inside: NDArray[np.bool_] = INSIDE,
) -> Crops:
    found = followed(window, direction)
    difference = presence_difference(window, found, direction)
    return crops_of(looks, window, found, direction, ObjectClass.CONTAINER, difference, inside)


def said(looks: list[LookEvidence], window: Window, direction: Direction = Direction.APPEARED) -> float:
    found = followed(window, direction)
    difference = presence_difference(window, found, direction)
    return appearance(looks, window, found, direction, ObjectClass.CONTAINER, difference, INSIDE)


def plane(crops: Crops, name: str) -> NDArray[np.float32]:
    return crops.planes[0, PLANES.index(name)]


def test_the_sun_stands_above_every_picture() -> None:
    looks, window = scene()
    shown = plane(pictures(looks, window), "change")
    # The roof is 12 by 11 m about the middle; its shadow falls to the north, away from a sun in the south: below.
    assert shown[20:28, 20:28].mean() == pytest.approx(0.5, abs=0.1)
    assert shown[37:40, 16:32].mean() < -0.5
    assert abs(shown[5:10, 16:32].mean()) < 0.1


def test_a_sun_elsewhere_turns_the_picture_and_nothing_else() -> None:
    looks, window = scene()
    turned = Window(
        GRID,
        np.rot90(window.core),
        *(np.rot90(p, axes=(1, 2)) for p in (window.evidence, window.rivals, window.light)),
    )
    # What lay north lies west now, so the sun that casts the same shadow stands in the east.
    elsewhere = [replace(look, sun_azimuth_deg=SOUTH - 90.0) for look in looks]
    one, other = pictures(looks, window), pictures(elsewhere, turned, inside=np.rot90(INSIDE))
    close = np.abs(one.planes[0] - other.planes[0])[:, 8:40, 8:40]
    assert close.mean() < 0.03
    np.testing.assert_array_equal(one.facts, other.facts)


def test_time_reversed_shows_the_same_of_a_removal() -> None:
    looks, window = scene(count=6)
    reversed_in_time = Window(
        GRID, window.core, window.evidence[::-1], window.rivals[::-1], window.light[::-1]
    )
    one = pictures(looks, window).planes
    other = pictures(looks[::-1], reversed_in_time, Direction.REMOVED).planes
    np.testing.assert_allclose(one[:, PLANES.index("change")], other[::-1, PLANES.index("change")], atol=1e-5)
    assert said(looks[::-1], reversed_in_time, Direction.REMOVED) == pytest.approx(
        said(looks, window), abs=1e-3
    )


def test_brighter_looks_show_the_same() -> None:
    looks, window = scene()
    brighter = Window(GRID, window.core, window.evidence, window.rivals, window.light + np.float32(0.3))
    np.testing.assert_allclose(pictures(looks, brighter).planes, pictures(looks, window).planes, atol=1e-3)


def test_what_was_not_seen_is_shown_as_such_and_as_nothing() -> None:
    looks, window = scene()
    for planes in (window.evidence, window.light, window.rivals):
        planes[1, :, :50] = np.nan
    crops = pictures(looks, window)
    hidden = plane(crops, "seen") == 0.0
    assert 0.2 < hidden.mean() < 0.8
    for name in ("change", "light", "presence", "rival"):
        assert not plane(crops, name)[hidden].any()
    assert np.isfinite(crops.planes).all()


def test_facts_tell_shadow_sun_and_pixels() -> None:
    looks, window = scene()
    known = dict(zip(FACTS, pictures(looks, window).facts[0].tolist(), strict=True))
    assert known == pytest.approx(
        {"shadow": 1 / math.tan(math.radians(40.0)) / 4.0, "sun_known": 1.0, "pixel": 0.0, "own_pixel": 0.0},
        abs=1e-6,
    )
    looks, window = scene(None)
    unknown = dict(zip(FACTS, pictures(looks, window).facts[0].tolist(), strict=True))
    assert unknown["sun_known"] == 0.0
    assert math.isfinite(said(looks, window))


def test_a_long_row_is_seen_in_several_places_and_a_short_one_in_one() -> None:
    looks, window = scene()
    assert len({place[:2] for place in pictures(looks, window).places}) == 1
    long = np.zeros(GRID.shape, bool)
    long[60:66, 5:115] = True
    centres = {place[:2] for place in pictures(looks, window, inside=long).places}
    assert len(centres) == 3
    assert all(long[int(row), int(col)] for row, col in centres)
    cols = sorted(col for _, col in centres)
    assert cols[0] < 30 < cols[1] < 90 < cols[2]


def test_no_more_than_four_looks_are_shown_and_those_next_to_the_onset() -> None:
    looks, window = scene(count=12)
    dated = window.light.copy()
    dated[6:] += np.arange(6, dtype=np.float32)[:, None, None] * INSIDE * np.float32(0.1)
    crops = pictures(looks, Window(GRID, window.core, window.evidence, window.rivals, dated))
    shown = crops.planes[:, PLANES.index("change"), 20:28, 20:28].mean((1, 2))
    np.testing.assert_allclose(shown, [0.5, 0.6, 0.7, 0.8], atol=0.05)


def test_coarser_cells_are_means_of_the_pixels_they_hold() -> None:
    checked = np.indices(GRID.shape).sum(0)[None] % 2 * np.float32(2.0) - np.float32(1.0)
    seen = np.ones(GRID.shape, bool)
    fine = crop(checked.astype(np.float32), seen, (60.0, 60.0), 0.0, 1.0)
    coarse = crop(softened(checked.astype(np.float32), 2.0), seen, (60.0, 60.0), 0.0, 2.0)
    assert fine.shape == coarse.shape == (2, SIZE, SIZE)
    assert np.abs(coarse[0, 10:38, 10:38]).max() < 0.2


def test_what_has_no_class_has_no_appearance() -> None:
    looks, window = scene()
    found = followed(window)
    difference = presence_difference(window, found, Direction.APPEARED)
    assert ObjectClass.OTHER not in STEP_M
    assert math.isnan(
        appearance(looks, window, found, Direction.APPEARED, ObjectClass.OTHER, difference, INSIDE)
    )


@pytest.mark.parametrize("kind", list(STEP_M))
def test_networks_that_their_card_does_not_describe_are_refused(
    kind: ObjectClass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"appearance_{kind}.onnx"
    (tmp_path / name).write_bytes((appearances.WEIGHTS / name).read_bytes()[:-1])
    (tmp_path / appearances.CARD).write_text((appearances.WEIGHTS / appearances.CARD).read_text())
    monkeypatch.setattr(appearances, "WEIGHTS", tmp_path)
    appearances._network.cache_clear()
    looks, window = scene()
    found = followed(window)
    difference = presence_difference(window, found, Direction.APPEARED)
    with pytest.raises(NetworkWeightsDamaged, match=appearances.CARD):
        appearance(looks, window, found, Direction.APPEARED, kind, difference, INSIDE)
    appearances._network.cache_clear()


def test_the_card_holds_a_network_for_every_class_with_an_appearance() -> None:
    card = json.loads((appearances.WEIGHTS / appearances.CARD).read_text())
    assert set(card["sha256"]) == {str(kind) for kind in STEP_M}


def test_a_bank_is_seen_from_further_away() -> None:
    looks, window = scene()
    found = followed(window)
    difference = presence_difference(window, found, Direction.APPEARED)
    seen = [
        crops_of(looks, window, found, Direction.APPEARED, kind, difference, INSIDE)
        .planes[0, PLANES.index("outline")]
        .sum()
        for kind in (ObjectClass.CONTAINER, ObjectClass.BERM)
    ]
    assert seen[0] / seen[1] == pytest.approx(4.0, rel=0.1)
