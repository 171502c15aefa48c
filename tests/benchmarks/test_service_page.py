"""What docs/performance-service.md says was measured, and holds what was promised."""

import json

from benchmarks.service_docs import FAULTS, PAGE, RESULT, call_of, page_of


def test_the_page_about_the_service_says_what_was_measured() -> None:
    assert PAGE.read_text("utf-8") == page_of(json.loads(RESULT.read_text()), json.loads(FAULTS.read_text()))


def test_the_service_kept_its_promises_when_it_was_measured() -> None:
    for run in json.loads(RESULT.read_text()).values():
        assert run["changes"] == 200_000
        assert sum(call["errors"] for call in run["calls"]) == 0
        assert call_of(run, "report, 304")["p99_ms"] < 50
        assert call_of(run, "site submitted")["requests"] == 1_000
        help_told, ready = run["cold"]
        assert help_told["median_s"] < 1.5
        assert ready["median_s"] < 4


def test_a_thousand_kills_lost_and_doubled_nothing() -> None:
    outcomes = json.loads(FAULTS.read_text())
    assert set(outcomes) == {"sqlite", "postgresql"}
    for outcome in outcomes.values():
        assert outcome["kills"] == 1_000
        assert outcome["faults"] == []
        assert outcome["successful"] == outcome["units"] == outcome["reports"]
