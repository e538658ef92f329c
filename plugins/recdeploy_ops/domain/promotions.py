"""What *Promote* does in OCI: each request that changes something, in order, before it is sent and afterwards.

`steps/promote.py` chooses its way with `choose_way` too. Reads, waits and what is written to storage are not listed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import (
    ApprovalAnswered,
    ApprovalRequested,
    ChampionRestored,
    EventType,
    ModelRegistered,
    Promoted,
    ReleaseClosed,
    Resized,
    ResizeStarted,
    RestoreStarted,
    SwitchFailed,
    SwitchStarted,
    TestDeployed,
)
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.domain.sizes import RESIZE_PART

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.events import Event
    from recdeploy_ops.domain.ledger_state import Release
    from recdeploy_ops.domain.versions import Serving

UPDATE, CREATE, DELETE = "UpdateModelDeployment", "CreateModelDeployment", "DeleteModelDeployment"
TAG_MODEL, PREDICT = "UpdateModel", "Predict"
GONE = "DELETED"  # OCI's word


class Way(StrEnum):
    """How a promotion makes production serve the version."""

    MODEL = "production serves another model"
    ROLE = "the test deployment becomes production"
    CREATION = "production is created"


def choose_way(champion: Serving | None, tested: TestDeployed) -> Way:
    """Return how a promotion makes production serve the version.

    Args:
        champion: what production serves; None before the first release.
        tested: the test deployment, or that it was skipped.
    """
    if champion is not None:
        return Way.MODEL
    return Way.ROLE if tested.deployment_id is not None else Way.CREATION


class CallState(StrEnum):
    """What happened to a call."""

    PLANNED = "planned"
    BEGUN = "begun"  # it may have been sent
    DONE = "done"
    FAILED = "failed"
    NOT_SENT = "not sent"
    UNKNOWN = "not recorded"  # only OCI can say


@dataclass(frozen=True)
class Call:
    """One request, or a row of requests, to OCI.

    Attributes:
        operation: OCI's name, as in its SDK.
        target: OCID of the deployment or model; empty for a deployment that does not exist yet.
        task: the Airflow task that sends it.
        what: it does, in words.
        state: what happened to it.
        at: when that was recorded, ISO 8601; None before, and where only OCI can say.
        note: a reason, in words; may be empty.
    """

    operation: str
    target: str
    task: str
    what: str
    state: CallState = CallState.PLANNED
    at: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Observed:
    """What OCI says of what the ledger does not record.

    Attributes:
        states: lifecycle states of deployments, by OCID; one that OCI does not know is DELETED.
        heads: number of the ledger's entry that the tags name, by the OCID of a deployment or model; 0 without one.
    """

    states: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    heads: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class _Trace:
    """A release, and when what it has recorded was recorded."""

    release: Release
    champion: Serving | None
    answers: int
    times: Mapping[EventType, str]
    numbers: Mapping[EventType, int]
    observed: Observed

    def when(self, kind: type[Event]) -> str | None:
        """Return when the valid event of a type was recorded; None without one."""
        return self.times.get(kind.type) if self.release.get(kind) else None


def list_calls(
    entries: Sequence[Entry], run_id: str, *, answers: int, observed: Observed | None = None
) -> tuple[Call, ...]:
    """Return the calls of a run's promotion, and of the restoration if it failed.

    Args:
        entries: the whole ledger, in order.
        run_id: the run of a retrain that the ledger has.
        answers: how many answers in a row verify a switch.
        observed: what OCI says, if it was asked.

    Returns:
        none before the candidate is registered and its test deployment made or skipped, none for a rollback, and none
        if the release ended without a promotion.
    """
    own = [entry for entry in entries if entry.run_id == run_id]
    state = replay(entries)
    release = state.releases[run_id]
    # Reopening a release voids its switch, but not a promotion.
    has_switched = release.get(SwitchStarted) is not None or release.get(Promoted) is not None
    begun = max((entry.seq for entry in own if isinstance(entry.event, SwitchStarted)), default=1)
    before = replay(entries[: begun - 1]) if has_switched else state
    trace = _Trace(
        release=release,
        champion=before.production,
        answers=answers,
        times={entry.type: entry.at.isoformat() for entry in own},
        numbers={entry.type: entry.seq for entry in own},
        observed=observed or Observed(),
    )
    tested, registered = release.get(TestDeployed), release.get(ModelRegistered)
    if release.is_rollback or tested is None or registered is None:
        return ()
    if not release.is_open and not has_switched:
        return ()
    calls = [
        _tag_answered(trace, registered),
        *_switch(trace, registered, tested),
        *_finish(trace, registered, tested),
        *_restore(trace),
    ]
    return tuple(call if release.is_open else _end(call) for call in calls)


def _tag_answered(trace: _Trace, registered: ModelRegistered) -> Call:
    call = Call(TAG_MODEL, registered.model_id, ApprovalAnswered.task, "tag the model with the ledger's newest entry")
    return _observe_tags(trace, call, ApprovalAnswered)


def _switch(trace: _Trace, registered: ModelRegistered, tested: TestDeployed) -> list[Call]:
    """Return the change of production and its verification."""
    version = registered.version
    way, target = choose_way(trace.champion, tested), _find_production(trace, tested)
    effects = {
        Way.MODEL: f"let production serve v{version}: its model becomes that of v{version}, and nothing else changes",
        Way.ROLE: "turn the test deployment into production: its name, description and tags change",
        Way.CREATION: f"create production with v{version}",
    }
    operation = CREATE if way is Way.CREATION else UPDATE
    calls = [Call(operation, target, Promoted.task, effects[way]), _probe(trace, registered, target)]
    failed = trace.release.get(SwitchFailed)
    if done := trace.when(Promoted):
        return [replace(call, state=CallState.DONE, at=done) for call in calls]
    if failed:
        change, probe = calls
        at = trace.when(SwitchFailed)
        return [replace(change, state=CallState.FAILED, at=at, note=failed.reason), _not_sent(probe)]
    if begun := trace.when(SwitchStarted):
        return [replace(calls[0], state=CallState.BEGUN, at=begun), calls[1]]
    return calls


def _finish(trace: _Trace, registered: ModelRegistered, tested: TestDeployed) -> list[Call]:
    """Return what follows once production is verified."""
    resize, production = _find_resize(trace), _find_production(trace, tested)
    calls = []
    if resize:
        calls.append(_resize(trace, Call(UPDATE, production, Promoted.task, f"resize production {resize}")))
    if trace.champion is not None and tested.deployment_id is not None:
        calls.append(
            _delete_test(trace, Call(DELETE, tested.deployment_id, Promoted.task, "delete the test deployment"))
        )
    if resize:
        calls.append(_resize(trace, _probe(trace, registered, production)))
    what = "tag the model with when it was verified to serve, and with the ledger's newest entry"
    tag_model = Call(TAG_MODEL, registered.model_id, ReleaseClosed.task, what)
    what = "tag production with what it serves, and with the ledger's newest entry"
    tag_production = Call(UPDATE, production, ReleaseClosed.task, what)
    calls += [_observe_tags(trace, call, ReleaseClosed) for call in (tag_model, tag_production)]
    has_ended = trace.release.get(SwitchFailed) or not trace.release.is_open
    return [_not_sent(call) for call in calls] if has_ended and not trace.release.get(Promoted) else calls


def _restore(trace: _Trace) -> list[Call]:
    """Return how the champion was restored after a switch that failed."""
    started = trace.release.get(RestoreStarted)
    if started is None:
        return []
    call = Call(UPDATE, started.deployment_id or "", Promoted.task, f"restore the champion: {started.goal}")
    if done := trace.when(ChampionRestored):
        return [replace(call, state=CallState.DONE, at=done, note="verified by its answers")]
    return [replace(call, state=CallState.BEGUN, at=trace.when(RestoreStarted))]


def _find_production(trace: _Trace, tested: TestDeployed) -> str:
    """Return the OCID of production during the promotion; empty while OCI has not created it."""
    if trace.champion is not None:
        return trace.champion.deployment_id
    promoted = trace.release.get(Promoted)
    return tested.deployment_id or (promoted.deployment_id if promoted else "")


def _probe(trace: _Trace, registered: ModelRegistered, target: str) -> Call:
    what = (
        f"{trace.answers} answers in a row of production's URL must carry v{registered.version} and the digest "
        f"{registered.digest[:12]}"
    )
    return Call(PREDICT, target, Promoted.task, what)


def _find_resize(trace: _Trace) -> str | None:
    """Return the change of size that the approval covers, in words."""
    question = trace.release.get(ApprovalRequested)
    return question.parts.get(RESIZE_PART) if question else None


def _resize(trace: _Trace, call: Call) -> Call:
    begun = trace.when(ResizeStarted)
    if done := trace.when(Resized):
        if begun is None:
            return replace(_not_sent(call), at=done, note="production already had this size")
        return replace(call, state=CallState.DONE, at=done)
    return replace(call, state=CallState.BEGUN, at=begun) if begun else call


def _delete_test(trace: _Trace, call: Call) -> Call:
    if not trace.when(Promoted):
        return call
    seen = trace.observed.states.get(call.target)
    if seen is None:
        return replace(call, state=CallState.UNKNOWN)
    return replace(call, state=CallState.DONE if seen == GONE else CallState.BEGUN, note=f"OCI says {seen}")


def _observe_tags(trace: _Trace, call: Call, kind: type[Event]) -> Call:
    """Return a call that sets tags once an event of this type is recorded."""
    if not trace.when(kind):
        return call
    head = trace.observed.heads.get(call.target)
    if head is None:
        return replace(call, state=CallState.UNKNOWN)
    note = f"OCI's tags name entry {head}"
    return replace(call, state=CallState.DONE if head >= trace.numbers[kind.type] else CallState.FAILED, note=note)


def _not_sent(call: Call) -> Call:
    return replace(call, state=CallState.NOT_SENT)


def _end(call: Call) -> Call:
    """Return a call of a release that is closed."""
    if call.state is CallState.PLANNED:
        return _not_sent(call)
    return replace(call, state=CallState.FAILED) if call.state is CallState.BEGUN else call
