"""A timeout that restarts with each sign of progress and does not count waits for a processor."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# The upper limit where signs of progress never end, as a multiple of the patience.
LONGEST = 10


class Patience:
    """Is over when nothing has changed for too long.

    Only seconds count in which the sign of progress did not change and the processes did not wait for a processor:
    on a busy machine being late is not a failure.

    Args:
        seconds: how long nothing may change.
        delayed: returns how many seconds the processes have waited for a processor so far.
    """

    def __init__(self, seconds: float, delayed: Callable[[], float] = lambda: 0.0) -> None:
        self.seconds = seconds
        self._delayed = delayed
        self._delay = delayed()
        self._sign: object = None
        self.renew()

    def renew(self) -> None:
        """Restart the timeout."""
        self._since = time.monotonic()
        self._end = self._since + LONGEST * self.seconds

    def is_over(self, sign: object = None) -> bool:
        """Say whether to give up.

        Args:
            sign: a value that changes with progress, such as the states of the tasks.
        """
        now = time.monotonic()
        if sign != self._sign:
            self._sign, self._since = sign, now
        if now - self._since >= self.seconds:
            delay = self._delayed()
            self._since += min(max(delay - self._delay, 0.0), now - self._since)
            self._delay = delay
        return now > self._end or now - self._since >= self.seconds
