"""Our own scene renderer: sites, objects, sun, sensor, weather, season. Everything it makes is RENDERED, never real.

It tests, calibrates, and feeds the injection test users run on their own images. Scores on its scenes are called scores
on rendered scenes everywhere.
"""

from imagery.simulation.sensor import Sensor
from imagery.simulation.series import (
    RenderedLook,
    Series,
    SeriesOptions,
    Thing,
    Truth,
    other_truths,
    simulate_series,
)

__all__ = [
    "RenderedLook",
    "Sensor",
    "Series",
    "SeriesOptions",
    "Thing",
    "Truth",
    "other_truths",
    "simulate_series",
]
