"""What the command ``rollback`` in a terminal does: begin, continue what was interrupted, or only verify."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.events import ReleaseOutcome, RolledBack
from recdeploy_ops.domain.release_plan import PREVIOUS, choose_target, lock_held
from recdeploy_ops.domain.remedies import Remedy

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger_state import LedgerState, Release


@dataclass(frozen=True)
class RollbackRequest:
    """What a person asks for in a terminal.

    Attributes:
        version: a version number, or ``previous``.
        reason: why; shown in the history.
        ended_run: a run that has ended according to the person, whatever Airflow says; None for none.
    """

    version: int | str
    reason: str
    ended_run: str | None = None


@dataclass(frozen=True)
class RollbackPlan:
    """What the command is going to do.

    Attributes:
        version: the version that production is to serve.
        begun: the terminal rollback that it continues, or closes again; None when a new one is opened.
        is_done: whether production was already verified to serve that version.
        is_restored: whether that version is the champion, which another run's open switch is about to replace.
        summary: the plan in words, line by line.
    """

    version: int
    begun: Release | None
    is_done: bool
    summary: tuple[str, ...]
    is_restored: bool = False


def plan_rollback(state: LedgerState, request: RollbackRequest) -> RollbackPlan:
    """Plan the command, which may have been given before and interrupted at any instant.

    An open terminal rollback to the same version continues, no matter who began it. A finished one is not repeated:
    with the same reason, ``previous`` still means that rollback, although another version is now the previous one.

    Args:
        state: of the ledger.
        request: what the person asks for.

    Raises:
        SettingsError: no such version exists, or no such run.
        IllegalTransitionError: that version never served.
    """
    _require_known_run(state, request)
    begun = _find_open(state, request)
    if begun is not None:
        reason = begun.rollback_params.reason
        going_on = f"The rollback to v{begun.version} that {begun.opened.triggered_by} began ({reason}) continues."
        return RollbackPlan(begun.version, begun, begun.get(RolledBack) is not None, (*_describe(state), going_on))
    done = _find_done(state, request)
    if state.production is not None and (done is not None or request.version == state.production.version):
        return _keep_champion(state, request, done, state.production.version)
    target = choose_target(state, request.version)
    ahead = state.production is not None and target.number > state.production.version
    way = "goes forward to v{}, which served before," if ahead else "goes back to v{}"
    lines = [*_describe(state), f"It {way.format(target.number)} at the same URL. Reason: {request.reason}"]
    return RollbackPlan(target.number, None, is_done=False, summary=(*lines, *_describe_holder(state, request)))


def _require_known_run(state: LedgerState, request: RollbackRequest) -> None:
    if request.ended_run is None or request.ended_run in state.releases:
        return
    holder = f"the run {state.holder} holds" if state.holder else "no run holds"
    raise SettingsError(
        f"--ended-run is {request.ended_run!r}, which the ledger does not know: {holder} the release lock.",
        Remedy("Name a run that the command history lists"),
    )


def _find_open(state: LedgerState, request: RollbackRequest) -> Release | None:
    """Return the open terminal rollback that the request means, unless it is to be ended."""
    holder = state.holding_release
    if holder is None or not holder.is_from_terminal or holder.run_id == request.ended_run:
        return None
    previous = state.previous_champion.version if state.previous_champion else None
    is_previous = request.version == PREVIOUS and holder.version == previous and holder.get(RolledBack) is None
    is_same = is_previous or request.version in {holder.version, holder.rollback_params.version}
    return holder if is_same else None


def _find_done(state: LedgerState, request: RollbackRequest) -> Release | None:
    """Return the rollback that the same command has finished, if nothing was released since."""
    newest = next(reversed(list(state.releases.values())), None)
    if newest is None or not newest.is_from_terminal or newest.outcome is not ReleaseOutcome.ROLLED_BACK:
        return None
    params, serving = newest.rollback_params, state.production
    is_same = request.version == newest.version or (request.version, request.reason) == (params.version, params.reason)
    return newest if is_same and serving is not None and serving.version == newest.version else None


def _keep_champion(state: LedgerState, request: RollbackRequest, done: Release | None, champion: int) -> RollbackPlan:
    """Plan to keep the champion: restore it if another run is replacing it, otherwise verify it."""
    if state.is_switching:
        line = f"v{champion} was verified last: it is restored."
        summary = (*_describe(state), line, *_describe_holder(state, request))
        return RollbackPlan(champion, None, is_done=False, summary=summary, is_restored=True)
    line = f"v{champion} serves already: it is verified, and nothing else is changed."
    return RollbackPlan(champion, done, is_done=True, summary=(*_describe(state), line))


def _describe(state: LedgerState) -> tuple[str, ...]:
    serving = state.production
    if serving is None:
        return ()
    if state.is_switching:
        return (f"The run {state.holder} is switching production, which served v{serving.version} at {serving.url}.",)
    return (f"Production serves v{serving.version} at {serving.url}.",)


def _describe_holder(state: LedgerState, request: RollbackRequest) -> tuple[str, ...]:
    """Return what happens to the release that holds the lock, in words."""
    holder = state.holding_release
    if holder is None:
        return ()
    if holder.is_waiting_for_approval or holder.is_baking:
        fate = "The rollback preempts it."
    elif holder.run_id == request.ended_run:
        fate = "It has ended, as --ended-run says: it is closed first."
    else:
        fate = "The rollback is refused, unless its lease is over."
    return (f"{lock_held(holder).message} {fate}",)
