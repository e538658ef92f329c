"""Stored files that were damaged or lost: what is backed up or promoted all the same, and what is said."""

import oci
import pytest
from steps.factories import damage, exchange

from recdeploy_ops.domain.errors import ApprovalError, IntegrityError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.storage.backups import list_backups
from recdeploy_ops.storage.bundles import open_bundle, verify_bundle
from recdeploy_ops.storage.roots import open_store


@pytest.fixture(params=["file", "oci"])
def storage(request, releases, emulator):
    """The storage root of the releases: a folder, where backups are links, or a bucket."""
    if request.param == "oci":
        session = releases.catalog._session
        details = oci.object_storage.models.CreateBucketDetails(name="shop", compartment_id=emulator.compartment_id)
        session.object_storage.create_bucket(emulator.namespace, details)
        store = open_store(f"oci://shop@{emulator.namespace}/x", session)
        releases.store = releases.ledger._store = store
    return releases.store


@pytest.fixture
def champion(storage, releases, run):
    run("run-1").release_fully()
    return releases.ledger.book().versions[1]


@pytest.fixture
def second(champion, run):
    second = run("run-2", shift=1)
    second.plan()
    return second


def require_whole_backup(releases):
    [backup] = list_backups(releases.store)
    verify_bundle(releases.store, open_bundle(releases.store, backup["prefix"], made_by="backup_production"))
    recorded = releases.ledger.book().releases["run-2"].facts[Kind.PRODUCTION_BACKED_UP]
    assert (recorded["prefix"], recorded["digest"]) == (backup["prefix"], backup["digest"])


@pytest.mark.parametrize("file", ["recommendations.sqlite", "manifest.json"])
def test_a_damaged_artifact_is_backed_up_from_the_catalog(releases, champion, second, caplog, file):
    damage(releases.store, f"{champion.artifact}/{file}")

    second.back_up()

    require_whole_backup(releases)
    assert f"{champion.artifact}/{file}" in caplog.text


def test_an_artifact_that_is_gone_is_backed_up_from_the_catalog(releases, champion, second):
    for found in list(releases.store.list(champion.artifact)):
        releases.store.delete(found.key)

    second.back_up()

    require_whole_backup(releases)


def test_an_artifact_that_is_whole_nowhere_is_named_and_leaves_no_backup(releases, champion, second, emulator):
    key = f"{champion.artifact}/recommendations.sqlite"
    whole = releases.store.read(key)
    damage(releases.store, key)
    exchange(emulator, champion.model_id)

    with pytest.raises(IntegrityError, match=rf"{key} has the sha256(?s:.)*Nor is it whole.*score\.py.*earlier backup"):
        second.back_up()
    assert list_backups(releases.store) == []

    damage(releases.store, key, whole)
    with pytest.raises(IntegrityError, match=r"score\.py"):  # the rehearsal, which comes after the backup
        second.back_up()
    require_whole_backup(releases)


@pytest.mark.parametrize("file", ["recommendations.csv", "manifest.json"])
def test_damaged_results_are_named_and_their_repair_lets_the_next_try_succeed(releases, champion, second, file):
    key = f"{champion.results}/{file}"
    whole = releases.store.read(key)
    damage(releases.store, key, whole.replace(b"4", b"5"))

    with pytest.raises(IntegrityError, match=rf"{key}.*put that object back.*clear this task"):
        second.back_up()
    assert list_backups(releases.store) == []

    damage(releases.store, key, whole)
    second.back_up()
    require_whole_backup(releases)


def test_what_an_unfinished_try_left_does_not_stand_in_the_way(releases, champion, second):
    second.back_up()
    [backup] = list_backups(releases.store)
    for name in ("manifest.json", "recommender_model_artifact/recommendations.sqlite", "metadata.json"):
        releases.store.replace(f"{backup['prefix']}/{name}", b"half")

    second.back_up()

    require_whole_backup(releases)


def test_a_copy_that_came_out_wrong_is_no_backup(releases, champion, second, monkeypatch):
    def copy_wrongly(source, target):
        releases.store.replace(target, b"wrong")
        return True

    with monkeypatch.context() as patched:
        patched.setattr(releases.store, "copy", copy_wrongly)
        with pytest.raises(IntegrityError, match=r"backups/v1_.*has the sha256"):
            second.back_up()
    assert list_backups(releases.store) == []

    second.back_up()
    require_whole_backup(releases)


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        (Kind.DATA_EXTRACTED, "interactions.parquet"),
        (Kind.ARTIFACT_BUILT, "recommendations.sqlite"),
        (Kind.MODEL_TRAINED, "recommendations.csv"),
    ],
)
@pytest.mark.parametrize("gone", [False, True])
def test_what_was_damaged_after_the_approval_is_not_promoted(releases, run, champion, second, kind, file, gone):
    second.validate()
    second.answer(Decision.PROMOTE)
    key = f"{releases.ledger.book().releases['run-2'].facts[kind]['prefix']}/{file}"
    whole = releases.store.read(key)
    if gone:
        releases.store.delete(key)
    else:
        damage(releases.store, key)

    with pytest.raises(ApprovalError, match=rf"v2 is not promoted(?s:.)*{key}.*clear this task"):
        second.promote()
    assert releases.ledger.book().releases["run-2"].get(Kind.PROMOTION_STARTED) is None
    assert releases.current()["version"] == 1

    releases.store.replace(key, whole)
    assert second.promote()["version"] == 2


def test_a_switch_that_is_open_goes_on_whatever_became_of_the_files(releases, champion, second):
    from recdeploy_ops.steps import promote

    second.validate()
    second.answer(Decision.PROMOTE)
    promote.advance(releases, "run-2")  # asks OCI, as a task does that is then killed
    results = releases.ledger.book().releases["run-2"].facts[Kind.MODEL_TRAINED]["prefix"]
    damage(releases.store, f"{results}/recommendations.csv")

    assert second.promote()["version"] == 2
