"""A site's news as an Atom feed: one entry for each thing that became known, and nothing taken back silently.

A retraction is an entry of its own, because readers do not show again what they showed already. The feed is archived in
documents of a hundred news that never change; the current document holds what came after, and the last archive again.
What only says that a change was seen once more is left out.

Source: RFC 4287 (Atom), RFC 5005 section 4 (archived feeds), GeoRSS-Simple (points).
"""

import itertools
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from shapely.geometry import shape
from sqlalchemy import Connection, func, select

from service.corroboration import Look, looks_of
from service.database import Record
from service.digests import differences
from service.errors import NotFound
from service.moments import rfc3339
from service.tables import feed, reports
from service.words import happening

ATOM = "application/atom+xml"
PER_ARCHIVE = 100
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "depotwatch:feed")
NAMES = (
    'xmlns="http://www.w3.org/2005/Atom" xmlns:fh="http://purl.org/syndication/history/1.0" '
    'xmlns:georss="http://www.georss.org/georss"'
)
# Everything XML 1.0 has no place for, however it is escaped.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
OPENINGS = {"new": "New", "updated": "Updated", "retracted": "Retracted"}


@dataclass(frozen=True, slots=True)
class Place:
    """Which document of a feed: where it begins and ends among the site's news, and its archives' numbers."""

    first: int
    last: int
    archive: int | None  # None: the current document
    previous: int | None


@dataclass(frozen=True, slots=True)
class Document:
    """What one document of a site's feed is made of."""

    site: Record
    place: Place
    entries: Sequence[Record]
    numbers: Mapping[str, int]  # report id -> number
    state: str


def news_count(connection: Connection, tenant: str, site: str) -> int:
    """Return how much news a site ever had; news is only ever added."""
    mine = (feed.c.tenant == tenant) & (feed.c.site == site)
    return int(connection.execute(select(func.count()).select_from(feed).where(mine)).scalar_one())


def place_of(count: int, archive: int | None) -> Place:
    """Return where a document lies among ``count`` news.

    Raises
    ------
    NotFound : an archive that is not full yet
    """
    full = count // PER_ARCHIVE
    if archive is None:
        kept = max(0, full - 1)
        return Place(kept * PER_ARCHIVE, count, None, kept or None)
    if archive > full:
        raise NotFound(f"this feed has {full} archived documents so far")
    return Place((archive - 1) * PER_ARCHIVE, archive * PER_ARCHIVE, archive, archive - 1 or None)


def read_document(connection: Connection, site: Record, place: Place) -> Document:
    """Read what a document is made of; an archived one tells no present state, so that it never changes."""
    entries = connection.execute(
        select(feed)
        .where(feed.c.tenant == site.tenant, feed.c.site == site.id)
        .order_by(feed.c.seq)
        .offset(place.first)
        .limit(place.last - place.first)
    ).all()[::-1]
    entries = _worth_telling(connection, site, entries)
    rows = connection.execute(
        select(reports.c.id, reports.c.number).where(
            reports.c.site == site.id, reports.c.id.in_({entry.report for entry in entries})
        )
    )
    state = "" if place.archive is not None else _state(connection, site)
    return Document(site, place, entries, {row.id: row.number for row in rows}, state)


def _worth_telling(connection: Connection, site: Record, entries: Sequence[Record]) -> Sequence[Record]:
    """Leave out updates that tell only that a change was seen once more: every look brings one for all that stands."""
    updated = {entry.change for entry in entries if entry.kind == "updated"}
    if not updated:
        return entries
    mine = (feed.c.tenant == site.tenant) & (feed.c.site == site.id)
    told = connection.execute(
        select(feed.c.change, feed.c.seq)
        .where(mine, feed.c.change.in_(updated), feed.c.seq <= entries[0].seq)
        .order_by(feed.c.change, feed.c.seq)
    ).all()
    before = {b.seq: a.seq for a, b in itertools.pairwise(told) if a.change == b.change}
    wanted = [before[entry.seq] for entry in entries if entry.kind == "updated" and entry.seq in before]
    known = connection.execute(
        select(feed.c.seq, feed.c.kind, feed.c.body).where(mine, feed.c.seq.in_(wanted))
    )
    bodies = {row.seq: row.body for row in known if row.kind != "retracted"}
    return [e for e in entries if e.kind != "updated" or _differs(bodies.get(before.get(e.seq, -1)), e.body)]


def _differs(before: str | None, after: str) -> bool:
    if before is None:
        return True
    return bool(differences(json.loads(before)["properties"], json.loads(after)["properties"]))


def _state(connection: Connection, site: Record) -> str:
    if site.current_report is None:
        return "There is no report yet, so nothing can be said about this site."
    number = connection.execute(
        select(reports.c.number).where(reports.c.id == site.current_report)
    ).scalar_one()
    return f"Report {number}. {seen_in_words(looks_of(connection, [site.current_report], ())[site.current_report])}"


