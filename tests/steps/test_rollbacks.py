"""Rollbacks: the version they go to, their backup and rehearsal, and the releases that they preempt or wait for."""

from concurrent.futures import ThreadPoolExecutor

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

from recdeploy_ops.domain.errors import (
    ApprovalError,
    CloudUnavailableError,
    IllegalTransitionError,
    IntegrityError,
    LockHeldError,
    PromotionFailedError,
    SettingsError,
    StorageError,
)
from recdeploy_ops.domain.events import (
    BackupFailed,
    ProductionBackedUp,
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
    run("resume").resume()
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
