"""A target is reached or missed by its own levels, and work that kills made doubly is all counted."""

import math
from dataclasses import replace

import pytest

from benchmarks.batch_kills import Note, redone
from benchmarks.throughput_targets import TARGETS, kill_rows, rows, verdict

MORE, LESS = (next(t for t in TARGETS if t.more is flag) for flag in (True, False))


@pytest.mark.parametrize(
    ("value", "more", "less"),
    [(0.5, "missed", "extreme"), (1.0, "gate", "extreme"), (2.0, "ambitious", "ambitious"), (3.5, "extreme", "missed")],
)  # fmt: skip
def test_the_highest_level_reached_is_told(value: float, more: str, less: str) -> None:
    assert verdict(replace(MORE, levels=(1.0, 2.0, 3.0)), value) == more
    assert verdict(replace(LESS, levels=(3.0, 2.0, 1.0)), value) == less


def test_a_missed_target_says_why_and_one_not_measured_is_left_out() -> None:
    (row,) = rows({"pair_0.5m": {"km2_per_minute_one_core": 4.9}, "workers": {"failed": "no"}})
    assert row[0] == "G17b"
    assert row[4] == "**missed**"
    assert len(row[5]) > 20
    (row,) = rows({"pair_0.5m": {"km2_per_minute_one_core": 5.1}})
    assert row[4:] == ["gate", ""]


def attempt(process: int, start: float, *steps: str) -> list[Note]:
    """One attempt at one site, a step a second."""
    named = ["begin", *steps]
    return [
        Note(start + i, process, "site", name, named[: i + 1].count(name) - (name == "begin"))
        for i, name in enumerate(named)
    ]


def test_what_a_kill_cost_is_the_step_in_hand_and_the_way_back_to_it() -> None:
    first = attempt(1, 0.0, "chips", "chips", "looks")  # notes at 0 to 3 s, killed at 3.5 s
    second = attempt(2, 10.0, "chips", "chips", "looks", "looks", "report", "end")
    said = redone([*first, *second], {1: 3.5})
    assert said["interrupted"] == said["looks_begun_again"] == 1
    assert said["lost_s"] == 0.5
    assert said["found_again_s"] == 3.0
    assert said["busy_s"] == 9.5
    assert math.isclose(said["redone_of_seconds"], 3.5 / 9.5)
    assert said["looks_made"] == 2


def test_without_a_kill_nothing_is_done_again() -> None:
    said = redone(attempt(1, 0.0, "chips", "looks", "end"), {})
    assert said["lost_s"] == said["found_again_s"] == said["redone_of_looks"] == 0.0


def test_each_run_under_kills_has_a_column_and_says_how_dense_the_kills_were() -> None:
    run = {
        "units": 60, "looks": 50, "workers": 3, "kills": 100, "busy_s": 1700.0, "lost": 0, "doubled": 0, "lost_s": 24.0,
        "found_again_s": 34.0, "redone_of_looks": 0.03, "redone_of_seconds": 0.034, "same_bytes_undisturbed": True,
        "run": {"cores": 2, "load_average": 4.5},
    }  # fmt: skip
    told = {name: cells for name, *cells in kill_rows([run, run | {"kills": 10, "lost": 1}])}
    assert told["seconds of work for every kill"] == ["17", "170"]
    assert told["of these for every kill"] == ["0.58", "5.80"]
    assert told["units lost"] == ["0", "1"]
