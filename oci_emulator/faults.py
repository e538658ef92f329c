"""Faults that a test orders: the kind, the operation, when and how often."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cache

from oci_emulator.operations import DATA_SCIENCE, read_real_operations
from oci_emulator.store import Store

ANY_OPERATION = "*"
# Faults of a request or its response; see `disturbances`.
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
    """The outcome of an accepted change to a deployment: what OCI reports, and what is true.

    Attributes:
        fails: the work request fails.
        state_after_failure: the deployment's state then; None for the regular one.
        records: the resource gets its new fields and state.
        switches: the servers change as requested.
        leaves_stale: the previous server stays as a replica.
        random: that replica answers at random, not every fourth request.
        invents_state: the deployment shows a state that OCI does not have.
        waits: the work request waits until the fault is cleared.
    """

    fails: bool = False
    state_after_failure: str | None = None
    records: bool = True
    switches: bool = True
    leaves_stale: bool = False
    random: bool = False
    invents_state: bool = False
    waits: bool = False


AS_REQUESTED = Outcome()
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
    """Return the operations that a kind of fault applies to; None for all."""
    if kind == "stale_read":  # Object Storage promises consistency, Data Science does not
        names = (operation.name for operation in read_real_operations() if operation.service == DATA_SCIENCE)
        return frozenset(name for name in names if name.startswith(("Get", "List")))
    if kind not in OUTCOMES:
        return None
    if OUTCOMES[kind].leaves_stale:
        return frozenset({UPDATE_OPERATION})
    return _CHANGES if OUTCOMES[kind].records else _ACTIONS


@dataclass
class Fault:
    """One ordered fault: it skips `after` matching calls, then hits the next `times` (None: all).

    With `nth` it hits that call, counted since the calls were last cleared, and the `times - 1` after it.
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
        """Return whether the fault applies to this call and is of one of these kinds."""
        if self.kind not in kinds or self.operation not in (operation, ANY_OPERATION):
            return False
        admitted = operations_of(self.kind) if self.operation == ANY_OPERATION else None
        return self.nth in (None, nth) and (admitted is None or operation in admitted)

    def hit(self) -> None:
        """Count a hit."""
        if self.times is not None:
            self.times -= 1
        if self.nth is not None:
            self.nth += 1


class Faults:
    """The pending faults; they survive a restart."""

    def __init__(self, store: Store) -> None:
        """Load the faults from `store`."""
        self._store = store
        self._clearing = asyncio.Event()
        saved = store.setting("faults") or {"pending": [], "last": 0, "cleared": 0}
        self.pending = [Fault(**fault) for fault in saved["pending"]]
        self._last: int = saved["last"]
        self._cleared: int = saved["cleared"]

    def add(self, fault: Fault) -> Fault:
        """Order a fault."""
        self._last += 1
        fault.id = self._last
        self.pending.append(fault)
        self._save()
        return fault

    def take(self, operation: str, kinds: Collection[str], nth: int) -> Fault | None:
        """Return the fault that hits this call, and count the call for faults that skip it."""
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
            self._save()
        return hit

    def clear(self) -> None:
        """Clear all faults, also those that a work request is stuck in."""
        self.pending.clear()
        self._cleared = self._last
        self._save()
        self._clearing.set()
        self._clearing = asyncio.Event()

    async def until_cleared(self, identifier: int) -> None:
        """Wait until the fault with this id is cleared."""
        while self._cleared < identifier:
            await self._clearing.wait()

    def _save(self) -> None:
        pending = [asdict(fault) for fault in self.pending]
        self._store.save_setting("faults", {"pending": pending, "last": self._last, "cleared": self._cleared})
