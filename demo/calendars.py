"""How old the generated shop is: it begins half a year ago and lives a week on with each release of a demo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

from simulation.generated import WEEKS

# A store never has orders of the future, so its calendar begins this many weeks ago: as many demos can add one.
WEEKS_AGO = 26


@dataclass(frozen=True)
class Calendar:
    """What the present generated store holds: it can be written again from this.

    Attributes:
        first_day: when the shop's life in weeks begins (UTC), ISO 8601.
        week: how many weeks later the store is; its newest order is of the day before.
        damage: the damage that is planted in it; None for an honest one.
        is_released: whether a demo has started a release of it.
    """

    first_day: str
    week: int = 0
    damage: str | None = None
    is_released: bool = False

    @classmethod
    def begin(cls, today: date) -> Calendar:
        """Return the calendar of a new shop."""
        return cls(first_day=(today - timedelta(weeks=WEEKS_AGO)).isoformat())

    @property
    def beginning(self) -> date:
        """Return the first day."""
        return date.fromisoformat(self.first_day)

    @property
    def day(self) -> date:
        """Return the day on which the shop was as the store has it: its newest order is of the day before."""
        return self.beginning + timedelta(weeks=self.week)

    def has_next_week(self, today: date) -> bool:
        """Say whether the next week is over, and the shop is generated for so long."""
        return self.week < WEEKS and self.day + timedelta(weeks=1) <= today

    def advance(self, today: date, damage: str | None) -> Calendar:
        """Return what the next release reads: another week after a release, the same one if it is the only one.

        Args:
            today: in UTC.
            damage: to plant in it.
        """
        grows = self.is_released and self.has_next_week(today)
        return replace(self, week=self.week + grows, damage=damage, is_released=False)

    def lag_hours(self, today: date) -> int:
        """Return how long ago the shop was as the store has it."""
        return (today - self.day).days * 24
