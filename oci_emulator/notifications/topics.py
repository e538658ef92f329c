"""Topics and their messages. Without subscriptions: the control plane shows what was published."""

import uuid
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from oci_emulator.data_science.catalog import Catalog, require
from oci_emulator.errors import (
    ConflictError,
    InvalidParameterError,
    NotImplementedByEmulatorError,
    PayloadTooLargeError,
)
from oci_emulator.listings import Listing
from oci_emulator.messages import OciRequest, document
from oci_emulator.store import Json, Resource
from oci_emulator.tenancies import timestamp

TOPIC = "onstopic"
MESSAGE = "onsmessage"
MAX_MESSAGE_BYTES = 64 * 1024
_FIELDS = ("name", "compartmentId", "description", "freeformTags", "definedTags")
_LISTING = Listing(
    filters=("id", "name", "lifecycleState"),
    sortable=("TIMECREATED", "LIFECYCLESTATE"),
    fields={"id": "topicId", "TIMECREATED": "timeCreated", "LIFECYCLESTATE": "lifecycleState"},
)


@dataclass(frozen=True)
class Topics:
    """The topics of the tenancy; `url` is where messages are published."""

    catalog: Catalog
    url: str

    def create(self, request: OciRequest) -> Response:
        """Answer CreateTopic; refuse a name that the tenancy has already."""
        body = request.json()
        name = require(body, "name")
        if not isinstance(name, str):
            raise InvalidParameterError("name is not a text.")
        if any(topic.body["name"] == name for topic in self.catalog.store.all_of(TOPIC)):
            raise ConflictError(f"The tenancy has a topic with the name {name} already.")
        topic = self.catalog.draft(TOPIC, body, _FIELDS, lifecycleState="ACTIVE")
        self.catalog.store.save(topic)
        return document(self._shown(topic), topic)

    def get(self, request: OciRequest) -> Response:
        """Answer GetTopic."""
        topic = self.catalog.find(TOPIC, request, "topicId")
        return document(self._shown(topic), topic)

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListTopics."""
        return _LISTING.reply(request, self.catalog.listed(TOPIC, request), self._shown)

    def publish(self, request: OciRequest) -> Response:
        """Answer PublishMessage."""
        topic = self.catalog.find(TOPIC, request, "topicId")
        if request.headers.get("messagetype", "RAW_TEXT") != "RAW_TEXT":
            raise NotImplementedByEmulatorError("The deprecated messageType JSON is not emulated.")
        if len(request.body) > MAX_MESSAGE_BYTES:
            raise PayloadTooLargeError(f"The message has {len(request.body)} bytes; at most {MAX_MESSAGE_BYTES}.")
        details = request.json()
        text, title = require(details, "body"), details.get("title")
        if not isinstance(text, str) or not isinstance(title, str | None):
            raise InvalidParameterError("body or title is not a text.")
        message = {"messageId": str(uuid.uuid4()), "timeStamp": timestamp()}
        shown = {"topicId": topic.id, "title": title, "body": text, **message}
        self.catalog.store.save(Resource(MESSAGE, message["messageId"], shown))
        return document(message, status=202)

    def messages(self) -> list[dict[str, Any]]:
        """Return the published messages in order: topic, title, body, id and time."""
        return [message.body for message in self.catalog.store.all_of(MESSAGE)]

    def _shown(self, topic: Resource) -> Json:
        hidden = ("id", "createdBy")
        shown = {name: value for name, value in topic.body.items() if name not in hidden}
        return {**shown, "topicId": topic.id, "etag": topic.etag, "apiEndpoint": self.url}
