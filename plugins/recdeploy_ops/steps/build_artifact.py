"""Step 6: build the serving artifact; the same input gives the same bytes."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts import artifact
from recdeploy_ops.domain.events import ArtifactBuilt, DataExtracted, ModelTrained
from recdeploy_ops.rollout.registry import find_registration, highest_version
from recdeploy_ops.storage.bundles import fetch_bundle, store_bundle
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome

log = logging.getLogger(__name__)


def advance(context: ReleaseContext) -> Outcome:
    """Build the artifact of the release's version.

    A registered version never changes: if a retrained one differs, the release continues with a new version number. The
    catalog is read too: an earlier try may have been killed between registering and recording.
    """
    release = context.confirm_lock()
    extract, results = context.open_bundle(DataExtracted), context.open_bundle(ModelTrained)
    with workspace() as folder:
        fetch_bundle(context.store, extract, folder / "extract")
        fetch_bundle(context.store, results, folder / "results")

        def build(version: int) -> str:
            shutil.rmtree(folder / "artifact", ignore_errors=True)
            return artifact.build_artifact(
                folder / "results",
                folder / "extract",
                folder / "artifact",
                settings=context.settings,
                version=version,
                top_k=release.retrain_params.top_k,
            )

        version = release.version
        digest = build(version)
        if _is_taken(context, version, digest):
            version = highest_version(context) + 1
            log.warning("v%s is registered with other content: the release continues as v%s.", release.version, version)
            digest = build(version)
        bundle = store_bundle(context.store, context.prefix("artifact"), folder / "artifact")
    context.record(ArtifactBuilt(prefix=bundle.prefix, digest=digest, version=version))
    return {"prefix": bundle.prefix, "digest": digest, "version": version}


def _is_taken(context: ReleaseContext, version: int, digest: str) -> bool:
    """Return whether a version is registered with other content."""
    registered = context.state.versions.get(version)
    if registered:
        return registered.digest != digest
    registration = find_registration(context, version, digest)
    return not registration.models and registration.other is not None
