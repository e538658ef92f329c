"""Reconcile the ledger with OCI: after it was lost or damaged, or production was changed by hand.

The difference is shown first. Only with ``apply`` it is recorded, as one event that says what is.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import IntegrityError, MissingInputError, StorageError
from recdeploy_ops.domain.events import Adopted
from recdeploy_ops.domain.ledger_state import LedgerState
from recdeploy_ops.domain.release_plan import lock_held
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.ledger.audits import examine
from recdeploy_ops.oci_clients.tags import LEDGER_TAG, ROLE_TAG
from recdeploy_ops.rollout import differences, existing_shops, inventory, tagging
from recdeploy_ops.rollout.catalog_artifacts import fetch_from_catalog, fetch_of_another_project
from recdeploy_ops.rollout.production import names_unknown_ledger
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.storage.bundles import open_bundle, store_bundle, write_manifest
from recdeploy_ops.storage.keys import LEDGER, LEDGER_ASIDE, adopted_prefix
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.versions import Version
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.ledger.audits import Audit
    from recdeploy_ops.rollout.inventory import Inventory

log = logging.getLogger(__name__)


def advance(context: ReleaseContext, *, deployment_id: str | None, apply: bool) -> Outcome:
    """Compare the ledger with OCI, and with ``apply`` record what OCI has.

    Args:
        context: of the run, which has no release.
        deployment_id: OCID of the deployment that is production; by default the ledger's, or the one that carries the
            role's tag.
        apply: whether to write; else only the difference is shown.

    Raises:
        LockHeldError: a release is in progress.
        SettingsError: more than one deployment could be production.
        StateMismatchError: production belongs to another project, or is not ACTIVE, and nothing is in progress that
            would bring it there.
        DeploymentFailedError: production does not answer as its version would.
    """
    found = _read(context)
    production = inventory.choose_production(context, found.state, deployment_id)
    if production is not None and production.lifecycle_state.is_updating:
        return _await_update(context, production)
    taken = inventory.take_inventory(context, found.state, production)
    duplicates = inventory.find_duplicates(context, production)
    difference = [
        *_describe(found),
        *_describe_lost_ledger(context, found, production),
        *differences.compare_tags(context, production, duplicates),
        *differences.compare(found.state, taken),
    ]
    importable = _describe_importable(context, taken)
    for line in [*difference, *importable] or ["The ledger and OCI agree: there is nothing to adopt."]:
        log.info("%s", line)
    if apply and difference:
        waiting = _untag_duplicates(context, found.state, duplicates)
        if waiting:
            return waiting
        taken = replace(taken, versions=_fetch_missing(context, taken.versions))
        _set_aside(context, found)
        _record(context, taken, difference)
    recorded = difference or _recorded_last(context)
    if apply and recorded:
        return tagging.advance_tagging(context) or {"difference": recorded, "applied": True}
    return {"difference": difference, "applied": False, **({"importable": importable} if importable else {})}


@dataclass(frozen=True)
class _Found:
    """The ledger as it was found.

    Attributes:
        state: its state; empty when it is damaged.
        audit: what is wrong with it.
        keys: of its folder.
    """

    state: LedgerState
    audit: Audit
    keys: list[str]

    @property
    def is_damaged(self) -> bool:
        """Return whether a new chain must be begun: a ledger that is gone altogether begins one by itself."""
        return bool(self.keys and self.audit.damage)


def _read(context: ReleaseContext) -> _Found:
    of_production, others = tagging.find_heads(context)
    audit = examine(context.store, tagged_heads=of_production, other_heads=others)
    keys = [stored.key for stored in context.store.list(LEDGER)]
    try:
        state = context.refresh()
    except IntegrityError as err:
        audit = replace(audit, damage=[*audit.damage, str(err)])
        state = LedgerState()
    found = _Found(state, audit, keys)
    if not found.is_damaged:
        return found
    if state.holder is not None:  # no lock to trust: a person who applies this has seen this line
        holder = f"it names the run {state.holder} as in progress"
        audit.damage.append(f"{holder}: see that it has ended before you apply this")
    return replace(found, state=LedgerState())


def _describe(found: _Found) -> list[str]:
    if found.is_damaged:
        lines = [f"the ledger is damaged: {fault}" for fault in dict.fromkeys(found.audit.damage)]
        aside = f"its {len(found.keys)} objects are put below {LEDGER_ASIDE}"
        return [*lines, f"{aside}, and a new ledger is begun with what OCI has"]
    lines = [f"it is written again: {fault}" for fault in found.audit.derived]
    if found.keys:  # of a ledger that is gone altogether, production says that
        lines += [f"it is left alone, as production does not say so: {fault}" for fault in found.audit.unconfirmed]
    return lines + [
        f"{key} is not an entry of the ledger: it is put below {LEDGER_ASIDE}" for key in found.audit.foreign
    ]


def _describe_lost_ledger(context: ReleaseContext, found: _Found, production: Deployment | None) -> list[str]:
    """Return that production has a ledger which is not here: it is lost, or this is not its storage."""
    mismatch = names_unknown_ledger(context, production) if production is not None and not found.keys else None
    return [f"{mismatch}: if that ledger lies elsewhere, correct the setting storage instead"] if mismatch else []


def _describe_importable(context: ReleaseContext, taken: Inventory) -> list[str]:
    """Return what could be imported while nothing is in production, and how: nothing is imported unless it is named."""
    shop = existing_shops.find_existing_shop(context) if taken.production is None else None
    return [*shop.describe(), "To import one of them, name its OCID as deployment_id."] if shop else []


def _untag_duplicates(context: ReleaseContext, state: LedgerState, duplicates: list[Deployment]) -> Waiting | None:
    """Take production's tag from every other deployment, which serves on; a person may delete it."""
    _require_no_release(state)
    for listed in duplicates:
        deployment = context.deployments.get(listed.deployment_id)
        if deployment.lifecycle_state.is_updating:
            return _await_update(context, deployment)
        tags = {name: value for name, value in deployment.tags.items() if name != ROLE_TAG}
        context.deployments.tag(deployment, tags)
        log.warning(
            "%s (%s) has lost the tag of production and still runs: delete it once nobody sends requests to it.",
            deployment.name,
            deployment.deployment_id,
        )
    return None


