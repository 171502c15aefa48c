"""How often a server that fails in passing is asked again, and how long is waited before that.

What may pass by itself is asked again after pauses that double, or as long as the server says; all pauses of one archive
together are bounded, so that a server that is down costs minutes and not the night.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Too busy, or a gateway that lost its server: the same request may be answered in a moment. Source: RFC 9110, 6585, 8470.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
ATTEMPTS = 4
FIRST_PAUSE_S = 0.5
# Longer than this nobody waits with a scene in hand: the next run asks again.
LONGEST_PAUSE_S = 30.0
PAUSES_IN_ALL_S = 300.0


class Patience:
    """The pauses of one archive. ``wait`` sleeps, ``now`` is the time as aware UTC."""

    def __init__(
        self,
        wait: Callable[[float], object] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._wait, self._now = wait, now
        self._left_s = PAUSES_IN_ALL_S

    def pause(self, failures: int, retry_after: str | None = None) -> bool:
        """Wait before a request is sent again; False, at once, where there is no more patience for it.

        Parameters
        ----------
        failures : how often it has failed so far, from 1
        retry_after : that header of the last answer, seconds or an HTTP date
        """
        told_s = None if retry_after is None else self._told_s(retry_after)
        pause_s = FIRST_PAUSE_S * 2.0 ** (failures - 1) if told_s is None else told_s
        if failures >= ATTEMPTS or pause_s > min(LONGEST_PAUSE_S, self._left_s):
            return False
        self._left_s -= pause_s
        self._wait(pause_s)
        return True

    def _told_s(self, retry_after: str) -> float | None:
        """Return the seconds that a header means; None where it means nothing."""
        text = retry_after.strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - self._now()).total_seconds())
