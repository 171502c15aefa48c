"""A finished analysis in a few lines for a person at a terminal."""

from pathlib import Path

from imagery.changes import Change
from pipelines.analysis import Analysis
from pipelines.report import wording
from pipelines.report.html_page import claim
from pipelines.report.summary import live_changes

STRONGEST = 5


def summary_lines(analysis: Analysis, out: Path) -> list[str]:
    """Return the lines: site and looks, what was found in the report's own words, the strongest, warnings, where it lies."""
    used = [look for look in analysis.looks if look.used]
    lines = [f"{analysis.site.name}: {len(used)} of {len(analysis.looks)} looks used{_span(analysis)}"]
    lines.append(f"  {claim(analysis)}")
    for change in sorted(live_changes(analysis), key=lambda c: -c.confidence)[:STRONGEST]:
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


def _one(change: Change) -> str:
    return f"{wording.statement(change)} {wording.capital(change.status)}, confidence {wording.confidence(change.confidence)}"
