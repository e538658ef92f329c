"""The pure decisions: stages, plans, switches, and the states of work requests."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, product
from types import SimpleNamespace

import pytest
from events import PRODUCTION, PROJECT, URL, asked, chain, closed, complete, of, opened, opened_rollback
from hypothesis import given
from hypothesis import strategies as st

from recdeploy_ops.domain.deployment_states import DeploymentState, Progress
from recdeploy_ops.domain.errors import IllegalTransitionError, LockHeldError, StateMismatchError
from recdeploy_ops.domain.events import NOTEBOOK, TERMINAL, ReleaseOutcome
from recdeploy_ops.domain.records import CatalogModel, Deployment, Shape, WorkRequest
from recdeploy_ops.domain.release_plan import find_ended_holder, lock_held, plan
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.domain.stages import TRANSITIONS, Stage, advance
from recdeploy_ops.domain.switching import Move, SwitchIntent, decide_switch
from recdeploy_ops.domain.waiting import FIRST_SECONDS, is_out_of_capacity, judge_work_request, poll_intervals
from recdeploy_ops.oci_clients.tags import PROJECT_TAG, VERSION_TAG
from recdeploy_ops.rollout.registry import highest_version

NOW = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)


@pytest.mark.parametrize(("current", "target"), list(product(Stage, Stage)))
def test_only_the_listed_transitions_are_allowed(current, target):
    if target in TRANSITIONS[current]:
        assert advance(current, target) is target
    else:
        with pytest.raises(IllegalTransitionError, match=f"from {current} to {target}"):
            advance(current, target)


@pytest.mark.parametrize("status", ["MELTED", "", "accepted"])
def test_an_unlisted_status_of_a_work_request_is_a_failure(status):
    assert judge_work_request(status) is Progress.FAILED


@given(st.floats(min_value=0.001, max_value=3600))
def test_poll_intervals_grow_up_to_the_longest(longest):
    intervals = list(islice(poll_intervals(longest), 40))

    assert intervals[0] == min(FIRST_SECONDS, longest)
    assert all(before <= after for before, after in pairwise(intervals))
    assert intervals[-1] == longest


def deployment(state="ACTIVE", model_id="old", name="production"):
    shape = Shape("VM.Standard.E4.Flex", 1, 16, 1)
    return Deployment(PRODUCTION, name, DeploymentState(state), "", model_id, URL, shape, {}, "etag", NOW)


def work(status, work_request_id="wr-2"):
    return WorkRequest(work_request_id, "MODEL_DEPLOYMENT_UPDATE", status, NOW)


def decide(*, state="ACTIVE", newest=None, reached=False, late=False, force=False):
    intent = SwitchIntent("serving v2", "wr-1", NOW + timedelta(hours=-1 if late else 1))
    return decide_switch(intent, deployment(state), newest, reached=reached, now=NOW, force=force)


@pytest.mark.parametrize(
    ("facts", "move"),
    [
        # Nothing was requested yet: no work request, or only one that was there before.
        ({}, Move.REQUEST),
        ({"newest": work("FAILED", "wr-1")}, Move.REQUEST),
        ({"state": "NEEDS_ATTENTION"}, Move.REQUEST),
        ({"state": "NEEDS_ATTENTION", "reached": True}, Move.REQUEST),
        ({"reached": True}, Move.PROBE),
        ({"state": "UPDATING"}, Move.WAIT),
        ({"state": "UPDATING", "late": True}, Move.GIVE_UP),
        ({"state": "INACTIVE"}, Move.GIVE_UP),
        ({"state": "FAILED"}, Move.GIVE_UP),
        ({"state": "MELTED"}, Move.GIVE_UP),
        # Requested.
        ({"state": "UPDATING", "newest": work("ACCEPTED")}, Move.WAIT),
        ({"state": "UPDATING", "newest": work("IN_PROGRESS")}, Move.WAIT),
        ({"state": "UPDATING", "newest": work("IN_PROGRESS"), "late": True}, Move.GIVE_UP),
        ({"newest": work("FAILED")}, Move.GIVE_UP),
        ({"newest": work("FAILED"), "reached": True}, Move.GIVE_UP),
        ({"newest": work("CANCELED")}, Move.GIVE_UP),
        ({"newest": work("MELTED")}, Move.GIVE_UP),
        ({"state": "UPDATING", "newest": work("SUCCEEDED")}, Move.WAIT),
        ({"state": "NEEDS_ATTENTION", "newest": work("SUCCEEDED"), "reached": True}, Move.GIVE_UP),
        # Accepted, but not carried out.
        ({"newest": work("SUCCEEDED")}, Move.GIVE_UP),
        ({"newest": work("SUCCEEDED"), "reached": True}, Move.PROBE),
        # A restoration sends the request even in an unlisted state.
        ({"state": "MELTED", "force": True}, Move.REQUEST),
        ({"state": "MELTED", "newest": work("SUCCEEDED"), "force": True}, Move.GIVE_UP),
        ({"state": "UPDATING", "force": True}, Move.WAIT),
        ({"state": "INACTIVE", "force": True}, Move.GIVE_UP),
    ],
)
def test_the_move_of_a_switch_follows_from_its_facts(facts, move):
    assert decide(**facts).move is move


@given(
    state=st.sampled_from(["CREATING", "ACTIVE", "UPDATING", "FAILED", "INACTIVE", "NEEDS_ATTENTION", "X"]),
    status=st.sampled_from([None, "ACCEPTED", "IN_PROGRESS", "SUCCEEDED", "FAILED", "CANCELED", "X"]),
    known=st.booleans(),
    reached=st.booleans(),
    late=st.booleans(),
)
def test_only_an_active_deployment_with_the_intended_configuration_is_probed(state, status, known, reached, late):
    newest = work(status, "wr-1" if known else "wr-2") if status else None
    decision = decide(state=state, newest=newest, reached=reached, late=late)

    if decision.move is Move.PROBE:
        assert state == "ACTIVE"
        assert reached
        assert newest is None or known or status == "SUCCEEDED"
    if late:
        assert decision.move is not Move.WAIT


def plan_run(state, run_id="run-9", *, in_catalog=(), production=None):
    models = [catalog_model(number) for number in in_catalog]
    context = SimpleNamespace(state=state, project=PROJECT, catalog=SimpleNamespace(models=lambda: models))
    return plan(state, run_id, highest_version=highest_version(context), production=production)


def catalog_model(version):
    tags = {PROJECT_TAG: PROJECT, VERSION_TAG: str(version)}
    return CatalogModel(f"m{version}", f"{PROJECT}-v{version}", "ACTIVE", tags, {}, NOW)


OPEN = replay(chain(opened(1)))
FAILED = replay(chain(opened(1), closed(ReleaseOutcome.FAILED)))


@pytest.mark.parametrize(
    ("state", "run_id", "is_recorded", "line", "words"),
    [
        pytest.param(replay([]), "run-9", True, 0, "first release", id="the first release makes v1"),
        pytest.param(OPEN, "run-1", False, -1, "This run already makes v1: it continues.", id="an open run"),
        pytest.param(
            FAILED, "run-1", True, -1, "run was closed (failed) and is reopened: it keeps v1", id="a closed run"
        ),
    ],
)
def test_a_run_keeps_its_version_and_is_recorded_unless_it_is_open(state, run_id, is_recorded, line, words):
    planned = plan_run(state, run_id)

    assert (planned.version, planned.record) == (1, is_recorded)
    assert words in planned.summary[line]


@pytest.mark.parametrize(("in_catalog", "version"), [([], 3), ([1], 3), ([7, 1], 8)])
def test_a_new_version_number_is_above_every_number_ever_used(in_catalog, version):
    rejected = of("run-2", opened(2), closed(ReleaseOutcome.REJECTED, 2))
    state = replay(chain(opened(1), closed(ReleaseOutcome.FAILED), *rejected))

    assert plan_run(state, in_catalog=in_catalog).version == version


def test_the_lock_is_taken_over_only_from_a_run_that_has_ended():
    state = replay(chain(opened(1, dag_id="d")))

    def has_ended(holder):
        return (holder.opened.dag_id, holder.run_id) == ("d", "run-1")

    assert find_ended_holder(replay([]), "run-1", has_ended=has_ended) is None
    assert find_ended_holder(state, "run-1", has_ended=lambda holder: False) is None
    assert find_ended_holder(state, "run-2", has_ended=has_ended) == "run-1"
    with pytest.raises(LockHeldError, match=r"v1 \(run run-1\) has held the release lock since 2026-03-02T03:02"):
        find_ended_holder(state, "run-2", has_ended=lambda holder: False)


@pytest.mark.parametrize(
    ("history", "words", "absent"),
    [
        ([opened()], ["is past release_opened", "Wait until it has ended, or mark its run as failed"], "manager."),
        ([opened(), asked()], ["waits for an approval", "Answer it under Required Actions, or mark"], "manager."),
        ([opened(dag_id=NOTEBOOK)], ["End it there", "manager.abandon_release()"], "Required Actions"),
        ([opened(dag_id=NOTEBOOK), asked()], ["for an approval", "manager.abandon_release()"], "Required Actions"),
        (
            [opened_rollback(dag_id=TERMINAL)],
            ["Finish it with `python -m recdeploy_ops rollback --version 1 --reason TEXT`"],
            "manager.",
        ),
    ],
)
def test_the_error_of_a_held_lock_says_how_to_end_the_release_that_holds_it(history, words, absent):
    error = str(lock_held(replay(chain(*history)).holding_release))

    assert [word for word in words if word not in error] == []
    assert absent not in error


PROMOTED = replay(chain(*complete(1)))


@pytest.mark.parametrize(
    ("state", "production", "message"),
    [
        (replay([]), deployment(), r"deployment production \(ocid-production\), which the ledger does not know"),
        (PROMOTED, None, "no longer has that deployment"),
        (PROMOTED, deployment("DELETED", "m1"), "no longer has that deployment"),
        (PROMOTED, deployment("DELETING", "m1"), "no longer has that deployment"),
        (PROMOTED, deployment("FAILED", "m1"), "which served v1 at http://production.* is in FAILED.*Look at its logs"),
        (PROMOTED, deployment("ACTIVE", "m9"), "somebody changed production by hand"),
        (PROMOTED, deployment("INACTIVE", "m1"), "is INACTIVE: it cannot be probed.*Bring it to ACTIVE"),
        (PROMOTED, deployment("PONDERING", "m1"), "is PONDERING: it cannot be probed.*Bring it to ACTIVE"),
    ],
)
def test_a_production_that_differs_from_the_ledger_stops_the_plan(state, production, message):
    with pytest.raises(StateMismatchError, match=message):
        plan_run(state, production=production)


def test_a_production_that_the_ledger_knows_is_in_the_plan():
    summary = plan_run(PROMOTED, production=deployment(model_id="m1")).summary

    assert summary == ("Production serves v1 at http://production.", "This release makes v2.")


@pytest.mark.parametrize("state", ["UPDATING", "CREATING", "NEEDS_ATTENTION"])
def test_a_production_that_a_release_can_switch_later_is_named_in_the_plan(state):
    summary = plan_run(PROMOTED, production=deployment(state, "m1")).summary

    assert f"OCI has production in {state}." in summary


@pytest.mark.parametrize(
    ("words", "lacks"),
    [
        ("Out of host capacity.", True),
        ("INTERNAL: out of capacity for shape VM.Standard.E4.Flex", True),
        ("The conda environment is not there.", False),
        ("The following service limits were exceeded: capacity", False),
    ],
)
def test_oci_says_in_two_ways_that_it_is_out_of_capacity(words, lacks):
    assert is_out_of_capacity(words) is lacks
