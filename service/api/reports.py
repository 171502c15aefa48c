"""``/sites/{site}/reports`` and what else a site's reports tell: changes, looks, timeline."""

import base64
import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection, func, select
from starlette.responses import Response, StreamingResponse

from imagery.changes import ObjectClass, Status
from pipelines.page_policy import style_sources
from service import reports
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    GEOJSON,
    JSON,
    UNCHANGED,
    Cursor,
    Limit,
    ReportsReader,
    ServiceOf,
    address,
    answer,
    bbox_of,
    capped,
    interval_of,
    next_link,
    stored,
    unchanged,
    words_of,
)
from service.api.quick import REVALIDATE, latest_headers
from service.artefacts import media_type
from service.atom import news_count
from service.changes import ChangeFilter, feature_collection, of_report
from service.context import Service
from service.database import Record
from service.errors import BadQuery, NotFound, RangeNotSatisfiable
from service.exports import export, gather
from service.features import TOLD, served, told, with_retracted
from service.identifiers import decode_cursor, encode_cursor
from service.moments import http_date
from service.sites import find_site
from service.tables import changes, looks
from service.tables import reports as report_table

router = APIRouter(prefix="/sites/{site}", tags=["reports"])

IMMUTABLE = "private, max-age=31536000, immutable"
# In the first so many bytes of a page its style stands whole.
HEAD_BYTES = 64 * 1024
MAX_EXPORT = 500_000
Format = Literal["geojson", "csv", "kmz", "gpkg", "parquet"]


