"""Find what housekeeping may delete or restore, in storage and in OCI."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import CustomerErased, ModelRegistered, ModelRestored, ReleaseOpened
from recdeploy_ops.domain.holdings import (
    NAMED_AFTER_A_VERSION,
    BrokenTarget,
    FolderKind,
    Holdings,
    LeftDeployment,
    RegisteredModel,
    StoredFolder,
)
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.retention import plan_housekeeping
from recdeploy_ops.domain.timelines import find_last_served, trace_production
from recdeploy_ops.oci_clients.tags import RUN_TAG, is_lease_over, run_slug, version_number
from recdeploy_ops.rollout.current import read_current
from recdeploy_ops.rollout.deletion import find_unverified
from recdeploy_ops.rollout.production import find_deployments, run_tag
from recdeploy_ops.rollout.registry import list_models, model_name
from recdeploy_ops.storage.bundles import MANIFEST
from recdeploy_ops.storage.keys import ADOPTED, BACKUP_NAME, BACKUPS, RELEASES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.records import CatalogModel, Deployment
    from recdeploy_ops.domain.retention import HousekeepingPlan
    from recdeploy_ops.storage.stores import StoredObject

ABANDONED_AFTER = timedelta(days=1)  # no writer takes that long
KINDS = "|".join(kind for kind in FolderKind if kind not in NAMED_AFTER_A_VERSION)
OF_A_RUN = re.compile(rf"({RELEASES}([^/]+)/({KINDS})/[0-9a-f]{{16}})/.+", re.ASCII)
ADOPTED_FOLDER = re.compile(rf"({ADOPTED}v(\d{{1,9}})/[0-9a-f]{{16}})/.+", re.ASCII)
BACKUP_FOLDER = re.compile(rf"({BACKUPS}{BACKUP_NAME})/.+", re.ASCII)


def make_plan(context: ReleaseContext) -> HousekeepingPlan:
    """Read the ledger, OCI and the storage, and return what housekeeping would do; nothing is changed."""
    context.refresh()
    holdings = find_holdings(context)
    return plan_housekeeping(context.state, holdings, context.settings.retention.policy, context.now())


def find_left_deployments(context: ReleaseContext) -> list[Deployment]:
    """Return the deployments to delete, also those that are being deleted: nothing uses them."""
    tests = find_tests(context)
    orphans = [deployment for deployment in tests if is_orphan(deployment, context.state, context.now())]
    return [*orphans, *find_unverified(context)]


def find_tests(context: ReleaseContext) -> list[Deployment]:
    """Return the project's test deployments that are not deleted."""
    return [d for d in find_deployments(context, Role.TEST) if not d.lifecycle_state.is_deleted]


def is_orphan(deployment: Deployment, state: LedgerState, now: datetime) -> bool:
    """Return whether a test deployment's release is closed, or its release is unknown and its lease is over."""
    made_by = deployment.tags.get(RUN_TAG)
    if state.holder is not None and run_tag(state, state.holder) == made_by:
        return False
    if any(run_tag(state, run_id) == made_by for run_id in state.releases):
        return True
    return is_lease_over(deployment.tags, now)


def find_holdings(context: ReleaseContext) -> Holdings:
    """Return what OCI and the storage have now."""
    entries = context.history()
    models = list_models(context)
    return Holdings(
        folders=tuple(find_folders(context)),
        models=tuple(_find_models(context, entries, models)),
        deployments=tuple(
            LeftDeployment(left.deployment_id, left.name, left.shape.instance_count)
            for left in find_left_deployments(context)
            if not (left.lifecycle_state.is_gone or left.lifecycle_state.is_busy)
        ),
        broken=tuple(_find_broken(context, models)),
        unfinished=tuple(one.name for one in context.store.find_unfinished(context.now() - ABANDONED_AFTER)),
        current=frozenset(str(value) for value in (read_current(context.store) or {}).values()),
        last_served=find_last_served(trace_production(entries), context.now()),
    )


