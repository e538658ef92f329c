"""How long to wait for something: as long as it makes progress, however busy the machine is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# The last resort, for what changes again and again and never gets there: so many times the patience.
LONGEST = 10


class Patience:
    """Is over when what is waited for stands still.

    Only those seconds count in which none of its signs has changed, and in which its processes were not kept waiting
    for a processor: on a busy machine everything is late, and nothing is wrong.

    Args:
        seconds: how long it may stand still.
        delayed: returns how many seconds its processes have waited for a processor so far.
    """

    def __init__(self, seconds: float, delayed: Callable[[], float] = lambda: 0.0) -> None:
        self.seconds = seconds
        self._delayed = delayed
        self._delay = delayed()
        self._sign: object = None
        self.renew()

    def renew(self) -> None:
        """Begin again, as if nothing had been waited for yet."""
        self._since = time.monotonic()
        self._end = self._since + LONGEST * self.seconds

    def is_over(self, sign: object = None) -> bool:
        """Say whether to give up.

        Args:
            sign: what changes whenever progress is made, such as the states of the tasks.
        """
        now = time.monotonic()
        if sign != self._sign:
            self._sign, self._since = sign, now
        if now - self._since >= self.seconds:
            delay = self._delayed()
            self._since += min(max(delay - self._delay, 0.0), now - self._since)
            self._delay = delay
        return now > self._end or now - self._since >= self.seconds
