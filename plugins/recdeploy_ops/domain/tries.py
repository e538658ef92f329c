"""Which try of a task this is, and who continues if the last one fails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Tries:
    """Tries of a task.

    Attributes:
        number: of this one, from 1.
        limit: how many there are at most.
        delay: from a failed try to the next.
        afterwards: who continues once the last has failed, a sentence without a full stop; empty if nobody does.
    """

    number: int = 1
    limit: int = 1
    delay: timedelta = timedelta()
    afterwards: str = ""

    @property
    def is_last(self) -> bool:
        """Return whether no other follows automatically."""
        return self.number >= self.limit

    def describe_next(self, *, is_retried: bool) -> str:
        """Return who tries again after an error, and when, as a sentence; empty if nobody does.

        Args:
            is_retried: whether the error allows another try.
        """
        if is_retried and not self.is_last:
            return f"It is tried again in {self.delay.total_seconds():g} s (try {self.number + 1} of {self.limit})."
        return f"{self.afterwards}." if self.afterwards else ""


ONLY_TRY = Tries()
