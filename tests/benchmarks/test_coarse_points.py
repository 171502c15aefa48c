"""Operating points at 10 m are counted from claims and truths of known sites."""

from datetime import UTC, datetime

from shapely.geometry import box

from benchmarks.coarse_points import CONFIDENCES, Measured, operating_points
from benchmarks.scoring import Event

AT = datetime(2024, 5, 1, tzinfo=UTC)


def event(east: float, confidence: float = 1.0) -> Event:
    return Event("other", "appeared", box(east, 0, east + 40, 40), AT, AT, confidence)


def test_points_count_false_reports_per_km2_and_year_and_the_share_found() -> None:
    changing = Measured((event(0, 0.9), event(500, 0.4)), (event(5), event(900)), 2.0, 1.5)
    quiet = Measured((event(0, 0.2),), (), 1.0, 1.0)
    points = {p["confidence"]: p for p in operating_points([changing, quiet])}
    assert tuple(points) == CONFIDENCES
    assert points[0.1] == {"confidence": 0.1, "false_alarms": 0.5, "recall": 0.5}
    assert points[0.3]["false_alarms"] == 0.25
    assert points[0.9] == {"confidence": 0.9, "false_alarms": 0.0, "recall": 0.5}
    assert points[0.95]["recall"] == 0.0
