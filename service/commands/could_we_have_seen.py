"""``depotwatch could-we-have-seen``: plant rendered objects into a site's own looks and report the recall."""

import argparse
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from imagery.errors import DepotwatchError

if TYPE_CHECKING:
    from pipelines.analysis import Site
    from pipelines.archives import Bring
    from pipelines.parameters import Parameters
    from pipelines.site import SceneSet

SUMMARY = "Plant rendered objects into a site's own looks and report how many of them are found."


class NoSiteGiven(DepotwatchError):
    """Neither a site of the service nor a catalog with an AOI, or both at once."""

    code = "no-site-given"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from service.options import add_data_options

    parser.add_argument("site", nargs="?", help="id or name of a site of the service whose --data this is")
    parser.add_argument("--catalog", help="without a service: STAC catalog, folder of GeoTIFFs, or STAC API")
    parser.add_argument("--aoi", type=Path, help="without a service: GeoJSON polygon")
    parser.add_argument("--tenant", help="whose site, where several have one of that name")
    parser.add_argument("--period", help="only scenes of this time, e.g. 2024-01-01/2024-06-30")
    parser.add_argument("--gsd", type=float, help="pixel size of the site grid in metres")
    parser.add_argument("--min-confidence", type=float, help="count as found from here on (0-1)")
    parser.add_argument("--no-network", action="store_true", help="leave the learned detector out")
    parser.add_argument("--each", type=int, default=5, help="objects of every size (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="of places, onsets and colours (default 0)")
    parser.add_argument("--workers", type=int, default=1, help="processes to use (default 1)")
    parser.add_argument("--cache", help="folder or URL where products are kept for the next run")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write the whole report here")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--allow-host", action="append", default=[], help="private host a STAC API may refer to"
    )
    add_data_options(parser)


@dataclass(frozen=True, slots=True)
class _Target:
    """What is to be tested."""

    site: "Site"
    scenes: "SceneSet"
    period: tuple[datetime, datetime] | None
    parameters: "Parameters"
    products: str | None


def run(args: argparse.Namespace) -> int:
    """Analyse the site once, plant, and print the table, or the whole report with ``--json``."""
    from pipelines.planting import as_table, could_we_have_seen, to_json_text
    from pipelines.runner import open_runner
    from service.commands.analyse import BadWorkers, ProgressBar
    from service.options import write_out

    if not 1 <= args.workers <= 256:
        raise BadWorkers(f"--workers is {args.workers}; give a number from 1 to 256")
    if args.out is not None:
        _check_out(args.out)
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="depotwatch-"))
        target = _served(args, Path(folder)) if args.site is not None else _given(args, Path(folder))
        runner = stack.enter_context(open_runner(args.workers))
        bar = ProgressBar()
        stack.callback(bar.close)
        report = could_we_have_seen(
            target.site,
            target.scenes,
            store=args.cache or target.products or folder,
            runner=runner,
            period=target.period,
            parameters=target.parameters,
            each=args.each,
            seed=args.seed,
            progress=bar,
        )
    if args.out is not None:
        write_out(args.out, to_json_text(report).encode())
    if args.json:
        sys.stdout.write(to_json_text(report))
    else:
        print(as_table(report))
    return 0


def _check_out(out: Path) -> None:
    """Refuse a place that cannot be written to before the work of an hour, not after it.

    Raises
    ------
    CannotWrite : there is no such folder, it may not be written to, or a folder has that name
    """
    from pipelines.register import CannotWrite

    if os.path.isdir(out):
        raise CannotWrite(f"{out}: is a folder; name a file in it", pointer="--out")
    if not os.path.isdir(out.parent):
        raise CannotWrite(f"{out.parent}: there is no such folder", pointer="--out")
    if not os.access(out.parent, os.W_OK):
        raise CannotWrite(f"{out.parent}: may not be written to", pointer="--out")


def _overrides(args: argparse.Namespace) -> dict[str, object]:
    values: dict[str, object] = {"network": False} if args.no_network else {}
    for name, value in (("gsd_m", args.gsd), ("min_confidence", args.min_confidence)):
        if value is not None:
            values[name] = value
    return values


