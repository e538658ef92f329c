"""Model deployments and their work requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.codec import one_line
from recdeploy_ops.domain.deployment_states import DeploymentState
from recdeploy_ops.domain.errors import CloudRefusedError, SettingsError
from recdeploy_ops.domain.records import Deployment, WorkRequest
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.oci_clients.calls import calling
from recdeploy_ops.oci_clients.predictions import Predictions, Repeats
from recdeploy_ops.oci_clients.sessions import retry_token
from recdeploy_ops.oci_clients.sizes import compute_update, instance_configuration, read_shape, scaling_policy
from recdeploy_ops.settings.tags import NO_TAGS, TagSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from recdeploy_ops.domain.records import Reply, Shape
    from recdeploy_ops.oci_clients.sessions import OciSession

WORK_REQUEST_PAGE = 50
ONCE = Repeats()
SINGLE_MODEL = "SINGLE_MODEL"  # OCI's word for the kind of deployment that serves one model
CONDA = "DEFAULT"  # OCI's word for the environment of a deployment without its own container


@dataclass(frozen=True)
class NewDeployment:
    """The parts of a model deployment that is to be created.

    Attributes:
        name: display name.
        description: for people.
        model_id: OCID of the model that it serves.
        shape: its size.
        bandwidth_mbps: bandwidth of the load balancer.
        environment: variables of the serving processes.
        logs: OCIDs of the logs by category (``access``, ``predict``), each with its group: (group, log).
        tags: free-form tags.
        token: identifies this creation, so that a repeated request does not create a second deployment.
    """

    name: str
    description: str
    model_id: str
    shape: Shape
    bandwidth_mbps: int
    environment: Mapping[str, str]
    logs: Mapping[str, tuple[str, str]]
    tags: Mapping[str, str]
    token: str


class ModelDeployments:
    """Model deployments of one project.

    Args:
        session: signs the requests.
        tags: of new deployments, beside this project's own.
    """

    def __init__(self, session: OciSession, tags: TagSettings = NO_TAGS) -> None:
        self._session = session
        self._tags = tags
        self._profile = session.profile
        self._predictions = Predictions(session)

    def all(self) -> Iterator[Deployment]:
        """Yield the project's deployments of a single model, newest first, deleted ones included (without etags).

        Deployments of other kinds, which other teams may have, are left out: they cannot serve a recommender.
        """
        import oci.pagination

        with calling(f"list the model deployments in the compartment {self._profile.compartment_id}"):
            answer = oci.pagination.list_call_get_all_results(
                self._client.list_model_deployments,
                self._profile.compartment_id,
                project_id=self._profile.project_id,
                sort_by="timeCreated",
                sort_order="DESC",
            )
        for summary in answer.data:
            model = _single_model(summary)
            if model is not None:
                yield _to_record(summary, model, None)

    def get(self, deployment_id: str) -> Deployment:
        """Return a deployment with its etag.

        Raises:
            SettingsError: it is not a deployment of a single model.
        """
        with calling(f"read the model deployment {deployment_id}"):
            answer = self._client.get_model_deployment(deployment_id)
        model = _single_model(answer.data)
        if model is None:
            name = one_line(answer.data.display_name or deployment_id)
            raise SettingsError(
                f"{name} ({deployment_id}) is not a deployment of a single model: it cannot serve a recommender.",
                Remedy("Name another deployment"),
            )
        return _to_record(answer.data, model, answer.headers.get("etag"))

    def create(self, new: NewDeployment) -> str:
        """Create a deployment and return its OCID; a repeated request returns the same one."""
        with calling(f"create the model deployment {new.name}"):
            answer = self._client.create_model_deployment(self._details(new), opc_retry_token=retry_token(new.token))
        return str(answer.data.id)

    def switch_model(self, deployment: Deployment, model_id: str) -> None:
        """Request a switch to another model: only the model id is sent, so that nothing else changes."""
        import oci.data_science.models as sdk

        configuration = sdk.UpdateSingleModelDeploymentConfigurationDetails(
            model_configuration_details=sdk.UpdateModelConfigurationDetails(model_id=model_id)
        )
        details = sdk.UpdateModelDeploymentDetails(model_deployment_configuration_details=configuration)
        self._update(deployment, details, f"switch {deployment.name} to the model {model_id}")

    def resize(self, deployment: Deployment, shape: Shape) -> None:
        """Request another size: only the parts that differ are sent, so that nothing else changes.

        OCI does not document whether it merges an instance configuration or replaces it. It is therefore sent as OCI
        has it, with subnet and private endpoint; only shape, OCPUs and memory are changed.
        """
        import oci.data_science.models as sdk

        with calling(f"read the model deployment {deployment.deployment_id}"):
            data = self._client.get_model_deployment(deployment.deployment_id).data
        instance = data.model_deployment_configuration_details.model_configuration_details.instance_configuration
        model = sdk.UpdateModelConfigurationDetails(**compute_update(deployment.shape, shape, instance))
        configuration = sdk.UpdateSingleModelDeploymentConfigurationDetails(model_configuration_details=model)
        details = sdk.UpdateModelDeploymentDetails(model_deployment_configuration_details=configuration)
        self._update(deployment, details, f"resize {deployment.name}")

    def describe(self, deployment: Deployment, *, name: str, description: str, tags: Mapping[str, str]) -> None:
        """Request another name, description and tags; nothing else changes."""
        import oci.data_science.models as sdk

        details = sdk.UpdateModelDeploymentDetails(display_name=name, description=description, freeform_tags=dict(tags))
        self._update(deployment, details, f"rename and tag {deployment.name}")

    def tag(self, deployment: Deployment, tags: Mapping[str, str]) -> None:
        """Request other tags; nothing else changes."""
        import oci.data_science.models as sdk

        details = sdk.UpdateModelDeploymentDetails(freeform_tags=dict(tags))
        self._update(deployment, details, f"tag {deployment.name}")

    def delete(self, deployment: Deployment) -> None:
        """Request a deployment's deletion; OCI refuses it if the deployment has changed since it was read."""
        with calling(f"delete the model deployment {deployment.name}"):
            self._client.delete_model_deployment(deployment.deployment_id, if_match=deployment.etag)

    def newest_work_request(self, deployment_id: str) -> WorkRequest | None:
        """Return the newest work request of a deployment, or None."""
        requests = self.work_requests(deployment_id, limit=1)
        return requests[0] if requests else None

    def work_requests(self, deployment_id: str, *, limit: int = WORK_REQUEST_PAGE) -> list[WorkRequest]:
        """Return the newest work requests of a deployment, newest first."""
        with calling(f"list the work requests of {deployment_id}"):
            listed = self._client.list_work_requests(
                self._profile.compartment_id,
                resource_id=deployment_id,
                sort_by="timeAccepted",
                sort_order="DESC",
                limit=limit,
            ).data
        return [
            WorkRequest(
                work_request_id=work.id,
                operation=work.operation_type,
                status=work.status,
                accepted_at=work.time_accepted,
            )
            for work in listed
        ]

    def explain(self, work_request_id: str) -> str:
        """Return the errors and the last log lines of a work request in OCI's words, or why they cannot be read."""
        try:
            with calling(f"read the errors of the work request {work_request_id}"):
                errors = self._client.list_work_request_errors(work_request_id, limit=WORK_REQUEST_PAGE).data
            with calling(f"read the logs of the work request {work_request_id}"):
                logs = self._client.list_work_request_logs(work_request_id, limit=WORK_REQUEST_PAGE).data
        except CloudRefusedError as err:
            return err.message
        lines = [f"{error.code}: {error.message}" for error in errors]
        lines += [f"log: {log.message}" for log in logs[-5:]]
        return "\n".join(lines) or "OCI gives no errors and no logs for it"

    def asker(
        self, url: str, *, timeout_seconds: float, fresh: bool = False, repeats: Repeats = ONCE
    ) -> Callable[[object], Reply]:
        """Return a function that sends a request to a deployment's URL and returns the answer.

        After all repeats, the function raises `CloudUnavailableError` if the model did not answer (no answer, 429, 502,
        503, 504), and `CloudRefusedError` for 401 and 404.

        Args:
            url: of the deployment, without ``/predict``.
            timeout_seconds: longest time to wait for an answer.
            fresh: open a new connection for each request, so that the load balancer spreads them over all replicas.
            repeats: how a lost request is sent again.
        """
        return self._predictions.asker(url, timeout_seconds=timeout_seconds, fresh=fresh, repeats=repeats)

    def sender(self, url: str, *, timeout_seconds: float) -> Callable[[object], Reply]:
        """Return a function that sends a request to a deployment's URL once, as a customer does.

        A request that never reached the model is returned as well, with a status of `predictions.LOST`. Each request
        opens a connection of its own, so that the load balancer spreads them over all replicas.

        Args:
            url: of the deployment, without ``/predict``.
            timeout_seconds: longest time to wait for an answer.
        """
        return self._predictions.sender(url, timeout_seconds=timeout_seconds, fresh=True)

    @property
    def _client(self) -> Any:
        return self._session.data_science

    def _update(self, deployment: Deployment, details: Any, what: str) -> None:
        with calling(what):
            self._client.update_model_deployment(deployment.deployment_id, details, if_match=deployment.etag)

    def _details(self, new: NewDeployment) -> Any:
        import oci.data_science.models as sdk

        model = sdk.ModelConfigurationDetails(
            model_id=new.model_id,
            bandwidth_mbps=new.bandwidth_mbps,
            instance_configuration=instance_configuration(new.shape),
            scaling_policy=scaling_policy(new.shape),
        )
        logs = {category: sdk.LogDetails(log_group_id=group, log_id=log) for category, (group, log) in new.logs.items()}
        return sdk.CreateModelDeploymentDetails(
            compartment_id=self._profile.compartment_id,
            project_id=self._profile.project_id,
            display_name=new.name,
            description=new.description,
            model_deployment_configuration_details=sdk.SingleModelDeploymentConfigurationDetails(
                model_configuration_details=model,
                environment_configuration_details=sdk.DefaultModelDeploymentEnvironmentConfigurationDetails(
                    environment_variables=dict(new.environment)
                ),
            ),
            category_log_details=sdk.CategoryLogDetails(**logs) if logs else None,
            freeform_tags={**self._tags.freeform, **new.tags},
            defined_tags=self._tags.defined,
        )


def _single_model(data: Any) -> Any | None:
    """Return the model configuration of a single-model deployment; None for any other kind.

    A deployment with its own container is another kind too: a recommender is served in a conda environment.
    """
    configuration = data.model_deployment_configuration_details
    if getattr(configuration, "deployment_type", None) != SINGLE_MODEL:
        return None
    environment = configuration.environment_configuration_details
    if getattr(environment, "environment_configuration_type", None) not in {None, CONDA}:
        return None
    model = configuration.model_configuration_details
    return model if getattr(model, "model_id", None) else None


def _to_record(data: Any, model: Any, etag: str | None) -> Deployment:
    return Deployment(
        deployment_id=data.id,
        name=one_line(data.display_name or data.id),
        lifecycle_state=DeploymentState(data.lifecycle_state),
        details=getattr(data, "lifecycle_details", None) or "",
        model_id=model.model_id,
        url=data.model_deployment_url or "",
        shape=read_shape(model),
        tags=dict(data.freeform_tags or {}),
        etag=etag,
        created_at=data.time_created,
    )
