"""The copies of a version's artifact in storage: where it was built, and its backups."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, MissingInputError, StorageError
from recdeploy_ops.storage.backups import list_backups, require_recorded
from recdeploy_ops.storage.bundles import MANIFEST, fetch_bundle, open_bundle
from recdeploy_ops.storage.keys import BACKUP_ARTIFACT, BACKUPS, names_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.versions import Version
    from recdeploy_ops.storage.bundles import Bundle

log = logging.getLogger(__name__)


def fetch_copy(context: ReleaseContext, version: Version, folder: Path) -> None:
    """Fetch a version's artifact from its first undamaged copy.

    Raises:
        StorageError: no undamaged copy exists.
    """
    for copy in find_copies(context, version):
        try:
            fetch_bundle(context.store, copy, folder)
        except IntegrityError as err:
            log.warning("%s cannot be used: %s", copy.prefix, err)
            continue
        return
    raise StorageError(
        f"Rollback failed - backup not found: v{version.number} is not in the Model Catalog, and neither "
        f"{version.artifact or 'a folder of its own'} nor any backup below {context.store.uri}/{BACKUPS} has an "
        "undamaged copy. Its backup directory may have been deleted."
    )


def find_copies(context: ReleaseContext, version: Version) -> Iterator[Bundle]:
    """Yield the copies of a version's artifact whose manifest is as recorded: where it was built, then its backups."""
    backups = [backup for backup in reversed(list_backups(context.store)) if backup["version"] == version.number]
    for backup in [None, *backups]:
        prefix = f"{backup['prefix']}/{BACKUP_ARTIFACT}" if backup else version.artifact
        try:
            digest = version.digest or (_recorded_digest(context, backup) if backup else None)
            bundle = open_bundle(context.store, prefix, digest=digest, made_by="backup_production")
            if digest is None and not names_bundle(prefix, bundle.digest):
                raise IntegrityError(f"{prefix}/{MANIFEST} is not the one that was adopted: it was changed.")
            yield bundle
        except (MissingInputError, IntegrityError, StorageError) as err:
            log.warning("%s cannot be used: %s", prefix, err)


def _recorded_digest(context: ReleaseContext, backup: Mapping[str, Any]) -> str:
    """Return the digest of the artifact in a recorded backup, for a version that does not have a digest."""
    require_recorded(backup, context.history())
    bundle = open_bundle(context.store, backup["prefix"], digest=backup["digest"], made_by="backup_production")
    return bundle.files[f"{BACKUP_ARTIFACT}/{MANIFEST}"]
