"""Whole releases against the emulator: what is in production, what is left, what the ledger says."""

import json
import re
from pathlib import Path

import oci
import pytest
from steps.factories import PRODUCTS, USERS

from recdeploy_ops.approvals.questions import PREEMPTION
from recdeploy_ops.domain.errors import (
    ApprovalError,
    DeploymentFailedError,
    LockHeldError,
    MissingInputError,
    PromotionFailedError,
)
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import Decision, Role, Shape
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.evaluation.reports import read_report
from recdeploy_ops.releases import CURRENT, DIGEST_TAG, STATE, VERSION_TAG
from recdeploy_ops.steps import deploy_test


def answer_of(releases, deployment_id, user):
    deployment = releases.deployments.get(deployment_id)
    return releases.deployments.asker(deployment, timeout_seconds=10)({"user_id": user}).body


def living(releases, role=None):
    found = [d for d in releases.deployments.all() if d.lifecycle_state != "DELETED"]
    return [d for d in found if role is None or d.tags["recdeploy-role"] == role]


def kinds(releases, run_id):
    return [str(entry.kind) for entry in releases.ledger.entries() if entry.run_id == run_id]


def test_the_first_release_turns_test_into_production(releases, run):
    first = run("run-1")
    first.release_fully()

    book = releases.ledger.book()
    [production] = living(releases)
    assert book.production.deployment_id == production.deployment_id
    assert production.name == "product-recommender-production"
    assert production.tags["recdeploy-role"] == "production"
    assert "recdeploy-lease" not in production.tags
    body = answer_of(releases, production.deployment_id, USERS[0])
    assert [entry["product_id"] for entry in body["recommendations"]] == [PRODUCTS[2], PRODUCTS[3]]
    assert (body["model_version"], body["digest"]) == (1, book.production.digest)
    assert book.holder is None
    assert book.versions[1].stage is Stage.CHAMPION


