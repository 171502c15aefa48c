"""A site's current report beside its dated events: ``pipelines.corroboration`` on rows, told in words.

Every sentence is about time: what was dated within a window, and what could have been. None says why.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from imagery.limits import detection_limits
from pipelines.corroboration import (
    LEVEL,
    Corroboration,
    EventResult,
    Onset,
    Untestable,
    Window,
    as_json,
    circular_p,
    common_lag,
    corroborate,
    lag_days,
    merge_onsets,
    share_inside,
)
from service.changes import ChangeFilter
from service.database import Record
from service.moments import rfc3339
from service.tables import changes, looks, sites

DAY_S = 86_400.0
# Raised whenever the same question gets another answer than before, so that nobody keeps the old one.
METHOD = 4
# Why an event with clear looks cannot be tested by itself.
NO_POWER = "no_power"
# A look that shows less than half of the site may miss what happens on the other half.
CLEAR_FRACTION = 0.5
CONTROL_SITES = 50
MOST_CHANGES_SHOWN = 100

NOTES = (
    "Co-occurrence in time says nothing about cause, contents or intent.",
    "p_value is the largest of the null models: what is left when the kindest explanation by chance is granted. It counts "
    "ties against the claim and is never 0.",
    "p_adjusted corrects for the number of events tested in this answer (Holm). It knows nothing of other filters, sites or "
    "events that were tried before; say how many were.",
    "The lag of an event was fixed when it was posted. A window chosen after looking at the timeline proves nothing.",
    "power is how likely one onset in the window would have been told from chance, by itself and after correction. Where it "
    "is low, 'not distinguished' means little; where it is 0 the event is not testable by itself, and only counts among all.",
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a tenant's site, its current report, its events, and which changes count."""

    tenant: str
    site: str
    report: Record
    events: Sequence[Record]
    wanted: ChangeFilter
    filters: dict[str, Any]
    controls: dict[str, str]  # other site -> its current report
    removed: int  # events that are no longer among them
    known: Sequence[tuple[float, float]]  # per report of the site: when it was made, its last look

    @property
    def mark(self) -> str:
        """What changes when, and only when, the answer may."""
        told = [
            METHOD,
            self.report.id,
            [event.id for event in self.events],
            self.filters,
            sorted(self.controls.values()),
            self.removed,
        ]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def seed(self) -> int:
        """Seed of the placements: made of the question, so that asking again gives the same bytes."""
        return int(self.mark[:8], 16)


@dataclass(frozen=True, slots=True)
class Look:
    """One look as far as this question goes."""

    at: float
    scene: str
    clear: bool
    usable_fraction: float
    reason: str | None

    @property
    def day(self) -> int:
        """Days since 1970."""
        return math.floor(self.at / DAY_S)


def control_reports(connection: Connection, tenant: str, site: str) -> dict[str, str]:
    """Return other sites of the tenant with a report, by id; ids are random, so the first ones are a sample."""
    rows = connection.execute(
        select(sites.c.id, sites.c.current_report)
        .where(
            sites.c.tenant == tenant,
            sites.c.deleted.is_(None),
            sites.c.current_report.is_not(None),
            sites.c.id != site,
        )
        .order_by(sites.c.id)
        .limit(CONTROL_SITES)
    )
    return {row.id: row.current_report for row in rows}


def answer_to(connection: Connection, question: Question) -> dict[str, Any]:
    """Return what ``GET /sites/{id}/corroboration`` answers."""
    seen = looks_of(connection, [question.report.id], question.wanted.classes)[question.report.id]
    found = _changes(connection, [question.report.id], question.wanted)[question.report.id]
    days = [look.day for look in seen if look.clear]
    onsets = _onsets(found)
    usable = [event for event in question.events if not event.from_imagery]
    windows = [_window(event) for event in usable]
    result = corroborate(days, onsets, windows, seed=question.seed)
    by_event = dict(zip((event.id for event in usable), result.events, strict=True))
    told = [
        {
            **_event(event, by_event.get(event.id), seen, found),
            "posted": rfc3339(event.created),
            "posted_before_seen": _posted_before_seen(question, event),
        }
        for event in question.events
    ]
    return {
        "site": question.site,
        "report": {"id": question.report.id, "number": question.report.number},
        "filters": question.filters,
        "seed": question.seed,
        "looks": _looks_told(seen),
        "events": told,
        "joint": _joint(result, told),
        "control": _control(connection, question, windows, circular_p(days, onsets, windows)),
        "events_removed": question.removed,
        "notes": [*NOTES, *_history(question, told)],
        "links": [
            {"rel": "events", "href": f"/sites/{question.site}/events", "type": "application/json"},
            {"rel": "report", "href": f"/sites/{question.site}/reports/{question.report.id}",
             "type": "application/json"},
        ],
    }  # fmt: skip