def seen_in_words(seen: Sequence[Look]) -> str:
    """Return a sentence on how much of a site its looks showed."""
    clear = [look.at for look in seen if look.clear]
    if not seen:
        return "The archives hold no scene of this site: not observable, nothing can be said."
    if not clear:
        return f"None of {len(seen)} looks shows half of the site: not observable, nothing can be said."
    if len(clear) == 1:
        return (
            f"Only one of {len(seen)} looks shows half of the site ({rfc3339(clear[0])[:10]}): nothing to compare it "
            "with, no statement on change."
        )
    return (
        f"{len(clear)} of {len(seen)} looks show at least half of the site, the last of them on {rfc3339(clear[-1])[:10]}. "
        "Nothing is claimed about what was not seen."
    )


def render(document: Document, base: str, here: str, token: str | None) -> bytes:
    """Return an Atom document; ``here`` is the address it was asked for by, ``base`` the service's."""
    site, place = document.site, document.place
    feed_address = f"{base}/sites/{site.id}/feed.atom"
    newest = document.entries[0].at if document.entries else site.created
    parts = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f"<feed {NAMES}>",
        _text("id", _urn(site.id)),
        _text("title", f"{site.name}: what became known"),
        _text("updated", rfc3339(newest)),
        f"<author>{_text('name', 'depotwatch')}</author>",
        _text("generator", "depotwatch"),
        _link("self", here, ATOM),
        _link("alternate", f"{base}/#/sites/{site.id}", "text/html"),
    ]
    if document.state:
        parts.append(_text("subtitle", document.state))
    if place.archive is not None:
        parts += ["<fh:archive/>", _link("current", _address(feed_address, token, None), ATOM)]
    if place.previous is not None:
        parts.append(_link("prev-archive", _address(feed_address, token, place.previous), ATOM))
    parts += [_entry(row, document, base) for row in document.entries]
    parts.append("</feed>")
    return "\n".join(parts).encode()


def _entry(row: Record, document: Document, base: str) -> str:
    told = json.loads(row.body)
    page = f"{base}/sites/{row.site}/reports/{row.report}.html"
    rest: list[str] = []
    if row.kind == "superseded":
        title, summary = _replaced(row, told, document.numbers)
    else:
        title, summary = _change_in_words(row.kind, told["properties"])
        page = f"{base}/#/sites/{row.site}/changes/{row.change}"
        rest = _change_parts(told, f"{base}/changes/{row.change}")
    parts = [
        "<entry>",
        _text("id", _urn(f"{row.site}/{row.seq}")),
        _text("title", title),
        _text("published", rfc3339(row.at)),
        _text("updated", rfc3339(row.at)),
        _link("alternate", page, "text/html"),
        f"<category term={quoteattr(row.kind)}/>",
        _text("summary", summary),
        *rest,
        "</entry>",
    ]
    return "\n".join(parts)


def _replaced(row: Record, told: dict[str, Any], numbers: Mapping[str, int]) -> tuple[str, str]:
    number = numbers.get(row.report)
    title = "A report took the place of another" if number is None else f"Report {number} is the current one"
    return title, (
        f"It took the place of report {told.get('supersedes')}, which stays readable. What differs is told by the entries "
        "beside this one."
    )


def _change_in_words(kind: str, told: Mapping[str, Any]) -> tuple[str, str]:
    span = f"between {str(told.get('last_absent'))[:10]} and {str(told.get('first_seen'))[:10]}"
    title = f"{OPENINGS.get(kind, kind)}: {happening(told)} {span}"
    if kind == "retracted":
        return title, f"This is no longer reported. It had said: {told.get('statement', '')}"
    return (
        title,
        f"{told.get('statement', '')} Status {told.get('status')}, confidence {told.get('confidence')}.",
    )


def _change_parts(feature: Mapping[str, Any], address: str) -> list[str]:
    told = feature["properties"]
    parts = [_link("related", address, "application/geo+json")]
    parts += [f"<category term={quoteattr(_clean(told[name]))}/>" for name in ("change_type", "direction", "status") if told.get(name)]  # fmt: skip
    if licences := ", ".join(map(str, told.get("licences") or [])):
        parts.append(_text("rights", f"Made from scenes under {licences}"))
    if feature.get("geometry"):
        inside = shape(feature["geometry"]).representative_point()
        parts.append(f"<georss:point>{inside.y:.6f} {inside.x:.6f}</georss:point>")
    return parts


def _urn(name: str) -> str:
    return f"urn:uuid:{uuid.uuid5(NAMESPACE, name)}"


def _address(feed_address: str, token: str | None, archive: int | None) -> str:
    asked = ([] if archive is None else [f"archive={archive}"]) + ([f"token={token}"] if token else [])
    return feed_address + ("?" + "&".join(asked) if asked else "")


def _clean(text: Any) -> str:
    return NOT_XML.sub("\ufffd", str(text))


def _text(name: str, text: str) -> str:
    return f"<{name}>{escape(_clean(text))}</{name}>"


def _link(rel: str, href: str, media: str) -> str:
    return f"<link rel={quoteattr(rel)} href={quoteattr(_clean(href))} type={quoteattr(media)}/>"
