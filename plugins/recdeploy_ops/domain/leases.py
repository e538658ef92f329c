"""The lease of the release lock, for a run that Airflow cannot say anything about."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger_state import Release

MARGIN = timedelta(days=1)  # for everything but training and the wait for an approval


def end_of_lease(release: Release, *, test_lease: timedelta, training: timedelta) -> datetime:
    """Return when a release counts as ended, UTC.

    A run takes no longer than its training, its wait for an approval, and a day for everything else. Housekeeping
    leaves its test deployment alone for `test_lease`.

    Args:
        release: the release that holds the lock.
        test_lease: of a test deployment (setting ``release.test_lease_hours``).
        training: the longest training (setting ``training.timeout_minutes``).
    """
    approval = timedelta(hours=release.params.approval_timeout_hours)
    return datetime.fromisoformat(release.last_opened_at) + max(test_lease, training + approval + MARGIN)
