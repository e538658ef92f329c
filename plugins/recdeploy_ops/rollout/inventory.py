"""What OCI has, in the ledger's words: the versions in its catalog, and what production serves, proved."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import SettingsError, StateMismatchError
from recdeploy_ops.domain.ledger import Serving, Version
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.releases import DIGEST_TAG, GONE, PROJECT_TAG, ROLE_TAG, RUN_TAG, SERVED_TAG, VERSION_TAG
from recdeploy_ops.rollout.switches import prove

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger import Book
    from recdeploy_ops.domain.records import CatalogModel, Deployment
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

FALLEN = GONE | {"FAILED"}
UNKNOWN_DIGEST = ""  # of a version that this project did not make


@dataclass(frozen=True)
class Inventory:
    """What OCI has, in the ledger's words."""

    versions: dict[int, Version]
    highest_version: int
    production: Serving | None
    previous_champion: Serving | None


def choose_production(releases: Releases, book: Book, deployment_id: str | None) -> Deployment | None:
    """Return the deployment that is production, or None when there is none.

    That is the named one; else the ledger's own, or the one that carries the role's tag; else, as tags can be removed,
    the one that serves a model of this project and is no TEST deployment.

    Raises:
        SettingsError: it cannot be told which.
    """
    if deployment_id:
        return releases.deployments.get(deployment_id)
    living = [d for d in releases.deployments.all() if d.lifecycle_state not in FALLEN]
    own = book.production.deployment_id if book.production else None
    found = [d for d in living if d.deployment_id == own or _is_tagged(releases, d)]
    if not found:
        mine = {model.model_id for model in releases.models()}
        found = [d for d in living if d.model_id in mine and d.tags.get(ROLE_TAG) != Role.TEST]
    if len(found) > 1:
        names = ", ".join(f"{d.name} ({d.deployment_id})" for d in found)
        raise SettingsError(
            f"{len(found)} deployments are tagged as production, or serve as if they were: {names}. Name one of them."
        )
    return found[0] if found else None


def find_pretenders(releases: Releases, production: Deployment | None) -> list[Deployment]:
    """Return the living deployments that carry the tag of production besides it."""
    if production is None:
        return []
    return [
        d
        for d in releases.deployments.all()
        if d.lifecycle_state not in FALLEN and d.deployment_id != production.deployment_id and _is_tagged(releases, d)
    ]


def take_inventory(releases: Releases, book: Book, deployment: Deployment | None) -> Inventory:
    """Return what OCI has, with production proved to answer.

    Raises:
        StateMismatchError: production is not ACTIVE.
        DeploymentFailedError: production does not answer as its version would.
    """
    require_active(deployment)
    versions = _versions(releases, book, deployment.model_id if deployment else None)
    highest = max([book.highest_version, *versions])
    if deployment is None:
        return Inventory(_retire(versions, None), highest, None, None)
    version = next((v for v in versions.values() if v.model_id == deployment.model_id), None)
    if version is None:
        highest += 1
        version = Version(highest, Stage.CHAMPION, "adopted", UNKNOWN_DIGEST, deployment.model_id, "", "")
        versions[highest] = version
    prove(releases, deployment, version=version.number, digest=version.digest)
    serving = Serving(
        deployment_id=deployment.deployment_id,
        url=deployment.url,
        model_id=deployment.model_id,
        version=version.number,
        digest=version.digest,
        since=_since(releases, book, deployment),
    )
    return Inventory(_retire(versions, version.number), highest, serving, _previous(releases, book, versions, serving))


def compare(book: Book, found: Inventory) -> list[str]:
    """Return the differences between the ledger and OCI, one line each."""
    lines = []
    for name, ours, theirs in (
        ("production", book.production, found.production),
        ("previous champion", book.previous_champion, found.previous_champion),
    ):
        if _without_time(ours) != _without_time(theirs):
            lines.append(f"{name}: the ledger has {_describe(ours)}, OCI has {_describe(theirs)}")
    for number in sorted({*book.versions, *found.versions}):
        ours_version, theirs_version = book.versions.get(number), found.versions.get(number)
        if ours_version != theirs_version:
            lines.append(f"v{number}: the ledger has {ours_version}, OCI has {theirs_version}")
    return lines


def compare_tags(releases: Releases, production: Deployment | None, pretenders: list[Deployment]) -> list[str]:
    """Return what the tags of the deployments have to do with production and should not, one line each."""
    lines = [f"{d.name} ({d.deployment_id}) is tagged as production too: it loses that tag" for d in pretenders]
    if production is not None and not _is_tagged(releases, production):
        lines.append(f"{production.name} ({production.deployment_id}) is not tagged as production: it is tagged")
    return lines


