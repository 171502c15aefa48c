"""The ids a site's changes go by: an object keeps its id from report to report, whatever its report's files call it.

A report's files name a change by its class, direction, dates and place, so that equal inputs give equal bytes; a new
scene or a moved vertex may alter any of these. What the service shows, tells and keeps reviews under is the id under
which the site first told the object. A report's body maps the one to the other under ``change_ids``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from service.tables import changes, reports

# How far back an object that is not told any more is looked for, reports of the site.
EARLIER_REPORTS = 20
AT_ONCE = 1_000


def change_ids(
    connection: Connection,
    tenant: str,
    site: str,
    current: str | None,
    found: Sequence[Mapping[str, Any]],
) -> dict[str, str]:
    """Return the id each change of a new report goes by, by the id its files give it.

    ``current`` is the site's current report, None before the first. Ids are unique within the tenant, so that two
    sites that overlap do not share reviews.
    """
    from pipelines.matching import read_features, stable_ids  # heavy, and the API never gets here

    told = _told(connection, select(changes.c.feature).where(changes.c.report == current)) if current else []
    gone = _earlier(connection, tenant, site, current)
    new, old, earlier = read_features(found, told, gone)
    taken = _borne(connection, tenant, [change.id for change in new])
    return stable_ids(new, old, earlier, taken)


def renamed(found: Iterable[Mapping[str, Any]], ids: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    """Return features under the ids they go by; evidence stays where the files have it."""
    return tuple(_renamed(feature, ids[str(feature["id"])]) for feature in found)


def _renamed(feature: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if feature["id"] == name:
        return feature
    return {**feature, "id": name, "properties": {**feature["properties"], "id": name}}


def _told(connection: Connection, statement: Any) -> list[dict[str, Any]]:
    return [json.loads(text) for text in connection.execute(statement).scalars()]


def _earlier(connection: Connection, tenant: str, site: str, current: str | None) -> list[dict[str, Any]]:
    """Return each change that only the site's other late reports tell, as the last of them tells it."""
    newest = select(func.max(reports.c.number)).where(reports.c.site == site).scalar_subquery()
    last = (
        select(changes.c.change, func.max(reports.c.number).label("number"))
        .join(reports, reports.c.id == changes.c.report)
        .where(
            reports.c.site == site,
            reports.c.tenant == tenant,
            reports.c.number > newest - EARLIER_REPORTS,
            changes.c.change.not_in(select(changes.c.change).where(changes.c.report == (current or ""))),
        )
        .group_by(changes.c.change)
        .subquery()
    )
    return _told(
        connection,
        select(changes.c.feature)
        .join(reports, reports.c.id == changes.c.report)
        .join(last, (last.c.change == changes.c.change) & (last.c.number == reports.c.number))
        .where(reports.c.site == site)
        .order_by(changes.c.change),
    )


def _borne(connection: Connection, tenant: str, wanted: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        found |= set(
            connection.execute(
                select(changes.c.change)
                .where(changes.c.tenant == tenant, changes.c.change.in_(some))
                .distinct()
            ).scalars()
        )
    return found
