"""The operators that ask a person and record the answer."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow_operators import ANSWERED_AT, Pushed, context_of, with_hook

from recdeploy_ops.approvals.answers import Answer
from recdeploy_ops.approvals.questions import Question
from recdeploy_ops.domain import errors
from recdeploy_ops.domain.events import ApprovalAnswered
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.operators import approvals

pytestmark = pytest.mark.usefixtures("no_task_runner")


@pytest.fixture
def approval() -> Any:
    operator = approvals.RequestApprovalOperator(
        task_id="request_approval", promote_task_id="promote", reject_task_id="reject"
    )
    return with_hook(operator, "the release")


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, int, str | None]]:
    """The questions that were asked: of which release, in which try, with which notice; each parks the task."""
    asked: list[tuple[Any, int, str | None]] = []

    def ask(given: Any, *, attempt: int, notice: str | None, link: str | None) -> Question:
        asked.append((given, attempt, notice))
        return Question("Promote v3?", "the evidence", 3, "d1")

    monkeypatch.setattr(approvals.request_approval, "ask", ask)
    monkeypatch.setattr(HITLBranchOperator, "execute", lambda self, context: "parked")
    return asked


def test_the_approval_shows_the_evidence_of_this_try_and_waits_as_long_as_the_run_says(
    monkeypatch: pytest.MonkeyPatch, approval: Any, questions: list[Any]
) -> None:
    monkeypatch.setattr(approval, "_link", lambda context: "http://link")

    assert approval.execute(context_of(Pushed(try_number=2))) == "parked"
    assert [(release, attempt) for release, attempt, _ in questions] == [("the release", 2)]
    assert (approval.subject, approval.body) == ("Promote v3?", "the evidence")
    assert approval.response_timeout == timedelta(minutes=30)


def test_the_approval_is_asked_where_airflow_does_not_know_its_own_address(
    monkeypatch: pytest.MonkeyPatch, approval: Any, questions: list[Any]
) -> None:
    monkeypatch.delenv("AIRFLOW__API__BASE_URL", raising=False)

    assert approval.execute(context_of()) == "parked"


def test_the_requester_who_answers_is_asked_again_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, approval: Any, questions: list[Any]
) -> None:
    def record_answer(*_: Any, **__: Any) -> None:
        raise errors.SelfApprovalError("bo triggered this run and may not approve it")

    monkeypatch.setattr(approvals.request_approval, "record_answer", record_answer)

    assert approval.execute_complete(context_of(), event_of()) == "parked"
    assert [notice for _, _, notice in questions] == ["bo triggered this run and may not approve it"]


def event_of(**changes: Any) -> dict[str, Any]:
    event = {
        "chosen_options": ["Promote"],
        "params_input": {"comment": "ship it"},
        "responded_at": ANSWERED_AT,
        "responded_by_user": {"id": "7", "name": "ann"},
        "timedout": False,
    }
    return {**event, **changes}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Answer, int]]:
    answers: list[tuple[Answer, int]] = []

    def record_answer(given: Any, answer: Answer, *, attempt: int) -> ApprovalAnswered:
        answers.append((answer, attempt))
        asked = {"attempt": attempt, "version": 3, "digest": "d1", "fingerprint": "f1"}
        said = {"decision": answer.decision, "by": "ann", "at": answer.at, "comment": answer.comment}
        return ApprovalAnswered(**said, timed_out=answer.timed_out, **asked)

    monkeypatch.setattr(approvals.request_approval, "record_answer", record_answer)
    monkeypatch.setattr(HITLBranchOperator, "execute_complete", lambda self, context, event: "branched")
    return answers


def answer(decision: Decision = Decision.PROMOTE, **changes: Any) -> Answer:
    return replace(Answer(decision, "ann", ANSWERED_AT, "", timed_out=False), **changes)


ANSWERS = {
    "with a comment": (event_of(), answer(comment="ship it")),
    "with an empty comment": (
        event_of(chosen_options=["Reject"], params_input={"comment": None}),
        answer(Decision.REJECT),
    ),
    "without a form": (event_of(params_input=None), answer()),
    "by a user without a name": (
        event_of(responded_by_user={"id": "7", "name": ""}),
        answer(by="7", comment="ship it"),
    ),
    "by nobody in time": (
        event_of(chosen_options=["Reject"], params_input={}, responded_by_user=None, timedout=True),
        answer(Decision.REJECT, by=None, timed_out=True),
    ),
}


@pytest.mark.parametrize(("event", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_recorded_with_its_author_and_time(
    approval: Any, recorded: list[tuple[Answer, int]], event: dict[str, Any], answer: Answer
) -> None:
    task_instance = Pushed(try_number=2)

    assert approval.execute_complete(context_of(task_instance), event) == "branched"
    assert recorded == [(answer, 2)]
    [pushed] = task_instance.xcoms.values()
    assert json.loads(json.dumps(pushed))["decision"] == str(answer.decision)
    assert (pushed["version"], pushed["digest"], pushed["attempt"]) == (3, "d1", 2)


def test_an_approval_that_ended_in_an_error_is_not_an_answer(approval: Any, recorded: list[tuple[Answer, int]]) -> None:
    task_instance = Pushed()

    approval.execute_complete(context_of(task_instance), {"error": "timeout", "error_type": "timeout"})

    assert recorded == []
    assert task_instance.xcoms == {}
