"""The ledger lost, edited or out of step with OCI: what is noticed, and how it is rebuilt."""

import logging
import time
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import oci
import pytest
from steps.factories import Run

from recdeploy_ops.artifacts.archives import zip_artifact
from recdeploy_ops.context import open_context
from recdeploy_ops.domain.errors import (
    CloudUnavailableError,
    IntegrityError,
    LockHeldError,
    SettingsError,
    StateMismatchError,
    StorageError,
)
from recdeploy_ops.domain.events import ApprovalAnswered, ModelTrained, ReleaseClosed, ReleaseOutcome, RollbackRehearsed
from recdeploy_ops.domain.ledger_state import NO_ENTRY
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.versions import Version
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.oci_clients.models import NewModel
from recdeploy_ops.oci_clients.tags import DIGEST_TAG, LEDGER_TAG, ROLE_TAG
from recdeploy_ops.rollout.current import make_current, read_current
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.rollout.tagging import find_tagged_heads, tag_with_head
from recdeploy_ops.rollout.waits import finish, is_finished
from recdeploy_ops.steps import adopt_production
from recdeploy_ops.storage.backups import list_backups
from recdeploy_ops.storage.keys import CURRENT, LEDGER_ASIDE, SNAPSHOT, STATE_FILE, entry_key


@pytest.fixture
def reopened(context):
    """The same storage and tenancy, read by a process that remembers nothing."""

    def reopen():
        return open_context(context.settings, context.store, context.catalog._session, "test", context.now)

    return reopen


def adopt_all(context, deployment_id=None, *, apply=True):
    return finish(
        context, lambda: adopt_production.advance(context.of_run("adopt"), deployment_id=deployment_id, apply=apply)
    )


def wait_until_finished(context, deployment):
    while not is_finished(context.deployments, deployment.deployment_id):
        time.sleep(0.02)


def delete(context, prefix):
    for found in list(context.store.list(prefix)):
        context.store.delete(found.key)


def untag(context):
    production = find_production(context)
    context.deployments.tag(production, {})
    wait_until_finished(context, production)


def rechain(context, change):
    """Edit the answers, and rehash everything after them, the snapshot included."""
    forged, previous = [], NO_ENTRY
    for entry in context.ledger.entries():
        event = change(entry.event) if isinstance(entry.event, ApprovalAnswered) else entry.event
        forged.append(replace(entry, previous=previous, event=event))
        previous = forged[-1].sha256
        context.store.replace(entry_key(entry.seq), forged[-1].encode())
    context.store.replace(SNAPSHOT, b"".join(entry.encode() for entry in forged))


def test_nothing_to_adopt_when_ledger_and_oci_agree(context, two_versions):
    before = context.ledger.entries()

    assert adopt_all(context)["difference"] == []
    assert context.ledger.entries() == before


def test_a_lost_snapshot_changes_nothing(context, two_versions, reopened):
    state = context.ledger.read()
    context.store.delete(SNAPSHOT)

    assert reopened().ledger.read() == state


def test_a_lost_ledger_is_rebuilt_from_oci(context, run, two_versions, reopened):
    state = context.ledger.read()
    delete(context, "ledger/")
    empty = reopened()
    shown = adopt_all(empty, apply=False)
    assert any(line.startswith("production: the ledger has nothing, OCI has v2") for line in shown["difference"])
    assert empty.ledger.entries() == ()

    adopt_all(empty)

    rebuilt = empty.ledger.read()
    assert rebuilt.production.version == 2
    assert rebuilt.production.digest == state.production.digest
    assert rebuilt.previous_champion.version == 1
    assert {n: v.stage for n, v in rebuilt.versions.items()} == {1: Stage.RETIRED, 2: Stage.CHAMPION}
    assert {n: v.artifact for n, v in rebuilt.versions.items()} == {n: v.artifact for n, v in state.versions.items()}
    assert find_production(empty).tags[LEDGER_TAG] == f"{rebuilt.seq}:{rebuilt.head}"

    run_again = Run(empty, "back", run("x").database.parent)
    assert run_again.roll_back()["version"] == 1
    run_again = Run(empty, "run-3", run("x").database.parent, shift=2)
    run_again.release_fully()
    assert empty.ledger.read().production.version == 3


