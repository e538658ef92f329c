"""Work requests: the record of a change that takes time."""

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
# Percent complete of one that is not finished: 100 comes together with the terminal status, and only then.
_MAX_OPEN_PERCENT = 99.0


@dataclass(frozen=True)
class WorkRequests:
    """The work requests of Data Science."""

    store: Store
    tenancy: Tenancy

    def accept(self, operation_type: str, target: Resource, entity: str, seconds: float, **private: object) -> Resource:
        """Record a work request on `target` that takes `seconds`; `private` is for who carries it out."""
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
        extra = {
            "started": started,
            "due": started + seconds,
            "logs": [],
            "errors": [],
            "target": target.id,
            **private,
        }
        resource = Resource(KIND, body["id"], body, extra)
        self.log(resource, f"{operation_type} of {target.id} was accepted.")
        return resource

    def start(self, resource: Resource) -> None:
        """Note that the work has begun."""
        resource.body.update(status="IN_PROGRESS", timeStarted=timestamp())
        self.log(resource, f"{resource.body['operationType']} is in progress.")

    def succeed(self, resource: Resource, action: str) -> None:
        """Note that the work is done; `action` is CREATED, UPDATED or DELETED."""
        self._finish(resource, "SUCCEEDED", action)

    def fail(self, resource: Resource, code: str, messages: Sequence[str]) -> None:
        """Note that the work has failed, and why."""
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
        """Return what is still to be carried out, the oldest first."""
        return [resource for resource in self.store.all_of(KIND) if resource.body["status"] in OPEN]

    def get(self, request: OciRequest) -> Response:
        """Answer GetWorkRequest."""
        resource = self._find(request)
        return document(_shown(resource), resource)

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListWorkRequests."""
        self.tenancy.check_compartment(request.required_query("compartmentId"))
        wanted = request.query.get("resourceId")
        found = [item for item in self.store.all_of(KIND) if wanted in (None, item.private["target"])]
        found = [item for item in found if item.body["compartmentId"] == request.query["compartmentId"]]
        return _LISTING.reply(request, found, _shown)

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
    """Return the work request with its progress, which is the share of its time that has passed."""
    if resource.body["status"] not in OPEN:
        return resource.body
    started, due = resource.private["started"], resource.private["due"]
    share = (time.time() - started) / (due - started) if due > started else 1.0
    return {**resource.body, "percentComplete": round(min(100.0 * share, _MAX_OPEN_PERCENT), 1)}
