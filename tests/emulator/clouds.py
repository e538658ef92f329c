"""A tenancy for tests: the SDK's clients, and factories of what tests need in it."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import oci
import pytest
from oci.circuit_breaker import NoCircuitBreakerStrategy
from oci.data_science import DataScienceClient, models
from oci.model_deployment import ModelDeploymentClient
from oci.object_storage import ObjectStorageClient
from oci.object_storage.models import CreateBucketDetails
from oci.retry import NoneRetryStrategy

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
# The last resort: a busy machine makes everything late.
WAIT_SECONDS = 300.0


def wait_for(what: str, condition: Callable[[], Any]) -> Any:
    """Wait until a condition gives something true; return that."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited for in vain: {what}"
        time.sleep(0.02)
    return found


def echo_score(version: object = 1) -> str:
    """Return a score.py that answers with its version and what it was given."""
    return (
        f"def load_model():\n    return {version!r}\n\n\n"
        "def predict(data, model=load_model()):\n"
        "    shown = data.hex() if isinstance(data, bytes) else data\n"
        "    return {'version': model, 'data': shown, 'type': type(data).__name__}\n"
    )


def artifact(score: str | None = None, *, runtime: str | None = RUNTIME, **files: str) -> bytes:
    """Return a model artifact; keyword arguments are further members, `__` standing for a dot."""
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


@dataclass
class Cloud:
    """The tenancy of a running emulator."""

    emulator: RunningEmulator
    clients: dict[Any, Any] = field(default_factory=dict)  # made once, for making one takes a while

    def client(self, kind: Any, **options: Any) -> Any:
        """Return a client of the SDK that never retries."""
        defaults = {
            "service_endpoint": self.emulator.url,
            "retry_strategy": NoneRetryStrategy(),
            "circuit_breaker_strategy": NoCircuitBreakerStrategy(),
        }
        return kind(options.pop("config", self.emulator.config), **{**defaults, **options})

    def shared_client(self, kind: Any) -> Any:
        """Return the one client of this kind."""
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

    def begin_deployment(self, model_id: str, **options: Any) -> Any:
        """Ask for a deployment; return the SDK's response."""
        return self.science.create_model_deployment(
            models.CreateModelDeploymentDetails(
                compartment_id=self.compartment,
                project_id=self.project,
                display_name="d",
                model_deployment_configuration_details=single_model(model_id, **options),
            )
        )

    def deployment(self, model_id: str | None = None, **options: Any) -> str:
        """Create a deployment, wait until it is ACTIVE, and return its id."""
        response = self.begin_deployment(model_id or self.model(), **options)
        self.succeeded(response)
        return str(response.data.id)

    def finished(self, response: Any) -> Any:
        """Wait for the end of the work request that a response names; return it."""
        identifier = response.headers["opc-work-request-id"]

        def ended() -> Any:
            work_request = self.science.get_work_request(identifier).data
            return work_request if work_request.status in ("SUCCEEDED", "FAILED") else None

        return wait_for(f"the end of {identifier}", ended)

    def succeeded(self, response: Any) -> Any:
        """Wait for a work request that has to succeed."""
        work_request = self.finished(response)
        assert work_request.status == "SUCCEEDED", self.errors(work_request)
        return work_request

    def failed(self, response: Any) -> str:
        """Wait for a work request that has to fail; return the text of its errors."""
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
        """Return the id of the model that a deployment names."""
        configuration = self.science.get_model_deployment(deployment).data.model_deployment_configuration_details
        return str(configuration.model_configuration_details.model_id)

    def predict(self, deployment: str, data: Any = None) -> Any:
        """Return what a deployment answers."""
        return json.loads(self.endpoint.predict(deployment, {"ask": 1} if data is None else data).data)

    def predict_raw(self, deployment: str, body: bytes, content_type: str) -> bytes:
        """Return the bytes that a deployment answers to bytes of any type."""
        answer = self.endpoint.base_client.call_api(
            f"/{deployment}/predict",
            "POST",
            header_params={"content-type": content_type},
            body=body,
            response_type="stream",
        )
        return bytes(answer.data.content)

    @cached_property
    def bucket(self) -> str:
        details = CreateBucketDetails(name="shelf", compartment_id=self.compartment)
        return str(self.storage.create_bucket(self.emulator.namespace, details).data.name)


def refusal(call: Any, *arguments: Any, **options: Any) -> tuple[int, str]:
    """Make a call that has to be refused; return the status and OCI's code."""
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        call(*arguments, **options)
    error = caught.value
    assert error.request_id
    assert error.message or error.status == 304
    return error.status, error.code
