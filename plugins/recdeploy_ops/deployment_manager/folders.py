"""The notebook's local folders of artifact and results: copies of what storage holds, replaced as a whole.

A folder that holds anything else than such a copy is somebody's own, and is never replaced.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, MissingInputError, SettingsError
from recdeploy_ops.storage.backups import list_backups, require_recorded
from recdeploy_ops.storage.bundles import MANIFEST, fetch_bundle, open_bundle
from recdeploy_ops.storage.keys import BACKUP_ARTIFACT, BACKUP_RESULTS
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.storage.bundles import Bundle
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

# What Python and ADS make beside score.py.
LEFT_BEHIND = frozenset({"__pycache__", ".model-ignore", "test_json_output.json"})


def require_replaceable(target: Path) -> None:
    """Make sure that a folder holds nothing but a copy that this project has put there, or nothing.

    Raises:
        SettingsError: it holds something else, or is a folder that people work in.
    """
    fix = "Pass RecommenderDeploymentManager another artifact_dir or results_dir: a new or an empty folder."
    place = target.resolve()
    for name, own in (("your home folder", Path.home().resolve()), ("the folder that you work in", Path.cwd())):
        if own.is_relative_to(place):
            raise SettingsError(f"{target} is, or holds, {name} ({own}), which is not replaced. {fix}")
    if not place.exists():
        return
    if not place.is_dir():
        raise SettingsError(f"{target} is a file, not a folder. {fix}")
    foreign = _foreign_files(place)
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise SettingsError(
            f"{target} holds {foreign[0]}{more}, which recdeploy has not put there: the folder would be replaced as a "
            f"whole, so it is left as it is. {fix} Or move those files elsewhere."
        )


def fetch_folder(store: Store, bundle: Bundle, target: Path) -> None:
    """Make a local folder hold exactly what a bundle holds, verified on the way.

    Raises:
        SettingsError: the folder holds something of somebody else's.
    """
    require_replaceable(target)
    with workspace() as place:
        fetch_bundle(store, bundle, place / "folder")
        _install(place / "folder", target)


def restore(context: ReleaseContext, version: int, artifact_dir: Path, results_dir: Path) -> str | None:
    """Make the local folders hold a version again: from its newest whole backup, else from where it was built.

    Returns:
        Where it was taken from; None when no whole copy exists, and the folders stay as they are.

    Raises:
        SettingsError: a folder holds something of somebody else's; both stay as they are.
    """
    for target in (artifact_dir, results_dir):
        require_replaceable(target)
    with workspace() as place:
        for number, bundles in enumerate(_places(context, version)):
            parts = place / str(number)
            try:
                for bundle, part in bundles:
                    fetch_bundle(context.store, bundle, parts / part)
            except (MissingInputError, IntegrityError) as err:
                log.warning("%s cannot be used: %s", bundles[0][0].prefix, err)
                continue
            _install(parts / BACKUP_ARTIFACT, artifact_dir)
            _install(parts / BACKUP_RESULTS, results_dir)
            return bundles[0][0].prefix
    return None


def _foreign_files(folder: Path) -> list[str]:
    """Return what a folder holds besides the files of its own manifest."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}
    try:
        manifest: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        listed = {MANIFEST, *manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        listed = set()
    return sorted(name for name in found - listed if not LEFT_BEHIND.intersection(Path(name).parts))


def _places(context: ReleaseContext, version: int) -> Iterator[list[tuple[Bundle, str]]]:
    """Yield where a version may lie, the best first, each with the folder that a bundle belongs into."""
    entries = context.history()
    for backup in reversed(list_backups(context.store)):
        if backup["version"] != version:
            continue
        try:
            require_recorded(backup, entries)
        except IntegrityError as err:
            log.warning("%s", err)
            continue
        yield [(open_bundle(context.store, backup["prefix"], digest=backup["digest"], made_by="backup_production"), "")]
    yield from _where_it_was_built(context, version)


def _where_it_was_built(context: ReleaseContext, version: int) -> Iterator[list[tuple[Bundle, str]]]:
    known = context.refresh().versions.get(version)
    if known is None:
        return
    try:
        place = [
            (
                open_bundle(context.store, known.artifact, digest=known.digest or None, made_by="build_artifact"),
                BACKUP_ARTIFACT,
            )
        ]
        if known.results:
            place.append((open_bundle(context.store, known.results, made_by="run_ads_operator"), BACKUP_RESULTS))
    except (MissingInputError, IntegrityError) as err:
        log.warning("%s cannot be used: %s", known.artifact, err)
        return
    yield place


def _install(source: Path, target: Path) -> None:
    """Exchange a folder for a copy of another, which may be missing: then it is empty."""
    target = target.resolve()  # of a link, what it leads to
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
