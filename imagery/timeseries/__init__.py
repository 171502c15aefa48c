"""Changes found in time rather than in shape: for pixels too coarse to show objects."""

from imagery.timeseries.disturbances import TimeSeriesOptions, coarse_limits, find_disturbances

__all__ = ["TimeSeriesOptions", "coarse_limits", "find_disturbances"]