def _given(args: argparse.Namespace, folder: Path) -> _Target:
    """Take the site from ``--aoi`` and its scenes from ``--catalog``."""
    from pipelines.aoi import read_aoi
    from pipelines.parameters import parameters_from
    from service.commands.analyse import parse_period

    if args.catalog is None or args.aoi is None:
        raise NoSiteGiven("name a site of the service, or give --catalog and --aoi")
    site, period = read_aoi(args.aoi), parse_period(args.period)
    downloads = Path(args.cache if args.cache and "://" not in args.cache else folder) / "downloads"
    scenes = _found([args.catalog], site.aoi, period, downloads, frozenset(args.allow_host))
    return _Target(site, scenes, period, parameters_from(_overrides(args)), None)


def _served(args: argparse.Namespace, folder: Path) -> _Target:
    """Take site, archives and parameters from the service's own database."""
    from pipelines.analysis import Site
    from pipelines.parameters import parameters_from
    from service.archives import is_waiting_folder
    from service.commands.analyse import parse_period
    from service.options import settings_from

    if args.catalog is not None or args.aoi is not None:
        raise NoSiteGiven("give either a site of the service or --catalog and --aoi, not both")
    settings = settings_from(args)
    name, aoi, sources, parameters = _stored(args, settings)
    period = parse_period(args.period)
    waiting = [source for source in sources if not is_waiting_folder(source)]
    hosts = settings.allowed_hosts | frozenset(args.allow_host)
    scenes = _found(waiting, aoi, period, settings.downloads_place, hosts)
    chosen = parameters_from(parameters | _overrides(args))
    return _Target(Site(name, aoi), scenes, period, chosen, settings.products_place)


def _stored(args: argparse.Namespace, settings: Any) -> tuple[str, Any, list[str], dict[str, object]]:
    """Return name, geometry, archive sources and parameters of the one living site of that id or name.

    Raises
    ------
    NotFound : there is none, or several have the name
    """
    import json

    from sqlalchemy import or_, select

    from service.archives import sources
    from service.database import Database
    from service.errors import NotFound
    from service.sites import geometry_of
    from service.tables import sites, tenants

    database = Database(settings.database_url)
    database.migrate()
    wanted = or_(sites.c.id == args.site, sites.c.name == args.site)
    statement = select(sites).where(wanted, sites.c.deleted.is_(None))
    if args.tenant is not None:
        statement = statement.join(tenants, tenants.c.id == sites.c.tenant).where(
            tenants.c.name == args.tenant
        )
    with database.read() as connection:
        rows = connection.execute(statement.order_by(sites.c.id)).all()
        if len(rows) != 1:
            several = f"{len(rows)} sites are called {args.site!r}; give the id or --tenant"
            raise NotFound(several if rows else f"there is no site {args.site!r} in {settings.data}")
        row = rows[0]
        aoi = geometry_of(connection, row.id, row.geometry_version)
        named = json.loads(row.archives)
        found = [archive.source for archive in sources(connection, row.tenant, named)]
    database.close()
    return row.name, aoi, found, dict(json.loads(row.parameters) or {})


def _found(
    sources: list[str],
    aoi: Any,
    period: tuple[datetime, datetime] | None,
    downloads: Path,
    hosts: frozenset[str],
) -> "SceneSet":
    """Search archives; of two scenes with one id the first archive's counts.

    Raises
    ------
    NothingToAnalyse : no scene of the site in the period
    """
    from pipelines.archives import open_archive
    from pipelines.site import NothingToAnalyse, SceneSet

    scenes: dict[str, Any] = {}
    bringing: dict[str, Bring] = {}
    refused: list[tuple[str, str, str]] = []
    for source in sources:
        result = open_archive(source, cache=downloads, allow_hosts=hosts).search(aoi, period)
        refused += [(r.where, r.code, r.sentence) for r in result.refused]
        for scene in result.scenes:
            scenes.setdefault(scene.id, scene)
            bringing.setdefault(scene.id, result.bring)
    if not scenes:
        raise NothingToAnalyse(
            "no archive holds a scene of the site in the period, so nothing can be planted"
        )
    return SceneSet(
        tuple(scenes.values()),
        tuple(refused),
        bring=lambda scene, ground: bringing[scene.id](scene, ground),
    )
