"""How fast the service answers on loopback, beside a static file from the same server (G19).

``python -m benchmarks.service [--database URL] [--out FILE.json]`` fills a service with a site of 200,000 changes,
then measures each call from outside its process: one after the other over one connection, and 500 clients at once.
Every figure is the client's, connections kept alive, errors counted. The floors are an answer of the size of the report
from memory, and a file of that size, both from the same uvicorn before any of our code. ``--out`` keeps what another
database measured there.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from benchmarks.service_faults import free_port
from service.identifiers import encode_cursor

CHANGES = 200_000
REQUESTS = 2_000
POLLERS = 500
POLLS_EACH = 4
POLL_EVERY_S = 2.0
NEWS = 10
WARM_UP = 20
SITES = 1_000
COLD_RUNS = 5
FORK = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class Measured:
    """One call: milliseconds as the client saw them, and of a processor in the server for each."""

    name: str
    requests: int
    errors: int
    p50_ms: float
    p99_ms: float
    per_second: float
    warm_up: int = 0
    server_cpu_ms: float = 0.0


def processor_s(pid: int) -> float:
    """Return the processor time a process has used, seconds (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class ColdStart:
    """Starts of a process that share nothing but the disk's cache: seconds by the clock and of the processor."""

    name: str
    runs: int
    median_s: float
    worst_s: float
    median_cpu_s: float


def run_api(settings: dict[str, Any], port: int, size: int) -> None:
    """Answer until killed; ``/floor`` and ``/file`` are static answers of ``size`` bytes before any of our code."""
    import uvicorn
    from starlette.responses import FileResponse

    from service.app import build_app
    from service.context import open_service
    from service.server import KEEP_ALIVE_S, SWITCH_S, bind
    from service.settings import Settings
    from service.telemetry import configure_logging

    configure_logging("ERROR")
    app = build_app(open_service(Settings(**settings)))
    floor = b"x" * size
    file = Path(settings["data"]) / "floor.json"
    file.write_bytes(floor)

    async def with_floor(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == "/file":
            await FileResponse(file, media_type="application/json")(scope, receive, send)
            return
        if scope.get("path") != "/floor":
            await app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(floor)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": floor})

    sys.setswitchinterval(SWITCH_S)
    config = uvicorn.Config(
        with_floor, log_config=None, access_log=False, lifespan="off", timeout_keep_alive=KEEP_ALIVE_S
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[bind("127.0.0.1", port)]))


def percentile(values: list[float], share: float) -> float:
    """Return the value that ``share`` of the sorted values lie below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summarise(name: str, taken_ms: list[float], errors: int, seconds: float) -> Measured:
    """Return the figures of one call."""
    return Measured(
        name,
        len(taken_ms) + errors,
        errors,
        round(statistics.median(taken_ms), 2),
        round(percentile(taken_ms, 0.99), 2),
        round(len(taken_ms) / seconds, 1),
    )


def one_after_the_other(
    name: str,
    base: str,
    call: Callable[[httpx.Client, int], httpx.Response],
    key: str,
    wanted: int,
    count: int,
) -> Measured:
    """Send requests over one connection, one after the other; a single one is not warmed up for."""
    taken, errors = [], 0
    warm_up = WARM_UP if count > 1 else 0
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=120) as client:
        for number in range(warm_up):
            call(client, number)
        started = time.perf_counter()
        for number in range(count):
            begun = time.perf_counter()
            answer = call(client, number)
            if answer.status_code == wanted:
                taken.append((time.perf_counter() - begun) * 1e3)
            else:
                errors += 1
        seconds = time.perf_counter() - started
    return replace(summarise(name, taken, errors, seconds), warm_up=warm_up)


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """Send a request over a connection that is kept; the status. A client of its own costs more than the server."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    if status != 304:
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
    return status


async def crowd(name: str, port: int, path: str, headers: dict[str, str], wanted: int) -> Measured:
    """Let 500 clients ask, each every two seconds, as they would in life but closer together."""
    taken: list[float] = []
    errors = 0
    fields = {"Host": f"127.0.0.1:{port}", **headers}
    request = f"GET {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"

    async def poll(number: int) -> None:
        nonlocal errors
        await asyncio.sleep(POLL_EVERY_S * number / POLLERS)
        connection = None
        for _ in range(POLLS_EACH):
            begun = time.perf_counter()
            try:
                connection = connection or await asyncio.open_connection("127.0.0.1", port)
                good = await asyncio.wait_for(exchange(*connection, request.encode()), 60) == wanted
            except (OSError, EOFError):
                good, connection = False, None
            spent = time.perf_counter() - begun
            if good:
                taken.append(spent * 1e3)
            else:
                errors += 1
            await asyncio.sleep(max(0.0, POLL_EVERY_S - spent))
        if connection is not None:
            connection[1].close()

    started = time.perf_counter()
    await asyncio.gather(*(poll(number) for number in range(POLLERS)))
    return summarise(f"{name}, {POLLERS} clients", taken, errors, time.perf_counter() - started)


@contextmanager
def filled_service(folder: Path, database: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield (settings, key, site) of a service with one site of 200,000 changes."""
    from service import jobs
    from service.context import open_service
    from service.intake import read_document
    from service.keys import create_key, pepper
    from service.settings import Settings
    from service.sites import create_site
    from service.tenancy import ensure_tenant

    values: dict[str, Any] = {
        "data": str(folder),
        "database": database,
        "secret": "benchmark",
        "rate_per_s": 1e6,
        "rate_burst": 1e7,
        "lease_s": 600.0,
    }
    settings = Settings(**values)
    service = open_service(settings)
    key = create_key(service.database, pepper(settings), "bench", ["admin"], burst=1e7)
    square = {"type": "Polygon", "coordinates": [[[30, 50], [30.1, 50], [30.1, 50.1], [30, 50.1], [30, 50]]]}
    feature = {"type": "Feature", "properties": {"name": "large"}, "geometry": square}
    with service.database.write() as connection:
        tenant = ensure_tenant(service.database, connection, "bench")
        draft = read_document(feature).drafts[0]
        site = create_site(service.database, connection, tenant, draft, max_sites=10).id
        request = jobs.JobRequest("analyse", [site], None, {})
        jobs.submit(service.database, connection, tenant, request, max_queued=10)
    _publish_large(service, site, draft.aoi)
    service.close()
    yield values, key, site


def _publish_large(service: Any, site: str, aoi: Any) -> None:
    """Publish a report of 200,000 changes as a worker would, without writing its files first."""
    from benchmarks.service_fake import fake_feature, fake_look
    from service.analysis_unit import AnalyseUnit
    from service.leases import claim, finish
    from service.publishing import StoredReport, publish_report
    from service.worker import rules_of

    lease = claim(service.database, "benchmark", rules_of(service.settings))
    if lease is None:
        raise RuntimeError("there is nothing to publish")
    unit = AnalyseUnit(site, "large", aoi, (), None, {})
    report = {"schema": "depotwatch-report/1", "site": {"name": "large"}, "looks": ["x" * 400] * 50}
    features = tuple(fake_feature(unit, number) for number in range(CHANGES))
    looks = tuple(fake_look(unit, number) for number in range(3))
    stored = StoredReport((), report, features, looks, "large")
    finish(service.database, lease, lambda c: publish_report(service.database, c, lease, stored), "large")


def wait_until_ready(base: str) -> None:
    """Wait until the service says that it is ready; two minutes at most."""
    until = time.perf_counter() + 120
    while time.perf_counter() < until:
        try:
            if httpx.get(f"{base}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise RuntimeError(f"nothing became ready at {base!r}")


def cold_starts(settings: dict[str, Any]) -> Iterator[ColdStart]:
    """Start the command and the API afresh, several times (G25)."""
    program = [sys.executable, "-c", "import sys; from service.cli import main; sys.exit(main())"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        **{f"DEPOTWATCH_{name.upper()}": str(settings[name]) for name in ("data", "database", "secret")},
    }

    def tell_help() -> None:
        subprocess.run([*program, "--help"], env=environment, stdout=subprocess.DEVNULL, check=True)

    def answer_once() -> None:
        command = [*program, "api", "--port", "0"]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            if not (address := process.stdout.readline().strip()):
                raise RuntimeError(f"the API ended with {process.wait()} before it answered")
            wait_until_ready(address)
            ended.append(time.perf_counter())
            process.terminate()

    for name, start in (("depotwatch --help", tell_help), ("API ready", answer_once)):
        clock, processor = [], []
        for _ in range(COLD_RUNS):
            ended: list[float] = []
            before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            start()
            clock.append((ended[0] if ended else time.perf_counter()) - begun)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        yield ColdStart(
            name,
            COLD_RUNS,
            round(statistics.median(clock), 2),
            round(max(clock), 2),
            round(statistics.median(processor), 2),
        )


def measure(database: str) -> dict[str, Any]:
    """Fill, serve, measure; return what is written as JSON."""
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as place,
        filled_service(Path(place), database) as (settings, key, site),
    ):
        cold = list(cold_starts(settings))
        report = _report_size(settings, site)
        port = free_port()
        process = FORK.Process(target=run_api, args=(settings, port, report), daemon=True)
        process.start()
        wait_until_ready(f"http://127.0.0.1:{port}")
        try:
            calls = list(_with_processor(_calls(port, key, site), process.pid))
        finally:
            process.kill()
            process.join()
    return {
        "database": database.partition(":")[0].partition("+")[0] or "sqlite",
        "cores": os.cpu_count(),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "python": platform.python_version(),
        "changes": CHANGES,
        "news": NEWS,
        "report_bytes": report,
        "cold": [asdict(start) for start in cold],
        "calls": [asdict(call) for call in calls],
    }


def _with_processor(calls: Iterator[Measured], pid: int | None) -> Iterator[Measured]:
    """Add what each call costs the server: a figure that a busy machine alters little."""
    before = processor_s(pid or os.getpid())
    for call in calls:
        now = processor_s(pid or os.getpid())
        call.server_cpu_ms = round((now - before) / (call.requests + call.warm_up) * 1e3, 3)
        before = now
        yield call


def _report_size(settings: dict[str, Any], site: str) -> int:
    from sqlalchemy import func, select

    from service.database import Database
    from service.settings import Settings
    from service.tables import reports

    database = Database(Settings(**settings).database_url)
    with database.read() as connection:
        size = connection.execute(
            select(func.length(reports.c.body)).where(reports.c.site == site)
        ).scalar_one()
    database.close()
    return int(size)


def _calls(port: int, key: str, site: str) -> Iterator[Measured]:
    base = f"http://127.0.0.1:{port}"
    here = f"/sites/{site}"
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        tag = client.get(f"{here}/reports/latest").headers["etag"]
    now, earlier = encode_cursor("feed", CHANGES), encode_cursor("feed", CHANGES - NEWS)

    def box(number: int) -> dict[str, str]:
        west, south = 30 + (number * 7 % 90) / 1000, 50 + (number * 13 % 90) / 1000
        return {"bbox": f"{west},{south},{west + 0.005},{south + 0.005}", "limit": "100"}

    filters = {"class": "container,berm", "status": "confirmed", "min_confidence": "0.5"}
    cases: list[tuple[str, Callable[[httpx.Client, int], httpx.Response], int, int]] = [
        ("floor: answer from memory", lambda c, _n: c.get("/floor"), 200, REQUESTS),
        ("floor: static file", lambda c, _n: c.get("/file"), 200, REQUESTS),
        (
            "report, 304",
            lambda c, _n: c.get(f"{here}/reports/latest", headers={"If-None-Match": tag}),
            304,
            REQUESTS,
        ),
        ("report, 200", lambda c, _n: c.get(f"{here}/reports/latest"), 200, REQUESTS),
        (
            "changes of 200,000, bbox",
            lambda c, n: c.get(f"{here}/changes", params=box(n)),
            200,
            REQUESTS // 4,
        ),
        (
            "changes of 200,000, bbox and filters",
            lambda c, n: c.get(f"{here}/changes", params={**box(n), **filters}),
            200,
            REQUESTS // 4,
        ),
        ("feed, nothing new", lambda c, _n: c.get("/changes", params={"since": now}), 200, REQUESTS),
        (f"feed, {NEWS} news", lambda c, _n: c.get("/changes", params={"since": earlier}), 200, REQUESTS),
        ("site submitted", _submit, 201, SITES),
        (f"{SITES:,} sites in one call", _submit_many, 201, 1),
    ]
    for name, call, wanted, count in cases:
        yield told(one_after_the_other(name, base, call, key, wanted, count))
    bearer = {"Authorization": f"Bearer {key}"}
    crowds: list[tuple[str, str, dict[str, str], int]] = [
        ("feed, nothing new", f"/changes?since={now}", {}, 200),
        (f"feed, {NEWS} news", f"/changes?since={earlier}", {}, 200),
        ("report, 304", f"{here}/reports/latest", {"If-None-Match": tag}, 304),
    ]
    for name, path, headers, wanted in crowds:
        yield told(asyncio.run(crowd(name, port, path, bearer | headers, wanted)))


def told(measured: Measured) -> Measured:
    """Say what was measured as soon as it was."""
    print(f"{measured.name}: p50 {measured.p50_ms} ms, p99 {measured.p99_ms} ms", file=sys.stderr, flush=True)
    return measured


def _feature(number: int) -> dict[str, Any]:
    west, south = -170 + (number % 300), -60 + (number // 300) * 5
    ring = [
        [west, south],
        [west + 0.01, south],
        [west + 0.01, south + 0.01],
        [west, south + 0.01],
        [west, south],
    ]
    return {
        "type": "Feature",
        "properties": {"name": f"site {number} {time.monotonic_ns()}"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def _submit(client: httpx.Client, number: int) -> httpx.Response:
    return client.post("/sites", json=_feature(number))


def _submit_many(client: httpx.Client, _number: int) -> httpx.Response:
    return client.post(
        "/sites", json={"type": "FeatureCollection", "features": [_feature(n) for n in range(SITES)]}
    )


def main() -> int:
    """Print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", default="", help="PostgreSQL URL of an empty database; default SQLite")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = measure(args.database)
    floor = found["calls"][0]["p50_ms"]
    print(f"{found['database']}, {found['changes']:,} changes, load {found['load']}")
    for start in found["cold"]:
        print(
            f"{start['name']}: {start['median_s']} s, worst {start['worst_s']}, cpu {start['median_cpu_s']}"
        )
    print(f"{'call':40} {'p50 ms':>8} {'p99 ms':>8} {'x floor':>8} {'cpu ms':>8} {'per s':>8} {'errors':>7}")
    for call in found["calls"]:
        ratio = call["p50_ms"] / floor
        print(
            f"{call['name']:40} {call['p50_ms']:8.2f} {call['p99_ms']:8.2f} {ratio:8.1f} "
            f"{call['server_cpu_ms']:8.2f} {call['per_second']:8.1f} {call['errors']:7}"
        )
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        kept = json.loads(args.out.read_text("utf-8")) if args.out.exists() else {}
        kept[found["database"]] = found
        args.out.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
