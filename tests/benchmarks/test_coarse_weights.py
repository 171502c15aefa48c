"""The fit of what cues weigh at 10 m: signs and limits held, counts counted, errors measured on others."""

import numpy as np
import pytest

from benchmarks.coarse_weights import CUES, HELD, fitted, left_out
from benchmarks.scoring import calibration_error

RNG = np.random.default_rng(4)
PLACES = 3000
SEEN = RNG.normal(size=(PLACES, len(CUES)))


def _drawn(weights: dict[str, float], base: float = -1.0) -> np.ndarray:
    odds = base + SEEN @ np.array([weights.get(name, 0.0) for name in CUES])
    return (RNG.random(PLACES) < 1 / (1 + np.exp(-odds))).astype(float)


def test_weights_are_found_again() -> None:
    true = _drawn({"rarity": 1.0, "contrast": 0.5, "one date": -2.5})
    found = dict(zip(("base", *CUES), fitted(SEEN, true, np.ones(PLACES)), strict=True))
    assert found["base"] == pytest.approx(-1.0, abs=0.2)
    assert found["rarity"] == pytest.approx(1.0, abs=0.2)
    assert found["contrast"] == pytest.approx(0.5, abs=0.15)
    assert found["one date"] == pytest.approx(-2.5, abs=0.3)


def test_no_weight_leaves_what_its_cue_means() -> None:
    true = _drawn({"rarity": -2.0, "wide": 2.0, "extent": 2.5, "one date": 0.5})
    found = dict(zip(CUES, fitted(SEEN, true, np.ones(PLACES))[1:], strict=True))
    assert (found["rarity"], found["wide"]) == (0.0, 0.0)
    assert found["extent"] == HELD["extent"][1]
    assert found["one date"] == HELD["one date"][1]


def test_a_place_that_counts_twice_is_a_place_that_is_there_twice() -> None:
    true = _drawn({"step": 1.0})
    twice = np.concatenate([np.arange(PLACES), np.arange(500)])
    counts = np.where(np.arange(PLACES) < 500, 2.0, 1.0)
    found = fitted(SEEN, true, counts)
    assert found == pytest.approx(fitted(SEEN[twice], true[twice], np.ones(len(twice))), abs=1e-3)


def test_places_are_judged_by_other_sites_and_their_error_is_measured() -> None:
    true = _drawn({"step": 1.0, "one date": -2.0})
    confidence = left_out(SEEN, true, np.ones(PLACES), np.arange(PLACES) % 12)
    assert calibration_error(list(zip(confidence, true > 0, strict=True))) < 0.05
    assert calibration_error([(0.95, bool(was)) for was in true]) == pytest.approx(
        0.95 - true.mean(), abs=1e-9
    )
