"""Changes found in time rather than in shape: for pixels too coarse to show objects."""

from imagery.timeseries.disturbances import (
    COARSE_CONFIRMED_FROM,
    TimeSeriesOptions,
    coarse_limits,
    find_disturbances,
)

__all__ = ["COARSE_CONFIRMED_FROM", "TimeSeriesOptions", "coarse_limits", "find_disturbances"]
