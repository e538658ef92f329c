"""What OCI has, in the ledger's terms: the versions in its catalog, and what production verifiably serves."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import SettingsError, StateMismatchError
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.versions import Serving, Version
from recdeploy_ops.oci_clients.tags import (
    HIGHEST_FROM_TAGS,
    RESULTS_METADATA,
    SERVED_TAG,
    digest_of,
    slug_of,
    version_number,
)
from recdeploy_ops.rollout.imported_numbers import choose_number, highest_used, require_number
from recdeploy_ops.rollout.production import find_candidates, require_owned
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.rollout.switches import verify_serving
from recdeploy_ops.rollout.unverified_backups import find_unverified_versions
from recdeploy_ops.storage.backups import list_artifacts
from recdeploy_ops.storage.bundles import MANIFEST
from recdeploy_ops.storage.keys import RESULTS, bundle_prefix, slug_prefix

if TYPE_CHECKING:
    from collections.abc import Container

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.records import CatalogModel, Deployment

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inventory:
    """What OCI has, in the ledger's terms, and the versions that only a backup of the shop's own manager has."""

    versions: dict[int, Version]
    highest_version: int
    production: Serving | None
    previous_champion: Serving | None


def choose_production(context: ReleaseContext, state: LedgerState, deployment_id: str | None) -> Deployment | None:
    """Return the deployment that is production, or None when there is none.

    That is the named one; else the ledger's own or one that is tagged as production; else one that has lost that tag
    (see `recdeploy_ops.rollout.production`).

    Raises:
        SettingsError: more than one could be production.
        StateMismatchError: it belongs to another project.
    """
    if deployment_id:
        named = context.deployments.get(deployment_id)
        require_owned(context, named)
        return named
    candidates = find_candidates(context)
    own = state.production.deployment_id if state.production else None
    usable = [d for d in candidates.present if _is_usable(d) and (d.deployment_id == own or d in candidates.tagged)]
    usable = usable or [d for d in candidates.untagged if _is_usable(d)]
    for candidate in usable:
        require_owned(context, candidate)
    if len(usable) > 1:
        names = ", ".join(f"{d.name} ({d.deployment_id})" for d in usable)
        raise SettingsError(f"{len(usable)} deployments could be production: {names}.", Remedy("Name one of them"))
    return usable[0] if usable else None


def find_duplicates(context: ReleaseContext, production: Deployment | None) -> list[Deployment]:
    """Return the other usable deployments that are tagged as production."""
    if production is None:
        return []
    tagged = find_candidates(context, models=()).tagged
    return [other for other in tagged if _is_usable(other) and other.deployment_id != production.deployment_id]


def take_inventory(
    context: ReleaseContext, state: LedgerState, deployment: Deployment | None, requested: int | None = None
) -> Inventory:
    """Return what OCI has, with production verified to answer.

    Args:
        context: of the run.
        state: of the ledger.
        deployment: production, or None.
        requested: the number for what production serves, if no version has it yet; by default the shop's own.

    Raises:
        StateMismatchError: production is not ACTIVE.
        SettingsError: the requested number is another version's.
        DeploymentFailedError: production does not answer as its version would.
    """
    require_active(deployment)
    versions = _versions(context, state, deployment.model_id if deployment else None)
    highest = max([state.highest_version, *versions])
    if deployment is None:
        return Inventory(_retire(versions, None), highest, None, None)
    version = next((v for v in versions.values() if v.model_id == deployment.model_id), None)
    if version is None:
        number = choose_number(context, deployment, versions, requested)
        highest = max(highest, highest_used(context))
        version = Version(number, Stage.CHAMPION, "adopted", "", deployment.model_id, artifact="", results="")
        versions[number] = version
    require_number(version, requested)
    versions |= find_unverified_versions(context, versions, deployment.model_id)
    highest = max([highest, *versions])
    verify_serving(context, deployment, version=version.number, digest=version.digest)
    serving = Serving(
        deployment_id=deployment.deployment_id,
        url=deployment.url,
        model_id=deployment.model_id,
        version=version.number,
        digest=version.digest,
        since=_since(context, state, deployment),
    )
    previous = _previous(context, state, versions, serving)
    return Inventory(_retire(versions, version.number), highest, serving, previous)


def require_active(deployment: Deployment | None) -> None:
    """Refuse a deployment that does not serve.

    Raises:
        StateMismatchError: it is not ACTIVE.
    """
    if deployment is not None and not deployment.lifecycle_state.is_active:
        raise StateMismatchError(
            f"{deployment.name} ({deployment.deployment_id}) is {deployment.lifecycle_state}, not ACTIVE.",
            Remedy("Bring it to ACTIVE in the OCI console first"),
        )


def _is_usable(deployment: Deployment) -> bool:
    """Return whether a deployment could be production: it is neither gone nor failed."""
    return not deployment.lifecycle_state.is_gone and not deployment.lifecycle_state.is_failed


def _versions(context: ReleaseContext, state: LedgerState, served: str | None) -> dict[int, Version]:
    """Return the versions of the catalog and of the ledger; the ledger's records take precedence.

    Args:
        context: of the run.
        state: of the ledger.
        served: OCID of the model that production serves.
    """
    models: dict[int, list[CatalogModel]] = {}
    for model in list_models(context):
        number = version_number(model.tags)
        if number is not None and number <= HIGHEST_FROM_TAGS and model.can_be_used:
            models.setdefault(number, []).append(model)
    versions = dict(state.versions)
    backed_up = list_artifacts(context.store) if models.keys() - versions.keys() else set()
    for number, candidates in models.items():
        known = state.versions.get(number)
        chosen = _choose_model(context, candidates, known, served, backed_up)
        if chosen:
            versions[number] = (
                replace(known, model_id=chosen.model_id) if known else _from_catalog(context, number, chosen, backed_up)
            )
    return versions


def _choose_model(
    context: ReleaseContext,
    candidates: list[CatalogModel],
    known: Version | None,
    served: str | None,
    backed_up: Container[tuple[int, str]],
) -> CatalogModel | None:
    """Return the model of a version, or None when none has the ledger's digest and an artifact.

    Several models have the number of one version if a registration was interrupted or restored, or if a person copied
    its tags. A backup in storage vouches for a digest, and the oldest model cannot be a copy.
    """
    ours = known.model_id if known else None
    agreeing = [m for m in candidates if known is None or _agrees(m, known)]

    def rank(model: CatalogModel) -> tuple[object, ...]:
        vouched = (version_number(model.tags), digest_of(model.tags)) in backed_up
        is_other = model.model_id != ours
        order = (model.model_id != served, not vouched, model.is_inactive, is_other, SERVED_TAG not in model.tags)
        return (*order, model.created_at)

    ranked = sorted(agreeing, key=rank)
    for other in (m for m in candidates if m not in agreeing):
        log.warning(
            "Ignoring %s (%s): it is tagged with the number of a version with another digest",
            other.name,
            other.model_id,
        )
    if len(ranked) == 1 and known is None:
        return ranked[0]
    with_artifact = (m for m in ranked if m.model_id == ours or context.catalog.has_artifact(m.model_id))
    return next(with_artifact, ranked[0] if ranked and known is None else None)


def _agrees(model: CatalogModel, known: Version) -> bool:
    """Return whether a model may be that of a known version, by its digest; without a digest, by its id."""
    if not known.digest:
        return model.model_id == known.model_id
    return known.digest == digest_of(model.tags)


def _from_catalog(
    context: ReleaseContext, number: int, model: CatalogModel, backed_up: Container[tuple[int, str]]
) -> Version:
    """Return a version that the ledger does not know, as its model's tags describe it.

    Args:
        context: of the run.
        number: of the version.
        model: in the catalog.
        backed_up: number and digest of each version with a backup in storage; only versions that served have one.
    """
    digest, slug = digest_of(model.tags), slug_of(model.tags)
    served = SERVED_TAG in model.tags
    return Version(
        number=number,
        stage=Stage.RETIRED if served else Stage.REJECTED,
        run_id=slug,
        digest=digest,
        model_id=model.model_id,
        artifact=bundle_prefix(slug_prefix(slug, "artifact"), digest) if digest else "",
        results=_find_results(context, model),
        known_by_tags=served and (not digest or (number, digest) not in backed_up),
    )


def _find_results(context: ReleaseContext, model: CatalogModel) -> str:
    """Return the prefix of a model's training results, as recorded when the model was registered.

    Empty if the catalog does not name them or they are gone: the results of another try are not used instead.
    """
    prefix = context.catalog.get(model.model_id).metadata.get(RESULTS_METADATA, "")
    if RESULTS.fullmatch(prefix) and any(context.store.list(f"{prefix}/{MANIFEST}")):
        return prefix
    log.warning("The training results of %s are not known, or they are gone.", model.name)
    return ""


def _retire(versions: dict[int, Version], serving: int | None) -> dict[int, Version]:
    """Return the versions, with the serving one as champion and former champions as retired."""
    staged = {}
    for number, version in versions.items():
        if number == serving:
            staged[number] = replace(version.verified(), stage=Stage.CHAMPION)
        elif version.stage is Stage.CHAMPION:
            staged[number] = replace(version, stage=Stage.RETIRED)
        else:
            staged[number] = version
    return staged


def _previous(
    context: ReleaseContext, state: LedgerState, versions: dict[int, Version], serving: Serving
) -> Serving | None:
    """Return the last other version that was verified to serve, known from the ledger or from a backup in storage.

    The catalog's tags say when each version served. A version that only tags vouch for is not returned.
    """
    if state.production and state.production.version != serving.version:
        return state.production
    previous = state.previous_champion
    if previous and previous.version != serving.version:
        return previous
    served = [
        (model.tags[SERVED_TAG], versions[number])
        for model in list_models(context)
        if _is_time(model.tags.get(SERVED_TAG)) and (number := version_number(model.tags)) in versions and number
    ]
    trusted = ((since, v) for since, v in served if v.stage is Stage.RETIRED and not v.doubt)
    others = sorted((since, v.number) for since, v in trusted if v.number != serving.version)
    if not others:
        return None
    since, number = others[-1]
    version = versions[number]
    return replace(serving, model_id=version.model_id, version=number, digest=version.digest, since=since)


def _is_time(text: str | None) -> bool:
    """Return whether a tag has a time: anyone who writes the Model Catalog can set any text."""
    with suppress(ValueError):
        return bool(datetime.fromisoformat(text or ""))
    return False


def _since(context: ReleaseContext, state: LedgerState, deployment: Deployment) -> str:
    known = state.production
    if known and (known.deployment_id, known.model_id) == (deployment.deployment_id, deployment.model_id):
        return known.since
    return context.now().isoformat()
