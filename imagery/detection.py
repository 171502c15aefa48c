"""From single looks to changes: the one way in.

``look_evidence`` sees one look and nothing else, so that it can be cached and a late scene costs one look.
``find_changes`` sees all looks' evidence: candidates, each followed as an object through the series, verified, placed,
counted, and given a confidence. The order in which looks come in does not matter.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imagery.appearance import appearance
from imagery.calibration import PRIOR, Verifier, stored_verifier, within_budget
from imagery.candidates import Candidate, CandidateOptions, find_candidates
from imagery.changes import (
    LOG_ODDS_STEP,
    UNSEEN,
    Change,
    Detection,
    DetectionLimit,
    Direction,
    LookEvidence,
    ObjectClass,
    OnsetInterval,
    Standing,
)
from imagery.comparability import Conditions, compare_looks
from imagery.delineation import delineated
from imagery.errors import DepotwatchError
from imagery.evidence.background import brightness
from imagery.evidence.physics import physical_log_odds
from imagery.evidence.ridges import MIN_NORMAL_COSINE
from imagery.illumination import Sun, View
from imagery.lifecycle import Lifecycle, LifecycleOptions, day_numbers, follow, status_of
from imagery.limits import COUNTABLE_GSD_M, detection_limits, smallest_area_m2, state_of
from imagery.look import Look
from imagery.objects import Outline, count_containers, drawn_in, outline
from imagery.observability import ObservationState
from imagery.standing import standing_in, with_changes
from imagery.verification import (
    Window,
    along_the_sun,
    cut_window,
    features_of,
    footprint_mask,
    inner_mask,
    pooled_evidence,
    presence_difference,
    without_shadow,
)

LEARNED_CLASSES = (ObjectClass.CONTAINER, ObjectClass.BERM, ObjectClass.OTHER)
PHYSICAL_CLASSES = (ObjectClass.CONTAINER, ObjectClass.BERM)
# Two classes claimed for one place at one time: the likelier one is kept where they share so much of the other's area.
_SAME_PLACE = 0.3
_LIKELY, _BOXES_ON_BANK = 0.5, 0.15
_EVIDENCE_CAP = 15.0
_LEAST_POSTERIOR = 0.08
_MARGIN_M = 12.0
# A bank this wide would stand 17 m high at 30 degrees, and no enclosure that coarse pixels fill is wider: it is a field or a quarter.
_THICKEST_BANK_M = 60.0
_NOT_COUNTED = {
    ObjectClass.BERM: "banks are measured, not counted",
    ObjectClass.OTHER: "what is not identified is not counted",
}
# Public so that who says it better of a whole site need not say it twice.
TOO_FEW_LOOKS = (
    "Fewer than two looks show any of the area, so no change could have been seen: this is not 'no change'."
)
_DIFFERS = {
    "sun_differs": "the sun stood elsewhere, so shadows differ",
    "view_differs": "they were taken from different sides, so raised things lean apart",
    "sharpness_differs": "one is much less sharp",
}


class PresenceNetwork(Protocol):
    """Anything that sees one look and says how likely each class stands at each pixel."""

    def log_odds(self, look: Look) -> NDArray[np.float32]:
        """Return (class, row, col) log-odds in the order of ``LEARNED_CLASSES``; NaN where not observed."""
        ...


class MixedGrids(DepotwatchError):
    """Evidence of several grids was put together."""

    code = "mixed-grids"


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """What may be set.

    Parameters
    ----------
    min_confidence : changes below it are not reported
    max_false_alarms : wanted false reports per km2 and year; raises the least confidence where the stored operating
        points say so; None leaves ``min_confidence`` alone
    keep_to_limits : leave looks out that, as measured, show too little of a class; False measures what they show
    """

    min_confidence: float = 0.3
    max_false_alarms: float | None = None
    keep_to_limits: bool = True
    candidates: CandidateOptions = field(default_factory=CandidateOptions)
    lifecycle: LifecycleOptions = field(default_factory=LifecycleOptions)


@dataclass(frozen=True, slots=True)
class RoughChange:
    """A candidate before it is drawn or judged: the looks that can show its class, in time order, what all its pixels say."""

    kind: ObjectClass
    looks: Sequence[LookEvidence]
    place: Candidate
    found: Lifecycle


@dataclass(frozen=True, slots=True)
class Judged:
    """A change, likely or not, with the numbers it was judged by, what it was drawn from, and how."""

    change: Change
    values: dict[str, float]
    rough: RoughChange
    window: Window
    difference: NDArray[np.float32]
    drawn: Outline


def look_evidence(
    look: Look,
    *,
    registration_residual_m: float,
    network: PresenceNetwork | None,
    options: DetectionOptions | None = None,
    sun_elevation_deg: float | None = None,
) -> LookEvidence:
    """Say what one look shows by itself.

    Parameters
    ----------
    look : registered, on the site grid
    registration_residual_m : how well it lies on the reference, RMSE in metres
    network : the learned detector; None leaves what geometry and sun say
    options : kept for callers that pass one; nothing in it shapes a single look
    sun_elevation_deg : stands in where the look has no sun, for how much light there was and nothing else

    Returns
    -------
    evidence : log-odds int8 (class, row, col), brightness float16, state; independent of any other look
    """
    light = brightness(look)
    if network is None:
        odds = physical_log_odds(light, look.grid.gsd_m, look.gsd_m, look.sun)
    else:
        odds = network.log_odds(look)
    seen = look.observed & np.isfinite(odds).all(0)
    np.clip(odds, -_EVIDENCE_CAP, _EVIDENCE_CAP, out=odds)
    odds /= LOG_ODDS_STEP
    odds[:, ~seen] = UNSEEN
    stored = np.rint(odds, out=odds).astype(np.int8)
    return LookEvidence(
        look.scene_id,
        look.t_utc,
        look.grid,
        PHYSICAL_CLASSES if network is None else LEARNED_CLASSES,
        stored,
        light,
        look.state,
        look.gsd_m,
        look.sun.azimuth_deg if look.sun else None,
        look.sun.elevation_deg if look.sun else sun_elevation_deg,
        look.view.azimuth_deg if look.view else None,
        look.view.off_nadir_deg if look.view else None,
        registration_residual_m,
        network is not None,
    )


def find_changes(
    evidence: Sequence[LookEvidence],
    aoi_mask: NDArray[np.bool_],
    options: DetectionOptions | None = None,
    standing: Sequence[Standing] | None = None,
) -> Detection:
    """Find what appeared and what was removed over a series of looks.

    Parameters
    ----------
    evidence : one per look, any order, one grid; arrays may be memory-mapped
    aoi_mask : (row, col) bool, where changes are claimed
    standing : what ``standing_in`` said of every look, in time order; None where it is not known

    Returns
    -------
    detection : changes ordered by onset, class, direction and place; what stood in each look; limits; warnings

    Raises
    ------
    MixedGrids : looks or mask lie on different grids
    """
    options = options or DetectionOptions()
    looks = sorted(evidence, key=lambda e: (e.t_utc, e.scene_id))
    if not looks:
        return Detection((), (), (), ("No look could be used, so nothing can be said.",))
    grid = looks[0].grid
    if any(look.grid != grid for look in looks) or aoi_mask.shape != grid.shape:
        raise MixedGrids("looks and area lie on different grids; bring all onto the site grid first")
    limits = _limits(looks, options)
    verifier = stored_verifier() if all(look.learned for look in looks) else PRIOR
    least, warnings = within_budget(verifier.points, options.max_false_alarms, options.min_confidence)
    warnings += _sight_warnings(looks, aoi_mask)
    series = _Series(looks, aoi_mask, options, verifier)
    listed: list[tuple[Change, Change]] = []
    for kind in ObjectClass:
        for found in series.judged(kind):
            if found.change.confidence >= least:
                change = as_identified(found.change, found.values)
                listed.append((change, series.redrawn(change, found)))
    first = one_class_per_place([change for change, _ in listed])
    kept = [redrawn for change, redrawn in listed if any(change is one for one in first)]
    kept.sort(key=_order)
    if standing is None:
        standing = [row for look in looks for row in standing_in(look, aoi_mask)]
    return Detection(tuple(kept), with_changes(standing, kept), limits, tuple(warnings))


def judged_candidates(
    looks: Sequence[LookEvidence],
    aoi_mask: NDArray[np.bool_],
    options: DetectionOptions,
    verifier: Verifier,
) -> Iterator[Judged]:
    """Yield every candidate of every class with all it was judged by; looks in time order."""
    series = _Series(looks, aoi_mask, options, verifier)
    for kind in ObjectClass:
        yield from series.judged(kind)


def appearance_of(
    rough: RoughChange, window: Window, difference: NDArray[np.float32], drawn: Outline
) -> float:
    """Return the log-odds that a candidate, drawn as it is told, is of its class by its looks alone."""
    inside = footprint_mask(drawn, window)
    return appearance(rough.looks, window, rough.found, rough.place.direction, rough.kind, difference, inside)


def rough_changes(
    looks: Sequence[LookEvidence],
    aoi_mask: NDArray[np.bool_],
    options: DetectionOptions,
    verifier: Verifier,
    kind: ObjectClass,
) -> Iterator[tuple[RoughChange, Window]]:
    """Yield every candidate of a class before it is drawn or judged, with its surroundings, the largest first."""
    yield from _Series(looks, aoi_mask, options, verifier).rough(kind)


def as_identified(change: Change, values: Mapping[str, float]) -> Change:
    """Return a change under the name it can bear.

    Pixels too large to count containers do not tell a block of them from a house. What every look then takes for another
    kind of structure is a change all the same, but not identified.
    """
    named = change.object_class is not ObjectClass.CONTAINER or change.gsd_m <= COUNTABLE_GSD_M
    return change if named or values["rival"] >= 0.0 else replace(change, object_class=ObjectClass.OTHER)


def shows(look: LookEvidence, kind: ObjectClass, options: DetectionOptions) -> bool:
    """Tell whether a look can speak of a class at all: where it can't, what it does not show is not absent."""
    if not options.keep_to_limits:
        return math.isfinite(smallest_area_m2(kind, look.gsd_m))
    return state_of(kind, look.gsd_m, look.sun_elevation_deg) is ObservationState.OBSERVED


