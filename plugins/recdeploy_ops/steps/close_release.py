"""Step 14: the one teardown. Nothing of the run is left behind, and the lock is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.rollout.closing import advance_closing

if TYPE_CHECKING:
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases


def advance(releases: Releases, run_id: str) -> Outcome:
    """Close the run's release; see `advance_closing`."""
    return advance_closing(releases, run_id)
