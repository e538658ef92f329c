"""Extracting the shop's data, and judging it."""

from __future__ import annotations

from airflow.sdk.definitions.context import Context

from recdeploy_ops.operators.release_steps import ReleaseStepOperator
from recdeploy_ops.steps import check_data, extract
from recdeploy_ops.steps.outcomes import Outcome


class ExtractTablesOperator(ReleaseStepOperator):
    """Runs the queries of ``include/sql/`` and stores what they return."""

    def advance(self, context: Context) -> Outcome:
        """Extract interactions, users and items."""
        return extract.advance(self.hook.releases, context["run_id"], source=self.hook.source())


class CheckDataOperator(ReleaseStepOperator):
    """The data-quality gate."""

    def advance(self, context: Context) -> Outcome:
        """Judge the extract."""
        return check_data.advance(self.hook.releases, context["run_id"])
