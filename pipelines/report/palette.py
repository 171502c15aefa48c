"""Colours that stay apart for every common kind of colour blindness, on imagery, in print and in the dark.

Orange and blue are of Okabe and Ito (2008), Color Universal Design; the dark plum beside them is darker than theirs, which
is a second blue without red cones. Class is colour, direction is shape and line: never colour alone.
"""

from imagery.changes import ObjectClass

COLOURS = {ObjectClass.CONTAINER: "#d55e00", ObjectClass.BERM: "#0072b2", ObjectClass.OTHER: "#661a5e"}
FALLBACK = "#666666"


def colour(object_class: str) -> str:
    """Return the colour of a class as ``#rrggbb``."""
    return next((c for k, c in COLOURS.items() if k == object_class), FALLBACK)
