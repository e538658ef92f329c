"""How OCI is reached: the fields of a connection, and where a notebook or a shell finds them.

They are in Airflow's connection, in the SDK's own file, or known to the session's principal.
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.settings.connections import find_connection, variable_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AUTHS = ("api_key", "resource_principal", "instance_principal", "workload_identity", "security_token")
KEY_FIELDS = ("tenancy", "user", "fingerprint")
IN_AIRFLOW = Remedy("Add it to its extra in Airflow (Admin > Connections) or in its AIRFLOW_CONN_... variable")
CONFIG_VARIABLES = ("OCI_CONFIG_LOCATION", "OCI_CONFIG_FILE")
PRINCIPAL_VARIABLE = "OCI_RESOURCE_PRINCIPAL_VERSION"
# OCI Data Science sets these in every notebook session; elsewhere they must be set by hand.
COMPARTMENT_VARIABLES = ("NB_SESSION_COMPARTMENT_OCID", "PROJECT_COMPARTMENT_OCID")
PROJECT_VARIABLE = "PROJECT_OCID"
ENDPOINT_VARIABLE = "OCI_ODSC_SERVICE_ENDPOINT"  # ADS's own name for another Data Science endpoint


@dataclass(frozen=True)
class OciProfile:
    """How to reach OCI: the content of an Airflow connection of type ``oci``.

    Attributes:
        auth: one of `AUTHS`.
        region: e.g. ``us-ashburn-1``; None if the principal knows it.
        compartment_id: OCID of the compartment of models and deployments; of the secrets, if the profile is a vault's.
        project_id: OCID of the Data Science project; empty in a vault's profile.
        key: ``tenancy``, ``user``, ``fingerprint``, ``key_file`` or ``key_content``, ``pass_phrase``,
            ``security_token_file``: those that the kind of authentication needs.
        service_endpoint: base URL that replaces OCI's own, for the emulator.
        source: where the fields come from, for messages.
    """

    auth: str
    region: str | None
    compartment_id: str
    project_id: str
    key: Mapping[str, str] = field(repr=False)
    service_endpoint: str | None = None
    source: str = "the OCI connection"

    @classmethod
    def from_fields(
        cls,
        fields: Mapping[str, Any],
        *,
        source: str,
        remedy: Remedy = IN_AIRFLOW,
        needed: Sequence[str] = ("compartment_id", "project_id"),
    ) -> OciProfile:
        """Validate the fields of a connection's extra.

        Args:
            fields: by name.
            source: where they come from, for messages.
            remedy: where a missing one is added.
            needed: the fields that must be there with every kind of authentication.

        Raises:
            SettingsError: a field is missing or unusable; names it and the connection.
        """
        auth = fields.get("auth") or "api_key"
        if auth not in AUTHS:
            raise SettingsError(f"{source}: 'auth' must be one of {', '.join(AUTHS)}.")
        of_auth = {
            "api_key": ("region", *KEY_FIELDS),
            "security_token": ("region", "security_token_file", "key_file"),
        }
        missing = [name for name in (*needed, *of_auth.get(auth, ())) if not fields.get(name)]
        if auth == "api_key" and not (fields.get("key_file") or fields.get("key_content")):
            missing.append("key_file (or key_content)")
        if missing:
            raise SettingsError(f"{source} lacks {', '.join(missing)}; auth {auth!r} needs it.", remedy)
        key_names = (*KEY_FIELDS, "key_file", "key_content", "pass_phrase", "security_token_file")
        return cls(
            auth=auth,
            region=fields.get("region"),
            compartment_id=fields.get("compartment_id") or "",
            project_id=fields.get("project_id") or "",
            key={name: fields[name] for name in key_names if fields.get(name)},
            service_endpoint=fields.get("service_endpoint") or None,
            source=source,
        )


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
