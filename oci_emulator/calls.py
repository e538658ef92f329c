"""The calls that the emulator has received, in order."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from oci_emulator.store import Store
from oci_emulator.tenancies import timestamp

MAX_CALLS = 50_000
_TRIM_EVERY = 1_000
_DEPLOYMENT = re.compile(r"ocid1\.datasciencemodeldeployment\.[\w.-]+")


@dataclass
class Call:
    """One call; `status` is None while it runs, and after its connection was dropped.

    `nth` counts from 1 since the calls were last cleared; a fault can be ordered for it.
    """

    number: int
    nth: int
    time: str
    method: str
    path: str
    query: str
    request_id: str
    operation: str | None = None
    status: int | None = None
    dropped: bool = False
    killed: int | None = None

    @property
    def deployment_id(self) -> str | None:
        """Return the OCID of the deployment in the path, or None."""
        deployment = _DEPLOYMENT.search(self.path)
        return deployment.group() if deployment else None

    def shown(self) -> dict[str, Any]:
        """Return the call as the control plane shows it."""
        shown = asdict(self)
        shown["opc_request_id"] = shown.pop("request_id")
        return {**shown, "deployment_id": self.deployment_id}


class Calls:
    """The last calls; they survive a restart."""

    def __init__(self, store: Store) -> None:
        """Load the calls from `store`; those still running when the emulator ended count as dropped."""
        self._run = store.connection.execute
        self.count = 0
        for call in self.received():
            self.count = max(self.count, call.nth)
            if call.status is None and not call.dropped:
                call.dropped = True
                self.save(call)

    def add(self, method: str, path: str, query: str, request_id: str) -> Call:
        """Record a call on arrival."""
        self.count += 1
        call = Call(0, self.count, timestamp(), method, path, query, request_id)
        call.number = self._run("INSERT INTO calls (call) VALUES (?)", (_text(call),)).lastrowid or 0
        if call.number % _TRIM_EVERY == 0:
            self._run("DELETE FROM calls WHERE number <= ?", (call.number - MAX_CALLS,))
        return call

    def save(self, call: Call) -> None:
        """Record the present state of a call."""
        self._run(
            "UPDATE calls SET operation = ?, call = ? WHERE number = ?", (call.operation, _text(call), call.number)
        )

    def received(self, operation: str | None = None) -> list[Call]:
        """Return the calls in order; those of one operation, if given."""
        rows = self._run(
            "SELECT number, call FROM calls WHERE ?1 IS NULL OR operation = ?1 ORDER BY number", (operation,)
        )
        return [Call(**{**json.loads(text), "number": number}) for number, text in rows]

    def clear(self) -> None:
        """Remove all calls, and count from 1 again."""
        self._run("DELETE FROM calls")
        self.count = 0


def _text(call: Call) -> str:
    return json.dumps(vars(call))
