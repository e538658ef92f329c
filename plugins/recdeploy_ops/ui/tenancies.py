"""What OCI runs, what its Monitoring has measured, and the backups, as JSON for the page: guarded GET routes.

Each is read when the page is opened, or by its button, and never again and again: OCI may be slow or down, and the rest
of the page must not wait for it.
"""

from dataclasses import asdict
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, Path, Response

from recdeploy_ops.context import utc_now
from recdeploy_ops.oci_clients.production_metrics import HOURS, read_production_metrics
from recdeploy_ops.rollout.live_deployments import read_live_state
from recdeploy_ops.storage.backups import list_backups, list_unverified
from recdeploy_ops.ui.projects import ledger_of, opened_project, opened_tenancy

router = APIRouter()


@router.get("/api/live/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def show_live_state(dag_id: Annotated[str, Path()], response: Response) -> dict[str, Any]:
    """Return the deployments that OCI has, and how they differ from the ledger."""
    response.headers["Cache-Control"] = "no-store"
    with opened_tenancy(dag_id, "OCI") as (context, _):
        return {"checked_at": utc_now().isoformat(), **asdict(read_live_state(context))}


@router.get("/api/metrics/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def show_metrics(dag_id: Annotated[str, Path()], response: Response) -> dict[str, Any]:
    """Return requests, failures and latency of production, hour by hour."""
    response.headers["Cache-Control"] = "no-store"
    with opened_tenancy(dag_id, "OCI Monitoring") as (context, session):
        serving, now = context.refresh().production, utc_now()
        hours = read_production_metrics(session, serving.deployment_id, now) if serving else []
        return {"checked_at": now.isoformat(), "within_hours": HOURS, "hours": [asdict(hour) for hour in hours]}


@router.get("/api/backups/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def show_backups(dag_id: Annotated[str, Path()], response: Response) -> list[dict[str, Any]]:
    """Return the backups, newest first."""
    response.headers["Cache-Control"] = "no-store"
    with opened_project(dag_id, "the backups") as (settings, store):
        ledger = ledger_of(settings, store)
        unverified = [
            {"version": folder.version, "prefix": folder.prefix, "digest": "", "files": len(folder.files)}
            for folder in list_unverified(store, ledger.readable_entries())
        ]
        return [*list_backups(store)[::-1], *unverified]
