"""Take over the release lock from a run that has ended, or that a rollback may preempt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import NEEDS_A_PERSON, DeploymentFailedError, LockHeldError, RecdeployError
from recdeploy_ops.domain.events import ReleaseClosed, ReleaseOutcome, TakeoverStarted
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.release_plan import find_ended_holder, lock_held
from recdeploy_ops.domain.remedies import TryAgain
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.oci_clients.tags import run_slug
from recdeploy_ops.rollout import automatic_rollbacks, deletion, restoration, tagging
from recdeploy_ops.rollout.closing import advance_closing
from recdeploy_ops.rollout.locks import can_be_preempted, is_preemptable
from recdeploy_ops.rollout.production import find_own_deployments
from recdeploy_ops.rollout.production_reports import reporting_production

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import LedgerState, Release
    from recdeploy_ops.rollout.locks import HasEnded

log = logging.getLogger(__name__)


def advance_takeover(context: ReleaseContext, *, has_ended: HasEnded, preempting: bool = False) -> Waiting | None:
    """Free the lock of a run that has ended or, with ``preempting``, of one that only waits for an approval or bakes.

    Returns:
        What to wait for, or None when the lock is free or this run's own.

    Raises:
        LockHeldError: the run that holds the lock is in progress.
    """
    context.refresh()
    holder = context.state.holding_release
    if preempting and holder is not None and can_be_preempted(context.state, context.run_id):
        _preempt(context, holder)
    ended = find_ended_holder(context.state, context.run_id, has_ended=has_ended)
    if ended is None:
        return None
    log.warning("The run %s ended without freeing the release lock: its release is closed first.", ended)
    with reporting_production(context.of_run(ended)):
        waiting = _invalidate_etag(context, ended) if context.state.production else None
    if waiting:
        return waiting
    return _close(context, ended)


def advance_return(context: ReleaseContext) -> Waiting | None:
    """Restore the champion if this run's switch was interrupted and its tasks are run again; then close the release.

    Raises:
        DeploymentFailedError: production was deleted or has failed meanwhile; the release is closed.
    """
    release = context.refresh().releases.get(context.run_id)
    if release is None or not release.is_open or release.open_switch is None:
        return None
    log.warning("This run was switching production: the champion is restored before its tasks are run again.")
    with reporting_production(context):
        waiting = automatic_rollbacks.advance_interrupted_rollback(context)
        waiting = waiting or restoration.advance_restoration(context)
    if waiting:
        return waiting
    champion = context.state.production
    lost = restoration.find_lost_production(context.release, champion) if champion else None
    outcome = ReleaseOutcome.INTERRUPTED
    context.record(ReleaseClosed(outcome=outcome, version=release.version, seen_work_request=None, by=None))
    if lost:
        raise lost
    return None


def _close(context: ReleaseContext, ended: str) -> Waiting | None:
    """Close an ended run's release; a test deployment that cannot be deleted is left to housekeeping."""
    try:
        closed = advance_closing(context.of_run(ended))
    except DeploymentFailedError as err:
        if context.refresh().holder == ended or err.message.startswith(NEEDS_A_PERSON):
            raise
        log.warning("%s", err)
        return None
    return closed if isinstance(closed, Waiting) else None


def _invalidate_etag(context: ReleaseContext, ended: str) -> Waiting | None:
    """Change production's etag by setting a tag, so that OCI refuses a change that the ended run has prepared."""
    started = context.state.releases[ended].get(TakeoverStarted)
    if started is None or started.by != context.run_id:

        def require_held(state: LedgerState) -> None:
            if state.holder != ended:
                raise LockHeldError(f"The run {ended} no longer holds the release lock.", TryAgain())

        started = TakeoverStarted(
            by=context.run_id,
            seen_work_request=tagging.newest_change(context, context.state.production),
            at=context.now(),
        )
        context.ledger.append(ended, started, guard=require_held)
    return tagging.advance_etag_invalidation(
        context, run_slug(context.run_id), started.seen_work_request, since=started.at
    )


def _preempt(context: ReleaseContext, holder: Release) -> None:
    """Close a release that waits for an approval or bakes, unless it went on meanwhile.

    An approval that was not answered cannot be answered any more. A version that was being watched stays promoted:
    its bake ends without a result.
    """

    def require_waiting(state: LedgerState) -> None:
        current = state.releases[holder.run_id]
        if state.holder != holder.run_id or not is_preemptable(current) or current.is_baking != holder.is_baking:
            raise lock_held(state.holding_release or current)

    closing = ReleaseClosed(
        outcome=ReleaseOutcome.PROMOTED if holder.is_baking else ReleaseOutcome.PREEMPTED,
        version=holder.version,
        seen_work_request=tagging.newest_change(context, context.state.production) if holder.is_baking else None,
        by=context.run_id,
    )
    context.ledger.append(holder.run_id, closing, guard=require_waiting)
    log.warning(
        "The release of v%s (run %s) %s: this rollback preempts it.",
        holder.version,
        holder.run_id,
        "was being watched" if holder.is_baking else "only waited for an approval",
    )
    try:
        for deployment in find_own_deployments(context.of_run(holder.run_id), Role.TEST):
            deletion.request_deletion(context, deployment)
    except RecdeployError as err:  # a rollback is urgent: the run's own teardown and housekeeping try again
        log.warning("The test deployment of v%s could not be deleted: %s", holder.version, err)
