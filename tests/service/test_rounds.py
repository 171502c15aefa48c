"""Questions that come while a look is under way are answered together, each by a look that began after it."""

import threading
import time
from collections.abc import Sequence

import pytest

from service import rounds
from service.rounds import Rounds


def test_a_crowd_is_answered_in_few_looks_each_its_own_answer() -> None:
    looks: list[int] = []

    def look(questions: Sequence[int]) -> list[int]:
        looks.append(len(questions))
        time.sleep(0.02)
        return [question * question for question in questions]

    asked = Rounds(look, "squares")
    answers = [asked.ask(number) for number in range(200)]
    assert [answer.result(5) for answer in answers] == [number * number for number in range(200)]
    assert sum(looks) == 200
    assert len(looks) <= 10
    asked.close()


def test_no_answer_is_older_than_its_question() -> None:
    state = 0

    def look(questions: Sequence[None]) -> list[int]:
        seen = state
        time.sleep(0.005)
        return [seen] * len(questions)

    asked = Rounds(look, "state")
    waiting = []
    for _ in range(100):
        state += 1
        waiting.append((state, asked.ask(None)))
        time.sleep(0.001)
    assert all(answer.result(5) >= then for then, answer in waiting)
    asked.close()


def test_what_a_look_raises_every_asker_of_that_round_gets_and_the_next_round_goes_on() -> None:
    def look(questions: Sequence[int]) -> list[int]:
        if -1 in questions:
            raise LookupError("broken")
        return list(questions)

    asked = Rounds(look, "broken")
    with pytest.raises(LookupError):
        asked.ask(-1).result(5)
    assert asked.ask(3).result(5) == 3
    asked.close()


def test_who_went_away_does_not_hold_up_the_others() -> None:
    started, go_on = threading.Event(), threading.Event()

    def look(questions: Sequence[str]) -> list[str]:
        started.set()
        go_on.wait(5)
        return list(questions)

    asked = Rounds(look, "gone")
    first = asked.ask("first")
    started.wait(5)
    gone, patient = asked.ask("gone"), asked.ask("patient")
    assert gone.cancel()
    go_on.set()
    assert (first.result(5), patient.result(5)) == ("first", "patient")
    asked.close()


def test_closing_answers_what_was_asked() -> None:
    def look(questions: Sequence[int]) -> list[int]:
        time.sleep(0.02)
        return list(questions)

    asked = Rounds(look, "closing")
    answers = [asked.ask(number) for number in range(5)]
    asked.close()
    assert [answer.done() for answer in answers] == [True] * 5


def test_a_thread_nobody_asks_ends_and_the_next_question_starts_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "IDLE_S", 0.01)

    def look(questions: Sequence[str]) -> list[int]:
        return [threading.get_ident()] * len(questions)

    asked = Rounds(look, "idle-thread")
    asked.ask("first").result(5)
    until = time.monotonic() + 5
    while any(thread.name == "idle-thread" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.005)
    assert asked.ask("second").result(5)
    asked.close()
