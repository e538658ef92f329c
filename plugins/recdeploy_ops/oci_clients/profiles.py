"""Find how a notebook or a shell reaches OCI: Airflow's connection, the SDK's own file, or the session's principal."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import Any

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.oci_clients.sessions import OciProfile
from recdeploy_ops.settings.connections import find_connection, variable_of

CONFIG_VARIABLES = ("OCI_CONFIG_LOCATION", "OCI_CONFIG_FILE")
PRINCIPAL_VARIABLE = "OCI_RESOURCE_PRINCIPAL_VERSION"
# OCI Data Science sets these in every notebook session; elsewhere they must be set by hand.
COMPARTMENT_VARIABLES = ("NB_SESSION_COMPARTMENT_OCID", "PROJECT_COMPARTMENT_OCID")
PROJECT_VARIABLE = "PROJECT_OCID"
ENDPOINT_VARIABLE = "OCI_ODSC_SERVICE_ENDPOINT"  # ADS's own name for another Data Science endpoint


def find_profile(conn_id: str) -> OciProfile:
    """Return the first of: Airflow's connection, ``~/.oci/config``, the notebook session's resource principal.

    Airflow's connection is found as `find_connection` does.

    Args:
        conn_id: the setting ``connections.oci``.

    Raises:
        SettingsError: none of them exists, or a field is missing; says what to set.
    """
    if connection := find_connection(conn_id):
        return OciProfile.from_fields(connection.extra, source=connection.source)
    remedy = Remedy("Add it there")
    file = Path(_first(CONFIG_VARIABLES) or "~/.oci/config").expanduser()
    if file.is_file():
        source = f"{file} with the variables of the session"
        return OciProfile.from_fields(
            {**read_config(file, os.environ.get("OCI_CONFIG_PROFILE", "DEFAULT")), **_read_location()},
            source=source,
            remedy=remedy,
        )
    if PRINCIPAL_VARIABLE in os.environ:
        fields = {"auth": "resource_principal", "region": os.environ.get("NB_REGION"), **_read_location()}
        source = "The notebook session's resource principal"
        return OciProfile.from_fields(fields, source=source, remedy=remedy)
    raise SettingsError(
        f"Cannot sign requests to OCI: no credentials. Set {variable_of(conn_id)} (JSON, as for Airflow), or create "
        f"{file}, or run this in an OCI notebook session with a resource principal; the last two need "
        f"{COMPARTMENT_VARIABLES[0]} and {PROJECT_VARIABLE} as well."
    )


def read_config(file: Path | str, profile: str) -> dict[str, Any]:
    """Return the fields of a profile in the SDK's configuration file, with `auth`: api_key or security_token.

    Args:
        file: as for the SDK; ``~`` is the home.
        profile: its name, ``DEFAULT`` if the file names none.

    Raises:
        SettingsError: the file or the profile does not exist, or cannot be read.
    """
    parser = configparser.ConfigParser(interpolation=None)
    path = Path(file).expanduser()
    try:
        with path.open(encoding="utf-8") as opened:
            parser.read_file(opened)
        fields = dict(parser[profile])
    except OSError as err:
        raise SettingsError(f"{path} cannot be read: {err.strerror}.") from err
    except configparser.ParsingError:  # its message quotes the lines
        raise SettingsError(f"{path} is not a configuration file of the OCI SDK.") from None
    except (configparser.Error, KeyError, UnicodeDecodeError) as err:
        raise SettingsError(f"{path} has no profile {profile!r} (OCI_CONFIG_PROFILE) that can be read: {err}") from err
    for name in ("key_file", "security_token_file"):
        if fields.get(name):
            fields[name] = str(Path(fields[name]).expanduser())
    return {**fields, "auth": "security_token" if fields.get("security_token_file") else "api_key"}


def _read_location() -> dict[str, str | None]:
    """Return compartment, project and endpoint of models and deployments, from the session's variables."""
    location = {"compartment_id": _first(COMPARTMENT_VARIABLES), "project_id": os.environ.get(PROJECT_VARIABLE)}
    missing = [
        name
        for name, value in zip((COMPARTMENT_VARIABLES[0], PROJECT_VARIABLE), location.values(), strict=True)
        if not value
    ]
    if missing:
        raise SettingsError(
            f"Set {' and '.join(missing)} (OCIDs); only in a notebook session does OCI Data Science set them itself."
        )
    return {**location, "service_endpoint": os.environ.get(ENDPOINT_VARIABLE)}


def _first(variables: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in variables if os.environ.get(name)), None)
