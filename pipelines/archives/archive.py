"""What every archive answers: which scenes cover a place in a period, and which were refused and why."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from shapely.geometry.base import BaseGeometry

from imagery.errors import DepotwatchError
from imagery.scene import Scene
from pipelines.archives.claims import SceneClaim, one_line
from pipelines.archives.duplicates import without_duplicates
from pipelines.archives.errors import BadSceneMetadata, DuplicateSceneId
from pipelines.archives.fingerprints import Fingerprints
from pipelines.archives.ground import Ground
from pipelines.archives.scenes import CheckedScene, Fetch, brought, check_scene, hashed

DESCRIBED_OUTLINE_TOLERANCE_DEG = 0.02
Period = tuple[datetime | None, datetime | None]


Bring = Callable[[Scene, Ground | None], Scene]
"""Return a scene whose files hold the pixels of some ground, or all (None); raises DepotwatchError if they don't come."""


def as_found(scene: Scene, _ground: Ground | None) -> Scene:
    """Return a scene as it is: its files are whole."""
    return scene


@dataclass(frozen=True, slots=True)
class Refusal:
    """One scene that cannot be used: where it lies, a stable code, one sentence on one line."""

    where: str
    code: str
    sentence: str

    @classmethod
    def of(cls, error: DepotwatchError, where: str) -> "Refusal":
        """Say of what lies at ``where`` what an error says."""
        return cls(one_line(where)[:200], error.code, one_line(error.detail)[:1000])


@dataclass(frozen=True, slots=True)
class ArchiveResult:
    """Scenes that touch the area, by (time, id); ``refused`` by (where, code).

    ``elsewhere`` are footprints (WKT, EPSG:4326) of good scenes of the period that do not touch the area. ``bring`` gives
    scenes their pixels: of large remote files only the tables are there before.
    """

    scenes: tuple[Scene, ...]
    refused: tuple[Refusal, ...] = ()
    elsewhere: tuple[str, ...] = ()
    bring: Bring = field(default=as_found, compare=False, repr=False)


class Archive(Protocol):
    """Where scenes come from."""

    source: str

    def search(self, area: BaseGeometry | None = None, period: Period | None = None) -> ArchiveResult:
        """Return the scenes that touch ``area`` (EPSG:4326; None for all) within ``period``, both ends included.

        One bad scene is a refusal and never stops the rest.

        Raises
        ------
        UnreadableArchive : the archive as a whole cannot be read
        """
        ...


def within(t_utc: datetime, period: Period | None) -> bool:
    """Tell whether a time lies in a period; open ends are None."""
    if period is None:
        return True
    start, end = period
    return (start is None or t_utc >= start) and (end is None or t_utc <= end)


def gather(
    claims: Iterable[SceneClaim | Refusal],
    fetch: Fetch,
    area: BaseGeometry | None,
    period: Period | None,
    prints: Fingerprints,
) -> ArchiveResult:
    """Check every claim of an archive and put the result in order."""
    refused: list[Refusal] = []
    elsewhere: list[str] = []
    good: list[CheckedScene] = []
    seen: dict[str, str] = {}
    for claim in claims:
        if isinstance(claim, Refusal):
            refused.append(claim)
            continue
        if not within(claim.t_utc, period):
            continue
        if area is not None and claim.outline is not None and _far(claim.outline, area):
            elsewhere.extend([] if claim.radar else [claim.outline.wkt])
            continue
        try:
            if claim.id != one_line(claim.id):
                raise BadSceneMetadata(
                    f"{claim.where}: its id {claim.id[:200]} holds what is no printable text; give it another name",
                    pointer=claim.where,
                )
            if claim.id in seen:
                raise DuplicateSceneId(
                    f"{claim.where}: its id {claim.id} is also that of {seen[claim.id]}; give each scene its own",
                    pointer=claim.where,
                )
            seen[claim.id] = claim.where
            checked = check_scene(claim, fetch, prints)
        except DepotwatchError as error:
            refused.append(Refusal.of(error, claim.where))
            continue
        if area is not None and not checked.covered.intersects(area):
            elsewhere.append(checked.scene.footprint)
        else:
            good.append(replace(checked, scene=hashed(checked.scene, fetch, prints)))
    prints.keep()
    kept, copies = without_duplicates(good, area)
    refused.extend(Refusal(c.where, c.code, c.sentence) for c in copies)
    return ArchiveResult(
        tuple(sorted(kept, key=lambda s: (s.t_utc, s.id))),
        tuple(sorted(refused, key=lambda r: (r.where, r.code, r.sentence))),
        tuple(sorted(set(elsewhere))),
        partial(_brought, fetch, prints),
    )


def _brought(fetch: Fetch, prints: Fingerprints, scene: Scene, ground: Ground | None) -> Scene:
    moved = brought(scene, ground, fetch, prints)
    prints.keep()
    return moved


def _far(outline: BaseGeometry, area: BaseGeometry) -> bool:
    """Tell whether a described outline rules a scene out without opening it; descriptions may be a little off."""
    return bool(outline.distance(area) > DESCRIBED_OUTLINE_TOLERANCE_DEG)
