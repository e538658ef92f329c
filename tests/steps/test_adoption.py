"""The ledger lost or out of step with OCI: adoption shows the difference and rebuilds the ledger."""

from dataclasses import replace
from datetime import timedelta

import oci
import pytest
from steps.factories import (
    Run,
    adopt,
    find_faults,
    living,
    lose_ledger,
    reopen,
    switch_by_hand,
)

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.errors import (
    IntegrityError,
    LockHeldError,
    SettingsError,
    StateMismatchError,
    StorageError,
)
from recdeploy_ops.domain.events import ModelTrained, ReleaseClosed, ReleaseOutcome
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.versions import Version
from recdeploy_ops.oci_clients.tags import DIGEST_TAG, LEDGER_TAG, ROLE_TAG
from recdeploy_ops.rollout import differences
from recdeploy_ops.rollout.current import make_current, read_current
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.rollout.tagging import tag_with_head
from recdeploy_ops.storage.keys import CURRENT, SNAPSHOT, STATE_FILE


def versions_of(state, attribute):
    return {number: getattr(version, attribute) for number, version in state.versions.items()}


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
    Run(empty, "resume", tmp_path).resume()
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


def test_a_difference_that_stays_is_recorded_once(context, two_versions, monkeypatch):
    monkeypatch.setattr(differences, "compare", lambda *_: ["v1: the ledger has one thing, OCI has another"])
    done = adopt(context)

    assert (done["difference"], done["applied"]) == (["v1: the ledger has one thing, OCI has another"], True)
    assert [entry.type for entry in context.history()].count("adopted") == 1


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
