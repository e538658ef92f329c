"""The ledger lost, edited or out of step with OCI: what is noticed, and how it is rebuilt."""

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import oci
import pytest
from steps.factories import Run

from recdeploy_ops.artifacts.archives import zip_artifact
from recdeploy_ops.domain.errors import IntegrityError, LockHeldError, SettingsError, StateMismatchError, StorageError
from recdeploy_ops.domain.ledger import NO_ENTRY, Kind
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.ledger.ledger import ASIDE, SNAPSHOT, key_of
from recdeploy_ops.oci_clients.models import NewModel
from recdeploy_ops.releases import CURRENT, DIGEST_TAG, LEDGER_TAG, ROLE_TAG, STATE, Releases
from recdeploy_ops.rollout.waits import finish, is_settled
from recdeploy_ops.steps import adopt_production
from recdeploy_ops.storage.backups import list_backups


@pytest.fixture
def two_versions(run):
    run("run-1").release_fully()
    run("run-2", shift=1).release_fully()


@pytest.fixture
def reopened(releases):
    """The same storage and tenancy, read by a process that remembers nothing."""

    def reopen():
        return Releases(releases.settings, releases.store, releases.catalog._session, releases.now)

    return reopen


def adopt_all(releases, deployment_id=None, *, apply=True):
    return finish(
        releases, lambda: adopt_production.advance(releases, "adopt", deployment_id=deployment_id, apply=apply)
    )


def settle(releases, deployment):
    while not is_settled(releases, deployment.deployment_id):
        time.sleep(0.02)


def delete(releases, prefix):
    for found in list(releases.store.list(prefix)):
        releases.store.delete(found.key)


def untag(releases):
    production = releases.production()
    releases.deployments.tag(production, {})
    settle(releases, production)


def rechain(releases, change):
    """Edit an answer, and rehash everything after it, the snapshot included."""
    forged, previous = [], NO_ENTRY
    for entry in releases.ledger.entries():
        facts = change(dict(entry.facts)) if entry.kind is Kind.APPROVAL_ANSWERED else entry.facts
        forged.append(replace(entry, previous=previous, facts=facts))
        previous = forged[-1].sha256
        releases.store.replace(key_of(entry.seq), forged[-1].encode())
    releases.store.replace(SNAPSHOT, b"".join(entry.encode() for entry in forged))


def test_nothing_to_adopt_when_ledger_and_oci_agree(releases, two_versions):
    before = releases.ledger.entries()

    assert adopt_all(releases)["difference"] == []
    assert releases.ledger.entries() == before


def test_a_lost_snapshot_changes_nothing(releases, two_versions, reopened):
    book = releases.ledger.book()
    releases.store.delete(SNAPSHOT)

    assert reopened().ledger.book() == book


def test_a_lost_ledger_is_rebuilt_from_oci(releases, run, two_versions, reopened):
    book = releases.ledger.book()
    delete(releases, "ledger/")
    empty = reopened()
    shown = adopt_all(empty, apply=False)
    assert any(line.startswith("production: the ledger has nothing, OCI has v2") for line in shown["difference"])
    assert empty.ledger.entries() == ()

    adopt_all(empty)

    rebuilt = empty.ledger.book()
    assert rebuilt.production.version == 2
    assert rebuilt.production.digest == book.production.digest
    assert rebuilt.previous_champion.version == 1
    assert {n: v.stage for n, v in rebuilt.versions.items()} == {1: Stage.RETIRED, 2: Stage.CHAMPION}
    assert {n: v.artifact for n, v in rebuilt.versions.items()} == {n: v.artifact for n, v in book.versions.items()}
    assert empty.production().tags[LEDGER_TAG] == f"{rebuilt.seq}:{rebuilt.head}"

    run_again = Run(empty, "back", run("x").database.parent)
    assert run_again.roll_back()["version"] == 1
    run_again = Run(empty, "run-3", run("x").database.parent, shift=2)
    run_again.release_fully()
    assert empty.ledger.book().production.version == 3


