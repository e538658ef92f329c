"""Step 1: allocate the version, take the release lock, compare the ledger with OCI, print the plan."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.ledger import RETRAIN
from recdeploy_ops.domain.release_plan import plan
from recdeploy_ops.rollout import deletion, locks, takeovers

if TYPE_CHECKING:
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.rollout.locks import Opening

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str, opening: Opening) -> Outcome:
    """Open the release of a run, or open it again.

    Storage and OCI are tried before the lock is taken, so that a wrong setting leaves nothing behind.

    Raises:
        LockHeldError: a live run holds the lock.
        StateMismatchError: OCI's production is not what the ledger says.
    """
    releases.store.check_writable()
    releases.catalog.check_access()
    waiting = takeovers.advance_takeover(releases, run_id, has_ended=opening.has_ended)
    waiting = waiting or takeovers.advance_return(releases, run_id)
    if waiting is None and releases.ledger.book().production is None:
        waiting = deletion.advance_removal(releases, deletion.find_unproved(releases))
    if waiting:
        return waiting
    found = plan(
        releases.ledger.book(),
        run_id,
        highest_in_catalog=releases.highest_version_in_catalog(),
        production=releases.production(),
    )
    if found.record:
        locks.open_release(releases, run_id, opening, purpose=RETRAIN, version=found.version)
    for line in found.summary:
        log.info("%s", line)
    return {"version": found.version, "plan": list(found.summary)}
