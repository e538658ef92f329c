"""The page with a release's evidence in Airflow's web server: one guarded GET route, for readers of the DAG."""

from typing import Annotated

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, HTTPException, Path, Response

from recdeploy_ops.approvals.pages import find_page
from recdeploy_ops.domain.errors import KeyNotFoundError, MissingInputError
from recdeploy_ops.evaluation.pages import POLICY
from recdeploy_ops.ui.projects import ledger_of, opened_project

HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'self'; sandbox allow-same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

router = APIRouter()


@router.get("/report/{dag_id}/{run_id:path}", dependencies=[Depends(requires_access_dag("GET"))])
def show_report(dag_id: Annotated[str, Path()], run_id: Annotated[str, Path()]) -> Response:
    """Return the newest page of a run."""
    with opened_project(dag_id, "the report") as (settings, store):
        try:
            page = find_page(store, ledger_of(settings, store), dag_id, run_id)
        except KeyNotFoundError as err:
            raise HTTPException(404, "The report of this run was deleted.") from err
        except MissingInputError as err:
            raise HTTPException(404, err.message) from err
    return Response(page, media_type="text/html; charset=utf-8", headers=HEADERS)
