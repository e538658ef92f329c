"""Rehearsing a rollback: a version is fetched, verified, loaded in a clean process and probed."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from recdeploy_ops.artifacts.archives import unzip, unzip_artifact, zip_artifact
from recdeploy_ops.artifacts.artifact import DATABASE
from recdeploy_ops.artifacts.sandbox import load_in_clean_process
from recdeploy_ops.domain.errors import CloudRefusedError, IntegrityError, MissingInputError, StorageError
from recdeploy_ops.domain.events import ModelRestored, RollbackRehearsed
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.oci_clients.models import NewModel
from recdeploy_ops.oci_clients.tags import RESULTS_METADATA, version_tags
from recdeploy_ops.rollout.registry import find_registration, model_name
from recdeploy_ops.rollout.switches import PROBE
from recdeploy_ops.storage.backups import list_backups, require_recorded
from recdeploy_ops.storage.bundles import MANIFEST, fetch_bundle, open_bundle, sha256_of
from recdeploy_ops.storage.keys import BACKUP_ARTIFACT, BACKUPS
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import CatalogModel
    from recdeploy_ops.domain.versions import Version
    from recdeploy_ops.storage.bundles import Bundle

log = logging.getLogger(__name__)

SAMPLE = "SELECT user_id FROM lists LIMIT 20"


def rehearse(context: ReleaseContext, version: Version) -> RollbackRehearsed:
    """Verify that production could go back to a version, and record how long that took.

    Where the catalog's model is gone it is registered again from storage or from a backup first.

    Args:
        context: of the run that may need the version.
        version: the one to go back to.

    Raises:
        IntegrityError: the version's artifact is not the one that was recorded, or does not answer.
        StorageError: there is no whole copy of it anywhere.
    """
    started = time.monotonic()
    model = find_or_restore(context, version)
    with workspace() as folder:
        _try_registered(context, version, model.model_id, folder)
    seconds = round(time.monotonic() - started, 1)
    rehearsed = RollbackRehearsed(version.number, version.digest, model.model_id, seconds)
    known = context.confirm_lock().get(RollbackRehearsed)
    if known is None or replace(known, seconds=seconds) != rehearsed:
        context.record(rehearsed)
    done = "fetched, verified, loaded and probed" if version.digest else "fetched and compared, but not loaded"
    log.info("Production could go back to v%s: %s in %s s.", version.number, done, seconds)
    return context.release.require(RollbackRehearsed)


def require_rollback_target(context: ReleaseContext, version: Version) -> None:
    """Fetch, verify, load and probe a version as a rehearsal does, before anything is begun: nothing is recorded.

    Raises:
        IntegrityError: the version's artifact is not the one that was recorded, or does not answer.
        StorageError: there is no whole copy of it anywhere.
    """
    model = _find(context, version)
    with workspace() as folder:
        if model is not None:
            _try_registered(context, version, model.model_id, folder)
            return
        _fetch_copy(context, version, folder / "artifact")
        if version.digest:
            _probe(folder / "artifact", version)


def fetch_from_catalog(context: ReleaseContext, model_id: str, digest: str, archive: Path, folder: Path) -> None:
    """Download a model's artifact and verify that it is the one with this digest.

    Raises:
        IntegrityError: it is another.
    """
    context.catalog.download_artifact(model_id, archive)
    found = unzip_artifact(archive, folder)
    if found != digest:
        raise IntegrityError(
            f"The artifact of the model {model_id} in the catalog has the digest {found}, recorded is {digest}: it was "
            "exchanged.",
            Remedy("Delete that model in the OCI console; it is registered again from storage"),
        )


def find_or_restore(context: ReleaseContext, version: Version) -> CatalogModel:
    """Return a version's catalog model; registered again from storage or a backup when it is gone."""
    model = _find(context, version)
    if model is not None:
        return model
    with workspace() as place:
        folder, archive = place / "artifact", place / "artifact.zip"
        _fetch_copy(context, version, folder)
        if not version.digest:
            (folder / MANIFEST).unlink()  # ours: the project that made it does not know that file
        zip_artifact(folder, archive)
        found = find_registration(context, version.number, version.digest)
        model = found.model or context.catalog.create(_describe(context, version, deleted=found.deleted))
        if not context.catalog.has_artifact(model.model_id):
            context.catalog.upload_artifact(model.model_id, archive)
    context.record(ModelRestored(version=version.number, model_id=model.model_id, replaces=version.model_id))
    log.warning("The catalog's model of v%s was gone: it is registered again as %s.", version.number, model.model_id)
    return model


