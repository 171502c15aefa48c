"""Which looks of a coarse series can be compared with each other, and at what sharpness.

A few looks that lack a band take it from all others, and a few with far larger pixels blur all others: those are left
out, and named. Where two sorts are left, the sharper looks are blurred, since every edge of sharp and blurred ground
differs; and what changed together with the sort of look is not believed before a look of one sort shows it alone.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from imagery.look import Look
from imagery.registration.looks import blurred
from imagery.timeseries.cube import common_bands

# The bands that tell vegetation from ground; one more or less beside them costs little.
TELLING = ("green", "red", "nir")
# Odd looks are left out where they are no more than this share and so many others remain.
FEW = 1 / 3
ENOUGH = 4
MUCH_COARSER = 2.0
SAME_SIZE = 1.1
# How the note of a look ends whose numbers stand for no reflectance (``pipelines.archives.radiometry``).
PLAIN_NUMBERS = "taken as relative brightness"


@dataclass(frozen=True, slots=True)
class Comparable:
    """Looks in the order given, the pixel size they are compared at, and what a reader must know of the choice."""

    looks: tuple[Look, ...]
    gsd_m: float
    several_sizes: bool
    warnings: tuple[str, ...]


def comparable_looks(looks: Sequence[Look]) -> Comparable:
    """Leave out the few looks that would cost all others a band or their sharpness; ``looks`` at least one."""
    kept, no_bands = _without(looks, [_lacks_bands(look, _usual_bands(looks)) for look in looks])
    middle = float(np.median([pixel_m(look) for look in kept]))
    kept, coarse = _without(kept, [pixel_m(look) > MUCH_COARSER * middle for look in kept])
    sizes = [pixel_m(look) for look in kept]
    several = max(sizes) > SAME_SIZE * min(sizes)
    warnings = [
        _left_out(no_bands, "without bands that most looks have"),
        _left_out(coarse, "with pixels far larger than those of most looks"),
        _fewer_bands(kept),
        f"The looks were compared at {max(sizes):g} m, the pixel size of the coarsest of them, though some have "
        f"pixels of {min(sizes):g} m."
        if several
        else "",
        _two_kinds(kept),
    ]
    return Comparable(tuple(kept), max(sizes), several, tuple(filter(None, warnings)))


def pixel_m(look: Look) -> float:
    """Return the size of what a look's pixels show on its grid, which may be coarser than the look."""
    return max(look.gsd_m, look.grid.gsd_m)


def at_pixel_size(look: Look, gsd_m: float) -> Look:
    """Return the look as sharp as one of this pixel size; the look itself where it is about that already."""
    own, wanted = pixel_m(look), gsd_m
    if wanted <= SAME_SIZE * own:
        return look
    size = look.grid.gsd_m
    return replace(
        look, reflectance=np.stack([blurred(band, own / size, wanted / size) for band in look.reflectance])
    )


def kinds_of(looks: Sequence[Look]) -> tuple[str, ...]:
    """Return one word per look: looks of different words show the same ground in different numbers.

    Reflectance is one kind, every encoding of plain numbers another; and where no band is common to all, what the one
    compared brightness is made of.
    """
    seen_in = [""] * len(looks) if common_bands(looks) else ["+".join(look.bands) for look in looks]
    return tuple(f"{_encoding(look)} {bands}" for look, bands in zip(looks, seen_in, strict=True))


def _encoding(look: Look) -> str:
    return next((note for note in look.notes if note.endswith(PLAIN_NUMBERS)), "reflectance")


def _usual_bands(looks: Sequence[Look]) -> tuple[str, ...]:
    """Return the bands that most looks have, of these the telling ones alone where there are any."""
    count = Counter(band for look in looks for band in look.bands)
    usual = tuple(band for band, n in count.items() if 2 * n > len(looks))
    return tuple(band for band in usual if band in TELLING) or usual


def _lacks_bands(look: Look, usual: tuple[str, ...]) -> bool:
    return any(band not in look.bands for band in usual)


def _without(looks: Sequence[Look], odd: Sequence[bool]) -> tuple[list[Look], list[Look]]:
    """Return the looks that are kept, and the odd ones where those are few; else all, and none."""
    rest = [look for look, is_odd in zip(looks, odd, strict=True) if not is_odd]
    if sum(odd) > FEW * len(looks) or len(rest) < ENOUGH:
        return list(looks), []
    return rest, [look for look, is_odd in zip(looks, odd, strict=True) if is_odd]


def _left_out(looks: Sequence[Look], why: str) -> str:
    if not looks:
        return ""
    are = "look was" if len(looks) == 1 else "looks were"
    return f"{len(looks)} {are} not compared, {why}: {_names(looks)}."


def _names(looks: Sequence[Look]) -> str:
    return ", ".join(look.scene_id for look in looks[:5]) + (" and others" if len(looks) > 5 else "")


def _fewer_bands(looks: Sequence[Look]) -> str:
    """Say so where looks have different bands and a telling one is not common to all."""
    common = common_bands(looks)
    if not any(_lacks_bands(look, _usual_bands(looks)) for look in looks):
        return ""
    compared = f"in {', '.join(common)} only" if common else "by brightness only"
    return f"The looks have different bands and were compared {compared}: fainter changes are missed."


def _two_kinds(looks: Sequence[Look]) -> str:
    plain = [look for look in looks if _encoding(look) != "reflectance"]
    if len({_encoding(look) for look in looks}) < 2:
        return ""
    return (
        f"Looks of different encodings were compared, {len(plain)} of {len(looks)} in plain numbers instead of reflectance "
        f"({_names(plain)}): a change that only looks of two encodings show together stays a first sight."
    )
