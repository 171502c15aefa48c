"""A comparison for people: one page to read and print in the report's own style, and a table for a spreadsheet."""

import csv
import io
import math
from collections.abc import Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from imagery.changes import Direction, ObjectClass
from pipelines.comparison import Comparison, Entry, Kind, Properties, Side, SiteComparison
from pipelines.matching import side_by_side
from pipelines.page_policy import style_element
from pipelines.report import wording
from pipelines.report.figures import WIDTH, length_label, marker, nice_length
from pipelines.report.spreadsheet import safe_cell

WORDS = {
    Kind.NEW: "new",
    Kind.LOST: "lost",
    Kind.MOVED: "moved",
    Kind.RECLASSIFIED: "reclassified",
    Kind.REDATED: "re-dated",
    Kind.RECOUNTED: "re-counted",
    Kind.UNCHANGED: "told alike",
}
MEANINGS = (
    "New: only the later report tells it. Lost: only the earlier one does. Moved: the same kind of thing, further "
    "from where it was than registration explains. Reclassified: one place, another class. Re-dated: another onset "
    "interval. Re-counted: another number, or an area that differs by more than a fifth."
)
ROWS_SHOWN = 500
NUMBERED = 200
MARGIN = 0.06
# Of marks on the map: nearer ones lie over each other; how far apart they then are drawn.
NEAR, MARK_PX = 18.0, 20.0
ARROW, DASH = "\u2192", "\u2013"

_SIDES = (
    "id", "change_type", "direction", "last_absent", "first_seen", "count", "area_m2", "confidence", "status",
)  # fmt: skip
CSV_COLUMNS = (
    "site", "name", "kind", "also", "published", *(f"{name}_before" for name in _SIDES),
    *(f"{name}_after" for name in _SIDES), "shift_m", "part_of", "longitude", "latitude", "reasons",
)  # fmt: skip


