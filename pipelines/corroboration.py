"""Whether changes at a site fall together in time with dated outside events, and whether that could have been seen.

The site's side is its clear looks and its onset intervals; the outside's is events with windows. The statistic is
the number of onsets expected inside the windows, each onset spread evenly over its interval, so that a change hidden by
a long gap counts for little in any window. How large it gets by chance is learned from the site itself, in three ways
that all keep the gaps between its looks:

circular_shift : all events move together, by every number of days; those speak that could be tested where they come to lie
season : each event moves by itself, to testable days of its own season in any year
resampled_looks : the events stay; each onset falls between other consecutive clear looks, in proportion to the gap

An event whose window shows no clear look is not tested and says so. Nothing here speaks of cause or content.

Sources: B. Phipson, G. K. Smyth (2010), Permutation p-values should never be zero, Stat. Appl. Genet. Mol. Biol.
9(1), 39. S. Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6(2), 65-70.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.int64]
Numbers = NDArray[np.float64]

LEVEL = 0.05
PLACEMENTS = 1_999
POWER_DRAWS = 40
# Above these many equally likely placements they are drawn instead of counted out.
MOST_COUNTED = 5_000
# A quarter is long enough to hold several windows and short enough to be one season.
SEASON_DAYS = 365.25 / 4
MIN_SEASON_DAYS = 2 * 365
_SAME = 1e-9


class Untestable(StrEnum):
    """Why an event is not tested."""

    NO_CLEAR_LOOK_IN_WINDOW = "no_clear_look_in_window"
    NO_CLEAR_LOOK_BEFORE = "no_clear_look_before"


@dataclass(frozen=True, slots=True)
class Window:
    """When an event happened and when a change is looked for, in whole UTC days since 1970.

    Parameters
    ----------
    start, length : first day of the event, uncertainty included, and how many days it covers
    lag : days after the event's start and end between which a change is looked for
    """

    start: int
    length: int
    lag: tuple[int, int]

    @property
    def tested(self) -> tuple[int, int]:
        """First day looked at, and the first one no longer looked at."""
        return self.start + self.lag[0], self.start + self.length + self.lag[1]


@dataclass(frozen=True, slots=True)
class Onset:
    """One onset interval in days since 1970 (fractions too); ``weight`` is the probability that it is real.

    Changes with the same interval are one onset: a delivery of thirty containers is one thing that happened.
    """

    start: float
    end: float
    weight: float


@dataclass(frozen=True, slots=True)
class Null:
    """What one way of placing at random says.

    ``p_value`` counts ties against the claim, so it is never too small; ``p_spread`` breaks ties at random and is
    uniform where nothing is going on: it exists to show that the method is right, not to be published.
    """

    name: str
    p_value: float | None
    p_spread: float | None
    exact: bool
    placements: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Tested:
    """One event, or several together: the onsets expected in the windows, and how often chance gives as many."""

    expected_onsets: float
    nulls: tuple[Null, ...]

    @property
    def p_value(self) -> float:
        """The largest of the three: what is left when the kindest explanation by chance is granted."""
        return max(null.p_value for null in self.nulls if null.p_value is not None)


@dataclass(frozen=True, slots=True)
class EventResult:
    """One event; ``tested`` and ``power`` are None where it is not testable.

    ``power`` is how likely one onset somewhere in the window, as sure as the site's usual one, would have been told from
    chance by all three nulls, given the site's gaps and its onsets outside the window: at the level that Holm's correction
    leaves to the strongest of the events tested, which is what the event alone would have to reach.
    """

    untestable: Untestable | None
    tested: Tested | None
    power: float | None
    p_adjusted: float | None


@dataclass(frozen=True, slots=True)
class Corroboration:
    """Every event in the order given, and all testable ones together (None where there is none).

    ``joint_power`` is how often all together would be told from chance if one onset fell into every window.
    """

    events: tuple[EventResult, ...]
    joint: Tested | None
    joint_power: float | None


class _Sky:
    """A site's clear looks in order, as days, and what follows from them alone; what is costly is made once."""

    def __init__(self, looks: Sequence[int], seed: int) -> None:
        self.days: Days = np.unique(np.asarray(looks, np.int64))
        self.seed = seed
        self.first, self.last = (int(self.days[0]), int(self.days[-1])) if self.days.size else (0, 0)
        marks = np.zeros(self.last - self.first + 2, np.int64)
        marks[self.days[1:] - self.first + 1] = 1
        self._comparable = np.cumsum(marks)
        self._starts: dict[tuple[int, tuple[int, int]], Days] = {}

    def testable_starts(self, window: Window) -> Days:
        """Return every day on which an event of this length and lag could have been tested."""
        known = self._starts.get((window.length, window.lag))
        if known is None:
            low = self.first - window.length - window.lag[1]
            starts = np.arange(low, self.last - window.lag[0] + 1, dtype=np.int64)
            before = self._looks_before(starts + window.lag[0])
            known = starts[self._looks_before(starts + window.length + window.lag[1]) > before]
            self._starts[window.length, window.lag] = known
        return known

    def _looks_before(self, days: Days) -> Days:
        """Return how many looks with one before them there are before each day."""
        return self._comparable[np.clip(days - self.first, 0, self._comparable.size - 1)]

    def untestable(self, window: Window) -> Untestable | None:
        """Say why an event cannot be tested; None where it can."""
        start, end = window.tested
        inside = self.days[(self.days >= start) & (self.days < end)]
        if not inside.size:
            return Untestable.NO_CLEAR_LOOK_IN_WINDOW
        if inside[-1] == self.first:
            return Untestable.NO_CLEAR_LOOK_BEFORE
        return None

    def random(self, name: str) -> np.random.Generator:
        """Return a generator for one purpose."""
        return np.random.default_rng([self.seed, *name.encode()])

    @functools.cached_property
    def gap_orders(self) -> NDArray[np.int64]:
        """(placement, gap): gaps drawn without replacement, each next one in proportion to the lengths left."""
        lengths = np.diff(self.days).astype(np.float64)
        keys = np.log(lengths) + self.random("gaps").gumbel(size=(PLACEMENTS, lengths.size))
        orders: NDArray[np.int64] = np.argsort(-keys, axis=1)
        return orders


