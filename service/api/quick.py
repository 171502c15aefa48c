"""What is polled, answered before the application proper is asked.

Most requests of a running service are the same two, sent again and again: the feed after a cursor, and a site's
current report under an ETag. That nothing is new is known from the reads that judge the key; news of the feed are read
and written out once for all who wait for the same. Whatever else a poll turns out to be is handed on, with who is
asking already known.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from sqlalchemy import select
from starlette.responses import Response

from imagery.errors import DepotwatchError
from service import reports
from service.admission import Admitted
from service.api.dependencies import DEFAULT_LIMIT, JSON, address, admitted, answer, capped, unchanged
from service.context import Service
from service.database import Record
from service.features import TOLD
from service.feed import FeedPage, number_of, page_after
from service.identifiers import encode_cursor
from service.moments import http_date
from service.rounds import Rounds
from service.tables import reports as report_table
from service.tables import sites

REVALIDATE = "private, no-cache"
FEED_RETRY_S = 15
# Whatever else is asked for would spoil the round for everybody who asks for a site that may exist.
SITE_ID = re.compile(r"[\w-]{1,100}", re.ASCII)
READS_REPORTS = frozenset({"reports:read", "admin"})

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


def feed_answer(request: Request, seq: int, size: int, page: FeedPage) -> Response:
    """Return the feed's page of up to ``size`` entries after number ``seq``."""
    tag = f'"feed.{TOLD}.{seq}.{size}.{page.last}.{int(page.more)}"'
    headers = {
        "ETag": tag,
        "Cache-Control": REVALIDATE,
        "Retry-After": str(0 if page.more else FEED_RETRY_S),
    }
    if unchanged(request, tag):
        return Response(status_code=304, headers=headers)
    cursor = encode_cursor("feed", page.last)
    links = [
        {"rel": "self", "href": address(request), "type": JSON},
        {"rel": "next" if page.more else "monitor", "href": address(request, since=cursor), "type": JSON},
    ]
    rest = json.dumps({"cursor": cursor, "links": links}, ensure_ascii=False, separators=(",", ":"))
    return answer(f'{{"entries":{page.entries},{rest[1:]}', headers=headers)


def latest_headers(head: Record) -> dict[str, str]:
    """Return the headers of a site's current report."""
    return {
        "ETag": f'"{head.etag}"',
        "Last-Modified": http_date(head.created),
        "Cache-Control": REVALIDATE,
        "Content-Location": f"/sites/{head.site}/reports/{head.id}",
    }


class Quick:
    """ASGI layer; see the module."""

    def __init__(self, app: App, service: Service) -> None:
        self._app, self._service = app, service
        self._heads: Rounds[str, Record | None] = Rounds(self._read_heads, "report-heads")
        self._pages: Rounds[tuple[str, int, int], FeedPage] = Rounds(self._read_pages, "feed-pages")

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer a poll; hand everything else on."""
        found = None
        if "\x00" in scope.get("path", ""):
            # PostgreSQL takes no NUL: look for an id that exists as little.
            scope["path"] = scope["path"].replace("\x00", "\ufffd")
        if scope["type"] == "http" and scope["method"] == "GET":
            try:
                found = await self._answer(scope)
            except DepotwatchError:
                found = None  # The application says why.
        await (found or self._app)(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if path == "/changes":
            return await self._feed(Request(scope))
        start, _, end = path.removeprefix("/sites/").partition("/")
        if end == "reports/latest" and len(path) == len(f"/sites/{start}/{end}"):
            return await self._latest(Request(scope), start)
        return None

    async def _feed(self, request: Request) -> Response | None:
        asked = _plain_query(request.scope)
        if asked is None or "since" not in asked or not asked.keys() <= {"since", "limit"}:
            return None
        limit = asked.get("limit", str(DEFAULT_LIMIT))
        seq = number_of(asked["since"])
        if not limit.isdecimal() or len(limit) > 9 or int(limit) < 1:
            return None
        known = await self._admitted(request)
        if known is None or known.feed_seq is None or seq > known.feed_seq:
            return None
        size = capped(int(limit))
        page = FeedPage("[]", seq, False)
        if seq < known.feed_seq:
            page = await asyncio.wrap_future(self._pages.ask((known.caller.tenant, seq, size)))
        request.scope["route"] = SimpleNamespace(path="/changes")
        return feed_answer(request, seq, size, page)

    async def _latest(self, request: Request, site: str) -> Response | None:
        if "if-none-match" not in request.headers or not SITE_ID.fullmatch(site):
            return None
        if request.scope["query_string"]:
            return None  # It takes none; the application says so.
        asked = self._heads.ask(site)
        try:
            known = await self._admitted(request)
        finally:
            # Also where nobody is let in: who closes the service after the last answer must find no read under way.
            head = await asyncio.wrap_future(asked)
        if known is None or head is None or head.tenant != known.caller.tenant:
            return None
        headers = latest_headers(head)
        if not unchanged(request, headers["ETag"], head.created):
            return None
        request.scope["route"] = SimpleNamespace(path="/sites/{site}/reports/latest")
        return Response(status_code=304, headers=headers)

    async def _admitted(self, request: Request) -> Admitted | None:
        """Return who asks for reports; None where the application is to say why not."""
        if "authorization" not in request.headers:
            return None
        known = await admitted(request, self._service)
        return known if known.caller.scopes & READS_REPORTS else None

    def _read_pages(self, wanted: Sequence[tuple[str, int, int]]) -> list[FeedPage]:
        with self._service.database.read() as connection:
            found = {one: page_after(connection, *one) for one in dict.fromkeys(wanted)}
        return [found[one] for one in wanted]

    def _read_heads(self, wanted: Sequence[str]) -> list[Record | None]:
        statement = (
            select(sites.c.tenant, *reports.CURRENT_HEAD)
            .join(report_table, report_table.c.id == sites.c.current_report)
            .where(sites.c.id.in_(set(wanted)), sites.c.deleted.is_(None))
        )
        with self._service.database.read() as connection:
            found = {row.site: row for row in connection.execute(statement)}
        return [found.get(site) for site in wanted]


def _plain_query(scope: Scope) -> dict[str, str] | None:
    """Return the query's parameters; None where one is given twice or is not plain text."""
    try:
        pairs = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=4)
    except ValueError:
        return None
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None
