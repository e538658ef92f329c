"""A person's decision in Airflow's own UI."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import Param

from recdeploy_ops.domain.errors import SelfApprovalError
from recdeploy_ops.domain.records import DECISIONS, Decision
from recdeploy_ops.evidence import escape_text
from recdeploy_ops.hooks.releases import ReleasesHook
from recdeploy_ops.operators.release_steps import failing_for_good
from recdeploy_ops.steps import approvals

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class RequestApprovalOperator(HITLBranchOperator):
    """Pauses the run under Required Actions until a person answers Promote or Reject.

    Unlike its base class it shows the evidence of this very try, takes its time limit from the run's param
    ``approval_timeout_hours``, rejects when nobody answers, and keeps who decided what, when and about which
    digest: in the ledger, and in XCom under ``decision``.

    Args:
        promote_task_id: the branch that Promote takes.
        reject_task_id: the branch that Reject takes.
    """

    def __init__(self, *, promote_task_id: str, reject_task_id: str, **kwargs: Any) -> None:
        kwargs.pop("params", None)  # the DAG's: Airflow merges them again in the base class
        super().__init__(
            subject="Promote the candidate?",
            options=list(DECISIONS),
            options_mapping={str(Decision.PROMOTE): promote_task_id, str(Decision.REJECT): reject_task_id},
            defaults=str(Decision.REJECT),
            params={"comment": Param(None, type=["null", "string"], title="Comment", maxLength=2000)},
            **kwargs,
        )

    @cached_property
    def hook(self) -> ReleasesHook:
        """Return what opens storage, ledger and OCI."""
        return ReleasesHook()

    def execute(self, context: Context, notice: str | None = None) -> Any:
        """Ask."""
        with failing_for_good():
            question = approvals.ask(
                self.hook.releases, context["run_id"], attempt=context["ti"].try_number, notice=notice
            )
        self.subject, self.body = question.subject, question.body
        self.response_timeout = timedelta(hours=context["params"]["approval_timeout_hours"])
        self.log.info("%s Answer under Required Actions%s", question.subject, self._link(context))
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Keep the answer, then take the branch."""
        if "error" not in event:
            self.validate_chosen_options(event["chosen_options"])
            self.validate_params_input(event["params_input"] or {})
            try:
                with failing_for_good(besides=SelfApprovalError):
                    kept = approvals.keep(
                        self.hook.releases, context["run_id"], _read(event), attempt=context["ti"].try_number
                    )
            except SelfApprovalError as err:
                self.log.warning("%s", err)
                return self.execute(context, notice=str(err))
            context["ti"].xcom_push(key="decision", value=kept)
        return super().execute_complete(context, event)

    def _link(self, context: Context) -> str:
        try:
            return f": {self.generate_link_to_ui(task_instance=context['ti'])}"
        except ValueError:  # Airflow's own address, api.base_url, is not set
            return "."


class RequestRollbackApprovalOperator(HITLBranchOperator):
    """Asks a person whether to roll back, when the run's param ``require_approval`` is set; else goes on at once.

    Args:
        proceed_task_id: the task that rolls back; refusing, or not answering in time, skips it.
    """

    ROLL_BACK, KEEP = "Roll back", "Keep"

    def __init__(self, *, proceed_task_id: str, **kwargs: Any) -> None:
        kwargs.pop("params", None)  # the DAG's: Airflow merges them again in the base class
        self.proceed_task_id = proceed_task_id
        super().__init__(
            subject="Roll production back?",
            options=[self.ROLL_BACK, self.KEEP],
            options_mapping={self.ROLL_BACK: proceed_task_id},
            defaults=self.KEEP,
            **kwargs,
        )

    def execute(self, context: Context) -> Any:
        """Ask, or go on."""
        params = context["params"]
        if not params["require_approval"]:
            return self.do_branch(context, [self.proceed_task_id])
        self.subject = f"Roll production back to version {params['version']}?"
        self.body = escape_text(f"Reason: {params['reason'] or 'none given'}")
        self.response_timeout = timedelta(hours=params["approval_timeout_hours"])
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Take the branch; refusing skips the rollback."""
        if event.get("chosen_options") == [self.KEEP]:
            return self.do_branch(context, [])
        return super().execute_complete(context, event)


def _read(event: dict[str, Any]) -> approvals.Answer:
    user = event.get("responded_by_user") or {}
    return approvals.Answer(
        decision=Decision(event["chosen_options"][0]),
        by=user.get("name") or user.get("id"),
        at=event.get("responded_at") or datetime.now(UTC),
        comment=(event.get("params_input") or {}).get("comment") or "",
        timed_out=bool(event.get("timedout")),
    )
