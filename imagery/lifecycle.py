"""When an object came or went, how sure that is, and what rung of the ladder it stands on.

Per object, not per pixel: the evidence of its pixels is pooled per look, and the looks form a two-state hidden chain
with a rate of appearing and of being removed per day. Looks that did not see it add nothing. Looks of one day add no
more than one look does, looks of neighbouring days little more. The forward and backward passes give the posterior of
every step between looks. The onset interval is whole steps, from a look that saw it to a look that saw it: never less than
the gap between two clear looks, and wider where looks between leave it open.

Source: L. R. Rabiner (1989), A tutorial on hidden Markov models, Proc. IEEE 77(2), 257-286.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imagery.changes import Direction, ObjectClass, Status

Float64Array = NDArray[np.float64]

# Nothing less likely is confirmed, however many looks bear it out; at pixels too coarse for single objects see ``timeseries``.
CONFIRMED_FROM = 0.95


@dataclass(frozen=True, slots=True)
class LifecycleOptions:
    """Rates per day, errors per look.

    ``gross_error`` is how often a look is wrong about an object as a whole, whatever its pixels say (looks share such
    errors: snow, a vehicle, a shadow): no look counts for more than ``log((1 - e) / e)``.
    ``interval_mass`` is the share of the posterior from which on an onset interval is wide enough. Whole steps hold more than
    is asked of them: of 262 changes on 60 rendered series the truth lay inside 98 % of the intervals at 0.65, 97 % of the
    narrowest possible, and all of those at 0.95, which were 1.6 times as wide.
    ``spare_days`` are added to the series, spread over its steps: work comes in bursts, so two looks three days apart
    must not need much better evidence than two a month apart, while many looks must not make a change likelier.
    ``independent_days`` apart, as at 10 m, looks count as independent where a status is climbed: snow, haze and what is parked for
    a job last longer than the days over which looks share their ``dependence_days``.
    """

    appear_per_day: float = 1.0 / 500.0
    remove_per_day: float = 1.0 / 500.0
    gross_error: float = 0.02
    least_seen: float = 0.6
    dependence_days: float = 2.0
    independent_days: float = 4.0
    interval_mass: float = 0.65
    spare_days: float = 60.0
    supports_above: float = 0.5
    strong_above: float = 2.0

    @property
    def cap(self) -> float:
        """Largest log-odds one look may add."""
        return math.log((1.0 - self.gross_error) / self.gross_error)


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What the series says of one change.

    ``before``/``after`` are the look indices at the ends of the onset interval, ``posterior`` the probability that the
    switch is real and ``mass`` the share of it inside the interval. ``supporting`` are looks after the onset that show
    the new state, ``against`` those that do not while the path says they should; ``reversed_at`` is the first look that
    saw it undone. ``shown`` counts the independent looks that show the object itself, before a removal or after an
    appearance, and ``bounded`` tells that looks on both sides of those do not show it: what one look alone shows, between
    others that do not, drove there and away again more often than it was set down and taken up.
    """

    before: int
    after: int
    posterior: float
    mass: float
    supporting: tuple[int, ...]
    against: tuple[int, ...]
    earlier: tuple[int, ...]
    independent: int
    strong: int
    last_seen: int
    reversed_at: int | None
    shown: int = 0
    bounded: bool = False


def day_numbers(times: Sequence[datetime]) -> Float64Array:
    """Return days since the first moment."""
    return np.array([(t - times[0]).total_seconds() / 86400.0 for t in times])


def shared_weights(days: Float64Array, seen: NDArray[np.bool_], dependence_days: float) -> Float64Array:
    """Return how much of a whole look each look counts: looks in quick succession share their conditions."""
    apart = np.abs(days[:, None] - days[None, :])
    company = np.exp(-apart / dependence_days) * seen[None, :]
    return np.where(seen, 1.0 / np.maximum(company.sum(1), 1.0), 0.0)


