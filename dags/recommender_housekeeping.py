"""### Leave nothing running

Closes the release of a run that died without its teardown, which settles production and frees the release lock. Deletes
TEST deployments whose release is closed or whose lease is over, and what was made to be the first production after its
release was closed and never served. Whatever a live release needs is left alone.

**When it runs.** Every day at 05:30 UTC, and by hand.

A run that this Airflow does not know, as it was deleted or belongs to another Airflow on the same storage, counts as
ended when its lease is over, or at once when *Trigger* names it as *ended_run*. Naming any other run is an error.

**When it fails.** OCI does not answer, or production could not be settled: the error begins with PRODUCTION NEEDS A
PERSON.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, Param

from recdeploy_ops.operators.releases import HousekeepingOperator
from recdeploy_ops.settings import name_settings

SETTINGS_NAME = name_settings(__file__)  # of a link to this file: those of another recommender

with DAG(
    dag_id=Path(__file__).stem,
    description="Close what dead runs left open, delete TEST deployments that nobody needs",
    doc_md=__doc__,
    schedule="30 5 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["recommender"],
    default_args={
        "owner": "recommender",
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "settings_name": SETTINGS_NAME,
    },
    params={
        "ended_run": Param(
            None,
            type=["null", "string"],
            maxLength=250,
            title="Run that has ended for certain",
            description_md="For a run that this Airflow does not know and that holds the release lock: its id. "
            "Its release is closed, and production settled.",
        ),
    },
) as dag:
    HousekeepingOperator(task_id="housekeeping")
