"""A reprocess's reports made the current ones, all in one transaction, and taken back the same way.

What followers hear is what they would have heard had the reports been published one after the other: new, updated and
retracted changes, and which report took the place of which. A site's parameters become the job's, because the next
scene would otherwise bring the old ones back without anybody having said so.

Refused is what would take from users what they were shown: looks that the current report saw and the job did not, or a
report of an outline the site no longer has. ``force`` does it all the same.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from imagery.errors import DepotwatchError
from service.audit import Caller, record
from service.database import Database, Record, many
from service.errors import NotFound
from service.feed import News, publish
from service.jobs import ENDED, find_job
from service.moments import rfc3339, rfc3339_or_none
from service.problems import ManyErrors
from service.publishing import Told, left_standing, news_between, periods_of, retire, told_by
from service.tables import changes, jobs, looks, promoted_sites, promotions, reports, sites, units

# Sites handled by one statement: a batch of thousands is a few hundred statements, and no list is too long for SQL.
AT_ONCE = 200
NAMED = 20


class NotPromotable(DepotwatchError):
    """A job that is no reprocess, has not ended, or left no report."""

    code = "not-promotable"


class WouldLose(ManyErrors):
    """Promotion would take looks or an outline from a current report that the job's reports do not have."""

    code = "would-lose-newer"

    def __init__(self, faults: Sequence[tuple[str, str, str]]) -> None:
        super().__init__(faults[:NAMED])
        if len(faults) > 1:
            self.detail = f"{len(faults)} sites would lose what users were shown; {faults[0][2]}"


@dataclass(frozen=True, slots=True)
class Swap:
    """One site's change of its current report; None is no report at all."""

    site: str
    old: str | None
    new: str | None


def promote(
    database: Database, connection: Connection, caller: Caller, job: str, *, force: bool = False
) -> dict[str, Any]:
    """Make a job's reports current within this transaction; again is no error. Return what became of its sites.

    Raises
    ------
    NotFound : no such job, or another tenant's
    NotPromotable : it is no reprocess that ended with a report
    WouldLose : the current reports of some sites know what the job's do not, unless ``force``
    """
    row = _locked(connection, caller.tenant, job)
    if row.promoted is not None:
        return describe(connection, job)
    made = _reports_of(connection, row)
    found = _sites(connection, caller.tenant, list(made))
    moving = {site: made[site] for site, held in found.items() if held.current_report != made[site].id}
    faults = list(_losses(connection, found, moving))
    if faults and not force:
        raise WouldLose(faults)
    asked = json.loads(row.request)["parameters"]
    swaps = [Swap(site, found[site].current_report, report.id) for site, report in moving.items()]
    adopted = {site: _with(found[site], asked) for site in moving}
    counts = {
        "promoted": len(swaps),
        "unchanged": len(found) - len(swaps),
        "without_report": row.total - len(made),
        "deleted": len(made) - len(found),
    }
    promotion = connection.execute(
        promotions.insert()
        .values(
            tenant=caller.tenant,
            job=job,
            at=database.now,
            forced=bool(faults),
            counts=json.dumps(counts),
        )
        .returning(promotions.c.id)
    ).scalar_one()
    many(
        connection,
        promoted_sites.insert(),
        [_kept(promotion, s, found[s.site], adopted[s.site]) for s in swaps],
    )
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job)
        .values(promoted=database.now, updated=database.now, revision=jobs.c.revision + 1)
    )
    record(database, connection, caller, "job.promote", job)
    _set_parameters(database, connection, found, adopted)
    _swap(database, connection, caller.tenant, swaps, supersede=True)
    return describe(connection, job)


