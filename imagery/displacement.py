"""How far a scene lies off the site reference, how well that is known, and whether it may be used."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from affine import Affine
from numpy.typing import NDArray


class RegistrationState(StrEnum):
    """The gate of ALGORITHMS A3."""

    USE = "use"
    USE_WITH_WIDER_TOLERANCE = "use_with_wider_tolerance"
    NOT_REGISTERED = "not_registered"


@dataclass(frozen=True, slots=True)
class DisplacementField:
    """A smooth residual added on top of the affine part, metres, on a coarse north-up lattice.

    ``east_m``/``north_m`` are (row, col) float32; node (0, 0) lies at ``origin`` (east, north), nodes ``step_m`` apart.
    """

    origin: tuple[float, float]
    step_m: float
    east_m: NDArray[np.float32]
    north_m: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Displacement:
    """What must be added to a scene's own coordinates to bring it onto the reference, metres in the grid's CRS.

    At a point ``p = (east, north)``: ``d(p) = (east_m, north_m) + linear @ (p - centre)`` (+ field).
    ``linear`` is ``((dee, den), (dne, dnn))``; zeros for a pure translation.
    """

    centre: tuple[float, float]
    east_m: float
    north_m: float
    linear: tuple[tuple[float, float], tuple[float, float]]
    field: DisplacementField | None
    state: RegistrationState
    quality: float
    residual_m: float
    windows_used: int
    reasons: tuple[str, ...] = ()

    @property
    def registered(self) -> bool:
        """True where the gate let it pass."""
        return self.state is not RegistrationState.NOT_REGISTERED

    @property
    def forward(self) -> Affine:
        """The affine part as a map of scene coordinates to reference coordinates."""
        (a, b), (c, d) = self.linear
        e0, n0 = self.centre
        return Affine(
            1.0 + a, b, self.east_m - a * e0 - b * n0,
            c, 1.0 + d, self.north_m - c * e0 - d * n0,
        )  # fmt: skip


def no_displacement(centre: tuple[float, float], reason: str) -> Displacement:
    """Return the identity, in use: for the reference itself, or for scenes taken as they claim to lie."""
    return Displacement(
        centre,
        0.0,
        0.0,
        ((0.0, 0.0), (0.0, 0.0)),
        None,
        RegistrationState.USE,
        float("inf"),
        0.0,
        0,
        (reason,),
    )
