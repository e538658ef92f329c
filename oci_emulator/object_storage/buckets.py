"""The namespace and its buckets."""

import re
from dataclasses import dataclass

from starlette.responses import Response

from oci_emulator.errors import ConflictError, InvalidParameterError, ResourceNotFoundError
from oci_emulator.listings import Listing
from oci_emulator.messages import OciRequest, document, empty
from oci_emulator.object_storage.preconditions import check_preconditions
from oci_emulator.store import Json, Resource, Store
from oci_emulator.tenancies import Tenancy, check_tags, new_ocid, timestamp

KIND = "bucket"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_FIELDS = (
    "metadata",
    "publicAccessType",
    "storageTier",
    "objectEventsEnabled",
    "versioning",
    "freeformTags",
    "definedTags",
)
_LISTING = Listing((), ("name", "timeCreated"))
_SUMMARY = ("namespace", "name", "compartmentId", "createdBy", "timeCreated", "etag")


@dataclass(frozen=True)
class Buckets:
    """The buckets of the tenancy's namespace."""

    store: Store
    tenancy: Tenancy

    def get_namespace(self, request: OciRequest) -> Response:
        """Answer GetNamespace."""
        if compartment := request.query.get("compartmentId"):
            self.tenancy.check_compartment(compartment)
        return document(self.tenancy.namespace)

    def get_namespace_metadata(self, request: OciRequest) -> Response:
        """Answer GetNamespaceMetadata."""
        self.check_namespace(request)
        compartment = next(iter(self.tenancy.compartments))
        names = ("defaultS3CompartmentId", "defaultSwiftCompartmentId")
        return document({"namespace": self.tenancy.namespace, **dict.fromkeys(names, compartment)})

    def create(self, request: OciRequest) -> Response:
        """Answer CreateBucket."""
        self.check_namespace(request)
        body = request.json()
        name = body.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            reason = f"The bucket name {name!r} has other characters than letters, digits, -, _ and ."
            raise InvalidParameterError(reason, code="InvalidBucketName")
        self.tenancy.check_compartment(body.get("compartmentId"))
        check_tags(body)
        if self.store.find(KIND, _key(name)):
            raise ConflictError(f"Bucket {name} already exists.", code="BucketAlreadyExists")
        shown: Json = {
            "id": new_ocid("bucket"),
            "namespace": self.tenancy.namespace,
            "name": name,
            "compartmentId": body["compartmentId"],
            "createdBy": self.tenancy.user,
            "timeCreated": timestamp(),
            "publicAccessType": "NoPublicAccess",
            "storageTier": "Standard",
            "versioning": "Disabled",
            "metadata": {},
            "freeformTags": {},
            "definedTags": {},
            **{field: body[field] for field in _FIELDS if body.get(field) is not None},
        }
        resource = self.store.save(Resource(KIND, _key(name), shown))
        return document(_shown(resource), resource, location=f"/n/{self.tenancy.namespace}/b/{name}")

    def get(self, request: OciRequest) -> Response:
        """Answer GetBucket."""
        resource = self.find(request)
        return document(_shown(resource), resource)

    def head(self, request: OciRequest) -> Response:
        """Answer HeadBucket."""
        return empty(self.find(request), status=200)

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListBuckets."""
        self.check_namespace(request)
        compartment = self.tenancy.check_compartment(request.required_query("compartmentId"))
        buckets = [item for item in self.store.all_of(KIND) if item.body["compartmentId"] == compartment]
        return _LISTING.reply(request, buckets, lambda item: {field: _shown(item)[field] for field in _SUMMARY})

    def delete(self, request: OciRequest) -> Response:
        """Answer DeleteBucket; refuse it for a bucket that is not empty."""
        resource = self.find(request)
        check_preconditions(request, resource.etag)
        query = "SELECT name FROM objects WHERE bucket = ? LIMIT 1"
        if row := self.store.connection.execute(query, (resource.body["name"],)).fetchone():
            raise ConflictError(f"Bucket {resource.body['name']} still contains {row[0]}.", code="BucketNotEmpty")
        self.store.delete(resource.id)
        return empty()

    def find(self, request: OciRequest) -> Resource:
        """Return the bucket in the path."""
        self.check_namespace(request)
        name = request.path["bucketName"]
        resource = self.store.find(KIND, _key(name))
        if resource is None:
            raise ResourceNotFoundError(f"bucket {name}", code="BucketNotFound")
        return resource

    def check_namespace(self, request: OciRequest) -> None:
        """Refuse any namespace but the tenancy's."""
        name = request.path["namespaceName"]
        if name != self.tenancy.namespace:
            raise ResourceNotFoundError(f"namespace {name}", code="NamespaceNotFound")


def _key(name: str) -> str:
    return f"bucket/{name}"


def _shown(resource: Resource) -> Json:
    return {**resource.body, "etag": resource.etag}
