"""The steps of a release or rollback as Airflow operators: each names its step and the step's further arguments."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, AirflowSkipException

from recdeploy_ops.domain.codec import escaped, to_plain
from recdeploy_ops.domain.errors import GateFailedError, LockHeldError, SettingsError
from recdeploy_ops.domain.outcomes import has_failed
from recdeploy_ops.domain.params import RetrainParams, RollbackParams, read_params
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.remedies import ChangeSetting
from recdeploy_ops.operators.links import ConsoleLink, PageLink
from recdeploy_ops.operators.release_steps import ReleaseStepOperator
from recdeploy_ops.operators.report_links import ReportLink
from recdeploy_ops.rollout.locks import Opening, has_lease_ended, require_lease_over

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import Release

log = logging.getLogger(__name__)

ENDED = frozenset({"success", "failed"})
APPROVE_ROLLBACKS = "release.approve_rollbacks"
SCHEDULED = "scheduled"  # Airflow's type of a run that the schedule has begun


class PlanReleaseOperator(ReleaseStepOperator):
    """Allocates the version, takes the release lock and compares the ledger with OCI."""

    step = "plan_release"

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan the release; while another one holds the lock, a scheduled run is skipped, and a run by hand fails."""
        try:
            return super().execute(context)
        except AirflowFailException as err:
            run: Any = context["dag_run"]
            if isinstance(err.__cause__, LockHeldError) and run.run_type == SCHEDULED:
                raise AirflowSkipException(f"This scheduled run is skipped. {err.__cause__.message}") from err
            raise

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:
        """Return who triggered this run, with which params."""
        scaling = release.settings.serving.size.autoscaling  # not in the form: only the settings have it
        plain = to_plain(scaling) if scaling else None
        return {"opening": _opening(release, context, RetrainParams, autoscaling=plain)}


class BackupProductionOperator(ReleaseStepOperator):
    """Copies what production serves to ``backups/``."""

    step = "backup_production"


class ExtractTablesOperator(ReleaseStepOperator):
    """Runs the queries of ``include/sql/`` and stores their rows."""

    step = "extract"

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:  # noqa: ARG002 - as its base
        """Return the source database."""
        return {"source": self.hook.source()}


class GateOperator(ReleaseStepOperator):
    """Judges; if it says FAIL, its page in Airflow has a button that opens the report, as nobody is asked.

    Attributes:
        has_report: whether that button has something to open.
    """

    operator_extra_links = (ReportLink(), PageLink())
    has_report = False

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step, and remember whether it has left a report."""
        try:
            return super().execute(context)
        except AirflowFailException as err:
            self.has_report = isinstance(err.__cause__, GateFailedError)
            raise


class DeploymentOperator(ReleaseStepOperator):
    """Works on a model deployment: its page in Airflow has a button that opens it in the OCI console.

    Attributes:
        role: which deployment.
    """

    operator_extra_links = (ConsoleLink(), PageLink())
    role: ClassVar[Role]


class CheckDataOperator(GateOperator):
    """Checks the extract by the data-quality gate."""

    step = "check_data"


class RunAdsOperatorOperator(ReleaseStepOperator):
    """Runs Oracle's ADS Recommender Operator in a separate process."""

    step = "run_ads_operator"


class BuildArtifactOperator(ReleaseStepOperator):
    """Builds the serving artifact."""

    step = "build_artifact"


class CheckCandidateOperator(GateOperator):
    """Checks the candidate by the offline gate."""

    step = "check_candidate"


class EvaluateCandidateOperator(GateOperator):
    """Trains the models to compare with, and checks how good the candidate's lists are."""

    step = "evaluate_candidate"


class RegisterModelOperator(ReleaseStepOperator):
    """Registers the artifact in the Model Catalog."""

    step = "register_model"


class DeployTestOperator(DeploymentOperator):
    """Creates the test deployment."""

    role = Role.TEST
    step = "deploy_test"


class ValidateTestOperator(GateOperator):
    """Probes the test deployment."""

    step = "validate_test"


class PromoteReleaseOperator(DeploymentOperator):
    """Switches production to the approved version, and verifies it."""

    role = Role.PRODUCTION
    step = "promote"
    may_change_production = True
    afterwards = "The task close_release continues: it restores the champion, or deletes a first production"
    ui_color = "#dff0d8"


