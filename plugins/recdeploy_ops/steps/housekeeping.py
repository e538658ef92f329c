"""Housekeeping: close releases whose run has ended, delete orphans and unfinished files, train for the next backtest.

A failure of that training is only logged: the next release trains what is missing.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import RecdeployError
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.oci_clients.tags import RUN_TAG, is_lease_over
from recdeploy_ops.rollout import deletion
from recdeploy_ops.rollout.closing import advance_closing
from recdeploy_ops.rollout.production import find_deployments, run_tag
from recdeploy_ops.workspaces import sweep_workspaces

if TYPE_CHECKING:
    from datetime import datetime

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.rollout.locks import HasEnded

log = logging.getLogger(__name__)

ABANDONED_AFTER = timedelta(days=1)  # no writer takes that long


def advance(context: ReleaseContext, *, has_ended: HasEnded) -> Outcome:
    """Clean up, except what a release in progress needs.

    Args:
        context: of the housekeeping run, which does not have a release.
        has_ended: returns whether the run of the release that holds the lock has ended.

    Returns:
        What to wait for; else the names of the test deployments that stay, because they are needed or unknown, and
        under ``backtest`` whether the champion's side was trained or failed, unless it was there.
    """
    holder = context.refresh().holding_release
    if holder is not None and has_ended(holder):
        log.warning("The run %s ended without closing its release: closing it now.", holder.run_id)
        closed = advance_closing(context.of_run(holder.run_id))
        if isinstance(closed, Waiting):
            return closed
    for name in context.store.sweep(context.now() - ABANDONED_AFTER):
        log.warning("Removed %s: its writer was killed before it was complete.", name)
    sweep_workspaces()
    tests = [d for d in find_deployments(context, Role.TEST) if not d.lifecycle_state.is_deleted]
    orphans = [d for d in tests if _is_orphan(d, context.state, context.now())]
    waiting = deletion.advance_deletion(context, [*orphans, *deletion.find_unverified(context)])
    if waiting:
        return waiting
    done = _train_ahead(context)
    return {"left": [d.name for d in tests if d not in orphans], **({"backtest": done} if done else {})}


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


def _is_orphan(deployment: Deployment, state: LedgerState, now: datetime) -> bool:
    """Return whether a test deployment's release is closed, or its release is unknown and its lease is over."""
    made_by = deployment.tags.get(RUN_TAG)
    if state.holder is not None and run_tag(state, state.holder) == made_by:
        return False
    if any(run_tag(state, run_id) == made_by for run_id in state.releases):
        return True
    return is_lease_over(deployment.tags, now)
