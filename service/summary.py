"""A finished analysis in a few lines for a person at a terminal."""

from pathlib import Path

from imagery.changes import Change, Direction, ObjectClass
from pipelines.analysis import Analysis
from pipelines.report.summary import Verdict, verdict

NOUNS = {
    ObjectClass.CONTAINER: (
        "place with objects consistent with containers",
        "places with objects consistent with containers",
    ),
    ObjectClass.BERM: ("berm", "berms"),
    ObjectClass.OTHER: ("other lasting change", "other lasting changes"),
}
STRONGEST = 5


def summary_lines(analysis: Analysis, out: Path) -> list[str]:
    """Return the lines: site and looks, what was found per class and direction, the strongest, warnings, where it lies."""
    used = [look for look in analysis.looks if look.used]
    lines = [f"{analysis.site.name}: {len(used)} of {len(analysis.looks)} looks used{_span(analysis)}"]
    changes = analysis.detection.changes
    for kind in ObjectClass:
        for direction in Direction:
            mine = [c for c in changes if c.object_class is kind and c.direction is direction]
            if mine:
                lines.append(
                    f"  {_count(len(mine), kind)} {direction.value}, {sum(c.area_m2.value for c in mine):,.0f} m2"
                )
    if not changes:
        comparable = verdict(analysis) is Verdict.NO_CHANGE_FOUND
        lines.append(
            "  no change found in what could be seen"
            if comparable
            else "  nothing can be compared: no statement on change"
        )
    for change in sorted(changes, key=lambda c: -c.confidence)[:STRONGEST]:
        lines.append("  - " + _one(change))
    lines += [f"  note: {warning}" for warning in analysis.warnings[:6]]
    lines += [f"  refused: {where}: {sentence}" for where, _, sentence in analysis.refused[:6]]
    lines.append(f"  report: {out / 'report.html'}")
    return lines


def _span(analysis: Analysis) -> str:
    if not analysis.looks:
        return ""
    first, last = analysis.looks[0].scene.t_utc, analysis.looks[-1].scene.t_utc
    return f", {first:%Y-%m-%d} to {last:%Y-%m-%d}, grid of {analysis.grid.gsd_m:g} m pixels"


def _count(number: int, kind: ObjectClass) -> str:
    return f"{number} {NOUNS[kind][number != 1]}"


def _one(change: Change) -> str:
    what = change.object_class.value
    if change.count is not None:
        what = f"{change.count.value:.0f} ({change.count.low:.0f}-{change.count.high:.0f}) {what}(s)"
    return (
        f"{what} {change.direction.value} between {change.onset.start:%Y-%m-%d} and {change.onset.end:%Y-%m-%d}, "
        f"{change.area_m2.value:,.0f} m2, {change.status.value}, confidence {change.confidence:.2f}"
    )