@dataclass(frozen=True, slots=True)
class _Record:
    """A site's clear looks, and the onsets they show."""

    sky: _Sky
    onsets: tuple[Onset, ...]


def corroborate(
    looks: Sequence[int], onsets: Sequence[Onset], windows: Sequence[Window], *, seed: int = 0
) -> Corroboration:
    """Compare a site's onsets with events.

    Parameters
    ----------
    looks : days since 1970 with a clear look, in any order
    onsets : what the site's reports date, one per distinct interval
    windows : the events
    seed : of the placements that are drawn, and of broken ties

    Returns
    -------
    Corroboration : equal input gives equal output
    """
    record = _Record(_Sky(looks, seed), tuple(onsets))
    why = [record.sky.untestable(window) for window in windows]
    tested = [
        _test(record, [window]) if reason is None else None
        for window, reason in zip(windows, why, strict=True)
    ]
    adjusted = holm([one.p_value for one in tested if one is not None])
    order = iter(adjusted)
    level = LEVEL / max(len(adjusted), 1)
    results = tuple(
        EventResult(
            reason,
            one,
            None if one is None else _power(record, window, level),
            None if one is None else next(order),
        )
        for window, reason, one in zip(windows, why, tested, strict=True)
    )
    joint = _jointly(record, windows)
    return Corroboration(results, joint, None if joint is None else _joint_power(record, windows))


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm), in the order given."""
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted


def jointly(
    looks: Sequence[int], onsets: Sequence[Onset], windows: Sequence[Window], *, seed: int = 0
) -> Tested | None:
    """Return what ``corroborate`` says of all testable events together, without the single ones."""
    return _jointly(_Record(_Sky(looks, seed), tuple(onsets)), windows)


def circular_p(looks: Sequence[int], onsets: Sequence[Onset], windows: Sequence[Window]) -> float | None:
    """Return the p-value of the circular shift alone over the testable events; None where none is.

    The control over many sites asks each of them this.
    """
    record = _Record(_Sky(looks, 0), tuple(onsets))
    return _circular(record, windows).p_value if _any_testable(record, windows) else None


def _any_testable(record: _Record, windows: Sequence[Window]) -> bool:
    return any(record.sky.untestable(window) is None for window in windows)


def _jointly(record: _Record, windows: Sequence[Window]) -> Tested | None:
    return _test(record, windows) if _any_testable(record, windows) else None


def share_inside(start: float, end: float, window: tuple[float, float]) -> float:
    """Return how much of an onset interval lies in a window of days, 0-1."""
    if end <= start:
        return float(window[0] <= end < window[1])
    return max(0.0, min(end, window[1]) - max(start, window[0])) / (end - start)


def _test(record: _Record, windows: Sequence[Window]) -> Tested:
    expected = sum(
        onset.weight * share_inside(onset.start, onset.end, window.tested)
        for window in windows
        if record.sky.untestable(window) is None
        for onset in record.onsets
    )
    nulls = (_circular(record, windows), _season(record, windows), _resampled(record, windows))
    return Tested(float(expected), nulls)


def _expected_at(onsets: Sequence[Onset], window: Window, starts: Days) -> Numbers:
    """Return the statistic for an event moved to each of many days."""
    low = (starts + window.lag[0]).astype(np.float64)
    high = (starts + window.length + window.lag[1]).astype(np.float64)
    total = np.zeros(starts.size)
    for onset in onsets:
        span = onset.end - onset.start
        if span <= 0:
            total += onset.weight * ((low <= onset.end) & (onset.end < high))
        else:
            inside = np.minimum(high, onset.end) - np.maximum(low, onset.start)
            total += onset.weight * np.maximum(inside, 0.0) / span
    return total


def _counted(name: str, record: _Record, placed: Numbers, observed: float, weights: Numbers | None) -> Null:
    """Return what all placements together say, the observed one among them."""
    share = np.full(placed.size, 1.0 / placed.size) if weights is None else weights / weights.sum()
    above = float(share[placed > observed + _SAME].sum())
    same = float(share[np.abs(placed - observed) <= _SAME].sum())
    spread = above + same * float(record.sky.random(f"ties {name}").random())
    return Null(name, min(1.0, above + same), min(1.0, spread), True, int(placed.size))


def _drawn(name: str, record: _Record, placed: Numbers, observed: float) -> Null:
    """Return what placements drawn at random say, the observed one added to them."""
    above = int((placed > observed + _SAME).sum())
    same = 1 + int((np.abs(placed - observed) <= _SAME).sum())
    whole = placed.size + 1
    spread = (above + same * float(record.sky.random(f"ties {name}").random())) / whole
    return Null(name, (above + same) / whole, spread, False, int(placed.size))


def _circular(record: _Record, windows: Sequence[Window]) -> Null:
    """Move all events together round one circle of days, those that no look could test included.

    At each shift only the testable events speak, each by how far it lies above its own mean over testable days, so that
    a shift into well-observed days gains nothing by that alone.
    """
    low = record.sky.first - max(window.length + window.lag[1] for window in windows)
    high = record.sky.last - min(window.lag[0] for window in windows) + 1
    size = high - low
    shifts = np.arange(size)
    above, variance = np.zeros(size), np.zeros(size)
    for window in windows:
        if not low <= window.start < high:
            continue
        starts = record.sky.testable_starts(window)
        values = _expected_at(record.onsets, window, starts)
        there = (starts - low)[None, :]
        beyond, spread = np.zeros(size), np.zeros(size)
        beyond[there] = values - values.mean()
        spread[there] = max(float(values.var()), _SAME)
        moved = (window.start - low + shifts) % size
        above += beyond[moved]
        variance += spread[moved]
    placed = above[variance > 0] / np.sqrt(variance[variance > 0])
    return _counted("circular_shift", record, placed, float(placed[0]), None)


def season_of(days: Days) -> Days:
    """Return the quarter of the year each day (since 1970) falls in, 0-3, counted from 1 December."""
    through = (days + 31.0) % 365.25
    quarters: Days = np.minimum(through // SEASON_DAYS, 3).astype(np.int64)
    return quarters


def _season(record: _Record, windows: Sequence[Window]) -> Null:
    """Move each testable event by itself to testable days of its own season."""
    name, span = "season", record.sky.last - record.sky.first
    if span < MIN_SEASON_DAYS:
        reason = "the clear looks span less than two years, so season cannot be told from coincidence"
        return Null(name, None, None, False, 0, reason)
    placed, observed = [], 0.0
    for window in (window for window in windows if record.sky.untestable(window) is None):
        days = record.sky.testable_starts(window)
        days = days[season_of(days) == season_of(np.array([window.start]))[0]]
        values = _expected_at(record.onsets, window, days)
        placed.append(values)
        observed += float(values[np.searchsorted(days, window.start)])
    if math.prod(min(values.size, MOST_COUNTED + 1) for values in placed) <= MOST_COUNTED:
        sums = functools.reduce(lambda known, more: np.add.outer(known, more).ravel(), placed)
        return _counted(name, record, sums, observed, None)
    chance = record.sky.random(name)
    drawn = sum((values[chance.integers(values.size, size=PLACEMENTS)] for values in placed), np.zeros(1))
    return _drawn(name, record, drawn, observed)


def _resampled(record: _Record, windows: Sequence[Window]) -> Null:
    """Let each onset fall between other consecutive clear looks, longer gaps catching more.

    Onsets between the same two looks were merged into one, so no two are put there either. An onset that spans
    several looks keeps how many it spans.
    """
    name = "resampled_looks"
    kept = _snapped(record)
    single = [(low, weight) for (low, count), weight in kept.items() if count == 1]
    wide = [(low, count, weight) for (low, count), weight in kept.items() if count > 1]
    values, lengths = _gaps(record, 1, windows)
    observed = sum(weight * values[low] for low, weight in single)
    weights = np.array([weight for _, weight in single])
    if not wide and math.perm(values.size, weights.size) <= MOST_COUNTED:
        placed, chances = _every_order(values, lengths / lengths.sum(), weights)
        return _counted(name, record, placed, observed, chances)
    chance = record.sky.random(name)
    drawn = values[record.sky.gap_orders[:, : weights.size]] @ weights
    for low, count, weight in wide:
        more, spans = _gaps(record, count, windows)
        drawn += weight * more[chance.choice(more.size, PLACEMENTS, p=spans / spans.sum())]
        observed += weight * more[low]
    return _drawn(name, record, drawn, float(observed))


def _snapped(record: _Record) -> dict[tuple[int, int], float]:
    """Return the onsets as (first look, gaps spanned), so that what was observed is among what can be drawn."""
    kept: dict[tuple[int, int], float] = {}
    edges = record.sky.days
    for onset in record.onsets:
        low = int(np.clip(np.searchsorted(edges, math.floor(onset.start), "right") - 1, 0, edges.size - 2))
        high = int(np.clip(np.searchsorted(edges, math.floor(onset.end)), low + 1, edges.size - 1))
        kept[low, high - low] = max(kept.get((low, high - low), 0.0), onset.weight)
    return kept


def _gaps(record: _Record, count: int, windows: Sequence[Window]) -> tuple[Numbers, Numbers]:
    """Return, for every run of ``count`` gaps, how much of it lies in the windows, and its length in days."""
    edges = record.sky.days.astype(np.float64)
    starts, ends = edges[:-count], edges[count:]
    shares = np.zeros(starts.size)
    for window in (window for window in windows if record.sky.untestable(window) is None):
        low, high = window.tested
        shares += np.maximum(np.minimum(ends, high) - np.maximum(starts, low), 0.0) / (ends - starts)
    return shares, ends - starts


def _every_order(values: Numbers, shares: Numbers, weights: Numbers) -> tuple[Numbers, Numbers]:
    """Return the statistic of every way to put onsets into different gaps, and how likely each way is."""
    sums, chances = [], []
    for order in itertools.permutations(range(values.size), weights.size):
        left, likely = 1.0, 1.0
        for gap in order:
            likely *= shares[gap] / left
            left -= shares[gap]
        sums.append(float(values[list(order)] @ weights))
        chances.append(likely)
    return np.array(sums), np.array(chances)


def _power(record: _Record, window: Window, level: float = LEVEL) -> float:
    """Return how likely one onset in the window, as sure as the site's usual one, is told from chance at a level."""
    start, end = window.tested
    found = 0.0
    for low, high, days in _gaps_in(record, window):
        tested = _test(_planted(record, [window], [(low, high)]), [window])
        found += days * (tested.p_value <= level)
    # Days of the window before the first look or after the last could not have shown an onset at all.
    return float(found / (end - start))


