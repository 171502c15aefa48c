"""The stored verifier keeps the signs physics gives, and budgets pick strict enough points."""

import hashlib
import json
import math
from collections.abc import Mapping
from importlib import resources

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from imagery.calibration import (
    PRIOR,
    BadCalibration,
    OperatingPoint,
    Trees,
    Verifier,
    log_odds,
    logistic,
    parse_verifier,
    stored_verifier,
    within_budget,
)

STORED = stored_verifier()
PLAIN = json.dumps(
    {
        "emissions": {},
        "points": [],
        "judges": {
            "berm": {
                "bias": -1.0,
                "names": ["shadow", "width"],
                "signs": [1, 0],
                "trees": [
                    {
                        "asks": [0, -1, 1, -1, -1],
                        "least": [0.5, 0, 6.0, 0, 0],
                        "low": [1, 0, 3, 0, 0],
                        "high": [2, 0, 4, 0, 0],
                        "unknown": [1, 0, 3, 0, 0],
                        "odds": [0, -1.0, 0.5, 0.25, 2.0],
                    }
                ],
            },
            "other": {
                "bias": -3.0,
                "names": ["shadow", "width"],
                "signs": [1, 0],
                "without": ["width"],
                "trees": [
                    {
                        "asks": [0, -1, -1],
                        "least": [0.5, 0, 0],
                        "low": [1, 0, 0],
                        "high": [2, 0, 0],
                        "unknown": [1, 0, 0],
                        "odds": [0, -1.0, 0.5],
                    }
                ],
            },
        },
    }
)


@given(
    st.sampled_from(["container", "berm", "other"]),
    st.lists(st.one_of(st.just(math.nan), st.floats(-8.0, 8.0)), min_size=27, max_size=27),
    st.integers(0, 26),
    st.floats(0.0, 8.0),
)
def test_more_evidence_never_lowers_the_confidence(
    kind: str, numbers: list[float], which: int, more: float
) -> None:
    judge = STORED.judges[kind]
    assert isinstance(judge, Trees)
    values = {name: number for name, number in zip(judge.names, numbers, strict=True) if name is not None}
    name, sign = judge.names[which], judge.signs[which]
    assume(name is not None)
    raised = _confidence(STORED, kind, values | {name: values[name] + more})
    assert sign * raised >= sign * _confidence(STORED, kind, values) or math.isnan(values[name])


def _confidence(verifier: Verifier, kind: str, values: Mapping[str, float]) -> float:
    return verifier.confidence(kind, verifier.contributions(kind, values))


def test_what_each_number_adds_sums_up_to_the_confidence() -> None:
    judge = parse_verifier(PLAIN).judges["berm"]
    assert judge.contributions({"shadow": 0.7, "width": 9.0}) == [("shadow", 0.5), ("width", 1.5)]
    assert _confidence(parse_verifier(PLAIN), "berm", {"shadow": 0.7, "width": 9.0}) == pytest.approx(
        logistic(1.0)
    )


def test_a_number_that_is_missing_goes_the_way_that_was_fitted_for_it() -> None:
    judge = parse_verifier(PLAIN).judges["berm"]
    assert judge.contributions({"width": 9.0}) == [("shadow", -1.0), ("width", 0.0)]
    assert PRIOR.contributions("berm", {"series": 1.0, "structure": math.nan}) == [("series", 0.8)]


def test_a_class_may_be_judged_without_some_of_the_values() -> None:
    verifier = parse_verifier(PLAIN)
    assert verifier.asks("berm", "width")
    assert not verifier.asks("other", "width")
    for width_m in (1.0, 9.0):
        values = {"shadow": 0.7, "width": width_m}
        assert _confidence(verifier, "other", values) == pytest.approx(logistic(-3.0 + 0.5))
        assert verifier.contributions("other", values) == [("shadow", 0.5)]


@pytest.mark.parametrize(
    "spoilt", [{"low": [0, 0, 3, 0, 0]}, {"high": [9, 0, 4, 0, 0]}, {"asks": [7, -1, 1, -1, -1]}]
)
def test_trees_that_lead_nowhere_are_refused(spoilt: dict[str, list[int]]) -> None:
    said = json.loads(PLAIN)
    said["judges"]["berm"]["trees"][0] |= spoilt
    with pytest.raises(BadCalibration, match="fit_verifier"):
        parse_verifier(json.dumps(said))


def test_trees_that_ask_for_what_they_are_without_are_refused() -> None:
    said = json.loads(PLAIN)
    said["judges"]["other"]["trees"] = said["judges"]["berm"]["trees"]
    with pytest.raises(BadCalibration, match="without a name"):
        parse_verifier(json.dumps(said))


@given(st.floats(0.01, 0.99))
def test_log_odds_and_logistic_undo_each_other(probability: float) -> None:
    assert logistic(log_odds(probability)) == pytest.approx(probability)


def test_a_budget_picks_the_lowest_confidence_that_keeps_it() -> None:
    points = (OperatingPoint(0.3, 9.0, 0.8), OperatingPoint(0.6, 2.0, 0.6), OperatingPoint(0.9, 0.5, 0.2))
    verifier = Verifier(PRIOR.emissions, PRIOR.judges, points, True)
    assert verifier.operating_point(3.0) == points[1]
    assert verifier.operating_point(0.1) == points[2]
    assert PRIOR.operating_point(1.0) is None


def test_the_stored_points_trade_recall_for_quiet() -> None:
    points = stored_verifier().points
    assert [p.false_alarms for p in points] == sorted((p.false_alarms for p in points), reverse=True)
    assert [p.recall for p in points] == sorted((p.recall for p in points), reverse=True)


@pytest.mark.parametrize("text", ["{}", "[]", "not json", json.dumps({"judges": {"berm": "x"}})])
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


def test_what_is_fitted_behind_the_network_was_fitted_behind_the_one_that_ships_or_before_it_was_rounded() -> (
    None
):
    weights = resources.files("imagery.evidence").joinpath("weights")
    card = json.loads(weights.joinpath("presence.json").read_text())
    assert card["sha256"] == hashlib.sha256(weights.joinpath("presence.onnx").read_bytes()).hexdigest()
    for name in ("verifier.json", "delineation.json", "appearance.json"):
        fitted_on = json.loads(weights.joinpath(name).read_text())["network_sha256"]
        assert fitted_on in (card["sha256"], card["rounded_from"])
