"""``report.html``: one file a person can read, print and send on. No script, no network, no font but the reader's.

The first paragraph also says what could not be seen, and the second box nothing else: a reader who stops early must
not take a gap for a finding.
"""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

from imagery.changes import Change, Compared, Direction, ObjectClass, Status
from imagery.coverage import could_compare
from imagery.displacement import RegistrationState
from imagery.relations import relations
from pipelines.analysis import Analysis, LookSummary, WindowReader
from pipelines.page_policy import style_element
from pipelines.report import wording
from pipelines.report.evidence import ChipPair
from pipelines.report.features import Feature, aoi_centre, displacement_at, strength
from pipelines.report.figures import Numbered, chip_figure, map_figure, marker, timeline_figure
from pipelines.report.licences import UNSTATED, withheld
from pipelines.report.rendering import (
    Stretch,
    has_colour,
    map_look,
    overview,
    picture,
)
from pipelines.report.summary import (
    Tally,
    Verdict,
    all_warnings,
    blind_looks,
    saw_all,
    tallies,
    usable_looks,
    verdict,
)
from pipelines.report.timeline import classes_shown

SHOWN_CHANGES = 60
MAP_PX = 1400
COMPARED_ALL = 0.98  # from here on the summary need not say how much of the site was compared
MOSTLY_REAL = 0.7  # below this mean confidence the summary says "possible"
DASH, MINUS = "\u2013", "\u2212"


def report_html(
    analysis: Analysis,
    found: Sequence[Feature],
    changes: Mapping[str, Change],
    pairs: Mapping[str, ChipPair],
    stretch: Stretch,
    read: WindowReader,
) -> bytes:
    """Return the page; ``pairs`` holds the pictures of the changes to show, by id."""
    order = [f["id"] for f in sorted(found, key=strength)]
    items = [
        Numbered(n if change_id in pairs else None, change_id, changes[change_id])
        for n, change_id in enumerate(order, start=1)
    ]
    body = "".join(
        [
            _masthead(analysis),
            _findings(analysis),
            _unseen(analysis),
            _map(analysis, items, stretch, read),
            _timeline(analysis),
            _cards(items, pairs),
            _looks(analysis),
            _method(analysis),
            _colophon(analysis),
        ]
    )
    title = escape(f"{analysis.site.name}: change report")
    style = files("pipelines.report").joinpath("report.css").read_text("utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"{style_element(style)}<title>{title}</title>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    ).encode()


def headline(analysis: Analysis) -> str:
    """Return the one paragraph that stands for the whole report."""
    return " ".join([_period_sentence(analysis), claim(analysis), *_gap_sentence(analysis)])


def _period_sentence(analysis: Analysis) -> str:
    times = [look.scene.t_utc for look in analysis.looks]
    if not times:
        return "No scene of this site was found in the period."
    n, used = len(times), len(usable_looks(analysis))
    scenes = "One scene" if n == 1 else f"{wording.capital(wording.in_words(n))} scenes"
    days = wording.date(min(times))
    when = f"of {days}" if n == 1 else f"between {days} and {wording.date(max(times))}"
    could = (
        f"{'both' if n == 2 else 'all of them'} showed the site"
        if used == n
        else f"{wording.in_words(used)} showed the site"
    )
    if not used:
        could = "none showed the site"
    if n == 1:
        could = "it showed the site" if used else "it did not show the site"
    were = "was" if n == 1 else "were"
    return f"{scenes} {when} {were} examined; {could}."


def claim(analysis: Analysis) -> str:
    """Return what was found and in how much of the site, or why nothing can be said."""
    return " ".join([_outcome(analysis), *_share_sentence(analysis)])


def _outcome(analysis: Analysis) -> str:
    match verdict(analysis):
        case Verdict.NOT_OBSERVABLE:
            return "Nothing can be said about changes: the site could not be seen."
        case Verdict.NOTHING_TO_COMPARE:
            return f"Nothing can be said about changes: {_not_compared(analysis)}."
        case Verdict.NO_CHANGE_FOUND:
            return f"No change was found{_between_clear_looks(analysis)}. {_floor(analysis)}"
        case _:
            return " ".join(_direction_sentence(analysis, d) for d in Direction).strip()


