"""What an operator sees: one JSON line per event, and Prometheus metrics. Neither ever holds a key."""

import json
import logging
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import func, select

from service.database import Database
from service.tables import archives, jobs, sites, units, warnings

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
KEY_IN_TEXT = re.compile(r"dw_[0-9a-f]{16}_[A-Za-z0-9_-]+")
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class JsonLines(logging.Formatter):
    """One JSON object per record: time, level, logger, event and the fields given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; anything that looks like a key is blotted out."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {k: v for k, v in vars(record).items() if k not in STANDARD_FIELDS}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return KEY_IN_TEXT.sub("dw_***", json.dumps(line, default=str, ensure_ascii=False))


def configure_logging(level: str = "INFO") -> None:
    """Send every record to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in ("uvicorn.access", "httpx", "httpx2", "alembic", "pyogrio"):
        logging.getLogger(name).setLevel("WARNING")
    # GDAL's remarks on files we write ourselves; what stops it is raised, not logged.
    logging.getLogger("rasterio").setLevel("ERROR")


class Telemetry:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "depotwatch_http_requests_total",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "depotwatch_http_request_duration_seconds",
            "Time from request to the end of the answer.",
            ("route",),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        gauge = self._gauge
        self._units = gauge("depotwatch_units", "Units by state and type of job.", ("state", "type"))
        self._jobs = gauge("depotwatch_jobs", "Jobs by state and type.", ("state", "type"))
        self._oldest = gauge(
            "depotwatch_oldest_waiting_unit_seconds", "How long the oldest due unit has waited."
        )
        self._sites = gauge("depotwatch_sites", "Sites being watched.")
        self._silent = gauge("depotwatch_sites_with_warnings", "Sites by standing warning.", ("code",))
        self._watched = gauge(
            "depotwatch_archive_watch_age_seconds", "Longest time since an archive was looked at."
        )

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def exposition(self, database: Database) -> tuple[bytes, str]:
        """Return the metrics as Prometheus reads them."""
        with database.read() as connection:
            of_units = units.join(jobs, jobs.c.id == units.c.job)
            for gauge, state, rows in (
                (self._units, units.c.state, of_units),
                (self._jobs, jobs.c.state, jobs),
            ):
                gauge.clear()
                counted = (
                    select(state, jobs.c.type, func.count()).select_from(rows).group_by(state, jobs.c.type)
                )
                for *labels, count in connection.execute(counted):
                    gauge.labels(*labels).set(count)
            waited = (
                select(database.now - func.min(func.coalesce(units.c.started, jobs.c.created)))
                .select_from(of_units)
                .where(units.c.state == "ready", units.c.not_before <= database.now)
            )
            self._oldest.set(connection.execute(waited).scalar() or 0.0)
            alive = select(func.count()).select_from(sites).where(sites.c.deleted.is_(None))
            self._sites.set(connection.execute(alive).scalar_one())
            self._silent.clear()
            for code, count in connection.execute(
                select(warnings.c.code, func.count()).group_by(warnings.c.code)
            ):
                self._silent.labels(code).set(count)
            age = select(database.now - func.min(func.coalesce(archives.c.watched, archives.c.created)))
            self._watched.set(connection.execute(age).scalar() or 0.0)
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class Observed:
    """ASGI layer: a request id for every request, one log line and one measurement for every answer.

    It also answers HEAD as GET without the body, which every GET route thereby understands.
    """

    def __init__(self, app: App, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given.decode() if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        method = scope["method"]
        if method == "HEAD":
            # Range is defined for GET alone (RFC 9110 section 14.2): HEAD tells of the whole.
            headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
            scope = {**scope, "method": "GET", "headers": headers}
        scope["request_id"] = request_id
        status = 500

        async def sent(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
                message = {**message, "headers": [*message["headers"], *extra]}
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            self._note(scope, method, status, time.perf_counter() - started)

    def _note(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        known = method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "other"
        self._telemetry.requests.labels(known, route, str(status)).inc()
        self._telemetry.seconds.labels(route).observe(seconds)
        log.info(
            "request",
            extra={
                "request_id": scope["request_id"],
                "method": known,
                "path": scope["path"],
                "status": status,
                "ms": round(seconds * 1000, 2),
            },
        )