def test_a_lost_ledger_does_not_take_the_results_of_another_try_for_a_versions_own(context, run, reopened):
    one = run("run-1")
    one.plan()
    one.extract()
    prefixes = {}
    for one.shift in range(4):
        one.train()
        prefixes[context.ledger.read().releases["run-1"].require(ModelTrained).prefix] = one.shift
    first, last = min(prefixes), max(prefixes)
    for run_id, prefix in (("run-1", first), ("run-2", last)):
        again = run(run_id, shift=prefixes[prefix])
        again.release_fully()
    results = {number: version.results for number, version in context.ledger.read().versions.items()}
    assert results[1] == first
    delete(context, "ledger/")
    empty = reopened()

    adopt_all(empty)

    assert {number: version.results for number, version in empty.ledger.read().versions.items()} == results


def test_a_change_by_hand_is_shown_and_then_taken_over(context, run, two_versions):
    first = context.ledger.read().versions[1]
    production = find_production(context)
    context.deployments.switch_model(production, first.model_id)
    wait_until_finished(context, production)
    with pytest.raises(StateMismatchError, match="changed product-recommender-production by hand"):
        run("run-3", shift=2).plan()

    adopt_all(context)

    state = context.ledger.read()
    assert (state.production.version, state.previous_champion.version) == (1, 2)
    run("run-3", shift=2).release_fully()
    assert context.ledger.read().production.version == 3


def test_a_deployment_that_this_project_did_not_make_is_imported(context, run, two_versions, reopened, caplog):
    """As if the guide's notebook had made it: no tags of ours anywhere."""
    production = find_production(context)
    model_id = production.model_id
    client = context.catalog._client
    client.update_model(model_id, oci.data_science.models.UpdateModelDetails(freeform_tags={}))
    context.deployments.tag(production, {"team": "shop"})
    wait_until_finished(context, production)
    delete(context, "ledger/")
    empty = reopened()

    adopt_all(empty, production.deployment_id)

    state = empty.ledger.read()
    assert state.production.deployment_id == production.deployment_id
    assert state.production.version == 2  # one above the highest in the catalog that carries our tags
    assert find_production(empty).tags["team"] == "shop"

    following = Run(empty, "run-3", run("x").database.parent, shift=2)
    following.release_fully()
    assert empty.ledger.read().production.version == 3
    following = Run(empty, "back", run("x").database.parent)
    with caplog.at_level(logging.INFO):
        assert following.roll_back()["version"] == 2
    done = "fetched, compared and tried on a test deployment, but not loaded in"
    assert f"Production could go back to v2: {done}" in caplog.text


FOREIGN_SCORE = """
def load_model():
    return {}


def predict(data, model=None):
    return {"recommendations": []}
"""
OWN_MANIFEST = '{"name": "a shop"}'


@pytest.fixture
def imported(context, run, reopened, tmp_path):
    """Production of another project, imported as v2, and then v3 of this one: with a manifest.json of its own."""
    folder = tmp_path / "foreign"
    (folder / "lib").mkdir(parents=True)
    (folder / "score.py").write_text(FOREIGN_SCORE)
    (folder / "manifest.json").write_text(OWN_MANIFEST)
    (folder / "lib" / "words.py").write_text("WORDS = ()\n")
    run("run-1").release_fully()
    runtime = context.store.read(f"{context.ledger.read().versions[1].artifact}/runtime.yaml")
    (folder / "runtime.yaml").write_bytes(runtime)
    zip_artifact(folder, tmp_path / "foreign.zip")
    model = NewModel("foreign", "", "others", "v1", {}, (), {}, "token")
    model_id = context.catalog.create(model).model_id
    context.catalog.upload_artifact(model_id, tmp_path / "foreign.zip")
    production = find_production(context)
    context.deployments.switch_model(production, model_id)
    wait_until_finished(context, production)
    adopt_all(context, production.deployment_id)
    run("run-3", shift=2).release_fully()
    imported = context.ledger.read().versions[2]
    assert (imported.digest, imported.model_id) == ("", model_id)
    return imported


def test_an_imported_version_is_tried_on_a_test_deployment_which_is_gone_before_the_switch(context, run, imported):
    back = run("back")
    back.rehearse_rollback()

    rehearsed = context.ledger.read().releases["back"].require(RollbackRehearsed)
    assert (rehearsed.version, rehearsed.digest, rehearsed.model_id) == (2, "", imported.model_id)
    assert context.deployments.get(rehearsed.deployment_id).lifecycle_state.is_deleted
    assert back.switch_back()["version"] == 2
    back.close()
    run("run-4", shift=3).release_fully()  # whose backup asks production, as no worker loads that code
    assert context.ledger.read().releases["run-4"].require(RollbackRehearsed).deployment_id is None
    assert run("back-again").roll_back()["version"] == 2


