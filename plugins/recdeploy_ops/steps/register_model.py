"""Step 8: the artifact in the Model Catalog, with its version label, provenance, metadata and tags."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.approvals.fingerprints import CODE_METADATA
from recdeploy_ops.artifacts.archives import zip_artifact
from recdeploy_ops.artifacts.code_version import describe_code, digest_of_code
from recdeploy_ops.domain.errors import MissingInputError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.oci_clients.models import NewModel
from recdeploy_ops.releases import RESULTS_METADATA
from recdeploy_ops.storage.bundles import fetch_bundle
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger import Release
    from recdeploy_ops.domain.records import CatalogModel
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.storage.bundles import Bundle

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str) -> Outcome:
    """Register the artifact, or go on with the model that an earlier try registered.

    Raises:
        MissingInputError: the catalog has this version with other content.
    """
    release = releases.release(run_id)
    artifact = releases.bundle(release, Kind.ARTIFACT_BUILT)
    model = _register(releases, release, artifact)
    if not releases.catalog.has_artifact(model.model_id):
        _upload(releases, model, artifact)
    facts = {
        "model_id": model.model_id,
        "version": release.version,
        "digest": artifact.digest,
        "artifact": artifact.prefix,
        "results": releases.facts(release, Kind.MODEL_TRAINED)["prefix"],
    }
    releases.record(Kind.MODEL_REGISTERED, run_id, facts)
    return {"model_id": model.model_id, "version": release.version}


def _register(releases: Releases, release: Release, artifact: Bundle) -> CatalogModel:
    found = releases.look_up(release.version, artifact.digest)
    new = _describe(releases, release, artifact, deleted=found.deleted)
    if found.model:
        releases.catalog.complete_origin(found.model.model_id, new)
        return found.model
    if found.other:
        raise MissingInputError(
            f"The catalog has v{release.version} with other content ({found.other.model_id}), and a version is never "
            "registered twice: this one needs another number",
            clear_task="build_artifact",
        )
    model = releases.catalog.create(new)
    log.info("Created the model %s (%s)", model.name, model.model_id)
    return model


def _upload(releases: Releases, model: CatalogModel, artifact: Bundle) -> None:
    with workspace() as place:
        folder, target = place / "artifact", place / "artifact.zip"
        fetch_bundle(releases.store, artifact, folder)
        zip_artifact(folder, target)
        releases.catalog.upload_artifact(model.model_id, target)
        log.info("Uploaded %s bytes as the artifact of %s", target.stat().st_size, model.name)


def _describe(releases: Releases, release: Release, artifact: Bundle, *, deleted: int) -> NewModel:
    name = releases.model_name(release.version)
    trained = releases.facts(release, Kind.MODEL_TRAINED)
    metrics = trained["metrics"]
    code = describe_code()
    return NewModel(
        name=name,
        description=f"Product recommender v{release.version}, made by the run {release.run_id}"[:400],
        version_set=releases.settings.project_name,
        version_label=f"v{release.version}",
        tags=releases.tags(release.run_id, release.version, artifact.digest),
        metadata=(
            ("digest", artifact.digest, "sha256 of the artifact's manifest.json", "other"),
            (CODE_METADATA, digest_of_code(), "sha256 over the source files that made it", "other"),
            (RESULTS_METADATA, trained["prefix"], "where its training results are stored", "other"),
            (
                "rmse",
                _number(metrics.get("rmse")),
                "root mean squared error on held-out ratings",
                "Performance",
            ),
            ("mae", _number(metrics.get("mae")), "mean absolute error on held-out ratings", "Performance"),
            (
                "num_users",
                _number(metrics.get("users")),
                "users in the extract",
                "Training and Validation Datasets",
            ),
            (
                "num_products",
                _number(metrics.get("items")),
                "products in the extract",
                "Training and Validation Datasets",
            ),
        ),
        provenance={
            "repository_url": code.repository,
            "git_branch": code.branch,
            "git_commit": code.commit,
            "training_script": "ads operator: recommender",
        },
        # The listing that did not find it gives the count, so that two tries at once ask for the same model; it lets a
        # deleted model be registered again within OCI's 24 hours.
        token=f"{name}/{artifact.digest}/{deleted}",
    )


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else "not measured"
