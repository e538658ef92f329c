"""The guide's API: every method's result and message, on the steps that the operators run."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import artifacts
import oci
import pytest
from steps.cells import Cells, kinds, living
from steps.factories import PRODUCTS, USERS, Run, shop

from recdeploy_ops.bundles import sha256_of
from recdeploy_ops.deployment_manager import CellOrderError, print_backups
from recdeploy_ops.deployment_manager.profiles import find_profile
from recdeploy_ops.deployment_manager.sources import source_of as source_of_parameters
from recdeploy_ops.domain.errors import (
    DeploymentFailedError,
    GateFailedError,
    IntegrityError,
    LockHeldError,
    PromotionFailedError,
    SelfApprovalError,
    SettingsError,
)
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import Role, Shape
from recdeploy_ops.domain.release_status import Phase, judge
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.oci_clients.sessions import OciProfile, OciSession
from recdeploy_ops.steps.waits import is_settled


def test_the_first_release_of_a_notebook_takes_every_step_of_the_operators(manager, cells):
    assert manager.get_next_version() == 1
    assert manager.current_version == 0

    done = cells.release()

    assert kinds(manager) == [
        "release_opened",
        "production_backed_up",
        "data_extracted",
        "data_checked",
        "model_trained",
        "artifact_built",
        "candidate_checked",
        "model_registered",
        "test_deployed",
        "test_validated",
        "approval_requested",
        "approval_answered",
        "promotion_started",
        "promoted",
        "release_closed",
    ]
    book = manager.releases.ledger.book()
    assert done == {"version": 1, "url": book.production.url, "digest": book.production.digest}
    assert book.holder is None
    assert manager.current_version == 1
    assert manager.get_next_version() == 2
    assert [d.tags["recdeploy-role"] for d in living(manager)] == ["production"]


def test_promoting_records_the_caller_as_approver(manager, cells, emulator):
    cells.release()

    answer = manager.releases.ledger.book().releases[manager._session.newest().run_id].facts[Kind.APPROVAL_ANSWERED]
    assert answer["by"] == f"{getpass.getuser()} ({emulator.config['user']})"
    assert (answer["decision"], answer["comment"]) == ("Promote", "promoted from a notebook")


def test_deploy_model_returns_what_the_cells_use(manager, cells):
    test = cells.until_test()

    assert test.model_deployment_id.startswith("ocid1.datasciencemodeldeployment.")
    assert test.url.endswith(test.model_deployment_id)
    assert test.lifecycle_state == "ACTIVE"
    answer = test.predict({"user_id": USERS[0]})
    assert [found["product_id"] for found in answer["recommendations"]] == [PRODUCTS[2], PRODUCTS[3]]
    assert answer["model_version"] == test.version == 1
    assert test.predict(json_input={"user_id": "nobody"})["message"].startswith("Recommendations for new user")
    assert [d.deployment_id for d in living(manager, Role.TEST)] == [test.model_deployment_id]


def test_a_prediction_that_fails_is_an_error(manager, cells, emulator):
    test = cells.until_test()
    emulator.fail_next("Predict", status=500)

    with pytest.raises(DeploymentFailedError, match="answered 500"):
        test.predict({"user_id": USERS[0]})


def test_the_first_run_has_no_previous_version_to_backup(manager, caplog):
    assert manager.backup_current_artifacts(0) is None
    assert "No previous version to backup" in caplog.text
    assert manager.list_backups() == []


def test_a_backup_is_a_folder_as_in_the_guide(manager, cells, tmp_path, capsys):
    cells.release()
    second = Cells(manager, tmp_path, shift=1)
    second.prepare()

    assert isinstance(second.backup, Path)
    assert second.backup.parent == tmp_path / "storage" / "backups"
    assert second.backup.name.startswith("v1_")
    assert {path.name for path in second.backup.iterdir()} == {
        "recommender_model_artifact",
        "results",
        "metadata.json",
        "manifest.json",
    }
    [backup] = manager.list_backups()
    assert (backup["version"], backup["backup_path"]) == (1, str(second.backup))
    assert backup["production_deployment"]["endpoint"] == manager.releases.ledger.book().production.url

    assert print_backups([backup]) is None
    printed = capsys.readouterr().out
    assert "📌 Version 1" in printed
    assert str(second.backup) in printed
    print_backups([])
    assert "No backups found" in capsys.readouterr().out


def test_only_what_serves_can_be_backed_up(manager, cells):
    cells.release()

    with pytest.raises(SettingsError, match="v7 is not in production, v1 is"):
        manager.backup_current_artifacts(7)
    assert manager.releases.ledger.book().holder is None


def test_a_second_release_keeps_the_url_and_makes_the_local_folders_current(manager, cells, tmp_path):
    first = cells.release()
    second = Cells(manager, tmp_path, shift=1)

    done = second.release()

    assert (done["version"], done["url"]) == (2, first["url"])
    assert json.loads((manager.artifact_dir / "manifest.json").read_text())["version"] == 2
    assert (manager.results_dir / "recommendations.csv").is_file()
    assert len(living(manager)) == 1


def test_rejecting_deletes_test_and_leaves_production(manager, cells, tmp_path):
    cells.release()
    second = Cells(manager, tmp_path, shift=1)
    second.until_test()
    manager.validate_test()

    assert manager.cleanup_test_deployment("the lists look odd") is None

    book = manager.releases.ledger.book()
    assert living(manager, Role.TEST) == []
    assert (book.production.version, book.holder, book.versions[2].stage) == (1, None, Stage.REJECTED)
    rejected = book.releases[manager._session.newest().run_id]
    assert rejected.outcome == "rejected"
    assert rejected.facts[Kind.RELEASE_REJECTED]["reason"] == "the lists look odd"
    assert rejected.facts[Kind.RELEASE_REJECTED]["by"].startswith(getpass.getuser())
    assert manager.get_next_version() == 3


@pytest.mark.parametrize("at", ["prepared", "trained", "on TEST"])
def test_a_release_can_be_given_up_at_any_cell(manager, cells, at):
    cells.prepare()
    if at != "prepared":
        cells.train()
    if at == "on TEST":
        cells.save()
        cells.deploy()

    manager.cleanup_test_deployment()

    book = manager.releases.ledger.book()
    assert (book.holder, living(manager)) == (None, [])
    assert book.releases[manager._session.newest().run_id].outcome == "rejected"


def test_cleaning_up_nothing_says_so(manager, caplog):
    manager.cleanup_test_deployment()

    assert "No test deployment to clean up" in caplog.text


def test_validation_shows_the_evidence_and_waits_for_a_decision(manager, cells):
    cells.until_test()

    evidence = manager.validate_test()

    assert "validation of TEST" in evidence
    assert judge(manager.releases.ledger.book()).phase is Phase.PAUSED
    manager.validate_test()
    assert manager.promote_to_production()["version"] == 1


def test_a_test_that_answers_wrongly_is_not_promoted(manager, cells, emulator):
    cells.until_test()
    emulator.fail_next("Predict", status=500, times=3)

    with pytest.raises(GateFailedError):
        manager.promote_to_production(cells.test.model_deployment_id)
    assert manager.releases.ledger.book().production is None

    assert manager.promote_to_production(cells.test.model_deployment_id)["version"] == 1


def test_the_summary_has_the_guides_layout(manager, cells):
    rule = "=" * 60
    empty = manager.get_deployment_summary().splitlines()
    assert empty[:3] == [rule, "🎯 Product Recommender - Deployment Status", rule]
    assert "🧪 TEST: No test deployment" in empty

    cells.release()

    serving = manager.releases.ledger.book().production
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
        cells.prepare()
        cells.train()
        cells.save()

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

    def test_deploying_what_was_not_saved(self, manager, cells):
        cells.prepare()
        cells.train()

        with pytest.raises(CellOrderError, match=r"^Test deployment failed: this session has saved no model"):
            manager.deploy_model(cells.model, "ocid1.datasciencemodel.oc1..x", 1)

    def test_training_before_extracting(self, manager, cells):
        with pytest.raises(CellOrderError, match="run Cells 1 to 10 first"):
            manager.train_model()
        cells.prepare()
        with pytest.raises(CellOrderError, match="run Cell 5 again"):
            manager.train_model()
        with pytest.raises(CellOrderError, match="run Cell 5 again"):
            manager.build_artifact()

    def test_saving_without_an_artifact(self, manager, tmp_path):
        with pytest.raises(SettingsError, match="run Cell 8 first"):
            manager.save_new_model(tmp_path / "nothing", 1, 6, 6)
        with pytest.raises(SettingsError, match="must be an ADS GenericModel or an artifact folder"):
            manager.save_new_model(3, 1, 6, 6)
        assert manager.releases.ledger.book().holder is None

    def test_saving_under_another_number(self, manager, cells):
        cells.prepare()
        cells.train()

        with pytest.raises(SettingsError, match="makes v1, not v4"):
            manager.save_new_model(cells.model, 4, 6, 6)

    def test_validating_without_test(self, manager, cells):
        cells.prepare()

        with pytest.raises(CellOrderError, match="run Cell 10 again"):
            manager.validate_test()

    def test_rolling_back_to_what_never_was(self, manager, cells, caplog):
        assert manager.rollback_artifacts(version=4) is False
        assert "Rollback failed - backup not found" in caplog.text
        with pytest.raises(SettingsError, match="nothing to roll back"):
            manager.roll_back_production(4)
        cells.release()
        with pytest.raises(SettingsError, match="There is no version 4"):
            manager.roll_back_production(4)
        assert manager.releases.ledger.book().holder is None


def test_a_test_deployment_that_fails_says_so_with_ocis_words(manager, cells, emulator):
    cells.prepare()
    cells.train()
    cells.save()
    emulator.fail_next("CreateModelDeployment", kind="work_request_failed", message="Out of host capacity")

    with pytest.raises(DeploymentFailedError, match=r"^Test deployment failed(?s:.)*Out of host capacity"):
        cells.deploy()

    assert cells.deploy().lifecycle_state == "ACTIVE"


def test_the_deployments_size_can_be_chosen_and_changed(manager, cells):
    cells.until_test()

    cells.deploy(ocpus=2, memory_gb=32)

    [test] = living(manager, Role.TEST)
    assert test.shape == Shape("VM.Standard.E4.Flex", 2.0, 32.0, 1)
    manager.promote_to_production()
    [production] = living(manager)
    assert production.shape == test.shape


def test_without_a_size_of_its_own_a_deployment_gets_the_settings_one(manager, cells, monkeypatch):
    large = manager.settings.serving.model_copy(update={"ocpus": 3, "memory_gb": 48})
    monkeypatch.setitem(manager.settings.__dict__, "serving", large)
    cells.until_test()

    [test] = living(manager, Role.TEST)
    assert test.shape == Shape("VM.Standard.E4.Flex", 3.0, 48.0, 1)
    cells.deploy(ocpus=1)
    [test] = living(manager, Role.TEST)
    assert test.shape == Shape("VM.Standard.E4.Flex", 1.0, 48.0, 1)
    cells.deploy()
    manager.promote_to_production()
    [production] = living(manager)
    assert production.shape == Shape("VM.Standard.E4.Flex", 3.0, 48.0, 1)


def test_a_size_that_cannot_be_is_refused_before_oci_is_asked(manager, cells):
    cells.prepare()
    cells.train()
    cells.save()

    with pytest.raises(SettingsError, match=r"deploy_model \(Cell 10\) cannot be used: ocpus"):
        cells.deploy(ocpus=0)
    assert living(manager) == []


@pytest.mark.parametrize(("cell", "number"), [(9, 1), (10, 2)])
def test_test_can_be_skipped_which_is_then_the_approval(manager, cells, tmp_path, cell, number):
    if number == 2:
        cells.release()
    skipping = Cells(manager, tmp_path, shift=1)
    skipping.prepare()
    skipping.train()
    skipping.save(is_test=cell != 9)
    deployed = skipping.deploy(is_test=cell != 10)

    book = manager.releases.ledger.book()
    assert (book.production.version, book.holder) == (number, None)
    assert deployed.model_deployment_id == book.production.deployment_id
    assert not deployed.is_test
    assert deployed.predict({"user_id": USERS[0]})["model_version"] == number
    assert "without TEST" in book.releases[manager._session.newest().run_id].facts[Kind.APPROVAL_ANSWERED]["comment"]

    before = manager.releases.ledger.entries()
    evidence = manager.validate_test()  # Cell 11, which the guide runs all the same
    assert evidence.startswith("> **Note:** TEST was skipped")
    assert book.production.digest in evidence
    assert manager.releases.ledger.entries() == before


class TestRollingBack:
    def test_the_local_folders_from_the_backup_or_from_where_they_were_built(self, manager, two_releases):
        shutil.rmtree(manager.results_dir)

        assert manager.rollback_artifacts(version=1) is True

        assert (manager.results_dir / "recommendations.csv").is_file()
        assert manager.current_version == 2
        [backup] = manager.list_backups()
        saved = Path(backup["backup_path"], "recommender_model_artifact")
        assert {path.name: path.read_bytes() for path in manager.artifact_dir.iterdir()} == {
            path.name: path.read_bytes() for path in saved.iterdir()
        }

        (manager.artifact_dir / "runtime.yaml").write_text("edited")
        assert manager.rollback_artifacts(version=2) is True  # which has no backup: nothing has replaced it yet
        assert self.version_of(manager) == 2
        assert (manager.artifact_dir / "runtime.yaml").read_text() != "edited"

    def test_a_damaged_copy_is_passed_over_and_without_a_whole_one_nothing_is_touched(
        self, manager, two_releases, caplog
    ):
        [backup] = manager.list_backups()
        damaged = Path(backup["backup_path"], "recommender_model_artifact", "runtime.yaml")
        content = damaged.read_bytes()
        damaged.unlink()
        damaged.write_bytes(b"tampered")

        assert manager.rollback_artifacts(version=1) is True
        assert "cannot be used" in caplog.text
        assert (manager.artifact_dir / "runtime.yaml").read_bytes() == content

        manager.rollback_artifacts(version=2)
        for stored in list(manager.releases.store.list(manager.releases.ledger.book().versions[1].artifact)):
            manager.releases.store.delete(stored.key)
        assert manager.rollback_artifacts(version=1) is False
        assert "Rollback failed - backup not found" in caplog.text
        assert self.version_of(manager) == 2

    def test_a_backup_that_the_ledger_does_not_know_is_not_used(self, manager, two_releases, caplog):
        [backup] = manager.list_backups()
        forged = Path(backup["backup_path"]).with_name("v1_29991231_235959")
        shutil.copytree(backup["backup_path"], forged)
        self.forge(forged)

        assert manager.rollback_artifacts(version=1) is True

        assert "v1_29991231_235959 is not used: its digest is" in caplog.text
        assert "the ledger knows no such backup" in caplog.text
        assert "forged" not in (manager.results_dir / "recommendations.csv").read_text()

    def test_a_backup_whose_manifest_was_rewritten_is_not_used(self, manager, two_releases, caplog):
        [backup] = manager.list_backups()
        self.forge(Path(backup["backup_path"]))

        assert manager.rollback_artifacts(version=1) is True

        assert f"the ledger says {backup['digest']}: it was changed" in caplog.text
        assert "forged" not in (manager.results_dir / "recommendations.csv").read_text()

    @staticmethod
    def forge(backup):
        """Change a file of a backup, and its manifest with it."""
        manifest, lists = backup / "manifest.json", backup / "results" / "recommendations.csv"
        lists.unlink()
        lists.write_text("forged")
        stored = json.loads(manifest.read_text())
        stored["files"]["results/recommendations.csv"] = sha256_of(lists)
        manifest.unlink()
        manifest.write_text(json.dumps(stored))

    def test_an_unfinished_rollback_is_finished_before_another_begins(
        self, manager, two_releases, tmp_path, monkeypatch
    ):
        from recdeploy_ops.steps import roll_back

        Cells(manager, tmp_path, shift=2).release()

        def interrupted(releases, run_id):
            raise KeyboardInterrupt

        original = roll_back.advance
        monkeypatch.setattr(roll_back, "advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            manager.roll_back_production(2)
        monkeypatch.setattr(roll_back, "advance", original)

        with pytest.raises(CellOrderError, match=r"to v2 .* is not finished.*roll_back_production\(2, .*abandon"):
            manager.roll_back_production(1)
        with pytest.raises(CellOrderError, match="an other reason"):
            manager.roll_back_production(2, "an other reason")
        assert manager.current_version == 3
        assert manager.roll_back_production(2)["version"] == 2
        assert manager.roll_back_production(1)["version"] == 1

    @staticmethod
    def version_of(manager):
        return json.loads((manager.artifact_dir / "manifest.json").read_text())["version"]

    def test_production_at_the_same_url(self, manager, two_releases):
        before = manager.releases.ledger.book().production

        done = manager.roll_back_production(1, "it looks odd")

        book = manager.releases.ledger.book()
        assert (done["version"], done["url"]) == (1, before.url)
        assert (book.production.version, book.holder) == (1, None)
        assert list(book.releases.values())[-1].outcome == "rolled back"

    def test_a_rollback_that_does_not_verify_keeps_the_champion(self, manager, two_releases, emulator):
        emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity")

        with pytest.raises(PromotionFailedError, match=r"v2 serves at .*, verified"):
            manager.roll_back_production()

        book = manager.releases.ledger.book()
        assert (book.production.version, book.holder) == (2, None)

    def test_a_rollback_preempts_a_release_that_waits_for_a_decision(self, manager, two_releases, tmp_path):
        third = Cells(manager, tmp_path, shift=2)
        third.until_test()
        manager.validate_test()

        assert manager.roll_back_production()["version"] == 1

        with pytest.raises(CellOrderError, match=r"closed \(pre-empted\)"):
            manager.promote_to_production(third.test.model_deployment_id)
        manager.cleanup_test_deployment()
        assert len(living(manager)) == 1


class TestFoldersOfSomebodyElse:
    @pytest.mark.parametrize("held", ["nothing of ours", "more than ours"])
    def test_are_never_replaced(self, manager, cells, held):
        cells.prepare()
        cells.train()
        mine = manager.results_dir / "thesis.docx"
        if held == "nothing of ours":
            shutil.rmtree(manager.results_dir)
            manager.results_dir.mkdir()
        mine.write_text("years of work")
        before = {path.name: path.read_bytes() for path in manager.results_dir.iterdir()}

        for cell in (manager.train_model, lambda: manager.rollback_artifacts(1)):
            with pytest.raises(SettingsError, match=r"holds thesis\.docx, which recdeploy .*another artifact_dir"):
                cell()
        assert {path.name: path.read_bytes() for path in manager.results_dir.iterdir()} == before

    def test_not_even_under_a_manifest_of_something_else(self, manager, cells):
        cells.prepare()
        cells.train()
        (manager.artifact_dir / "manifest.json").write_text('{"name": "an extension of a browser"}')

        with pytest.raises(SettingsError, match=r"artifact holds README\.md and 5 more"):
            manager.build_artifact()
        assert (manager.artifact_dir / "manifest.json").is_file()

    def test_what_python_and_ads_leave_in_an_artifact_is_no_obstacle(self, manager, cells):
        cells.prepare()
        cells.train()
        (manager.artifact_dir / "__pycache__").mkdir()
        (manager.artifact_dir / "__pycache__" / "score.cpython-312.pyc").touch()
        (manager.artifact_dir / ".model-ignore").touch()

        assert manager.build_artifact() == manager.artifact_dir
        assert not (manager.artifact_dir / ".model-ignore").exists()

    @pytest.mark.parametrize("place", [".", "..", "~", "/"])
    def test_nobody_works_in_a_folder_that_is_replaced(self, make_manager, place, monkeypatch, tmp_path):
        (tmp_path / "home" / "work").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "home" / "work")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        manager = make_manager(results_dir=place)

        with pytest.raises(SettingsError, match="which is not replaced"):
            manager.train_model()
        assert (tmp_path / "home" / "work").is_dir()

    def test_a_file_in_its_place_is_refused(self, manager):
        manager.results_dir.parent.mkdir()
        manager.results_dir.touch()

        with pytest.raises(SettingsError, match="is a file, not a folder"):
            manager.train_model()

    def test_a_link_leads_to_the_folder_that_is_replaced(self, manager, cells, tmp_path):
        elsewhere = tmp_path / "large disk"
        elsewhere.mkdir()
        manager.artifact_dir.parent.mkdir()
        manager.artifact_dir.symlink_to(elsewhere)
        cells.prepare()
        cells.train()

        assert manager.artifact_dir.is_symlink()
        assert (elsewhere / "score.py").is_file()


def test_a_failed_promotion_says_what_serves_and_leaves_nothing(manager, cells, tmp_path, emulator):
    cells.release()
    second = Cells(manager, tmp_path, shift=1)
    second.until_test()
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity for the new pool")

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified(?s:.)*No capacity"):
        manager.promote_to_production(second.test.model_deployment_id)

    book = manager.releases.ledger.book()
    assert (book.production.version, book.holder) == (1, None)
    assert len(living(manager)) == 1


def test_a_promotion_that_was_interrupted_goes_on_and_cannot_be_undone_half_way(manager, cells, tmp_path, monkeypatch):
    from recdeploy_ops.steps import promote

    cells.release()
    second = Cells(manager, tmp_path, shift=1)
    second.until_test()

    def interrupted(releases, run_id):
        promote_advance(releases, run_id)  # asks OCI
        raise KeyboardInterrupt

    promote_advance = promote.advance
    monkeypatch.setattr(promote, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        manager.promote_to_production()
    monkeypatch.undo()

    for cell in (manager.validate_test, manager.build_artifact, manager.backup_current_artifacts, second.deploy):
        with pytest.raises(CellOrderError, match="run Cell 12 again"):
            cell()
    assert manager.promote_to_production()["version"] == 2
    assert kinds(manager).count("approval_answered") == 1


def test_rejecting_an_interrupted_promotion_brings_the_champion_back(manager, cells, tmp_path, monkeypatch):
    from recdeploy_ops.steps import promote

    cells.release()
    second = Cells(manager, tmp_path, shift=1)
    second.until_test()
    promote_advance = promote.advance

    def interrupted(releases, run_id):
        promote_advance(releases, run_id)
        raise KeyboardInterrupt

    monkeypatch.setattr(promote, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        manager.promote_to_production()
    monkeypatch.undo()

    manager.cleanup_test_deployment()

    [production] = living(manager)
    book = manager.releases.ledger.book()
    assert (book.production.version, book.holder) == (1, None)
    assert production.model_id == book.production.model_id


class TestTwoSessions:
    def test_of_two_that_begin_at_once_one_goes_on_and_the_other_is_told_by_whom(self, make_manager):
        def begin(manager):
            try:
                return manager.backup_current_artifacts()
            except LockHeldError as err:
                return str(err)

        managers = [make_manager("kernel-1"), make_manager("kernel-2")]
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(begin, managers))

        [refused] = [result for result in results if result is not None]
        assert f"run {managers[0].releases.ledger.book().holder}" in refused

    def test_the_second_is_told_who_holds_the_lock(self, manager, make_manager):
        manager.backup_current_artifacts()
        second = make_manager("kernel-2")

        with pytest.raises(LockHeldError, match=r"run notebook-.*resume_release\(\).*abandon_release\(\)"):
            second.backup_current_artifacts()
        with pytest.raises(CellOrderError, match=r"no test deployment: .*resume_release\(\)"):
            second.promote_to_production()

    def test_a_manager_made_again_in_the_same_kernel_goes_on(self, manager, make_manager, cells):
        cells.until_test()

        assert make_manager().promote_to_production(cells.test.model_deployment_id)["version"] == 1

    def test_a_new_kernel_resumes_the_release_of_one_that_ended(self, make_manager, cells):
        cells.until_test()
        second = make_manager("kernel-2")

        assert "goes on with v1" in second.resume_release()
        assert second.promote_to_production()["version"] == 1

    def test_an_abandoned_release_is_closed_and_its_kernel_may_not_go_on(self, manager, make_manager, cells, tmp_path):
        cells.release()
        first = Cells(manager, tmp_path, shift=1)
        first.until_test()
        second = make_manager("kernel-2")

        assert "is closed" in second.abandon_release()

        assert living(manager, Role.TEST) == []
        with pytest.raises(CellOrderError, match=r"no test deployment: the release v2 of this session is closed"):
            manager.promote_to_production(first.test.model_deployment_id)
        assert Cells(second, tmp_path, shift=2).release()["version"] == 3

    def test_nobody_takes_the_release_of_somebody_else(self, manager, make_manager, monkeypatch):
        manager.backup_current_artifacts()
        monkeypatch.setenv("LOGNAME", "somebody-else")
        second = make_manager("kernel-2")

        for method in (second.abandon_release, second.resume_release):
            with pytest.raises(CellOrderError, match="is not yours"):
                method()
        with pytest.raises(LockHeldError) as refused:
            second.backup_current_artifacts()
        assert "That release is your own" not in str(refused.value)
        assert str(refused.value).endswith("then run this cell again.")

    def test_a_second_person_approves_by_naming_the_test_deployment(
        self, manager, make_manager, cells, settings, monkeypatch
    ):
        monkeypatch.setitem(settings.release.__dict__, "self_approval", False)
        cells.until_test()
        with pytest.raises(SelfApprovalError, match=r"Another person can run manager\.promote_to_production\('ocid1"):
            manager.promote_to_production()
        monkeypatch.setenv("LOGNAME", "second")
        second = make_manager("kernel-2")
        with pytest.raises(SelfApprovalError, match=r"second .* may not approve it"):
            second.promote_to_production(cells.test.model_deployment_id)
        second._session.caller = "second (ocid1.user.oc1..second)"

        assert second.promote_to_production(cells.test.model_deployment_id)["version"] == 1

        [release] = manager.releases.ledger.book().releases.values()
        assert release.facts[Kind.APPROVAL_ANSWERED]["by"].startswith("second")

    def test_a_kernel_that_is_gone_cannot_keep_the_lock_for_ever(self, manager, make_manager, monkeypatch, settings):
        manager.backup_current_artifacts()
        monkeypatch.setenv("LOGNAME", "somebody-else")
        second = make_manager("kernel-2")
        lease = timedelta(hours=settings.release.test_lease_hours)
        second.releases.now = lambda: datetime.now(UTC) + lease

        second.backup_current_artifacts()

        book = manager.releases.ledger.book()
        assert [release.outcome for release in book.releases.values()] == ["failed", None]

    def test_a_run_of_airflow_is_taken_to_be_alive(self, manager, tmp_path):
        Run(manager.releases, "scheduled__1", tmp_path).plan()

        with pytest.raises(LockHeldError, match="run scheduled__1"):
            manager.backup_current_artifacts()
        with pytest.raises(CellOrderError, match="recommender_retrain"):
            manager.abandon_release()

    def test_there_is_nothing_to_abandon_without_a_release(self, manager):
        with pytest.raises(CellOrderError, match="no release is under way"):
            manager.abandon_release()

    def test_a_second_retraining_in_one_session_gets_a_new_number(self, manager, cells):
        cells.until_test()
        cells.shift = 1
        cells.train()
        with pytest.raises(SettingsError, match="makes v2, not v1"):
            cells.save()
        cells.version = manager.get_next_version()
        cells.save()
        cells.deploy()

        assert manager.promote_to_production(cells.test.model_deployment_id)["version"] == 2
        assert len(living(manager)) == 1


class TestBroughtArtifacts:
    def test_an_artifact_made_elsewhere_is_released_with_a_note(self, manager, tmp_path):
        folder = artifacts.make_artifact(tmp_path / "made", version=1)

        model_id = manager.save_new_model(folder, version=1, num_users=4, num_products=6)
        test = manager.deploy_model(folder, model_id, 1)

        model = manager.releases.catalog.get(model_id)
        assert (model.metadata["num_users"], model.metadata["num_products"]) == ("4", "6")
        assert test.predict({"user_id": "u2"})["recommendations"][1] == {
            "product_id": "p2",
            "rating": 3.3333333333333335,
        }
        assert "without the data" in manager.validate_test()
        assert manager.promote_to_production()["version"] == 1

    def test_its_results_are_kept_when_they_are_there(self, manager, tmp_path):
        folder = artifacts.make_artifact(tmp_path / "made", version=1)
        shutil.copytree(tmp_path / "made" / "inputs" / "results", manager.results_dir)
        (manager.results_dir / "thesis.docx").write_text("nobody else's business")

        manager.save_new_model(folder, version=1, num_users=4, num_products=6)

        release = manager._session.own()
        kept = manager.releases.bundle(release, Kind.MODEL_TRAINED).files
        assert "new_users.csv" in kept
        assert "thesis.docx" not in kept

    def test_results_of_another_model_are_noticed(self, manager, tmp_path):
        folder = artifacts.make_artifact(tmp_path / "made", version=1)
        lists = {**artifacts.LISTS, "u1": [("p4", 4.5), ("p3", 4.25), ("p2", 1.1)]}
        artifacts.write_results(manager.results_dir, lists)

        with pytest.raises(GateFailedError, match="u1"):
            manager.save_new_model(folder, version=1, num_users=4, num_products=6)

    def test_what_is_no_artifact_of_this_project_is_refused(self, manager, tmp_path):
        (tmp_path / "score.py").touch()

        with pytest.raises(SettingsError, match=r"lacks runtime.yaml.*build_artifact\(\)"):
            manager.save_new_model(tmp_path, version=1, num_users=4, num_products=6)
        assert manager.releases.ledger.book().holder is None

    def test_an_artifact_of_another_version_is_refused(self, manager, tmp_path):
        folder = artifacts.make_artifact(tmp_path / "made", version=3)

        with pytest.raises(SettingsError, match="holds v3, this release makes v1"):
            manager.save_new_model(folder, version=1, num_users=4, num_products=6)

    @pytest.mark.parametrize(
        ("name", "error", "says"),
        [
            ("recommendations.sqlite", IntegrityError, "does not match its manifest"),
            ("score.py", SettingsError, "score_py_uri"),
        ],
    )
    def test_a_changed_file_is_refused(self, manager, tmp_path, name, error, says):
        folder = artifacts.make_artifact(tmp_path / "made", version=1)
        with (folder / name).open("ab") as stream:
            stream.write(b"#")

        with pytest.raises(error, match=says):
            manager.save_new_model(folder, version=1, num_users=4, num_products=6)

    def test_a_registered_version_keeps_its_content(self, manager, tmp_path):
        first, other = (
            artifacts.make_artifact(tmp_path / name, version=1, new_users=new_users)
            for name, new_users in (("one", artifacts.NEW_USERS), ("two", None))
        )
        manager.save_new_model(first, version=1, num_users=4, num_products=6)
        assert manager.save_new_model(first, version=1, num_users=4, num_products=6)

        with pytest.raises(SettingsError, match="v1 is registered with other content"):
            manager.save_new_model(other, version=1, num_users=4, num_products=6)


GENERIC_MODEL = """
import json, logging, os, sys
import ads
from ads.model.generic_model import GenericModel
from recdeploy_ops.deployment_manager import RecommenderDeploymentManager

