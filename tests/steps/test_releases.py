"""Whole releases against the emulator: production, remaining deployments, and the ledger."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from oci.data_science import models as sdk
from steps.factories import PRODUCTS, SHAPE, USERS, answer_of, event_types, living, served

from recdeploy_ops.approvals.questions import PREEMPTION
from recdeploy_ops.domain.errors import (
    ApprovalError,
    DeploymentFailedError,
    LockHeldError,
    MissingInputError,
    PromotionFailedError,
    RecdeployError,
)
from recdeploy_ops.domain.events import ApprovalRequested, GateEvent, ReleaseRejected, RollbackRehearsed
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.oci_clients.tags import DIGEST_TAG, VERSION_TAG
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.steps import deploy_test, promote
from recdeploy_ops.storage.keys import CURRENT, STATE_FILE


def test_the_first_release_turns_test_into_production(context, run):
    first = run("run-1")
    first.release_fully()

    state = context.ledger.read()
    [production] = living(context)
    assert state.production.deployment_id == production.deployment_id
    assert production.name == "product-recommender-production"
    assert production.tags["recdeploy-role"] == "production"
    assert "recdeploy-lease" not in production.tags
    body = answer_of(context)
    assert [entry["product_id"] for entry in body["recommendations"]] == [PRODUCTS[2], PRODUCTS[3]]
    assert (body["model_version"], body["digest"]) == (1, state.production.digest)
    assert state.holder is None
    assert state.versions[1].stage is Stage.CHAMPION


def test_every_gate_is_explained(context, run, validated):
    second = validated(2)
    without_test = run("run-3", skip_test_deployment=True)
    second.close()
    without_test.validate()

    judged = [entry.event for entry in context.ledger.entries() if isinstance(entry.event, GateEvent)]
    reports = [read_report(context.store, event) for event in judged]
    gates = {finding["gate"] for report in reports for finding in report["findings"]}
    gates.add("worst_slice")  # needs twins, and a column of slices
    gates.add("recipe")  # needs a champion of another recipe
    page = (Path(__file__).parents[2] / "docs" / "gates.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert gates == {name for row in rows for name in re.findall(r"`([a-z_0-9]+)`", row.partition(":")[0])}


def test_every_id_comes_back_unchanged_from_database_to_answer(context, released):
    released()

    for number, user in enumerate(USERS):
        body = answer_of(context, user)
        assert body["user_id"] == user
        expected = [PRODUCTS[(number + 2 + rank % 4) % len(PRODUCTS)] for rank in range(2)]
        assert [entry["product_id"] for entry in body["recommendations"]] == expected
    assert answer_of(context, "205616461")["message"].startswith("Recommendations for new user")


def test_the_approver_sees_titles_next_to_ids_as_text(validated):
    body = validated(1).ask().body

    assert body.endswith(PREEMPTION)
    assert "`p-1` `title of p-1`" in body
    assert "`title of <b>p6</b>`" in body  # a code span: shown, never read as HTML


def test_the_approver_sees_the_fingerprint_the_rehearsal_and_that_a_rollback_may_preempt(context, validated):
    body = validated(2).ask().body

    release = context.ledger.read().releases["run-2"]
    assert release.require(ApprovalRequested).fingerprint in body
    assert f"v1 in {release.require(RollbackRehearsed).seconds} s" in body
    assert body.endswith(PREEMPTION)


def test_a_second_release_updates_production_at_the_same_url(context, run, released):
    released()
    before = context.ledger.read().production
    run("run-2", shift=1).release_fully()

    after = context.ledger.read().production
    assert (after.deployment_id, after.url) == (before.deployment_id, before.url)
    assert after.version == 2
    [production] = living(context)
    assert served(context) == 2
    assert production.tags[VERSION_TAG] == "2"
    assert production.tags[DIGEST_TAG] == after.digest
    assert context.ledger.read().previous_champion == before


def test_production_is_resized_after_the_switch_in_an_update_of_its_own(context, run, emulator):
    run("run-1", ocpus=2).release_fully()
    emulator.clear_calls()
    run("run-2", shift=1, ocpus=4, instance_count=3).release_fully()

    [production] = living(context)
    assert production.shape == replace(SHAPE, ocpus=4, instance_count=3)
    assert "resized" in event_types(context, "run-2")
    assert len(emulator.calls("UpdateModelDeployment")) == 3  # model, size, tags: OCI takes one at a time
    assert served(context) == 2

    run("run-3", shift=2, ocpus=2).release_fully()
    [production] = living(context)
    assert production.shape == replace(SHAPE, ocpus=2), "the next run has its own params"


def test_bandwidth_environment_and_logs_set_by_hand_stay(context, run, released, settings, emulator):
    released()
    [production] = living(context)
    client = context.deployments._client
    logs = sdk.LogDetails(log_group_id="ocid1.loggroup.oc1..a", log_id="ocid1.log.oc1..a")
    model = sdk.UpdateModelConfigurationDetails(bandwidth_mbps=40, maximum_bandwidth_mbps=80)
    environment = sdk.UpdateDefaultModelDeploymentEnvironmentConfigurationDetails(
        environment_variables={"WEB_CONCURRENCY": "4"}
    )
    configuration = sdk.UpdateSingleModelDeploymentConfigurationDetails
    for change in (
        {"model_deployment_configuration_details": configuration(model_configuration_details=model)},
        {"model_deployment_configuration_details": configuration(environment_configuration_details=environment)},
        {"category_log_details": sdk.UpdateCategoryLogDetails(access=logs)},
    ):
        client.update_model_deployment(production.deployment_id, sdk.UpdateModelDeploymentDetails(**change))
        emulator.wait_until_idle()
    run("run-2", shift=1).release_fully()
    run("back").roll_back()

    deployment = client.get_model_deployment(production.deployment_id).data
    parts = deployment.model_deployment_configuration_details
    assert parts.model_configuration_details.bandwidth_mbps == 40 != settings.serving.bandwidth_mbps
    assert parts.environment_configuration_details.environment_variables == {"WEB_CONCURRENCY": "4"}
    assert deployment.category_log_details.access.log_id == logs.log_id
    assert served(context) == 1


def test_an_unchanged_size_is_not_requested(run, released, emulator):
    released()
    emulator.clear_calls()
    run("run-2", shift=1).release_fully()

    assert len(emulator.calls("UpdateModelDeployment")) == 2  # model, tags


def test_a_size_that_oci_cannot_provide_is_reported_and_the_promotion_stands(context, run, released, emulator):
    released()
    second = run("run-2", shift=1, instance_count=3)
    second.validate()
    second.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="Out of host capacity", after=1)

    with pytest.raises(DeploymentFailedError, match=r"v2 is in production(?s:.)*Out of host capacity"):
        second.promote()
    second.close()
    assert context.ledger.read().production.version == 2
    assert context.ledger.read().releases["run-2"].outcome == "promoted"


def test_a_backup_of_the_champion_is_complete_and_named_as_in_the_guide(context, run, released):
    released()
    run("run-2", shift=1).register()

    keys = [found.key for found in context.store.list("backups/v1_")]
    names = {key.split("/", 2)[2] for key in keys}
    assert {
        "manifest.json",
        "metadata.json",
        "recommender_model_artifact/score.py",
        "recommender_model_artifact/recommendations.sqlite",
        "recommender_model_artifact/new_user_fallback.pkl",
        "results/recommendations.csv",
    } <= names
    [metadata] = [key for key in keys if key.endswith("metadata.json")]
    assert json.loads(context.store.read(metadata))["endpoint"] == context.ledger.read().production.url


def test_a_rejection_leaves_production_untouched_and_no_test_deployment(context, run, released):
    released()
    [before] = living(context)
    second = run("run-2", shift=1)
    second.validate()
    assert len(living(context, Role.TEST)) == 1
    second.reject_fully(comment="the lists look odd")

    assert living(context) == [before]
    state = context.ledger.read()
    assert state.production.version == 1
    assert state.versions[2].stage is Stage.REJECTED
    assert state.releases["run-2"].require(ReleaseRejected).by == "ann"
    assert state.releases["run-2"].require(ReleaseRejected).reason == "the lists look odd"
    current = json.loads(context.store.read(CURRENT))
    assert current["version"] == 1


def test_the_number_of_a_rejected_version_is_not_used_again(context, run, validated):
    validated(1).reject_fully()
    run("run-2", shift=1).release_fully()

    assert context.ledger.read().production.version == 2


def test_a_run_that_ends_before_its_approval_leaves_no_deployment_and_no_lock(context, validated):
    validated(1).close()

    assert living(context) == []
    state = context.ledger.read()
    assert state.holder is None
    assert state.releases["run-1"].outcome == "failed"
    assert state.versions[1].stage is Stage.REJECTED


def test_closing_twice_changes_nothing(context, run):
    first = run("run-1")
    first.register()
    first.close()
    before = context.ledger.entries()

    assert first.close()["outcome"] == "failed"
    assert context.ledger.entries() == before


def test_every_step_may_run_twice(context, validated):
    first = validated(1)
    events = [kind for kind in event_types(context, "run-1") if kind != "test_validated"]
    models, deployments = list_models(context), living(context)
    first.validate()

    assert [kind for kind in event_types(context, "run-1") if kind != "test_validated"] == events
    assert list_models(context) == models
    assert living(context) == deployments


def test_a_second_run_is_told_who_holds_the_lock(run):
    run("run-1").plan()

    with pytest.raises(LockHeldError, match="run run-1"):
        run("run-2").plan()


def test_the_lock_of_an_ended_run_is_taken_over_after_its_release_was_closed(context, run):
    run("run-1").validate()
    run("run-2").plan(has_ended=lambda holder: holder.run_id == "run-1")

    state = context.ledger.read()
    assert state.holder == "run-2"
    assert state.releases["run-1"].outcome == "failed"
    assert state.releases["run-2"].version == 2
    assert living(context) == []


def test_a_run_that_lost_its_lock_may_not_go_on(context, run, validated):
    first = validated(1)
    first.answer(Decision.PROMOTE)
    run("run-2").plan(has_ended=lambda holder: True)

    with pytest.raises(LockHeldError, match="run-2 has taken over the release lock"):
        first.promote()
    assert context.ledger.read().production is None


def test_nothing_is_promoted_without_an_approval(validated):
    with pytest.raises(MissingInputError, match="Clear the task 'request_approval'"):
        validated(1).promote()


def test_a_rejection_is_not_an_approval(validated):
    first = validated(1)
    first.answer(Decision.REJECT)

    with pytest.raises(ApprovalError, match="ann answered Reject"):
        first.promote()


def test_an_approval_does_not_cover_what_was_retrained_after_it(validated):
    first = validated(1)
    first.answer(Decision.PROMOTE)
    first.shift = 1
    first.train()

    with pytest.raises(MissingInputError):
        first.promote()


def test_clearing_a_closed_run_opens_it_again_with_the_same_version(context, validated):
    first = validated(1)
    first.close()
    first.validate()
    first.promote_fully(attempt=2)

    assert context.ledger.read().production.version == 1
    assert len(list_models(context)) == 1


def test_a_retrained_artifact_of_a_registered_version_gets_a_new_number(context, validated):
    first = validated(1)
    first.close()
    first.shift = 1
    first.release_fully()

    state = context.ledger.read()
    assert state.production.version == 2
    assert state.releases["run-1"].version == 2
    assert sorted(model.tags[VERSION_TAG] for model in list_models(context)) == ["1", "2"]


def test_a_test_deployment_that_fails_quotes_oci_and_is_deleted(context, run, emulator):
    first = run("run-1")
    first.register()
    emulator.fail_next("CreateModelDeployment", kind="work_request_failed", message="Failed to pull the image")

    with pytest.raises(DeploymentFailedError, match="Failed to pull the image"):
        first.test()
    first.close()
    assert living(context) == []


def test_a_step_also_waits_for_a_creation_that_is_done_at_once(context, run, emulator, monkeypatch):
    first = run("run-1")
    first.register()
    create = context.deployments.create

    def create_at_once(new):
        deployment_id = create(new)
        emulator.wait_until_idle()
        return deployment_id

    monkeypatch.setattr(context.deployments, "create", create_at_once)
    assert isinstance(deploy_test.advance(first.context), Waiting)
    assert deploy_test.advance(first.context)["deployment_id"] == living(context)[0].deployment_id


def test_a_failed_test_deployment_can_be_tried_again(context, run, emulator):
    first = run("run-1")
    first.register()
    emulator.fail_next("CreateModelDeployment", kind="work_request_failed")
    with pytest.raises(DeploymentFailedError):
        first.test()

    first.test()

    assert [d.lifecycle_state for d in living(context, Role.TEST)] == ["ACTIVE"]


def test_a_failed_switch_ends_with_the_champion_verified_serving_and_can_be_cleared(context, approved_here, emulator):
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity for the new pool")

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified(?s:.)*No capacity"):
        approved_here.promote()
    approved_here.close()

    state = context.ledger.read()
    assert state.production.version == 1
    assert state.releases["run-2"].outcome == "failed"
    assert len(living(context)) == 1
    assert served(context) == 1
    assert event_types(context, "run-2")[-6:] == [
        "switch_started",
        "switch_failed",
        "restore_started",
        "champion_restored",
        "release_rejected",
        "release_closed",
    ]

    approved_here.plan()
    approved_here.promote()
    approved_here.close()
    assert context.ledger.read().production.version == 2


def test_a_run_killed_while_switching_is_finished_by_its_teardown(context, approved):
    promote.advance(approved.context)  # requests the update, and is never resumed
    approved.close()

    assert len(living(context)) == 1
    assert context.ledger.read().production.version == 1
    assert served(context) == 1


def test_a_first_production_that_does_not_verify_is_deleted(context, validated, emulator):
    first = validated(1)
    first.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")

    with pytest.raises(PromotionFailedError, match="was deleted"):
        first.promote()
    first.close()
    assert living(context) == []
    assert context.ledger.read().production is None


def test_a_first_production_that_cannot_be_deleted_is_not_called_a_test_deployment(context, run, emulator, no_retries):
    first = run("run-1", skip_test_deployment=True)
    first.validate()
    first.answer(Decision.PROMOTE)
    emulator.fail_next("Predict", status=500, times=None)  # it does not verify
    emulator.fail_next("DeleteModelDeployment", status=404, code="NotAuthorizedOrNotFound", times=None)
    with pytest.raises(RecdeployError):
        first.promote()

    says = "but the first production that it began to make could not be deleted: "
    with pytest.raises(DeploymentFailedError, match=says) as failed:
        first.close()
    assert "product-recommender-production" in str(failed.value)
    assert context.refresh().holder is None


@pytest.mark.parametrize("number", [1, 2])
def test_skipping_test_still_checks_and_asks(context, run, number):
    if number == 2:
        run("run-1").release_fully()
    skipping = run(f"run-{number}", shift=number, skip_test_deployment=True)
    skipping.validate()
    assert living(context, Role.TEST) == []
    question = skipping.answer(Decision.PROMOTE)
    assert "TEST was skipped" in question.body
    skipping.promote()
    skipping.close()

    assert len(living(context)) == 1
    assert context.ledger.read().production.version == number
    assert served(context) == number


def test_a_test_deployment_that_cannot_be_deleted_does_not_undo_a_promotion(context, approved, emulator):
    emulator.fail_next("DeleteModelDeployment", kind="status", status=400, code="InvalidParameter", times=1)

    assert approved.promote()["version"] == 2
    approved.close()  # deletes it after all
    assert [d.tags["recdeploy-role"] for d in living(context)] == ["production"]


def test_closing_frees_the_lock_even_when_test_cannot_be_deleted(context, validated, emulator):
    first = validated(1)
    emulator.fail_next("DeleteModelDeployment", kind="status", status=400, code="InvalidParameter", times=1)

    with pytest.raises(DeploymentFailedError, match="could not be deleted"):
        first.close()
    assert context.ledger.read().holder is None

    first.close()
    assert living(context) == []


def test_the_state_file_has_the_guides_fields(context, released):
    released()
    state = json.loads(context.store.read(STATE_FILE))

    assert state["current_version"] == 1
    assert state["production"]["endpoint"] == context.ledger.read().production.url
    assert state["test"] is None
    assert [(item["version"], item["outcome"]) for item in state["history"]] == [(1, "promoted")]
