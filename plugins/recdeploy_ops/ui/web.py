"""The routes that this project adds to Airflow's web server, below ``/recdeploy``.

None is open: each checks whether the user may read the DAG that it is about. No mounts, no docs and no schema, as these
would pass by the check.
"""

from fastapi import FastAPI

from recdeploy_ops.ui import overviews, reports, scripts

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
for routes in (overviews, reports, scripts):
    app.include_router(routes.router)
