"""Rollback, step 1: choose the version, take the release lock, even from a release that only waits for an approval."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.ledger import ROLLBACK
from recdeploy_ops.domain.release_plan import choose_target, reconcile, require_unused
from recdeploy_ops.rollout import locks, rehearsals, takeovers

if TYPE_CHECKING:
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.rollout.locks import Opening

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str, opening: Opening) -> Outcome:
    """Open a rollback; its params are ``version`` (a number or ``previous``), ``reason`` and ``require_approval``.

    Raises:
        SettingsError: there is no such version.
        IllegalTransitionError: that version never served, or serves now.
        ApprovalError: this run has rolled back before, and production was changed since.
        StateMismatchError: OCI's production is not what the ledger says.
        LockHeldError: a live run is past its approval.
        IntegrityError, StorageError: a release would be pre-empted for a version that cannot be brought back.
    """
    releases.store.check_writable()
    releases.catalog.check_access()
    book = releases.ledger.book()
    known = book.releases.get(run_id)
    target = book.versions[known.version] if known else choose_target(book, _wanted(opening.params["version"]))
    if known is not None:
        require_unused(book, known)
    if locks.would_preempt(book, run_id):  # nobody loses an approval to a rollback that cannot be
        reconcile(book, releases.production())
        rehearsals.require_way_back(releases, target)
    waiting = takeovers.advance_takeover(releases, run_id, has_ended=opening.has_ended, preempting=True)
    waiting = waiting or takeovers.advance_return(releases, run_id)
    if waiting:
        return waiting
    reconcile(releases.ledger.book(), releases.production())  # a dead run may have left production half switched
    known = releases.ledger.book().releases.get(run_id)
    if known is None or not known.is_open:
        locks.open_release(releases, run_id, opening, purpose=ROLLBACK, version=target.number)
    production = releases.ledger.book().production
    serving = production.version if production else None
    reason = opening.params["reason"] or "no reason given"
    log.info("Production goes from v%s back to v%s: %s", serving, target.number, reason)
    return {"version": target.number, "from": serving}


def _wanted(version: int | str) -> int | str:
    """Return the param as a number where it is one: Airflow's form gives text."""
    return int(version) if isinstance(version, str) and version.isdecimal() else version
