"""The script of the page *Recommender*, which Airflow's own UI loads."""

from pathlib import Path
from typing import Literal

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, Response

FOLDER = Path(__file__).parent / "static"
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

router = APIRouter()


@router.get("/static/{name}", dependencies=[Depends(requires_access_dag("GET", param_dag_id="recommender_retrain"))])
def send_script(name: Literal["page.js"]) -> Response:
    """Return a script; a route and not a mount, which would be open to everybody."""
    return Response((FOLDER / name).read_bytes(), media_type="text/javascript; charset=utf-8", headers=HEADERS)