def undo(database: Database, connection: Connection, caller: Caller, job: str) -> dict[str, Any]:
    """Take a promotion back within this transaction; again is no error.

    A site that has had a newer report since keeps it: what is current there is not what the promotion made. Only its
    parameters go back, unless somebody set others, so that its next report is made as before.

    Raises
    ------
    NotFound : no such job, or one that was never promoted
    """
    row = _locked(connection, caller.tenant, job)
    if row.promoted is None:
        return describe(connection, job)
    last = connection.execute(
        select(promotions)
        .where(promotions.c.job == job, promotions.c.undone.is_(None))
        .order_by(promotions.c.id.desc())
        .limit(1)
    ).one()
    kept = connection.execute(
        select(promoted_sites).where(promoted_sites.c.promotion == last.id).order_by(promoted_sites.c.site)
    ).all()
    found = _sites(connection, caller.tenant, [entry.site for entry in kept])
    swaps = [
        Swap(entry.site, entry.report, entry.previous)
        for entry in kept
        if entry.site in found and found[entry.site].current_report == entry.report
    ]
    restored = {
        entry.site: str(entry.parameters_before)
        for entry in kept
        if entry.site in found and found[entry.site].parameters == entry.parameters_after
    }
    counts = {**json.loads(last.counts), "taken_back": len(swaps), "newer_since": len(kept) - len(swaps)}
    connection.execute(
        update(promotions)
        .where(promotions.c.id == last.id)
        .values(undone=database.now, counts=json.dumps(counts))
    )
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job)
        .values(promoted=None, updated=database.now, revision=jobs.c.revision + 1)
    )
    record(database, connection, caller, "job.demote", job)
    _set_parameters(database, connection, found, restored)
    _swap(database, connection, caller.tenant, swaps, supersede=False)
    return describe(connection, job)


def describe(connection: Connection, job: str) -> dict[str, Any]:
    """Return a job's last promotion as HTTP shows it.

    Raises
    ------
    NotFound : it was never promoted
    """
    row = connection.execute(
        select(promotions).where(promotions.c.job == job).order_by(promotions.c.id.desc()).limit(1)
    ).first()
    if row is None:
        raise NotFound("this job was never promoted")
    return {
        "job": job,
        "state": "promoted" if row.undone is None else "undone",
        "promoted": rfc3339(row.at),
        "undone": rfc3339_or_none(row.undone),
        "forced": bool(row.forced),
        "sites": json.loads(row.counts),
        "links": [
            {"rel": "self", "href": f"/jobs/{job}/promote", "type": "application/json"},
            {"rel": "up", "href": f"/jobs/{job}", "type": "application/json"},
            {"rel": "results", "href": f"/jobs/{job}/results", "type": "application/json"},
        ],
    }


def _locked(connection: Connection, tenant: str, job: str) -> Record:
    """Return the job with its row locked: of two promotions at once the second finds the first done."""
    find_job(connection, tenant, job)
    return connection.execute(select(jobs).where(jobs.c.id == job).with_for_update()).one()


def _chunks(wanted: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(wanted), AT_ONCE):
        yield wanted[start : start + AT_ONCE]


def _reports_of(connection: Connection, job: Record) -> dict[str, Record]:
    """Return a job's reports by site."""
    if job.type != "reprocess":
        raise NotPromotable(
            f"only a reprocess is promoted; the reports of a job of type {job.type} are current already"
        )
    if job.state not in ENDED:
        raise NotPromotable(f"the job is {job.state}; promote it once it has ended")
    rows = connection.execute(
        select(units.c.site, reports.c.id, reports.c.geometry_version)
        .join(reports, reports.c.id == units.c.report)
        .where(units.c.job == job.id)
        .order_by(units.c.site)
    ).all()
    if not rows:
        raise NotPromotable("the job left no report; its log says why")
    return {row.site: row for row in rows}


def _sites(connection: Connection, tenant: str, wanted: Sequence[str]) -> dict[str, Record]:
    """Return living sites by id, locked in the order of their ids."""
    found: dict[str, Record] = {}
    for some in _chunks(sorted(wanted)):
        rows = connection.execute(
            select(sites)
            .where(sites.c.tenant == tenant, sites.c.id.in_(some), sites.c.deleted.is_(None))
            .order_by(sites.c.id)
            .with_for_update()
        )
        found |= {row.id: row for row in rows}
    return found


