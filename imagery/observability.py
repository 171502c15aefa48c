"""Observation state per place and look: seen, or not observable with the reason why."""

from enum import IntEnum


class ObservationState(IntEnum):
    """CONTRACT section 1. The number is what masks hold; ``label`` is what products print."""

    OBSERVED = 0
    OUTSIDE_FOOTPRINT = 1
    NODATA = 2
    CLOUD = 3
    CLOUD_SHADOW = 4
    SNOW = 5
    SATURATED = 6
    MISREGISTERED = 7
    TOO_COARSE = 8
    POOR_VIEW = 9
    POOR_LIGHT = 10

    @property
    def label(self) -> str:
        """The word used in every product."""
        return self.name.lower()
