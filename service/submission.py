"""A job asked for, over HTTP or from the command line: which sites, and the same call done once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, select

from service import jobs
from service.audit import Caller, record
from service.context import Service
from service.idempotency import Answer
from service.sites import find_site
from service.tables import sites
from service.worker import code_version

ROUTE = "POST /jobs"
RETRY_AFTER_S = 2


@dataclass(frozen=True, slots=True)
class Wish:
    """A job as a client describes it."""

    type: str
    sites: Sequence[str] | Literal["all"]
    period: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


def chosen_sites(connection: Connection, tenant: str, wanted: Sequence[str] | Literal["all"]) -> list[str]:
    """Return the ids of sites asked for, each once.

    Raises
    ------
    NotFound : no such site, or another tenant's
    """
    if wanted == "all":
        statement = select(sites.c.id).where(sites.c.tenant == tenant, sites.c.deleted.is_(None))
        return list(connection.execute(statement.order_by(sites.c.created, sites.c.id)).scalars())
    return [
        find_site(connection, tenant, site, pointer=f"/sites/{index}").id
        for index, site in enumerate(dict.fromkeys(wanted))
    ]


def submit_once(service: Service, caller: Caller, wish: Wish, body: bytes, key: str | None) -> Answer:
    """Submit a job unless the call was made before; return what was, or is, answered.

    An answer is remembered for a day. A reprocess that has not ended is found by its key however long ago it was
    submitted, so that a batch of a week is carried on and not begun again.

    Raises
    ------
    DepotwatchError : as ``Replays`` and ``jobs.submit`` say
    """
    with service.replays.once(caller, ROUTE, key), service.database.write() as connection:
        made = service.replays.recall(connection, caller, ROUTE, key, body)
        if made is None:
            made = _submit(service, connection, caller, wish, key)
            service.replays.remember(connection, caller, ROUTE, key, made)
    return made


def _submit(service: Service, connection: Connection, caller: Caller, wish: Wish, key: str | None) -> Answer:
    running = None
    if wish.type == "reprocess" and key is not None:
        running = jobs.find_unfinished(connection, caller.tenant, wish.type, key)
    if running is not None:
        job = str(running.id)
    else:
        chosen = chosen_sites(connection, caller.tenant, wish.sites)
        code = code_version() if wish.type == "reprocess" else None
        request = jobs.JobRequest(wish.type, chosen, wish.period, wish.parameters, key=key, code=code)
        limit = service.settings.max_queued_per_tenant
        job = jobs.submit(service.database, connection, caller.tenant, request, max_queued=limit)
        record(service.database, connection, caller, "job.submit", job)
    progress = jobs.job_progress(connection, job)
    shown = jobs.describe(jobs.find_job(connection, caller.tenant, job), progress)
    headers = {"Location": f"/jobs/{job}", "Retry-After": str(RETRY_AFTER_S)}
    return Answer(202, headers, json.dumps(shown))
