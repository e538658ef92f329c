"""Deployments that this project did not make: they are imported as versions, and production can go back to them."""

import logging
import zipfile

import oci
import pytest
from steps.factories import (
    Run,
    adopt,
    answer_of,
    delete_model,
    delete_stored,
    lose_ledger,
    register_foreign,
)

from recdeploy_ops.domain.errors import (
    CloudUnavailableError,
    StorageError,
)
from recdeploy_ops.domain.events import RollbackRehearsed
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.storage.backups import list_backups

pytestmark = pytest.mark.more


def test_a_deployment_that_this_project_did_not_make_is_imported(context, two_versions, tag_by_hand, tmp_path, caplog):
    """As if the guide's notebook had made it: no tags of ours anywhere."""
    production = find_production(context)
    untagged = oci.data_science.models.UpdateModelDetails(freeform_tags={})
    context.catalog._client.update_model(production.model_id, untagged)
    tag_by_hand({"team": "shop"})
    empty = lose_ledger(context)

    adopt(empty, production.deployment_id)

    state = empty.ledger.read()
    assert state.production.deployment_id == production.deployment_id
    assert state.production.version == 2  # one above the highest in the catalog that carries our tags
    assert find_production(empty).tags["team"] == "shop"

    Run(empty, "run-3", tmp_path, shift=2).release_fully()
    assert empty.ledger.read().production.version == 3
    with caplog.at_level(logging.INFO):
        assert Run(empty, "back", tmp_path).roll_back()["version"] == 2
    done = "fetched, compared and tried on a test deployment, but not loaded in"
    assert f"Production can go back to v2: {done}" in caplog.text


FOREIGN_SCORE = """
def load_model():
    return {}


def predict(data, model=None):
    return {"recommendations": []}
"""
OWN_MANIFEST = '{"name": "a shop"}'


@pytest.fixture
def imported(context, released, run, emulator, tmp_path):
    """Production of another project, imported as v2, and then v3 of this one: with a manifest.json of its own."""
    released()
    folder = tmp_path / "foreign"
    (folder / "lib").mkdir(parents=True)
    (folder / "score.py").write_text(FOREIGN_SCORE)
    (folder / "manifest.json").write_text(OWN_MANIFEST)
    (folder / "lib" / "words.py").write_text("WORDS = ()\n")
    runtime = context.store.read(f"{context.ledger.read().versions[1].artifact}/runtime.yaml")
    (folder / "runtime.yaml").write_bytes(runtime)
    model_id = register_foreign(context, folder)
    production = find_production(context)
    context.deployments.switch_model(production, model_id)
    emulator.wait_until_idle()
    adopt(context, production.deployment_id)
    run("run-3", shift=2).release_fully()
    imported = context.ledger.read().versions[2]
    assert (imported.digest, imported.model_id) == ("", model_id)
    return imported


def test_an_imported_version_is_tried_on_a_test_deployment_deleted_before_the_switch(context, run, imported):
    back = run("back")
    back.rehearse_rollback()

    rehearsed = context.ledger.read().releases["back"].require(RollbackRehearsed)
    assert (rehearsed.version, rehearsed.digest, rehearsed.model_id) == (2, "", imported.model_id)
    assert context.deployments.get(rehearsed.deployment_id).lifecycle_state.is_deleted
    assert back.switch_back()["version"] == 2
    back.close()
    run("resume").resume()
    run("run-4", shift=3).release_fully()  # its backup probes production, as no worker loads that code
    assert context.ledger.read().releases["run-4"].require(RollbackRehearsed).deployment_id is None
    assert run("back-again").roll_back()["version"] == 2


def test_an_imported_champion_that_does_not_answer_is_probed_again_by_the_next_try(context, run, imported, emulator):
    run("back").roll_back()
    fourth = run("run-4", shift=3)
    fourth.plan()
    emulator.fail_next("Predict", status=503, times=1 + context.settings.probes.repeats)

    with pytest.raises(CloudUnavailableError, match="5 requests to"):
        fourth.back_up()
    fourth.back_up()


def read_registered(context, model_id, archive):
    """The files of a model's artifact in the catalog, by name."""
    context.catalog.download_artifact(model_id, archive)
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.mark.parametrize("left", ["the copy that adoption made", "its backup"])
def test_an_imported_version_whose_model_is_gone_comes_from_storage(context, run, imported, tmp_path, left):
    before = read_registered(context, imported.model_id, tmp_path / "before.zip")
    delete_model(context, 2)
    if left == "its backup":
        delete_stored(context, imported.artifact)

    assert run("back").roll_back()["version"] == 2
    restored = context.ledger.read().versions[2].model_id
    assert restored == find_production(context).model_id != imported.model_id
    assert read_registered(context, restored, tmp_path / "restored.zip") == before
    assert before["manifest.json"] == OWN_MANIFEST.encode()
    assert set(answer_of(context)) == {"recommendations"}


def test_an_imported_version_does_not_come_from_a_backup_that_the_ledger_does_not_know(context, run, imported, caplog):
    delete_model(context, 2)
    delete_stored(context, imported.artifact)
    [backup] = [backup for backup in list_backups(context.store) if backup["version"] == 2]
    manifest = f"{backup['prefix']}/manifest.json"
    context.store.replace(manifest, context.store.read(manifest) + b" ")
    [changed] = [backup for backup in list_backups(context.store) if backup["version"] == 2]

    with pytest.raises(StorageError, match="Rollback failed - backup not found"):
        run("back").roll_back()
    assert f"its digest is {changed['digest']}, the ledger says {backup['digest']}: it was changed" in caplog.text
