"""The scripts of the page *Recommender*, which Airflow's own UI loads.

Their address has a hash of all of them, so that a browser keeps them until one changes, and never mixes two versions.
"""

from typing import Annotated

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, HTTPException, Path, Response

from recdeploy_ops.ui.static import SCRIPTS, SCRIPTS_HASH

HEADERS = {"X-Content-Type-Options": "nosniff"}
KEEP = "private, max-age=31536000, immutable"
# Another web server may have another version while they are replaced one by one.
REVALIDATE = "no-cache"

router = APIRouter()


@router.get(
    "/static/{digest}/{name}", dependencies=[Depends(requires_access_dag("GET", param_dag_id="recommender_retrain"))]
)
def send_script(digest: Annotated[str, Path()], name: Annotated[str, Path()]) -> Response:
    """Return a script; a route and not a mount, which would be open to everybody."""
    script = SCRIPTS.get(name)
    if script is None:
        raise HTTPException(404, "This script does not exist.")
    headers = {**HEADERS, "Cache-Control": KEEP if digest == SCRIPTS_HASH else REVALIDATE}
    return Response(script, media_type="text/javascript; charset=utf-8", headers=headers)
