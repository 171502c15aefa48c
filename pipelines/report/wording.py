"""The words of every product: what is visible, never contents or intent (CONTRACT section 1, PITFALLS 6)."""

import math
from datetime import UTC, datetime

from imagery.changes import Change, Direction, ObjectClass
from imagery.lifecycle import CONFIRMED_FROM
from imagery.observability import ObservationState
from imagery.relations import Relation
from imagery.timeseries import COARSE_CONFIRMED_FROM

_NOUNS = {
    ObjectClass.CONTAINER: ("object consistent with a container", "objects consistent with containers"),
    ObjectClass.BERM: ("earth bank consistent with a berm", "earth banks consistent with berms"),
    ObjectClass.OTHER: ("structural change not identified", "structural changes not identified"),
}
_SHORT = {ObjectClass.CONTAINER: "container", ObjectClass.BERM: "berm", ObjectClass.OTHER: "not identified"}
_REASONS = {
    ObservationState.OUTSIDE_FOOTPRINT: "outside the scene",
    ObservationState.NODATA: "no data",
    ObservationState.CLOUD: "cloud",
    ObservationState.CLOUD_SHADOW: "cloud shadow",
    ObservationState.SNOW: "snow",
    ObservationState.SATURATED: "saturated",
    ObservationState.MISREGISTERED: "the scene could not be lined up",
    ObservationState.TOO_COARSE: "pixels too coarse",
    ObservationState.POOR_VIEW: "viewed too obliquely",
    ObservationState.POOR_LIGHT: "too little light",
}
COARSE_GSD_M = 2.0  # from here on pixels show that something is there, not what (ALGORITHMS B4)
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

METHOD = (
    "Every scene is shifted onto one reference scene of the site and its brightness brought to one scale; each "
    "pixel is interpolated once. Scenes that cannot be lined up surely are left out. What differs between clear "
    "looks is examined for edges, shape and shadow that agree with the sun on each date, and must persist.",
    "An object that is seen once is listed as first. It takes two independent looks to be provisional, and three, or two "
    f"with strong evidence, and a confidence of at least {CONFIRMED_FROM:g} to be confirmed ({COARSE_CONFIRMED_FROM:g} where pixels "
    "are too coarse to tell single objects apart; where they do, the learned detector must agree, too, and what is not identified "
    "is never confirmed). Without that a change stays provisional, however many looks show it.",
    "Dates are intervals: from the last clear look without the object to the first with it (for a removal: the "
    "last with it, the first without). Positions are in WGS 84; their accuracy is that of the reference scene.",
    "Numbers in the form 12 (10\u201314) give the best value and the interval that holds the true one in 90 of 100 "
    "cases.",
)
CONFUSIONS = (
    "Vehicles, trailers, stacked hay, tarpaulins, sheds and prefabricated buildings can look like containers; "
    "furrows, ditches, tracks, heaps and snow banks can look like berms."
)
CALIBRATION = (
    "Confidence is calibrated on rendered scenes: of changes scored 0.8 about 80 in 100 were real there. "
    "On real imagery it ranks changes; the share that is real may differ."
)
SCOPE = (
    "This report describes what is visible from above. It says nothing about what containers hold, who placed "
    "them or why."
)


def noun(object_class: ObjectClass, n: float = 2, gsd_m: float = 0.0) -> str:
    """Return what an object of a class is called in a sentence, singular for exactly one; coarse pixels claim less."""
    if object_class is ObjectClass.OTHER and gsd_m >= COARSE_GSD_M:
        return f"area{'s' if n != 1 else ''} of objects or disturbed ground, class uncertain"
    single, plural = _NOUNS.get(object_class, (f"object classed as {object_class}",) * 2)
    return single if n == 1 else plural


def short(object_class: ObjectClass) -> str:
    """Return the label of a class in legends and tables."""
    return _SHORT.get(object_class, str(object_class))


def heading(change: Change) -> str:
    """Return the few words above one change."""
    many = change.object_class is ObjectClass.CONTAINER and (
        change.count is None or change.count.value >= 1.5
    )
    return f"{capital(short(change.object_class))}{'s' if many else ''}, {change.direction}"


def reason(label: str) -> str:
    """Return plain words for an observation state's label, or for that of a scene that was not used."""
    if label == "not_registered":
        return _REASONS[ObservationState.MISREGISTERED]
    try:
        return _REASONS[ObservationState[label.upper()]]
    except KeyError:
        return label.replace("_", " ")


def in_words(n: int) -> str:
    """Spell small numbers out, as a newsroom does."""
    return _NUMBERS[n] if 0 <= n < len(_NUMBERS) else f"{n:,}".replace(",", "\u202f")


def date(t_utc: datetime) -> str:
    """Print a UTC day: 3 March 2024."""
    t = t_utc.astimezone(UTC)
    return f"{t.day} {t:%B} {t.year}"


def capital(text: str) -> str:
    """Upper-case the first letter only."""
    return text[:1].upper() + text[1:]