def test_an_imported_champion_that_does_not_answer_is_asked_again_by_the_next_try(context, run, imported, emulator):
    run("back").roll_back()
    fourth = run("run-4", shift=3)
    fourth.plan()
    emulator.fail_next("Predict", status=503, times=1 + context.settings.probes.repeats)

    with pytest.raises(CloudUnavailableError, match="asked 5 times"):
        fourth.back_up()
    fourth.back_up()


def read_registered(context, model_id, archive):
    """The files of a model's artifact in the catalog, by name."""
    context.catalog.download_artifact(model_id, archive)
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.mark.parametrize("kept", ["where it was adopted", "in its backup"])
def test_an_imported_version_whose_model_is_gone_comes_from_storage(context, run, imported, tmp_path, kept):
    before = read_registered(context, imported.model_id, tmp_path / "before.zip")
    context.catalog._client.delete_model(imported.model_id)
    if kept == "in its backup":
        delete(context, imported.artifact)

    assert run("back").roll_back()["version"] == 2
    restored = context.ledger.read().versions[2].model_id
    assert restored == find_production(context).model_id != imported.model_id
    assert read_registered(context, restored, tmp_path / "restored.zip") == before
    assert before["manifest.json"] == OWN_MANIFEST.encode()
    assert set(context.deployments.asker(find_production(context).url, timeout_seconds=10)({}).body) == {
        "recommendations"
    }


def test_an_imported_version_does_not_come_from_a_backup_that_the_ledger_does_not_know(context, run, imported, caplog):
    context.catalog._client.delete_model(imported.model_id)
    delete(context, imported.artifact)
    [backup] = [found for found in list_backups(context.store) if found["version"] == 2]
    manifest = f"{backup['prefix']}/manifest.json"
    context.store.replace(manifest, context.store.read(manifest) + b" ")
    [changed] = [found for found in list_backups(context.store) if found["version"] == 2]

    with pytest.raises(StorageError, match="Rollback failed - backup not found"):
        run("back").roll_back()
    assert f"its digest is {changed['digest']}, the ledger says {backup['digest']}: it was changed" in caplog.text


def test_adoption_waits_for_a_release_that_is_in_progress(context, run, two_versions):
    run("run-3", shift=2).plan()
    untag(context)

    with pytest.raises(LockHeldError):
        adopt_all(context)


def test_adoption_says_that_it_has_written_once_productions_tags_are_set(context, two_versions, reopened):
    delete(context, "ledger/")
    done = adopt_all(reopened())

    assert done["applied"] is True
    assert any(line.startswith("production: the ledger has nothing") for line in done["difference"])
    assert adopt_all(reopened(), apply=False) == {"difference": [], "applied": False}


def test_adoption_waits_for_a_change_that_somebody_is_making(emulator, context, two_versions):
    emulator.set_timings(update=0.5)
    first = context.ledger.read().versions[1]
    production = find_production(context)
    context.deployments.switch_model(production, first.model_id)
    assert find_production(context).lifecycle_state == "UPDATING"

    adopt_all(context)

    assert context.ledger.read().production.version == 1


def test_adoption_does_not_wait_for_ever(emulator, context, two_versions):
    emulator.set_timings(update=30)
    production = find_production(context)
    context.deployments.switch_model(production, context.ledger.read().versions[1].model_id)
    later = replace(context, now=lambda: datetime.now(UTC) + timedelta(hours=2))

    with pytest.raises(StateMismatchError, match="is UPDATING"):
        adopt_all(later)


def test_two_deployments_tagged_as_production_are_refused(context, validated):
    validated(3)
    test = next(d for d in context.deployments.all() if d.tags["recdeploy-role"] == "test")
    full = context.deployments.get(test.deployment_id)
    context.deployments.tag(full, {**full.tags, "recdeploy-role": "production"})
    wait_until_finished(context, full)

    with pytest.raises(SettingsError, match="2 deployments are tagged as production"):
        adopt_all(context)