def _smallest(kind: ObjectClass, looks: Sequence[LookEvidence]) -> float:
    """Return the area in square metres below which the finest look shows nothing of a class."""
    return smallest_area_m2(kind, min(look.gsd_m for look in looks))


def _limits(looks: Sequence[LookEvidence], options: DetectionOptions) -> tuple[DetectionLimit, ...]:
    """Return what the looks' pixels can show, less the classes that their light leaves too few looks to compare."""
    limits = [limit for gsd in sorted({look.gsd_m for look in looks}) for limit in detection_limits(gsd)]
    return tuple(
        _in_the_dark(limit)
        if limit.observable
        and sum(shows(look, limit.object_class, options) for look in looks) < 2 <= len(looks)
        else limit
        for limit in limits
    )


def _in_the_dark(limit: DetectionLimit) -> DetectionLimit:
    said = f"{limit.statement} Fewer than two looks were taken in light that shows enough of them: nothing is claimed."
    return replace(limit, observable=False, smallest_area_m2=None, statement=said)


def _same(change: Change, other: Change) -> bool:
    """Tell whether a change is a fragment of another of its class, direction and time."""
    shared = change.footprint.intersection(other.footprint).area
    return _at_one_time(change, other) and bool(shared > _SAME_PLACE * change.footprint.area)


