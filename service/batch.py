"""A batch as one command runs it: against a service over HTTP, or in this process where none runs.

Both sides submit the same bytes under the same Idempotency-Key, made of what is asked for and of the processing version
that would answer it. Whoever gives the same command again, after whatever happened, gets the same job.
"""

import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import select

from service import estimates, jobs, promotion
from service.analysis_unit import UnitRunner
from service.audit import Caller, record
from service.client import Client
from service.context import Service
from service.errors import NotFound
from service.keys import SCOPES
from service.leases import free_abandoned
from service.server import Workers, worker_command
from service.submission import Wish, chosen_sites, submit_once
from service.tables import sites, tenants
from service.worker import Worker

PAGE = 1_000
PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be done again: ``sites`` are ids, or ``all``."""

    sites: Sequence[str] | str
    period: str | None
    parameters: Mapping[str, Any]

    def body(self) -> dict[str, Any]:
        """Return the call's body."""
        chosen = self.sites if self.sites == "all" else list(self.sites)
        wanted = {"sites": chosen, "period": self.period, "parameters": dict(self.parameters)}
        return {"type": "reprocess", **wanted}

    def key(self, processing_version: str, again: str = "") -> str:
        """Return the Idempotency-Key: the same for the same work by the same processing version.

        ``again`` is anything new, for who wants it done once more.
        """
        text = json.dumps([self.body(), processing_version, again], sort_keys=True)
        return f"reprocess-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


class Side(Protocol):
    """Where a batch is run."""

    def site_ids(self, wanted: Sequence[str]) -> list[str]:
        """Return ids of sites given by id or name."""
        ...

    def estimate(self, batch: Batch) -> dict[str, Any]:
        """Return what it would take."""
        ...

    def submit(self, batch: Batch, key: str) -> dict[str, Any]:
        """Return the job, new or carried on."""
        ...

    def job(self, job: str) -> Mapping[str, Any]:
        """Return where it stands."""
        ...

    def results(self, job: str) -> list[dict[str, Any]]:
        """Return what became of each unit."""
        ...

    def promote(self, job: str) -> dict[str, Any]:
        """Make the job's reports current."""
        ...

    def retry(self, job: str) -> Mapping[str, Any]:
        """Let the job's failed units run again; return where it stands."""
        ...

    def working(self, job: str) -> Any:
        """Return a context in which the job is worked on."""
        ...


def _ids(known: Mapping[str, str], wanted: Sequence[str]) -> list[str]:
    """Return ids for ids or names; ``known`` maps id to name."""
    by_name = {name: site for site, name in known.items()}
    found = []
    for word in wanted:
        site = word if word in known else by_name.get(word)
        if site is None:
            raise NotFound(f"there is no site {word!r}; depotwatch site list shows yours", pointer="--sites")
        found.append(site)
    return sorted(set(found))


class Remote:
    """A running service."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def site_ids(self, wanted: Sequence[str]) -> list[str]:
        """See ``Side``."""
        return _ids({site["id"]: site["properties"]["name"] for site in self._client.sites()}, wanted)

    def estimate(self, batch: Batch) -> dict[str, Any]:
        """See ``Side``."""
        found: dict[str, Any] = self._client.request(
            "POST", "/jobs?estimate=true", json=batch.body(), timeout=120.0
        ).json()
        return found

    def submit(self, batch: Batch, key: str) -> dict[str, Any]:
        """See ``Side``."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        content = json.dumps(batch.body()).encode()
        made: dict[str, Any] = self._client.request("POST", "/jobs", content=content, headers=headers).json()
        return made

    def job(self, job: str) -> Mapping[str, Any]:
        """See ``Side``."""
        return self._client.job(job)

    def results(self, job: str) -> list[dict[str, Any]]:
        """See ``Side``."""
        found: list[dict[str, Any]] = []
        following: str | None = f"/jobs/{job}/results?limit={PAGE}"
        while following is not None:
            page = self._client.request("GET", following).json()
            found += page["results"]
            following = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
        return found

    def promote(self, job: str) -> dict[str, Any]:
        """See ``Side``."""
        found: dict[str, Any] = self._client.request("POST", f"/jobs/{job}/promote").json()
        return found

    def retry(self, job: str) -> Mapping[str, Any]:
        """See ``Side``."""
        found: Mapping[str, Any] = self._client.request("POST", f"/jobs/{job}/retry").json()
        return found

    @contextmanager
    def working(self, _job: str) -> Iterator[None]:
        """See ``Side``: the service's own workers do it."""
        yield


