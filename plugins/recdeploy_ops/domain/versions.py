"""A model version, and what production was verified to serve."""

from __future__ import annotations

from dataclasses import dataclass, replace

from recdeploy_ops.domain.stages import Stage


@dataclass(frozen=True)
class Serving:
    """What a production deployment was verified to serve.

    Attributes:
        deployment_id: OCID of the model deployment.
        url: its URL, without ``/predict``.
        model_id: OCID of the catalog model.
        version: the recommender's version number.
        digest: the digest it answers with; empty for a version that this project did not make.
        since: when that was verified, ISO 8601.
    """

    deployment_id: str
    url: str
    model_id: str
    version: int
    digest: str
    since: str


@dataclass(frozen=True)
class Version:
    """One model version, as far as the ledger knows it.

    A version that another project made has no digest: a deployment that serves it is known by the model id alone.

    Attributes:
        number: 1, 2, 3, ...
        stage: its stage.
        run_id: the release that made it.
        digest: the artifact's digest; empty for a version that this project did not make.
        model_id: OCID in the Model Catalog.
        artifact: storage prefix of the artifact.
        results: storage prefix of the training results; empty when there are none.
        known_by_tags: whether only its tags in the Model Catalog say that it ever served.
        unverified_backup: the folder of another deployment manager that alone says that it served, below the storage
            root; empty once production was verified to serve it.
        pruned_at: when housekeeping began to delete its files, ISO 8601; empty while they are kept.
    """

    number: int
    stage: Stage
    run_id: str
    digest: str
    model_id: str
    artifact: str
    results: str
    known_by_tags: bool = False
    unverified_backup: str = ""
    pruned_at: str = ""

    @property
    def can_be_restored(self) -> bool:
        """Return whether production can go back to it: it served, and its files are kept."""
        return self.stage is Stage.RETIRED and not self.pruned_at

    @property
    def doubt(self) -> str:
        """Return, in words, why it is not certain that it ever served; empty if it is."""
        if self.unverified_backup:
            return f"Only {self.unverified_backup}, a backup of another manager, says that v{self.number} ever served."
        return f"Only tags in the Model Catalog say that v{self.number} ever served." if self.known_by_tags else ""

    def verified(self) -> Version:
        """Return it as a version that was verified to serve."""
        return replace(self, known_by_tags=False, unverified_backup="", pruned_at="")


def describe_trust(version: Version) -> str:
    """Return how far a version that the ledger does not know is trusted, and why, in sentences."""
    if version.unverified_backup:
        return (
            f"{version.unverified_backup} is a backup of another manager, and nothing verifies its files: 'previous' "
            "never goes to it, and a rollback must name its number."
        )
    model = f"OCI has the model {version.model_id} (digest {version.digest[:12] or 'unknown'})."
    if version.stage is Stage.CHAMPION:
        return f"{model} Production answers with it: it becomes the champion."
    if version.stage is not Stage.RETIRED:
        return f"{model} It never served: production cannot go back to it."
    if version.known_by_tags:
        return (
            f"{model} Its tags alone say that it served, and anyone who writes the Model Catalog can set them: "
            "'previous' never goes to it, and a rollback must name its number."
        )
    return f"{model} A backup in storage holds the same artifact: it served, and production can go back to it."
