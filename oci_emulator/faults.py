"""Faults that a test orders: what goes wrong, in which operation, when and how often."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cache

from oci_emulator.operations import DATA_SCIENCE, read_real_operations
from oci_emulator.store import Store

ANY_OPERATION = "*"
# What happens to a request or its response; see `disturbances`.
REQUEST_KINDS = frozenset(
    {
        "status",
        "status_after",
        "slow",
        "drop_before",
        "drop_after",
        "kill_client_before",
        "kill_client_after",
        "not_done",
        "stale_read",
    }
)


@dataclass(frozen=True)
class Outcome:
    """What becomes of a change to a deployment that was accepted: what is said of it, and what is so.

    `fails` is about the work request, `records` about the resource: its fields and its state. `switches` is
    about the servers: they become what was asked for. `leaves_stale` keeps the server before among the
    replicas, where `random` has it answer by chance. `waits` is for the fault to be taken back.
    """

    fails: bool = False
    state_after_failure: str | None = None
    records: bool = True
    switches: bool = True
    leaves_stale: bool = False
    random: bool = False
    invents_state: bool = False
    waits: bool = False


AS_ASKED = Outcome()
OUTCOMES: Mapping[str, Outcome] = {
    "work_request_failed": Outcome(fails=True, switches=False),
    "needs_attention": Outcome(fails=True, state_after_failure="NEEDS_ATTENTION", switches=False),
    "failed": Outcome(fails=True, state_after_failure="FAILED", switches=False),
    "half_done": Outcome(fails=True),
    "silently_reverted": Outcome(records=False, switches=False),
    "old_still_serves": Outcome(switches=False),
    "stale_replica": Outcome(leaves_stale=True),
    "random_replica": Outcome(leaves_stale=True, random=True),
    "unknown_state": Outcome(invents_state=True),
    "stuck": Outcome(waits=True),
}
OUTCOME_KINDS = frozenset(OUTCOMES)
KINDS = REQUEST_KINDS | OUTCOME_KINDS
UPDATE_OPERATION = "UpdateModelDeployment"
_ACTIONS = frozenset(f"{verb}ModelDeployment" for verb in ("Update", "Activate", "Deactivate", "Delete"))
_CHANGES = _ACTIONS | {"CreateModelDeployment"}


@cache
def operations_of(kind: str) -> Collection[str] | None:
    """Return the operations that a kind of fault is about; None for all of them."""
    if kind == "stale_read":  # Object Storage, other than Data Science, promises never to do so
        names = (operation.name for operation in read_real_operations() if operation.service == DATA_SCIENCE)
        return frozenset(name for name in names if name.startswith(("Get", "List")))
    if kind not in OUTCOMES:
        return None
    if OUTCOMES[kind].leaves_stale:
        return frozenset({UPDATE_OPERATION})
    return _CHANGES if OUTCOMES[kind].records else _ACTIONS


@dataclass
class Fault:
    """One ordered fault; it skips `after` matching calls and then hits the next `times` (None: every one).

    With `nth` it hits that call, counted since the calls were last forgotten, and the `times - 1` after it.
    """

    operation: str
    kind: str
    status: int = 500
    code: str = "InternalServerError"
    message: str = "This fault was ordered from the emulator."
    seconds: float = 0.0
    times: int | None = 1
    after: int = 0
    nth: int | None = None
    state: str = "PONDERING"
    probability: float = 0.25
    id: int = 0

    def matches(self, operation: str, nth: int, kinds: Collection[str]) -> bool:
        """Return whether the fault is about this call and of one of these kinds."""
        if self.kind not in kinds or self.operation not in (operation, ANY_OPERATION):
            return False
        admitted = operations_of(self.kind) if self.operation == ANY_OPERATION else None
        return self.nth in (None, nth) and (admitted is None or operation in admitted)

    def hit(self) -> None:
        """Count a call that was hit."""
        if self.times is not None:
            self.times -= 1
        if self.nth is not None:
            self.nth += 1


class Faults:
    """The faults that are still to come; a restart forgets none."""

    def __init__(self, store: Store) -> None:
        """Know the faults in `store`."""
        self._store = store
        self._clearing = asyncio.Event()
        kept = store.setting("faults") or {"pending": [], "last": 0, "cleared": 0}
        self.pending = [Fault(**fault) for fault in kept["pending"]]
        self._last: int = kept["last"]
        self._cleared: int = kept["cleared"]

    def add(self, fault: Fault) -> Fault:
        """Order a fault."""
        self._last += 1
        fault.id = self._last
        self.pending.append(fault)
        self._keep()
        return fault

    def take(self, operation: str, kinds: Collection[str], nth: int) -> Fault | None:
        """Return the fault that hits this call, and count the call for those that still skip."""
        hit = None
        matching = [fault for fault in self.pending if fault.matches(operation, nth, kinds)]
        for fault in matching:
            if fault.after:
                fault.after -= 1
            elif hit is None:
                hit = fault
                fault.hit()
        if matching:
            self.pending = [fault for fault in self.pending if fault.times != 0]
            self._keep()
        return hit

    def clear(self) -> None:
        """Take all back, also those that a work request is stuck in."""
        self.pending.clear()
        self._cleared = self._last
        self._keep()
        self._clearing.set()
        self._clearing = asyncio.Event()

    async def until_cleared(self, identifier: int) -> None:
        """Wait until the fault with this id is taken back."""
        while self._cleared < identifier:
            await self._clearing.wait()

    def _keep(self) -> None:
        pending = [asdict(fault) for fault in self.pending]
        self._store.keep_setting("faults", {"pending": pending, "last": self._last, "cleared": self._cleared})
