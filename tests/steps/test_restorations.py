"""A switch that failed is undone as often as it takes, and what could not be undone is reported."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import oci
import pytest

from recdeploy_ops.domain.errors import DeploymentFailedError, PromotionFailedError, SwitchInterruptedError
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.tries import Tries
from recdeploy_ops.oci_clients import sessions
from recdeploy_ops.rollout.production import find_deployments, find_production
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import close_release, housekeeping, promote

NEEDS_A_PERSON = r"^PRODUCTION NEEDS A PERSON\."


@pytest.fixture(autouse=True)
def no_retries(monkeypatch):
    """Let no fault be met by the SDK."""
    monkeypatch.setattr(sessions, "_retry_strategy", oci.retry.NoneRetryStrategy)


def served(context):
    production = context.deployments.get(context.ledger.read().production.deployment_id)
    return context.deployments.asker(production.url, timeout_seconds=10)({"user_id": "x"}).body["model_version"]


def tidy_up(run):
    context = run.context.of_run("tidy-up")
    return finish(context, lambda: housekeeping.advance(context, has_ended=lambda holder: True))


def of_run(run):
    return run.context.ledger.read().releases[run.run_id]


@pytest.mark.parametrize("again", [lambda run: run.close(), tidy_up], ids=["close_release", "housekeeping"])
@pytest.mark.parametrize("fault", ["work_request_failed", "needs_attention", "old_still_serves", "silently_reverted"])
def test_a_restoration_that_failed_is_requested_again(context, emulator, switching, fault, again):
    emulator.fail_next("Predict", status=500, times=4)  # v2 does not verify
    emulator.fail_next("UpdateModelDeployment", kind=fault)  # the update that restores v1
    with pytest.raises(PromotionFailedError, match=NEEDS_A_PERSON):
        switching.promote()

    again(switching)

    assert served(context) == context.ledger.read().production.version == 1
    assert context.ledger.read().holder is None


def test_a_restoration_has_its_time_however_long_oci_was_out_of_reach(context, emulator, switching):
    emulator.fail_next("Predict", status=500, times=4)
    emulator.fail_next("UpdateModelDeployment", status=503)
    with pytest.raises(SwitchInterruptedError):
        switching.promote()
    emulator.set_timings(update=0.5)

    switching.context = replace(switching.context, now=lambda: context.now() + timedelta(hours=3))
    switching.close()

    assert served(context) == context.ledger.read().production.version == 1


class TestClosing:
    def test_frees_the_lock_once_the_champion_is_restored_though_the_test_stays(self, context, emulator, switching):
        emulator.fail_next("DeleteModelDeployment", status=404, code="NotAuthorizedOrNotFound", times=None)

        with pytest.raises(DeploymentFailedError, match=r"is closed \(failed\), but its test deployment could not"):
            switching.close()
        assert served(context) == 1
        assert context.ledger.read().holder is None

    def test_says_that_production_is_gone_though_the_test_stays(self, context, emulator, switching):
        context.deployments.delete(find_production(context))
        emulator.wait_until_idle()
        emulator.fail_next("DeleteModelDeployment", status=404, code="NotAuthorizedOrNotFound", times=None)

        with pytest.raises(DeploymentFailedError, match=NEEDS_A_PERSON + r".*Besides, its test deployment could not"):
            switching.close()
        assert context.ledger.read().holder is None

    def test_by_its_own_plan_says_that_production_is_gone(self, context, emulator, switching):
        context.deployments.delete(find_production(context))
        emulator.wait_until_idle()

        with pytest.raises(DeploymentFailedError, match=NEEDS_A_PERSON + r" Production is gone"):
            switching.plan()
        assert context.ledger.read().holder is None


@pytest.mark.parametrize("step", [promote, close_release], ids=["promote", "close_release"])
@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_while_a_step_waits_is_reported_by_the_step(emulator, approved, step, status):
    emulator.set_timings(update=1)
    if step is close_release:
        promote.advance(approved.context)
    last = replace(approved.context, tries=Tries(3, 3, timedelta(seconds=30), "housekeeping goes on"))

    def advance_and_lose_the_right():
        outcome = step.advance(last)
        emulator.fail_next("GetModelDeployment", status=status, times=None)
        return outcome

    with pytest.raises(PromotionFailedError, match=NEEDS_A_PERSON + r".*is to serve v2"):
        finish(last, advance_and_lose_the_right)
    emulator.clear_faults()
    approved.close()
    assert served(approved.context) == 1


def test_throttled_probes_of_a_switch_do_not_undo_it(context, emulator, switching):
    emulator.fail_next("Predict", status=429, times=5)

    with pytest.raises(SwitchInterruptedError, match="429"):
        switching.promote()
    assert of_run(switching).open_switch is not None
    assert switching.promote()["version"] == served(context) == 2
    assert find_deployments(context, Role.TEST)[0].lifecycle_state.is_gone
