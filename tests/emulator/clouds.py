"""A tenancy for tests: the SDK's clients, and factories for the resources that tests need."""

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import oci
import pytest
from oci.circuit_breaker import NoCircuitBreakerStrategy
from oci.data_science import DataScienceClient, models
from oci.model_deployment import ModelDeploymentClient
from oci.monitoring import MonitoringClient
from oci.object_storage import ObjectStorageClient
from oci.object_storage.models import CreateBucketDetails
from oci.ons import NotificationControlPlaneClient, NotificationDataPlaneClient
from oci.retry import NoneRetryStrategy
from oci.secrets import SecretsClient
from oci.vault import VaultsClient

from oci_emulator.testing import RunningEmulator

RUNTIME = """\
MODEL_ARTIFACT_VERSION: '3.0'
MODEL_DEPLOYMENT:
  INFERENCE_CONDA_ENV:
    INFERENCE_ENV_SLUG: generalml_p311_cpu_x86_64_v3
    INFERENCE_ENV_TYPE: data_science
    INFERENCE_ENV_PATH: oci://service-conda-packs@id19sfcrra6z/service_pack/cpu/generalml/v3
    INFERENCE_PYTHON_VERSION: '3.11'
"""
# Generous: on a busy machine everything is late.
WAIT_SECONDS = 300.0
# The SDK's methods that change an existing deployment, by operation.
CHANGES = {
    "ActivateModelDeployment": "activate_model_deployment",
    "DeactivateModelDeployment": "deactivate_model_deployment",
    "DeleteModelDeployment": "delete_model_deployment",
    "UpdateModelDeployment": "update_model_deployment",
}


def wait_for(what: str, condition: Callable[[], Any]) -> Any:
    """Wait until a condition returns a true value; return that value."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (result := condition()):
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.02)
    return result


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make these calls at the same time; return their results, the status for a call that OCI refuses."""
    together = threading.Barrier(len(calls))

    def make(call: Callable[[], Any]) -> Any:
        together.wait()
        try:
            return call()
        except oci.exceptions.ServiceError as err:
            return err.status

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


def echo_score(version: object = 1) -> str:
    """Return a score.py that answers with its version and its input."""
    return (
        f"def load_model():\n    return {version!r}\n\n\n"
        "def predict(data, model=load_model()):\n"
        "    shown = data.hex() if isinstance(data, bytes) else data\n"
        "    return {'version': model, 'data': shown, 'type': type(data).__name__}\n"
    )


def artifact(score: str | None = None, *, runtime: str | None = RUNTIME, **files: str) -> bytes:
    """Return a model artifact; keyword arguments are further files, with `__` for a dot in the name."""
    members = {"score.py": echo_score() if score is None else score, "runtime.yaml": runtime}
    members |= {name.replace("__", "."): text for name, text in files.items()}
    return archive({name: text for name, text in members.items() if text is not None})


def archive(members: Mapping[str, str]) -> bytes:
    """Return a zip file with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, text in members.items():
            opened.writestr(name, text)
    return buffer.getvalue()


def single_model(model_id: str, *, environment: Mapping[str, str] | None = None, count: int = 1) -> Any:
    """Return the configuration of a new deployment."""
    size = models.ModelDeploymentInstanceShapeConfigDetails(ocpus=1, memory_in_gbs=8)
    return models.SingleModelDeploymentConfigurationDetails(
        model_configuration_details=models.ModelConfigurationDetails(
            model_id=model_id,
            instance_configuration=models.InstanceConfiguration(
                instance_shape_name="VM.Standard.E4.Flex", model_deployment_instance_shape_config_details=size
            ),
            scaling_policy=models.FixedSizeScalingPolicy(instance_count=count),
        ),
        environment_configuration_details=models.DefaultModelDeploymentEnvironmentConfigurationDetails(
            environment_variables=dict(environment or {})
        ),
    )


def model_switch(model_id: str) -> Any:
    """Return update details that change the model and nothing else."""
    return models.UpdateModelDeploymentDetails(
        model_deployment_configuration_details=models.UpdateSingleModelDeploymentConfigurationDetails(
            model_configuration_details=models.UpdateModelConfigurationDetails(model_id=model_id)
        )
    )


@dataclass(frozen=True)
class Bucket:
    """The SDK's Object Storage client for one bucket: its methods without namespace and bucket."""

    client: ObjectStorageClient
    namespace: str
    name: str

    def __getattr__(self, method: str) -> Any:
        return partial(getattr(self.client, method), self.namespace, self.name)

    def names(self, **options: Any) -> list[str]:
        """Return the names of the listed objects."""
        return [item.name for item in self.list_objects(**options).data.objects]

    def read(self, name: str) -> bytes:
        """Return the content of an object."""
        return bytes(self.get_object(name).data.content)