def require_active(deployment: Deployment | None) -> None:
    """Refuse a deployment that does not serve.

    Raises:
        StateMismatchError: it is in another state.
    """
    if deployment is not None and deployment.lifecycle_state != "ACTIVE":
        raise StateMismatchError(
            f"{deployment.name} ({deployment.deployment_id}) is {deployment.lifecycle_state}: bring it to ACTIVE in "
            "the OCI console first."
        )


def _is_tagged(releases: Releases, deployment: Deployment) -> bool:
    tags = deployment.tags
    return tags.get(PROJECT_TAG) == releases.settings.project_name and tags.get(ROLE_TAG) == Role.PRODUCTION


def _versions(releases: Releases, book: Book, served: str | None) -> dict[int, Version]:
    """Return the versions of the catalog, with what the ledger knows of them besides.

    Args:
        releases: what the steps work with.
        book: what the ledger says.
        served: OCID of the model that production serves.
    """
    models: dict[int, list[CatalogModel]] = {}
    for model in releases.models():
        tag = model.tags.get(VERSION_TAG, "")
        if model.lifecycle_state == "ACTIVE" and tag.isdecimal():
            models.setdefault(int(tag), []).append(model)
    versions = dict(book.versions)
    for number, candidates in models.items():
        known = book.versions.get(number)
        chosen = _choose_model(releases, candidates, known, served)
        if chosen:
            versions[number] = replace(known, model_id=chosen.model_id) if known else _from_catalog(releases, chosen)
    return versions


def _choose_model(
    releases: Releases, candidates: list[CatalogModel], known: Version | None, served: str | None
) -> CatalogModel | None:
    """Return the model that stands for a version, or None when none has the ledger's digest and an artifact.

    Several models have one version's number when a registration was killed, or restored.
    """
    agreeing = [m for m in candidates if known is None or known.digest == m.tags.get(DIGEST_TAG, UNKNOWN_DIGEST)]
    ours = known.model_id if known else None
    ranked = sorted(agreeing, key=lambda m: (m.model_id != served, m.model_id != ours, SERVED_TAG not in m.tags))
    for other in (m for m in candidates if m not in agreeing):
        log.warning(
            "%s (%s) carries the number of a version that has another digest: left out.", other.name, other.model_id
        )
    if len(ranked) == 1 and known is None:
        return ranked[0]
    whole = (m for m in ranked if m.model_id == ours or releases.catalog.has_artifact(m.model_id))
    return next(whole, ranked[0] if ranked and known is None else None)


def _from_catalog(releases: Releases, model: CatalogModel) -> Version:
    digest = model.tags.get(DIGEST_TAG, UNKNOWN_DIGEST)
    slug = model.tags.get(RUN_TAG, "unknown")
    return Version(
        number=int(model.tags[VERSION_TAG]),
        stage=Stage.RETIRED if SERVED_TAG in model.tags else Stage.REJECTED,
        run_id=slug,
        digest=digest,
        model_id=model.model_id,
        artifact=f"releases/{slug}/artifact/{digest[:16]}",
        results=releases.find_results(model),
    )


def _retire(versions: dict[int, Version], serving: int | None) -> dict[int, Version]:
    """Return the versions with the one that serves as champion, and a former champion as retired."""
    settled = {}
    for number, version in versions.items():
        if number == serving:
            settled[number] = replace(version, stage=Stage.CHAMPION)
        elif version.stage is Stage.CHAMPION:
            settled[number] = replace(version, stage=Stage.RETIRED)
        else:
            settled[number] = version
    return settled


def _previous(releases: Releases, book: Book, versions: dict[int, Version], serving: Serving) -> Serving | None:
    """Return the last other version that was verified to serve, as the ledger or the catalog's tags have it."""
    if book.production and book.production.version != serving.version:
        return book.production
    previous = book.previous_champion
    if previous and previous.version != serving.version:
        return previous
    served = [
        (model.tags[SERVED_TAG], versions[int(model.tags[VERSION_TAG])])
        for model in releases.models()
        if SERVED_TAG in model.tags
        and model.tags.get(VERSION_TAG, "").isdecimal()
        and int(model.tags[VERSION_TAG]) in versions
    ]
    others = sorted((since, v.number) for since, v in served if v.number != serving.version)
    if not others:
        return None
    since, number = others[-1]
    version = versions[number]
    return replace(serving, model_id=version.model_id, version=number, digest=version.digest, since=since)


def _since(releases: Releases, book: Book, deployment: Deployment) -> str:
    known = book.production
    if known and (known.deployment_id, known.model_id) == (deployment.deployment_id, deployment.model_id):
        return known.since
    return releases.now().isoformat()


def _without_time(serving: Serving | None) -> dict[str, Any] | None:
    return {**asdict(serving), "since": None} if serving else None


def _describe(serving: Serving | None) -> str:
    return f"v{serving.version} (model {serving.model_id}) at {serving.url}" if serving else "nothing"
