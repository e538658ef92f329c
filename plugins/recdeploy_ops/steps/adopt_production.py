"""Reconcile the ledger with OCI: after it was lost or damaged, or production was changed by hand.

By default the difference is only shown. With ``apply`` it is recorded as one event that describes what OCI has.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.domain.events import Adopted
from recdeploy_ops.domain.ledger_state import LedgerState
from recdeploy_ops.domain.release_plan import lock_held
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.ledger.audits import examine
from recdeploy_ops.oci_clients.tags import LEDGER_TAG, ROLE_TAG
from recdeploy_ops.rollout import differences, existing_shops, inventory, tagging
from recdeploy_ops.rollout.adopted_artifacts import fetch_missing
from recdeploy_ops.rollout.production import names_unknown_ledger
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.storage.keys import LEDGER, LEDGER_ASIDE

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.ledger.audits import Audit
    from recdeploy_ops.rollout.inventory import Inventory

log = logging.getLogger(__name__)


def advance(
    context: ReleaseContext, *, deployment_id: str | None, apply: bool, version: int | None = None, note: str = ""
) -> Outcome:
    """Compare the ledger with OCI and, with ``apply``, record what OCI has.

    Args:
        context: of the run, which does not have a release.
        deployment_id: OCID of the deployment that is production; by default the ledger's, or the one that is tagged as
            production.
        apply: whether to record the difference; otherwise it is only shown.
        version: the number for what production serves, if it was never imported; by default the shop's own.
        note: what a person says about it; recorded with the difference.

    Raises:
        LockHeldError: a release is in progress.
        SettingsError: more than one deployment could be production, or the number is another version's.
        StateMismatchError: production belongs to another project, or is not ACTIVE and is not being updated.
        DeploymentFailedError: production does not answer as its version would.
    """
    ledger = _read(context)
    production = inventory.choose_production(context, ledger.state, deployment_id)
    if production is not None and production.lifecycle_state.is_updating:
        return _await_update(context, production)
    actual = inventory.take_inventory(context, ledger.state, production, version)
    duplicates = inventory.find_duplicates(context, production)
    difference = [
        *_describe(ledger),
        *_describe_lost_ledger(context, ledger, production),
        *differences.compare_tags(context, production, duplicates),
        *differences.compare(ledger.state, actual),
    ]
    if difference and note:
        difference.append(f"described as: {note}")
    importable = _describe_importable(context, actual)
    is_foreign = production is not None and actual.production is not None and not actual.production.digest
    left = existing_shops.describe_leftovers(context, production) if production is not None and is_foreign else []
    for line in [*difference, *importable] or ["The ledger and OCI agree: there is nothing to adopt."]:
        log.info("%s", line)
    for line in left:
        log.warning("%s", line)
    if apply and difference and (ledger.is_damaged or difference != _recorded_last(context)):
        waiting = _untag_duplicates(context, ledger.state, duplicates)
        if waiting:
            return waiting
        actual = replace(actual, versions=fetch_missing(context, actual.versions))
        _set_aside(context, ledger)
        _record(context, actual, difference)
    recorded = difference or _recorded_last(context)
    if apply and recorded:
        return tagging.advance_tagging(context) or {"difference": recorded, "applied": True, **_non_empty(left=left)}
    return {"difference": difference, "applied": False, **_non_empty(importable=importable, left=left)}


def _non_empty(**lists: list[str]) -> dict[str, list[str]]:
    return {name: lines for name, lines in lists.items() if lines}


@dataclass(frozen=True)
class _LedgerReading:
    """The ledger as it was read.

    Attributes:
        state: its state; empty if it is damaged.
        audit: what is wrong with it.
        keys: the keys in its folder.
    """

    state: LedgerState
    audit: Audit
    keys: list[str]

    @property
    def is_damaged(self) -> bool:
        """Return whether a new chain must be begun; a ledger that is gone begins one automatically."""
        return bool(self.keys and self.audit.damage)


def _read(context: ReleaseContext) -> _LedgerReading:
    of_production, others = tagging.find_heads(context)
    audit = examine(context.store, tagged_heads=of_production, other_heads=others, seal=context.ledger.seal)
    keys = [stored.key for stored in context.store.list(LEDGER)]
    try:
        state = context.refresh()
    except IntegrityError as err:
        audit = replace(audit, damage=[*audit.damage, str(err)])
        state = LedgerState()
    ledger = _LedgerReading(state, audit, keys)
    if not ledger.is_damaged:
        return ledger
    if state.holder is not None:  # a damaged ledger's lock cannot be trusted: the person who applies this must check
        holder = f"it names the run {state.holder} as in progress"
        audit.damage.append(f"{holder}: make sure that it has ended before you apply this")
    return replace(ledger, state=LedgerState())


def _describe(ledger: _LedgerReading) -> list[str]:
    if ledger.is_damaged:
        lines = [f"the ledger is damaged: {fault}" for fault in dict.fromkeys(ledger.audit.damage)]
        aside = f"its {len(ledger.keys)} objects are moved to {LEDGER_ASIDE}"
        return [*lines, f"{aside}, and a new ledger is begun with what OCI has"]
    lines = [f"it is written again: {fault}" for fault in ledger.audit.derived]
    if ledger.keys:  # a ledger that is gone is reported by `_describe_lost_ledger`
        lines += [f"it is left alone, as production does not say so: {fault}" for fault in ledger.audit.unconfirmed]
    return lines + [
        f"{key} is not an entry of the ledger: it is moved to {LEDGER_ASIDE}" for key in ledger.audit.foreign
    ]


def _describe_lost_ledger(context: ReleaseContext, ledger: _LedgerReading, production: Deployment | None) -> list[str]:
    """Return a line if production names a ledger that is not in this storage."""
    mismatch = names_unknown_ledger(context, production) if production is not None and not ledger.keys else None
    return [f"{mismatch}: if that ledger is elsewhere, correct the setting storage instead"] if mismatch else []


def _describe_importable(context: ReleaseContext, actual: Inventory) -> list[str]:
    """Return what could be imported while nothing is in production; it is imported only if a person names it."""
    shop = existing_shops.find_existing_shop(context) if actual.production is None else None
    return [*shop.describe(), "To import one of them, name its OCID as deployment_id."] if shop else []


def _untag_duplicates(context: ReleaseContext, state: LedgerState, duplicates: list[Deployment]) -> Waiting | None:
    """Remove production's tag from every other deployment; those keep serving until a person deletes them."""
    _require_no_release(state)
    for listed in duplicates:
        deployment = context.deployments.get(listed.deployment_id)
        if deployment.lifecycle_state.is_updating:
            return _await_update(context, deployment)
        tags = {name: value for name, value in deployment.tags.items() if name != ROLE_TAG}
        context.deployments.tag(deployment, tags)
        log.warning(
            "%s (%s) is no longer tagged as production and still runs: delete it once it gets no requests.",
            deployment.name,
            deployment.deployment_id,
        )
    return None


