"""How far a run is, told to whoever wants to show it."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""``(step, done, total)``."""


def silent(_step: str, _done: int, _total: int) -> None:
    """Report progress to nobody."""


def counter(progress: Progress, step: str, total: int) -> Callable[[int], None]:
    """Begin a step of so many units; return what is told how many more have ended."""
    ended = 0

    def done(count: int) -> None:
        nonlocal ended
        ended += count
        progress(step, ended, total)

    progress(step, 0, total)
    return done
