"""Work requests: the records of changes that take time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from oci_emulator.errors import ResourceNotFoundError
from oci_emulator.listings import Listing
from oci_emulator.messages import OciRequest, document
from oci_emulator.store import Json, Resource, Store
from oci_emulator.tenancies import Tenancy, new_ocid, timestamp

KIND = "datascienceworkrequest"
OPEN = frozenset({"ACCEPTED", "IN_PROGRESS"})
_LISTING = Listing(filters=("id", "operationType", "status"), sortable=("timeAccepted", "operationType", "status"))
# The highest percentage of an open work request: 100 comes only with the terminal status.
_MAX_OPEN_PERCENT = 99.0


@dataclass(frozen=True)
class WorkRequests:
    """The work requests of Data Science."""

    store: Store
    tenancy: Tenancy

    def accept(self, operation_type: str, target: Resource, entity: str, seconds: float, **private: object) -> Resource:
        """Record a work request on `target` that takes `seconds`; `private` is stored for carrying it out."""
        now = timestamp()
        body: Json = {
            "id": new_ocid(KIND),
            "operationType": operation_type,
            "status": "ACCEPTED",
            "compartmentId": target.body["compartmentId"],
            "percentComplete": 0.0,
            "resources": [
                {
                    "actionType": "IN_PROGRESS",
                    "entityType": entity,
                    "identifier": target.id,
                    "entityUri": f"/20190101/{entity}s/{target.id}",
                }
            ],
            "timeAccepted": now,
        }
        started = time.time()
        times = {"started": started, "due": started + seconds}
        resource = Resource(KIND, body["id"], body, {**times, "logs": [], "errors": [], "target": target.id, **private})
        self.log(resource, f"{operation_type} of {target.id} was accepted.")
        return resource

    def delete_at_once(self, operation_type: str, target: Resource, entity: str) -> Resource:
        """Record a work request that has already deleted `target`."""
        resource = self.accept(operation_type, target, entity, 0.0)
        self.start(resource)
        self.succeed(resource, "DELETED")
        return resource

    def start(self, resource: Resource) -> None:
        """Record that the work has begun."""
        resource.body.update(status="IN_PROGRESS", timeStarted=timestamp())
        self.log(resource, f"{resource.body['operationType']} is in progress.")

    def succeed(self, resource: Resource, action: str) -> None:
        """Record that the work is done; `action` is CREATED, UPDATED or DELETED."""
        self._finish(resource, "SUCCEEDED", action)

    def fail(self, resource: Resource, code: str, messages: Sequence[str]) -> None:
        """Record that the work has failed, and why."""
        now = timestamp()
        for message in messages:
            resource.private["errors"].append({"code": code, "message": message, "timestamp": now})
            resource.private["logs"].append({"message": message, "timestamp": now})
        self._finish(resource, "FAILED", "RELATED")

    def log(self, resource: Resource, message: str) -> None:
        """Add a line to the work request's log, and save it."""
        resource.private["logs"].append({"message": message, "timestamp": timestamp()})
        self.store.save(resource)

    def unfinished(self) -> list[Resource]:
        """Return the open work requests, the oldest first."""
        return [resource for resource in self.store.all_of(KIND) if resource.body["status"] in OPEN]

    def get(self, request: OciRequest) -> Response:
        """Answer GetWorkRequest."""
        resource = self._find(request)
        return document(_shown(resource), resource)

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListWorkRequests."""
        self.tenancy.check_compartment(request.required_query("compartmentId"))
        wanted = request.query.get("resourceId")
        items = [item for item in self.store.all_of(KIND) if wanted in (None, item.private["target"])]
        items = [item for item in items if item.body["compartmentId"] == request.query["compartmentId"]]
        return _LISTING.reply(request, items, _shown)

    def list_logs(self, request: OciRequest) -> Response:
        """Answer ListWorkRequestLogs."""
        return document(self._find(request).private["logs"])

    def list_errors(self, request: OciRequest) -> Response:
        """Answer ListWorkRequestErrors."""
        return document(self._find(request).private["errors"])

    def _find(self, request: OciRequest) -> Resource:
        identifier = request.path["workRequestId"]
        resource = self.store.find(KIND, identifier)
        if resource is None:
            raise ResourceNotFoundError(f"work request {identifier}")
        return resource

    def _finish(self, resource: Resource, status: str, action: str) -> None:
        resource.body.update(status=status, percentComplete=100.0, timeFinished=timestamp())
        for touched in resource.body["resources"]:
            touched["actionType"] = action
        self.log(resource, f"{resource.body['operationType']} has {status}.")


def _shown(resource: Resource) -> Json:
    """Return the work request with its progress: the elapsed share of its duration."""
    if resource.body["status"] not in OPEN:
        return resource.body
    started, due = resource.private["started"], resource.private["due"]
    share = (time.time() - started) / (due - started) if due > started else 1.0
    return {**resource.body, "percentComplete": round(min(100.0 * share, _MAX_OPEN_PERCENT), 1)}
