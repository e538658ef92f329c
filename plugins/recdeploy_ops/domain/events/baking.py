"""Events of the time in which a promoted version is watched before its release is closed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from recdeploy_ops.domain.baking import BakeResult, Baseline, Health, Measurements
from recdeploy_ops.domain.codec import FreeText
from recdeploy_ops.domain.events.base import Event, EventType


@dataclass(frozen=True)
class BaselineMeasured(Event):
    """The champion was probed right before production is switched to another version.

    Attributes:
        version: the champion.
        baseline: how it behaved.
    """

    type: ClassVar = EventType.BASELINE_MEASURED
    task: ClassVar = "promote"

    version: int
    baseline: Baseline


@dataclass(frozen=True)
class BakeStarted(Event):
    """The promoted version is being watched.

    Attributes:
        version: the version.
        previous: the version that production goes back to if it is degraded; None for a first production.
        windows: how many windows must be judged.
        window_minutes: the length of each.
        at: when the first window begins, UTC.
    """

    type: ClassVar = EventType.BAKE_STARTED
    task: ClassVar = "bake"

    version: int
    previous: int | None
    windows: int
    window_minutes: float
    at: datetime


@dataclass(frozen=True)
class WindowJudged(Event):
    """A window of the bake has ended.

    Attributes:
        ended: when the next one begins, UTC.
        found: what production answered.
        health: what that says.
        reasons: why, unless it is healthy.
        windows: the health of all windows so far, this one last.
    """

    type: ClassVar = EventType.WINDOW_JUDGED
    task: ClassVar = "bake"

    ended: datetime
    found: Measurements
    health: Health
    reasons: tuple[FreeText, ...]
    windows: tuple[Health, ...]


@dataclass(frozen=True)
class BakeEnded(Event):
    """The bake is over, or there was none.

    Attributes:
        result: how it ended.
        reason: why.
    """

    type: ClassVar = EventType.BAKE_ENDED
    task: ClassVar = "bake"

    result: BakeResult
    reason: FreeText
