"""``/comparisons/{before}..{after}`` and ``/jobs/{id}/comparison``: what two versions tell otherwise, and why.

What compares loads what analyses: it is imported by the first comparison, not by the start of the API.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    JSON,
    UNCHANGED,
    Cursor,
    Limit,
    ReportsReader,
    ServiceOf,
    address,
    capped,
    next_link,
    unchanged,
)
from service.api.quick import REVALIDATE
from service.api.reports import page_policy
from service.identifiers import decode_cursor, encode_cursor

if TYPE_CHECKING:
    from pipelines.comparison import Comparison

router = APIRouter(tags=["comparisons"])

Format = Literal["json", "html", "csv"]
AsFormat = Annotated[Format, Query(description="html and csv hold all sites, json a page of them")]
ANSWERS: dict[int | str, dict[str, Any]] = {
    **UNCHANGED,
    200: {"model": schemas.Comparison, "content": {"text/html": {}, "text/csv": {}}},
}


@router.get("/comparisons/{before}..{after}", responses=ANSWERS)
def compare_two(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    before: str,
    after: str,
    f: AsFormat = "json",
) -> Response:
    """Compare two reports of one site: new, lost, moved, reclassified, re-dated and re-counted changes, with reasons."""
    from service import comparisons

    with service.database.read() as connection:
        found = comparisons.between(connection, caller.tenant, before, after)
    site = found.sites[0].site
    links = [
        {"rel": rel, "href": f"/sites/{site}/reports/{report}", "type": JSON}
        for rel, report in (("before", before), ("after", after))
    ]
    return _answer(request, found, f, 0, 1, links)


@router.get("/jobs/{job}/comparison", responses=ANSWERS)
def compare_job(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    job: str,
    f: AsFormat = "json",
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Compare a job's reports with what they took, or would take, the place of; `published` names what that changes.

    The totals are of all sites; 404 `result-not-ready` until the job has ended.
    """
    from service import comparisons

    start = max(0, decode_cursor(cursor, int)[0]) if cursor is not None else 0
    with service.database.read() as connection:
        found = comparisons.of_job(connection, caller.tenant, job)
    links = [{"rel": "up", "href": f"/jobs/{job}", "type": JSON}]
    return _answer(request, found, f, start, capped(limit), links)


def _answer(
    request: Request, found: "Comparison", f: Format, start: int, size: int, links: list[dict[str, str]]
) -> Response:
    from pipelines.comparison_page import comparison_csv, comparison_html

    headers = {"Cache-Control": REVALIDATE}
    match f:
        case "html":
            body, media = comparison_html(found), "text/html; charset=utf-8"
            headers["Content-Security-Policy"] = page_policy(body)
        case "csv":
            body, media = comparison_csv(found), "text/csv; charset=utf-8"
            headers["Content-Disposition"] = 'attachment; filename="comparison.csv"'
        case "json":
            body, media = _page(request, found, start, size, links), JSON
    headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, media)


def _page(request: Request, found: "Comparison", start: int, size: int, links: list[dict[str, str]]) -> bytes:
    """Return the totals of all sites and the entries of some."""
    told = found.as_json(start, start + size)
    here = [{"rel": "self", "href": address(request), "type": JSON}]
    for form, media in (("html", "text/html"), ("csv", "text/csv")):
        here.append({"rel": "alternate", "href": address(request, f=form), "type": media})
    if start + size < len(found.sites):
        here.append(next_link(request, encode_cursor(start + size)))
    whole = {**told, "links": [*here, *links]}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
