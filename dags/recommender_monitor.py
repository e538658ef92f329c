"""### Watch production

Probes production as known, unknown and malformed users do, compares the answers with the lists of the artifact that
should serve, and reads what OCI Monitoring has counted of the deployment. Publishes version, latency, error rate and
fallback rate as custom metrics in the namespace `recdeploy`, and keeps three alarms: response time, error rate, no
data. `docs/watching.md` lists them.

**When it runs.** Every 5 minutes (`watch.schedule` in `include/recommender.yaml`), and by hand. Alarms need the OCID
of a Notifications topic in `watch.topic_id`.

**When it fails.** Production answers with another version, digest or list than it should while no release switches it;
or OCI refuses to read or take metrics. It changes nothing in production.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG

from recdeploy_ops.operators.defaults import task_defaults
from recdeploy_ops.operators.upkeep import MonitorOperator
from recdeploy_ops.settings import find_settings, load_settings, name_settings

SETTINGS_NAME = name_settings(__file__)  # a link to this file has the settings of another recommender
settings = load_settings(find_settings(SETTINGS_NAME))

with DAG(
    dag_id=Path(__file__).stem,
    description="Probe production, publish its metrics, keep its alarms",
    doc_md=__doc__,
    schedule=settings.watch.schedule,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["recommender"],
    default_args=task_defaults(SETTINGS_NAME, retries=1),
) as dag:
    MonitorOperator(task_id="monitor")