def find_folders(context: ReleaseContext) -> list[StoredFolder]:
    """Return the folders that this project's runs have stored, by prefix; also those that a kill left incomplete.

    A backup is this project's if a release was opened at the time in its name.
    """
    state, entries = context.state, context.history()
    runs = {run_slug(run_id): run_id for run_id in state.releases}
    opened = {f"{entry.at:%Y%m%d_%H%M%S}" for entry in entries if isinstance(entry.event, ReleaseOpened)}
    folders = []
    for prefix, objects in _grouped(context.store.list(RELEASES), OF_A_RUN).items():
        slug, kind = prefix.split("/")[1:3]
        folders.append(_folder(prefix, FolderKind(kind), objects, run_id=runs.get(slug)))
    for prefix, objects in _grouped(context.store.list(ADOPTED), ADOPTED_FOLDER).items():
        folders.append(_folder(prefix, FolderKind.ADOPTED, objects, version=_number(prefix, ADOPTED)))
    for prefix, objects in _grouped(context.store.list(BACKUPS), BACKUP_FOLDER).items():
        if prefix.partition("_")[2][:15] in opened:
            folders.append(_folder(prefix, FolderKind.BACKUP, objects, version=_number(prefix, BACKUPS)))
    return sorted(folders, key=lambda folder: folder.prefix)


def _grouped(objects: Iterable[StoredObject], pattern: re.Pattern[str]) -> dict[str, list[StoredObject]]:
    folders: dict[str, list[StoredObject]] = {}
    for stored in objects:
        if match := pattern.fullmatch(stored.key):
            folders.setdefault(match[1], []).append(stored)
    return folders


def _folder(
    prefix: str,
    kind: FolderKind,
    objects: Collection[StoredObject],
    *,
    run_id: str | None = None,
    version: int | None = None,
) -> StoredFolder:
    """Return a folder whose own manifest is deleted first: without it, the rest is not a bundle."""
    keys = sorted((stored.key for stored in objects), key=lambda key: (key != f"{prefix}/{MANIFEST}", key))
    return StoredFolder(prefix, kind, run_id, version, tuple(keys), sum(stored.size for stored in objects))


def _number(prefix: str, parent: str) -> int:
    return int(re.match(rf"{parent}v(\d+)", prefix)[1])  # type: ignore[index] # as its pattern says


def _find_models(
    context: ReleaseContext, entries: Iterable[Entry], models: Iterable[CatalogModel]
) -> Iterable[RegisteredModel]:
    """Yield the models that the ledger has recorded for a version, if their tags still say so."""
    recorded = _recorded_models(context.state, entries)
    users: dict[str, list[str]] = {}
    for deployment in context.deployments.all():
        if not deployment.lifecycle_state.is_deleted:
            users.setdefault(deployment.model_id, []).append(deployment.name)
    for model in models:
        version = recorded.get(model.model_id)
        if version is not None and version_number(model.tags) == version:
            yield RegisteredModel(model.model_id, model.name, version, tuple(users.get(model.model_id, ())))


def _recorded_models(state: LedgerState, entries: Iterable[Entry]) -> Mapping[str, int]:
    recorded = {version.model_id: number for number, version in state.versions.items()}
    for event in (entry.event for entry in entries):
        if isinstance(event, ModelRegistered | ModelRestored):
            recorded[event.model_id] = event.version
        elif isinstance(event, CustomerErased):
            recorded |= {one.new_model_id: one.version for one in event.models}
    return recorded


def _find_broken(context: ReleaseContext, models: Iterable[CatalogModel]) -> Iterable[BrokenTarget]:
    """Yield the previous champion and the pinned versions whose model OCI would not deploy now.

    The catalog's list does not say whether an artifact is archived: such a model is read by itself.
    """
    state, listed = context.state, {model.model_id for model in models}
    previous = {state.previous_champion.version} if state.previous_champion else set()
    for number in sorted(previous | state.pinned.keys()):
        version = state.versions.get(number)
        if version is None or not version.can_be_restored or version.doubt or not version.artifact:
            continue
        model = context.catalog.get(version.model_id) if version.model_id in listed else None
        has_artifact = model is not None and model.can_be_used and context.catalog.has_artifact(model.model_id)
        if model is None or not has_artifact or not model.is_usable:
            name = model_name(context.project, number)
            yield BrokenTarget(number, version.model_id, name, can_be_activated=has_artifact)
