"""What all events have in common."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class EventType(StrEnum):
    """The type of an event, as it is stored."""

    LEDGER_STARTED = "ledger_started"
    RELEASE_OPENED = "release_opened"
    PRODUCTION_BACKED_UP = "production_backed_up"
    BACKUP_FAILED = "backup_failed"
    DATA_EXTRACTED = "data_extracted"
    DATA_CHECKED = "data_checked"
    MODEL_TRAINED = "model_trained"
    ARTIFACT_BUILT = "artifact_built"
    CANDIDATE_CHECKED = "candidate_checked"
    GATE_MODELS_TRAINED = "gate_models_trained"
    CHAMPION_BACKTESTED = "champion_backtested"
    CANDIDATE_EVALUATED = "candidate_evaluated"
    MODEL_REGISTERED = "model_registered"
    TEST_DEPLOYED = "test_deployed"
    TEST_VALIDATED = "test_validated"
    APPROVAL_REQUESTED = "approval_requested"
    APPROVAL_ANSWERED = "approval_answered"
    BASELINE_MEASURED = "baseline_measured"
    SWITCH_STARTED = "switch_started"
    SWITCH_FAILED = "switch_failed"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    RESTORE_STARTED = "restore_started"
    CHAMPION_RESTORED = "champion_restored"
    PRODUCTION_LOST = "production_lost"
    PRODUCTION_FAILED = "production_failed"
    RESIZE_STARTED = "resize_started"
    RESIZED = "resized"
    BAKE_STARTED = "bake_started"
    WINDOW_JUDGED = "window_judged"
    BAKE_ENDED = "bake_ended"
    REHEARSAL_STARTED = "rehearsal_started"
    ROLLBACK_REHEARSED = "rollback_rehearsed"
    MODEL_RESTORED = "model_restored"
    ADOPTED = "adopted"
    TAKEOVER_STARTED = "takeover_started"
    RELEASE_REJECTED = "release_rejected"
    RELEASE_CLOSED = "release_closed"
    PROMOTIONS_FROZEN = "promotions_frozen"
    PROMOTIONS_RESUMED = "promotions_resumed"
    VERSION_PINNED = "version_pinned"
    VERSION_UNPINNED = "version_unpinned"
    HOUSEKEEPING_STARTED = "housekeeping_started"
    CUSTOMER_ERASED = "customer_erased"


@dataclass(frozen=True)
class Event:
    """Something that has happened, immutable.

    Attributes:
        type: as stored.
        task: the Airflow task that records it, which must be cleared if the event is missing.
    """

    type: ClassVar[EventType]
    task: ClassVar[str] = "plan_release"
