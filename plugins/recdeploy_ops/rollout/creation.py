"""Idempotent creation of a model deployment."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.deployment_states import Progress
from recdeploy_ops.domain.errors import CloudRefusedError, DeploymentFailedError, OutOfCapacityError
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.sizes import DEFAULT_SHAPE
from recdeploy_ops.domain.waiting import Waiting, is_out_of_capacity
from recdeploy_ops.oci_clients.deployments import NewDeployment
from recdeploy_ops.oci_clients.tags import DIGEST_TAG
from recdeploy_ops.rollout import deletion
from recdeploy_ops.rollout.capacity import wait_for_capacity
from recdeploy_ops.rollout.deployable_models import require_usable
from recdeploy_ops.rollout.production import deployment_name, find_own_deployments
from recdeploy_ops.rollout.tagging import deployment_tags

if TYPE_CHECKING:
    from datetime import datetime

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.events import ModelRegistered
    from recdeploy_ops.domain.records import Deployment, Shape

log = logging.getLogger(__name__)

TASKS = {Role.TEST: "deploy_test", Role.PRODUCTION: "promote"}  # that create a deployment of a role


def advance_creation(
    context: ReleaseContext, registered: ModelRegistered, role: Role, *, shape: Shape | None = None
) -> Waiting | Deployment:
    """Create a deployment of this run and return it once it is ACTIVE.

    A deployment that an earlier try made is used; one with other content, or one that failed, is deleted. A release
    waits for capacity; a rollback does not.

    Args:
        context: of the run.
        registered: the model that it serves.
        role: what the deployment is for.
        shape: its size; by default the one in the params of the run, which must be a retrain.

    Raises:
        LockHeldError: another run has taken the lock over.
        DeploymentFailedError: OCI could not create it; quotes its work request's errors and logs.
    """
    known = find_own_deployments(context, role)
    present = [deployment for deployment in known if not deployment.lifecycle_state.is_deleted]
    stale = [d for d in present if d.lifecycle_state.is_gone or not _serves(d, registered)]
    waiting = deletion.advance_deletion(context, stale)
    if waiting:
        return waiting
    current = [deployment for deployment in present if deployment not in stale]
    new = _describe(context, registered, role, shape=shape, attempt=len(known))
    if current:
        return _follow(context, current[0], new, role)
    require_usable(context, registered.model_id, registered.version)
    release = context.confirm_lock()  # after the look-up and before the creation
    try:
        deployment_id = context.deployments.create(new)
    except OutOfCapacityError as err:
        if release.is_rollback:
            raise
        return wait_for_capacity(context, new, TASKS[role], err.message)
    deployment = context.deployments.get(deployment_id)
    log.info("Creating the %s deployment %s (%s)", role, deployment.name, deployment.deployment_id)
    # Always wait after create, so that retries take the same path however fast OCI is.
    return _wait(context, deployment)


def _serves(deployment: Deployment, registered: ModelRegistered) -> bool:
    """Return whether a deployment was made for this content; without a digest, its model identifies it."""
    has_digest = deployment.tags.get(DIGEST_TAG) == registered.digest
    return has_digest and (registered.digest != "" or deployment.model_id == registered.model_id)


def _follow(context: ReleaseContext, deployment: Deployment, new: NewDeployment, role: Role) -> Waiting | Deployment:
    progress = deployment.lifecycle_state.progress
    if progress is Progress.SUCCEEDED:
        return context.deployments.get(deployment.deployment_id)
    if progress is Progress.RUNNING and context.now() < _deadline(context, deployment):
        return _wait(context, deployment)
    state = deployment.lifecycle_state
    minutes = context.settings.release.deployment_timeout_minutes
    reason = f"is {state}" if progress is Progress.FAILED else f"is still {state} after {minutes:g} minutes"
    explanation = _explain_newest(context, deployment)
    deletion.request_deletion(context, deployment)
    if is_out_of_capacity(f"{deployment.details}\n{explanation}") and not context.release.is_rollback:
        return wait_for_capacity(context, new, TASKS[role], deployment.details or explanation)
    raise DeploymentFailedError(
        f"The deployment {deployment.name} ({deployment.deployment_id}) {reason} and is being deleted. "
        f"{deployment.details}\nOCI says:\n{explanation}\n"
        "Common causes: insufficient compute quota, an inaccessible conda environment path, a corrupt artifact."
    )


def _wait(context: ReleaseContext, deployment: Deployment) -> Waiting:
    reason = f"{deployment.name} is {deployment.lifecycle_state}"
    return Waiting(deployment.deployment_id, reason, _deadline(context, deployment))


def _deadline(context: ReleaseContext, deployment: Deployment) -> datetime:
    return deployment.created_at + timedelta(minutes=context.settings.release.deployment_timeout_minutes)


def _explain_newest(context: ReleaseContext, deployment: Deployment) -> str:
    """Return the errors and logs of a deployment's newest work request, or why they cannot be read."""
    try:
        newest = context.deployments.newest_work_request(deployment.deployment_id)
        return context.deployments.explain(newest.work_request_id) if newest else "nothing: it has no work request"
    except CloudRefusedError as err:
        return err.message


def _describe(
    context: ReleaseContext, registered: ModelRegistered, role: Role, *, shape: Shape | None, attempt: int
) -> NewDeployment:
    serving, version, digest = context.settings.serving, registered.version, registered.digest
    logs = {}
    if serving.log_group_id:
        for category, log_id in (("access", serving.access_log_id), ("predict", serving.predict_log_id)):
            if log_id:
                logs[category] = (serving.log_group_id, log_id)
    return NewDeployment(
        name=deployment_name(context.project, role, version),
        description=f"v{version} of {context.project}, made by the run {context.run_id}"[:400],
        model_id=registered.model_id,
        shape=shape or context.release.retrain_params.size.apply_to(DEFAULT_SHAPE),
        bandwidth_mbps=serving.bandwidth_mbps,
        environment={"WEB_CONCURRENCY": str(serving.workers)},
        logs=logs,
        tags=deployment_tags(context, version, digest, role),
        token=f"{context.state.origin}/{context.run_id}/{role}/{digest}/{attempt}",
    )
