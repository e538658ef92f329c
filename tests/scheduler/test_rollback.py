"""A rollback that a person approves, while a release waits for its own approval."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt
from rest import APPROVAL
from scheduler.rollbacks import COMMENT, HOSTILE_REASON, ROLLBACK

from recdeploy_ops.domain import events
from recdeploy_ops.domain.codec import to_plain
from recdeploy_ops.domain.events import ApprovalAnswered, ApprovalRequested, ReleaseClosed, RollbackRehearsed

if TYPE_CHECKING:
    from scheduler.rollbacks import RolledBack
    from services import Installation

pytestmark = pytest.mark.more

STEPS = [
    "release_opened",
    "rollback_rehearsed",
    "approval_requested",
    "approval_answered",
    "switch_started",
    "rolled_back",
    "release_closed",
]


def test_a_rollback_is_a_successful_run(rolled_back: RolledBack) -> None:
    outcome = rolled_back.seen.outcome

    assert outcome.state == "success"
    assert {task.state for task in outcome.tasks.values()} == {"success"}


def test_the_earlier_version_answers_at_the_same_url_and_nothing_else_is_left(rolled_back: RolledBack) -> None:
    rolled_back.require_rolled_back()


def test_a_client_sees_no_error_and_one_change_back(rolled_back: RolledBack) -> None:
    rolled_back.require_one_change(answers=100)


def test_the_ledger_has_every_step_of_the_rollback_once(rolled_back: RolledBack) -> None:
    assert rolled_back.seen.kinds == STEPS


def test_a_switch_whose_answer_was_lost_is_not_requested_again(rolled_back: RolledBack) -> None:
    task = rolled_back.seen.outcome.tasks["roll_back"]

    assert rolled_back.switching[-1] == "switch_started"
    assert (task.state, task.attempt) == ("success", 2)
    assert rolled_back.updates == 1


def test_the_question_waits_under_required_actions_and_shows_its_evidence(rolled_back: RolledBack) -> None:
    seen, question = rolled_back.seen, rolled_back.question
    target, rehearsed = seen.event(events.RolledBack), seen.event(RollbackRehearsed)

    assert seen.run_id in rolled_back.pending
    assert question["subject"] == f"Roll product-recommender back to v{target.version}?"
    assert question["options"] == ["Roll back", "Keep production"]
    shown = rows_of(question["body"])
    assert (shown["rolls back to"], shown["its digest"]) == (f"v{target.version}", target.digest)
    assert shown["production serves"].startswith(f"v{seen.before.version} since 20")
    assert shown["at"] == seen.before.url
    assert shown["rehearsed in"] == f"{rehearsed.seconds} s"
    assert shown["requested by"] == "admin"


def test_a_hostile_reason_is_text(rolled_back: RolledBack) -> None:
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(rolled_back.question["body"])

    assert f"<p>Reason: {HOSTILE_REASON}</p>" in unescape(html)
    for element in ("<img", "<a ", "<script"):
        assert element not in html


def test_the_approval_is_recorded_with_its_author_and_reason(
    installation: Installation, rolled_back: RolledBack
) -> None:
    seen = rolled_back.seen
    asked, answer = seen.event(ApprovalRequested), seen.event(ApprovalAnswered)
    target = seen.event(events.RolledBack)

    assert (answer.decision, answer.by, answer.comment) == ("Roll back", "approver", COMMENT)
    assert (answer.version, answer.digest) == (target.version, target.digest)
    assert answer.fingerprint == asked.fingerprint
    assert target.reason == HOSTILE_REASON
    assert installation.of(ROLLBACK).admin.xcom(seen.run_id, APPROVAL, "decision") == to_plain(answer)


def test_a_release_that_only_waits_for_its_approval_is_preempted(rolled_back: RolledBack) -> None:
    waiting = rolled_back.waiting
    closed = waiting.event(ReleaseClosed)

    assert waiting.kinds[-2:] == ["approval_requested", "release_closed"]
    assert (closed.outcome, closed.by) == ("pre-empted", rolled_back.seen.run_id)


def test_the_approval_of_a_preempted_release_refuses_and_says_why(
    installation: Installation, rolled_back: RolledBack
) -> None:
    waiting = rolled_back.waiting
    states = {name: task.state for name, task in waiting.outcome.tasks.items()}

    assert waiting.outcome.state == "failed"
    assert (states[APPROVAL], waiting.outcome.tasks[APPROVAL].attempt) == ("failed", 1)
    assert {states["promote"], states["reject"]} == {"upstream_failed"}
    assert states["close_release"] == "success"
    error = installation.admin.error_of(waiting.run_id, APPROVAL)
    assert "only waited for an approval when a rollback preempted it" in error


def test_nothing_of_a_preempted_release_is_left_or_served(rolled_back: RolledBack) -> None:
    waiting = rolled_back.waiting

    assert "test_deployed" in waiting.kinds
    assert waiting.tests == []
    assert {answer["model_version"] for answer in waiting.answers.values()} == {int(rolled_back.seen.after.version)}


def rows_of(body: str) -> dict[str, str]:
    """Return the rows of the only table of a Markdown text, of two columns."""
    html = MarkdownIt("commonmark").enable("table").render(body)
    cells = re.findall("<td>(?:<code>)?(.*?)(?:</code>)?</td>", html)
    return {name: unescape(value) for name, value in zip(cells[::2], cells[1::2], strict=True)}
