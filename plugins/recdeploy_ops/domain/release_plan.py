"""What a run may do: which version it makes, whether it opens or reopens a release, who holds the lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.domain import stages
from recdeploy_ops.domain.errors import (
    ApprovalError,
    IllegalTransitionError,
    LockHeldError,
    SettingsError,
    StateMismatchError,
)
from recdeploy_ops.domain.ledger import NOTEBOOK, Kind
from recdeploy_ops.domain.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.domain.ledger import Book, Release, Version
    from recdeploy_ops.domain.records import Deployment

PREVIOUS = "previous"
GONE = frozenset({"DELETING", "DELETED", "FAILED"})


@dataclass(frozen=True)
class ReleasePlan:
    """The outcome of planning.

    Attributes:
        version: the number of the version that the run makes.
        record: whether the release is to be opened (or opened again) in the ledger.
        summary: the plan in words, line by line.
    """

    version: int
    record: bool
    summary: tuple[str, ...]


def find_dead_holder(book: Book, run_id: str, *, has_ended: Callable[[str, str], bool]) -> str | None:
    """Return the run whose lock is to be taken over, or None when the lock is free or one's own.

    Args:
        book: what the ledger adds up to.
        run_id: the run that wants the lock.
        has_ended: says of a DAG id and a run id whether that run has ended.

    Raises:
        LockHeldError: a live run holds the lock.
    """
    if book.holder is None or book.holder == run_id:
        return None
    opened = book.releases[book.holder].facts[Kind.RELEASE_OPENED]
    if not has_ended(opened["dag_id"], book.holder):
        raise LockHeldError(describe_holder(book))
    return book.holder


def plan(book: Book, run_id: str, *, highest_in_catalog: int, production: Deployment | None) -> ReleasePlan:
    """Plan a run that may have the lock.

    Args:
        book: what the ledger adds up to.
        run_id: the run that plans.
        highest_in_catalog: highest version number that a model in the catalog carries, 0 when there is none.
        production: the production deployment as OCI has it, or None.

    Raises:
        StateMismatchError: OCI's production is not what the ledger says.
    """
    lines = reconcile(book, production)
    release = book.releases.get(run_id)
    if release is None:
        version = max(book.highest_version, highest_in_catalog) + 1
        return ReleasePlan(version, record=True, summary=(*lines, f"This release makes v{version}."))
    return ReleasePlan(release.version, record=not release.is_open, summary=(*lines, _describe_return(release)))


def choose_target(book: Book, wanted: int | str) -> Version:
    """Return the version that a rollback goes to.

    Args:
        book: what the ledger adds up to.
        wanted: a version number, or ``previous``.

    Raises:
        SettingsError: there is no such version.
        IllegalTransitionError: it never served, or serves now.
    """
    if book.production is None:
        raise SettingsError("Nothing is in production: there is nothing to roll back.")
    if wanted == PREVIOUS:
        if book.previous_champion is None:
            raise SettingsError(
                f"v{book.production.version} is the first that ever served: there is no previous version. Name one."
            )
        wanted = book.previous_champion.version
    version = book.versions.get(wanted) if isinstance(wanted, int) else None
    if version is None:
        known = ", ".join(f"v{number}" for number, v in sorted(book.versions.items()) if v.stage is Stage.RETIRED)
        raise SettingsError(
            f"There is no version {wanted!r} to roll back to. Those that served before: {known or 'none'}."
        )
    stages.advance(version.stage, Stage.CHAMPION)
    if version.stage is not Stage.RETIRED:
        raise IllegalTransitionError(version.stage, Stage.CHAMPION)
    return version


def require_unused(book: Book, release: Release) -> None:
    """Refuse to take again what has changed production, once production was changed again since.

    Raises:
        ApprovalError: what this run has done counts once.
    """
    done = release.get(Kind.PROMOTED) or release.get(Kind.ROLLED_BACK)
    serving = book.production
    if done is None or (serving is not None and serving.version == done["version"]):
        return
    verb, again = ("promoted", "Clear the task 'request_approval' to ask again.")
    if release.get(Kind.ROLLED_BACK):
        verb, again = ("brought back", "Trigger a new rollback.")
    raise ApprovalError(
        f"v{done['version']} was {verb} by this run before, and production serves "
        f"v{serving.version if serving else '?'} since: an approval counts once. {again}"
    )


def describe_holder(book: Book) -> str:
    """Return who holds the lock, since when, and what it is at."""
    release = book.releases[book.holder or ""]
    at = list(release.facts)[-1]
    is_waiting = at is Kind.APPROVAL_REQUESTED
    doing = "waits for an approval" if is_waiting else f"is past {at}"
    if release.facts[Kind.RELEASE_OPENED]["dag_id"] == NOTEBOOK:
        advice = "end it there with Cell 12 (promote) or 13 (reject), or with manager.abandon_release()"
    else:
        advice = "answer it under Required Actions" if is_waiting else "wait until it has ended"
        advice += ", or mark its run as failed"
    return (
        f"Release v{release.version} (run {release.run_id}) holds the release lock since {release.opened_at} and "
        f"{doing}: {advice}; then clear this task."
    )


def _describe_return(release: Release) -> str:
    if release.is_open:
        return f"This run already makes v{release.version}: it goes on."
    return (
        f"This run was closed ({release.outcome}) and is opened again: it goes on with v{release.version} "
        "while the artifact stays the same."
    )


def reconcile(book: Book, production: Deployment | None) -> tuple[str, ...]:
    """Return what production serves, in words.

    Args:
        book: what the ledger adds up to.
        production: the production deployment as OCI has it, or None.

    Raises:
        StateMismatchError: OCI's production is not what the ledger says.
    """
    known = book.production
    if known is None:
        if production is not None:
            raise StateMismatchError(
                f"OCI has the production deployment {production.name} ({production.deployment_id}), of which the "
                "ledger knows nothing. Remove its tag recdeploy-role, or let recommender_adopt import it."
            )
        return ("Nothing is in production yet: this is a first release.",)
    if production is None or production.lifecycle_state in GONE:
        raise StateMismatchError(
            f"The ledger says that v{known.version} serves at {known.url}, but OCI has no such deployment any "
            "more. Restore it, or let recommender_adopt repair the ledger."
        )
    if production.model_id != known.model_id:
        raise StateMismatchError(
            f"The ledger says that production serves v{known.version} (model {known.model_id}), but OCI is "
            f"configured for the model {production.model_id}: somebody changed {production.name} by hand. Set its "
            "model back, or let recommender_adopt repair the ledger."
        )
    return (f"Production serves v{known.version} at {known.url}.",)
