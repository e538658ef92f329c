"""The pure decisions: stages, plans, switches, and what OCI's states mean."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.test_ledger import chain, closed, complete, opened

from recdeploy_ops.domain.errors import IllegalTransitionError, LockHeldError, StateMismatchError
from recdeploy_ops.domain.ledger import NOTEBOOK
from recdeploy_ops.domain.records import Deployment, Shape, WorkRequest
from recdeploy_ops.domain.release_plan import describe_holder, find_dead_holder, plan
from recdeploy_ops.domain.replay import fold
from recdeploy_ops.domain.stages import TRANSITIONS, Stage, advance
from recdeploy_ops.domain.switching import Move, SwitchIntent, decide_switch
from recdeploy_ops.domain.waiting import FIRST_SECONDS, Progress, judge_deployment, judge_work_request, look_intervals

NOW = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)


@pytest.mark.parametrize(("current", "target"), list(product(Stage, Stage)))
def test_only_the_listed_transitions_are_allowed(current, target):
    if target in TRANSITIONS[current]:
        assert advance(current, target) is target
    else:
        with pytest.raises(IllegalTransitionError, match=f"from {current} to {target}"):
            advance(current, target)


@pytest.mark.parametrize("state", ["MELTED", "", "active"])
def test_a_state_that_nobody_listed_is_a_failure(state):
    assert judge_deployment(state) is Progress.FAILED
    assert judge_work_request(state) is Progress.FAILED


@given(st.floats(min_value=0.001, max_value=3600))
def test_looks_follow_each_other_more_and_more_slowly_up_to_the_longest_interval(longest):
    intervals = list(islice(look_intervals(longest), 40))

    assert intervals[0] == min(FIRST_SECONDS, longest)
    assert all(before <= after for before, after in pairwise(intervals))
    assert intervals[-1] == longest


def deployment(state="ACTIVE", model_id="old", name="production"):
    shape = Shape("VM.Standard.E4.Flex", 1, 16, 1)
    return Deployment("ocid", name, state, "", model_id, "http://x/ocid", shape, {}, "etag", NOW)


def work(status, work_request_id="wr-2"):
    return WorkRequest(work_request_id, "MODEL_DEPLOYMENT_UPDATE", status, NOW)


def decide(*, state="ACTIVE", newest=None, reached=False, late=False, insisting=False):
    intent = SwitchIntent("serving v2", "wr-1", NOW + timedelta(hours=-1 if late else 1))
    return decide_switch(intent, deployment(state), newest, reached=reached, now=NOW, insisting=insisting)


@pytest.mark.parametrize(
    ("facts", "move"),
    [
        # Nothing was asked yet: no work request, or only one that was there before.
        ({}, Move.ASK),
        ({"newest": work("FAILED", "wr-1")}, Move.ASK),
        ({"state": "NEEDS_ATTENTION"}, Move.ASK),
        ({"state": "NEEDS_ATTENTION", "reached": True}, Move.ASK),
        ({"reached": True}, Move.PROBE),
        ({"state": "UPDATING"}, Move.WAIT),
        ({"state": "UPDATING", "late": True}, Move.GIVE_UP),
        ({"state": "INACTIVE"}, Move.GIVE_UP),
        ({"state": "FAILED"}, Move.GIVE_UP),
        ({"state": "MELTED"}, Move.GIVE_UP),
        # Asked.
        ({"state": "UPDATING", "newest": work("ACCEPTED")}, Move.WAIT),
        ({"state": "UPDATING", "newest": work("IN_PROGRESS")}, Move.WAIT),
        ({"state": "UPDATING", "newest": work("IN_PROGRESS"), "late": True}, Move.GIVE_UP),
        ({"newest": work("FAILED")}, Move.GIVE_UP),
        ({"newest": work("FAILED"), "reached": True}, Move.GIVE_UP),
        ({"newest": work("CANCELED")}, Move.GIVE_UP),
        ({"newest": work("MELTED")}, Move.GIVE_UP),
        ({"state": "UPDATING", "newest": work("SUCCEEDED")}, Move.WAIT),
        ({"state": "NEEDS_ATTENTION", "newest": work("SUCCEEDED"), "reached": True}, Move.GIVE_UP),
        # Accepted, and silently not done.
        ({"newest": work("SUCCEEDED")}, Move.GIVE_UP),
        ({"newest": work("SUCCEEDED"), "reached": True}, Move.PROBE),
        # The way back has nothing to lose by asking.
        ({"state": "MELTED", "insisting": True}, Move.ASK),
        ({"state": "MELTED", "newest": work("SUCCEEDED"), "insisting": True}, Move.GIVE_UP),
        ({"state": "UPDATING", "insisting": True}, Move.WAIT),
        ({"state": "INACTIVE", "insisting": True}, Move.GIVE_UP),
    ],
)
def test_a_switch_is_decided_by_its_facts(facts, move):
    assert decide(**facts).move is move


@given(
    state=st.sampled_from(["CREATING", "ACTIVE", "UPDATING", "FAILED", "INACTIVE", "NEEDS_ATTENTION", "X"]),
    status=st.sampled_from([None, "ACCEPTED", "IN_PROGRESS", "SUCCEEDED", "FAILED", "CANCELED", "X"]),
    known=st.booleans(),
    reached=st.booleans(),
    late=st.booleans(),
)
def test_nothing_is_probed_that_is_not_active_and_configured_as_intended(state, status, known, reached, late):
    newest = work(status, "wr-1" if known else "wr-2") if status else None
    decision = decide(state=state, newest=newest, reached=reached, late=late)

    if decision.move is Move.PROBE:
        assert state == "ACTIVE"
        assert reached
        assert newest is None or known or status == "SUCCEEDED"
    if late:
        assert decision.move is not Move.WAIT


def plan_run(book, run_id="run-9", *, in_catalog=0, production=None):
    return plan(book, run_id, highest_in_catalog=in_catalog, production=production)


def test_the_first_release_makes_version_1():
    found = plan_run(fold([]))

    assert (found.version, found.record) == (1, True)
    assert "first release" in found.summary[0]


def test_a_version_number_is_one_above_every_number_ever_given_out():
    book = fold(chain(opened("run-1", 1), closed("run-1", "failed"), opened("run-2", 2), closed("run-2", "rejected")))

    assert plan_run(book).version == 3
    assert plan_run(book, in_catalog=7).version == 8


def test_a_run_that_is_open_goes_on_and_a_closed_one_is_opened_again():
    book = fold(chain(opened("run-1", 1)))
    assert (plan_run(book, "run-1").version, plan_run(book, "run-1").record) == (1, False)

    book = fold(chain(opened("run-1", 1), closed("run-1", "failed")))
    assert (plan_run(book, "run-1").version, plan_run(book, "run-1").record) == (1, True)


def test_the_lock_is_taken_over_only_from_a_run_that_has_ended():
    book = fold(chain(opened("run-1", 1)))

    assert find_dead_holder(book, "run-1", has_ended=lambda dag, run: False) is None
    assert find_dead_holder(book, "run-2", has_ended=lambda dag, run: (dag, run) == ("d", "run-1")) == "run-1"
    with pytest.raises(LockHeldError, match=r"Release v1 \(run run-1\) holds the release lock"):
        find_dead_holder(book, "run-2", has_ended=lambda dag, run: False)


def test_who_waits_for_a_notebooks_lock_is_told_how_to_end_it_there():
    kind, run_id, facts = opened("notebook-1", 1)
    book = fold(chain((kind, run_id, {**facts, "dag_id": NOTEBOOK})))

    advice = describe_holder(book)
    assert "manager.abandon_release()" in advice
    assert "Required Actions" not in advice


PROMOTED = fold(chain(*complete("run-1", 1)))


@pytest.mark.parametrize(
    ("book", "production", "message"),
    [
        (fold([]), deployment(), "of which the ledger knows nothing"),
        (PROMOTED, None, "no such deployment any more"),
        (PROMOTED, deployment("DELETED", "m1"), "no such deployment any more"),
        (PROMOTED, deployment("ACTIVE", "m9"), "somebody changed production by hand"),
    ],
)
def test_a_production_that_the_ledger_does_not_know_stops_the_plan(book, production, message):
    with pytest.raises(StateMismatchError, match=message):
        plan_run(book, production=production)


def test_a_production_that_the_ledger_knows_is_named_in_the_plan():
    assert plan_run(PROMOTED, production=deployment(model_id="m1")).summary[0] == "Production serves v1 at u."
