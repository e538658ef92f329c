"""Step 5: train with Oracle's ADS Recommender Operator, in a separate process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, MissingInputError
from recdeploy_ops.domain.events import DataExtracted, ModelTrained
from recdeploy_ops.storage.bundles import fetch_bundle, store_bundle, verify_bundle, write_manifest
from recdeploy_ops.training import train
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.storage.bundles import Bundle

log = logging.getLogger(__name__)


def advance(context: ReleaseContext) -> Outcome:
    """Train on the extract, unless that was already done with the same seed and settings.

    Raises:
        TrainingFailedError: the operator failed, or left outputs that cannot be used.
    """
    params = context.confirm_lock().retrain_params
    extract = context.open_bundle(DataExtracted)
    inputs = {
        "extract": extract.digest,
        "top_k": params.top_k,
        "seed": params.seed,
        "model": context.settings.model,
        "new_users": context.settings.training.new_users,
    }
    trained = _reuse(context, inputs) or _train(context, extract, inputs)
    metrics = trained.facts["metrics"]
    context.record(ModelTrained(prefix=trained.prefix, digest=trained.digest, inputs=inputs, metrics=metrics))
    return {"prefix": trained.prefix, "metrics": metrics}


def _train(context: ReleaseContext, extract: Bundle, inputs: dict[str, Any]) -> Bundle:
    with workspace() as scratch:
        source, target = scratch / "extract", scratch / "results"
        fetch_bundle(context.store, extract, source)
        target.mkdir()
        top_k, seed = inputs["top_k"], inputs["seed"]
        metrics = train(source, target, context.settings, top_k=top_k, seed=seed, report=log.info)
        write_manifest(target, {"inputs": inputs, "metrics": metrics})
        return store_bundle(context.store, context.prefix("results"), target)


def _reuse(context: ReleaseContext, inputs: dict[str, Any]) -> Bundle | None:
    trained = context.release.get(ModelTrained)
    if trained is None or trained.inputs != inputs:
        return None
    try:
        bundle = context.open_bundle(ModelTrained)
        verify_bundle(context.store, bundle)
    except (MissingInputError, IntegrityError) as err:
        log.warning("Training again, as the earlier results cannot be used: %s", err)
        return None
    log.info("Already trained on this extract with this seed and these settings: using %s", bundle.prefix)
    return bundle
