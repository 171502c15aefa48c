"""The figures of the printed report as inline SVG: map, timeline, chips. Colours come from the page's own CSS.

Sizes are in SVG user units of a figure 1000 wide. Class is colour, direction is shape: a filled triangle pointing up
appeared, a hollow one pointing down was removed.
"""

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from io import BytesIO

import numpy as np
from PIL import Image
from shapely.geometry.base import BaseGeometry

from imagery.changes import Change, Direction, ObjectClass
from imagery.grid import SiteGrid
from pipelines.analysis import Analysis, LookSummary
from pipelines.report import wording
from pipelines.report.evidence import Chip, outline_px, png_bytes
from pipelines.report.features import aoi_on_grid
from pipelines.report.rendering import Picture
from pipelines.report.summary import saw_all
from pipelines.report.timeline import TimelinePoint, classes_shown, timeline

WIDTH = 1000.0
MARKER = 9.0
MINOR_MARKER = 5.5  # of changes beyond the numbered ones
LABEL_PX = 15.0
JPEG_QUALITY = 88


def data_uri(data: bytes, kind: str) -> str:
    """Return bytes as a ``data:`` address."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def jpeg_bytes(picture: Picture) -> bytes:
    """Encode a photograph without metadata."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def css_class(object_class: ObjectClass) -> str:
    """Return the class attribute that colours an object class; unknown ones share one colour."""
    known = {ObjectClass.CONTAINER, ObjectClass.BERM, ObjectClass.OTHER}
    return f"k-{object_class}" if object_class in known else "k-unknown"


def marker(object_class: ObjectClass, direction: Direction, x: float, y: float, size: float = MARKER) -> str:
    """Return the triangle of one change, its middle at ``(x, y)``."""
    up = direction is Direction.APPEARED
    tip, foot = (y - size, y + 0.7 * size) if up else (y + size, y - 0.7 * size)
    points = f"{x:.1f},{tip:.1f} {x - size:.1f},{foot:.1f} {x + size:.1f},{foot:.1f}"
    return f'<polygon class="mark {css_class(object_class)} {direction}" points="{points}"/>'


def nice_length(longest: float) -> float:
    """Return the largest of 1, 2, 5 x 10^n not above ``longest``."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(f * power for f in (1.0, 2.0, 5.0) if f * power <= longest * (1 + 1e-9))


def length_label(metres: float) -> str:
    """Print a scale bar's length."""
    return f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"


def _rings(geometry: BaseGeometry, grid: SiteGrid, scale: float) -> str:
    """Return SVG path data of a geometry's rings on the map."""
    path = []
    for part in getattr(geometry, "geoms", [geometry]):
        for ring in [part.exterior, *part.interiors]:
            points = (
                f"{(x - grid.east_m) * scale:.1f} {(grid.north_m - y) * scale:.1f}"
                for x, y, *_ in ring.coords
            )
            path.append("M" + "L".join(points) + "Z")
    return "".join(path)


@dataclass(frozen=True, slots=True)
class Numbered:
    """One change with the number it has in the report; None beyond the ones shown."""

    number: int | None
    change_id: str
    change: Change


@dataclass(frozen=True, slots=True)
class _Box:
    x0: float
    y0: float
    x1: float
    y1: float

    def clear_of(self, others: Sequence["_Box"]) -> bool:
        return all(self.x1 <= o.x0 or o.x1 <= self.x0 or self.y1 <= o.y0 or o.y1 <= self.y0 for o in others)


def _label_box(text: str, x: float, y: float, where: int) -> _Box:
    wide, high, gap = 0.62 * LABEL_PX * len(text), LABEL_PX, MARKER + 3
    left = (x + gap, x - gap - wide, x - wide / 2, x - wide / 2)[where]
    top = (y - high / 2, y - high / 2, y - gap - high, y + gap)[where]
    return _Box(left, top, left + wide, top + high)


