"""Numbers and changes in sentences."""

import math
from collections.abc import Mapping
from typing import Any


def counted(number: int, noun: str) -> str:
    """Return ``1 look``, ``2 looks``: a number with its noun, whose plural takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def happening(told: Mapping[str, Any]) -> str:
    """Return what is visible of a change in the few words of a title: ``objects consistent with containers appeared``.

    ``told`` are a change's properties. Where they name no pixel size, as little is claimed as of coarse pixels; of
    containers that are not counted it is not said that there is one.
    """
    from imagery.changes import Direction, ObjectClass
    from pipelines.report import wording  # heavy, and few answers need it

    kind, direction = str(told.get("change_type")), str(told.get("direction"))
    count = told.get("count")
    n = round(count) if count is not None else 2 if kind == ObjectClass.CONTAINER else 1
    gsd = told.get("gsd")
    known = kind in set(ObjectClass)
    what = (
        wording.noun(ObjectClass(kind), n, math.inf if gsd is None else gsd)
        if known
        else f"object classed as {kind}"
    )
    verb = wording.happened(Direction(direction), n) if direction in set(Direction) else direction
    return f"{what}{',' if ',' in what else ''} {verb}"
