"""What production must answer: a sample of the lists of the artifact that it serves, read where it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.artifact import DATABASE, FALLBACK
from recdeploy_ops.artifacts.stored_lists import read_fallback, sample_lists
from recdeploy_ops.domain.errors import IntegrityError, MissingInputError
from recdeploy_ops.domain.events import ArtifactBuilt
from recdeploy_ops.evaluation.probes import Expectation
from recdeploy_ops.storage.bundles import fetch_bundle, open_bundle
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.versions import Version


def expect_served(context: ReleaseContext, version: Version, *, known: int, unknown: int, seed: int) -> Expectation:
    """Draw users with the lists that a version's artifact has for them, and ids that no shop has.

    Args:
        context: of any run.
        version: that production serves.
        known: how many of its users; fewer if it has fewer.
        unknown: how many other ids.
        seed: the same seed draws the same users.

    Raises:
        IntegrityError: its artifact is damaged, or was not made by this project.
        MissingInputError: its artifact is gone.
    """
    if not version.digest:
        raise IntegrityError(f"v{version.number} was not made by this project: its lists are not known.")
    bundle = open_bundle(context.store, version.artifact, digest=version.digest, made_by=ArtifactBuilt.task)
    top_k = bundle.facts.get("top_k")
    if not isinstance(top_k, int):
        raise IntegrityError(f"The artifact of v{version.number} does not say how long its lists are.")
    with workspace() as folder:
        fetch_bundle(context.store, bundle, folder, [DATABASE, FALLBACK])
        return Expectation(
            version=version.number,
            digest=version.digest,
            top_k=top_k,
            known=sample_lists(folder, known, seed=seed),
            unknown=tuple(f"recdeploy-nobody-{seed}-{number}" for number in range(unknown)),
            fallback=tuple(read_fallback(folder)),
        )


UNKNOWN_LISTS = (IntegrityError, MissingInputError)  # why production can only be probed, and not compared
