"""The demo's output: plain lines on standard output, flushed at once."""

from __future__ import annotations

import sys
import time


class Console:
    """Prints lines with the time since the start.

    Args:
        start: a reading of ``time.monotonic``.
    """

    def __init__(self, start: float | None = None) -> None:
        self._start = time.monotonic() if start is None else start

    def say(self, text: str = "") -> None:
        """Print a line."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def step(self, text: str) -> None:
        """Print a line that begins with minutes and seconds since the start."""
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        self.say(f"{minutes:3d}:{seconds:02d}  {text}")
