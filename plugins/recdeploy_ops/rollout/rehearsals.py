"""Proof that a version could be brought back: fetched, verified, loaded in a clean process, asked."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from recdeploy_ops.artifacts.archives import unzip, unzip_artifact, zip_artifact
from recdeploy_ops.artifacts.artifact import DATABASE
from recdeploy_ops.artifacts.sandbox import load_in_clean_process
from recdeploy_ops.domain.errors import CloudRefusedError, IntegrityError, MissingInputError, StorageError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.oci_clients.models import NewModel
from recdeploy_ops.releases import RESULTS_METADATA
from recdeploy_ops.storage.backups import ARTIFACT, FOLDER, list_backups, require_recorded
from recdeploy_ops.storage.bundles import MANIFEST, fetch_bundle, open_bundle, sha256_of
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from recdeploy_ops.domain.ledger import Version
    from recdeploy_ops.domain.records import CatalogModel
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.storage.bundles import Bundle

log = logging.getLogger(__name__)

SAMPLE = "SELECT user_id FROM lists LIMIT 20"


def rehearse(releases: Releases, run_id: str, version: Version) -> None:
    """Prove that a version can be brought back, and record how long that took.

    Where the catalog's model is gone it is registered again from storage or from a backup first.

    Args:
        releases: what the steps work with.
        run_id: the run that may need the version.
        version: the one to bring back.

    Raises:
        IntegrityError: the version's artifact is not the one that was recorded, or does not answer.
        StorageError: there is no whole copy of it anywhere.
    """
    started = time.monotonic()
    model = find_or_restore(releases, run_id, version)
    with workspace() as place:
        _try_registered(releases, version, model.model_id, place)
    seconds = round(time.monotonic() - started, 1)
    done = "fetched, verified, loaded and asked" if version.digest else "fetched and compared, but not loaded"
    facts = {"version": version.number, "digest": version.digest, "model_id": model.model_id}
    known = releases.release(run_id).get(Kind.ROLLBACK_REHEARSED)
    if known is None or {**known, "seconds": None} != {**facts, "seconds": None}:
        releases.record(Kind.ROLLBACK_REHEARSED, run_id, {**facts, "seconds": seconds})
    log.info("v%s can be brought back: %s in %s s.", version.number, done, seconds)


def require_way_back(releases: Releases, version: Version) -> None:
    """Fetch, verify, load and ask a version as a rehearsal does, before anything is begun: nothing is recorded.

    Raises:
        IntegrityError: the version's artifact is not the one that was recorded, or does not answer.
        StorageError: there is no whole copy of it anywhere.
    """
    model = _find(releases, version)
    with workspace() as place:
        if model is not None:
            _try_registered(releases, version, model.model_id, place)
            return
        _fetch_copy(releases, version, place / "artifact")
        if version.digest:
            _ask(place / "artifact", version)


def fetch_from_catalog(releases: Releases, model_id: str, digest: str, archive: Path, folder: Path) -> None:
    """Download a model's artifact and verify that it is the one with this digest.

    Raises:
        IntegrityError: it is another.
    """
    releases.catalog.download_artifact(model_id, archive)
    found = unzip_artifact(archive, folder)
    if found != digest:
        raise IntegrityError(
            f"The artifact of the model {model_id} in the catalog has the digest {found}, recorded is {digest}: it was "
            "exchanged. Delete that model in the OCI console; it is registered again from storage."
        )


def find_or_restore(releases: Releases, run_id: str, version: Version) -> CatalogModel:
    """Return a version's catalog model; registered again from storage or a backup when it is gone."""
    model = _find(releases, version)
    if model is not None:
        return model
    with workspace() as place:
        folder, archive = place / "artifact", place / "artifact.zip"
        _fetch_copy(releases, version, folder)
        if not version.digest:
            (folder / MANIFEST).unlink()  # ours: the project that made it knows no such file
        zip_artifact(folder, archive)
        found = releases.look_up(version.number, version.digest)
        model = found.model or releases.catalog.create(_describe(releases, version, deleted=found.deleted))
        if not releases.catalog.has_artifact(model.model_id):
            releases.catalog.upload_artifact(model.model_id, archive)
    facts = {"version": version.number, "model_id": model.model_id, "replaces": version.model_id}
    releases.record(Kind.MODEL_RESTORED, run_id, facts)
    log.warning("The catalog's model of v%s was gone: it is registered again as %s.", version.number, model.model_id)
    return model


