"""The endpoints of Data Science and of its model deployments."""

from dataclasses import dataclass

from starlette.responses import Response

from oci_emulator.data_science.artifacts import Artifacts
from oci_emulator.data_science.deployments import Deployments
from oci_emulator.data_science.models import Models
from oci_emulator.data_science.projects import Projects
from oci_emulator.data_science.version_sets import VersionSets
from oci_emulator.data_science.work_requests import WorkRequests
from oci_emulator.messages import Endpoint, OciRequest, Plain, Proxied, Uploading
from oci_emulator.serving.proxy import Proxy


@dataclass(frozen=True)
class DataScience:
    """The service: a part for each kind of resource."""

    projects: Projects
    models: Models
    artifacts: Artifacts
    version_sets: VersionSets
    deployments: Deployments
    work_requests: WorkRequests

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by operation."""
        return {
            **self._catalog_endpoints(),
            **self._model_endpoints(),
            "CreateModelDeployment": Plain(self.deployments.create),
            "GetModelDeployment": Plain(self.deployments.get),
            "ListModelDeployments": Plain(self.deployments.list_all),
            "UpdateModelDeployment": Plain(self.deployments.update),
            "DeleteModelDeployment": Plain(self.deployments.act),
            "ActivateModelDeployment": Plain(self.deployments.act),
            "DeactivateModelDeployment": Plain(self.deployments.act),
            "ListModelDeploymentShapes": Plain(self.deployments.list_shapes),
            "GetWorkRequest": Plain(self.work_requests.get),
            "ListWorkRequests": Plain(self.work_requests.list_all),
            "ListWorkRequestLogs": Plain(self.work_requests.list_logs),
            "ListWorkRequestErrors": Plain(self.work_requests.list_errors),
        }

    def _catalog_endpoints(self) -> dict[str, Endpoint]:
        return {
            "CreateProject": Plain(self.projects.create),
            "GetProject": Plain(self.projects.get),
            "ListProjects": Plain(self.projects.list_all),
            "UpdateProject": Plain(self.projects.update),
            "DeleteProject": Plain(self.projects.delete),
            "CreateModelVersionSet": Plain(self.version_sets.create),
            "GetModelVersionSet": Plain(self.version_sets.get),
            "ListModelVersionSets": Plain(self.version_sets.list_all),
            "UpdateModelVersionSet": Plain(self.version_sets.update),
            "DeleteModelVersionSet": Plain(self.version_sets.delete),
        }

    def _model_endpoints(self) -> dict[str, Endpoint]:
        return {
            "CreateModel": Plain(self.models.create),
            "GetModel": Plain(self.models.get),
            "ListModels": Plain(self.models.list_all),
            "UpdateModel": Plain(self.models.update),
            "DeleteModel": Plain(self.models.delete),
            "ActivateModel": Plain(self.models.act),
            "DeactivateModel": Plain(self.models.act),
            "CreateModelProvenance": Plain(self.models.create_provenance),
            "GetModelProvenance": Plain(self.models.get_provenance),
            "UpdateModelProvenance": Plain(self.models.update_provenance),
            "CreateModelArtifact": Uploading(self.artifacts.admit, self.artifacts.create),
            "GetModelArtifactContent": Plain(self.artifacts.get),
            "HeadModelArtifact": Plain(self.artifacts.head),
        }


@dataclass(frozen=True)
class Prediction:
    """The service at the URL of a deployment."""

    proxy: Proxy

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by operation."""
        return {"Predict": Proxied(self.predict)}

    async def predict(self, request: OciRequest) -> Response:
        """Answer Predict with the result of the deployment's score.py."""
        content_type = request.headers.get("content-type", "application/json")
        answer = await self.proxy.predict(request.path["modelDeploymentId"], content_type, request.body)
        return Response(answer.body, answer.status, media_type=answer.content_type)
