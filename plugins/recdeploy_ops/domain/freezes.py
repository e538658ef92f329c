"""When nothing may be promoted: after a person's freeze, after a rollback, and in the windows of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.domain.errors import PromotionsFrozenError
from recdeploy_ops.domain.remedies import ResumePromotions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

WINDOWS_SETTING = "release.freeze_windows"
LONGEST_SHOWN = 150  # characters of a reason; the history shows all
YEARS = range(2000, 2201)  # of a window; beyond them it is a typing error
WEEK = timedelta(days=7)


class FreezeCause(StrEnum):
    """Why promotions are frozen."""

    PERSON = "person"
    ROLLBACK = "rollback"
    WINDOW = "window"


class Repeats(StrEnum):
    """How often a window returns."""

    WEEKLY = "weekly"
    YEARLY = "yearly"


@dataclass(frozen=True)
class Freeze:
    """A time in which nothing is promoted; a rollback always can be.

    Attributes:
        cause: why.
        reason: in a person's words; for a rollback, the versions as well.
        by: who began it; empty for a rollback that nobody asked for; `WINDOWS_SETTING` for a window.
        since: when it began, ISO 8601.
        until: when it ends by itself, ISO 8601; None if a person must resume promotions.
    """

    cause: FreezeCause
    reason: str
    by: str
    since: str
    until: str | None = None

    def __str__(self) -> str:
        """Return it in words, e.g. ``since 2026-11-26 17:00 UTC by ann, until a person resumes them: Black Friday``."""
        by = self.by or "an automatic rollback"
        end = f"until {_show(self.until)}" if self.until else "until a person resumes them"
        return f"since {_show(self.since)} by {by}, {end}: {shorten(self.reason, LONGEST_SHOWN)}"

    def began_after(self, moment: datetime) -> bool:
        """Return whether it began after a moment, UTC."""
        return datetime.fromisoformat(self.since) > moment


@dataclass(frozen=True)
class FreezeWindow:
    """A planned freeze, in the wall time of a place.

    Where a change of the clocks makes a time occur twice or not at all, the window is the longer one.

    Attributes:
        start: when it begins, without a time zone.
        end: when it has ended, without a time zone.
        reason: shown to the approver.
        time_zone: of both, a name of the IANA database.
        repeats: whether it returns every week or every year from `start` on; None for once.

    Raises:
        ValueError: a time, the zone or the length is impossible, or the reason is empty.
    """

    start: datetime
    end: datetime
    reason: str
    time_zone: str = "UTC"
    repeats: Repeats | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be a window."""
        if not self.reason.strip():
            raise ValueError("reason is empty: the approver reads it")
        self._check_time("start", self.start)
        self._check_time("end", self.end)
        if self.end <= self.start:
            raise ValueError(f"it ends at {self.end}, which is not after its start, {self.start}")
        if self.repeats and self.end > self._shifted(self.start, 1):
            raise ValueError(f"it is longer than the time between two {self.repeats} windows")
        try:
            self._zone  # noqa: B018 - to see whether it exists
        except (ZoneInfoNotFoundError, ValueError, OSError) as err:
            raise ValueError(f"time_zone is {self.time_zone!r}: it must be a name such as Europe/Berlin") from err

    def find_freeze(self, now: datetime) -> Freeze | None:
        """Return the freeze at a moment, or None outside of the window.

        Args:
            now: UTC.
        """
        for start, end in self._near(now.astimezone(self._zone).replace(tzinfo=None)):
            since, until = self._instants(start)[0], self._instants(end)[-1]
            if since <= now < until:
                reason = self.reason.strip()
                return Freeze(FreezeCause.WINDOW, reason, WINDOWS_SETTING, since.isoformat(), until.isoformat())
        return None

    def _check_time(self, name: str, time: datetime) -> None:
        if time.tzinfo is not None:
            raise ValueError(f"{name} has an offset or is a number: write e.g. 2026-11-26 18:00, and time_zone")
        if time.year not in YEARS:
            raise ValueError(f"{name} is in the year {time.year}, not in {YEARS.start} to {YEARS.stop - 1}")
        if self.repeats is Repeats.YEARLY and (time.month, time.day) == (2, 29):
            raise ValueError(f"{name} is on 29 February, which most years do not have")

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def _near(self, local: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Return start and end of its occurrences around a wall time."""
        nearest = 0
        if self.repeats is Repeats.WEEKLY:
            nearest = (local - self.start) // WEEK
        elif self.repeats is Repeats.YEARLY:
            nearest = local.year - self.start.year
        for number in range(max(nearest - 1, 0), max(nearest + 1, 0) + 1) if self.repeats else (0,):
            yield self._shifted(self.start, number), self._shifted(self.end, number)

    def _shifted(self, time: datetime, number: int) -> datetime:
        """Return a wall time this many weeks or years later."""
        return time.replace(year=time.year + number) if self.repeats is Repeats.YEARLY else time + number * WEEK

    def _instants(self, wall: datetime) -> list[datetime]:
        """Return the moments, UTC, that a wall time may mean: two where the clocks change, else the same twice."""
        return sorted(wall.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def find_freezes(recorded: Sequence[Freeze], windows: Iterable[FreezeWindow], now: datetime) -> tuple[Freeze, ...]:
    """Return every freeze at a moment: those of the ledger, then those of the settings.

    Args:
        recorded: those of the ledger that nobody has ended.
        windows: of the settings.
        now: UTC.
    """
    return (*recorded, *filter(None, (window.find_freeze(now) for window in windows)))


def describe_freezes(freezes: Sequence[Freeze]) -> str:
    """Return freezes, at least one, in words without a full stop."""
    return f"promotions are frozen {'; and '.join(map(str, freezes))}"


def require_not_frozen(version: int, freezes: Sequence[Freeze]) -> None:
    """Refuse to promote a version while promotions are frozen.

    Raises:
        PromotionsFrozenError: says why, since when and until when.
    """
    if freezes:
        raise PromotionsFrozenError(
            f"Refusing to promote v{version}: {describe_freezes(freezes)}.", find_remedy(freezes, task="promote")
        )


def find_remedy(freezes: Sequence[Freeze], *, task: str | None = None) -> ResumePromotions:
    """Return what a person does about freezes.

    Args:
        freezes: at least one.
        task: the task to run again after it; None for an answer that is to be given again.
    """
    ends = [freeze.until for freeze in freezes if freeze.until]
    return ResumePromotions(
        is_recorded=len(ends) < len(freezes),
        until=_show(max(ends)) if ends else "",
        setting=WINDOWS_SETTING,
        task=task,
    )


def _show(time: str) -> str:
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
