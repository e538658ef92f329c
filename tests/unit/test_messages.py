"""What people are told: when, in which words, and what never stands in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from events import (
    PROJECT,
    START,
    answered,
    asked,
    bake_ended,
    bake_started,
    candidate_checked,
    chain,
    champion_restored,
    closed,
    complete,
    frozen,
    of,
    opened,
    opened_rollback,
    production_lost,
    promoted,
    pruned,
    registered,
    rejected,
    rolled_back,
    switch_failed,
    switch_started,
    validated,
    window_judged,
)

from recdeploy_ops.domain.addresses import AirflowAddresses, console_address
from recdeploy_ops.domain.baking import BakeResult
from recdeploy_ops.domain.events import ReleaseOutcome, RollbackCause
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.ledger_messages import NEWS, find_messages
from recdeploy_ops.domain.messages import (
    LONGEST_QUOTE,
    MessageKind,
    Newsroom,
    quote_person,
    tell_failed_task,
)
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.replay import replay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.messages import Message

AIRFLOW = "https://airflow.example/team"
RUN = f"{AIRFLOW}/dags/recommender_retrain/runs/run-2"
QUESTION = (opened(2, champion=1), registered(2), validated(), asked(2, verdict=Verdict.HOLD))
LATER = timedelta(hours=1)


def room_at(after: timedelta = LATER) -> Newsroom:
    return Newsroom(PROJECT, AirflowAddresses(AIRFLOW), START + after, timedelta(hours=24))


def told(entries: Sequence[Entry], after: timedelta = LATER) -> list[Message]:
    return find_messages(entries, room_at(after))


def newest(entries: Sequence[Entry]) -> Message:
    return told(entries)[-1]


def kinds(messages: Sequence[Message]) -> list[str]:
    return [str(message.kind) for message in messages]


def test_a_question_says_its_verdict_what_it_replaces_where_it_is_answered_and_until_when() -> None:
    message = newest(chain(*complete(1), *of("run-2", *QUESTION)))
    assert message.kind is MessageKind.APPROVAL
    assert message.subject == "[product-recommender] v2 waits for an approval: HOLD"
    assert message.body.splitlines() == [
        "v2 waits for your answer.",
        "Verdict: HOLD (a gate asks for your judgement: read the report first).",
        "Production: v1 at http://production",
        "Asked at 2026-03-02 03:10 UTC; without an answer until 2026-03-04 03:10 UTC, it is rejected.",
        f"Answer, after a login: {RUN}/tasks/request_approval/required_actions",
        f"Report: {AIRFLOW}/recdeploy/report/recommender_retrain/run-2",
    ]


def test_a_question_about_a_rollback_has_neither_verdict_nor_report() -> None:
    entries = chain(*complete(1), *complete(2), *of("back", opened_rollback(1), asked(1)))
    message = newest(entries)
    assert message.subject == "[product-recommender] The rollback to v1 waits for an approval"
    assert "production stays as it is" in message.body
    assert "Verdict" not in message.body
    assert "Report" not in message.body


@pytest.mark.parametrize(
    ("events", "is_told"),
    [
        ((), True),
        ((answered(Decision.REJECT, 2),), False),
        ((answered(Decision.REJECT, 2), rejected(2), closed(ReleaseOutcome.REJECTED, 2)), False),
        ((closed(ReleaseOutcome.PREEMPTED, 2),), False),
    ],
    ids=["waits", "answered", "closed", "preempted"],
)
def test_only_a_question_that_waits_is_told(events: tuple[object, ...], is_told: bool) -> None:
    messages = told(chain(*of("run-2", *QUESTION, *events)))  # type: ignore[arg-type]
    assert ("approval" in kinds(messages)) is is_told


@pytest.mark.parametrize("dag_id", ["notebook", "terminal"])
def test_a_question_in_a_notebook_or_terminal_is_told_to_nobody_else(dag_id: str) -> None:
    entries = chain(*of("run-2", replace(QUESTION[0], dag_id=dag_id), *QUESTION[1:]))
    assert told(entries) == told(entries, timedelta(hours=47)) == []


def test_the_same_question_after_a_crash_is_the_same_message_and_after_an_answer_another() -> None:
    first = chain(*of("run-2", *QUESTION))
    crashed = chain(*of("run-2", *QUESTION, asked(2, verdict=Verdict.HOLD, attempt=2)))
    changed = chain(*of("run-2", *QUESTION, asked(2, verdict=Verdict.HOLD, attempt=2, fingerprint="9" * 64)))
    refused = chain(*of("run-2", *QUESTION, answered(version=2), asked(2, verdict=Verdict.HOLD, attempt=2)))
    key = newest(first).key
    assert [message.key for message in told(crashed)] == [key]
    assert newest(changed).key != key
    assert newest(refused).key != key


@pytest.mark.parametrize(
    ("hours", "after", "is_reminded"),
    [
        (48, timedelta(hours=23), False),
        (48, timedelta(hours=24, minutes=5), True),
        (48, timedelta(hours=48), True),
        (48, timedelta(hours=48, minutes=5), False),  # it has timed out
        (4, timedelta(hours=1), False),  # half of a short wait comes first
        (4, timedelta(hours=2, minutes=5), True),
        (240, timedelta(hours=230), True),  # long after the question itself
    ],
)
def test_people_are_reminded_once_before_an_approval_times_out(
    hours: float, after: timedelta, is_reminded: bool
) -> None:
    params = replace(opened().params, approval_timeout_hours=hours)  # type: ignore[type-var]
    entries = chain(*of("run-2", replace(QUESTION[0], params=params), *QUESTION[1:]))
    reminders = [message for message in told(entries, after) if message.kind is MessageKind.REMINDER]
    assert len(reminders) == is_reminded
    if reminders:
        assert reminders[0].subject.startswith("[product-recommender] v2 still waits for an approval, until 2026-03-")
        assert reminders[0].key == "00000005/reminder"


def test_nobody_is_reminded_of_an_answered_approval() -> None:
    entries = chain(*of("run-2", *QUESTION, answered(version=2)))
    assert kinds(told(entries, timedelta(hours=30))) == []


def test_a_promotion_says_who_approved_it() -> None:
    message = newest(chain(*complete(1)))
    assert (message.kind, message.subject) == (MessageKind.PROMOTED, "[product-recommender] v1 is in production")
    assert "Approved by: ann" in message.body
    assert "URL: http://production" in message.body


def test_a_rollback_says_why_and_who_requested_it() -> None:
    events = (opened_rollback(1), rolled_back(1), closed(ReleaseOutcome.ROLLED_BACK))
    message = newest(chain(*complete(1), *complete(2), *of("back", *events)))
    assert message.subject == "[product-recommender] production went back to v1"
    assert "Reason: it looks odd\nRequested by: bo\nNothing is promoted until" in message.body


def test_a_rejection_says_by_whom_and_why() -> None:
    answer = answered(Decision.REJECT, 2, comment="too many changes")
    message = newest(chain(*of("run-2", *QUESTION, answer, rejected(2), closed(ReleaseOutcome.REJECTED, 2))))
    assert message.subject == "[product-recommender] v2 was rejected"
    assert message.body.splitlines() == [
        "Rejected by: ann",
        "Comment: too many changes",
        "Production: nothing serves.",
        f"Run: {RUN}",
    ]


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ((answered(Decision.REJECT, 2, timed_out=True),), "Nobody answered in time."),
        ((rejected(2, by="eve"),), "Rejected by: eve"),
        ((), "Rejected by: not given"),
    ],
)
def test_a_rejection_without_an_answer_says_so(events: tuple[object, ...], line: str) -> None:
    entries = chain(*of("run-2", *QUESTION, *events, closed(ReleaseOutcome.REJECTED, 2)))  # type: ignore[arg-type]
    assert newest(entries).body.splitlines()[0] == line


SWITCHED = (switch_started(2), switch_failed(reason="the answer for user u-17 was late"))


@pytest.mark.parametrize(
    ("events", "lines"),
    [
        (
            (candidate_checked(Verdict.FAIL),),
            ["The gate of check_candidate said FAIL, so nobody was asked.", "Production: v1 at http://production"],
        ),
        (
            (registered(2),),
            [
                "A task failed before production was changed: its log says why and what to do.",
                "Production: v1 at http://production",
            ],
        ),
        (
            (*SWITCHED, champion_restored(1)),
            [
                "The switch of production failed.",
                "The version before was restored and verified.",
                "Production: v1 at http://production",
            ],
        ),
        (
            (*SWITCHED, production_lost()),
            [
                "The switch of production failed.",
                "PRODUCTION NEEDS A PERSON: its deployment was deleted or has failed, and nothing can be restored "
                "there.",
            ],
        ),
    ],
    ids=["gate", "task", "restored", "lost"],
)
def test_a_failed_release_says_what_failed_and_what_serves(events: tuple[object, ...], lines: list[str]) -> None:
    failed = of("run-2", opened(2, champion=1), *events, closed(ReleaseOutcome.FAILED, 2))  # type: ignore[arg-type]
    message = newest(chain(*complete(1), *failed))
    assert message.subject == "[product-recommender] v2 failed"
    assert message.body.splitlines() == [*lines, f"Run: {RUN}"]


def test_a_release_that_another_run_closed_was_interrupted() -> None:
    entries = chain(*of("run-2", opened(2, dag_id="terminal"), closed(ReleaseOutcome.INTERRUPTED, 2, by="run-3")))
    message = newest(entries)
    assert (message.kind, message.subject) == (MessageKind.FAILED, "[product-recommender] v2 was interrupted")
    assert message.body.endswith("It ran in a terminal.")


def test_the_words_of_machines_are_not_told() -> None:
    """A reason of OCI or of an endpoint may name a user."""
    entries = chain(*complete(1), *of("run-2", opened(2), *SWITCHED, closed(ReleaseOutcome.FAILED, 2)))
    assert "u-17" not in "".join(message.subject + message.body for message in told(entries))


def test_old_entries_are_not_told() -> None:
    entries = chain(*complete(1))
    at_promotion = entries[4].at - START
    assert kinds(told(entries, at_promotion + NEWS)) == ["promoted"]
    assert told(entries, at_promotion + NEWS + timedelta(seconds=1)) == []


def test_a_promotion_that_is_void_is_not_told_again() -> None:
    """The run was cleared: the release continues under the same version."""
    again = of("run-1", opened(1, opening=2), registered(1, model_id="m1-again"))
    assert "promoted" not in kinds(told(chain(*complete(1), *again)))


FAILURE = {"dag_id": "recommender_retrain", "run_id": "run-2", "task_id": "extract"}


def test_a_task_that_fails_within_a_release_is_told_by_its_closing() -> None:
    state = replay(chain(*of("run-2", opened(2))))
    assert tell_failed_task(state, room_at(), **FAILURE) is None


@pytest.mark.parametrize(
    ("events", "task_id"),
    [
        ((), "plan_release"),
        ((opened(2),), "close_release"),
        ((opened(2), closed(ReleaseOutcome.FAILED, 2)), "close_release"),
        ((opened(2), registered(2), validated(), promoted(2)), "promote"),
    ],
    ids=["no release", "the teardown", "closed with a problem", "after the promotion"],
)
def test_a_task_that_nothing_else_tells_of_is_told(events: tuple[object, ...], task_id: str) -> None:
    state = replay(chain(*complete(1), *of("run-2", *events)))  # type: ignore[arg-type]
    message = tell_failed_task(state, room_at(), **FAILURE | {"task_id": task_id})
    assert message is not None
    assert message.subject == f"[product-recommender] the task {task_id} failed"
    assert message.key == f"recommender_retrain/run-2/{task_id}/failed"
    assert "Its log says why" in message.body
    assert f"Run: {RUN}" in message.body


def test_a_teardown_that_fails_during_a_switch_says_that_production_needs_a_person() -> None:
    state = replay(chain(*complete(1), *of("run-2", opened(2), switch_started(2))))
    message = tell_failed_task(state, room_at(), **FAILURE | {"task_id": "close_release"})
    assert message is not None
    assert "PRODUCTION NEEDS A PERSON" in message.body


def test_a_failure_without_a_readable_ledger_is_told_and_one_after_a_preemption_is_not() -> None:
    message = tell_failed_task(None, room_at(), **FAILURE)
    assert message is not None
    assert "the ledger could not be read" in message.body
    preempted = replay(chain(*of("run-2", opened(2), closed(ReleaseOutcome.PREEMPTED, 2))))
    assert tell_failed_task(preempted, room_at(), **FAILURE) is None


def test_a_watch_is_told_while_it_lasts() -> None:
    watched = (*QUESTION, answered(version=2), switch_started(2), promoted(2), bake_started())
    message = newest(chain(*complete(1), *of("run-2", *watched)))
    assert (message.kind, message.subject) == (MessageKind.BAKING, "[product-recommender] v2 is watched in production")
    assert "until 2026-03-02 03:30 UTC" in message.body
    passed = chain(*complete(1), *of("run-2", *watched, bake_ended()))
    assert newest(passed).kind is MessageKind.PROMOTED


def test_a_watch_that_could_not_be_passed_needs_a_person() -> None:
    held = (promoted(2), bake_started(), bake_ended(result=BakeResult.HELD))
    message = newest(chain(*complete(1), *of("run-2", *QUESTION, answered(version=2), switch_started(2), *held)))
    assert message.kind is MessageKind.BAKING
    assert "a person must look" in message.body


def test_an_automatic_rollback_was_requested_by_nobody_and_quotes_no_machine() -> None:
    watched = (*QUESTION, answered(version=2), switch_started(2), promoted(2), bake_started(), window_judged())
    back = rolled_back(1, cause=RollbackCause.AUTOMATIC, reason="fallbacks for user u1")
    message = newest(chain(*complete(1), *of("run-2", *watched, switch_started(1), back)))
    assert message.kind is MessageKind.ROLLED_BACK
    assert "Requested by: nobody: the version before was degraded" in message.body
    assert "Nothing is promoted until a person resumes promotions." in message.body
    assert "u1" not in message.body


def test_a_freeze_is_told_with_its_reason() -> None:
    message = newest(chain(*complete(1), *of("switch", frozen(by="ann", reason="Black Friday"))))
    assert message.kind is MessageKind.FROZEN
    assert "frozen by ann" in message.body
    assert "Reason: Black Friday" in message.body


@pytest.mark.parametrize(
    ("deployments", "words"),
    [(("ocid1.a",), "a test deployment outlived the lease"), (("ocid1.a", "ocid1.b"), "2 test deployments outlived")],
)
def test_test_deployments_past_their_lease_are_named(deployments: tuple[str, ...], words: str) -> None:
    message = newest(chain(*complete(1), *of("housekeeping", pruned(deployments=deployments))))
    assert message.kind is MessageKind.LEASE_EXPIRED
    assert words in message.subject
    assert message.body.splitlines()[1:-1] == list(deployments)


def test_housekeeping_that_only_prunes_is_not_told() -> None:
    assert newest(chain(*complete(1), *of("housekeeping", pruned(deployments=())))).kind is MessageKind.PROMOTED


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a\r\nBcc: eve@example.com", "a Bcc: eve@example.com"),
        ("\u202egnp\x00 {{ conn.x }}", "gnp {{ conn.x }}"),
        ("", "not given"),
        ("x" * 2 * LONGEST_QUOTE, "x" * 249 + "…" + "x" * 249),
    ],
)
def test_words_of_people_stay_one_line(text: str, quoted: str) -> None:
    assert quote_person(text) == quoted


def test_addresses_are_quoted_and_relative_where_airflow_does_not_know_its_own() -> None:
    run = "manual__2026-11-29T05:30:00+00:00"
    expected = "dags/recommender_retrain/runs/manual__2026-11-29T05%3A30%3A00%2B00%3A00"
    assert AirflowAddresses().run("recommender_retrain", run) == expected
    assert AirflowAddresses("http://a/").page() == "http://a/plugin/recommender"


def test_the_console_is_opened_in_the_region() -> None:
    address = "https://cloud.oracle.com/data-science/model-deployments/ocid1.x.oc1..a"
    assert console_address("ocid1.x.oc1..a", "eu-frankfurt-1") == f"{address}?region=eu-frankfurt-1"
    assert console_address("ocid1.x.oc1..a", None) == address