def _not_compared(analysis: Analysis) -> str:
    """Say what it takes to compare that is not there."""
    if len(usable_looks(analysis)) == 1:
        return "it takes two clear looks to compare, and there is one"
    return "no part of the site was seen clearly on two dates by scenes that can be compared"


def _between_clear_looks(analysis: Analysis) -> str:
    """Say between which clear looks, where scenes before or after them showed nothing."""
    clear = [look.scene.t_utc for look in usable_looks(analysis)]
    every = [look.scene.t_utc for look in analysis.looks]
    if (min(clear), max(clear)) == (min(every), max(every)):
        return ""
    return f" between the clear looks of {wording.date(min(clear))} and {wording.date(max(clear))}"


def _floor(analysis: Analysis) -> str:
    """Say what 'no change' excludes and what it does not."""
    seen = [
        f"{wording.noun(limit.object_class)} of {wording.metres(limit.smallest_area_m2)} m² or more"
        for limit in analysis.detection.limits
        if limit.observable and limit.smallest_area_m2 is not None
    ]
    blind = [wording.noun(limit.object_class) for limit in analysis.detection.limits if not limit.observable]
    rarely = [
        wording.noun(limit.object_class)
        for limit in analysis.detection.limits
        if limit.observable and limit.smallest_area_m2 is None
    ]
    first = f"That covers {wording.joined(seen)}, where and when the ground was seen." if seen else ""
    second = (
        f"It does not cover {wording.joined(blind)}: pixels of this size do not show them." if blind else ""
    )
    third = (
        f"Nor does it cover {wording.joined(rarely)}: less than half of those there are would have been listed."
        if rarely
        else ""
    )
    return " ".join(filter(None, [first, second, third]))


def _direction_sentence(analysis: Analysis, direction: Direction) -> str:
    group = [t for t in tallies(analysis) if t.direction is direction]
    if not group:
        return ""
    one = len(group) == 1 and _objects(group[0]) == 1
    verb = wording.happened(direction, 1 if one else 2)
    return f"{wording.capital(wording.joined([_tally_words(t) for t in group]))} {verb}."


def _objects(t: Tally) -> int:
    return t.changes if t.count is None else max(1, round(t.count.value))


def _tally_words(t: Tally) -> str:
    n = _objects(t)
    possible, real = _how_real(t)
    if t.count is not None:
        low_high = wording.whole_span(t.count.low, t.count.high)
        noun = wording.noun(t.object_class, n)
        places = f" in {wording.in_words(t.changes)} places" if real and t.changes > 1 else ""
        return f"{wording.in_words(n)} {possible}{noun}{places} (90 % interval {low_high}{real})"
    whole = "" if n == 1 else " in all"
    size = f"about {wording.area(t.area_m2.value)}{whole}" if t.object_class is not ObjectClass.BERM else ""
    told = "; ".join(filter(None, [size, real.removeprefix("; ")]))
    return f"{wording.in_words(n)} {possible}{_groups(t, n)}{f' ({told})' if told else ''}"


def _how_real(t: Tally) -> tuple[str, str]:
    """Return how to weaken a claim of which, by its own confidences, a good part is not real."""
    if t.expected_true.value >= MOSTLY_REAL * t.changes:
        return "", ""
    low, high = round(t.expected_true.low), round(t.expected_true.high)
    if t.changes == 1:
        return "possible ", f"; confidence {wording.confidence(t.expected_true.value)}"
    return "possible ", f"; {low}\u2013{high} of {t.changes} expected to be real"


def _groups(t: Tally, n: int) -> str:
    """Return the noun for changes that are not counted object by object."""
    if t.object_class is ObjectClass.CONTAINER:
        return f"area{'s' if n != 1 else ''} with objects consistent with containers"
    return wording.noun(t.object_class, n, t.gsd_m)


def _share_sentence(analysis: Analysis) -> list[str]:
    """Say how much of the site was compared, where it was not all of it in the finest pixels."""
    parts = analysis.detection.compared
    if not could_compare(analysis.detection) or parts[0].fraction >= COMPARED_ALL:
        return []
    told = [_share(part) + (f" at {part.gsd_m:g} m" if len(parts) > 1 else "") for part in parts]
    return [
        f"What could be compared, having been seen on two dates, is {wording.joined(told)}; nothing is claimed about the rest."
    ]


def _share(part: Compared) -> str:
    if part.fraction >= COMPARED_ALL:
        return "all of the site"
    percent = int(100 * part.fraction)
    return f"{percent} % of the site" if percent else "none of the site"


