"""Releases from a notebook: every method's result and message, on the steps that the operators run."""

from __future__ import annotations

import getpass
import json
from dataclasses import replace

import pytest
from steps.cells import Cells, newest_release
from steps.factories import PRODUCTS, SHAPE, USERS, damage, event_types, living

from recdeploy_ops.approvals.questions import PREEMPTION
from recdeploy_ops.deployment_manager import CellOrderError
from recdeploy_ops.domain.errors import (
    ApprovalError,
    DeploymentFailedError,
    GateFailedError,
    PromotionFailedError,
    SettingsError,
)
from recdeploy_ops.domain.events import ApprovalAnswered, ModelTrained, ReleaseRejected
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.domain.release_status import Phase, judge
from recdeploy_ops.domain.stages import Stage


def test_the_first_release_of_a_notebook_takes_every_step_of_the_operators(manager, cells):
    assert manager.get_next_version() == 1
    assert manager.current_version == 0

    done = cells.release()

    assert event_types(manager.context, newest_release(manager).run_id) == [
        "ledger_started",
        "release_opened",
        "production_backed_up",
        "data_extracted",
        "data_checked",
        "model_trained",
        "artifact_built",
        "candidate_checked",
        "candidate_evaluated",
        "model_registered",
        "test_deployed",
        "test_validated",
        "approval_requested",
        "approval_answered",
        "switch_started",
        "promoted",
        "bake_ended",
        "release_closed",
    ]
    state = manager.context.ledger.read()
    assert done == {"version": 1, "url": state.production.url, "digest": state.production.digest}
    assert state.holder is None
    assert manager.current_version == 1
    assert manager.get_next_version() == 2
    assert [d.tags["recdeploy-role"] for d in living(manager.context)] == ["production"]


def test_promoting_records_the_caller_as_approver(manager, cells, emulator):
    cells.release()

    answer = newest_release(manager).require(ApprovalAnswered)
    assert answer.by == f"{getpass.getuser()} ({emulator.config['user']})"
    assert (answer.decision, answer.comment) == (Decision.PROMOTE, "promoted from a notebook")


def test_deploy_model_returns_what_the_cells_use(manager, cells):
    test = cells.until_test()

    assert test.model_deployment_id.startswith("ocid1.datasciencemodeldeployment.")
    assert test.url.endswith(test.model_deployment_id)
    assert test.lifecycle_state == "ACTIVE"
    answer = test.predict({"user_id": USERS[0]})
    assert [item["product_id"] for item in answer["recommendations"]] == [PRODUCTS[2], PRODUCTS[3]]
    assert answer["model_version"] == test.version == 1
    assert test.predict(json_input={"user_id": "nobody"})["message"].startswith("Recommendations for new user")
    assert [d.deployment_id for d in living(manager.context, Role.TEST)] == [test.model_deployment_id]


def test_a_prediction_that_fails_is_an_error(cells, emulator):
    test = cells.until_test()
    emulator.fail_next("Predict", status=500)

    with pytest.raises(DeploymentFailedError, match="answered 500"):
        test.predict({"user_id": USERS[0]})


def test_the_first_run_has_no_previous_version_to_backup(manager, caplog):
    assert manager.backup_current_artifacts(0) is None
    assert "No previous version to backup" in caplog.text
    assert manager.list_backups() == []


def test_a_second_release_keeps_the_url_and_makes_the_local_folders_current(manager, cells, tmp_path):
    first = cells.release()
    second = Cells(manager, tmp_path, shift=1)

    done = second.release()

    assert (done["version"], done["url"]) == (2, first["url"])
    assert json.loads((manager.artifact_dir / "manifest.json").read_text())["version"] == 2
    assert (manager.results_dir / "recommendations.csv").is_file()
    assert len(living(manager.context)) == 1


def test_rejecting_deletes_test_and_leaves_production(manager, cells, tmp_path):
    cells.release()
    second = Cells(manager, tmp_path, shift=1)
    second.until_test()
    manager.validate_test()

    assert manager.cleanup_test_deployment("the lists look odd") is None

    state = manager.context.ledger.read()
    assert living(manager.context, Role.TEST) == []
    assert (state.production.version, state.holder, state.versions[2].stage) == (1, None, Stage.REJECTED)
    rejected = newest_release(manager)
    assert rejected.outcome == "rejected"
    assert rejected.require(ReleaseRejected).reason == "the lists look odd"
    assert rejected.require(ReleaseRejected).by.startswith(getpass.getuser())
    assert manager.get_next_version() == 3


@pytest.mark.parametrize("at", ["prepared", "trained", "on TEST"])
def test_a_release_can_be_rejected_at_any_cell(manager, cells, at):
    cells.prepare()
    if at != "prepared":
        cells.train()
    if at == "on TEST":
        cells.save()
        cells.deploy()

    manager.cleanup_test_deployment()

    assert (manager.context.ledger.read().holder, living(manager.context)) == (None, [])
    assert newest_release(manager).outcome == "rejected"


