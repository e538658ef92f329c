"""The candidate's files on this machine, and what it must answer."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.artifact import read_fallback
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.evaluation.probes import Expectation, expect_answers
from recdeploy_ops.storage.bundles import fetch_bundle
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recdeploy_ops.domain.ledger import Release
    from recdeploy_ops.releases import Releases


@dataclass(frozen=True)
class Candidate:
    """A candidate's verified files.

    Attributes:
        extract: folder of the data that it was trained on.
        results: folder of what training left.
        artifact: folder of what is served.
        digest: the artifact's digest.
        fallback: products and ratings for users outside the model.
        expected: what it must answer to a sample of users.
    """

    extract: Path
    results: Path
    artifact: Path
    digest: str
    fallback: list[tuple[str, float]]
    expected: Expectation


@contextmanager
def fetch_candidate(releases: Releases, release: Release) -> Iterator[Candidate]:
    """Download a release's files for as long as the block lasts.

    Raises:
        MissingInputError: a step has not made its files, or they are gone.
        IntegrityError: a file is not what was recorded.
    """
    with workspace() as folder:
        digest = ""
        for part, kind in (
            ("extract", Kind.DATA_EXTRACTED),
            ("results", Kind.MODEL_TRAINED),
            ("artifact", Kind.ARTIFACT_BUILT),
        ):
            bundle = releases.bundle(release, kind)
            fetch_bundle(releases.store, bundle, folder / part)
            digest = bundle.digest
        fallback = read_fallback(folder / "artifact")
        expected = expect_answers(
            folder / "results",
            folder / "extract",
            settings=releases.settings,
            version=release.version,
            digest=digest,
            top_k=release.params["top_k"],
            fallback=fallback,
            seed=release.params["seed"],
        )
        yield Candidate(
            extract=folder / "extract",
            results=folder / "results",
            artifact=folder / "artifact",
            digest=digest,
            fallback=fallback,
            expected=expected,
        )