def _gap_sentence(analysis: Analysis) -> list[str]:
    blind = blind_looks(analysis)
    if not blind or len(blind) == len(analysis.looks):
        return []
    reasons = wording.joined(sorted({r for look in blind for r in _reasons(look)}))
    days = "one date" if len(blind) == 1 else f"{wording.in_words(len(blind))} dates"
    why = f" ({reasons})" if reasons else ""
    about = "that date" if len(blind) == 1 else "those dates"
    return [f"On {days} the site could not be seen{why}; nothing is claimed about {about}."]


def _reasons(look: LookSummary) -> list[str]:
    """Return, in words, the reasons that cost a look at least a tenth of the site, or else the one that cost most."""
    lost = [(label, share) for label, share in look.fractions if label != "observed" and share > 0]
    least = min(0.1, max((share for _, share in lost), default=0.0))
    return [wording.reason(label) for label, share in lost if share >= least]


def _masthead(analysis: Analysis) -> str:
    platforms = sorted({look.scene.platform for look in analysis.looks if look.scene.platform})
    sizes = sorted({look.scene.gsd_m for look in analysis.looks})
    facts = [
        ("Scenes that showed the site", f"{len(usable_looks(analysis))} of {len(analysis.looks)}"),
        ("Pixel size", ", ".join(f"{s:g} m" for s in sizes) or f"{analysis.grid.gsd_m:g} m"),
        ("Sensors", ", ".join(platforms) or "not stated"),
        ("Processing version", analysis.processing_version[:12]),
    ]
    rows = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    return (
        f'<header><p class="kicker">Change report</p><h1>{escape(analysis.site.name)}</h1>'
        f'<p class="deck">{escape(headline(analysis))}</p><dl class="facts">{rows}</dl></header>\n'
    )


def _symbol(object_class: ObjectClass, direction: Direction) -> str:
    return (
        '<svg class="symbol" viewBox="-12 -12 24 24" aria-hidden="true">'
        f"{marker(object_class, direction, 0, 0)}</svg>"
    )


def _findings(analysis: Analysis) -> str:
    match verdict(analysis):
        case Verdict.NOT_OBSERVABLE:
            return _notice(
                "blind",
                "Not observable",
                "No scene in this period showed the ground well enough. This is not a finding of no change: whatever "
                "happened here went unseen. The table of looks says why for every scene; more scenes, or other "
                "sensors, may close the gap.",
            )
        case Verdict.NOTHING_TO_COMPARE:
            return _notice(
                "blind",
                "Nothing to compare",
                f"{wording.capital(_not_compared(analysis))}, so nothing can have been seen to change. Add a scene of "
                "another date that shows the same ground in pixels of like size. What stands on the site is not "
                "reported as new.",
            )
        case Verdict.NO_CHANGE_FOUND:
            return _notice("calm", "No change found", f"{_floor(analysis)} {_compared(analysis)}")
        case _:
            return _tally_table(analysis)


def _compared(analysis: Analysis) -> str:
    looks = usable_looks(analysis)
    return (
        f"{wording.capital(wording.in_words(len(looks)))} clear looks were compared, from "
        f"{wording.date(looks[0].scene.t_utc)} to {wording.date(looks[-1].scene.t_utc)}."
    )


def _notice(kind: str, title: str, text: str) -> str:
    return f'<section class="notice {kind}"><h2>{escape(title)}</h2><p>{escape(text)}</p></section>\n'


def _tally_row(t: Tally) -> str:
    count = (
        f'<b>{round(t.count.value)}</b> <span class="range">{wording.whole_span(t.count.low, t.count.high)}</span>'
        if t.count is not None
        else f'<b>{t.changes}</b> <span class="range">{"area" if t.changes == 1 else "areas"}, not counted</span>'
        if t.object_class is ObjectClass.CONTAINER
        else f"<b>{t.changes}</b>"
    )
    area = (
        f"<b>{wording.metres(t.area_m2.value)}</b> "
        f'<span class="range">{wording.span(t.area_m2.low, t.area_m2.high)}</span>'
    )
    low, high = round(t.expected_true.low), round(t.expected_true.high)
    real = f"{low} of {t.changes}" if low == high else f"{low}\u2013{high} of {t.changes}"
    return (
        f'<tr><th scope="row">{_symbol(t.object_class, t.direction)}{escape(wording.capital(wording.noun(t.object_class, 2, t.gsd_m)))}'
        f'<span class="dir">{escape(str(t.direction))}</span></th>'
        f'<td class="num">{count}</td><td class="num">{area}</td><td class="num">{real}</td></tr>'
    )