def _try_registered(context: ReleaseContext, version: Version, model_id: str, place: Path) -> None:
    """Fetch a version's artifact from the catalog and verify it; load and probe it where this project made it."""
    folder, archive = place / "artifact", place / "artifact.zip"
    if version.digest:
        fetch_from_catalog(context, model_id, version.digest, archive, folder)
        _probe(folder, version)
    else:
        _compare_with_stored(context, version, model_id, archive, folder)


def _compare_with_stored(context: ReleaseContext, version: Version, model_id: str, archive: Path, folder: Path) -> None:
    """Rehearse a version of another project: its score.py may need packages that only its deployment has."""
    context.catalog.download_artifact(model_id, archive)
    found = {name: sha256_of(folder / name) for name in unzip(archive, folder) if name != MANIFEST}
    if not any(copy.files == found for copy in _copies(context, version)):
        raise IntegrityError(f"The artifact of the model {model_id} is not the one that was adopted: it was exchanged.")
    log.warning("v%s was not made by this project: its score.py is not loaded here.", version.number)


def _find(context: ReleaseContext, version: Version) -> CatalogModel | None:
    try:
        model = context.catalog.get(version.model_id)
    except CloudRefusedError as err:
        if err.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    return model if model.lifecycle_state == "ACTIVE" and context.catalog.has_artifact(model.model_id) else None


def _fetch_copy(context: ReleaseContext, version: Version, folder: Path) -> None:
    """Fetch a version's artifact from the first place that has a whole copy."""
    for copy in _copies(context, version):
        try:
            fetch_bundle(context.store, copy, folder)
        except IntegrityError as err:
            log.warning("%s cannot be used: %s", copy.prefix, err)
            continue
        return
    raise StorageError(
        f"Rollback failed - backup not found: v{version.number} is neither in the Model Catalog nor whole in "
        f"{version.artifact or 'a folder of its own'} or any backup below {context.store.uri}/{BACKUPS}. Its backup "
        "directory may have been deleted."
    )


def _copies(context: ReleaseContext, version: Version) -> Iterator[Bundle]:
    """Yield where a version's artifact may lie, its manifest as recorded: where it was built, then its backups."""
    backups = [found for found in reversed(list_backups(context.store)) if found["version"] == version.number]
    for backup in [None, *backups]:
        prefix = f"{backup['prefix']}/{BACKUP_ARTIFACT}" if backup else version.artifact
        try:
            digest = version.digest or (_recorded_digest(context, backup) if backup else None)
            yield open_bundle(context.store, prefix, digest=digest, made_by="backup_production")
        except (MissingInputError, IntegrityError, StorageError) as err:
            log.warning("%s cannot be used: %s", prefix, err)


def _recorded_digest(context: ReleaseContext, backup: Mapping[str, Any]) -> str:
    """Return the digest of the artifact in a backup that the ledger names, for a version that has none of its own."""
    require_recorded(backup, context.history())
    whole = open_bundle(context.store, backup["prefix"], digest=backup["digest"], made_by="backup_production")
    return whole.files[f"{BACKUP_ARTIFACT}/{MANIFEST}"]


def _describe(context: ReleaseContext, version: Version, *, deleted: int) -> NewModel:
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
        tags=version_tags(context.project, run_id=version.run_id, version=version.number, digest=version.digest),
        metadata=tuple(metadata),
        provenance={},
        token=f"{name}/{version.digest}/{deleted}",
    )


def _probe(folder: Path, version: Version) -> None:
    """Request a sample of an artifact's own lists, and one for an unknown user, in a clean process."""
    with closing(sqlite3.connect(f"file:{folder / DATABASE}?mode=ro&immutable=1", uri=True)) as database:
        users = [user for (user,) in database.execute(SAMPLE)]
    requests = [{"user_id": user} for user in [*users, PROBE["user_id"]]]
    for request, answer in zip(requests, load_in_clean_process(folder, requests), strict=True):
        served = (answer.get("model_version"), answer.get("digest"), answer.get("user_id"))
        if served != (version.number, version.digest, request["user_id"]):
            raise IntegrityError(f"The artifact of v{version.number} answers {answer!r} to {request!r}.")
