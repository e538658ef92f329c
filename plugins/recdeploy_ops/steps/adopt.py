"""Rebuild what the ledger says from what OCI has: after it was lost, after changes by hand, for a foreign deployment.

The difference is shown first. Only with ``apply`` it is recorded, as one entry that says what is.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.artifact import unzip
from recdeploy_ops.bundles import MANIFEST, store_bundle, write_manifest
from recdeploy_ops.domain.errors import LockHeldError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.release_plan import describe_holder
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.steps import inventories, labels
from recdeploy_ops.steps.rehearsals import fetch_from_catalog
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger import Book, Version
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.steps.inventories import Inventory
    from recdeploy_ops.steps.outcomes import Outcome

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str, *, deployment_id: str | None, apply: bool) -> Outcome:
    """Compare the ledger with OCI, and with ``apply`` record what OCI has.

    Args:
        releases: what the steps work with.
        run_id: the run.
        deployment_id: OCID of the deployment that is production; by default the one that carries the role's tag.
        apply: whether to write; else only the difference is shown.

    Raises:
        LockHeldError: a release is under way.
        SettingsError: it cannot be told which deployment is production.
        StateMismatchError: production is not ACTIVE, and nothing is under way that would bring it there.
        DeploymentFailedError: production does not answer as its version would.
    """
    book = releases.ledger.book()
    production = inventories.choose_production(releases, deployment_id)
    if production is not None and production.lifecycle_state == "UPDATING":
        return _await_update(releases, production)
    found = inventories.take_inventory(releases, book, production)
    difference = inventories.compare(book, found)
    for line in difference or ["The ledger and OCI agree: there is nothing to adopt."]:
        log.info("%s", line)
    if apply and difference:
        _record(releases, run_id, found, difference)
    recorded = difference or _recorded_last(releases, run_id)
    if apply and recorded:
        return labels.advance_label(releases) or {"difference": recorded, "applied": True}
    return {"difference": difference, "applied": False}


def _await_update(releases: Releases, production: Deployment) -> Waiting:
    """Wait for a change that somebody else makes, as long as a deployment may take, counted from its beginning."""
    newest = releases.deployments.newest_work_request(production.deployment_id)
    minutes = releases.settings.release.deployment_timeout_minutes
    deadline = (newest.accepted_at if newest else releases.now()) + timedelta(minutes=minutes)
    if releases.now() >= deadline:
        inventories.require_active(production)
    return Waiting(production.deployment_id, f"{production.name} is being updated", deadline)


def _record(releases: Releases, run_id: str, found: Inventory, difference: list[str]) -> None:
    found = replace(found, versions=_fetch_missing(releases, found.versions))
    facts = {
        "difference": difference,
        "seen_work_request": labels.newest_change(releases, found.production),
        "versions": [asdict(version) for _, version in sorted(found.versions.items())],
        "highest_version": found.highest_version,
        "production": asdict(found.production) if found.production else None,
        "previous_champion": asdict(found.previous_champion) if found.previous_champion else None,
    }
    releases.ledger.append(Kind.ADOPTED, run_id, facts, guard=_require_no_release)
    releases.publish_state()


def _recorded_last(releases: Releases, run_id: str) -> list[str]:
    """Return what an earlier try of this run recorded before it waited for production's tags; usually nothing."""
    entries = releases.ledger.entries()
    if not entries or (entries[-1].kind, entries[-1].run_id) != (Kind.ADOPTED, run_id):
        return []
    return list(entries[-1].facts["difference"])


def _fetch_missing(releases: Releases, versions: dict[int, Version]) -> dict[int, Version]:
    """Return the versions, those with an artifact in the catalog and none in storage fetched into it."""
    complete = {}
    for number, version in versions.items():
        stored = version.artifact and any(releases.store.list(f"{version.artifact}/{MANIFEST}"))
        complete[number] = version if stored else _fetch(releases, version)
    return complete


def _fetch(releases: Releases, version: Version) -> Version:
    if not releases.catalog.has_artifact(version.model_id):
        log.warning(
            "The artifact of v%s is neither in storage nor in the catalog: it cannot come back.", version.number
        )
        return version
    with workspace() as place:
        archive, folder = place / "artifact.zip", place / "artifact"
        if version.digest:
            fetch_from_catalog(releases, version.model_id, version.digest, archive, folder)
        else:
            releases.catalog.download_artifact(version.model_id, archive)
            unzip(archive, folder)
            write_manifest(folder, {"adopted": version.model_id})
        bundle = store_bundle(releases.store, f"adopted/v{version.number}", folder)
    return replace(version, artifact=bundle.prefix)


def _require_no_release(book: Book) -> None:
    if book.holder is not None:
        raise LockHeldError(describe_holder(book))