def _try_registered(releases: Releases, version: Version, model_id: str, place: Path) -> None:
    """Fetch a version's artifact from the catalog and verify it; load and ask it where this project made it."""
    folder, archive = place / "artifact", place / "artifact.zip"
    if version.digest:
        fetch_from_catalog(releases, model_id, version.digest, archive, folder)
        _ask(folder, version)
    else:
        _compare_with_stored(releases, version, model_id, archive, folder)


def _compare_with_stored(releases: Releases, version: Version, model_id: str, archive: Path, folder: Path) -> None:
    """Rehearse a version of another project: its score.py may need packages that only its deployment has."""
    releases.catalog.download_artifact(model_id, archive)
    found = {name: sha256_of(folder / name) for name in unzip(archive, folder) if name != MANIFEST}
    if not any(copy.files == found for copy in _copies(releases, version)):
        raise IntegrityError(f"The artifact of the model {model_id} is not the one that was adopted: it was exchanged.")
    log.warning("v%s was not made by this project: its score.py is not loaded here.", version.number)


def _find(releases: Releases, version: Version) -> CatalogModel | None:
    try:
        model = releases.catalog.get(version.model_id)
    except CloudRefusedError as err:
        if err.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    return model if model.lifecycle_state == "ACTIVE" and releases.catalog.has_artifact(model.model_id) else None


def _fetch_copy(releases: Releases, version: Version, folder: Path) -> None:
    """Fetch a version's artifact from the first place that has a whole copy."""
    for copy in _copies(releases, version):
        try:
            fetch_bundle(releases.store, copy, folder)
        except IntegrityError as err:
            log.warning("%s cannot be used: %s", copy.prefix, err)
            continue
        return
    raise StorageError(
        f"Rollback failed - backup not found: v{version.number} is neither in the Model Catalog nor whole in "
        f"{version.artifact or 'no folder of its own'} or any backup below {releases.store.uri}/{FOLDER}. Its backup "
        "directory may have been deleted."
    )


def _copies(releases: Releases, version: Version) -> Iterator[Bundle]:
    """Yield where a version's artifact may lie, its manifest as recorded: where it was built, then its backups."""
    backups = [found for found in reversed(list_backups(releases.store)) if found["version"] == version.number]
    for backup in [None, *backups]:
        place = f"{backup['prefix']}/{ARTIFACT}" if backup else version.artifact
        try:
            digest = version.digest or (_recorded_digest(releases, backup) if backup else None)
            yield open_bundle(releases.store, place, digest=digest, made_by="backup_production")
        except (MissingInputError, IntegrityError, StorageError) as err:
            log.warning("%s cannot be used: %s", place, err)


def _recorded_digest(releases: Releases, backup: Mapping[str, Any]) -> str:
    """Return the digest of the artifact in a backup that the ledger names, for a version that has none of its own."""
    require_recorded(backup, releases.ledger.entries())
    whole = open_bundle(releases.store, backup["prefix"], digest=backup["digest"], made_by="backup_production")
    return whole.files[f"{ARTIFACT}/{MANIFEST}"]


def _describe(releases: Releases, version: Version, *, deleted: int) -> NewModel:
    name = releases.model_name(version.number)
    metadata = []
    if version.digest:
        metadata.append(("digest", version.digest, "sha256 of the artifact's manifest.json", "other"))
    if version.results:
        metadata.append((RESULTS_METADATA, version.results, "where its training results are stored", "other"))
    return NewModel(
        name=name,
        description=f"Product recommender v{version.number}, registered again from storage",
        version_set=releases.settings.project_name,
        version_label=f"v{version.number}",
        tags=releases.tags(version.run_id, version.number, version.digest),
        metadata=tuple(metadata),
        provenance={},
        token=f"{name}/{version.digest}/{deleted}",
    )


def _ask(folder: Path, version: Version) -> None:
    with closing(sqlite3.connect(f"file:{folder / DATABASE}?mode=ro&immutable=1", uri=True)) as database:
        users = [user for (user,) in database.execute(SAMPLE)]
    requests = [{"user_id": user} for user in [*users, "recdeploy-probe"]]
    for request, answer in zip(requests, load_in_clean_process(folder, requests), strict=True):
        served = (answer.get("model_version"), answer.get("digest"), answer.get("user_id"))
        if served != (version.number, version.digest, request["user_id"]):
            raise IntegrityError(f"The artifact of v{version.number} answers {answer!r} to {request!r}.")
