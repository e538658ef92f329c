"""Versions in the catalog: one model each, whenever a try is killed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from steps.factories import Run, reopen

from recdeploy_ops.context import ReleaseContext, utc_now
from recdeploy_ops.domain.errors import CloudRefusedError, LockHeldError, MissingInputError
from recdeploy_ops.domain.events import ArtifactBuilt, ReleaseClosed, ReleaseOutcome
from recdeploy_ops.oci_clients.tags import VERSION_TAG
from recdeploy_ops.rollout import creation
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import register_model


@pytest.fixture
def one(run):
    """A run whose artifact is built and checked."""
    one = run("run-1")
    one.plan()
    one.make()
    return one


@pytest.fixture
def killed(one, monkeypatch):
    """The same run, killed after it registered its model and before it recorded that."""

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ReleaseContext, "record", die)
        with pytest.raises(KeyboardInterrupt):
            one.register_model()
    return one


def versions(context):
    return sorted(model.tags[VERSION_TAG] for model in list_models(context))


def test_a_candidate_retrained_after_a_kill_gets_a_number_of_its_own(context, killed):
    killed.shift = 1
    killed.build()
    killed.register_model()

    assert versions(context) == ["1", "2"]
    assert context.ledger.read().releases["run-1"].version == 2


def test_the_same_artifact_goes_on_with_the_model_of_a_killed_try(context, killed):
    killed.build()
    killed.register_model()

    assert versions(context) == ["1"]


def test_a_number_that_the_catalog_has_with_other_content_is_not_registered_again(context, killed):
    first = context.ledger.read().releases["run-1"].require(ArtifactBuilt)
    killed.shift = 1
    killed.build()
    other = killed.context.release.require(ArtifactBuilt)
    killed.context.record(replace(other, version=first.version))

    with pytest.raises(MissingInputError, match=r"v1 with other content .*Clear the task 'build_artifact'"):
        killed.register_model()


def test_two_workers_of_one_task_register_one_model(context, one, monkeypatch):
    other = reopen(context, "run-1")
    find_registration = register_model.find_registration

    def find_late(caller, *what):
        found = find_registration(caller, *what)
        if caller is one.context:
            finish(other, lambda: register_model.advance(other))
        return found

    monkeypatch.setattr(register_model, "find_registration", find_late)
    one.register_model()

    assert versions(context) == ["1"]


def test_a_provenance_that_an_earlier_try_did_not_record_is_completed(context, one, emulator):
    emulator.fail_next("CreateModelProvenance", kind="status", status=400, code="InvalidParameter")
    with pytest.raises(CloudRefusedError):
        one.register_model()

    one.register_model()

    model_id = context.ledger.read().versions[1].model_id
    provenance = context.catalog._client.get_model_provenance(model_id).data
    assert provenance.training_script == "ads operator: recommender"


def test_the_lock_is_confirmed_right_before_a_deployment_is_created(context, one, tmp_path, monkeypatch):
    one.register_model()
    find_own_deployments = creation.find_own_deployments

    def take_over(*what):
        Run(reopen(context), "run-2", tmp_path).plan(has_ended=lambda holder: True)
        return find_own_deployments(*what)

    monkeypatch.setattr(creation, "find_own_deployments", take_over)
    with pytest.raises(LockHeldError):
        one.test()
    assert list(context.deployments.all()) == []


def test_freshness_is_judged_at_the_last_opening_of_the_release(context, one):
    one.context.record(ReleaseClosed(ReleaseOutcome.FAILED, version=1, seen_work_request=None, by=None))
    later = utc_now() + timedelta(days=400)
    one.context = reopen(context, "run-1", now=lambda: later)
    one.plan()

    assert one.check_data()["verdict"] == "HOLD"
