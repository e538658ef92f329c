"""The release lock: the newest open release in the ledger holds it.

OCI knows no fencing token. Instead, whoever changes a deployment reads its etag, confirms the lock in the
ledger, and sends the change with ``if-match``. A takeover first changes production's etag by a tag, so that a
change which the former holder has prepared and not yet sent is refused.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import LockHeldError, RecdeployError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.release_plan import describe_holder, find_dead_holder
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.releases import run_slug
from recdeploy_ops.steps import close_release, labels, removals, restorations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from recdeploy_ops.domain.ledger import Book
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opening:
    """Who opens a release, and with what.

    Attributes:
        dag_id: the DAG of the run.
        params: the run's params, kept in the ledger.
        triggered_by: name of the person who triggered the run; None for the schedule.
        has_ended: says of a DAG id and a run id whether that run has ended.
    """

    dag_id: str
    params: Mapping[str, Any]
    triggered_by: str | None
    has_ended: Callable[[str, str], bool]


def open_release(releases: Releases, run_id: str, opening: Opening, *, purpose: str, version: int) -> None:
    """Open the release of a run, or open it again, which takes the lock.

    Args:
        releases: what the steps work with.
        run_id: the run.
        opening: who opens it, and with what.
        purpose: ``retrain`` or ``rollback``.
        version: the version number that it makes, or goes back to.

    Raises:
        LockHeldError: another run was faster.
    """
    book = releases.ledger.book()
    before = book.releases.get(run_id)
    facts = {
        "purpose": purpose,
        "version": version,
        "dag_id": opening.dag_id,
        "params": dict(opening.params),
        "champion": book.production.version if book.production else None,
        "settings": releases.keep_settings(run_id),
        "triggered_by": opening.triggered_by,
        "opening": before.facts[Kind.RELEASE_OPENED]["opening"] + 1 if before else 1,
    }
    take(releases, run_id, facts)


def would_preempt(book: Book, run_id: str) -> bool:
    """Return whether another run holds the lock and only waits for an approval."""
    return book.holder not in {None, run_id} and book.releases[book.holder or ""].only_waits


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
    closed = close_release.advance(releases, dead)
    return closed if isinstance(closed, Waiting) else None


def require_lease_over(releases: Releases, run_id: str) -> None:
    """Refuse to take a holder for dead that nobody can be asked about, while it may still be at work somewhere.

    A run takes no longer than its training and its wait for an approval may, and a day for all else; housekeeping
    leaves its TEST deployment alone for as long.

    Raises:
        LockHeldError: its lease is not over; says until when it lasts, and how a person ends it sooner.
    """
    book = releases.ledger.book()
    release = book.releases[run_id]
    settings = releases.settings
    longest = timedelta(
        hours=release.params.get("approval_timeout_hours", 0), minutes=settings.training.timeout_minutes
    )
    lease = max(timedelta(hours=settings.release.test_lease_hours), longest + timedelta(days=1))
    end = datetime.fromisoformat(release.last_opened_at) + lease
    if releases.now() >= end:
        return
    raise LockHeldError(
        f"{describe_holder(book)} This Airflow does not know that run: where another one works on the same storage, it "
        f"may be under way there. It counts as ended from {end:%Y-%m-%d %H:%M} UTC on. If it has ended for certain, as "
        f"it was deleted or its Airflow is gone, trigger recommender_housekeeping with ended_run = {run_id}."
    )


def advance_return(releases: Releases, run_id: str) -> Waiting | None:
    """Settle production where this run's own switch was interrupted and its tasks are taken again; then close it.

    What comes next opens the release again, with the approval that it has.
    """
    release = releases.ledger.book().releases.get(run_id)
    if release is None or not release.is_open or release.open_switch is None:
        return None
    log.warning("This run was switching production: the champion is brought back before its tasks are taken again.")
    waiting = restorations.advance_settlement(releases, release)
    if waiting:
        return waiting
    closing = {"outcome": "interrupted", "version": release.version}
    releases.record(Kind.RELEASE_CLOSED, run_id, closing)
    return None


def take(releases: Releases, run_id: str, facts: Mapping[str, Any]) -> None:
    """Open a release, which takes the lock.

    Raises:
        LockHeldError: another run was faster.
    """

    def require_free(book: Book) -> None:
        if book.holder not in {None, run_id}:
            raise LockHeldError(describe_holder(book))

    releases.ledger.append(Kind.RELEASE_OPENED, run_id, facts, guard=require_free)


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
            "seen_work_request": labels.newest_change(releases, serving),
            "at": releases.now().isoformat(),
        }
        releases.ledger.append(Kind.TAKEOVER_STARTED, dead, started, guard=still_holds)
    since = datetime.fromisoformat(started["at"])
    return labels.advance_fence(releases, run_slug(run_id), started["seen_work_request"], since=since)


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
            removals.ask(releases, deployment)
    except RecdeployError as err:  # a rollback is urgent: the run's own teardown and housekeeping try again
        log.warning("The TEST deployment of v%s could not be deleted: %s", version, err)