def joined(parts: list[str]) -> str:
    """Join as a sentence does: a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def metres(value: float) -> str:
    """Print a length or area as people read it: two significant digits above ten, thin spaces in thousands."""
    if value < 10:
        return f"{value:.1f}"
    step = 10 ** max(0, len(str(int(value))) - 2)
    return f"{round(value / step) * step:,}".replace(",", "\u202f")


def grouped(value: float) -> str:
    """Print a number as it is, thin spaces in thousands."""
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 1000 else f"{value:g}"


def area(m2: float) -> str:
    """Print an area with its unit."""
    return f"{m2 / 1e6:.1f} km²" if m2 >= 1e6 else f"{metres(m2)} m²"


def confidence(value: float) -> str:
    """Write a confidence with two places; none is so sure as to read 1.00, or so unlikely as to read 0.00."""
    if value > 0.99:
        return "over 0.99"
    return "under 0.01" if value < 0.01 else f"{value:.2f}"


def span(low: float, high: float) -> str:
    """Print an interval of whole numbers or areas."""
    return f"{metres(low)}\u2013{metres(high)}" if max(low, high) >= 10 else f"{low:.1f}\u2013{high:.1f}"


def whole_span(low: float, high: float) -> str:
    """Print an interval of counts, outward to whole numbers."""
    return f"{math.floor(low + 1e-9)}\u2013{math.ceil(high - 1e-9)}"


def happened(direction: Direction, n: float) -> str:
    """Return the verb: appeared; was or were removed."""
    if direction is Direction.APPEARED:
        return "appeared"
    return "was removed" if n == 1 else "were removed"


def _subject(change: Change) -> tuple[str, float]:
    area = f"about {metres(change.area_m2.value)} m² ({span(change.area_m2.low, change.area_m2.high)})"
    match change.object_class:
        case ObjectClass.CONTAINER if change.count is not None:
            n = max(1, round(change.count.value))
            words = capital(noun(change.object_class, n)) if n == 1 else noun(change.object_class, n)
            number = "" if n == 1 else f"{capital(in_words(n))} "
            return (
                f"{number}{words} (90 % interval {whole_span(change.count.low, change.count.high)})",
                n,
            )
        case ObjectClass.CONTAINER:
            return f"Objects consistent with containers, not counted, {area},", 2
        case ObjectClass.BERM:
            length = f", crest about {metres(change.length_m)} m long," if change.length_m else ""
            return f"Earth bank consistent with a berm{length}", 1
        case _:
            return f"{capital(noun(change.object_class, 1, change.gsd_m))}, {area},", 1


def statement(change: Change) -> str:
    """Say one change in one sentence, with its onset interval and never one date."""
    subject, n = _subject(change)
    return (
        f"{subject} {happened(change.direction, n)} between {date(change.onset.start)} "
        f"and {date(change.onset.end)}."
    )


def related(change: Change, relation: Relation, other: Change) -> str:
    """Say what another change of the site is to this one; a move is a possibility, never an observation."""
    when = f"between {date(other.onset.start)} and {date(other.onset.end)}"
    match relation:
        case Relation.REMOVED_BY:
            return f"Gone again {when}."
        case Relation.REMOVES:
            return f"It had appeared {when}."
        case Relation.RETURN_OF:
            return f"One like it stood there before and was removed {when}."
        case Relation.RETURNED_AS:
            return f"One like it appeared there again {when}."
        case Relation.MOVED_TO:
            return f"What alone appeared alike in the same time lies {_away(change, other)}: perhaps it was moved there."
        case Relation.MOVED_FROM:
            return f"What alone was removed alike in the same time stood {_away(change, other)}: perhaps it was moved from there."


_COMPASS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")


def _away(change: Change, other: Change) -> str:
    """Say how far and which way the other lies, centre to centre."""
    here, there = change.footprint.centroid, other.footprint.centroid
    east, north = there.x - here.x, there.y - here.y
    way = _COMPASS[round(math.degrees(math.atan2(east, north)) / 45.0) % 8]
    return f"{metres(math.hypot(east, north))} m to the {way}"


def coarse_limits(gsd_m: float) -> tuple[str, ...]:
    """Say what pixels of this size cannot show (ALGORITHMS B4); empty where they show it."""
    if gsd_m >= 20:
        return (
            f"At {gsd_m:g} m per pixel only disturbance of large parts of a site can be seen; "
            "containers and berms cannot be seen at this resolution.",
        )
    if gsd_m >= 8:
        return (
            f"At {gsd_m:g} m per pixel single containers, rows of fewer than about four and individual berms "
            "cannot be seen at this resolution. Only disturbance of about 1\u202f000 m² or more is reported, "
            "and never a count.",
        )
    if gsd_m >= COARSE_GSD_M:
        return (
            f"At {gsd_m:g} m per pixel objects present and disturbed ground are reported as areas; the class is "
            "uncertain and nothing is counted. Where nothing smaller than 120 m² was found, it could not have "
            "been seen: that is not the same as no change.",
        )
    if gsd_m > 0.9:
        return (
            f"At {gsd_m:g} m per pixel rows of containers can be told apart, touching ones only roughly; "
            "counts are marginal.",
        )
    return ()


GENERAL_LIMITS = (
    "A berm that runs within about 15° of the sun's direction casts hardly any shadow and can go unseen.",
    "Objects under trees, in the shadow of buildings, under snow or haze can go unseen.",
    "Every date is an interval between two clear looks; what came and went in between leaves no trace here.",
    "Counts are of one layer as seen from above: where containers are stacked they are lower bounds, and the upper end of the "
    "interval allows for three times as many: stacks of up to three layers, and several in one outline.",
)
