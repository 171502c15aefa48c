"""From evidence to a probability: a few monotone terms, summed, and a last correction by pixel size.

The coefficients are fitted by ``training/fit_verifier.py`` on rendered sites that no other part was fitted on, and lie
beside the network's weights. Terms whose sign physics fixes are fitted with that sign. Without the file a plain prior
stands in, and everything is ``unverified``.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from imagery.errors import DepotwatchError

WEIGHTS = "verifier.json"
_LARGEST_LOG_ODDS = 6.0
# Where a budget is asked for that nothing was measured for, at least as strict as the strictest default.
_UNMEASURED_LEAST = 0.65


class BadCalibration(DepotwatchError):
    """The stored coefficients are not of the shape this version reads."""

    code = "bad-calibration"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What reporting from a confidence on costs: false reports per km2 and year, and the share of true ones kept."""

    confidence: float
    false_alarms: float
    recall: float


@dataclass(frozen=True, slots=True)
class Term:
    """One additive term: ``weight * (clip(value, low, high) - usual)``.

    ``usual`` is the value's mean over the candidates it was fitted on: what could not be measured, and so adds nothing,
    speaks neither for nor against.
    """

    name: str
    weight: float
    low: float
    high: float
    usual: float = 0.0

    def of(self, value: float) -> float:
        """Return what the term adds, in log-odds."""
        return self.weight * (min(max(value, self.low), self.high) - self.usual)


# Log-odds of one look: odds of 7 to 1 that nothing stands there; how far below an emission's zero quiet ground lies.
_EMPTY, _QUIET = -2.0, 2.0


@dataclass(frozen=True, slots=True)
class Emission:
    """How a detector's log-odds turn into evidence for one whole object: ``gain * (log odds - zero)``.

    ``zero`` is the pooled log-odds at which presence and absence are equally likely. A detector that knows how rare
    objects are answers far below 0 where it is in doubt, so ``zero`` is negative.
    """

    gain: float = 1.0
    zero: float = 0.0

    def excess(self, low: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return by how much a place's log-odds are to be lowered, ``low`` being the least of all its looks.

        On restless ground even a look that calls a place empty in so many words can lie above ``zero``. All looks are then
        lowered alike until that one says absent as clearly as quiet ground does, so that they are compared with each other.
        """
        return np.where(low <= _EMPTY, np.maximum(low - (self.zero - _QUIET), 0.0), 0.0)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Additive log-odds that a candidate is a real change of its class, and what one look's evidence weighs."""

    emissions: Mapping[str, Emission]
    bias: Mapping[str, float]
    terms: Mapping[str, tuple[Term, ...]]
    points: tuple[OperatingPoint, ...]
    fitted: bool

    def contributions(self, kind: str, values: Mapping[str, float]) -> list[tuple[str, float]]:
        """Return each term's log-odds by name, in stored order; values that are missing or NaN add nothing."""
        return [
            (term.name, term.of(values[term.name]))
            for term in self.terms[kind]
            if math.isfinite(values.get(term.name, math.nan))
        ]

    def confidence(self, kind: str, values: Mapping[str, float]) -> float:
        """Return the probability that the candidate is real."""
        total = self.bias[kind] + sum(value for _, value in self.contributions(kind, values))
        return logistic(total)

    def operating_point(self, false_alarms: float) -> OperatingPoint | None:
        """Return the lowest confidence that keeps within a false-alarm budget; the strictest known where none does."""
        return operating_point(self.points, false_alarms)


def operating_point(points: Sequence[OperatingPoint], false_alarms: float) -> OperatingPoint | None:
    """Return the lowest confidence that keeps within a false-alarm budget; the strictest known where none does."""
    if not points:
        return None
    ordered = sorted(points, key=lambda p: p.confidence)
    return next((p for p in ordered if p.false_alarms <= false_alarms), ordered[-1])


def within_budget(
    points: Sequence[OperatingPoint], false_alarms: float | None, least: float
) -> tuple[float, list[str]]:
    """Say from which confidence on to report, and what a false-alarm budget costs.

    Parameters
    ----------
    points : measured operating points of one detector; none where none were measured
    false_alarms : wanted false reports per km2 and year; None for no budget
    least : what is asked for without a budget; a budget never lowers it

    Returns
    -------
    least : the least confidence
    said : sentences for the report; empty without a budget
    """
    if false_alarms is None:
        return least, []
    point = operating_point(points, false_alarms)
    if point is None:
        return max(least, _UNMEASURED_LEAST), [
            "What this detector's confidences cost was not measured, so --max-false-alarms cannot be kept to; "
            f"what is listed has a confidence of {max(least, _UNMEASURED_LEAST):.2f} or more."
        ]
    kept = "keeps" if point.false_alarms <= false_alarms else "at best reaches"
    return max(least, point.confidence), [
        f"Reporting from confidence {point.confidence:.2f} on {kept} about {point.false_alarms:.2g} false reports per "
        f"km² and year and finds about {100 * point.recall:.0f} % of true changes (both measured on rendered scenes)."
    ]


def logistic(log_odds: float) -> float:
    """Return the probability of capped log-odds."""
    return 1.0 / (1.0 + math.exp(-min(max(log_odds, -_LARGEST_LOG_ODDS), _LARGEST_LOG_ODDS)))


def log_odds(probability: float) -> float:
    """Return the capped log-odds of a probability."""
    least = 1.0 / (1.0 + math.exp(_LARGEST_LOG_ODDS))
    p = min(max(probability, least), 1.0 - least)
    return math.log(p / (1.0 - p))


_PRIOR_TERMS = (
    Term("series", 0.8, -6.0, 6.0),
    Term("after", 0.5, -3.0, 3.0),
    Term("before", 0.5, -3.0, 3.0),
    Term("structure", 1.0, -2.0, 2.0),
)
PRIOR = Verifier(
    dict.fromkeys(("container", "berm", "other"), Emission()),
    {"container": -2.5, "berm": -2.5, "other": -2.5},
    dict.fromkeys(("container", "berm", "other"), _PRIOR_TERMS),
    (),
    False,
)


@lru_cache(maxsize=1)
def stored_verifier() -> Verifier:
    """Return the fitted verifier that ships with the package, or the prior where there is none."""
    place = resources.files("imagery.evidence").joinpath("weights", WEIGHTS)
    if not place.is_file():
        return PRIOR
    return parse_verifier(place.read_text(encoding="utf-8"))


def parse_verifier(text: str) -> Verifier:
    """Read a verifier from JSON; ``BadCalibration`` where something is missing."""
    try:
        found = json.loads(text)
        return Verifier(
            {str(k): Emission(float(e["gain"]), float(e["zero"])) for k, e in found["emissions"].items()},
            {str(k): float(v) for k, v in found["bias"].items()},
            {
                str(kind): tuple(
                    Term(
                        str(t["name"]),
                        float(t["weight"]),
                        float(t["low"]),
                        float(t["high"]),
                        float(t.get("usual", 0.0)),
                    )
                    for t in terms
                )
                for kind, terms in found["terms"].items()
            },
            tuple(
                OperatingPoint(float(p["confidence"]), float(p["false_alarms"]), float(p["recall"]))
                for p in found["points"]
            ),
            True,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadCalibration(
            f"{WEIGHTS} lacks or spoils {error}; make it again with training/fit_verifier.py"
        ) from error
