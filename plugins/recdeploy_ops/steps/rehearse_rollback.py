"""Rollback, step 2: rehearse it and back up what production serves, before the switch."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import IntegrityError, StorageError
from recdeploy_ops.domain.events import BackupFailed
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.rollout import backups
from recdeploy_ops.rollout.trials import advance_rehearsal

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome

log = logging.getLogger(__name__)


def advance(context: ReleaseContext) -> Outcome:
    """Rehearse the rollback target; back up what production serves unless it has a backup.

    Shipped code is loaded in a clean process; foreign code is served by a test deployment.

    Raises:
        IntegrityError: the target's artifact is not the one that was recorded, or does not answer.
        DeploymentFailedError: the test deployment could not serve it, or could not be deleted.
        StorageError: no undamaged copy of it exists.
    """
    release = context.confirm_lock()
    rehearsed = advance_rehearsal(context, context.state.versions[release.version])
    if isinstance(rehearsed, Waiting):
        return rehearsed
    _back_up_champion(context)
    started = rehearsed.started.isoformat() if rehearsed.started else None
    return {**asdict(rehearsed), "started": started}


def _back_up_champion(context: ReleaseContext) -> None:
    """Back up what the rollback replaces, unless it has a backup.

    Damaged files do not stop a rollback. An outage of storage or OCI is a transient error: a rollback needs both.
    """
    release, serving = context.release, context.state.production
    if serving is None or release.open_switch is not None or backups.is_backed_up(context, serving):
        return
    try:
        backups.back_up(context, serving)
    except (IntegrityError, StorageError) as err:
        log.warning("v%s could not be backed up; the rollback continues: %s", serving.version, err)
        context.record(BackupFailed(version=serving.version, reason=str(err)))
