"""The last net: closes what a dead run left open, and deletes deployments that nobody needs."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.releases import LEASE_TAG, RUN_TAG, run_slug
from recdeploy_ops.rollout import deletion
from recdeploy_ops.rollout.closing import advance_closing
from recdeploy_ops.workspaces import sweep_workspaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.domain.ledger import Book
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

UNFINISHED = timedelta(days=1)  # no writer takes that long


def advance(releases: Releases, *, has_ended: Callable[[str, str], bool]) -> Outcome:
    """Tidy up; whatever a live release needs is left alone.

    Args:
        releases: what the steps work with.
        has_ended: says of a DAG id and a run id whether that run has ended.

    Returns:
        What to wait for; else the names of the TEST deployments that are left, as they are needed or nobody knows them.
    """
    book = releases.ledger.book()
    if book.holder is not None and has_ended(releases.dag_of(book.holder), book.holder):
        log.warning("The run %s ended without closing its release: that is done now.", book.holder)
        closed = advance_closing(releases, book.holder)
        if isinstance(closed, Waiting):
            return closed
        book = releases.ledger.book()
    for name in releases.store.sweep(releases.now() - UNFINISHED):
        log.warning("A writer was killed while it wrote %s: what it left is removed.", name)
    sweep_workspaces()
    tests = [d for d in releases.deployments_of(Role.TEST) if d.lifecycle_state != "DELETED"]
    orphans = [d for d in tests if _is_orphan(d, book, releases.now())]
    waiting = deletion.advance_removal(releases, [*orphans, *deletion.find_unproved(releases)])
    return waiting or {"left": [d.name for d in tests if d not in orphans]}


def _is_orphan(deployment: Deployment, book: Book, now: datetime) -> bool:
    """Return whether a TEST deployment's release is closed, or its lease is over and no release holds it."""
    slug = deployment.tags.get(RUN_TAG)
    if book.holder is not None and run_slug(book.holder) == slug:
        return False
    if any(run_slug(run_id) == slug for run_id in book.releases):
        return True
    return _is_over(deployment.tags.get(LEASE_TAG, ""), now)


def _is_over(lease: str, now: datetime) -> bool:
    try:
        return datetime.fromisoformat(lease) <= now
    except (ValueError, TypeError):
        return False  # no lease of ours: a person must look
