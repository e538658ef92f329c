"""Publish messages to topics of OCI Notifications, which takes them to mail, Slack, PagerDuty and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.oci_clients.calls import calling

if TYPE_CHECKING:
    from recdeploy_ops.oci_clients.sessions import OciSession

# Bytes of the request, https://docs.oracle.com/iaas/api/#/en/notification/20181201/NotificationTopic/PublishMessage:
# 64 KB. A character takes at most six of them in JSON.
LONGEST_TITLE, LONGEST_TEXT = 200, 10_000


def publish(session: OciSession, topic_id: str, title: str, text: str) -> str:
    """Publish a message and return its id.

    Args:
        session: signs the request.
        topic_id: OCID of the topic.
        title: one line, the subject where it becomes mail; longer than `LONGEST_TITLE` it is shortened.
        text: plain text; longer than `LONGEST_TEXT` it is shortened.

    Raises:
        CloudRefusedError: the topic does not exist, or this principal may not publish there.
        CloudUnavailableError: OCI did not answer, or has too much to do: the message may have been published.
        SettingsError: the credentials cannot be used.
    """
    import oci.ons.models

    details = oci.ons.models.MessageDetails(title=shorten(title, LONGEST_TITLE), body=shorten(text, LONGEST_TEXT))
    with calling(f"publish a message to {topic_id}"):
        return str(session.notifications.publish_message(topic_id, details).data.message_id)
