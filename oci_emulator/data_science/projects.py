"""Projects: the folders of Data Science."""

from dataclasses import dataclass

from starlette.responses import Response

from oci_emulator.data_science.catalog import DEPLOYMENT, MODEL, PROJECT, VERSION_SET, Catalog, display_name, pick
from oci_emulator.data_science.work_requests import WorkRequests
from oci_emulator.errors import ConflictError
from oci_emulator.listings import Listing
from oci_emulator.messages import OciRequest, document, empty

_FIELDS = ("displayName", "description", "freeformTags", "definedTags")
_LISTING = Listing(("id", "displayName", "lifecycleState", "createdBy"), ("timeCreated", "displayName"))


@dataclass(frozen=True)
class Projects:
    """The projects of the tenancy."""

    catalog: Catalog
    work_requests: WorkRequests

    def create(self, request: OciRequest) -> Response:
        """Answer CreateProject."""
        body = {"displayName": display_name("project"), **request.json()}
        resource = self.catalog.draft(PROJECT, body, ("compartmentId", *_FIELDS), lifecycleState="ACTIVE")
        return document(resource.body, self.catalog.store.save(resource))

    def get(self, request: OciRequest) -> Response:
        """Answer GetProject."""
        resource = self.catalog.find(PROJECT, request, "projectId")
        return document(resource.body, resource)

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListProjects."""
        return _LISTING.reply(request, self.catalog.listed(PROJECT, request), lambda resource: resource.body)

    def update(self, request: OciRequest) -> Response:
        """Answer UpdateProject."""
        resource = self.catalog.find_existing(PROJECT, request, "projectId")
        resource.body.update(pick(request.json(), _FIELDS))
        return document(resource.body, self.catalog.store.save(resource))

    def delete(self, request: OciRequest) -> Response:
        """Answer DeleteProject; refuse it for a project that is not empty."""
        resource = self.catalog.find_existing(PROJECT, request, "projectId")
        for kind in (MODEL, VERSION_SET, DEPLOYMENT):
            for member in self.catalog.store.all_of(kind):
                if member.body.get("projectId") == resource.id and member.body["lifecycleState"] != "DELETED":
                    raise ConflictError(f"Project {resource.id} still contains {member.id}.")
        resource.body["lifecycleState"] = "DELETED"
        self.catalog.store.save(resource)
        work_request = self.work_requests.delete_at_once("PROJECT_DELETE", resource, "project")
        return empty(status=202, opc_work_request_id=work_request.id)