def test_cleaning_up_without_a_test_deployment_logs_that(manager, caplog):
    manager.cleanup_test_deployment()

    assert "No test deployment to clean up" in caplog.text


def test_validation_shows_the_evidence_and_waits_for_a_decision(manager, cells):
    cells.until_test()

    evidence = manager.validate_test()

    assert "validation of TEST" in evidence
    assert judge(manager.context.ledger.read()).phase is Phase.PAUSED
    manager.validate_test()
    assert manager.promote_to_production()["version"] == 1


def test_a_test_that_answers_wrongly_is_not_promoted(manager, cells, emulator):
    cells.until_test()
    emulator.fail_next("Predict", status=500, times=3)

    with pytest.raises(GateFailedError):
        manager.promote_to_production(cells.test.model_deployment_id)
    assert manager.context.ledger.read().production is None

    assert manager.promote_to_production(cells.test.model_deployment_id)["version"] == 1


def test_files_that_were_damaged_are_not_promoted_and_the_cell_may_be_run_again(manager, cells):
    cells.until_test()
    manager.validate_test()
    key = f"{manager._session.own().require(ModelTrained).prefix}/recommendations.csv"
    whole = manager.context.store.read(key)
    damage(manager.context.store, key)

    with pytest.raises(ApprovalError, match=rf"{key}.* Restore that object .*, then run this cell again"):
        manager.promote_to_production()
    damage(manager.context.store, key, whole)
    assert manager.promote_to_production()["version"] == 1


def test_the_summary_has_the_guides_layout(manager, cells):
    rule = "=" * 60
    empty = manager.get_deployment_summary().splitlines()
    assert empty[:3] == [rule, "🎯 Product Recommender - Deployment Status", rule]
    assert "🧪 TEST: No test deployment" in empty

    cells.release()

    serving = manager.context.ledger.read().production
    assert manager.get_deployment_summary().splitlines() == [
        rule,
        "🎯 Product Recommender - Deployment Status",
        rule,
        "",
        "✅ PRODUCTION (v1)",
        f"   Model: {serving.model_id}",
        f"   Endpoint: {serving.url}",
        f"   Deployed: {serving.since}",
        "",
        "🧪 TEST: No test deployment",
        "",
        "📊 Current Version: v1",
        "📦 Total Deployments: 1",
        rule,
    ]


class TestWrongOrder:
    def test_promoting_first(self, manager):
        with pytest.raises(CellOrderError, match=r"^Cannot promote to production - no test deployment"):
            manager.promote_to_production("ocid1.datasciencemodeldeployment.oc1..x")

    def test_promoting_before_deploying(self, manager, cells):
        cells.until_saved()

        with pytest.raises(CellOrderError, match=r"^Cannot promote to production - no test deployment.*Cells 9-10"):
            manager.promote_to_production()

    def test_promoting_another_test(self, manager, cells):
        cells.until_test()

        with pytest.raises(CellOrderError, match=r"^Cannot promote to production - no test deployment ocid1\.other"):
            manager.promote_to_production("ocid1.other")

    def test_promoting_twice(self, manager, cells):
        cells.release()

        with pytest.raises(CellOrderError, match=r"no test deployment: the release v1 .* is closed \(promoted\)"):
            manager.promote_to_production(cells.test.model_deployment_id)

    def test_deploying_a_model_that_was_not_saved(self, manager, cells):
        cells.until_trained()

        with pytest.raises(CellOrderError, match=r"^Test deployment failed: this session has not saved a model"):
            manager.deploy_model(cells.model, "ocid1.datasciencemodel.oc1..x", 1)

    def test_training_before_extracting(self, manager, cells):
        with pytest.raises(CellOrderError, match="run Cells 1 to 10 first"):
            manager.train_model()
        cells.prepare()
        with pytest.raises(CellOrderError, match="Run Cell 5 again"):
            manager.train_model()
        with pytest.raises(CellOrderError, match="Run Cell 5 again"):
            manager.build_artifact()

    def test_saving_without_an_artifact(self, manager, tmp_path):
        with pytest.raises(SettingsError, match="run Cell 8 first"):
            manager.save_new_model(tmp_path / "nothing", 1, 6, 6)
        with pytest.raises(SettingsError, match="must be an ADS GenericModel or an artifact folder"):
            manager.save_new_model(3, 1, 6, 6)
        assert manager.context.ledger.read().holder is None

    def test_saving_under_another_number(self, manager, cells):
        cells.until_trained()

        with pytest.raises(SettingsError, match="makes v1, not v4"):
            manager.save_new_model(cells.model, 4, 6, 6)

    def test_validating_without_test(self, manager, cells):
        cells.prepare()

        with pytest.raises(CellOrderError, match="Run Cell 10 again"):
            manager.validate_test()

    def test_rolling_back_to_a_version_that_does_not_exist(self, manager, cells, caplog):
        assert manager.rollback_artifacts(version=4) is False
        assert "Rollback failed - backup not found" in caplog.text
        with pytest.raises(SettingsError, match="nothing to roll back"):
            manager.roll_back_production(4)
        cells.release()
        with pytest.raises(SettingsError, match="Version 4 does not exist"):
            manager.roll_back_production(4)
        assert manager.context.ledger.read().holder is None


