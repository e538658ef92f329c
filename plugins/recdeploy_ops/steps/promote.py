"""Step 12: production serves the approved version, verified, or what it served before."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.approvals import fingerprints
from recdeploy_ops.domain import stages
from recdeploy_ops.domain.errors import (
    ApprovalError,
    DeploymentFailedError,
    IntegrityError,
    MissingInputError,
    PromotionFailedError,
    RecdeployError,
)
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import Decision, Deployment, Role
from recdeploy_ops.domain.release_plan import reconcile, require_unused
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.releases import DIGEST_TAG, LEASE_TAG, VERSION_TAG
from recdeploy_ops.rollout import deletion, rehearsals
from recdeploy_ops.rollout.creation import advance_creation, deployment_name, wanted_shape
from recdeploy_ops.rollout.restoration import advance_settlement, describe_settlement, model_switch
from recdeploy_ops.rollout.switches import Switch, advance_switch, prove
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.domain.ledger import Facts, Release, Serving
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

NO_TEST = "Cannot promote to production - no test deployment"


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
        MissingInputError: what it rests on is gone; says which task to clear.
        PromotionFailedError: production did not verify; says what it serves now.
    """
    release = releases.release(run_id)
    require_unused(releases.ledger.book(), release)
    if release.get(Kind.PROMOTED) is None:
        waiting = _promote(releases, release)
        if waiting:
            return waiting
    return _resize_and_tidy_up(releases, run_id)


def check_approval(releases: Releases, release: Release) -> Approved:
    """Return what was approved, after comparing it with storage and catalog.

    Raises:
        ApprovalError: nobody approved this, it has changed since, or the approval was used before.
        IllegalTransitionError: the version was not validated.
    """
    registered = releases.facts(release, Kind.MODEL_REGISTERED)
    if release.get(Kind.TEST_DEPLOYED) is None:
        raise MissingInputError(f"{NO_TEST}: v{release.version} was never deployed", clear_task="deploy_test")
    answer = releases.facts(release, Kind.APPROVAL_ANSWERED)
    if answer["decision"] != Decision.PROMOTE:
        raise ApprovalError(f"v{release.version} was not approved: {answer['by']} answered {answer['decision']}.")
    asked = releases.facts(release, Kind.APPROVAL_REQUESTED)
    fingerprints.require_unchanged(asked, fingerprints.read_parts(releases, release))
    # Asked before OCI is: the ledger would refuse to record the promotion only after it was done.
    stage = releases.ledger.book().versions[release.version].stage
    if stage is not Stage.CHAMPION:  # one that serves may be approved again: it is proved again
        stages.advance(stage, Stage.CHAMPION)
    return Approved(
        version=release.version,
        digest=asked["digest"],
        model_id=registered["model_id"],
        artifact=registered["artifact"],
        results=registered["results"],
    )


def _require_way_back(release: Release, champion: Serving) -> None:
    """Refuse a promotion whose rollback was not rehearsed in this run."""
    rehearsed = release.get(Kind.ROLLBACK_REHEARSED)
    if rehearsed is None or (rehearsed["version"], rehearsed["digest"]) != (champion.version, champion.digest):
        raise MissingInputError(
            f"v{champion.version} serves, and this run has not proved that it could be brought back",
            clear_task="backup_production",
        )


def _require_registered_artifact(releases: Releases, approved: Approved) -> None:
    """Refuse an artifact that was exchanged in the catalog, whatever its tags say."""
    with workspace() as place:
        archive, folder = place / "artifact.zip", place / "artifact"
        try:
            rehearsals.fetch_from_catalog(releases, approved.model_id, approved.digest, archive, folder)
        except IntegrityError as err:
            raise ApprovalError(f"v{approved.version} is not promoted, as it is not what was approved: {err}") from err


