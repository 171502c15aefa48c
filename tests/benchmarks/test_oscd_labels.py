"""Agreement with hand-drawn labels is counted by places and by pixels."""

import numpy as np
import pytest

from benchmarks.oscd_labels import agreement


def square(row: int, col: int, side: int) -> np.ndarray:
    drawn = np.zeros((40, 40), bool)
    drawn[row : row + side, col : col + side] = True
    return drawn


def test_claims_and_labelled_places_are_counted_both_ways() -> None:
    labels = square(2, 2, 4) | square(20, 20, 6) | square(35, 5, 1)
    found = agreement([square(4, 4, 4), square(30, 30, 4)], labels)
    assert (found.claims, found.claims_on_label, found.labels, found.labels_found) == (2, 1, 2, 1)
    assert found.precision == pytest.approx(4 / 32)
    assert found.recall == pytest.approx(4 / 53)
    assert found.f1 == pytest.approx(2 * 4 / (32 + 53))


def test_no_claim_agrees_with_nothing() -> None:
    found = agreement([], square(2, 2, 4))
    assert (found.claims, found.labels, found.labels_found, found.f1) == (0, 1, 0, 0.0)
