"""How to make a deployment serve a version: the decision, as a pure function over facts.

A switch is done only when its work request succeeded, the deployment is ACTIVE, it is configured for the
intended model, and its URL answers with the intended version and digest. `decide_switch` may be called again
after a kill at any instant: it returns the next move.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from recdeploy_ops.domain.deployment_states import Progress
from recdeploy_ops.domain.events import EventType
from recdeploy_ops.domain.waiting import judge_work_request

if TYPE_CHECKING:
    from datetime import datetime

    from recdeploy_ops.domain.records import Deployment, WorkRequest

# What may be recorded while production is being switched and not verified yet.
WHILE_SWITCHING = frozenset(
    {
        EventType.SWITCH_STARTED,
        EventType.SWITCH_FAILED,
        EventType.PROMOTED,
        EventType.ROLLED_BACK,
        EventType.RESTORE_STARTED,
        EventType.CHAMPION_RESTORED,
        EventType.PRODUCTION_LOST,
        EventType.PRODUCTION_FAILED,
        EventType.MODEL_RESTORED,
        EventType.BAKE_ENDED,
        EventType.RELEASE_REJECTED,
        EventType.RELEASE_CLOSED,
    }
)


class Move(StrEnum):
    """The next thing to do."""

    REQUEST = "request"
    WAIT = "wait"
    PROBE = "probe"
    GIVE_UP = "give up"


@dataclass(frozen=True)
class NextMove:
    """A move, and why."""

    move: Move
    reason: str


@dataclass(frozen=True)
class SwitchIntent:
    """The goal of a change, recorded before the request to OCI.

    Attributes:
        goal: what the deployment is to be, in words, for messages.
        seen_work_request: the newest work request of the deployment at that time, so that a later one is ours.
        deadline: when it has failed, UTC.
    """

    goal: str
    seen_work_request: str | None
    deadline: datetime


def was_requested(intent: SwitchIntent, newest: WorkRequest | None) -> bool:
    """Return whether OCI has a work request newer than the one recorded with the intent."""
    return newest is not None and newest.work_request_id != intent.seen_work_request


def decide_switch(
    intent: SwitchIntent,
    deployment: Deployment,
    newest: WorkRequest | None,
    *,
    reached: bool,
    now: datetime,
    force: bool = False,
) -> NextMove:
    """Decide the next move of a change to a deployment: of its model, or of its role.

    Args:
        intent: recorded before the request to OCI.
        deployment: as OCI has it now.
        newest: the deployment's newest work request, or None.
        reached: whether it is configured as intended.
        now: UTC.
        force: send the update even in an unlisted state: nothing can be lost.
    """
    if newest is None or not was_requested(intent, newest):
        if force and not deployment.lifecycle_state.is_listed:
            return NextMove(Move.REQUEST, f"it is {deployment.lifecycle_state}, and is to be {intent.goal} again")
        return _before_requesting(intent, deployment, reached, now)
    progress = judge_work_request(newest.status)
    if progress is Progress.RUNNING:
        return _while_running(f"work request {newest.work_request_id} is {newest.status}", intent, now)
    if progress is Progress.FAILED:
        return NextMove(Move.GIVE_UP, f"work request {newest.work_request_id} is {newest.status}")
    return _after_success(intent, deployment, reached, now)


def _before_requesting(intent: SwitchIntent, deployment: Deployment, reached: bool, now: datetime) -> NextMove:
    state = deployment.lifecycle_state
    if state.can_update:
        if state.is_active and reached:
            return NextMove(Move.PROBE, f"it already is {intent.goal}")
        return NextMove(Move.REQUEST, f"it is {state} and not yet {intent.goal}")
    if state.progress is Progress.RUNNING:
        return _while_running(f"it is {state} by another request", intent, now)
    return NextMove(Move.GIVE_UP, f"it is {state}, which cannot be updated without downtime")


def _after_success(intent: SwitchIntent, deployment: Deployment, reached: bool, now: datetime) -> NextMove:
    state = deployment.lifecycle_state
    if state.progress is Progress.RUNNING:
        return _while_running(f"its work request succeeded, but it is still {state}", intent, now)
    if not state.is_active:
        return NextMove(Move.GIVE_UP, f"its work request succeeded, but it is {state}")
    if not reached:
        return NextMove(Move.GIVE_UP, f"its work request succeeded, but it is not {intent.goal}")
    return NextMove(Move.PROBE, f"it is ACTIVE and {intent.goal}")


def _while_running(what: str, intent: SwitchIntent, now: datetime) -> NextMove:
    if now >= intent.deadline:
        return NextMove(Move.GIVE_UP, f"{what}, past the deadline {intent.deadline:%Y-%m-%d %H:%M} UTC")
    return NextMove(Move.WAIT, what)