def _promote(releases: Releases, release: Release) -> Waiting | None:
    if release.get(Kind.PROMOTION_FAILED):
        return _give_back(releases, release)
    approved = check_approval(releases, release)
    champion = releases.ledger.book().production
    try:
        if release.open_switch is None:
            reconcile(releases.ledger.book(), releases.production())
            fingerprints.require_whole(releases, release)
            _require_registered_artifact(releases, approved)
        if champion is None:
            serving = _become_production(releases, release, approved)
        else:
            if champion.version != approved.version:
                _require_way_back(release, champion)
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
    waiting = advance_settlement(releases, release)
    if waiting:
        return waiting
    if releases.ledger.book().production is None:
        raise PromotionFailedError(
            f"v{release.version} did not verify as the first production and was deleted: {failed['reason']}"
        )
    raise PromotionFailedError(
        f"v{release.version} was not promoted; {describe_settlement(releases, release)}. Why: {failed['reason']}"
    )


def _become_production(releases: Releases, release: Release, approved: Approved) -> Waiting | Deployment:
    """First release: the TEST deployment becomes production, or one is made when TEST was skipped."""
    tested = releases.facts(release, Kind.TEST_DEPLOYED)
    goal = f"production with v{approved.version}"
    if tested["skipped"]:
        if release.open_switch is None:
            facts = {"deployment_id": None, "goal": goal, "version": approved.version}
            release = releases.record(Kind.PROMOTION_STARTED, release.run_id, facts)
        made = advance_creation(
            releases, release, role=Role.PRODUCTION, digest=approved.digest, model_id=approved.model_id
        )
        if not isinstance(made, Waiting):
            prove(releases, made, version=approved.version, digest=approved.digest)
        return made
    deployment = releases.deployments.get(tested["deployment_id"])
    if deployment.lifecycle_state in {"DELETING", "DELETED"}:
        raise MissingInputError(f"{NO_TEST}: {deployment.name} is gone", clear_task="deploy_test")
    tags = releases.tags(release.run_id, approved.version, approved.digest, Role.PRODUCTION)
    name = deployment_name(releases.settings.project_name, Role.PRODUCTION, approved.version)
    switch = _tag_switch(releases, deployment.deployment_id, name, tags, goal=goal)
    return advance_switch(releases, release.run_id, Kind.PROMOTION_STARTED, switch)


def _resize_and_tidy_up(releases: Releases, run_id: str) -> Outcome:
    """Bring production to the configured size and delete TEST; neither undoes a verified promotion.

    Raises:
        DeploymentFailedError: production serves the new version, but not in the configured size.
    """
    done = releases.facts(releases.release(run_id), Kind.PROMOTED)
    waits = []
    trouble = None
    try:
        waits.append(_resize(releases, run_id, done))
    except DeploymentFailedError as err:
        trouble = err
    try:
        waits.append(deletion.advance_test_removal(releases, run_id))
    except RecdeployError as err:
        log.warning("v%s is in production, but its TEST deployment could not be deleted: %s", done["version"], err)
    for waiting in filter(None, waits):
        return waiting
    if trouble:
        raise DeploymentFailedError(
            f"v{done['version']} is in production, verified, but not in the configured size: {trouble}"
        ) from trouble
    return {"version": done["version"], "url": done["url"], "digest": done["digest"]}


def _resize(releases: Releases, run_id: str, done: Facts) -> Waiting | None:
    """Change production's shape and size where the run's params differ, in an update of their own."""
    release = releases.release(run_id)
    wanted = wanted_shape(release)
    deployment = releases.deployments.get(done["deployment_id"])
    if release.get(Kind.RESIZED) or (deployment.shape == wanted and release.get(Kind.RESIZE_STARTED) is None):
        return None
    switch = Switch(
        deployment_id=done["deployment_id"],
        goal=f"sized {wanted.instance_count} x {wanted.instance_shape} ({wanted.ocpus} OCPU, {wanted.memory_gb} GB)",
        version=done["version"],
        digest=done["digest"],
        reached=lambda found: found.shape == wanted,
        ask=lambda found: releases.deployments.resize(found, wanted),
    )
    resized = advance_switch(releases, run_id, Kind.RESIZE_STARTED, switch)
    if isinstance(resized, Waiting):
        return resized
    releases.record(Kind.RESIZED, run_id, asdict(wanted))
    return None


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
