"""The priced path per pixel, and which pixels belong together."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from imagery.calibration import Emission
from imagery.candidates import CandidateOptions, best_path, find_candidates, quietened, switches, weighed
from imagery.changes import LOG_ODDS_STEP, UNSEEN, Direction

OPTIONS = CandidateOptions()
INSIDE = np.ones((40, 40), bool)


@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=8))
def test_the_path_pays_no_more_than_any_other(series: list[float]) -> None:
    evidence = np.array(series, np.float32)[:, None]
    price = 1.2

    def pays(path: tuple[bool, ...]) -> float:
        moves = sum(a != b for a, b in itertools.pairwise(path))
        return sum(e for e, s in zip(series, path, strict=True) if s) - price * moves

    found = tuple(bool(s) for s in best_path(evidence, price)[:, 0])
    assert pays(found) >= max(map(pays, itertools.product((False, True), repeat=len(series)))) - 1e-4


def test_a_switch_behind_unseen_looks_spans_the_gap() -> None:
    evidence = np.array([-3, 0, 0, 3, 3], np.float32)[:, None]
    seen = np.array([1, 0, 0, 1, 1], bool)[:, None]
    pixel, appeared, before, after, gain = switches(best_path(evidence, 1.2), seen, evidence)
    assert (pixel.tolist(), appeared.tolist()) == ([0], [True])
    assert (before.tolist(), after.tolist(), gain.tolist()) == ([0], [3], [6.0])


def layers(*onsets: tuple[slice, slice, int]) -> list[np.ndarray]:
    out = [np.full((40, 40), -24, np.int8) for _ in range(6)]
    for rows, cols, first in onsets:
        for layer in out[first:]:
            layer[rows, cols] = 24
    return out


def test_neighbours_whose_gaps_differ_by_cloud_are_one_candidate() -> None:
    series = layers((slice(10, 16), slice(5, 29), 3))
    series[3][:, :15] = UNSEEN
    (found,) = find_candidates(series, INSIDE, 0.5, 9.0, OPTIONS)
    assert found.direction is Direction.APPEARED
    assert (found.before, found.after) == (2, 4)
    assert found.row.size >= 6 * 22


def test_touching_objects_of_different_times_are_two_candidates() -> None:
    series = layers((slice(10, 16), slice(5, 17), 2), (slice(10, 16), slice(17, 29), 5))
    found = find_candidates(series, INSIDE, 0.5, 9.0, OPTIONS)
    assert sorted((c.before, c.after) for c in found) == [(1, 2), (4, 5)]


def test_tiles_do_not_show() -> None:
    series = layers((slice(10, 16), slice(5, 29), 3), (slice(30, 34), slice(14, 22), 1))
    whole = find_candidates(series, INSIDE, 0.5, 9.0, OPTIONS)
    tiled = find_candidates(series, INSIDE, 0.5, 9.0, CandidateOptions(tile_px=16))
    assert [(c.row.tolist(), c.col.tolist(), c.before, c.after) for c in whole] == [
        (c.row.tolist(), c.col.tolist(), c.before, c.after) for c in tiled
    ]


def test_specks_are_no_candidates() -> None:
    assert find_candidates(layers((slice(10, 12), slice(5, 7), 3)), INSIDE, 0.5, 9.0, OPTIONS) == []


def test_looks_are_weighed_each_by_itself() -> None:
    rng = np.random.default_rng(5)
    raw = rng.integers(-120, 121, (4, 20, 24)).astype(np.int8)
    raw[1, 3:9, 4:7] = UNSEEN
    raw[3] = UNSEEN
    emission = Emission(0.8, 0.4)
    together = weighed(raw, 3, 3.0, emission)
    for one, plane in zip(together, raw, strict=True):
        np.testing.assert_array_equal(weighed(plane[None], 3, 3.0, emission)[0], one)
    np.testing.assert_array_equal(np.isnan(together), raw == UNSEEN)
    inside = slice(1, -1), slice(1, -1)
    plain = np.clip(emission.gain * (raw[0] * LOG_ODDS_STEP - emission.zero), -3.0, 3.0)
    np.testing.assert_allclose(together[0][inside], ndimage.uniform_filter(plain, 3)[inside], atol=1e-5)


def test_restless_ground_is_judged_by_its_own_quietest_look_and_quiet_ground_as_always() -> None:
    weighing = Emission(1.0, -4.0)
    clear, restless = (np.rint(np.array(v) / LOG_ODDS_STEP).astype(np.int8) for v in ((-9, 1), (-3, 1)))
    ground = np.stack([np.full((40, 40), level, np.int8) for level in (restless[0], restless[0])])
    ground[1][10:16, 5:29] = restless[1]
    (found,) = find_candidates(list(ground), INSIDE, 0.5, 9.0, OPTIONS, weighing)
    assert found.direction is Direction.APPEARED
    unchanged = np.broadcast_to(clear[:, None, None], (2, 40, 40))
    assert quietened(unchanged, weighing) is unchanged


def test_less_is_needed_to_stand_out_on_ground_that_is_quieter_than_most() -> None:
    weighing = Emission(1.0, -4.0, 0.5)
    assert weighing.excess(np.array([-6.0, -8.0, -9.0, -12.0])).tolist() == [0.0, -1.0, -1.5, -1.5]
    quiet, faint = (round(level / LOG_ODDS_STEP) for level in (-9.0, -4.1))
    ground = np.full((2, 40, 40), quiet, np.int8)
    ground[1, 10:16, 5:29] = faint
    (found,) = find_candidates(list(ground), INSIDE, 0.5, 9.0, OPTIONS, weighing)
    assert found.direction is Direction.APPEARED
    assert find_candidates(list(ground), INSIDE, 0.5, 9.0, OPTIONS, Emission(1.0, -4.0)) == []


def test_raising_quiet_ground_only_where_it_could_matter_weighs_as_raising_all_of_it() -> None:
    weighing = Emission(1.2, -4.0, 0.5)
    raw = np.random.default_rng(3).integers(-100, 40, (4, 30, 30)).astype(np.int8)
    raw[2, :4] = UNSEEN
    seen = raw != UNSEEN
    low = np.where(seen, raw, 127).min(0) * LOG_ODDS_STEP
    everywhere = np.where(seen, np.rint(raw - weighing.excess(low) / LOG_ODDS_STEP), UNSEEN).astype(np.int8)
    one, other = (
        weighed(layers, 3, OPTIONS.cap, weighing) for layers in (quietened(raw, weighing), everywhere)
    )
    np.testing.assert_array_equal(one, other)


def test_what_no_look_calls_empty_keeps_standing() -> None:
    """Weaker in one look than in another is not gone."""
    standing = [np.full((40, 40), round(level / LOG_ODDS_STEP), np.int8) for level in (-1.5, 3.0, -1.0, 2.0)]
    assert find_candidates(standing, INSIDE, 0.5, 9.0, OPTIONS, Emission(1.0, -4.0)) == []


def test_unseen_pixels_stay_unseen_however_restless_the_ground() -> None:
    layer = np.full((2, 40, 40), -24, np.int8)
    layer[0, :5] = UNSEEN
    assert np.array_equal(quietened(layer, Emission(1.0, -4.0)) == UNSEEN, layer == UNSEEN)
