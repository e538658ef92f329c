"""Model deployments: the requests for them. `rollouts` carries out the changes."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from starlette.responses import Response

from oci_emulator.data_science import configurations
from oci_emulator.data_science.catalog import (
    DEPLOYMENT,
    MODEL,
    PROJECT,
    Catalog,
    check_not_archived,
    display_name,
    pick,
    require_object,
)
from oci_emulator.data_science.configurations import CONFIGURATION, MODEL_PART
from oci_emulator.data_science.lifecycles import NOT_CREATED, SERVING, TRANSITIONS, check_admits
from oci_emulator.data_science.shapes import SHAPES, check_listed
from oci_emulator.data_science.work_requests import WorkRequests
from oci_emulator.errors import IncorrectStateError, InvalidParameterError
from oci_emulator.faults import OUTCOME_KINDS, Faults
from oci_emulator.listings import Listing
from oci_emulator.messages import OciRequest, document, empty
from oci_emulator.offers import Offers
from oci_emulator.store import Json, Resource
from oci_emulator.timings import Timings

_FIELDS = ("displayName", "description", "categoryLogDetails", "freeformTags", "definedTags")
_LISTING = Listing(
    ("id", "projectId", "displayName", "lifecycleState", "createdBy"),
    ("timeCreated", "displayName"),
    frozenset({"lifecycleDetails"}),
)


@dataclass(frozen=True)
class Deployments:
    """The model deployments; `carry_out` is called with the id of each accepted work request."""

    catalog: Catalog
    work_requests: WorkRequests
    timings: Timings
    faults: Faults
    url: str
    carry_out: Callable[[str], object]
    offers: Offers

    def create(self, request: OciRequest) -> Response:
        """Answer CreateModelDeployment."""
        body = {"displayName": display_name("modeldeployment"), **request.json()}
        self.catalog.tenancy.check_compartment(body.get("compartmentId"))
        self.catalog.related(PROJECT, body, "projectId")
        configuration = configurations.complete(require_object(body, CONFIGURATION))
        check_listed(configuration[MODEL_PART]["instanceConfiguration"], self.offers.withdrawn_shapes)
        self._check_model(configuration)
        fields = ("compartmentId", "projectId", *_FIELDS)
        resource = self.catalog.draft(DEPLOYMENT, body, fields, lifecycleState=NOT_CREATED)
        resource.body[CONFIGURATION] = configuration
        work_request = self._begin(request, resource, {})
        return document(
            self._shown(resource),
            resource,
            status=201,
            location=f"{self.url}/20190101/modelDeployments/{resource.id}",
            opc_work_request_id=work_request.id,
        )

    def get(self, request: OciRequest) -> Response:
        """Answer GetModelDeployment, also for a deleted deployment."""
        resource = self.catalog.find_readable(DEPLOYMENT, request, "modelDeploymentId")
        return document(self._shown(resource), resource)

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListModelDeployments."""
        return _LISTING.reply(request, self.catalog.listed(DEPLOYMENT, request), self._shown)

    def update(self, request: OciRequest) -> Response:
        """Answer UpdateModelDeployment: in ACTIVE, one group of options at a time."""
        resource = self._admitted(request)
        given = request.json()
        changes = pick(given, _FIELDS)
        if given.get(CONFIGURATION) is not None:
            changes[CONFIGURATION] = self._updated(resource, require_object(given, CONFIGURATION))
        groups = configurations.changed_groups(resource.body, given)
        if resource.body["lifecycleState"] in SERVING and len(groups) > 1:
            raise InvalidParameterError(
                f"While model deployment {resource.id} is {resource.body['lifecycleState']},"
                f" one group of options can be updated at a time; this request changes {', '.join(groups)}."
            )
        return self._accepted(request, resource, changes)

    def act(self, request: OciRequest) -> Response:
        """Answer ActivateModelDeployment, DeactivateModelDeployment and DeleteModelDeployment."""
        return self._accepted(request, self._admitted(request), {})

    def list_shapes(self, request: OciRequest) -> Response:
        """Answer ListModelDeploymentShapes."""
        self.catalog.tenancy.check_compartment(request.required_query("compartmentId"))
        withdrawn = self.offers.withdrawn_shapes
        return document([shape.shown() for shape in SHAPES.values() if shape.name not in withdrawn])

    def _admitted(self, request: OciRequest) -> Resource:
        """Return the deployment in the path, after a check of its etag and then of its state."""
        resource = self.catalog.find(DEPLOYMENT, request, "modelDeploymentId")
        request.check_etag(resource)
        check_admits(request.operation.name, resource)
        return resource

    def _accepted(self, request: OciRequest, resource: Resource, changes: Json) -> Response:
        work_request = self._begin(request, resource, changes)
        return empty(status=202, opc_work_request_id=work_request.id)

    def _begin(self, request: OciRequest, resource: Resource, changes: Json) -> Resource:
        """Record a work request for these changes, and the deployment's state during it."""
        operation = request.operation.name
        transition = TRANSITIONS[operation]
        fault = self.faults.take(operation, OUTCOME_KINDS, request.nth)
        work_request = self.work_requests.accept(
            transition.operation_type,
            resource,
            "modelDeployment",
            getattr(self.timings, transition.timing),
            operation=operation,
            before=resource.body["lifecycleState"],
            changes=changes,
            fault=asdict(fault) if fault else None,
        )
        resource.body["lifecycleState"] = transition.during
        resource.private["invented_state"] = None
        resource.private["models"] = sorted(_models((resource.body, changes)))
        self.catalog.store.save(resource)
        self.carry_out(work_request.id)
        return work_request

    def _updated(self, resource: Resource, given: Json) -> Json:
        configurations.check_supported(given)
        configuration = configurations.merged(resource.body[CONFIGURATION], given)
        configurations.check_values(configuration)
        configurations.check_networking(resource.body[CONFIGURATION], configuration)
        if _models([{CONFIGURATION: configuration}]) != _models([resource.body]):
            self._check_model(configuration)
        return configuration

    def _check_model(self, configuration: Json) -> None:
        """Refuse a model that is unknown, not active, without an artifact, or archived."""
        model = self.catalog.related(MODEL, configuration[MODEL_PART], "modelId")
        if model.body["lifecycleState"] != "ACTIVE":
            raise IncorrectStateError(f"Model {model.id} is {model.body['lifecycleState']}; it must be ACTIVE.")
        if "artifact" not in model.private:
            raise InvalidParameterError(f"Model {model.id} has no artifact.")
        check_not_archived(model)

    def _shown(self, resource: Resource) -> Json:
        if resource.kind != DEPLOYMENT:
            return resource.body
        configuration = resource.body[CONFIGURATION]
        return {
            **resource.body,
            "lifecycleState": resource.private.get("invented_state") or resource.body["lifecycleState"],
            "modelDeploymentUrl": f"{self.url}/{resource.id}",
            "modelDeploymentSystemData": {
                "systemInfraType": "INSTANCE_POOL",
                "currentInstanceCount": configurations.instance_count(configuration),
            },
        }


def _models(bodies: Iterable[Json]) -> set[str]:
    return {body[CONFIGURATION][MODEL_PART]["modelId"] for body in bodies if CONFIGURATION in body}
