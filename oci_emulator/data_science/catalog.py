"""What projects, models, version sets and deployments have in common: being found, changed and checked."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from oci_emulator.errors import (
    IncorrectStateError,
    InvalidParameterError,
    MissingParameterError,
    RelatedResourceNotFoundError,
    ResourceNotFoundError,
)
from oci_emulator.messages import OciRequest
from oci_emulator.store import Json, Resource, Store
from oci_emulator.tenancies import Tenancy, check_tags, new_ocid, timestamp

PROJECT = "datascienceproject"
MODEL = "datasciencemodel"
VERSION_SET = "datasciencemodelversionset"
DEPLOYMENT = "datasciencemodeldeployment"
# Resources of other teams, which are listed and read beside one's own: to change one is not authorized.
NEIGHBOURS = {kind: f"neighbour of {kind}" for kind in (MODEL, DEPLOYMENT)}


@dataclass(frozen=True)
class Catalog:
    """The stored resources of Data Science."""

    store: Store
    tenancy: Tenancy

    def find(self, kind: str, request: OciRequest, parameter: str) -> Resource:
        """Return the resource that the path names."""
        identifier = request.path[parameter]
        resource = self.store.find(kind, identifier)
        if resource is None:
            raise ResourceNotFoundError(f"{kind} {identifier}")
        return resource

    def find_readable(self, kind: str, request: OciRequest, parameter: str) -> Resource:
        """Return the resource that the path names, which may be a neighbour."""
        return self.store.find(NEIGHBOURS[kind], request.path[parameter]) or self.find(kind, request, parameter)

    def find_existing(self, kind: str, request: OciRequest, parameter: str) -> Resource:
        """Return the resource that the path names, which must not be deleted, and match `if-match`."""
        resource = self.find(kind, request, parameter)
        if resource.body["lifecycleState"] == "DELETED":
            raise ResourceNotFoundError(f"{kind} {resource.id}")
        request.check_etag(resource)
        return resource

    def related(self, kind: str, body: Json, name: str) -> Resource:
        """Return the existing resource that a field of the body names."""
        identifier = require(body, name)
        resource = self.store.find(kind, identifier)
        if resource is None or resource.body["lifecycleState"] in ("DELETED", "DELETING"):
            raise RelatedResourceNotFoundError(f"{name} {identifier} is not found, or you are not authorized.")
        return resource

    def listed(self, kind: str, request: OciRequest) -> list[Resource]:
        """Return the resources of the compartment that a list request has to name, neighbours among them."""
        compartment = self.tenancy.check_compartment(request.required_query("compartmentId"))
        found = [*self.store.all_of(kind), *self.store.all_of(NEIGHBOURS.get(kind, ""))]
        return [item for item in found if item.body["compartmentId"] == compartment]

    def draft(self, kind: str, body: Json, fields: Collection[str], **values: object) -> Resource:
        """Return a new, unsaved resource in the body's compartment: `fields` of the body, and `values`."""
        self.tenancy.check_compartment(body.get("compartmentId"))
        check_tags(body)
        identifier = new_ocid(kind)
        shown: Json = {
            "id": identifier,
            "timeCreated": timestamp(),
            "createdBy": self.tenancy.user,
            "freeformTags": {},
            "definedTags": {},
            **pick(body, fields),
            **values,
        }
        return Resource(kind, identifier, shown)


def check_not_archived(model: Resource) -> None:
    """Refuse to use an artifact that a retention policy has moved away."""
    if model.body.get("retentionOperationDetails", {}).get("archiveState") == "SUCCEEDED":
        raise IncorrectStateError(f"The artifact of model {model.id} is archived; restore it first.")


def pick(body: Json, fields: Collection[str]) -> Json:
    """Return the fields of the body that are there and not null."""
    check_tags(body)
    return {name: body[name] for name in fields if body.get(name) is not None}


def require(body: Json, name: str) -> Any:
    """Return a field of the body that must be there."""
    value = body.get(name)
    if value in (None, ""):
        raise MissingParameterError(f"{name} is missing.")
    return value


def require_object(body: Json, name: str) -> Json:
    """Return a field of the body that must be an object."""
    value = require(body, name)
    if not isinstance(value, dict):
        raise InvalidParameterError(f"{name} is not an object.")
    return value


def display_name(kind: str) -> str:
    """Return the name of what was given none: its kind and the time, as OCI does."""
    return f"{kind}{timestamp().replace('-', '').replace(':', '').replace('.', '')}"
