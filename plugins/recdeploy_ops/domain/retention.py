"""What housekeeping deletes, restores and keeps: the plan, as a pure function over facts.

The plan lists the calls that change something, in their order. The execution makes exactly those, or stops.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from recdeploy_ops.domain.holdings import CUSTOMERS_DATA, NAMED_AFTER_A_VERSION
from recdeploy_ops.domain.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.domain.holdings import (
        BrokenTarget,
        Holdings,
        LeftDeployment,
        RegisteredModel,
        StoredFolder,
    )
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.versions import Version

SERVED = frozenset({Stage.CHAMPION, Stage.RETIRED})


class Operation(StrEnum):
    """A call that changes something, as OCI's SDK names it."""

    DELETE_DEPLOYMENT = "DeleteModelDeployment"
    ACTIVATE_MODEL = "ActivateModel"
    REGISTER_MODEL = "CreateModel"  # with its provenance and its artifact
    DELETE_MODEL = "DeleteModel"
    DELETE_OBJECT = "DeleteObject"  # of the storage, also where that is a folder
    DISCARD_WRITE = "AbortMultipartUpload"  # likewise: a temporary file


@dataclass(frozen=True)
class RetentionPolicy:
    """How long things are kept.

    Attributes:
        versions: number of versions that served, the newest first, whose models, artifacts, results and backups stay.
        days: how long those of any other version stay after it was made or has last served.
        customer_days: how long extracts, models for the gates and backtests stay after their run began.
    """

    versions: int
    days: float
    customer_days: float


@dataclass(frozen=True)
class Call:
    """A call of the execution.

    Attributes:
        operation: what is called.
        target: an OCID, a key in storage, or the name of a model to register.
    """

    operation: Operation
    target: str


