"""Log groups and their logs, as far as deployments name them. A creation is done at once."""

from dataclasses import dataclass

from starlette.responses import Response

from oci_emulator.data_science.catalog import Catalog, pick, require
from oci_emulator.errors import ResourceNotFoundError
from oci_emulator.listings import Listing
from oci_emulator.messages import OciRequest, document, empty
from oci_emulator.store import Resource
from oci_emulator.tenancies import new_ocid, timestamp

GROUP, LOG = "loggroup", "log"
_FIELDS = ("displayName", "description", "freeformTags", "definedTags")
_LOG_FIELDS = ("displayName", "logType", "isEnabled", "configuration", "freeformTags", "definedTags")
_GROUPS = Listing(("displayName",), ("displayName", "timeCreated"))
_LOGS = Listing(("displayName", "logType", "lifecycleState"), ("displayName", "timeCreated"))


@dataclass(frozen=True)
class LogGroups:
    """The log groups of the tenancy."""

    catalog: Catalog

    def create(self, request: OciRequest) -> Response:
        """Answer CreateLogGroup, without a body as OCI does."""
        body = request.json()
        require(body, "displayName")
        group = self.catalog.draft(GROUP, body, ("compartmentId", *_FIELDS), lifecycleState="ACTIVE")
        self.catalog.store.save(group)
        return empty(status=202, opc_work_request_id=new_ocid("logworkrequest"))

    def get(self, request: OciRequest) -> Response:
        """Answer GetLogGroup."""
        group = self.catalog.find(GROUP, request, "logGroupId")
        return document(group.body, group)

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListLogGroups."""
        return _GROUPS.reply(request, self.catalog.listed(GROUP, request), lambda group: group.body)

    def create_log(self, request: OciRequest) -> Response:
        """Answer CreateLog, without a body as OCI does."""
        group, details = self.catalog.find(GROUP, request, "logGroupId"), request.json()
        for name in ("displayName", "logType"):
            require(details, name)
        body = {
            "id": new_ocid(LOG),
            "logGroupId": group.id,
            "compartmentId": group.body["compartmentId"],
            "timeCreated": timestamp(),
            "lifecycleState": "ACTIVE",
            **pick(details, _LOG_FIELDS),
        }
        self.catalog.store.save(Resource(LOG, body["id"], body))
        return empty(status=202, opc_work_request_id=new_ocid("logworkrequest"))

    def get_log(self, request: OciRequest) -> Response:
        """Answer GetLog."""
        log = self.catalog.find(LOG, request, "logId")
        if log.body["logGroupId"] != request.path["logGroupId"]:
            raise ResourceNotFoundError(f"log {log.id}")
        return document(log.body, log)

    def list_logs(self, request: OciRequest) -> Response:
        """Answer ListLogs."""
        group = self.catalog.find(GROUP, request, "logGroupId")
        logs = [log for log in self.catalog.store.all_of(LOG) if log.body["logGroupId"] == group.id]
        return _LOGS.reply(request, logs, lambda log: log.body)
