"""A digest as a file for people: Markdown, or one HTML page that needs nothing else."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from pipelines.page_policy import style_element
from service.words import counted, happening

Told = Mapping[str, Any]

HEADINGS = {
    "news": "What became known",
    "not_observable": "Not observable: nothing can be said",
    "no_new_look": "No new clear look: nothing can be said about this day",
    "no_report": "Without a report: nothing can be said",
    "quiet": "Quiet: looked at, and told as before",
}
KINDS = {"new": "New", "updated": "Updated", "retracted": "Retracted"}
# What Markdown reads as more than text in the middle of a line; HTML and strikes have no escape that all readers know.
MARKS = re.compile(r"([\\`*_\[\]#])")
ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "~": "&#126;", "|": "&#124;"})
TIME = re.compile(r"\d{4}-\d\d-\d\dT.*")
CONTROLS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;"
    "padding:0 1rem}h3{margin-bottom:0}table{border-collapse:collapse}td,th{padding:.1rem .8rem .1rem 0;"
    "text-align:left}li{margin:.3rem 0}small{opacity:.8}"
)


def as_markdown(digest: Told, base: str) -> str:
    """Return the Markdown file; ``base`` is the service's address, for links."""
    parts = [f"# {_title(digest)}", _span(digest), _summary_line(digest)]
    for state, held in _groups(digest):
        parts.append(f"## {HEADINGS[state]} ({len(held)})")
        parts += [_site_markdown(site, base) for site in held]
    parts += ["## How to read this", "\n".join(f"- {note}" for note in digest["notes"])]
    return "\n\n".join(parts) + "\n"


def as_html(digest: Told, base: str) -> str:
    """Return the HTML file; ``base`` is the service's address, for links."""
    title = escape(_title(digest))
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"{style_element(STYLE)}<title>{title}</title></head><body><main>",
        f"<h1>{title}</h1><p>{escape(_span(digest))}</p><p>{escape(_summary_line(digest))}</p>",
    ]
    for state, held in _groups(digest):
        parts.append(f"<h2>{escape(HEADINGS[state])} ({len(held)})</h2>")
        parts += [_site_html(site, base) for site in held]
    notes = "".join(f"<li>{escape(note)}</li>" for note in digest["notes"])
    parts.append(f"<h2>How to read this</h2><ul>{notes}</ul></main></body></html>")
    return "\n".join(parts) + "\n"


def _title(digest: Told) -> str:
    return f"Digest of {digest['day']}"


def _span(digest: Told) -> str:
    said = f"What became known from the beginning to the end of {digest['day']} (UTC)."
    return said if digest["complete"] else f"{said} The day is not over: more may come."


def _summary_line(digest: Told) -> str:
    counts = digest["counts"]
    unseen = counts["no_new_look"] + counts["not_observable"] + counts["no_report"]
    return (
        f"{counted(counts['sites'], 'site')}: {counts['news']} with news, {counts['quiet']} quiet, {unseen} of which nothing can be "
        f"said. Changes: {counts['changes_new']} new, {counts['changes_updated']} updated, "
        f"{counts['changes_retracted']} retracted, {counts['changes_seen_again']} only seen again. Reports that took "
        f"another's place: {counts['reports_superseded']}."
    )


def _groups(digest: Told) -> Iterator[tuple[str, Sequence[Told]]]:
    """Yield the sites by state, those of which nothing can be said before the quiet ones."""
    for state in HEADINGS:
        held = [site for site in digest["sites"] if site["state"] == state]
        if held:
            yield state, held


def _lines(site: Told, text: Callable[[Any], str], link: Callable[[str, str], str]) -> Iterator[str]:
    """Yield a site's list: changes, what was left out, alarms."""
    for change in site["changes"]:
        page = f"{_page(site)}/changes/{change['change']}"
        yield f"{link(_change_title(change), page)}: {text(_change_words(change))}"
    if site["left_out"]:
        yield f"and {link(str(site['left_out']) + ' more', _page(site))}"
    if site["counts"]["seen_again"]:
        yield f"{site['counts']['seen_again']} more only seen again"
    for alarm in site["warnings"]:
        yield f"Warning: {text(alarm['detail'])}"


def _change_title(change: Told) -> str:
    return f"{KINDS.get(change['kind'], change['kind'])}: {happening(change)}"


def _change_words(change: Told) -> str:
    said = f"{change['statement'] or ''}".strip()
    if change["kind"] == "retracted":
        again = " It was told and taken back on this day." if "new" in change["told"] else ""
        return f"This is no longer reported. It had said: {said}{again}"
    differs = "; ".join(
        f"{name.replace('_', ' ')} {_short(was['from'])} before, now {_short(was['to'])}"
        for name, was in change["differs"].items()
    )
    standing = f"Status {change['status']}, confidence {_short(change['confidence'])}."
    terms = f" Scenes under {', '.join(map(str, change['licences']))}." if change["licences"] else ""
    return " ".join(part for part in (said, f"({differs})" if differs else "", standing) if part) + terms


def _short(value: Any) -> str:
    """Return a value as people read it: two digits, and of a time the day."""
    if isinstance(value, float):
        return f"{value:.2f}"
    text = "none" if value is None else str(value)
    return text[:10] if TIME.fullmatch(text) else text


def _site_markdown(site: Told, base: str) -> str:
    def link(label: str, href: str) -> str:
        return f"[{_plain(label)}]({base}{href})"

    lines = [f"- {line}" for line in _lines(site, _plain, link)]
    head = f"### {link(site['name'], _page(site))}\n\n{_plain(_site_words(site))}"
    return head + ("\n\n" + "\n".join(lines) if lines else "")


def _site_html(site: Told, base: str) -> str:
    def text(said: Any) -> str:
        return escape(_printable(said))

    def link(label: str, href: str) -> str:
        return f'<a href="{escape(base + href)}">{text(label)}</a>'

    lines = "".join(f"<li>{line}</li>" for line in _lines(site, text, link))
    head = f"<h3>{link(site['name'], _page(site))}</h3><p>{text(_site_words(site))}</p>"
    return head + (f"<ul>{lines}</ul>" if lines else "")


def _page(site: Told) -> str:
    """Return the site's place on the web page, which knows the reader's key; the API's own addresses need it sent along."""
    return f"/#/sites/{site['site']}"


def _site_words(site: Told) -> str:
    told = [site["statement"]]
    if not site["watched"]:
        told.append("It is not watched any more.")
    if site["report"]:
        told.append(f"Report {site['report']['number']} is the current one.")
    return " ".join(told)


def _printable(said: Any) -> str:
    return CONTROLS.sub(" ", str(said))


def _plain(said: Any) -> str:
    return MARKS.sub(r"\\\1", _printable(said)).translate(ENTITIES)
