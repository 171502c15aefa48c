"""The stored verifier keeps the signs physics gives, and budgets pick strict enough points."""

import hashlib
import json
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagery.calibration import (
    PRIOR,
    BadCalibration,
    OperatingPoint,
    Verifier,
    log_odds,
    logistic,
    parse_verifier,
    stored_verifier,
    within_budget,
)


@pytest.mark.parametrize("verifier", [PRIOR, stored_verifier()], ids=["prior", "stored"])
def test_more_evidence_never_lowers_the_confidence(verifier: Verifier) -> None:
    for kind, terms in verifier.terms.items():
        middle = {term.name: (term.low + term.high) / 2 for term in terms}
        for term in terms:
            weak, strong = (
                verifier.confidence(kind, middle | {term.name: value}) for value in (term.low, term.high)
            )
            assert (weak >= strong) if term.name == "shift" else (weak <= strong)


def test_a_missing_number_adds_nothing() -> None:
    assert PRIOR.contributions("berm", {"series": 1.0, "structure": float("nan")}) == [("series", 0.8)]


@given(st.floats(0.01, 0.99))
def test_log_odds_and_logistic_undo_each_other(probability: float) -> None:
    assert logistic(log_odds(probability)) == pytest.approx(probability)


def test_a_budget_picks_the_lowest_confidence_that_keeps_it() -> None:
    points = (OperatingPoint(0.3, 9.0, 0.8), OperatingPoint(0.6, 2.0, 0.6), OperatingPoint(0.9, 0.5, 0.2))
    verifier = Verifier(PRIOR.emissions, PRIOR.bias, PRIOR.terms, points, True)
    assert verifier.operating_point(3.0) == points[1]
    assert verifier.operating_point(0.1) == points[2]
    assert PRIOR.operating_point(1.0) is None


def test_the_stored_points_trade_recall_for_quiet() -> None:
    points = stored_verifier().points
    assert [p.false_alarms for p in points] == sorted((p.false_alarms for p in points), reverse=True)
    assert [p.recall for p in points] == sorted((p.recall for p in points), reverse=True)


@pytest.mark.parametrize("text", ["{}", "[]", "not json", json.dumps({"bias": {"berm": "x"}})])
def test_a_spoilt_file_is_named_as_such(text: str) -> None:
    with pytest.raises(BadCalibration, match="fit_verifier"):
        parse_verifier(text)


def test_a_budget_never_lowers_what_is_asked_for_and_says_what_it_costs() -> None:
    points = (OperatingPoint(0.3, 9.0, 0.8), OperatingPoint(0.6, 2.0, 0.6), OperatingPoint(0.9, 0.5, 0.2))
    assert within_budget(points, None, 0.4) == (0.4, [])
    least, (said,) = within_budget(points, 3.0, 0.4)
    assert least == 0.6
    assert "keeps about 2 false reports" in said
    assert "about 60 % of true changes" in said
    assert within_budget(points, 3.0, 0.8)[0] == 0.8
    assert "at best reaches about 0.5" in within_budget(points, 0.01, 0.4)[1][0]


def test_a_budget_that_nothing_was_measured_for_makes_reports_stricter_and_not_laxer() -> None:
    least, (said,) = within_budget((), 1.0, 0.0)
    assert least >= 0.65
    assert "cannot be kept" in said


def test_the_stored_verifier_was_fitted_on_the_network_that_ships() -> None:
    weights = resources.files("imagery.evidence").joinpath("weights")
    fitted_on = json.loads(weights.joinpath("verifier.json").read_text())["network_sha256"]
    assert fitted_on == hashlib.sha256(weights.joinpath("presence.onnx").read_bytes()).hexdigest()
