"""The notebook's local folders of artifact and results: copies of what storage holds, replaced as a whole."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from recdeploy_ops.backups import list_backups
from recdeploy_ops.bundles import fetch_bundle, open_bundle
from recdeploy_ops.domain.errors import IntegrityError, MissingInputError
from recdeploy_ops.steps.backup_production import ARTIFACT, RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recdeploy_ops.bundles import Bundle
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def fetch_folder(releases: Releases, bundle: Bundle, target: Path) -> None:
    """Make a local folder hold exactly what a bundle holds, verified on the way."""
    with tempfile.TemporaryDirectory(prefix="recdeploy-") as name:
        fetch_bundle(releases.store, bundle, Path(name, "folder"))
        _install(Path(name, "folder"), target)


def restore(releases: Releases, version: int, artifact_dir: Path, results_dir: Path) -> str | None:
    """Make the local folders hold a version again: from its newest whole backup, else from where it was built.

    Returns:
        Where it was taken from; None when there is no whole copy anywhere, and the folders stay as they are.
    """
    with tempfile.TemporaryDirectory(prefix="recdeploy-") as name:
        for number, place in enumerate(_places(releases, version)):
            parts = Path(name, str(number))
            try:
                for bundle, part in place:
                    fetch_bundle(releases.store, bundle, parts / part)
            except (MissingInputError, IntegrityError) as err:
                log.warning("%s cannot be used: %s", place[0][0].prefix, err)
                continue
            _install(parts / ARTIFACT, artifact_dir)
            _install(parts / RESULTS, results_dir)
            return place[0][0].prefix
    return None


def _places(releases: Releases, version: int) -> Iterator[list[tuple[Bundle, str]]]:
    """Yield where a version may lie, the best first, each with the folder that a bundle belongs into."""
    for backup in reversed(list_backups(releases.store)):
        if backup["version"] == version:
            opened = open_bundle(releases.store, backup["prefix"], digest=backup["digest"], made_by="backup_production")
            yield [(opened, "")]
    known = releases.ledger.book().versions.get(version)
    if known is None:
        return
    try:
        place = [
            (
                open_bundle(releases.store, known.artifact, digest=known.digest or None, made_by="build_artifact"),
                ARTIFACT,
            )
        ]
        if known.results:
            place.append((open_bundle(releases.store, known.results, made_by="run_ads_operator"), RESULTS))
    except (MissingInputError, IntegrityError) as err:
        log.warning("%s cannot be used: %s", known.artifact, err)
        return
    yield place


def _install(source: Path, target: Path) -> None:
    """Exchange a folder for a copy of another, which may be missing: then it is empty."""
    new, old = (target.with_name(f".{target.name}.{suffix}") for suffix in ("new", "old"))
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
