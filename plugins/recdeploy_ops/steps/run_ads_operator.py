"""Step 5: train with Oracle's ADS Recommender Operator, in a process of its own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, MissingInputError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.storage.bundles import fetch_bundle, store_bundle, verify_bundle, write_manifest
from recdeploy_ops.training import train
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger import Release
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.storage.bundles import Bundle

log = logging.getLogger(__name__)

# What in the settings decides which model comes out, besides the release's own top_k and seed.
MODEL_SETTINGS = ("engine", "refit", "factors", "epochs", "learning_rate", "regularization")


def advance(releases: Releases, run_id: str) -> Outcome:
    """Train on the extract, unless that was already done with the same seed and settings.

    Raises:
        TrainingFailedError: the operator failed, or left outputs that cannot be used.
    """
    release = releases.release(run_id)
    extract = releases.bundle(release, Kind.DATA_EXTRACTED)
    inputs = {
        "extract": extract.digest,
        "top_k": release.params["top_k"],
        "seed": release.params["seed"],
        "model": releases.settings.training.model_dump(mode="json", include=set(MODEL_SETTINGS)),
    }
    trained = _reuse(releases, release, inputs) or _train(releases, run_id, extract, inputs)
    metrics = trained.facts["metrics"]
    facts = {"prefix": trained.prefix, "digest": trained.digest, "inputs": inputs, "metrics": metrics}
    releases.record(Kind.MODEL_TRAINED, run_id, facts)
    return {"prefix": trained.prefix, "metrics": metrics}


def _train(releases: Releases, run_id: str, extract: Bundle, inputs: dict[str, Any]) -> Bundle:
    with workspace() as place:
        source, target = place / "extract", place / "results"
        fetch_bundle(releases.store, extract, source)
        target.mkdir()
        metrics = train(source, target, releases.settings, top_k=inputs["top_k"], seed=inputs["seed"], report=log.info)
        write_manifest(target, {"inputs": inputs, "metrics": metrics})
        return store_bundle(releases.store, releases.folder(run_id, "results"), target)


def _reuse(releases: Releases, release: Release, inputs: dict[str, Any]) -> Bundle | None:
    facts = release.get(Kind.MODEL_TRAINED)
    if facts is None or facts["inputs"] != inputs:
        return None
    try:
        bundle = releases.bundle(release, Kind.MODEL_TRAINED)
        verify_bundle(releases.store, bundle)
    except (MissingInputError, IntegrityError) as err:
        log.warning("The earlier results are not used: %s", err)
        return None
    log.info("Already trained on this extract with this seed and these settings: %s is used again.", bundle.prefix)
    return bundle
