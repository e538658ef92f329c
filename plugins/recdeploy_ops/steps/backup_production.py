"""Step 2: copy what production serves to ``backups/v{N}_{YYYYMMDD_HHMMSS}/``, and rehearse a rollback to it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import ProductionBackedUp
from recdeploy_ops.rollout import rehearsals
from recdeploy_ops.rollout.backups import back_up

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome

log = logging.getLogger(__name__)


def advance(context: ReleaseContext) -> Outcome:
    """Back up the champion's artifact, results and deployment metadata, verified, and rehearse a rollback.

    Raises:
        StorageError: the champion's files are gone.
        IntegrityError: they were changed.
        DeploymentFailedError: a worker may not run the champion's code, and production does not answer as expected.
    """
    context.confirm_lock()
    serving = context.state.production
    if serving is None:
        log.info("No previous version to backup: this is normal on first run.")
        context.record(ProductionBackedUp(version=None, prefix=None, digest=None))
        return {"backup": None}
    prefix = back_up(context, serving)
    rehearsals.rehearse_champion(context, serving)
    return {"backup": prefix, "version": serving.version}
