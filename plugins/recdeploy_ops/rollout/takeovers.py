"""Taking the release lock over from a run that has ended, or that only waits for an approval."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import LockHeldError, RecdeployError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.release_plan import describe_holder, find_dead_holder
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.releases import run_slug
from recdeploy_ops.rollout import deletion, restoration, tagging
from recdeploy_ops.rollout.closing import advance_closing
from recdeploy_ops.rollout.locks import would_preempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.domain.ledger import Book
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def advance_takeover(
    releases: Releases, run_id: str, *, has_ended: Callable[[str, str], bool], preempting: bool = False
) -> Waiting | None:
    """Free the lock of a dead holder, or with ``preempting`` of one that only waits for an approval.

    Returns:
        What to wait for, or None when the lock is free or one's own.

    Raises:
        LockHeldError: a live run holds the lock.
    """
    book = releases.ledger.book()
    if preempting and would_preempt(book, run_id):
        _preempt(releases, book, run_id)
    dead = find_dead_holder(releases.ledger.book(), run_id, has_ended=has_ended)
    if dead is None:
        return None
    log.warning("The run %s ended without freeing the release lock: its release is closed first.", dead)
    waiting = _fence(releases, dead, run_id) if releases.ledger.book().production else None
    if waiting:
        return waiting
    closed = advance_closing(releases, dead)
    return closed if isinstance(closed, Waiting) else None


def advance_return(releases: Releases, run_id: str) -> Waiting | None:
    """Settle production where this run's own switch was interrupted and its tasks are taken again; then close it.

    What comes next opens the release again, with the approval that it has.
    """
    release = releases.ledger.book().releases.get(run_id)
    if release is None or not release.is_open or release.open_switch is None:
        return None
    log.warning("This run was switching production: the champion is brought back before its tasks are taken again.")
    waiting = restoration.advance_settlement(releases, release)
    if waiting:
        return waiting
    closing = {"outcome": "interrupted", "version": release.version}
    releases.record(Kind.RELEASE_CLOSED, run_id, closing)
    return None


def _fence(releases: Releases, dead: str, run_id: str) -> Waiting | None:
    """Change production's etag by a tag, so that a change that a dead holder has prepared is refused."""
    serving = releases.ledger.book().production
    started = releases.ledger.book().releases[dead].get(Kind.TAKEOVER_STARTED)
    if started is None or started["by"] != run_id:

        def still_holds(book: Book) -> None:
            if book.holder != dead:
                raise LockHeldError(f"The run {dead} does not hold the release lock any more.")

        started = {
            "by": run_id,
            "seen_work_request": tagging.newest_change(releases, serving),
            "at": releases.now().isoformat(),
        }
        releases.ledger.append(Kind.TAKEOVER_STARTED, dead, started, guard=still_holds)
    since = datetime.fromisoformat(started["at"])
    return tagging.advance_fence(releases, run_slug(run_id), started["seen_work_request"], since=since)


def _preempt(releases: Releases, seen: Book, run_id: str) -> None:
    """Close a release that waits for an approval, unless it was answered meanwhile; its approval then refuses."""
    holder = seen.holder or ""

    def still_waits(book: Book) -> None:
        if book.holder != holder or not book.releases[holder].only_waits:
            raise LockHeldError(describe_holder(book))

    version = seen.releases[holder].version
    closing = {"outcome": "pre-empted", "version": version, "by": run_id}
    releases.ledger.append(Kind.RELEASE_CLOSED, holder, closing, guard=still_waits)
    log.warning("The release of v%s (run %s) only waited for an approval: this rollback pre-empts it.", version, holder)
    try:
        for deployment in releases.deployments_of_run(Role.TEST, holder):
            deletion.ask(releases, deployment)
    except RecdeployError as err:  # a rollback is urgent: the run's own teardown and housekeeping try again
        log.warning("The TEST deployment of v%s could not be deleted: %s", version, err)