def test_a_lost_ledger_does_not_take_the_results_of_another_try_for_a_versions_own(releases, run, reopened):
    one = run("run-1")
    one.plan()
    one.extract()
    prefixes = {}
    for one.shift in range(4):
        one.train()
        prefixes[releases.ledger.book().releases["run-1"].facts[Kind.MODEL_TRAINED]["prefix"]] = one.shift
    first, last = min(prefixes), max(prefixes)
    for run_id, prefix in (("run-1", first), ("run-2", last)):
        again = run(run_id, shift=prefixes[prefix])
        again.release_fully()
    results = {number: version.results for number, version in releases.ledger.book().versions.items()}
    assert results[1] == first
    delete(releases, "ledger/")
    empty = reopened()

    adopt_all(empty)

    assert {number: version.results for number, version in empty.ledger.book().versions.items()} == results


def test_a_change_by_hand_is_shown_and_then_taken_over(releases, run, two_versions):
    first = releases.ledger.book().versions[1]
    production = releases.production()
    releases.deployments.switch_model(production, first.model_id)
    settle(releases, production)
    with pytest.raises(StateMismatchError, match="changed product-recommender-production by hand"):
        run("run-3", shift=2).plan()

    adopt_all(releases)

    book = releases.ledger.book()
    assert (book.production.version, book.previous_champion.version) == (1, 2)
    run("run-3", shift=2).release_fully()
    assert releases.ledger.book().production.version == 3


def test_a_deployment_that_this_project_did_not_make_is_imported(releases, run, two_versions, reopened, caplog):
    """As if the guide's notebook had made it: no tags of ours anywhere."""
    production = releases.production()
    model_id = production.model_id
    client = releases.catalog._client
    client.update_model(model_id, oci.data_science.models.UpdateModelDetails(freeform_tags={}))
    releases.deployments.tag(production, {"team": "shop"})
    settle(releases, production)
    delete(releases, "ledger/")
    empty = reopened()

    adopt_all(empty, production.deployment_id)

    book = empty.ledger.book()
    assert book.production.deployment_id == production.deployment_id
    assert book.production.version == 2  # one above the highest in the catalog that carries our tags
    assert empty.production().tags["team"] == "shop"

    following = Run(empty, "run-3", run("x").database.parent, shift=2)
    following.release_fully()
    assert empty.ledger.book().production.version == 3
    following = Run(empty, "back", run("x").database.parent)
    with caplog.at_level(logging.INFO):
        assert following.roll_back()["version"] == 2
    assert "v2 can be brought back: fetched and compared, but not loaded in" in caplog.text


FOREIGN_SCORE = """
def load_model():
    return {}


def predict(data, model=None):
    return {"recommendations": []}
"""


@pytest.fixture
def imported(releases, run, reopened, tmp_path):
    """Production of another project, v1, imported, and then v2 of this one: files in folders, no manifest of ours."""
    folder = tmp_path / "foreign"
    (folder / "lib").mkdir(parents=True)
    (folder / "score.py").write_text(FOREIGN_SCORE)
    (folder / "lib" / "words.py").write_text("WORDS = ()\n")
    run("run-1").release_fully()
    runtime = releases.store.read(f"{releases.ledger.book().versions[1].artifact}/runtime.yaml")
    (folder / "runtime.yaml").write_bytes(runtime)
    zip_artifact(folder, tmp_path / "foreign.zip")
    model = NewModel("foreign", "", "others", "v1", {}, (), {}, "token")
    model_id = releases.catalog.create(model).model_id
    releases.catalog.upload_artifact(model_id, tmp_path / "foreign.zip")
    production = releases.production()
    releases.deployments.switch_model(production, model_id)
    settle(releases, production)
    adopt_all(releases, production.deployment_id)
    run("run-3", shift=2).release_fully()
    imported = releases.ledger.book().versions[2]
    assert (imported.digest, imported.model_id) == ("", model_id)
    return imported