@dataclass
class Cloud:
    """The tenancy of a running emulator."""

    emulator: RunningEmulator
    clients: dict[Any, Any] = field(default_factory=dict)  # reused, because creating one is slow

    def client(self, kind: Any, config: Mapping[str, str] | None = None) -> Any:
        """Return a client of the SDK that never retries."""
        return kind(
            config or self.emulator.config,
            service_endpoint=self.emulator.url,
            retry_strategy=NoneRetryStrategy(),
            circuit_breaker_strategy=NoCircuitBreakerStrategy(),
        )

    def shared_client(self, kind: Any) -> Any:
        """Return the client of this kind that all tests share."""
        if kind not in self.clients:
            self.clients[kind] = self.client(kind)
        return self.clients[kind]

    @property
    def science(self) -> Any:
        return self.shared_client(DataScienceClient)

    @property
    def endpoint(self) -> Any:
        return self.shared_client(ModelDeploymentClient)

    @property
    def storage(self) -> Any:
        return self.shared_client(ObjectStorageClient)

    @property
    def vaults(self) -> Any:
        return self.shared_client(VaultsClient)

    @property
    def secrets(self) -> Any:
        return self.shared_client(SecretsClient)

    @property
    def monitoring(self) -> Any:
        return self.shared_client(MonitoringClient)

    @property
    def topics(self) -> Any:
        return self.shared_client(NotificationControlPlaneClient)

    @property
    def publisher(self) -> Any:
        return self.shared_client(NotificationDataPlaneClient)

    @property
    def compartment(self) -> str:
        return self.emulator.compartment_id

    @cached_property
    def project(self) -> str:
        details = models.CreateProjectDetails(compartment_id=self.compartment, display_name="tests")
        return str(self.science.create_project(details).data.id)

    def model(self, content: bytes | None = None, **details: Any) -> str:
        """Create a model with an artifact; return its id."""
        created = self.empty_model(**details)
        self.science.create_model_artifact(created, artifact() if content is None else content)
        return created

    def empty_model(self, **details: Any) -> str:
        """Create a model without an artifact; return its id."""
        values = {"compartment_id": self.compartment, "project_id": self.project, "display_name": "m", **details}
        return str(self.science.create_model(models.CreateModelDetails(**values)).data.id)

    def echo_model(self, version: object) -> str:
        """Create a model that answers with this version; return its id."""
        return self.model(artifact(echo_score(version)))

    def deployment_details(self, configuration: Any, name: str = "d") -> Any:
        """Return the details of a new deployment."""
        return models.CreateModelDeploymentDetails(
            compartment_id=self.compartment,
            project_id=self.project,
            display_name=name,
            model_deployment_configuration_details=configuration,
        )

    def begin_deployment(self, model_id: str, **options: Any) -> Any:
        """Request a deployment; return the SDK's response."""
        return self.science.create_model_deployment(self.deployment_details(single_model(model_id, **options)))

    def deployment(self, model_id: str | None = None, **options: Any) -> str:
        """Create a deployment, wait until it is ACTIVE, and return its id."""
        response = self.begin_deployment(model_id or self.model(), **options)
        self.succeeded(response)
        return str(response.data.id)

    def switch(self, deployment: str, model_id: str) -> Any:
        """Request an update that changes only the model; return the SDK's response."""
        return self.science.update_model_deployment(deployment, model_switch(model_id))

    def finished(self, response: Any) -> Any:
        """Wait until the work request in a response has ended; return it."""
        identifier = response.headers["opc-work-request-id"]

        def ended() -> Any:
            work_request = self.science.get_work_request(identifier).data
            return work_request if work_request.status in ("SUCCEEDED", "FAILED") else None

        return wait_for(f"the end of {identifier}", ended)

    def succeeded(self, response: Any) -> Any:
        """Wait for a work request that must succeed; return it."""
        work_request = self.finished(response)
        assert work_request.status == "SUCCEEDED", self.errors(work_request)
        return work_request

    def failed(self, response: Any) -> str:
        """Wait for a work request that must fail; return the text of its errors."""
        work_request = self.finished(response)
        assert work_request.status == "FAILED"
        assert work_request.percent_complete == 100
        return self.errors(work_request)

    def errors(self, work_request: Any) -> str:
        """Return the texts of a work request's errors."""
        return "\n".join(error.message for error in self.science.list_work_request_errors(work_request.id).data)

    def state(self, deployment: str) -> str:
        """Return the lifecycle state of a deployment."""
        return str(self.science.get_model_deployment(deployment).data.lifecycle_state)

    def deployed_model(self, deployment: str) -> str:
        """Return the id of the model in a deployment's configuration."""
        configuration = self.science.get_model_deployment(deployment).data.model_deployment_configuration_details
        return str(configuration.model_configuration_details.model_id)

    def predict(self, deployment: str, data: Any = None) -> Any:
        """Return a deployment's answer."""
        return json.loads(self.endpoint.predict(deployment, {"ask": 1} if data is None else data).data)

    def predict_raw(self, deployment: str, body: bytes, content_type: str) -> bytes:
        """Return a deployment's answer to a body of any type."""
        answer = self.endpoint.base_client.call_api(
            f"/{deployment}/predict",
            "POST",
            header_params={"content-type": content_type},
            body=body,
            response_type="stream",
        )
        return bytes(answer.data.content)

    @cached_property
    def bucket(self) -> Bucket:
        details = CreateBucketDetails(name="shelf", compartment_id=self.compartment)
        self.storage.create_bucket(self.emulator.namespace, details)
        return Bucket(self.storage, self.emulator.namespace, "shelf")


def refusal(call: Any, *arguments: Any, **options: Any) -> tuple[int, str]:
    """Make a call that must be refused; return the status and OCI's code."""
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        call(*arguments, **options)
    error = caught.value
    assert error.request_id
    assert error.message or error.status == 304
    return error.status, error.code
