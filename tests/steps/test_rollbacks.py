"""Rollbacks, rehearsals, takeovers of the lock, and approvals that no longer count."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from steps.factories import (
    Run,
    damage,
    delete_model,
    delete_stored,
    exchange,
    living_tests,
    lose_version,
    reopen,
    served,
)

from recdeploy_ops.domain import events
from recdeploy_ops.domain.errors import (
    ApprovalError,
    CloudUnavailableError,
    IllegalTransitionError,
    IntegrityError,
    LockHeldError,
    MissingInputError,
    PromotionFailedError,
    SelfApprovalError,
    SettingsError,
    StorageError,
)
from recdeploy_ops.domain.events import (
    ApprovalAnswered,
    ApprovalRequested,
    BackupFailed,
    ProductionBackedUp,
    RollbackRehearsed,
)
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.oci_clients.tags import LEDGER_TAG
from recdeploy_ops.rollout.current import read_current
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.storage.backups import list_backups, require_recorded
from recdeploy_ops.storage.bundles import open_bundle, verify_bundle


def test_a_rollback_to_the_previous_version_keeps_the_url(context, run, two_versions):
    url = context.ledger.read().production.url
    done = run("back").roll_back()

    assert (done["version"], done["url"]) == (1, url)
    assert served(context) == 1
    state = context.ledger.read()
    assert (state.production.version, state.previous_champion.version) == (1, 2)
    assert {number: version.stage for number, version in state.versions.items()} == {
        1: Stage.CHAMPION,
        2: Stage.RETIRED,
    }
    assert state.releases["back"].outcome == "rolled back"
    assert state.holder is None
    assert read_current(context.store)["version"] == 1


def test_a_rollback_can_name_any_version_that_has_served(context, run, two_versions):
    run("run-3", shift=2).release_fully()
    run("back").roll_back(1)

    assert served(context) == 1


@pytest.mark.parametrize(
    ("wanted", "error"), [(9, SettingsError), ("first", SettingsError), (2, IllegalTransitionError)]
)
def test_a_rollback_to_an_impossible_version_is_refused_before_it_begins(context, run, two_versions, wanted, error):
    with pytest.raises(error):
        run("back").roll_back(wanted)
    assert context.ledger.read().holder is None
    assert "back" not in context.ledger.read().releases


def test_the_first_version_has_no_previous_one(run, released):
    released()

    with pytest.raises(SettingsError, match="nothing came before it"):
        run("back").roll_back()


def test_a_rejected_version_cannot_be_rolled_back_to(run, validated):
    validated(2).reject_fully()

    with pytest.raises(IllegalTransitionError):
        run("back").roll_back(2)


def test_a_version_whose_model_is_gone_is_registered_again(context, run, two_versions):
    gone = context.ledger.read().versions[1].model_id
    delete_model(context, 1)
    run("back").roll_back(1)

    version = context.ledger.read().versions[1]
    assert version.model_id != gone
    assert find_production(context).model_id == version.model_id
    assert served(context) == 1


def test_a_version_whose_model_and_artifact_are_gone_comes_from_its_backup(context, run, two_versions):
    delete_model(context, 1)
    delete_stored(context, context.ledger.read().versions[1].artifact)
    run("back").roll_back(1)

    assert served(context) == 1


def test_a_version_without_a_whole_copy_is_refused_with_production_untouched(context, run, two_versions):
    lose_version(context)

    back = run("back")
    with pytest.raises(StorageError, match="Rollback failed - backup not found"):
        back.roll_back(1)
    back.close()
    assert served(context) == 2
    assert context.ledger.read().holder is None


def test_a_rollback_backs_up_the_version_that_it_replaces(context, run, two_versions):
    run("back").roll_back(1)
    run("run-3", shift=2).release_fully()

    backups = list_backups(context.store)
    assert {backup["version"] for backup in backups} == {1, 2}, "every earlier version has one"
    for backup in backups:
        require_recorded(backup, context.ledger.entries())
        verify_bundle(context.store, open_bundle(context.store, backup["prefix"], made_by="backup_production"))


def test_a_rollback_does_not_back_up_a_version_that_has_a_backup(context, run, two_versions):
    third = run("run-3", shift=2)
    third.plan()
    third.back_up()
    third.close()
    run("back").roll_back(1)

    assert [backup["version"] for backup in list_backups(context.store)] == [1, 2]
    assert context.ledger.read().releases["back"].get(ProductionBackedUp) is None


def test_a_backup_that_fails_does_not_hold_up_a_rollback_and_is_recorded(context, run, two_versions, caplog):
    version = context.ledger.read().versions[2]
    damage(context.store, f"{version.results}/recommendations.csv")

    assert run("back").roll_back(1)["version"] == 1
    failed = context.ledger.read().releases["back"].require(BackupFailed)
    assert failed.version == 2
    assert f"{version.results}/recommendations.csv has the sha256" in failed.reason
    assert "v2 could not be backed up; the rollback continues" in caplog.text
    assert [backup["version"] for backup in list_backups(context.store)] == [1]


def test_a_failed_rollback_leaves_the_champion_verified_serving(context, run, two_versions, emulator):
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity")
    back = run("back")

    with pytest.raises(PromotionFailedError, match=r"Rollback failed: v2 serves at .*, verified(?s:.)*No capacity"):
        back.roll_back()
    back.close()
    assert served(context) == 2
    assert context.ledger.read().releases["back"].outcome == "failed"


def test_a_rollback_preempts_a_release_that_only_waits_for_an_approval(context, run, validated):
    third = validated(3)
    third.ask()
    run("back").roll_back()

    assert served(context) == 1
    assert context.ledger.read().releases["run-3"].outcome == "pre-empted"
    with pytest.raises(ApprovalError, match=r"a rollback preempted it\. .*its approval can no longer be used"):
        third.answer(Decision.PROMOTE)
    assert living_tests(context) == []


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda context, emulator: lose_version(context), StorageError),
        (lambda context, emulator: exchange(emulator, context.refresh().versions[1].model_id), IntegrityError),
    ],
    ids=["lost", "exchanged"],
)
def test_an_impossible_rollback_preempts_nothing(context, run, validated, emulator, damage, error):
    third = validated(3)
    third.ask()
    damage(context, emulator)

    for wanted, refused in ((1, error), (7, SettingsError)):
        with pytest.raises(refused):
            run("back").roll_back(wanted)
    assert context.ledger.read().holder == "run-3"

    third.record_answer(Decision.PROMOTE)
    third.promote()
    assert served(context) == 3


def test_a_rollback_preempts_for_a_version_whose_model_is_gone(context, run, validated):
    validated(3).ask()
    delete_model(context, 1)

    run("back").roll_back(1)
    assert served(context) == 1
    assert context.ledger.read().releases["run-3"].outcome == "pre-empted"


def test_a_rollback_waits_for_a_release_that_was_answered(run, validated):
    third = validated(3)
    third.answer(Decision.PROMOTE)

    with pytest.raises(LockHeldError, match="run run-3"):
        run("back").roll_back()


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
    second.promote_fully(attempt=2)

    assert served(context) == 2


def test_a_version_that_serves_may_be_approved_again_and_is_verified_again(context, run, two_versions):
    second = run("run-2", shift=1)
    second.plan()
    question = second.answer(Decision.PROMOTE, attempt=2)
    second.promote()
    second.close()

    assert "which serves already" in question.subject
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


def test_a_former_holder_of_the_lock_cannot_change_production(context, run, validated):
    third = validated(3)
    third.answer(Decision.PROMOTE)
    zombie = context.deployments.get(context.ledger.read().production.deployment_id)  # read, and not yet sent
    run("run-4", shift=3).plan(has_ended=lambda holder: holder.run_id == "run-3")

    with pytest.raises(CloudUnavailableError, match="412"):
        context.deployments.switch_model(zombie, context.ledger.read().versions[3].model_id)
    assert served(context) == 2


def test_productions_tag_names_the_head_of_the_ledger(context, two_versions):
    state = context.ledger.read()

    assert find_production(context).tags[LEDGER_TAG] == f"{state.seq}:{state.head}"


def test_two_runs_that_plan_at_once_end_with_one_holder(context, run, tmp_path):
    def plan(number):
        try:
            return Run(reopen(context), f"run-{number}", tmp_path).plan()
        except LockHeldError as err:
            return err

    run("the shop's database is made before they start")
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(plan, range(4)))

    assert sum(not isinstance(outcome, LockHeldError) for outcome in outcomes) == 1


@pytest.fixture
def asked_rollback(run, two_versions):
    back = run("back")
    back.rehearse_rollback(require_approval=True)
    return back, back.ask_rollback()


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
