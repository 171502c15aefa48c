"""Many askers, one look: questions that come while a look is under way are answered together by the next one.

Every answer is from a look that began after its question came, so it is as fresh as a look of its own would be, while
a crowd costs hardly more than one asker. The looks have a thread to themselves, so that slow calls cannot starve
them; it ends when nobody has asked for a while.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

IDLE_S = 10.0


class Rounds(Generic[Question, Answer]):
    """Collects questions and answers them in rounds.

    ``look`` takes the questions of one round and returns an answer for each, in order; what it raises, every asker of
    the round gets.
    """

    def __init__(self, look: Callable[[Sequence[Question]], Sequence[Answer]], name: str) -> None:
        self._look, self._name = look, name
        self._wake = threading.Condition()
        self._waiting: list[tuple[Question, Future[Answer]]] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def ask(self, question: Question) -> "Future[Answer]":
        """Return what will hold the answer; never blocks."""
        asked: Future[Answer] = Future()
        with self._wake:
            self._waiting.append((question, asked))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._wake.notify()
        return asked

    def close(self) -> None:
        """Answer what was asked, then end."""
        with self._wake:
            self._closed = True
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._waiting and not self._closed:
                    self._wake.wait(IDLE_S)
                if not self._waiting:
                    self._thread = None
                    return
                taken, self._waiting = self._waiting, []
            self._answer([(q, asked) for q, asked in taken if asked.set_running_or_notify_cancel()])

    def _answer(self, taken: "list[tuple[Question, Future[Answer]]]") -> None:
        try:
            answers = self._look([question for question, _ in taken])
        except Exception as fault:
            for _, asked in taken:
                asked.set_exception(fault)
            return
        for (_, asked), found in zip(taken, answers, strict=True):
            asked.set_result(found)