def one_class_per_place(changes: Sequence[Change]) -> list[Change]:
    """Return the changes without those a likelier one of another class, or of none, already accounts for.

    Containers stand on no bank: one drawn around a good part of likely containers is their row, however sure it seems.
    """
    boxes = [c for c in changes if c.object_class is ObjectClass.CONTAINER and c.confidence >= _LIKELY]
    kept: list[Change] = []
    for change in sorted(changes, key=lambda c: (-c.confidence, *_order(c))):
        if change.object_class is ObjectClass.BERM and _holds(change, boxes):
            continue
        rivals = [
            other
            for other in kept
            if (other.object_class is not change.object_class or change.object_class is ObjectClass.OTHER)
            and _at_one_time(change, other)
        ]
        shared = sum(change.footprint.intersection(other.footprint).area for other in rivals)
        if shared <= _SAME_PLACE * change.footprint.area:
            kept.append(change)
    return kept


def _holds(bank: Change, boxes: Sequence[Change]) -> bool:
    inside = [bank.footprint.intersection(c.footprint).area for c in boxes if _at_one_time(bank, c)]
    return bool(sum(inside) > _BOXES_ON_BANK * bank.footprint.area)


def _at_one_time(change: Change, other: Change) -> bool:
    return (
        change.direction is other.direction
        and other.onset.start < change.onset.end
        and change.onset.start < other.onset.end
    )


def _order(change: Change) -> tuple[object, ...]:
    centre = change.footprint.centroid
    return (change.onset.end, change.onset.start, change.object_class, change.direction, centre.y, centre.x)


def _sight_warnings(looks: Sequence[LookEvidence], inside: NDArray[np.bool_]) -> list[str]:
    total = max(int(np.count_nonzero(inside)), 1)
    clear = (int(np.count_nonzero((look.state == 0) & inside)) / total for look in looks)
    warnings = []
    if len(list(islice((share for share in clear if share > 0.01), 2))) < 2:
        warnings.append(TOO_FEW_LOOKS)
    if not all(look.learned for look in looks):
        warnings.append(
            "The learned detector was not used: what is listed rests on geometry alone and is unverified."
        )
    return warnings


