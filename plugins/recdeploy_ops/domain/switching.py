"""How a model deployment is brought to serve a version: the decision, as a pure function over facts.

A switch is done only when its work request succeeded, the deployment is ACTIVE, it is configured for the
wanted model, and its URL answers with the wanted version and digest. Whoever calls `decide_switch` again
after being killed at any instant gets the next thing to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from recdeploy_ops.domain.waiting import DEPLOYMENT_PROGRESS, Progress, judge_deployment, judge_work_request

if TYPE_CHECKING:
    from datetime import datetime

    from recdeploy_ops.domain.records import Deployment, WorkRequest

STILL_THERE = frozenset({"ACTIVE", "NEEDS_ATTENTION"})  # what OCI lets one update without downtime


class Move(StrEnum):
    """The next thing to do."""

    ASK = "ask"
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
    """What was meant to be done, recorded before OCI was asked.

    Attributes:
        goal: what the deployment shall be, in words, for messages.
        seen_work_request: the newest work request of the deployment at that time, so that a later one is ours.
        deadline: when it has failed, UTC.
    """

    goal: str
    seen_work_request: str | None
    deadline: datetime


def was_asked(intent: SwitchIntent, newest: WorkRequest | None) -> bool:
    """Return whether OCI was asked for a change: its newest work request is none that was seen before."""
    return newest is not None and newest.work_request_id != intent.seen_work_request


def decide_switch(
    intent: SwitchIntent,
    deployment: Deployment,
    newest: WorkRequest | None,
    *,
    reached: bool,
    now: datetime,
    insisting: bool = False,
) -> NextMove:
    """Decide the next move of a change of a deployment: another model, or another role.

    Args:
        intent: what was recorded before OCI was asked.
        deployment: what OCI says of it now.
        reached: whether it is configured as intended.
        newest: the deployment's newest update request, or None.
        now: UTC.
        insisting: whether it is asked for in a state that nobody listed too: there is nothing to lose.
    """
    if newest is None or not was_asked(intent, newest):
        if insisting and deployment.lifecycle_state not in DEPLOYMENT_PROGRESS:
            return NextMove(Move.ASK, f"it is {deployment.lifecycle_state}, and shall be {intent.goal} again")
        return _before_asking(intent, deployment, reached, now)
    progress = judge_work_request(newest.status)
    if progress is Progress.RUNNING:
        return _while_running(f"work request {newest.work_request_id} is {newest.status}", intent, now)
    if progress is Progress.FAILED:
        return NextMove(Move.GIVE_UP, f"work request {newest.work_request_id} is {newest.status}")
    return _after_success(intent, deployment, reached, now)


def _before_asking(intent: SwitchIntent, deployment: Deployment, reached: bool, now: datetime) -> NextMove:
    state = deployment.lifecycle_state
    if state in STILL_THERE:
        if state == "ACTIVE" and reached:
            return NextMove(Move.PROBE, f"it already is {intent.goal}")
        return NextMove(Move.ASK, f"it is {state} and not yet {intent.goal}")
    if judge_deployment(state) is Progress.RUNNING:
        return _while_running(f"it is {state} by another request", intent, now)
    return NextMove(Move.GIVE_UP, f"it is {state}, which cannot be updated without downtime")


def _after_success(intent: SwitchIntent, deployment: Deployment, reached: bool, now: datetime) -> NextMove:
    state = deployment.lifecycle_state
    if judge_deployment(state) is Progress.RUNNING:
        return _while_running(f"its work request succeeded, but it is still {state}", intent, now)
    if state != "ACTIVE":
        return NextMove(Move.GIVE_UP, f"its work request succeeded, but it is {state}")
    if not reached:
        return NextMove(Move.GIVE_UP, f"its work request succeeded, but it is not {intent.goal}")
    return NextMove(Move.PROBE, f"it is ACTIVE and {intent.goal}")


def _while_running(what: str, intent: SwitchIntent, now: datetime) -> NextMove:
    if now >= intent.deadline:
        return NextMove(Move.GIVE_UP, f"{what}, past the deadline {intent.deadline:%Y-%m-%d %H:%M} UTC")
    return NextMove(Move.WAIT, what)
