"""Stored files that were damaged or lost: what is still backed up or promoted, and what the errors say."""

import pytest
from steps.factories import damage, delete_stored, exchange

from recdeploy_ops.domain.errors import ApprovalError, IntegrityError
from recdeploy_ops.domain.events import ArtifactBuilt, DataExtracted, ModelTrained, ProductionBackedUp, SwitchStarted
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.rollout.current import read_current
from recdeploy_ops.steps import promote
from recdeploy_ops.storage.backups import list_backups
from recdeploy_ops.storage.bundles import open_bundle, verify_bundle


@pytest.fixture(params=["file", "oci"])
def settings(request, settings, make_bucket):
    """Settings whose storage root is a folder, where backups are links, or a bucket."""
    return settings if request.param == "file" else settings.model_copy(update={"storage": f"{make_bucket()}/x"})


@pytest.fixture
def champion(context, released):
    released()
    return context.ledger.read().versions[1]


@pytest.fixture
def second(champion, run):
    second = run("run-2", shift=1)
    second.plan()
    return second


def require_whole_backup(context):
    [backup] = list_backups(context.store)
    verify_bundle(context.store, open_bundle(context.store, backup["prefix"], made_by="backup_production"))
    recorded = context.ledger.read().releases["run-2"].require(ProductionBackedUp)
    assert (recorded.prefix, recorded.digest) == (backup["prefix"], backup["digest"])


@pytest.mark.parametrize("file", ["recommendations.sqlite", "manifest.json"])
def test_a_damaged_artifact_is_backed_up_from_the_catalog(context, champion, second, caplog, file):
    damage(context.store, f"{champion.artifact}/{file}")

    second.back_up()

    require_whole_backup(context)
    assert f"{champion.artifact}/{file}" in caplog.text


def test_an_artifact_that_is_gone_is_backed_up_from_the_catalog(context, champion, second):
    delete_stored(context, champion.artifact)

    second.back_up()

    require_whole_backup(context)


def test_an_artifact_of_which_no_copy_is_whole_is_named_and_leaves_no_backup(context, champion, second, emulator):
    key = f"{champion.artifact}/recommendations.sqlite"
    whole = context.store.read(key)
    damage(context.store, key)
    exchange(emulator, champion.model_id)

    with pytest.raises(
        IntegrityError, match=rf"{key} has the sha256(?s:.)*does not have it whole.*score\.py.*earlier backup"
    ):
        second.back_up()
    assert list_backups(context.store) == []

    damage(context.store, key, whole)
    with pytest.raises(IntegrityError, match=r"score\.py"):  # the rehearsal, which comes after the backup
        second.back_up()
    require_whole_backup(context)


@pytest.mark.parametrize("file", ["recommendations.csv", "manifest.json"])
def test_damaged_results_are_named_and_their_repair_lets_the_next_try_succeed(context, champion, second, file):
    key = f"{champion.results}/{file}"
    whole = context.store.read(key)
    damage(context.store, key, whole.replace(b"4", b"5"))

    with pytest.raises(IntegrityError, match=rf"{key}.*Restore that object.*clear this task"):
        second.back_up()
    assert list_backups(context.store) == []

    damage(context.store, key, whole)
    second.back_up()
    require_whole_backup(context)


def test_a_backup_that_an_earlier_try_did_not_finish_is_finished(context, champion, second):
    second.back_up()
    [backup] = list_backups(context.store)
    for name in ("manifest.json", "recommender_model_artifact/recommendations.sqlite", "metadata.json"):
        context.store.replace(f"{backup['prefix']}/{name}", b"half")

    second.back_up()

    require_whole_backup(context)


def test_a_wrong_copy_is_not_a_backup(context, champion, second, monkeypatch):
    def copy_wrongly(source, target):
        context.store.replace(target, b"wrong")
        return True

    with monkeypatch.context() as patched:
        patched.setattr(context.store, "copy", copy_wrongly)
        with pytest.raises(IntegrityError, match=r"backups/v1_.*has the sha256"):
            second.back_up()
    assert list_backups(context.store) == []

    second.back_up()
    require_whole_backup(context)


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        (DataExtracted, "interactions.parquet"),
        (ArtifactBuilt, "recommendations.sqlite"),
        (ModelTrained, "recommendations.csv"),
    ],
)
@pytest.mark.parametrize("gone", [False, pytest.param(True, marks=pytest.mark.more)], ids=["damaged", "deleted"])
def test_a_version_whose_files_were_damaged_after_the_approval_is_not_promoted(
    context, champion, second, kind, file, gone
):
    second.validate()
    second.answer(Decision.PROMOTE)
    key = f"{context.ledger.read().releases['run-2'].require(kind).prefix}/{file}"
    whole = context.store.read(key)
    if gone:
        context.store.delete(key)
    else:
        damage(context.store, key)

    with pytest.raises(ApprovalError, match=rf"^Refusing to promote v2(?s:.)*{key}.*clear this task"):
        second.promote()
    assert context.ledger.read().releases["run-2"].get(SwitchStarted) is None
    assert read_current(context.store)["version"] == 1

    context.store.replace(key, whole)
    assert second.promote()["version"] == 2


def test_a_switch_that_is_open_goes_on_though_a_file_was_damaged(context, champion, second):
    second.validate()
    second.answer(Decision.PROMOTE)
    promote.advance(second.context)  # requests the update, as a task does that is then killed
    results = context.ledger.read().releases["run-2"].require(ModelTrained).prefix
    damage(context.store, f"{results}/recommendations.csv")

    assert second.promote()["version"] == 2
