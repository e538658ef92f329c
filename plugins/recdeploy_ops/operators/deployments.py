"""TEST, validation, promotion and rejection. The ones that wait for OCI hold no worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.operators.release_steps import ReleaseStepOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.domain.waiting import Outcome


class DeployTestOperator(ReleaseStepOperator):
    """Creates the TEST deployment."""

    def advance(self, context: Context) -> Outcome:
        """Bring TEST up."""
        from recdeploy_ops.steps import deploy_test

        return deploy_test.advance(self.hook.releases, context["run_id"])


class ValidateTestOperator(ReleaseStepOperator):
    """Probes the live TEST endpoint."""

    def advance(self, context: Context) -> Outcome:
        """Judge what TEST answers."""
        from recdeploy_ops.steps import validate_test

        return validate_test.advance(self.hook.releases, context["run_id"])


class PromoteReleaseOperator(ReleaseStepOperator):
    """Switches production to the approved version, and proves it."""

    ui_color = "#dff0d8"

    def advance(self, context: Context) -> Outcome:
        """Take the promotion one move further."""
        from recdeploy_ops.steps import promote

        return promote.advance(self.hook.releases, context["run_id"])


class RejectReleaseOperator(ReleaseStepOperator):
    """Refuses the candidate; production stays as it is."""

    ui_color = "#f2dede"

    def advance(self, context: Context) -> Outcome:
        """Take the rejection one move further."""
        from recdeploy_ops.steps import reject

        return reject.advance(self.hook.releases, context["run_id"])
