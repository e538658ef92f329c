"""Tidying up after runs that died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import LockHeldError
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

        releases = self.hook.releases

        def is_dead(dag_id: str, run_id: str) -> bool:
            try:
                return has_ended(releases, context, dag_id, run_id)
            except LockHeldError as err:  # nothing to be done about it here: all else is tidied up
                self.log.warning("%s", err)
                return False

        return keep_house.advance(releases, has_ended=is_dead)
