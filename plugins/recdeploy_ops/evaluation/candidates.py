"""The candidate's files on this machine, and the answers that it must give."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.stored_lists import read_fallback
from recdeploy_ops.domain.events import ArtifactBuilt, DataExtracted, ModelTrained
from recdeploy_ops.evaluation.probes import Expectation, expect_answers
from recdeploy_ops.storage.bundles import fetch_bundle
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext


@dataclass(frozen=True)
class Candidate:
    """A candidate's verified files.

    Attributes:
        extract: folder of the data that it was trained on.
        results: folder of the training's outputs.
        artifact: folder of the artifact.
        digest: the artifact's digest.
        fallback: products and ratings for users outside the model.
        expected: its answers to a sample of users.
    """

    extract: Path
    results: Path
    artifact: Path
    digest: str
    fallback: list[tuple[str, float]]
    expected: Expectation


@contextmanager
def fetch_candidate(context: ReleaseContext) -> Iterator[Candidate]:
    """Download the files of the run's candidate, for the duration of the block.

    Raises:
        MissingInputError: a step has not made its files, or they are gone.
        IntegrityError: a file is not what was recorded.
    """
    release = context.release
    artifact = context.open_bundle(ArtifactBuilt)
    parts = {
        "extract": context.open_bundle(DataExtracted),
        "results": context.open_bundle(ModelTrained),
        "artifact": artifact,
    }
    with workspace() as folder:
        for part, bundle in parts.items():
            fetch_bundle(context.store, bundle, folder / part)
        fallback = read_fallback(folder / "artifact")
        expected = expect_answers(
            folder / "results",
            folder / "extract",
            settings=context.settings,
            version=release.version,
            digest=artifact.digest,
            top_k=release.retrain_params.top_k,
            fallback=fallback,
            seed=release.retrain_params.seed,
        )
        yield Candidate(
            extract=folder / "extract",
            results=folder / "results",
            artifact=folder / "artifact",
            digest=artifact.digest,
            fallback=fallback,
            expected=expected,
        )
