"""Whether production is what the ledger says, and whether OCI would switch it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import StateMismatchError
from recdeploy_ops.domain.remedies import ChangeSetting, Remedy, TryAgain

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.versions import Serving

REPLACE_PRODUCTION = Remedy(
    "Look at its logs in the OCI console; delete it there, let recommender_adopt record that, and release again"
)
RECORD_LOSS = Remedy("Let recommender_adopt record that, then release again")


def reconcile(state: LedgerState, production: Deployment | None) -> tuple[str, ...]:
    """Return what production serves, in words.

    Args:
        state: of the ledger.
        production: the production deployment as OCI has it, or None.

    Raises:
        StateMismatchError: OCI's production is not what the ledger says.
    """
    known = state.production
    if known is None:
        if production is not None:
            raise StateMismatchError(
                f"OCI has the production deployment {production.name} ({production.deployment_id}), which the ledger "
                "does not know.",
                ChangeSetting(
                    "Name the storage that holds its ledger; only if that is lost, let recommender_adopt rebuild it",
                    setting="storage",
                ),
            )
        return ("Nothing is in production yet: this is a first release.",)
    if production is None or production.lifecycle_state.is_gone:
        raise StateMismatchError(
            f"The ledger says that v{known.version} serves at {known.url}, but OCI no longer has that deployment.",
            Remedy("Restore it, or let recommender_adopt repair the ledger"),
        )
    if production.lifecycle_state.is_failed:
        raise StateMismatchError(describe_failed_production(known), REPLACE_PRODUCTION)
    if production.model_id != known.model_id:
        raise StateMismatchError(
            f"The ledger says that production serves v{known.version} (model {known.model_id}), but OCI is "
            f"configured for the model {production.model_id}: somebody changed {production.name} by hand.",
            Remedy("Set its model back, or let recommender_adopt repair the ledger"),
        )
    return (f"Production serves v{known.version} at {known.url}.",)


def confirm_switchable(state: LedgerState, production: Deployment | None) -> tuple[str, ...]:
    """Return what production serves, and its state if it is not ACTIVE, in words.

    Args:
        state: of the ledger.
        production: the production deployment as OCI has it, or None.

    Raises:
        StateMismatchError: production is not what the ledger says, or OCI would not switch it.
    """
    lines = reconcile(state, production)
    return lines if production is None else lines + _describe_state(production)


def _describe_state(production: Deployment) -> tuple[str, ...]:
    """Return in words that production is not ACTIVE; nothing if it is.

    Raises:
        StateMismatchError: no release could switch it: OCI neither updates it now nor is about to.
    """
    state = production.lifecycle_state
    if state.is_active:
        return ()
    if not (state.can_update or state.is_busy):
        raise StateMismatchError(
            f"Production, {production.name} ({production.deployment_id}), is {state}: it cannot be probed, and OCI "
            f"does not switch it without downtime. {production.details}".rstrip(),
            TryAgain("Bring it to ACTIVE in the OCI console (Activate)"),
        )
    return (f"OCI has production in {state}.",)


def describe_failed_production(serving: Serving) -> str:
    """Return what a production deployment in FAILED means, in words."""
    return (
        f"The production deployment {serving.deployment_id}, which served v{serving.version} at {serving.url}, is in "
        "FAILED: it exists, but OCI no longer updates it."
    )
