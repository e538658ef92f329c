"""The client of the control plane: orders to a running emulator, over HTTP."""

import json
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from oci_emulator.guards import ORDER_HEADER

# Generous: on a busy machine everything is late.
ORDER_SECONDS = 300.0


class EmulatorError(Exception):
    """The emulator did not start, or refused an order; the message quotes it."""


class ControlClient:
    """Gives the orders of the README's table. All raise `EmulatorError` if the emulator refuses them."""

    def __init__(self, url: str, token: str) -> None:
        """Take the emulator's address, and the token of its ready file."""
        self.url = url
        self.token = token

    def set_timings(self, **seconds: float) -> dict[str, float]:
        """Set how long create, update, delete, activate and deactivate take; return all timings."""
        timings: dict[str, float] = self._control("PUT", "timings", seconds)
        return timings

    def fail_next(self, operation: str, kind: str = "status", **details: object) -> dict[str, Any]:
        """Order a fault for the next matching call.

        `operation` is the SDK's operation in CamelCase, or "*". The README lists the kinds and the `details` of
        each: status, code, message, seconds, state, probability; all have times and after.
        """
        fault: dict[str, Any] = self._control("POST", "faults", {"operation": operation, "kind": kind, **details})
        return fault

    def fail_at(self, nth: int, kind: str = "status", **details: object) -> dict[str, Any]:
        """Order a fault for the nth call since `clear_calls`, of any operation; see `fail_next`."""
        fault: dict[str, Any] = self._control("POST", "faults", {"nth": nth, "kind": kind, **details})
        return fault

    def faults(self) -> list[dict[str, Any]]:
        """Return the pending faults."""
        pending: list[dict[str, Any]] = self._control("GET", "faults")
        return pending

    def clear_faults(self) -> None:
        """Clear the pending faults, and release the work requests that are stuck."""
        self._control("DELETE", "faults")

    def add_neighbour(self, collection: str, document: dict[str, Any]) -> str:
        """Add a resource of another team, and return its OCID.

        `collection` is `models` or `modelDeployments`; the document is the resource as OCI would show it.
        """
        added: dict[str, str] = self._control("POST", "neighbours", {"collection": collection, "document": document})
        return added["id"]

    def archive(self, model_id: str) -> None:
        """Archive a model's artifact, as a retention policy does; its lifecycle state stays."""
        self._control("POST", "archive", {"model": model_id})

    def end_retention(self, secret_id: str) -> None:
        """Delete a secret that is pending deletion, without waiting for its time of deletion."""
        self._control("POST", "end-retention", {"secret": secret_id})

    def offer(self, **offers: object) -> None:
        """Change what the region and the tenancy offer: `withdrawn_shapes`, `limits`, `required_tags`."""
        self._control("PUT", "offers", offers)

    def renew(self, what: str) -> None:
        """Replace the `key` or the session `token` in its file; the former one is refused from now on."""
        self._control("POST", "renew", {"what": what})

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages published to topics, in order: topicId, title, body, messageId and timeStamp."""
        messages: list[dict[str, Any]] = self._control("GET", "messages")
        return messages

    def calls(self, operation: str | None = None) -> list[dict[str, Any]]:
        """Return the calls received so far, in order; those of one operation, if given."""
        calls: list[dict[str, Any]] = self._control("GET", f"calls?operation={operation}" if operation else "calls")
        return calls

    def clear_calls(self) -> None:
        """Clear the calls received so far; the next one is the first."""
        self._control("DELETE", "calls")

    def reset(self) -> None:
        """Remove everything except the credentials."""
        self._control("POST", "reset")

    def wait_until_idle(self) -> None:
        """Return once every work request has ended."""
        self._control("GET", "idle")

    def snapshot(self, name: str) -> None:
        """Save the state under this name when every work request has ended."""
        self._control("POST", "snapshot", {"name": name})

    def restore(self, name: str) -> None:
        """Restore the state of a snapshot; faults and calls are cleared."""
        self._control("POST", "restore", {"name": name})

    def _control(self, method: str, path: str, body: object = None) -> Any:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=ORDER_SECONDS)
        headers = {"content-type": "application/json", ORDER_HEADER: self.token}
        try:
            connection.request(method, f"/_emulator/{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise EmulatorError(f"{method} {path} was refused: {text.decode()}")
        return json.loads(text)
