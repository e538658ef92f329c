"""Rebuilding the ledger from what OCI has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.operators.release_steps import ReleaseStepOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.domain.waiting import Outcome


class AdoptProductionOperator(ReleaseStepOperator):
    """Compares the ledger with OCI, and with the param ``apply`` records what OCI has."""

    def advance(self, context: Context) -> Outcome:
        """Show the difference, and write it if asked to."""
        from recdeploy_ops.steps import adopt_production

        params = context["params"]
        return adopt_production.advance(
            self.hook.releases,
            context["run_id"],
            deployment_id=params["deployment_id"],
            apply=params["apply"],
        )
