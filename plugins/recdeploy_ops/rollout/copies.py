"""The copies of a version's artifact in storage: where it was built, and its backups."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, MissingInputError, StorageError
from recdeploy_ops.storage.backups import list_backups, require_recorded
from recdeploy_ops.storage.bundles import MANIFEST, fetch_bundle, open_bundle
from recdeploy_ops.storage.keys import BACKUP_ARTIFACT, BACKUPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.versions import Version
    from recdeploy_ops.storage.bundles import Bundle

log = logging.getLogger(__name__)


def fetch_copy(context: ReleaseContext, version: Version, folder: Path) -> None:
    """Fetch a version's artifact from the first place that has a whole copy.

    Raises:
        StorageError: no whole copy exists.
    """
    for copy in find_copies(context, version):
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


def find_copies(context: ReleaseContext, version: Version) -> Iterator[Bundle]:
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