@dataclass(frozen=True, slots=True)
class _Series:
    """All looks of a site in time order, with what judges them."""

    looks: Sequence[LookEvidence]
    inside: NDArray[np.bool_]
    options: DetectionOptions
    verifier: Verifier

    @property
    def gsd_m(self) -> float:
        """The site grid's pixel size."""
        return self.looks[0].grid.gsd_m

    def judged(self, kind: ObjectClass) -> Iterator[Judged]:
        """Yield every change of one class, likely or not."""
        before: list[Change] = []
        for rough, window in self.rough(kind):
            found = self._verified(kind, rough, window)
            if found is not None and not any(_same(found.change, other) for other in before):
                before.append(found.change)
                yield found

    def rough(self, kind: ObjectClass) -> Iterator[tuple[RoughChange, Window]]:
        """Yield the places of one class whose evidence flips, with their surroundings, the largest first."""
        usable = [look for look in self.looks if shows(look, kind, self.options)]
        if not usable or not all(kind in look.classes for look in self.looks):
            return
        layers = [look.log_odds[look.classes.index(kind)] for look in usable]
        emission = self.verifier.emissions[kind]
        smallest = _smallest(kind, usable)
        places = find_candidates(layers, self.inside, self.gsd_m, smallest, self.options.candidates, emission)
        for place in sorted(places, key=lambda p: (-p.row.size, int(p.row[0]), int(p.col[0]))):
            window = cut_window(usable, kind, place, round(_MARGIN_M / self.gsd_m))
            followed = self._followed(kind, usable, place, window, window.core)
            if followed is not None:
                yield RoughChange(kind, usable, place, followed[0]), window

    def _verified(self, kind: ObjectClass, rough: RoughChange, window: Window) -> Judged | None:
        looks, place = rough.looks, rough.place
        whole = difference = presence_difference(window, rough.found, place.direction)
        drawn = outline(difference, window.core, kind, window.grid)
        if kind is ObjectClass.CONTAINER and drawn is not None and not drawn.single_file:
            # In rows a dark container beside a bright one looks like its shadow: only what is left as a single file is believed.
            bare = without_shadow(looks, window, rough.found, place.direction, difference)
            lone = outline(bare, window.core, kind, window.grid)
            if lone is not None and lone.single_file:
                difference, drawn = bare, lone
        if drawn is None or drawn.area_m2.value < _smallest(kind, looks):
            return None
        if kind is ObjectClass.BERM and drawn.thickness_m > _THICKEST_BANK_M:
            return None
        blind = along_the_sun(looks, drawn) if kind is ObjectClass.BERM else None
        settled = self._followed(kind, looks, place, window, inner_mask(drawn, difference, window), blind)
        if settled is None:
            return None
        return self._change(rough, window, whole, drawn, *settled)

    def redrawn(self, change: Change, judged: Judged) -> Change:
        """Return a change that was judged as containers drawn, measured and counted by the pixels that are theirs.

        Others as they are, and what geometry alone found, or where too few pixels are likely enough.
        """
        rough, window, kind = judged.rough, judged.window, judged.rough.kind
        if kind is not ObjectClass.CONTAINER or not all(look.learned for look in rough.looks):
            return change
        membership = delineated(rough.looks, window, rough.found, change.direction, judged.difference)
        drawn = outline(membership, window.core, kind, window.grid)
        if drawn is None or drawn.area_m2.value < _smallest(kind, rough.looks):
            return change
        count, reason = count_containers(drawn.footprint, change.gsd_m)
        return replace(
            change,
            footprint=drawn.footprint,
            count=count,
            count_reason=reason,
            area_m2=drawn.area_m2,
            length_m=drawn.length_m,
            width_m=drawn.width_m,
            orientation_deg=drawn.orientation_deg,
        )

    def _followed(
        self,
        kind: ObjectClass,
        looks: Sequence[LookEvidence],
        place: Candidate,
        window: Window,
        mask: NDArray[np.bool_],
        blind: NDArray[np.bool_] | None = None,
    ) -> tuple[Lifecycle, NDArray[np.float64], NDArray[np.bool_]] | None:
        """Pool the evidence over a mask and follow it through the series; None where a switch is hardly possible.

        Looks that are ``blind`` to the object count where they show it, and are no word against it where they do not.
        """
        emission, options = self.verifier.emissions[kind], self.options.lifecycle
        pooled, seen = pooled_evidence(window, mask, emission, options)
        if blind is not None:
            seen &= ~blind | (pooled > 0.0)
        days = day_numbers([look.t_utc for look in looks])
        found = follow(pooled, seen, days, place.direction, (place.before, place.after), options)
        if found is None or found.posterior < _LEAST_POSTERIOR:
            return None
        return found, pooled, seen

    def _change(
        self,
        rough: RoughChange,
        window: Window,
        difference: NDArray[np.float32],
        drawn: Outline,
        found: Lifecycle,
        pooled: NDArray[np.float64],
        seen: NDArray[np.bool_],
    ) -> Judged:
        kind, looks, place = rough.kind, rough.looks, rough.place
        told = drawn_in(drawn, kind, window.grid.gsd_m)
        values = features_of(looks, window, pooled, seen, found, drawn, place.direction, kind)
        if self.verifier.asks(kind, "appearance"):
            values["appearance"] = appearance_of(rough, window, difference, told)
        contributions = self.verifier.contributions(kind, values)
        confidence = self.verifier.confidence(kind, contributions)
        learned = all(looks[i].learned for i in (found.before, found.after, *found.supporting))
        gsd_m = max(looks[found.before].gsd_m, looks[found.after].gsd_m)
        count, reason = (
            count_containers(drawn.footprint, gsd_m)
            if kind is ObjectClass.CONTAINER
            else (None, _NOT_COUNTED[kind])
        )
        concerned = sorted({found.before, found.after, *found.supporting, *found.against})
        change = Change(
            kind,
            place.direction,
            told.footprint,
            OnsetInterval(looks[found.before].t_utc, looks[found.after].t_utc),
            looks[found.last_seen if place.direction is Direction.APPEARED else found.before].t_utc,
            status_of(found, kind, confidence, verified=learned and values["rival"] >= 0.0),
            confidence,
            count,
            reason,
            told.area_m2,
            told.length_m,
            told.width_m,
            told.orientation_deg,
            gsd_m,
            len(found.supporting),
            len(found.against),
            values["shift"],
            looks[found.before].scene_id,
            looks[found.after].scene_id,
            tuple(looks[i].scene_id for i in concerned),
            tuple(contributions),
            _against(found, looks, learned, kind, values),
        )
        return Judged(change, values, rough, window, difference, told)