def pairwise_posterior(
    evidence: Float64Array, days: Float64Array, options: LifecycleOptions
) -> tuple[Float64Array, Float64Array]:
    """Return the posterior of presence per look and of each step's joint states.

    Parameters
    ----------
    evidence : (look,) log-odds of presence, 0 where unseen

    Returns
    -------
    present : (look,) probability that the object stands
    steps : (look - 1, 2, 2) probability of (state before, state after), 0 absent and 1 present
    """
    looks = evidence.size
    likelihood = np.stack([np.ones(looks), np.exp(evidence)], 1)
    gaps = np.diff(days) + options.spare_days / max(looks - 1, 1)
    chains = np.stack([_step(gap, options) for gap in gaps.tolist()]) if looks > 1 else np.empty((0, 2, 2))
    forward, backward = _passes(likelihood[:, 1].tolist(), chains.tolist())
    together = forward * backward
    together /= together.sum(1, keepdims=True)
    steps = forward[:-1, :, None] * chains * (likelihood[1:] * backward[1:])[:, None, :]
    if looks > 1:
        steps /= steps.sum((1, 2), keepdims=True)
    return together[:, 1], steps


def _passes(likelihood: list[float], chains: list[list[list[float]]]) -> tuple[Float64Array, Float64Array]:
    """Return (look, state) what the looks up to each, and those after it, say of its state, each row summing to 1.

    Plain numbers: to ask numpy for so few costs ten times what it takes to work them out.
    """
    absent, present = _shares(0.5, 0.5 * likelihood[0])
    forward = [(absent, present)]
    for ((stays, comes), (goes, remains)), said in zip(chains, likelihood[1:], strict=True):
        absent, present = _shares(
            absent * stays + present * goes, (absent * comes + present * remains) * said
        )
        forward.append((absent, present))
    absent, present = 1.0, 1.0
    backward = [(absent, present)]
    for ((stays, comes), (goes, remains)), said in zip(chains[::-1], likelihood[:0:-1], strict=True):
        present *= said
        absent, present = _shares(stays * absent + comes * present, goes * absent + remains * present)
        backward.append((absent, present))
    return np.array(forward), np.array(backward[::-1])


def _shares(one: float, other: float) -> tuple[float, float]:
    total = one + other
    return one / total, other / total


@lru_cache(maxsize=4096)
def _step(gap_days: float, options: LifecycleOptions) -> Float64Array:
    """Return the transition matrix of the two-state chain over a gap, read-only: candidates share most of their gaps."""
    rate = options.appear_per_day + options.remove_per_day
    moved = -math.expm1(-rate * gap_days)
    up, down = options.appear_per_day / rate * moved, options.remove_per_day / rate * moved
    matrix = np.array([[1.0 - up, up], [down, 1.0 - down]])
    matrix.flags.writeable = False
    return matrix


