"""Housekeeping while a release is in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scheduler.rollbacks import HOUSEKEEPING

from recdeploy_ops.domain import events  # a class named Test... would be collected

if TYPE_CHECKING:
    from scheduler.rollbacks import RolledBack
    from services import Installation

pytestmark = pytest.mark.more


def test_housekeeping_deletes_a_test_deployment_whose_lease_is_over(rolled_back: RolledBack) -> None:
    run = rolled_back.housekeeping

    assert run.outcome.state == "success"
    assert run.orphan not in [endpoint.ocid for endpoint in run.tests]


def test_a_deletion_whose_answer_was_lost_is_tried_again_and_done_once(rolled_back: RolledBack) -> None:
    run = rolled_back.housekeeping
    task = run.outcome.tasks["housekeeping"]

    assert (task.state, task.attempt) == ("success", 2), run.errors
    assert "delete the model deployment product-recommender-test-orphan" in run.errors[0]
    assert [call["deployment_id"] for call in run.deletions if call["dropped"]] == [run.orphan]
    assert [call for call in run.deletions if call["status"] == 202] == []


def test_housekeeping_leaves_production_and_a_live_release_alone(
    installation: Installation, rolled_back: RolledBack
) -> None:
    run, waiting = rolled_back.housekeeping, rolled_back.waiting
    version = waiting.event(events.ReleaseOpened).version
    left = installation.of(HOUSEKEEPING).admin.xcom(run.run_id, "housekeeping")["left"]

    assert run.after == run.before
    assert [endpoint.ocid for endpoint in run.tests] == [waiting.event(events.TestDeployed).deployment_id]
    assert left in ([], [f"product-recommender-test-v{version}"])  # it may have been made only afterwards