def _joint_power(record: _Record, windows: Sequence[Window]) -> float:
    """Return how often one onset in every testable window, drawn again and again, is told from chance."""
    usable = [window for window in windows if record.sky.untestable(window) is None]
    if len(usable) == 1:
        return _power(record, usable[0])
    chance, found = record.sky.random("power"), 0
    # A window may hold a clear look on its first day and none after: no onset can be dated inside it then.
    gaps = [each for window in usable if (each := list(_gaps_in(record, window)))]
    shares = [np.array([days for _, _, days in each]) / sum(days for _, _, days in each) for each in gaps]
    for _ in range(POWER_DRAWS):
        drawn = [
            each[chance.choice(len(each), p=share)][:2] for each, share in zip(gaps, shares, strict=True)
        ]
        found += _test(_planted(record, usable, drawn), usable).p_value <= LEVEL
    return found / POWER_DRAWS


def _gaps_in(record: _Record, window: Window) -> Iterator[tuple[float, float, float]]:
    """Yield the gaps between clear looks that meet a window: start, end, and their days inside it."""
    start, end = window.tested
    for low, high in itertools.pairwise(record.sky.days.astype(np.float64).tolist()):
        days = min(high, end) - max(low, start)
        if days > 0:
            yield low, high, days


def _planted(record: _Record, windows: Sequence[Window], intervals: Sequence[tuple[float, float]]) -> _Record:
    """Return the record with these onsets, as sure as its usual one, in place of any that met the windows."""
    weight = float(np.median([onset.weight for onset in record.onsets])) if record.onsets else 1.0
    outside = [
        (onset.start, onset.end, onset.weight)
        for onset in record.onsets
        if not any(share_inside(onset.start, onset.end, window.tested) for window in windows)
    ]
    return _Record(record.sky, merge_onsets([*outside, *((low, high, weight) for low, high in intervals)]))


def merge_onsets(intervals: Sequence[tuple[float, float, float]]) -> tuple[Onset, ...]:
    """Return one onset per distinct ``(start, end)``, with the largest confidence, in order of time."""
    kept: dict[tuple[float, float], float] = {}
    for start, end, confidence in intervals:
        kept[start, end] = max(kept.get((start, end), 0.0), confidence)
    return tuple(Onset(start, end, weight) for (start, end), weight in sorted(kept.items()))


def lag_days(event: tuple[float, float], onset: tuple[float, float]) -> tuple[float, float]:
    """Return the least and largest number of days by which an onset may lie after an event (negative: before)."""
    return onset[0] - event[1], onset[1] - event[0]


def common_lag(lags: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Return the lags that all events have in common, None where there are none."""
    if not lags:
        return None
    low, high = max(lag[0] for lag in lags), min(lag[1] for lag in lags)
    return (low, high) if low <= high else None


def as_json(tested: Tested) -> list[dict[str, Any]]:
    """Return the nulls as an answer prints them."""
    return [
        {
            "name": null.name,
            "p_value": null.p_value,
            "exact": null.exact,
            "placements": null.placements,
            "reason": null.reason,
        }
        for null in tested.nulls
    ]
