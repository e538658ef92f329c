"""The calls that the emulator has received, in order."""

import re
from collections import deque
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any

from oci_emulator.tenancies import timestamp

MAX_CALLS = 50_000
_DEPLOYMENT = re.compile(r"ocid1\.datasciencemodeldeployment\.[\w.-]+")


@dataclass
class Call:
    """One call; `status` is None while it runs, and when its connection was dropped."""

    number: int
    time: str
    method: str
    path: str
    query: str
    request_id: str
    operation: str | None = None
    status: int | None = None
    dropped: bool = False

    def shown(self) -> dict[str, Any]:
        """Return the call as the control plane shows it."""
        shown = asdict(self)
        shown["opc_request_id"] = shown.pop("request_id")
        deployment = _DEPLOYMENT.search(self.path)
        return {**shown, "deployment_id": deployment.group() if deployment else None}


@dataclass
class Calls:
    """The last calls; older ones are forgotten."""

    received: deque[Call] = field(default_factory=lambda: deque(maxlen=MAX_CALLS))
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def add(self, method: str, path: str, query: str, request_id: str) -> Call:
        """Record a call at its arrival."""
        call = Call(next(self._numbers), timestamp(), method, path, query, request_id)
        self.received.append(call)
        return call

    def clear(self) -> None:
        """Forget all."""
        self.received.clear()
