"""From evidence to a probability: small decision trees, summed, that never turn against what physics says.

The trees are fitted by ``training/fit_verifier.py`` on rendered sites that neither network was fitted on, and lie beside
the network's weights. A number whose sign physics fixes can only ever raise (or lower) the odds. Without the file a few
plain terms stand in, and everything is ``unverified``.

Source: J. H. Friedman (2001), Greedy function approximation: a gradient boosting machine, Annals of Statistics 29(5).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Protocol

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


class Judge(Protocol):
    """What weighs the numbers of one candidate of one class."""

    @property
    def bias(self) -> float:
        """Log-odds before anything is known."""
        ...

    @property
    def names(self) -> tuple[str | None, ...]:
        """What it asks for."""
        ...

    def contributions(self, values: Mapping[str, float]) -> list[tuple[str, float]]:
        """Return what each number adds to the bias, in log-odds by name, in stored order."""
        ...


@dataclass(frozen=True, slots=True)
class Term:
    """One additive term: ``weight * clip(value, low, high)``."""

    name: str
    weight: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Terms:
    """A sum of terms; values that are missing or NaN add nothing."""

    bias: float
    terms: tuple[Term, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What it asks for."""
        return tuple(term.name for term in self.terms)

    def contributions(self, values: Mapping[str, float]) -> list[tuple[str, float]]:
        """Return each known term's log-odds by name."""
        return [
            (term.name, term.weight * min(max(values[term.name], term.low), term.high))
            for term in self.terms
            if math.isfinite(values.get(term.name, math.nan))
        ]


@dataclass(frozen=True, slots=True)
class Tree:
    """One decision tree by node number, the root first; a node's children are numbered higher than itself.

    A node asks for the value numbered ``asks`` (-1: it is a leaf): up to ``least`` the way goes to ``low``, above it to ``high``,
    and to ``unknown`` where the value is NaN. ``odds`` is what a node adds so far, in log-odds; a leaf's is the tree's answer.
    """

    asks: tuple[int, ...]
    least: tuple[float, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    unknown: tuple[int, ...]
    odds: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what would never end or leave the tree."""
        count = len(self.asks)
        columns = (self.least, self.low, self.high, self.unknown, self.odds)
        if any(len(column) != count for column in columns) or not all(
            self.asks[node] < 0
            or (
                node < self.low[node] < count
                and node < self.high[node] < count
                and node < self.unknown[node] < count
            )
            for node in range(count)
        ):
            raise ValueError("nodes that lead nowhere")

    def add_to(self, sums: list[float], values: Sequence[float]) -> None:
        """Add what each question on the way to the leaf changed to the sum of the value it asked for."""
        node = 0
        while (asked := self.asks[node]) >= 0:
            value = values[asked]
            if math.isnan(value):
                after = self.unknown[node]
            else:
                after = self.low[node] if value <= self.least[node] else self.high[node]
            sums[asked] += self.odds[after] - self.odds[node]
            node = after


@dataclass(frozen=True, slots=True)
class Trees:
    """A sum of trees over the values of ``names``. ``signs`` are those physics fixes: 1 speaks for, -1 against, 0 either way.

    The root of every tree adds nothing: what all of them add on average lies in ``bias``. A value whose name is None is
    asked for by no tree.
    """

    bias: float
    names: tuple[str | None, ...]
    signs: tuple[int, ...]
    trees: tuple[Tree, ...]

    def contributions(self, values: Mapping[str, float]) -> list[tuple[str, float]]:
        """Return each value's log-odds by name: what the questions about it changed on the way through all trees."""
        known = [math.nan if name is None else values.get(name, math.nan) for name in self.names]
        sums = [0.0] * len(self.names)
        for tree in self.trees:
            tree.add_to(sums, known)
        return [(name, added) for name, added in zip(self.names, sums, strict=True) if name is not None]


# Log-odds of one look: odds of 7 to 1 that nothing stands there; how far below an emission's zero usual ground lies, and
# how much further down quiet ground is followed.
_EMPTY, _QUIET, _QUIETEST = -2.0, 2.0, 3.0


@dataclass(frozen=True, slots=True)
class Emission:
    """How a detector's log-odds turn into evidence for one whole object: ``gain * (log odds - zero)``.

    ``zero`` is the pooled log-odds at which presence and absence are equally likely. A detector that knows how rare
    objects are answers far below 0 where it is in doubt, so ``zero`` is negative. ``quiet`` is how far it follows a place
    down that is quieter than most when empty: there less is needed to stand out.
    """

    gain: float = 1.0
    zero: float = 0.0
    quiet: float = 0.0

    def excess(self, low: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return by how much a place's log-odds are to be lowered, ``low`` being the least of all its looks.

        Each place is its own reference. On restless ground even a look that calls a place empty in so many words can lie above
        ``zero``: all looks are then lowered alike until that one says absent as clearly as usual ground does. On quiet
        ground they are raised, by the share ``quiet`` of the difference.
        """
        over = low - (self.zero - _QUIET)
        moved = np.maximum(over, 0.0) + self.quiet * np.clip(over, -_QUIETEST, 0.0)
        return np.where(low <= _EMPTY, moved, 0.0)


@dataclass(frozen=True, slots=True)
class Verifier:
    """How likely a candidate is a real change of its class, and what one look's evidence weighs."""

    emissions: Mapping[str, Emission]
    judges: Mapping[str, Judge]
    points: tuple[OperatingPoint, ...]
    fitted: bool

    def asks(self, kind: str, name: str) -> bool:
        """Tell whether a number weighs anything for a class."""
        return name in self.judges[kind].names

    def contributions(self, kind: str, values: Mapping[str, float]) -> list[tuple[str, float]]:
        """Return what each number adds, in log-odds by name, in stored order."""
        return self.judges[kind].contributions(values)

    def confidence(self, kind: str, contributions: Sequence[tuple[str, float]]) -> float:
        """Return the probability that a candidate with these contributions is real."""
        return logistic(self.judges[kind].bias + sum(value for _, value in contributions))

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
    Term("stands", 0.5, -3.0, 3.0),
    Term("missing", 0.5, -3.0, 3.0),
    Term("structure", 1.0, -2.0, 2.0),
)
PRIOR = Verifier(
    dict.fromkeys(("container", "berm", "other"), Emission()),
    dict.fromkeys(("container", "berm", "other"), Terms(-2.5, _PRIOR_TERMS)),
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
            {
                str(kind): Emission(float(e["gain"]), float(e["zero"]), float(e["quiet"]))
                for kind, e in found["emissions"].items()
            },
            {str(kind): _judge(said) for kind, said in found["judges"].items()},
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


def _judge(said: Mapping[str, Any]) -> Trees:
    """Read one class's trees, which may have been fitted ``without`` some of the values."""
    trees = tuple(
        Tree(
            tuple(map(int, tree["asks"])),
            tuple(map(float, tree["least"])),
            tuple(map(int, tree["low"])),
            tuple(map(int, tree["high"])),
            tuple(map(int, tree["unknown"])),
            tuple(map(float, tree["odds"])),
        )
        for tree in said["trees"]
    )
    left_out = said.get("without", ())
    names = tuple(None if name in left_out else str(name) for name in said["names"])
    signs = tuple(map(int, said["signs"]))
    asked = {asked for tree in trees for asked in tree.asks if asked >= 0}
    if len(signs) != len(names) or any(k >= len(names) or names[k] is None for k in asked):
        raise ValueError("values without a name")
    return Trees(float(said["bias"]), names, signs, trees)
