"""What reporting from a confidence on costs at coarse pixels, as ``benchmarks.coarse_points`` measured it."""

import json
from functools import lru_cache
from importlib import resources

from imagery.calibration import OperatingPoint


@lru_cache(maxsize=1)
def measured_points() -> tuple[OperatingPoint, ...]:
    """Return the measured points, by rising confidence."""
    text = resources.files("imagery.timeseries").joinpath("operating_points.json").read_text(encoding="utf-8")
    points = json.loads(text)["points"]
    return tuple(OperatingPoint(p["confidence"], p["false_alarms"], p["recall"]) for p in points)