def _set_aside(context: ReleaseContext, ledger: _LedgerReading) -> None:
    keys = ledger.keys if ledger.is_damaged else ledger.audit.foreign
    if keys:
        log.warning("%s objects of the ledger were moved to %s", len(keys), context.ledger.set_aside(keys))


def _await_update(context: ReleaseContext, production: Deployment) -> Waiting:
    """Wait for an update that another process requested, at most the timeout of a deployment since its beginning."""
    newest = context.deployments.newest_work_request(production.deployment_id)
    minutes = context.settings.release.deployment_timeout_minutes
    deadline = (newest.accepted_at if newest else context.now()) + timedelta(minutes=minutes)
    if context.now() >= deadline:
        inventory.require_active(production)
    return Waiting(production.deployment_id, f"{production.name} is being updated", deadline)


def _record(context: ReleaseContext, actual: Inventory, difference: list[str]) -> None:
    adopted = Adopted(
        difference=tuple(difference),
        seen_work_request=tagging.newest_change(context, actual.production),
        versions=tuple(version for _, version in sorted(actual.versions.items())),
        highest_version=actual.highest_version,
        production=actual.production,
        previous_champion=actual.previous_champion,
    )
    context.ledger.append(context.run_id, adopted, guard=_require_no_release)
    context.publish_state()
    for model in list_models(context):
        if LEDGER_TAG in model.tags:  # it may name a ledger that is gone
            tagging.tag_with_head(context, model.model_id)


def _recorded_last(context: ReleaseContext) -> list[str]:
    """Return the difference that an earlier try of this run recorded before it waited for production's tags.

    One that is still there was not ended by recording it, and is not recorded again.
    """
    change = tagging.find_last_change(context)
    if change is None:
        return []
    entry, event = change
    return list(event.difference) if isinstance(event, Adopted) and entry.run_id == context.run_id else []


def _require_no_release(state: LedgerState) -> None:
    if state.holding_release is not None:
        raise lock_held(state.holding_release)
