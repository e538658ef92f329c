"""What people do in Airflow beside the manual: Airflow says the truth all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scheduler.people import COMMENTS

from recdeploy_ops.domain.events import ApprovalAnswered, ReleaseClosed, ReleaseOutcome

if TYPE_CHECKING:
    from scheduler.people import Mishandled

pytestmark = pytest.mark.more


def test_of_two_answers_at_the_same_moment_one_is_accepted_and_recorded(mishandled_release: Mishandled) -> None:
    statuses = {name: answer.status_code for name, answer in mishandled_release.answers.items()}
    [accepted] = [name for name, status in statuses.items() if status == 200]
    answered = mishandled_release.seen.event(ApprovalAnswered)

    assert sorted(statuses.values()) == [200, 409]
    assert (answered.by, answered.comment) == (accepted, COMMENTS[accepted])
    assert mishandled_release.seen.kinds.count("approval_answered") == 1


def test_a_run_beside_one_that_waits_fails_at_once_and_says_who_holds_the_lock(mishandled_release: Mishandled) -> None:
    beside = mishandled_release.beside

    assert beside.outcome.state == "failed"
    assert beside.outcome.tasks["plan_release"].state == "failed"
    assert f"(run {mishandled_release.seen.run_id}) has held the release lock since" in mishandled_release.holder
    assert "Answer it under Required Actions" in mishandled_release.holder
    assert beside.kinds == []


def test_a_promotion_that_was_marked_as_successful_fails_the_run_with_the_reason(
    mishandled_release: Mishandled,
) -> None:
    seen = mishandled_release.seen
    tasks = seen.outcome.tasks

    assert (tasks["promote"].state, tasks["bake"].state, tasks["close_release"].state) == ("success",) * 3
    assert (seen.outcome.state, tasks["confirm_outcome"].state) == ("failed", "failed")
    assert "somebody marked a task as successful" in mishandled_release.sentence
    assert f"Production serves v{seen.before.version}." in mishandled_release.sentence


def test_production_is_what_it_was(mishandled_release: Mishandled) -> None:
    seen = mishandled_release.seen

    assert (seen.after.url, seen.after.version) == (seen.before.url, seen.before.version)
    assert seen.event(ReleaseClosed).outcome is ReleaseOutcome.FAILED
    assert (seen.tests, seen.holder) == ([], None)
