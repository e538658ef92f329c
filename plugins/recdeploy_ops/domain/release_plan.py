"""What a run may do: which version it makes, whether it opens or reopens its release, who holds the lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.domain import stages
from recdeploy_ops.domain.errors import (
    ApprovalError,
    IllegalTransitionError,
    LockHeldError,
    SettingsError,
)
from recdeploy_ops.domain.events import ApprovalRequested, Promoted, RolledBack
from recdeploy_ops.domain.production_checks import confirm_switchable
from recdeploy_ops.domain.remedies import Remedy, RunTask, TryAgain
from recdeploy_ops.domain.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.domain.events import SwitchDone
    from recdeploy_ops.domain.ledger_state import LedgerState, Release
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.versions import Serving, Version

PREVIOUS = "previous"
ASK_AGAIN = RunTask(task="request_approval", purpose="to ask again")


@dataclass(frozen=True)
class ReleasePlan:
    """The outcome of planning.

    Attributes:
        version: the number of the version that the run makes.
        record: whether the release is to be opened (or reopened) in the ledger.
        summary: the plan in words, line by line.
    """

    version: int
    record: bool
    summary: tuple[str, ...]


def find_ended_holder(state: LedgerState, run_id: str, *, has_ended: Callable[[Release], bool]) -> str | None:
    """Return the run whose lock is to be taken over, or None when the lock is free or the run's own.

    Args:
        state: of the ledger.
        run_id: the run that wants the lock.
        has_ended: tells whether the run of the release that holds the lock has ended.

    Raises:
        LockHeldError: the run that holds the lock is in progress.
    """
    holder = state.holding_release
    if holder is None or holder.run_id == run_id:
        return None
    if not has_ended(holder):
        raise lock_held(holder)
    return holder.run_id


def plan(state: LedgerState, run_id: str, *, highest_version: int, production: Deployment | None) -> ReleasePlan:
    """Plan a run that may have the lock.

    Args:
        state: of the ledger.
        run_id: the run that plans.
        highest_version: the highest that the ledger or a model in the catalog has, 0 when there is none.
        production: the production deployment as OCI has it, or None.

    Raises:
        StateMismatchError: OCI's production is not what the ledger says, or cannot be updated in its present state.
    """
    lines = confirm_switchable(state, production)
    release = state.releases.get(run_id)
    if release is None:
        version = highest_version + 1
        return ReleasePlan(version, record=True, summary=(*lines, f"This release makes v{version}."))
    return ReleasePlan(release.version, record=not release.is_open, summary=(*lines, _describe_return(release)))


def choose_target(state: LedgerState, wanted: int | str) -> Version:
    """Return the version that a rollback goes to.

    Args:
        state: of the ledger.
        wanted: a version number, or ``previous``.

    Raises:
        SettingsError: no such version exists, or the previous one was rolled back.
        IllegalTransitionError: it never served, or serves now.
    """
    if state.production is None:
        raise SettingsError("Nothing is in production: there is nothing to roll back.")
    if wanted == PREVIOUS:
        if state.previous_champion is None:
            raise _no_previous(state, state.production)
        wanted = state.previous_champion.version
        if wanted > state.production.version:
            raise _rolled_back(state, wanted, state.production.version)
    version = state.versions.get(wanted) if isinstance(wanted, int) else None
    if version is None:
        known = _name_targets(state)
        raise SettingsError(f"Version {wanted!r} does not exist. Versions that served before: {known or 'none'}.")
    stages.advance(version.stage, Stage.CHAMPION)
    if version.stage is not Stage.RETIRED:
        raise IllegalTransitionError(version.stage, Stage.CHAMPION)
    require_kept(state, version)
    return version


def _rolled_back(state: LedgerState, previous: int, serving: int) -> SettingsError:
    """Return the error for `PREVIOUS` after a rollback: a version that was rolled back is never offered by itself."""
    others = [f"v{n}" for n, v in sorted(state.versions.items()) if v.stage is Stage.RETIRED and n != previous]
    return SettingsError(
        f"v{serving} serves since production went back from v{previous}: {PREVIOUS!r} never goes forward. "
        f"Others that have served: {', '.join(others) or 'none'}.",
        Remedy(f"Name a version by its number, v{previous} too"),
    )


def require_kept(state: LedgerState, version: Version) -> None:
    """Refuse a version whose files housekeeping has deleted, or is deleting.

    Raises:
        SettingsError: it was pruned; names the versions that are kept.
    """
    if version.pruned_at:
        raise SettingsError(
            f"v{version.number} was pruned at {version.pruned_at[:16]} UTC: its model and its files are deleted by the "
            "policy of the settings (retention).",
            Remedy(
                f"Name a version that is kept ({_name_targets(state) or 'there is none'}), or release again; "
                "`python -m recdeploy_ops pin` keeps a version from then on"
            ),
        )


def _name_targets(state: LedgerState) -> str:
    """Return the versions that production can go back to."""
    return ", ".join(f"v{number}" for number, v in sorted(state.versions.items()) if v.can_be_restored)


def _no_previous(state: LedgerState, serving: Serving) -> SettingsError:
    served = [version for _, version in sorted(state.versions.items()) if version.stage is Stage.RETIRED]
    tagged = [f"v{version.number}" for version in served if version.known_by_tags]
    backups = [f"v{version.number}" for version in served if version.unverified_backup]
    if not tagged and not backups:
        why = f"v{serving.version} is the first that ever served: nothing came before it."
        return SettingsError(why, Remedy("Name a version"))
    if not tagged:
        return SettingsError(
            f"The ledger knows no version that served before v{serving.version}. Only backups of another manager say "
            f"that {', '.join(backups)} did, and nothing verifies their files.",
            Remedy("Look at them, and name one by its number"),
        )
    return SettingsError(
        f"The ledger knows no version that served before v{serving.version}. Only tags in the Model Catalog say that "
        f"{', '.join(tagged)} did, and anyone who may write there can set them.",
        Remedy("Look at them there, and name one by its number"),
    )


def require_unused(state: LedgerState, release: Release) -> None:
    """Refuse to repeat a promotion or rollback after production has changed again.

    Raises:
        ApprovalError: this run's approval was used before.
    """
    done: SwitchDone | None = release.get(Promoted) or release.get(RolledBack)
    serving = state.production
    if done is None or (serving is not None and serving.version == done.version):
        return
    verb: str = "promoted"
    remedy: Remedy = ASK_AGAIN
    if isinstance(done, RolledBack):
        verb, remedy = "rolled back to", Remedy("Trigger a new rollback")
    serves = f"v{serving.version}" if serving else "nothing"
    raise ApprovalError(
        f"This run {verb} v{done.version} before, and production now serves {serves}: an approval counts once.",
        remedy,
    )


def lock_held(holder: Release) -> LockHeldError:
    """Return the error that says who holds the lock, since when, what it is doing and how to end it."""
    waits = isinstance(holder.newest_event, ApprovalRequested)
    doing = "waits for an approval" if waits else f"is past {holder.newest_event.type}"
    if holder.is_baking:
        doing = "is being watched in production"
    if holder.is_from_notebook:
        action = "End it there with Cell 12 (promote) or 13 (reject), or with manager.abandon_release()"
    elif holder.is_from_terminal:
        action = f"Finish it with {describe_command(holder)}"
    else:
        action = "Answer it under Required Actions" if waits else "Wait until it has ended"
        action += ", or mark its run as failed"
    return LockHeldError(
        f"Release v{holder.version} (run {holder.run_id}) has held the release lock since {holder.opened_at} and "
        f"{doing}.",
        TryAgain(action),
    )


def describe_command(release: Release) -> str:
    """Return the command that continues a rollback from a terminal."""
    return f"`python -m recdeploy_ops rollback --version {release.version} --reason TEXT`"


def _describe_return(release: Release) -> str:
    if release.is_open:
        return f"This run already makes v{release.version}: it continues."
    return (
        f"This run was closed ({release.outcome}) and is reopened: it keeps v{release.version} "
        "as long as the artifact stays the same."
    )