@pytest.mark.parametrize("kept", ["where it was adopted", "in its backup"])
def test_an_imported_version_whose_model_is_gone_comes_from_storage(releases, run, imported, kept):
    releases.catalog._client.delete_model(imported.model_id)
    if kept == "in its backup":
        delete(releases, imported.artifact)

    assert run("back").roll_back()["version"] == 2
    restored = releases.ledger.book().versions[2].model_id
    assert restored == releases.production().model_id != imported.model_id
    assert set(releases.deployments.asker(releases.production(), timeout_seconds=10)({}).body) == {"recommendations"}


def test_an_imported_version_does_not_come_from_a_backup_that_the_ledger_does_not_know(releases, run, imported, caplog):
    releases.catalog._client.delete_model(imported.model_id)
    delete(releases, imported.artifact)
    [backup] = [found for found in list_backups(releases.store) if found["version"] == 2]
    manifest = f"{backup['prefix']}/manifest.json"
    releases.store.replace(manifest, releases.store.read(manifest) + b" ")

    with pytest.raises(StorageError, match="Rollback failed - backup not found"):
        run("back").roll_back()
    assert "it was changed; no entry of the ledger names it" in caplog.text


def test_adoption_waits_for_a_release_that_is_under_way(releases, run, two_versions):
    run("run-3", shift=2).plan()
    untag(releases)

    with pytest.raises(LockHeldError):
        adopt_all(releases)


def test_adoption_says_that_it_has_written_once_productions_tags_are_set(releases, two_versions, reopened):
    delete(releases, "ledger/")
    done = adopt_all(reopened())

    assert done["applied"] is True
    assert any(line.startswith("production: the ledger has nothing") for line in done["difference"])
    assert adopt_all(reopened(), apply=False) == {"difference": [], "applied": False}


def test_adoption_waits_for_a_change_that_somebody_is_making(emulator, releases, two_versions):
    emulator.set_timings(update=0.5)
    first = releases.ledger.book().versions[1]
    production = releases.production()
    releases.deployments.switch_model(production, first.model_id)
    assert releases.production().lifecycle_state == "UPDATING"

    adopt_all(releases)

    assert releases.ledger.book().production.version == 1


def test_adoption_does_not_wait_for_ever(emulator, releases, two_versions):
    emulator.set_timings(update=30)
    production = releases.production()
    releases.deployments.switch_model(production, releases.ledger.book().versions[1].model_id)
    releases.now = lambda: datetime.now(UTC) + timedelta(hours=2)

    with pytest.raises(StateMismatchError, match="is UPDATING"):
        adopt_all(releases)


def test_two_productions_must_be_told_apart(releases, run, two_versions):
    third = run("run-3", shift=2)
    third.validate()
    test = next(d for d in releases.deployments.all() if d.tags["recdeploy-role"] == "test")
    full = releases.deployments.get(test.deployment_id)
    releases.deployments.tag(full, {**full.tags, "recdeploy-role": "production"})
    settle(releases, full)

    with pytest.raises(SettingsError, match="2 deployments are tagged as production"):
        adopt_all(releases)


@pytest.mark.parametrize("ledger_is_there", [True, False])
def test_production_that_has_lost_its_tags_is_still_production(releases, run, two_versions, reopened, ledger_is_there):
    before = releases.production()
    untag(releases)
    if not ledger_is_there:
        delete(releases, "ledger/")
    again = reopened()

    adopt_all(again)

    assert again.ledger.book().production.deployment_id == before.deployment_id
    assert again.production().tags[ROLE_TAG] == "production"
    Run(again, "run-3", run("x").database.parent, shift=2).release_fully()
    assert [d.name for d in again.deployments.all() if d.lifecycle_state == "ACTIVE"] == [before.name]


