"""Extracting the shop's data, and judging it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.operators.release_steps import ReleaseStepOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.domain.waiting import Outcome


class ExtractTablesOperator(ReleaseStepOperator):
    """Runs the queries of ``include/sql/`` and stores what they return."""

    def advance(self, context: Context) -> Outcome:
        """Extract interactions, users and items."""
        from recdeploy_ops.steps import extract

        return extract.advance(self.hook.releases, context["run_id"], source=self.hook.source())


class CheckDataOperator(ReleaseStepOperator):
    """The data-quality gate."""

    def advance(self, context: Context) -> Outcome:
        """Judge the extract."""
        from recdeploy_ops.steps import check_data

        return check_data.advance(self.hook.releases, context["run_id"])
