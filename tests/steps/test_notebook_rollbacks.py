"""Backups, rollbacks and repairs from a notebook."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from steps.cells import Cells
from steps.factories import delete_stored, living, switch_by_hand

from recdeploy_ops.deployment_manager import CellOrderError, print_backups
from recdeploy_ops.domain.errors import PromotionFailedError, SettingsError
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.steps import roll_back
from recdeploy_ops.storage.bundles import sha256_of


class TestRollingBack:
    def test_restores_the_local_folders_from_the_backup_or_from_the_built_artifact(self, manager, two_releases):
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

    def test_a_damaged_copy_is_not_used_and_without_a_whole_one_nothing_is_changed(self, manager, two_releases, caplog):
        [backup] = manager.list_backups()
        damaged = Path(backup["backup_path"], "recommender_model_artifact", "runtime.yaml")
        content = damaged.read_bytes()
        damaged.unlink()
        damaged.write_bytes(b"tampered")

        assert manager.rollback_artifacts(version=1) is True
        assert "cannot be used" in caplog.text
        assert (manager.artifact_dir / "runtime.yaml").read_bytes() == content

        manager.rollback_artifacts(version=2)
        delete_stored(manager.context, manager.context.ledger.read().versions[1].artifact)
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
        assert "the ledger has no such backup" in caplog.text
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
        Cells(manager, tmp_path, shift=2).release()

        def interrupted(context):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(roll_back, "advance", interrupted)
            with pytest.raises(KeyboardInterrupt):
                manager.roll_back_production(2)

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

    def test_restores_production_at_the_same_url(self, manager, two_releases):
        before = manager.context.ledger.read().production

        done = manager.roll_back_production(1, "it looks odd")

        state = manager.context.ledger.read()
        assert (done["version"], done["url"]) == (1, before.url)
        assert (state.production.version, state.holder) == (1, None)
        assert list(state.releases.values())[-1].outcome == "rolled back"

    def test_a_rollback_that_fails_leaves_the_champion_serving(self, manager, two_releases, emulator):
        emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity")

        with pytest.raises(PromotionFailedError, match=r"v2 serves at .*, verified"):
            manager.roll_back_production()

        state = manager.context.ledger.read()
        assert (state.production.version, state.holder) == (2, None)

    def test_a_rollback_preempts_a_release_that_waits_for_a_decision(self, manager, two_releases, tmp_path):
        third = Cells(manager, tmp_path, shift=2)
        third.until_test()
        manager.validate_test()

        assert manager.roll_back_production()["version"] == 1

        with pytest.raises(CellOrderError, match=r"closed \(pre-empted\)"):
            manager.promote_to_production(third.test.model_deployment_id)
        manager.cleanup_test_deployment()
        assert len(living(manager.context)) == 1


class TestAdoption:
    def test_an_existing_deployment_is_imported(self, manager, make_manager, cells):
        cells.release()
        production = find_production(manager.context)
        delete_stored(manager.context, "ledger/")
        again = make_manager()

        difference = again.import_existing_deployment(production.deployment_id)

        assert "if that ledger is elsewhere, correct the setting storage instead" in difference[0]
        assert difference[1].startswith("production: the ledger has nothing, OCI has v1")
        assert again.current_version == 1

    def test_the_state_is_repaired_after_a_change_by_hand(self, manager, emulator, two_releases):
        switch_by_hand(manager.context, emulator)

        assert manager.repair_production_state()[0].startswith("production: the ledger has v2")
        assert manager.current_version == 1
        assert manager.repair_production_state() == []


def test_a_backup_is_a_folder_as_in_the_guide(manager, cells, tmp_path, capsys):
    cells.release()
    second = Cells(manager, tmp_path, shift=1)
    second.prepare()

    assert isinstance(second.backup, Path)
    assert second.backup.parent == tmp_path / "storage" / "backups"
    assert second.backup.name.startswith("v1_")
    names = {path.name for path in second.backup.iterdir()}
    assert names == {"recommender_model_artifact", "results", "metadata.json", "manifest.json"}
    [backup] = manager.list_backups()
    assert (backup["version"], backup["backup_path"]) == (1, str(second.backup))
    assert backup["production_deployment"]["endpoint"] == manager.context.ledger.read().production.url

    assert print_backups([backup]) is None
    printed = capsys.readouterr().out
    assert "📌 Version 1" in printed
    assert str(second.backup) in printed
    print_backups([])
    assert "No backups found" in capsys.readouterr().out


def test_only_the_version_that_serves_can_be_backed_up(manager, cells):
    cells.release()

    with pytest.raises(SettingsError, match="v7 is not in production, v1 is"):
        manager.backup_current_artifacts(7)
    assert manager.context.ledger.read().holder is None


def test_a_backup_in_object_storage_is_copied_beside_the_artifact(make_manager, make_bucket, tmp_path):
    root = f"{make_bucket()}/recommender/backups"
    manager = make_manager(backup_root=root)
    Cells(manager, tmp_path).release()

    backup = manager.backup_current_artifacts(1)

    assert backup.parent == tmp_path / "home" / "backups"
    assert json.loads((backup / "metadata.json").read_text())["version"] == 1
    [listed] = manager.list_backups()
    assert listed["backup_path"] == f"{root}/{backup.name}"
    assert manager.rollback_artifacts(1) is True
