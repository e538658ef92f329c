"""Versions in the catalog: one model each, whatever was killed when."""

from datetime import UTC, datetime, timedelta

import pytest
from steps.factories import Run

from recdeploy_ops.domain.errors import CloudRefusedError, LockHeldError, MissingInputError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.releases import VERSION_TAG, Releases
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import build_artifact, check_candidate, check_data, register_model


@pytest.fixture
def one(releases, tmp_path):
    """A run whose artifact is built and checked."""
    run = Run(releases, "run-1", tmp_path)
    run.plan()
    run.extract()
    build(run)
    return run


@pytest.fixture
def killed(releases, one, monkeypatch):
    """The same run, killed when it had registered its model and not yet said so."""

    def die(kind, *_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(releases, "record", die)
        with pytest.raises(KeyboardInterrupt):
            one._finish(register_model)
    return one


def build(run, *, shift=0):
    run.shift = shift
    run.train()
    run._finish(build_artifact)
    run._finish(check_candidate)


def versions(releases):
    return sorted(model.tags[VERSION_TAG] for model in releases.models())


def test_a_candidate_retrained_after_a_kill_gets_a_number_of_its_own(releases, killed):
    build(killed, shift=1)
    killed._finish(register_model)

    assert versions(releases) == ["1", "2"]
    assert releases.ledger.book().releases["run-1"].version == 2


def test_the_same_artifact_goes_on_with_the_model_of_a_killed_try(releases, killed):
    build(killed)
    killed._finish(register_model)

    assert versions(releases) == ["1"]


def test_a_number_that_the_catalog_has_with_other_content_is_not_registered_again(releases, killed):
    facts = releases.ledger.book().releases["run-1"].facts[Kind.ARTIFACT_BUILT]
    build(killed, shift=1)
    other = releases.ledger.book().releases["run-1"].facts[Kind.ARTIFACT_BUILT]
    releases.record(Kind.ARTIFACT_BUILT, "run-1", {**other, "version": facts["version"]})

    with pytest.raises(MissingInputError, match=r"v1 with other content .*clear the task 'build_artifact'"):
        killed._finish(register_model)


def test_two_workers_of_one_task_register_one_model(releases, one, monkeypatch):
    other = Releases(releases.settings, releases.store, releases.catalog._session)
    look_up = releases.look_up

    def look_up_late(*what):
        found = look_up(*what)
        finish(other, lambda: register_model.advance(other, "run-1"))
        return found

    monkeypatch.setattr(releases, "look_up", look_up_late)
    one._finish(register_model)

    assert versions(releases) == ["1"]


def test_a_provenance_that_an_earlier_try_did_not_record_is_completed(releases, one, emulator):
    emulator.fail_next("CreateModelProvenance", kind="status", status=400, code="InvalidParameter")
    with pytest.raises(CloudRefusedError):
        one._finish(register_model)

    one._finish(register_model)

    model_id = releases.ledger.book().versions[1].model_id
    provenance = releases.catalog._client.get_model_provenance(model_id).data
    assert provenance.training_script == "ads operator: recommender"


def test_the_lock_is_confirmed_right_before_a_deployment_is_created(releases, one, tmp_path, monkeypatch):
    one._finish(register_model)
    known = releases.deployments_of_run

    def take_over(*what):
        fresh = Releases(releases.settings, releases.store, releases.catalog._session)
        Run(fresh, "run-2", tmp_path).plan(has_ended=lambda dag_id, run_id: True)
        return known(*what)

    monkeypatch.setattr(releases, "deployments_of_run", take_over)
    with pytest.raises(LockHeldError):
        one.test()
    assert list(releases.deployments.all()) == []


def test_freshness_is_judged_when_the_release_was_last_opened(releases, one):
    releases.ledger.append(Kind.RELEASE_CLOSED, "run-1", {"outcome": "failed"}, guard=lambda book: None)
    later = datetime.now(UTC) + timedelta(days=400)
    releases.now = releases.ledger._now = lambda: later
    one.plan()

    assert one._finish(check_data)["verdict"] == "HOLD"