def _map_change(item: Numbered, grid: SiteGrid, scale: float, taken: list[_Box], height: float) -> str:
    change = item.change
    west, _, east, north = change.footprint.bounds
    x = ((west + east) / 2 - grid.east_m) * scale
    size = MARKER if item.number is not None else MINOR_MARKER
    y = (grid.north_m - north) * scale - size - 2
    rings = _rings(change.footprint, grid, scale)
    body = (
        f'<path class="foot casing" d="{rings}"/><path class="foot {css_class(change.object_class)} {change.direction}" '
        f'd="{rings}"/>' + marker(change.object_class, change.direction, x, y, size)
    )
    taken.append(_Box(x - size, y - size, x + size, y + size))
    if item.number is None:
        return f"<g><title>{escape(wording.statement(change))}</title>{body}</g>"
    text = str(item.number)
    boxes = [_label_box(text, x, y, where) for where in range(4)]
    for box in boxes:
        inside = box.x0 >= 2 and box.x1 <= WIDTH - 2 and box.y0 >= 2 and box.y1 <= height - 2
        if inside and box.clear_of(taken):
            taken.append(box)
            body += f'<text class="tag" x="{box.x0:.1f}" y="{box.y1 - 3:.1f}">{text}</text>'
            break
    return f'<a href="#change-{item.change_id}"><title>{escape(f"{text}. {wording.statement(change)}")}</title>{body}</a>'


def _scale_bar(grid: SiteGrid, scale: float, height: float) -> str:
    metres = nice_length(0.22 * grid.cols * grid.gsd_m)
    x0, y, long = 24.0, height - 24.0, metres * scale
    return (
        f'<g class="furniture"><rect x="{x0 - 10}" y="{y - 30}" width="{long + 20:.1f}" height="42" rx="3"/>'
        f'<path d="M{x0} {y - 7}V{y}H{x0 + long:.1f}V{y - 7}"/>'
        f'<text x="{x0 + long / 2:.1f}" y="{y - 11}" text-anchor="middle">{length_label(metres)}</text></g>'
    )


def _north_arrow(grid: SiteGrid) -> str:
    # Grid north is up; true north lies off it by the meridian convergence.
    turn = -grid.convergence_deg
    return (
        f'<g class="furniture" transform="translate({WIDTH - 40} 46)"><circle r="28"/>'
        f'<g transform="rotate({turn:.2f})"><path class="solid" d="M0 -24L7 2L0 -3L-7 2Z"/>'
        '<text y="18" text-anchor="middle">N</text></g></g>'
    )


def map_figure(analysis: Analysis, image: Picture | None, items: Sequence[Numbered]) -> str:
    """Draw the site: the picture (or plain ground), the AOI, and every change by class and direction."""
    grid = analysis.grid
    scale = WIDTH / (grid.cols * grid.gsd_m)
    height = grid.rows * grid.gsd_m * scale
    ground = (
        f'<image href="{data_uri(jpeg_bytes(image), "jpeg")}" width="{WIDTH:g}" height="{height:.1f}" '
        'preserveAspectRatio="none"/>'
        if image is not None
        else f'<rect class="noground" width="{WIDTH:g}" height="{height:.1f}"/>'
    )
    aoi = _rings(aoi_on_grid(analysis), grid, scale)
    taken: list[_Box] = []
    # The strongest choose their label's place first and lie on top.
    drawn = "".join([_map_change(item, grid, scale, taken, height) for item in items][::-1])
    return (
        f'<svg class="map{"" if image is not None or items else " empty"}" width="{WIDTH:g}" height="{height:.1f}" viewBox="0 0 {WIDTH:g} {height:.1f}" role="group" aria-label="Map of the site with its '
        f'changes">{ground}<path class="aoi casing" d="{aoi}"/><path class="aoi" d="{aoi}"/>{drawn}'
        f"{_scale_bar(grid, scale, height)}{_north_arrow(grid)}</svg>"
    )


def _shown_side(change: Change, window: SiteGrid) -> float:
    """Return how many pixels of a chip the page shows: at coarse pixels only the middle, or nothing is recognised."""
    west, south, east, north = change.footprint.bounds
    size_px = max(east - west, north - south) / window.gsd_m
    return float(min(window.rows, max(40, math.ceil(6 * size_px / 2) * 2)))


