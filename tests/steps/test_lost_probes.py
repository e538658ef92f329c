"""An answer of OCI in place of the model's, or no answer, is not evidence about the model, whichever step probes."""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise

import pytest
from steps.factories import adopt, deactivate, deactivate_production, delete_production, switch_by_hand

from recdeploy_ops.domain.errors import (
    CloudRefusedError,
    CloudUnavailableError,
    DeploymentFailedError,
    PromotionFailedError,
    StateMismatchError,
)
from recdeploy_ops.domain.events import RollbackRehearsed
from recdeploy_ops.domain.events import TestDeployed as Deployed  # a class named Test... would be collected
from recdeploy_ops.domain.events import TestValidated as Validated
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.oci_clients import predictions
from recdeploy_ops.oci_clients.predictions import PACE_SECONDS, Repeats
from recdeploy_ops.rollout import rehearsals
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.switches import patient_asker

THROTTLED = {"code": "TooManyRequests", "message": "Tenancy request-rate limit exceeded. Please use the OCI Console."}
LOSSES = {
    "throttled": {"status": 429, "times": 2, **THROTTLED},
    "502": {"status": 502, "times": 2},
    "503": {"status": 503, "times": 2},
    "504": {"status": 504, "times": 2},
    "a single 401": {"status": 401},
    "a single 404": {"status": 404},
    "dropped before": {"kind": "drop_before", "times": 2},
    "dropped after": {"kind": "drop_after", "times": 2},
}
REFUSALS = (401, 404)


@pytest.fixture
def second(run, released, begin_with):
    """v1 serves, and v2 is deployed to test."""
    deploying = run("run-2", shift=1)

    def make():
        released()
        deploying.register()
        deploying.deploy_test()

    begin_with("deployed-2", make)
    return run("run-2", shift=1)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
class TestALossThatPasses:
    def test_validates_the_test_deployment(self, emulator, second, loss):
        emulator.fail_next("Predict", **loss)
        second.validate_test()

        report = second.context.release.require(Validated)
        assert report.verdict is not Verdict.FAIL
        assert emulator.faults() == []

    def test_promotes_and_rolls_back(self, run, emulator, second, loss):
        second.validate_test()
        second.answer(Decision.PROMOTE)
        emulator.fail_next("Predict", **loss)
        assert second.promote()["version"] == 2
        assert emulator.faults() == []
        second.close()

        emulator.fail_next("Predict", **loss)
        assert run("back").roll_back()["version"] == 1
        assert emulator.faults() == []

    def test_adopts(self, context, emulator, released, loss):
        released()
        emulator.fail_next("Predict", **loss)
        assert adopt(context, apply=False)["difference"] == []
        assert emulator.faults() == []


def update_production(context, emulator, **fault):
    if fault:
        emulator.fail_next("UpdateModelDeployment", **fault)
    production = find_production(context)
    context.deployments.tag(production, {**production.tags, "team": "shop"})


@pytest.mark.parametrize("state", ["NEEDS_ATTENTION", "UPDATING"])
def test_production_that_is_not_active_but_can_be_switched_is_replaced(context, emulator, second, state):
    if state == "UPDATING":
        emulator.set_timings(update=2)
        update_production(context, emulator)
    else:
        update_production(context, emulator, kind="needs_attention")
        emulator.wait_until_idle()
    assert find_production(context).lifecycle_state == state

    second.validate_test()
    second.answer(Decision.PROMOTE)
    emulator.set_timings(update=0.02)
    assert second.promote()["version"] == 2
    assert find_production(context).lifecycle_state == "ACTIVE"


@pytest.mark.parametrize(
    ("happen", "says"),
    [
        (deactivate_production, r"is INACTIVE: it cannot be probed.*Bring it to ACTIVE in the OCI console"),
        (delete_production, r"OCI no longer has that deployment"),
        (partial(switch_by_hand, version=2), r"somebody changed .* by hand"),
    ],
    ids=["deactivated", "deleted", "changed by hand"],
)
def test_production_that_a_release_cannot_replace_ends_its_validation(context, emulator, second, happen, says):
    happen(context, emulator)

    with pytest.raises(StateMismatchError, match=says):
        second.validate_test()


