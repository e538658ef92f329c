"""Plan what a retraining run makes: for the step that plans it, and for a notebook's preview."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.release_plan import ReleasePlan, plan
from recdeploy_ops.rollout.existing_shops import require_no_existing_shop
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.registry import highest_version

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext


def plan_version(context: ReleaseContext) -> ReleasePlan:
    """Plan a run from the ledger as it was last read; nothing is recorded.

    Raises:
        StateMismatchError: OCI's production is not what the ledger says, or an unknown shop may already be served.
    """
    planned = plan(
        context.state,
        context.run_id,
        highest_version=highest_version(context),
        production=find_production(context),
    )
    require_no_existing_shop(context)
    return planned