def _losses(
    connection: Connection, found: Mapping[str, Record], moving: Mapping[str, Record]
) -> Iterator[tuple[str, str, str]]:
    """Yield what users would lose, per site: looks only the current report has, an outline only it was made for."""
    for some in _chunks(list(moving)):
        pairs = [(site, found[site].current_report, moving[site].id) for site in some]
        seen = _look_times(connection, [r for _, old, new in pairs for r in (old, new) if r is not None])
        for site, old, new in pairs:
            if found[site].geometry_version != moving[site].geometry_version:
                yield _fault(site, "its outline was changed after the job was made; reprocess it again")
            elif old is not None and (lost := seen[old] - seen[new]):
                yield _fault(
                    site,
                    f"its current report saw {lost.total()} looks that the job did not, the latest of "
                    f"{rfc3339(max(lost))}; reprocess it again over the whole period",
                )


def _fault(site: str, why: str) -> tuple[str, str, str]:
    return f"/sites/{site}", WouldLose.code, f"{site}: {why}, or send force=true"


def _look_times(connection: Connection, wanted: Sequence[str]) -> dict[str, Counter[float]]:
    """Return when the looks of some reports were taken: enough to see that one is missing."""
    times: dict[str, Counter[float]] = {report: Counter() for report in wanted}
    for row in connection.execute(select(looks.c.report, looks.c.at).where(looks.c.report.in_(wanted))):
        times[row.report][row.at] += 1
    return times


def _with(site: Record, asked: Mapping[str, Any]) -> str:
    merged = {**json.loads(site.parameters), **asked}
    return str(site.parameters) if merged == json.loads(site.parameters) else json.dumps(merged)


def _kept(promotion: int, swap: Swap, site: Record, parameters: str) -> dict[str, Any]:
    return {
        "promotion": promotion,
        "tenant": site.tenant,
        "site": swap.site,
        "report": swap.new,
        "previous": swap.old,
        "parameters_before": site.parameters,
        "parameters_after": parameters,
    }


def _set_parameters(
    database: Database, connection: Connection, found: Mapping[str, Record], wanted: Mapping[str, str]
) -> None:
    changed = {site: text for site, text in wanted.items() if text != found[site].parameters}
    many(
        connection,
        update(sites)
        .where(sites.c.id == bindparam("which"))
        .values(parameters=bindparam("wanted"), version=sites.c.version + 1, updated=database.now),
        [{"which": site, "wanted": text} for site, text in changed.items()],
    )


def _swap(
    database: Database, connection: Connection, tenant: str, swaps: Sequence[Swap], *, supersede: bool
) -> None:
    """Put new reports in the place of old ones and tell the feed, last because it holds the tenant's counter."""
    news: list[News] = []
    for start in range(0, len(swaps), AT_ONCE):
        some = swaps[start : start + AT_ONCE]
        told = told_by(connection, [r for swap in some for r in (swap.old, swap.new) if r is not None])
        left = left_standing(
            connection, tenant, {swap.site: swap.old for swap in some if swap.old is not None}
        )
        looked = periods_of(connection, [swap.new for swap in some if swap.new is not None])
        for swap in some:
            before = told[swap.old] | left[swap.site] if swap.old is not None else {}
            news += _news(swap, before, told, looked)
        retire(connection, tenant, [swap.site for swap in some])
        raised = [swap.new for swap in some if swap.new is not None]
        for table in (changes, looks):
            connection.execute(update(table).where(table.c.report.in_(raised)).values(current=True))
        connection.execute(
            update(reports).where(reports.c.id.in_(raised)).values(current=True, current_since=database.now)
        )
        # A report that was taken back supersedes nothing.
        linked = [
            {"which": swap.new, "what": swap.old} if supersede else {"which": swap.old, "what": None}
            for swap in some
        ]
        many(
            connection,
            update(reports).where(reports.c.id == bindparam("which")).values(supersedes=bindparam("what")),
            linked,
        )
        many(
            connection,
            update(sites).where(sites.c.id == bindparam("which")).values(current_report=bindparam("report")),
            [{"which": swap.site, "report": swap.new} for swap in some],
        )
    publish(database, connection, tenant, news)


def _news(
    swap: Swap,
    before: Mapping[str, Told],
    told: Mapping[str, Mapping[str, Told]],
    looked: Mapping[str, tuple[float, float] | None],
) -> list[News]:
    if swap.new is None:
        # Where a site is left without a report, the news point to the one that was taken back.
        return news_between(swap.site, str(swap.old), None, before, {}, None)
    return news_between(swap.site, swap.new, swap.old, before, told[swap.new], looked[swap.new])
