"""The project that a DAG belongs to, as the web server reads it."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from recdeploy_ops.context import ReleaseContext, open_context, utc_now
from recdeploy_ops.domain.errors import RecdeployError
from recdeploy_ops.hooks.connections import find_airflow_connection
from recdeploy_ops.hooks.oci import OciHook
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.ledger.opening import open_ledger
from recdeploy_ops.oci_clients.page_sessions import PageSession
from recdeploy_ops.settings import DEFAULT_NAME, Settings, find_settings, load_settings, name_settings
from recdeploy_ops.storage.roots import open_store
from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

DAG_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
READER = "the page Recommender"  # in place of a run: it records nothing


@contextmanager
def opened_project(dag_id: str, what: str) -> Iterator[tuple[Settings, Store]]:
    """Open the settings and the storage of a DAG while the block lasts.

    Args:
        dag_id: e.g. ``recommender_retrain``.
        what: is read, for the message, e.g. ``the report``.

    Raises:
        HTTPException: 404 for an impossible name, or that of a DAG without settings, which is not of this project; 503
            if its project cannot be read at present.
    """
    if not DAG_ID.fullmatch(dag_id):
        raise HTTPException(404, "This is not the id of a DAG.")
    name = name_settings(dag_id)
    if name != DEFAULT_NAME and not (name and find_settings(name).is_file()):
        raise HTTPException(404, "This DAG is not of a recommender.")
    try:
        settings = load_settings(find_settings(name))
        session = open_session(settings) if settings.storage.startswith("oci://") else None
        yield settings, open_store(settings.storage, session)
    except RecdeployError as err:
        log.exception("For the DAG %s, %s cannot be read", dag_id, what)
        detail = f"At present {what} cannot be read; the log of the API server says why."
        raise HTTPException(503, detail) from err


@contextmanager
def opened_tenancy(dag_id: str, what: str) -> Iterator[tuple[ReleaseContext, PageSession]]:
    """Open what reads a project's ledger and its resources in OCI while the block lasts; see `opened_project`."""
    with opened_project(dag_id, what) as (settings, store):
        session = open_session(settings)
        yield open_context(settings, store, session, READER, find=find_airflow_connection), session


def ledger_of(settings: Settings, store: Store) -> Ledger:
    """Return a project's ledger; raises as `open_ledger` does."""
    return open_ledger(settings, store, utc_now, find_airflow_connection)


def open_session(settings: Settings) -> PageSession:
    """Return the session of a project's connection.

    Raises:
        SettingsError: the connection is missing or incomplete.
    """
    return PageSession(OciHook(settings.connections.oci).session.profile)
