"""A model version, and what production was verified to serve."""

from __future__ import annotations

from dataclasses import dataclass

from recdeploy_ops.domain.stages import Stage  # noqa: TC001 - the codec reads the annotations


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

    A version that another project made has no digest: what serves it is known by its model id alone.

    Attributes:
        number: 1, 2, 3, ...
        stage: where it stands.
        run_id: the release that made it.
        digest: the artifact's digest; empty for a version that this project did not make.
        model_id: OCID in the Model Catalog.
        artifact: storage prefix of the artifact.
        results: storage prefix of the training results; empty when there are none.
    """

    number: int
    stage: Stage
    run_id: str
    digest: str
    model_id: str
    artifact: str
    results: str