@router.get("/reports", responses={**UNCHANGED, 200: {"model": schemas.Listing}})
def get_reports(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    site: str,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List a site's reports, newest first."""
    before = decode_cursor(cursor, int)[0] if cursor is not None else 2**31 - 1
    size = capped(limit)
    with service.database.read() as connection:
        find_site(connection, caller.tenant, site)
        rows = reports.list_reports(connection, site, min(before, 2**31 - 1), size + 1)
        modified = _last_modified(connection, site)
    links = [{"rel": "self", "href": address(request), "type": JSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(rows[size - 1].number)))
    told = {"reports": [reports.describe(row) for row in rows[:size]], "links": links}
    text = json.dumps(told, separators=(",", ":"))
    headers = {"ETag": f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"', "Cache-Control": REVALIDATE}
    if modified is not None:
        headers["Last-Modified"] = http_date(modified)
    # By the ETag alone: that a site's only report is not the current one any more has no date.
    if unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return answer(text, headers=headers)


def _last_modified(connection: Connection, site: str) -> float | None:
    """Return when a site's list of reports last changed: one was made, or became the current one."""
    newest = func.max(func.coalesce(report_table.c.current_since, report_table.c.created))
    return connection.execute(select(newest).where(report_table.c.site == site)).scalar()


@router.get("/reports/latest", responses={**UNCHANGED, 200: {"model": schemas.Report}})
def get_latest(request: Request, service: ServiceOf, caller: ReportsReader, site: str) -> Response:
    """Return the current report; poll it with `If-None-Match`."""
    with service.database.read() as connection:
        head = reports.latest(connection, caller.tenant, site)
        headers = latest_headers(head)
        if unchanged(request, headers["ETag"], head.created):
            return Response(status_code=304, headers=headers)
        return answer(reports.body(connection, head.id), headers=headers)


@router.get("/reports/{report}.html", responses=stored("text/html"))
def get_page(request: Request, service: ServiceOf, caller: ReportsReader, site: str, report: str) -> Response:
    """Return the report as one page to read and print."""
    return _report_file(request, service, caller.tenant, site, report, "report.html")


@router.get("/reports/{report}/bundle.zip", responses=stored("application/zip"))
def get_bundle(
    request: Request, service: ServiceOf, caller: ReportsReader, site: str, report: str
) -> Response:
    """Return the evidence bundle; takes `Range`."""
    return _report_file(request, service, caller.tenant, site, report, "bundle.zip")


@router.get("/reports/{report}/files/{path:path}", responses=stored("*/*"))
def get_file(
    request: Request, service: ServiceOf, caller: ReportsReader, site: str, report: str, path: str
) -> Response:
    """Return any file the report lists; takes `Range`."""
    return _report_file(request, service, caller.tenant, site, report, path)


@router.get("/reports/{report}", responses={**UNCHANGED, 200: {"model": schemas.Report}})
def get_report(
    request: Request, service: ServiceOf, caller: ReportsReader, site: str, report: str
) -> Response:
    """Return one report by id or number; it never changes."""
    with service.database.read() as connection:
        head = reports.numbered(connection, caller.tenant, site, report)
        headers = _report_headers(head, IMMUTABLE)
        if unchanged(request, headers["ETag"], head.created):
            return Response(status_code=304, headers=headers)
        return answer(reports.body(connection, head.id), headers=headers)


def _report_headers(head: Record, cache: str) -> dict[str, str]:
    return {
        "ETag": f'"{head.etag}"',
        "Last-Modified": http_date(head.created),
        "Cache-Control": cache,
    }


def _report_file(
    request: Request, service: Service, tenant: str, site: str, report: str, path: str
) -> Response:
    with service.database.read() as connection:
        if report == "latest":
            head, cache = reports.latest(connection, tenant, site), REVALIDATE
        else:
            head, cache = reports.numbered(connection, tenant, site, report), IMMUTABLE
        if "\x00" in path:
            raise NotFound("the report has no such file")
        file = reports.file_of(connection, head.id, path)
    return blob_answer(request, service, file.path, file.sha256, file.size, head.created, cache)


def blob_answer(
    request: Request, service: Service, path: str, digest: str, size: int, modified: float, cache: str
) -> Response:
    """Return a stored file, whole or the part of it that ``Range`` asks for."""
    headers = {
        "ETag": f'"{digest[:32]}"',
        "Last-Modified": http_date(modified),
        "Cache-Control": cache,
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:",
    }
    if not path.endswith(".html"):
        headers["Content-Disposition"] = f'inline; filename="{Path(path).name}"'
    if unchanged(request, headers["ETag"], modified):
        return Response(status_code=304, headers=headers)
    if path.endswith(".html"):
        head = b"".join(service.store.stream(digest, 0, min(size, HEAD_BYTES)))
        headers["Content-Security-Policy"] = page_policy(head)
    start, stop = 0, size
    status = 200
    asked = request.headers.get("range")
    if asked is not None and request.headers.get("if-range", headers["ETag"]) == headers["ETag"]:
        part = byte_range(asked, size)
        if part is not None:
            start, stop = part
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    if size <= 4 * 2**20:
        data = service.store.get(digest)[start:stop]
        return Response(data, status, headers, media_type(path))
    headers["Content-Length"] = str(stop - start)
    return StreamingResponse(
        service.store.stream(digest, start, stop), status, headers=headers, media_type=media_type(path)
    )


def page_policy(head: bytes) -> str:
    """Return what a page of ours may do, from its beginning: a document of its own, it reaches nothing else."""
    return (
        f"default-src 'none'; img-src data:; style-src {style_sources(head)}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    )


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """Return (start, stop) of a single byte range; None where the header is to be ignored.

    Raises
    ------
    RangeNotSatisfiable : a range that begins behind the end
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", text.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        length = min(int(last), size)
        if length == 0:
            raise RangeNotSatisfiable(f"the file has {size} bytes", size=size)
        return size - length, size
    start, stop = int(first), min(int(last) + 1 if last else size, size)
    if start >= size:
        raise RangeNotSatisfiable(f"the file has {size} bytes; the range begins behind them", size=size)
    return (start, stop) if start < stop else None


@router.get(
    "/changes",
    tags=["changes"],
    responses={
        **UNCHANGED,
        200: {
            "content": {
                GEOJSON: {"schema": {"type": "object"}},
                **{media_type(f"changes.{f}").partition(";")[0]: {} for f in get_args(Format)[1:]},
            },
            "description": "changes",
        },
    },
)
def get_changes(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    site: str,
    class_: Annotated[str | None, Query(alias="class", description="comma-separated")] = None,
    direction: Annotated[str | None, Query(description="appeared, removed")] = None,
    status: Annotated[str | None, Query(description="comma-separated")] = None,
    min_confidence: Annotated[float | None, Query(ge=0, le=1)] = None,
    datetime: Annotated[str | None, Query(description="time or interval that meets the onset")] = None,
    bbox: Annotated[str | None, Query(description="west,south,east,north")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    f: Annotated[Format, Query(description="exports hold all that match, not a page")] = "geojson",
    whole: Annotated[bool, Query(description="GeoJSON too holds all that match, not a page")] = False,
) -> Response:
    """Return the changes of the latest report; `status=retracted` adds those that a later run no longer supports."""
    wanted = ChangeFilter(
        words_of(class_, ObjectClass, "class"),
        words_of(direction, ("appeared", "removed"), "direction"),
        words_of(status, Status, "status"),
        min_confidence,
        interval_of(datetime),
        bbox_of(bbox),
    )
    after = decode_cursor(cursor, str, int) if cursor is not None else None
    exported = whole or f != "geojson"
    size = MAX_EXPORT if exported else capped(limit)
    with service.database.read() as connection:
        head = reports.latest(connection, caller.tenant, site)
        report = head.id
        if after is not None and after[0] != report:
            # A newer report came while the client was paging: it goes on in the one it began with.
            head = reports.numbered(connection, caller.tenant, site, after[0])
            report = head.id
        headers = _report_headers(head, REVALIDATE)
        headers["ETag"] = f'"{head.etag}.{_query_mark(request)}"'
        if Status.RETRACTED in wanted.statuses:
            # An earlier report may become current again, and then other changes are retracted than before.
            news = news_count(connection, caller.tenant, site)
            headers["ETag"] = f'"{head.etag}.{_query_mark(request)}.{news}"'
        if unchanged(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        rows = _changes_of(connection, caller.tenant, head, wanted, after[1] if after else -1, size + 1)
        if exported and len(rows) > MAX_EXPORT:
            raise BadQuery(f"more than {MAX_EXPORT:,} changes match; narrow them by bbox or datetime")
        # A KMZ takes the pictures into itself, from where the report's files have them.
        features = [told(row) if f == "kmz" else served(told(row)) for row in rows]
        held = None if f == "geojson" else gather(connection, report, [json.loads(t) for t in features], f)
    if exported:
        headers["Content-Disposition"] = f'attachment; filename="changes.{f}"'
    if held is not None:
        return Response(export(service.store, held, f), 200, headers, media_type(f"changes.{f}"))
    links = [{"rel": "self", "href": address(request), "type": GEOJSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(report, rows[size - 1].position), media=GEOJSON))
    members = (
        f',"report":{json.dumps(report)},"numberReturned":{min(len(rows), size)},"links":{json.dumps(links)}'
    )
    return answer(feature_collection(features[:size], members), media=GEOJSON, headers=headers)


def _changes_of(
    connection: Connection, tenant: str, head: Record, wanted: ChangeFilter, after: int, limit: int
) -> Sequence[Record]:
    """Return (position, feature) of a report's changes after a position, and behind them what was retracted if asked."""
    if Status.RETRACTED not in wanted.statuses:
        return of_report(connection, head.id, wanted, after, limit)
    table = with_retracted(changes.c.report == head.id, wanted, tenant, head.site)
    statement = select(table.c.position, table.c.feature).where(table.c.position > after)
    return connection.execute(statement.order_by(table.c.position).limit(limit)).all()


def _query_mark(request: Request) -> str:
    return hashlib.sha256(f"{TOLD} {address(request)}".encode()).hexdigest()[:12]


@router.get("/looks", tags=["looks"], responses={**UNCHANGED, 200: {"model": schemas.FeatureCollection}})
def get_looks(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    site: str,
    datetime: Annotated[str | None, Query()] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Return per scene how much of the site it showed, and why not where not."""
    after = decode_cursor(cursor, str, int) if cursor is not None else None
    span, size = interval_of(datetime), capped(limit)
    with service.database.read() as connection:
        head = reports.latest(connection, caller.tenant, site)
        if after is not None and after[0] != head.id:
            head = reports.numbered(connection, caller.tenant, site, after[0])
        headers = _report_headers(head, REVALIDATE)
        headers["ETag"] = f'"{head.etag}.{_query_mark(request)}"'
        if unchanged(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        statement = select(looks.c.position, looks.c.feature).where(
            looks.c.report == head.id, looks.c.position > (after[1] if after else -1)
        )
        if span is not None:
            statement = statement.where(looks.c.at >= span[0], looks.c.at <= span[1])
        rows = connection.execute(statement.order_by(looks.c.position).limit(size + 1)).all()
    links = [{"rel": "self", "href": address(request), "type": GEOJSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(head.id, rows[size - 1].position), media=GEOJSON))
    members = (
        f',"report":{json.dumps(head.id)},"numberReturned":{min(len(rows), size)},"links":{json.dumps(links)}'
    )
    return answer(
        feature_collection([r.feature for r in rows[:size]], members), media=GEOJSON, headers=headers
    )


NUMBERS = frozenset(
    {"usable_fraction", "count", "count_low", "count_high", "area_m2", "area_m2_low", "area_m2_high"}
    | {"appeared", "removed"}
)


@router.get(
    "/timeline",
    responses={
        **UNCHANGED,
        200: {"content": {JSON: {"schema": {"type": "object"}}, "text/csv": {}}, "description": "series"},
    },
)
def get_timeline(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    site: str,
    f: Annotated[Literal["json", "csv"], Query()] = "json",
) -> Response:
    """Return per look and class what stood there; a look that showed nothing is a gap with its reason."""
    with service.database.read() as connection:
        head = reports.latest(connection, caller.tenant, site)
        file = reports.file_of(connection, head.id, "timeline.csv")
    headers = _report_headers(head, REVALIDATE)
    headers["ETag"] = f'"{head.etag}.{f}"'
    if unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    data = service.store.get(file.sha256)
    if f == "csv":
        return Response(data, 200, headers, "text/csv; charset=utf-8")
    points = [
        {name: _number(name, value) for name, value in row.items()}
        for row in csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""))
    ]
    return answer({"site": site, "report": head.id, "points": points}, headers=headers)


def _number(name: str, value: str) -> Any:
    if value == "":
        return None
    return float(value) if name in NUMBERS else value
