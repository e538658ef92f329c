"""Rollback, step 1: choose the version and take the release lock, also from a release that waits for an approval."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import Purpose
from recdeploy_ops.domain.params import RollbackParams
from recdeploy_ops.domain.production_checks import reconcile
from recdeploy_ops.domain.release_plan import choose_target, require_unused
from recdeploy_ops.rollout import rehearsals, takeovers
from recdeploy_ops.rollout.locks import can_be_preempted, open_release
from recdeploy_ops.rollout.production import find_production

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.rollout.locks import Opening

log = logging.getLogger(__name__)


def advance(context: ReleaseContext, opening: Opening) -> Outcome:
    """Open a rollback.

    It does not check what a rollback does not need: neither reading the project, nor writing and removing an object in
    storage, which a retention rule would forbid.

    Args:
        context: of the run.
        opening: who opens it, and with what `RollbackParams`.

    Raises:
        SettingsError: no such version exists.
        IllegalTransitionError: that version never served, or serves now.
        ApprovalError: this run has already rolled back, and production was changed since.
        StateMismatchError: OCI's production is not what the ledger says.
        LockHeldError: the run that holds the lock is past its approval.
        IntegrityError, StorageError: the version cannot be restored, so a waiting release is not preempted for it.
    """
    params = opening.params
    if not isinstance(params, RollbackParams):
        raise TypeError(f"A rollback needs RollbackParams, not {type(params).__name__}.")
    state = context.refresh()
    if state.production is None:
        reconcile(state, find_production(context))  # if OCI has one, this is the wrong storage
    known = state.releases.get(context.run_id)
    target = state.versions[known.version] if known else choose_target(state, _parse(params.version))
    if known is not None:
        require_unused(state, known)
    if can_be_preempted(state, context.run_id):  # an impossible rollback must not preempt a release
        reconcile(state, find_production(context))
        rehearsals.require_rollback_target(context, target)
    waiting = takeovers.advance_takeover(context, has_ended=opening.has_ended, preempting=True)
    waiting = waiting or takeovers.advance_return(context)
    if waiting:
        return waiting
    reconcile(context.state, find_production(context))  # an ended run may have left a switch unfinished
    known = context.state.releases.get(context.run_id)
    if known is None or not known.is_open:
        open_release(context, opening, purpose=Purpose.ROLLBACK, version=target.number)
    production = context.state.production
    serving = production.version if production else None
    log.info("Production goes from v%s back to v%s: %s", serving, target.number, params.reason or "no reason given")
    return {"version": target.number, "from": serving}


def _parse(version: int | str) -> int | str:
    """Return the param as a number if it is one: Airflow's form gives text."""
    return int(version) if isinstance(version, str) and version.isdecimal() else version