@pytest.mark.parametrize("ledger_is_there", [True, False])
def test_production_that_has_lost_its_tags_is_still_production(context, run, two_versions, reopened, ledger_is_there):
    before = find_production(context)
    untag(context)
    if not ledger_is_there:
        delete(context, "ledger/")
    again = reopened()

    adopt_all(again)

    assert again.ledger.read().production.deployment_id == before.deployment_id
    assert find_production(again).tags[ROLE_TAG] == "production"
    Run(again, "run-3", run("x").database.parent, shift=2).release_fully()
    assert [d.name for d in again.deployments.all() if d.lifecycle_state == "ACTIVE"] == [before.name]


def test_a_newer_model_with_the_number_but_another_digest_does_not_take_a_versions_place(
    emulator, context, project_id, two_versions, reopened
):
    state = context.ledger.read()
    tags = {**list_models(context)[0].tags, DIGEST_TAG: "f" * 64}
    details = oci.data_science.models.CreateModelDetails(
        compartment_id=emulator.compartment_id, project_id=project_id, display_name="again", freeform_tags=tags
    )
    context.catalog._client.create_model(details)

    assert adopt_all(context, apply=False)["difference"] == []
    delete(context, "ledger/")
    again = reopened()
    adopt_all(again)
    assert again.ledger.read().versions[2].model_id == state.versions[2].model_id
    assert again.ledger.read().production.digest == state.production.digest


def test_adopting_another_deployment_leaves_one_that_is_tagged_as_production(context, run, two_versions):
    former = find_production(context)
    run("run-3", shift=2).validate()
    [test] = [d for d in context.deployments.all() if d.tags.get(ROLE_TAG) == "test" and d.lifecycle_state == "ACTIVE"]
    closed = ReleaseClosed(ReleaseOutcome.FAILED, version=3, seen_work_request=None, by=None)
    context.ledger.append("run-3", closed, guard=lambda state: None)

    adopt_all(context, test.deployment_id)

    tagged = {d.deployment_id: d.tags.get(ROLE_TAG) for d in context.deployments.all()}
    assert (tagged[test.deployment_id], tagged[former.deployment_id]) == ("production", None)
    assert context.ledger.read().production.version == 3
    assert adopt_all(context, apply=False)["difference"] == []


@pytest.mark.parametrize("keeping_snapshot", [True, False])
def test_a_damaged_ledger_is_put_aside_and_a_new_one_begun(context, two_versions, reopened, keeping_snapshot):
    state = context.ledger.read()
    content = context.store.read(entry_key(5)).replace(b"run-1", b"run-7")
    context.store.replace(entry_key(5), content)
    if not keeping_snapshot:
        context.store.delete(SNAPSHOT)
    shown = adopt_all(reopened(), apply=False)
    assert any("the ledger is damaged: ledger/00000005.json was edited" in line for line in shown["difference"])
    assert context.store.read(entry_key(5)) == content

    adopt_all(reopened())

    again = reopened()
    assert audit(again.store, tagged_heads=find_tagged_heads(again)) == []
    assert again.ledger.read().production == replace(state.production, since=again.ledger.read().production.since)
    kept = [found.key.rpartition("/")[2] for found in context.store.list(LEDGER_ASIDE)]
    assert f"{state.seq:08d}.json" in kept
    assert adopt_all(reopened(), apply=False)["difference"] == []
    with pytest.raises(IntegrityError):
        context.ledger.read()  # a process that knew the former ledger does not go on with this one


def test_what_does_not_belong_into_the_ledgers_folder_is_moved_away(context, two_versions, reopened):
    before = context.ledger.entries()
    context.store.create("ledger/notes.txt", b"x")
    context.store.replace(SNAPSHOT, b"garbage")

    adopt_all(reopened())

    again = reopened()
    assert audit(again.store, tagged_heads=find_tagged_heads(again)) == []
    assert again.ledger.entries()[: len(before)] == before


def test_a_tail_cut_off_is_noticed_though_production_has_lost_its_tags(context, two_versions, reopened):
    untag(context)
    last = context.ledger.read().seq
    for key in (entry_key(last - 1), entry_key(last), SNAPSHOT):
        context.store.delete(key)

    again = reopened()
    assert any("the tail was cut off" in fault for fault in audit(again.store, tagged_heads=find_tagged_heads(again)))


