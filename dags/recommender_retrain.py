"""### Retrain the product recommender, and release it

Every week this DAG extracts the shop's interactions, trains a recommender with Oracle's ADS Recommender Operator,
deploys it to a TEST endpoint on OCI Data Science, measures it, and **pauses for a person** under *Required Actions*.
*Promote* switches production to the new version at its unchanged URL; *Reject* leaves production as it is.

**Size.** Empty fields for shape, OCPUs, memory or number of instances keep production's size; TEST then has
VM.Standard.E4.Flex, 1 OCPU, 16 GB and one instance. A given size applies to TEST and, after the promotion, to
production, which is resized after the switch, without downtime: the approver sees *production is resized from ... to
...* as a HOLD. The defaults of the params are in `include/recommender.yaml`: change the size permanently there, and
autoscaling too, which is not in the form. Unless they are changed, a size that was set in the console stays. A rollback
keeps the size.

**When it runs.** On the schedule in `include/recommender.yaml`, or by hand: *Trigger* shows its params. One release
at a time: while another run or a rollback holds the release lock, `plan_release` fails at once and says who holds it; a
scheduled run is skipped instead.

**What is judged.** `check_data` compares the extract with the champion's, and `evaluate_candidate` the candidate with
what its recipe gives and with the champion. FAIL rejects without asking. HOLD asks: read the report that the question
links to, and say in the comment why it may be promoted. If data or lists change on purpose, say why in *Accept an
intended change*.

**The bake.** After the switch, `bake` watches production for `release.bake_minutes`. If the version is degraded,
production goes back to the previous champion at the same URL, once, and the task fails and says why. A version that
could not be judged stays, and the task fails too. A rollback that a person triggers preempts the bake.

**When it fails.** Each task says what is wrong, with what, and what to do. Whatever fails, `close_release` deletes
this run's TEST deployment and frees the lock. Until `promote` has verified the new version, production then serves
what it served before; afterwards the new version stays, unless the bake takes it back. If that is not certain, the
error begins with PRODUCTION NEEDS A PERSON, and the lock is kept while the switch is open: see `docs/runbook.md`.
A gate that says FAIL rejects the candidate without asking anyone. If nobody answers in time, the candidate is rejected.
If somebody marks a task as successful by hand and the release ended otherwise, `confirm_outcome` fails the run, and
says what production serves. If only `close_release` fails, the decision stands and the run is successful: the task's
error says what a person must do (a TEST deployment could not be deleted). Clearing the task tries again, and so does
housekeeping every day.

**Clearing tasks** of a run that has ended reopens its release: the same version continues while its artifact stays the
same; a retrained artifact that differs gets a new version number, and a person is asked again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, Param

from recdeploy_ops.operators.approvals import RequestApprovalOperator
from recdeploy_ops.operators.defaults import task_defaults
from recdeploy_ops.operators.releases import (
    BackupProductionOperator,
    BakeReleaseOperator,
    BuildArtifactOperator,
    CheckCandidateOperator,
    CheckDataOperator,
    CloseReleaseOperator,
    ConfirmOutcomeOperator,
    DeployTestOperator,
    EvaluateCandidateOperator,
    ExtractTablesOperator,
    PlanReleaseOperator,
    PromoteReleaseOperator,
    RegisterModelOperator,
    RejectReleaseOperator,
    RunAdsOperatorOperator,
    ValidateTestOperator,
)
from recdeploy_ops.settings import (
    ReleaseSettings,
    ServingSettings,
    TrainingSettings,
    find_settings,
    limits,
    load_settings,
    name_settings,
)

SETTINGS_NAME = name_settings(__file__)  # a link to this file has the settings of another recommender
settings = load_settings(find_settings(SETTINGS_NAME))
SIZED = "Empty: production keeps its size. Else for TEST and, when approved, for production: the approver sees it."

with DAG(
    dag_id=Path(__file__).stem,
    description="Retrain the product recommender, deploy it to TEST, ask a person, promote or reject",
    doc_md=__doc__,
    schedule=settings.schedule,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=8,  # the release lock lets one run work; another run says at once who holds it, and is not queued
    tags=["recommender"],
    default_args=task_defaults(SETTINGS_NAME),
    params={
        "top_k": Param(
            settings.training.top_k,
            **limits(TrainingSettings, "top_k"),
            title="Recommendations per user",
            section="Training",
        ),
        "seed": Param(
            settings.training.seed,
            **limits(TrainingSettings, "seed"),
            title="Random seed",
            description_md="The same data and the same seed give the same recommendations, byte for byte.",
            section="Training",
        ),
        "instance_shape": Param(
            settings.serving.instance_shape,
            **limits(ServingSettings, "instance_shape"),
            title="Instance shape",
            description_md=f"{SIZED} Change it permanently in `include/recommender.yaml`, under `serving`.",
            section="Deployment",
        ),
        "ocpus": Param(
            settings.serving.ocpus,
            **limits(ServingSettings, "ocpus"),
            title="OCPUs per instance",
            description_md=f"For flexible shapes. {SIZED}",
            section="Deployment",
        ),
        "memory_gb": Param(
            settings.serving.memory_gb,
            **limits(ServingSettings, "memory_gb"),
            title="Memory per instance, GB",
            description_md=f"For flexible shapes. {SIZED}",
            section="Deployment",
        ),
        "instance_count": Param(
            settings.serving.instance_count,
            **limits(ServingSettings, "instance_count"),
            title="Number of instances",
            description_md=SIZED,
            section="Deployment",
        ),
        "skip_test_deployment": Param(
            False,
            type="boolean",
            title="Skip the TEST deployment (not recommended)",
            description_md="The offline checks and the approval still happen.",
            section="Deployment",
        ),
        "accept_change": Param(
            None,
            type=["null", "string"],
            maxLength=2000,
            title="Accept an intended change",
            description_md="Why data and lists differ from the champion's on purpose, e.g. *new catalogue*. A gate "
            "that compares them then asks a person instead of rejecting; the reason is recorded and shown. What would "
            "break a list or an answer is still rejected.",
            section="Approval",
        ),
        "approval_timeout_hours": Param(
            settings.release.approval_timeout_hours,
            **limits(ReleaseSettings, "approval_timeout_hours"),
            title="Hours to wait for an answer",
            description_md="If nobody answers in time, the candidate is rejected.",
            section="Approval",
        ),
    },
) as dag:
    plan_release = PlanReleaseOperator(task_id="plan_release")
    backup_production = BackupProductionOperator(task_id="backup_production")
    extract = ExtractTablesOperator(task_id="extract")
    check_data = CheckDataOperator(task_id="check_data")
    run_ads_operator = RunAdsOperatorOperator(task_id="run_ads_operator")
    build_artifact = BuildArtifactOperator(task_id="build_artifact")
    check_candidate = CheckCandidateOperator(task_id="check_candidate")
    evaluate_candidate = EvaluateCandidateOperator(task_id="evaluate_candidate")
    register_model = RegisterModelOperator(task_id="register_model")
    deploy_test = DeployTestOperator(task_id="deploy_test")
    validate_test = ValidateTestOperator(task_id="validate_test")
    request_approval = RequestApprovalOperator(
        task_id="request_approval", promote_task_id="promote", reject_task_id="reject"
    )
    promote = PromoteReleaseOperator(task_id="promote")
    bake = BakeReleaseOperator(task_id="bake")
    reject = RejectReleaseOperator(task_id="reject")
    close_release = CloseReleaseOperator(task_id="close_release").as_teardown(setups=plan_release)
    confirm_outcome = ConfirmOutcomeOperator(task_id="confirm_outcome")

    (
        plan_release
        >> backup_production
        >> extract
        >> check_data
        >> run_ads_operator
        >> build_artifact
        >> check_candidate
        >> evaluate_candidate
        >> register_model
        >> deploy_test
        >> validate_test
        >> request_approval
        >> [promote, reject]
    )
    promote >> bake
    [bake, reject] >> close_release >> confirm_outcome
