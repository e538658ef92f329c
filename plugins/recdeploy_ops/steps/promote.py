"""Step 12: production serves the approved version, verified, or what it served before."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.domain import stages
from recdeploy_ops.domain.errors import (
    ApprovalError,
    DeploymentFailedError,
    MissingInputError,
    PromotionFailedError,
    RecdeployError,
)
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import Decision, Deployment, Role
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.releases import DIGEST_TAG, LEASE_TAG, VERSION_TAG
from recdeploy_ops.steps import removals
from recdeploy_ops.steps.creations import advance_creation, deployment_name
from recdeploy_ops.steps.restorations import advance_settlement, model_switch
from recdeploy_ops.steps.switches import Switch, advance_switch, prove

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.domain.ledger import Release
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.steps.outcomes import Outcome

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Approved:
    """What a person approved, checked against what is stored and registered."""

    version: int
    digest: str
    model_id: str
    artifact: str
    results: str


def advance(releases: Releases, run_id: str) -> Outcome:
    """Switch production to the approved version.

    Raises:
        ApprovalError: the approval does not cover what would be promoted.
        PromotionFailedError: production did not verify; says what it serves now.
    """
    release = releases.release(run_id)
    if release.get(Kind.PROMOTED) is None:
        waiting = _promote(releases, release)
        if waiting:
            return waiting
    return _tidy_up(releases, run_id)


def check_approval(releases: Releases, release: Release) -> Approved:
    """Return what was approved, after comparing it with storage and catalog.

    Raises:
        ApprovalError: nobody approved this digest, or the catalog's model is another.
        IllegalTransitionError: the version was not validated.
    """
    artifact = releases.bundle(release, Kind.ARTIFACT_BUILT)
    registered = releases.facts(release, Kind.MODEL_REGISTERED)
    answer = releases.facts(release, Kind.APPROVAL_ANSWERED)
    if answer["decision"] != Decision.PROMOTE:
        raise ApprovalError(f"v{release.version} was not approved: {answer['by']} answered {answer['decision']}.")
    catalog_digest = releases.catalog.get(registered["model_id"]).tags.get(DIGEST_TAG)
    for where, digest in (
        ("the approval is for", answer["digest"]),
        ("registered was", registered["digest"]),
        ("the model in the catalog has", catalog_digest),
    ):
        if digest != artifact.digest:
            raise ApprovalError(
                f"v{release.version} is not promoted: its artifact has digest {artifact.digest}, but {where} {digest}. "
                "Clear the task 'build_artifact' with its downstream, so that it is asked for again."
            )
    # Asked before OCI is: the ledger would refuse to record the promotion only after it was done.
    stages.advance(releases.ledger.book().versions[release.version].stage, Stage.CHAMPION)
    return Approved(
        release.version,
        artifact.digest,
        registered["model_id"],
        registered["artifact"],
        registered["results"],
    )


def _promote(releases: Releases, release: Release) -> Waiting | None:
    if release.get(Kind.PROMOTION_FAILED):
        return _give_back(releases, release)
    approved = check_approval(releases, release)
    champion = releases.ledger.book().production
    try:
        if champion is None:
            serving = _become_production(releases, release, approved)
        else:
            switch = model_switch(
                releases, champion.deployment_id, approved.version, approved.digest, approved.model_id
            )
            serving = advance_switch(releases, release.run_id, Kind.PROMOTION_STARTED, switch)
    except DeploymentFailedError as err:
        release = releases.record(Kind.PROMOTION_FAILED, release.run_id, {"reason": str(err)})
        return _give_back(releases, release)
    if isinstance(serving, Waiting):
        return serving
    facts = {
        "deployment_id": serving.deployment_id,
        "url": serving.url,
        "model_id": approved.model_id,
        "version": approved.version,
        "digest": approved.digest,
        "approved_by": releases.facts(release, Kind.APPROVAL_ANSWERED)["by"],
    }
    releases.point_current(
        version=approved.version, digest=approved.digest, artifact=approved.artifact, results=approved.results
    )
    releases.record(Kind.PROMOTED, release.run_id, facts)
    releases.publish_state()
    log.info("v%s is in production at %s, verified.", approved.version, serving.url)
    return None


def _give_back(releases: Releases, release: Release) -> Waiting | None:
    """Restore what production served before, then raise."""
    failed = releases.facts(release, Kind.PROMOTION_FAILED)
    champion = releases.ledger.book().production
    if champion is None:
        waiting = removals.advance_test_removal(releases, release.run_id)
        waiting = waiting or advance_settlement(releases, release)
        if waiting:
            return waiting
        raise PromotionFailedError(
            f"v{release.version} did not verify as the first production and was deleted: {failed['reason']}"
        )
    waiting = advance_settlement(releases, release)
    if waiting:
        return waiting
    raise PromotionFailedError(
        f"v{release.version} was not promoted; v{champion.version} serves at {champion.url}, verified. "
        f"Why: {failed['reason']}"
    )


def _become_production(releases: Releases, release: Release, approved: Approved) -> Waiting | Deployment:
    """First release: the TEST deployment becomes production, or one is made when TEST was skipped."""
    tested = releases.facts(release, Kind.TEST_DEPLOYED)
    if tested["skipped"]:
        made = advance_creation(
            releases, release, role=Role.PRODUCTION, digest=approved.digest, model_id=approved.model_id
        )
        if not isinstance(made, Waiting):
            prove(releases, made, version=approved.version, digest=approved.digest)
        return made
    deployment = releases.deployments.get(tested["deployment_id"])
    if deployment.lifecycle_state in {"DELETING", "DELETED"}:
        raise MissingInputError(f"The TEST deployment {deployment.name} is gone", clear_task="deploy_test")
    tags = releases.tags(release.run_id, approved.version, approved.digest, Role.PRODUCTION)
    name = deployment_name(releases.settings.project_name, Role.PRODUCTION, approved.version)
    goal = f"production with v{approved.version}"
    switch = _tag_switch(releases, deployment.deployment_id, name, tags, goal=goal)
    return advance_switch(releases, release.run_id, Kind.PROMOTION_STARTED, switch)


def _tidy_up(releases: Releases, run_id: str) -> Outcome:
    """Label production and delete TEST: whatever fails here never undoes a verified promotion."""
    done = releases.facts(releases.release(run_id), Kind.PROMOTED)
    waits = []
    for tidy in (
        lambda: _label(releases, run_id, done["deployment_id"]),
        lambda: removals.advance_test_removal(releases, run_id),
    ):
        try:
            waits.append(tidy())
        except RecdeployError as err:
            log.warning("v%s is in production, but something is left to tidy up: %s", done["version"], err)
    for waiting in filter(None, waits):
        return waiting
    return {"version": done["version"], "url": done["url"], "digest": done["digest"]}


def _label(releases: Releases, run_id: str, deployment_id: str) -> Waiting | None:
    """Bring production's tags in line with what it serves: OCI takes them only in an update of their own."""
    done = releases.facts(releases.release(run_id), Kind.PROMOTED)
    tags = releases.tags(run_id, done["version"], done["digest"], Role.PRODUCTION)
    name = deployment_name(releases.settings.project_name, Role.PRODUCTION, done["version"])
    switch = _tag_switch(releases, deployment_id, name, tags, goal=f"labelled v{done['version']}")
    labelled = advance_switch(releases, run_id, Kind.LABEL_STARTED, switch)
    return labelled if isinstance(labelled, Waiting) else None


def _tag_switch(releases: Releases, deployment_id: str, name: str, tags: Mapping[str, str], *, goal: str) -> Switch:
    """Return the change of a deployment's name and tags; tags of other people's stay."""

    def ask(deployment: Deployment) -> None:
        kept = {key: value for key, value in deployment.tags.items() if key != LEASE_TAG}
        description = f"Production of {releases.settings.project_name}"
        releases.deployments.describe(deployment, name=name, description=description, tags={**kept, **tags})

    return Switch(
        deployment_id=deployment_id,
        goal=goal,
        version=int(tags[VERSION_TAG]),
        digest=tags[DIGEST_TAG],
        reached=lambda deployment: tags.items() <= deployment.tags.items(),
        ask=ask,
    )
