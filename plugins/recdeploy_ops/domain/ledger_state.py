"""The state that a replay of the ledger gives: who holds the lock, which version serves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from recdeploy_ops.domain.errors import (
    ApprovalError,
    LockHeldError,
    MissingInputError,
)
from recdeploy_ops.domain.events import (
    NOTEBOOK,
    OUTSIDE_AIRFLOW,
    TERMINAL,
    ApprovalAnswered,
    ApprovalRequested,
    BakeEnded,
    BakeStarted,
    ChampionBacktested,
    Event,
    EventType,
    Purpose,
    ReleaseOpened,
    ReleaseOutcome,
    RolledBack,
    VersionPinned,
)
from recdeploy_ops.domain.params import RetrainParams, RollbackParams
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.domain.sizes import NO_REQUEST, SizeRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.domain.events import ChangeStarted
    from recdeploy_ops.domain.freezes import Freeze
    from recdeploy_ops.domain.params import Params
    from recdeploy_ops.domain.versions import Serving, Version

NO_ENTRY = "0" * 64  # in place of a sha256 before the first entry

E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Release:
    """One run of the release process.

    Attributes:
        run_id: Airflow's run id, or that of a notebook's session or a terminal.
        version: the version number that it makes, or goes back to.
        opened_at: when it was first opened, ISO 8601.
        last_opened_at: when it was last opened, ISO 8601.
        is_open: whether it is in progress.
        outcome: how it was closed; None while it is open.
        events: the valid events by type; recording a step again voids the later events that were built on it.
        open_switch: the intent of a switch that is neither verified nor restored; None when production is at rest.
            Only an event that ends the switch clears it.
    """

    run_id: str
    version: int
    opened_at: str
    last_opened_at: str
    is_open: bool
    outcome: ReleaseOutcome | None = None
    events: Mapping[EventType, Event] = field(default_factory=lambda: MappingProxyType({}))
    open_switch: ChangeStarted | None = None

    def get(self, kind: type[E]) -> E | None:
        """Return the valid event of a type, or None."""
        event = self.events.get(kind.type)
        return event if isinstance(event, kind) else None

    def require(self, kind: type[E]) -> E:
        """Return the valid event of a type.

        Raises:
            MissingInputError: it was not recorded, or is void; names the task that records it.
        """
        event = self.get(kind)
        if event is None:
            raise MissingInputError(f"The run {self.run_id} has no valid {kind.type}", task=kind.task)
        return event

    @property
    def opened(self) -> ReleaseOpened:
        """Return the event that opened it last."""
        return self.require(ReleaseOpened)

    @property
    def newest_event(self) -> Event:
        """Return the newest of its valid events."""
        return list(self.events.values())[-1]

    @property
    def purpose(self) -> Purpose:
        """Return the purpose: a retrain or a rollback."""
        return self.opened.purpose

    @property
    def is_rollback(self) -> bool:
        """Return whether it takes production back to an earlier version."""
        return self.purpose is Purpose.ROLLBACK

    @property
    def is_from_notebook(self) -> bool:
        """Return whether a notebook opened it, not a DAG."""
        return self.opened.dag_id == NOTEBOOK

    @property
    def is_from_terminal(self) -> bool:
        """Return whether the command ``rollback`` opened it in a terminal, not a DAG."""
        return self.opened.dag_id == TERMINAL

    @property
    def is_outside_airflow(self) -> bool:
        """Return whether Airflow does not know its run."""
        return self.opened.dag_id in OUTSIDE_AIRFLOW

    @property
    def params(self) -> Params:
        """Return the run's params."""
        return self.opened.params

    @property
    def retrain_params(self) -> RetrainParams:
        """Return the params of a retrain; raises `TypeError` for a rollback."""
        if not isinstance(self.params, RetrainParams):
            raise TypeError(f"The run {self.run_id} is a rollback.")
        return self.params

    @property
    def rollback_params(self) -> RollbackParams:
        """Return the params of a rollback; raises `TypeError` for a retrain."""
        if not isinstance(self.params, RollbackParams):
            raise TypeError(f"The run {self.run_id} is not a rollback.")
        return self.params

    @property
    def is_waiting_for_approval(self) -> bool:
        """Return whether it only waits for a person's answer."""
        return bool(self.get(ApprovalRequested)) and not self.get(ApprovalAnswered) and self.open_switch is None

    @property
    def is_baking(self) -> bool:
        """Return whether its version serves and is only being watched."""
        is_over = self.get(BakeEnded) or self.get(RolledBack)
        return bool(self.get(BakeStarted)) and not is_over and self.open_switch is None

    @property
    def is_rolling_back(self) -> bool:
        """Return whether its bake is taking production back to the previous champion."""
        return bool(self.get(BakeStarted)) and self.open_switch is not None


