"""Colours that stay apart for every common kind of colour blindness, on imagery, in print and in the dark.

Okabe and Ito (2008), Color Universal Design. Class is colour, direction is shape and line: never colour alone.
"""

from imagery.changes import ObjectClass

COLOURS = {ObjectClass.CONTAINER: "#d55e00", ObjectClass.BERM: "#0072b2", ObjectClass.OTHER: "#aa4499"}
FALLBACK = "#666666"


def colour(object_class: str) -> str:
    """Return the colour of a class as ``#rrggbb``."""
    return next((c for k, c in COLOURS.items() if k == object_class), FALLBACK)
