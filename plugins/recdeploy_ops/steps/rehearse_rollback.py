"""Rollback, step 2: prove that the version can serve, and back up what serves, before production is touched."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import IntegrityError, StorageError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.rollout import backups, rehearsals

if TYPE_CHECKING:
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str) -> Outcome:
    """Fetch, verify, load and ask the version that the rollback goes to; back up what serves where nothing else has.

    Raises:
        IntegrityError: its artifact is not the one that was recorded, or does not answer.
        StorageError: there is no whole copy of it anywhere.
    """
    release = releases.release(run_id)
    rehearsals.rehearse(releases, run_id, releases.ledger.book().versions[release.version])
    _back_up_champion(releases, run_id)
    return dict(releases.facts(releases.release(run_id), Kind.ROLLBACK_REHEARSED))


def _back_up_champion(releases: Releases, run_id: str) -> None:
    """Back up what the rollback replaces, unless that was done before.

    Damage holds nothing up. An outage of the storage or of OCI is tried again like every other: a rollback needs both.
    """
    release, serving = releases.release(run_id), releases.ledger.book().production
    if serving is None or release.open_switch is not None or backups.is_backed_up(releases, serving):
        return
    try:
        backups.back_up(releases, run_id, serving)
    except (IntegrityError, StorageError) as err:
        log.warning("v%s could not be backed up, and the rollback goes on: %s", serving.version, err)
        releases.record(Kind.BACKUP_FAILED, run_id, {"version": serving.version, "reason": str(err)})
