"""Training, packing, judging and registering a model version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.operators.release_steps import ReleaseStepOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.domain.waiting import Outcome


class RunAdsOperatorOperator(ReleaseStepOperator):
    """Runs Oracle's ADS Recommender Operator in a process of its own."""

    def advance(self, context: Context) -> Outcome:
        """Train on the extract."""
        from recdeploy_ops.steps import run_ads_operator

        return run_ads_operator.advance(self.hook.releases, context["run_id"])


class BuildArtifactOperator(ReleaseStepOperator):
    """Builds the serving artifact."""

    def advance(self, context: Context) -> Outcome:
        """Build the artifact of the release's version."""
        from recdeploy_ops.steps import build_artifact

        return build_artifact.advance(self.hook.releases, context["run_id"])


class CheckCandidateOperator(ReleaseStepOperator):
    """The offline gate."""

    def advance(self, context: Context) -> Outcome:
        """Judge the candidate's lists and its behaviour in a clean process."""
        from recdeploy_ops.steps import check_candidate

        return check_candidate.advance(self.hook.releases, context["run_id"])


class RegisterModelOperator(ReleaseStepOperator):
    """Puts the artifact into the Model Catalog."""

    def advance(self, context: Context) -> Outcome:
        """Register the artifact."""
        from recdeploy_ops.steps import register_model

        return register_model.advance(self.hook.releases, context["run_id"])