@dataclass(frozen=True)
class LedgerState:
    """What a replay of the ledger gives.

    Attributes:
        seq: sequence number of the newest entry, 0 when there is none.
        head: its sha256 in hex.
        project: the project that the ledger belongs to; empty without entries.
        releases: by run id, in the order in which they were opened.
        versions: by number.
        highest_version: the highest number ever used; numbers are never used again.
        holder: run id of the release that holds the lock.
        production: what production was last verified to serve.
        previous_champion: what it was verified to serve before that.
        applied_size: the size that releases last applied to production, by creating or resizing it.
        origin: sha256 of the first entry, which tells two ledgers of one project apart; empty without entries.
        backtests: the newest stored side of a backtest of each version that was champion.
        freezes: what freezes promotions until a person resumes them, oldest first.
        pinned: the versions that a person wants to be kept, by number.
    """

    seq: int = 0
    head: str = NO_ENTRY
    project: str = ""
    releases: Mapping[str, Release] = field(default_factory=lambda: MappingProxyType({}))
    versions: Mapping[int, Version] = field(default_factory=lambda: MappingProxyType({}))
    highest_version: int = 0
    holder: str | None = None
    production: Serving | None = None
    previous_champion: Serving | None = None
    applied_size: SizeRequest = NO_REQUEST
    origin: str = ""
    backtests: Mapping[int, ChampionBacktested] = field(default_factory=lambda: MappingProxyType({}))
    freezes: tuple[Freeze, ...] = ()
    pinned: Mapping[int, VersionPinned] = field(default_factory=lambda: MappingProxyType({}))

    def with_release(self, release: Release) -> LedgerState:
        """Return the state with a release added, or in place of its earlier one."""
        return replace(self, releases=MappingProxyType({**self.releases, release.run_id: release}))

    def with_version(self, version: Version) -> LedgerState:
        """Return the state with a version added, or in place of its earlier one."""
        return replace(self, versions=MappingProxyType({**self.versions, version.number: version}))

    @property
    def holding_release(self) -> Release | None:
        """Return the release that holds the lock, or None."""
        return self.releases.get(self.holder) if self.holder is not None else None

    @property
    def is_switching(self) -> bool:
        """Return whether the release that holds the lock is switching production, or restoring it."""
        holder = self.holding_release
        return holder is not None and holder.open_switch is not None

    @property
    def champion(self) -> Version | None:
        """Return the version in production, or None."""
        return self.versions.get(self.production.version) if self.production else None


def require_lock(state: LedgerState, run_id: str) -> Release:
    """Return the open release of a run, which holds the lock.

    Raises:
        MissingInputError: the run was never planned, or is closed.
        ApprovalError: a rollback has preempted it.
        LockHeldError: another run has taken the lock over.
    """
    release = state.releases.get(run_id)
    if release is None:
        raise MissingInputError(f"The run {run_id} has no release", task="plan_release")
    if release.outcome is ReleaseOutcome.PREEMPTED:
        raise ApprovalError(
            f"The release v{release.version} (run {run_id}) only waited for an approval when a rollback preempted it. "
            "It was cancelled; its approval can no longer be used.",
            Remedy("Trigger a new run"),
        )
    if state.holder is not None and state.holder != run_id:
        raise LockHeldError(
            f"The run {state.holder} has taken over the release lock; the run {run_id} cannot continue.",
            Remedy("Trigger a new run once that one has ended"),
        )
    if not release.is_open:
        raise MissingInputError(f"The release of the run {run_id} is closed", task="plan_release")
    return release