def _tally_table(analysis: Analysis) -> str:
    rows = "".join(_tally_row(t) for t in tallies(analysis))
    return (
        '<section><h2>What was found</h2><div class="scroll" tabindex="0"><table class="tally"><thead><tr><th scope="col">Visible '
        'change</th><th scope="col" class="num">Number <span class="range">90 %</span></th>'
        '<th scope="col" class="num">Area, m² <span class="range">90 %</span></th>'
        '<th scope="col" class="num">Expected to be real</th></tr></thead>'
        f'<tbody>{rows}</tbody></table></div><p class="note">{escape(wording.SCOPE)}</p></section>\n'
    )


def _unseen(analysis: Analysis) -> str:
    blind = blind_looks(analysis)
    partly = [look for look in usable_looks(analysis) if not saw_all(look)]
    lines = []
    if blind:
        lines.append(f"<li><b>Not at all</b> on {escape(_days(blind))}.</li>")
    if partly:
        lines.append(f"<li><b>In part</b> on {escape(_days(partly))}.</li>")
    if analysis.looks and not blind and not partly:
        lines.append("<li>Every scene showed at least nine tenths of the site.</li>")
    lines += [f"<li><b>Limit:</b> {escape(limit.statement)}</li>" for limit in analysis.detection.limits]
    lines += [
        f"<li>A scene could not be opened: {escape(sentence)} <code>{escape(where)}</code></li>"
        for where, _, sentence in analysis.refused
    ]
    return f'<section class="unseen"><h2>What could not be seen</h2><ul>{"".join(lines)}</ul></section>\n'


def _days(looks: Sequence[LookSummary]) -> str:
    """List dates with their reasons, the longest lists cut with a pointer to the table."""
    told = [_day(look) for look in looks[:6]]
    more = [f"{len(looks) - 6} more (see the table of looks)"] if len(looks) > 6 else []
    return wording.joined([*told, *more])


def _day(look: LookSummary) -> str:
    reasons = _reasons(look) or [note.rstrip(".") for note in look.notes[-1:] if not look.used]
    why = f" ({wording.joined(reasons)})" if reasons else ""
    return f"{wording.date(look.scene.t_utc)}{why}"


def _legend(items: Sequence[Numbered]) -> str:
    kinds = sorted({(list(ObjectClass).index(i.change.object_class), str(i.change.direction)) for i in items})
    entries = [
        f"<li>{_symbol(list(ObjectClass)[k], Direction(d))}{escape(wording.short(list(ObjectClass)[k]))} {escape(d)}</li>"
        for k, d in kinds
    ]
    return f'<ul class="legend">{"".join(entries)}<li><i class="aoi-key"></i>area of interest</li></ul>'


def _map(analysis: Analysis, items: Sequence[Numbered], stretch: Stretch, read: WindowReader) -> str:
    look = map_look(analysis, withheld(analysis))
    image = None
    if look is not None:
        colour = has_colour(look.scene.band_names)
        image = picture(overview(look.scene.id, analysis.grid, read, colour, MAP_PX), stretch)
    caption = (
        f"Background: scene of {wording.date(look.scene.t_utc)}, {look.scene.platform or 'sensor not stated'}, "
        f"licence: {look.scene.licence or UNSTATED}. Hatched ground was not seen."
        if look is not None
        else "No picture of the site may or can be shown; the ground is left blank."
    )
    numbered = sum(i.number is not None for i in items)
    if items:
        caption += f" Numbers 1\u2013{numbered} lead to the pictures below." if numbered > 1 else ""
    return (
        f"<section><h2>Where</h2><figure>{map_figure(analysis, image, items)}{_legend(items)}"
        f"<figcaption>{escape(caption)}</figcaption></figure></section>\n"
    )


