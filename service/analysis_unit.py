"""The seam between a leased unit and the analysis: one site over one period into one folder."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import shapely
from shapely.geometry.base import BaseGeometry

from imagery.scene import Scene
from service.archives import ArchiveSource, is_waiting_folder
from service.moments import interval
from service.settings import Settings

if TYPE_CHECKING:
    from pipelines.archives import Bring
    from pipelines.archives.duplicates import Copy

BUNDLE = "bundle.zip"

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC).timestamp()
LATEST = datetime(2200, 1, 1, tzinfo=UTC).timestamp()

Step = Callable[[str, int, int], None]
"""``(step, done, total)``; may raise to stop the unit at a step boundary."""


@dataclass(frozen=True, slots=True)
class RecordedScenes:
    """What a report was made from, for making it again: scenes by id, and places whose refusal it told."""

    ids: frozenset[str]
    refused: frozenset[str]


@dataclass(frozen=True, slots=True)
class AnalyseUnit:
    """Everything the analysis of one site needs, and nothing of the database.

    ``scenes`` limits it to those a report was made from; None reads all there are.
    """

    site: str
    name: str
    aoi: BaseGeometry
    archives: tuple[ArchiveSource, ...]
    period: str | None
    parameters: dict[str, Any]
    scenes: RecordedScenes | None = None


class UnitRunner(Protocol):
    """Runs one unit and writes the report's folder (CONTRACT section 3), ``bundle.zip`` included.

    The same unit gives the same files. Faults of the input are DepotwatchErrors; nothing to see is no fault.
    """

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        """Write the report of ``unit`` into the new folder ``out``."""
        ...

    def afresh(self, products: Path) -> "UnitRunner":
        """Return a runner that uses no product made before, and keeps its own in a new folder."""
        ...


@dataclass(frozen=True, slots=True)
class SiteRunner:
    """The real analysis; ``products`` is where reusable steps are kept.

    ``scheduler`` is the address of a Dask cluster that does a unit's looks and reaches ``products``; None does them here.
    ``memory_bytes`` is what one unit may take; None for what the machine has.
    """

    products: str
    downloads: Path
    allow_hosts: frozenset[str]
    scheduler: str | None = None
    memory_bytes: int | None = None

    @classmethod
    def by(cls, settings: Settings) -> "SiteRunner":
        """Return the analysis as an operator set it."""
        return cls(
            settings.products_place,
            settings.downloads_place,
            settings.allowed_hosts,
            settings.scheduler or None,
            settings.memory_mib * 2**20 or None,
        )

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        """See ``UnitRunner``."""
        remote = any(archive.kind == "remote" for archive in unit.archives)
        if len(unit.archives) > 1 or unit.scenes is not None or remote:
            self._merged(unit, out, step)
        else:
            with tempfile.TemporaryDirectory(prefix="depotwatch-") as spare:
                waiting = not unit.archives or is_waiting_folder(unit.archives[0].source)
                source = _empty_catalog(Path(spare)) if waiting else unit.archives[0].source
                hosts = frozenset[str]() if waiting else unit.archives[0].allow_hosts
                self._single(source, unit, out, step, hosts)
        _add_bundle(out)

    def afresh(self, products: Path) -> "SiteRunner":
        """See ``UnitRunner``; it works here: no cluster need reach a folder of this process."""
        return replace(self, products=str(products), scheduler=None)

    def _single(
        self, source: str, unit: AnalyseUnit, out: Path, step: Step, hosts: frozenset[str] = frozenset()
    ) -> None:
        from pipelines.analysis import Site
        from pipelines.parameters import parameters_from
        from pipelines.site import analyse

        analyse(
            catalog=source,
            site=Site(unit.name, unit.aoi),
            out=out,
            period=period_of(unit.period),
            parameters=parameters_from(dict(unit.parameters)),
            scheduler=self.scheduler,
            store=self.products,
            allow_hosts=self.allow_hosts | hosts,
            progress=step,
            nothing_is_an_error=False,
            memory_bytes=self.memory_bytes,
        )

    def _merged(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        """Analyse the scenes of several archives, or some of them; of two with one id the first archive's counts.

        So does one acquisition that two of them hold, see ``copies_between``.
        """
        from pipelines.analysis import Site
        from pipelines.archives import open_archive
        from pipelines.parameters import parameters_from
        from pipelines.report.write import write_report
        from pipelines.runner import open_runner
        from pipelines.site import SceneSet, analyse_scenes

        step("search", 0, 1)
        scenes: dict[str, Scene] = {}
        places: dict[str, int] = {}
        bringing: dict[str, Bring] = {}
        refused: list[tuple[str, str, str]] = []
        for place, archive in enumerate(unit.archives):
            if is_waiting_folder(archive.source):
                continue
            opened = open_archive(
                archive.source,
                cache=self.downloads,
                allow_hosts=self.allow_hosts | archive.allow_hosts,
                trust_named=False,
                # Recorded scenes are run again to verify them: nothing is taken as known.
                remember=unit.scenes is None,
            )
            result = opened.search(unit.aoi, period_of(unit.period))
            refused += [
                (r.where, r.code, r.sentence)
                for r in result.refused
                if unit.scenes is None or r.where in unit.scenes.refused
            ]
            for scene in result.scenes:
                scenes.setdefault(scene.id, scene)
                places.setdefault(scene.id, place)
                bringing.setdefault(scene.id, result.bring)
        copies = copies_between(scenes, places, unit.aoi)
        if unit.scenes is None:
            scenes = {name: scene for name, scene in scenes.items() if name not in copies}
        else:
            scenes = {name: scene for name, scene in scenes.items() if name in unit.scenes.ids}
            copies = {name: copy for name, copy in copies.items() if name in unit.scenes.refused}
        refused += [(copy.where, copy.code, copy.sentence) for copy in copies.values()]
        step("search", 1, 1)
        if not scenes:
            with tempfile.TemporaryDirectory(prefix="depotwatch-") as spare:
                self._single(_empty_catalog(Path(spare)), unit, out, step)
            return
        with open_runner(1, self.scheduler) as runner:
            finished = analyse_scenes(
                Site(unit.name, unit.aoi),
                SceneSet(
                    tuple(scenes.values()),
                    tuple(refused),
                    _folders(unit.archives),
                    lambda scene, ground: bringing[scene.id](scene, ground),
                ),
                store=self.products,
                runner=runner,
                period=period_of(unit.period),
                parameters=parameters_from(dict(unit.parameters)),
                progress=step,
                memory_bytes=self.memory_bytes,
            )
        write_report(finished.analysis, finished.read_window, out, finished.raster)


def copies_between(
    scenes: Mapping[str, Scene], places: Mapping[str, int], aoi: BaseGeometry
) -> "dict[str, Copy]":
    """Return which scenes show an acquisition that another archive holds too, by the rule each keeps to on its own.

    Scenes of one archive are never copies of each other here: it knew their outlines and processing baselines, of which
    scenes tell nothing.

    Parameters
    ----------
    scenes : by id
    places : the number of each scene's archive; of equals the first archive's stays
    """
    from pipelines.archives.duplicates import SAME_PASS_S, without_duplicates
    from pipelines.archives.scenes import CheckedScene

    def checked(scene: Scene) -> CheckedScene:
        first = f"{len(scenes) - places[scene.id]:09d}"
        rank = (0.0, -scene.gsd_m, int(scene.mask is not None), first, scene.id)
        return CheckedScene(scene, shapely.from_wkt(scene.footprint), rank)

    def one(scene: Scene, other: Scene) -> bool:
        near = abs((scene.t_utc - other.t_utc).total_seconds()) <= SAME_PASS_S
        shared = {digest for _, digest in scene.sha256} & {digest for _, digest in other.sha256}
        return bool((near or shared) and without_duplicates([checked(scene), checked(other)], aoi)[1])

    if len(set(places.values())) < 2:
        return {}
    kept, copies = without_duplicates([checked(scene) for scene in scenes.values()], aoi)
    return {
        copy.where: copy
        for copy in copies
        if any(places[k.id] != places[copy.where] and one(scenes[copy.where], k) for k in kept)
    }


def _folders(archives: Sequence[ArchiveSource]) -> tuple[str, ...]:
    """Return the local folders of several archives; of one, what its files have in common is enough."""
    local = [Path(archive.source) for archive in archives if archive.kind != "remote"]
    return tuple(str(p if p.is_dir() else p.parent) for p in local) if len(archives) > 1 else ()


def period_of(text: str | None) -> tuple[datetime, datetime] | None:
    """Read ``A/B`` as two aware times; an open end lies beyond any image."""
    if text is None:
        return None
    start, end = interval(text, "/period")
    return (
        datetime.fromtimestamp(max(start, EARLIEST), UTC),
        datetime.fromtimestamp(min(end, LATEST), UTC),
    )


def _add_bundle(out: Path) -> None:
    from pipelines.report.bundle import write_bundle

    beside = out.with_name(BUNDLE)
    write_bundle(out, beside)
    beside.rename(out / BUNDLE)


def _empty_catalog(folder: Path) -> str:
    """Write a STAC catalog that holds nothing: a site without archives is not observable, which is no fault."""
    path = folder / "catalog.json"
    empty = {
        "type": "Catalog",
        "id": "none",
        "stac_version": "1.1.0",
        "description": "no archive",
        "links": [],
    }
    path.write_text(json.dumps(empty), "utf-8")
    return str(path)
