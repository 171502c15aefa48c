"""The feed: one strictly ordered sequence per tenant of what became known, never skipping.

Numbers are drawn by adding to the tenant's counter inside the transaction that tells the news. The counter's row stays
locked until that transaction ends, so numbers become visible in their own order: a reader that has seen N can never
later be owed anything below N. A cursor is such a number, and therefore valid for ever.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from service.database import Database, many
from service.errors import BadCursor
from service.features import served
from service.identifiers import decode_cursor, encode_cursor
from service.moments import rfc3339
from service.tables import feed, tenants


@dataclass(frozen=True, slots=True)
class News:
    """One entry: ``kind`` is new, updated, retracted or superseded; ``body`` is the feature concerned, or None."""

    kind: str
    site: str
    report: str
    change: str
    body: str


def publish(database: Database, connection: Connection, tenant: str, news: Sequence[News]) -> None:
    """Append news to a tenant's feed within this transaction."""
    if not news:
        return
    last = connection.execute(
        update(tenants)
        .where(tenants.c.id == tenant)
        .values(feed_seq=tenants.c.feed_seq + len(news))
        .returning(tenants.c.feed_seq, database.now.label("now"))
    ).one()
    first = last.feed_seq - len(news) + 1
    rows = [
        {
            "tenant": tenant,
            "seq": first + index,
            "at": last.now,
            "kind": entry.kind,
            "site": entry.site,
            "report": entry.report,
            "change": entry.change,
            "body": entry.body,
        }
        for index, entry in enumerate(news)
    ]
    many(connection, feed.insert(), rows)


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Some of the feed: its ``entries`` as JSON, the number of the ``last``, and whether there are more behind it."""

    entries: str
    last: int
    more: bool


def number_of(cursor: str, pointer: str = "since") -> int:
    """Return the number that a cursor of the feed stands for.

    Raises
    ------
    BadCursor : none of ours, or one of another list, whose places mean nothing here
    """
    kind, seq = decode_cursor(cursor, str, int, pointer=pointer)
    if kind != "feed" or seq < 0:
        raise BadCursor("this cursor is not one of the feed; start again without it", pointer=pointer)
    return int(seq)


def check_reached(connection: Connection, tenant: str, seq: int, pointer: str = "since") -> None:
    """Refuse a cursor that the feed has not come to: what it tells next would count as known.

    Raises
    ------
    BadCursor
    """
    last = connection.execute(select(tenants.c.feed_seq).where(tenants.c.id == tenant)).scalar_one()
    if seq > last:
        raise BadCursor(
            "this cursor is ahead of the feed, as after a restore from an older backup; "
            "go on from a cursor you kept before it, or start again without one",
            pointer=pointer,
        )


def page_after(connection: Connection, tenant: str, seq: int, size: int) -> FeedPage:
    """Return up to ``size`` entries with a number above ``seq``, in order; ``last`` is ``seq`` where there is none."""
    entries = entries_after(connection, tenant, seq, size + 1)
    shown = entries[:size]
    last = shown[-1]["seq"] if shown else seq
    for entry in shown:
        entry["cursor"] = encode_cursor("feed", entry.pop("seq"))
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    return FeedPage(text, last, len(entries) > size)


def entries_after(connection: Connection, tenant: str, seq: int, limit: int) -> list[dict[str, Any]]:
    """Return up to ``limit`` entries with a number above ``seq``, in order."""
    rows = connection.execute(
        select(feed).where(feed.c.tenant == tenant, feed.c.seq > seq).order_by(feed.c.seq).limit(limit)
    )
    return [
        {
            "seq": row.seq,
            "event": row.kind,
            "time": rfc3339(row.at),
            "site": row.site,
            "report": row.report,
            "change": row.change or None,
            "feature": json.loads(served(row.body)),
        }
        for row in rows
    ]
