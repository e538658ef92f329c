"""The ledger lost, edited or out of step with OCI: the audit notices it, and adoption rebuilds the ledger."""

import logging
import zipfile
from dataclasses import replace
from datetime import timedelta

import oci
import pytest
from steps.factories import (
    Run,
    adopt,
    answer_of,
    delete_model,
    delete_stored,
    find_faults,
    living,
    lose_ledger,
    register_foreign,
    reopen,
    switch_by_hand,
)

from recdeploy_ops.context import utc_now
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
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.versions import Version
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.oci_clients.tags import DIGEST_TAG, LEDGER_TAG, ROLE_TAG
from recdeploy_ops.rollout.current import make_current, read_current
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.rollout.tagging import find_tagged_heads, tag_with_head
from recdeploy_ops.storage.backups import list_backups
from recdeploy_ops.storage.keys import CURRENT, LEDGER_ASIDE, SNAPSHOT, STATE_FILE, entry_key


@pytest.fixture
def tag_by_hand(context, emulator):
    """Changes the tags of a deployment, by default production, as a person does in the console."""

    def tag(tags, deployment=None):
        context.deployments.tag(deployment or find_production(context), tags)
        emulator.wait_until_idle()

    return tag


def versions_of(state, attribute):
    return {number: getattr(version, attribute) for number, version in state.versions.items()}


def rechain(context, change):
    """Edit the answers, and give every later entry and the snapshot the hashes that follow."""
    forged, previous = [], NO_ENTRY
    for entry in context.ledger.entries():
        event = change(entry.event) if isinstance(entry.event, ApprovalAnswered) else entry.event
        forged.append(replace(entry, previous=previous, event=event))
        previous = forged[-1].sha256
        context.store.replace(entry_key(entry.seq), forged[-1].encode())
    context.store.replace(SNAPSHOT, b"".join(entry.encode() for entry in forged))


def test_there_is_nothing_to_adopt_when_ledger_and_oci_agree(context, two_versions):
    before = context.ledger.entries()

    assert find_faults(context) == []
    assert adopt(context)["difference"] == []
    assert context.ledger.entries() == before


def test_a_lost_snapshot_changes_nothing(context, two_versions):
    state = context.ledger.read()
    context.store.delete(SNAPSHOT)

    assert reopen(context).ledger.read() == state


def test_a_lost_ledger_is_rebuilt_from_oci(context, two_versions, tmp_path):
    state = context.ledger.read()
    empty = lose_ledger(context)
    shown = adopt(empty, apply=False)
    assert any(line.startswith("production: the ledger has nothing, OCI has v2") for line in shown["difference"])
    assert empty.ledger.entries() == ()

    applied = adopt(empty)

    assert applied == {"difference": shown["difference"], "applied": True}
    rebuilt = empty.ledger.read()
    assert rebuilt.production.version == 2
    assert rebuilt.production.digest == state.production.digest
    assert rebuilt.previous_champion.version == 1
    assert versions_of(rebuilt, "stage") == {1: Stage.RETIRED, 2: Stage.CHAMPION}
    assert versions_of(rebuilt, "artifact") == versions_of(state, "artifact")
    assert find_production(empty).tags[LEDGER_TAG] == f"{rebuilt.seq}:{rebuilt.head}"
    assert adopt(reopen(empty), apply=False) == {"difference": [], "applied": False}

    assert Run(empty, "back", tmp_path).roll_back()["version"] == 1
    Run(empty, "run-3", tmp_path, shift=2).release_fully()
    assert empty.ledger.read().production.version == 3


def test_a_lost_ledger_does_not_give_a_version_the_results_of_another_try(context, run):
    one = run("run-1")
    one.plan()
    one.extract()
    shifts = {}
    for one.shift in range(4):
        one.train()
        shifts[context.ledger.read().releases["run-1"].require(ModelTrained).prefix] = one.shift
    first, last = min(shifts), max(shifts)
    for run_id, prefix in (("run-1", first), ("run-2", last)):
        run(run_id, shift=shifts[prefix]).release_fully()
    results = versions_of(context.ledger.read(), "results")
    assert results[1] == first

    empty = lose_ledger(context)
    adopt(empty)

    assert versions_of(empty.ledger.read(), "results") == results


