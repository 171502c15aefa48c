"""From a report's folder to a published report: files into the store, then every row in one transaction.

The files go first, under names made of their content. The rows go second, with the lease's fence checked: a worker
that lost its unit, or died, leaves files nobody points to and nothing else.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shapely.geometry import shape
from sqlalchemy import Connection, exists, select, update

from service.analysis_unit import BUNDLE
from service.artefacts import ArtefactStore, StoredFile
from service.database import Database, Record, many
from service.features import as_retracted, compact, last_news
from service.feed import News, publish
from service.identifiers import new_id
from service.identities import change_ids, renamed
from service.leases import Lease
from service.moments import interval
from service.tables import changes, feed, jobs, looks, report_files, reports, sites


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report whose files are in the store and whose rows are not written yet."""

    files: tuple[StoredFile, ...]
    report: Mapping[str, Any]
    changes: tuple[Mapping[str, Any], ...]
    looks: tuple[Mapping[str, Any], ...]
    content: str


def store_report(store: ArtefactStore, folder: Path) -> StoredReport:
    """Put a report's folder into the artefact store and read what the rows need.

    Raises
    ------
    NotAvailable : the store takes nothing at the moment
    """
    files = store.put_folder(folder)
    listed = "\n".join(f"{file.path} {file.sha256}" for file in files if file.path != BUNDLE)
    return StoredReport(
        tuple(files),
        json.loads((folder / "report.json").read_text("utf-8")),
        _features(folder / "changes.geojson"),
        _features(folder / "looks.geojson"),
        hashlib.sha256(listed.encode()).hexdigest(),
    )


def _features(path: Path) -> tuple[Mapping[str, Any], ...]:
    return tuple(json.loads(path.read_text("utf-8"))["features"])


def publish_report(
    database: Database, connection: Connection, lease: Lease, stored: StoredReport
) -> tuple[str, bool]:
    """Write a report with its changes, looks and news; return (report id, was it there already).

    A run that gives the very files of the current report is not published again. A reprocess makes a report that is
    not current and tells the feed nothing: promotion does that. It says all the same what the feed would have heard.
    """
    site = connection.execute(select(sites).where(sites.c.id == lease.site).with_for_update()).one()
    previous = connection.execute(select(reports).where(reports.c.id == site.current_report)).first()
    same = previous is not None and previous.content == stored.content
    if previous is not None and same and previous.geometry_version == lease.geometry_version:
        return previous.id, True
    current = lease.type != "reprocess"
    report, number = new_id("report"), site.reports + 1
    supersedes = previous.id if previous is not None and current else None
    ids = change_ids(connection, lease.tenant, lease.site, site.current_report, stored.changes)
    found = renamed(stored.changes, ids)
    news = _news(connection, lease, report, None if previous is None else previous.id, found)
    compared = None if previous is None else _compared(previous, news)
    body = _body(report, number, lease, stored, supersedes, compared, ids)
    box = (site.minx, site.miny, site.maxx, site.maxy)
    change_rows = _change_rows(lease, report, found, box, current)
    if current:
        retire(connection, lease.tenant, [lease.site])
    connection.execute(
        reports.insert().values(
            id=report,
            tenant=lease.tenant,
            site=lease.site,
            number=number,
            job=lease.job,
            unit=lease.unit,
            geometry_version=lease.geometry_version,
            processing_version=str(stored.report.get("processing_version", "")),
            current=current,
            supersedes=supersedes,
            created=database.now,
            etag=hashlib.sha256(body.encode()).hexdigest()[:32],
            widest=max((row["maxx"] - row["minx"] for row in change_rows), default=0.0),
            body=body,
            content=stored.content,
            current_since=database.now if current else None,
        )
    )
    many(
        connection,
        report_files.insert(),
        [{"report": report, "path": f.path, "sha256": f.sha256, "size": f.size} for f in stored.files],
    )
    if current:
        connection.execute(
            update(sites).where(sites.c.id == lease.site).values(reports=number, current_report=report)
        )
    else:
        connection.execute(update(sites).where(sites.c.id == lease.site).values(reports=number))
    many(connection, changes.insert(), change_rows)
    many(connection, looks.insert(), _look_rows(lease, report, stored.looks, box, current))
    # Last, because it holds the tenant's counter until the commit.
    publish(database, connection, lease.tenant, news if current else [])
    return report, False


