"""The pixels of remote scenes, fetched for as much ground as an analysis reads and no more.

What it reads is known only when all scenes are: the finest gives the site its grid, and the reference, which may be any
of them, is read on the grids of both kinds of pixels. So archives are searched by the tables of their files, and the
pixels come here, before the first step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shapely.geometry.base import BaseGeometry

from imagery.changes import Change
from imagery.errors import DepotwatchError
from imagery.scene import Scene
from pipelines.archives import Bring, Ground
from pipelines.archives.errors import DownloadFailed, DuplicateAcquisition
from pipelines.parameters import Parameters
from pipelines.progress import Progress, counter, silent
from pipelines.report.features import window_of
from pipelines.site_grids import SiteGrids, grids_of

STEP = "fetch"
# Of a grid's pixels: the kernel's two, and what a smooth field or a slope adds to the largest shift.
SLACK_PX = 16
# Grids that are coarsened for thumbnails and tiles end up to a pixel of theirs beyond the site's edge, and their kernels
# reach two further: three pixels as large as the site's longer side by 128 at most.
COARSENED_SHARE = 1 / 32


@dataclass(frozen=True, slots=True)
class Fetched:
    """Scenes with their pixels, by time and id, and the grids these make.

    ``ground`` is what excerpts hold, None for all of their files; ``refused`` are (where, code, sentence) of scenes that
    did not come.
    """

    scenes: tuple[Scene, ...]
    grids: SiteGrids
    ground: Ground | None
    refused: tuple[tuple[str, str, str], ...]


def fetch_pixels(
    aoi: BaseGeometry,
    scenes: Sequence[Scene],
    bring: Bring,
    parameters: Parameters,
    *,
    everywhere: bool = False,
    progress: Progress = silent,
) -> Fetched:
    """Bring all pixels that an analysis of a site may read.

    Parameters
    ----------
    aoi : EPSG:4326
    everywhere : the whole of every scene instead
    progress : told of step ``fetch`` how many of the remote scenes came or did not; of none where all lie here

    Raises
    ------
    DepotwatchError : of the last scene, where not one came
    """
    wanted = sorted(scenes, key=lambda scene: (scene.t_utc, scene.id))
    refused: list[tuple[str, str, str]] = []
    while True:
        grids = grids_of(aoi, wanted, parameters)
        ground = None if everywhere else _ground(grids, parameters)
        came, lost = _brought(wanted, ground, bring, progress)
        if not lost:
            return Fetched(came, grids, ground, tuple(refused))
        if not came:
            raise lost[-1][1]
        # Without a scene the grids may be others.
        refused += [(scene.id, error.code, error.detail) for scene, error in lost]
        wanted = [scene for scene in wanted if all(scene is not gone for gone, _ in lost)]


def _brought(
    scenes: Sequence[Scene], ground: Ground | None, bring: Bring, progress: Progress
) -> tuple[tuple[Scene, ...], list[tuple[Scene, DepotwatchError]]]:
    """Return the scenes that came, in order, and why the others did not; a network is given a second chance at the end."""
    came: dict[int, Scene] = {}
    lost: dict[int, DepotwatchError] = {}
    ended = _counted(scenes, progress)
    for again in (False, True):
        for number, scene in enumerate(scenes):
            if again and not isinstance(lost.get(number), DownloadFailed):
                continue
            try:
                came[number] = bring(scene, ground)
                lost.pop(number, None)
            except DepotwatchError as error:
                lost[number] = error
            if not again:
                ended(scene)
    shown: dict[str, Scene] = {}
    for number in sorted(came):
        excerpts = _excerpts(came[number])
        twin = next((shown[digest] for digest in sorted(excerpts) if digest in shown), None)
        if twin is None:
            shown |= dict.fromkeys(excerpts, came[number])
        else:  # by their tables alone an archive could not tell
            lost[number] = DuplicateAcquisition(
                f"{scenes[number].id}: shows the same acquisition as {twin.id}, which was kept"
            )
    kept = tuple(came[number] for number in sorted(came) if number not in lost)
    return kept, [(scenes[number], lost[number]) for number in sorted(lost)]


def _counted(scenes: Sequence[Scene], progress: Progress) -> Callable[[Scene], None]:
    """Begin step ``fetch`` over the scenes that lie elsewhere, if any; return what is told which has ended."""
    remote = sum(bool(scene.parts) for scene in scenes)
    if not remote:
        return lambda _scene: None
    more = counter(progress, STEP, remote)
    return lambda scene: more(1) if scene.parts else None


def _ground(grids: SiteGrids, parameters: Parameters) -> Ground:
    site = grids.site
    slack = (SLACK_PX + max(site.shape) * COARSENED_SHARE) * site.gsd_m
    ground = Ground.around(site, slack + parameters.search_m(site.gsd_m))
    for chip in grids.chips.values():
        ground = ground.with_(Ground.around(chip, SLACK_PX * chip.gsd_m + parameters.search_m(chip.gsd_m)))
    return ground


def _excerpts(scene: Scene) -> set[str]:
    bands, parts = {band.path for band in scene.bands}, dict(scene.parts)
    return {digest for path, digest in scene.sha256 if path in bands and path in parts}


def fetch_surroundings(
    fetched: Fetched,
    changes: Sequence[Change],
    bring: Bring,
    parameters: Parameters,
    progress: Progress = silent,
) -> tuple[tuple[Scene, ...], Ground | None]:
    """Return the scenes, and their ground, with what pictures of changes show beyond it: long ones at a site's edge.

    Raises
    ------
    DepotwatchError : a scene that was there before did not come
    """
    site, ground = fetched.grids.site, fetched.ground
    if ground is None or not any(scene.parts for scene in fetched.scenes):
        return fetched.scenes, ground
    around = ground
    margin = SLACK_PX * site.gsd_m + parameters.search_m(site.gsd_m)
    for change in changes:
        around = around.with_(Ground.around(window_of(change, site), margin))
    if around == ground:
        return fetched.scenes, ground
    ended = _counted(fetched.scenes, progress)
    wider = []
    for scene in fetched.scenes:
        wider.append(bring(scene, around))
        ended(scene)
    return tuple(wider), around
