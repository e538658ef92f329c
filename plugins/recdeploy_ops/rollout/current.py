"""``current/manifest.json``: the pointer to the current artifact and results."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, KeyNotFoundError, StorageError
from recdeploy_ops.domain.remedies import Remedy, TryAgain
from recdeploy_ops.storage.bundles import canonical_json
from recdeploy_ops.storage.documents import read_object
from recdeploy_ops.storage.keys import BACKUP_ARTIFACT, BACKUP_RESULTS, CURRENT

if TYPE_CHECKING:
    from recdeploy_ops.domain.versions import Version
    from recdeploy_ops.storage.stores import Store


log = logging.getLogger(__name__)


def make_current(store: Store, version: Version, *, required: bool = True) -> None:
    """Make a version's artifact and results the current ones, in one atomic write.

    Args:
        store: the storage root.
        version: the one that serves.
        required: whether a failure is an error; after a rollback it is only logged.

    Raises:
        StorageError: ``current/manifest.json`` cannot be written.
    """
    value = {
        "version": version.number,
        "digest": version.digest,
        BACKUP_ARTIFACT: version.artifact,
        BACKUP_RESULTS: version.results,
    }
    try:
        store.replace(CURRENT, canonical_json(value))
    except StorageError as err:
        failed = StorageError(
            f"{store.uri}/{CURRENT}, which names the current artifact, cannot be written: {err.message}",
            TryAgain("Move away what is stored there"),
        )
        if required:
            raise failed from err
        log.warning("%s", failed)


def read_current(store: Store) -> dict[str, Any] | None:
    """Return the pointer's content, or None if it does not exist.

    Raises:
        IntegrityError: the pointer is not a JSON object.
    """
    try:
        return read_object(store, CURRENT)
    except KeyNotFoundError:
        return None
    except IntegrityError as err:
        raise IntegrityError(err.message, Remedy("Delete it; it will be written again")) from err
