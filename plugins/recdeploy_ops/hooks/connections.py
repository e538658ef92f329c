"""Airflow's connections, wherever Airflow keeps them."""

from __future__ import annotations

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from recdeploy_ops.settings.connections import StoredConnection


def find_airflow_connection(conn_id: str) -> StoredConnection | None:
    """Return a connection by its id; None if Airflow has none."""
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None
    return StoredConnection(connection.extra_dejson, connection.password, f"The connection {conn_id!r}")