def test_a_change_by_hand_stops_a_release_until_it_is_adopted(context, run, two_versions, emulator):
    switch_by_hand(context, emulator)
    with pytest.raises(StateMismatchError, match="changed product-recommender-production by hand"):
        run("run-3", shift=2).plan()

    adopt(context)

    state = context.ledger.read()
    assert (state.production.version, state.previous_champion.version) == (1, 2)
    run("run-3", shift=2).release_fully()
    assert context.ledger.read().production.version == 3


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


def test_adoption_is_refused_while_a_release_is_in_progress(context, run, two_versions, tag_by_hand):
    run("run-3", shift=2).plan()
    tag_by_hand({})

    with pytest.raises(LockHeldError):
        adopt(context)


def test_adoption_waits_for_a_change_that_a_person_is_making(emulator, context, two_versions):
    emulator.set_timings(update=0.5)
    context.deployments.switch_model(find_production(context), context.ledger.read().versions[1].model_id)
    assert find_production(context).lifecycle_state == "UPDATING"

    adopt(context)

    assert context.ledger.read().production.version == 1


def test_adoption_does_not_wait_for_ever(emulator, context, two_versions):
    emulator.set_timings(update=30)
    context.deployments.switch_model(find_production(context), context.ledger.read().versions[1].model_id)
    later = replace(context, now=lambda: utc_now() + timedelta(hours=2))

    with pytest.raises(StateMismatchError, match="is UPDATING"):
        adopt(later)


def test_two_deployments_tagged_as_production_are_refused(context, validated, tag_by_hand):
    validated(3)
    [test] = living(context, Role.TEST)
    tag_by_hand({**test.tags, ROLE_TAG: "production"}, context.deployments.get(test.deployment_id))

    with pytest.raises(SettingsError, match="2 deployments could be production"):
        adopt(context)


@pytest.mark.parametrize("open_again", [reopen, lose_ledger], ids=["with its ledger", "with its ledger lost"])
def test_production_that_has_lost_its_tags_is_still_production(
    context, two_versions, tag_by_hand, tmp_path, open_again
):
    before = find_production(context)
    tag_by_hand({})
    again = open_again(context)

    adopt(again)

    assert again.ledger.read().production.deployment_id == before.deployment_id
    assert find_production(again).tags[ROLE_TAG] == "production"
    Run(again, "run-3", tmp_path, shift=2).release_fully()
    assert [d.name for d in living(again)] == [before.name]


def test_a_newer_model_with_a_versions_number_but_another_digest_does_not_replace_it(
    emulator, context, project_id, two_versions
):
    state = context.ledger.read()
    tags = {**list_models(context)[0].tags, DIGEST_TAG: "f" * 64}
    details = oci.data_science.models.CreateModelDetails(
        compartment_id=emulator.compartment_id, project_id=project_id, display_name="again", freeform_tags=tags
    )
    context.catalog._client.create_model(details)

    assert adopt(context, apply=False)["difference"] == []
    again = lose_ledger(context)
    adopt(again)
    assert again.ledger.read().versions[2].model_id == state.versions[2].model_id
    assert again.ledger.read().production.digest == state.production.digest


def test_adopting_another_deployment_leaves_only_that_one_tagged_as_production(context, run, two_versions):
    former = find_production(context)
    run("run-3", shift=2).validate()
    [test] = living(context, Role.TEST)
    closed = ReleaseClosed(ReleaseOutcome.FAILED, version=3, seen_work_request=None, by=None)
    context.ledger.append("run-3", closed, guard=lambda state: None)

    adopt(context, test.deployment_id)

    tagged = {d.deployment_id: d.tags.get(ROLE_TAG) for d in context.deployments.all()}
    assert (tagged[test.deployment_id], tagged[former.deployment_id]) == ("production", None)
    assert context.ledger.read().production.version == 3
    assert adopt(context, apply=False)["difference"] == []


@pytest.mark.parametrize("keeping_snapshot", [True, False])
def test_a_damaged_ledger_is_put_aside_and_a_new_one_begun(context, two_versions, keeping_snapshot):
    state = context.ledger.read()
    content = context.store.read(entry_key(5)).replace(b"run-1", b"run-7")
    context.store.replace(entry_key(5), content)
    if not keeping_snapshot:
        context.store.delete(SNAPSHOT)
    shown = adopt(reopen(context), apply=False)
    assert any("the ledger is damaged: ledger/00000005.json was edited" in line for line in shown["difference"])
    assert context.store.read(entry_key(5)) == content

    adopt(reopen(context))

    again = reopen(context)
    assert find_faults(again) == []
    assert again.ledger.read().production == replace(state.production, since=again.ledger.read().production.since)
    aside = [stored.key.rpartition("/")[2] for stored in context.store.list(LEDGER_ASIDE)]
    assert f"{state.seq:08d}.json" in aside
    assert adopt(again, apply=False)["difference"] == []
    with pytest.raises(IntegrityError):
        context.ledger.read()  # a process that knew the former ledger does not go on with this one


