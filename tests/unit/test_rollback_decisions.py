"""Which version a rollback may go to, what counts once, and what the book says after things were put back."""

from dataclasses import asdict, replace

import pytest
from unit.test_ledger import chain, closed, complete, opened, promoted, registered, rejected, validated

from recdeploy_ops.domain.errors import (
    ApprovalError,
    CloudRefusedError,
    GateFailedError,
    IllegalTransitionError,
    IntegrityError,
    SettingsError,
    SwitchUnderWayError,
)
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.release_plan import choose_target, require_unused
from recdeploy_ops.domain.replay import fold
from recdeploy_ops.domain.stages import Stage

FIRST = complete("run-1", 1)
TWICE = (*FIRST, *complete("run-2", 2))
REJECTED = (opened("run-3", 3), registered("run-3", 3), rejected("run-3"), closed("run-3", "rejected"))
ASKED = (Kind.APPROVAL_REQUESTED, "run-3", {"attempt": 1})
ANSWERED = (Kind.APPROVAL_ANSWERED, "run-3", {"attempt": 1, "decision": "Promote"})
STARTED = (Kind.PROMOTION_STARTED, "run-3", {"goal": "serving v3"})
BACK = (Kind.ROLLED_BACK, "run-3", promoted("run-3", 1, "d1")[2])


@pytest.mark.parametrize("wanted", ["previous", 1])
def test_a_rollback_goes_to_a_version_that_served(wanted):
    assert choose_target(fold(chain(*TWICE)), wanted).number == 1


@pytest.mark.parametrize(
    ("history", "wanted", "error", "says"),
    [
        ((), "previous", SettingsError, "Nothing is in production"),
        (FIRST, "previous", SettingsError, "v1 is the first that ever served"),
        (FIRST, 7, SettingsError, "no version 7 to roll back to. Those that served before: none."),
        (TWICE, 7, SettingsError, "Those that served before: v1."),
        (TWICE, "v1", SettingsError, "no version 'v1'"),
        (TWICE, 2, IllegalTransitionError, "from champion to champion"),
        ((*TWICE, *REJECTED), 3, IllegalTransitionError, "from rejected to champion"),
        (
            (*FIRST, opened("run-3", 3), registered("run-3", 3), validated("run-3")),
            3,
            IllegalTransitionError,
            "from val",
        ),
    ],
)
def test_a_rollback_to_anything_else_is_refused(history, wanted, error, says):
    with pytest.raises(error, match=says):
        choose_target(fold(chain(*history)), wanted)


@pytest.mark.parametrize(
    ("history", "run_id", "says"),
    [
        ((opened(),), "run-1", None),
        (TWICE, "run-2", None),
        (TWICE, "run-1", "v1 was promoted by this run before, and production serves v2 since.*'request_approval'"),
        ((*TWICE, opened("run-3", 1), BACK), "run-3", None),
        (
            (*TWICE, opened("run-3", 1), BACK, closed("run-3"), *complete("run-4", 4)),
            "run-3",
            "v1 was brought back by this run before, and production serves v4 since.*Trigger a new rollback",
        ),
    ],
)
def test_what_a_run_has_done_counts_once(history, run_id, says):
    book = fold(chain(*history))

    if says is None:
        require_unused(book, book.releases[run_id])
    else:
        with pytest.raises(ApprovalError, match=says):
            require_unused(book, book.releases[run_id])


def test_what_a_run_has_done_counts_once_also_when_nothing_serves_any_more():
    book = replace(fold(chain(*FIRST)), production=None)

    with pytest.raises(ApprovalError, match=r"production serves v\? since"):
        require_unused(book, book.releases["run-1"])


@pytest.mark.parametrize(
    ("history", "waits"),
    [((), False), ((ASKED,), True), ((ASKED, ANSWERED), False), ((ASKED, STARTED), False)],
)
def test_a_release_only_waits_between_question_and_answer(history, waits):
    book = fold(chain(opened("run-3", 3), registered("run-3", 3), validated("run-3"), *history))

    assert book.releases["run-3"].only_waits is waits


def test_a_champion_that_was_restored_serves_its_model_and_is_no_news_without_production():
    restored = (Kind.CHAMPION_RESTORED, "run-3", {"model_id": "m1-again"})

    book = fold(chain(*FIRST, opened("run-3", 3), STARTED, restored))
    assert (book.production.version, book.production.model_id) == (1, "m1-again")
    assert book.releases["run-3"].open_switch is None
    assert fold(chain(opened("run-3", 3), restored)).production is None


def test_a_model_that_was_registered_again_has_its_new_id():
    again = (Kind.MODEL_RESTORED, "run-3", {"version": 1, "model_id": "m1-again"})

    assert fold(chain(*FIRST, opened("run-3", 1), again)).versions[1].model_id == "m1-again"


@pytest.mark.parametrize("serves", [True, False])
def test_what_was_adopted_takes_the_place_of_what_was_known(serves):
    known = fold(chain(*TWICE))
    facts = {
        "versions": [asdict(known.versions[1])],
        "highest_version": 1,
        "production": asdict(known.production) if serves else None,
        "previous_champion": asdict(known.previous_champion) if serves else None,
    }

    book = fold(chain(*TWICE, (Kind.ADOPTED, "adopt-1", facts)))

    assert list(book.versions) == [1]
    assert book.versions[1].stage is Stage.RETIRED
    assert book.highest_version == 2, "a number is never given out twice"
    assert book.production == (known.production if serves else None)
    assert book.previous_champion == (known.previous_champion if serves else None)


def test_a_candidate_that_is_validated_again_stays_validated():
    again = (opened("run-3", 3), registered("run-3", 3), validated("run-3"), validated("run-3"))

    assert fold(chain(*again)).versions[3].stage is Stage.VALIDATED


def test_an_entry_about_what_nobody_has_opened_is_an_error():
    with pytest.raises(IntegrityError, match=r"Ledger entry 1 speaks of 'run-1', unknown before it"):
        fold(chain(closed()))


def test_a_gate_that_failed_says_all_that_failed_and_one_that_did_not_answer_failed():
    findings = [
        Finding("user_coverage", Verdict.FAIL, 0.9, ">= 0.999", "19 users got no list."),
        Finding("freshness", Verdict.PASS, 3, "<= 336", "fine"),
    ]
    report = GateReport(tuple(findings))

    error = GateFailedError(report)
    assert str(error) == "user_coverage: 19 users got no list."
    assert error.report is report
    assert "No gate has answered" in str(GateFailedError(GateReport(())))


def test_errors_carry_what_their_readers_ask_for():
    refused = CloudRefusedError("Cannot read the model", status=404, code="NotAuthorizedOrNotFound")

    assert (refused.status, refused.code) == (404, "NotAuthorizedOrNotFound")
    assert "it shall be serving v2, and is not proved yet" in str(SwitchUnderWayError("serving v2"))
