"""Whole releases under a real scheduler: each is run once, and seen by several tests.

A release takes about a minute, and a retry half of one, so each that is run here has more than one thing happen
to it. What was seen of it is kept: the tests do not depend on each other's order.
"""

from __future__ import annotations

from typing import Any

import pytest
from scheduler.releases import (
    LATER,
    OTHER_PARAMS,
    TIMEOUT_SECONDS,
    Interrupted,
    Reopened,
    answer_too_early,
    kill_training,
    question_after,
)
from services import APPROVAL, AWAITING, SPECIAL_USERS, Installation, Poller, Sight, installation, move_to_the_end

__all__ = ["installation"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    move_to_the_end(items)


@pytest.fixture(scope="session")
def first_release(installation: Installation) -> Sight:
    """A release that somebody promotes: the first, unless another folder's tests came before."""
    before = installation.cloud.production()
    run_id = installation.trigger("first")
    outcome = installation.follow(run_id, "promote", "ship it")
    return installation.look(run_id, outcome, before)


@pytest.fixture(scope="session")
def second_release(installation: Installation, first_release: Sight) -> Interrupted:
    """With other params; its training is killed, and its approval is answered before Airflow expects it."""
    before, creations = installation.production(), len(installation.calls("CreateModelDeployment"))
    with Poller(installation.cloud, before, SPECIAL_USERS[0]) as poller:
        run_id = installation.trigger("second", **OTHER_PARAMS)
        survived = kill_training(installation, run_id)
        early = answer_too_early(installation, run_id)
        asked = question_after(installation, run_id, early)
        outcome = installation.follow(run_id, "promote", LATER)
        seen = installation.look(run_id, outcome, before)
    made = len(installation.calls("CreateModelDeployment")) - creations
    return Interrupted(seen, poller, asked, early, survived, installation.models(), made)


@pytest.fixture(scope="session")
def rejected_release(installation: Installation, first_release: Sight) -> tuple[Sight, dict[str, Any]]:
    """A release that somebody rejects, and its approval as it was put."""
    before = installation.production()
    run_id = installation.trigger("rejected", seed=3, approval_timeout_hours=TIMEOUT_SECONDS / 3600)
    installation.wait_for_state(run_id, APPROVAL, AWAITING)
    question = installation.admin.question(run_id)
    outcome = installation.follow(run_id, "reject", "the lists look odd")
    return installation.look(run_id, outcome, before), question


@pytest.fixture(scope="session")
def reopened_release(installation: Installation, rejected_release: tuple[Sight, dict[str, Any]]) -> Reopened:
    """The rejected release, whose approval is cleared and then answered by nobody."""
    rejected, first = rejected_release
    cleared = installation.admin.clear(rejected.run_id, APPROVAL)
    installation.wait_for_state(rejected.run_id, APPROVAL, AWAITING)
    asked = installation.admin.question(rejected.run_id)
    kinds = [str(entry.kind) for entry in installation.entries(rejected.run_id)]
    viewer = installation.viewer.respond(rejected.run_id, "Promote")
    outcome = installation.follow(rejected.run_id)
    return Reopened(cleared, first, asked, viewer, kinds, installation.look(rejected.run_id, outcome, rejected.before))
