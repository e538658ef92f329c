"""How a notebook reaches OCI: an Airflow connection's variable, the SDK's own file, or the session's principal."""

from __future__ import annotations

import configparser
import json
import os
from pathlib import Path
from typing import Any

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.oci_clients.sessions import OciProfile

CONFIG_VARIABLES = ("OCI_CONFIG_LOCATION", "OCI_CONFIG_FILE")
PRINCIPAL_VARIABLE = "OCI_RESOURCE_PRINCIPAL_VERSION"
# OCI Data Science sets these in every notebook session; elsewhere they are to be set by hand.
COMPARTMENT_VARIABLES = ("NB_SESSION_COMPARTMENT_OCID", "PROJECT_COMPARTMENT_OCID")
PROJECT_VARIABLE = "PROJECT_OCID"
ENDPOINT_VARIABLE = "OCI_ODSC_SERVICE_ENDPOINT"  # ADS's own name for another Data Science endpoint


def find_profile(conn_id: str) -> OciProfile:
    """Return the first of: ``AIRFLOW_CONN_{conn_id}``, ``~/.oci/config``, the notebook session's resource principal.

    Args:
        conn_id: the setting ``connections.oci``.

    Raises:
        SettingsError: there is none of them, or it lacks something; says what to set.
    """
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if variable in os.environ:
        return OciProfile.from_fields(_read_connection(variable), source=f"The variable {variable}")
    file = Path(_first(CONFIG_VARIABLES) or "~/.oci/config").expanduser()
    if file.is_file():
        return OciProfile.from_fields(
            {**_read_config(file), **_place()}, source=f"{file} with the variables of the session"
        )
    if PRINCIPAL_VARIABLE in os.environ:
        return OciProfile.from_fields(
            {"auth": "resource_principal", "region": os.environ.get("NB_REGION"), **_place()},
            source="The notebook session's resource principal",
        )
    raise SettingsError(
        f"There is nothing to sign requests to OCI with. Set {variable} (JSON, as for Airflow), or make {file}, or run "
        f"this in an OCI notebook session with a resource principal; the last two need {COMPARTMENT_VARIABLES[0]} and "
        f"{PROJECT_VARIABLE} as well."
    )


def _read_connection(variable: str) -> dict[str, Any]:
    try:
        connection: Any = json.loads(os.environ[variable])
        extra = connection.get("extra") or {}
        fields: dict[str, Any] = json.loads(extra) if isinstance(extra, str) else extra
    except (ValueError, AttributeError) as err:
        raise SettingsError(f"{variable} is no JSON connection: {err}") from err
    return fields


def _read_config(file: Path) -> dict[str, Any]:
    profile = os.environ.get("OCI_CONFIG_PROFILE", "DEFAULT")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file, encoding="utf-8")
        fields = dict(parser[profile])
    except (configparser.Error, KeyError) as err:
        raise SettingsError(f"{file} has no profile {profile!r} (OCI_CONFIG_PROFILE) that can be read: {err}") from err
    for name in ("key_file", "security_token_file"):
        if fields.get(name):
            fields[name] = str(Path(fields[name]).expanduser())
    return {**fields, "auth": "security_token" if fields.get("security_token_file") else "api_key"}


def _place() -> dict[str, str | None]:
    """Return where models and deployments lie, as the notebook session says."""
    place = {"compartment_id": _first(COMPARTMENT_VARIABLES), "project_id": os.environ.get(PROJECT_VARIABLE)}
    missing = [
        name
        for name, value in zip((COMPARTMENT_VARIABLES[0], PROJECT_VARIABLE), place.values(), strict=True)
        if not value
    ]
    if missing:
        raise SettingsError(
            f"Set {' and '.join(missing)} (OCIDs): OCI Data Science does so in a notebook session, elsewhere you must."
        )
    return {**place, "service_endpoint": os.environ.get(ENDPOINT_VARIABLE)}


def _first(variables: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in variables if os.environ.get(name)), None)