def test_a_test_deployment_that_is_not_active_is_deployed_again(context, emulator, second):
    tested = second.context.release.require(Deployed)
    deactivate(context, emulator, tested.deployment_id)

    with pytest.raises(StateMismatchError, match=r"is INACTIVE: it cannot be probed.*Clear the task 'deploy_test'"):
        second.validate_test()
    with pytest.raises(DeploymentFailedError, match="is INACTIVE and is being deleted"):
        second.deploy_test()
    second.deploy_test()  # as Airflow tries it again
    second.validate_test()
    assert second.context.release.require(Validated).verdict is not Verdict.FAIL


@pytest.mark.parametrize("status", REFUSALS)
class TestALastingRefusal:
    def test_is_not_judged_and_names_the_policy(self, emulator, second, status):
        emulator.fail_next("Predict", status=status, times=None)

        with pytest.raises(CloudRefusedError, match="DATA_SCIENCE_MODEL_DEPLOYMENT_PREDICT"):
            second.validate_test()
        assert second.context.release.get(Validated) is None
        emulator.clear_faults()
        second.validate_test()
        assert second.context.release.require(Validated).verdict is not Verdict.FAIL

    def test_of_a_switch_names_the_policy(self, emulator, second, status):
        second.validate_test()
        second.answer(Decision.PROMOTE)
        emulator.fail_next("Predict", status=status, times=None)

        with pytest.raises(PromotionFailedError, match="DATA_SCIENCE_MODEL_DEPLOYMENT_PREDICT"):
            second.promote()


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 503}, {"kind": "drop_before"}])
def test_a_test_deployment_that_gives_no_answer_is_tried_again_later(emulator, second, fault):
    emulator.fail_next("Predict", times=None, **fault)

    with pytest.raises(CloudUnavailableError, match="5 requests to"):
        second.validate_test()
    emulator.clear_faults()
    second.validate_test()
    assert second.context.release.require(Validated).verdict is not Verdict.FAIL


def test_a_champion_with_code_of_its_own_that_gives_no_answer_is_rehearsed_again_later(
    run, released, emulator, monkeypatch
):
    released()
    monkeypatch.setattr(rehearsals, "holds_foreign_code", lambda folder: True)
    second = run("run-2", shift=1)
    second.plan()
    emulator.fail_next("Predict", times=None, status=429)

    with pytest.raises(CloudUnavailableError, match="5 requests to"):
        second.back_up()
    emulator.clear_faults()
    second.back_up()
    assert second.context.release.require(RollbackRehearsed).version == 1


def test_production_that_gives_no_answer_is_not_measured_and_a_person_must_look(emulator, context, second):
    production = find_production(context).deployment_id
    emulator.clear_calls()
    second.validate_test()
    probed = [call["deployment_id"] for call in emulator.calls("Predict")]
    emulator.fail_next("Predict", status=503, after=probed.index(production), times=1 + context.settings.probes.repeats)

    emulator.clear_calls()
    second.validate_test()

    report = second.context.release.require(Validated)
    assert report.verdict is Verdict.HOLD
    tried = [call["status"] for call in emulator.calls("Predict") if call["deployment_id"] == production]
    assert tried == [503] * 5  # and not once for each request that production would have received


def test_probes_keep_below_the_limit_of_a_tenancy(context, released, monkeypatch):
    released()
    monkeypatch.setattr(predictions, "PACE_SECONDS", PACE_SECONDS)
    ask = patient_asker(context, find_production(context).url)
    started = time.monotonic()
    for _ in range(30):
        ask({"user_id": "x"})
    elapsed = time.monotonic() - started

    assert elapsed >= 29 * PACE_SECONDS
    assert 1 / PACE_SECONDS < 150


def test_each_wait_is_longer_than_the_one_before():
    for _ in range(20):
        delays = list(Repeats(4, 1.0).delays())
        assert len(delays) == 4
        assert all(later > sooner for sooner, later in pairwise(delays))


def test_a_notebooks_endpoint_is_asked_again(emulator, cells):
    cells.until_test()
    emulator.fail_next("Predict", status=503, times=2)

    assert cells.test.predict({"user_id": "x"})["count"]
    assert emulator.faults() == []
