"""The section ``messages``: which channel is told what."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator

from recdeploy_ops.domain.messages import MessageKind
from recdeploy_ops.settings.types import NUMBER, Name

SMTP, OCI = "smtp", "oci"
TOPIC = re.compile(r"ocid1\.onstopic\.\S+")
EVERY_KIND = tuple(MessageKind)


class ChannelSettings(BaseModel, extra="forbid", frozen=True):
    """Where messages go: a notifier of Airflow with its arguments."""

    notifier: Annotated[str, Field(pattern=r"^(smtp|oci|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+)$")]
    arguments: dict[str, Any] = {}
    kinds: Annotated[tuple[MessageKind, ...], Field(min_length=1)] = EVERY_KIND

    @model_validator(mode="after")
    def _check_arguments(self) -> Self:
        if self.notifier == SMTP and not self.arguments.get("to"):
            raise ValueError("arguments has no 'to': write the address that mail goes to, or a list of addresses")
        if self.notifier == OCI and not TOPIC.fullmatch(str(self.arguments.get("topic_id"))):
            raise ValueError("arguments has no 'topic_id': write the OCID of a topic, ocid1.onstopic...")
        if self.notifier not in (SMTP, OCI) and "message." not in json.dumps(self.arguments, default=str):
            raise ValueError(
                "no argument uses the message: write {{ message.subject }} and {{ message.body }} where "
                f"{self.notifier} takes its text"
            )
        return self


class MessageSettings(BaseModel, extra="forbid", frozen=True):
    """Messages to people about releases."""

    reminder_hours: Annotated[float, Field(gt=0, le=30 * 24, allow_inf_nan=False), NUMBER] = 24
    channels: dict[Name, ChannelSettings] = {}
