"""How much of an analysis is in the store already, found out without making any of it.

The analysis itself is asked: it runs with a runner that looks every product up and makes none. So the keys are those a
run would use, whatever that takes into account.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from imagery.displacement import RegistrationState
from pipelines.analysis import Site
from pipelines.parameters import Parameters
from pipelines.products import ProductStore
from pipelines.site import NothingReadable, SceneSet, analyse_scenes
from pipelines.steps import (
    ChipSummary,
    ChipUnit,
    LookUnit,
    chip_key,
    displacement_key,
    look_key,
    make_chip,
    weights_sha256,
)

Unit = TypeVar("Unit")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Inventory:
    """Of ``looks`` that an analysis needs, how many are ``stored``."""

    looks: int
    stored: int


class _Counted(Exception):
    """Ends an analysis once its looks have been counted."""

    def __init__(self, stored: int) -> None:
        self.stored = stored


class _LookingOnly:
    """A runner that looks products up.

    A scene without a chip counts as unreadable, so the reference is chosen among those that have one: where scenes are
    new, a better reference among them is not foreseen.
    """

    def map(
        self,
        step: Callable[[Unit], Result],
        units: Sequence[Unit],
        done: Callable[[int], None],
        unit_bytes: int = 0,
    ) -> list[Result]:
        """See ``pipelines.runner.Runner``."""
        if any(isinstance(unit, LookUnit) for unit in units):
            raise _Counted(sum(_stored(unit) for unit in units if isinstance(unit, LookUnit)))
        chips = [_chip(unit) for unit in units if isinstance(unit, ChipUnit)]
        return cast(list[Result], chips)


def _chip(unit: ChipUnit) -> ChipSummary:
    key = chip_key(unit)
    if not ProductStore(unit.store).has(key):
        return ChipSummary(key, 0.0, 0.0, ("not-made", "its chip has not been made yet"))
    return make_chip(unit)


def _stored(unit: LookUnit) -> bool:
    """Tell whether nothing of a look is left to be made: it is stored, or known to be impossible to place."""
    store = ProductStore(unit.store)
    displacement = store.get(displacement_key(unit))
    if displacement is None:
        return False
    if displacement.header["state"] == RegistrationState.NOT_REGISTERED.value:
        return True
    network = weights_sha256(unit.network and not unit.coarse)
    return store.has(look_key(unit, displacement_key(unit), network))


def take_inventory(site: Site, found: SceneSet, *, store: str, parameters: Parameters) -> Inventory:
    """Return how many of the looks of a site's scenes are stored under the keys an analysis would use now.

    Raises
    ------
    DamagedProduct : what is stored is not whole
    """
    if not found.scenes:
        return Inventory(0, 0)
    try:
        # To look costs next to nothing, whatever the analysis would.
        analyse_scenes(
            site, found, store=store, runner=_LookingOnly(), parameters=parameters, memory_bytes=sys.maxsize
        )
    except _Counted as counted:
        return Inventory(len(found.scenes), counted.stored)
    except NothingReadable:
        return Inventory(len(found.scenes), 0)
    raise AssertionError("an analysis without looks")
