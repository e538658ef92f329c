"""The steps of a release as Airflow tasks: each operator names its step, and what the step needs besides."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRuntimeError

from recdeploy_ops.domain.codec import escaped, to_plain
from recdeploy_ops.domain.errors import LockHeldError, SettingsError
from recdeploy_ops.domain.params import RetrainParams, RollbackParams, read_params
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.operators.release_steps import ReleaseStepOperator
from recdeploy_ops.rollout.locks import Opening, has_lease_ended, require_lease_over

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import LedgerState, Release

ENDED = frozenset({"success", "failed"})
log = logging.getLogger(__name__)


class PlanReleaseOperator(ReleaseStepOperator):
    """Allocates the version, takes the release lock and compares the ledger with OCI."""

    step = "plan_release"

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:
        """Return who triggered this run, with which params."""
        scaling = release.settings.serving.size.autoscaling  # no field of the form: the settings alone say it
        plain = to_plain(scaling) if scaling else None
        return {"opening": opening_of(release, context, RetrainParams, autoscaling=plain)}


class BackupProductionOperator(ReleaseStepOperator):
    """Copies what production serves to ``backups/``."""

    step = "backup_production"


class ExtractTablesOperator(ReleaseStepOperator):
    """Runs the queries of ``include/sql/`` and stores what they return."""

    step = "extract"

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:  # noqa: ARG002 - as its base
        """Return the source database."""
        return {"source": self.hook.source()}


class CheckDataOperator(ReleaseStepOperator):
    """The data-quality gate."""

    step = "check_data"


class RunAdsOperatorOperator(ReleaseStepOperator):
    """Runs Oracle's ADS Recommender Operator in a process of its own."""

    step = "run_ads_operator"


class BuildArtifactOperator(ReleaseStepOperator):
    """Builds the serving artifact."""

    step = "build_artifact"


class CheckCandidateOperator(ReleaseStepOperator):
    """The offline gate."""

    step = "check_candidate"


class RegisterModelOperator(ReleaseStepOperator):
    """Puts the artifact into the Model Catalog."""

    step = "register_model"


class DeployTestOperator(ReleaseStepOperator):
    """Creates the test deployment."""

    step = "deploy_test"


class ValidateTestOperator(ReleaseStepOperator):
    """Probes the live test deployment."""

    step = "validate_test"


class PromoteReleaseOperator(ReleaseStepOperator):
    """Switches production to the approved version, and verifies it."""

    step = "promote"
    afterwards = "The task close_release goes on: it restores the champion, or deletes a first production"
    ui_color = "#dff0d8"


class RejectReleaseOperator(ReleaseStepOperator):
    """Rejects the candidate; production stays as it is."""

    step = "reject"
    ui_color = "#f2dede"


class CloseReleaseOperator(ReleaseStepOperator):
    """Leaves nothing of the run behind and frees the release lock."""

    step = "close_release"


class PlanRollbackOperator(ReleaseStepOperator):
    """Chooses the version and takes the release lock, even from a release that only waits for an approval."""

    step = "plan_rollback"

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:
        """Return who triggered this run, with which params."""
        return {"opening": opening_of(release, context, RollbackParams)}


class RehearseRollbackOperator(ReleaseStepOperator):
    """Verifies that the version can serve, before production is touched."""

    step = "rehearse_rollback"


class RollBackOperator(ReleaseStepOperator):
    """Switches production to the earlier version at the same URL, and verifies it."""

    step = "roll_back"
    afterwards = "The task close_release goes on: it restores what served before"
    ui_color = "#dff0d8"


class AdoptProductionOperator(ReleaseStepOperator):
    """Compares the ledger with OCI, and with the param ``apply`` records what OCI has."""

    step = "adopt_production"

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:  # noqa: ARG002 - as its base
        """Return the run's params."""
        return {"deployment_id": context["params"]["deployment_id"], "apply": context["params"]["apply"]}


class HousekeepingOperator(ReleaseStepOperator):
    """Closes what an ended run left open, and deletes test deployments that nobody needs."""

    step = "housekeeping"

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:
        """Return how to find out whether a run has ended."""

        def is_over(holder: Release) -> bool:
            try:
                return has_ended(release, context, holder)
            except LockHeldError as err:  # nothing can be done about it here: everything else is tidied up
                self.log.warning("%s", err)
                return False

        return {"has_ended": is_over}

    def complete(self, summary: dict[str, Any], release: ReleaseContext, context: Context) -> dict[str, Any]:
        """Fail the task if ``ended_run`` does not match a release that could be closed."""
        ended_run = context["params"].get("ended_run")
        if ended_run:
            _require_closed(release.refresh(), ended_run)
        return summary


def opening_of(
    release: ReleaseContext, context: Context, kind: type[RetrainParams] | type[RollbackParams], **besides: object
) -> Opening:
    """Return who triggered this run, with which params, besides those of its form."""
    run: Any = context["dag_run"]
    requester: str | None = getattr(run, "triggering_user_name", None)
    return Opening(
        dag_id=run.dag_id,
        params=read_params(kind, {**context["params"], **besides}),
        triggered_by=escaped(requester) if requester else None,
        has_ended=lambda holder: has_ended(release, context, holder),
    )


def has_ended(release: ReleaseContext, context: Context, holder: Release) -> bool:
    """Return whether a release's run has ended: as Airflow says, or as its lease does outside Airflow.

    A run that this Airflow does not know may be in progress in another one on the same storage: it has ended with its
    lease, or when a person says so (param ``ended_run`` of recommender_housekeeping). When Airflow does not answer,
    that shows nothing: it is raised.

    Raises:
        LockHeldError: this Airflow does not know the run, and nothing shows that it has ended.
    """
    if holder.is_outside_airflow:
        return has_lease_ended(release, holder)
    dag_id, run_id = holder.opened.dag_id, holder.run_id
    task_instance: Any = context["ti"]
    try:
        return task_instance.get_dagrun_state(dag_id, run_id) in ENDED
    except AirflowRuntimeError as err:
        if (err.error.detail or {}).get("status_code") != HTTPStatus.NOT_FOUND:
            raise
    is_named = context["params"].get("ended_run") == run_id
    if not is_named:
        require_lease_over(release, holder)
    log.warning(
        "This Airflow does not know the run %s of %s: it counts as ended, as %s.",
        run_id,
        dag_id,
        "the requester of this run says" if is_named else "its lease is over",
    )
    return True


def _require_closed(state: LedgerState, ended_run: str) -> None:
    """Fail the task if ``ended_run`` does not match a release that could be closed.

    Raises:
        SettingsError: no such run exists, or it is in progress.
    """
    release = state.releases.get(ended_run)
    if release is None:
        holder = f"the run {state.holder} holds" if state.holder else "no run holds"
        raise SettingsError(
            f"ended_run is {ended_run!r}, which the ledger does not know: {holder} the release lock.",
            Remedy("Name a run as make status does"),
        )
    if release.is_open:
        raise SettingsError(
            f"ended_run is {ended_run!r}, which this Airflow, a notebook or a terminal knows as in progress: its "
            "release stays open.",
            Remedy("Mark that run as failed, or end it in its notebook or terminal"),
        )
