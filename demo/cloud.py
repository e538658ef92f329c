"""The emulated tenancy, used through the real OCI SDK with signed requests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import oci

from demo.errors import DemoError
from recdeploy_ops.domain.deployment_states import DeploymentState
from recdeploy_ops.oci_clients.tags import DIGEST_TAG, ROLE_TAG, VERSION_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT_NAME = "recdeploy-demo"
UNANSWERED = (oci.exceptions.ServiceError, oci.exceptions.RequestException)


@dataclass(frozen=True)
class Endpoint:
    """A model deployment.

    Attributes:
        ocid: its id.
        url: its base URL.
        state: OCI's lifecycle state.
        model_ocid: the model that it serves.
        version: tag ``recdeploy-version``.
        digest: tag ``recdeploy-digest``.
    """

    ocid: str
    url: str
    state: str
    model_ocid: str
    version: str | None
    digest: str | None


class Cloud:
    """The tenancy behind the emulator's address.

    Args:
        ready: what the emulator's ready file says: ``url``, ``config_file``, ``compartment_id``, ``token``.

    Attributes:
        url: of the emulator.
        control_token: allows orders to the emulator's control plane.
        compartment: OCID.
    """

    def __init__(self, ready: Mapping[str, Any]) -> None:
        self.url = str(ready["url"]).rstrip("/")
        self.control_token = str(ready["token"])
        self.compartment = str(ready["compartment_id"])
        self._config = oci.config.from_file(ready["config_file"])
        options: dict[str, Any] = {
            "service_endpoint": self.url,
            "retry_strategy": oci.retry.NoneRetryStrategy(),
            "circuit_breaker_strategy": oci.circuit_breaker.NoCircuitBreakerStrategy(),
        }
        self._science = oci.data_science.DataScienceClient(self._config, **options)
        self._predict = oci.model_deployment.ModelDeploymentClient(self._config, **options)

    def connection(self) -> dict[str, str]:
        """Return the extra of the Airflow connection; create the Data Science project if it is missing."""
        names = ("region", "tenancy", "user", "fingerprint", "key_file")
        return {
            "auth": "api_key",
            **{name: str(self._config[name]) for name in names},
            "compartment_id": self.compartment,
            "project_id": self._project(),
            "service_endpoint": self.url,
        }

    def endpoints(self, role: str) -> list[Endpoint]:
        """Return the deployments with this role that still exist.

        Args:
            role: ``production`` or ``test``.
        """
        try:
            deployments = oci.pagination.list_call_get_all_results(
                self._science.list_model_deployments, compartment_id=self.compartment
            ).data
        except UNANSWERED as err:
            raise DemoError(f"{self.url} does not list its model deployments: {err}") from err
        return [
            _endpoint(item)
            for item in deployments
            if (item.freeform_tags or {}).get(ROLE_TAG) == role and _can_serve(item.lifecycle_state)
        ]

    def production(self) -> Endpoint | None:
        """Return the production deployment, if there is one.

        Raises:
            DemoError: more than one exists.
        """
        endpoints = self.endpoints("production")
        if len(endpoints) > 1:
            ocids = ", ".join(endpoint.ocid for endpoint in endpoints)
            raise DemoError(f"OCI has {len(endpoints)} production deployments: {ocids}. Delete all but one.")
        return endpoints[0] if endpoints else None

    def recommend(self, endpoint: Endpoint, user: str, top_k: int) -> dict[str, Any]:
        """Return a deployment's recommendations for a user.

        Raises:
            DemoError: it does not answer, or answers with an error.
        """
        try:
            answer = self._predict.predict(endpoint.ocid, {"user_id": user, "top_k": top_k}).data
        except UNANSWERED as err:
            raise DemoError(f"{endpoint.url} does not answer for user {user!r}: {err}") from err
        parsed: dict[str, Any] = json.loads(answer) if isinstance(answer, str) else answer
        return parsed

    def _project(self) -> str:
        details = oci.data_science.models.CreateProjectDetails(
            display_name=PROJECT_NAME, compartment_id=self.compartment, description="Made by make demo."
        )
        try:
            projects = self._science.list_projects(
                self.compartment, display_name=PROJECT_NAME, lifecycle_state="ACTIVE"
            ).data
            project = projects[0] if projects else self._science.create_project(details).data
        except UNANSWERED as err:
            raise DemoError(f"{self.url} can neither list nor create the demo's Data Science project: {err}") from err
        return str(project.id)


def _can_serve(lifecycle_state: str) -> bool:
    state = DeploymentState(lifecycle_state)
    return not state.is_gone and not state.is_failed


def _endpoint(item: Any) -> Endpoint:
    tags = item.freeform_tags or {}
    return Endpoint(
        ocid=item.id,
        url=item.model_deployment_url,
        state=item.lifecycle_state,
        model_ocid=item.model_deployment_configuration_details.model_configuration_details.model_id,
        version=tags.get(VERSION_TAG),
        digest=tags.get(DIGEST_TAG),
    )
