"""Tidying up after runs that died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.operators.release_steps import ReleaseStepOperator
from recdeploy_ops.operators.releases import has_ended

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.steps.outcomes import Outcome


class KeepHouseOperator(ReleaseStepOperator):
    """Closes what a dead run left open, and deletes TEST deployments that nobody needs."""

    def advance(self, context: Context) -> Outcome:
        """Tidy up."""
        from recdeploy_ops.steps import keep_house

        return keep_house.advance(
            self.hook.releases, has_ended=lambda dag_id, run_id: has_ended(self.hook.releases, context, dag_id, run_id)
        )
