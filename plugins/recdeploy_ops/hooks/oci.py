"""The Airflow connection of type ``oci``."""

from __future__ import annotations

from functools import cached_property

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from recdeploy_ops.domain.errors import RecdeployError, SettingsError
from recdeploy_ops.oci_clients.profiles import OciProfile
from recdeploy_ops.oci_clients.sessions import OciSession

FIELDS = (
    "auth",
    "region",
    "compartment_id",
    "project_id",
    "tenancy",
    "user",
    "fingerprint",
    "key_file",
    "key_content",
    "pass_phrase",
    "security_token_file",
    "service_endpoint",
)


class OciHook(BaseHook):
    """Signs requests to OCI with the credentials of a connection.

    Args:
        oci_conn_id: id of an Airflow connection of type ``oci``; all fields are in its extra.
    """

    conn_name_attr = "oci_conn_id"
    default_conn_name = "oci_default"
    conn_type = "oci"
    hook_name = "Oracle Cloud Infrastructure"

    def __init__(self, oci_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.oci_conn_id = oci_conn_id

    @cached_property
    def session(self) -> OciSession:
        """Return the session that makes SDK clients.

        Raises:
            SettingsError: the connection is missing or incomplete.
        """
        try:
            connection = self.get_connection(self.oci_conn_id)
        except AirflowNotFoundException as err:
            raise SettingsError(
                f"There is no Airflow connection {self.oci_conn_id!r}. Define it in Airflow (Admin > Connections) or "
                f"in the variable AIRFLOW_CONN_{self.oci_conn_id.upper()}, with auth, region, compartment_id and "
                "project_id in its extra."
            ) from err
        extra = connection.extra_dejson
        return OciSession(
            OciProfile.from_fields(
                {name: extra.get(name) for name in FIELDS}, source=f"The connection {self.oci_conn_id!r}"
            )
        )

    def test_connection(self) -> tuple[bool, str]:
        """Return whether OCI shows the project of the connection, and what a person reads: Airflow's button *Test*.

        Airflow offers it only where ``[core] test_connection`` is ``Enabled``.
        """
        try:
            return True, f"OCI answers: the Data Science project is {self.session.project_name()!r}."
        except RecdeployError as err:
            return False, str(err)
