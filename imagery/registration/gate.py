"""Whether a measured motion may be used: one quality number and three states (ALGORITHMS A3)."""

from dataclasses import dataclass

import numpy as np

from imagery.displacement import RegistrationState

USE_QUALITY = 2.5
WIDER_QUALITY = 1.0
# Below this share of common gradient power in the weakest direction the windows agree by chance or along an edge.
SHARED = 0.06


@dataclass(frozen=True)
class Evidence:
    """What the gate looks at; lengths in pixels."""

    agree: float
    z: float
    ambiguity: float
    predicted_px: float
    split_px: float
    shared: float = 1.0

    @property
    def quality(self) -> float:
        """``min(agree/.5, 1) min(z/12, 1) min(shared/.06, 1) max(1 - amb, 1e-4)^.25 / (.1 + hypot(pe, sh))``."""
        doubt = max(1.0 - self.ambiguity, 1e-4) ** 0.25
        error = float(np.hypot(self.predicted_px, self.split_px))
        return float(
            min(self.agree / 0.5, 1.0)
            * min(self.z / 12.0, 1.0)
            * min(self.shared / SHARED, 1.0)
            * doubt
            / (0.1 + error)
        )


def state_of(quality: float) -> RegistrationState:
    """Return the state of a quality."""
    if quality > USE_QUALITY:
        return RegistrationState.USE
    if quality > WIDER_QUALITY:
        return RegistrationState.USE_WITH_WIDER_TOLERANCE
    return RegistrationState.NOT_REGISTERED
