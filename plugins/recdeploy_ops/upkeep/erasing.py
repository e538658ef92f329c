"""Erase a customer: store what is kept again without them, record that, and delete the former copies."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.erasures import find_leftovers
from recdeploy_ops.domain.errors import LedgerConflictError
from recdeploy_ops.domain.events import CustomerErased
from recdeploy_ops.domain.holdings import FolderKind
from recdeploy_ops.oci_clients.tags import PROJECT_TAG
from recdeploy_ops.rollout.current import make_current, read_current
from recdeploy_ops.storage.bundles import MANIFEST
from recdeploy_ops.storage.keys import is_page
from recdeploy_ops.upkeep.rewriting import Rewriting
from recdeploy_ops.upkeep.traces import find_replaced_models, plan_erasure

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.erasures import ErasurePlan
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.upkeep.customer_files import Customer

log = logging.getLogger(__name__)


def erase(context: ReleaseContext, customer: Customer, plan: ErasurePlan, *, by: str, reason: str) -> ErasurePlan:
    """Do what a plan says, and return the plan of what would be left then.

    What replaces the former copies is stored first; then the event says so, and the state names the new ones; then the
    former copies are deleted. Killed anywhere, the same call finishes: equal content has equal keys, and what an event
    has replaced is only deleted.

    Args:
        context: of the run that erases.
        customer: whom.
        plan: as `plan_erasure` returned it.
        by: who erases, for the ledger.
        reason: why, for the ledger.

    Raises:
        LedgerConflictError: something was recorded meanwhile, e.g. a release was opened; nothing is deleted.
        IntegrityError: a bundle is damaged.
    """
    work = Rewriting(context, customer)
    rewritten = [decision for decision in plan.decisions if decision.is_rewritten]
    for decision in sorted(rewritten, key=lambda one: one.trace.folder.kind is FolderKind.BACKUP):
        log.info("Storing %s again", decision.trace.folder.prefix)
        work.rewrite(decision)
    known = find_leftovers(context.history()).prefixes
    reports = [key for key in plan.reports if key not in known]
    for key in reports:
        if not is_page(key):
            work.rewrite_report(key)
    pages = [key for key in reports if is_page(key) and key not in work.bundles]
    removed = (
        *(decision.trace.folder.prefix for decision in plan.decisions if decision.is_removed),
        *(key for key in plan.reports if key in known),
    )
    event = CustomerErased(
        by=by,
        reason=reason,
        rewritten=tuple(work.bundles.values()),
        removed=tuple(prefix for prefix in removed if prefix not in known),
        models=tuple(work.models),
    )
    if event.rewritten or event.removed or event.models:
        _record(context, event, plan.seq)
    for key in pages:
        work.replace_page(key)
    _delete_former(context, (*work.bundles, *removed))
    _point_to_present(context)
    context.publish_state()
    return plan_erasure(context, customer)


def _record(context: ReleaseContext, event: CustomerErased, seq: int) -> None:
    def require_unchanged(state: LedgerState) -> None:
        if state.seq != seq:
            raise LedgerConflictError(
                f"Nothing was erased: the ledger had {seq} entries when this was planned, and now has {state.seq}."
            )

    context.ledger.append(context.run_id, event, guard=require_unchanged)


def _delete_former(context: ReleaseContext, prefixes: tuple[str, ...]) -> None:
    """Delete what was replaced or removed: folders, their manifest first, reports, and models."""
    for prefix in prefixes:
        manifest = f"{prefix}/{MANIFEST}"
        keys = [stored.key for stored in context.store.list(prefix) if f"{stored.key}/".startswith(f"{prefix}/")]
        for key in sorted(keys, key=lambda key: (key != manifest, key)):
            context.store.delete(key)
    for model_id, users in find_replaced_models(context, find_leftovers(context.history())).items():
        if not users:
            context.catalog.delete(model_id, {PROJECT_TAG: context.project})
            log.info("Deleted the model %s: another has taken its place", model_id)


def _point_to_present(context: ReleaseContext) -> None:
    """Let ``current/manifest.json`` name the present artifact and results of its version."""
    current = read_current(context.store) or {}
    version = context.state.versions.get(current.get("version", 0))
    if version is not None:
        make_current(context.store, version)
