"""Rehearse a rollback: fetch and verify a version; load and probe it if a worker may run its code."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.archives import zip_artifact
from recdeploy_ops.artifacts.artifact import has_own_runtime
from recdeploy_ops.artifacts.sandbox import load_in_clean_process
from recdeploy_ops.artifacts.stored_lists import sample_users
from recdeploy_ops.artifacts.templates import holds_foreign_code
from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.domain.events import ModelRestored, RollbackRehearsed
from recdeploy_ops.oci_clients.models import NewModel
from recdeploy_ops.oci_clients.tags import RESULTS_METADATA, version_tags
from recdeploy_ops.rollout.catalog_artifacts import (
    choose_registered,
    fetch_registered,
    has_own_model,
    require_artifact,
    restore_foreign_names,
)
from recdeploy_ops.rollout.copies import fetch_copy
from recdeploy_ops.rollout.deployable_models import is_deployable, make_deployable
from recdeploy_ops.rollout.production import known_slug
from recdeploy_ops.rollout.registry import find_registration, model_name
from recdeploy_ops.rollout.switches import PROBE, verify_serving
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import CatalogModel
    from recdeploy_ops.domain.versions import Serving, Version

log = logging.getLogger(__name__)

SAMPLE = 20  # users whose lists are requested
LENGTH = 10  # of those lists: an artifact's own could be endless
QUOTED = 500  # characters of an answer, in an error


def rehearse_champion(context: ReleaseContext, serving: Serving) -> RollbackRehearsed:
    """Verify that production can go back to the version that it serves, and record how long that took.

    If the catalog's model is gone, it is first registered again from storage or a backup. If a worker may not run the
    version's code, its bytes are compared and production is probed.

    Args:
        context: of the run that may need the version.
        serving: what production serves.

    Raises:
        IntegrityError: the version's artifact is not the one that was recorded, or does not answer.
        DeploymentFailedError: production does not answer as the version would.
        StorageError: no undamaged copy of it exists.
    """
    started = time.monotonic()
    version = context.state.versions[serving.version]
    model = find_or_restore(context, version)
    how = "fetched, verified, loaded and probed"
    if not try_registered(context, version, model.model_id):
        production = context.deployments.get(serving.deployment_id)
        verify_serving(context, production, version=version.number, digest=version.digest)
        how = "fetched, compared and probed in production, but not loaded"
    seconds = round(time.monotonic() - started, 1)
    return record_rehearsal(context, RollbackRehearsed(version.number, version.digest, model.model_id, seconds), how)


def record_rehearsal(context: ReleaseContext, rehearsed: RollbackRehearsed, how: str) -> RollbackRehearsed:
    """Record a rehearsal unless an earlier try has; return the recorded one.

    Args:
        context: of the run.
        rehearsed: the rehearsal.
        how: what was done, for the log.
    """
    known = context.confirm_lock().get(RollbackRehearsed)
    if known is None or replace(known, seconds=rehearsed.seconds) != rehearsed:
        context.record(rehearsed)
    log.info("Production can go back to v%s: %s in %s s", rehearsed.version, how, rehearsed.seconds)
    return context.release.require(RollbackRehearsed)


def require_rollback_target(context: ReleaseContext, version: Version) -> None:
    """Fetch and verify a version as a rehearsal does, without recording or deploying anything.

    Raises:
        IntegrityError: the version's artifact is not the one that was recorded, or does not answer.
        StorageError: no undamaged copy of it exists.
    """
    if is_deployable(context, version.model_id) and has_own_model(context, version):
        try_registered(context, version, version.model_id)
        return
    with workspace() as scratch:
        fetch_copy(context, version, scratch / "artifact")
        _try_artifact(context, version, scratch / "artifact")


def find_or_restore(
    context: ReleaseContext, version: Version, record: Callable[[ModelRestored], object] | None = None
) -> CatalogModel:
    """Return a version's catalog model, ready for deployment.

    A deactivated model is activated. A model that is gone, or whose artifact is archived or another one, is registered
    again from storage or a backup.

    Args:
        context: of the run.
        version: to deploy.
        record: records that another model takes its place; by default as an event of the run's release.
    """
    model = make_deployable(context, version.model_id)
    if model is not None and has_own_model(context, version):
        return model
    with workspace() as scratch:
        folder = scratch / "artifact"
        fetch_copy(context, version, folder)
        if not version.digest:
            restore_foreign_names(folder)
        model = register_again(context, version, folder)
    restored = ModelRestored(version=version.number, model_id=model.model_id, replaces=version.model_id)
    (record or context.record)(restored)
    log.warning("The catalog's model of v%s cannot be used: %s takes its place.", version.number, model.model_id)
    return model


def register_again(context: ReleaseContext, version: Version, folder: Path) -> CatalogModel:
    """Return a usable catalog model with a version's artifact: that of an earlier try, or a new one.

    Args:
        context: of the run.
        version: with the digest of the artifact.
        folder: with its files; the zip is written beside it.
    """
    archive = folder.with_name(f"{folder.name}.zip")
    zip_artifact(folder, archive)
    registration = find_registration(context, version.number, version.digest)
    model = choose_registered(context, version, registration.models)
    if model is None:
        model = context.catalog.create(_describe(context, version, unusable=registration.unusable))
    require_artifact(context, version, model.model_id, archive)
    return model


def try_registered(context: ReleaseContext, version: Version, model_id: str) -> bool:
    """Fetch a version's artifact from the catalog and verify it; load and probe it if a worker may run its code.

    Returns:
        Whether it was loaded and probed: the ledger knows its digest, and its code is this project's.

    Raises:
        IntegrityError: it is not the one that was recorded, or does not answer.
    """
    with workspace() as scratch:
        folder, archive = scratch / "artifact", scratch / "artifact.zip"
        fetch_registered(context, version, model_id, archive, folder)
        return _try_artifact(context, version, folder)


def _try_artifact(context: ReleaseContext, version: Version, folder: Path) -> bool:
    if not version.digest or holds_foreign_code(folder):
        log.warning("The code of v%s is not this project's: it is not loaded in a worker.", version.number)
        return False
    if version.known_by_tags and not has_own_runtime(folder, context.settings):
        log.warning("v%s runs in another conda environment than the settings name.", version.number)
        return False
    _probe(folder, version)
    return True


def _describe(context: ReleaseContext, version: Version, *, unusable: int) -> NewModel:
    name = model_name(context.project, version.number)
    metadata = []
    if version.digest:
        metadata.append(("digest", version.digest, "sha256 of the artifact's manifest.json", "other"))
    if version.results:
        metadata.append((RESULTS_METADATA, version.results, "where its training results are stored", "other"))
    return NewModel(
        name=name,
        description=f"Product recommender v{version.number}, registered again from storage",
        version_set=context.project,
        version_label=f"v{version.number}",
        tags=version_tags(
            context.project,
            run=known_slug(context.state, version.run_id),
            version=version.number,
            digest=version.digest,
        ),
        metadata=tuple(metadata),
        provenance={},
        token=f"{name}/{version.digest}/{unusable}",
    )


def _probe(folder: Path, version: Version) -> None:
    """Request lists for a sample of the artifact's users and for an unknown user, in a clean process."""
    users = [*sample_users(folder, SAMPLE), PROBE["user_id"]]
    requests = [{"user_id": user, "top_k": LENGTH} for user in users]
    for request, answer in zip(requests, load_in_clean_process(folder, requests), strict=True):
        served = (answer.get("model_version"), answer.get("digest"), answer.get("user_id"))
        if served != (version.number, version.digest, request["user_id"]):
            shown = shorten(repr(answer), QUOTED), shorten(repr(request), QUOTED)
            raise IntegrityError(f"The artifact of v{version.number} answers {shown[0]} to {shown[1]}.")
