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

from recdeploy_ops.domain.errors import LockHeldError
from recdeploy_ops.domain.ledger import NOTEBOOK, Kind
from recdeploy_ops.domain.release_plan import describe_holder

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


def take(releases: Releases, run_id: str, facts: Mapping[str, Any]) -> None:
    """Open a release, which takes the lock.

    Raises:
        LockHeldError: another run was faster.
    """

    def require_free(book: Book) -> None:
        if book.holder not in {None, run_id}:
            raise LockHeldError(describe_holder(book))

    releases.ledger.append(Kind.RELEASE_OPENED, run_id, facts, guard=require_free)


def has_notebook_ended(releases: Releases, dag_id: str, run_id: str) -> bool:
    """Return whether a holder of the lock may be taken for dead.

    Args:
        releases: what the steps work with.
        dag_id: `NOTEBOOK` for a notebook's release, which has ended with its lease; any other is taken to be alive.
        run_id: the holder.
    """
    if dag_id != NOTEBOOK:
        return False
    opened = datetime.fromisoformat(releases.ledger.book().releases[run_id].last_opened_at)
    return releases.now() >= opened + timedelta(hours=releases.settings.release.test_lease_hours)
