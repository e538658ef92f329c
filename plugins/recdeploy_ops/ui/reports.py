"""The page with a release's evidence in Airflow's web server: one guarded GET route, for readers of the DAG."""

import logging
import re
from typing import Annotated

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Path, Response

from recdeploy_ops.approvals.pages import find_page
from recdeploy_ops.domain.errors import KeyNotFoundError, MissingInputError, RecdeployError
from recdeploy_ops.evaluation.pages import POLICY
from recdeploy_ops.hooks.oci import OciHook
from recdeploy_ops.settings import find_settings, load_settings, name_settings
from recdeploy_ops.storage.roots import open_store

log = logging.getLogger(__name__)

DAG_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'self'; sandbox allow-same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/report/{dag_id}/{run_id:path}", dependencies=[Depends(requires_access_dag("GET"))])
def show_report(dag_id: Annotated[str, Path()], run_id: Annotated[str, Path()]) -> Response:
    """Return the newest page of a run."""
    if not DAG_ID.fullmatch(dag_id):
        raise HTTPException(404, "There is no such DAG.")
    try:
        settings = load_settings(find_settings(name_settings(dag_id)))
        session = OciHook(settings.connections.oci).session if settings.storage.startswith("oci://") else None
        page = find_page(open_store(settings.storage, session), settings.project_name, dag_id, run_id)
    except KeyNotFoundError as err:
        raise HTTPException(404, "The report of this run was deleted.") from err
    except MissingInputError as err:
        raise HTTPException(404, err.message) from err
    except RecdeployError as err:
        log.exception("The report of %s cannot be read", run_id)
        detail = "The report cannot be read at present; the log of the API server says why."
        raise HTTPException(503, detail) from err
    return Response(page, media_type="text/html; charset=utf-8", headers=HEADERS)
