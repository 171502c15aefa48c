"""The numbers at the top of a report: what was found, how sure, and whether it could have been found at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import hypot
from typing import Any

import numpy as np

from imagery.changes import Change, Direction, Estimate, ObjectClass, Status
from imagery.coverage import could_compare
from pipelines.analysis import Analysis, LookSummary
from pipelines.report.canonical import number

# Below this share of the AOI a look says nothing about the site as a whole.
LEAST_USABLE = 0.02


class Verdict(StrEnum):
    """What the report as a whole can claim; each has its own page layout and words."""

    CHANGES_FOUND = "changes_found"
    NO_CHANGE_FOUND = "no_change_found"
    NOTHING_TO_COMPARE = "nothing_to_compare"
    NOT_OBSERVABLE = "not_observable"


@dataclass(frozen=True, slots=True)
class Tally:
    """All changes of one class and direction.

    ``changes`` is how many are listed; ``expected_true`` how many of those are real given their confidences, 90 %
    interval. ``gsd_m`` is their coarsest pixel size. ``count`` adds up the objects (containers) where every change of the group has one; else None.
    """

    object_class: ObjectClass
    direction: Direction
    changes: int
    expected_true: Estimate
    count: Estimate | None
    count_reason: str | None
    area_m2: Estimate
    gsd_m: float


# From this share on a look is taken to have seen the site.
WHOLE = 0.9


def saw_all(look: LookSummary) -> bool:
    """Tell whether what was counted in a look stands for the site, not for a part of it."""
    return look.usable_fraction >= WHOLE


def usable_looks(analysis: Analysis) -> list[LookSummary]:
    """Return the looks that showed something of the site."""
    return [look for look in analysis.looks if _usable(look)]


def blind_looks(analysis: Analysis) -> list[LookSummary]:
    """Return the looks that showed nothing of the site."""
    return [look for look in analysis.looks if not _usable(look)]


def _usable(look: LookSummary) -> bool:
    return look.used and look.usable_fraction >= LEAST_USABLE


def verdict(analysis: Analysis) -> Verdict:
    """Say which of four things this report is; what was not seen twice never reads as 'no change'."""
    if live_changes(analysis):
        return Verdict.CHANGES_FOUND
    if not usable_looks(analysis):
        return Verdict.NOT_OBSERVABLE
    return Verdict.NO_CHANGE_FOUND if could_compare(analysis.detection) else Verdict.NOTHING_TO_COMPARE


def live_changes(analysis: Analysis) -> list[Change]:
    """Return the changes that stand: all but the retracted."""
    return [c for c in analysis.detection.changes if c.status is not Status.RETRACTED]


def all_warnings(analysis: Analysis) -> list[str]:
    """Return the warnings of analysis and detection, each once."""
    return list(dict.fromkeys([*analysis.warnings, *analysis.detection.warnings]))


def _added_counts(counts: Sequence[Estimate]) -> Estimate:
    """Add counts with the ends of their intervals: what makes one too low, stacks, makes all of a site so."""
    return Estimate(sum(c.value for c in counts), sum(c.low for c in counts), sum(c.high for c in counts))


def _added(estimates: Sequence[Estimate]) -> Estimate:
    """Add independent estimates: values add, half-widths of the intervals add in quadrature."""
    value = sum(e.value for e in estimates)
    below = hypot(*(e.value - e.low for e in estimates))
    above = hypot(*(e.high - e.value for e in estimates))
    return Estimate(value, max(value - below, 0.0), value + above)


def expected_true(confidences: Sequence[float]) -> Estimate:
    """Return how many of so many independent changes are real: mean and 5-95 % of the Poisson-binomial law."""
    law = np.ones(1)
    for p in confidences:
        law = np.convolve(law, [1.0 - p, p])
    cumulative = np.cumsum(law)
    low = int(np.searchsorted(cumulative, 0.05))
    high = min(int(np.searchsorted(cumulative, 0.95)), len(confidences))
    return Estimate(float(sum(confidences)), float(low), float(high))


def _tally(object_class: ObjectClass, direction: Direction, group: Sequence[Change]) -> Tally:
    counts = [c.count for c in group if c.count is not None]
    reasons = sorted({c.count_reason for c in group if c.count_reason})
    whole = len(counts) == len(group)
    return Tally(
        object_class,
        direction,
        len(group),
        expected_true([c.confidence for c in group]),
        _added_counts(counts) if whole else None,
        None if whole else "; ".join(reasons) or "not counted",
        _added([c.area_m2 for c in group]),
        max(c.gsd_m for c in group),
    )


def tallies(analysis: Analysis) -> list[Tally]:
    """Return one tally per class and direction that has changes, in the order of the enumerations."""
    changes = live_changes(analysis)
    groups = {
        (k, d): [c for c in changes if c.object_class is k and c.direction is d]
        for k in ObjectClass
        for d in Direction
    }
    return [_tally(k, d, group) for (k, d), group in groups.items() if group]


def interval(estimate: Estimate | None, digits: int = 1) -> dict[str, float | None] | None:
    """Return an estimate as JSON: value, low, high (90 %)."""
    if estimate is None:
        return None
    return {
        "value": number(estimate.value, digits),
        "low": number(estimate.low, digits),
        "high": number(estimate.high, digits),
    }


def compared_json(analysis: Analysis) -> list[dict[str, float | None]]:
    """Return as JSON how much of the AOI was compared, by looks of each kind of pixel size."""
    return [
        {"gsd": number(part.gsd_m), "comparable_fraction": number(part.fraction, 4)}
        for part in analysis.detection.compared
    ]


def summary_json(analysis: Analysis) -> list[dict[str, Any]]:
    """Return the tallies as JSON."""
    return [
        {
            "change_type": str(t.object_class),
            "direction": str(t.direction),
            "changes": t.changes,
            "expected_true": interval(t.expected_true),
            "count": interval(t.count),
            "count_reason": t.count_reason,
            "area_m2": interval(t.area_m2),
        }
        for t in tallies(analysis)
    ]
