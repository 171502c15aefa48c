"""A day over all sites of a tenant: what became known, and which sites cannot be spoken of.

A day without news is told apart by what was seen: *quiet* means that a clear look of the site came in and the report,
which could compare looks, reads as before; *no new look* and *not observable* mean that nothing can be said. A day is
complete once it is over; its digest is then kept and never changes.
"""

import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, func, select

from imagery.coverage import LEAST_COMPARED
from service.corroboration import Look, looks_of
from service.database import Database, Record, seconds
from service.delivery import run_quietly
from service.errors import BadQuery, NotFound
from service.moments import rfc3339
from service.tables import changes, digests, feed, reports, sites, tenants, warnings
from service.words import counted

DAY_S = 86_400.0
# A transaction that began before midnight may end after it; nothing takes longer than this.
SETTLED_S = 300.0
# A service that was off makes up for so many days at most.
MOST_DAYS_BACK = 31
SITES_AT_ONCE = 200
MOST_CHANGES_SHOWN = 100
STATES = ("news", "quiet", "no_new_look", "not_observable", "no_report")
# In the order they are told in; what was only seen again is not.
KINDS = ("new", "retracted", "updated")
COMPARED = ("change_type", "direction", "status", "last_absent", "first_seen", "count")
CONFIDENCE_STEP = 0.1

NOTES = (
    "A site is called quiet only where a clear look of it came in on this day and the report, which could compare looks, "
    "reads as before. Of every other site without news nothing can be said about this day.",
    "A clear look shows at least half of the site. What it could not show, and what is too small for its pixels, is told "
    "by the report.",
    "News is told on the day it became known, which is later than the day of the scene and of the change.",
    "A change that was only seen again is counted, not listed.",
)


@dataclass(frozen=True, slots=True)
class Day:
    """One day in UTC; ``start`` and ``end`` in seconds since 1970, the end not part of it."""

    name: str
    start: float
    end: float

    def is_complete(self, now: float) -> bool:
        """Tell whether nothing can be added to the day any more."""
        return now >= self.end + SETTLED_S


@dataclass(frozen=True, slots=True)
class Known:
    """What was known of the sites at the two ends of a day: their current reports and these reports' looks."""

    before: Mapping[str, str]  # site -> report
    after: Mapping[str, str]
    numbers: Mapping[str, int]  # report -> number
    looks: Mapping[str, Sequence[Look]]  # report -> looks
    comparable: Mapping[
        str, bool
    ]  # report -> whether a change could have been seen; reports that do not tell are left out


def day_named(name: str) -> Day:
    """Read ``2024-01-31``.

    Raises
    ------
    BadQuery
    """
    try:
        read = date.fromisoformat(name) if len(name) == len("2024-01-31") else None
    except ValueError:
        read = None
    if read is None or not 1970 <= read.year < 9999:
        raise BadQuery(f"{name[:40]!r} is not a day such as 2024-01-31", pointer="day")
    start = datetime(read.year, read.month, read.day, tzinfo=UTC).timestamp()
    return Day(read.isoformat(), start, start + DAY_S)


def day_at(moment: float) -> Day:
    """Return the day a moment lies in."""
    return day_named(datetime.fromtimestamp(moment, UTC).date().isoformat())


def last_complete_day(now: float) -> Day:
    """Return the latest day that is complete."""
    return day_at(now - SETTLED_S - DAY_S)


def digest_of(database: Database, tenant: str, day: Day) -> str:
    """Return a day's digest as JSON: the kept one, or one made now; a complete day's is kept.

    Raises
    ------
    NotFound : the day has not begun, or was over before the tenant was there
    """
    with database.read() as connection:
        kept = _kept(connection, tenant, day)
        if kept is not None:
            return kept
        now = seconds(database, connection)
        created = connection.execute(select(tenants.c.created).where(tenants.c.id == tenant)).scalar_one()
        if not created < day.end or not day.start <= now:
            raise NotFound(f"there is no digest of {day.name}: no such day was watched")
        body = _json(make_digest(connection, tenant, day, complete=day.is_complete(now)))
    if not day.is_complete(now):
        return body
    with database.write() as connection:
        connection.execute(
            database.insert(digests)
            .values(tenant=tenant, day=day.name, made=database.now, body=body)
            .on_conflict_do_nothing(index_elements=["tenant", "day"])
        )
        return _kept(connection, tenant, day) or body


def _kept(connection: Connection, tenant: str, day: Day) -> str | None:
    mine = (digests.c.tenant == tenant) & (digests.c.day == day.name)
    found = connection.execute(select(digests.c.body).where(mine)).scalar()
    return None if found is None else str(found)


