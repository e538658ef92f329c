"""Alarms: stored and checked. They are never evaluated, so none fires or publishes a message."""

import re
from dataclasses import dataclass

from starlette.responses import Response

from oci_emulator.data_science.catalog import Catalog, pick, require
from oci_emulator.errors import InvalidParameterError, NotImplementedByEmulatorError
from oci_emulator.listings import Listing
from oci_emulator.messages import OciRequest, document, empty
from oci_emulator.monitoring.queries import parse_query
from oci_emulator.store import Json, Resource
from oci_emulator.tenancies import timestamp

ALARM = "alarm"
_REQUIRED = (
    "displayName",
    "compartmentId",
    "metricCompartmentId",
    "namespace",
    "query",
    "severity",
    "destinations",
    "isEnabled",
)
_FIELDS = (
    *_REQUIRED,
    "resourceGroup",
    "resolution",
    "pendingDuration",
    "body",
    "isNotificationsPerMetricDimensionEnabled",
    "messageFormat",
    "repeatNotificationDuration",
    "ruleName",
    "notificationVersion",
    "notificationTitle",
    "evaluationSlackDuration",
    "alarmSummary",
    "freeformTags",
    "definedTags",
)
_NOT_EMULATED = ("suppression", "overrides", "metricCompartmentIdInSubtree")
_CHOICES = {
    "severity": ("CRITICAL", "ERROR", "WARNING", "INFO"),
    "messageFormat": ("RAW", "PRETTY_JSON", "ONS_OPTIMIZED"),
    "resolution": ("1m",),
}
# Not in the SDK's `AlarmSummary`.
_DETAILS = frozenset(
    {
        "body",
        "pendingDuration",
        "resolution",
        "messageFormat",
        "repeatNotificationDuration",
        "timeCreated",
        "timeUpdated",
        "createdBy",
    }
)
_LISTING = Listing(("displayName", "lifecycleState"), ("displayName", "severity"), omits=_DETAILS, default_limit=1000)
_PENDING = re.compile(r"PT([1-9]|[1-5]\d|60)M|PT1H")


@dataclass(frozen=True)
class Alarms:
    """The alarms of the tenancy."""

    catalog: Catalog

    def create(self, request: OciRequest) -> Response:
        """Answer CreateAlarm."""
        body = {"pendingDuration": "PT1M", "messageFormat": "RAW", **_checked(request.json())}
        for name in _REQUIRED:
            require(body, name)
        alarm = self.catalog.draft(ALARM, body, _FIELDS, lifecycleState="ACTIVE")
        return self._saved(alarm)

    def get(self, request: OciRequest) -> Response:
        """Answer GetAlarm."""
        return _shown(self.catalog.find(ALARM, request, "alarmId"))

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListAlarms: the ACTIVE ones, unless a lifecycle state is given."""
        alarms = self.catalog.listed(ALARM, request)
        if "lifecycleState" not in request.query:
            alarms = [alarm for alarm in alarms if alarm.body["lifecycleState"] == "ACTIVE"]
        return _LISTING.reply(request, alarms, lambda alarm: alarm.body)

    def update(self, request: OciRequest) -> Response:
        """Answer UpdateAlarm."""
        alarm = self.catalog.find_existing(ALARM, request, "alarmId")
        alarm.body.update(pick(_checked(request.json()), _FIELDS))
        return self._saved(alarm)

    def delete(self, request: OciRequest) -> Response:
        """Answer DeleteAlarm."""
        alarm = self.catalog.find_existing(ALARM, request, "alarmId")
        alarm.body["lifecycleState"] = "DELETED"
        self.catalog.store.save(alarm)
        return empty()

    def _saved(self, alarm: Resource) -> Response:
        _check(alarm.body)
        self.catalog.tenancy.check_compartment(alarm.body["metricCompartmentId"])
        alarm.body["timeUpdated"] = timestamp()
        return _shown(self.catalog.store.save(alarm))


def _checked(body: Json) -> Json:
    """Refuse what is not emulated."""
    if asked := [name for name in _NOT_EMULATED if body.get(name) not in (None, False, [])]:
        raise NotImplementedByEmulatorError(f"{', '.join(asked)} of an alarm: not emulated.")
    return body


def _check(alarm: Json) -> None:
    for name, choices in _CHOICES.items():
        if alarm.get(name) not in (None, *choices):
            raise InvalidParameterError(f"{name} is {alarm[name]!r}, not one of {', '.join(choices)}.")
    if not isinstance(alarm["isEnabled"], bool):
        raise InvalidParameterError("isEnabled is not true or false.")
    if not _PENDING.fullmatch(str(alarm["pendingDuration"])):
        raise InvalidParameterError(f"pendingDuration is {alarm['pendingDuration']!r}, not PT1M to PT1H.")
    destinations = alarm["destinations"]
    if not isinstance(destinations, list) or not all(isinstance(item, str) for item in destinations):
        raise InvalidParameterError("destinations is not a list of OCIDs.")
    if sum(item.startswith("ocid1.onstopic.") for item in destinations) > 1:
        raise InvalidParameterError("destinations has more than one topic.")
    query = parse_query(alarm["query"])
    if (query.rule is None) != (query.statistic == "absent"):
        raise InvalidParameterError(f"The query {alarm['query']!r} has no trigger rule: a threshold or absent().")


def _shown(alarm: Resource) -> Response:
    return document({name: value for name, value in alarm.body.items() if name != "createdBy"}, alarm)
