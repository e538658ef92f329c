"""OCI is out of capacity: the creation is tried again for hours, and the candidate stays."""

from dataclasses import replace
from datetime import timedelta

import pytest
from steps.factories import Run, living_tests, reopen, served

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.errors import DeploymentFailedError, OutOfCapacityError
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.rollout.capacity import PAUSE
from recdeploy_ops.rollout.waits import finish

REFUSED = {"status": 500, "code": "InternalError", "message": "Out of host capacity."}
# How OCI says it: it refuses the request, or the work request fails.
WAYS = {
    "refused": REFUSED,
    "failed": {"kind": "failed", "message": "Out of host capacity."},
}


class Patience:
    """Takes steps to their ends; a wait for a moment is over at once, as its clock jumps there."""

    def __init__(self):
        self.ahead, self.waits = timedelta(), []

    def now(self):
        return utc_now() + self.ahead

    def finish(self, context, advance):
        def step():
            outcome = advance()
            while isinstance(outcome, Waiting) and outcome.deployment_id is None:
                self.waits.append(outcome)
                self.ahead += outcome.deadline - self.now()
                outcome = advance()
            return outcome

        return finish(context, step)


@pytest.fixture
def patience():
    return Patience()


@pytest.fixture
def registered(context, tmp_path, patience, no_retries):
    """A run with a registered candidate, in which capacity is waited for half an hour."""
    release = context.settings.release.model_copy(update={"capacity_timeout_hours": 0.5})
    own = replace(reopen(context, release=release), now=patience.now)
    run = Run(own, "run-1", tmp_path, finish=patience.finish)
    run.register()
    return run


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_capacity_that_comes_back_costs_two_waits_and_no_candidate(registered, patience, emulator, way):
    emulator.fail_next("CreateModelDeployment", **way, times=2)
    registered.test()

    assert [wait.deployment_id for wait in patience.waits] == [None, None]
    assert patience.ahead >= 2 * PAUSE - timedelta(seconds=1)
    assert "OCI has no capacity for product-recommender-test-v1, 1 x VM.Standard" in patience.waits[0].reason
    assert "Out of host capacity" in patience.waits[0].reason
    assert living_tests(registered.context) == ["product-recommender-test-v1"]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_capacity_that_does_not_come_back_fails_the_task_and_the_trained_candidate_goes_on(
    registered, patience, emulator, way
):
    emulator.fail_next("CreateModelDeployment", **way, times=None)
    with pytest.raises(DeploymentFailedError) as failed:
        registered.test()

    for words in (
        "Test deployment failed: OCI has no capacity for product-recommender-test-v1",
        "(release.capacity_timeout_hours)",
        "Out of host capacity",
        "clear the task 'deploy_test' of this run (with its downstream) to continue, without another training",
    ):
        assert words in str(failed.value)
    assert timedelta(minutes=29) < patience.ahead < timedelta(minutes=31)
    registered.close()

    emulator.clear_faults()
    emulator.clear_calls()
    registered.plan()
    registered.test()
    assert emulator.calls("CreateModel") == []
    assert living_tests(registered.context) == ["product-recommender-test-v1"]


def test_a_first_production_without_a_test_deployment_waits_for_capacity_too(registered, patience, emulator, tmp_path):
    emulator.fail_next("CreateModelDeployment", **REFUSED, times=2)
    registered.close()
    run = Run(registered.context, "run-2", tmp_path, finish=patience.finish, skip_test_deployment=True)
    run.release_fully()

    assert len(patience.waits) == 2
    assert "product-recommender-production" in patience.waits[0].reason
    assert served(run.context) == run.context.state.production.version


def test_another_failure_of_a_deployment_is_not_waited_for(registered, patience, emulator):
    emulator.fail_next("CreateModelDeployment", "failed", message="The conda environment is not there.")

    with pytest.raises(DeploymentFailedError, match="conda environment is not there"):
        registered.test()
    assert patience.waits == []


def test_a_rollback_does_not_wait_for_capacity(no_retries, two_versions, run, emulator, monkeypatch):
    monkeypatch.setattr("recdeploy_ops.rollout.trials.try_registered", lambda *_: False)
    emulator.fail_next("CreateModelDeployment", **REFUSED)

    with pytest.raises(OutOfCapacityError, match=r"Out of host capacity"):
        run("back").rehearse_rollback()
