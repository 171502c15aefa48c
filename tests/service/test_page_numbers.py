"""What docs/performance-page.md says was measured, and holds what was promised."""

import json

from benchmarks.page_docs import PAGE, RESULT, page_of


def test_the_page_about_the_page_says_what_was_measured() -> None:
    assert PAGE.read_text() == page_of(json.loads(RESULT.read_text()))


def test_the_promises_held_when_it_was_measured() -> None:
    found = json.loads(RESULT.read_text())
    assert found["sites"] >= 500
    assert found["changes"] >= 5_000
    assert found["outside"] == 0
    assert max(one["median_ms"] for one in found["ready"]) < 1_000
    assert max(one["late_share"] for one in found["frames"]) < 0.05
    assert max(one["worst_ms"] for one in found["frames"]) < 100