url, config_file, folder, score, slug = sys.argv[1:]
ads.set_auth("api_key", oci_config_location=config_file, client_kwargs={"service_endpoint": url})
model = GenericModel(estimator=None, artifact_dir=folder, serialize=False)
model.prepare(
    inference_conda_env=slug, model_file_name="recommendations.sqlite", score_py_uri=score, force_overwrite=True
)
manager = RecommenderDeploymentManager()
version = manager.get_next_version()
model_id = manager.save_new_model(model=model, version=version, num_users=4, num_products=6)
test_deployment = manager.deploy_model(model=model, model_id=model_id, version=version)
answer = test_deployment.predict({"user_id": "u2"})
manager.promote_to_production(test_deployment.model_deployment_id)
print(json.dumps([model_id, sorted(os.listdir(folder)), answer]))
"""


def test_an_ads_generic_model_is_saved_deployed_and_promoted(settings, releases, profile_fields, emulator, tmp_path):
    """In a process of its own, for ADS changes much of the one that imports it."""
    folder = artifacts.make_artifact(tmp_path / "made", version=1)
    slug = settings.serving.conda_environment.slug
    facts = [emulator.url, str(emulator.config_file), str(folder), str(artifacts.TEMPLATE / "score.py"), slug]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(artifacts.TEMPLATE.parents[1] / "plugins"),
        "RECDEPLOY_SETTINGS": str(settings.folder / "recommender.yaml"),
        "AIRFLOW_CONN_OCI_DEFAULT": json.dumps({"conn_type": "oci", "extra": profile_fields}),
        "FSSPEC_OCI": json.dumps({"config_kwargs": {"service_endpoint": emulator.url}}),
    }
    command = [sys.executable, "-c", GENERIC_MODEL, *facts]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)

    assert done.returncode == 0, done.stderr[-4000:]
    model_id, names, answer = json.loads(done.stdout.splitlines()[-1])
    assert ".model-ignore" in names, "ADS has prepared the folder"
    book = releases.ledger.book()
    assert (book.production.version, book.production.model_id) == (1, model_id)
    assert (answer["model_version"], answer["digest"]) == (1, book.production.digest)
    served = releases.bundle(next(iter(book.releases.values())), Kind.ARTIFACT_BUILT).files
    assert set(served) == {"README.md", "new_user_fallback.pkl", "recommendations.sqlite", "runtime.yaml", "score.py"}
    assert served["runtime.yaml"] == sha256_of(folder / "runtime.yaml"), "the environment that ADS was told"


def test_a_backup_in_object_storage_is_copied_beside_the_artifact(make_manager, tmp_path, profile_fields, emulator):
    session = OciSession(OciProfile.from_fields(profile_fields, source="the test's connection"))
    details = oci.object_storage.models.CreateBucketDetails(name="shop", compartment_id=emulator.compartment_id)
    session.object_storage.create_bucket(emulator.namespace, details)
    manager = make_manager(backup_root=f"oci://shop@{emulator.namespace}/recommender/backups")
    Cells(manager, tmp_path).release()

    backup = manager.backup_current_artifacts(1)

    assert backup.parent == tmp_path / "home" / "backups"
    assert json.loads((backup / "metadata.json").read_text())["version"] == 1
    [listed] = manager.list_backups()
    assert listed["backup_path"] == f"oci://shop@{emulator.namespace}/recommender/backups/{backup.name}"
    assert manager.rollback_artifacts(1) is True


class TestAdoption:
    def test_an_existing_deployment_is_imported(self, manager, cells):
        cells.release()
        production = manager.releases.production()
        for found in list(manager.releases.store.list("ledger/")):
            manager.releases.store.delete(found.key)
        manager.releases.ledger.__init__(manager.releases.store, manager.releases.now)

        difference = manager.import_existing_deployment(production.deployment_id)

        assert difference[0].startswith("production: the ledger has nothing, OCI has v1")
        assert manager.current_version == 1

    def test_the_state_is_repaired_after_a_change_by_hand(self, manager, two_releases):
        production = manager.releases.production()
        manager.releases.deployments.switch_model(production, manager.releases.ledger.book().versions[1].model_id)
        while not is_settled(manager.releases, production.deployment_id):
            time.sleep(0.02)

        assert manager.repair_production_state()[0].startswith("production: the ledger has v2")
        assert manager.current_version == 1
        assert manager.repair_production_state() == []


class TestMakingAManager:
    def test_a_backup_root_of_ones_own(self, make_manager, tmp_path):
        manager = make_manager(project_name="My Shop", backup_root=tmp_path / "data" / "backups")

        assert manager.settings.storage == (tmp_path / "data").as_uri()
        assert manager.settings.project_name == "my-shop"
        assert "🎯 My Shop - Deployment Status" in manager.get_deployment_summary()
        assert make_manager(backup_root="oci://b@ns/x/backups/").settings.storage == "oci://b@ns/x"

    def test_what_cannot_be_used_is_said(self, make_manager, tmp_path):
        with pytest.raises(SettingsError, match="backup_root must be named 'backups'"):
            make_manager(backup_root=tmp_path)
        with pytest.raises(SettingsError, match="project_name"):
            make_manager(project_name="!")

    def test_the_sdks_own_file_and_the_sessions_variables(self, monkeypatch, emulator, project_id):
        monkeypatch.delenv("AIRFLOW_CONN_OCI_DEFAULT", raising=False)
        monkeypatch.setenv("OCI_CONFIG_LOCATION", str(emulator.config_file))
        with pytest.raises(SettingsError, match="Set NB_SESSION_COMPARTMENT_OCID and PROJECT_OCID"):
            find_profile("oci_default")
        monkeypatch.setenv("NB_SESSION_COMPARTMENT_OCID", emulator.compartment_id)
        monkeypatch.setenv("PROJECT_OCID", project_id)
        monkeypatch.setenv("OCI_ODSC_SERVICE_ENDPOINT", emulator.url)

        profile = find_profile("oci_default")

        assert (profile.auth, profile.project_id, profile.service_endpoint) == ("api_key", project_id, emulator.url)
        assert profile.key["user"] == emulator.config["user"]
        monkeypatch.setenv("OCI_CONFIG_PROFILE", "OTHER")
        with pytest.raises(SettingsError, match="no profile 'OTHER'"):
            find_profile("oci_default")

    def test_the_variable_of_airflows_connection_comes_first(self, monkeypatch, profile_fields):
        monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps({"conn_type": "oci", "extra": profile_fields}))
        assert find_profile("oci_default").project_id == profile_fields["project_id"]
        monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", "oci://x")
        with pytest.raises(SettingsError, match="AIRFLOW_CONN_OCI_DEFAULT is no JSON connection"):
            find_profile("oci_default")

    def test_the_connections_file_of_airflow_comes_next(self, monkeypatch, profile_fields, tmp_path):
        monkeypatch.delenv("AIRFLOW_CONN_OCI_DEFAULT", raising=False)
        monkeypatch.setenv("OCI_CONFIG_LOCATION", str(tmp_path / "none"))
        monkeypatch.delenv("OCI_RESOURCE_PRINCIPAL_VERSION", raising=False)
        file = tmp_path / "connections.json"
        monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps({"connections_file_path": str(file)}))
        with pytest.raises(SettingsError, match="There is nothing to sign requests to OCI with"):
            find_profile("oci_default")
        file.write_text(json.dumps({"oci_default": {"conn_type": "oci", "extra": profile_fields}}))

        assert find_profile("oci_default").project_id == profile_fields["project_id"]
        file.write_text(json.dumps({"oci_default": {"extra": {"region": "x"}}}))
        with pytest.raises(SettingsError, match=r"oci_default in .*connections\.json lacks compartment_id"):
            find_profile("oci_default")
        file.write_text("oci_default: yaml")
        with pytest.raises(SettingsError, match="is no JSON file of connections"):
            find_profile("oci_default")
        monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", "[]")
        with pytest.raises(SettingsError, match="AIRFLOW__SECRETS__BACKEND_KWARGS is no JSON object"):
            find_profile("oci_default")

    def test_what_a_config_file_lacks_is_not_to_be_added_in_airflow(self, monkeypatch, tmp_path):
        monkeypatch.delenv("AIRFLOW_CONN_OCI_DEFAULT", raising=False)
        (tmp_path / "config").write_text("[DEFAULT]\nregion=x\nuser=u\ntenancy=t\n")
        monkeypatch.setenv("OCI_CONFIG_LOCATION", str(tmp_path / "config"))
        monkeypatch.setenv("NB_SESSION_COMPARTMENT_OCID", "c")
        monkeypatch.setenv("PROJECT_OCID", "p")

        with pytest.raises(SettingsError, match=r"config with .* lacks fingerprint.*: add it there") as refused:
            find_profile("oci_default")
        assert "Airflow" not in str(refused.value)

    def test_a_resource_principal_or_an_error_that_says_what_to_set(self, monkeypatch, tmp_path):
        monkeypatch.delenv("AIRFLOW_CONN_OCI_DEFAULT", raising=False)
        monkeypatch.setenv("OCI_CONFIG_LOCATION", str(tmp_path / "none"))
        monkeypatch.delenv("OCI_RESOURCE_PRINCIPAL_VERSION", raising=False)
        with pytest.raises(SettingsError, match="Set AIRFLOW_CONN_OCI_DEFAULT"):
            find_profile("oci_default")
        for name, value in (("OCI_RESOURCE_PRINCIPAL_VERSION", "2.2"), ("PROJECT_OCID", "p")):
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PROJECT_COMPARTMENT_OCID", "c")
        assert find_profile("oci_default").auth == "resource_principal"


ORACLE = {"user_name": "ADMIN", "password": "x", "service_name": "shop_medium", "wallet_location": "/wallet"}


class TestConnectionParameters:
    @pytest.mark.parametrize("missing", ["user_name", "password", "service_name"])
    def test_a_missing_one_is_named(self, missing):
        with pytest.raises(SettingsError, match=rf"lacks {missing} \(Cell 3\)"):
            source_of_parameters({**ORACLE, missing: None})

    def test_an_unknown_one_is_named(self):
        with pytest.raises(SettingsError, match="has host"):
            source_of_parameters({**ORACLE, "host": "x"})

    def test_oracle_gets_the_wallet_and_one_date_format(self, monkeypatch):
        import oracledb

        statements = []

        class Connection:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

            def close(self):
                pass

            def cursor(self):
                return self

            def execute(self, statement):
                statements.append(statement)

        given = {}
        monkeypatch.setattr(oracledb, "connect", lambda **how: given.update(how) or Connection())

        source = source_of_parameters(ORACLE)

        assert source.name == "Oracle shop_medium"
        source._connect()
        assert (given["dsn"], given["config_dir"], given["wallet_location"]) == ("shop_medium", "/wallet", "/wallet")
        assert "NLS_SORT = BINARY" in statements[0]

    def test_a_url_leads_to_any_other_database(self, manager, tmp_path):
        rows = manager.extract_data({"url": f"sqlite:///{shop(tmp_path)}"})

        assert rows == {"interactions": 12, "users": 6, "items": 6}