def test_a_newer_model_with_the_number_but_another_digest_does_not_take_a_versions_place(
    emulator, releases, project_id, two_versions, reopened
):
    book = releases.ledger.book()
    tags = {**releases.models()[0].tags, DIGEST_TAG: "f" * 64}
    details = oci.data_science.models.CreateModelDetails(
        compartment_id=emulator.compartment_id, project_id=project_id, display_name="again", freeform_tags=tags
    )
    releases.catalog._client.create_model(details)

    assert adopt_all(releases, apply=False)["difference"] == []
    delete(releases, "ledger/")
    again = reopened()
    adopt_all(again)
    assert again.ledger.book().versions[2].model_id == book.versions[2].model_id
    assert again.ledger.book().production.digest == book.production.digest


def test_adopting_another_deployment_leaves_one_that_is_tagged_as_production(releases, run, two_versions):
    former = releases.production()
    run("run-3", shift=2).validate()
    [test] = [d for d in releases.deployments.all() if d.tags.get(ROLE_TAG) == "test" and d.lifecycle_state == "ACTIVE"]
    facts = {"outcome": "failed", "version": 3}
    releases.ledger.append(Kind.RELEASE_CLOSED, "run-3", facts, guard=lambda book: None)

    adopt_all(releases, test.deployment_id)

    tagged = {d.deployment_id: d.tags.get(ROLE_TAG) for d in releases.deployments.all()}
    assert (tagged[test.deployment_id], tagged[former.deployment_id]) == ("production", None)
    assert releases.ledger.book().production.version == 3
    assert adopt_all(releases, apply=False)["difference"] == []


@pytest.mark.parametrize("keeping_snapshot", [True, False])
def test_a_damaged_ledger_is_kept_aside_and_a_new_one_begun(releases, two_versions, reopened, keeping_snapshot):
    book = releases.ledger.book()
    content = releases.store.read(key_of(5)).replace(b"run-1", b"run-7")
    releases.store.replace(key_of(5), content)
    if not keeping_snapshot:
        releases.store.delete(SNAPSHOT)
    shown = adopt_all(reopened(), apply=False)
    assert any("the ledger is damaged: ledger/00000005.json was edited" in line for line in shown["difference"])
    assert releases.store.read(key_of(5)) == content

    adopt_all(reopened())

    again = reopened()
    assert audit(again.store, tagged_heads=again.tagged_heads()) == []
    assert again.ledger.book().production == replace(book.production, since=again.ledger.book().production.since)
    kept = [found.key.rpartition("/")[2] for found in releases.store.list(ASIDE)]
    assert f"{book.seq:08d}.json" in kept
    assert adopt_all(reopened(), apply=False)["difference"] == []
    with pytest.raises(IntegrityError):
        releases.ledger.book()  # a process that knew the former ledger does not go on with this one


def test_what_does_not_belong_into_the_ledgers_folder_is_moved_away(releases, two_versions, reopened):
    before = releases.ledger.entries()
    releases.store.create("ledger/notes.txt", b"x")
    releases.store.replace(SNAPSHOT, b"garbage")

    adopt_all(reopened())

    again = reopened()
    assert audit(again.store, tagged_heads=again.tagged_heads()) == []
    assert again.ledger.entries()[: len(before)] == before


def test_a_tail_cut_off_is_noticed_though_production_has_lost_its_tags(releases, two_versions, reopened):
    untag(releases)
    last = releases.ledger.book().seq
    for key in (key_of(last - 1), key_of(last), SNAPSHOT):
        releases.store.delete(key)

    again = reopened()
    assert any("the tail was cut off" in fault for fault in audit(again.store, tagged_heads=again.tagged_heads()))


def test_a_history_rewritten_while_a_release_is_open_is_noticed_by_its_candidates_tag(
    releases, run, two_versions, reopened
):
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.REJECT)
    releases.sign_head(releases.ledger.book().versions[3].model_id)
    assert audit(releases.store, tagged_heads=releases.tagged_heads()) == []

    rechain(releases, lambda facts: {**facts, "decision": "Promote"} if facts["version"] == 3 else facts)

    again = reopened()
    faults = audit(again.store, tagged_heads=again.tagged_heads())
    assert any("the model product-recommender-v3 names: the ledger was rewritten" in fault for fault in faults)


