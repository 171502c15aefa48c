"""Times as the service writes them: RFC 3339 UTC outside, seconds since 1970 in tables, HTTP dates in headers."""

import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from service.errors import BadQuery

OPEN_START, OPEN_END = -6.2e10, 2.5e11
DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def rfc3339(seconds: float) -> str:
    """Print seconds since 1970 as RFC 3339 UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rfc3339_or_none(seconds: float | None) -> str | None:
    """Print a time that may not have come."""
    return None if seconds is None else rfc3339(seconds)


def http_date(seconds: float) -> str:
    """Print seconds since 1970 as an HTTP date."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


def from_http_date(text: str) -> float | None:
    """Read an HTTP date; None where it is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def moment(text: str, pointer: str = "datetime") -> float:
    """Read one RFC 3339 time or date as seconds since 1970; a time without its zone is UTC.

    Raises
    ------
    BadQuery : none, or a way to write one that RFC 3339 has not, of which nobody could tell the day from its midnight
    """
    try:
        if not DATE.match(text):
            raise ValueError(text)
        # RFC 3339 lets T and Z be small; a plus that nobody escaped arrives as a space; GDAL ends a bare date with T.
        parsed = datetime.fromisoformat(text.replace(" ", "+").upper().removesuffix("T"))
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadQuery(
            f"{text[:40]!r} is not a time such as 2024-01-31T12:00:00Z", pointer=pointer
        ) from error


def interval(text: str, pointer: str = "datetime") -> tuple[float, float]:
    """Read an OGC ``datetime``: one time, or two with a slash, ``..`` or nothing leaving an end open."""
    if "\x00" in text or len(text) > 200:
        raise BadQuery("datetime is one time, or two with a slash between", pointer=pointer)
    start, slash, end = text.partition("/")
    if not slash:
        return moment(start, pointer), _end(start, pointer)
    # QGIS writes an open start as the year 0, which calendars here do not have.
    low = OPEN_START if start in {"", ".."} or start.startswith("0000-") else moment(start, pointer)
    high = OPEN_END if end in {"", ".."} else _end(end, pointer)
    if low > high or (start in {"", ".."} and end in {"", ".."} and (start, end) != ("..", "..")):
        raise BadQuery(f"the interval {text[:80]!r} ends before it starts, or has no end", pointer=pointer)
    return low, high


def _end(text: str, pointer: str) -> float:
    """Read the end of an interval; a bare date includes its day."""
    return moment(text, pointer) + (86_399.999 if len(text.removesuffix("T")) == len("2024-01-31") else 0.0)