def _timeline(analysis: Analysis) -> str:
    if not analysis.looks:
        return ""
    labels = list(
        dict.fromkeys(
            label
            for look in analysis.looks
            for label, share in look.fractions
            if label != "observed" and share > 0
        )
    )
    keys = "".join(f'<li><i class="key r-{escape(k)}"></i>{escape(wording.reason(k))}</li>' for k in labels)
    if any(
        not look.used and not any(k != "observed" and s > 0 for k, s in look.fractions)
        for look in analysis.looks
    ):
        keys += '<li><i class="key r-left_out"></i>left out</li>'
    told = (
        "Vertical strokes are 90 % intervals; +n and \u2212n are changes first noticed in that look. "
        if classes_shown(analysis)
        else ""
    )
    if told and any(not saw_all(look) for look in usable_looks(analysis)):
        told += "Hollow dots count only the part of the site that their look showed. "
    return (
        f'<section><h2>When</h2><figure><div class="scroll" tabindex="0">{timeline_figure(analysis)}</div><ul class="legend">{keys}</ul>'
        f"<figcaption>{escape(told)}One bar per look: the coloured part of the bar is the share of the site that look "
        "did not show.</figcaption></figure></section>\n"
    )


def _cards(items: Sequence[Numbered], pairs: Mapping[str, ChipPair]) -> str:
    shown = [i for i in items if i.change_id in pairs]
    if not shown:
        return ""
    rest = len(items) - len(shown)
    more = (
        f'<p class="note">The {len(shown)} strongest of {len(items)} changes are shown. The other {rest} are drawn on '
        "the map without a number and listed in changes.geojson, changes.gpkg and changes.parquet; the pictures of each "
        "lie in evidence/ under its id.</p>"
        if rest
        else ""
    )
    changes = [item.change for item in items]
    told = {
        item.change_id: " ".join(wording.related(item.change, r.relation, changes[r.other]) for r in mine)
        for item, mine in zip(items, relations(changes), strict=True)
    }
    cards = "".join(_card(item, pairs[item.change_id], told[item.change_id]) for item in shown)
    return (
        '<section class="changes"><h2>Before and after</h2><p class="note">All pictures of this site share one '
        "stretch of brightness, so what looks brighter is brighter. The outline marks the place of the change on both "
        f'dates; hatched ground was not seen.</p>{more}<div class="cards">{cards}</div></section>\n'
    )


def _card(item: Numbered, pair: ChipPair, related: str) -> str:
    change = item.change
    sides = (("Before", pair.before, change.onset.start), ("After", pair.after, change.onset.end))
    chips = "".join(
        f"<div>{chip_figure(chip, change, pair.window, f'{name}, {wording.date(t)}')}"
        f"<p><b>{name}</b> {wording.date(t)}</p></div>"
        for name, chip, t in sides
    )
    against = "".join(f"<li>{escape(wording.capital(text))}</li>" for text in change.against)
    spoken = f'<div class="against"><b>What speaks against it</b><ul>{against}</ul></div>' if against else ""
    return (
        f'<article class="card" id="change-{item.change_id}"><h3><span class="n">{item.number}</span>'
        f"{_symbol(change.object_class, change.direction)}{escape(wording.heading(change))}"
        f'<span class="confidence">{wording.confidence(change.confidence)}</span></h3>'
        f'<div class="pair">{chips}</div><p>{escape(f"{wording.statement(change)} {related}".rstrip())}</p>'
        f'<p class="small">{escape(_facts(change))} <a href="evidence/{item.change_id}/provenance.json">Evidence '
        f"{item.change_id}</a></p>{spoken}</article>\n"
    )


_STATUS = {
    Status.FIRST: "seen once so far",
    Status.PROVISIONAL: "provisional",
    Status.CONFIRMED: "confirmed",
    Status.CLOSED: "gone again",
    Status.RETRACTED: "retracted: later looks do not support it",
}


def _standing(change: Change) -> str:
    """Say how far a change is borne out; what undoes a removal is no going."""
    if change.status is Status.CLOSED and change.direction is Direction.REMOVED:
        return "undone: later looks show one like it there"
    return _STATUS[change.status]


def _facts(change: Change) -> str:
    looks = f"{change.looks_supporting} look{'s' if change.looks_supporting != 1 else ''} for"
    against = f"{change.looks_against} against" if change.looks_against else "none against"
    facts = [
        f"Confidence {wording.confidence(change.confidence)}, {_standing(change)}",
        f"{looks}, {against}",
    ]
    facts.append(f"{wording.metres(change.area_m2.value)} m²")
    if change.object_class is ObjectClass.CONTAINER and change.count_reason:
        facts.append(f"not counted: {change.count_reason.rstrip('.')}")
    return "; ".join(facts) + "."