def _posted_before_seen(question: Question, event: Record) -> bool:
    """Tell whether an event was posted before any report reached into its window."""
    start = _window(event).tested[0] * DAY_S
    return not any(made < event.created and last >= start for made, last in question.known)


def _history(question: Question, told: Sequence[dict[str, Any]]) -> list[str]:
    """Return what a reader must know of how the events were chosen."""
    notes = []
    late = sum(not event["posted_before_seen"] for event in told)
    if late:
        notes.append(
            f"{late} of {len(told)} events were posted when a report could already be read that reaches into their window: "
            "whoever posted them may have known what fits."
        )
    if question.removed:
        notes.append(
            f"Events of this site that were removed: {question.removed}. p_adjusted does not count them; those who tell of "
            "this result should."
        )
    return notes


def _window(event: Record) -> Window:
    first, last = math.floor(event.starts / DAY_S), math.floor(event.ends / DAY_S)
    return Window(first, last - first + 1, (event.lag_low, event.lag_high))


def looks_of(
    connection: Connection, reports: Sequence[str], classes: tuple[str, ...]
) -> dict[str, list[Look]]:
    """Return each report's looks in order of time; where ``classes`` are named, too coarse a look is not clear."""
    rows = connection.execute(
        select(looks.c.report, looks.c.at, looks.c.feature)
        .where(looks.c.report.in_(reports))
        .order_by(looks.c.report, looks.c.at, looks.c.position)
    )
    found: dict[str, list[Look]] = {report: [] for report in reports}
    for row in rows:
        found[row.report].append(_look(row.at, json.loads(row.feature)["properties"], classes))
    return found


def _look(at: float, told: dict[str, Any], classes: tuple[str, ...]) -> Look:
    usable, used = float(told.get("usable_fraction") or 0.0), bool(told.get("used"))
    reason = None
    if not used:
        reason = str(told.get("state") or "not_used")
    elif usable < CLEAR_FRACTION:
        hidden = {k: v for k, v in (told.get("fractions") or {}).items() if k != "observed"}
        reason = max(sorted(hidden), key=hidden.__getitem__) if hidden else "not_usable"
    elif classes and told.get("gsd") and not _can_show(float(told["gsd"]), classes):
        reason = "too_coarse"
    return Look(at, str(told.get("scene_id", "")), reason is None, usable, reason)


def _can_show(gsd_m: float, classes: tuple[str, ...]) -> bool:
    shown = {limit.object_class.value for limit in detection_limits(gsd_m) if limit.observable}
    return any(name in shown for name in classes)


def _changes(connection: Connection, reports: Sequence[str], wanted: ChangeFilter) -> dict[str, list[Record]]:
    columns = (
        changes.c.report,
        changes.c.change,
        changes.c.change_type,
        changes.c.direction,
        changes.c.status,
        changes.c.confidence,
        changes.c.last_absent,
        changes.c.first_seen,
    )
    statement = wanted.apply(select(*columns).where(changes.c.report.in_(reports)))
    found: dict[str, list[Record]] = {report: [] for report in reports}
    for row in connection.execute(statement.order_by(changes.c.report, changes.c.position)):
        found[row.report].append(row)
    return found


def _onsets(found: Sequence[Record]) -> tuple[Onset, ...]:
    return merge_onsets(
        [(row.last_absent / DAY_S, row.first_seen / DAY_S, float(row.confidence)) for row in found]
    )


