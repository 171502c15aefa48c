"""What an analysis holds on to while it runs and gives back when it ends: freed memory, and pixels it has decoded.

Every step takes and frees arrays of some megabytes. The C library hands each back to the system at once and asks for
fresh pages for the next one, which the system must clear: a tenth of an analysis' CPU time. And the same pixels of a
scene are wanted several times: to place it, to look at it, and for the pictures of the report. What was there before it
began is left out of the search for objects that only hold each other: to go through all libraries took a fortieth of an
analysis that had little else to do.
"""

import ctypes
import gc
import sys
from contextlib import ContextDecorator
from threading import Lock
from types import TracebackType

from imagery.rasters import DecodedPixels

# How much freed memory is kept for the next array, and from what size on an array gets pages of its own: the largest
# that glibc comes to by itself. Both in bytes.
KEPT_FREE = 256 * 2**20
OWN_PAGES = 32 * 2**20
GLIBC_KEPT_FREE = 128 * 2**10
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as <malloc.h> numbers them


class WorkingMemory(ContextDecorator):
    """Holds on for as long as a ``with`` block lasts; blocks may lie in each other and on several threads."""

    def __init__(self) -> None:
        self.pixels = DecodedPixels()
        self._lock = Lock()
        self._blocks = 0

    def __enter__(self) -> None:
        with self._lock:
            self._blocks += 1
            if self._blocks == 1:
                self.pixels.keep(True)
                _keep_freed(KEPT_FREE)
                gc.freeze()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                self.pixels.keep(False)
                _keep_freed(GLIBC_KEPT_FREE)
                gc.unfreeze()


WORKING_MEMORY = WorkingMemory()
"""Of this process, as its heap is."""


def _keep_freed(most: int) -> None:
    """Say how much freed memory to keep and hand back what is more; no other C library than glibc can be told."""
    if sys.platform != "linux" or not hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        return
    library.mallopt(_MMAP_THRESHOLD, OWN_PAGES)
    library.mallopt(_TRIM_THRESHOLD, most)
    library.malloc_trim(most)
