"""What each kind of unit needs of memory at its peak, so that no more of them run at once than there is room for.

The numbers bound what was measured: resident bytes above an idle process with everything imported, four bands, files that
are mapped included (``python -m benchmarks.memory``; ``tests/pipelines/test_memory.py`` measures them again).
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from imagery.errors import DepotwatchError
from imagery.grid import SiteGrid
from pipelines.working_memory import KEPT_FREE

# The rest is for the file cache, the operating system and whoever else is there.
SHARE_OF_MEMORY = 0.8
IDLE_BYTES = 300 * 2**20
"""A process with everything imported and the network loaded."""
CHIP_BYTES_PER_PX = 45
LOOK_BYTES_PER_PX = 145
# Of the search for changes and the report after it, by kind of pixel (True: coarse): once, and for every look.
SERIES_BYTES_PER_PX = {False: (95, 11), True: (200, 50)}
CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class MemoryTooSmall(DepotwatchError):
    """A unit that needs more memory than it may ever have: nothing of it was begun."""

    code = "memory-too-small"


def machine_bytes() -> int:
    """Return the memory that this machine, or the container around this process, leaves to work with."""
    least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # not there, or "max"
            least = min(least, int(path.read_text()))
    return int(least * SHARE_OF_MEMORY)


def check_room(what: str, need_bytes: int, room_bytes: int) -> None:
    """Refuse what can never fit, before anything of it is begun.

    Raises
    ------
    MemoryTooSmall
    """
    if need_bytes > room_bytes:
        raise MemoryTooSmall(
            f"{what} needs about {need_bytes / 2**30:.1f} GiB of memory at its peak and may use {room_bytes / 2**30:.1f}; "
            "give it more by a larger machine or fewer workers on it, or ask for less by a shorter period, larger pixels "
            "(gsd_m) or less ground"
        )


def pixels(grid: SiteGrid) -> int:
    """Return how many pixels a grid has."""
    return grid.rows * grid.cols


def chip_bytes(grid: SiteGrid) -> int:
    """Return what ``make_chip`` needs on a grid, with what its process holds on to from the units before it."""
    return KEPT_FREE + pixels(grid) * CHIP_BYTES_PER_PX


def look_bytes(grid: SiteGrid) -> int:
    """Return what ``make_look`` needs on a grid, and ``plant_look`` too; as of ``chip_bytes``."""
    return KEPT_FREE + pixels(grid) * LOOK_BYTES_PER_PX


def series_bytes(grid: SiteGrid, looks: int, *, coarse: bool) -> int:
    """Return what the search for changes in so many looks on a grid and the report need; as of ``chip_bytes``."""
    once, each = SERIES_BYTES_PER_PX[coarse]
    return KEPT_FREE + pixels(grid) * (once + each * looks)


def site_bytes(
    grids: Mapping[bool, SiteGrid], chip_grids: Mapping[bool, SiteGrid], coarse: Sequence[bool]
) -> int:
    """Return what the whole analysis of a site and its report need in one process that does one unit at a time.

    Parameters
    ----------
    grids, chip_grids : by kind of pixel, True for coarse
    coarse : of each look, which kind it is
    """
    needs = [chip_bytes(grid) for grid in chip_grids.values()]
    for kind in set(coarse):
        needs += [look_bytes(grids[kind]), series_bytes(grids[kind], coarse.count(kind), coarse=kind)]
    return IDLE_BYTES + max(needs, default=0)
