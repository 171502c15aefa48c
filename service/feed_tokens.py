"""Tokens for feed readers, which can send no header: each opens one site's feed and nothing else, until it is revoked.

A token reads ``dwf_<id>_<secret>``. As with keys, the id finds the row and only a keyed digest of the secret is kept.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select, update

from service.audit import Caller
from service.database import Database, Record
from service.errors import LimitReached, NotFound, Unauthorised
from service.moments import rfc3339, rfc3339_or_none
from service.tables import feed_tokens, sites

MOST_PER_SITE = 50
TOKEN = re.compile(r"dwf_(?P<id>[0-9a-f]{16})_(?P<secret>[A-Za-z0-9_-]{1,100})")


def _digest(secret: str, key: bytes) -> str:
    return hashlib.blake2b(secret.encode(), key=key, digest_size=32, person=b"feed-token").hexdigest()


def create_token(
    database: Database, connection: Connection, caller: Caller, key: bytes, site: Record, note: str
) -> tuple[Record, str]:
    """Make a token for a site; return its row and the token, which can be read only now.

    Raises
    ------
    LimitReached
    """
    mine = (feed_tokens.c.site == site.id) & feed_tokens.c.revoked.is_(None)
    have = connection.execute(select(func.count()).select_from(feed_tokens).where(mine)).scalar_one()
    if have >= MOST_PER_SITE:
        raise LimitReached(f"a site has at most {MOST_PER_SITE} feed tokens; revoke some first")
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    row = connection.execute(
        feed_tokens.insert()
        .values(
            id=token_id,
            tenant=caller.tenant,
            site=site.id,
            digest=_digest(secret, key),
            note=note,
            created=database.now,
        )
        .returning(feed_tokens)
    ).one()
    return row, f"dwf_{token_id}_{secret}"


def list_tokens(
    connection: Connection, tenant: str, site: str, *, after: tuple[float, str] | None, limit: int
) -> Sequence[Record]:
    """Return a site's tokens, oldest first; ``after`` is (created, id). Revoked ones stay on the list."""
    statement = select(feed_tokens).where(feed_tokens.c.tenant == tenant, feed_tokens.c.site == site)
    if after is not None:
        created, token = after
        statement = statement.where(
            (feed_tokens.c.created > created)
            | ((feed_tokens.c.created == created) & (feed_tokens.c.id > token))
        )
    return connection.execute(statement.order_by(feed_tokens.c.created, feed_tokens.c.id).limit(limit)).all()


def revoke_token(database: Database, connection: Connection, tenant: str, site: str, token: str) -> None:
    """Revoke a token by its id; once more changes nothing.

    Raises
    ------
    NotFound
    """
    mine = (feed_tokens.c.id == token) & (feed_tokens.c.tenant == tenant) & (feed_tokens.c.site == site)
    if connection.execute(select(feed_tokens.c.id).where(mine)).first() is None:
        raise NotFound("there is no such feed token")
    connection.execute(
        update(feed_tokens).where(mine, feed_tokens.c.revoked.is_(None)).values(revoked=database.now)
    )


def site_of_token(connection: Connection, key: bytes, site: str, token: str) -> Record:
    """Return the site that a token opens.

    Raises
    ------
    Unauthorised : no such token, or one that was revoked
    NotFound : a token of another site, or the site is gone
    """
    read = TOKEN.fullmatch(token)
    row = None
    if read is not None:
        row = connection.execute(select(feed_tokens).where(feed_tokens.c.id == read["id"])).first()
    known = row.digest if row is not None else ""
    right = read is not None and hmac.compare_digest(_digest(read["secret"], key), known)
    if row is None or not right or row.revoked is not None:
        raise Unauthorised("this feed token is not (or no longer) valid; make another for this site")
    found = connection.execute(
        select(sites).where(
            sites.c.id == site,
            sites.c.id == row.site,
            sites.c.tenant == row.tenant,
            sites.c.deleted.is_(None),
        )
    ).first()
    if found is None:
        raise NotFound("there is no such site")
    return found


def describe(row: Record) -> dict[str, Any]:
    """Return a token as HTTP shows it, without the token."""
    here = f"/sites/{row.site}/feed-tokens/{row.id}"
    return {
        "id": row.id,
        "site": row.site,
        "note": row.note,
        "created": rfc3339(row.created),
        "revoked": rfc3339_or_none(row.revoked),
        "links": [
            {"rel": "self", "href": here, "type": "application/json"},
            {"rel": "site", "href": f"/sites/{row.site}", "type": "application/geo+json"},
        ],
    }
