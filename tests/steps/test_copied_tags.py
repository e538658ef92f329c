"""Anyone with access to the Model Catalog can copy our tags: that replaces no version and blocks no release."""

from __future__ import annotations

import artifacts
import pytest
from steps.factories import (
    Run,
    adopt,
    deploy_foreign,
    find_faults,
    lose_ledger,
    register_foreign,
    with_ignored,
)

from recdeploy_ops.domain.errors import StorageError
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.oci_clients import models
from recdeploy_ops.oci_clients.models import NewModel
from recdeploy_ops.oci_clients.tags import (
    DIGEST_TAG,
    LEDGER_TAG,
    SERVED_TAG,
    VERSION_TAG,
    run_slug,
    version_number,
    version_tags,
)
from recdeploy_ops.rollout.registry import highest_version
from recdeploy_ops.storage.directories import DirectoryStore


@pytest.fixture
def register(context, tmp_path):
    """Registers an artifact with tags of this project, as another team can; returns the model's OCID."""

    def register(tags):
        folder = artifacts.make_artifact(tmp_path / "theirs", version=int(tags[VERSION_TAG]))
        return register_foreign(context, folder, version_set=context.project, tags=tags)

    return register


def tags_of(context, version, digest=""):
    return version_tags(context.project, run=run_slug("r"), version=version, digest=digest)


@pytest.mark.parametrize("digest", [None, "e" * 64], ids=["the same digest", "another digest"])
def test_a_model_with_copied_tags_is_not_previous_after_the_ledger_was_lost(
    context, two_versions, register, tmp_path, digest
):
    first = context.refresh().versions[1]
    tags = dict(context.catalog.get(first.model_id).tags)
    theirs = register(tags | ({DIGEST_TAG: digest} if digest else {}))
    empty = lose_ledger(context)

    adopt(empty)

    previous = empty.refresh().previous_champion
    assert (previous.version, previous.digest, previous.model_id) == (1, first.digest, first.model_id)
    assert previous.model_id != theirs
    assert Run(empty, "back", tmp_path).roll_back()["version"] == 1


def test_a_forged_head_of_the_ledger_is_shown_and_the_ledger_stays(context, validated):
    third = validated(3)
    third.ask()
    before = context.refresh()
    tags = tags_of(context, 50) | {LEDGER_TAG: f"999:{'a' * 64}"}
    context.catalog.create(NewModel("theirs", "", context.project, "v", tags, (), {}, "theirs"))

    difference = adopt(context, apply=False)["difference"]

    assert [line for line in difference if "production does not say so" in line and "entry 999" in line]
    assert not [line for line in difference if "damaged" in line]
    assert any("entry 999" in fault for fault in find_faults(context))
    assert context.refresh() == before


@pytest.mark.parametrize(
    ("number", "read"),
    [("7", 7), ("999999999", 999999999), ("9" * 250, None), ("0", None), ("\u0663", None), ("-1", None), ("", None)],
)
def test_only_a_number_that_a_release_would_get_is_read_from_a_tag(number, read):
    assert version_number({VERSION_TAG: number}) == read


def test_a_number_that_no_release_reaches_is_not_counted(context, released, register):
    released()
    register(tags_of(context, 10**12, "f" * 64))

    adopt(context)

    assert context.refresh().versions.keys() == {1}
    assert highest_version(context) == 1


OTHER_DIGEST = {DIGEST_TAG: "f" * 64}
UNUSABLE = {
    "it has another digest than its tag says": (OTHER_DIGEST, None, "v50 is not what its tags say"),
    "the same, of one that is tagged as served": (
        OTHER_DIGEST | {SERVED_TAG: "2099-01-01T00:00:00+00:00"},
        None,
        "v50 is not what its tags say",
    ),
    "it would fill the disk": (
        {},
        lambda patch: patch.setattr(models, "MAX_ARTIFACT_BYTES", 1000),
        "The artifact of the model {theirs} has over 1,000 bytes",
    ),
}


@pytest.mark.parametrize(("tags", "harm", "says"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_artifact_that_cannot_be_used_is_rejected_and_does_not_hold_up_adoption(
    context, released, register, caplog, monkeypatch, tags, harm, says
):
    released()
    theirs = register(tags_of(context, 50) | tags)
    if harm:
        harm(monkeypatch)

    adopt(context)

    assert context.refresh().versions[50].stage is Stage.REJECTED
    assert says.format(theirs=theirs) in caplog.text
    assert adopt(context, apply=False)["difference"] == []


def test_an_artifact_that_storage_refuses_stays_in_the_catalog_and_does_not_hold_up_adoption(
    context, released, register, caplog, monkeypatch
):
    released()
    register(tags_of(context, 50) | {SERVED_TAG: "2099-01-01T00:00:00+00:00"})

    def refuse(store, key, path, sha256):
        raise StorageError("No space left on device")

    monkeypatch.setattr(DirectoryStore, "upload", refuse)
    adopt(context)

    assert context.refresh().versions[50].stage is Stage.RETIRED
    assert "The artifact of v50 is in the catalog alone: it cannot be stored: No space left" in caplog.text


def test_an_ignored_deployment_is_not_production_although_it_serves_a_model_of_ours(
    context, validated, emulator, tmp_path
):
    validated(1).reject_fully()
    demo = deploy_foreign(context, emulator, context.refresh().versions[1].model_id)
    ignoring = with_ignored(context, demo)

    Run(ignoring, "run-2", tmp_path, shift=1).plan()

    assert ignoring.refresh().releases["run-2"].is_open
    assert context.deployments.get(demo).tags == {}
