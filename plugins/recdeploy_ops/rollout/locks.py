"""The release lock: the newest open release in the ledger holds it.

OCI does not have fencing tokens. Instead, a run that changes a deployment reads its etag, confirms the lock in the
ledger, and sends the change with ``if-match``. A takeover first invalidates production's etag by setting a tag: OCI
then refuses any change that the former holder has prepared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import LockHeldError
from recdeploy_ops.domain.events import Purpose, ReleaseOpened, StoredFile
from recdeploy_ops.domain.leases import end_of_lease
from recdeploy_ops.domain.ledger_state import Release
from recdeploy_ops.domain.release_plan import lock_held, require_kept
from recdeploy_ops.storage.bundles import canonical_json

if TYPE_CHECKING:
    from datetime import datetime

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.params import Params
    from recdeploy_ops.settings import Settings

HasEnded = Callable[[Release], bool]  # whether the run of the release that holds the lock has ended


@dataclass(frozen=True)
class Opening:
    """Who opens a release, and with what.

    Attributes:
        dag_id: the DAG of the run.
        params: the run's params, recorded in the ledger.
        triggered_by: name of the person who triggered the run; None for the schedule.
        has_ended: returns whether the run of the release that holds the lock has ended.
    """

    dag_id: str
    params: Params
    triggered_by: str | None
    has_ended: HasEnded


def open_release(context: ReleaseContext, opening: Opening, *, purpose: Purpose, version: int) -> Release:
    """Open or reopen the release of the run; this takes the lock.

    Args:
        context: of the run.
        opening: who opens it, and with what.
        purpose: what the release is for.
        version: the version number that it makes or returns to.

    Raises:
        LockHeldError: another run holds the lock.
        SettingsError: the version to go back to was pruned.
    """
    before = context.state.releases.get(context.run_id)
    production = context.state.production
    return _take(
        context,
        ReleaseOpened(
            purpose=purpose,
            version=version,
            dag_id=opening.dag_id,
            params=opening.params,
            champion=production.version if production else None,
            settings=_store_settings(context),
            triggered_by=opening.triggered_by,
            opening=before.opened.opening + 1 if before else 1,
        ),
    )


def open_again(context: ReleaseContext, params: Params) -> Release:
    """Reopen the run's release with other params; what was made so far stays valid."""
    opened = context.confirm_lock().opened
    return _take(context, replace(opened, params=params, opening=opened.opening + 1))


def can_be_preempted(state: LedgerState, run_id: str) -> bool:
    """Return whether another run holds the lock and only waits for an approval, or only bakes."""
    holder = state.holding_release
    return holder is not None and holder.run_id != run_id and is_preemptable(holder)


def is_preemptable(holder: Release) -> bool:
    """Return whether a rollback may close a release that holds the lock."""
    return holder.is_waiting_for_approval or holder.is_baking


def lease_end(release: Release, settings: Settings) -> datetime:
    """Return when a release counts as ended if its run cannot be looked up, UTC."""
    return end_of_lease(
        release,
        test_lease=timedelta(hours=settings.release.test_lease_hours),
        training=timedelta(minutes=settings.training.timeout_minutes),
    )


def has_lease_ended(context: ReleaseContext, release: Release) -> bool:
    """Return whether a release counts as ended because its lease is over."""
    return context.now() >= lease_end(release, context.settings)


def require_lease_over(context: ReleaseContext, release: Release) -> None:
    """Refuse to treat an unknown run as ended before its lease is over: another Airflow may be running it.

    Raises:
        LockHeldError: its lease is not over; says how long it lasts, and how a person ends it sooner.
    """
    if has_lease_ended(context, release):
        return
    held = lock_held(release)
    raise LockHeldError(
        f"{held.message} This Airflow does not know that run: it may be in progress in another one that works on the "
        f"same storage. It counts as ended at {lease_end(release, context.settings):%Y-%m-%d %H:%M} UTC. If it has "
        "certainly ended, because it was deleted or its Airflow is gone, trigger recommender_housekeeping with "
        f"ended_run = {release.run_id}.",
        held.remedy,
    )


def _take(context: ReleaseContext, opened: ReleaseOpened) -> Release:
    def require_free(state: LedgerState) -> None:
        holder = state.holding_release
        if holder is not None and holder.run_id != context.run_id:
            raise lock_held(holder)
        if opened.purpose is Purpose.ROLLBACK:  # housekeeping may have pruned it since it was chosen
            require_kept(state, state.versions[opened.version])

    return context.ledger.append(context.run_id, opened, guard=require_free).releases[context.run_id]


def _store_settings(context: ReleaseContext) -> StoredFile:
    """Store the settings of the run."""
    content = canonical_json(context.settings.model_dump(mode="json", exclude={"folder"}))
    sha256 = hashlib.sha256(content).hexdigest()
    key = f"{context.prefix('settings')}/{sha256[:16]}.json"
    context.store.create(key, content)
    return StoredFile(key, sha256)