def test_a_failed_test_deployment_is_an_error_that_quotes_oci(cells, emulator):
    cells.until_saved()
    emulator.fail_next("CreateModelDeployment", kind="work_request_failed", message="Failed to pull the image")

    with pytest.raises(DeploymentFailedError, match=r"^Test deployment failed(?s:.)*Failed to pull the image"):
        cells.deploy()

    assert cells.deploy().lifecycle_state == "ACTIVE"


def test_the_deployments_size_can_be_chosen_and_changed(manager, cells):
    cells.until_test()

    cells.deploy(ocpus=2, memory_gb=32)

    [test] = living(manager.context, Role.TEST)
    assert test.shape == replace(SHAPE, ocpus=2, memory_gb=32)
    manager.promote_to_production()
    [production] = living(manager.context)
    assert production.shape == test.shape


def test_a_deployment_without_a_size_of_its_own_gets_that_of_the_settings(manager, cells, monkeypatch):
    large = manager.settings.serving.model_copy(update={"ocpus": 3, "memory_gb": 48})
    monkeypatch.setitem(manager.settings.__dict__, "serving", large)
    cells.until_test()

    [test] = living(manager.context, Role.TEST)
    assert test.shape == replace(SHAPE, ocpus=3, memory_gb=48)
    cells.deploy(ocpus=1)
    [test] = living(manager.context, Role.TEST)
    assert test.shape == replace(SHAPE, ocpus=1, memory_gb=48)
    cells.deploy()
    manager.promote_to_production()
    [production] = living(manager.context)
    assert production.shape == replace(SHAPE, ocpus=3, memory_gb=48)


def test_an_impossible_size_is_refused_before_anything_is_requested_from_oci(manager, cells):
    cells.until_saved()

    with pytest.raises(SettingsError, match=r"deploy_model \(Cell 10\) cannot be used: ocpus"):
        cells.deploy(ocpus=0)
    assert living(manager.context) == []


@pytest.mark.parametrize(("cell", "number"), [(9, 1), (10, 2)])
def test_a_cell_that_skips_test_is_the_approval(manager, cells, tmp_path, cell, number):
    if number == 2:
        cells.release()
    skipping = Cells(manager, tmp_path, shift=1)
    skipping.until_trained()
    skipping.save(is_test=cell != 9)
    deployed = skipping.deploy(is_test=cell != 10)

    state = manager.context.ledger.read()
    assert (state.production.version, state.holder) == (number, None)
    assert deployed.model_deployment_id == state.production.deployment_id
    assert not deployed.is_test
    assert deployed.predict({"user_id": USERS[0]})["model_version"] == number
    assert "without TEST" in newest_release(manager).require(ApprovalAnswered).comment

    before = manager.context.ledger.entries()
    evidence = manager.validate_test()  # Cell 11, which the guide runs in this case too
    assert evidence.startswith("> **Note:** TEST was skipped")
    assert PREEMPTION not in evidence  # the decision is made
    # The version that it replaced, not the one that it became.
    assert ("nothing: this is the first release" if number == 1 else "v1 since") in evidence
    assert state.production.digest in evidence
    assert manager.context.ledger.entries() == before


def test_a_failed_promotion_says_which_version_serves_and_leaves_nothing(manager, cells, tmp_path, emulator):
    cells.release()
    second = Cells(manager, tmp_path, shift=1)
    second.until_test()
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity for the new pool")

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified(?s:.)*No capacity"):
        manager.promote_to_production(second.test.model_deployment_id)

    state = manager.context.ledger.read()
    assert (state.production.version, state.holder) == (1, None)
    assert len(living(manager.context)) == 1


def test_a_failed_promotion_whose_test_deployment_stays_says_so_too(manager, cells, tmp_path, emulator, caplog):
    cells.release()
    second = Cells(manager, tmp_path, shift=1)
    second.until_test()
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
    emulator.fail_next("DeleteModelDeployment", status=404, code="NotAuthorizedOrNotFound", times=None)

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified"):
        manager.promote_to_production(second.test.model_deployment_id)
    assert "but its test deployment could not be deleted" in caplog.text
