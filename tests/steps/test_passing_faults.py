"""Faults that pass: what is tried again is not given up, and nothing is left half done."""

import pytest

from recdeploy_ops.domain.errors import CloudUnavailableError, PromotionFailedError, StorageUnavailableError
from recdeploy_ops.oci_clients import sessions
from recdeploy_ops.oci_clients.tags import LEDGER_TAG
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.steps import close_release
from recdeploy_ops.storage.roots import open_store


@pytest.fixture(autouse=True)
def no_retries(monkeypatch):
    """Let no fault be met by the SDK."""
    import oci.retry

    monkeypatch.setattr(sessions, "_retry_strategy", oci.retry.NoneRetryStrategy)


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "drop_after"}])
def test_a_probe_that_was_lost_begins_the_row_again(context, emulator, approved, fault):
    emulator.clear_calls()
    emulator.fail_next("Predict", after=2, **fault)

    assert approved.promote()["version"] == 2
    assert len(emulator.calls("Predict")) == 3 + context.settings.probes.consecutive_answers


def test_a_probe_that_was_throttled_goes_on_with_the_row(context, emulator, approved):
    emulator.clear_calls()
    emulator.fail_next("Predict", after=2, status=429, times=3)

    assert approved.promote()["version"] == 2
    assert len(emulator.calls("Predict")) == 3 + context.settings.probes.consecutive_answers


def test_a_row_that_is_broken_too_often_fails_the_switch(context, emulator, approved):
    for number in range(4):
        emulator.fail_next("Predict", after=2 * number, status=503)

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified(?s:.)*4 in all"):
        approved.promote()
    assert context.ledger.read().production.version == 1


def test_a_probe_that_stays_lost_fails_the_switch(context, emulator, approved):
    emulator.fail_next("Predict", status=503, times=1 + context.settings.probes.repeats)

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified(?s:.)*asked 5 times"):
        approved.promote()
    assert context.ledger.read().production.version == 1


@pytest.mark.parametrize("operation", ["UpdateModel", "UpdateModelDeployment"])
def test_closing_again_sets_the_tag_that_could_not_be_set(context, emulator, approved, operation):
    approved.promote()
    emulator.fail_next(operation, status=503)
    with pytest.raises(CloudUnavailableError):
        approved.close()
    approved.close()

    state = context.ledger.read()
    assert find_production(context).tags[LEDGER_TAG] == f"{state.seq}:{state.head}"


def test_a_passing_fault_of_the_deletion_neither_closes_the_release_nor_leaves_test(context, emulator, approved):
    emulator.fail_next("DeleteModelDeployment", status=503)
    with pytest.raises(CloudUnavailableError):
        close_release.advance(approved.context)
    assert context.ledger.read().holder == "run-2"

    approved.close()
    assert context.ledger.read().holder is None
    assert [d.name for d in context.deployments.all() if d.lifecycle_state != "DELETED"] == [
        "product-recommender-production"
    ]


def test_an_object_that_is_said_to_exist_and_does_not_is_worth_another_try(context, emulator):
    import oci

    session = context.deployments._session
    details = oci.object_storage.models.CreateBucketDetails(name="shop", compartment_id=emulator.compartment_id)
    session.object_storage.create_bucket(emulator.namespace, details)
    store = open_store(f"oci://shop@{emulator.namespace}", session)
    emulator.fail_next("PutObject", status=412)

    with pytest.raises(StorageUnavailableError):
        store.create("key", b"x")
    store.create("key", b"x")


def test_a_conflict_that_an_answer_without_body_cannot_name_may_pass(context, emulator):
    emulator.fail_next("HeadModelArtifact", status=409)

    with pytest.raises(CloudUnavailableError):
        context.catalog.has_artifact("ocid1.datasciencemodel.oc1.iad.x")
