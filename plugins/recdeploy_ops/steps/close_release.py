"""Step 15: the teardown: clean up after the run and free the lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.rollout.closing import advance_closing

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome


def advance(context: ReleaseContext) -> Outcome:
    """Close the run's release; raises as `advance_closing` does."""
    return advance_closing(context)
