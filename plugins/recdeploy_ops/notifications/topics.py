"""A notifier of Airflow for OCI Notifications."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from recdeploy_ops.hooks.oci import OciHook
from recdeploy_ops.oci_clients.topics import publish

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class OciNotifier(BaseNotifier):
    """Publishes a message to a topic of OCI Notifications. All arguments are templates.

    Args:
        topic_id: OCID of the topic.
        title: one line, the subject where it becomes mail.
        text: plain text.
        oci_conn_id: id of a connection of type ``oci``.
    """

    template_fields = ("topic_id", "title", "text", "oci_conn_id")

    def __init__(
        self, *, topic_id: str, title: str, text: str, oci_conn_id: str = OciHook.default_conn_name, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.topic_id = topic_id
        self.title = title
        self.text = text
        self.oci_conn_id = oci_conn_id

    def notify(self, context: Context) -> None:  # noqa: ARG002 - Airflow's form; the templates are rendered
        """Publish the message; raises as `publish` does."""
        published = publish(OciHook(self.oci_conn_id).session, self.topic_id, self.title, self.text)
        self.log.info("Published the message %s to %s", published, self.topic_id)

    async def async_notify(self, context: Context) -> None:
        """Do the same without blocking the triggerer."""
        await asyncio.to_thread(self.notify, context)
