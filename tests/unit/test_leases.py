"""The lease of the release lock, for a run that Airflow cannot say anything about."""

import ast
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from events import RETRAIN, ROLLBACK, START, chain, closed, opened, opened_rollback

from recdeploy_ops.deployment_manager.notebook_sessions import NotebookSession
from recdeploy_ops.domain.errors import LockHeldError
from recdeploy_ops.domain.events import NOTEBOOK, OUTSIDE_AIRFLOW, TERMINAL
from recdeploy_ops.domain.events import ReleaseOutcome as Outcome
from recdeploy_ops.domain.leases import end_of_lease
from recdeploy_ops.domain.ledger_state import LedgerState
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.domain.terminal_rollbacks import RollbackPlan, RollbackRequest
from recdeploy_ops.rollbacks.terminal import TerminalRollback
from recdeploy_ops.rollout import locks

PACKAGE = Path(__file__).parents[2] / "plugins/recdeploy_ops"
OPENED_AT = START + timedelta(minutes=2)  # of the second entry of a chain
SECOND = timedelta(seconds=1)


def release_of(*events):
    return replay(chain(*events)).releases["run-1"]


def hours(number):
    return timedelta(hours=number)


def retrain(approval, **changes):
    return opened(params=replace(RETRAIN, approval_timeout_hours=approval), **changes)


def rollback(approval, **changes):
    return opened_rollback(params=replace(ROLLBACK, approval_timeout_hours=approval), **changes)


@pytest.mark.parametrize(
    ("event", "training", "test_lease", "lasts"),
    [
        (retrain(48), 10, 72, 48 + 10 + 24),
        (retrain(0.5), 0.25, 1, 24.75),
        (retrain(1), 1, 72, 72),  # its test deployment is left alone for longer
        (retrain(24), 24, 72, 72),
        (retrain(48, dag_id=NOTEBOOK), 10, 72, 48 + 10 + 24),
        (retrain(1, dag_id=NOTEBOOK), 1, 72, 72),
        (rollback(4, dag_id=TERMINAL), 10, 1, 4 + 10 + 24),
        (rollback(4), 10, 1, 4 + 10 + 24),
        (rollback(4), 10, 72, 72),
        (rollback(720), 24, 72, 720 + 24 + 24),
    ],
    ids=lambda value: f"{value.dag_id}-{value.params.approval_timeout_hours}" if hasattr(value, "dag_id") else None,
)
def test_the_lease_is_training_approval_and_a_day_or_the_test_lease_if_longer(event, training, test_lease, lasts):
    release = release_of(event)
    end = end_of_lease(release, test_lease=hours(test_lease), training=hours(training))

    assert end == OPENED_AT + hours(lasts)
    assert end.tzinfo is UTC
    assert datetime.fromisoformat(release.last_opened_at).tzinfo is UTC


def test_a_reopened_release_has_a_new_lease():
    release = release_of(retrain(48), closed(Outcome.FAILED), retrain(1, opening=2))

    end = end_of_lease(release, test_lease=hours(1), training=hours(1))
    assert end == OPENED_AT + timedelta(minutes=2) + hours(1 + 1 + 24)


def context_at(now):
    """Return the parts of a release's context that the rule reads."""
    settings = SimpleNamespace(
        release=SimpleNamespace(test_lease_hours=72), training=SimpleNamespace(timeout_minutes=600)
    )
    context = SimpleNamespace(settings=settings, now=lambda: now)
    context.state, context.of_run = LedgerState(), lambda run_id: context
    return context


END = OPENED_AT + hours(48 + 10 + 24)


@pytest.mark.parametrize(("now", "is_over"), [(END - SECOND, False), (END, True), (END + SECOND, True)])
@pytest.mark.parametrize("dag_id", ["recommender_retrain", NOTEBOOK, TERMINAL])
def test_settings_and_clock_decide_for_a_run_of_any_origin(now, is_over, dag_id):
    context, release = context_at(now), release_of(retrain(48, dag_id=dag_id))

    assert locks.lease_end(release, context.settings) == END
    assert locks.has_lease_ended(context, release) is is_over
    assert NotebookSession(context, "ann")._has_ended(release) is (is_over and dag_id in OUTSIDE_AIRFLOW)
    for ended_run, ended in ((None, is_over), ("run-1", True), ("run-2", is_over)):
        request = RollbackRequest("previous", "it looks odd", ended_run)
        rollback = TerminalRollback(context, request, RollbackPlan(1, release, False, ()), "ann")
        assert rollback._has_ended(release) is ended


def test_a_run_that_may_still_be_running_keeps_its_lock_until_its_lease_is_over():
    release = release_of(retrain(48))

    with pytest.raises(LockHeldError, match=r"counts as ended at 2026-03-05 13:02 UTC.*ended_run = run-1") as held:
        locks.require_lease_over(context_at(END - SECOND), release)
    assert "Wait until it has ended" in str(held.value)
    locks.require_lease_over(context_at(END), release)


def names_in(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return {getattr(node, "id", None) or getattr(node, "attr", None) for node in nodes}


def test_operators_notebooks_and_terminals_use_the_same_rule():
    names = {str(path.relative_to(PACKAGE)): names_in(path) for path in PACKAGE.rglob("*.py")}

    def users(name):
        return {path for path, used in names.items() if name in used}

    assert users("end_of_lease") == {"rollout/locks.py"}
    assert users("lease_end") == {"rollbacks/terminal.py", "rollout/locks.py"}  # the former only shows it
    assert users("has_lease_ended") == {
        "deployment_manager/notebook_sessions.py",
        "operators/releases.py",
        "rollbacks/terminal.py",
        "rollout/locks.py",
    }