def _against(
    found: Lifecycle,
    looks: Sequence[LookEvidence],
    learned: bool,
    kind: ObjectClass,
    values: dict[str, float],
) -> tuple[str, ...]:
    """Say in sentences what speaks against a change."""
    said = []
    if not learned:
        said.append("unverified: the learned detector was not used")
    if found.shown < 2:
        like = "a shadow or a drift" if kind is ObjectClass.BERM else "a vehicle"
        said.append(f"Only one independent look shows it: {like} would look the same.")
    elif found.independent < 2:
        said.append("Only one independent look shows it so far.")
    if found.against:
        said.append(f"{len(found.against)} of the looks after the onset do not show it.")
    if not found.earlier:
        said.append("No earlier look shows clearly that it was otherwise.")
    if values.get("structure", 1.0) < 0.0:
        said.append("The texture inside its outline changed little between the looks before and after.")
    if kind is ObjectClass.BERM and values.get("light", 1.0) < MIN_NORMAL_COSINE:
        said.append(
            "It runs nearly along the sun's azimuth in a look at either end, where banks hardly show."
        )
    if values["rival"] < 0.0:
        said.append("Each look alone takes it for another kind of structure at least as readily.")
    if values["shift"] > 0.5:
        said.append("Misregistration no larger than these looks may have would explain much of it.")
    pair = compare_looks(_conditions(looks[found.before]), _conditions(looks[found.after]))
    differs = [_DIFFERS[reason] for reason in pair.reasons if reason in _DIFFERS]
    if differs:
        said.append(f"The looks at either end of its onset compare badly: {', and '.join(differs)}.")
    return tuple(said)


def _conditions(look: LookEvidence) -> Conditions:
    """Return how a look was taken, as far as it is told."""
    sun = view = None
    if look.sun_azimuth_deg is not None and look.sun_elevation_deg is not None:
        sun = Sun(look.sun_azimuth_deg, look.sun_elevation_deg)
    if look.view_azimuth_deg is not None and look.off_nadir_deg is not None:
        view = View(look.view_azimuth_deg, look.off_nadir_deg)
    return Conditions(look.gsd_m, sun, view)
