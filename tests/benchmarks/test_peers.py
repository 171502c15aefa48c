"""The peers are given their best: each must see what it was made to see."""

from datetime import UTC, datetime

import numpy as np
import pytest
from affine import Affine
from scipy import ndimage
from shapely.geometry import LineString, box

from benchmarks.peers import PEERS, irmad, peer_changes, shape_class

TIMES = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC))


def pair(seed=0, n=160):
    rng = np.random.default_rng(seed)
    base = 0.15 + 0.02 * ndimage.gaussian_filter(rng.normal(size=(4, n, n)), (0, 2, 2)) * 5
    before = base + rng.normal(scale=0.003, size=base.shape)
    after = base + rng.normal(scale=0.003, size=base.shape)
    return before.astype(np.float32), after.astype(np.float32)


@pytest.mark.parametrize("name", sorted(PEERS))
def test_each_peer_finds_a_bright_box_that_appeared(name):
    before, after = pair()
    after[:, 60:65, 80:104] += 0.25
    transform = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
    found = peer_changes(name, before, after, np.ones(before.shape[1:], bool), transform, 0.5, TIMES)
    truth = box(500_040, 4_999_967.5, 500_052, 4_999_970)
    best = max(found, key=lambda e: e.geometry.intersection(truth).area)
    assert best.geometry.intersection(truth).area > 0.5 * truth.area
    assert best.direction == "appeared"


def test_irmad_ignores_a_linear_change_of_all_bands():
    before, _ = pair()
    after = (
        before[::-1] * 1.7 + 0.05 + np.random.default_rng(1).normal(scale=1e-3, size=before.shape)
    ).astype(np.float32)
    after[:, 20:24, 20:40] *= 1.5
    score = irmad(before, after, np.ones(before.shape[1:], bool))
    assert np.median(score[20:24, 20:40]) > 5 * np.median(score)


def test_shapes_are_named_by_size_and_outline():
    assert shape_class(box(0, 0, 2.4, 12.2)) == "container"
    assert shape_class(LineString([(0, 0), (60, 0), (60, 60)]).buffer(4)) == "berm"
    assert shape_class(box(0, 0, 80, 90)) == "other"


def test_nothing_seen_gives_nothing():
    before, after = pair()
    transform = Affine(0.5, 0, 0, 0, -0.5, 0)
    assert peer_changes("cva", before, after, np.zeros(before.shape[1:], bool), transform, 0.5, TIMES) == []
