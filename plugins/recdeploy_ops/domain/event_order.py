"""How the events of a release build on each other."""

from __future__ import annotations

from recdeploy_ops.domain.events import EventType

# Recording a step again voids what was built on its earlier event: the release's events of every later type are
# dropped from the state, never from the ledger.
BUILT_ON_EACH_OTHER = (
    EventType.DATA_EXTRACTED,
    EventType.DATA_CHECKED,
    EventType.MODEL_TRAINED,
    EventType.ARTIFACT_BUILT,
    EventType.CANDIDATE_CHECKED,
    EventType.GATE_MODELS_TRAINED,
    EventType.CANDIDATE_EVALUATED,
    EventType.MODEL_REGISTERED,
    EventType.TEST_DEPLOYED,
    EventType.TEST_VALIDATED,
    EventType.APPROVAL_REQUESTED,
    EventType.APPROVAL_ANSWERED,
    EventType.SWITCH_STARTED,
    EventType.SWITCH_FAILED,
    EventType.RESTORE_STARTED,
    EventType.CHAMPION_RESTORED,
    EventType.PRODUCTION_LOST,
    EventType.PRODUCTION_FAILED,
    EventType.PROMOTED,
    EventType.ROLLED_BACK,
    EventType.RESIZE_STARTED,
    EventType.RESIZED,
    EventType.RELEASE_REJECTED,
)

# What a reopened release must do again: everything after the person's answer, except what has changed production.
VOID_WHEN_REOPENED = frozenset(BUILT_ON_EACH_OTHER[BUILT_ON_EACH_OTHER.index(EventType.SWITCH_STARTED) :]) - {
    EventType.PROMOTED,
    EventType.ROLLED_BACK,
} | {EventType.RELEASE_CLOSED, EventType.REHEARSAL_STARTED}

# What ends a switch.
PRODUCTION_AT_REST = frozenset(
    {
        EventType.PROMOTED,
        EventType.ROLLED_BACK,
        EventType.CHAMPION_RESTORED,
        EventType.PRODUCTION_LOST,
        EventType.PRODUCTION_FAILED,
        EventType.RELEASE_CLOSED,
    }
)


def find_voided(recorded: EventType) -> frozenset[EventType]:
    """Return the types of a release's events that no longer count when one of this type is recorded."""
    if recorded is EventType.RELEASE_OPENED:
        return VOID_WHEN_REOPENED
    if recorded not in BUILT_ON_EACH_OTHER:
        return frozenset()
    return frozenset(BUILT_ON_EACH_OTHER[BUILT_ON_EACH_OTHER.index(recorded) + 1 :])
