"""Model version sets: models that are versions of one another."""

from dataclasses import dataclass

from starlette.responses import Response

from oci_emulator.data_science.catalog import MODEL, PROJECT, VERSION_SET, Catalog, pick, require
from oci_emulator.data_science.models import Models
from oci_emulator.data_science.work_requests import WorkRequests
from oci_emulator.errors import ConflictError
from oci_emulator.listings import Listing
from oci_emulator.messages import OciRequest, document, empty
from oci_emulator.store import Resource
from oci_emulator.tenancies import timestamp

_FIELDS = ("description", "freeformTags", "definedTags")
_LISTING = Listing(
    ("id", "projectId", "name", "lifecycleState", "createdBy", "category"),
    ("timeCreated", "name", "lifecycleState"),
    frozenset({"description"}),
)


@dataclass(frozen=True)
class VersionSets:
    """The model version sets of the tenancy."""

    catalog: Catalog
    models: Models
    work_requests: WorkRequests

    def create(self, request: OciRequest) -> Response:
        """Answer CreateModelVersionSet; a name is unique in its compartment."""
        body = request.json()
        self.catalog.related(PROJECT, body, "projectId")
        name = require(body, "name")
        fields = ("compartmentId", "projectId", "name", *_FIELDS)
        resource = self.catalog.draft(VERSION_SET, body, fields, lifecycleState="ACTIVE", category="USER")
        for other in self.catalog.store.all_of(VERSION_SET):
            same_compartment = other.body["compartmentId"] == body["compartmentId"]
            if same_compartment and other.body["name"] == name and other.body["lifecycleState"] != "DELETED":
                raise ConflictError(
                    f"A model version set named {name!r} exists: {other.id}.",
                    code="NotAuthorizedOrResourceAlreadyExists",
                )
        resource.body["timeUpdated"] = resource.body["timeCreated"]
        resource.private["last_version"] = 0
        return document(resource.body, self.catalog.store.save(resource))

    def get(self, request: OciRequest) -> Response:
        """Answer GetModelVersionSet."""
        resource = self.catalog.find(VERSION_SET, request, "modelVersionSetId")
        return document(resource.body, resource)

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListModelVersionSets."""
        return _LISTING.reply(request, self.catalog.listed(VERSION_SET, request), lambda resource: resource.body)

    def update(self, request: OciRequest) -> Response:
        """Answer UpdateModelVersionSet."""
        resource = self.catalog.find_existing(VERSION_SET, request, "modelVersionSetId")
        resource.body.update(pick(request.json(), _FIELDS), timeUpdated=timestamp())
        return document(resource.body, self.catalog.store.save(resource))

    def delete(self, request: OciRequest) -> Response:
        """Answer DeleteModelVersionSet; refuse it for a set with models unless they are deleted too."""
        resource = self.catalog.find_existing(VERSION_SET, request, "modelVersionSetId")
        models = self._models_of(resource)
        if models and request.query.get("isDeleteRelatedModels") != "true":
            raise ConflictError(
                f"Model version set {resource.id} has {len(models)} models, for example {models[0].id}."
            )
        for model in models:
            self.models.remove(model)
        resource.body.update(lifecycleState="DELETED", timeUpdated=timestamp())
        self.catalog.store.save(resource)
        work_request = self.work_requests.delete_at_once("MODELVERSIONSET_DELETE", resource, "modelVersionSet")
        return empty(status=202, opc_work_request_id=work_request.id)

    def _models_of(self, version_set: Resource) -> list[Resource]:
        models = self.catalog.store.all_of(MODEL)
        members = [model for model in models if model.body.get("modelVersionSetId") == version_set.id]
        return [model for model in members if model.body["lifecycleState"] != "DELETED"]
