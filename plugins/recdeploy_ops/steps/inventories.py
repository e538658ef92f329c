"""What OCI has, in the ledger's words: the versions in its catalog, and what production serves, proved."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import SettingsError, StateMismatchError
from recdeploy_ops.domain.ledger import Serving, Version
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.releases import DIGEST_TAG, RUN_TAG, SERVED_TAG, VERSION_TAG
from recdeploy_ops.steps.switches import prove

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger import Book
    from recdeploy_ops.domain.records import CatalogModel, Deployment
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

UNKNOWN_DIGEST = ""  # of a version that this project did not make


@dataclass(frozen=True)
class Inventory:
    """What OCI has, in the ledger's words."""

    versions: dict[int, Version]
    highest_version: int
    production: Serving | None
    previous_champion: Serving | None


def choose_production(releases: Releases, deployment_id: str | None) -> Deployment | None:
    """Return the deployment that is production: the named one, else the one that carries the role's tag, or None.

    Raises:
        SettingsError: more than one carries it.
    """
    if deployment_id:
        deployment = releases.deployments.get(deployment_id)
    else:
        gone = {"DELETED", "DELETING", "FAILED"}
        living = [d for d in releases.deployments_of(Role.PRODUCTION) if d.lifecycle_state not in gone]
        if len(living) > 1:
            names = ", ".join(f"{d.name} ({d.deployment_id})" for d in living)
            raise SettingsError(f"{len(living)} deployments are tagged as production: {names}. Name one of them.")
        if not living:
            return None
        deployment = living[0]
    return deployment


def take_inventory(releases: Releases, book: Book, deployment: Deployment | None) -> Inventory:
    """Return what OCI has, with production proved to answer.

    Raises:
        StateMismatchError: production is not ACTIVE.
        DeploymentFailedError: production does not answer as its version would.
    """
    require_active(deployment)
    versions = _versions(releases, book)
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


def _versions(releases: Releases, book: Book) -> dict[int, Version]:
    """Return the versions of the catalog, with what the ledger knows of them besides."""
    versions = dict(book.versions)
    for model in reversed(releases.models()):
        number = model.tags.get(VERSION_TAG, "")
        if model.lifecycle_state == "ACTIVE" and number.isdecimal():
            known = versions.get(int(number))
            versions[int(number)] = replace(known, model_id=model.model_id) if known else _from_catalog(releases, model)
    return versions


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
        results=releases.find_results(slug),
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
        if SERVED_TAG in model.tags and model.tags.get(VERSION_TAG, "").isdecimal()
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
