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
# Whoever tries something out stops it at once and starts it again: wait for nothing that can be had again. The samples
# end in the past: that no scene follows them is no news.
IMPATIENT: dict[str, Any] = {"drain_s": 1.0, "lease_s": 15.0, "log_level": "WARNING", "silence_factor": 1e6}


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
        show.samples = [_load(service, sample.resolve()) for sample in samples]

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


@dataclass(frozen=True, slots=True)
class _Sample:
    """A sample as the service knows it; ``job`` is None where its report is up to date."""

    name: str
    site: str
    job: str | None


def _load(service: "Service", sample: Path) -> _Sample:
    """Make a sample an archive and its AOI a site that watches it, and have it analysed, where that is not done yet."""
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
    if known is not None and _is_up_to_date(service, str(known)):
        return _Sample(sample.name, str(known), None)
    site = str(known) if known is not None else _add(service, tenant, sample)
    with database.write() as connection:
        request = jobs.JobRequest("analyse", [site], None, {}, "demo")
        return _Sample(
            sample.name, site, jobs.submit(database, connection, tenant, request, max_queued=1_000)
        )


def _is_up_to_date(service: "Service", site: str) -> bool:
    """Tell whether the site's current report is what this very code says; new scenes are the watch's business."""
    from sqlalchemy import select

    from pipelines.parameters import parameters_from
    from pipelines.steps import processing_version, weights_sha256
    from service.tables import reports, sites

    with service.database.read() as connection:
        made_by = connection.execute(
            select(reports.c.processing_version)
            .join(sites, sites.c.current_report == reports.c.id)
            .where(sites.c.id == site)
        ).scalar()
    defaults = parameters_from({})
    now = processing_version(dict(defaults.as_pairs()), weights_sha256(defaults.network))
    return bool(made_by == now)


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
    cursor = index_archive(database, service.settings, row).cursor
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
    samples: Sequence[_Sample] = ()
    faults: int = 0

    def run(self, address: str, stop: Callable[[], None]) -> None:
        """Wait for every sample, say where its report is, try the page; end the service if it was for once."""
        from service.client import Client

        try:
            with Client(address, self.key) as client:
                for sample in self.samples:
                    if self._analysed(client, address, sample):
                        self._tell(client, address, sample)
                page = client.request("GET", "/", headers={"Accept": "text/html"})
                self._check(page.headers["content-type"].startswith("text/html"), "the page does not answer")
        except Exception as error:
            self._check(False, f"{type(error).__name__}: {error}")
            if not self.once:
                raise
        finally:
            if self.once:
                stop()

    def _analysed(self, client: "Client", address: str, sample: _Sample) -> bool:
        if sample.job is None:
            return True
        ended = client.wait(sample.job, told=lambda seen: _progress(sample.name, seen))
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        if ended["state"] != "successful":
            lines = client.request("GET", f"/jobs/{sample.job}/logs").json()["lines"]
            said = "; ".join(line["message"] for line in lines) or f"{address}/jobs/{sample.job}"
            self._check(False, f"{sample.name}: {ended['state']}: {said}")
        return bool(ended["state"] == "successful")

    def _tell(self, client: "Client", address: str, sample: _Sample) -> None:
        here = f"/sites/{sample.site}/reports/latest"
        report = client.request("GET", here).json()
        html = client.request("GET", f"{here}.html")
        is_page = html.headers["content-type"].startswith("text/html")
        self._check(is_page, f"{sample.name}: the report does not answer")
        print(f"{sample.name}: {report['headline']}", file=sys.stderr)
        print(f"  {address}{here}.html", file=sys.stderr, flush=True)
        if self.out is not None:
            numbered = f"/sites/{sample.site}/reports/{report['id']}"
            _unpack(client.request("GET", f"{numbered}/bundle.zip").content, self.out / sample.name)
            print(f"  {self.out / sample.name / 'report.html'}", file=sys.stderr, flush=True)

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
