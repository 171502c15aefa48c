"""``timeline.csv``: what stood on the site, look by look and class by class, and when nobody could tell.

A look that was not usable has rows too, with empty numbers and the reason: it is a gap, not a zero.
"""

import csv
import io
from dataclasses import dataclass

from imagery.changes import ObjectClass, Standing
from imagery.limits import state_of
from imagery.observability import ObservationState
from pipelines.analysis import Analysis, LookSummary
from pipelines.report.canonical import number, rfc3339
from pipelines.report.spreadsheet import safe_cell

COLUMNS = (
    "datetime", "scene_id", "class", "state", "reason", "usable_fraction",
    "count", "count_low", "count_high", "area_m2", "area_m2_low", "area_m2_high", "appeared", "removed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """One class in one look; ``standing`` is None where the look was not usable, ``reason`` then says why."""

    look: LookSummary
    object_class: ObjectClass
    standing: Standing | None
    reason: str | None


def main_reason(look: LookSummary) -> str | None:
    """Return the observation state label that cost the look the most; its last note where no pixel says why."""
    lost = [(share, label) for label, share in look.fractions if label != "observed" and share > 0]
    if lost:
        return max(lost)[1]
    return look.notes[-1] if look.notes and not look.used else None


def classes_shown(analysis: Analysis) -> list[ObjectClass]:
    """Return the classes that occur in standing, changes or limits, in enumeration order; all where none does.

    A class that no look can show has a limit that says so: its rows are gaps, which is not the same as no rows.
    """
    detection = analysis.detection
    seen = {s.object_class for s in detection.standing} | {c.object_class for c in detection.changes}
    named = seen | {limit.object_class for limit in detection.limits}
    return [k for k in ObjectClass if k in (named or set(ObjectClass))]


def timeline(analysis: Analysis) -> list[TimelinePoint]:
    """Return one point per look and class, by time, scene id and class."""
    standing = {(s.scene_id, s.object_class): s for s in analysis.detection.standing}
    points = []
    for look in sorted(analysis.looks, key=lambda look: (look.scene.t_utc, look.scene.id)):
        for object_class in classes_shown(analysis):
            found = standing.get((look.scene.id, object_class)) if look.used else None
            points.append(TimelinePoint(look, object_class, found, _reason(look, object_class, found)))
    return points


def _reason(look: LookSummary, object_class: ObjectClass, found: Standing | None) -> str | None:
    """Say what cost a class the most in a look: its pixels or its light where those do not show the class."""
    scene = look.scene
    told = state_of(object_class, scene.gsd_m, scene.light_elevation_deg)
    if look.used and found is None and told is not ObservationState.OBSERVED:
        return told.label
    return main_reason(look)


def _row(point: TimelinePoint) -> list[object]:
    look, s = point.look, point.standing
    count = None if s is None else s.count
    usable = look.usable_fraction if s is None else s.usable_fraction
    return [
        rfc3339(look.scene.t_utc),
        safe_cell(look.scene.id),
        str(point.object_class),
        "not_observable" if s is None else "observed",
        safe_cell(point.reason or ""),
        number(usable, 4),
        *(("", "", "") if count is None else (number(count.value, 1), number(count.low, 1), number(count.high, 1))),
        *(("",) * 3 if s is None else (number(s.area_m2.value, 1), number(s.area_m2.low, 1), number(s.area_m2.high, 1))),
        *(("", "") if s is None else (s.appeared, s.removed)),
    ]  # fmt: skip


def timeline_csv(analysis: Analysis) -> bytes:
    """Return the file: RFC 4180 with a header, UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(point) for point in timeline(analysis))
    return text.getvalue().encode()
