"""### Clean up after ended runs

Closes the release of a run that ended without its teardown: this restores production and frees the release lock.
Deletes TEST deployments whose release is closed or whose lease is over, and first productions of closed releases that
never served. What a release in progress needs is kept. While none is in progress, trains the champion's side of the
next backtest if it is not stored; if that fails, the log says why, and the next release trains it.

Then prunes models, artifacts, results, backups and customers' data by the settings *retention*: the log has the plan
with each call before the first is made, and the task's result has what was deleted and the money that it saves. Never
anything of the champion, the previous champion, a pinned version or a release in progress.
`python -m recdeploy_ops housekeeping` shows the plan at any time.

**When it runs.** Every day at 05:30 UTC, and by hand.

A run that this Airflow does not know, because it was deleted or belongs to another Airflow on the same storage, counts
as ended when its lease is over, or at once if *Trigger* names it as *ended_run*. Naming any other run is an error.

**When it fails.** OCI does not answer, or production could not be restored: the error then begins with PRODUCTION NEEDS
A PERSON. Or no undamaged copy of a version exists to which a rollback may go: nothing is pruned then.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, Param

from recdeploy_ops.operators.defaults import task_defaults
from recdeploy_ops.operators.upkeep import HousekeepingOperator
from recdeploy_ops.settings import name_settings

SETTINGS_NAME = name_settings(__file__)  # a link to this file has the settings of another recommender

with DAG(
    dag_id=Path(__file__).stem,
    description="Close the releases of ended runs, delete orphaned TEST deployments, prune by the policy",
    doc_md=__doc__,
    schedule="30 5 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["recommender"],
    default_args=task_defaults(SETTINGS_NAME),
    params={
        "ended_run": Param(
            None,
            type=["null", "string"],
            maxLength=250,
            title="Run that has certainly ended",
            description_md="The id of a run that holds the release lock and that this Airflow does not know. Its "
            "release is closed, and production restored.",
        ),
    },
) as dag:
    HousekeepingOperator(task_id="housekeeping")
