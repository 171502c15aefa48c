"""What every archive answers: which scenes cover a place in a period, and which were refused and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shapely.geometry.base import BaseGeometry

from imagery.errors import DepotwatchError
from imagery.scene import Scene
from pipelines.archives.claims import SceneClaim, one_line
from pipelines.archives.duplicates import without_duplicates
from pipelines.archives.errors import BadSceneMetadata, DuplicateSceneId
from pipelines.archives.fingerprints import Fingerprints
from pipelines.archives.scenes import CheckedScene, Fetch, check_scene, hashed

DESCRIBED_OUTLINE_TOLERANCE_DEG = 0.02
Period = tuple[datetime | None, datetime | None]


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

    ``elsewhere`` are footprints (WKT, EPSG:4326) of good scenes of the period that do not touch the area.
    """

    scenes: tuple[Scene, ...]
    refused: tuple[Refusal, ...] = ()
    elsewhere: tuple[str, ...] = ()


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
            elsewhere.append(claim.outline.wkt)
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
            good.append(hashed(checked, prints))
    prints.keep()
    kept, copies = without_duplicates(good, area)
    refused.extend(Refusal(c.where, c.code, c.sentence) for c in copies)
    return ArchiveResult(
        tuple(sorted(kept, key=lambda s: (s.t_utc, s.id))),
        tuple(sorted(refused, key=lambda r: (r.where, r.code, r.sentence))),
        tuple(sorted(set(elsewhere))),
    )


def _far(outline: BaseGeometry, area: BaseGeometry) -> bool:
    """Tell whether a described outline rules a scene out without opening it; descriptions may be a little off."""
    return bool(outline.distance(area) > DESCRIBED_OUTLINE_TOLERANCE_DEG)
