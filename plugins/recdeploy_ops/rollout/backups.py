"""Copy what production serves to backups/v{N}_{YYYYMMDD_HHMMSS}/, verified."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from recdeploy_ops.domain.errors import (
    CloudRefusedError,
    IntegrityError,
    KeyExistsError,
    KeyNotFoundError,
    MissingInputError,
    StorageError,
)
from recdeploy_ops.domain.events import ProductionBackedUp
from recdeploy_ops.domain.remedies import Remedy, TryAgain
from recdeploy_ops.ledger.state_file import state_of_serving
from recdeploy_ops.rollout.catalog_artifacts import fetch_foreign, fetch_from_catalog
from recdeploy_ops.storage.backups import list_backups, require_recorded
from recdeploy_ops.storage.bundles import MANIFEST, canonical_json, open_bundle, parse_manifest, verify_bundle
from recdeploy_ops.storage.keys import BACKUP_ARTIFACT, BACKUP_METADATA, BACKUP_RESULTS, backup_prefix
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.versions import Serving, Version
    from recdeploy_ops.storage.bundles import Bundle
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

RESTORE_OBJECT = TryAgain("Restore that object from an earlier backup (make backups)")

T = TypeVar("T")


def back_up(context: ReleaseContext, serving: Serving) -> str:
    """Copy what production serves to ``backups/``, record that, and return the backup's prefix.

    Every source is compared with its manifest before the copy, and every copy that is not a link afterwards. The
    backup's manifest is written last: without it, the folder is not a backup.

    Args:
        context: of the run that makes the backup.
        serving: what production serves.

    Raises:
        StorageError: its files are gone.
        IntegrityError: its files were changed; says which and what to do.
    """
    version = context.state.versions[serving.version]
    prefix = backup_prefix(serving.version, datetime.fromisoformat(context.release.last_opened_at))
    files = _copy_artifact(context, version, f"{prefix}/{BACKUP_ARTIFACT}")
    if version.results:
        files |= _copy_results(context, version, f"{prefix}/{BACKUP_RESULTS}")
    metadata = canonical_json({**state_of_serving(serving), "run_id": version.run_id})
    files[f"{prefix}/{BACKUP_METADATA}"] = hashlib.sha256(metadata).hexdigest()
    _create(context.store, f"{prefix}/{BACKUP_METADATA}", metadata)
    listed = {key.removeprefix(f"{prefix}/"): sha256 for key, sha256 in files.items()}
    content = canonical_json({"version": serving.version, "files": listed})
    _create(context.store, f"{prefix}/{MANIFEST}", content)
    context.record(ProductionBackedUp(serving.version, prefix, hashlib.sha256(content).hexdigest()))
    log.info("v%s is backed up under %s/%s (%s files)", serving.version, context.store.uri, prefix, len(files))
    return prefix


def is_backed_up(context: ReleaseContext, serving: Serving) -> bool:
    """Return whether storage has a backup of the version that the ledger records."""
    entries = context.history()
    for backup in list_backups(context.store):
        with suppress(IntegrityError):
            require_recorded(backup, entries)
            if backup["version"] == serving.version:
                return True
    return False


def _copy_artifact(context: ReleaseContext, version: Version, target: str) -> dict[str, str]:
    """Copy the stored artifact, else the one in the Model Catalog; return the sha256 of each new key."""
    try:
        return _copy(context.store, _open(context, version, version.artifact), target)
    except (IntegrityError, StorageError) as err:
        log.warning(
            "The stored artifact of v%s is damaged: copying the one in the catalog instead: %s", version.number, err
        )
        damage = err
    try:
        with workspace() as scratch:
            return _upload(context.store, _fetch_registered(context, version, scratch), target)
    except (CloudRefusedError, KeyNotFoundError, IntegrityError) as err:
        raise IntegrityError(
            f"v{version.number} is in production and cannot be backed up: {damage.message} The Model Catalog does not "
            f"have it whole either: {err.message}",
            RESTORE_OBJECT,
        ) from err


def _copy_results(context: ReleaseContext, version: Version, target: str) -> dict[str, str]:
    try:
        return _copy(context.store, _open(context, version, version.results), target)
    except IntegrityError as err:
        raise IntegrityError(
            f"The results of v{version.number}, which is in production, cannot be backed up: {err.message} The Model "
            "Catalog does not have them.",
            RESTORE_OBJECT,
        ) from err


def _copy(store: Store, source: Bundle, target: str) -> dict[str, str]:
    """Copy a bundle, verified before and after; return the sha256 of each new key."""
    verify_bundle(store, source)
    copied, written = {}, []
    for name, sha256 in {**source.files, MANIFEST: source.digest}.items():
        key = f"{target}/{name}"
        if _write(store, key, partial(store.copy, source.key(name), key)):
            written.append(name)
        copied[key] = sha256
    verify_bundle(store, replace(source, prefix=target, files={**source.files, MANIFEST: source.digest}), written)
    return copied


def _upload(store: Store, folder: Path, target: str) -> dict[str, str]:
    """Store a local folder with its manifest, verified before and after; return the sha256 of each new key."""
    content = (folder / MANIFEST).read_bytes()
    bundle = parse_manifest(target, content)
    for name, sha256 in bundle.files.items():
        _write(store, bundle.key(name), partial(store.upload, bundle.key(name), folder / name, sha256))
    _create(store, bundle.key(MANIFEST), content)
    verify_bundle(store, bundle)
    return {**{bundle.key(name): sha256 for name, sha256 in bundle.files.items()}, bundle.key(MANIFEST): bundle.digest}


def _create(store: Store, key: str, content: bytes) -> None:
    """Store a small file and verify it by reading it back."""
    _write(store, key, partial(store.create, key, content))
    if store.read(key) != content:
        raise IntegrityError(f"{store.uri}/{key} was written, but reads back with other content.", TryAgain())


def _write(store: Store, key: str, write: Callable[[], T]) -> T:
    """Write a file of a backup; replace what an unfinished try left there, or what was damaged."""
    try:
        return write()
    except KeyExistsError:
        log.warning("%s/%s has unexpected content: writing it again", store.uri, key)
        store.delete(key)
        return write()


def _fetch_registered(context: ReleaseContext, version: Version, scratch: Path) -> Path:
    """Fetch the artifact from the Model Catalog and return its folder, with the recorded manifest."""
    archive, folder = scratch / "artifact.zip", scratch / "artifact"
    if version.digest:
        fetch_from_catalog(context, version.model_id, version.digest, archive, folder)
        return folder
    fetch_foreign(context, version.model_id, archive, folder)
    _open(context, version, version.artifact)
    (folder / MANIFEST).write_bytes(context.store.read(f"{version.artifact}/{MANIFEST}"))
    return folder


def _open(context: ReleaseContext, version: Version, prefix: str) -> Bundle:
    """Open the artifact or the results of a version, and compare the manifest with the folder's name.

    The ledger does not record the digest of results: only the folder's name has it.
    """
    try:
        digest = version.digest or None if prefix == version.artifact else None
        bundle = open_bundle(context.store, prefix, digest=digest, made_by="backup_production")
    except MissingInputError as err:
        raise StorageError(
            f"v{version.number} is in production, but its files under {context.store.uri}/{prefix} are gone: it "
            "cannot be restored.",
            Remedy("Restore them from a backup, or let recommender_adopt fetch them from the catalog"),
        ) from err
    if not bundle.digest.startswith(PurePosixPath(prefix).name):
        raise IntegrityError(
            f"{context.store.uri}/{prefix}/{MANIFEST} has the sha256 {bundle.digest}, not the one that its folder is "
            "named after: it was changed after it was written."
        )
    return bundle
