"""``POST /jobs {type: verify}``: a site's current report made once more from its evidence bundle, and compared.

The bundle says what was asked and which scenes were read; the archives give those scenes; no product made before is
used. What an archive received since does not matter: only the recorded scenes are read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import obstore
from sqlalchemy import Connection, select

from imagery.errors import DepotwatchError
from service import reports
from service.analysis_unit import BUNDLE, AnalyseUnit, RecordedScenes, Step, UnitRunner
from service.archives import ArchiveSource, sources
from service.artefacts import ArtefactStore, StoredFile
from service.database import Database
from service.errors import NotAvailable
from service.leases import Lease
from service.tables import sites

VERIFIED, OTHER_VERSION = "verified", "other-version"


class NotVerified(DepotwatchError):
    """A report that does not come out again as it was published: bundle, sources or a step differ."""

    code = "not-verified"


@dataclass(frozen=True, slots=True)
class Published:
    """The report to be verified, and where its site's scenes lie."""

    report: str
    number: int
    bundle: StoredFile
    archives: tuple[ArchiveSource, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a report that nothing contradicts."""

    report: str
    code: str
    message: str


def find_published(connection: Connection, lease: Lease) -> Published:
    """Return the current report of a lease's site.

    Raises
    ------
    NoReportYet, NotFound
    """
    head = reports.latest(connection, lease.tenant, lease.site)
    names = json.loads(
        connection.execute(select(sites.c.archives).where(sites.c.id == lease.site)).scalar_one()
    )
    return Published(
        head.id,
        head.number,
        reports.file_of(connection, head.id, BUNDLE),
        tuple(sources(connection, lease.tenant, names)),
    )


def verify_current(
    database: Database, store: ArtefactStore, lease: Lease, runner: UnitRunner, step: Step, folder: Path
) -> Verdict:
    """Replay the current report of a lease's site in a new ``folder``.

    Raises
    ------
    NotVerified : the bundle, its sources or what came out contradict the report
    NoReportYet : there is nothing to verify
    DepotwatchError : store or archives do not answer
    """
    from pipelines.verify import ReplayState, verify_bundle

    with database.read() as connection:
        published = find_published(connection, lease)
    folder.mkdir()
    bundle = folder / BUNDLE
    _fetch(store, published, bundle)
    replay = _Replay(lease.site, published.archives, runner, step, folder)
    result = verify_bundle(bundle, _place(published.archives, folder), replay)
    if not result.ok:
        raise NotVerified(f"report {published.number}: {result.told}")
    code = VERIFIED if result.replay is ReplayState.IDENTICAL else OTHER_VERSION
    if code == OTHER_VERSION:
        made_by = f"it was made by version {result.processing_version}"
        message = f"its files are whole; {made_by}, and {result.replay_reason}"
    else:
        message = result.replay_reason
    return Verdict(published.report, code, f"report {published.number}: {message}")


def _fetch(store: ArtefactStore, published: Published, place: Path) -> None:
    stored = published.bundle
    try:
        with place.open("wb") as file:
            for part in store.stream(stored.sha256, 0, stored.size):
                file.write(part)
    except FileNotFoundError as error:
        missing = f"report {published.number}: its evidence bundle is gone from the artefact store"
        raise NotVerified(missing) from error
    except obstore.exceptions.BaseError as error:
        raise NotAvailable(f"the artefact store does not answer: {type(error).__name__}") from error


def _place(archives: Sequence[ArchiveSource], folder: Path) -> Path:
    """Return where source files can be compared without opening an archive: one that is local, else nowhere."""
    if len(archives) == 1 and archives[0].kind != "remote":
        return Path(archives[0].source)
    nowhere = folder / "nowhere"
    nowhere.mkdir()
    return nowhere


class _Replay:
    """Runs a report again, from its site's archives."""

    def __init__(
        self, site: str, archives: tuple[ArchiveSource, ...], runner: UnitRunner, step: Step, folder: Path
    ) -> None:
        self._site, self._archives, self._step = site, archives, step
        self._runner = runner.afresh(folder / "products")

    def __call__(self, report: Mapping[str, Any], _catalog: Path, out: Path) -> None:
        """See ``pipelines.verify.Replay``."""
        self._runner(_unit(self._site, self._archives, report), out, self._step)
        (out / BUNDLE).unlink()  # a bundle does not hold itself


def _unit(site: str, archives: tuple[ArchiveSource, ...], report: Mapping[str, Any]) -> AnalyseUnit:
    from pipelines.replay import recorded

    asked = recorded(report)
    period = None if asked.period is None else "/".join(moment.isoformat() for moment in asked.period)
    parameters = {name: value for name, value in asdict(asked.parameters).items() if value is not None}
    scenes = RecordedScenes(
        frozenset(str(scene["scene_id"]) for scene in report["generated_from"]),
        frozenset(str(refused["where"]) for refused in report.get("refused", ())),
    )
    return AnalyseUnit(site, asked.site.name, asked.site.aoi, archives, period, parameters, scenes)
