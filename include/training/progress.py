"""Lines of progress, written even after ADS has redirected ``sys.stdout``."""

from __future__ import annotations

import sys
import time

SECONDS_BETWEEN = 5.0


def tell(line: str) -> None:
    """Write a line of progress."""
    print(line, file=sys.__stdout__, flush=True)


class Progress:
    """Tells every few seconds how much is done, how fast, and how long the rest will take."""

    def __init__(self, verb: str, total: int, noun: str) -> None:
        """Start the clock.

        Args:
            verb: of the work, such as ``Scored``.
            total: how many are to be done.
            noun: for what is counted, such as ``users``.
        """
        self._verb, self._total, self._noun = verb, total, noun
        self._done = 0
        self._started = self._told = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Count some as done."""
        self._done = min(self._done + count, self._total)
        now = time.monotonic()
        if now - self._told < SECONDS_BETWEEN:
            return
        self._told = now
        rate = self._done / max(now - self._started, 1e-3)
        share, left = self._done / self._total, (self._total - self._done) / rate
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        tell(
            f"{self._verb} {self._done:,} of {self._total:,} {self._noun} ({share:.0%}), {speed}/s, {left:,.0f} s left"
        )