def _looks_told(seen: Sequence[Look]) -> dict[str, Any]:
    clear = [look.at for look in seen if look.clear]
    gaps = [(b - a) / DAY_S for a, b in itertools.pairwise(clear)]
    return {
        "clear": len(clear),
        "not_clear": len(seen) - len(clear),
        "clear_fraction": CLEAR_FRACTION,
        "first_clear": rfc3339(clear[0]) if clear else None,
        "last_clear": rfc3339(clear[-1]) if clear else None,
        "longest_gap_days": round(max(gaps), 1) if gaps else None,
    }


def _event(
    event: Record, result: EventResult | None, seen: Sequence[Look], found: Sequence[Record]
) -> dict[str, Any]:
    window = _window(event)
    start, end = window.tested
    inside = [look for look in seen if start <= look.day < end]
    near = sorted((_change(event, row, (start, end)) for row in found), key=_by_share)
    overlapping = [change for change in near if change["share_in_window"] > 0]
    tested = result.tested if result is not None else None
    verdict, reason = _verdict(result)
    lag = overlapping[0]["lag_days"] if overlapping else None
    told = {
        "event": event.id,
        "label": event.label,
        "kind": event.kind,
        "window": {"start": rfc3339(event.starts), "end": rfc3339(event.ends)},
        "test_window": {"start": rfc3339(start * DAY_S), "end": rfc3339(end * DAY_S)},
        "verdict": verdict,
        "reason": reason,
        "looks": [
            {
                "scene_id": look.scene,
                "datetime": rfc3339(look.at),
                "clear": look.clear,
                "usable_fraction": look.usable_fraction,
                "reason": look.reason,
            }
            for look in inside
        ],
        "changes": overlapping[:MOST_CHANGES_SHOWN],
        "changes_in_window": len(overlapping),
        "nearest": None if overlapping or not near else min(near, key=_by_distance),
        "lag_days": lag,
        "expected_onsets": round(tested.expected_onsets, 3) if tested else None,
        "p_value": tested.p_value if tested else None,
        "p_adjusted": result.p_adjusted if result is not None else None,
        "nulls": as_json(tested) if tested else [],
        "power": result.power if result is not None else None,
    }
    return {**told, "statement": _sentence(told, inside)}


def _change(event: Record, row: Record, window: tuple[int, int]) -> dict[str, Any]:
    onset = (row.last_absent / DAY_S, row.first_seen / DAY_S)
    lag = lag_days((event.starts / DAY_S, event.ends / DAY_S), onset)
    return {
        "id": row.change,
        "change_type": row.change_type,
        "direction": row.direction,
        "status": row.status,
        "confidence": row.confidence,
        "last_absent": rfc3339(row.last_absent),
        "first_seen": rfc3339(row.first_seen),
        "share_in_window": round(share_inside(*onset, window), 4),
        "lag_days": [round(lag[0], 1), round(lag[1], 1)],
    }


def _by_share(change: dict[str, Any]) -> tuple[float, str]:
    return -change["share_in_window"] * change["confidence"], change["id"]


def _by_distance(change: dict[str, Any]) -> tuple[float, str]:
    low, high = change["lag_days"]
    return max(low, -high, 0.0), change["id"]


def _verdict(result: EventResult | None) -> tuple[str, str | None]:
    if result is None:
        return "excluded", "derived_from_imagery"
    if result.untestable is not None:
        return "not_testable", result.untestable.value
    assert result.p_adjusted is not None
    if result.p_adjusted <= LEVEL:
        return "co_occurs", None
    return ("not_testable", NO_POWER) if result.power == 0 else ("not_distinguished", None)


def _sentence(told: dict[str, Any], inside: Sequence[Look]) -> str:
    between = f"between {told['test_window']['start'][:10]} and {told['test_window']['end'][:10]}"
    match told["verdict"]:
        case "excluded":
            return (
                "Not tested: this event was derived from imagery, and a list made from pictures cannot be "
                "confirmed by pictures."
            )
        case "not_testable" if told["reason"] == Untestable.NO_CLEAR_LOOK_IN_WINDOW.value:
            from pipelines.report import wording  # heavy, and hardly any answer needs it

            why = ", ".join(f"{look.scene} ({wording.reason(look.reason or '')})" for look in inside[:5])
            looked = f"the looks in it: {why}" if inside else "no scene was taken in it"
            return (
                f"Not testable: this site had no clear look {between}; {looked}. That is neither yes nor no."
            )
        case "not_testable" if told["reason"] != NO_POWER:
            return f"Not testable: no clear look before the first one {between} to compare it with. That is neither yes nor no."
    return _tested_sentence(told, inside, between)