def test_foreign_files_in_the_ledgers_folder_are_moved_away(context, two_versions):
    before = context.ledger.entries()
    context.store.create("ledger/notes.txt", b"x")
    context.store.replace(SNAPSHOT, b"garbage")

    adopt(reopen(context))

    again = reopen(context)
    assert find_faults(again) == []
    assert again.ledger.entries()[: len(before)] == before


def test_a_tail_cut_off_is_noticed_though_production_has_lost_its_tags(context, two_versions, tag_by_hand):
    tag_by_hand({})
    last = context.ledger.read().seq
    for key in (entry_key(last - 1), entry_key(last), SNAPSHOT):
        context.store.delete(key)

    assert any("the tail was cut off" in fault for fault in find_faults(reopen(context)))


def test_a_history_rewritten_while_a_release_is_open_is_noticed_by_its_candidates_tag(context, validated):
    third = validated(3)
    third.answer(Decision.REJECT)
    tag_with_head(context, context.ledger.read().versions[3].model_id)
    assert find_faults(context) == []

    rechain(context, lambda answer: replace(answer, decision=Decision.PROMOTE) if answer.version == 3 else answer)

    faults = find_faults(reopen(context))
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


def test_a_folder_in_place_of_the_current_manifest_is_named_with_the_fix(context, tmp_path):
    (tmp_path / "storage" / CURRENT / "x").mkdir(parents=True)

    with pytest.raises(StorageError, match=r"current/manifest.json, .* cannot be written.* Move away what is stored"):
        make_current(context.store, Version(1, Stage.CHAMPION, "run-1", "d", "m", "a", "r"))


def test_the_current_manifest_must_be_json(context):
    context.store.replace(CURRENT, b"{")

    with pytest.raises(IntegrityError, match=r"current/manifest.json is not valid JSON.* Delete it"):
        read_current(context.store)


def test_an_answer_rewritten_while_its_release_is_open_is_noticed(context, validated):
    third = validated(3)
    third.answer(Decision.REJECT)
    last = context.ledger.entries()[-1]
    forged = replace(last, event=replace(last.event, decision=Decision.PROMOTE))
    context.store.replace(entry_key(last.seq), forged.encode())
    context.store.delete(SNAPSHOT)

    assert any("the ledger was rewritten" in fault for fault in find_faults(context))


def test_a_tail_cut_off_after_a_rejection_is_noticed(context, run, two_versions):
    before = find_production(context).tags
    third = run("run-3", shift=2)
    third.validate()
    third.reject_fully()
    assert find_production(context).tags == before
    for seq in range(context.ledger.read().seq - 2, context.ledger.read().seq + 1):
        context.store.delete(entry_key(seq))
    context.store.delete(SNAPSHOT)

    faults = find_faults(context)
    assert faults
    assert all("the tail was cut off" in fault for fault in faults)


def exchange_entries(store, last):
    five, six = store.read(entry_key(5)), store.read(entry_key(6))
    store.replace(entry_key(5), six)
    store.replace(entry_key(6), five)


def replace_in_entry(store, seq, old, new):
    store.replace(entry_key(seq), store.read(entry_key(seq)).replace(old, new))


DAMAGES = {
    "an entry edited": lambda store, last: replace_in_entry(store, 5, b"run-1", b"run-7"),
    "an entry removed": lambda store, last: store.delete(entry_key(5)),
    "two entries exchanged": exchange_entries,
    "the last entry cut off": lambda store, last: store.delete(entry_key(last)),
    "every entry removed": lambda store, last: [store.delete(entry_key(seq)) for seq in range(1, last + 1)],
    "the last entry rewritten": lambda store, last: replace_in_entry(store, last, b'"promoted"', b'"rejected"'),
}


@pytest.mark.parametrize("keeping_snapshot", [True, False])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_any_damage_to_the_ledger_is_noticed(context, two_versions, damage, keeping_snapshot):
    store, last = context.store, context.ledger.read().seq
    heads = find_tagged_heads(context)
    if not keeping_snapshot:
        store.delete(SNAPSHOT)
    damage(store, last)

    assert audit(store, tagged_heads=heads) != []
