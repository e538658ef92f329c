"""Faults that pass: the next try succeeds, and nothing is left half done."""

import pytest
from steps.factories import living

from recdeploy_ops.domain.errors import CloudUnavailableError, PromotionFailedError, StorageUnavailableError
from recdeploy_ops.oci_clients.tags import LEDGER_TAG
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.steps import close_release
from recdeploy_ops.storage.roots import open_store

pytestmark = pytest.mark.usefixtures("no_retries")


THIRD_PROBE = {
    "one with an error begins the row again": {"status": 503},
    "one without an answer begins the row again": {"kind": "drop_after"},
    "one that is throttled three times continues the row": {"status": 429, "times": 3},
}


@pytest.mark.parametrize("fault", THIRD_PROBE.values(), ids=THIRD_PROBE)
def test_a_probe_that_was_lost_does_not_fail_the_switch(context, emulator, approved, fault):
    emulator.clear_calls()
    emulator.fail_next("Predict", after=2, **fault)

    assert approved.promote()["version"] == 2
    # Two before the lost one and all of them after it, or all of them and three that were throttled.
    assert len(emulator.calls("Predict")) == 3 + context.settings.probes.consecutive_answers


def test_probes_that_are_lost_too_often_fail_the_switch(context, emulator, approved):
    for number in range(4):
        emulator.fail_next("Predict", after=2 * number, status=503)

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified(?s:.)*4 in all"):
        approved.promote()
    assert context.ledger.read().production.version == 1


def test_a_probe_that_is_lost_again_and_again_fails_the_switch(context, emulator, approved):
    emulator.fail_next("Predict", status=503, times=1 + context.settings.probes.repeats)

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified(?s:.)*5 requests to"):
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


def test_a_fault_of_the_deletion_keeps_the_release_open_until_test_is_deleted(context, emulator, approved):
    emulator.fail_next("DeleteModelDeployment", status=503)
    with pytest.raises(CloudUnavailableError):
        close_release.advance(approved.context)
    assert context.ledger.read().holder == "run-2"

    approved.close()
    assert context.ledger.read().holder is None
    assert [d.name for d in living(context)] == ["product-recommender-production"]


def test_a_missing_object_that_oci_reports_as_existing_is_worth_another_try(context, emulator, make_bucket):
    store = open_store(make_bucket(), context.deployments._session)
    emulator.fail_next("PutObject", status=412)

    with pytest.raises(StorageUnavailableError):
        store.create("key", b"x")
    store.create("key", b"x")


def test_a_conflict_whose_answer_has_no_body_is_worth_another_try(context, emulator):
    emulator.fail_next("HeadModelArtifact", status=409)

    with pytest.raises(CloudUnavailableError):
        context.catalog.has_artifact("ocid1.datasciencemodel.oc1.iad.x")