def chip_figure(chip: Chip, change: Change, window: SiteGrid, label: str) -> str:
    """Draw one chip at its own pixels with the footprint outlined and a scale bar; words where it is withheld."""
    side = window.rows
    if chip.shown is None:
        return (
            f'<div class="chip withheld"><p>The licence of this source does not allow a picture to be shown.</p>'
            f'<p class="small">{escape(chip.scene_id)}</p></div>'
        )
    rings = "".join(
        "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in ring) + "Z"
        for ring in outline_px(change.footprint, window)
    )
    shown = _shown_side(change, window)
    corner = (side - shown) / 2
    metres = nice_length(0.3 * shown * window.gsd_m)
    long, unit = metres / window.gsd_m, shown / 100
    x0, y = corner + 5 * unit, corner + shown - 5 * unit
    bar = (
        f'<g class="furniture" stroke-width="{unit:.2f}" font-size="{5.5 * unit:.2f}"><rect x="{x0 - 2 * unit:.2f}" y="{y - 8.5 * unit:.2f}" '
        f'width="{long + 4 * unit:.2f}" height="{10.5 * unit:.2f}"/><path d="M{x0:.2f} {y:.2f}h{long:.2f}"/>'
        f'<text x="{x0 + long / 2:.2f}" y="{y - 2 * unit:.2f}" text-anchor="middle">'
        f"{length_label(metres)}</text></g>"
    )
    return (
        f'<svg class="chip" viewBox="{corner:g} {corner:g} {shown:g} {shown:g}" role="img" aria-label="{escape(label)}">'
        f'<image href="{data_uri(png_bytes(chip.shown), "png")}" width="{side}" height="{side}"/>'
        f'<path class="outline casing" d="{rings}"/><path class="outline" d="{rings}"/>{bar}</svg>'
    )


LEFT, RIGHT = 64.0, 988.0
PANEL, LANE, SEEN = 104.0, 22.0, 46.0
# Of the numbers below a panel: the width of a figure, and how far a second line lies below the first.
DELTA_PX, DELTA_LINE = 8.0, 13.0


@dataclass(frozen=True, slots=True)
class _Axis:
    """Time to x: true dates, pushed apart where looks would lie on one another."""

    start: datetime
    days: float

    def x(self, t_utc: datetime) -> float:
        return LEFT + 14 + (RIGHT - LEFT - 28) * (t_utc - self.start) / timedelta(days=self.days)


def _axis(looks: Sequence[LookSummary]) -> _Axis:
    times = [look.scene.t_utc for look in looks]
    return _Axis(min(times), max((max(times) - min(times)) / timedelta(days=1), 1.0))


