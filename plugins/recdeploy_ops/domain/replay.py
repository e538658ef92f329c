"""Replay of the ledger: each type of event has its own rule for the state."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from types import MappingProxyType
from typing import TYPE_CHECKING

from recdeploy_ops.domain.entries import FORMAT, Entry
from recdeploy_ops.domain.errors import IntegrityError, LedgerFormatError
from recdeploy_ops.domain.event_order import PRODUCTION_AT_REST, find_voided
from recdeploy_ops.domain.events import (
    Adopted,
    ArtifactBuilt,
    ChampionBacktested,
    ChampionRestored,
    CustomerErased,
    Event,
    EventType,
    HousekeepingStarted,
    LedgerStarted,
    ModelRegistered,
    ModelRestored,
    Promoted,
    PromotionsFrozen,
    PromotionsResumed,
    Purpose,
    ReleaseClosed,
    ReleaseOpened,
    ReleaseRejected,
    Resized,
    SwitchDone,
    SwitchStarted,
    TestValidated,
    VersionPinned,
    VersionUnpinned,
)
from recdeploy_ops.domain.freezes import Freeze, FreezeCause
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.holds import after_switch
from recdeploy_ops.domain.ledger_state import LedgerState, Release
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.domain.rewritten_states import rewrite_state
from recdeploy_ops.domain.stages import Stage, advance
from recdeploy_ops.domain.versions import Serving, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERIFY = "Run 'python -m recdeploy_ops verify' to see which entry was changed"


def replay(entries: Iterable[Entry], state: LedgerState | None = None) -> LedgerState:
    """Return the state after these entries.

    Args:
        entries: in order.
        state: after the entries before them.

    Raises:
        IntegrityError: an entry is missing, out of order or was edited.
        LedgerFormatError: a newer version of this project wrote them.
    """
    state = state or LedgerState()
    for entry in entries:
        if entry.seq != state.seq + 1 or entry.previous != state.head:
            raise IntegrityError(
                f"The ledger is broken at entry {entry.seq}: it does not follow entry {state.seq} "
                f"({state.head[:12]}...).",
                Remedy(VERIFY),
            )
        _require_begun(state, entry)
        try:
            state = replace(_apply(entry.event, state, entry), seq=entry.seq, head=entry.sha256)
        except KeyError as err:
            raise IntegrityError(f"Ledger entry {entry.seq} names {err}, which no earlier entry has.") from err
    return state


def _require_begun(state: LedgerState, entry: Entry) -> None:
    """Refuse a ledger whose first entry does not name its project, or names a newer format."""
    if isinstance(entry.event, LedgerStarted) != (state.seq == 0):
        raise IntegrityError(f"Ledger entry {entry.seq} is {entry.type}: the first, and only the first, is a start.")
    if isinstance(entry.event, LedgerStarted) and entry.event.format > FORMAT:
        raise LedgerFormatError(
            f"The ledger is written in format {entry.event.format}; this version reads formats up to {FORMAT}.",
            Remedy("Install a newer version of recdeploy on every worker"),
        )


@singledispatch
def _apply(event: Event, state: LedgerState, entry: Entry) -> LedgerState:  # noqa: ARG001 - its type chooses
    """Return the state after an event; one without a rule of its own is only added to its release."""
    return _note(state, entry)


@_apply.register
def _start(event: LedgerStarted, state: LedgerState, entry: Entry) -> LedgerState:
    return replace(state, project=event.project, origin=entry.sha256)


@_apply.register
def _open(event: ReleaseOpened, state: LedgerState, entry: Entry) -> LedgerState:
    known = state.releases.get(entry.run_id)
    release = Release(
        run_id=entry.run_id,
        version=event.version,
        opened_at=known.opened_at if known else entry.at.isoformat(),
        last_opened_at=entry.at.isoformat(),
        is_open=True,
        events=known.events if known else MappingProxyType({}),
        open_switch=known.open_switch if known else None,
    )
    state = _with_event(state, release, entry)
    state = replace(state, holder=entry.run_id, highest_version=max(state.highest_version, event.version))
    version = state.versions.get(event.version)
    if event.purpose is Purpose.RETRAIN and version and version.stage is Stage.REJECTED:
        state = _with_stage(state, event.version, Stage.CANDIDATE)
        validated = state.releases[entry.run_id].get(TestValidated)
        if validated and validated.verdict is not Verdict.FAIL:
            state = _with_stage(state, event.version, Stage.VALIDATED)
    return state


def _note(state: LedgerState, entry: Entry) -> LedgerState:
    return _with_event(state, state.releases[entry.run_id], entry)


@_apply.register
def _build(event: ArtifactBuilt, state: LedgerState, entry: Entry) -> LedgerState:
    state = _note(state, entry)
    release = replace(state.releases[entry.run_id], version=event.version)
    return replace(state.with_release(release), highest_version=max(state.highest_version, event.version))


@_apply.register
def _register(event: ModelRegistered, state: LedgerState, entry: Entry) -> LedgerState:
    state = _note(state, entry)
    release = state.releases[entry.run_id]
    known = state.versions.get(release.version)
    version = Version(
        number=release.version,
        stage=known.stage if known else Stage.CANDIDATE,
        run_id=entry.run_id,
        digest=event.digest,
        model_id=event.model_id,
        artifact=event.artifact,
        results=event.results,
    )
    return state.with_version(version)


@_apply.register
def _backtest(event: ChampionBacktested, state: LedgerState, entry: Entry) -> LedgerState:  # noqa: ARG001 - all rules are called alike
    """Remember the side of a version: it belongs to no release, as it serves all that follow."""
    return replace(state, backtests=MappingProxyType({**state.backtests, event.version: event}))


@_apply.register
def _validate(event: TestValidated, state: LedgerState, entry: Entry) -> LedgerState:
    state = _note(state, entry)
    version = state.releases[entry.run_id].version
    if event.verdict is Verdict.FAIL or state.versions[version].stage is Stage.CHAMPION:
        return state
    return _with_stage(state, version, Stage.VALIDATED)


@_apply.register
def _switch(event: SwitchDone, state: LedgerState, entry: Entry) -> LedgerState:
    state = _note(state, entry)
    serving = Serving(
        deployment_id=event.deployment_id,
        url=event.url,
        model_id=event.model_id,
        version=event.version,
        digest=event.digest,
        since=entry.at.isoformat(),
    )
    previous = state.production
    if previous and previous.version != serving.version:
        state = _with_stage(state, previous.version, Stage.RETIRED)
        state = replace(state, previous_champion=previous)
    if previous is None and isinstance(event, Promoted):  # created with the size that its run requested
        state = replace(state, applied_size=state.releases[entry.run_id].retrain_params.size)
    state = _with_stage(state, serving.version, Stage.CHAMPION)
    champion = state.versions[serving.version].verified()
    state = replace(state.with_version(champion), production=serving)
    return after_switch(state, event, previous, entry)


@_apply.register
def _resize(event: Resized, state: LedgerState, entry: Entry) -> LedgerState:
    return replace(_note(state, entry), applied_size=event.applied.after(state.applied_size))


@_apply.register
def _start_switch(event: SwitchStarted, state: LedgerState, entry: Entry) -> LedgerState:
    state = _note(state, entry)
    return state.with_release(replace(state.releases[entry.run_id], open_switch=event))


@_apply.register
def _restore_champion(event: ChampionRestored, state: LedgerState, entry: Entry) -> LedgerState:
    state = _note(state, entry)
    if state.production is None:
        return state
    return replace(state, production=replace(state.production, model_id=event.model_id))


@_apply.register
def _restore_model(event: ModelRestored, state: LedgerState, entry: Entry) -> LedgerState:
    if entry.run_id in state.releases:  # housekeeping restores a model without a release
        state = _note(state, entry)
    return state.with_version(replace(state.versions[event.version], model_id=event.model_id))


@_apply.register
def _adopt(event: Adopted, state: LedgerState, entry: Entry) -> LedgerState:  # noqa: ARG001 - all rules are called alike
    """Replace versions and production by what OCI has: the only event that says what is, not what was done."""
    return replace(
        state,
        versions=MappingProxyType({version.number: version for version in event.versions}),
        highest_version=max(state.highest_version, event.highest_version),
        production=event.production,
        previous_champion=event.previous_champion,
    )


@_apply.register
def _reject(event: ReleaseRejected, state: LedgerState, entry: Entry) -> LedgerState:  # noqa: ARG001 - all rules are called alike
    state = _note(state, entry)
    version = state.versions.get(state.releases[entry.run_id].version)
    if version is None or version.stage in (Stage.CHAMPION, Stage.RETIRED):
        return state  # a version that has served keeps its stage
    return _with_stage(state, version.number, Stage.REJECTED)


@_apply.register
def _close(event: ReleaseClosed, state: LedgerState, entry: Entry) -> LedgerState:
    state = _note(state, entry)
    release = replace(state.releases[entry.run_id], is_open=False, outcome=event.outcome)
    holder = None if state.holder == entry.run_id else state.holder
    return replace(state.with_release(release), holder=holder)


@_apply.register
def _freeze(event: PromotionsFrozen, state: LedgerState, entry: Entry) -> LedgerState:
    freeze = Freeze(FreezeCause.PERSON, event.reason, event.by, entry.at.isoformat())
    return replace(state, freezes=(*state.freezes, freeze))


@_apply.register
def _resume(event: PromotionsResumed, state: LedgerState, entry: Entry) -> LedgerState:  # noqa: ARG001 - all rules are called alike
    return replace(state, freezes=())


@_apply.register
def _pin(event: VersionPinned, state: LedgerState, entry: Entry) -> LedgerState:  # noqa: ARG001 - all rules are called alike
    return replace(state, pinned=MappingProxyType({**state.pinned, event.version: event}))


@_apply.register
def _unpin(event: VersionUnpinned, state: LedgerState, entry: Entry) -> LedgerState:  # noqa: ARG001 - all rules are called alike
    pinned = {number: pin for number, pin in state.pinned.items() if number != event.version}
    return replace(state, pinned=MappingProxyType(pinned))


@_apply.register
def _prune(event: HousekeepingStarted, state: LedgerState, entry: Entry) -> LedgerState:
    for number in event.versions:
        state = state.with_version(replace(state.versions[number], pruned_at=entry.at.isoformat()))
    return state


@_apply.register
def _erase(event: CustomerErased, state: LedgerState, entry: Entry) -> LedgerState:  # noqa: ARG001 - all rules are called alike
    return rewrite_state(state, event)


def _merged(release: Release, entry: Entry) -> Mapping[EventType, Event]:
    void = find_voided(entry.type, release.events)
    valid = {kind: event for kind, event in release.events.items() if kind not in void}
    return MappingProxyType({**valid, entry.type: entry.event})


def _with_event(state: LedgerState, release: Release, entry: Entry) -> LedgerState:
    open_switch = None if entry.type in PRODUCTION_AT_REST else release.open_switch
    return state.with_release(replace(release, events=_merged(release, entry), open_switch=open_switch))


def _with_stage(state: LedgerState, number: int, stage: Stage) -> LedgerState:
    version = state.versions[number]
    if version.stage is stage:
        return state
    return state.with_version(replace(version, stage=advance(version.stage, stage)))
