"""Step 6: the serving artifact, the same bytes for the same input."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.artifact import build_artifact
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.storage.bundles import fetch_bundle, store_bundle
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str) -> Outcome:
    """Build the artifact of the release's version.

    A version that was registered keeps its artifact for ever: when a retrained one differs, the release goes
    on with a new version number. The catalog is asked too: a try may have been killed before its entry.
    """
    release = releases.release(run_id)
    extract = releases.bundle(release, Kind.DATA_EXTRACTED)
    results = releases.bundle(release, Kind.MODEL_TRAINED)
    with workspace() as folder:
        fetch_bundle(releases.store, extract, folder / "extract")
        fetch_bundle(releases.store, results, folder / "results")

        def build(version: int) -> str:
            shutil.rmtree(folder / "artifact", ignore_errors=True)
            (folder / "artifact").mkdir()
            return build_artifact(
                folder / "results",
                folder / "extract",
                folder / "artifact",
                settings=releases.settings,
                version=version,
                top_k=release.params["top_k"],
            )

        version = release.version
        digest = build(version)
        if _is_taken(releases, version, digest):
            version = max(releases.ledger.book().highest_version, releases.highest_version_in_catalog()) + 1
            log.warning("v%s is registered with other content: this becomes v%s.", release.version, version)
            digest = build(version)
        bundle = store_bundle(releases.store, releases.folder(run_id, "artifact"), folder / "artifact")
    facts = {"prefix": bundle.prefix, "digest": digest, "version": version}
    releases.record(Kind.ARTIFACT_BUILT, run_id, facts)
    return facts


def _is_taken(releases: Releases, version: int, digest: str) -> bool:
    """Return whether a version is registered with other content."""
    registered = releases.ledger.book().versions.get(version)
    if registered:
        return registered.digest != digest
    found = releases.look_up(version, digest)
    return found.model is None and found.other is not None
