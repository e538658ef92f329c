"""Events of the ledger itself, of a release's beginning and end, and of freezes, which belong to no release."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from recdeploy_ops.domain.codec import FreeText
from recdeploy_ops.domain.events.base import Event, EventType
from recdeploy_ops.domain.params import Params
from recdeploy_ops.domain.versions import Serving, Version

# In place of a DAG's id. Airflow cannot say whether such a run has ended.
NOTEBOOK, TERMINAL = "notebook", "terminal"
OUTSIDE_AIRFLOW = frozenset({NOTEBOOK, TERMINAL})


class Purpose(StrEnum):
    """What a release is for."""

    RETRAIN = "retrain"
    ROLLBACK = "rollback"


class ReleaseOutcome(StrEnum):
    """How a release ended."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    REJECTED = "rejected"
    PREEMPTED = "pre-empted"  # the spelling in existing ledgers
    INTERRUPTED = "interrupted"
    FAILED = "failed"


CHANGED_PRODUCTION = frozenset({ReleaseOutcome.PROMOTED, ReleaseOutcome.ROLLED_BACK})


@dataclass(frozen=True)
class StoredFile:
    """A file in storage: its key, and its sha256 in hex."""

    key: str
    sha256: str


@dataclass(frozen=True)
class LedgerStarted(Event):
    """The first entry of a ledger: its project and its format."""

    type: ClassVar = EventType.LEDGER_STARTED

    project: str
    format: int


@dataclass(frozen=True)
class ReleaseOpened(Event):
    """A run has taken the release lock.

    Attributes:
        purpose: what the release is for.
        version: the version number that it makes, or goes back to.
        dag_id: the run's DAG; `NOTEBOOK` for a notebook, `TERMINAL` for a terminal.
        params: the run's params.
        champion: the version in production; None when there is none.
        settings: the settings that the run works with.
        triggered_by: the person who triggered the run; None for the schedule.
        opening: 1, and one more each time that the release is reopened.
    """

    type: ClassVar = EventType.RELEASE_OPENED

    purpose: Purpose
    version: int
    dag_id: str
    params: Params
    champion: int | None
    settings: StoredFile
    triggered_by: FreeText | None
    opening: int


@dataclass(frozen=True)
class TakeoverStarted(Event):
    """Another run closes this release, whose own run has ended.

    Attributes:
        by: that run.
        seen_work_request: production's newest work request before; None when it has none.
        at: when, UTC.
    """

    type: ClassVar = EventType.TAKEOVER_STARTED

    by: str
    seen_work_request: str | None
    at: datetime


@dataclass(frozen=True)
class ReleaseRejected(Event):
    """The candidate was rejected; production is unchanged."""

    type: ClassVar = EventType.RELEASE_REJECTED
    task: ClassVar = "reject"

    version: int
    by: FreeText
    reason: FreeText


@dataclass(frozen=True)
class ReleaseClosed(Event):
    """The release has ended, and the lock is free.

    Attributes:
        outcome: how it ended.
        version: its version.
        seen_work_request: production's newest work request; None when it has none.
        by: another run that closed it; None when its own run did.
    """

    type: ClassVar = EventType.RELEASE_CLOSED
    task: ClassVar = "close_release"

    outcome: ReleaseOutcome
    version: int
    seen_work_request: str | None
    by: str | None


@dataclass(frozen=True)
class Adopted(Event):
    """The ledger was reconciled with OCI: the only event that says what is, not what was done.

    Attributes:
        difference: what differed, one line each.
        seen_work_request: production's newest work request; None when it has none.
        versions: every version from then on.
        highest_version: the highest number ever used.
        production: what production was verified to serve; None when there is none.
        previous_champion: what it served before.
    """

    type: ClassVar = EventType.ADOPTED
    task: ClassVar = "adopt_production"

    difference: tuple[FreeText, ...]
    seen_work_request: str | None
    versions: tuple[Version, ...]
    highest_version: int
    production: Serving | None
    previous_champion: Serving | None


@dataclass(frozen=True)
class PromotionsFrozen(Event):
    """A person froze promotions. A rollback does so by its own event, `RolledBack`."""

    type: ClassVar = EventType.PROMOTIONS_FROZEN
    task: ClassVar = "freeze_promotions"

    reason: FreeText
    by: FreeText


@dataclass(frozen=True)
class PromotionsResumed(Event):
    """A person ended every freeze of the ledger, the hold after a rollback included."""

    type: ClassVar = EventType.PROMOTIONS_RESUMED
    task: ClassVar = "freeze_promotions"

    reason: FreeText
    by: FreeText
