"""What an approval covers: a promotion or a rollback is refused if anything has changed since, or was used before."""

from dataclasses import replace

import pytest
from steps.factories import (
    delete_model,
    exchange,
    served,
)

from recdeploy_ops.domain import events
from recdeploy_ops.domain.errors import (
    ApprovalError,
    IntegrityError,
    MissingInputError,
    SelfApprovalError,
)
from recdeploy_ops.domain.events import (
    ApprovalAnswered,
    ApprovalRequested,
    RollbackRehearsed,
)
from recdeploy_ops.domain.records import Decision


def test_nothing_is_promoted_unless_its_rollback_was_rehearsed_in_this_run(context, validated):
    third = validated(3)
    rehearsed = third.context.release.require(RollbackRehearsed)
    assert (rehearsed.version, rehearsed.seconds >= 0) == (2, True)
    third.context.record(replace(rehearsed, version=1))
    third.answer(Decision.PROMOTE)

    with pytest.raises(MissingInputError, match="Clear the task 'backup_production'"):
        third.promote()
    assert served(context) == 2


def test_an_artifact_that_was_exchanged_in_the_catalog_is_not_promoted(context, validated, emulator):
    third = validated(3)
    third.answer(Decision.PROMOTE)
    exchange(emulator, context.ledger.read().versions[3].model_id)

    with pytest.raises(ApprovalError, match=r"not what was approved(?s:.)*score\.py"):
        third.promote()
    assert served(context) == 2


def test_a_champion_that_was_exchanged_in_the_catalog_stops_the_next_release(context, run, two_versions, emulator):
    exchange(emulator, context.ledger.read().production.model_id)

    with pytest.raises(IntegrityError, match=r"score\.py"):
        run("run-3", shift=2).register()


@pytest.mark.parametrize(
    ("kind", "part"),
    [(events.DataChecked, "report of data_checked"), (events.TestValidated, "report of test_validated")],
)
def test_a_report_that_was_edited_after_the_approval_stops_the_promotion(context, validated, kind, part):
    first = validated(1)
    first.answer(Decision.PROMOTE)
    key = context.ledger.read().releases["run-1"].require(kind).report
    context.store.replace(key, context.store.read(key).replace(b"HOLD", b"PASS") + b" ")

    with pytest.raises(ApprovalError, match=f"changed since approval: {part}"):
        first.promote()


def test_settings_that_were_edited_after_the_approval_stop_the_promotion(context, validated):
    first = validated(1)
    first.answer(Decision.PROMOTE)
    key = context.ledger.read().releases["run-1"].opened.settings.key
    context.store.replace(key, b"{}")

    with pytest.raises(ApprovalError, match=r"^Refusing to promote v1: changed since approval: settings"):
        first.promote()


def test_an_approval_counts_once(context, run, two_versions):
    run("back").roll_back()
    second = run("run-2", shift=1)
    second.plan()

    with pytest.raises(ApprovalError, match="an approval counts once"):
        second.promote()
    assert served(context) == 1


def test_a_version_that_was_rolled_back_can_be_promoted_after_asking_again(context, run, two_versions):
    run("back").roll_back()
    second = run("run-2", shift=1)
    second.plan()
    second.back_up()  # the rollback target is another one now
    run("resume").resume()
    second.promote_fully(attempt=2)

    assert served(context) == 2


def test_a_version_that_serves_may_be_approved_again_and_is_verified_again(context, run, two_versions):
    second = run("run-2", shift=1)
    second.plan()
    question = second.answer(Decision.PROMOTE, attempt=2)
    second.promote()
    second.close()

    assert "which serves already" in question.subject
    assert "v2 may be promoted again, though it serves already" in question.body
    state = context.ledger.read()
    assert (state.production.version, state.previous_champion.version) == (2, 1)
    assert state.releases["run-2"].outcome == "promoted"


def test_an_answer_to_an_earlier_try_does_not_count(validated):
    first = validated(1)
    first.ask(attempt=2)

    with pytest.raises(ApprovalError, match="answers try 1 of the question, but the last try is 2"):
        first.record_answer(Decision.PROMOTE, attempt=1)


