"""Step 2: copy what production serves to ``backups/v{N}_{YYYYMMDD_HHMMSS}/``, and prove that it could come back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.rollout import rehearsals
from recdeploy_ops.rollout.backups import back_up

if TYPE_CHECKING:
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str) -> Outcome:
    """Back up the champion's artifact, results and deployment metadata, verified, and rehearse a rollback.

    Raises:
        StorageError: the champion's files are gone.
        IntegrityError: they were changed.
    """
    serving = releases.ledger.book().production
    if serving is None:
        log.info("No previous version to backup: this is normal on first run.")
        releases.record(Kind.PRODUCTION_BACKED_UP, run_id, {"version": None, "prefix": None})
        return {"backup": None}
    prefix = back_up(releases, run_id, serving)
    rehearsals.rehearse(releases, run_id, releases.ledger.book().versions[serving.version])
    return {"backup": prefix, "version": serving.version}
