"""Results come back in unit order whoever did the work."""

import pytest

from pipelines.runner import open_runner


def _square(value: int) -> int:
    return value * value


def test_one_worker_keeps_the_order_and_reports_each_end() -> None:
    ended: list[int] = []
    with open_runner(1) as runner:
        assert runner.map(_square, range(5), ended.append) == [0, 1, 4, 9, 16]
    assert sum(ended) == 5


@pytest.mark.long
def test_processes_give_the_same_results_in_the_same_order() -> None:
    ended: list[int] = []
    with open_runner(2) as runner:
        assert runner.map(_square, list(range(30)), ended.append) == [n * n for n in range(30)]
    assert sum(ended) == 30