def kept_digests(connection: Connection, tenant: str, before: str, limit: int) -> Sequence[Record]:
    """Return which days before one are kept, newest first."""
    return connection.execute(
        select(digests.c.day, digests.c.made)
        .where(digests.c.tenant == tenant, digests.c.day < before)
        .order_by(digests.c.day.desc())
        .limit(limit)
    ).all()


def keep_due(database: Database) -> int:
    """Make and keep the digests of complete days that nobody made yet; return how many were due."""
    with database.read() as connection:
        due = list(_due(connection, seconds(database, connection)))
    for tenant, day in due:
        # One tenant's trouble must not keep the others from theirs.
        run_quietly(functools.partial(digest_of, database, tenant, day), "digest-failed")
    return len(due)


def _due(connection: Connection, now: float) -> Iterator[tuple[str, Day]]:
    last = last_complete_day(now)
    kept = (
        select(digests.c.tenant, func.max(digests.c.day).label("day")).group_by(digests.c.tenant).subquery()
    )
    rows = connection.execute(
        select(tenants.c.id, tenants.c.created, kept.c.day)
        .outerjoin(kept, kept.c.tenant == tenants.c.id)
        .where(tenants.c.created < last.end, kept.c.day.is_(None) | (kept.c.day < last.name))
        .order_by(tenants.c.id)
    )
    for row in rows:
        first = day_at(row.created) if row.day is None else day_at(day_named(row.day).end)
        start = max(first.start, last.start - (MOST_DAYS_BACK - 1) * DAY_S)
        for number in range(round((last.end - start) / DAY_S)):
            yield row.id, day_at(start + number * DAY_S)


def make_digest(connection: Connection, tenant: str, day: Day, *, complete: bool) -> dict[str, Any]:
    """Return a day's digest as ``GET /digests/{day}`` answers it."""
    news = _news(connection, tenant, day)
    watched = _watched(connection, tenant, day, news)
    known = _known(connection, tenant, day, [row.id for row in watched])
    alarms = _alarms(connection, tenant, day)
    told = [
        _site(row, day, known, told_changes, superseded, alarms.get(row.id, []))
        for row, told_changes, superseded in _with_changes(connection, watched, known, news)
    ]
    told.sort(key=lambda site: (STATES.index(site["state"]), site["name"], site["site"]))
    return {
        "day": day.name,
        "period": {"start": rfc3339(day.start), "end": rfc3339(day.end)},
        "complete": complete,
        "counts": _counts(told),
        "sites": told,
        "notes": list(NOTES),
    }


def _news(connection: Connection, tenant: str, day: Day) -> dict[str, list[Record]]:
    """Return a day's news by site, in order."""
    found: dict[str, list[Record]] = {}
    rows = connection.execute(
        select(feed.c.site, feed.c.kind, feed.c.change, feed.c.body)
        .where(feed.c.tenant == tenant, feed.c.at >= day.start, feed.c.at < day.end)
        .order_by(feed.c.seq)
    )
    for row in rows:
        found.setdefault(row.site, []).append(row)
    return found


def _watched(connection: Connection, tenant: str, day: Day, news: Mapping[str, Any]) -> list[Record]:
    """Return the sites that were watched when the day ended, and those that had news although they were not."""
    rows = connection.execute(
        select(sites.c.id, sites.c.name, sites.c.created, sites.c.deleted).where(sites.c.tenant == tenant)
    )
    return [
        row
        for row in rows
        if row.id in news or (row.created < day.end and (row.deleted is None or row.deleted >= day.end))
    ]


def _known(connection: Connection, tenant: str, day: Day, wanted: Sequence[str]) -> Known:
    before = reports_at(connection, tenant, day.start, wanted)
    after = reports_at(connection, tenant, day.end, wanted)
    both = sorted({*before.values(), *after.values()})
    numbers: dict[str, int] = {}
    seen: dict[str, Sequence[Look]] = {}
    comparable: dict[str, bool] = {}
    for some in _chunks(both):
        rows = connection.execute(
            select(reports.c.id, reports.c.number, reports.c.body).where(reports.c.id.in_(some))
        )
        for row in rows:
            numbers[row.id] = row.number
            if (compared := json.loads(row.body).get("compared")) is not None:
                comparable[row.id] = _could_compare(compared)
        seen |= looks_of(connection, some, ())
    return Known(before, after, numbers, seen, comparable)


def _could_compare(compared: Sequence[Mapping[str, Any]]) -> bool:
    """Judge as the report's verdict does: by what was seen twice, not by how many looks are clear."""
    return any((part["comparable_fraction"] or 0.0) >= LEAST_COMPARED for part in compared)


