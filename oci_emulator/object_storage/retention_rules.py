"""Retention rules of buckets: an object that a rule protects can be neither overwritten nor deleted.

Sources: https://docs.oracle.com/en-us/iaas/Content/Object/Tasks/usingretentionrules.htm for what they do, the SDK for
their fields, and public reports for the answer (403 `RetentionRuleViolation`).
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from oci_emulator.errors import InvalidParameterError, ResourceNotFoundError, RetentionRuleViolationError
from oci_emulator.messages import OciRequest, document, empty
from oci_emulator.object_storage.buckets import Buckets
from oci_emulator.store import Json, Resource, Store
from oci_emulator.tenancies import parse_timestamp, timestamp

KIND = "retention rule"
_DAYS = {"DAYS": 1, "YEARS": 365}


@dataclass(frozen=True)
class RetentionRules:
    """The rules of all buckets; locks are not emulated."""

    store: Store
    buckets: Buckets

    def create(self, request: OciRequest) -> Response:
        """Answer CreateRetentionRule; a rule is in force at once."""
        bucket, details = self.buckets.find(request), request.json()
        duration = details.get("duration")
        if duration is not None:
            _period(duration)
        now, identifier = timestamp(), str(uuid.uuid4())
        body = {"id": identifier, "displayName": details.get("displayName"), "duration": duration}
        body |= {"timeCreated": now, "timeModified": now}
        return document(body, self.store.save(Resource(KIND, identifier, body, {"bucket": bucket.id})))

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListRetentionRules, newest first."""
        return document({"items": [rule.body for rule in reversed(self._of(self.buckets.find(request).id))]})

    def delete(self, request: OciRequest) -> Response:
        """Answer DeleteRetentionRule."""
        identifier, bucket = request.path["retentionRuleId"], self.buckets.find(request)
        if identifier not in {rule.id for rule in self._of(bucket.id)}:
            raise ResourceNotFoundError(f"retention rule {identifier}", code="RetentionRuleNotFound")
        self.store.delete(identifier)
        return empty()

    def check(self, request: OciRequest, stored: Json | None) -> None:
        """Refuse to overwrite or delete a stored object (None: there is none) that a rule of its bucket protects."""
        if stored is None:
            return
        age = datetime.now(UTC) - parse_timestamp(stored["timeModified"], "timeModified")
        for rule in self._of(self.buckets.find(request).id):
            duration = rule.body["duration"]
            if duration is None or age < _period(duration):
                raise RetentionRuleViolationError(
                    f"The object {request.path['objectName']} is protected by the retention rule {rule.id}."
                )

    def _of(self, bucket: str) -> list[Resource]:
        return [rule for rule in self.store.all_of(KIND) if rule.private["bucket"] == bucket]


def _period(duration: Json) -> timedelta:
    unit, amount = duration.get("timeUnit"), duration.get("timeAmount")
    if unit not in _DAYS or not isinstance(amount, int) or amount < 1:
        raise InvalidParameterError(f"duration is {duration!r}, not a timeAmount of DAYS or YEARS.")
    return timedelta(days=amount * _DAYS[unit])
