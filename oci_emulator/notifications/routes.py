"""The endpoints of Notifications."""

from dataclasses import dataclass

from oci_emulator.messages import Endpoint, Plain
from oci_emulator.notifications.topics import Topics


@dataclass(frozen=True)
class Notifications:
    """The service."""

    topics: Topics

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by operation."""
        return {
            "CreateTopic": Plain(self.topics.create),
            "GetTopic": Plain(self.topics.get),
            "ListTopics": Plain(self.topics.list_all),
            "PublishMessage": Plain(self.topics.publish),
        }
