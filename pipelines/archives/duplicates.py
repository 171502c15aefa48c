"""One acquisition counts once, however often an archive holds it.

Two scenes are the same acquisition where their pixels are the same bytes, or where one platform took them within a
minute and they show the same part of the area. Of those, the one with the newest processing baseline stays, then the
finer, then the one with a mask. Neighbouring tiles of one pass that divide the area between them both stay, and say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shapely.geometry.base import BaseGeometry

from imagery.scene import Scene
from pipelines.archives.errors import DuplicateAcquisition
from pipelines.archives.scenes import CheckedScene

SAME_PASS_S = 60.0
# Tiles of one pass overlap by a strip; copies of one tile by all of it, give or take how the outline was drawn.
SAME_PLACE_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Copy:
    """A scene left out because another shows the same acquisition."""

    where: str
    code: str
    sentence: str


def without_duplicates(
    scenes: Sequence[CheckedScene], area: BaseGeometry | None
) -> tuple[tuple[Scene, ...], tuple[Copy, ...]]:
    """Return the scenes that stay, and the copies left out; the order of ``scenes`` does not matter."""
    best_first = sorted(scenes, key=lambda s: (_seen(s, area).area, *s.rank), reverse=True)
    best_first.sort(key=lambda s: s.rank[0], reverse=True)
    kept = _Kept()
    copies: list[Copy] = []
    for scene in best_first:
        original = next((k for k in kept.near(scene) if _same(k, scene, area)), None)
        if original is None:
            kept.add(scene)
        else:
            copies.append(
                Copy(
                    scene.scene.id,
                    DuplicateAcquisition.code,
                    f"{scene.scene.id}: shows the same acquisition as {original.scene.id}, which was kept",
                )
            )
    return tuple(_with_neighbours(k, kept.near(k)) for k in kept.scenes), tuple(copies)


class _Kept:
    """The scenes that stay, found by their pixels or by the minute they were taken in: archives hold ten thousand."""

    def __init__(self) -> None:
        self.scenes: list[CheckedScene] = []
        self._places: dict[str | int, list[int]] = {}

    def add(self, scene: CheckedScene) -> None:
        """Take a scene in."""
        names: list[str | int] = [*_pixels(scene.scene), _minute(scene.scene)]
        for name in names:
            self._places.setdefault(name, []).append(len(self.scenes))
        self.scenes.append(scene)

    def near(self, scene: CheckedScene) -> list[CheckedScene]:
        """Return the scenes that share pixels with one or were taken within ``SAME_PASS_S`` of it, as they came."""
        minute = _minute(scene.scene)
        names: list[str | int] = [*_pixels(scene.scene), minute - 1, minute, minute + 1]
        return [self.scenes[place] for place in sorted({p for n in names for p in self._places.get(n, ())})]


def _minute(scene: Scene) -> int:
    return int(scene.t_utc.timestamp() // SAME_PASS_S)


def _same(a: CheckedScene, b: CheckedScene, area: BaseGeometry | None) -> bool:
    if _pixels(a.scene) & _pixels(b.scene):
        return True
    if not _one_pass(a.scene, b.scene):
        return False
    seen_a, seen_b = _seen(a, area), _seen(b, area)
    smaller = min(seen_a.area, seen_b.area)
    return smaller == 0 or bool(seen_a.intersection(seen_b).area >= SAME_PLACE_SHARE * smaller)


def _pixels(scene: Scene) -> set[str]:
    """Return the hashes of its pixels; of large remote files no more than the tables are here, which tell nothing of them."""
    bands, parts = {b.path for b in scene.bands}, dict(scene.parts)
    return {digest for path, digest in scene.sha256 if path in bands and path not in parts}


def _one_pass(a: Scene, b: Scene) -> bool:
    platforms = {(s.platform or "").lower() for s in (a, b)}
    return abs((a.t_utc - b.t_utc).total_seconds()) <= SAME_PASS_S and (
        len(platforms) == 1 or "" in platforms
    )


def _seen(scene: CheckedScene, area: BaseGeometry | None) -> BaseGeometry:
    return scene.covered if area is None else scene.covered.intersection(area)


def _with_neighbours(scene: CheckedScene, kept: Sequence[CheckedScene]) -> Scene:
    others = sorted(k.scene.id for k in kept if k is not scene and _one_pass(k.scene, scene.scene))
    if not others:
        return scene.scene
    note = f"one pass with {', '.join(others)}, which shows another part of the area: not an independent look"
    return replace(scene.scene, notes=(*scene.scene.notes, note))
