"""How the events of a release build on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import EventType

if TYPE_CHECKING:
    from collections.abc import Collection

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
    EventType.BASELINE_MEASURED,
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
    EventType.BAKE_STARTED,
    EventType.WINDOW_JUDGED,
    EventType.BAKE_ENDED,
    EventType.RELEASE_REJECTED,
)

# An automatic rollback switches production a second time in the same release. It rests on the bake, so that the
# promotion and the bake stay valid: an approval counts once.
OF_AN_AUTOMATIC_ROLLBACK = (
    EventType.SWITCH_STARTED,
    EventType.SWITCH_FAILED,
    EventType.RESTORE_STARTED,
    EventType.CHAMPION_RESTORED,
    EventType.PRODUCTION_LOST,
    EventType.PRODUCTION_FAILED,
    EventType.ROLLED_BACK,
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


def find_voided(recorded: EventType, valid: Collection[EventType] = ()) -> frozenset[EventType]:
    """Return the types of a release's events that no longer count when one of this type is recorded.

    Args:
        recorded: the type.
        valid: the types of the release's valid events.
    """
    if EventType.BAKE_STARTED in valid and recorded in OF_AN_AUTOMATIC_ROLLBACK:
        return _after(recorded, OF_AN_AUTOMATIC_ROLLBACK)
    if recorded is EventType.RELEASE_OPENED:
        return VOID_WHEN_REOPENED
    if recorded not in BUILT_ON_EACH_OTHER:
        return frozenset()
    return _after(recorded, BUILT_ON_EACH_OTHER)


def _after(recorded: EventType, order: tuple[EventType, ...]) -> frozenset[EventType]:
    return frozenset(order[order.index(recorded) + 1 :])