class BakeReleaseOperator(ReleaseStepOperator):
    """Watches the promoted version, and takes production back if it is degraded."""

    step = "bake"
    afterwards = "The task close_release continues"
    ui_color = "#dff0d8"


class RejectReleaseOperator(ReleaseStepOperator):
    """Rejects the candidate; production stays as it is."""

    step = "reject"
    ui_color = "#f2dede"


class CloseReleaseOperator(ReleaseStepOperator):
    """Cleans up after the run and frees the release lock."""

    step = "close_release"
    may_change_production = True


class ConfirmOutcomeOperator(ReleaseStepOperator):
    """Fails the run if its tasks look successful and its release ended otherwise; it runs whatever else failed."""

    step = "confirm_outcome"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"trigger_rule": TriggerRule.ALL_DONE, **kwargs})

    def execute(self, context: Context) -> dict[str, Any]:
        """Compare the tasks with the ledger, unless the run fails anyway."""
        if has_failed(_states_of_others(self, context)):
            self.log.info("A task has failed, and with it this run: there is nothing to confirm.")
            return {}
        return super().execute(context)

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:  # noqa: ARG002 - as its base
        """Return the states of the run's other tasks."""
        return {"states": _states_of_others(self, context)}


class PlanRollbackOperator(ReleaseStepOperator):
    """Chooses the version and takes the release lock, also from a release that only waits for an approval."""

    step = "plan_rollback"

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:
        """Return who triggered this run, with which params."""
        opening = _opening(release, context, RollbackParams)
        if release.settings.release.approve_rollbacks and not context["params"]["require_approval"]:
            # The form does not allow it either, unless the settings were changed after the run was triggered.
            raise SettingsError(
                "This rollback would ask nobody.",
                ChangeSetting("Trigger it again with require_approval, or allow it", setting=APPROVE_ROLLBACKS),
            )
        return {"opening": opening}


class RehearseRollbackOperator(ReleaseStepOperator):
    """Verifies that the version can serve, before production is switched."""

    step = "rehearse_rollback"


class RollBackOperator(DeploymentOperator):
    """Switches production to the earlier version at the same URL, and verifies it."""

    role = Role.PRODUCTION
    step = "roll_back"
    may_change_production = True
    afterwards = "The task close_release continues: it restores the champion"
    ui_color = "#dff0d8"


def _states_of_others(operator: BaseOperator, context: Context) -> dict[str, str | None]:
    """Return the states of the run's other tasks, by their ids."""
    task_instance: Any = context["ti"]
    run_id = context["run_id"]
    states = task_instance.get_task_states(task_instance.dag_id, run_ids=[run_id]).get(run_id, {})
    return {task: state for task, state in states.items() if task != operator.task_id}


def name_requester(run: Any) -> str | None:
    """Return who triggered a run, as Airflow has recorded it; None for the schedule."""
    requester: str | None = getattr(run, "triggering_user_name", None)
    return escaped(requester) if requester else None


def _opening(
    release: ReleaseContext, context: Context, kind: type[RetrainParams] | type[RollbackParams], **more: object
) -> Opening:
    """Return who triggered this run, with the params of its form and more."""
    run: Any = context["dag_run"]
    return Opening(
        dag_id=run.dag_id,
        params=read_params(kind, {**context["params"], **more}),
        triggered_by=name_requester(run),
        has_ended=lambda holder: has_ended(release, context, holder),
    )


def has_ended(release: ReleaseContext, context: Context, holder: Release) -> bool:
    """Return whether a release's run has ended: Airflow decides or, for a run outside Airflow, its lease.

    A run that this Airflow does not know may be in progress in another one on the same storage: it counts as ended when
    its lease is over, or when a person says so (param ``ended_run`` of recommender_housekeeping).

    Raises:
        LockHeldError: this Airflow does not know the run, and its lease is not over.
        AirflowRuntimeError: Airflow did not answer.
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
        "This Airflow does not know the run %s of %s: it counts as ended, because %s.",
        run_id,
        dag_id,
        "the requester of this run says so" if is_named else "its lease is over",
    )
    return True
