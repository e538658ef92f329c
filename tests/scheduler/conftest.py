"""Whole releases under a real scheduler: each runs once, and several tests look at it.

A release takes about a minute, and a retry half a minute, so more than one thing happens to each release. The fixtures
keep the facts of each release: the tests do not depend on each other's order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pollers import Poller
from rest import APPROVAL, AWAITING
from scheduler.adoptions import LostLedger, adopt, lose_ledger
from scheduler.people import Mishandled, mishandle
from scheduler.releases import (
    LATER,
    OTHER_PARAMS,
    TIMEOUT_HOURS,
    Interrupted,
    Reopened,
    answer_in_time,
    answer_too_early,
    hold_promotion,
    kill_promotion,
    kill_training,
    question_after,
)
from scheduler.rollbacks import RolledBack, housekeeping, roll_back
from services import EndedRun, Installation, installation, order_by_installation
from special_shop import SPECIAL_USERS
from weeks import weeks

from recdeploy_ops.domain.events import EventType
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.rollout.tagging import find_tagged_heads

__all__ = ["installation", "weeks"]

HERE = Path(__file__).parent
# A test that runs alone waits for up to four releases, a rollback and an adoption.
SETUP_SECONDS = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order_by_installation(items)
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.timeout(SETUP_SECONDS))


@pytest.fixture(scope="session")
def first_release(installation: Installation) -> EndedRun:
    """A release that a person promotes: the first, unless another folder's tests ran before."""
    before = installation.cloud.production()
    run_id = installation.trigger("first")
    outcome = installation.follow(run_id, "promote", "ship it")
    return installation.inspect_run(run_id, outcome, before)


@pytest.fixture(scope="session")
def interrupted_release(installation: Installation, first_release: EndedRun) -> Interrupted:
    """A release whose training and promotion are killed, and that is approved before Airflow expects an answer."""
    before, creations = installation.production(), len(installation.emulator.calls("CreateModelDeployment"))
    with Poller(installation.cloud, before, SPECIAL_USERS[0]) as poller:
        run_id = installation.trigger("interrupted", **OTHER_PARAMS)
        survived = kill_training(installation, run_id)
        hold_promotion(installation)
        early = answer_too_early(installation, run_id)
        asked = question_after(installation, run_id, early)
        if asked:
            answer_in_time(installation, run_id, "Promote", LATER)
        promoting = kill_promotion(installation, run_id)
        seen = installation.inspect_run(run_id, installation.follow(run_id), before)
    return Interrupted(
        seen=seen,
        poller=poller,
        asked=asked,
        early=early,
        training_survived=survived,
        promoting=promoting,
        updates=installation.accepted_updates(seen, EventType.SWITCH_STARTED, EventType.PROMOTED),
        models=installation.models(),
        creations=len(installation.emulator.calls("CreateModelDeployment")) - creations,
    )


@pytest.fixture(scope="session")
def mishandled_release(installation: Installation, first_release: EndedRun) -> Mishandled:
    """A release that is answered twice at once, beside which another is triggered, and whose tasks are marked."""
    return mishandle(installation)


@pytest.fixture(scope="session")
def rejected_release(installation: Installation, first_release: EndedRun) -> tuple[EndedRun, dict[str, Any]]:
    """A release that a person rejects, and its question."""
    before = installation.production()
    run_id = installation.trigger("rejected", seed=3, approval_timeout_hours=TIMEOUT_HOURS)
    installation.wait_for_state(run_id, APPROVAL, AWAITING)
    question = installation.admin.question(run_id)
    outcome = installation.follow(run_id, "reject", "the lists look odd")
    return installation.inspect_run(run_id, outcome, before), question


@pytest.fixture(scope="session")
def reopened_release(installation: Installation, rejected_release: tuple[EndedRun, dict[str, Any]]) -> Reopened:
    """The rejected release, whose approval is cleared and then not answered."""
    rejected, first = rejected_release
    cleared = installation.admin.clear(rejected.run_id, APPROVAL)
    installation.wait_until_asked(rejected.run_id)
    asked = installation.admin.question(rejected.run_id)
    kinds = [str(entry.type) for entry in installation.entries(rejected.run_id)]
    viewer = installation.viewer.respond(rejected.run_id, "Promote")
    limit = installation.expire_approval(rejected.run_id)
    outcome = installation.follow(rejected.run_id)
    seen = installation.inspect_run(rejected.run_id, outcome, rejected.before)
    return Reopened(cleared, first, asked, viewer, kinds, limit, seen)


@pytest.fixture(scope="session")
def rolled_back(installation: Installation, interrupted_release: Interrupted) -> RolledBack:
    """The interrupted release rolled back, which preempts a third one; housekeeping runs while that one trains."""
    waiting = installation.trigger("third", seed=5)
    return roll_back(installation, waiting, housekeeping(installation, beside=waiting))


@pytest.fixture(scope="session")
def lost_ledger(installation: Installation, rolled_back: RolledBack) -> LostLedger:
    """The ledger lost and adopted from OCI; the tests that run later go on with the adopted one."""
    before, production = installation.inspector.state(), installation.production()
    lose_ledger(installation)
    shown = adopt(installation, apply=False)
    applied = adopt(installation, apply=True)
    after = installation.production()
    releases = installation.releases()
    return LostLedger(
        before=before,
        shown=shown,
        applied=applied,
        after=installation.inspector.state(),
        production_before=production,
        production_after=after,
        answer=installation.cloud.recommend(after, SPECIAL_USERS[0], 5),
        faults=audit(releases.store, tagged_heads=find_tagged_heads(releases)),
    )
