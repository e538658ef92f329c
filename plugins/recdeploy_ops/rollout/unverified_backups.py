"""Versions that only a backup of the shop's own deployment manager has: files, of which nothing is verified."""

from __future__ import annotations

import logging
import shutil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.archives import UNPACKED_BYTES
from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.versions import Version
from recdeploy_ops.ledger.foreign_state_file import MODEL
from recdeploy_ops.rollout.catalog_artifacts import FOREIGN_MANIFEST
from recdeploy_ops.storage.backups import list_unverified
from recdeploy_ops.storage.bundles import MANIFEST, write_manifest
from recdeploy_ops.storage.keys import BACKUP_ARTIFACT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.storage.backups import UnverifiedBackup
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

SCORE = f"{BACKUP_ARTIFACT}/score.py"
BYPRODUCTS = frozenset({"__pycache__", ".ipynb_checkpoints"})


def find_unverified_versions(
    context: ReleaseContext, versions: Mapping[int, Version], served: str
) -> dict[int, Version]:
    """Return the versions that only such a backup has, by number: of several backups, what the newest has.

    Args:
        context: of the run.
        versions: those of the ledger and the catalog; their numbers are left out.
        served: OCID of the model that production serves, whose backup is left out.
    """
    known = {version.model_id for version in versions.values()} | {served}
    unverified: dict[int, Version] = {}
    for backup in list_unverified(context.store, context.ledger.readable_entries()):
        named = set(MODEL.findall(backup.read_metadata(context.store)))
        if backup.version in versions or SCORE not in backup.files or named & known:
            continue
        unverified[backup.version] = Version(
            number=backup.version,
            stage=Stage.RETIRED,
            run_id="adopted",
            digest="",
            model_id=named.pop() if len(named) == 1 else "",
            artifact="",
            results="",
            unverified_backup=backup.prefix,
        )
    return unverified


def find_unverified_backup(context: ReleaseContext, version: Version) -> UnverifiedBackup | None:
    """Return the backup that a version comes from; None if it does not come from one, or the folder is gone."""
    backups = list_unverified(context.store, context.ledger.readable_entries()) if version.unverified_backup else []
    return next((backup for backup in backups if backup.prefix == version.unverified_backup), None)


def fetch_unverified_backup(
    context: ReleaseContext, backup: UnverifiedBackup, folder: Path, part: str = BACKUP_ARTIFACT
) -> None:
    """Download a part of a backup into a folder, with a manifest of ours over its files as they are.

    Raises:
        IntegrityError: a name of a file is unsafe or used by this project, or they are too large.
    """
    names = _names_of(backup, part)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        target = folder / (FOREIGN_MANIFEST if name == MANIFEST else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(context.store, f"{backup.prefix}/{part}/{name}", target)
    write_manifest(folder, {"adopted": backup.prefix})


def _names_of(backup: UnverifiedBackup, part: str) -> list[str]:
    """Return the names of a part's files that are not byproducts of Python and Jupyter."""
    inside = {name.removeprefix(f"{part}/"): size for name, size in backup.files.items() if name.startswith(f"{part}/")}
    names = [name for name in inside if not BYPRODUCTS.intersection(PurePosixPath(name).parts)]
    unsafe = [name for name in names if name == FOREIGN_MANIFEST or not _is_safe(name)]
    if unsafe:
        raise IntegrityError(f"{backup.prefix}/{part} has files with names that cannot be used: {unsafe[0]!r}.")
    size = sum(inside.values())
    if size > UNPACKED_BYTES:
        raise IntegrityError(f"{backup.prefix}/{part} has {size:,} bytes; at most {UNPACKED_BYTES:,} are read.")
    return names


def _is_safe(name: str) -> bool:
    """Return whether a name stays below the folder on every system: an object's name may have any characters."""
    plain = name.isprintable() and "\\" not in name and not name.startswith("/")
    return plain and "" not in name.split("/") and not {".", ".."}.intersection(name.split("/"))


def _download(store: Store, key: str, target: Path) -> None:
    with store.open(key) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink)
