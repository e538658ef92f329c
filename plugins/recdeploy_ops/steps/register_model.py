"""Step 9: register the artifact in the Model Catalog, with its version label, provenance, metadata and tags."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.archives import zip_artifact
from recdeploy_ops.artifacts.code_version import describe_code, digest_of_code
from recdeploy_ops.domain.errors import MissingInputError
from recdeploy_ops.domain.events import ArtifactBuilt, ModelRegistered, ModelTrained
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.versions import Version
from recdeploy_ops.oci_clients.models import NewModel
from recdeploy_ops.oci_clients.tags import CODE_METADATA, RESULTS_METADATA, run_slug, version_tags
from recdeploy_ops.rollout.catalog_artifacts import choose_registered, require_artifact
from recdeploy_ops.rollout.registry import find_registration, model_name
from recdeploy_ops.storage.bundles import fetch_bundle
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import CatalogModel
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.storage.bundles import Bundle

log = logging.getLogger(__name__)


def advance(context: ReleaseContext) -> Outcome:
    """Register the artifact, or continue with the model that an earlier try registered.

    Raises:
        MissingInputError: the catalog has this version with other content.
    """
    release = context.confirm_lock()
    artifact = context.open_bundle(ArtifactBuilt)
    model = _register(context, artifact)
    _upload(context, model, artifact)
    context.record(
        ModelRegistered(
            model_id=model.model_id,
            version=release.version,
            digest=artifact.digest,
            artifact=artifact.prefix,
            results=release.require(ModelTrained).prefix,
        )
    )
    return {"model_id": model.model_id, "version": release.version}


def _register(context: ReleaseContext, artifact: Bundle) -> CatalogModel:
    version = context.release.version
    registration = find_registration(context, version, artifact.digest)
    new = _describe(context, artifact, unusable=registration.unusable)
    model = choose_registered(context, _as_version(context, artifact), registration.models)
    if model:
        context.catalog.complete_origin(model.model_id, new)
        return model
    if registration.other:
        raise MissingInputError(
            f"The catalog already has v{version} with other content ({registration.other.model_id}): this one needs "
            "another number",
            task="build_artifact",
        )
    model = context.catalog.create(new)
    log.info("Created the model %s (%s)", model.name, model.model_id)
    return model


def _as_version(context: ReleaseContext, artifact: Bundle) -> Version:
    number = context.release.version
    return Version(number, Stage.CANDIDATE, context.run_id, artifact.digest, "", artifact.prefix, results="")


def _upload(context: ReleaseContext, model: CatalogModel, artifact: Bundle) -> None:
    with workspace() as scratch:
        folder, target = scratch / "artifact", scratch / "artifact.zip"
        fetch_bundle(context.store, artifact, folder)
        zip_artifact(folder, target)
        require_artifact(context, _as_version(context, artifact), model.model_id, target)


def _describe(context: ReleaseContext, artifact: Bundle, *, unusable: int) -> NewModel:
    version = context.release.version
    name = model_name(context.project, version)
    trained = context.release.require(ModelTrained)
    metrics = trained.metrics
    code = describe_code()
    return NewModel(
        name=name,
        description=f"Product recommender v{version}, made by the run {context.run_id}"[:400],
        version_set=context.project,
        version_label=f"v{version}",
        tags=version_tags(context.project, run=run_slug(context.run_id), version=version, digest=artifact.digest),
        metadata=(
            ("digest", artifact.digest, "sha256 of the artifact's manifest.json", "other"),
            (CODE_METADATA, digest_of_code(), "sha256 over the source files that made it", "other"),
            (RESULTS_METADATA, trained.prefix, "where its training results are stored", "other"),
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
        # Two tries at once use the same token and get the same model. The count comes from the listing that did not
        # find it: it changes the token after a deletion, since OCI remembers tokens for 24 hours.
        token=f"{name}/{artifact.digest}/{unusable}",
    )


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else "not measured"
