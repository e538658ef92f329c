"""What the steps of one run work with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from recdeploy_ops.domain.errors import SwitchUnderWayError
from recdeploy_ops.domain.events import SwitchStarted
from recdeploy_ops.domain.freezes import require_not_frozen
from recdeploy_ops.domain.ledger_state import require_lock
from recdeploy_ops.domain.switching import WHILE_SWITCHING
from recdeploy_ops.domain.tries import ONLY_TRY, Tries
from recdeploy_ops.ledger.opening import open_ledger
from recdeploy_ops.ledger.state_file import publish_state
from recdeploy_ops.oci_clients.deployments import ModelDeployments
from recdeploy_ops.oci_clients.models import ModelCatalog
from recdeploy_ops.oci_clients.monitoring import Monitoring
from recdeploy_ops.oci_clients.tenancies import Tenancy
from recdeploy_ops.settings.connections import find_connection
from recdeploy_ops.storage.bundles import Bundle, open_bundle
from recdeploy_ops.storage.keys import run_prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.events import Event, StoredEvent
    from recdeploy_ops.domain.ledger_state import LedgerState, Release
    from recdeploy_ops.ledger.ledger import Ledger
    from recdeploy_ops.ledger.opening import Find
    from recdeploy_ops.oci_clients.sessions import OciSession
    from recdeploy_ops.settings import Settings
    from recdeploy_ops.storage.stores import Store

S = TypeVar("S", bound="StoredEvent")


def utc_now() -> datetime:
    """Return the time, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class ReleaseContext:
    """What a step works with: a step is ``advance(context) -> Outcome``.

    The state is that of the last reading. A step reads the ledger with `confirm_lock` when it begins, and again
    between looking at OCI and changing anything there. Recording an event refreshes the state.

    Attributes:
        settings: the validated settings.
        store: the storage root.
        ledger: the record of releases, in storage.
        catalog: OCI's Model Catalog.
        deployments: OCI's model deployments.
        monitoring: OCI's metrics and alarms.
        tenancy: what the region and the tenancy offer.
        now: the clock, UTC.
        run_id: the run whose release the step advances.
        tries: which try this is, and who continues if the last one fails.
    """

    settings: Settings
    store: Store
    ledger: Ledger
    catalog: ModelCatalog
    deployments: ModelDeployments
    monitoring: Monitoring
    tenancy: Tenancy
    now: Callable[[], datetime] = field(repr=False)
    run_id: str
    tries: Tries = ONLY_TRY

    @property
    def project(self) -> str:
        """Return the project's name."""
        return self.settings.project_name

    @property
    def state(self) -> LedgerState:
        """Return the state of the ledger as last read."""
        return self.ledger.state

    def refresh(self) -> LedgerState:
        """Read the ledger's new entries, and return its state.

        Raises:
            IntegrityError: an entry is missing, out of order or was edited.
        """
        return self.ledger.read()

    def history(self) -> tuple[Entry, ...]:
        """Return every entry of the ledger that is stored now."""
        return self.ledger.entries()

    @property
    def release(self) -> Release:
        """Return the open release of this run as last read; raises as `confirm_lock` does."""
        return require_lock(self.state, self.run_id)

    def confirm_lock(self) -> Release:
        """Read the ledger and return the open release of this run, which holds the lock.

        Raises:
            MissingInputError: the run was never planned, or is closed.
            ApprovalError: a rollback has preempted it.
            LockHeldError: another run has taken over the lock.
        """
        return require_lock(self.refresh(), self.run_id)

    def record(self, event: Event) -> Release:
        """Append an event of the release that holds the lock, and return the release after it.

        Raises:
            MissingInputError: the run was never planned, or is closed.
            LockHeldError: another run has taken over the lock.
            SwitchUnderWayError: production is being switched, and the event would change what the switch rests on.
            PromotionsFrozenError: a promotion would begin, but promotions have just been frozen in the ledger.
        """

        def guard(state: LedgerState) -> None:
            release = require_lock(state, self.run_id)
            if release.open_switch is not None and event.type not in WHILE_SWITCHING:
                raise SwitchUnderWayError(
                    release.open_switch.goal, task="plan_rollback" if release.is_rollback else "plan_release"
                )
            is_promotion = isinstance(event, SwitchStarted) and event.version == release.version
            if is_promotion and release.open_switch is None and not release.is_rollback:
                require_not_frozen(release.version, state.freezes)

        return self.ledger.append(self.run_id, event, guard=guard).releases[self.run_id]

    def open_bundle(self, kind: type[S]) -> Bundle:
        """Return the bundle that an earlier step of this release has stored; only its manifest is verified.

        Raises:
            MissingInputError: it was not stored, or is gone; names the task that stores it.
            IntegrityError: it was changed.
        """
        stored = self.release.require(kind)
        return open_bundle(self.store, stored.prefix, digest=stored.digest, made_by=kind.task)

    def prefix(self, what: str) -> str:
        """Return the storage prefix of this run's objects of one kind, e.g. ``artifact``."""
        return run_prefix(self.run_id, what)

    def publish_state(self) -> None:
        """Write the ledger's snapshot and the guide's state file."""
        publish_state(self.ledger, self.store)

    def of_run(self, run_id: str) -> ReleaseContext:
        """Return the same for another run."""
        return replace(self, run_id=run_id)


def open_context(
    settings: Settings,
    store: Store,
    session: OciSession,
    run_id: str,
    now: Callable[[], datetime] = utc_now,
    find: Find = find_connection,
) -> ReleaseContext:
    """Return the context of a run; nothing is read yet.

    Args:
        settings: the validated settings.
        store: the storage root.
        session: signs the requests to OCI.
        run_id: the run.
        now: the clock, UTC.
        find: returns a connection by its id, for the key that signs the ledger.

    Raises:
        SettingsError: that connection is missing, or its password is too short.
    """
    return ReleaseContext(
        settings=settings,
        store=store,
        ledger=open_ledger(settings, store, now, find),
        catalog=ModelCatalog(session, settings.tags),
        deployments=ModelDeployments(session, settings.tags),
        monitoring=Monitoring(session),
        tenancy=Tenancy(session),
        now=now,
        run_id=run_id,
    )
