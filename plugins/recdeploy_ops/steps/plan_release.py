"""Step 1: compare the ledger with OCI, check what a release needs, take the release lock, allocate the version."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import Purpose
from recdeploy_ops.domain.params import RetrainParams
from recdeploy_ops.rollout import deletion, takeovers
from recdeploy_ops.rollout.locks import open_release
from recdeploy_ops.rollout.planning import plan_version
from recdeploy_ops.rollout.prerequisites import check_prerequisites

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.rollout.locks import Opening

log = logging.getLogger(__name__)


def advance(context: ReleaseContext, opening: Opening) -> Outcome:
    """Open or reopen the release of the run.

    What the release needs is checked before the lock is taken, so that a wrong setting leaves nothing behind. Before
    these checks the lock of a run that has ended is freed.

    Args:
        context: of the run.
        opening: who opens it, and with what.

    Raises:
        LockHeldError: the run that holds the lock is in progress.
        StateMismatchError: OCI's production is not what the ledger says or not ACTIVE, or an unknown shop may already
            be served.
        TemporaryFolderError, CloudRefusedError, SettingsError: as `check_prerequisites` raises them.
    """
    params = opening.params
    if not isinstance(params, RetrainParams):
        raise TypeError(f"A release needs RetrainParams, not {type(params).__name__}.")
    context.store.check_writable()
    context.catalog.check_access()
    waiting = takeovers.advance_takeover(context, has_ended=opening.has_ended)
    waiting = waiting or takeovers.advance_return(context)
    if waiting is None and context.state.production is None:
        waiting = deletion.advance_deletion(context, deletion.find_unverified(context))
    if waiting:
        return waiting
    planned = plan_version(context)
    not_tried = check_prerequisites(context, params)
    if planned.record:
        open_release(context, opening, purpose=Purpose.RETRAIN, version=planned.version)
    lines = [*planned.summary, *not_tried]
    for line in lines:
        log.info("%s", line)
    return {"version": planned.version, "plan": lines}
