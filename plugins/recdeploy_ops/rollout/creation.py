"""Making a model deployment, as often as it takes and never twice."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import DeploymentFailedError
from recdeploy_ops.domain.records import Deployment, Role, Shape
from recdeploy_ops.domain.waiting import Progress, Waiting, judge_deployment
from recdeploy_ops.oci_clients.deployments import NewDeployment
from recdeploy_ops.releases import DIGEST_TAG
from recdeploy_ops.rollout import deletion

if TYPE_CHECKING:
    from datetime import datetime

    from recdeploy_ops.domain.ledger import Release
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def advance_creation(
    releases: Releases, release: Release, *, role: Role, digest: str, model_id: str
) -> Waiting | Deployment:
    """Bring a deployment of this release into being and return it once it is ACTIVE.

    A deployment that an earlier try made is used; one with other content, or one that failed, is deleted.

    Args:
        releases: what the steps work with.
        release: the open release.
        role: what the deployment is for.
        digest: of the artifact that it shall serve.
        model_id: OCID of the catalog model with that artifact.

    Raises:
        LockHeldError: another run has taken the lock over.
        DeploymentFailedError: OCI could not bring it up; quotes its work request's errors and logs.
    """
    known = releases.deployments_of_run(role, release.run_id)
    living = [d for d in known if d.lifecycle_state != "DELETED"]
    stale = [d for d in living if d.tags.get(DIGEST_TAG) != digest]
    waiting = deletion.advance_removal(releases, stale)
    if waiting:
        return waiting
    current = [d for d in living if d not in stale]
    if current:
        return _follow(releases, current[0])
    new = _describe(releases, release, role, digest, model_id, attempt=len(known))
    releases.release(release.run_id)  # the lock is confirmed between looking and creating anything
    deployment_id = releases.deployments.create(new)
    deployment = releases.deployments.get(deployment_id)
    log.info("Creating the %s deployment %s (%s)", role, deployment.name, deployment_id)
    # Awaited however soon it is there: what a try does next depends on what it finds, never on how fast OCI was.
    return Waiting(deployment_id, f"{deployment.name} is {deployment.lifecycle_state}", _deadline(releases, deployment))


def _follow(releases: Releases, deployment: Deployment) -> Waiting | Deployment:
    progress = judge_deployment(deployment.lifecycle_state)
    if progress is Progress.SUCCEEDED:
        return releases.deployments.get(deployment.deployment_id)
    deadline = _deadline(releases, deployment)
    if progress is Progress.RUNNING and releases.now() < deadline:
        return Waiting(deployment.deployment_id, f"{deployment.name} is {deployment.lifecycle_state}", deadline)
    state = deployment.lifecycle_state
    minutes = releases.settings.release.deployment_timeout_minutes
    reason = f"is {state}" if progress is Progress.FAILED else f"is still {state} after {minutes:g} minutes"
    explanation = explain_newest(releases, deployment)
    deletion.ask(releases, deployment)
    raise DeploymentFailedError(
        f"The deployment {deployment.name} ({deployment.deployment_id}) {reason} and is being deleted. "
        f"{deployment.details}\nOCI says:\n{explanation}\n"
        "Common causes: insufficient compute quota, a conda environment whose path is not accessible, a corrupt "
        "artifact."
    )


def _deadline(releases: Releases, deployment: Deployment) -> datetime:
    return deployment.created_at + timedelta(minutes=releases.settings.release.deployment_timeout_minutes)


def explain_newest(releases: Releases, deployment: Deployment) -> str:
    """Return the errors and logs of a deployment's newest work request."""
    newest = releases.deployments.newest_work_request(deployment.deployment_id)
    return releases.deployments.explain(newest.work_request_id) if newest else "nothing: it has no work request"


def _describe(
    releases: Releases, release: Release, role: Role, digest: str, model_id: str, *, attempt: int
) -> NewDeployment:
    settings = releases.settings
    serving = settings.serving
    logs = {}
    if serving.log_group_id:
        for category, log_id in (("access", serving.access_log_id), ("predict", serving.predict_log_id)):
            if log_id:
                logs[category] = (serving.log_group_id, log_id)
    return NewDeployment(
        name=deployment_name(settings.project_name, role, release.version),
        description=f"v{release.version} of {settings.project_name}, made by the run {release.run_id}"[:400],
        model_id=model_id,
        shape=wanted_shape(release),
        bandwidth_mbps=serving.bandwidth_mbps,
        environment={"WEB_CONCURRENCY": str(serving.workers)},
        logs=logs,
        tags=releases.tags(release.run_id, release.version, digest, role),
        token=f"{settings.project_name}/{release.run_id}/{role}/{digest}/{attempt}",
    )


def wanted_shape(release: Release) -> Shape:
    """Return the size that a run's params ask for; OCPUs and memory belong to flexible shapes only."""
    params = release.params
    flexible = params["instance_shape"].endswith(".Flex")
    return Shape(
        instance_shape=params["instance_shape"],
        ocpus=float(params["ocpus"]) if flexible else None,
        memory_gb=float(params["memory_gb"]) if flexible else None,
        instance_count=params["instance_count"],
    )


def deployment_name(project_name: str, role: Role, version: int) -> str:
    """Return the display name of a deployment; production's never changes."""
    return f"{project_name}-production" if role is Role.PRODUCTION else f"{project_name}-test-v{version}"
