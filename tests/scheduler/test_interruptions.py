"""A worker that is killed, and an answer that comes too early: the release goes on, and nothing happens twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rest import APPROVAL
from scheduler.releases import LATER, TOO_EARLY

from recdeploy_ops.domain.events import ApprovalAnswered, Promoted

if TYPE_CHECKING:
    from scheduler.releases import Interrupted
    from services import Installation

pytestmark = pytest.mark.more


def test_a_killed_training_ends_the_ads_operator_and_is_tried_again(interrupted_release: Interrupted) -> None:
    task = interrupted_release.seen.outcome.tasks["run_ads_operator"]

    assert not interrupted_release.training_survived
    assert (task.state, task.attempt) == ("success", 2)


def test_a_killed_training_makes_nothing_twice(installation: Installation, interrupted_release: Interrupted) -> None:
    seen = interrupted_release.seen
    version = seen.event(Promoted).version

    assert seen.kinds.count("model_trained") == 1
    assert [name for name in interrupted_release.models if name.endswith(f"-v{version}")] == [
        f"product-recommender-v{version}"
    ]
    assert interrupted_release.creations == 1
    assert installation.partial_objects() == []


def test_a_promotion_killed_before_it_is_recorded_requests_the_switch_once(interrupted_release: Interrupted) -> None:
    seen, task = interrupted_release.seen, interrupted_release.seen.outcome.tasks["promote"]

    assert interrupted_release.promoting[-1] == "switch_started"
    assert (task.state, task.attempt) == ("success", 2)
    assert seen.kinds[-4:] == ["switch_started", "promoted", "bake_ended", "release_closed"]
    assert interrupted_release.updates == 1


def test_an_answer_that_comes_too_early_does_not_lose_the_release(interrupted_release: Interrupted) -> None:
    assert interrupted_release.early.status_code == 200
    assert interrupted_release.seen.outcome.state == "success"
    assert interrupted_release.seen.outcome.tasks["promote"].state == "success"


def test_an_answer_that_was_lost_is_asked_for_again_and_only_the_new_one_counts(
    installation: Installation, interrupted_release: Interrupted
) -> None:
    seen, asked = interrupted_release.seen, interrupted_release.asked
    decision = installation.admin.xcom(seen.run_id, APPROVAL, "decision")
    requested = seen.kinds.count("approval_requested")

    answers = [entry.event for entry in seen.entries if isinstance(entry.event, ApprovalAnswered)]
    counted = seen.event(ApprovalAnswered)

    assert (counted.attempt, counted.comment) == (decision["attempt"], decision["comment"])
    assert decision["attempt"] == requested
    if asked is None:  # Airflow recorded it after all
        assert (requested, decision["comment"]) == (1, TOO_EARLY)
        assert answers == [counted]
    else:  # Airflow ended the task before or after it had recorded the early answer
        assert [answer.comment for answer in answers] in ([LATER], [TOO_EARLY, LATER])
        assert (requested, decision["comment"]) == (2, LATER)
        assert "Asked again" in asked["body"]
        assert not asked["response_received"]
        assert f"v{decision['version']} " in asked["subject"]


def test_a_client_sees_no_error_and_one_change_of_version(interrupted_release: Interrupted) -> None:
    interrupted_release.require_one_change(answers=100)