def test_a_history_rewritten_while_a_release_is_open_is_noticed_by_its_candidates_tag(context, validated, reopened):
    third = validated(3)
    third.answer(Decision.REJECT)
    tag_with_head(context, context.ledger.read().versions[3].model_id)
    assert audit(context.store, tagged_heads=find_tagged_heads(context)) == []

    rechain(context, lambda answer: replace(answer, decision=Decision.PROMOTE) if answer.version == 3 else answer)

    again = reopened()
    faults = audit(again.store, tagged_heads=find_tagged_heads(again))
    assert any("the model product-recommender-v3 names: the ledger was rewritten" in fault for fault in faults)


def test_a_head_that_the_catalog_refuses_does_not_hold_up_a_release(context, two_versions, caplog):
    tag_with_head(context, "ocid1.datasciencemodel.oc1..gone")

    assert "does not name the ledger's head" in caplog.text


@pytest.mark.parametrize("key", [STATE_FILE, SNAPSHOT])
def test_a_folder_in_place_of_a_derived_file_does_not_hold_up_a_release(context, run, tmp_path, caplog, key):
    (tmp_path / "storage" / key / "x").mkdir(parents=True)

    run("run-1").release_fully()

    assert context.ledger.read().production.version == 1
    assert f"{key} is not up to date" in caplog.text


def test_a_folder_in_place_of_what_is_current_is_named_with_the_fix(context, tmp_path):
    (tmp_path / "storage" / CURRENT / "x").mkdir(parents=True)

    with pytest.raises(StorageError, match=r"current/manifest.json, .* cannot be written.* Move away what stands"):
        make_current(context.store, Version(1, Stage.CHAMPION, "run-1", "d", "m", "a", "r"))


def test_what_is_current_must_be_json(context):
    context.store.replace(CURRENT, b"{")

    with pytest.raises(IntegrityError, match=r"current/manifest.json is not valid JSON.* Delete it"):
        read_current(context.store)


def test_a_whole_ledger_has_no_faults(context, two_versions):
    assert audit(context.store, tagged_heads=find_tagged_heads(context)) == []


def test_an_answer_rewritten_while_its_release_is_open_is_noticed(context, validated):
    third = validated(3)
    third.answer(Decision.REJECT)
    last = context.ledger.entries()[-1]
    forged = replace(last, event=replace(last.event, decision=Decision.PROMOTE))
    context.store.replace(entry_key(last.seq), forged.encode())
    context.store.delete(SNAPSHOT)

    faults = audit(context.store, tagged_heads=find_tagged_heads(context))
    assert any("the ledger was rewritten" in fault for fault in faults)


def test_a_tail_cut_off_after_a_rejection_is_noticed_though_production_was_left_alone(context, run, two_versions):
    before = find_production(context).tags
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.REJECT)
    third.reject()
    third.close()
    assert find_production(context).tags == before
    for seq in range(context.ledger.read().seq - 2, context.ledger.read().seq + 1):
        context.store.delete(entry_key(seq))
    context.store.delete(SNAPSHOT)

    faults = audit(context.store, tagged_heads=find_tagged_heads(context))
    assert faults
    assert all("the tail was cut off" in fault for fault in faults)


@pytest.mark.parametrize("keeping_snapshot", [True, False])
@pytest.mark.parametrize("damage", ["edit", "remove", "exchange", "cut", "cut all", "rewrite"])
def test_any_damage_to_the_ledger_is_noticed(context, two_versions, damage, keeping_snapshot):
    store, last = context.store, context.ledger.read().seq
    heads = find_tagged_heads(context)
    if not keeping_snapshot:
        store.delete(SNAPSHOT)
    if damage == "edit":
        store.replace(entry_key(5), store.read(entry_key(5)).replace(b"run-1", b"run-7"))
    elif damage == "remove":
        store.delete(entry_key(5))
    elif damage == "exchange":
        five, six = store.read(entry_key(5)), store.read(entry_key(6))
        store.replace(entry_key(5), six)
        store.replace(entry_key(6), five)
    elif damage == "cut":
        store.delete(entry_key(last))
    elif damage == "cut all":
        for seq in range(1, last + 1):
            store.delete(entry_key(seq))
    else:
        content = store.read(entry_key(last))
        store.replace(entry_key(last), content.replace(b'"promoted"', b'"rejected"'))

    assert audit(store, tagged_heads=heads) != []