def follow(
    evidence: Float64Array,
    seen: NDArray[np.bool_],
    days: Float64Array,
    direction: Direction,
    gap: tuple[int, int],
    options: LifecycleOptions,
) -> Lifecycle | None:
    """Follow one candidate through the series.

    Parameters
    ----------
    evidence : (look,) pooled log-odds of presence; ignored where not ``seen``
    seen : (look,) whether the look saw enough of the object
    gap : look indices between which the candidate's pixels flipped

    Returns
    -------
    lifecycle : None where no two looks on either side saw it
    """
    index = np.flatnonzero(seen)
    if index.size < 2:
        return None
    weights = shared_weights(days, seen, options.dependence_days)[index]
    pooled = np.clip(evidence[index], -options.cap, options.cap) * weights
    _, steps = pairwise_posterior(pooled, days[index], options)
    sign = 1.0 if direction is Direction.APPEARED else -1.0
    switch = steps[:, 0, 1] if direction is Direction.APPEARED else steps[:, 1, 0]
    undone = steps[:, 1, 0] if direction is Direction.APPEARED else steps[:, 0, 1]
    overlaps = (index[:-1] < gap[1]) & (index[1:] > gap[0])
    if not overlaps.any():
        return None
    peak = int(np.argmax(np.where(overlaps, switch, -1.0)))
    first, last = _episode(switch, undone, peak)
    total = float(switch[first : last + 1].sum())
    start, end, inside = _interval(switch[first : last + 1], peak - first, options.interval_mass)
    start, end = start + first, end + first
    signed = sign * evidence[index]
    reverse = _reversal(undone, end)
    stop = index.size if reverse is None else reverse + 1
    after = range(end + 1, stop)
    supporting = [i for i in after if signed[i] > options.supports_above]
    against = [i for i in after if signed[i] < -options.supports_above]
    earlier = [i for i in range(first, start + 1) if signed[i] < -options.supports_above]
    strong = [i for i in supporting if signed[i] > options.strong_above]
    seen_last = supporting[-1] if supporting else end + 1
    showing = supporting if direction is Direction.APPEARED else earlier
    absent = np.flatnonzero(evidence[index] < -options.supports_above)
    bounded = bool(showing and absent.size and absent[0] < showing[0] and showing[-1] < absent[-1])
    return Lifecycle(
        int(index[start]),
        int(index[end + 1]),
        min(total, 1.0),
        inside / max(total, 1e-12),
        tuple(int(index[i]) for i in supporting),
        tuple(int(index[i]) for i in against),
        tuple(int(index[i]) for i in earlier),
        _independent(days[index[supporting]], options.independent_days),
        _independent(days[index[strong]], options.independent_days),
        int(index[seen_last]),
        None if reverse is None else int(index[reverse + 1]),
        _independent(days[index[showing]], options.dependence_days),
        bounded,
    )


def _episode(switch: Float64Array, undone: Float64Array, peak: int) -> tuple[int, int]:
    """Return the steps around the peak that belong to the same change: up to where it is more likely undone."""
    first = peak
    while first > 0 and undone[first - 1] < 0.5 and switch[first - 1] <= switch[peak]:
        first -= 1
    last = peak
    while last + 1 < switch.size and undone[last + 1] < 0.5 and switch[last + 1] <= switch[peak]:
        last += 1
    return first, last


def _interval(switch: Float64Array, peak: int, mass: float) -> tuple[int, int, float]:
    """Return the narrowest run of steps around the peak with the wanted share, grown by the likelier side."""
    first = last = peak
    total = float(switch.sum())
    inside = float(switch[peak])
    while inside < mass * total:
        left = switch[first - 1] if first > 0 else -1.0
        right = switch[last + 1] if last + 1 < switch.size else -1.0
        if left >= right:
            first -= 1
            inside += float(left)
        else:
            last += 1
            inside += float(right)
    return first, last, inside


def _reversal(undone: Float64Array, end: int) -> int | None:
    """Return the first step after the onset at which it is more likely undone than not."""
    late = np.flatnonzero(undone[end + 1 :] > 0.5)
    return None if late.size == 0 else int(late[0]) + end + 1


def _independent(days: Float64Array, apart_days: float) -> int:
    """Count looks that are further apart than conditions last."""
    count, last = 0, -math.inf
    for day in days:
        if day - last >= apart_days:
            count, last = count + 1, float(day)
    return count


def status_of(found: Lifecycle, object_class: ObjectClass, confidence: float, *, verified: bool) -> Status:
    """Return the rung of CONTRACT section 1 that a change has reached.

    ``verified`` tells that the learned detector spoke, and for this class before any other. Nothing else climbs above
    ``provisional``, nor does what is less likely than ``CONFIRMED_FROM``, nor what is not identified: what no look can name
    is confirmed as nothing.
    """
    if found.independent < 2 or found.shown < 2 or not found.earlier:
        return Status.FIRST
    if not verified or confidence < CONFIRMED_FROM or object_class is ObjectClass.OTHER:
        return Status.PROVISIONAL
    if found.reversed_at is not None:
        return Status.CLOSED
    return Status.CONFIRMED if found.independent >= 3 or found.strong >= 2 else Status.PROVISIONAL
