"""### Freeze promotions, or resume them

While promotions are frozen, releases train, validate and ask; *Promote* is refused, and the question says why. A
rollback is always possible. **After any rollback promotions hold by themselves** until a person resumes them here.

**When it runs.** By hand: *Trigger* shows its params. It needs no release lock, so it works while a release is in
progress: a switch of production that has begun is finished, or restored. The ledger records who triggered it and why.

Planned freezes, such as the weeks before Christmas, are in the settings (`release.freeze_windows`): this DAG does not
end them.

**When it fails.** Storage or OCI does not answer. Resuming also fails if something else has frozen promotions since it
was triggered: look at it, and trigger it again. Each run counts once: to freeze again, trigger a new run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, Param

from recdeploy_ops.operators.defaults import task_defaults
from recdeploy_ops.operators.upkeep import FreezePromotionsOperator
from recdeploy_ops.settings import name_settings

SETTINGS_NAME = name_settings(__file__)  # a link to this file has the settings of another recommender

with DAG(
    dag_id=Path(__file__).stem,
    description="Freeze promotions until a person resumes them; a rollback is always possible",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["recommender"],
    default_args=task_defaults(SETTINGS_NAME),
    params={
        "freeze": Param(
            True,
            type="boolean",
            title="Freeze promotions",
            description_md="Off: resume them. That ends every freeze by a person, and the hold after a rollback.",
        ),
        "reason": Param(
            "",
            type="string",
            minLength=1,
            maxLength=2000,
            title="Reason",
            description_md="The approver and the history show it.",
        ),
    },
) as dag:
    FreezePromotionsOperator(task_id="freeze_promotions")
