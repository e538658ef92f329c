"""Anyone who may write the Model Catalog may copy our tags: that takes no version's place and holds up nobody."""

from __future__ import annotations

from functools import partial

import artifacts
import pytest
from steps.factories import Run

from recdeploy_ops.artifacts.archives import zip_artifact
from recdeploy_ops.context import open_context
from recdeploy_ops.domain.errors import StorageError
from recdeploy_ops.domain.records import Decision, Shape
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.oci_clients import models
from recdeploy_ops.oci_clients.deployments import NewDeployment
from recdeploy_ops.oci_clients.models import NewModel
from recdeploy_ops.oci_clients.tags import DIGEST_TAG, LEDGER_TAG, VERSION_TAG, run_slug, version_number, version_tags
from recdeploy_ops.rollout.registry import highest_version
from recdeploy_ops.rollout.tagging import find_tagged_heads
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import adopt_production
from recdeploy_ops.storage.directories import DirectoryStore


def adopt(context, *, apply=True):
    own = context.of_run("adopt")
    return finish(own, partial(adopt_production.advance, own, deployment_id=None, apply=apply))


def register(context, folder, tags):
    """Register a model as somebody else."""
    model = context.catalog.create(NewModel("theirs", "", context.project, "v", tags, (), {}, "theirs"))
    artifacts.make_artifact(folder, version=int(tags[VERSION_TAG]))
    zip_artifact(folder, folder.parent / "theirs.zip")
    context.catalog.upload_artifact(model.model_id, folder.parent / "theirs.zip")
    return model.model_id


@pytest.mark.parametrize("digest", [None, "e" * 64], ids=["the same digest", "another digest"])
def test_a_model_with_copied_tags_is_not_previous_after_the_ledger_was_lost(
    context, two_versions, run, tmp_path, digest
):
    first = context.refresh().versions[1]
    tags = dict(context.catalog.get(first.model_id).tags)
    theirs = register(context, tmp_path / "theirs", tags | ({DIGEST_TAG: digest} if digest else {}))
    for stored in list(context.store.list("ledger/")):
        context.store.delete(stored.key)
    empty = open_context(context.settings, context.store, context.catalog._session, "test")

    adopt(empty)

    previous = empty.refresh().previous_champion
    assert (previous.version, previous.digest, previous.model_id) == (1, first.digest, first.model_id)
    assert previous.model_id != theirs
    assert Run(empty, "back", tmp_path).roll_back()["version"] == 1


def test_a_model_that_never_served_and_is_not_what_its_tags_say_does_not_hold_up_adoption(
    context, released, tmp_path, caplog
):
    released()
    register(
        context, tmp_path / "theirs", version_tags(context.project, run=run_slug("r"), version=50, digest="f" * 64)
    )

    adopt(context)

    assert context.refresh().versions[50].stage is Stage.REJECTED
    assert "v50 is not what its tags say" in caplog.text


def test_a_forged_head_of_the_ledger_is_shown_and_puts_no_ledger_aside(context, validated, two_versions):
    third = validated(3)
    third.ask()
    before = context.refresh()
    tags = version_tags(context.project, run=run_slug("r"), version=50, digest="") | {LEDGER_TAG: f"999:{'a' * 64}"}
    context.catalog.create(NewModel("theirs", "", context.project, "v", tags, (), {}, "theirs"))

    difference = adopt(context, apply=False)["difference"]

    assert [line for line in difference if "production does not say so" in line and "entry 999" in line]
    assert not [line for line in difference if "damaged" in line]
    assert any("entry 999" in fault for fault in audit(context.store, tagged_heads=find_tagged_heads(context)))
    assert context.refresh() == before


@pytest.mark.parametrize(
    ("number", "read"),
    [("7", 7), ("999999999", 999999999), ("9" * 250, None), ("0", None), ("\u0663", None), ("-1", None), ("", None)],
)
def test_only_a_number_that_a_release_would_get_is_read_from_a_tag(number, read):
    assert version_number({VERSION_TAG: number}) == read


def test_a_number_that_no_release_reaches_is_not_counted(context, released, tmp_path):
    released()
    tags = version_tags(context.project, run=run_slug("r"), version=10**12, digest="f" * 64)
    register(context, tmp_path / "theirs", tags)

    adopt(context)

    assert context.refresh().versions.keys() == {1}
    assert highest_version(context) == 1


def test_an_artifact_that_would_fill_the_disk_does_not_hold_up_adoption(
    context, released, tmp_path, caplog, monkeypatch
):
    released()
    theirs = register(
        context, tmp_path / "theirs", version_tags(context.project, run=run_slug("r"), version=50, digest="")
    )
    monkeypatch.setattr(models, "ARTIFACT_BYTES", 1000)

    adopt(context)

    assert context.refresh().versions[50].stage is Stage.REJECTED
    assert f"The artifact of the model {theirs} has over 1,000 bytes" in caplog.text


def test_an_artifact_that_storage_does_not_take_does_not_hold_up_adoption(
    context, released, tmp_path, caplog, monkeypatch
):
    released()
    register(context, tmp_path / "theirs", version_tags(context.project, run=run_slug("r"), version=50, digest=""))

    def refuse(store, key, path, sha256):
        raise StorageError(f"{key} is not a name that this storage takes.")

    monkeypatch.setattr(DirectoryStore, "upload", refuse)

    adopt(context)

    assert context.refresh().versions[50].stage is Stage.REJECTED
    assert "is not a name that this storage takes" in caplog.text


def test_an_ignored_deployment_is_not_production_although_it_serves_a_model_of_ours(
    context, validated, emulator, tmp_path
):
    first = validated(1)
    first.answer(Decision.REJECT)
    first.reject()
    first.close()
    model_id = context.refresh().versions[1].model_id
    shape = Shape("VM.Standard.E4.Flex", 1, 16, 1)
    demo = context.deployments.create(NewDeployment("a demo", "", model_id, shape, 10, {}, {}, {}, "demo"))
    emulator.wait_until_idle()
    release = context.settings.release.model_copy(update={"ignored_deployments": (demo,)})
    settings = context.settings.model_copy(update={"release": release})
    ignoring = open_context(settings, context.store, context.catalog._session, "test")

    Run(ignoring, "run-2", tmp_path, shift=1).plan()

    assert ignoring.refresh().releases["run-2"].is_open
    assert context.deployments.get(demo).tags == {}