def reports_at(connection: Connection, tenant: str, moment: float, wanted: Sequence[str]) -> dict[str, str]:
    """Return which report of each site was the current one at a moment; sites without one are left out."""
    found: dict[str, str] = {}
    for some in _chunks(wanted):
        since = func.coalesce(reports.c.current_since, reports.c.created)
        rows = connection.execute(
            select(sites.c.id, sites.c.current_report, since.label("since"))
            .outerjoin(reports, reports.c.id == sites.c.current_report)
            .where(sites.c.tenant == tenant, sites.c.id.in_(some))
        ).all()
        settled = {row.id: row.current_report for row in rows if row.since is not None and row.since < moment}
        moved = [row.id for row in rows if row.id not in settled]
        found |= settled | _told_at(connection, tenant, moment, moved)
    return found


def _told_at(connection: Connection, tenant: str, moment: float, wanted: Sequence[str]) -> dict[str, str]:
    """Return the same for sites whose report has changed since: the feed tells of every change of report."""
    last = (
        select(func.max(feed.c.seq))
        .where(feed.c.tenant == tenant, feed.c.site.in_(wanted), feed.c.at < moment)
        .group_by(feed.c.site)
    )
    rows = connection.execute(
        select(feed.c.site, feed.c.report, feed.c.kind).where(feed.c.tenant == tenant, feed.c.seq.in_(last))
    ).all()
    heard = {row.site for row in rows}
    # A site's first report may tell no change, and then the feed is silent about it.
    silent = connection.execute(
        select(reports.c.site, reports.c.id)
        .where(reports.c.site.in_([site for site in wanted if site not in heard]))
        .where(reports.c.current_since < moment)
        .order_by(reports.c.current_since)
    )
    first = {row.site: row.id for row in silent}
    # A report in another's place is told last of all, so a retraction that is left the last word left no report.
    return first | {row.site: row.report for row in rows if row.kind != "retracted"}


def _chunks(wanted: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(wanted), SITES_AT_ONCE):
        yield wanted[start : start + SITES_AT_ONCE]


def _alarms(connection: Connection, tenant: str, day: Day) -> dict[str, list[dict[str, str]]]:
    """Return the warnings that stood when the day ended, such as an archive gone silent."""
    found: dict[str, list[dict[str, str]]] = {}
    rows = connection.execute(
        select(warnings)
        .join(sites, sites.c.id == warnings.c.site)
        .where(sites.c.tenant == tenant, warnings.c.since < day.end)
        .order_by(warnings.c.site, warnings.c.code)
    )
    for row in rows:
        found.setdefault(row.site, []).append({"code": row.code, "detail": row.detail})
    return found


def _with_changes(
    connection: Connection, watched: Sequence[Record], known: Known, news: Mapping[str, Sequence[Record]]
) -> Iterator[tuple[Record, list[dict[str, Any]], int]]:
    """Yield each site with what its news comes to, and how often a report took another's place."""
    for start in range(0, len(watched), SITES_AT_ONCE):
        some = watched[start : start + SITES_AT_ONCE]
        spoken = [row.id for row in some if any(entry.change for entry in news.get(row.id, ()))]
        old = _features(connection, [known.before[site] for site in spoken if site in known.before])
        for row in some:
            entries = news.get(row.id, [])
            before = old.get(known.before.get(row.id, ""), {})
            superseded = sum(entry.kind == "superseded" for entry in entries)
            yield row, _net(entries, before), superseded


