"""One scene as seen on one grid: numbers, and for every pixel whether it was seen and why not."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from imagery.grid import SiteGrid
from imagery.illumination import Sun, View
from imagery.observability import ObservationState

Float32Image = NDArray[np.float32]
StateImage = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Look:
    """One scene on one grid.

    ``reflectance`` is (band, row, col) float32, NaN where not observed; ``state`` is (row, col) uint8 of
    ``ObservationState``. ``gsd_m`` is the scene's own pixel size, which may be coarser than the grid's.
    ``sun`` and ``view`` count from *grid* north; None where the metadata did not say.
    """

    scene_id: str
    t_utc: datetime
    grid: SiteGrid
    bands: tuple[str, ...]
    reflectance: Float32Image
    state: StateImage
    gsd_m: float
    sun: Sun | None
    view: View | None
    notes: tuple[str, ...] = ()

    @property
    def observed(self) -> NDArray[np.bool_]:
        """(row, col), True where the ground was seen."""
        seen: NDArray[np.bool_] = self.state == ObservationState.OBSERVED
        return seen

    @property
    def usable_fraction(self) -> float:
        """Share of the grid that was seen, 0-1."""
        return float(np.mean(self.observed))

    def band(self, name: str) -> Float32Image:
        """Return one band (row, col) by common name; KeyError where absent."""
        try:
            index = self.bands.index(name)
        except ValueError:
            raise KeyError(name) from None
        image: Float32Image = self.reflectance[index]
        return image
