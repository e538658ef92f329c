"""A release that a person rejects, and that is opened again and then not answered."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from rest import APPROVAL
from scheduler.releases import TIMEOUT_HOURS
from special_shop import SPECIAL_USERS

from recdeploy_ops.domain.events import ApprovalAnswered, ReleaseRejected
from recdeploy_ops.domain.stages import Stage

if TYPE_CHECKING:
    from scheduler.releases import Reopened
    from services import EndedRun, Installation

pytestmark = pytest.mark.more


def test_a_rejection_is_a_successful_run(rejected_release: tuple[EndedRun, dict[str, Any]]) -> None:
    tasks = rejected_release[0].outcome.tasks

    assert rejected_release[0].outcome.state == "success"
    assert (tasks["promote"].state, tasks["reject"].state) == ("skipped", "success")
    assert tasks["close_release"].state == "success"


def test_a_rejection_leaves_production_untouched(rejected_release: tuple[EndedRun, dict[str, Any]]) -> None:
    seen, _ = rejected_release

    assert seen.after == seen.before
    assert seen.answers[SPECIAL_USERS[0]]["model_version"] == int(seen.before.version)
    assert seen.tests == []
    assert seen.holder is None


def test_the_ledger_says_who_rejected_and_why(rejected_release: tuple[EndedRun, dict[str, Any]]) -> None:
    rejected = rejected_release[0].event(ReleaseRejected)

    assert (rejected.by, rejected.reason) == ("approver", "the lists look odd")
    events = ["approval_requested", "approval_answered", "release_rejected", "release_closed"]
    assert rejected_release[0].kinds[-4:] == events
    assert "switch_started" not in rejected_release[0].kinds


def test_the_rejected_version_has_the_stage_rejected(
    installation: Installation, rejected_release: tuple[EndedRun, dict[str, Any]]
) -> None:
    version = rejected_release[0].event(ReleaseRejected).version

    assert installation.inspector.state().versions[version].stage is Stage.REJECTED


def test_clearing_the_approval_of_an_ended_run_clears_the_task_that_opens_its_release(
    reopened_release: Reopened,
) -> None:
    assert set(reopened_release.cleared) == {
        *("plan_release", APPROVAL, "promote", "bake", "reject"),
        *("close_release", "confirm_outcome"),
    }
    assert reopened_release.kinds[-2:] == ["release_opened", "approval_requested"]


def test_the_question_of_a_reopened_release_is_the_new_one(reopened_release: Reopened) -> None:
    first, asked = reopened_release.first, reopened_release.asked

    assert "Asked again" not in first["body"]
    assert "Asked again" in asked["body"]
    assert asked["subject"] == first["subject"]
    assert asked["body"].partition("|  | candidate |")[2] == first["body"].partition("|  | candidate |")[2]


def test_an_answer_from_before_a_release_was_reopened_does_not_count(reopened_release: Reopened) -> None:
    assert not reopened_release.asked["response_received"]
    assert reopened_release.asked["chosen_options"] in (None, [])
    assert reopened_release.kinds.count("approval_answered") == 1


def test_a_user_who_may_only_look_cannot_answer(reopened_release: Reopened) -> None:
    assert reopened_release.viewer.status_code == 403


def test_an_approval_waits_for_an_answer_as_long_as_the_form_says(reopened_release: Reopened) -> None:
    assert timedelta(hours=TIMEOUT_HOURS - 0.5) < reopened_release.limit <= timedelta(hours=TIMEOUT_HOURS)


def test_an_approval_that_nobody_answers_in_time_is_a_rejection(reopened_release: Reopened) -> None:
    seen = reopened_release.seen
    answer, rejected = seen.event(ApprovalAnswered), seen.event(ReleaseRejected)

    assert seen.outcome.state == "success"
    assert (answer.decision, answer.timed_out, answer.attempt) == ("Reject", True, 2)
    assert rejected.reason == "nobody answered in time"
    assert seen.after == seen.before
    assert seen.tests == []
    assert seen.holder is None
