"""Whether a measured motion may be used: one quality number and three states (ALGORITHMS A3)."""

from dataclasses import dataclass

import numpy as np

from imagery.displacement import RegistrationState
from imagery.registration.motion import Float64, MotionFit, fit_motion

USE_QUALITY = 2.5
WIDER_QUALITY = 1.0


@dataclass(frozen=True)
class Evidence:
    """What the gate looks at; lengths in pixels."""

    agree: float
    z: float
    ambiguity: float
    predicted_px: float
    split_px: float

    @property
    def quality(self) -> float:
        """``min(agree/.5, 1) min(z/12, 1) max(1 - amb, .02)^.25 / (.1 + hypot(pe, sh))``."""
        doubt = max(1.0 - self.ambiguity, 0.02) ** 0.25
        error = float(np.hypot(self.predicted_px, self.split_px))
        return float(min(self.agree / 0.5, 1.0) * min(self.z / 12.0, 1.0) * doubt / (0.1 + error))


def state_of(quality: float) -> RegistrationState:
    """Return the state of a quality."""
    if quality > USE_QUALITY:
        return RegistrationState.USE
    if quality > WIDER_QUALITY:
        return RegistrationState.USE_WITH_WIDER_TOLERANCE
    return RegistrationState.NOT_REGISTERED


def split_difference(
    positions: Float64, shifts: Float64, variances: Float64, centre: Float64, window_px: float, affine: bool
) -> float:
    """Return the RMS difference, pixels, of two fits on a checkerboard of windows; 1 where either side has under four."""
    tile = np.floor(positions / window_px).astype(int).sum(axis=1) % 2
    fields = []
    for side in (0, 1):
        chosen = tile == side
        if chosen.sum() < 4:
            return 1.0
        fit: MotionFit = fit_motion(
            positions[chosen], shifts[chosen], variances[chosen], centre, affine=affine and chosen.sum() >= 6
        )
        fields.append(fit.motion.at(positions))
    return float(np.sqrt(np.mean(np.sum((fields[0] - fields[1]) ** 2, axis=1))))
