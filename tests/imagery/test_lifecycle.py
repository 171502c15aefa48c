"""The hidden chain over looks with gaps."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagery.changes import Direction, ObjectClass, Status
from imagery.lifecycle import (
    Lifecycle,
    LifecycleOptions,
    follow,
    pairwise_posterior,
    shared_weights,
    status_of,
)

OPTIONS = LifecycleOptions()


def step(gap: float) -> np.ndarray:
    rate = OPTIONS.appear_per_day + OPTIONS.remove_per_day
    moved = 1 - math.exp(-rate * gap)
    up, down = OPTIONS.appear_per_day / rate * moved, OPTIONS.remove_per_day / rate * moved
    return np.array([[1 - up, up], [down, 1 - down]])


@given(
    evidence=st.lists(st.floats(-4, 4), min_size=2, max_size=6),
    gaps=st.lists(st.floats(1, 200), min_size=5, max_size=5),
)
def test_posteriors_agree_with_summing_over_every_path(evidence: list[float], gaps: list[float]) -> None:
    days = np.concatenate([[0.0], np.cumsum(gaps)])[: len(evidence)]
    present, steps = pairwise_posterior(np.array(evidence), days, OPTIONS)
    spare = OPTIONS.spare_days / (len(evidence) - 1)
    by_look = np.zeros((len(evidence), 2))
    by_step = np.zeros((len(evidence) - 1, 2, 2))
    for path in itertools.product((0, 1), repeat=len(evidence)):
        weight = 0.5 * math.exp(sum(e for e, s in zip(evidence, path, strict=True) if s))
        for t in range(len(path) - 1):
            weight *= step(days[t + 1] - days[t] + spare)[path[t], path[t + 1]]
        for t, state in enumerate(path):
            by_look[t, state] += weight
        for t in range(len(path) - 1):
            by_step[t, path[t], path[t + 1]] += weight
    assert present == pytest.approx(by_look[:, 1] / by_look.sum(1), abs=1e-9)
    assert steps == pytest.approx(by_step / by_step.sum((1, 2), keepdims=True), abs=1e-9)


def test_a_doubtful_look_is_taken_into_the_onset_interval() -> None:
    days = np.arange(7) * 20.0
    seen = np.ones(7, bool)
    clear = follow(np.array([-4, -4, -4, 4, 4, 4, 4.0]), seen, days, Direction.APPEARED, (2, 3), OPTIONS)
    doubtful = follow(np.array([-4, -4, 0, 4, 4, 4, 4.0]), seen, days, Direction.APPEARED, (2, 3), OPTIONS)
    assert clear is not None
    assert doubtful is not None
    assert (clear.before, clear.after) == (2, 3)
    assert (doubtful.before, doubtful.after) == (1, 3)
    assert doubtful.mass >= 0.95


def test_two_looks_days_apart_need_hardly_better_evidence_than_two_a_month_apart() -> None:
    evidence, seen = np.array([-3.0, 3.0]), np.ones(2, bool)
    posterior = []
    for gap in (4.0, 30.0):
        found = follow(evidence, seen, np.array([0.0, gap]), Direction.APPEARED, (0, 1), OPTIONS)
        assert found is not None
        posterior.append(found.posterior)
    assert posterior[0] > 0.65 * posterior[1]


def test_many_looks_in_little_time_make_a_weak_change_no_likelier() -> None:
    few, many = np.array([-0.5, 0.5]), np.array([-0.5] * 20 + [0.5] * 20) / 20.0
    posterior = []
    for evidence in (few, many):
        days = np.linspace(0.0, 60.0, evidence.size)
        middle = evidence.size // 2
        seen = np.ones(evidence.size, bool)
        found = follow(evidence, seen, days, Direction.APPEARED, (middle - 1, middle), OPTIONS)
        assert found is not None
        posterior.append(found.posterior)
    assert posterior[1] <= posterior[0] + 0.05


def test_one_wrong_look_does_not_undo_a_change() -> None:
    evidence = np.array([-4, -4, 4, 4, -2, 4, 4.0])
    found = follow(evidence, np.ones(7, bool), np.arange(7) * 20.0, Direction.APPEARED, (1, 2), OPTIONS)
    assert found is not None
    assert found.reversed_at is None
    assert found.against == (4,)
    assert found.posterior > 0.8


def test_a_single_look_leaves_nothing_to_follow() -> None:
    seen = np.array([True, False])
    assert (
        follow(np.array([-4.0, 4.0]), seen, np.array([0.0, 9.0]), Direction.APPEARED, (0, 1), OPTIONS) is None
    )


def test_looks_of_one_moment_share_one_weight() -> None:
    weights = shared_weights(np.array([0.0, 0.0, 50.0]), np.ones(3, bool), 2.0)
    assert weights == pytest.approx([0.5, 0.5, 1.0], abs=1e-6)


def shown_in(looks: range, direction: Direction) -> Lifecycle:
    """Follow what eight looks show in some of them, over its coming or going."""
    evidence = np.array([4.0 if k in looks else -4.0 for k in range(8)])
    split = looks.start if direction is Direction.APPEARED else looks.stop
    found = follow(evidence, np.ones(8, bool), np.arange(8) * 20.0, direction, (split - 1, split), OPTIONS)
    assert found is not None
    return found


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(
    ("looks", "shown"), [(range(3, 4), 1), (range(2, 5), 3)], ids=["one look", "three looks"]
)
def test_looks_that_show_an_object_are_counted_the_same_whichever_way_time_runs(
    looks: range, shown: int, direction: Direction
) -> None:
    found = shown_in(looks, direction)
    assert (found.shown, found.bounded) == (shown, True)


def test_what_stands_at_an_end_of_the_series_may_have_stayed() -> None:
    for looks, direction in ((range(7, 8), Direction.APPEARED), (range(1), Direction.REMOVED)):
        assert (shown_in(looks, direction).shown, shown_in(looks, direction).bounded) == (1, False)


def test_many_looks_without_it_do_not_confirm_the_going_of_what_one_look_showed() -> None:
    once, often = shown_in(range(3, 4), Direction.REMOVED), shown_in(range(1, 4), Direction.REMOVED)
    assert once.independent >= 3
    assert status_of(once, ObjectClass.CONTAINER, 0.95, verified=True) is Status.FIRST
    assert status_of(often, ObjectClass.CONTAINER, 0.95, verified=True) is Status.CONFIRMED


@pytest.mark.parametrize(("apart_days", "status"), [(2.0, Status.PROVISIONAL), (5.0, Status.CONFIRMED)])
def test_what_one_week_s_looks_show_is_not_confirmed(apart_days: float, status: Status) -> None:
    days = np.array([0.0, 60.0, *(90.0 + apart_days * np.arange(3))])
    found = follow(
        np.array([-4, -4, 1.9, 1.9, 1.9]), np.ones(5, bool), days, Direction.APPEARED, (1, 2), OPTIONS
    )
    assert found is not None
    assert status_of(found, ObjectClass.CONTAINER, 0.99, verified=True) is status
    assert status_of(found, ObjectClass.OTHER, 0.99, verified=True) is Status.PROVISIONAL
