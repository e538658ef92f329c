"""Bringing production back to an earlier version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.operators.release_steps import ReleaseStepOperator
from recdeploy_ops.operators.releases import opening_of

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.domain.waiting import Outcome


class PlanRollbackOperator(ReleaseStepOperator):
    """Chooses the version and takes the release lock, even from a release that only waits for an approval."""

    def advance(self, context: Context) -> Outcome:
        """Open this run's rollback."""
        from recdeploy_ops.steps import plan_rollback

        releases = self.hook.releases
        return plan_rollback.advance(releases, context["run_id"], opening_of(releases, context))


class RehearseRollbackOperator(ReleaseStepOperator):
    """Proves that the version can serve, before production is touched."""

    def advance(self, context: Context) -> Outcome:
        """Fetch, verify, load and ask the version."""
        from recdeploy_ops.steps import rehearse_rollback

        return rehearse_rollback.advance(self.hook.releases, context["run_id"])


class RollBackOperator(ReleaseStepOperator):
    """Switches production to the earlier version at the same URL, and proves it."""

    ui_color = "#dff0d8"

    def advance(self, context: Context) -> Outcome:
        """Take the rollback one move further."""
        from recdeploy_ops.steps import roll_back

        return roll_back.advance(self.hook.releases, context["run_id"])