def _features(connection: Connection, wanted: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    rows = connection.execute(
        select(changes.c.report, changes.c.change, changes.c.feature).where(changes.c.report.in_(wanted))
    )
    for row in rows:
        found.setdefault(row.report, {})[row.change] = row.feature
    return found


def _net(entries: Sequence[Record], before: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what a day's news comes to, change by change, against the report that the day began with."""
    told: dict[str, list[str]] = {}
    last: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if entry.change:
            told.setdefault(entry.change, []).append(entry.kind)
            last[entry.change] = json.loads(entry.body)["properties"]
    return [_change(change, kinds, last[change], before.get(change)) for change, kinds in told.items()]


def _change(
    change: str, kinds: Sequence[str], properties: Mapping[str, Any], before: str | None
) -> dict[str, Any]:
    differs: dict[str, Any] = {}
    if kinds[-1] == "retracted":
        kind = "retracted"
    elif before is None:
        kind = "new"
    else:
        differs = differences(json.loads(before)["properties"], properties)
        kind = "updated" if differs else "seen_again"
    shown = ("change_type", "direction", "status", "confidence", "last_absent", "first_seen", "statement")
    return {
        "change": change,
        "kind": kind,
        "told": list(kinds),
        **{name: properties.get(name) for name in shown},
        "licences": properties.get("licences") or [],
        "differs": differs,
        "href": f"/changes/{change}",
    }


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader would want to hear of: not that a change was seen once more."""
    names = [name for name in COMPARED if before.get(name) != after.get(name)]
    was, now = before.get("confidence"), after.get("confidence")
    if was is not None and now is not None and abs(now - was) >= CONFIDENCE_STEP - 1e-9:
        names.append("confidence")
    return {name: {"from": before.get(name), "to": after.get(name)} for name in names}


def _site(
    row: Record,
    day: Day,
    known: Known,
    told: Sequence[dict[str, Any]],
    superseded: int,
    alarms: Sequence[dict[str, str]],
) -> dict[str, Any]:
    report, before = known.after.get(row.id), known.before.get(row.id)
    observed = _observed(known, before, report)
    kinds = [change["kind"] for change in told]
    listed = sorted((change for change in told if change["kind"] in KINDS), key=_strength)
    state = "news" if listed else observed["state"]
    return {
        "site": row.id,
        "name": row.name,
        "watched": row.deleted is None or row.deleted >= day.end,
        "state": state,
        "statement": _statement(observed, day, len(listed)),
        "report": None if report is None else {"id": report, "number": known.numbers[report]},
        "looks": {name: observed[name] for name in ("looks", "clear", "new_clear", "last_clear")},
        "counts": {
            **{kind: kinds.count(kind) for kind in ("new", "updated", "retracted", "seen_again")},
            "superseded": superseded,
        },
        "changes": listed[:MOST_CHANGES_SHOWN],
        "left_out": max(0, len(listed) - MOST_CHANGES_SHOWN),
        "warnings": list(alarms),
        "href": f"/sites/{row.id}",
    }


def _strength(change: Mapping[str, Any]) -> tuple[int, float, str]:
    return KINDS.index(change["kind"]), -float(change["confidence"] or 0.0), change["change"]


def _observed(known: Known, before: str | None, after: str | None) -> dict[str, Any]:
    """Return what a site's looks say about one day; ``state`` is what can be said if there is no news."""
    seen = known.looks[after] if after is not None else ()
    clear = [look for look in seen if look.clear]
    had = (
        {(look.scene, look.at) for look in known.looks[before] if look.clear} if before is not None else set()
    )
    new = [look for look in clear if (look.scene, look.at) not in had]
    if after is None:
        state = "no_report"
    elif not known.comparable.get(after, len(clear) >= 2):
        state = "not_observable"
    else:
        state = "quiet" if new else "no_new_look"
    return {
        "state": state,
        "first": before is None,
        "looks": len(seen),
        "clear": len(clear),
        "new_clear": len(new),
        "last_clear": rfc3339(clear[-1].at) if clear else None,
        "last_clear_at": clear[-1].at if clear else None,
    }


def _statement(observed: Mapping[str, Any], day: Day, news: int) -> str:
    """Return one sentence on what can be said; silence about a site is never put as 'no change'."""
    last = str(observed["last_clear"])[:10]
    match observed["state"]:
        case "no_report":
            return "There is no report, so nothing can be said."
        case "not_observable" if observed["clear"] >= 2:
            beyond = "beyond the news" if news else "about change"
            return (
                "Not observable: next to none of the site was seen on two dates by looks that can be compared. Nothing can "
                f"be said {beyond}."
            )
        case "not_observable":
            return (
                f"Not observable: {observed['clear']} of {observed['looks']} looks show at least half of the site, and "
                "two are needed to compare. Nothing can be said about change."
            )
        case "no_new_look" if not observed["clear"]:
            if news:
                return "No look shows half of the site: the news is from looks that show less."
            return "No look shows half of the site, so nothing can be said about this day."
        case "no_new_look" if news:
            return f"No new clear look came in (the last is of {last}): the news is from another analysis of known looks."
        case "no_new_look":
            age = max(0, math.floor((day.end - 1 - observed["last_clear_at"]) / DAY_S))
            return (
                f"No new clear look came in, so nothing can be said about this day. The last clear look is of {last}, "
                f"{counted(age, 'day')} before the day's end."
            )
        case _:
            return _seen(observed, last, news)


def _seen(observed: Mapping[str, Any], last: str, news: int) -> str:
    number = observed["new_clear"]
    came = f"{counted(number, 'clear look')} came in, the last of {last}."
    if news:
        return came
    if observed["first"]:
        return f"{came} This is the first report, and it tells of no change among what could be seen."
    return f"{came} The report tells of the same changes as before; what could not be seen is listed in it."


def _counts(told: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    states = [site["state"] for site in told]
    kinds = (*KINDS, "seen_again")
    return {
        "sites": len(told),
        **{state: states.count(state) for state in STATES},
        **{f"changes_{kind}": sum(site["counts"][kind] for site in told) for kind in kinds},
        "reports_superseded": sum(site["counts"]["superseded"] for site in told),
    }


def _json(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
