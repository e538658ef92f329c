"""Step 16, and the last of a rollback: fail a run that looks successful although its release ended otherwise."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import OutcomeError
from recdeploy_ops.domain.outcomes import find_contradiction
from recdeploy_ops.domain.remedies import Remedy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome

log = logging.getLogger(__name__)


def advance(context: ReleaseContext, *, states: Mapping[str, str | None]) -> Outcome:
    """Compare the run's tasks in Airflow with the ledger.

    Args:
        context: of the run, whose release is closed.
        states: of the run's tasks in Airflow, by their ids.

    Raises:
        OutcomeError: a task was marked as successful, and the release ended otherwise.
    """
    state = context.refresh()
    release = state.releases.get(context.run_id)
    if release is None:
        log.info("The run %s never opened a release: nothing to confirm.", context.run_id)
        return {"outcome": None}
    contradiction = find_contradiction(state, release, states)
    if contradiction:
        raise OutcomeError(contradiction, Remedy("Trigger a new run if the change is still wanted"))
    return {"outcome": str(release.outcome) if release.outcome else None, "version": release.version}
