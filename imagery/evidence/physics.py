"""Log-odds of containers and banks from one look's geometry and sun, without any learned part."""

import numpy as np
from numpy.typing import NDArray

from imagery.evidence.background import filled
from imagery.evidence.rectangles import MAX_GSD_M, rectangle_log_odds
from imagery.evidence.ridges import ridge_log_odds
from imagery.illumination import Sun

_EDGE_M = 8.0


def physical_log_odds(
    brightness: NDArray[np.float16], gsd_m: float, scene_gsd_m: float, sun: Sun | None
) -> NDArray[np.float32]:
    """Return (container, berm) log-odds per pixel; zero where geometry has nothing to say.

    Parameters
    ----------
    brightness : (row, col) float16 of ``imagery.evidence.background.brightness``
    gsd_m, scene_gsd_m : pixel size of the array and of the scene it came from
    """
    image, seen = filled(brightness, _EDGE_M / gsd_m)
    if scene_gsd_m <= MAX_GSD_M and gsd_m <= MAX_GSD_M:
        container = rectangle_log_odds(image, seen, gsd_m)
    else:
        container = np.zeros_like(image)
    return np.stack([container, ridge_log_odds(image, seen, gsd_m, sun)])
