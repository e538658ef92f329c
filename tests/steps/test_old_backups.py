"""Backups of another manager: shown as not verified, restored, and a target of a rollback by number."""

from __future__ import annotations

import shutil

import pytest
from steps.factories import adopt, answer_of, damage, delete_model, find_faults, lose_ledger, reopen
from steps.old_shops import OldShop

from recdeploy_ops import __main__ as terminal
from recdeploy_ops.deployment_manager import print_backups
from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.storage.backups import list_unverified
from recdeploy_ops.storage.keys import SNAPSHOT, entry_key

pytestmark = pytest.mark.more

FOLDER = "backups/v1_20261120_180119"


def test_a_backup_without_a_manifest_is_listed_as_not_verified(manager, old_shop, run, capsys, monkeypatch):
    production = old_shop.make()
    old_shop.put("v8_notes.txt", b"not a folder")
    monkeypatch.setenv("RECDEPLOY_SETTINGS", str(manager.settings.folder / "recommender.yaml"))

    [backup] = manager.list_backups()

    assert (backup["version"], backup["timestamp"], backup["files"]) == (1, "20261120_180119", 5)
    assert (backup["is_verified"], backup["digest"]) == (False, "")
    assert backup["production_deployment"]["deployment_id"] == production
    assert backup["backup_path"].endswith(f"/storage/{FOLDER}")
    print_backups([backup])
    printed = capsys.readouterr().out
    assert "📌 Version 1 (20261120_180119)" in printed
    assert "Files: 5, not verified: made by another manager" in printed
    assert terminal.main(["backups"]) == 0
    assert capsys.readouterr().out == f"v1       5 files  {FOLDER}  not verified: made by another manager\n"

    adopt(manager.context, production)
    run("run-1").release_fully()
    assert [(b["version"], b["is_verified"]) for b in manager.list_backups()] == [(1, False), (2, True)]


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{"])
def test_metadata_that_cannot_be_read_does_not_hide_a_backup(manager, old_shop, content, capsys):
    old_shop.make()
    old_shop.put("v1_20261120_180119/metadata.json", content)

    print_backups(manager.list_backups())
    assert "Production Model: not known" in capsys.readouterr().out


def test_what_a_killed_run_of_this_project_left_is_not_a_backup(context, run, released):
    released()
    second = run("run-2", shift=1)
    second.plan()
    second.back_up()
    [backup] = [key for key in context.store.list("backups/") if key.key.count("/") == 2 and "manifest" in key.key]
    context.store.delete(backup.key)

    assert list_unverified(context.store, context.refresh() and context.history()) == []


def test_its_files_are_restored_as_they_are(manager, old_shop, caplog):
    old_shop.make()

    assert manager.rollback_artifacts(version=1) is True

    assert (manager.artifact_dir / "score.py").read_text() == (old_shop.folder / "v1" / "score.py").read_text()
    assert (manager.results_dir / "recommendations.csv").is_file()
    assert f"{FOLDER} was made by another manager" in caplog.text
    assert manager.rollback_artifacts(version=1) is True  # the folders may be replaced again
    assert manager.rollback_artifacts(version=4) is False


def test_a_verified_backup_is_preferred_and_an_own_version_never_comes_from_another(manager, old_shop, run, context):
    production = old_shop.make()
    adopt(context, production)
    run("run-1").release_fully()  # backs v2 up
    old_shop.back_up(2, 28)
    old_shop.back_up(3, 28)

    assert manager.rollback_artifacts(2)
    assert "recommendations.csv" not in {path.name for path in manager.results_dir.iterdir()}
    assert manager.rollback_artifacts(3)
    assert (manager.artifact_dir / "recommendations.sqlite").is_file()


def test_a_damaged_name_in_a_backup_is_refused(manager, old_shop, caplog):
    old_shop.make()
    old_shop.put("v1_20261120_180119/recommender_model_artifact/manifest.json.adopted", b"{}")

    assert manager.rollback_artifacts(version=1) is False
    assert "has files with names that cannot be used: 'manifest.json.adopted'" in caplog.text


def without_its_model(shop):
    shop.context.catalog._client.delete_model(shop.models[1])


def without_metadata(shop):
    shop.put("v1_20261120_180119/metadata.json", b"")


def of_which_only_the_catalog_has_files(shop):
    """The model in the catalog is what served."""
    shop.put("v1_20261120_180119/recommender_model_artifact/score.py", b"raise SystemExit\n")


def with_a_manifest_of_their_own(shop):
    without_metadata(shop)
    shop.put("v1_20261120_180119/recommender_model_artifact/manifest.json", b'{"name": "a shop"}')
    shop.put("v1_20261120_180119/recommender_model_artifact/__pycache__/score.pyc", b"compiled")


@pytest.mark.parametrize(
    "change",
    [
        lambda shop: None,
        without_its_model,
        without_metadata,
        of_which_only_the_catalog_has_files,
        with_a_manifest_of_their_own,
    ],
)
def test_production_goes_to_it_by_its_number_and_comes_back(context, old_shop, run, change):
    production = old_shop.make()
    change(old_shop)
    shown = adopt(context, production, apply=False)["difference"]
    assert any(f"{FOLDER} is a backup of another manager" in line for line in shown)

    adopt(context, production)

    state = context.ledger.read()
    assert (state.versions[1].stage, state.versions[1].unverified_backup) == (Stage.RETIRED, FOLDER)
    assert adopt(context)["difference"] == shown  # of this run's own record; nothing new
    assert run("back").roll_back(1)["version"] == 1
    assert "model_version" not in answer_of(context)
    assert [row["product_id"] for row in answer_of(context)["recommendations"]][:1] == ["p-2"]
    assert context.ledger.read().versions[1].unverified_backup == ""
    assert run("forward").roll_back(2)["version"] == 2
    assert run("again").roll_back()["version"] == 1  # it was verified
    assert find_faults(context) == []


def test_previous_never_goes_to_it(context, old_shop, run):
    adopt(context, old_shop.make())

    with pytest.raises(SettingsError, match=r"Only backups of another manager say that v1 did.*name one by its number"):
        run("back").roll_back()


def test_the_question_of_a_rollback_says_so(context, old_shop, run):
    adopt(context, old_shop.make())
    back = run("back")
    back.rehearse_rollback(1, require_approval=True)

    body = back.ask_rollback().body.replace("\\", "")
    assert f"Only {FOLDER}, a backup of another manager, says that v1 ever served." in body


def test_a_backup_without_an_artifact_is_not_a_version(context, old_shop):
    production = old_shop.make()
    context.store.delete(f"{FOLDER}/recommender_model_artifact/score.py")

    adopt(context, production)

    assert set(context.ledger.read().versions) == {2}


def test_a_version_whose_folder_and_model_are_gone_stays_where_it_was_adopted(context, old_shop, run):
    adopt(context, old_shop.make())
    delete_model(context, 1)
    shutil.rmtree(old_shop.context.store._path(FOLDER))

    assert run("back").roll_back(1)["version"] == 1


def test_backups_are_found_again_after_the_ledger_was_lost(context, old_shop, run):
    adopt(context, old_shop.make())
    run("run-1").release_fully()

    empty = lose_ledger(reopen(context))
    adopt(empty)

    versions = empty.ledger.read().versions
    assert versions[1].unverified_backup == FOLDER
    assert versions[3].stage is Stage.CHAMPION


def test_a_damaged_ledger_hides_no_backup_and_is_rebuilt_with_them(
    context, manager, old_shop, run, capsys, monkeypatch
):
    adopt(context, old_shop.make())
    run("run-1").release_fully()
    monkeypatch.setenv("RECDEPLOY_SETTINGS", str(manager.settings.folder / "recommender.yaml"))
    for key in (SNAPSHOT, entry_key(3)):
        damage(context.store, key)

    assert [backup["version"] for backup in manager.list_backups()] == [1, 2]
    assert terminal.main(["backups"]) == 0
    assert FOLDER in capsys.readouterr().out
    again = reopen(context)
    adopt(again)

    assert again.ledger.read().versions[1].unverified_backup == FOLDER


def test_backups_in_a_bucket_are_restored_and_imported_too(make_manager, make_bucket, emulator, tmp_path):
    manager = make_manager(backup_root=f"{make_bucket()}/recommender/backups")
    shop = OldShop(manager.context, emulator, tmp_path)
    production = shop.make()
    shop.put("v1_20261120_180119/recommender_model_artifact/../../../escaped", b"x")

    assert manager.rollback_artifacts(1) is False  # an object's name may lead out of the folder
    manager.context.store.delete("backups/v1_20261120_180119/recommender_model_artifact/../../../escaped")
    assert manager.rollback_artifacts(1) is True
    manager.import_existing_deployment(production)
    assert manager.current_version == 2
    assert manager.roll_back_production(1)["version"] == 1