def test_every_gate_is_explained(releases, run):
    run("run-1").release_fully()
    second = run("run-2", shift=1)
    second.validate()
    without_test = run("run-3", skip_test_deployment=True)
    second.close()
    without_test.validate()

    judged = {Kind.DATA_CHECKED, Kind.CANDIDATE_CHECKED, Kind.TEST_VALIDATED}
    reports = [read_report(releases, entry.facts) for entry in releases.ledger.entries() if entry.kind in judged]
    gates = {finding["gate"] for report in reports for finding in report["findings"]}
    page = (Path(__file__).parents[2] / "docs" / "gates.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert gates == {name for row in rows for name in re.findall(r"`([a-z_0-9]+)`", row.partition(":")[0])}


def test_every_id_comes_back_unchanged_from_database_to_answer(releases, run):
    run("run-1").release_fully()
    deployment_id = releases.ledger.book().production.deployment_id

    for number, user in enumerate(USERS):
        body = answer_of(releases, deployment_id, user)
        assert body["user_id"] == user
        expected = [PRODUCTS[(number + 2 + rank % 4) % len(PRODUCTS)] for rank in range(2)]
        assert [entry["product_id"] for entry in body["recommendations"]] == expected
    assert answer_of(releases, deployment_id, "205616461")["message"].startswith("Recommendations for new user")


def test_the_approver_sees_titles_beside_the_ids_as_text(releases, run):
    first = run("run-1")
    first.validate()
    body = first.ask().body

    assert "`p-1` `title of p-1`" in body
    assert "`title of <b>p6</b>`" in body  # a code span: shown, never read as HTML


def test_the_approver_sees_the_fingerprint_and_how_long_the_way_back_took(releases, run):
    run("run-1").release_fully()
    second = run("run-2", shift=1)
    second.validate()
    body = second.ask().body

    facts = releases.ledger.book().releases["run-2"].facts
    assert facts[Kind.APPROVAL_REQUESTED]["fingerprint"] in body
    assert f"v1 in {facts[Kind.ROLLBACK_REHEARSED]['seconds']} s" in body


def test_who_is_asked_is_told_that_a_rollback_may_come_first(run):
    first = run("run-1")
    first.validate()

    assert first.ask().body.endswith(PREEMPTION)


def test_a_second_release_updates_production_at_the_same_url(releases, run):
    run("run-1").release_fully()
    before = releases.ledger.book().production
    run("run-2", shift=1).release_fully()

    after = releases.ledger.book().production
    assert (after.deployment_id, after.url) == (before.deployment_id, before.url)
    assert after.version == 2
    [production] = living(releases)
    assert answer_of(releases, production.deployment_id, USERS[0])["model_version"] == 2
    assert production.tags[VERSION_TAG] == "2"
    assert production.tags[DIGEST_TAG] == after.digest
    assert releases.ledger.book().previous_champion == before


def test_production_is_resized_after_the_switch_in_an_update_of_its_own(releases, run, emulator):
    run("run-1", ocpus=2).release_fully()
    emulator.clear_calls()
    run("run-2", shift=1, ocpus=4, instance_count=3).release_fully()

    [production] = living(releases)
    assert production.shape == Shape("VM.Standard.E4.Flex", 4.0, 16.0, 3)
    assert "resized" in kinds(releases, "run-2")
    assert len(emulator.calls("UpdateModelDeployment")) == 3  # model, size, tags: OCI takes one at a time
    assert answer_of(releases, production.deployment_id, USERS[0])["model_version"] == 2

    run("run-3", shift=2, ocpus=2).release_fully()
    [production] = living(releases)
    assert production.shape == Shape("VM.Standard.E4.Flex", 2.0, 16.0, 1), "the next run has its own params"


def test_what_was_changed_by_hand_beside_model_and_size_stays(releases, run, settings, emulator):
    logs = oci.data_science.models.LogDetails(log_group_id="ocid1.loggroup.oc1..a", log_id="ocid1.log.oc1..a")
    run("run-1").release_fully()
    [production] = living(releases)
    client = oci.data_science.DataScienceClient(emulator.config, service_endpoint=emulator.url)
    model = oci.data_science.models.UpdateModelConfigurationDetails(bandwidth_mbps=40, maximum_bandwidth_mbps=80)
    environment = oci.data_science.models.UpdateDefaultModelDeploymentEnvironmentConfigurationDetails(
        environment_variables={"WEB_CONCURRENCY": "4"}
    )
    configuration = oci.data_science.models.UpdateSingleModelDeploymentConfigurationDetails
    for change in (
        {"model_deployment_configuration_details": configuration(model_configuration_details=model)},
        {"model_deployment_configuration_details": configuration(environment_configuration_details=environment)},
        {"category_log_details": oci.data_science.models.UpdateCategoryLogDetails(access=logs)},
    ):
        details = oci.data_science.models.UpdateModelDeploymentDetails(**change)
        client.update_model_deployment(production.deployment_id, details)
        oci.wait_until(client, client.get_model_deployment(production.deployment_id), "lifecycle_state", "ACTIVE", 0.05)
    run("run-2", shift=1).release_fully()
    run("back").roll_back()

    found = client.get_model_deployment(production.deployment_id).data
    kept = found.model_deployment_configuration_details
    assert kept.model_configuration_details.bandwidth_mbps == 40 != settings.serving.bandwidth_mbps
    assert kept.environment_configuration_details.environment_variables == {"WEB_CONCURRENCY": "4"}
    assert found.category_log_details.access.log_id == logs.log_id
    assert answer_of(releases, production.deployment_id, USERS[0])["model_version"] == 1


def test_a_size_that_stays_is_not_asked_for(releases, run, emulator):
    run("run-1").release_fully()
    emulator.clear_calls()
    run("run-2", shift=1).release_fully()

    assert len(emulator.calls("UpdateModelDeployment")) == 2  # model, tags


def test_a_size_that_cannot_be_had_is_said_and_the_promotion_stands(releases, run, emulator):
    run("run-1").release_fully()
    second = run("run-2", shift=1, instance_count=3)
    second.validate()
    second.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="Out of host capacity", after=1)

    with pytest.raises(DeploymentFailedError, match=r"v2 is in production(?s:.)*Out of host capacity"):
        second.promote()
    second.close()
    assert releases.ledger.book().production.version == 2
    assert releases.ledger.book().releases["run-2"].outcome == "promoted"


def test_a_backup_of_the_champion_is_complete_and_named_as_in_the_guide(releases, run):
    run("run-1").release_fully()
    run("run-2", shift=1).register()

    keys = [found.key for found in releases.store.list("backups/v1_")]
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
    assert json.loads(releases.store.read(metadata))["endpoint"] == releases.ledger.book().production.url


