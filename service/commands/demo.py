"""``depotwatch demo``: a service with the sample sites in it, and a one-time key to look at them with."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagery.errors import DepotwatchError

if TYPE_CHECKING:
    from service.client import Client
    from service.context import Service
    from service.settings import Settings

SUMMARY = "Serve with the sample sites loaded and analysed; print the page's address and a one-time key."
SAMPLES = Path(__file__).parents[2] / "sample_tiles"
TENANT = "demo"
KEY_VALID_S = 86_400.0
# Whoever tries something out stops it at once and starts it again: wait for nothing that can be had again.
IMPATIENT: dict[str, Any] = {"drain_s": 1.0, "lease_s": 15.0, "log_level": "WARNING"}


class NoSample(DepotwatchError):
    """The sample scenes are not where the source tree has them."""

    code = "no-sample"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument(
        "--sample", type=Path, action="append", metavar="FOLDER",
        help="folder with catalog.json and aoi.geojson, may be repeated (default: both sample series)",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, help="keep the data here (default: a folder removed at the end)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default 2)")
    parser.add_argument("--out", type=Path, help="unpack each site's report into a folder below this one too")
    parser.add_argument(
        "--once", action="store_true",
        help="end once all is analysed and page and reports were fetched; exit 1 where anything failed",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serve until stopped."""
    import tempfile

    from service.telemetry import configure_logging

    samples = args.sample or sorted(path.parent for path in SAMPLES.glob("*/aoi.geojson"))
    for sample in samples:
        if not (sample / "aoi.geojson").is_file():
            raise NoSample(f"{sample} holds no aoi.geojson; give --sample FOLDER with catalog.json beside it")
    if not samples:
        raise NoSample(f"{SAMPLES} holds no sample series; give --sample FOLDER")
    configure_logging("WARNING")
    if args.data is not None:
        return _serve(args, samples)
    with tempfile.TemporaryDirectory(prefix="depotwatch-demo-") as folder:
        args.data = Path(folder)
        return _serve(args, samples)


def _serve(args: argparse.Namespace, samples: Sequence[Path]) -> int:
    from service.options import settings_from
    from service.server import serve

    # Whatever database the environment names is somebody's; a demonstration keeps to its own folder.
    settings = settings_from(args, database="", artefacts="", products="", **IMPATIENT)
    show = _Show(args.out, once=args.once)

    def prepare(service: "Service") -> None:
        show.key = _one_time_key(service, settings)
        show.jobs = {sample.name: _load(service, sample.resolve()) for sample in samples}

    def announce(address: str) -> None:
        print(address, flush=True)
        print(show.key, flush=True)
        print(f"open {address}/#key={show.key} in a browser; Ctrl-C ends it", file=sys.stderr, flush=True)

    try:
        serve(
            settings, args.host, args.port, max(1, args.workers),
            announce=announce, prepare=prepare, beside=show.run,
        )  # fmt: skip
    except KeyboardInterrupt:
        return 0
    return 1 if show.faults else 0


def _one_time_key(service: "Service", settings: "Settings") -> str:
    """Return a key that lasts for this run; those of runs before end now."""
    from service.keys import SCOPES, create_key, list_keys, pepper, revoke_key

    for known in list_keys(service.database, TENANT):
        if known.revoked is None:
            revoke_key(service.database, known.id)
    return create_key(
        service.database, pepper(settings), TENANT, SCOPES, note="one run of the demo", valid_s=KEY_VALID_S
    )


def _load(service: "Service", sample: Path) -> str:
    """Make a sample an archive and its AOI a site that watches it, where they are not yet; return the new job's id."""
    from sqlalchemy import select

    from service import jobs
    from service.tables import sites
    from service.tenancy import ensure_tenant

    database = service.database
    with database.write() as connection:
        tenant = ensure_tenant(database, connection, TENANT)
        known = connection.execute(
            select(sites.c.id).where(
                sites.c.tenant == tenant, sites.c.name == sample.name, sites.c.deleted.is_(None)
            )
        ).scalar()
    site = known or _add(service, tenant, sample)
    with database.write() as connection:
        request = jobs.JobRequest("analyse", [site], None, {}, "demo")
        return jobs.submit(database, connection, tenant, request, max_queued=1_000)


