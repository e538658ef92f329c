"""### Reconcile the ledger with OCI

Rebuilds the ledger from OCI's tags, the Model Catalog and the deployments: after the ledger was lost or damaged, after
production was changed by hand in the console, or to import a deployment that this project did not make. To import one,
enter its OCID as *deployment_id*: it keeps the number that its own manager gave it, unless *version* names another, and
that manager's backups become versions that a rollback can name. Without an OCID, while nothing is in production, it
lists what could be imported. A damaged ledger is moved to `ledger-damaged/` in the storage, and a new one is begun.

**When it runs.** By hand. Run it first with *apply* off: the task's log and result show the difference, and nothing is
written. With *apply* on, the ledger gets one entry that describes what OCI has. Production keeps serving; only its tags
change, and its name if that says that it is a test deployment.

**When it fails.** A release is in progress; production is not ACTIVE or does not answer; more than one deployment is
tagged as production (name one of them); *version* is the number of something else; the deployment or the storage
belongs to another project.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, Param

from recdeploy_ops.operators.defaults import task_defaults
from recdeploy_ops.operators.upkeep import AdoptProductionOperator
from recdeploy_ops.settings import name_settings

SETTINGS_NAME = name_settings(__file__)  # a link to this file has the settings of another recommender

with DAG(
    dag_id=Path(__file__).stem,
    description="Rebuild the ledger from what OCI has, after showing the difference",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["recommender"],
    default_args=task_defaults(SETTINGS_NAME),
    params={
        "apply": Param(False, type="boolean", title="Write it", description_md="Off: only the difference is shown."),
        "deployment_id": Param(
            None,
            type=["null", "string"],
            pattern=r"^ocid1\.",
            title="OCID of production",
            description_md="Empty: the ledger's, or the one with the tag `recdeploy-role: production`. Any other "
            "deployment loses that tag.",
        ),
        "version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Its version number",
            description_md="For a deployment that this project did not make. Empty: the number in the "
            "`deployment_state.json` of its own manager, else a free one.",
        ),
    },
) as dag:
    AdoptProductionOperator(task_id="adopt_production")