def _compared(previous: Record, news: Sequence[News]) -> dict[str, Any]:
    """Return what a report says of the one that was current before: how many changes it tells otherwise."""
    kinds = [entry.kind for entry in news]
    counts = {kind: kinds.count(kind) for kind in ("new", "updated", "retracted")}
    return {"report": previous.id, "number": previous.number, **counts}


def _body(
    report: str,
    number: int,
    lease: Lease,
    stored: StoredReport,
    supersedes: str | None,
    compared: Mapping[str, Any] | None,
    ids: Mapping[str, str],
) -> str:
    here = f"/sites/{lease.site}/reports/{report}"
    links = [
        {"rel": "self", "href": here, "type": "application/json"},
        {"rel": "site", "href": f"/sites/{lease.site}", "type": "application/geo+json"},
        {"rel": "alternate", "href": f"{here}.html", "type": "text/html"},
        {"rel": "enclosure", "href": f"{here}/bundle.zip", "type": "application/zip"},
    ]
    if supersedes is not None:
        href = f"/sites/{lease.site}/reports/{supersedes}"
        links.append({"rel": "predecessor-version", "href": href, "type": "application/json"})
    if compared is not None:
        href = f"/comparisons/{compared['report']}..{report}"
        links.append({"rel": "comparison", "href": href, "type": "application/json"})
    files = [
        {**entry, "href": f"{here}/files/{entry['path']}"}
        for entry in stored.report.get("files", [])
        if isinstance(entry, dict) and "path" in entry
    ]
    whole = {
        **stored.report,
        "id": report,
        "number": number,
        "site_id": lease.site,
        "geometry_version": lease.geometry_version,
        "job": lease.job,
        "supersedes": supersedes,
        "compared_with": compared,
        "change_ids": {own: known for own, known in sorted(ids.items()) if own != known},
        "files": files,
        "links": links,
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def _digest(feature: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(feature, sort_keys=True).encode()).hexdigest()[:32]


def _news(
    connection: Connection,
    lease: Lease,
    report: str,
    previous: str | None,
    found: Sequence[Mapping[str, Any]],
) -> list[News]:
    """Compare a new report with what followers know of its site, change by change."""
    before: dict[str, Told] = {}
    if previous is not None:
        before = told_by(connection, [previous])[previous]
        before |= left_standing(connection, lease.tenant, {lease.site: previous})[lease.site]
    after = {str(feature["id"]): Told(_digest(feature), compact(feature)) for feature in found}
    looked = None if lease.period is None else interval(lease.period)
    return news_between(lease.site, report, previous, before, after, looked)


@dataclass(frozen=True, slots=True)
class Told:
    """A change as one report tells it; equal digests mean that it tells the same."""

    digest: str
    feature: str


def told_by(connection: Connection, wanted: Sequence[str]) -> dict[str, dict[str, Told]]:
    """Return what each of some reports tells, by change and in the report's order."""
    found: dict[str, dict[str, Told]] = {report: {} for report in wanted}
    rows = connection.execute(
        select(changes.c.report, changes.c.change, changes.c.digest, changes.c.feature)
        .where(changes.c.report.in_(wanted))
        .order_by(changes.c.report, changes.c.position)
    )
    for row in rows:
        found[row.report][row.change] = Told(row.digest, row.feature)
    return found


def left_standing(connection: Connection, tenant: str, told: Mapping[str, str]) -> dict[str, dict[str, Told]]:
    """Return what the feed has not retracted though a site's report does not tell it: it lies outside its period.

    Parameters
    ----------
    told : report by site
    """
    last = last_news(tenant, told).subquery()
    known = exists().where(changes.c.report.in_(list(told.values())), changes.c.change == feed.c.change)
    rows = connection.execute(
        select(feed.c.site, feed.c.change, feed.c.body)
        .join(last, last.c.seq == feed.c.seq)
        .where(feed.c.tenant == tenant, feed.c.kind != "retracted", ~known)
    )
    found: dict[str, dict[str, Told]] = {site: {} for site in told}
    for row in rows:
        found[row.site][row.change] = Told(_digest(json.loads(row.body)), row.body)
    return found


def periods_of(connection: Connection, wanted: Sequence[str]) -> dict[str, tuple[float, float] | None]:
    """Return which period each of some reports was asked to look at; None for all there is."""
    rows = connection.execute(select(reports.c.id, reports.c.job).where(reports.c.id.in_(wanted)))
    made_by = {row.id: row.job for row in rows}
    asked = connection.execute(select(jobs.c.id, jobs.c.request).where(jobs.c.id.in_(set(made_by.values()))))
    periods = {row.id: json.loads(row.request)["period"] for row in asked}
    return {
        report: None if periods.get(job) is None else interval(periods[job])
        for report, job in made_by.items()
    }


def news_between(
    site: str,
    report: str,
    supersedes: str | None,
    before: Mapping[str, Told],
    after: Mapping[str, Told],
    looked: tuple[float, float] | None,
) -> list[News]:
    """Return what a follower must hear when one report takes another's place.

    A report of a period says nothing of what came or went at other times, and so takes none of it back.
    """
    news = []
    for change, now in after.items():
        old = before.get(change)
        if old is None or old.digest != now.digest:
            news.append(News("new" if old is None else "updated", site, report, change, now.feature))
    for change in sorted(before.keys() - after.keys()):
        if looked is None or _began_within(before[change], looked):
            news.append(News("retracted", site, report, change, as_retracted(before[change].feature)))
    if supersedes is not None:
        told = json.dumps({"type": "report", "id": report, "supersedes": supersedes})
        news.append(News("superseded", site, report, "", told))
    return news


def _began_within(told: Told, looked: tuple[float, float]) -> bool:
    """Tell whether a run over a period had both sides of a change's onset before it."""
    properties = json.loads(told.feature)["properties"]
    return (
        looked[0] <= _seconds(properties["last_absent"]) and _seconds(properties["first_seen"]) <= looked[1]
    )


def retire(connection: Connection, tenant: str, wanted: Sequence[str]) -> None:
    """Make nothing of some sites current any more; whoever calls makes something else so."""
    for table in (changes, looks, reports):
        connection.execute(
            update(table)
            .where(table.c.tenant == tenant, table.c.current, table.c.site.in_(wanted))
            .values(current=False)
        )


def _box(feature: Mapping[str, Any], otherwise: tuple[float, float, float, float]) -> dict[str, float]:
    geometry = feature.get("geometry")
    bounds = shape(geometry).bounds if geometry else otherwise
    return dict(zip(("minx", "miny", "maxx", "maxy"), bounds or otherwise, strict=True))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _change_rows(
    lease: Lease,
    report: str,
    found: Sequence[Mapping[str, Any]],
    box: tuple[float, float, float, float],
    current: bool,
) -> list[dict[str, Any]]:
    return [
        dict(
            report=report,
            position=position,
            change=str(feature["id"]),
            tenant=lease.tenant,
            site=lease.site,
            current=current,
            change_type=feature["properties"]["change_type"],
            direction=feature["properties"]["direction"],
            status=feature["properties"]["status"],
            confidence=feature["properties"]["confidence"],
            last_absent=_seconds(feature["properties"]["last_absent"]),
            first_seen=_seconds(feature["properties"]["first_seen"]),
            feature=compact(feature),
            evidence=str(feature["properties"].get("evidence") or "").rstrip("/"),
            digest=_digest(feature),
            **_box(feature, box),
        )
        for position, feature in enumerate(found)
    ]


def _look_rows(
    lease: Lease,
    report: str,
    found: Sequence[Mapping[str, Any]],
    box: tuple[float, float, float, float],
    current: bool,
) -> list[dict[str, Any]]:
    return [
        dict(
            report=report,
            position=position,
            tenant=lease.tenant,
            site=lease.site,
            current=current,
            at=_seconds(feature["properties"]["datetime"]),
            feature=compact(feature),
            **_box(feature, box),
        )
        for position, feature in enumerate(found)
    ]