class Here:
    """This process, on a data folder or database, for one tenant.

    Workers of a service on the same data may help; each unit is done once all the same.
    """

    def __init__(self, service: Service, tenant: str, runner: UnitRunner, workers: int = 1) -> None:
        self._service, self._runner, self._workers = service, runner, workers
        with service.database.read() as connection:
            found = connection.execute(select(tenants.c.id).where(tenants.c.name == tenant)).scalar()
        if found is None:
            raise NotFound(f"there is no tenant {tenant!r} in {service.settings.data}", pointer="--tenant")
        self._caller = Caller(found, "command-line", frozenset(SCOPES))

    def site_ids(self, wanted: Sequence[str]) -> list[str]:
        """See ``Side``."""
        statement = select(sites.c.id, sites.c.name).where(
            sites.c.tenant == self._caller.tenant, sites.c.deleted.is_(None)
        )
        with self._service.database.read() as connection:
            known = {row.id: row.name for row in connection.execute(statement)}
        return _ids(known, wanted)

    def estimate(self, batch: Batch) -> dict[str, Any]:
        """See ``Side``."""
        with self._service.database.read() as connection:
            chosen = chosen_sites(connection, self._caller.tenant, _wish(batch).sites)
        return estimates.estimate(self._service, self._caller.tenant, chosen, batch.period, batch.parameters)

    def submit(self, batch: Batch, key: str) -> dict[str, Any]:
        """See ``Side``."""
        content = json.dumps(batch.body()).encode()
        made: dict[str, Any] = json.loads(
            submit_once(self._service, self._caller, _wish(batch), content, key).body
        )
        return made

    def job(self, job: str) -> Mapping[str, Any]:
        """See ``Side``."""
        with self._service.database.read() as connection:
            row = jobs.find_job(connection, self._caller.tenant, job)
            return jobs.describe(row, jobs.job_progress(connection, job))

    def results(self, job: str) -> list[dict[str, Any]]:
        """See ``Side``."""
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            with self._service.database.read() as connection:
                rows = jobs.results(connection, job, after, PAGE)
            found += [jobs.describe_result(row) for row in rows]
            if len(rows) < PAGE:
                return found
            after = rows[-1].id

    def promote(self, job: str) -> dict[str, Any]:
        """See ``Side``."""
        with self._service.database.write() as connection:
            return promotion.promote(self._service.database, connection, self._caller, job)

    def retry(self, job: str) -> Mapping[str, Any]:
        """See ``Side``."""
        with self._service.database.write() as connection:
            if jobs.retry_failed(self._service.database, connection, self._caller.tenant, job):
                record(self._service.database, connection, self._caller, "job.retry", job)
        return self.job(job)

    @contextmanager
    def working(self, job: str) -> Iterator[None]:
        """See ``Side``: one worker in a thread, more as processes; what a killed run held is taken over at once."""
        free_abandoned(self._service.database, job, _is_gone)
        # Who stops the command wants it to end now: the unit in hand stops at its next step and is given back.
        settings = self._service.settings.model_copy(update={"drain_s": 0.0})
        worker = Worker(self._service.database, self._service.store, self._runner, settings, job=job)
        thread = threading.Thread(target=worker.run, name="batch", daemon=True)
        command, environment = worker_command(settings)
        crew = Workers([*command, "--job", job], self._workers - 1, environment)
        thread.start()
        crew.start()
        try:
            yield
        finally:
            worker.stop()
            crew.stop(PATIENCE_S)
            thread.join(PATIENCE_S)


def _wish(batch: Batch) -> Wish:
    chosen = batch.sites
    return Wish(
        "reprocess",
        "all" if isinstance(chosen, str) else chosen,
        batch.period,
        dict(batch.parameters),
    )


def _is_gone(owner: str | None) -> bool:
    """Tell whether a worker was a process of this machine and is no more; of other machines nothing is known."""
    host, _, rest = (owner or "").partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
