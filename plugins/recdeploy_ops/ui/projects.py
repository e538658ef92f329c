"""The project that a DAG belongs to, as the web server reads it."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from recdeploy_ops.domain.errors import RecdeployError
from recdeploy_ops.hooks.oci import OciHook
from recdeploy_ops.settings import Settings, find_settings, load_settings, name_settings
from recdeploy_ops.storage.roots import open_store
from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

DAG_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@contextmanager
def opened_project(dag_id: str, what: str) -> Iterator[tuple[Settings, Store]]:
    """Open the settings and the storage of a DAG while the block lasts.

    Args:
        dag_id: e.g. ``recommender_retrain``.
        what: is read, for the message, e.g. ``the report``.

    Raises:
        HTTPException: 404 for an impossible name, 503 if its project cannot be read at present.
    """
    if not DAG_ID.fullmatch(dag_id):
        raise HTTPException(404, "This is not the id of a DAG.")
    try:
        settings = load_settings(find_settings(name_settings(dag_id)))
        session = OciHook(settings.connections.oci).session if settings.storage.startswith("oci://") else None
        yield settings, open_store(settings.storage, session)
    except RecdeployError as err:
        log.exception("For the DAG %s, %s cannot be read", dag_id, what)
        detail = f"At present {what} cannot be read; the log of the API server says why."
        raise HTTPException(503, detail) from err