def _ticks(axis: _Axis) -> list[tuple[float, str]]:
    """Return x and label of up to about nine month or year starts, or of the first and last day."""
    months = [
        datetime(axis.start.year + m // 12, m % 12 + 1, 1, tzinfo=axis.start.tzinfo)
        for m in range(axis.start.month - 1, axis.start.month + math.ceil(axis.days / 28) + 1)
    ]
    inside = [t for t in months if LEFT + 8 <= axis.x(t) <= RIGHT - 8]
    if len(inside) < 2:
        end = axis.start + timedelta(days=axis.days)
        return [(axis.x(t), f"{t.day} {t:%b %Y}") for t in (axis.start, end)]
    step = next(s for s in (1, 2, 3, 6, 12, 24, 60, 120, 1200) if len(inside) / s <= 9 or s == 1200)
    kept = [t for t in inside if (t.year * 12 + t.month - 1) % step == 0]
    return [(axis.x(t), f"{t:%b %Y}" if step < 12 else f"{t.year}") for t in kept]


def _ceiling(value: float) -> float:
    """Return a round number at or above ``value``."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        f * power for f in (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0) if f * power >= value * (1 - 1e-9)
    )


def _area_unit(highest_m2: float) -> tuple[str, float]:
    return ("km²", 1e6) if highest_m2 >= 1e6 else ("ha", 1e4) if highest_m2 >= 2e4 else ("m²", 1.0)


def _anchor(x: float) -> str:
    """Keep labels at the right edge inside the figure."""
    return "end" if x > RIGHT - 40 else "middle"


def _panel(
    object_class: ObjectClass, points: Sequence[TimelinePoint], axis: _Axis, top: float, gsd_m: float
) -> str:
    seen = [p.standing for p in points if p.standing is not None]
    counted = bool(seen) and all(s.count is not None for s in seen)
    highest = max(
        (e.high for e in (s.count if counted else s.area_m2 for s in seen) if e is not None), default=1.0
    )
    unit, factor = ("", 1.0) if counted else _area_unit(highest)
    values = [
        (p.look, p.standing.count if counted else p.standing.area_m2)
        for p in points
        if p.standing is not None
    ]
    most = _ceiling(highest / factor)
    foot = top + PANEL

    def y(value: float) -> float:
        return foot - (PANEL - 26) * min(value / factor / most, 1.0)

    kind, ceiling = css_class(object_class), foot - (PANEL - 26)
    title = wording.capital(wording.noun(object_class, 2, gsd_m)) + (
        " standing" if counted else f": area standing, {unit}"
    )
    marks = [
        f'<text class="panel-title" x="{LEFT}" y="{top + 10:.1f}">{escape(title)}</text>',
        f'<path class="rule" d="M{LEFT} {foot:.1f}H{RIGHT}"/><path class="rule faint" d="M{LEFT} {ceiling:.1f}H{RIGHT}"/>',
        f'<text class="axis" x="{LEFT - 8}" y="{foot + 4:.1f}" text-anchor="end">0</text>',
        f'<text class="axis" x="{LEFT - 8}" y="{ceiling + 4:.1f}" text-anchor="end">{wording.grouped(most)}</text>',
    ]
    marks.append(_line(points, axis, y, counted, kind))
    for look, e in values:
        if e is not None:
            x, dot = axis.x(look.scene.t_utc), "dot" if saw_all(look) else "dot part"
            marks.append(
                f'<path class="whisker {kind}" d="M{x:.1f} {y(e.low):.1f}V{y(e.high):.1f}"/>'
                f'<circle class="{dot} {kind}" cx="{x:.1f}" cy="{y(e.value):.1f}" r="3.6"/>'
            )
    marks.append(_lane(points, axis, foot + 15))
    return "".join(marks)


def _line(
    points: Sequence[TimelinePoint], axis: _Axis, y: Callable[[float], float], counted: bool, kind: str
) -> str:
    """Join looks that follow each other; across a look that saw nothing, or only a part, the line is only dotted.

    What a part of the site holds is no count of the site: a curve through it would tell of a fall that nobody saw.
    """
    marks, previous, gap = [], None, False
    for p in points:
        estimate = None if p.standing is None else p.standing.count if counted else p.standing.area_m2
        if estimate is None or not saw_all(p.look):
            gap = True
            continue
        here = f"{axis.x(p.look.scene.t_utc):.1f} {y(estimate.value):.1f}"
        if previous is not None:
            marks.append(f'<path class="series {kind}{" gap" if gap else ""}" d="M{previous}L{here}"/>')
        previous, gap = here, False
    return "".join(marks)


def _lane(points: Sequence[TimelinePoint], axis: _Axis, y: float) -> str:
    """Return what came and went, look by look: below the line before where looks follow too soon to stand in one."""
    marks = []
    ends = [-math.inf] * 2
    for p in points:
        if p.standing is None:
            continue
        came, went = p.standing.appeared, p.standing.removed
        text = " ".join([f"+{came}" if came else "", f"\u2212{went}" if went else ""]).strip()
        if text:
            x = axis.x(p.look.scene.t_utc)
            long = DELTA_PX * len(text)
            begin = x - (long if _anchor(x) == "end" else long / 2)
            row = 0 if begin >= ends[0] or ends[0] <= ends[1] else 1
            ends[row] = max(ends[row], begin + long + DELTA_PX)
            marks.append(
                f'<text class="delta {css_class(p.object_class)}" x="{x:.1f}" y="{y + DELTA_LINE * row:.1f}" '
                f'text-anchor="{_anchor(x)}">{text}</text>'
            )
    return "".join(marks)


def _seen_bars(looks: Sequence[LookSummary], axis: _Axis, top: float) -> str:
    xs = [axis.x(look.scene.t_utc) for look in looks]
    gaps = np.diff(sorted(xs)) if len(xs) > 1 else np.array([20.0])
    wide = float(np.clip(np.min(gaps) - 1.0, 3.0, 14.0))
    marks = [
        f'<text class="panel-title" x="{LEFT}" y="{top - 10:.1f}">Share of the site not seen, and why</text>'
    ]
    for x, look in zip(xs, looks, strict=True):
        marks.append(
            f"<g><title>{escape(look_title(look))}</title>"
            f'<rect class="seen{"" if look.used else " unused"}" x="{x - wide / 2:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{SEEN:g}"/>'
            + _lost(look, x - wide / 2, top, wide)
            + "</g>"
        )
    marks.append(f'<text class="axis" x="{LEFT - 8}" y="{top + 9:.1f}" text-anchor="end">all</text>')
    marks.append(f'<text class="axis" x="{LEFT - 8}" y="{top + SEEN:.1f}" text-anchor="end">none</text>')
    return "".join(marks)


def _lost(look: LookSummary, x: float, top: float, wide: float) -> str:
    marks, foot = [], top + SEEN
    losses = [(label, share) for label, share in look.fractions if label != "observed" and share > 0]
    if not look.used and not losses:
        losses = [("left_out", 1.0)]
    for label, share in losses:
        high = SEEN * share
        foot -= high
        marks.append(
            f'<rect class="r-{escape(label)}" x="{x:.1f}" y="{foot:.1f}" width="{wide:.1f}" height="{high:.1f}"/>'
        )
    return "".join(marks)


def look_title(look: LookSummary) -> str:
    """Say one look's usability in one line."""
    lost = [
        f"{wording.reason(label)} {100 * share:.0f} %"
        for label, share in look.fractions
        if label != "observed" and share >= 0.005
    ]
    tail = f"; not seen: {', '.join(lost)}" if lost else ""
    left_out = "" if look.used else "; left out"
    return f"{wording.date(look.scene.t_utc)}: {100 * look.usable_fraction:.0f} % seen{tail}{left_out}"


def timeline_figure(analysis: Analysis) -> str:
    """Draw what stood per class over time, and under it what share of the site each look did not show."""
    looks = sorted(analysis.looks, key=lambda look: (look.scene.t_utc, look.scene.id))
    if not looks:
        return ""
    axis, points = _axis(looks), timeline(analysis)
    classes = [k for k in classes_shown(analysis) if any(p.object_class is k and p.standing for p in points)]
    body, top = [], 4.0
    for object_class in classes:
        body.append(
            _panel(
                object_class,
                [p for p in points if p.object_class is object_class],
                axis,
                top,
                analysis.grid.gsd_m,
            )
        )
        top += PANEL + LANE + 14
    top += 22
    body.append(_seen_bars(looks, axis, top))
    foot = top + SEEN
    ticks = "".join(
        f'<path class="rule faint" d="M{x:.1f} 16V{foot + 6:.1f}"/>'
        f'<text class="axis" x="{x:.1f}" y="{foot + 22:.1f}" text-anchor="{_anchor(x)}">{label}</text>'
        for x, label in _ticks(axis)
    )
    return (
        f'<svg class="timeline" viewBox="0 0 {WIDTH:g} {foot + 32:.1f}" role="img" aria-label="Timeline of what '
        f'stood on the site and of what could not be seen">{ticks}{"".join(body)}</svg>'
    )
