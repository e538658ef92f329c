"""Sessions for pages: a person waits, so that a request fails within seconds rather than minutes."""

from __future__ import annotations

from typing import Any

from recdeploy_ops.oci_clients import sessions
from recdeploy_ops.oci_clients.sessions import OciSession

TIMEOUTS = (3, 10)  # seconds to connect, and between two bytes of an answer
TOTAL_SECONDS = 10  # no request is repeated after that


class PageSession(OciSession):
    """SDK clients for one profile that give up soon.

    Args:
        profile: how to reach OCI.
    """

    def _client(self, client_class: Any, name: str, **options: Any) -> Any:
        soon = {"timeout": TIMEOUTS, "retry_strategy": sessions.retry_strategy(TOTAL_SECONDS)}
        return super()._client(client_class, name, **{**soon, **options})