@dataclass(frozen=True)
class HousekeepingPlan:
    """What housekeeping is going to do.

    Attributes:
        seq: number of the newest entry of the ledger from which it was made.
        unfinished: names of writes to discard.
        deployments: to delete.
        protected: why nothing of a version is ever deleted, by its number.
        notes: why less is deleted than the policy says, in sentences.
        broken: rollback targets to restore.
        models: to delete.
        folders: to delete.
        versions: that production cannot go back to from then on.
    """

    seq: int
    unfinished: tuple[str, ...]
    deployments: tuple[LeftDeployment, ...]
    protected: Mapping[int, str]
    notes: tuple[str, ...]
    broken: tuple[BrokenTarget, ...] = ()
    models: tuple[RegisteredModel, ...] = ()
    folders: tuple[StoredFolder, ...] = ()
    versions: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Return the bytes of the folders to delete."""
        return sum(folder.size for folder in self.folders)

    @property
    def instances(self) -> int:
        """Return the number of instances of the deployments to delete; one each where OCI chooses it."""
        return sum(deployment.instances or 1 for deployment in self.deployments)

    @property
    def calls(self) -> tuple[Call, ...]:
        """Return the calls, in order: what is restored comes before what is deleted for good."""
        restorations = (
            Call(Operation.ACTIVATE_MODEL, target.model_id)
            if target.can_be_activated
            else Call(Operation.REGISTER_MODEL, target.name)
            for target in self.broken
        )
        return (
            *(Call(Operation.DELETE_DEPLOYMENT, deployment.deployment_id) for deployment in self.deployments),
            *(Call(Operation.DISCARD_WRITE, name) for name in self.unfinished),
            *restorations,
            *(Call(Operation.DELETE_MODEL, model.model_id) for model in self.models),
            *(Call(Operation.DELETE_OBJECT, key) for folder in self.folders for key in folder.keys),
        )


def find_protected(state: LedgerState) -> dict[int, str]:
    """Return the versions of which nothing is ever deleted, with the reason as a clause."""
    protected = dict.fromkeys(state.pinned, "it is pinned")
    holder = state.holding_release
    if holder is not None:
        protected[holder.version] = "a release in progress has it"
    if state.previous_champion:
        protected[state.previous_champion.version] = "it is the previous champion"
    champions = [number for number, version in state.versions.items() if version.stage is Stage.CHAMPION]
    if state.production:
        champions.append(state.production.version)
    return {**protected, **dict.fromkeys(champions, "it is the champion")}


def plan_housekeeping(
    state: LedgerState, holdings: Holdings, policy: RetentionPolicy, now: datetime
) -> HousekeepingPlan:
    """Return what to delete and what to restore.

    While a release is in progress only deployments and unfinished writes are deleted: nobody can know what it will
    need. What the ledger does not know is left alone, and so is a version whose model anyone has deployed.

    Args:
        state: of the ledger.
        holdings: what OCI and the storage have.
        policy: how long things are kept.
        now: UTC.
    """
    if state.holder is not None:
        note = f"Nothing is pruned while the release of the run {state.holder} is in progress."
        return HousekeepingPlan(
            seq=state.seq,
            unfinished=holdings.unfinished,
            deployments=holdings.deployments,
            protected=find_protected(state),
            notes=(note,),
        )
    rule = _Rule(state, holdings, policy, now)
    gone = {number for number, version in state.versions.items() if rule.is_over(version)}
    held = {model.version: model for model in holdings.models if model.deployed_by and model.version in gone}
    gone -= held.keys()
    return HousekeepingPlan(
        seq=state.seq,
        unfinished=holdings.unfinished,
        deployments=holdings.deployments,
        broken=holdings.broken,
        models=tuple(model for model in holdings.models if model.version in gone),
        folders=rule.choose_folders(gone),
        versions=tuple(sorted(number for number in gone if not state.versions[number].pruned_at)),
        protected=rule.protected,
        notes=tuple(
            f"v{number} stays: {', '.join(model.deployed_by)} is configured for its model {model.model_id}."
            for number, model in sorted(held.items())
        ),
    )


class _Rule:
    """The policy, applied to one ledger."""

    def __init__(self, state: LedgerState, holdings: Holdings, policy: RetentionPolicy, now: datetime) -> None:
        self.protected = find_protected(state)
        self._state, self._holdings = state, holdings
        self._oldest = now - timedelta(days=policy.days)
        self._oldest_of_customers = now - timedelta(days=policy.customer_days)
        served = [version for version in state.versions.values() if version.stage in SERVED and not version.pruned_at]
        served.sort(key=lambda version: (self._last_use(version) or now, version.number), reverse=True)
        self._newest = {version.number for version in served[: policy.versions]}
        self._made: dict[str, list[Version]] = {}
        for version in state.versions.values():
            self._made.setdefault(version.run_id, []).append(version)

    def is_over(self, version: Version) -> bool:
        """Return whether a version's model, artifact, results and backups are to be deleted."""
        if version.number in self.protected or version.doubt:
            return False
        if version.pruned_at:  # an earlier housekeeping was killed, or something was left
            return True
        last_use = self._last_use(version)
        return version.number not in self._newest and last_use is not None and last_use < self._oldest

    def choose_folders(self, gone: set[int]) -> tuple[StoredFolder, ...]:
        """Return the folders to delete.

        Args:
            gone: the versions that are deleted.
        """
        kept = [version for version in self._state.versions.values() if version.number not in gone]
        named = {prefix for version in kept for prefix in (version.artifact, version.results)}
        named |= self._holdings.current
        return tuple(
            folder
            for folder in self._holdings.folders
            if folder.prefix not in named and self._is_prunable(folder, gone)
        )

    def _is_prunable(self, folder: StoredFolder, gone: set[int]) -> bool:
        if folder.kind in NAMED_AFTER_A_VERSION:
            return folder.version in gone
        release = self._state.releases.get(folder.run_id or "")
        if release is None or release.is_open:
            return False
        made = {version.number for version in self._made.get(release.run_id, ())}
        if (made | {release.version}) & self.protected.keys():
            return False
        began = datetime.fromisoformat(release.last_opened_at)
        if made and made <= gone:
            return True
        if folder.kind in CUSTOMERS_DATA:
            return began < self._oldest_of_customers
        return not made and began < self._oldest

    def _last_use(self, version: Version) -> datetime | None:
        """Return when a version was made or last served; None if neither is known."""
        maker = self._state.releases.get(version.run_id)
        times = [datetime.fromisoformat(maker.last_opened_at)] if maker else []
        if served := self._holdings.last_served.get(version.number):
            times.append(served)
        return max(times, default=None)
