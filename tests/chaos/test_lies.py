"""A cloud that lies: no switch is reported as done that is not, and the champion serves again, verified.

`make test` tries each lie once, `make test-chaos` a hundred times (CHAOS_TRIES).
"""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from steps.conftest import ROOT
from steps.factories import served_to_all

from oci_emulator.faults import OUTCOMES, UPDATE_OPERATION, operations_of
from recdeploy_ops.domain.errors import PromotionFailedError
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.steps import promote, roll_back

pytestmark = pytest.mark.usefixtures("neighbours")
TRIES = int(os.environ.get("CHAOS_TRIES", "1"))
# After this one nothing can be restored: `tests/steps/test_interrupted_switches.py` covers that.
FATAL = "failed"
LIES = sorted(kind for kind in OUTCOMES if UPDATE_OPERATION in operations_of(kind) and kind != FATAL)


@pytest.fixture
def settings(settings):
    """The settings of the other tests, but with as many consecutive answers as the committed settings need."""
    probes = yaml.safe_load((ROOT / "include" / "recommender.yaml").read_text())["probes"]
    consecutive = {"consecutive_answers": probes["consecutive_answers"]}
    return settings.model_copy(update={"probes": settings.probes.model_copy(update=consecutive)})


@pytest.fixture
def take(context, emulator):
    """Takes a step to its end; it waits for a change that is stuck until after the deadline, then lets it go on."""

    def take(step, run_id, lie=None):
        waited = timedelta()  # by a clock of its own: after a hundred deadlines an approval would be too old
        late = replace(context.of_run(run_id), now=lambda: datetime.now(UTC) + waited)
        while isinstance(outcome := step.advance(late), Waiting):
            if lie == "stuck":
                waited += outcome.deadline - late.now()
                assert isinstance(step.advance(late), Waiting)  # for the restoration, behind what is stuck
                assert find_production(context).lifecycle_state == "UPDATING"
                emulator.clear_faults()
                lie = None
            emulator.wait_until_idle()
        return outcome

    return take


def test_every_lie_about_an_update_is_tested_here():
    assert LIES == [
        "half_done",  # FAILED with the old model's id, but the new one answers
        "needs_attention",
        "old_still_serves",  # SUCCEEDED and ACTIVE with the new model's id, but the old one answers
        "random_replica",  # one answer in four is the old model's, by chance
        "silently_reverted",  # SUCCEEDED and ACTIVE, with the old model's id
        "stale_replica",  # one answer in four is the old model's
        "stuck",  # IN_PROGRESS beyond every deadline
        "unknown_state",  # SUCCEEDED, in a state that OCI does not have
        "work_request_failed",  # FAILED while the old model stays ACTIVE
    ]


@pytest.mark.timeout(600 + 30 * TRIES)
@pytest.mark.parametrize("lie", LIES)
def test_a_promotion_is_never_reported_as_done_before_it_is(context, emulator, approved_here, take, lie):
    for _ in range(TRIES):
        emulator.fail_next(UPDATE_OPERATION, kind=lie)
        with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified"):
            take(promote, "run-2", lie)
        approved_here.close()
        assert context.ledger.read().production.version == 1
        assert served_to_all(context) == {1}
        approved_here.plan()

    take(promote, "run-2")
    assert context.ledger.read().production.version == 2
    assert served_to_all(context) == {2}


@pytest.mark.timeout(600 + 30 * TRIES)
@pytest.mark.more
@pytest.mark.parametrize("lie", LIES)
def test_a_rollback_is_never_reported_as_done_before_it_is(context, emulator, run, two_versions, take, lie):
    for number in range(TRIES):
        back = run(f"back-{number}")
        back.rehearse_rollback()
        emulator.fail_next(UPDATE_OPERATION, kind=lie)
        with pytest.raises(PromotionFailedError, match=r"Rollback failed: v2 serves at .*, verified"):
            take(roll_back, back.run_id, lie)
        back.close()
        state = context.ledger.read()
        assert (state.production.version, state.releases[back.run_id].outcome) == (2, "failed")
        assert served_to_all(context) == {2}

    assert run("back").roll_back()["version"] == 1
    assert served_to_all(context) == {1}
