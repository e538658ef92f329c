"""Rebuild what the ledger says from what OCI has: after it was lost or damaged, or production changed by hand.

The difference is shown first. Only with ``apply`` it is recorded, as one entry that says what is.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.archives import unzip
from recdeploy_ops.domain.errors import IntegrityError, LockHeldError
from recdeploy_ops.domain.ledger import Book, Kind
from recdeploy_ops.domain.release_plan import describe_holder
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.ledger.audits import examine
from recdeploy_ops.ledger.ledger import ASIDE, FOLDER
from recdeploy_ops.releases import LEDGER_TAG, ROLE_TAG
from recdeploy_ops.rollout import inventory, tagging
from recdeploy_ops.rollout.rehearsals import fetch_from_catalog
from recdeploy_ops.storage.bundles import MANIFEST, store_bundle, write_manifest
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger import Version
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.ledger.audits import Audit
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.rollout.inventory import Inventory

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str, *, deployment_id: str | None, apply: bool) -> Outcome:
    """Compare the ledger with OCI, and with ``apply`` record what OCI has.

    Args:
        releases: what the steps work with.
        run_id: the run.
        deployment_id: OCID of the deployment that is production; by default the ledger's, or the one that carries the
            role's tag.
        apply: whether to write; else only the difference is shown.

    Raises:
        LockHeldError: a release is under way.
        SettingsError: it cannot be told which deployment is production.
        StateMismatchError: production is not ACTIVE, and nothing is under way that would bring it there.
        DeploymentFailedError: production does not answer as its version would.
    """
    state = _read(releases)
    production = inventory.choose_production(releases, state.book, deployment_id)
    if production is not None and production.lifecycle_state == "UPDATING":
        return _await_update(releases, production)
    found = inventory.take_inventory(releases, state.book, production)
    pretenders = inventory.find_pretenders(releases, production)
    difference = [
        *_describe(state),
        *inventory.compare_tags(releases, production, pretenders),
        *inventory.compare(state.book, found),
    ]
    for line in difference or ["The ledger and OCI agree: there is nothing to adopt."]:
        log.info("%s", line)
    if apply and difference:
        waiting = _dethrone(releases, state.book, pretenders)
        if waiting:
            return waiting
        found = replace(found, versions=_fetch_missing(releases, found.versions))
        _set_aside(releases, state)
        _record(releases, run_id, found, difference)
    recorded = difference or _recorded_last(releases, run_id)
    if apply and recorded:
        return tagging.advance_label(releases) or {"difference": recorded, "applied": True}
    return {"difference": difference, "applied": False}


@dataclass(frozen=True)
class _State:
    """The ledger as it was found.

    Attributes:
        book: what it adds up to; empty when it is damaged.
        audit: what is wrong with it.
        keys: of its folder.
    """

    book: Book
    audit: Audit
    keys: list[str]

    @property
    def is_damaged(self) -> bool:
        """Return whether a new chain must be begun: a ledger that is gone altogether begins one by itself."""
        return bool(self.keys and self.audit.damage)


def _read(releases: Releases) -> _State:
    found = examine(releases.store, tagged_heads=releases.tagged_heads())
    keys = [stored.key for stored in releases.store.list(FOLDER)]
    try:
        book = releases.ledger.book()
    except IntegrityError as err:
        found = replace(found, damage=[*found.damage, str(err)])
        book = Book()
    state = _State(book, found, keys)
    if not state.is_damaged:
        return state
    if book.holder is not None:  # no lock to trust: whoever applies has seen this line
        found.damage.append(f"it names the run {book.holder} as under way: see that it has ended before you apply this")
    return replace(state, book=Book())


def _describe(state: _State) -> list[str]:
    if state.is_damaged:
        lines = [f"the ledger is damaged: {fault}" for fault in dict.fromkeys(state.audit.damage)]
        kept = f"its {len(state.keys)} objects are kept below {ASIDE}"
        return [*lines, f"{kept}, and a new ledger is begun with what OCI has"]
    lines = [f"it is written anew: {fault}" for fault in state.audit.derived]
    return lines + [f"{key} is no entry of the ledger: it is kept below {ASIDE}" for key in state.audit.foreign]


def _dethrone(releases: Releases, book: Book, pretenders: list[Deployment]) -> Waiting | None:
    """Take the tag of production from every other deployment, which serves on; a person may delete it."""
    _require_no_release(book)
    for summary in pretenders:
        deployment = releases.deployments.get(summary.deployment_id)
        if deployment.lifecycle_state == "UPDATING":
            return _await_update(releases, deployment)
        tags = {key: value for key, value in deployment.tags.items() if key != ROLE_TAG}
        releases.deployments.tag(deployment, tags)
        log.warning(
            "%s (%s) is no longer tagged as production and still runs: delete it when nobody asks it any more.",
            deployment.name,
            deployment.deployment_id,
        )
    return None


def _set_aside(releases: Releases, state: _State) -> None:
    keys = state.keys if state.is_damaged else state.audit.foreign
    if keys:
        log.warning("%s objects of the ledger are kept below %s", len(keys), releases.ledger.set_aside(keys))


def _await_update(releases: Releases, production: Deployment) -> Waiting:
    """Wait for a change that somebody else makes, as long as a deployment may take, counted from its beginning."""
    newest = releases.deployments.newest_work_request(production.deployment_id)
    minutes = releases.settings.release.deployment_timeout_minutes
    deadline = (newest.accepted_at if newest else releases.now()) + timedelta(minutes=minutes)
    if releases.now() >= deadline:
        inventory.require_active(production)
    return Waiting(production.deployment_id, f"{production.name} is being updated", deadline)


def _record(releases: Releases, run_id: str, found: Inventory, difference: list[str]) -> None:
    facts = {
        "difference": difference,
        "seen_work_request": tagging.newest_change(releases, found.production),
        "versions": [asdict(version) for _, version in sorted(found.versions.items())],
        "highest_version": found.highest_version,
        "production": asdict(found.production) if found.production else None,
        "previous_champion": asdict(found.previous_champion) if found.previous_champion else None,
    }
    releases.ledger.append(Kind.ADOPTED, run_id, facts, guard=_require_no_release)
    releases.publish_state()
    for model in releases.models():
        if LEDGER_TAG in model.tags:  # of a ledger that may be gone
            releases.sign_head(model.model_id)


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