def test_a_rejection_leaves_production_untouched_and_no_test_deployment(releases, run):
    run("run-1").release_fully()
    [before] = living(releases)
    second = run("run-2", shift=1)
    second.validate()
    assert len(living(releases, Role.TEST)) == 1
    second.answer(Decision.REJECT, comment="the lists look odd")
    second.reject()
    second.close()

    assert living(releases) == [before]
    book = releases.ledger.book()
    assert book.production.version == 1
    assert book.versions[2].stage is Stage.REJECTED
    assert book.releases["run-2"].facts[Kind.RELEASE_REJECTED]["by"] == "ann"
    assert book.releases["run-2"].facts[Kind.RELEASE_REJECTED]["reason"] == "the lists look odd"
    current = json.loads(releases.store.read(CURRENT))
    assert current["version"] == 1


def test_the_number_of_a_rejected_version_is_not_used_again(releases, run):
    first = run("run-1")
    first.validate()
    first.answer(Decision.REJECT)
    first.reject()
    first.close()
    run("run-2", shift=1).release_fully()

    assert releases.ledger.book().production.version == 2


def test_a_run_that_ends_anywhere_leaves_no_deployment_and_no_lock(releases, run):
    first = run("run-1")
    first.validate()
    first.close()

    assert living(releases) == []
    book = releases.ledger.book()
    assert book.holder is None
    assert book.releases["run-1"].outcome == "failed"
    assert book.versions[1].stage is Stage.REJECTED


def test_closing_twice_changes_nothing(releases, run):
    first = run("run-1")
    first.register()
    first.close()
    before = releases.ledger.entries()

    assert first.close()["outcome"] == "failed"
    assert releases.ledger.entries() == before


def test_every_step_may_run_twice(releases, run, emulator):
    first = run("run-1")
    first.validate()
    entries = [k for k in kinds(releases, "run-1") if k != "test_validated"]
    models, deployments = releases.models(), living(releases)
    first.validate()

    assert [k for k in kinds(releases, "run-1") if k != "test_validated"] == entries
    assert releases.models() == models
    assert living(releases) == deployments


def test_a_second_run_is_told_who_holds_the_lock(releases, run):
    run("run-1").plan()

    with pytest.raises(LockHeldError, match="run run-1"):
        run("run-2").plan()


def test_the_lock_of_a_dead_run_is_taken_over_after_its_release_was_closed(releases, run):
    run("run-1").validate()
    run("run-2").plan(has_ended=lambda dag_id, run_id: run_id == "run-1")

    book = releases.ledger.book()
    assert book.holder == "run-2"
    assert book.releases["run-1"].outcome == "failed"
    assert book.releases["run-2"].version == 2
    assert living(releases) == []


def test_a_run_that_lost_its_lock_may_not_go_on(releases, run):
    first = run("run-1")
    first.validate()
    first.answer(Decision.PROMOTE)
    run("run-2").plan(has_ended=lambda dag_id, run_id: True)

    with pytest.raises(LockHeldError, match="run-2 has taken the release lock"):
        first.promote()
    assert releases.ledger.book().production is None


def test_nothing_is_promoted_without_an_approval(releases, run):
    first = run("run-1")
    first.validate()

    with pytest.raises(MissingInputError, match="clear the task 'request_approval'"):
        first.promote()


def test_a_refusal_is_no_approval(releases, run):
    first = run("run-1")
    first.validate()
    first.answer(Decision.REJECT)

    with pytest.raises(ApprovalError, match="ann answered Reject"):
        first.promote()


def test_an_approval_does_not_cover_what_was_retrained_after_it(releases, run):
    first = run("run-1")
    first.validate()
    first.answer(Decision.PROMOTE)
    first.shift = 1
    first.train()

    with pytest.raises(MissingInputError):
        first.promote()


def test_clearing_a_closed_run_opens_it_again_with_the_same_version(releases, run):
    first = run("run-1")
    first.validate()
    first.close()
    first.validate()
    first.answer(Decision.PROMOTE, attempt=2)
    first.promote()
    first.close()

    assert releases.ledger.book().production.version == 1
    assert len(releases.models()) == 1


def test_a_retrained_artifact_of_a_registered_version_gets_a_new_number(releases, run):
    first = run("run-1")
    first.validate()
    first.close()
    first.shift = 1
    first.release_fully()

    book = releases.ledger.book()
    assert book.production.version == 2
    assert book.releases["run-1"].version == 2
    assert sorted(model.tags[VERSION_TAG] for model in releases.models()) == ["1", "2"]


def test_a_test_deployment_that_fails_quotes_oci_and_is_deleted(releases, run, emulator):
    first = run("run-1")
    first.register()
    emulator.fail_next("CreateModelDeployment", kind="work_request_failed", message="Out of host capacity")

    with pytest.raises(DeploymentFailedError, match="Out of host capacity"):
        first.test()
    first.close()
    assert living(releases) == []