def test_a_head_that_the_catalog_refuses_does_not_hold_up_a_release(releases, two_versions, caplog):
    releases.sign_head("ocid1.datasciencemodel.oc1..gone")

    assert "does not name the ledger's head" in caplog.text


@pytest.mark.parametrize("key", [STATE, SNAPSHOT])
def test_a_folder_in_place_of_a_derived_file_does_not_hold_up_a_release(releases, run, tmp_path, caplog, key):
    (tmp_path / "storage" / key / "x").mkdir(parents=True)

    run("run-1").release_fully()

    assert releases.ledger.book().production.version == 1
    assert f"{key} is not up to date" in caplog.text


def test_a_folder_in_place_of_what_is_current_is_named_with_the_fix(releases, tmp_path):
    (tmp_path / "storage" / CURRENT / "x").mkdir(parents=True)

    with pytest.raises(StorageError, match=r"current/manifest.json, .* cannot be written. Move away what stands there"):
        releases.point_current(version=1, digest="d", artifact="a", results="r")


def test_what_is_current_must_be_json(releases):
    releases.store.replace(CURRENT, b"{")

    with pytest.raises(IntegrityError, match=r"current/manifest.json is no JSON: remove it"):
        releases.current()


def test_a_whole_ledger_has_no_faults(releases, two_versions):
    assert audit(releases.store, tagged_heads=releases.tagged_heads()) == []


def test_an_answer_rewritten_while_its_release_is_open_is_noticed(releases, run, two_versions):
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.REJECT)
    last = releases.ledger.entries()[-1]
    forged = replace(last, facts={**last.facts, "decision": "Promote"})
    releases.store.replace(key_of(last.seq), forged.encode())
    releases.store.delete(SNAPSHOT)

    faults = audit(releases.store, tagged_heads=releases.tagged_heads())
    assert any("the ledger was rewritten" in fault for fault in faults)


def test_a_tail_cut_off_after_a_rejection_is_noticed_though_production_was_left_alone(releases, run, two_versions):
    before = releases.production().tags
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.REJECT)
    third.reject()
    third.close()
    assert releases.production().tags == before
    for seq in range(releases.ledger.book().seq - 2, releases.ledger.book().seq + 1):
        releases.store.delete(key_of(seq))
    releases.store.delete(SNAPSHOT)

    faults = audit(releases.store, tagged_heads=releases.tagged_heads())
    assert faults
    assert all("the tail was cut off" in fault for fault in faults)


@pytest.mark.parametrize("keeping_snapshot", [True, False])
@pytest.mark.parametrize("damage", ["edit", "remove", "exchange", "cut", "cut all", "rewrite"])
def test_any_damage_to_the_ledger_is_noticed(releases, two_versions, damage, keeping_snapshot):
    store, last = releases.store, releases.ledger.book().seq
    heads = releases.tagged_heads()
    if not keeping_snapshot:
        store.delete(SNAPSHOT)
    if damage == "edit":
        store.replace(key_of(5), store.read(key_of(5)).replace(b"run-1", b"run-7"))
    elif damage == "remove":
        store.delete(key_of(5))
    elif damage == "exchange":
        five, six = store.read(key_of(5)), store.read(key_of(6))
        store.replace(key_of(5), six)
        store.replace(key_of(6), five)
    elif damage == "cut":
        store.delete(key_of(last))
    elif damage == "cut all":
        for seq in range(1, last + 1):
            store.delete(key_of(seq))
    else:
        content = store.read(key_of(last))
        store.replace(key_of(last), content.replace(b'"promoted"', b'"rejected"'))

    assert audit(store, tagged_heads=heads) != []