def _add(service: "Service", tenant: str, sample: Path) -> str:
    from dataclasses import replace

    from service import archives
    from service.intake import read_file, read_sites
    from service.sites import create_site
    from service.watch import index_archive

    database = service.database
    # A point is no letter of an archive's name.
    name = sample.name.replace(".", "_")
    with database.write() as connection:
        row = archives.add_archive(
            database, connection, name, "catalog", str(sample / "catalog.json"), tenant
        )
    cursor = index_archive(database, service.settings, row)
    body, kind = read_file(str(sample / "aoi.geojson"), sample.name, analyse=True)
    draft = replace(read_sites(body, kind).drafts[0], archives=(name,))
    with database.write() as connection:
        archives.note_watch(database, connection, row.id, cursor, None)
        return str(create_site(database, connection, tenant, draft, max_sites=1_000).id)


@dataclass
class _Show:
    """What a person is told while the samples are analysed, and what is checked for ``--once``."""

    out: Path | None
    once: bool
    key: str = ""
    jobs: Mapping[str, str] | None = None
    faults: int = 0

    def run(self, address: str, stop: Callable[[], None]) -> None:
        """Wait for every sample, say where its report is, try the page; end the service if it was for once."""
        from service.client import Client

        try:
            with Client(address, self.key) as client:
                for name, job in (self.jobs or {}).items():
                    self._site(client, address, name, job)
                page = client.request("GET", "/", headers={"Accept": "text/html"})
                self._check(page.headers["content-type"].startswith("text/html"), "the page does not answer")
        except Exception as error:
            self._check(False, f"{type(error).__name__}: {error}")
            if not self.once:
                raise
        finally:
            if self.once:
                stop()

    def _site(self, client: "Client", address: str, name: str, job: str) -> None:
        ended = client.wait(job, told=lambda seen: _progress(name, seen))
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        if ended["state"] != "successful":
            said = [line["detail"] for line in client.request("GET", f"/jobs/{job}/logs").json()["lines"]]
            self._check(False, f"{name}: {ended['state']}: {'; '.join(said) or address + '/jobs/' + job}")
            return
        result = client.request("GET", f"/jobs/{job}/results").json()["results"][0]
        here = f"/sites/{result['site']}/reports/latest"
        report = client.request("GET", here).json()
        html = client.request("GET", f"{here}.html")
        self._check(
            html.headers["content-type"].startswith("text/html"), f"{name}: the report does not answer"
        )
        print(f"{name}: {report['headline']}", file=sys.stderr)
        print(f"  {address}{here}.html", file=sys.stderr, flush=True)
        if self.out is not None:
            bundle = client.request("GET", f"/sites/{result['site']}/reports/{report['id']}/bundle.zip")
            _unpack(bundle.content, self.out / name)
            print(f"  {self.out / name / 'report.html'}", file=sys.stderr, flush=True)

    def _check(self, good: bool, fault: str) -> None:
        if not good:
            self.faults += 1
            print(f"depotwatch demo: {fault}", file=sys.stderr, flush=True)


def _progress(name: str, seen: Mapping[str, Any]) -> None:
    if sys.stderr.isatty():
        step = f" ({seen['step']})" if seen["step"] else ""
        print(f"\r\033[K{name}: {seen['progress']:.0f} %{step}", end="", file=sys.stderr, flush=True)


def _unpack(bundle: bytes, folder: Path) -> None:
    import io
    import shutil
    import zipfile

    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(io.BytesIO(bundle)) as packed:
        packed.extractall(folder)
