"""Changes as HTTP tells them: what a report's files say, with an address for its evidence and the end it came to.

Rows and news keep a feature as its report has it, so that a later version of this module is no news to anybody.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Subquery, cast, func, select, union_all

from imagery.changes import Status
from service.changes import ChangeFilter
from service.database import Record, Statement
from service.tables import changes, feed, reports

# Raised whenever the same row is told otherwise than before, so that no ETag names two answers.
TOLD = 2
# Behind the last position that a report can have: what was retracted is listed after what stands.
BEHIND = 2**32
# In the compact JSON of our own rows a quoted name before a colon is a member: within text, quotes are escaped.
EVIDENCE, ID = re.compile('"evidence":"[^"]+"'), re.compile('"id":"([^"]+)"')


def served(feature: str) -> str:
    """Return a feature whose evidence is named by its address; a report's files name the folder beside them."""
    named = ID.search(feature)
    if named is None:
        return feature
    return EVIDENCE.sub(f'"evidence":"/changes/{named[1]}/provenance"', feature)


def told(row: Record) -> str:
    """Return the feature of a row of ``with_retracted``, or of one report's changes."""
    return as_retracted(row.feature) if row.position >= BEHIND else str(row.feature)


def as_retracted(feature: str) -> str:
    """Return a feature with the status that it has once a later run no longer supports it."""
    whole: dict[str, Any] = json.loads(feature)
    whole["properties"]["status"] = Status.RETRACTED.value
    return compact(whole)


def compact(feature: Mapping[str, Any]) -> str:
    """Return a feature as rows and news keep it."""
    return json.dumps(feature, ensure_ascii=False, separators=(",", ":"))


def is_retracted(connection: Connection, change: Record) -> bool:
    """Tell whether the last that followers heard of a change is that it was retracted; ``change`` is a row of it.

    That no current report tells it is not enough: a report of a period leaves standing what lies outside it.
    """
    mine = (feed.c.tenant == change.tenant) & (feed.c.site == change.site) & (feed.c.change == change.change)
    last = select(feed.c.kind).where(mine).order_by(feed.c.seq.desc()).limit(1)
    return connection.execute(last).scalar() == "retracted"


def last_news(tenant: str, wanted: Iterable[str] | None) -> Statement:
    """Return the number of the last news of each change: of some sites, or of all the tenant's."""
    mine = (feed.c.tenant == tenant) & (feed.c.change != "")
    if wanted is not None:
        mine &= feed.c.site.in_(list(wanted))
    return select(func.max(feed.c.seq).label("seq")).where(mine).group_by(feed.c.site, feed.c.change)


def with_retracted(
    stands: ColumnElement[bool], wanted: ChangeFilter, tenant: str, site: str | None
) -> Subquery:
    """Return the changes that fit a filter as site, position and feature: those that stand, then the retracted.

    Parameters
    ----------
    stands : condition on ``changes`` of what the reports in question tell
    site : the only one whose retracted changes are wanted; None for all the tenant's
    """
    position = cast(changes.c.position, BigInteger).label("position")
    standing = select(changes.c.site, position, changes.c.feature).where(stands)
    gone = replace(wanted, statuses=()).apply(_retracted(tenant, site))
    return union_all(wanted.apply(standing), gone).subquery()


def _retracted(tenant: str, site: str | None) -> Statement:
    """Return retracted changes in the order in which they were, each as the last report that was current told it."""
    earlier = changes.alias()
    last_report = (
        select(reports.c.id)
        .join(earlier, earlier.c.report == reports.c.id)
        .where(earlier.c.tenant == tenant, earlier.c.change == feed.c.change)
        .order_by(reports.c.current_since.is_(None), reports.c.number.desc())
        .limit(1)
        .correlate(feed)
        .scalar_subquery()
    )
    last = last_news(tenant, None if site is None else [site])
    position = (feed.c.seq + BEHIND).label("position")
    return (
        select(changes.c.site, position, changes.c.feature)
        .select_from(feed)
        .join(changes, (changes.c.report == last_report) & (changes.c.change == feed.c.change))
        .where(feed.c.tenant == tenant, feed.c.kind == "retracted", feed.c.seq.in_(last))
    )
