"""A person's decision in Airflow's own UI."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import Param

from recdeploy_ops.approvals.answers import Answer
from recdeploy_ops.domain.codec import escaped, to_plain
from recdeploy_ops.domain.errors import AnswerRefusedError
from recdeploy_ops.domain.records import PROMOTION_DECISIONS, ROLLBACK_DECISIONS, Decision
from recdeploy_ops.hooks.releases import ReleasesHook
from recdeploy_ops.operators.links import PageLink
from recdeploy_ops.operators.release_steps import failing_for_good
from recdeploy_ops.operators.report_links import ReportLink, find_report
from recdeploy_ops.settings import DEFAULT_NAME
from recdeploy_ops.steps import request_approval

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow.sdk import BaseOperatorLink
    from airflow.sdk.definitions.context import Context


class ReleaseApprovalOperator(HITLBranchOperator):
    """Pauses the run under Required Actions until a person answers.

    Unlike its base class, it shows the evidence of the current try, takes its time limit from the run's param
    ``approval_timeout_hours``, and records who decided what, when and for which digest: in the ledger, and in XCom
    under ``decision``. If nobody answers in time, the cautious decision counts.

    Args:
        subject: shown until the evidence exists.
        tasks_by_decision: the task that follows each decision, beginning with the decision that changes production; a
            decision without a task skips what follows.
        cautious: the decision that leaves production unchanged.
        settings_name: name of the settings file, for `find_settings`.
    """

    operator_extra_links: Collection[BaseOperatorLink] = (PageLink(),)

    def __init__(
        self,
        *,
        subject: str,
        tasks_by_decision: Mapping[str, str | None],
        cautious: Decision,
        settings_name: str = DEFAULT_NAME,
        **kwargs: Any,
    ) -> None:
        self.settings_name = settings_name
        kwargs.pop("params", None)  # the DAG's: the base class merges them again
        self.tasks_by_decision = tasks_by_decision
        super().__init__(
            subject=subject,
            options=list(tasks_by_decision),
            options_mapping={decision: task_id for decision, task_id in tasks_by_decision.items() if task_id},
            defaults=str(cautious),
            params={"comment": Param(None, type=["null", "string"], title="Comment", maxLength=2000)},
            **kwargs,
        )

    @cached_property
    def hook(self) -> ReleasesHook:
        """Return the hook that opens storage, ledger and OCI."""
        return ReleasesHook(self.settings_name)

    def execute(self, context: Context, notice: str | None = None) -> Any:
        """Ask a person; if nobody needs to be asked, take the first decision."""
        with failing_for_good():
            release = self.hook.context(context["run_id"])
            question = request_approval.ask(
                release, attempt=context["ti"].try_number, notice=notice, link=_find_report(context)
            )
        if question is None:
            return self.do_branch(context, [next(iter(self.options_mapping.values()))])
        self.subject, self.body = question.subject, question.body
        self.response_timeout = timedelta(hours=context["params"]["approval_timeout_hours"])
        self.log.info("%s Answer under Required Actions%s", question.subject, self._link(context))
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record the answer, then take the branch."""
        if "error" in event:
            return super().execute_complete(context, event)
        self.validate_chosen_options(event["chosen_options"])
        self.validate_params_input(event["params_input"] or {})
        answer = _read(event)
        try:
            with failing_for_good(besides=AnswerRefusedError):
                release = self.hook.context(context["run_id"])
                recorded = request_approval.record_answer(release, answer, attempt=context["ti"].try_number)
        except AnswerRefusedError as err:
            self.log.warning("%s", err)
            return self.execute(context, notice=str(err))
        context["ti"].xcom_push(key="decision", value=to_plain(recorded))
        if self.tasks_by_decision[answer.decision] is None:
            return self.do_branch(context, [])
        return super().execute_complete(context, event)

    def _link(self, context: Context) -> str:
        try:
            return f": {self.generate_link_to_ui(task_instance=context['ti'])}"
        except ValueError:  # Airflow's address (api.base_url) is not set
            return "."


class RequestApprovalOperator(ReleaseApprovalOperator):
    """Asks a person whether to promote the candidate; without an answer in time, it is rejected.

    Args:
        promote_task_id: the branch that Promote takes.
        reject_task_id: the branch that Reject takes.

    Attributes:
        has_report: whether the button *Report* has something to open.
    """

    operator_extra_links = (ReportLink(), PageLink())
    has_report = True

    def __init__(self, *, promote_task_id: str, reject_task_id: str, **kwargs: Any) -> None:
        super().__init__(
            subject="Promote the candidate?",
            tasks_by_decision=dict(zip(PROMOTION_DECISIONS, (promote_task_id, reject_task_id), strict=True)),
            cautious=Decision.REJECT,
            **kwargs,
        )


class RequestRollbackApprovalOperator(ReleaseApprovalOperator):
    """Asks a person whether to roll back if the run's param ``require_approval`` is set; else continues at once.

    Args:
        proceed_task_id: the task that rolls back; a rejection, or no answer in time, skips it.
    """

    def __init__(self, *, proceed_task_id: str, **kwargs: Any) -> None:
        super().__init__(
            subject="Roll production back?",
            tasks_by_decision=dict(zip(ROLLBACK_DECISIONS, (proceed_task_id, None), strict=True)),
            cautious=Decision.KEEP,
            **kwargs,
        )


def _find_report(context: Context) -> str | None:
    run: Any = context["dag_run"]
    return find_report(run.dag_id, context["run_id"])


def _read(event: dict[str, Any]) -> Answer:
    user = event.get("responded_by_user") or {}
    person: str | None = user.get("name") or user.get("id")
    return Answer(
        decision=Decision(event["chosen_options"][0]),
        by=escaped(person) if person else None,
        at=event.get("responded_at") or datetime.now(UTC),
        comment=(event.get("params_input") or {}).get("comment") or "",
        timed_out=bool(event.get("timedout")),
    )