def test_the_requester_may_not_approve_their_own_run_where_the_settings_say_so(settings, run, monkeypatch):
    monkeypatch.setitem(settings.release.__dict__, "self_approval", False)
    first = run("run-1")
    first.validate()  # triggered by bo
    first.ask()

    with pytest.raises(SelfApprovalError, match="bo triggered this run"):
        first.record_answer(Decision.PROMOTE, by="bo")
    first.record_answer(Decision.PROMOTE, by="ann")
    assert first.promote()["version"] == 1


@pytest.fixture
def asked_rollback(run, two_versions):
    back = run("back")
    back.rehearse_rollback(require_approval=True)
    return back, back.ask_rollback()


def test_the_question_about_a_rollback_to_a_newer_version_does_not_say_back(run, two_versions):
    run("back").roll_back()
    forward = run("forward")
    forward.rehearse_rollback(2, require_approval=True)
    question = forward.ask_rollback()

    assert question.subject == "Roll product-recommender forward to v2?"
    assert "rolls forward to" in question.body
    assert "rolls back to" not in question.body


def test_the_question_about_a_rollback_shows_its_evidence(context, asked_rollback):
    _, question = asked_rollback

    assert question.subject == "Roll product-recommender back to v1?"
    assert "Reason: it looks odd" in question.body
    assert "v2 since" in question.body
    assert question.digest in question.body
    assert "rehearsed in" in question.body
    asked = context.ledger.read().releases["back"].require(ApprovalRequested)
    assert asked.fingerprint in question.body


def test_nobody_is_asked_about_a_rollback_that_needs_no_approval(run, two_versions):
    back = run("back")
    back.rehearse_rollback()

    assert back.ask_rollback() is None


def test_an_approved_rollback_records_its_approver(context, asked_rollback):
    back, question = asked_rollback
    back.record_answer(Decision.ROLL_BACK, by="ann")

    assert back.switch_back()["version"] == 1
    answered = context.ledger.read().releases["back"].require(ApprovalAnswered)
    assert (answered.by, answered.version, answered.digest) == ("ann", 1, question.digest)


def test_a_rollback_that_needs_an_approval_waits_for_it(asked_rollback):
    back, _ = asked_rollback

    with pytest.raises(MissingInputError, match="Clear the task 'request_approval'"):
        back.switch_back()


def test_a_rejected_rollback_leaves_production_unchanged(context, asked_rollback):
    back, _ = asked_rollback
    back.record_answer(Decision.KEEP, by="ann")

    with pytest.raises(ApprovalError, match="ann answered Keep"):
        back.switch_back()
    back.close()
    assert served(context) == 2
    assert context.ledger.read().releases["back"].outcome == "rejected"


def test_the_approval_of_a_rollback_does_not_cover_another_production(context, run, asked_rollback):
    back, _ = asked_rollback
    back.record_answer(Decision.ROLL_BACK)
    back.switch_back()
    back.close()
    second = run("run-2", shift=1)
    second.plan()
    second.back_up()
    run("resume").resume()
    second.promote_fully(attempt=2)

    with pytest.raises(ApprovalError, match=r"This run rolled back to v1 before.*Trigger a new rollback"):
        back.rehearse_rollback(require_approval=True)  # the run was cleared, and its old answer is there
    assert served(context) == 2


def test_the_approval_of_a_rollback_does_not_cover_a_model_registered_again(context, asked_rollback):
    back, _ = asked_rollback
    back.record_answer(Decision.ROLL_BACK)
    delete_model(context, 1)
    back.rehearse_rollback(require_approval=True)

    with pytest.raises(ApprovalError, match=r"^Refusing to roll back to v1: changed since approval: registered model"):
        back.switch_back()


def test_the_requester_may_not_approve_their_own_rollback_where_the_settings_say_so(
    settings, run, two_versions, monkeypatch
):
    monkeypatch.setitem(settings.release.__dict__, "self_approval", False)
    back = run("back")
    back.rehearse_rollback(require_approval=True)  # triggered by bo
    back.ask_rollback()

    with pytest.raises(SelfApprovalError, match="bo triggered this run"):
        back.record_answer(Decision.ROLL_BACK, by="bo")
    back.record_answer(Decision.KEEP, by="bo")


def test_a_rollback_that_only_waits_for_an_approval_is_preempted(context, run, asked_rollback):
    back, _ = asked_rollback
    run("urgent").roll_back()

    assert served(context) == 1
    with pytest.raises(ApprovalError, match="preempted"):
        back.record_answer(Decision.ROLL_BACK)
