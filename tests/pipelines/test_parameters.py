"""From which confidence on changes are listed."""

import pytest

from imagery.changes import ObjectClass
from pipelines.parameters import Parameters


@pytest.mark.parametrize("kind", list(ObjectClass))
def test_what_no_shadow_can_bear_out_must_be_at_least_as_likely_as_not(kind: ObjectClass) -> None:
    lit, unlit = (Parameters().least_confidence(kind, sunless=sunless) for sunless in (False, True))
    assert lit <= unlit
    assert unlit >= 0.5


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("sunless", [False, True])
def test_what_the_user_asks_for_holds_everywhere(coarse: bool, sunless: bool) -> None:
    asked = Parameters(min_confidence=0.2)
    assert {asked.least_confidence(kind, coarse=coarse, sunless=sunless) for kind in ObjectClass} == {0.2}


def test_a_budget_of_false_alarms_chooses_for_itself() -> None:
    asked = Parameters(max_false_alarms=1.0)
    assert {asked.least_confidence(kind, sunless=True) for kind in ObjectClass} == {0.0}
