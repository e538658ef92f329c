"""The routes that this project adds to Airflow's web server, below ``/recdeploy``.

None is open: each checks whether the user may read the DAG that it is about. No mounts, no docs and no schema, as these
would pass by the check; any other path needs the same right, so that nobody learns what exists.
"""

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException

from recdeploy_ops.ui import overviews, releases, reports, scripts, tenancies

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
for routes in (overviews, releases, reports, scripts, tenancies):
    app.include_router(routes.router)


@app.api_route(
    "/{path:path}",
    methods=METHODS,
    dependencies=[Depends(requires_access_dag("GET", param_dag_id="recommender_retrain"))],
)
def refuse() -> None:
    """Answer every other path, and every change: nothing can be changed here."""
    raise HTTPException(404, "There is nothing here.")
