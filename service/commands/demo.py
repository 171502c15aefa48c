"""``depotwatch demo``: a service on a temporary folder with the sample site in it, and a key to look at it with."""

import argparse
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from imagery.errors import DepotwatchError

if TYPE_CHECKING:
    from service.context import Service
    from service.settings import Settings

SUMMARY = "Serve with the sample site loaded and analysed; print the address and a one-time key."
SAMPLE = Path(__file__).parents[2] / "sample_tiles" / "depot-0.5m"


class NoSample(DepotwatchError):
    """The sample scenes are not where the source tree has them."""

    code = "no-sample"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument(
        "--sample", type=Path, default=SAMPLE, help="folder with catalog.json and aoi.geojson"
    )
    parser.add_argument("--data", type=Path, help="keep the data here (default: a folder removed at the end)")


def run(args: argparse.Namespace) -> int:
    """Serve until stopped."""
    import tempfile

    from service.options import settings_from
    from service.telemetry import configure_logging

    if not (args.sample / "aoi.geojson").is_file():
        raise NoSample(
            f"{args.sample} holds no aoi.geojson; give --sample FOLDER with catalog.json beside it"
        )
    configure_logging("WARNING")
    if args.data is not None:
        return _serve(args, settings_from(args))
    with tempfile.TemporaryDirectory(prefix="depotwatch-demo-") as folder:
        args.data = Path(folder)
        return _serve(args, settings_from(args))


def _serve(args: argparse.Namespace, settings: "Settings") -> int:
    from service.keys import SCOPES, create_key, pepper
    from service.server import serve

    key = ""

    def prepare(service: "Service") -> None:
        nonlocal key
        key = create_key(service.database, pepper(settings), "demo", SCOPES, note="demo", valid_s=86_400.0)
        _load(service, args.sample)

    def announce(address: str) -> None:
        print(address, flush=True)
        print(key, flush=True)
        threading.Thread(target=_tell, args=(address, key), daemon=True).start()

    return serve(settings, args.host, args.port, 1, announce=announce, prepare=prepare)


def _load(service: "Service", sample: Path) -> None:
    """Make the sample an archive and its AOI a site, with its first job waiting."""
    from service import archives, jobs
    from service.intake import read_file, read_sites
    from service.sites import create_site
    from service.tenancy import ensure_tenant
    from service.watch import index_archive

    database = service.database
    body, kind = read_file(str(sample / "aoi.geojson"), None, analyse=True)
    draft = read_sites(body, kind).drafts[0]
    with database.write() as connection:
        tenant = ensure_tenant(database, connection, "demo")
        source = sample / "catalog.json"
        archive = archives.add_archive(
            database, connection, "sample", "catalog", str(source.resolve()), tenant
        )
    cursor = index_archive(database, service.settings, archive)
    with database.write() as connection:
        archives.note_watch(database, connection, archive.id, cursor, None)
        row = create_site(database, connection, tenant, draft, max_sites=1_000)
        request = jobs.JobRequest("analyse", [row.id], None, {}, "site-submitted")
        jobs.submit(database, connection, tenant, request, max_queued=1_000)


def _tell(address: str, key: str) -> None:
    """Say on stderr when the sample is analysed, and where its report is."""
    from service.client import Client

    with Client(address, key) as client:
        site = next(client.sites())
        job = client.request("GET", "/jobs").json()["jobs"][0]
        ended = client.wait(job["id"])
        if ended["state"] != "successful":
            print(
                f"the sample's analysis is {ended['state']}: {address}/jobs/{job['id']}/logs", file=sys.stderr
            )
            return
        report = client.latest_report(site["id"])
    print(f"analysed: {report.get('headline', '')}", file=sys.stderr)
    print(f"{address}/sites/{site['id']}/reports/latest.html", file=sys.stderr, flush=True)
