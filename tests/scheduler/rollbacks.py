"""A rollback and housekeeping under the scheduler: what is done, and the facts that the tests look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pollers import Poller
from rest import APPROVAL, AWAITING
from scheduler.releases import Switched, answer_in_time
from special_shop import SPECIAL_USERS

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.events import EventType
from recdeploy_ops.domain.records import Role, Shape
from recdeploy_ops.oci_clients.deployments import NewDeployment
from recdeploy_ops.rollout.tagging import deployment_tags

if TYPE_CHECKING:
    from services import EndedRun, Installation

    from demo.cloud import Endpoint
    from demo.releases import Outcome

ROLLBACK, HOUSEKEEPING, FREEZE = "recommender_rollback", "recommender_housekeeping", "recommender_freeze"
RESUMED = "the next release is looked at"
HOSTILE_REASON = "<img src=x onerror=alert(1)> [x](javascript:1)"
COMMENT = "the new lists are worse"


@dataclass(frozen=True)
class HousekeepingRun:
    """Housekeeping while a release is in progress; OCI's answer to its deletion is lost.

    Attributes:
        run_id: of the run.
        outcome: how it ended.
        orphan: OCID of the orphan, a TEST deployment.
        before: production before it.
        after: production after it.
        tests: TEST deployments once the release in progress waited for its approval.
        deletions: calls that requested a deletion.
        errors: the error of each try that failed.
    """

    run_id: str
    outcome: Outcome
    orphan: str
    before: Endpoint
    after: Endpoint
    tests: list[Endpoint]
    deletions: list[dict[str, Any]]
    errors: list[str]


@dataclass(frozen=True)
class RolledBack(Switched):
    """A rollback while another release waits for its approval; OCI's answer to its switch is lost.

    Attributes:
        question: of its approval.
        pending: the runs under Required Actions at the question.
        switching: types of the ledger's events when the task that switches had lost OCI's answer.
        updates: changes of production that OCI accepted for the switch.
        waiting: the release that waited, at its end: it was approved after production had been switched.
        housekeeping: the run of housekeeping before it.
    """

    question: dict[str, Any]
    pending: list[str]
    switching: list[str]
    updates: int
    waiting: EndedRun
    housekeeping: HousekeepingRun


def housekeeping(installation: Installation, *, beside: str) -> HousekeepingRun:
    """Let housekeeping delete an orphan while another run is in progress; it loses OCI's answer to the deletion."""
    orphan, before = make_orphan(installation), installation.production()
    calls = len(installation.emulator.calls("DeleteModelDeployment"))
    installation.emulator.fail_next("DeleteModelDeployment", "drop_after")
    house = installation.of(HOUSEKEEPING)
    run_id = house.trigger("housekeeping")
    outcome = house.follow(run_id)
    installation.wait_for_state(beside, APPROVAL, AWAITING)
    return HousekeepingRun(
        run_id=run_id,
        outcome=outcome,
        orphan=orphan,
        before=before,
        after=installation.production(),
        tests=installation.cloud.endpoints("test"),
        deletions=installation.emulator.calls("DeleteModelDeployment")[calls:],
        errors=[
            house.admin.error_of(run_id, "housekeeping", attempt)
            for attempt in range(1, outcome.tasks["housekeeping"].attempt)
        ],
    )


def resume(installation: Installation) -> None:
    """Let a person resume promotions, which hold after a rollback: other tests promote again."""
    switch = installation.of(FREEZE)
    run_id = switch.trigger("resume", freeze=False, reason=RESUMED)
    outcome = switch.follow(run_id)
    if outcome.state != "success":
        raise AssertionError(switch.admin.error_of(run_id, "freeze_promotions", 1))


def make_orphan(installation: Installation) -> str:
    """Deploy to TEST for a run that the ledger does not know, with a lease that is over; returns the OCID."""
    production = installation.production()
    gone = replace(installation.releases(), run_id="a-run-that-is-gone", now=lambda: utc_now() - timedelta(days=30))
    return gone.deployments.create(
        NewDeployment(
            name="product-recommender-test-orphan",
            description="made by an installation that is gone",
            model_id=production.model_ocid,
            shape=Shape(instance_shape="VM.Standard.E4.Flex", ocpus=1.0, memory_gb=16.0, instance_count=1),
            bandwidth_mbps=10,
            environment={},
            logs={},
            tags=deployment_tags(gone, 1, str(production.digest), Role.TEST),
            token="orphan",
        )
    )


def roll_back(installation: Installation, waiting: str, housekeeping: HousekeepingRun) -> RolledBack:
    """Roll production back with a person's approval, while another run waits for one.

    OCI's answer to the switch is lost. Before Airflow tries again, the other run is approved.
    """
    rollbacks, before = installation.of(ROLLBACK), installation.production()
    with Poller(installation.cloud, before, SPECIAL_USERS[0]) as poller:
        run_id = rollbacks.trigger("rollback", reason=HOSTILE_REASON, require_approval=True)
        rollbacks.wait_for_state(run_id, APPROVAL, AWAITING)
        question, pending = rollbacks.admin.question(run_id), rollbacks.admin.required_actions()
        installation.emulator.fail_next("UpdateModelDeployment", "drop_after")
        answer_in_time(rollbacks, run_id, "Roll back", COMMENT)
        rollbacks.wait_for_state(run_id, "roll_back", "up_for_retry")
        switching = [str(entry.type) for entry in installation.entries(run_id)]
        installation.approver.respond(waiting, "Promote", "too late").raise_for_status()
        refused = installation.follow(waiting)
        seen = rollbacks.inspect_run(run_id, rollbacks.follow(run_id), before)
    resume(installation)
    return RolledBack(
        seen=seen,
        poller=poller,
        question=question,
        pending=pending,
        switching=switching,
        updates=installation.accepted_updates(seen, EventType.SWITCH_STARTED, EventType.ROLLED_BACK),
        waiting=installation.inspect_run(waiting, refused, before),
        housekeeping=housekeeping,
    )
