"""What the judge's fit calls true."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from shapely.geometry import Polygon, box

from imagery.changes import ObjectClass
from training.fit_verifier import CLASSES, DRAWN_SEED, Site, TrueEvent, drawn_in_pool, is_true, seen_site

TIMES = [datetime(2024, month, 1, tzinfo=UTC) for month in (1, 3, 5, 7)]
BETWEEN = [datetime(2024, month, 1, tzinfo=UTC) for month in (2, 4, 6)]
HALL = box(0, 0, 40, 20)


def site(kind: str, came: datetime | None, went: datetime | None) -> Any:
    looks: Any = tuple(SimpleNamespace(t_utc=t) for t in TIMES)
    return Site("site_0", looks, (TrueEvent(kind, HALL, ((came, went),)),))


def claim(kind: ObjectClass, footprint: Polygon, direction: str = "appeared") -> Any:
    onset = SimpleNamespace(start=TIMES[0], end=TIMES[1])
    return SimpleNamespace(object_class=kind, direction=direction, onset=onset, footprint=footprint)


@pytest.mark.parametrize("kind", CLASSES)
def test_what_came_between_the_looks_and_lasts_is_true_of_its_own_class_alone(kind: str) -> None:
    truth = site(kind, BETWEEN[0], None)
    assert [other for other in ObjectClass if is_true(claim(other, HALL), truth)] == [ObjectClass(kind)]
    assert not is_true(claim(ObjectClass(kind), HALL, "removed"), truth)
    assert not is_true(claim(ObjectClass(kind), HALL), site(kind, BETWEEN[1], None))


def test_what_is_not_identified_must_last_and_be_whole() -> None:
    part = box(0, 0, 5, 20)
    for kind, allowed in ((ObjectClass.CONTAINER, True), (ObjectClass.OTHER, False)):
        assert is_true(claim(kind, HALL), site(str(kind), BETWEEN[0], BETWEEN[1])) is allowed
        assert is_true(claim(kind, part), site(str(kind), BETWEEN[0], None)) is allowed


def test_a_drawn_site_goes_into_the_pool_with_what_is_asked_for(tmp_path: Any) -> None:
    place = drawn_in_pool(DRAWN_SEED, tmp_path)
    found = seen_site(place, SilentNetwork())
    assert found.name == f"drawn_{DRAWN_SEED}"
    assert not found.real
    assert {thing.kind for thing in found.things} <= set(CLASSES)
    assert {"container"} <= {thing.kind for thing in found.things}
    assert len(found.looks) >= 2


class SilentNetwork:
    """Stands in where only the pool is asked for."""

    weights_sha256 = "0" * 64

    def log_odds(self, look: Any) -> Any:
        """Return that nothing stands anywhere."""
        return np.full((3, *look.grid.shape), -9.0, np.float32)