def _set_aside(context: ReleaseContext, found: _Found) -> None:
    keys = found.keys if found.is_damaged else found.audit.foreign
    if keys:
        log.warning("%s objects of the ledger are put below %s", len(keys), context.ledger.set_aside(keys))


def _await_update(context: ReleaseContext, production: Deployment) -> Waiting:
    """Wait for a change that somebody else makes, as long as a deployment may take, counted from its beginning."""
    newest = context.deployments.newest_work_request(production.deployment_id)
    minutes = context.settings.release.deployment_timeout_minutes
    deadline = (newest.accepted_at if newest else context.now()) + timedelta(minutes=minutes)
    if context.now() >= deadline:
        inventory.require_active(production)
    return Waiting(production.deployment_id, f"{production.name} is being updated", deadline)


def _record(context: ReleaseContext, taken: Inventory, difference: list[str]) -> None:
    adopted = Adopted(
        difference=tuple(difference),
        seen_work_request=tagging.newest_change(context, taken.production),
        versions=tuple(version for _, version in sorted(taken.versions.items())),
        highest_version=taken.highest_version,
        production=taken.production,
        previous_champion=taken.previous_champion,
    )
    context.ledger.append(context.run_id, adopted, guard=_require_no_release)
    context.publish_state()
    for model in list_models(context):
        if LEDGER_TAG in model.tags:  # of a ledger that may be gone
            tagging.tag_with_head(context, model.model_id)


def _recorded_last(context: ReleaseContext) -> list[str]:
    """Return what an earlier try of this run recorded before it waited for production's tags; usually nothing."""
    newest = context.history()[-1:]
    return [
        line
        for entry in newest
        if entry.run_id == context.run_id and isinstance(entry.event, Adopted)
        for line in entry.event.difference
    ]


def _fetch_missing(context: ReleaseContext, versions: dict[int, Version]) -> dict[int, Version]:
    """Return the versions, those with an artifact in the catalog and none in storage fetched into it."""
    complete = {}
    for number, version in versions.items():
        complete[number] = version if _is_stored(context, version) else _fetch(context, version)
    return complete


def _is_stored(context: ReleaseContext, version: Version) -> bool:
    """Return whether a version's artifact lies in storage, with the digest that the ledger or a tag says."""
    if not version.artifact:
        return False
    try:
        open_bundle(context.store, version.artifact, digest=version.digest or None, made_by="adopt_production")
    except (MissingInputError, IntegrityError) as err:
        log.warning("The artifact of v%s is taken from the catalog: %s", version.number, err.message)
        return False
    return True


def _fetch(context: ReleaseContext, version: Version) -> Version:
    if not context.catalog.has_artifact(version.model_id):
        log.warning(
            "The artifact of v%s is neither in storage nor in the catalog: production cannot go back to it.",
            version.number,
        )
        return version
    with workspace() as place:
        archive, folder = place / "artifact.zip", place / "artifact"
        try:
            _fetch_artifact(context, version, archive, folder)
            bundle = store_bundle(context.store, adopted_prefix(version.number), folder)
        except (IntegrityError, StorageError) as err:
            if not version.known_by_tags and version.stage is not Stage.REJECTED:
                raise
            log.warning("v%s is not what its tags say, and production cannot go back to it: %s", version.number, err)
            return replace(version, stage=Stage.REJECTED)
    return replace(version, artifact=bundle.prefix)


def _fetch_artifact(context: ReleaseContext, version: Version, archive: Path, folder: Path) -> None:
    """Fetch a version's artifact from the catalog, verified against its digest where there is one."""
    if version.digest:
        fetch_from_catalog(context, version.model_id, version.digest, archive, folder)
        return
    fetch_of_another_project(context, version.model_id, archive, folder)
    write_manifest(folder, {"adopted": version.model_id})


def _require_no_release(state: LedgerState) -> None:
    if state.holding_release is not None:
        raise lock_held(state.holding_release)
