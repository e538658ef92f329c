"""Whether Airflow's tasks say of a run what the ledger says."""

import re

import pytest
from events import chain, closed, opened, opened_rollback, promoted, registered, validated

from recdeploy_ops.domain.events import ReleaseOutcome as Outcome
from recdeploy_ops.domain.outcomes import find_contradiction
from recdeploy_ops.domain.replay import replay

ALL = {"plan_release": "success", "promote": "success", "bake": "success", "reject": "skipped"}
REJECTED = {**ALL, "promote": "skipped", "bake": "skipped", "reject": "success"}
BACK = {"plan_rollback": "success", "roll_back": "success"}
PROMOTED = (registered(), validated(), promoted())


def contradiction(states, *events):
    state = replay(chain(*events))
    return find_contradiction(state, state.releases["run-1"], states)


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        (ALL, Outcome.PROMOTED),
        (ALL, Outcome.PREEMPTED),
        (REJECTED, Outcome.REJECTED),
        (REJECTED, Outcome.PREEMPTED),
        (BACK, Outcome.ROLLED_BACK),
        (BACK, Outcome.PREEMPTED),
        ({"plan_rollback": "success", "roll_back": "skipped"}, Outcome.REJECTED),
        ({"plan_release": "skipped", "promote": "skipped"}, Outcome.FAILED),
        ({**ALL, "bake": "failed"}, Outcome.FAILED),
        ({**ALL, "close_release": "failed"}, Outcome.PROMOTED),
        ({**ALL, "extract": "failed", "promote": "upstream_failed"}, Outcome.FAILED),
    ],
)
def test_a_run_that_ended_as_its_tasks_say_or_failed_anyway_is_left_alone(states, outcome):
    assert contradiction(states, opened(), closed(outcome, 1)) is None


@pytest.mark.parametrize(
    ("states", "outcome", "says"),
    [
        (ALL, Outcome.FAILED, "the task promote as successful.*release of v1 ended as failed"),
        (ALL, Outcome.ROLLED_BACK, "the task promote as successful.*ended as rolled back"),
        (ALL, Outcome.REJECTED, "the task promote as successful.*ended as rejected"),
        (ALL, Outcome.INTERRUPTED, "the task promote as successful.*ended as interrupted"),
        (REJECTED, Outcome.FAILED, "the task reject as successful.*ended as failed"),
        ({**ALL, "close_release": "failed"}, Outcome.FAILED, "the task promote as successful.*ended as failed"),
        (BACK, Outcome.FAILED, "the task roll_back as successful.*ended as failed"),
        (BACK, Outcome.INTERRUPTED, "the task roll_back as successful.*ended as interrupted"),
    ],
)
def test_a_task_that_was_marked_as_successful_is_named(states, outcome, says):

    found = contradiction(states, opened(), closed(outcome, 1))

    assert re.search(says, found)
    assert found.endswith("somebody marked a task as successful. Nothing is in production.")


def test_a_release_that_is_still_open_is_a_contradiction_too():
    assert "the release of v1 has not ended" in contradiction(ALL, opened())


def test_what_a_failed_teardown_has_not_closed_is_not_judged():
    assert contradiction({**ALL, "close_release": "failed"}, opened()) is None


def test_what_production_serves_is_said():
    found = contradiction(
        BACK, ("run-0", opened()), *(("run-0", event) for event in PROMOTED), ("run-0", closed()), opened_rollback()
    )

    assert found.endswith("Production serves v1.")