def comparison_csv(compared: Comparison) -> bytes:
    """Return one row per site, of kind ``report``, and one per change of it that is told otherwise.

    The site's row names its reports as ids and says what no change's row does: that one was not made, or that the two
    differ in nothing but confidence or status.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for site in compared.sites:
        writer.writerow([_cell(value) for value in _report_row(site)])
        for entry in site.entries:
            writer.writerow([_cell(value) for value in _row(site, entry)])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return safe_cell(value) if isinstance(value, str) else value


def _report_row(site: SiteComparison) -> list[Any]:
    told = dict.fromkeys(CSV_COLUMNS) | {
        "site": site.site,
        "name": site.name,
        "kind": "report",
        "published": site.changes_published,
        "id_before": None if site.before is None else site.before.report,
        "id_after": None if site.after is None else site.after.report,
        "reasons": " ".join([*site.reasons, *_retold(site)]),
    }
    return list(told.values())


def _retold(site: SiteComparison) -> list[str]:
    """Return, where there are any, how many changes are the same ones in other words."""
    if not site.retold:
        return []
    return [
        f"{_n(site.retold)} of the changes told alike differ in confidence, status or another property that makes them "
        "no other change."
    ]


def _row(site: SiteComparison, entry: Entry) -> list[Any]:
    where = shape(entry.geometry).centroid if entry.geometry else shapely.Point()
    return [
        site.site,
        site.name,
        str(entry.kind),
        " ".join(map(str, entry.also)),
        entry.published,
        *((entry.before or {}).get(name) for name in _SIDES),
        *((entry.after or {}).get(name) for name in _SIDES),
        None if entry.shift_m is None else round(entry.shift_m, 2),
        entry.part_of,
        None if where.is_empty else round(where.x, 7),
        None if where.is_empty else round(where.y, 7),
        " ".join(entry.reasons),
    ]


def comparison_html(compared: Comparison) -> bytes:
    """Return the page: one self-contained file without script."""
    style = files("pipelines.report").joinpath("report.css").read_text("utf-8")
    title = f"{_title(compared)}: two versions compared"
    body = "".join(
        [
            _masthead(compared),
            _verdict(compared),
            _table_of_sites(compared),
            *(
                _site(site, len(compared.sites) > 1, n)
                for n, site in enumerate(compared.sites)
                if _worth(site)
            ),
            f'<section class="method"><h2>Words</h2><p>{escape(MEANINGS)}</p><p>{escape(wording.SCOPE)}</p></section>',
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"{style_element(style)}<title>{escape(title)}</title>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    ).encode()


def headline(compared: Comparison) -> str:
    """Return the one paragraph that stands for the whole comparison."""
    totals = compared.totals
    told = [
        f"{_n(totals[kind])} {WORDS[kind]}" for kind in WORDS if kind is not Kind.UNCHANGED and totals[kind]
    ]
    same = totals[Kind.UNCHANGED]
    alike = f"{_n(same)} change{'s' if same != 1 else ''} told alike"
    first = f"{wording.joined(told)}; {alike}." if told else f"Nothing is told otherwise; {alike}."
    return f"{wording.capital(first)} {_publication(compared)}"


def _publication(compared: Comparison) -> str:
    current = [s for s in compared.sites if any(side and side.current for side in (s.before, s.after))]
    if not current:
        return "Neither side is what is published now."
    touched = sum(site.changes_published for site in current)
    if len(current) == 1:
        return f"The published report {'differs' if touched else 'does not differ'}."
    return f"The published reports of {_n(touched)} of {_n(len(current))} sites differ."


def _n(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


def _title(compared: Comparison) -> str:
    if len(compared.sites) == 1:
        return compared.sites[0].name or "One site"
    return f"{_n(len(compared.sites))} sites"


def _worth(site: SiteComparison) -> bool:
    return bool(site.entries or site.reasons or site.retold)


def _masthead(compared: Comparison) -> str:
    facts = [("Sites", _n(len(compared.sites)))]
    if len(compared.sites) == 1:
        (site,) = compared.sites
        facts = [("Before", _side(site.before)), ("After", _side(site.after))]
    totals = compared.totals
    facts += [(wording.capital(WORDS[kind]), _n(totals[kind])) for kind in WORDS]
    rows = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    return (
        f'<header><p class="kicker">Two versions compared</p><h1>{escape(_title(compared))}</h1>'
        f'<p class="deck">{escape(headline(compared))}</p><dl class="facts">{rows}</dl></header>\n'
    )


def _side(side: Side | None) -> str:
    if side is None:
        return "no report"
    name = side.report if side.number is None else f"report {side.number}"
    when = "" if side.created is None else f" of {wording.date(datetime.fromisoformat(side.created))}"
    return f"{name}{when}, version {side.processing_version[:12]}{', published' if side.current else ''}"


def _verdict(compared: Comparison) -> str:
    reasons = compared.reasons
    if not any(_worth(site) for site in compared.sites):
        return (
            '<section class="notice calm"><h2>Nothing differs</h2><p>Both versions tell the same changes, in every '
            "property.</p></section>\n"
        )
    if not reasons or len(compared.sites) == 1:
        return ""
    told = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    return f'<section class="unseen"><h2>What was different in the making</h2><ul>{told}</ul></section>\n'


def _table_of_sites(compared: Comparison) -> str:
    if len(compared.sites) == 1:
        return ""
    kinds = [kind for kind in WORDS if kind is not Kind.UNCHANGED]
    heads = "".join(
        f'<th scope="col" class="num">{escape(WORDS[kind])}</th>' for kind in (*kinds, Kind.UNCHANGED)
    )
    rows = "".join(
        f'<tr><th scope="row">{_link(site, n)}</th>'
        + "".join(
            f'<td class="num">{_n(site.counts[kind]) if site.counts[kind] else DASH}</td>' for kind in WORDS
        )
        + f"<td>{'differs' if site.changes_published else ''}</td></tr>"
        for n, site in enumerate(compared.sites)
    )
    return (
        '<section><h2>Site by site</h2><div class="scroll" tabindex="0"><table><thead><tr><th scope="col">Site</th>'
        f'{heads}<th scope="col">Published report</th></tr></thead><tbody>{rows}</tbody></table></div></section>\n'
    )


def _link(site: SiteComparison, n: int) -> str:
    name = escape(site.name or site.site)
    return f'<a href="#site-{n}">{name}</a>' if _worth(site) else name


def _site(site: SiteComparison, titled: bool, n: int) -> str:
    sides = f"{escape(_side(site.before))} {ARROW} {escape(_side(site.after))}"
    title = f'<h2>{escape(site.name or site.site)}</h2><p class="note">{sides}</p>' if titled else ""
    why = "".join(f"<li>{escape(reason)}</li>" for reason in site.reasons)
    made = (
        f'<section class="unseen"><h2>What was different in the making</h2><ul>{why}</ul></section>'
        if why
        else ""
    )
    retold = "".join(f'<p class="note">{sentence}</p>' for sentence in _retold(site))
    return f'<section id="site-{n}">{title}{made}{_map(site)}{_entries(site)}{retold}</section>\n'


def _entries(site: SiteComparison) -> str:
    if not site.entries:
        return ""
    rows = "".join(_entry(number, entry) for number, entry in enumerate(site.entries[:ROWS_SHOWN], start=1))
    rest = len(site.entries) - ROWS_SHOWN
    more = (
        f'<p class="note">{_n(rest)} more are in the table for spreadsheets and in the JSON.</p>'
        if rest > 0
        else ""
    )
    heads = "".join(
        f'<th scope="col">{h}</th>'
        for h in ("", "What became of it", "Change", f"Before {ARROW} after", "Why")
    )
    return (
        '<section><h2>What is told otherwise</h2><div class="scroll" tabindex="0"><table><thead><tr>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>{more}</section>"
    )


def _entry(number: int, entry: Entry) -> str:
    told = entry.told
    kinds = ", ".join(WORDS[kind] for kind in (entry.kind, *entry.also))
    symbol = f'<svg class="symbol" viewBox="-12 -12 24 24" aria-hidden="true">{_marker(told, 0, 0)}</svg>'
    kind = _class(told)
    label = wording.capital(wording.short(kind)) if kind is not None else escape(str(told["change_type"]))
    why = "".join(f"<p>{escape(reason)}</p>" for reason in entry.reasons)
    return (
        f'<tr><td class="num">{number}</td><td><b>{escape(wording.capital(kinds))}</b></td>'
        f"<td>{symbol}{label}, {escape(str(told['direction']))}<br><code>{escape(str(told['id']))}</code></td>"
        f'<td>{_values(entry)}</td><td class="small">{why}</td></tr>'
    )


def _values(entry: Entry) -> str:
    """Return what both sides say, where they differ; of a lone change all there is."""
    lines = []
    for name, tell in (
        ("Class", _kind),
        ("Onset", _onset),
        ("Number", _number),
        ("Area", _area),
        ("Confidence", _trust),
    ):
        was, now = (tell(side) if side is not None else "" for side in (entry.before, entry.after))
        if was == now or not (was or now) or (name == "Class" and not (was and now)):
            continue
        both = f"{escape(was)} {ARROW} {escape(now)}" if was and now else escape(was or now)
        lines.append(f'<span class="range">{name}</span> {both}')
    return "<br>".join(lines)


def _kind(told: Properties) -> str:
    kind = _class(told)
    return wording.short(kind) if kind is not None else str(told["change_type"])


def _onset(told: Properties) -> str:
    start, end = (wording.date(datetime.fromisoformat(told[name])) for name in ("last_absent", "first_seen"))
    return f"{start} {DASH} {end}"


def _number(told: Properties) -> str:
    if told.get("count") is None:
        return ""
    return f"{told['count']} ({wording.whole_span(told['count_low'], told['count_high'])})"


def _area(told: Properties) -> str:
    return "" if told.get("area_m2") is None else wording.area(told["area_m2"])


def _trust(told: Properties) -> str:
    return wording.confidence(told["confidence"])


def _class(told: Properties) -> ObjectClass | None:
    known = {str(kind): kind for kind in ObjectClass}
    return known.get(str(told["change_type"]))


def _marker(told: Properties, x: float, y: float) -> str:
    return marker(_class(told) or ObjectClass.OTHER, Direction(str(told["direction"])), x, y)


def _map(site: SiteComparison) -> str:
    """Draw where the differences lie: the outline and one numbered mark per change; nothing where none has a place."""
    some = [(n, entry) for n, entry in enumerate(site.entries[:ROWS_SHOWN], 1) if entry.geometry]
    if not some:
        return ""
    outlines = [shape(site.aoi)] if site.aoi else []
    shown = side_by_side([*outlines, *(shape(entry.geometry) for _, entry in some)])
    frame = _Frame(shown)
    ring = "".join(frame.path(outline) for outline in shown[: len(outlines)])
    placed = zip(some, shown[len(outlines) :], strict=True)
    spots = [(n, entry, *frame.points(geometry.centroid)[0]) for (n, entry), geometry in placed]
    marks = "".join(_marks(group) for group in reversed(_near(spots)))
    size = f'viewBox="0 0 {WIDTH:g} {frame.height:.1f}" width="{WIDTH:g}" height="{frame.height:.1f}"'
    return (
        f'<section><figure><svg class="map" {size} role="img" aria-label="Where the reports differ">'
        f'<rect class="noground" width="{WIDTH:g}" height="{frame.height:.1f}"/><path class="aoi casing" d="{ring}"/>'
        f'<path class="aoi" d="{ring}"/>{marks}{frame.scale_bar()}</svg><figcaption>Numbers lead to the table below. '
        "Filled triangles pointing up appeared, hollow ones pointing down were removed. North is up.</figcaption></figure></section>"
    )


_Spot = tuple[int, Entry, float, float]


def _near(spots: Sequence[_Spot]) -> list[list[_Spot]]:
    """Gather what would lie over each other: what went and came at one place has two marks and two numbers there."""
    groups: list[list[_Spot]] = []
    for spot in spots:
        _, _, x, y = spot
        reach = ((group, NEAR + MARK_PX * (len(group) - 1)) for group in groups)
        near = (g for g, wide in reach if abs(x - g[0][2]) < wide and abs(y - g[0][3]) < NEAR)
        group = next(near, None)
        if group is None:
            groups.append([spot])
        else:
            group.append(spot)
    return groups


def _marks(group: Sequence[_Spot]) -> str:
    """Draw the marks of one place side by side, the first where it is, and all their numbers behind them."""
    _, _, x, y = group[0]
    step = -MARK_PX if x > WIDTH / 2 else MARK_PX
    in_order = group if step > 0 else group[::-1]
    numbers = ", ".join(str(number) for number, *_ in in_order if number <= NUMBERED)
    drawn = "".join(_marker(entry.told, x + step * i, y) for i, (_, entry, *_) in enumerate(group))
    at, anchor = x + step * (len(group) - 1) + math.copysign(11, step), "end" if step < 0 else "start"
    label = f'<text class="tag" x="{at:.1f}" y="{y + 5:.1f}" text-anchor="{anchor}">{numbers}</text>'
    return drawn + (label if numbers else "")


class _Frame:
    """Longitude and latitude onto a figure ``WIDTH`` wide, one scale in both directions."""

    def __init__(self, shown: Sequence[BaseGeometry]) -> None:
        west, south, east, north = shapely.total_bounds([g for g in shown if not g.is_empty])
        self.stretch = float(np.cos(np.radians((south + north) / 2)))
        width, height = (east - west) * self.stretch, north - south
        margin = MARGIN * max(width, height, 1e-5)
        # A strip of a site still gets a figure people can read.
        width, height = max(width, height / 2) + 2 * margin, max(height, width / 4) + 2 * margin
        self.scale = WIDTH / width
        self.height = height * self.scale
        self.west = (west + east) / 2 * self.stretch - width / 2
        self.north = (south + north) / 2 + height / 2

    def points(self, geometry: BaseGeometry) -> list[tuple[float, float]]:
        """Return a geometry's vertices in figure units."""
        return [
            ((lon * self.stretch - self.west) * self.scale, (self.north - lat) * self.scale)
            for lon, lat in shapely.get_coordinates(geometry)
        ]

    def path(self, outline: BaseGeometry) -> str:
        """Return SVG path data of a polygon's rings."""
        rings = [ring for part in shapely.get_parts(outline) for ring in (part.exterior, *part.interiors)]
        return "".join(
            "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in self.points(ring)) + "Z" for ring in rings
        )

    def scale_bar(self) -> str:
        """Return a bar of a round length."""
        units_per_m = self.scale / 111_320.0
        metres = nice_length(0.25 * WIDTH / units_per_m)
        long, y = metres * units_per_m, self.height - 24
        return (
            f'<g class="furniture"><path d="M24 {y - 6:.1f}V{y:.1f}H{24 + long:.1f}V{y - 6:.1f}"/>'
            f'<text x="24" y="{y - 10:.1f}">{length_label(metres)}</text></g>'
        )


def comparison_files(compared: Comparison) -> dict[str, bytes]:
    """Return the three files of a comparison by name."""
    from pipelines.report.canonical import json_bytes

    return {
        "comparison.json": json_bytes(compared.as_json()),
        "comparison.html": comparison_html(compared),
        "comparison.csv": comparison_csv(compared),
    }
