"""Errors as RFC 9457 ``application/problem+json``: the one table from ``code`` to HTTP status.

What is not in the table is the other rooms' judgement of a client's input, which is 422.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from imagery.errors import DepotwatchError
from service.errors import RangeNotSatisfiable

PROBLEM_JSON = "application/problem+json"

STATUS_OF: dict[str, int] = {
    "bad-body": 400,
    "bad-query": 400,
    "bad-cursor": 400,
    "bad-request": 400,
    "unauthorised": 401,
    "forbidden": 403,
    "licence-forbids-pixels": 403,
    "not-found": 404,
    "no-report-yet": 404,
    "scene-not-at-hand": 404,
    "result-not-ready": 404,
    "method-not-allowed": 405,
    "not-acceptable": 406,
    "too-slow": 408,
    "name-taken": 409,
    "idempotency-in-flight": 409,
    "limit-reached": 409,
    "not-promotable": 409,
    "not-retryable": 409,
    "would-lose-newer": 409,
    "gone": 410,
    "precondition-failed": 412,
    "too-large": 413,
    "unsupported-media-type": 415,
    "range-not-satisfiable": 416,
    "precondition-required": 428,
    "rate-limited": 429,
    "internal": 500,
    "damaged-product": 500,
    "not-available": 503,
}
UNPROCESSABLE = 422
# Whose ``errors`` name a place, be it the whole input: the empty pointer.
BAD_INPUT = frozenset({400, UNPROCESSABLE})

TITLES: dict[int, str] = {
    400: "Bad request",
    401: "No valid key",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Request timeout",
    409: "Conflict",
    410: "Gone",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    422: "Unusable input",
    428: "If-Match needed",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available",
}
CODE_OF_STATUS: dict[int, str] = {
    400: "bad-body",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
    422: "unusable-input",
}


class ManyErrors(DepotwatchError):
    """Several faults in one input, each with its place: ``(pointer, code, detail)``."""

    code = "unusable-input"

    def __init__(self, faults: Iterable[tuple[str, str, str]]) -> None:
        self.faults = list(faults)
        pointer, _, detail = self.faults[0]
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        super().__init__(detail + more, pointer=pointer)


def status_of(error: DepotwatchError) -> int:
    """Return the HTTP status an error answers with."""
    return STATUS_OF.get(error.code, UNPROCESSABLE)


def problem(
    status: int, code: str, detail: str, *, errors: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """Return the body of a problem; ``type`` names the entry of ``docs/errors.md``."""
    if not errors and status in BAD_INPUT:
        errors = [{"pointer": "", "code": code, "detail": detail}]
    body: dict[str, Any] = {
        "type": f"urn:depotwatch:error:{code}",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "code": code,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return body


def problem_of(error: DepotwatchError) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return body and headers for an error of the family."""
    status = status_of(error)
    faults: list[dict[str, str]] = []
    if isinstance(error, ManyErrors):
        faults = [{"pointer": p, "code": c, "detail": d} for p, c, d in error.faults]
    elif error.pointer:
        faults = [{"pointer": error.pointer, "code": error.code, "detail": error.detail}]
    headers: dict[str, str] = {}
    retry_after = getattr(error, "retry_after_s", None)
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    elif status in {409, 503} and error.code in {"idempotency-in-flight", "not-available"}:
        headers["Retry-After"] = "2"
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="depotwatch"'
    return problem(status, error.code, error.detail, errors=faults), headers
