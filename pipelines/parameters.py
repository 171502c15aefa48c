"""Everything a user may set that shapes a result, checked once; part of the processing version."""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

from imagery.changes import ObjectClass
from imagery.errors import DepotwatchError
from imagery.scene import Scene

# Wrong by more than this and a scene is not misplaced but mislabelled; the search costs one FFT whatever its range.
DEFAULT_MAX_SHIFT_M = 25.0
MIN_SEARCH_PX = 6.0
COARSE_GSD_M = 3.5
# Where F1 is about highest on sites that the judge was not fitted on.
FINE_MIN_CONFIDENCE = {ObjectClass.CONTAINER: 0.4, ObjectClass.BERM: 0.4, ObjectClass.OTHER: 0.4}
# Where no look says where the sun stood, neither shadows nor lit flanks bear a claim out.
SUNLESS_MIN_CONFIDENCE = 0.5
COARSE_MIN_CONFIDENCE = 0.3


class BadParameter(DepotwatchError):
    """A parameter that is unknown, of the wrong kind or out of range."""

    code = "bad-parameter"


@dataclass(frozen=True, slots=True)
class Parameters:
    """What ``analyse`` and ``reprocess`` can be told.

    Parameters
    ----------
    gsd_m : pixel size of the site grid in metres; None takes the finest scene's own
    max_shift_m : how far a scene may lie off the reference and still be searched for
    min_confidence : changes below it are not reported; None takes the default of each path
    max_false_alarms : wanted false reports per km2 and year; None keeps the default operating point
    network : False leaves the learned detector out; what is found then stays unverified
    """

    gsd_m: float | None = None
    max_shift_m: float = DEFAULT_MAX_SHIFT_M
    min_confidence: float | None = None
    max_false_alarms: float | None = None
    network: bool = True

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        _within("gsd_m", self.gsd_m, 0.1, 100.0)
        _within("max_shift_m", self.max_shift_m, 0.0, 500.0)
        _within("min_confidence", self.min_confidence, 0.0, 1.0)
        _within("max_false_alarms", self.max_false_alarms, 1e-4, 1e4)

    def search_m(self, gsd_m: float) -> float:
        """Return the search radius in metres for scenes of one pixel size."""
        return max(self.max_shift_m, MIN_SEARCH_PX * gsd_m)

    def least_confidence(
        self, object_class: ObjectClass, *, coarse: bool = False, sunless: bool = False
    ) -> float:
        """Return the confidence below which a change is not reported: lower where pixels can only hint at a place.

        ``sunless`` tells that no look says where the sun stood. A false-alarm budget chooses the operating point itself.
        """
        if self.min_confidence is not None:
            return self.min_confidence
        if coarse:
            return COARSE_MIN_CONFIDENCE
        if self.max_false_alarms is not None:
            return 0.0
        return max(FINE_MIN_CONFIDENCE[object_class], SUNLESS_MIN_CONFIDENCE if sunless else 0.0)

    def listed_from(self, scenes: Iterable[Scene], *, coarse: bool) -> dict[ObjectClass, float]:
        """Return the confidence from which on changes of each class are listed that these scenes show together."""
        sunless = all(scene.sun is None for scene in scenes)
        return {kind: self.least_confidence(kind, coarse=coarse, sunless=sunless) for kind in ObjectClass}

    def as_pairs(self) -> tuple[tuple[str, str], ...]:
        """Return names and values as text, for provenance."""
        return tuple((field.name, repr(getattr(self, field.name))) for field in dataclasses.fields(self))


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is None:
        return
    if not (math.isfinite(value) and low <= value <= high):
        raise BadParameter(
            f"{name} is {value}; it must lie between {low:g} and {high:g}", pointer=f"/parameters/{name}"
        )


def parameters_from(values: dict[str, object]) -> Parameters:
    """Parse ``name: value`` pairs as a client or ``--params`` sends them.

    Raises
    ------
    BadParameter : unknown name, wrong kind or out of range
    """
    fields = {field.name: field for field in dataclasses.fields(Parameters)}
    for name, value in values.items():
        if name not in fields:
            raise BadParameter(
                f"there is no parameter {name!r}; known are {', '.join(sorted(fields))}",
                pointer=f"/parameters/{name}",
            )
        wants_flag = name == "network"
        if isinstance(value, bool) is not wants_flag or (
            not wants_flag and value is not None and not isinstance(value, int | float)
        ):
            raise BadParameter(
                f"{name} must be {'true or false' if wants_flag else 'a number'}, not {value!r}",
                pointer=f"/parameters/{name}",
            )
    return Parameters(**values)  # type: ignore[arg-type]
