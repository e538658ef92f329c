"""The folders under ``backups/``: ours, each committed by its manifest, and those of another deployment manager."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, KeyNotFoundError, MissingInputError, StorageError
from recdeploy_ops.domain.events import ReleaseOpened
from recdeploy_ops.domain.rewritten_states import recorded_backups
from recdeploy_ops.storage.bundles import MANIFEST, open_bundle
from recdeploy_ops.storage.keys import (
    BACKUP_ARTIFACT,
    BACKUP_FILE,
    BACKUP_MANIFEST,
    BACKUP_METADATA,
    BACKUP_VERSION,
    BACKUPS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

LENGTH_OF_TIME = len("YYYYMMDD_HHMMSS")  # in the name of a folder


@dataclass(frozen=True)
class UnverifiedBackup:
    """A folder of files that another deployment manager has left: nothing says what they must be.

    Attributes:
        version: the number in its name.
        prefix: its key prefix, without a trailing slash.
        timestamp: what follows the number in its name.
        files: the size in bytes of each file, by its name below the prefix.
    """

    version: int
    prefix: str
    timestamp: str
    files: Mapping[str, int]

    def read_metadata(self, store: Store) -> str:
        """Return the text of its ``metadata.json``; empty without one."""
        try:
            return store.read(f"{self.prefix}/{BACKUP_METADATA}").decode("utf-8", errors="replace")
        except KeyNotFoundError:
            return ""


def list_unverified(store: Store, entries: Iterable[Entry]) -> list[UnverifiedBackup]:
    """Return the folders of `list_foreign_folders` that have the parts of a backup."""
    return [
        folder
        for folder in list_foreign_folders(store, entries)
        if BACKUP_METADATA in folder.files or any(name.startswith(f"{BACKUP_ARTIFACT}/") for name in folder.files)
    ]


def list_foreign_folders(store: Store, entries: Iterable[Entry]) -> list[UnverifiedBackup]:
    """Return the folders named ``vN_...`` without a manifest, oldest first.

    Args:
        store: the storage root.
        entries: of the ledger: what a killed run of this project left, named after the time when it was opened, is not
            a backup.
    """
    opened = {f"{entry.at:%Y%m%d_%H%M%S}" for entry in entries if isinstance(entry.event, ReleaseOpened)}
    folders: dict[tuple[str, int, str], dict[str, int]] = {}
    for stored in store.list(BACKUPS):
        if match := BACKUP_FILE.fullmatch(stored.key):
            folders.setdefault((match[1], int(match[2]), match[3]), {})[match[4]] = stored.size
    found = [
        UnverifiedBackup(version, prefix, timestamp, files)
        for (prefix, version, timestamp), files in folders.items()
        if version and MANIFEST not in files and timestamp[:LENGTH_OF_TIME] not in opened
    ]
    return sorted(found, key=lambda backup: (backup.timestamp, backup.version))


def list_backups(store: Store) -> list[dict[str, Any]]:
    """Return ``version``, ``prefix``, ``digest`` and the number of ``files`` of each whole backup, oldest first.

    One that cannot be read is logged and left out.
    """
    prefixes = [
        stored.key.removesuffix(f"/{MANIFEST}")
        for stored in store.list(BACKUPS)
        if BACKUP_MANIFEST.fullmatch(stored.key)
    ]
    backups = []
    for prefix in prefixes:
        try:
            bundle = open_bundle(store, prefix, made_by="backup_production")
        except (IntegrityError, MissingInputError, StorageError) as err:
            log.warning("The backup %s cannot be used: %s", prefix, err)
            continue
        version = bundle.facts.get("version")
        if not isinstance(version, int):
            log.warning("The backup %s cannot be used: its manifest names no version.", prefix)
            continue
        backups.append({"version": version, "prefix": prefix, "digest": bundle.digest, "files": len(bundle.files)})
    return sorted(backups, key=lambda backup: backup["prefix"].partition("_")[2])


def list_artifacts(store: Store) -> set[tuple[int, str]]:
    """Return the version and the artifact's digest of each whole backup; only a version that served has one."""
    backups = list_backups(store)
    bundles = [open_bundle(store, backup["prefix"], made_by="backup_production") for backup in backups]
    digests = [bundle.files.get(f"{BACKUP_ARTIFACT}/{MANIFEST}", "") for bundle in bundles]
    return {(backup["version"], digest) for backup, digest in zip(backups, digests, strict=True)}


def highest_backup(store: Store) -> int:
    """Return the highest version number of a folder below ``backups/``, no matter who made it; 0 without any."""
    matches = (BACKUP_VERSION.match(stored.key) for stored in store.list(BACKUPS))
    return max((int(match[1]) for match in matches if match), default=0)


def require_recorded(backup: Mapping[str, Any], entries: Iterable[Entry]) -> None:
    """Refuse a backup from `list_backups` that the ledger does not have, or not with this digest.

    Raises:
        IntegrityError: no entry names it with this digest.
    """
    recorded = recorded_backups(entries)
    digest = recorded.get(backup["prefix"])
    if digest != backup["digest"]:
        what = f"the ledger says {digest}: it was changed" if digest else "the ledger has no such backup"
        raise IntegrityError(f"{backup['prefix']} is not used: its digest is {backup['digest']}, {what}.")
