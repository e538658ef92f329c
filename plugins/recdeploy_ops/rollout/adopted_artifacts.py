"""Fetch the artifacts of versions that storage lacks, while the ledger is reconciled with OCI."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import IntegrityError, MissingInputError, StorageError
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.rollout.catalog_artifacts import fetch_foreign, fetch_from_catalog
from recdeploy_ops.rollout.deployable_models import is_deployable
from recdeploy_ops.rollout.unverified_backups import fetch_unverified_backup, find_unverified_backup
from recdeploy_ops.storage.bundles import discard_bundle, measure_files, open_bundle, store_bundle, write_manifest
from recdeploy_ops.storage.keys import adopted_prefix
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.versions import Version
    from recdeploy_ops.storage.bundles import Bundle

log = logging.getLogger(__name__)

RESERVE_BYTES = 64 << 20  # of storage, for the ledger and a release: not used for versions that are in doubt


def fetch_missing(context: ReleaseContext, versions: dict[int, Version]) -> dict[int, Version]:
    """Return the versions, with artifacts that storage lacks fetched from the catalog."""
    return {
        number: version if _is_stored(context, version) else _fetch(context, version)
        for number, version in versions.items()
    }


def _is_stored(context: ReleaseContext, version: Version) -> bool:
    """Return whether storage has a version's artifact with the digest that the ledger or a tag names."""
    if not version.artifact:
        return False
    try:
        open_bundle(context.store, version.artifact, digest=version.digest or None, made_by="adopt_production")
    except (MissingInputError, IntegrityError) as err:
        log.warning("Fetching the artifact of v%s from the catalog: %s", version.number, err.message)
        return False
    return True


def _fetch(context: ReleaseContext, version: Version) -> Version:
    backup = find_unverified_backup(context, version)
    if backup is None and not context.catalog.has_artifact(version.model_id):
        log.warning(
            "The artifact of v%s is neither in storage nor in the catalog: production cannot go back to it.",
            version.number,
        )
        return version
    with workspace() as scratch:
        archive, folder = scratch / "artifact.zip", scratch / "artifact"
        try:
            if backup is not None and not is_deployable(context, version.model_id):
                fetch_unverified_backup(context, backup, folder)
            else:
                _fetch_artifact(context, version, archive, folder)
            bundle = _store(context, version, folder)
        except (IntegrityError, StorageError, OSError) as err:
            if not version.doubt and version.stage is not Stage.REJECTED:
                raise
            if not isinstance(err, IntegrityError):  # which says nothing about the artifact: a disk is full
                where = backup.prefix if backup else "the catalog"
                log.warning("The artifact of v%s is in %s alone: it cannot be stored: %s", version.number, where, err)
                return version
            what = "in a backup that can be used" if backup else "what its tags say"
            log.warning("v%s is not %s; production cannot go back to it: %s", version.number, what, err)
            return replace(version, stage=Stage.REJECTED)
    return replace(version, artifact=bundle.prefix)


def _fetch_artifact(context: ReleaseContext, version: Version, archive: Path, folder: Path) -> None:
    """Fetch a version's artifact from the catalog, and verify its digest if it has one."""
    if version.digest:
        fetch_from_catalog(context, version.model_id, version.digest, archive, folder)
        return
    fetch_foreign(context, version.model_id, archive, folder)
    write_manifest(folder, {"adopted": version.model_id})


def _store(context: ReleaseContext, version: Version, folder: Path) -> Bundle:
    """Store an artifact; what does not fit is removed again, so that there is room for the ledger.

    Raises:
        StorageError: it could not be stored or, if it is in doubt, there would be too little room left.
    """
    parent = adopted_prefix(version.number)
    size, free = sum(measure_files(folder).values()), context.store.free_bytes()
    if version.doubt and free is not None and free < size + RESERVE_BYTES:
        raise StorageError(
            f"{size:,} bytes are needed and {free:,} are free below {context.store.uri}, of which {RESERVE_BYTES:,} "
            "are kept for the ledger and the next release."
        )
    try:
        return store_bundle(context.store, parent, folder)
    except StorageError:
        discard_bundle(context.store, parent, folder)
        raise
