"""Faults that a test orders: what goes wrong, in which operation, when and how often."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import count

ANY_OPERATION = "*"
# What the gateway does to a request or its response.
REQUEST_KINDS = frozenset({"status", "slow", "drop_before", "drop_after"})


@dataclass(frozen=True)
class Outcome:
    """What becomes of a change to a deployment that was accepted."""

    fails: bool = False
    state_after_failure: str | None = None
    records_changes: bool = True
    switches_server: bool = True
    keeps_old_server: bool = False


AS_ASKED = Outcome()
# The lies that a cloud can tell about an update: the first two admit that something failed, the others do not.
OUTCOMES: Mapping[str, Outcome] = {
    "work_request_failed": Outcome(fails=True),
    "needs_attention": Outcome(fails=True, state_after_failure="NEEDS_ATTENTION"),
    "silently_reverted": Outcome(records_changes=False, switches_server=False),
    "old_still_serves": Outcome(switches_server=False),
    "stale_replica": Outcome(keeps_old_server=True),
}
OUTCOME_KINDS = frozenset(OUTCOMES)
# Lies about a deployment that serves already.
UPDATE_KINDS = frozenset(kind for kind, outcome in OUTCOMES.items() if not outcome.fails)
UPDATE_OPERATION = "UpdateModelDeployment"
KINDS = REQUEST_KINDS | OUTCOME_KINDS


@dataclass
class Fault:
    """One ordered fault; it skips `after` matching calls and then hits the next `times`."""

    operation: str
    kind: str
    status: int = 500
    code: str = "InternalServerError"
    message: str = "This fault was ordered from the emulator."
    seconds: float = 0.0
    times: int = 1
    after: int = 0
    id: int = 0

    def matches(self, operation: str, kinds: Collection[str]) -> bool:
        """Return whether the fault is about this operation and of one of these kinds."""
        return self.kind in kinds and self.operation in (operation, ANY_OPERATION)


@dataclass
class Faults:
    """The faults that are still to come."""

    pending: list[Fault] = field(default_factory=list)
    _ids: "count[int]" = field(default_factory=lambda: count(1))

    def add(self, fault: Fault) -> Fault:
        """Order a fault."""
        fault.id = next(self._ids)
        self.pending.append(fault)
        return fault

    def take(self, operation: str, kinds: Collection[str]) -> Fault | None:
        """Return the fault that hits this call, and count the call for those that still skip."""
        hit = None
        for fault in [fault for fault in self.pending if fault.matches(operation, kinds)]:
            if fault.after:
                fault.after -= 1
            elif hit is None:
                hit = fault
                fault.times -= 1
        self.pending = [fault for fault in self.pending if fault.times > 0]
        return hit

    def clear(self) -> None:
        """Forget all."""
        self.pending.clear()
