"""Waiting as data: what a step waits for, and what the status of a work request means for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.deployment_states import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

FIRST_SECONDS, GROWTH = 1.0, 1.4


@dataclass(frozen=True)
class Waiting:
    """A step's result while OCI is still working, or until a moment.

    Attributes:
        deployment_id: the model deployment whose change is awaited; None if only the moment is.
        reason: one sentence for the log.
        deadline: when the wait has failed, or the moment, UTC.
    """

    deployment_id: str | None
    reason: str
    deadline: datetime


Summary = Mapping[str, Any]
Outcome = Waiting | Summary


def poll_intervals(longest: float) -> Iterator[float]:
    """Yield the seconds between polls: short at first, so that a short wait ends soon, then longer and longer.

    Args:
        longest: the longest interval, in seconds.
    """
    seconds = FIRST_SECONDS
    while seconds < longest:
        yield seconds
        seconds *= GROWTH
    while True:
        yield longest


OUT_OF_CAPACITY = re.compile(r"(?i)\bout of (host )?capacity\b")


def is_out_of_capacity(words: str) -> bool:
    """Return whether OCI says that it has no machine now: as the message of a 500, or of a failed work request."""
    return OUT_OF_CAPACITY.search(words) is not None


WORK_REQUEST_PROGRESS = {
    "ACCEPTED": Progress.RUNNING,
    "IN_PROGRESS": Progress.RUNNING,
    "CANCELING": Progress.RUNNING,
    "SUCCEEDED": Progress.SUCCEEDED,
    "FAILED": Progress.FAILED,
    "CANCELED": Progress.FAILED,
}


def judge_work_request(status: str) -> Progress:
    """Return what a work request's status means; one that is not listed is a failure."""
    return WORK_REQUEST_PROGRESS.get(status, Progress.FAILED)