def test_a_creation_is_awaited_however_soon_it_is_done(releases, run, emulator, monkeypatch):
    run("run-1").register()
    create = releases.deployments.create

    def create_at_once(new):
        deployment_id = create(new)
        emulator.wait_until_idle()
        return deployment_id

    monkeypatch.setattr(releases.deployments, "create", create_at_once)
    assert isinstance(deploy_test.advance(releases, "run-1"), Waiting)
    assert deploy_test.advance(releases, "run-1")["deployment_id"] == living(releases)[0].deployment_id


def test_a_failed_test_deployment_can_be_tried_again(releases, run, emulator):
    first = run("run-1")
    first.register()
    emulator.fail_next("CreateModelDeployment", kind="work_request_failed")
    with pytest.raises(DeploymentFailedError):
        first.test()

    first.test()

    assert [d.lifecycle_state for d in living(releases, Role.TEST)] == ["ACTIVE"]


def test_a_failed_switch_ends_with_the_champion_verified_serving(releases, run, emulator):
    run("run-1").release_fully()
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity for the new pool")

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified(?s:.)*No capacity"):
        second.promote()
    second.close()

    book = releases.ledger.book()
    assert book.production.version == 1
    assert book.releases["run-2"].outcome == "failed"
    [production] = living(releases)
    assert answer_of(releases, production.deployment_id, USERS[0])["model_version"] == 1
    assert kinds(releases, "run-2")[-6:] == [
        "promotion_started",
        "promotion_failed",
        "restore_started",
        "champion_restored",
        "release_rejected",
        "release_closed",
    ]


def test_a_failed_promotion_can_be_cleared_and_succeeds(releases, run, emulator):
    run("run-1").release_fully()
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
    with pytest.raises(PromotionFailedError):
        second.promote()
    second.close()

    second.plan()
    second.promote()
    second.close()

    assert releases.ledger.book().production.version == 2


def test_a_run_killed_while_switching_is_settled_by_its_teardown(releases, run, emulator):
    run("run-1").release_fully()
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    from recdeploy_ops.steps import promote

    promote.advance(releases, "run-2")  # asks OCI, and is never resumed
    second.close()

    [production] = living(releases)
    assert releases.ledger.book().production.version == 1
    assert answer_of(releases, production.deployment_id, USERS[0])["model_version"] == 1


def test_a_first_production_that_does_not_verify_is_deleted(releases, run, emulator):
    first = run("run-1")
    first.validate()
    first.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")

    with pytest.raises(PromotionFailedError, match="was deleted"):
        first.promote()
    first.close()
    assert living(releases) == []
    assert releases.ledger.book().production is None


@pytest.mark.parametrize("number", [1, 2])
def test_skipping_test_still_checks_and_asks(releases, run, number):
    if number == 2:
        run("run-1").release_fully()
    skipping = run(f"run-{number}", shift=number, skip_test_deployment=True)
    skipping.validate()
    assert living(releases, Role.TEST) == []
    question = skipping.answer(Decision.PROMOTE)
    assert "TEST was skipped" in question.body
    skipping.promote()
    skipping.close()

    [production] = living(releases)
    assert releases.ledger.book().production.version == number
    assert answer_of(releases, production.deployment_id, USERS[0])["model_version"] == number


def test_a_test_deployment_that_cannot_be_deleted_does_not_undo_a_promotion(releases, run, emulator):
    run("run-1").release_fully()
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    emulator.fail_next("DeleteModelDeployment", kind="status", status=400, code="InvalidParameter", times=1)

    assert second.promote()["version"] == 2
    second.close()  # deletes it after all
    assert [d.tags["recdeploy-role"] for d in living(releases)] == ["production"]


def test_closing_frees_the_lock_even_when_test_cannot_be_deleted(releases, run, emulator):
    first = run("run-1")
    first.validate()
    emulator.fail_next("DeleteModelDeployment", kind="status", status=400, code="InvalidParameter", times=1)

    with pytest.raises(DeploymentFailedError, match="could not be deleted"):
        first.close()
    assert releases.ledger.book().holder is None

    first.close()
    assert living(releases) == []


def test_the_state_file_has_the_guides_fields(releases, run):
    run("run-1").release_fully()
    state = json.loads(releases.store.read(STATE))

    assert state["current_version"] == 1
    assert state["production"]["endpoint"] == releases.ledger.book().production.url
    assert state["test"] is None
    assert [(item["version"], item["outcome"]) for item in state["history"]] == [(1, "promoted")]
