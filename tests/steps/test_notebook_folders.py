"""The notebook's local folders: those that are never replaced, and files that do not prevent a replacement."""

from __future__ import annotations

import shutil

import pytest

from recdeploy_ops.domain.errors import SettingsError


class TestFoldersWithOtherFiles:
    @pytest.mark.parametrize("held", ["nothing of ours", "more than ours"])
    def test_are_never_replaced(self, manager, cells, held):
        cells.until_trained()
        thesis = manager.results_dir / "thesis.docx"
        if held == "nothing of ours":
            shutil.rmtree(manager.results_dir)
            manager.results_dir.mkdir()
        thesis.write_text("years of work")
        before = {path.name: path.read_bytes() for path in manager.results_dir.iterdir()}

        for cell in (manager.train_model, lambda: manager.rollback_artifacts(1)):
            with pytest.raises(SettingsError, match=r"contains thesis\.docx, which recdeploy .*another artifact_dir"):
                cell()
        assert {path.name: path.read_bytes() for path in manager.results_dir.iterdir()} == before

    def test_are_not_replaced_with_a_manifest_of_something_else_either(self, manager, cells):
        cells.until_trained()
        (manager.artifact_dir / "manifest.json").write_text('{"name": "an extension of a browser"}')

        with pytest.raises(SettingsError, match=r"artifact contains README\.md and 5 more"):
            manager.build_artifact()
        assert (manager.artifact_dir / "manifest.json").is_file()

    def test_files_of_python_and_ads_in_an_artifact_do_not_prevent_its_replacement(self, manager, cells):
        cells.until_trained()
        (manager.artifact_dir / "__pycache__").mkdir()
        (manager.artifact_dir / "__pycache__" / "score.cpython-312.pyc").touch()
        (manager.artifact_dir / ".model-ignore").touch()

        assert manager.build_artifact() == manager.artifact_dir
        assert not (manager.artifact_dir / ".model-ignore").exists()

    @pytest.mark.parametrize("place", [".", "..", "~", "/"])
    def test_a_folder_that_a_person_may_work_in_is_not_replaced(self, make_manager, place, monkeypatch, tmp_path):
        (tmp_path / "home" / "work").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "home" / "work")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        manager = make_manager(results_dir=place)

        with pytest.raises(SettingsError, match="which is not replaced"):
            manager.train_model()
        assert (tmp_path / "home" / "work").is_dir()

    def test_a_file_in_place_of_the_folder_is_refused(self, manager):
        manager.results_dir.parent.mkdir()
        manager.results_dir.touch()

        with pytest.raises(SettingsError, match="is a file, not a folder"):
            manager.train_model()

    def test_a_link_leads_to_the_folder_that_is_replaced(self, manager, cells, tmp_path):
        elsewhere = tmp_path / "large disk"
        elsewhere.mkdir()
        manager.artifact_dir.parent.mkdir()
        manager.artifact_dir.symlink_to(elsewhere)
        cells.until_trained()

        assert manager.artifact_dir.is_symlink()
        assert (elsewhere / "score.py").is_file()