def _state_words(look: LookSummary) -> str:
    if look.reference:
        return "reference"
    d = look.displacement
    match None if d is None else d.state:
        case RegistrationState.USE:
            return "lined up"
        case RegistrationState.USE_WITH_WIDER_TOLERANCE:
            return "lined up, less surely"
        case RegistrationState.NOT_REGISTERED:
            return "could not be lined up"
        case _:
            return "not tried"


def _note(text: str) -> str:
    """Print a look's note as the rest of the page is printed."""
    return text.rstrip(".").replace("_", " ").replace(" m2", " m²")


def _look_row(look: LookSummary, centre: tuple[float, float]) -> str:
    d = look.displacement
    shift = residual = DASH
    if d is not None and d.registered:
        east, north = displacement_at(d, *centre)
        shift, residual = f"{east:+.2f} / {north:+.2f}".replace("-", MINUS), f"{d.residual_m:.2f}"
    lost = ", ".join(
        f"{wording.reason(label)} {100 * share:.0f} %"
        for label, share in look.fractions
        if label != "observed" and share >= 0.005
    )
    notes = "; ".join(filter(None, [lost, *map(_note, dict.fromkeys(look.notes))]))
    shade = "" if look.used else ' class="unused"'
    return (
        f'<tr{shade}><td>{look.scene.t_utc:%Y-%m-%d}</td><td class="id">{escape(look.scene.id)}</td>'
        f'<td class="word">{escape(look.scene.platform or DASH)}</td><td class="num">{look.scene.gsd_m:g}</td>'
        f'<td class="num">{100 * look.usable_fraction:.0f} %</td><td>{_state_words(look)}</td>'
        f'<td class="num">{shift}</td><td class="num">{residual}</td><td class="notes">{escape(notes)}</td></tr>'
    )


def _looks(analysis: Analysis) -> str:
    if not analysis.looks:
        return ""
    centre = aoi_centre(analysis)
    rows = "".join(_look_row(look, centre) for look in analysis.looks)
    heads = (
        ("Date", ""), ("Scene", ""), ("Sensor", ""), ("Pixel, m", "num"), ("Seen", "num"), ("Registration", ""),
        ("Shift east / north, m", "num"), ("Residual,\u00a0m", "num"), ("Not seen, and notes", ""),
    )  # fmt: skip
    head = "".join(f'<th scope="col" class="{c}">{h}</th>' for h, c in heads)
    return (
        '<section class="looks"><h2>Every look</h2><div class="scroll" tabindex="0"><table><thead><tr>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div></section>\n"
    )


def _method(analysis: Analysis) -> str:
    how = (
        *wording.METHOD,
        wording.CALIBRATION,
        wording.CONFUSIONS,
        *wording.coarse_limits(analysis.grid.gsd_m),
        *wording.GENERAL_LIMITS,
        wording.SCOPE,
    )
    return f'<section class="method"><h2>Method and limits</h2>{"".join(f"<p>{escape(t)}</p>" for t in how)}</section>\n'


# How a setting reads to who does not write Python.
_SAID = {"None": "not set", "True": "yes", "False": "no"}


def _colophon(analysis: Analysis) -> str:
    warnings = all_warnings(analysis)
    told = "".join(f"<li>{escape(w)}</li>" for w in warnings)
    block = f"<h2>Warnings</h2><ul>{told}</ul>" if warnings else ""
    terms: dict[str, int] = {}
    for look in analysis.looks:
        terms[look.scene.licence or UNSTATED] = terms.get(look.scene.licence or UNSTATED, 0) + 1
    licences = "; ".join(f"{escape(t)} ({n} scene{'s' if n != 1 else ''})" for t, n in sorted(terms.items()))
    pairs = [*sorted(analysis.parameters), *sorted(analysis.versions)]
    rows = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(_SAID.get(v, v))}</dd></div>" for k, v in pairs)
    return (
        f'<section class="colophon">{block}<h2>Sources and settings</h2><p>Licences: {licences or "none"}.</p>'
        f"<p>Processing version <code>{escape(analysis.processing_version)}</code>. Equal inputs and an equal "
        f'processing version give this report again, byte for byte.</p><dl class="settings">{rows}</dl></section>\n'
    )
