"""The secrets backend: Airflow looks connections, variables and options up in OCI Vault first.

Airflow imports this module while it imports its own configuration: the OCI SDK is imported with the first look-up.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.secrets import BaseSecretsBackend

from recdeploy_ops.domain.errors import RecdeployError, SettingsError, SourceDataError
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.oci_clients.profiles import AUTHS, OciProfile, read_config
from recdeploy_ops.oci_clients.secrets import SECRET_NAME, VaultSecrets
from recdeploy_ops.oci_clients.sessions import OciSession

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = "AIRFLOW__SECRETS__BACKEND_KWARGS"
LONGEST_PREFIX = 100

log = logging.getLogger(__name__)


class OciVaultBackend(BaseSecretsBackend):
    """Reads connections, variables and options of Airflow from a vault of OCI.

    A connection `oci_default` is the secret ``airflow-connections-oci_default``: JSON or a URI, as in a variable
    AIRFLOW_CONN_... Values are read at most every `cache_seconds`, absent ones as well. A look-up that fails is logged
    as an error, because Airflow itself only goes on to the next backend.

    Args:
        vault_id: OCID of the vault.
        connections_prefix: what the names of connections' secrets begin with; None for no connections.
        variables_prefix: likewise for variables.
        config_prefix: likewise for options of Airflow whose names end in ``_secret``.
        cache_seconds: how long a value is used without being read again; 0 for not at all.
        config_file: the SDK's file of API keys or session tokens; another `auth` needs none.
        config_profile: a profile in it.
        auth: as in a connection of type ``oci``: e.g. ``instance_principal``.
        region: e.g. ``eu-frankfurt-1``, if neither the file nor the principal has it.
        compartment_id: OCID of the secrets' compartment, to tell an absent secret from a forbidden one.
        service_endpoint: base URL that replaces OCI's own, for the emulator.

    Raises:
        SettingsError: an argument is missing or unusable. That stops Airflow: it would otherwise run without secrets.
    """

    def __init__(
        self,
        vault_id: str = "",
        *,
        connections_prefix: str | None = "airflow-connections-",
        variables_prefix: str | None = "airflow-variables-",
        config_prefix: str | None = "airflow-config-",
        cache_seconds: float | str = 300,
        config_file: str | None = None,
        config_profile: str = "DEFAULT",
        auth: str | None = None,
        region: str | None = None,
        compartment_id: str | None = None,
        service_endpoint: str | None = None,
    ) -> None:
        super().__init__()
        self._prefixes = {
            "connections_prefix": connections_prefix,
            "variables_prefix": variables_prefix,
            "config_prefix": config_prefix,
        }
        self._vault_id = vault_id
        self._config = (config_file, config_profile)
        given = {"auth": auth, "region": region, "compartment_id": compartment_id, "service_endpoint": service_endpoint}
        self._fields = {name: value for name, value in given.items() if value}
        self._cache_seconds = _seconds(cache_seconds)
        self._cached: dict[str, tuple[float, str | None]] = {}
        self._check()

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:  # noqa: ARG002 - Airflow's form
        """Return the secret of a connection, or None; it belongs to every team.

        Raises:
            RecdeployError: it could not be read; says why.
        """
        value = self._look_up("connections_prefix", conn_id)
        return value if value and value.strip() else None

    def get_connection(self, conn_id: str, team_name: str | None = None) -> Any:
        """Return a connection, or None.

        Raises:
            RecdeployError: it could not be read, or its secret is not a connection; says why, without the secret.
        """
        value = self.get_conn_value(conn_id, team_name)
        if value is None:
            return None
        from airflow.sdk.exceptions import AirflowException  # too much for the start of each process

        # Their messages quote parts of the value, so that they must not become the context of our error.
        with suppress(ValueError, TypeError, KeyError, AttributeError, AirflowException):
            return self.deserialize_connection(conn_id, value)
        error = SourceDataError(
            f"The secret {self._prefixes['connections_prefix']}{conn_id} is not a connection of Airflow.",
            Remedy('Store it as JSON: {"conn_type": "...", "extra": {...}}, or as a URI whose parts are escaped'),
        )
        log.error("%s", error)
        raise error

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:  # noqa: ARG002 - Airflow's form
        """Return a variable, or None; it belongs to every team. Raises RecdeployError if it could not be read."""
        return self._look_up("variables_prefix", key)

    def get_config(self, key: str) -> str | None:
        """Return an option of Airflow, such as that of ``AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_SECRET``, or None.

        Raises:
            RecdeployError: it could not be read; says why.
        """
        return self._look_up("config_prefix", key)

    @cached_property
    def _secrets(self) -> VaultSecrets:
        file, profile = self._config
        fields: Mapping[str, Any] = {**(read_config(file, profile) if file else {}), **self._fields}
        remedy = Remedy("Add it there, or to the file that its config_file names")
        return VaultSecrets(
            OciSession(OciProfile.from_fields(fields, source=SOURCE, remedy=remedy, needed=())), self._vault_id
        )

    def _look_up(self, kind: str, key: str) -> str | None:
        prefix = self._prefixes[kind]
        if prefix is None:
            return None
        name, now = prefix + key, time.monotonic()
        expires, value = self._cached.get(name, (now, None))
        if now < expires:
            return value
        try:
            value = self._secrets.read(name)
        except RecdeployError as err:
            log.error("Cannot look %s up in OCI Vault: %s", name, err)
            raise
        self._cached[name] = (now + self._cache_seconds, value)
        return value

    def _check(self) -> None:
        if not self._vault_id.startswith("ocid1.vault."):
            raise SettingsError(f"{SOURCE}: 'vault_id' is {self._vault_id!r}, must be the OCID of a vault.")
        for name, prefix in self._prefixes.items():
            if prefix is not None and (len(prefix) > LONGEST_PREFIX or not SECRET_NAME.fullmatch(prefix)):
                raise SettingsError(
                    f"{SOURCE}: {name!r} is {prefix!r}, must be null, or 1 to {LONGEST_PREFIX} letters, digits, '-', "
                    "'_' and '.'."
                )
        auth = self._fields.get("auth")
        if auth not in (None, *AUTHS):
            raise SettingsError(f"{SOURCE}: 'auth' must be one of {', '.join(AUTHS)}.")
        if self._config[0] is None and auth in (None, "api_key", "security_token"):
            raise SettingsError(f"{SOURCE}: 'config_file' is missing; without it, 'auth' must be that of a principal.")


def _seconds(text: float | str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise SettingsError(f"{SOURCE}: 'cache_seconds' is {text!r}, must be a number of seconds, at least 0.")
    return seconds
