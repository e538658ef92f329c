"""What the page *Recommender* shows, as JSON: guarded GET routes, read from the ledger alone."""

from dataclasses import asdict
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import AwareDatetime

from recdeploy_ops.approvals.pages import find_page_key
from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.overviews import describe_overview
from recdeploy_ops.domain.timelines import find_period, trace_production
from recdeploy_ops.ui.projects import ledger_of, opened_project

router = APIRouter()


@router.get("/api/overview/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def show_overview(dag_id: Annotated[str, Path()], response: Response) -> dict[str, Any]:
    """Return production, the release in progress, the history and the versions of a DAG's project."""
    response.headers["Cache-Control"] = "no-store"
    with opened_project(dag_id, "the ledger") as (settings, store):
        ledger = ledger_of(settings, store)
        windows = settings.release.freeze_windows
        overview = describe_overview(ledger.entries(), settings.project_name, utc_now(), windows)
        releases = ledger.state.releases.values()
        return {**overview, "reports": [release.run_id for release in releases if find_page_key(release)]}


@router.get("/api/period/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def show_period(
    dag_id: Annotated[str, Path()], at: Annotated[AwareDatetime, Query()], response: Response
) -> dict[str, Any] | None:
    """Return what was in production at a moment, however long ago; null if nothing is known of it."""
    response.headers["Cache-Control"] = "no-store"
    with opened_project(dag_id, "the ledger") as (settings, store):
        period = find_period(trace_production(ledger_of(settings, store).entries()), at)
        return asdict(period) if period else None
