"""Look-ups and checks shared by projects, models, version sets and deployments."""

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
from oci_emulator.offers import Offers
from oci_emulator.store import Json, Resource, Store
from oci_emulator.tenancies import Tenancy, check_tags, new_ocid, timestamp

PROJECT = "datascienceproject"
MODEL = "datasciencemodel"
VERSION_SET = "datasciencemodelversionset"
DEPLOYMENT = "datasciencemodeldeployment"
# Resources of other teams: they are listed and read with the project's own, and cannot be changed.
NEIGHBOURS = {kind: f"neighbour of {kind}" for kind in (MODEL, DEPLOYMENT)}


@dataclass(frozen=True)
class Catalog:
    """The stored resources of Data Science."""

    store: Store
    tenancy: Tenancy
    offers: Offers

    def find(self, kind: str, request: OciRequest, parameter: str) -> Resource:
        """Return the resource in the path."""
        identifier = request.path[parameter]
        resource = self.store.find(kind, identifier)
        if resource is None:
            raise ResourceNotFoundError(f"{kind} {identifier}")
        return resource

    def find_readable(self, kind: str, request: OciRequest, parameter: str) -> Resource:
        """Return the resource in the path, which may be a neighbour."""
        return self.store.find(NEIGHBOURS[kind], request.path[parameter]) or self.find(kind, request, parameter)

    def find_existing(self, kind: str, request: OciRequest, parameter: str) -> Resource:
        """Return the resource in the path; refuse it if it is deleted or does not match `if-match`."""
        resource = self.find(kind, request, parameter)
        if resource.body["lifecycleState"] == "DELETED":
            raise ResourceNotFoundError(f"{kind} {resource.id}")
        request.check_etag(resource)
        return resource

    def related(self, kind: str, body: Json, name: str) -> Resource:
        """Return the existing resource whose id is in a field of the body."""
        identifier = require(body, name)
        resource = self.store.find(kind, identifier)
        if resource is None or resource.body["lifecycleState"] in ("DELETED", "DELETING"):
            raise RelatedResourceNotFoundError(f"{name} {identifier} is not found, or you are not authorized.")
        return resource

    def listed(self, kind: str, request: OciRequest) -> list[Resource]:
        """Return the resources of the compartment in a list request, including neighbours."""
        compartment = self.tenancy.check_compartment(request.required_query("compartmentId"))
        resources = [*self.store.all_of(kind), *self.store.all_of(NEIGHBOURS.get(kind, ""))]
        return [item for item in resources if item.body["compartmentId"] == compartment]

    def draft(self, kind: str, body: Json, fields: Collection[str], **values: object) -> Resource:
        """Return a new, unsaved resource with these fields of the body and these values."""
        self.tenancy.check_compartment(body.get("compartmentId"))
        check_tags(body)
        self.offers.check_tags(body)
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
    """Refuse an archived artifact."""
    if model.body.get("retentionOperationDetails", {}).get("archiveState") == "SUCCEEDED":
        raise IncorrectStateError(f"The artifact of model {model.id} is archived; restore it first.")


def pick(body: Json, fields: Collection[str]) -> Json:
    """Return those of the fields that are in the body and not null."""
    check_tags(body)
    return {name: body[name] for name in fields if body.get(name) is not None}


def require(body: Json, name: str) -> Any:
    """Return a required field of the body."""
    value = body.get(name)
    if value in (None, ""):
        raise MissingParameterError(f"{name} is missing.")
    return value


def require_object(body: Json, name: str) -> Json:
    """Return a required field of the body, which must be an object."""
    value = require(body, name)
    if not isinstance(value, dict):
        raise InvalidParameterError(f"{name} is not an object.")
    return value


def display_name(kind: str) -> str:
    """Return OCI's default name of a resource: its kind and the time."""
    return f"{kind}{timestamp().replace('-', '').replace(':', '').replace('.', '')}"
