"""A failed switch is undone in as many tries as that takes; an error says what could not be undone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from steps.factories import delete_model, delete_production, living_tests, served, tidy_up

from recdeploy_ops.domain.errors import DeploymentFailedError, PromotionFailedError, SwitchInterruptedError
from recdeploy_ops.domain.tries import Tries
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import close_release, promote

pytestmark = pytest.mark.usefixtures("no_retries")
NEEDS_A_PERSON = r"^PRODUCTION NEEDS A PERSON\."
ENDINGS = {
    "close_release": lambda run: run.close(),
    "housekeeping": lambda run: tidy_up(run.context, ended=True),
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("fault", ["work_request_failed", "needs_attention", "old_still_serves", "silently_reverted"])
def test_a_restoration_that_failed_is_requested_again(context, emulator, switching, fault, end):
    emulator.fail_next("Predict", status=500, times=4)  # v2 does not verify
    emulator.fail_next("UpdateModelDeployment", kind=fault)  # the update that restores v1
    with pytest.raises(PromotionFailedError, match=NEEDS_A_PERSON):
        switching.promote()

    end(switching)

    assert served(context) == context.ledger.read().production.version == 1
    assert context.ledger.read().holder is None


@pytest.mark.parametrize("is_deleted", [False, True], ids=["its own model", "a model that was registered again"])
def test_the_remedy_names_the_model_that_production_is_to_be_set_to(context, emulator, switching, is_deleted):
    emulator.fail_next("Predict", status=500, times=4)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
    champion = context.refresh().production
    if is_deleted:
        delete_model(context, 1)

    with pytest.raises(PromotionFailedError, match="could not be restored") as failed:
        switching.promote()

    model_id = context.refresh().versions[1].model_id
    assert f"Set the deployment's model to {model_id} in the OCI console" in str(failed.value)
    assert (model_id != champion.model_id) == is_deleted


def test_the_deadline_of_a_restoration_starts_when_oci_can_be_reached_again(context, emulator, switching):
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
        delete_production(context, emulator)
        emulator.fail_next("DeleteModelDeployment", status=404, code="NotAuthorizedOrNotFound", times=None)

        with pytest.raises(DeploymentFailedError, match=NEEDS_A_PERSON + r".*Besides, its test deployment could not"):
            switching.close()
        assert context.ledger.read().holder is None

    def test_by_its_own_plan_says_that_production_is_gone(self, context, emulator, switching):
        delete_production(context, emulator)

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
    assert switching.context.refresh().releases["run-2"].open_switch is not None
    assert switching.promote()["version"] == served(context) == 2
    assert living_tests(context) == []
