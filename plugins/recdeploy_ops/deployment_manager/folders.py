"""The notebook's local folders for artifact and results: copies from storage, replaced as a whole.

A folder with any other file is never replaced.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, MissingInputError, SettingsError
from recdeploy_ops.rollout.unverified_backups import fetch_unverified_backup
from recdeploy_ops.storage.backups import list_backups, list_unverified, require_recorded
from recdeploy_ops.storage.bundles import MANIFEST, fetch_bundle, open_bundle
from recdeploy_ops.storage.keys import BACKUP_ARTIFACT, BACKUP_RESULTS
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.versions import Version
    from recdeploy_ops.storage.backups import UnverifiedBackup
    from recdeploy_ops.storage.bundles import Bundle
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

Fetch = Callable[[Path], None]  # into a folder
# Files that Python and ADS create beside score.py.
BYPRODUCTS = frozenset({"__pycache__", ".model-ignore", "test_json_output.json"})


def require_replaceable(target: Path) -> None:
    """Refuse to replace a folder unless it is missing, empty, or a copy that this project made.

    Raises:
        SettingsError: it has other files, or contains the home folder or the working directory.
    """
    fix = "Pass RecommenderDeploymentManager another artifact_dir or results_dir: a new or an empty folder."
    folder = target.resolve()
    for name, own in (("your home folder", Path.home().resolve()), ("your working directory", Path.cwd())):
        if own.is_relative_to(folder):
            raise SettingsError(f"{target} is, or contains, {name} ({own}), which is not replaced. {fix}")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise SettingsError(f"{target} is a file, not a folder. {fix}")
    foreign = _foreign_files(folder)
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise SettingsError(
            f"{target} contains {foreign[0]}{more}, which recdeploy did not write there. The folder would be replaced "
            f"as a whole, so it was not changed. {fix} Or move those files elsewhere."
        )


def fetch_folder(store: Store, bundle: Bundle, target: Path) -> None:
    """Replace a local folder by the verified files of a bundle.

    Raises:
        SettingsError: the folder has other files.
    """
    require_replaceable(target)
    with workspace() as scratch:
        fetch_bundle(store, bundle, scratch / "folder")
        _install(scratch / "folder", target)


def restore(context: ReleaseContext, version: int, artifact_dir: Path, results_dir: Path) -> str | None:
    """Replace the local folders by a version: from its newest undamaged backup, else from where it was built.

    Of a version that this project did not make, a backup of another manager is restored too, as it is.

    Returns:
        The key prefix of the copy; None if no undamaged copy exists, and the folders stay as they are.

    Raises:
        SettingsError: a folder has other files; both stay as they are.
    """
    for target in (artifact_dir, results_dir):
        require_replaceable(target)
    with workspace() as scratch:
        for number, (prefix, fetch) in enumerate(_find_copies(context, version)):
            parts = scratch / str(number)
            try:
                fetch(parts)
            except (MissingInputError, IntegrityError) as err:
                log.warning("%s cannot be used: %s", prefix, err)
                continue
            _install(parts / BACKUP_ARTIFACT, artifact_dir)
            _install(parts / BACKUP_RESULTS, results_dir)
            return prefix
    return None


def _foreign_files(folder: Path) -> list[str]:
    """Return the files of a folder that its manifest does not list."""
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}
    try:
        manifest: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        listed = {MANIFEST, *manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        listed = set()
    return sorted(name for name in present - listed if not BYPRODUCTS.intersection(Path(name).parts))


def _find_copies(context: ReleaseContext, version: int) -> Iterator[tuple[str, Fetch]]:
    """Yield the copies of a version, the preferred first: its prefix, and what fetches its parts into a folder."""
    known = context.refresh().versions.get(version)
    entries = context.history()
    for backup in reversed(list_backups(context.store)):
        if backup["version"] != version:
            continue
        try:
            require_recorded(backup, entries)
        except IntegrityError as err:
            log.warning("%s", err)
            continue
        bundle = open_bundle(context.store, backup["prefix"], digest=backup["digest"], made_by="backup_production")
        yield bundle.prefix, partial(_fetch, context, [(bundle, "")])
    if known is None or not known.digest:
        for unverified in reversed(list_unverified(context.store, entries)):
            if unverified.version == version:
                yield unverified.prefix, partial(_fetch_unverified, context, unverified)
    if known is not None:
        yield from _find_original(context, known)


def _find_original(context: ReleaseContext, known: Version) -> Iterator[tuple[str, Fetch]]:
    try:
        digest = known.digest or None
        bundles = [
            (open_bundle(context.store, known.artifact, digest=digest, made_by="build_artifact"), BACKUP_ARTIFACT)
        ]
        if known.results:
            bundles.append((open_bundle(context.store, known.results, made_by="run_ads_operator"), BACKUP_RESULTS))
    except (MissingInputError, IntegrityError) as err:
        log.warning("%s cannot be used: %s", known.artifact, err)
        return
    yield known.artifact, partial(_fetch, context, bundles)


def _fetch(context: ReleaseContext, bundles: list[tuple[Bundle, str]], folder: Path) -> None:
    for bundle, part in bundles:
        fetch_bundle(context.store, bundle, folder / part)


def _fetch_unverified(context: ReleaseContext, backup: UnverifiedBackup, folder: Path) -> None:
    for part in (BACKUP_ARTIFACT, BACKUP_RESULTS):
        fetch_unverified_backup(context, backup, folder / part, part)
    log.warning("%s was made by another manager: nothing verifies that its files are what served.", backup.prefix)


def _install(source: Path, target: Path) -> None:
    """Replace a folder by a copy of another one; if that is missing, by an empty folder."""
    target = target.resolve()  # a link stays; the folder that it points to is replaced
    new, old = (target.with_name(f".{target.name}.recdeploy-{suffix}") for suffix in ("new", "old"))
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    new.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, new)
    else:
        new.mkdir()
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
