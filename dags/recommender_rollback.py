"""### Bring an earlier version back

Production goes back to an earlier version at the same URL: from the Model Catalog or, if the model there is gone, from
a verified backup. Before the switch, the version is fetched, verified, loaded and probed.

**When it runs.** By hand, at any time, also while promotions are frozen: it preempts a release that only waits for an
approval, or bakes; the approval can then no longer be given. *Trigger* shows its params.

**Afterwards promotions hold**, until a person resumes them by `recommender_freeze`.

**When it fails.** The version never served, or no undamaged copy of it is left; a release in progress neither waits
for an approval nor bakes. If the rollback cannot be verified, it restores the champion and says so. If somebody marks
a task as successful by hand and the rollback ended otherwise, `confirm_outcome` fails the run. If only `close_release`
fails, a verified rollback stands and the run is successful: the task's error says what a person must do.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param

from recdeploy_ops.operators.approvals import RequestRollbackApprovalOperator
from recdeploy_ops.operators.defaults import task_defaults
from recdeploy_ops.operators.releases import (
    CloseReleaseOperator,
    ConfirmOutcomeOperator,
    PlanRollbackOperator,
    RehearseRollbackOperator,
    RollBackOperator,
)
from recdeploy_ops.settings import ONE_LINE, ReleaseSettings, find_settings, limits, load_settings, name_settings

SETTINGS_NAME = name_settings(__file__)  # a link to this file has the settings of another recommender
settings = load_settings(find_settings(SETTINGS_NAME))
ALWAYS_ASKED: dict[str, Any] = {"enum": [True]} if settings.release.approve_rollbacks else {}

with DAG(
    dag_id=Path(__file__).stem,
    description="Bring production back to an earlier version at the same URL",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=8,  # the release lock lets one run work; another run says at once who holds it, and is not queued
    tags=["recommender"],
    default_args=task_defaults(SETTINGS_NAME),
    params={
        "version": Param(
            "previous",
            type=["string", "integer"],
            pattern=r"^(previous|[1-9][0-9]*)$",
            **ONE_LINE,
            minimum=1,
            examples=["previous"],  # without examples, Airflow's form shows a JSON field for several types
            title="Version",
            description_md="A number, or `previous`: what production served before. After a rollback that would be the "
            "version that was rolled back: name a number.",
        ),
        "reason": Param("", type=["null", "string"], maxLength=2000, title="Reason"),
        "require_approval": Param(
            settings.release.approve_rollbacks,
            type="boolean",
            **ALWAYS_ASKED,
            title="Ask a person first",
            description_md="With `release.approve_rollbacks` of the settings it cannot be switched off.",
        ),
        "approval_timeout_hours": Param(
            settings.release.approval_timeout_hours,
            **limits(ReleaseSettings, "approval_timeout_hours"),
            title="Hours to wait for an answer",
            description_md="If nobody answers in time, production stays as it is.",
        ),
    },
) as dag:
    plan_rollback = PlanRollbackOperator(task_id="plan_rollback")
    rehearse_rollback = RehearseRollbackOperator(task_id="rehearse_rollback")
    request_approval = RequestRollbackApprovalOperator(task_id="request_approval", proceed_task_id="roll_back")
    roll_back = RollBackOperator(task_id="roll_back")
    close_release = CloseReleaseOperator(task_id="close_release").as_teardown(setups=plan_rollback)
    confirm_outcome = ConfirmOutcomeOperator(task_id="confirm_outcome")

    plan_rollback >> rehearse_rollback >> request_approval >> roll_back >> close_release >> confirm_outcome