def _tested_sentence(told: dict[str, Any], inside: Sequence[Look], between: str) -> str:
    number, clear = told["changes_in_window"], sum(look.clear for look in inside)
    seen = f"{number} change{'s' * (number != 1)} with an onset interval that meets the window {between} ({clear} clear look{'s' * (clear != 1)} in it)"
    if told["verdict"] == "co_occurs":
        return f"{seen}: more than chance explains (p {told['p_adjusted']:.3g} after correction). This is co-occurrence in time, not cause."
    if told["reason"] == NO_POWER:
        return (
            f"{seen}. Not testable by itself: even an onset there could not have been told from chance (windows like this one "
            "are met too often, or seen too seldom). That is neither yes nor no."
        )
    return (
        f"{seen}: not distinguished from chance (p {told['p_value']:.2g}; an onset there would have been told from chance "
        f"with a probability of {told['power']:.2f})."
    )


def _joint(result: Corroboration, told: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    joint = result.joint
    if joint is None:
        return None
    tested = [event for event in told if event["p_value"] is not None]
    lag = common_lag([tuple(event["lag_days"]) for event in tested if event["lag_days"]])
    met = sum(bool(event["changes_in_window"]) for event in tested)
    verdict = "co_occurs" if joint.p_value <= LEVEL else "not_distinguished"
    return {
        "events": len(tested),
        "events_with_changes": met,
        "expected_onsets": round(joint.expected_onsets, 3),
        "lag_days": None if lag is None else list(lag),
        "p_value": joint.p_value,
        "nulls": as_json(joint),
        "power": result.joint_power,
        "verdict": verdict,
        "statement": _joint_sentence(result, verdict, met, len(tested)),
    }


def _joint_sentence(result: Corroboration, verdict: str, met: int, tested: int) -> str:
    joint = result.joint
    assert joint is not None
    seen = f"{met} of {tested} testable event{'s' * (tested != 1)} met by changes"
    if verdict == "co_occurs":
        said = f"{seen}, together more than chance explains (p {joint.p_value:.3g}). This is co-occurrence in time, not cause."
    else:
        said = (
            f"{seen}, together not distinguished from chance (p {joint.p_value:.2g}; one onset in every window would have "
            f"been told from chance with a probability of {result.joint_power:.2f})."
        )
    if any(null.p_value is None for null in joint.nulls):
        said += " The clear looks span less than two years, so a common season is not ruled out."
    return said


def _control(
    connection: Connection, question: Question, windows: Sequence[Window], own: float | None
) -> dict[str, Any]:
    """Ask the same of the tenant's other sites: what they show too is not this site's doing."""
    reports = list(question.controls.values())
    values: list[float] = []
    if own is not None and reports:
        seen = looks_of(connection, reports, question.wanted.classes)
        found = _changes(connection, reports, question.wanted)
        asked = (
            circular_p([look.day for look in seen[report] if look.clear], _onsets(found[report]), windows)
            for report in reports
        )
        values = [value for value in asked if value is not None]
    stronger = sum(value <= own for value in values) if own is not None else 0
    return {
        "sites_tested": len(values),
        "sites_not_testable": len(reports) - len(values),
        "as_strong_or_stronger": stronger,
        "p_value": (1 + stronger) / (1 + len(values)) if values else None,
        "statement": _control_sentence(len(values), stronger, own),
    }


def _control_sentence(tested: int, stronger: int, own: float | None) -> str:
    if own is None:
        return "No event of this site could be tested, so other sites were not asked."
    if not tested:
        return "No other site of yours could be tested against these events: there is no control."
    return (
        f"{stronger} of {tested} other site{'s' * (tested != 1)} of yours show{'s' * (stronger == 1)} as much with the "
        "same events. What many sites show is shared by them (season, weather, the archive), not this site's own."
    )
