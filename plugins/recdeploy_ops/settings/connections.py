"""Airflow's connections where Airflow does not run: from variables, or the file of its local filesystem backend."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

BACKEND_VARIABLE = "AIRFLOW__SECRETS__BACKEND_KWARGS"


@dataclass(frozen=True)
class StoredConnection:
    """What a connection holds.

    Attributes:
        extra: its further fields.
        password: None if it has none.
        source: where it was found, for errors.
    """

    extra: Mapping[str, Any]
    password: str | None
    source: str


def variable_of(conn_id: str) -> str:
    """Return the name of the environment variable of a connection."""
    return f"AIRFLOW_CONN_{conn_id.upper()}"


def find_connection(conn_id: str) -> StoredConnection | None:
    """Return a connection; None if it exists nowhere.

    It is the variable ``AIRFLOW_CONN_{conn_id}`` or an entry of the file that ``AIRFLOW__SECRETS__BACKEND_KWARGS``
    names, as in docker-compose.yaml. Airflow's database is not read.

    Args:
        conn_id: its id.

    Raises:
        SettingsError: it is not JSON as Airflow stores it.
    """
    variable = variable_of(conn_id)
    if variable in os.environ:
        return _parse(os.environ[variable], f"The variable {variable}")
    file = _connections_file()
    stored = _read_connections(file).get(conn_id) if file else None
    return _parse(stored, f"{conn_id} in {file}") if stored else None


def _connections_file() -> Path | None:
    """Return the file of Airflow's local filesystem backend, if the environment names an existing one."""
    try:
        options: Any = json.loads(os.environ.get(BACKEND_VARIABLE, "") or "{}")
        file = Path(options["connections_file_path"])
    except KeyError:
        return None
    except (ValueError, TypeError) as err:
        raise SettingsError(f"{BACKEND_VARIABLE} is not a JSON object with a connections_file_path: {err}") from err
    return file if file.is_file() else None


def _read_connections(file: Path) -> dict[str, Any]:
    try:
        connections: dict[str, Any] = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as err:
        raise SettingsError(f"{file} is not a JSON file of connections by their ids: {err}") from err
    return connections


def _parse(stored: Any, source: str) -> StoredConnection:
    """Return a connection that is stored as JSON text or as an object."""
    try:
        connection: Any = json.loads(stored) if isinstance(stored, str) else stored
        extra = connection.get("extra") or {}
        fields: dict[str, Any] = json.loads(extra) if isinstance(extra, str) else extra
        password = connection.get("password")
    except (ValueError, AttributeError) as err:
        raise SettingsError(f"{source} is not a JSON connection: {err}") from err
    return StoredConnection(fields, password, source)
