"""Housekeeping: close releases whose run has ended, delete what nobody needs, train for the next backtest.

What is deleted follows a plan, which is logged before its first call (`recdeploy_ops.domain.retention`). A failure of
the training is only logged: the next release trains what is missing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import RecdeployError
from recdeploy_ops.domain.savings import describe_plan, summarise_done
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.rollout.closing import advance_closing
from recdeploy_ops.rollout.holdings import find_left_deployments, find_tests, make_plan
from recdeploy_ops.rollout.pruning import execute, started_by
from recdeploy_ops.workspaces import sweep_workspaces

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.rollout.locks import HasEnded

log = logging.getLogger(__name__)


def advance(context: ReleaseContext, *, has_ended: HasEnded) -> Outcome:
    """Clean up, except what a release in progress needs.

    Args:
        context: of the housekeeping run, which does not have a release.
        has_ended: returns whether the run of the release that holds the lock has ended.

    Returns:
        What to wait for; else the names of the test deployments that stay, because they are needed or unknown; under
        ``pruned`` what this run has deleted, unless that is nothing; and under ``backtest`` whether the champion's side
        was trained or failed, unless it was there.

    Raises:
        LedgerConflictError: another run has recorded something while the plan was executed.
    """
    holder = context.refresh().holding_release
    if holder is not None and has_ended(holder):
        log.warning("The run %s ended without closing its release: closing it now.", holder.run_id)
        closed = advance_closing(context.of_run(holder.run_id))
        if isinstance(closed, Waiting):
            return closed
    sweep_workspaces()
    plan, retention = make_plan(context), context.settings.retention
    log.info("%s", describe_plan(plan, retention.policy, retention.prices.prices))
    waiting = execute(context, plan)
    if waiting:
        return waiting
    left = {deployment.deployment_id for deployment in find_left_deployments(context)}
    summary = {"left": [test.name for test in find_tests(context) if test.deployment_id not in left]}
    started = started_by(context)
    pruned = {"pruned": summarise_done(started, retention.prices.prices)} if started else {}
    done = _train_ahead(context)
    return {**summary, **pruned, **({"backtest": done} if done else {})}


def _train_ahead(context: ReleaseContext) -> str | None:
    """Train the champion's side of the next backtest if it is missing; return what was done, or None for nothing.

    A failure is an error in the log, not of this task: the next release tries again, and says why if that fails.
    """
    from recdeploy_ops.evaluation.missing_sides import train_missing_side  # imports numpy and pyarrow

    try:
        return "trained" if train_missing_side(context) else None
    except (RecdeployError, OSError) as err:
        log.error("The next release must train the champion's side of the backtest itself: %s", err)
        return "failed"
