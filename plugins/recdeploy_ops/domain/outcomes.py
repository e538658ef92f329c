"""Compare the tasks of a run in Airflow with the ledger: a person can mark a task as successful by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import ReleaseOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.domain.ledger_state import LedgerState, Release

FAILED_STATES = frozenset({"failed", "upstream_failed"})
SUCCESS = "success"
TEARDOWN = "close_release"
# How a release ends if this task really succeeded. A rollback can preempt any release.
CLAIMS = {
    "promote": {ReleaseOutcome.PROMOTED, ReleaseOutcome.PREEMPTED},
    "reject": {ReleaseOutcome.REJECTED, ReleaseOutcome.PREEMPTED},
    "roll_back": {ReleaseOutcome.ROLLED_BACK, ReleaseOutcome.PREEMPTED},
}


def has_failed(states: Mapping[str, str | None]) -> bool:
    """Return whether a task has failed whose failure fails the run: any but the teardown."""
    return any(state in FAILED_STATES for task, state in states.items() if task != TEARDOWN)


def find_contradiction(state: LedgerState, release: Release, states: Mapping[str, str | None]) -> str | None:
    """Return how the release differs from what the run's tasks say; None if it does not, or if a task failed.

    A teardown that failed does not fail the run. What it has not closed is not judged: housekeeping closes it.

    Args:
        state: of the ledger.
        release: of the run.
        states: of the run's tasks in Airflow, by their ids.
    """
    if has_failed(states) or (states.get(TEARDOWN) in FAILED_STATES and release.outcome is None):
        return None
    claimed = [task for task in CLAIMS if states.get(task) == SUCCESS]
    if not claimed or release.outcome in CLAIMS[claimed[0]]:
        return None
    ended = f"ended as {release.outcome}" if release.outcome else "has not ended"
    serving = state.production
    serves = f"Production serves v{serving.version}" if serving else "Nothing is in production"
    return (
        f"Airflow shows the task {claimed[0]} as successful, but according to the ledger the release of "
        f"v{release.version} {ended}: somebody marked a task as successful. {serves}."
    )
